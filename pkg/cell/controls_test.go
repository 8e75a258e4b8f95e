package cell

import (
	"math"
	"testing"

	"raretask/pkg/spec"
)

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		seeds []float64
		want  string
	}{
		{[]float64{.5, .51, .49, .5, .5}, "supported"},
		{[]float64{.05, .06, .04, .05, .05}, "not supported"},
		{[]float64{.5, -.5, .3, .1, 0}, "inconclusive"},
		{[]float64{.5, .51, .49, .5}, "inconclusive"},
		{[]float64{.5, .51, .49, .5, math.NaN()}, "inconclusive"},
	} {
		if got := (Claim{Seeds: c.seeds, Minimum: .1}).Verdict(); got != c.want {
			t.Errorf("%v: %s, want %s", c.seeds, got, c.want)
		}
	}
}

// Every control is a valid sweep at the widths and seeds of the mixture, and no two share a run save the mixture itself, which is one of
// its rates, and what is looked at twice.
func TestControlsDiffer(t *testing.T) {
	for _, preset := range []string{"controls", "controls-mlp", "controls-parity"} {
		s, err := spec.Load(preset, "quick")
		if err != nil {
			t.Fatal(err)
		}
		mixture, err := s.Runs()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]*spec.Sweep{}
		for _, c := range Controls(s) {
			for i, sweep := range c.Sweeps {
				runs, err := sweep.Runs()
				if err != nil || len(runs)%len(mixture) != 0 {
					t.Errorf("%s, %s: %d runs, want those of %d widths and seeds (%v)", preset, c.Name, len(runs), len(mixture), err)
				}
				for _, r := range runs {
					if other, found := seen[r.Hash()]; found && other != sweep && (i > 0 || len(c.Sweeps) == 1) {
						t.Errorf("%s, %s repeats a run of %s", preset, c.Name, other.Name)
					}
					seen[r.Hash()] = sweep
				}
			}
		}
	}
}

// The best rate of each width counts, by the mean over seeds, at the last evaluation up to the step that is looked at.
func TestBestOf(t *testing.T) {
	t.Setenv("RARETASK_RESULTS", t.TempDir())
	t.Setenv("RARETASK_SCALE", "smoke")
	t.Setenv("GOMLX_BACKEND", "go")
	s, err := spec.Load("controls-parity", "smoke")
	if err != nil {
		t.Fatal(err)
	}
	s = Must(s.With(spec.Vary("train.rate", 1e-5, 1e-2), spec.Vary("train.steps", 60), spec.Vary("net.width", 4)))
	for _, lower := range []bool{true, false} {
		rows := Run(s)
		m := Measure{"loss", RareLoss.Of, lower}
		for step, got := range map[int]map[int32]best{0: bestOf(Control{Sweeps: []*spec.Sweep{s}}, m), 30: bestOf(Control{Sweeps: []*spec.Sweep{s}, Step: 30}, m)} {
			sums, last := map[float64]float64{}, 0
			for _, r := range rows { // evaluations are those of all runs
				if step == 0 || int(r.Step) <= step {
					last = max(last, int(r.Step))
				}
			}
			for _, r := range rows {
				if int(r.Step) == last && r.Task == r.Tasks {
					sums[r.Rate] += RareLoss.Of(r)
				}
			}
			want := 1e-5
			if (sums[1e-2] < sums[1e-5]) == lower {
				want = 1e-2
			}
			mean := 0.
			for _, v := range got[4].seeds {
				mean += v
			}
			if got[4].rate != want || got[4].lowest != 1e-5 || got[4].highest != 1e-2 || math.Abs(mean-sums[want]) > 1e-9 {
				t.Errorf("lower %t, step %d: %+v, want rate %g and losses that add up to %g", lower, step, got[4], want, sums[want])
			}
		}
	}
}

// Nets of one depth and another have as many weights, to within what one neuron more or less makes.
func TestEqualWidth(t *testing.T) {
	s, err := spec.Load("controls-parity", "quick")
	if err != nil {
		t.Fatal(err)
	}
	run := s.Base
	for _, depth := range []int{1, 2, 3} {
		for _, width := range []int{8, 32, 128} {
			run.Net = spec.Net{Kind: "mlp", Width: width}
			want := parameters(run)
			run.Net = spec.Net{Kind: "mlp", Width: equalWidth(run, width, depth), Depth: depth}
			have := parameters(run)
			run.Net.Width--
			if less := parameters(run); have < want || less >= want || depth == 1 && run.Net.Width+1 != width {
				t.Errorf("width %d, depth %d: %d weights at width %d, %d at one less, want %d in between", width, depth, have, run.Net.Width+1, less, want)
			}
		}
	}
}
