package claims

import (
	"math"
	"slices"
	"testing"

	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// Every control is a valid sweep at the widths and seeds of the mixture, and no two share a run save the mixture itself, which is one of
// its rates, and what is looked at twice. Inputs are masked where tasks have their own, and a layer is added where a net has layers.
func TestControlsDiffer(t *testing.T) {
	for preset, want := range map[string]struct{ masks, deepens bool }{
		"controls": {true, false}, "controls-mlp": {true, true}, "controls-parity": {false, true},
	} {
		s := load(t, preset)
		mixture, err := s.Runs()
		if err != nil {
			t.Fatal(err)
		}
		controls, err := Controls(s)
		if err != nil {
			t.Fatal(err)
		}
		type look struct {
			run  string
			step int
		}
		seen := map[look]*spec.Sweep{}
		masks, deepens := false, false
		for _, c := range controls {
			for i, sweep := range c.Sweeps {
				runs, err := sweep.Runs()
				if err != nil || len(runs)%len(mixture) != 0 {
					t.Errorf("%s, %s: %d runs, want those of %d widths and seeds (%v)", preset, c.Name, len(runs), len(mixture), err)
				}
				for _, r := range runs {
					if other, found := seen[look{r.Hash(), c.Step}]; found && other != sweep && (i > 0 || len(c.Sweeps) == 1) {
						t.Errorf("%s, %s repeats a run of %s", preset, c.Name, other.Name)
					}
					seen[look{r.Hash(), c.Step}] = sweep
					masks = masks || r.Train.Intervention.Kind == "mask"
					depth, _ := depthOf(r)
					deepens = deepens || depth > 1
				}
			}
		}
		if masks != want.masks || deepens != want.deepens {
			t.Errorf("%s: inputs are masked %t, a layer is added %t, want %+v", preset, masks, deepens, want)
		}
	}
}

func load(t *testing.T, preset string, axes ...spec.Axis) *spec.Sweep {
	t.Helper()
	s, err := spec.Load(preset, "quick")
	if err == nil {
		s, err = s.With(axes...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runner gives all runs of a sweep a loss at steps 0, 10, 20 and the last; NaN: it diverged.
func runner(loss func(run spec.Run, step int) float64) Runner {
	return func(s *spec.Sweep) (results.Runs, error) {
		runs, err := s.Runs()
		var all results.Runs
		for _, run := range runs {
			steps := []int{0, 10, 20, run.Train.Steps}
			var values []float64
			diverged := -1
			for _, step := range steps {
				l := loss(run, step)
				if math.IsNaN(l) && diverged < 0 {
					diverged = step
				}
				values = append(values, slices.Repeat([]float64{1}, run.Mixture.Tasks-1)...)
				values = append(values, l)
			}
			r := results.NewRun(run, steps, map[string][]float64{"loss_sampled": values})
			r.Diverged = diverged
			all = append(all, r)
		}
		return all, err
	}
}

// The best rate of each width counts, by the mean over seeds, at the last evaluation up to the step that is looked at. A rate at which a
// seed diverged doesn't win by the others.
func TestBestOf(t *testing.T) {
	s := load(t, "controls-parity", spec.Vary("train.rate", 1e-4, 1e-3, 1e-2), spec.Vary("net.width", 4, 8))
	run := runner(func(run spec.Run, step int) float64 {
		rate, seed := slices.Index([]float64{1e-4, 1e-3, 1e-2}, run.Train.Rate), float64(run.Train.Seed-20)
		switch {
		case run.Net.Width == 8 && rate == 2 && seed == 3 && step > 10:
			return math.NaN()
		case step == 10:
			return 2 + float64(rate) + .01*seed // the smallest rate is ahead at first
		}
		return 5 - float64(rate) + .01*seed
	})
	for _, c := range []struct {
		step  int
		lower bool
		rates [2]float64
	}{
		{0, true, [2]float64{1e-2, 1e-3}}, {0, false, [2]float64{1e-4, 1e-4}},
		{10, true, [2]float64{1e-4, 1e-4}}, {19, true, [2]float64{1e-4, 1e-4}},
		{20, true, [2]float64{1e-2, 1e-3}}, {10, false, [2]float64{1e-2, 1e-2}},
	} {
		got, err := BestOf(Control{Sweeps: []*spec.Sweep{s}, Step: c.step}, Measure{"loss", "loss_sampled", c.lower}, run)
		if err != nil || len(got) != 2 {
			t.Fatal(got, err)
		}
		for i, b := range got {
			e := b.Seeds.Interval()
			if b.Width != 4+4*i || b.Rate != c.rates[i] || b.Lowest != 1e-4 || b.Highest != 1e-2 || e.N != 5 || e.Failed != 0 {
				t.Errorf("step %d, lower %t: %+v, want width %d at rate %g", c.step, c.lower, b, 4+4*i, c.rates[i])
			}
		}
	}
	other := load(t, "controls-parity", spec.Vary("train.batch", 128), spec.Vary("net.width", 4, 8))
	_, err := BestOf(Control{Sweeps: []*spec.Sweep{s, other}}, RareLoss, run)
	refused(t, "two batch sizes", err, "train.batch")
}

// Nets of one depth and another have as many weights, to within what one neuron more or less makes.
func TestDepths(t *testing.T) {
	s := load(t, "controls-parity", spec.Vary("net.width", 8, 32, 128))
	all, err := Depths(s, RareLoss, runner(func(run spec.Run, _ int) float64 { return float64(run.Net.Width) }), 1, 2, 3)
	if err != nil || len(all) != 4 {
		t.Fatal(all, err)
	}
	for i, d := range all {
		if want := []int{1, 1, 2, 3}[i]; d.Depth != want || len(d.Nets) != 3 {
			t.Fatalf("%+v: want three nets of depth %d", d, want)
		}
		deep := load(t, "controls-parity", spec.Vary("net.depth", d.Depth)).Base
		for j, n := range d.Nets {
			deep.Net.Width = n.Width - 1
			want, less := all[0].Nets[j], deep.Parameters()
			between := n.Parameters >= want.Parameters && less < want.Parameters
			if !between || d.Depth == 1 && n.Width != want.Width || d.Depth > 1 && n.Width >= want.Width {
				t.Errorf("width %d, depth %d: %d weights at width %d, %d at one less, want %d in between",
					want.Width, d.Depth, n.Parameters, n.Width, less, want.Parameters)
			}
			if e := n.Seeds.Interval(); e.Mean != float64(n.Width) || e.N != 5 {
				t.Errorf("depth %d, width %d: %+v is of other runs", d.Depth, n.Width, e)
			}
		}
	}
	_, err = Depths(load(t, "controls"), RareSignal, nil, 2)
	refused(t, "a net without depth", err, "net.depth", "bottleneck")
}
