package figure

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
)

// tieColor is the palette's colour of ranges that theory leaves open.
const tieColor = 4

// lossMap is the panel of Fig 2a, 13 and 17: the loss of every task at every size, and where theory says each feature enters. On a
// logarithmic scale colours end at 1% of the loss of the mean.
func lossMap(m theory.Mixture, runs results.Runs, log bool) chart.Panel {
	heat := sizeMap(runs, "loss", "loss / loss of the mean")
	if log {
		heat.ValueLog, heat.ValueMin = true, .01
		heat.Value = xslices.Map(heat.Value, positive)
	}
	var predicted []float64
	widths, _ := results.By(runs, results.Width)
	for k := range m.Tasks() {
		for _, w := range widths {
			low, high := m.TaskLoss(w)
			predicted = append(predicted, (low[k]+high[k])/2/m.TaskTrace(k))
		}
	}
	heat.Fields = slices.Insert(heat.Fields, 0, chart.Field{Name: "predicted", Values: predicted})
	panel := chart.Panel{X: sizesOf(runs).axis(), Y: down(taskAxis(m.Tasks())), Layers: []chart.Layer{heat}}
	for f := 1; f <= min(3, m.Block()); f++ {
		stairs := chart.Layer{Kind: chart.Step, Name: fmt.Sprintf("N*(%d), theory", f), Color: []int{chart.Black, 1, 3}[f-1]}
		for k, n := range m.NStar(f) {
			if float64(n.Some) > float64(widths[len(widths)-1])*1.3 {
				continue
			}
			x := Size.at(runs[0], n.Some)
			if k == 0 {
				stairs.X, stairs.Y = append(stairs.X, x), append(stairs.Y, .5)
			}
			stairs.X, stairs.Y = append(stairs.X, x), append(stairs.Y, float64(k)+1.5)
		}
		panel.Layers = append(panel.Layers, stairs)
	}
	return panel
}

// lossMaps draws maps of the final loss of every task, relative to predicting the mean, by width, averaged over seeds, a panel for each
// mixture, with the staircases N*(m): the smallest width at which an optimal encoder keeps a task's first m directions.
func lossMaps(name, title string, runs results.Runs, log bool, vary ...string) (chart.Chart, error) {
	design := results.Design{Vary: append(vary, "net.width"), Columns: []string{"loss"}, Final: true}
	panels, columns, err := mixes(runs, design, func(m theory.Mixture, runs results.Runs) chart.Panel { return lossMap(m, runs, log) })
	if err != nil {
		return chart.Chart{}, err
	}
	return chart.Chart{Name: name, Title: title, Subtitle: about(runs), Panels: panels, Columns: columns,
		Caption: "Loss of each task relative to predicting the mean, by width, averaged over seeds; steps: the least width at which theory " +
			"says that a best encoder keeps the task's first m directions."}, nil
}

// Fig2a is the phase diagram of one mixture.
func Fig2a(runs results.Runs) (chart.Chart, error) {
	return lossMaps("fig2a", "Which tasks each width learns", runs, false)
}

// Fig13 is Fig 2a for ranges of complexity.
func Fig13(runs results.Runs) (chart.Chart, error) {
	return lossMaps("fig13", "Which tasks each width learns, by how unlike in complexity they are", runs, false, byComplexity)
}

// Fig17 is Fig 2a for frequency laws, on a logarithmic scale of colours.
func Fig17(runs results.Runs) (chart.Chart, error) {
	return lossMaps("fig17", "Which tasks each width learns, by how steeply frequencies fall", runs, true, byFrequency)
}

