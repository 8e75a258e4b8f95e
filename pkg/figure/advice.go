package figure

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/scaling"
	"raretask/pkg/sizing"
)

// IsoLearning draws, for some tasks (from 1) of mixtures of regressions that the reader chooses from, the least frequency at which each
// width learns one, the others sharing the rest as they do, and where the mixture is; and the same against the compute of a training, by
// width.
func IsoLearning(
	choice string, names []string, mixtures []sizing.Mixture, tasks, widths []int, flops func(width int) float64,
) (chart.Chart, error) {
	c := chart.Chart{Name: "iso-learning", Title: "Size or frequency: what a task needs", Columns: 2,
		Choices: []chart.Choice{{Name: choice, Options: names, Start: len(names) - 1}},
		Caption: "Along a line a task's first direction is just worth a neuron: above it the task is learned. Circles: the task's frequency in " +
			"this mixture, at the least width that learns it there. Theory; nothing is trained."}
	if len(tasks) == 0 || len(widths) == 0 || len(names) != len(mixtures) || len(names) == 0 {
		return c, fmt.Errorf("figure: %d tasks, %d widths, %d mixtures of %d names: want some of each", len(tasks), len(widths), len(mixtures),
			len(names))
	}
	frequency := chart.Axis{Label: "least frequency of the task", Name: "frequency", Log: true}
	c.Panels = []chart.Panel{
		{Title: "by size", X: chart.Axis{Label: Width.Label, Name: Width.Name, Log: true}, Y: frequency},
		{Title: "by compute", X: chart.Axis{Label: "compute of a training (FLOPs)", Name: "compute", Log: true}, Y: frequency}}
	for option, m := range mixtures {
		for i, task := range tasks {
			if task < 1 || task > m.Tasks() {
				return c, fmt.Errorf("figure: task %d: want 1 … %d", task, m.Tasks())
			}
			for p, x := range []func(int) float64{func(w int) float64 { return float64(w) }, flops} {
				for _, l := range isoLearning(m, task, widths, x) {
					l.Name, l.Color, l.Chosen = fmt.Sprintf("task %d", task), chart.Ordered(i, len(tasks)), []int{option}
					c.Panels[p].Layers = append(c.Panels[p].Layers, l)
				}
			}
		}
	}
	return c, nil
}

// isoLearning is the line of one task, and where the mixture is on it.
func isoLearning(m sizing.Mixture, task int, widths []int, x func(width int) float64) []chart.Layer {
	line, at := chart.Layer{Kind: chart.Line}, chart.Layer{Kind: chart.Points, Shape: 1}
	for _, w := range widths {
		if p := m.SmallestFrequency(task-1, w, 1); p > 0 {
			line.X, line.Y = append(line.X, x(w)), append(line.Y, p)
		}
	}
	if w := m.NStar(1)[task-1].Every; w > 0 {
		at.X, at.Y = []float64{x(w)}, []float64{m.Frequency[task-1]}
	}
	return []chart.Layer{line, at}
}

// farMargin is where margins are drawn no farther.
const farMargin = 1.5

// Tried draws predictions of theory against outcomes: the loss of every task and width of mixtures that no fit has seen, by the margin with
// which it was predicted to be learned or not.
func Tried(pairs []sizing.Pair) (chart.Chart, error) {
	s := sizing.Count(pairs)
	c := chart.Chart{Name: "tried", Title: "Predicted before training, and trained",
		Subtitle: fmt.Sprintf("%.1f%% of %d pairs away from ties right; %.1f%% of %d losses within their intervals", 100*s.Accuracy(), s.Known,
			100*s.Coverage(), s.Pairs),
		Caption: "Each point is one task at one width. Margin: ln of its first direction's utility over that which it competes with; right of " +
			"0 " +
			"it is learned by theory. Loss relative to nothing learned, after training. Margins beyond 1.5 are not drawn."}
	layers := map[bool]*chart.Layer{true: {Kind: chart.Points, Name: "as predicted", Color: 0, Shape: 1},
		false: {Kind: chart.Points, Name: "not as predicted", Color: 3, Shape: 2}}
	for _, right := range []bool{true, false} {
		l := layers[right]
		var mixtures, tasks, widths []float64
		for _, p := range pairs {
			if p.Right() == right && math.Abs(p.Margin) < farMargin {
				l.X, l.Y = append(l.X, p.Margin), append(l.Y, p.Loss)
				mixtures, tasks, widths = append(mixtures, float64(p.Mixture+1)), append(tasks, float64(p.Task+1)), append(widths, float64(p.Width))
			}
		}
		l.Fields = []chart.Field{{Name: "mixture", Values: mixtures}, {Name: "task", Values: tasks}, {Name: "width", Values: widths}}
	}
	c.Panels = []chart.Panel{{X: chart.Axis{Label: "margin", Name: "margin", Min: -farMargin, Max: farMargin},
		Y:      chart.Axis{Label: "loss after training", Name: "loss", Min: 0, Max: 1.25},
		Layers: []chart.Layer{rule("a tie", []float64{-sizing.NearTie, sizing.NearTie}, nil), *layers[true], *layers[false]}}}
	return c, nil
}

