package claims

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/results"
	"raretask/pkg/scaling"
)

// Reign is the budgets at which a width is the best of all, by the mean of its seeds.
type Reign struct {
	scaling.Reign // N is the weights that a sample uses, D samples
	Width         int
}

// FLOPs returns what a step of a run takes: 6 for each sample and weight that it uses (Kaplan et al., arXiv 2001.08361, 2.1).
func FLOPs(r *results.Run) float64 {
	used, _ := r.New().Cost()
	return 6 * float64(used) * float64(r.Train.Batch)
}

// WholeLoss returns how the loss of a mixture over training is read from runs of any family, and the column that it is in. Of bottlenecks
// it is that with the learned decoders: with the best ones a wide net is ahead before it has learned anything. Where a schedule says when a
// task comes it is that of the first task, such as a language's plain windows.
func WholeLoss(r *results.Run) (loss Bits, column string) {
	of := func(column string) (Bits, string) {
		return func(r *results.Run, i int) float64 { return Value(r, column, i, 1) }, column
	}
	switch {
	case r.Net.Kind == "bottleneck" && r.Mixture.Family == "regression":
		return of("full_loss")
	case r.Train.Injection.Task != 0:
		return of("loss_sampled")
	}
	return MixtureBits, "loss_sampled"
}

// Reigns returns the frontier of runs of one mixture, of the loss of the mixture over compute.
func Reigns(runs results.Runs) ([]Reign, error) {
	curves, err := LossCurves(runs)
	if err != nil {
		return nil, err
	}
	width := map[float64]int{}
	for w, c := range curves {
		width[c.N] = w
	}
	return xslices.Map(scaling.Frontier(slices.Collect(maps.Values(curves))), func(r scaling.Reign) Reign { return Reign{r, width[r.N]} }), nil
}

// LossCurves returns the loss of the mixture over training, by width: means over seeds.
func LossCurves(runs results.Runs) (map[int]scaling.Curve, error) {
	if len(runs) == 0 {
		return nil, fmt.Errorf("claims: no runs")
	}
	loss, column := WholeLoss(runs[0])
	if err := runs.Need(results.Design{Vary: []string{"net.width", "train.rate"}, Columns: []string{column}}); err != nil {
		return nil, err
	}
	curves := map[int]scaling.Curve{}
	widths, byWidth := results.By(runs, results.Width)
	for _, w := range widths {
		own := byWidth[w]
		if rates, _ := results.By(own, results.Rate); len(rates) > 1 {
			return nil, fmt.Errorf("claims: width %d has runs of the rates %v: select one", w, rates)
		}
		used, _ := own[0].New().Cost()
		c := scaling.Curve{N: float64(used)}
		for i, step := range own[0].Steps {
			e := Over(own, func(r *results.Run) float64 { return loss(r, i) })
			if step == 0 || e.Failed > 0 {
				continue
			}
			c.D, c.Loss = append(c.D, float64(step*own[0].Train.Batch)), append(c.Loss, e.Mean)
		}
		if len(c.D) < 2 {
			return nil, fmt.Errorf("claims: width %d has %d evaluations that all seeds passed: want two at least", w, len(c.D))
		}
		curves[w] = c
	}
	return curves, nil
}

// SmallerThan returns N_s*(eps) of the paper's Definition 2, the largest width whose limit is more than eps above what a wider net has at
// the budgets for which it is the best; 0 where none is.
func SmallerThan(limit func(width int) float64, large Reign, eps float64) int {
	for n := large.Width - 1; n > 0; n-- {
		if limit(n) > large.Loss+eps {
			return n
		}
	}
	return 0
}

// Floor is how near to the best encoder's loss a width comes, and how fast losses fall from it to twice the width.
type Floor struct {
	Width  int
	Above  BySeed // encoder loss at the end over L*(N), less 1
	Slope  BySeed // of ln loss on ln N from N to 2N; nil where 2N was not trained
	Theory float64
}

// Floors returns the floors of runs of one mixture.
func Floors(runs results.Runs) ([]Floor, error) {
	m, err := Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"encoder_loss"}, Final: true, Absent: true})
	if err != nil {
		return nil, err
	}
	var all []Floor
	widths, byWidth := results.By(runs, results.Width)
	at := func(w int) (BySeed, error) {
		return perSeed(runs, byWidth[w], func(r *results.Run) float64 { return Final(r, "encoder_loss", 1) })
	}
	for _, w := range widths {
		loss, err := at(w)
		if err != nil {
			return nil, err
		}
		f := Floor{Width: w, Above: BySeed{}}
		for seed, v := range loss {
			f.Above[seed] = v/m.OptimalLoss(w) - 1
		}
		if len(byWidth[2*w]) > 0 {
			twice, err := at(2 * w)
			if err != nil {
				return nil, err
			}
			f.Slope, f.Theory = BySeed{}, math.Log2(m.OptimalLoss(2*w)/m.OptimalLoss(w))
			for seed, v := range loss {
				f.Slope[seed] = math.Log2(twice[seed] / v)
			}
		}
		all = append(all, f)
	}
	return all, nil
}