// agreement is the panel of Fig 2b and 14: the observed loss of every task, size and seed against its prediction.
func agreement(m theory.Mixture, runs results.Runs, all sizes) chart.Panel {
	ties := chart.Layer{Kind: chart.Line, Name: "tie: predicted range", Color: tieColor}
	var tied []float64
	points := all.each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
		low, high := m.TaskLoss(runs[0].Net.Width)
		layer := chart.Layer{Kind: chart.Points, Name: name, Color: chart.Black, ValueLabel: taskLabel, ValueName: "task",
			ValueMin: 1, ValueMax: float64(m.Tasks())}
		layer.Shape = 1 + slices.Index(all, Size.Of(runs[0]))%chart.Shapes
		var seeds []float64
		for _, r := range runs {
			for k := range low {
				least, most := low[k]/m.TaskTrace(k), high[k]/m.TaskTrace(k)
				loss := of("loss", k+1)(r, r.Last())
				if least < most {
					ties.X, ties.Y = append(ties.X, least, most, math.NaN()), append(ties.Y, loss, loss, math.NaN())
					tied = append(tied, slices.Repeat([]float64{float64(Size.Of(r))}, 3)...)
					continue
				}
				layer.X, layer.Y = append(layer.X, least), append(layer.Y, loss)
				layer.Value, seeds = append(layer.Value, float64(k+1)), append(seeds, float64(r.Train.Seed))
			}
		}
		layer.Fields = []chart.Field{{Name: Size.Name, Values: slices.Repeat([]float64{float64(Size.Of(runs[0]))}, len(seeds))},
			{Name: "seed", Values: seeds}}
		return []chart.Layer{layer}
	})
	ends := []float64{0, 1}
	layers := []chart.Layer{{Kind: chart.Line, Name: "observed = predicted", Color: chart.Black, Dashed: true, X: ends, Y: ends}}
	if len(ties.X) > 0 {
		ties.Fields = []chart.Field{{Name: Size.Name, Values: tied}}
		layers = append(layers, ties)
	}
	return chart.Panel{X: chart.Axis{Label: "predicted", Min: -.04, Max: 1.04}, Y: chart.Axis{Label: "observed"},
		Layers: append(layers, points...)}
}

// marked are the sizes that have a marker each: the powers of two from 8 on, as in the paper, or where there are few, all.
func (s sizes) marked() sizes {
	few := slices.DeleteFunc(slices.Clone(s), func(n int) bool { return n < 8 || n&(n-1) != 0 })
	if len(few) < 2 || len(few) > chart.Shapes {
		return s
	}
	return few
}

// agreements draws observed against predicted losses of every task, width and seed, a panel for each mixture. Where utilities tie exactly,
// any way of sharing the neuron is optimal, and the prediction is a range: the loss observed is drawn as a line across it.
func agreements(name, title string, runs results.Runs, vary ...string) (chart.Chart, error) {
	design := results.Design{Vary: append(vary, "net.width"), Columns: []string{"loss"}, Final: true}
	all := sizesOf(runs).marked()
	panels, columns, err := mixes(runs, design, func(m theory.Mixture, runs results.Runs) chart.Panel {
		return agreement(m, runs.Where(func(r *results.Run) bool { return slices.Contains(all, Size.Of(r)) }), all)
	})
	if err != nil {
		return chart.Chart{}, err
	}
	return chart.Chart{Name: name, Title: title, Subtitle: about(runs), Panels: panels, Columns: columns,
		Caption: "Loss relative to predicting the mean. Each point is one task of one run, coloured by its rank in frequency; the marker " +
			"says the width. Predictions are those of the best encoder of that width."}, nil
}

// Fig2b draws observed against predicted losses for frequency laws.
func Fig2b(runs results.Runs) (chart.Chart, error) {
	f, err := agreements("fig2b", "Observed and predicted losses", runs, byFrequency)
	f.Columns = min(2, f.Columns)
	return f, err
}

// Fig14 is Fig 2b for ranges of complexity (rows) and frequency laws (columns).
func Fig14(runs results.Runs) (chart.Chart, error) {
	return agreements("fig14", "Observed and predicted losses, by complexity and frequency", runs, byComplexity, byFrequency)
}

