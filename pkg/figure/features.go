package figure

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/corpus"
	"raretask/pkg/interference"
	"raretask/pkg/net"
	"raretask/pkg/probe"
	"raretask/pkg/results"
)

// languageDesign is that of figures of language models.
func languageDesign(final bool, columns ...string) results.Design {
	vary := slices.Concat(bySize, bySchedule, []string{"train.injection.length"})
	return results.Design{Vary: vary, Columns: columns, Final: final}
}

// Fig6a draws over training the loss of the novel task's training instances, a line for each frequency, and beside it two rules of the
// language itself as they are learned in the runs of the median frequency; a panel for each size.
func Fig6a(runs results.Runs) (chart.Chart, error) {
	if err := runs.Need(languageDesign(false, probe.TrainLoss, probe.CommonRule, probe.RareRule)); err != nil {
		return chart.Chart{}, err
	}
	all, _ := results.By(runs, perToken)
	c := chart.Chart{Name: "fig6a", Title: "The novel task beside two rules of the language", Subtitle: aboutLanguage(runs),
		Caption: "Cross-entropy of the label on training instances, by instances per token. Dashed: by how much the cross-entropy of what " +
			"follows a token of the language exceeds its entropy, for a common token and for the rarest one, in the runs of the middle " +
			"frequency. Means over seeds."}
	sizes, bySize := results.By(runs, Size.Of)
	for _, n := range sizes {
		panel := chart.Panel{Title: fmt.Sprintf("%s = %d", Size.Symbol, n), Facets: []chart.Facet{{Name: Size.Name, Value: n}}, X: stepAxis,
			Y: chart.Axis{Label: "loss (nats)", Name: "loss", Log: true}}
		present, byFrequency := results.By(bySize[n], perToken)
		for _, f := range present {
			m := overSteps(byFrequency[f], 1, of(probe.TrainLoss, 1), claims.Interval).on(panel.Y)
			panel.Layers = append(panel.Layers, m.layer(chart.Line, fmt.Sprintf("%.2g", f), chart.Ordered(slices.Index(all, f), len(all))))
		}
		middle := byFrequency[present[len(present)/2]]
		for i, column := range []string{probe.CommonRule, probe.RareRule} {
			rule := overSteps(middle, 1, of(column, 1), claims.Interval).on(panel.Y).
				layer(chart.Line, []string{"common rule", "rare rule"}[i], []int{chart.Black, 5}[i])
			rule.Dashed = true
			panel.Layers = append(panel.Layers, rule)
		}
		c.Panels = append(c.Panels, panel)
	}
	return c, nil
}

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

// longest returns the runs of the longest gap.
func longest(runs results.Runs) results.Runs {
	gaps, byGap := results.By(runs, results.Gap)
	return byGap[gaps[len(gaps)-1]]
}

// Fig8 draws how the loss of the novel task's test instances changes from an injection on until the next, by size, a panel for each of the
// last four injections that were followed closely; of the runs of the longest gap.
func Fig8(runs results.Runs) (chart.Chart, error) {
	runs = longest(runs)
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
	runs = longest(runs)
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
			"deviation over batches.", layer, 16, len(cycles))}
	all := sizesOf(runs)
	titles := []string{"batch", "tokens of the task", "all other tokens", "other tokens, shuffled labels"}
	for k, kind := range kinds {
		panel := chart.Panel{Title: titles[k], Facets: []chart.Facet{{Name: "gradient", Value: kind}},
			X: chart.Axis{Label: "steps since the injection began", Name: "since"}, Y: chart.Axis{Label: "cosine", Name: "cosine"}}
		panel.Layers = all.each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
			line := chart.Layer{Kind: chart.Line, Name: name, Color: color}
			band := chart.Layer{Kind: chart.Band, Name: name, Color: color}
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
					spread := claims.Interval(spreads).Mean
					line.X, line.Y = append(line.X, float64(step-cycles[0][0])), append(line.Y, mean)
					band.X, band.Low, band.High = append(band.X, line.X[len(line.X)-1]), append(band.Low, mean-spread), append(band.High, mean+spread)
				}
			}
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

