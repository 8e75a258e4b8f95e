package claims

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/tasks"
)

// world returns five seeds of bottlenecks of widths, of tasks of so many directions, with columns that a function gives of a width at the
// step 100 and at the last one, 1000.
func world(
	t *testing.T, block int, of func(m theory.Mixture, width, seed, step int) map[string][]float64, widths ...int,
) (runs results.Runs) {
	t.Helper()
	for _, w := range widths {
		for seed := range 5 {
			r := spec.Default()
			r.Mixture.Tasks, r.Mixture.Frequency.Exponent = 8, 2
			settings := r.Mixture.Settings.(tasks.RegressionSettings)
			settings.Block, settings.Dim = block, 64
			r.Mixture.Settings = settings
			r.Net.Width, r.Train.Seed, r.Train.Steps = w, uint32(seed), 1000
			m, err := r.Mixture.Theory()
			if err != nil {
				t.Fatal(err)
			}
			all := map[string][]float64{}
			for _, step := range []int{100, 1000} {
				for c, v := range of(m, w, seed, step) {
					all[c] = append(all[c], v...)
				}
			}
			runs = append(runs, results.NewRun(r, []int{100, 1000}, all))
		}
	}
	return runs
}

// kept returns the signals of the best encoder of a width.
func kept(m theory.Mixture, width int) (signals []float64) {
	fewest, _ := m.Retained(width)
	for k, n := range fewest {
		s := 0.
		for _, lambda := range m.Spectrum[k][:n] {
			s += lambda
		}
		signals = append(signals, s/m.TaskTrace(k))
	}
	return signals
}

func TestStatementsFollowTheWorld(t *testing.T) {
	widths := []int{2, 3, 4, 5, 6, 7, 8, 9, 10}
	byUtility := func(m theory.Mixture, w, _, step int) map[string][]float64 {
		low, _ := m.TaskLoss(w)
		for k := range low {
			low[k] /= m.TaskTrace(k)
		}
		return map[string][]float64{"signal": kept(m, w), "loss": low}
	}
	late := func(m theory.Mixture, w, _, step int) map[string][]float64 { // three widths behind, and more after a longer training
		low, _ := m.TaskLoss(max(1, w-3))
		for k := range low {
			low[k] /= m.TaskTrace(k)
		}
		width := w - 3
		if step == 100 {
			width = 1
		}
		return map[string][]float64{"signal": kept(m, max(1, width)), "loss": low}
	}
	unsure := func(m theory.Mixture, w, seed, step int) map[string][]float64 {
		if seed%2 == 0 {
			return byUtility(m, w, seed, step)
		}
		return late(m, w, seed, step)
	}
	statements := map[string]Statement{}
	for _, s := range Statements() {
		statements[s.ID] = s
	}
	for name, block := range map[string]int{"losses": 4, "utility": 4, "stairs": 4, "staircase": 1, "persistence": 4} {
		for verdict, of := range map[string]func(m theory.Mixture, w, seed, step int) map[string][]float64{
			Supported: byUtility, Contradicted: late, Inconclusive: unsure} {
			j, err := statements[name].On([]results.Runs{world(t, block, of, widths...)}, "")
			if err != nil || j.Verdict != verdict {
				t.Errorf("%s: %s, want %s: %s %v", name, j.Verdict, verdict, j.Sentence, err)
			}
		}
	}
	threshold := func(right bool) func(m theory.Mixture, w, seed, step int) map[string][]float64 {
		return func(m theory.Mixture, w, seed, step int) map[string][]float64 {
			residual := make([]float64, m.Tasks())
			line, _ := m.FrequentFloor()
			signal := kept(m, w)
			for k := range residual {
				if residual[k] = line * 2; (signal[m.Rarest()] > .3) == right {
					residual[k] = line / 2
				}
			}
			return map[string][]float64{"signal": signal, "residual": residual}
		}
	}
	for verdict, right := range map[string]bool{Supported: true, Contradicted: false} {
		for _, id := range []string{"threshold", "complex-threshold"} {
			j, err := statements[id].On([]results.Runs{world(t, 8, threshold(right), 2, 8, 16, 24, 32)}, "")
			if err != nil || j.Verdict != verdict {
				t.Errorf("%s: %s, want %s: %s %v", id, j.Verdict, verdict, j.Sentence, err)
			}
		}
	}
}