// Fig12 draws the spectra of tasks, a panel for each range of complexity among settings: amplitudes σ_kj = √λ_kj, and where
// 90% of a task's energy is reached.
func Fig12(settings []spec.Run) (chart.Chart, error) {
	f := chart.Chart{Name: "fig12", Title: "Spectra of the tasks", Columns: 3,
		Caption: "Amplitude of each direction, coloured by the task's rank in frequency; diamonds: the direction at which 90% of a task's " +
			"energy is reached. Where tasks differ, the most frequent one is the simplest."}
	var seen []string
	for _, r := range settings {
		name := fmt.Sprint(r.Mixture.Tasks, r.Mixture.Settings)
		if slices.Contains(seen, name) {
			continue
		}
		seen = append(seen, name)
		m, err := r.Mixture.Theory()
		if err != nil {
			return f, err
		}
		f.Panels = append(f.Panels, spectra(m))
		f.Subtitle = fmt.Sprintf("K = %d tasks of d_T = %d directions in D = %d", m.Tasks(), m.Block(), r.Mixture.Signature().Input.Size())
	}
	slices.SortStableFunc(f.Panels, func(a, b chart.Panel) int { return len(a.Title) - len(b.Title) })
	return f, nil
}

func spectra(m theory.Mixture) chart.Panel {
	c := complexityOf(m)
	panel := chart.Panel{Title: fmt.Sprint(c), X: chart.Axis{Label: "direction j", Name: "direction", Log: true},
		Y:      chart.Axis{Label: "amplitude σ_kj", Name: "amplitude", Log: true, Min: .004, Max: 1.1},
		Facets: []chart.Facet{{Name: "complexity", Value: c}}}
	reached := chart.Layer{Kind: chart.Points, Name: "90% of the energy", Color: chart.Black, Shape: 4}
	var tasks []float64
	for k, spectrum := range m.Spectrum {
		amplitude := xslices.Map(spectrum, math.Sqrt)
		j := m.Directions(k, energy)
		panel.Layers = append(panel.Layers, chart.Layer{Kind: chart.Line, Color: chart.Black, X: xslices.Iota(1., len(spectrum)), Y: amplitude,
			Value: slices.Repeat([]float64{float64(k + 1)}, len(spectrum)), ValueLabel: taskLabel, ValueName: "task", ValueMin: 1,
			ValueMax: float64(m.Tasks())})
		reached.X, reached.Y = append(reached.X, float64(j)), append(reached.Y, amplitude[j-1])
		tasks = append(tasks, float64(k+1))
	}
	reached.Fields = []chart.Field{{Name: "rank", Values: tasks}}
	panel.Layers = append(panel.Layers, reached)
	return panel
}

// FeatureOrder draws the widths from which each feature of tasks of unequal complexity is held, once against the frequency of its task and
// once against its utility, which alone orders them.
func FeatureOrder(runs results.Runs) (chart.Chart, error) {
	m, err := claims.Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"signal"}, Final: true})
	if err != nil {
		return chart.Chart{}, err
	}
	all := sizesOf(runs)
	held := all.axis()
	held.Label = "first held at " + Size.Label
	frequencies := chart.Panel{Title: "by frequency of the task", X: chart.Axis{Label: "frequency π_k", Name: "frequency", Log: true}, Y: held}
	utilities := chart.Panel{Title: "by utility of the feature", X: chart.Axis{Label: "utility π_k λ_kj", Name: "utility", Log: true}, Y: held}
	ranks := chart.Layer{Kind: chart.Line, Name: "rank of the utility, theory", Color: chart.Black, Dashed: true}
	for i, f := range m.Features() {
		if x := Size.at(runs[0], i+1); x <= float64(all[len(all)-1]) {
			ranks.X, ranks.Y = append(ranks.X, f.Utility), append(ranks.Y, x)
		}
	}
	utilities.Layers = []chart.Layer{ranks}
	const shown = 4
	for j := range min(shown, m.Block()) {
		layer, utility, err := firstHeld(runs, m, j)
		if err != nil {
			return chart.Chart{}, err
		}
		layer.Name, layer.Color, layer.Shape = fmt.Sprintf("feature %d", j+1), chart.Ordered(j, shown), j+1
		frequencies.Layers = append(frequencies.Layers, layer)
		layer.X = utility
		utilities.Layers = append(utilities.Layers, layer)
	}
	return chart.Chart{Name: "feature-order", Title: "Features enter nearly in the order of utility, not of frequency", Subtitle: about(runs),
		Caption: fmt.Sprintf("%s for 90%% of the energy of the most frequent … the rarest task. Held: the signal reaches the first j "+
			"eigenvalues' share less %g; smaller features are left out.", complexityOf(m), claims.HeldTolerance),
		Panels: []chart.Panel{frequencies, utilities}, Columns: 2}, nil
}

