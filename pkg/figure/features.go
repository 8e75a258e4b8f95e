package figure

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/corpus"
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

// symbolsOf returns how many symbols the novel task of runs has.
func symbolsOf(runs results.Runs) (int, error) {
	if len(runs) > 0 {
		if settings, ok := runs[0].Mixture.Settings.(corpus.Injecting); ok {
			_, symbols := settings.Injects()
			return symbols, nil
		}
	}
	return 0, fmt.Errorf("figure: %d runs: want some of a family into which a novel task is injected", len(runs))
}

// Fig7a draws what nets represent of the order of symbols: their places along the direction that moves the label, by number; the R² of
// numbers on the first principal components over training, by frequency in the largest net and by size at the middle frequency.
func Fig7a(runs results.Runs) (chart.Chart, error) {
	symbols, err := symbolsOf(runs)
	if err != nil {
		return chart.Chart{}, err
	}
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
	symbols, err := symbolsOf(runs)
	if err != nil {
		return chart.Chart{}, err
	}
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
