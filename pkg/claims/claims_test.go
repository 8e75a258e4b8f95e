package claims

import (
	"maps"
	"math"
	"strings"
	"testing"

	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// runsOf returns runs with every combination of widths and seeds from 0 on, whose columns fill gives at the last step, of each task or of
// the run.
func runsOf(base spec.Run, widths []int, seeds int, fill func(run spec.Run) map[string][]float64) results.Runs {
	var runs results.Runs
	for _, w := range widths {
		for seed := range seeds {
			run := base
			run.Net.Width, run.Train.Seed = w, uint32(seed)
			runs = append(runs, results.NewRun(run, []int{run.Train.Steps}, fill(run)))
		}
	}
	return runs
}

// same gives the same columns to every run.
func same(columns map[string][]float64) func(spec.Run) map[string][]float64 {
	return func(spec.Run) map[string][]float64 { return maps.Clone(columns) }
}

// refused fails the test unless an error names what was wrong.
func refused(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v: want an error that names %q", what, err, w)
		}
	}
}

// The half width of a 95% interval of 1, 2, 3 is t(.975, 2)/sqrt(3) = 4.3027/1.7321. What is missing is counted.
func TestInterval(t *testing.T) {
	nan := math.NaN()
	e := Interval([]float64{1, nan, 2, 3})
	if e.Mean != 2 || e.N != 3 || e.Failed != 1 || math.Abs(e.High-4.48414) > 1e-4 || math.Abs(e.Low+.48414) > 1e-4 {
		t.Errorf("1, missing, 2, 3: %+v", e)
	}
	if e := Interval([]float64{4}); e.Mean != 4 || !math.IsNaN(e.Low) || !math.IsNaN(e.High) || e.N != 1 || e.Failed != 0 {
		t.Errorf("one value: %+v", e)
	}
	if e := Interval([]float64{nan, nan}); !math.IsNaN(e.Mean) || e.N != 0 || e.Failed != 2 {
		t.Errorf("no value: %+v", e)
	}
	if e := Geometric([]float64{1, nan, 100}); math.Abs(e.Mean-10) > 1e-9 || math.Abs(e.Low*e.High-100) > 1e-6 || e.Low > 1 || e.Failed != 1 {
		t.Errorf("geometric, of 1 and 100: %+v", e)
	}
}

// A difference is of two runs of one seed, wherever they stand; a seed that one side lacks has none.
func TestPairedBySeed(t *testing.T) {
	got := Paired(BySeed{1: 10, 2: 20, 3: 30}, BySeed{4: 4, 3: 3, 2: 2})
	want := BySeed{1: math.NaN(), 2: 18, 3: 27, 4: math.NaN()}
	for seed, want := range want {
		if v, found := got[seed]; !found || v != want && !(math.IsNaN(v) && math.IsNaN(want)) {
			t.Errorf("seed %d: difference %g, want %g", seed, v, want)
		}
	}
	if e := got.Interval(); e.N != 2 || e.Failed != 2 {
		t.Errorf("%+v: want two differences and two that failed", e)
	}
}

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
		{[]float64{.5, .51, .49, .5, .5, math.NaN()}, "inconclusive"}, // five agree, but the sixth failed
	} {
		effect := BySeed{}
		for i, v := range c.seeds {
			effect[uint32(i)] = v
		}
		if got := (Claim{Effect: effect, Minimum: .1}).Verdict(); got != c.want {
			t.Errorf("%v: %s, want %s", c.seeds, got, c.want)
		}
	}
}

// What is left of a net that diverged may have a loss again; it is none of the net that was asked for.
func TestDivergedHasNoValue(t *testing.T) {
	run := spec.Default()
	run.Mixture.Tasks, run.Train.Steps = 1, 9
	r := results.NewRun(run, []int{0, 3, 9}, map[string][]float64{"loss_sampled": {1, .5, .2}})
	r.Diverged = 3
	before, at, end := Value(r, "loss_sampled", 0, 1), Value(r, "loss_sampled", 1, 1), Final(r, "loss_sampled", 1)
	if before != 1 || !math.IsNaN(at) || !math.IsNaN(end) {
		t.Errorf("losses %g before, %g at, %g after divergence: want 1 and none", before, at, end)
	}
}
