package claims

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"raretask/pkg/results"
	"raretask/pkg/theory"
)

// Theory checks and loads runs of one mixture by a design and returns the mixture's closed forms; an error where it has none.
func Theory(runs results.Runs, design results.Design) (theory.Mixture, error) {
	if err := runs.Need(design); err != nil {
		return theory.Mixture{}, err
	}
	return runs[0].Mixture.Theory()
}

// WidthLoss is the final loss of the mixture at one width, over seeds, in units of the targets squared summed over outputs.
type WidthLoss struct {
	Width         int
	Optimum       float64  // L*(N)
	Encoder, Full Estimate // with the best decoders, and with the learned ones
}

// Losses returns the final losses of one mixture by width.
func Losses(runs results.Runs) ([]WidthLoss, error) {
	design := results.Design{Vary: []string{"net.width"}, Columns: []string{"encoder_loss", "full_loss"}, Final: true}
	m, err := Theory(runs, design)
	if err != nil {
		return nil, err
	}
	var losses []WidthLoss
	widths, byWidth := results.By(runs, results.Width)
	for _, w := range widths {
		l := WidthLoss{Width: w, Optimum: m.OptimalLoss(w)}
		l.Encoder = Over(byWidth[w], func(r *results.Run) float64 { return Final(r, "encoder_loss", 1) })
		l.Full = Over(byWidth[w], func(r *results.Run) float64 { return Final(r, "full_loss", 1) })
		losses = append(losses, l)
	}
	return losses, nil
}

// FirstHeld returns for each task the smallest width at which the mean final signal over seeds holds, and goes on holding at every larger
// width; NaN where it never does. A width at which a seed failed holds nothing. Tasks count from 1.
func FirstHeld(runs results.Runs, holds func(task int, signal float64) bool) ([]float64, error) {
	if err := runs.Need(results.Design{Vary: []string{"net.width"}, Columns: []string{"signal"}, Final: true}); err != nil {
		return nil, err
	}
	first := make([]float64, runs[0].Mixture.Tasks)
	widths, byWidth := results.By(runs, results.Width)
	for i := range first {
		first[i] = math.NaN()
		for _, w := range slices.Backward(widths) {
			e := Over(byWidth[w], func(r *results.Run) float64 { return Final(r, "signal", i+1) })
			if e.Failed > 0 || !holds(i+1, e.Mean) {
				break
			}
			first[i] = float64(w)
		}
	}
	return first, nil
}

// perSeed returns a number of each run by its seed, NaN for a seed that only others of all runs have; an error where two are of one seed,
// which are no two samples of what seeds differ in.
func perSeed(all, runs results.Runs, of func(*results.Run) float64) (BySeed, error) {
	values, seen := BySeed{}, map[uint32]bool{}
	for _, r := range all {
		values[r.Train.Seed] = math.NaN()
	}
	for _, r := range runs {
		if seen[r.Train.Seed] {
			return nil, fmt.Errorf("claims: two runs of width %d have train.seed %d: want one; select by train.data and the mixture's seed first",
				r.Net.Width, r.Train.Seed)
		}
		values[r.Train.Seed], seen[r.Train.Seed] = of(r), true
	}
	return values, nil
}

// SlopesOnWidth returns, for each seed, the slope of ln v on ln N over widths at the end of training, v being a column of the run's own.
// Widths where v is not positive don't count; a seed of which a width failed or is missing has none.
func SlopesOnWidth(runs results.Runs, column string) (BySeed, error) {
	if err := runs.Need(results.Design{Vary: []string{"net.width"}, Columns: []string{column}, Final: true, Absent: true}); err != nil {
		return nil, err
	}
	slopes, x, y := BySeed{}, map[uint32][]float64{}, map[uint32][]float64{}
	widths, byWidth := results.By(runs, results.Width)
	seeds, _ := results.By(runs, results.Seed)
	for _, w := range widths {
		values, err := perSeed(runs, byWidth[w], func(r *results.Run) float64 { return Final(r, column, 1) })
		if err != nil {
			return nil, err
		}
		for _, s := range seeds {
			if v := values[s]; !(v <= 0) { // one that is missing makes the slope NaN
				x[s], y[s] = append(x[s], math.Log(float64(w))), append(y[s], math.Log(v))
			}
		}
	}
	for _, s := range seeds {
		if slopes[s] = math.NaN(); len(x[s]) > 1 {
			_, slopes[s] = stat.LinearRegression(x[s], y[s], nil, false)
		}
	}
	return slopes, nil
}

// GradientClaims returns the claims that the frequent tasks' gradient and residual late in training fall with width, as powers of it.
// about says of which runs.
func GradientClaims(about string, runs results.Runs) ([]Claim, error) {
	list := []Claim{
		{ID: "frequent_gradient", Name: about + "late gradient of the frequent tasks falls with width (power of N)", Minimum: PowerEffect},
		{ID: "residual", Name: about + "their residual falls with width (power of N)", Minimum: PowerEffect},
	}
	for i, c := range list {
		slopes, err := SlopesOnWidth(runs, c.ID)
		if err != nil {
			return nil, err
		}
		for seed, slope := range slopes {
			slopes[seed] = -slope
		}
		list[i].Effect = slopes
	}
	return list, nil
}