// firstHeld are the first sizes that hold the j-th feature of each task, by the task's frequency, and the features' utilities.
func firstHeld(runs results.Runs, m theory.Mixture, j int) (layer chart.Layer, utility []float64, err error) {
	first, err := firstSizes(runs, func(task int, signal float64) bool { return m.HeldFeatures(task-1, signal, claims.HeldTolerance) > j })
	if err != nil {
		return layer, nil, err
	}
	layer.Kind = chart.Points
	var tasks []float64
	for k := range m.Tasks() {
		if m.Spectrum[k][j] <= claims.HeldTolerance*m.TaskTrace(k) {
			continue // the rule can't tell whether so small a feature is held
		}
		layer.X, layer.Y = append(layer.X, m.Frequency[k]), append(layer.Y, first[k])
		utility, tasks = append(utility, m.Frequency[k]*m.Spectrum[k][j]), append(tasks, float64(k+1))
	}
	layer.Fields = []chart.Field{{Name: "task", Values: tasks}}
	return layer, utility, nil
}

// firstSizes returns for each task the first size that holds it, and all larger ones do; NaN: none.
func firstSizes(runs results.Runs, holds func(task int, signal float64) bool) ([]float64, error) {
	first, err := claims.FirstHeld(runs, holds)
	for i, width := range first {
		if !math.IsNaN(width) {
			first[i] = Size.at(runs[0], int(width))
		}
	}
	return first, err
}

// Fig18 draws the rank-one check: with one direction for each task, the smallest width that learns task k (s_k > .5)
// is k.
func Fig18(runs results.Runs) (chart.Chart, error) {
	if err := runs.Need(results.Design{Vary: []string{"net.width"}, Columns: []string{"signal"}, Final: true}); err != nil {
		return chart.Chart{}, err
	}
	size, tasks := sizesOf(runs).axis(), taskAxis(runs[0].Mixture.Tasks)
	steps := chart.Layer{Kind: chart.Step, Name: "N = k, theory", Color: chart.Black}
	theory := chart.Layer{Kind: chart.Line, Name: "N_crit(k) = k, theory", Color: chart.Black, Dashed: true}
	for k := 1; k <= runs[0].Mixture.Tasks; k++ {
		x := Size.at(runs[0], k)
		steps.X, steps.Y = append(steps.X, x, x), append(steps.Y, float64(k)-.5, float64(k)+.5)
		theory.X, theory.Y = append(theory.X, float64(k)), append(theory.Y, x)
	}
	heat := chart.Panel{Title: "signal by task and width", X: size, Y: down(tasks),
		Layers: []chart.Layer{sizeMap(runs, "signal", "signal s_k"), steps}}
	transition := chart.Axis{Label: "transition " + Size.Label, Name: "transition"}
	threshold := chart.Panel{Title: "smallest width with s_k > .5", X: tasks, Y: transition, Layers: []chart.Layer{theory}}
	seeds, bySeed := results.By(runs, results.Seed)
	for i, s := range seeds {
		first, err := firstSizes(bySeed[s], func(_ int, signal float64) bool { return signal > claims.Learned })
		if err != nil {
			return chart.Chart{}, err
		}
		points := chart.Layer{Kind: chart.Points, Name: fmt.Sprintf("seed %d", s), Color: i % 6, X: theory.X, Y: first}
		points.Fields = []chart.Field{{Name: "seed", Values: slices.Repeat([]float64{float64(s)}, len(first))}}
		threshold.Layers = append(threshold.Layers, points)
	}
	return chart.Chart{Name: "fig18", Title: "Rank-one tasks: task k needs width k", Subtitle: about(runs),
		Caption: "One direction for each task, so that the best net of width N holds exactly the N most frequent tasks. The widths between " +
			"those that were trained are plateaus of the right panel.",
		Panels: []chart.Panel{heat, threshold}, Columns: 2}, nil
}

