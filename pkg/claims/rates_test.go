package claims

import (
	"math"
	"slices"
	"testing"

	"raretask/pkg/net"
	"raretask/pkg/results"
	"raretask/pkg/spec"
)

var triedRates = []float64{1e-3, 3e-3, 1e-2, 3e-2}

// rated are runs of two tasks at the tried rates, each seed's loss at each of which is known. mlp nets of one hidden layer.
func rated(param string, width, seeds int, loss func(rate, seed int) float64) results.Runs {
	base := bitTasks(2, 5)
	base.Mixture.Frequency.Exponent = 0
	base.Net = spec.Net{Kind: "mlp", Settings: net.MLPSettings{Depth: 1}, Parameterization: param, Width: width}
	if param == "mup" {
		base.Net.Base = 32
	}
	var runs results.Runs
	for i, rate := range triedRates {
		base.Train.Rate = rate
		for seed := range seeds {
			base.Train.Seed = uint32(seed)
			l := loss(i, seed)
			r := results.NewRun(base, []int{2, 5}, map[string][]float64{"loss_sampled": {2 * l, 2 * l, l, l}})
			if math.IsNaN(l) {
				r.Diverged = 3
			}
			runs = append(runs, r)
		}
	}
	return runs
}

// valleys are runs in which each width's best rate is known: that of its index, the second one under muP; for seed 2 the next larger.
func valleys() results.Runs {
	var runs results.Runs
	for _, param := range []string{"mup", "standard"} {
		for i, w := range []int{8, 16, 32} {
			runs = append(runs, rated(param, w, 3, func(rate, seed int) float64 {
				best := map[string]int{"standard": i, "mup": 1}[param] + seed/2
				if w == 32 && rate == 3 {
					return math.NaN()
				}
				return .1 + .2*math.Abs(float64(rate-best))
			})...)
		}
	}
	return runs
}

func TestBestRates(t *testing.T) {
	all, err := BestRates(valleys())
	if err != nil {
		t.Fatal(err)
	}
	type short struct {
		param        string
		depth, width int
		rate         float64
		edge         bool
	}
	var got []short
	for _, b := range all {
		if half, end := b.Halfway.Mean, b.Losses[b.Best].Mean; math.Abs(half/end-2) > 1e-9 {
			t.Errorf("width %d: %g after half of the steps, %g in the end, want twice as much", b.Width, half, end)
		}
		got = append(got, short{b.Parameterization, b.Depth, b.Width, b.Rates[b.Best], b.Edge})
		if e := b.Losses[b.Best]; math.Abs(e.Mean-math.Pow(.1*.1*.3, 1./3)) > 1e-6 || !(e.Low < e.Mean) || !(e.High > e.Mean) || e.N != 3 {
			t.Errorf("width %d: %+v: want the geometric mean of .1, .1 and .3 within its interval", b.Width, e)
		}
		if seeds := b.Seeds.Values(); len(seeds) != 3 || seeds[0] != b.Rates[b.Best] {
			t.Errorf("width %d: best rates of seeds %v", b.Width, seeds)
		}
	}
	want := []short{{"standard", 1, 8, 1e-3, true}, {"standard", 1, 16, 3e-3, false}, {"standard", 1, 32, 1e-2, false},
		{"mup", 1, 8, 3e-3, false}, {"mup", 1, 16, 3e-3, false}, {"mup", 1, 32, 3e-3, false}}
	if !slices.Equal(got, want) {
		t.Errorf("best rates %v, want %v", got, want)
	}
	_, err = BestRates(valleys().Where(func(r *results.Run) bool { return r.Train.Rate == 1e-3 }))
	refused(t, "one rate", err, "train.rate")
}

// Runs of two batch sizes are not one net at one rate: their losses were added up.
func TestBestRatesOfTwoBatches(t *testing.T) {
	runs := rated("standard", 8, 2, func(rate, _ int) float64 { return .1 * float64(rate+1) })
	for _, r := range rated("standard", 8, 2, func(rate, _ int) float64 { return .1 * float64(4-rate) }) {
		r.Train.Batch *= 2
		runs = append(runs, results.NewRun(r.Run, r.Steps, map[string][]float64{"loss_sampled": r.Series("loss_sampled", 1)}))
	}
	_, err := BestRates(runs)
	refused(t, "two batch sizes", err, "train.batch")
}

// A rate at which a seed failed doesn't win by those that survived, be it that the seed diverged or that it was not run.
func TestBestRateIsNoSurvivor(t *testing.T) {
	diverging := rated("standard", 8, 3, func(rate, seed int) float64 {
		if rate == 2 {
			return []float64{.01, .01, math.NaN()}[seed]
		}
		return .3 + .1*float64(rate)
	})
	lacking := rated("standard", 16, 3, func(rate, _ int) float64 { return []float64{.3, .4, .01, .5}[rate] })
	lacking = slices.Delete(lacking, 8, 9) // rate 2, seed 2
	wild := rated("standard", 32, 3, func(rate, seed int) float64 {
		if seed < rate {
			return math.NaN()
		}
		return .5 - .1*float64(rate)
	})
	for _, r := range wild {
		if r.Train.Seed == 2 && r.Train.Rate == 1e-3 {
			r.Diverged = 1 // now a seed failed at every rate, and two or more at all but the first two
		}
	}
	all, err := BestRates(slices.Concat(diverging, lacking, wild))
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range all {
		want := []float64{1e-3, 1e-3, 3e-3}[i]
		if e := b.Losses[b.Best]; b.Rates[b.Best] != want || e.Failed != i/2 {
			t.Errorf("width %d: rate %g wins with %+v, want %g", b.Width, b.Rates[b.Best], e, want)
		}
	}
	if e := all[0].Losses[2]; e.N != 2 || e.Failed != 1 {
		t.Errorf("the rate at which one of three seeds diverged: %+v", e)
	}
	if !math.IsNaN(all[2].Losses[3].Mean) {
		t.Errorf("the rate at which all diverged has mean %g", all[2].Losses[3].Mean)
	}
}