// Rules draws how often ways to tell what will be learned are right on mixtures that they have not seen, a panel for each family.
func Rules(names []string, all [][]sizing.Rule) (chart.Chart, error) {
	c := chart.Chart{Name: "rules", Title: "Models of the threshold beside simple rules", Columns: 1,
		Caption: "Share of pairs of task and width, in mixtures that no fit has seen, that are told right; bars: 95% intervals for so many."}
	for i, rules := range all {
		panel := chart.Panel{Title: names[i], Facets: []chart.Facet{{Name: "family", Value: names[i]}},
			X: chart.Axis{Label: "told right", Name: "right", Min: .5, Max: 1.005},
			Y: chart.Axis{Label: " ", Name: "rule", Categories: xslices.Map(rules, func(r sizing.Rule) string { return r.Name }), Reverse: true}}
		for j, r := range rules {
			p := r.Accuracy()
			half := 1.96 * math.Sqrt(p*(1-p)/float64(r.Told))
			panel.Layers = append(panel.Layers, interval(scaling.Interval{Estimate: p, Low: p - half, High: min(1, p+half)}, float64(j))...)
		}
		c.Panels = append(c.Panels, panel)
	}
	return c, nil
}

// SizeThreshold draws which tasks the runs of a sweep learned, by size and frequency, and the frequency from which the fitted model has a
// size learn one in two trainings, with its band, and in nine of ten.
func SizeThreshold(l *sizing.Learning) (chart.Chart, error) {
	e := l.Exponent(1, 0)
	c := chart.Chart{Name: "threshold-model", Title: "The frequency that a size needs",
		Subtitle: fmt.Sprintf("threshold ~ size^%.2f (%.2f to %.2f); %d outcomes", e.Estimate, e.Low, e.High, l.Outcomes),
		Caption: "Points: share of trainings in which a task of that frequency was learned at that size. Lines: where the model has it " +
			"learned in " +
			"one of two trainings (band: 95%), and in nine of ten."}
	points := chart.Layer{Kind: chart.Points, Shape: 1, ValueLabel: "learned by", ValueName: "learned", ValueMax: 1}
	var runs []float64
	var widths []float64
	for _, t := range l.Tasks {
		for _, o := range t.Shown {
			points.X, points.Y = append(points.X, float64(o.Width)), append(points.Y, t.Frequency)
			points.Value, runs = append(points.Value, float64(o.Learned)/float64(o.Runs)), append(runs, float64(o.Runs))
			widths = append(widths, float64(o.Width))
		}
	}
	points.Fields = []chart.Field{{Name: "trainings", Values: runs}}
	half := chart.Layer{Kind: chart.Line, Name: "one of two", Color: chart.Black}
	band := chart.Layer{Kind: chart.Band, Name: "one of two", Color: chart.Black}
	sure := chart.Layer{Kind: chart.Line, Name: "nine of ten", Color: chart.Black, Dashed: true}
	low, high := l.Low[1], l.High[1]
	for i := range 41 {
		w := l.Low[0] * math.Pow(l.High[0]/l.Low[0], float64(i)/40)
		p, q := l.Needed(1, []float64{w, 1}, .5), l.Needed(1, []float64{w, 1}, .9)
		if p.Estimate > low/3 && p.Estimate < high*3 {
			half.X, half.Y = append(half.X, w), append(half.Y, p.Estimate)
			band.X, band.Low, band.High = append(band.X, w), append(band.Low, p.Low), append(band.High, p.High)
		}
		if q.Estimate > low/3 && q.Estimate < high*3 {
			sure.X, sure.Y = append(sure.X, w), append(sure.Y, q.Estimate)
		}
	}
	slices.Sort(widths)
	c.Panels = []chart.Panel{{X: chart.Axis{Label: Width.Label, Name: Width.Name, Log: true, Ticks: slices.Compact(widths)},
		Y: chart.Axis{Label: l.Variables[1], Name: "frequency", Log: true}, Layers: []chart.Layer{band, points, half, sure}}}
	return c, nil
}