// Threshold draws the signal of the rarest task at the end of training, a point for each size and seed, and what the best nets have of it,
// from the least to the most where utilities tie.
func Threshold(runs results.Runs) (chart.Chart, error) {
	m, err := claims.Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"signal"}, Final: true})
	if err != nil {
		return chart.Chart{}, err
	}
	rare := m.Rarest()
	widths, _ := results.By(runs, results.Width)
	best := chart.Layer{Kind: chart.Band, Name: "best nets, theory", Color: tieColor}
	least := chart.Layer{Kind: chart.Line, Name: best.Name, Color: tieColor}
	for w := widths[0]; w <= widths[len(widths)-1]; w++ {
		low, high := m.TaskLoss(w)
		best.X = append(best.X, Size.at(runs[0], w))
		best.Low, best.High = append(best.Low, 1-high[rare]/m.TaskTrace(rare)), append(best.High, 1-low[rare]/m.TaskTrace(rare))
	}
	least.X, least.Y = best.X, best.Low
	points := chart.Layer{Kind: chart.Points, Name: "trained", Color: chart.Black, X: Size.values(runs),
		Y:      of("signal", rare+1).at(runs, (*results.Run).Last),
		Fields: []chart.Field{{Name: "seed", Values: xslices.Map(runs, func(r *results.Run) float64 { return float64(r.Train.Seed) })}}}
	axis := sizesOf(runs).axis()
	axis.Log = false
	_, critical := m.NCrit()
	return chart.Chart{Name: "threshold", Title: "Around the width at which the rarest task fits", Subtitle: about(runs),
		Panels: []chart.Panel{{X: axis, Y: chart.Axis{Label: "signal s_r of the rarest task", Name: "signal", Min: -.02, Max: 1},
			Layers: []chart.Layer{best, least, points}}},
		Caption: fmt.Sprintf("A point for each width and seed at the end of training. Some best net holds the task's first direction from "+
			"N = %d on, every one from %d.", critical.Some, critical.Every)}, nil
}

// Fig21 draws persistence: the loss of every task over a training far longer than the common tasks need, a panel for each width, means over
// seeds. The dashed line is a tenth of the training, the horizon of Fig 2.
func Fig21(runs results.Runs) (chart.Chart, error) {
	m, err := claims.Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"loss"}})
	if err != nil {
		return chart.Chart{}, err
	}
	var panels []chart.Panel
	all, bySize := results.By(runs, Size.Of)
	for _, n := range all {
		panel := chart.Panel{Title: fmt.Sprintf("%s = %d", Size.Symbol, n), X: stepAxis,
			Y:      chart.Axis{Label: "loss / loss of the mean", Name: "loss", Max: 1.1},
			Facets: []chart.Facet{{Name: Size.Name, Value: n}}}
		for k := 1; k <= m.Tasks(); k++ {
			line := overSteps(bySize[n], 1, of("loss", k), claims.Interval).layer(chart.Line, "", chart.Black)
			line.Value, line.ValueLabel, line.ValueName = slices.Repeat([]float64{float64(k)}, len(line.X)), taskLabel, "task"
			line.ValueMin, line.ValueMax = 1, float64(m.Tasks())
			panel.Layers = append(panel.Layers, line)
		}
		usual := rule("usual horizon", []float64{float64(runs[0].Train.Steps) / 10}, nil)
		panel.Layers = append(panel.Layers, usual)
		panels = append(panels, panel)
	}
	return chart.Chart{Name: "fig21", Title: "More training does not replace width", Subtitle: about(runs), Panels: panels, Columns: 3,
		Caption: "Loss of every task over training, relative to predicting the mean; means over seeds. The first steps, where untrained " +
			"readouts cost far more than the mean, are cut off."}, nil
}