// Statements on injections, controls, parities and neurons follow worlds in which they are true, and such in which they are not.
func TestMoreStatementsFollowTheWorld(t *testing.T) {
	statements := map[string]Statement{}
	for _, s := range Statements() {
		statements[s.ID] = s
	}
	judged := func(id, want string, runs ...results.Runs) {
		t.Helper()
		if j, err := statements[id].On(runs, ""); err != nil || j.Verdict != want {
			t.Errorf("%s: %s, want %s: %s %v", id, j.Verdict, want, j.Sentence, err)
		}
	}
	judged("neurons", Supported)

	injected := func(of func(width, gap int) float64) (runs results.Runs) {
		for _, w := range []int{8, 16, 64} {
			for _, gap := range []int{10, 50} {
				runs = append(runs, cycled(w, gap, 200, 5, func(step, _ int) float64 { return of(w, gap) })...)
			}
		}
		return runs
	}
	judged("lowest", Supported, injected(func(width, gap int) float64 {
		if width == 64 || width == 16 && gap == 10 {
			return .6
		}
		return .01
	}))
	judged("lowest", Contradicted, injected(func(_, _ int) float64 { return .6 }))
	judged("lowest", Contradicted, injected(func(width, _ int) float64 { return float64(width) / 80 })) // gaps don't matter

	judged("quanta", Supported, ladder([]int{4, 64}, 5))
	backwards := ladder([]int{4, 64}, 5) // the rarest first
	for i, r := range backwards {
		var losses []float64
		for at := range r.Steps {
			for k := ladderTasks; k >= 1; k-- {
				losses = append(losses, r.Value("loss_sampled", at, k))
			}
		}
		backwards[i] = results.NewRun(r.Run, r.Steps, map[string][]float64{"loss_sampled": losses})
	}
	judged("quanta", Contradicted, backwards)

	once := spec.Injection{Task: 6, Gap: 500, From: 100, Samples: 1}
	all, err := Forgettings(forgetful(once, 4, 1, 8, .05, 2))
	if err != nil {
		t.Fatal(err)
	}
	theirs := all[0].Lagged.Interval().Mean
	judged("forgetting", Supported, forgetful(once, 4, 5, 8, theirs, 2))
	judged("forgetting", Contradicted, forgetful(once, 4, 5, 8, 2*theirs, 2))

	for verdict, narrow := range map[string]float64{Supported: .1, Contradicted: .9} {
		judged("expressivity", verdict, expressive(t, narrow)...)
	}
}

// expressive returns runs of the controls that expressivity is judged by, in a world in which any net learns the rarest task alone, the
// widest also in the mixture, and the narrowest as much of it as is said.
func expressive(t *testing.T, narrow float64) (runs []results.Runs) {
	for _, preset := range []string{"controls", "controls-mlp", "controls-parity"} {
		s := load(t, preset)
		sweeps, err := expressivitySweeps(s)
		if err != nil || len(sweeps) != 3 {
			t.Fatal(len(sweeps), err)
		}
		for i, sweep := range sweeps {
			all, err := sweep.Runs()
			if err != nil {
				t.Fatal(err)
			}
			var own results.Runs
			for _, r := range all {
				has := .95
				if widest := all[len(all)-1].Net.Width; i > 0 && r.Net.Width < widest {
					has = narrow
				}
				steps, columns := []int{r.Train.Steps / 10, r.Train.Steps}, map[string][]float64{}
				if until := r.Train.Injection.Until; i == 0 {
					steps[0] = until
				}
				for range steps {
					for range r.Mixture.Tasks {
						if columns["loss_sampled"] = append(columns["loss_sampled"], 1-has); preset == "controls" {
							columns["signal"] = append(columns["signal"], has)
						}
					}
				}
				own = append(own, results.NewRun(r, steps, columns))
			}
			runs = append(runs, own)
		}
	}
	return runs
}

func TestVerdictOfAStatement(t *testing.T) {
	seeds := func(values ...float64) BySeed {
		s := BySeed{}
		for i, v := range values {
			s[uint32(i)] = v
		}
		return s
	}
	high, low, wide := seeds(1, 1.1, 1.2, .9, 1), seeds(-1, -1.1, -1, -.9, -1), seeds(1, -1, 2, -2, .5)
	runs := []results.Runs{{results.NewRun(spec.Default(), []int{0}, nil)}}
	for _, c := range []struct {
		effects []BySeed
		want    string
	}{
		{[]BySeed{high, high}, Supported}, {[]BySeed{high, low}, Contradicted}, {[]BySeed{high, wide}, Inconclusive},
		{[]BySeed{seeds(1, 1.1, .9)}, Inconclusive}, {[]BySeed{seeds(1, 1.1, .9, 1, math.NaN())}, Inconclusive},
	} {
		s := Statement{ID: "x", Judge: func([]results.Runs) (all []Claim, err error) {
			for _, e := range c.effects {
				all = append(all, Claim{"x", "x", e, 0})
			}
			return all, nil
		}}
		j, err := s.On(runs, "")
		if err != nil || j.Verdict != c.want || j.Sentence == "" || len(j.Parts) != len(c.effects) || j.Runs != 1 {
			t.Errorf("%+v, %v: want %s", j, err, c.want)
		}
	}
	lacking := Statement{ID: "x", Presets: []string{"fig2"}, Judge: func([]results.Runs) ([]Claim, error) {
		return nil, errors.Join(&results.UnmeasuredError{Column: "signal"})
	}}
	if j, err := lacking.On(runs, ""); err != nil || j.Verdict != NotRun || !strings.Contains(j.Sentence, "signal") {
		t.Errorf("%+v, %v", j, err)
	}
	if j, err := lacking.On([]results.Runs{nil}, "two are missing"); err != nil || j.Verdict != NotRun || j.Sentence != "two are missing" {
		t.Errorf("%+v, %v", j, err)
	}
	var ids []string
	for _, s := range Statements() {
		if slices.Contains(ids, s.ID) || s.Text == "" || s.Source == "" || (s.Judge == nil) != (s.Without != "") ||
			s.Judge == nil && len(s.Presets) > 0 || s.Judge != nil && s.Rule == "" {
			t.Errorf("statement %+v", s)
		}
		ids = append(ids, s.ID)
	}
}
