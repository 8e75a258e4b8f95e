package figure

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/results"
	"raretask/pkg/scaling"
	"raretask/pkg/theory"
)

// Colours of what a small model reaches of a larger one's loss.
const (
	reachedByBoth = 4
	byData        = 1
	byModel       = 3
)

// Fig1 draws the argument from scaling laws for a law of that name: losses of compute-optimal models and of models with any amount of
// data, and, of two sizes that the reader chooses, what the smaller one reaches of the larger one's loss. A budget is chosen, too, that
// both spend. Sizes and budgets ascend.
func Fig1(law scaling.Law, name string, small, large, budgets []float64) (chart.Chart, error) {
	c := chart.Chart{Name: "fig1", Title: "What a small model reaches of a larger one's loss", Subtitle: name,
		Caption: fmt.Sprintf("Loss of models at their compute-optimal amount of data, and as data grow without limit: L = %.4g + %.4g/N^%.3g + "+
			"%.4g/D^%.3g. Between two sizes: reached by both, by the smaller one with more data, or by larger models alone. Circles: both sizes "+
			"with the chosen budget.", law.E, law.A, law.Alpha, law.B, law.Beta)}
	sizes := func(values []float64) []string {
		return xslices.Map(values, func(v float64) string { return fmt.Sprintf("%.2g", v) })
	}
	choice := func(name string, of []float64) chart.Choice {
		return chart.Choice{Name: name, Options: sizes(of), Start: len(of) / 2}
	}
	c.Choices = []chart.Choice{choice("N_s", small), choice("N_l", large), choice("FLOPs of each", budgets)}
	low, high := small[0]/4, large[len(large)-1]*4
	top := law.ComputeOptimal(low)
	panel := chart.Panel{X: chart.Axis{Label: "parameters N", Name: "parameters", Log: true, Min: low, Max: high},
		Y: chart.Axis{Label: "loss (nats per token)", Name: "loss", Min: law.E - .04*(top-law.E), Max: top}}
	curve := func(name string, color int, of func(float64) float64) chart.Layer {
		l := chart.Layer{Kind: chart.Line, Name: name, Color: color}
		for i := range 61 {
			n := low * math.Pow(high/low, float64(i)/60)
			l.X, l.Y = append(l.X, n), append(l.Y, of(n))
		}
		return l
	}
	asymptotic := curve("any amount of data, L_∞(N)", chart.Black, law.Asymptotic)
	asymptotic.Dashed = true
	panel.Layers = append(panel.Layers, curve("compute-optimal, L_C(N)", chart.Black, law.ComputeOptimal), asymptotic)
	for i, s := range small {
		panel.Layers = append(panel.Layers, chosen(rule("", []float64{s}, nil), i, chart.Any, chart.Any))
		for j, l := range large {
			if s >= l {
				continue
			}
			split, err := law.Split(s, l, top)
			if err != nil {
				return c, err
			}
			for _, region := range []struct {
				name      string
				color     int
				low, high float64
			}{
				{"reached by both", reachedByBoth, split.ComputeSmall, top},
				{"by the small one, with more data", byData, split.ComputeSmall - split.Data, split.ComputeSmall},
				{"by larger models alone", byModel, split.ComputeLarge, split.ComputeLarge + split.Model},
			} {
				if region.high > region.low {
					panel.Layers = append(panel.Layers, chosen(chart.Layer{Kind: chart.Band, Name: region.name, Color: region.color, X: []float64{s, l},
						Low: []float64{region.low, region.low}, High: []float64{region.high, region.high}}, i, j, chart.Any))
				}
			}
		}
		for k, b := range budgets {
			panel.Layers = append(panel.Layers, chosen(spent(law, s, b), i, chart.Any, k))
		}
	}
	for j, l := range large {
		panel.Layers = append(panel.Layers, chosen(rule("", []float64{l}, nil), chart.Any, j, chart.Any))
		for k, b := range budgets {
			panel.Layers = append(panel.Layers, chosen(spent(law, l, b), chart.Any, j, k))
		}
	}
	c.Panels = []chart.Panel{panel}
	return c, nil
}