// Fig7a draws what nets represent of the order of symbols: their places along the direction that moves the label, by number; the R² of
// numbers on the first principal components over training, by frequency in the largest net and by size at the middle frequency.
func Fig7a(runs results.Runs) (chart.Chart, error) {
	settings, ok := runs[0].Mixture.Settings.(corpus.Injecting)
	if !ok {
		return chart.Chart{}, fmt.Errorf("figure: family %s: want one into which a novel task is injected", runs[0].Mixture.Family)
	}
	_, symbols := settings.Injects()
	columns := []string{probe.ValueR2}
	for v := range symbols {
		columns = append(columns, probe.OrderOf(v))
	}
	if err := runs.Need(languageDesign(true, columns...)); err != nil {
		return chart.Chart{}, err
	}
	if err := runs.Need(languageDesign(false, probe.ValueR2)); err != nil {
		return chart.Chart{}, err
	}
	all, middle := sizesOf(runs), middleFrequency(runs)
	k := probe.ComponentsOf(symbols)
	c := chart.Chart{Name: "fig7a", Title: "The order of the symbols, inside", Subtitle: aboutLanguage(runs), Columns: 3,
		Caption: fmt.Sprintf("Streams of the symbols after the first layer. Left: places along the direction found by distributed alignment "+
			"search, in units of their standard deviation, one net of each size. Middle and right: R² of the symbols' numbers on %d principal "+
			"components; dashed: that of numbers without meaning. Means over seeds.", k)}
	geometry := chart.Panel{Title: "geometry", X: chart.Axis{Label: "number of the symbol", Name: "number"},
		Y: chart.Axis{Label: "place along the order", Name: "place"}}
	geometry.Layers = all.each(middle, func(name string, color int, runs results.Runs) []chart.Layer {
		l := chart.Layer{Kind: chart.Points, Name: name, Color: color, Shape: 1 + slices.Index(all, Size.Of(runs[0]))%chart.Shapes}
		sum := 0.
		for v := range symbols {
			place := runs[0].Final(probe.OrderOf(v), 1)
			l.X, l.Y = append(l.X, float64(v)), append(l.Y, place)
			sum += place * place
		}
		for i := range l.Y {
			l.Y[i] /= math.Sqrt(sum / float64(symbols))
		}
		return []chart.Layer{l}
	})
	null := chart.Layer{Kind: chart.Rule, Name: "no meaning", Color: chart.Black, Dashed: true, Y: []float64{float64(k) / float64(symbols-1)}}
	panels := overFrequencyAndSize(runs, probe.ValueR2, fmt.Sprintf("R² (top %d components)", k))
	for i := range panels {
		panels[i].Layers, panels[i].Y.Max = append(panels[i].Layers, null), 1
	}
	c.Panels = append([]chart.Panel{geometry}, panels...)
	return c, nil
}

// Fig7b draws what nets represent of sums: the mean of each sum's instances on the plane of the first two principal components of the last
// layer, and the Fourier modes of the sum over training, by frequency in the largest net and by size at the middle frequency.
func Fig7b(runs results.Runs) (chart.Chart, error) {
	settings, ok := runs[0].Mixture.Settings.(corpus.Injecting)
	if !ok {
		return chart.Chart{}, fmt.Errorf("figure: family %s: want one into which a novel task is injected", runs[0].Mixture.Family)
	}
	_, symbols := settings.Injects()
	columns := []string{probe.FourierModes}
	for c := range symbols {
		columns = append(columns, probe.PlaneOf(1, c), probe.PlaneOf(2, c))
	}
	if err := runs.Need(languageDesign(true, columns...)); err != nil {
		return chart.Chart{}, err
	}
	if err := runs.Need(languageDesign(false, probe.FourierModes)); err != nil {
		return chart.Chart{}, err
	}
	c := chart.Chart{Name: "fig7b", Title: "Sums, inside", Subtitle: aboutLanguage(runs), Columns: 3,
		Caption: "Left: mean of each sum's instances after the last layer, at the second symbol, on their first two principal components; one " +
			"net. Middle and right: modes of the sum that hold more than twice their share of noise, over all layers. Means over seeds."}
	largest := sizesOf(runs).largest(middleFrequency(runs))
	plane := chart.Panel{Title: fmt.Sprintf("geometry, %s = %d", Size.Symbol, Size.Of(largest[0])),
		X: chart.Axis{Label: "principal component 1", Name: "pc1"}, Y: chart.Axis{Label: "principal component 2", Name: "pc2"}}
	points := chart.Layer{Kind: chart.Points, Shape: 1, ValueLabel: "sum", ValueName: "sum"}
	for s := range symbols {
		points.X = append(points.X, largest[0].Final(probe.PlaneOf(1, s), 1))
		points.Y = append(points.Y, largest[0].Final(probe.PlaneOf(2, s), 1))
		points.Value = append(points.Value, float64(s))
	}
	plane.Layers = []chart.Layer{points}
	c.Panels = append([]chart.Panel{plane}, overFrequencyAndSize(runs, probe.FourierModes, "Fourier modes")...)
	return c, nil
}

// middleFrequency returns the runs of the middle one of the frequencies.
func middleFrequency(runs results.Runs) results.Runs {
	all, byFrequency := results.By(runs, perToken)
	return byFrequency[all[len(all)/2]]
}

