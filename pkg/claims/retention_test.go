package claims

import (
	"math"
	"slices"
	"testing"

	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// cycled returns runs of an injected task, one for each seed, whose learned share at a step is given.
func cycled(width, gap, steps, seeds int, share func(step, seed int) float64) results.Runs {
	run := bitTasks(2, steps)
	run.Net.Width, run.Train.Injection = width, spec.Injection{Task: 2, Gap: gap}
	var runs results.Runs
	for seed := range seeds {
		run.Train.Seed = uint32(seed)
		var at []int
		var losses []float64
		for step := range steps + 1 {
			at, losses = append(at, step), append(losses, .5, 1-share(step, seed))
		}
		runs = append(runs, results.NewRun(run, at, map[string][]float64{"loss_sampled": losses}))
	}
	return runs
}

// Without an exact signal retention is that of the learned share; what is below the noise of samples is not there to be retained, and
// a loss above that of the best constant is nothing learned.
func TestRetentionBySamples(t *testing.T) {
	decaying := func(peak float64) func(step, seed int) float64 { // jumps at every injection, halves every 10 steps
		return func(step, _ int) float64 {
			if step < 20 {
				return -.3
			}
			return peak * math.Exp2(-float64(step%20)/10)
		}
	}
	runs := append(cycled(64, 20, 200, 2, decaying(.8)), cycled(8, 20, 200, 2, decaying(.05))...)
	if got := KeptOf(runs).At(runs[0], 0); got != 0 {
		t.Errorf("a loss of 1.3 leaves %g, want 0", got)
	}
	runs[1].Diverged = 150
	all, err := Retentions(runs)
	if err != nil {
		t.Fatal(err)
	}
	narrow, wide := RetentionAt(all, 8, 20), RetentionAt(all, 64, 20)
	if !math.IsNaN(narrow.Retained[0]) || !math.IsNaN(narrow.HalfLife[0]) {
		t.Errorf("a share of .05 is retained by %g with a half-life of %g, want neither", narrow.Retained[0], narrow.HalfLife[0])
	}
	left := math.Exp2(-1.9)
	for what, c := range map[string][2]float64{"retained": {wide.Retained[0], left}, "half-life": {wide.HalfLife[0], 10},
		"gain": {wide.Gain[0], .8 * (1 - left)}, "final": {wide.Final[0], .8 * left}} {
		if math.Abs(c[0]-c[1]) > 1e-5*c[1] {
			t.Errorf("%s: %g, want %g", what, c[0], c[1])
		}
	}
	for _, of := range []BySeed{wide.Retained, wide.Gain, wide.Final, wide.Decay, wide.HalfLife} {
		if e := of.Interval(); e.N != 1 || e.Failed != 1 {
			t.Errorf("%+v: a seed diverged, which had cycles before", e)
		}
	}
	other := cycled(16, 20, 200, 2, decaying(.8))
	for i, r := range other {
		r.Train.Injection.Samples = 77
		other[i] = results.NewRun(r.Run, r.Steps, map[string][]float64{"loss_sampled": make([]float64, 2*len(r.Steps))})
	}
	_, err = Retentions(append(runs, other...))
	refused(t, "injections of other sizes", err, "train.injection.samples")
	_, err = Retentions(ladder([]int{4}, 2))
	refused(t, "runs without injections", err, "train.injection")
	_, err = Retentions(nil)
	refused(t, "nothing", err, "no runs")
}

// An exact signal is what retention is of, where all runs have one: swings of every injection, normalised, and the end just before them, in
// the same phase whatever the gap; shares of the peaks are those of the cycles that were seen closely.
func TestRetentionOfSignals(t *testing.T) {
	run := rankOne()
	run.Train.Steps, run.Train.Injection = 40, spec.Injection{Task: 6, Gap: 4, Length: 2}
	run.Mixture.Settings = tasks.RegressionSettings{Dim: 1 << 30, Block: 1} // a random encoder holds next to nothing: s and s̃ are the same
	steps := []int{0, 6, 8, 9, 10, 20, 40}                                  // closely: the cycle from 6 to 10
	columns := map[string][]float64{}
	for name, at := range map[string]float64{Injected: 1, Common: 2, InjectedCosine: 3} {
		for range steps {
			columns[name] = append(columns[name], at)
		}
	}
	// Just before an injection all is at the step, right after it 10 above.
	var glances []int
	seen := map[string][]float64{}
	for end := 4; end <= 40; end += 4 {
		for _, step := range []int{end - 2, end} {
			if slices.Contains(steps, step) {
				columns[Injected][slices.Index(steps, step)] = float64(end - 2 + 10*(step-end+2)/2)
				continue
			}
			glances = append(glances, step)
			seen[Injected] = append(seen[Injected], float64(end-2+10*(step-end+2)/2))
			seen[Common] = append(seen[Common], float64(step))
			seen[InjectedCosine] = append(seen[InjectedCosine], -float64(step)/40)
		}
	}
	r := results.NewRun(run, steps, columns).WithGlances(glances, seen)
	all, err := Retentions(results.Runs{r})
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	got := all[0]
	for what, c := range map[string][2]float64{
		"gain": {got.Gain[0], 10}, "decay": {got.Decay[0], -6}, "final": {got.Final[0], 38}, "common": {got.Common[0], 38},
		"cosine": {got.Cosine[0], -.95}, "ends": {float64(got.Ends), 1}, "swings": {float64(got.Swings), 6}, "closely": {float64(got.Closely), 0},
	} {
		if math.Abs(c[0]-c[1]) > 1e-9 {
			t.Errorf("%s: %g, want %g", what, c[0], c[1])
		}
	}
	r.Train.Steps = 20 // then the cycle from 6 to 10 is late enough
	r.Steps = r.Steps[:6]
	for _, name := range []string{Injected, Common, InjectedCosine} {
		columns[name] = columns[name][:6]
	}
	if all, err = Retentions(results.Runs{r}); err != nil || math.Abs(all[0].Retained[0]-10./16) > 1e-6 || all[0].Closely != 1 {
		t.Errorf("%+v, %v: want 10 of a peak of 16 left in one cycle", all, err)
	}
	wide := *r
	wide.Mixture.Settings = tasks.RegressionSettings{Dim: 64, Block: 1}
	if got := KeptOf(results.Runs{r}).At(&wide, 1); got != 6*.5+.5 {
		t.Errorf("signal %g of a normalised one of 6 in half as many neurons as inputs, want 3.5", got)
	}
	r.Diverged = 12
	if all, err = Retentions(results.Runs{r}); err != nil || !math.IsNaN(all[0].Final[0]) || !math.IsNaN(all[0].Common[0]) {
		t.Errorf("%+v, %v: want no numbers of a diverged run", all, err)
	}
}

// Retention that grows with width and falls with the gap is supported, also where the narrowest net never has the task; the same
// retention everywhere is not.
func TestRetentionClaims(t *testing.T) {
	// A share is at a peak after every injection, and at a fraction of it before the next.
	cycles := func(width, gap int, peak float64, left func(jitter float64) float64) results.Runs {
		return cycled(width, gap, 120, 5, func(step, seed int) float64 {
			if step > 0 && step%gap == 0 {
				return peak
			}
			return peak * left(.001*float64(seed))
		})
	}
	var grows, same results.Runs
	for _, gap := range []int{4, 12} {
		fall := .02 * float64(gap)
		grows = append(grows, cycles(2, gap, .01, func(float64) float64 { return .5 })...)
		grows = append(grows, cycles(8, gap, .5, func(jitter float64) float64 { return .6 - fall + jitter })...)
		grows = append(grows, cycles(32, gap, .9, func(jitter float64) float64 { return 1 - fall/2 - jitter })...)
		same = append(same, cycles(8, gap, .9, func(jitter float64) float64 { return .9 + jitter })...)
		same = append(same, cycles(32, gap, .9, func(jitter float64) float64 { return .9 - jitter })...)
	}
	for want, runs := range map[string]results.Runs{"supported": grows, "not supported": same} {
		claims := claimsOf(t, runs)
		for _, id := range []string{"retained-width", "retained-gap/N=8", "retained-gap/N=32"} {
			if c, found := claims[id]; !found || c.Verdict() != want {
				t.Errorf("%s: %v of at least %g is %s, want %s", id, c.Effect, c.Minimum, c.Verdict(), want)
			}
		}
	}
	claims := claimsOf(t, grows)
	if c := claims["retained-width"]; math.Abs(c.Effect[0]-(.88-.36)) > 1e-6 {
		t.Errorf("%s: %v, want the widest net held against N = 8", c.Name, c.Effect)
	}
	if c := claims["retained-gap/N=2"]; c.Verdict() != "inconclusive" || c.Effect.Interval().Failed != 5 {
		t.Errorf("%s: %v: want that no seed had it", c.Name, c.Effect)
	}
	grows[len(grows)-1].Diverged = 100 // widest, longest gap
	if c := claimsOf(t, grows)["retained-width"]; c.Verdict() != "inconclusive" {
		t.Errorf("%s: %v is %s though a seed failed", c.Name, c.Effect, c.Verdict())
	}
}

// claimsOf returns the claims on runs by their IDs, which are all different.
func claimsOf(t *testing.T, runs results.Runs) map[string]Claim {
	t.Helper()
	list, err := RetentionClaims("", runs)
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]Claim{}
	for _, c := range list {
		byID[c.ID] = c
	}
	if len(byID) != len(list) {
		t.Errorf("%d claims under %d IDs", len(list), len(byID))
	}
	return byID
}
