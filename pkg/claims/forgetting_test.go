package claims

import (
	"math"
	"testing"

	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// forgetful returns runs of which a feature goes as ln p/(1-p) = start - rate·steps, counted from when its task is withheld or was last
// injected, in rows of a norm.
func forgetful(injection spec.Injection, width, seeds int, start, rate, norm float64) (runs results.Runs) {
	run := rankOne()
	run.Net.Width, run.Train.Injection = width, injection
	run.Train.Optimizer, run.Train.Rate, run.Train.Schedule, run.Train.Warmup = "sgd", .5, "constant", 1
	run.Train.Steps, run.Train.Decay = 600, 0
	held := func(step int) float64 {
		switch since := step - injection.From; {
		case since < 0:
			return 1 / (1 + math.Exp(-start))
		case injection.From+injection.Gap < run.Train.Steps:
			return 1 / (1 + math.Exp(rate*float64(since%injection.Gap)-start))
		default:
			return 1 / (1 + math.Exp(rate*float64(since)-start))
		}
	}
	for seed := range seeds {
		run.Train.Seed = uint32(seed)
		steps, values := []int{0, 600}, map[string][]float64{injectedFeature: {held(0), held(600)}, injectedNorm: {norm, norm}}
		var glances []int
		seen := map[string][]float64{}
		for step := 1; step < 600; step++ {
			glances, seen[injectedFeature] = append(glances, step), append(seen[injectedFeature], held(step))
			seen[injectedNorm] = append(seen[injectedNorm], norm)
		}
		runs = append(runs, results.NewRun(run, steps, values).WithGlances(glances, seen))
	}
	return runs
}

// The rate at which a feature is lost is found whatever the protocol, and stands beside that of the next feature of the others.
func TestForgettings(t *testing.T) {
	const rate, norm = .05, 2
	for name, injection := range map[string]spec.Injection{
		"once": {Task: 6, Gap: 500, From: 100, Samples: 1}, "again and again": {Task: 6, Gap: 20}} {
		all, err := Forgettings(forgetful(injection, 6, 3, 8, rate, norm))
		if err != nil || len(all) != 1 {
			t.Fatal(name, all, err)
		}
		f := all[0]
		m, err := rankOne().Mixture.Theory()
		if err != nil {
			t.Fatal(err)
		}
		// One direction for each of six tasks: with five others a width of six leaves nothing to take the place.
		got := f.Measured.Interval()
		if got.N != 3 || math.Abs(got.Mean/rate-1) > 1e-6 || f.Predicted.Interval().Mean != 0 || f.Kept != 1 {
			t.Errorf("%s: %+v: want a rate of %g, and nothing that takes the place", name, f, rate)
		}
		all, err = Forgettings(forgetful(injection, 4, 3, 8, rate, norm))
		if err != nil {
			t.Fatal(name, err)
		}
		mu := m.Frequency[3] / (1 - m.Frequency[5]) // the fourth, while the sixth is withheld
		if got, want := all[0].Predicted.Interval().Mean, 4*.5*mu/(norm*norm); math.Abs(got/want-1) > 1e-9 || all[0].Kept != 0 {
			t.Errorf("%s: %+v: predicted at %g, want %g", name, all[0], got, want)
		}
		lag := mu * (math.Sqrt(16+4) - 4) / 2
		if got, want := all[0].Lagged.Interval().Mean, 4*.5*lag; math.Abs(got/want-1) > 1e-9 {
			t.Errorf("%s: with decoders that grow %g, want %g", name, got, want)
		}
		left := (m.Frequency[3] + m.Frequency[4]) / (1 - m.Frequency[5])
		if got, want := all[0].Adaptive.Interval().Mean, 4*.5*lag/math.Sqrt(left); math.Abs(got/want-1) > 1e-9 {
			t.Errorf("%s: by an adaptive rate %g, want %g", name, got, want)
		}
	}
	once := spec.Injection{Task: 6, Gap: 500, From: 100, Samples: 1}
	for what, runs := range map[string]results.Runs{
		"never held": forgetful(once, 4, 2, 1, .1, 1), "not lost": forgetful(once, 4, 2, 9, 1e-3, 1)} {
		all, err := Forgettings(runs)
		if err != nil || all[0].Measured.Interval().N != 0 || all[0].Spans != 0 {
			t.Errorf("%s: %+v, %v: want no rate", what, all, err)
		}
	}
	falling := forgetful(once, 4, 2, 8, .05, 1)
	for _, r := range falling {
		r.Train.Schedule = "inverse-sqrt"
	}
	_, err := Forgettings(falling)
	refused(t, "a rate that falls", err, "inverse-sqrt", "constant")
}

// Under the exact flow the feature goes at the rate of the others' next feature: the known answer that nets are held against.
func TestFlowed(t *testing.T) {
	run := spec.Default()
	run.Mixture.Frequency.Exponent = 1.5
	m, err := run.Mixture.Theory()
	if err != nil {
		t.Fatal(err)
	}
	at := 0.
	off := func() float64 { at = math.Mod(at+.61803398875, 1); return 1e-12 * (at - .5) }
	all, err := Flowed(m, 1.5, 15, []int{20, 32, 36, 44, 52, 70}, off)
	if err != nil || len(all) != 4 {
		t.Fatal(all, err)
	}
	for _, f := range all {
		if ratio := f.Measured[0] / f.Predicted[0]; math.Abs(ratio-1) > .02 {
			t.Errorf("width %d: lost at %g times the rate of the next feature", f.Width, ratio)
		}
	}
	factor, spread, n := CommonRate(all, func(f Forgetting) BySeed { return f.Predicted })
	if math.Abs(factor-1) > .02 || spread > 1.02 || n != 4 {
		t.Errorf("common factor %g, missed by %g, of %d", factor, spread, n)
	}
}

// What nets had is of the step at which the mixture begins, what they end with of the last.
func TestStarts(t *testing.T) {
	var runs results.Runs
	for _, until := range []int{1, 30} {
		base := bitTasks(2, 100)
		base.Train.Injection = spec.Injection{Task: 2, Gap: 1, Samples: 8, Until: until}
		runs = append(runs, runsOf(base, []int{4, 8}, 3, func(r spec.Run) map[string][]float64 {
			own := []float64{1, float64(30-until) / 100, 1 - float64(r.Net.Width)/10} // at steps 0, 29, 100
			var losses []float64
			for _, loss := range own {
				losses = append(losses, .5, loss)
			}
			return map[string][]float64{"loss_sampled": losses}
		})...)
	}
	for _, r := range runs {
		r.Steps = []int{0, 29, 100}
	}
	all, err := Starts(runs)
	if err != nil || len(all) != 4 {
		t.Fatal(all, err)
	}
	for i, s := range all {
		had := []float64{0, 1, 0, 1}[i]
		if got := s.Had.Interval(); got.Mean != had || got.N != 3 || s.Until != []int{1, 30, 1, 30}[i] {
			t.Errorf("%+v: had %+v, want %g", s, got, had)
		}
		if got := s.Ends.Interval(); math.Abs(got.Mean-float64(s.Width)/10) > 1e-9 {
			t.Errorf("%+v: ends with %+v", s, got)
		}
	}
	_, err = Starts(cycled(8, 20, 100, 2, func(int, int) float64 { return 0 }))
	refused(t, "a task that is injected now and then", err, "alone until")
}