func chosen(l chart.Layer, options ...int) chart.Layer {
	l.Chosen = options
	return l
}

// spent is the loss of a size that gets a budget.
func spent(law scaling.Law, n, budget float64) chart.Layer {
	return chart.Layer{Kind: chart.Points, Name: "with the budget", Color: chart.Black, X: []float64{n}, Y: []float64{law.Loss(n, budget/6/n)}}
}

// Capacity draws the same inside of runs of one mixture: the loss over compute 6·P·steps·batch, in which P is the weights a sample uses, by
// width, with the budgets at which each width is the best of all; and by width the loss there and at the end of training, and for
// bottlenecks that of the best encoder with the best decoders, L*(N). Of other nets the limit is not known.
func Capacity(runs results.Runs) (chart.Chart, error) {
	reigns, err := claims.Reigns(runs)
	if err != nil {
		return chart.Chart{}, err
	}
	loss, column := claims.WholeLoss(runs[0])
	c := chart.Chart{Name: "capacity", Title: "The argument inside the toy", Columns: 2,
		Caption: "Left: loss over compute (6 · weights that a sample uses · samples), means over seeds; diamonds: the middle of the " +
			"budgets at which a width is the best of all. Right: the loss there, and the loss at the end of training."}
	var limit []chart.Layer // where it is known
	if column == "full_loss" {
		m, err := claims.Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{column}})
		if err != nil {
			return chart.Chart{}, err
		}
		limit = append(limit, leastLoss(runs, m))
		c.Subtitle = about(runs)
		c.Caption += " Dashed: the least loss of each width, below which it can't come, however long it trains."
	} else {
		c.Name, c.Title = runs[0].Mixture.Family+"-capacity", "The argument where the limit is not known"
	}
	all := sizesOf(runs)
	curves := chart.Panel{X: chart.Axis{Label: "compute (FLOPs)", Name: "compute", Log: true},
		Y: chart.Axis{Label: "loss of the mixture", Name: "loss", Log: true}}
	curves.Layers = all.each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
		cost := claims.FLOPs(runs[0])
		over := overSteps(runs, 1, measure(loss), claims.Interval)
		for i := range over.x {
			over.x[i] *= cost
		}
		return []chart.Layer{over.layer(chart.Line, name, color)}
	})
	bests := chart.Layer{Kind: chart.Points, Name: "best for its budget", Color: chart.Black, Shape: 4}
	optimal := chart.Layer{Kind: chart.Points, Name: "best for its budget, L_C", Color: byData, Shape: 4}
	_, byWidth := results.By(runs, results.Width)
	size := func(width int) float64 { return float64(Size.Of(byWidth[width][0])) }
	for _, r := range reigns {
		if r.Open {
			continue
		}
		bests.X, bests.Y = append(bests.X, math.Sqrt(r.From*r.To)), append(bests.Y, r.Loss)
		optimal.X, optimal.Y = append(optimal.X, size(r.Width)), append(optimal.Y, r.Loss)
	}
	curves.Layers = append(curves.Layers, bests)
	limits := chart.Panel{X: all.axis(), Y: chart.Axis{Label: "loss of the mixture", Name: "loss", Log: true}}
	limits.Layers = append(limit, atEnd(runs, measure(loss), claims.Interval).layer(chart.Points, "end of training", byModel), optimal)
	c.Panels = []chart.Panel{curves, limits}
	return c, nil
}

// leastLoss is L*(N), as a line.
func leastLoss(runs results.Runs, m theory.Mixture) chart.Layer {
	line := chart.Layer{Kind: chart.Line, Name: "least loss, L*(N)", Color: chart.Black, Dashed: true}
	widths, byWidth := results.By(runs, results.Width)
	for _, w := range widths {
		line.X, line.Y = append(line.X, float64(Size.Of(byWidth[w][0]))), append(line.Y, m.OptimalLoss(w))
	}
	return line
}
