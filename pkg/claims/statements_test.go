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
	for name, block := range map[string]int{"losses": 4, "staircase": 1, "persistence": 4} {
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
		j, err := statements["threshold"].On([]results.Runs{world(t, 8, threshold(right), 2, 8, 16, 24, 32)}, "")
		if err != nil || j.Verdict != verdict {
			t.Errorf("threshold: %s, want %s: %s %v", j.Verdict, verdict, j.Sentence, err)
		}
	}
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
			(s.Judge == nil) != (len(s.Presets) == 0) || s.Judge != nil && s.Rule == "" {
			t.Errorf("statement %+v", s)
		}
		ids = append(ids, s.ID)
	}
}
