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
			for _, region := range regions(split, top, inTheEnd) {
				panel.Layers = append(panel.Layers, chosen(region, i, j, chart.Any))
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

// inTheEnd and soFar are the names of what a small model reaches of a larger one's loss, where its limit is known, and where the end of its
// training stands for that.
var (
	inTheEnd = [3]string{"reached by both", "by the small one, with more data", "by larger models alone"}
	soFar    = [3]string{"reached by both", "by the small one, until its training ends", "by larger models, at most"}
)

// regions are the bands between two sizes of a split, below a top.
func regions(s scaling.Split, top float64, names [3]string) (bands []chart.Layer) {
	colors := [3]int{reachedByBoth, byData, byModel}
	lows := [3]float64{s.ComputeSmall, s.ComputeSmall - s.Data, s.ComputeLarge}
	for i, high := range [3]float64{top, s.ComputeSmall, s.ComputeLarge + s.Model} {
		if low := lows[i]; high > low {
			bands = append(bands, chart.Layer{Kind: chart.Band, Name: names[i], Color: colors[i], X: []float64{s.Small, s.Large},
				Low: []float64{low, low}, High: []float64{high, high}})
		}
	}
	return bands
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
// bottlenecks that of the best encoder with the best decoders, L*(N). Of other nets the limit is not known: the end of training, which is
// above it, stands for it. Two widths and a budget are the reader's to choose.
func Capacity(runs results.Runs) (chart.Chart, error) {
	reigns, err := claims.Reigns(runs)
	if err != nil {
		return chart.Chart{}, err
	}
	loss, column := claims.WholeLoss(runs[0])
	c := chart.Chart{Name: "capacity", Title: "The argument inside the toy", Columns: 2,
		Caption: "Left: loss over compute (6 · weights that a sample uses · samples), means over seeds; diamonds: the middle of the " +
			"budgets at which a width is the best of all. Right: the loss there, and the loss at the end of training. Between two widths: " +
			"what the narrower one reaches of the wider one's loss. Triangles: both widths with the chosen budget, where their training " +
			"goes that far."}
	of := contest{guess: 1, names: soFar, byWidth: map[int]results.Runs{}}
	_, of.byWidth = results.By(runs, results.Width)
	of.limit = func(width int) float64 {
		return claims.Over(of.byWidth[width], func(r *results.Run) float64 { return loss(r, r.Last()) }).Mean
	}
	limits := chart.Panel{Y: chart.Axis{Label: "loss of the mixture", Name: "loss", Log: true}}
	if column == "full_loss" {
		m, err := claims.Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{column}})
		if err != nil {
			return chart.Chart{}, err
		}
		limits.Layers = append(limits.Layers, leastLoss(runs, m))
		of.limit, of.names, of.guess, of.known = m.OptimalLoss, inTheEnd, m.Trace(), true
		c.Subtitle = about(runs)
		c.Caption += " Dashed curve: the least loss of each width, below which it can't come, however long it trains; dashed upright: " +
			"N_s*(0), the largest width whose least loss is above what the chosen N_l has where it is the best."
	} else {
		c.Name, c.Title = runs[0].Mixture.Family+"-capacity", "The argument where the limit is not known"
	}
	all := sizesOf(runs)
	limits.X = all.axis()
	curves := chart.Panel{X: chart.Axis{Label: "compute (FLOPs)", Name: "compute", Log: true}, Y: limits.Y}
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
	for _, r := range reigns {
		if r.Open {
			continue
		}
		bests.X, bests.Y = append(bests.X, middle(r)), append(bests.Y, r.Loss)
		optimal.X, optimal.Y = append(optimal.X, of.size(r)), append(optimal.Y, r.Loss)
		if r.Loss <= of.guess { // else it is at its best before it has learned anything
			of.reigns = append(of.reigns, r)
		}
	}
	curves.Layers = append(curves.Layers, bests)
	limits.Layers = append(limits.Layers, atEnd(runs, measure(loss), claims.Interval).layer(chart.Points, "end of training", byModel), optimal)
	if len(of.reigns) > 1 {
		c.Choices = of.choices()
		spent, err := of.spent(runs)
		if err != nil {
			return c, err
		}
		bands, err := of.regions()
		if err != nil {
			return c, err
		}
		curves.Layers, limits.Layers = append(curves.Layers, spent...), append(bands, limits.Layers...)
	}
	c.Panels = []chart.Panel{curves, limits}
	return c, nil
}

// contest is what Capacity compares of widths.
type contest struct {
	reigns  []claims.Reign
	byWidth map[int]results.Runs
	limit   func(width int) float64
	known   bool    // the limit, of any width
	guess   float64 // loss of predicting nothing
	names   [3]string
}

// middle is the budget, in FLOPs, in the middle of a reign.
func middle(r claims.Reign) float64 { return math.Sqrt(r.From * r.To) }

func (c contest) size(r claims.Reign) float64 { return float64(Size.Of(c.byWidth[r.Width][0])) }

// choices offers the widths twice, as N_s and N_l, and the middles of their budgets.
func (c contest) choices() []chart.Choice {
	widths := xslices.Map(c.reigns, func(r claims.Reign) string { return fmt.Sprint(r.Width) })
	budgets := xslices.Map(c.reigns, func(r claims.Reign) string { return fmt.Sprintf("%.2g", middle(r)) })
	last := len(c.reigns) - 1
	return []chart.Choice{{Name: "N_s", Options: widths, Start: max(0, last-2)}, {Name: "N_l", Options: widths, Start: last},
		{Name: "FLOPs of each", Options: budgets, Start: last}}
}

// spent is what each width has with each budget, as far as its training went.
func (c contest) spent(runs results.Runs) (layers []chart.Layer, err error) {
	curves, err := claims.LossCurves(runs)
	for i, r := range c.reigns {
		for k, b := range c.reigns {
			l := chart.Layer{Kind: chart.Points, Name: "with the budget", Color: chart.Black, Shape: 3, X: []float64{middle(b)},
				Y: []float64{curves[r.Width].At(middle(b) / 6 / r.N)}}
			if !math.IsNaN(l.Y[0]) {
				layers = append(layers, chosen(l, i, chart.Any, k), chosen(l, chart.Any, i, k))
			}
		}
	}
	return layers, err
}

// regions are those of each two widths, and N_s*(0) of each.
func (c contest) regions() (layers []chart.Layer, err error) {
	optimal := map[float64]float64{}
	for _, r := range c.reigns {
		optimal[c.size(r)] = r.Loss
	}
	for j, large := range c.reigns {
		for i, small := range c.reigns[:j] {
			s, err := scaling.NewSplit(c.size(small), c.size(large), c.guess, c.limit(small.Width),
				func(n float64) (float64, error) { return optimal[n], nil })
			if err != nil {
				return nil, err
			}
			for _, region := range regions(s, c.guess, c.names) {
				layers = append(layers, chosen(region, i, j, chart.Any))
			}
		}
		if !c.known {
			continue
		}
		if n := claims.SmallerThan(c.limit, large, 0); n > 0 {
			layers = append(layers, chosen(rule("N_s*(0)", []float64{float64(n)}, nil), chart.Any, j, chart.Any))
		}
	}
	return layers, nil
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
