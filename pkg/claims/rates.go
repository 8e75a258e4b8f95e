package claims

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// Rates is how one net ends at each of the learning rates that were tried, and the best of them.
type Rates struct {
	Parameterization   string // standard or mup
	Base, Depth, Width int    // Depth is 0 for nets that have none
	Rates              []float64
	Losses             []Estimate // at each rate, geometric
	Best               int        // index of the best rate
	Seeds              BySeed     // each seed's own best rate
	Edge               bool       // the best rate is the smallest or largest tried: the best may lie beyond
	Halfway            Estimate   // the loss at the best rate at half of the steps or just before, geometric: has it stopped changing?
}

// BestRates returns, for every net of a sweep over net.width and train.rate, which rate ends best, so that no width is judged by a rate
// that suits another: by the exact loss of the mixture where there is one, else by the tasks' sampled losses weighted by frequency. A
// rate at which a seed failed is never better than one at which none did. Nets are in order of parameterization (standard first), base,
// depth and width.
func BestRates(runs results.Runs) ([]Rates, error) {
	vary := []string{"net.width", "net.depth", "net.parameterization", "net.base", "train.rate"}
	column := "full_loss"
	if slices.ContainsFunc(runs, func(r *results.Run) bool { return !r.Measured(column) }) {
		column = "loss_sampled"
	}
	if err := runs.Need(results.Design{Vary: vary, Columns: []string{column}, Absent: true}); err != nil {
		return nil, err
	}
	loss := func(r *results.Run, i int) float64 { return Value(r, column, i, 1) }
	if column == "loss_sampled" {
		loss = MixtureBits
	}
	nets, byNet := results.By(runs, func(r *results.Run) string { return fmt.Sprintf("%+v", r.Net) })
	var all []Rates
	for _, n := range nets {
		rates, err := ratesOf(byNet[n], loss)
		if err != nil {
			return nil, err
		}
		all = append(all, rates)
	}
	slices.SortFunc(all, func(a, b Rates) int {
		return cmp.Or(cmp.Compare(b.Parameterization, a.Parameterization), a.Base-b.Base, a.Depth-b.Depth, a.Width-b.Width)
	})
	return all, nil
}

// ratesOf compares the rates of one net.
func ratesOf(runs results.Runs, loss func(*results.Run, int) float64) (Rates, error) {
	tried, losses, err := perRate(runs, func(r *results.Run) float64 { return loss(r, r.Last()) })
	if err != nil {
		return Rates{}, err
	}
	if len(tried) < 2 {
		return Rates{}, fmt.Errorf("claims: width %d has one learning rate, %g: want a sweep with several of train.rate",
			runs[0].Net.Width, tried[0])
	}
	net := runs[0].Net
	all := Rates{Parameterization: net.Parameterization, Base: net.Base, Width: net.Width, Rates: tried, Seeds: BySeed{}}
	all.Depth, _ = depthOf(runs[0].Run)
	for i, own := range losses {
		all.Losses = append(all.Losses, Geometric(own.Values()))
		if all.Losses[i].better(all.Losses[all.Best], true) {
			all.Best = i
		}
	}
	for s := range losses[0] {
		least := math.Inf(1)
		all.Seeds[s] = math.NaN()
		for i, rate := range tried {
			if v := losses[i][s]; v < least {
				least, all.Seeds[s] = v, rate
			}
		}
	}
	all.Edge = all.Best == 0 || all.Best == len(tried)-1
	_, early, err := perRate(runs, func(r *results.Run) float64 { return loss(r, before(r, r.Train.Steps/2)) })
	all.Halfway = Geometric(early[all.Best].Values())
	return all, err
}

// perRate returns the rates of runs, ascending, and a measure of every seed at each; NaN for a seed that was not run at one.
func perRate(runs results.Runs, of func(*results.Run) float64) (rates []float64, all []BySeed, err error) {
	rates, byRate := results.By(runs, results.Rate)
	for _, rate := range rates {
		own, err := perSeed(runs, byRate[rate], of)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, own)
	}
	return rates, all, nil
}

// depthOf returns how many hidden layers a run's net has, if that is a setting of it.
func depthOf(run spec.Run) (depth int, ok bool) {
	for _, s := range run.Settings() {
		if s.Key == "net.depth" {
			depth, ok = s.Value.(int)
			return depth, ok
		}
	}
	return 0, false
}
