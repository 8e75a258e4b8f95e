package figure

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/interference"
	"raretask/pkg/net"
	"raretask/pkg/probe"
	"raretask/pkg/results"
)

// injectionName says how a run's instances come.
func injectionName(r *results.Run) string {
	if i := r.Train.Injection; i.Gap > 1 {
		return fmt.Sprintf("%d every %d", i.Samples, i.Gap)
	}
	return fmt.Sprintf("%d every batch", r.Train.Injection.Samples)
}

// Fig6b draws the loss of the novel task's test instances over training at equal frequencies, by how instances come: in every batch, or
// many at once. A panel for each size.
func Fig6b(runs results.Runs) (chart.Chart, error) {
	if err := runs.Need(languageDesign(false, probe.TestLoss)); err != nil {
		return chart.Chart{}, err
	}
	bulk := runs.Where(func(r *results.Run) bool { return results.Gap(r) > 1 })
	if err := bulk.Need(languageDesign(false, probe.RecalledTest)); err != nil {
		return chart.Chart{}, err
	}
	c := chart.Chart{Name: "fig6b", Title: "Equal frequencies, longer gaps", Subtitle: aboutLanguage(runs),
		Caption: "Cross-entropy of the label of test instances. Where many come at once, the line is the loss just before them and the band " +
			"reaches to the loss right after, both averaged over the injections of each fortieth of training. Means over seeds."}
	gaps, _ := results.By(runs, results.Gap)
	sizes, bySize := results.By(runs, Size.Of)
	for _, n := range sizes {
		panel := chart.Panel{Title: fmt.Sprintf("%s = %d", Size.Symbol, n), Facets: []chart.Facet{{Name: Size.Name, Value: n}},
			X: chart.Axis{Label: "training step", Name: "step"}, Y: chart.Axis{Label: "test loss (nats)", Name: "loss"}}
		present, byGap := results.By(bySize[n], results.Gap)
		for _, g := range present {
			name, color := injectionName(byGap[g][0]), chart.Ordered(slices.Index(gaps, g), len(gaps))
			if g == 1 {
				panel.Layers = append(panel.Layers, overSteps(byGap[g], 0, of(probe.TestLoss, 1), claims.Interval).layer(chart.Line, name, color))
				continue
			}
			panel.Layers = append(panel.Layers, swung(byGap[g], name, color)...)
		}
		c.Panels = append(c.Panels, panel)
	}
	return c, nil
}

// swung draws the recalled test loss just before injections as a line and down to right after them as a band.
func swung(runs results.Runs, name string, color int) []chart.Layer {
	const bins = 40
	var at, before, after [bins]means
	schedule := runs[0].Train.Injection
	for _, r := range runs {
		steps, losses := r.Often(probe.RecalledTest)
		value := func(step int) (float64, bool) {
			i, there := slices.BinarySearch(steps, step)
			if !there {
				return 0, false
			}
			return losses[i], true
		}
		for end := schedule.From + schedule.Gap; end <= r.Train.Steps; end += schedule.Gap {
			bin := min(bins-1, end*bins/r.Train.Steps)
			b, ok1 := value(end - schedule.Steps())
			a, ok2 := value(end)
			if ok1 && ok2 {
				at[bin].x = append(at[bin].x, float64(end))
				before[bin].x, after[bin].x = append(before[bin].x, b), append(after[bin].x, a)
			}
		}
	}
	line := chart.Layer{Kind: chart.Line, Name: name, Color: color}
	band := chart.Layer{Kind: chart.Band, Name: name, Color: color}
	count := chart.Field{Name: "injections"}
	for i := range bins {
		if n := float64(len(at[i].x)); n > 0 {
			b, a := claims.Interval(before[i].x).Mean, claims.Interval(after[i].x).Mean
			x := claims.Interval(at[i].x).Mean
			line.X, line.Y, count.Values = append(line.X, x), append(line.Y, b), append(count.Values, n)
			band.X, band.Low, band.High = append(band.X, x), append(band.Low, min(a, b)), append(band.High, max(a, b))
		}
	}
	line.Fields = []chart.Field{count}
	return []chart.Layer{band, line}
}