// overFrequencyAndSize draws a column over training: a line for each frequency in the largest nets, and one for each size at the middle
// frequency.
func overFrequencyAndSize(runs results.Runs, column, label string) []chart.Panel {
	all := sizesOf(runs)
	frequencies, byFrequency := results.By(all.largest(runs), perToken)
	first := chart.Panel{Title: fmt.Sprintf("frequency, %s = %d", Size.Symbol, all[len(all)-1]), X: stepAxis, Y: chart.Axis{Label: label}}
	for i, f := range frequencies {
		m := overSteps(byFrequency[f], 1, of(column, 1), claims.Interval)
		first.Layers = append(first.Layers, m.layer(chart.Line, fmt.Sprintf("%.2g per token", f), chart.Ordered(i, len(frequencies))))
	}
	middle := middleFrequency(runs)
	second := all.overTraining(fmt.Sprintf("size, %.2g per token", perToken(middle[0])), label, false, middle, of(column, 1))
	second.Layers = fewSeeds(second.Layers)
	return []chart.Panel{first, second}
}

// Interchanges draws over training how often an interchange along one direction of the first symbol's stream moves the label as it should,
// and along a random direction, a panel for each frequency, a series for each size.
func Interchanges(runs results.Runs) (chart.Chart, error) {
	if err := runs.Need(languageDesign(false, probe.Interchange, probe.Interchanged)); err != nil {
		return chart.Chart{}, err
	}
	all := sizesOf(runs)
	c := chart.Chart{Name: "interchange", Title: "One direction that moves the label", Subtitle: aboutLanguage(runs),
		Caption: "Share of test pairs whose label is that of the other window's first symbol once its part along one direction, found by " +
			"distributed alignment search on training pairs, is put in the place of the window's own, after the first layer; half of the " +
			"pairs need another label. Dashed: a random direction, the mean of all sizes. Means over seeds."}
	c.Panels = frequencies(runs, func(runs results.Runs) chart.Panel {
		panel := all.overTraining("", "interchange accuracy", false, runs, of(probe.Interchange, 1))
		panel.Layers = fewSeeds(panel.Layers)
		random := overSteps(runs, 1, of(probe.Interchanged, 1), claims.Interval).layer(chart.Line, "random direction", chart.Black)
		random.Dashed = true
		panel.Layers, panel.Y.Max = append(panel.Layers, random), 1.02
		return panel
	})
	return c, nil
}

// Fig10 draws by how much the loss of the label rises where what the MLP of a layer gives back is nulled, by zero or by its mean, at the
// end of training; a series for each size, of the runs of the highest frequency, all of which should know the task.
func Fig10(runs results.Runs) (chart.Chart, error) {
	all, byFrequency := results.By(runs, perToken)
	runs = byFrequency[all[len(all)-1]]
	layers := 0
	var columns []string
	for runs[0].Measured(probe.NullOf(layers+1, false)) {
		layers++
		columns = append(columns, probe.NullOf(layers, false), probe.NullOf(layers, true))
	}
	if layers == 0 {
		return chart.Chart{}, fmt.Errorf("figure: run %s has no null interventions: want `metrics: [features]` in its spec", runs[0].ID)
	}
	if err := runs.Need(languageDesign(true, columns...)); err != nil {
		return chart.Chart{}, err
	}
	c := chart.Chart{Name: "fig10", Title: "What each MLP is worth to the label", Subtitle: aboutLanguage(runs), Columns: 2,
		Caption: fmt.Sprintf("Rise of the cross-entropy of the label over all instances where what a layer's MLP gives back to the stream is "+
			"replaced; %.2g instances per token. Means over seeds.", all[len(all)-1])}
	ticks := xslices.Map(xslices.Iota(1, layers), func(l int) float64 { return float64(l) })
	for i, mean := range []bool{false, true} {
		panel := chart.Panel{Title: []string{"by zero", "by its mean over instances"}[i],
			X: chart.Axis{Label: "layer", Name: "layer", Ticks: ticks, Min: .5, Max: float64(layers) + .5},
			Y: chart.Axis{Label: "rise of the loss (nats)", Name: "rise"}}
		panel.Layers = sizesOf(runs).each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
			var m means
			for l := 1; l <= layers; l++ {
				m.add(float64(l), claims.Interval(of(probe.NullOf(l, mean), 1).at(runs, (*results.Run).Last)))
			}
			points := m.layer(chart.Points, name, color)
			points.Low, points.High = nil, nil
			return []chart.Layer{m.layer(chart.Line, name, color), points}
		})
		c.Panels = append(c.Panels, panel)
	}
	return c, nil
}

// Collisions draws against size, at the end of training, how widely the cosines of the rest of a batch's gradient with the novel task's
// spread over batches, and those with the gradient of shuffled labels; and the spread of random directions in as many dimensions, 1/√n. A
// panel for each share of an MLP's neurons.
func Collisions(runs results.Runs, layer int) (chart.Chart, error) {
	runs = longest(runs)
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