// Diagnosed draws learning curves by size, a panel for each task and frequency, with the answers to whether it is size or data: dashed,
// where a smaller size's own curve leads.
func Diagnosed(name string, curves []sizing.Curve, answers []sizing.Diagnosis) (chart.Chart, error) {
	c := chart.Chart{Name: name, Title: "Is it size or data?",
		Caption: "Learning curves by size. Dashed lines go on along the curve of a smaller size, a projection."}
	all := xslices.Map(curves, func(c sizing.Curve) float64 { return c.Size })
	slices.Sort(all)
	all = slices.Compact(all)
	color := func(size float64) int { return chart.Ordered(slices.Index(all, size), len(all)) }
	type place struct {
		task      string
		frequency float64
	}
	var seen []place
	for _, d := range answers {
		at := place{d.Task, d.Frequency}
		if slices.Contains(seen, at) {
			continue
		}
		seen = append(seen, at)
		panel := chart.Panel{Title: d.Task, Facets: []chart.Facet{{Name: "task", Value: d.Task}, {Name: "frequency", Value: d.Frequency}},
			X: chart.Axis{Label: "data", Name: "data", Log: true}, Y: chart.Axis{Label: "loss", Name: "loss"}}
		if d.Frequency > 0 {
			panel.Title += fmt.Sprintf(", frequency %.3g", d.Frequency)
		}
		for _, one := range curves {
			if one.Task == d.Task && one.Frequency == d.Frequency {
				panel.Layers = append(panel.Layers, chart.Layer{Kind: chart.Line, Name: fmt.Sprintf("size %.3g", one.Size), X: one.Data, Y: one.Y,
					Color: color(one.Size)})
			}
		}
		given := map[string]bool{}
		for _, own := range answers {
			if own.Task != d.Task || own.Frequency != d.Frequency {
				continue
			}
			given[own.Answer] = true
			if x, y := own.Further(10); len(x) > 0 {
				panel.Layers = append(panel.Layers, chart.Layer{Kind: chart.Line, Dashed: true, X: x, Y: y, Color: color(own.Size)})
			}
		}
		if len(given) == 1 {
			panel.Title += ": " + d.Answer
		}
		c.Panels = append(c.Panels, panel)
	}
	return c, nil
}

// Effects draws what a change of each domain's ratio, the others shrinking in proportion, does to metrics: a panel for each.
func Effects(metrics []string, surfaces []*sizing.Surface, at []float64, step float64) (chart.Chart, error) {
	c := chart.Chart{Name: "effects", Title: fmt.Sprintf("What %+.2g of a domain changes", step),
		Caption: "Change of each metric where one domain's ratio grows by a step and the others shrink in proportion, with 95% intervals."}
	for i, s := range surfaces {
		panel := chart.Panel{Title: metrics[i], Facets: []chart.Facet{{Name: "metric", Value: metrics[i]}},
			X: chart.Axis{Label: "change", Name: "change"},
			Y: chart.Axis{Label: " ", Name: "domain", Categories: s.Domains, Reverse: true}}
		panel.Layers = append(panel.Layers, chart.Layer{Kind: chart.Rule, Color: chart.Black, Dashed: true, X: []float64{0}})
		for d := range s.Domains {
			e, err := s.Effect(at, d, step)
			if err != nil {
				return c, err
			}
			panel.Layers = append(panel.Layers, interval(e, float64(d))...)
		}
		c.Panels = append(c.Panels, panel)
	}
	return c, nil
}

// interval draws an estimate and its interval along x.
func interval(e scaling.Interval, y float64) []chart.Layer {
	return []chart.Layer{{Kind: chart.Line, Color: chart.Black, X: []float64{e.Low, e.High}, Y: []float64{y, y}},
		{Kind: chart.Points, Color: 0, Shape: 1, X: []float64{e.Estimate}, Y: []float64{y}}}
}