// followed returns the steps at which an injection's beginning, its end and what follows until the next were seen closely, of those
// injections of which that is so, the last ones first; common to all runs.
func followed(runs results.Runs) (cycles [][]int) {
	steps, i := claims.CommonSteps(runs), runs[0].Train.Injection
	for end := i.From + runs[0].Train.Steps/i.Gap*i.Gap; end > i.From; end -= i.Gap {
		begin, next := end-i.Steps(), end-i.Steps()+i.Gap
		from, seen := slices.BinarySearch(steps, begin)
		to, last := slices.BinarySearch(steps, next)
		if _, ended := slices.BinarySearch(steps, end); seen && ended && last && to-from > 4 {
			cycles = append(cycles, steps[from:to+1])
		}
	}
	return cycles
}

// Fig8 draws how the loss of the novel task's test instances changes from an injection on until the next, by size, a panel for each of the
// last four injections that were followed closely; of the runs of the longest gap.
func Fig8(runs results.Runs) (chart.Chart, error) {
	runs = longestGap(runs)
	if err := runs.Need(languageDesign(false, probe.TestLoss)); err != nil {
		return chart.Chart{}, err
	}
	c := chart.Chart{Name: "fig8", Title: "What an injection leaves", Columns: 2,
		Subtitle: aboutLanguage(runs) + "; " + injectionName(runs[0]),
		Caption: "Change of the cross-entropy of the label of test instances since the beginning of an injection, which ends at the dotted " +
			"line; until the next one begins. Means over seeds."}
	all := sizesOf(runs)
	cycles := followed(runs)
	if len(cycles) == 0 {
		return c, fmt.Errorf("figure: no injection was followed until the next: want runs of more than one, with train.evaluations")
	}
	for i := min(4, len(cycles)) - 1; i >= 0; i-- {
		cycle := cycles[i]
		panel := chart.Panel{Title: fmt.Sprintf("from step %d on", cycle[0]), Facets: []chart.Facet{{Name: "begin", Value: cycle[0]}},
			X: chart.Axis{Label: "steps since the injection began", Name: "since"},
			Y: chart.Axis{Label: "change of test loss (nats)", Name: "change"}}
		panel.Layers = all.each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
			var m means
			for _, step := range cycle {
				m.add(float64(step-cycle[0]), claims.Interval(xslices.Map(runs, func(r *results.Run) float64 {
					at, _ := r.Index(step)
					from, _ := r.Index(cycle[0])
					return claims.Value(r, probe.TestLoss, at, 1) - claims.Value(r, probe.TestLoss, from, 1)
				})))
			}
			return []chart.Layer{m.layer(chart.Line, name, color)}
		})
		end := float64(runs[0].Train.Injection.Steps())
		panel.Layers = append(panel.Layers, chart.Layer{Kind: chart.Rule, Color: chart.Black, Dashed: true, X: []float64{end}})
		c.Panels = append(c.Panels, panel)
	}
	return c, nil
}

// share is of which neurons gradients are drawn: a quarter.
const share = 1. / 4

// Fig9 draws the cosines of a batch's gradient, of its part of the novel task's tokens and of the rest with the gradient of the novel task
// on the neurons of a layer's MLP, from an injection on until the next, by size; and those of the rest with the gradient of shuffled
// labels. Of the runs of the longest gap, averaged over the injections of the second half of training that were followed.
func Fig9(runs results.Runs, layer int) (chart.Chart, error) {
	runs = longestGap(runs)
	kinds := []string{interference.Whole, interference.Own, interference.Others, interference.Null}
	var columns []string
	for _, k := range kinds {
		columns = append(columns, interference.CosineOf(k, layer, share), interference.SpreadOf(k, layer, share))
	}
	if err := runs.Need(languageDesign(false, columns...)); err != nil {
		return chart.Chart{}, err
	}
	half := runs[0].Train.Steps / 2
	cycles := slices.DeleteFunc(followed(runs), func(cycle []int) bool { return cycle[len(cycle)-1] < half })
	if len(cycles) == 0 {
		return chart.Chart{}, fmt.Errorf("figure: no injection of the second half of training was followed until the next: want more evaluations")
	}
	c := chart.Chart{Name: "fig9", Title: "Gradients of batches beside that of the novel task", Columns: 2,
		Subtitle: aboutLanguage(runs) + "; " + injectionName(runs[0]),
		Caption: fmt.Sprintf("Cosines on the weights of the quarter of MLP %d's neurons that have the largest gradients of the novel task's "+
			"loss over all instances: means over %d batches for each point, %d injections and all seeds, and as bands the standard "+
			"deviation over batches.", layer, interference.CollisionBatches, len(cycles))}
	all := sizesOf(runs)
	titles := []string{"batch", "tokens of the task", "all other tokens", "other tokens, shuffled labels"}
	for k, kind := range kinds {
		panel := chart.Panel{Title: titles[k], Facets: []chart.Facet{{Name: "gradient", Value: kind}},
			X: chart.Axis{Label: "steps since the injection began", Name: "since"}, Y: chart.Axis{Label: "cosine", Name: "cosine"}}
		panel.Layers = all.each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
			line, band := since(runs, cycles, kind, layer)
			line.Name, line.Color, band.Name, band.Color = name, color, name, color
			switch {
			case len(line.X) == 0:
				return nil
			case kind == interference.Own: // only where an injection begins
				line.Kind, line.Low, line.High = chart.Points, band.Low, band.High
				return []chart.Layer{line}
			}
			return []chart.Layer{band, line}
		})
		c.Panels = append(c.Panels, panel)
	}
	return c, nil
}

// since returns the cosines of a gradient over the steps since injections began, and as a band their spread over batches: means over
// injections and runs.
func since(runs results.Runs, cycles [][]int, kind string, layer int) (line, band chart.Layer) {
	line.Kind, band.Kind = chart.Line, chart.Band
	for i, step := range cycles[0] {
		var cosines, spreads []float64
		for _, cycle := range cycles {
			if i >= len(cycle) || cycle[i]-cycle[0] != step-cycles[0][0] {
				continue
			}
			for _, r := range runs {
				at, _ := r.Index(cycle[i])
				cosines = append(cosines, claims.Value(r, interference.CosineOf(kind, layer, share), at, 1))
				spreads = append(spreads, claims.Value(r, interference.SpreadOf(kind, layer, share), at, 1))
			}
		}
		if mean := claims.Interval(cosines).Mean; !math.IsNaN(mean) {
			x, spread := float64(step-cycles[0][0]), claims.Interval(spreads).Mean
			line.X, line.Y = append(line.X, x), append(line.Y, mean)
			band.X, band.Low, band.High = append(band.X, x), append(band.Low, mean-spread), append(band.High, mean+spread)
		}
	}
	return line, band
}

// Collisions draws against size, at the end of training, how widely the cosines of the rest of a batch's gradient with the novel task's
// spread over batches, and those with the gradient of shuffled labels; and the spread of random directions in as many dimensions, 1/√n. A
// panel for each share of an MLP's neurons.
func Collisions(runs results.Runs, layer int) (chart.Chart, error) {
	runs = longestGap(runs)
	kinds := []string{interference.Others, interference.Null}
	var columns []string
	for _, s := range interference.Shares {
		for _, kind := range kinds {
			columns = append(columns, interference.SpreadOf(kind, layer, s))
		}
	}
	if err := runs.Need(languageDesign(true, columns...)); err != nil {
		return chart.Chart{}, err
	}
	c := chart.Chart{Name: "collisions", Title: "How far gradients of the language run into that of the task", Columns: 3,
		Subtitle: aboutLanguage(runs) + "; " + injectionName(runs[0]),
		Caption: "Standard deviation over batches of the cosine of the gradient of all tokens but the task's with the gradient of the task, on " +
			"the weights of some of an MLP's neurons, at the end of training; mean over seeds."}
	for _, s := range interference.Shares {
		title := fmt.Sprintf("top %.0f%% of the neurons", 100*s)
		if s == 1 {
			title = "all neurons"
		}
		panel := chart.Panel{Title: title, Facets: []chart.Facet{{Name: "share", Value: s}},
			X: sizesOf(runs).axis(), Y: chart.Axis{Label: "spread of the cosine", Name: "spread", Log: true}}
		for i, kind := range kinds {
			m := atEnd(runs, of(interference.SpreadOf(kind, layer, s), 1), claims.Interval)
			points := m.layer(chart.Points, []string{"the task", "shuffled labels"}[i], []int{0, 1}[i])
			points.Low, points.High, points.Shape = nil, nil, 1+i
			panel.Layers = append(panel.Layers, points)
		}
		random := chart.Layer{Kind: chart.Line, Name: "random directions", Color: chart.Black, Dashed: true}
		widths, byWidth := results.By(runs, results.Width)
		for _, w := range widths {
			n := byWidth[w][0].New().(*net.Transformer)
			numbers := math.Round(s*float64(n.MLP/2)) * 3 * float64(n.Width)
			random.X, random.Y = append(random.X, float64(Size.Of(byWidth[w][0]))), append(random.Y, 1/math.Sqrt(numbers))
		}
		panel.Layers = append(panel.Layers, random)
		c.Panels = append(c.Panels, panel)
	}
	return c, nil
}
