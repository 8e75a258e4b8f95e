package figure

import (
	"fmt"
	"math"
	"slices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/results"
	"raretask/pkg/theory"
)

// tieColor is the palette's colour of ranges that theory leaves open.
const tieColor = 4

// lossMap is the panel of Fig 2a: the loss of every task at every size, and where theory says each feature enters.
func lossMap(title string, m theory.Mixture, runs results.Runs, features int) chart.Panel {
	heat := sizeMap(runs, "loss", "loss / loss of the mean")
	var predicted []float64
	widths, _ := results.By(runs, results.Width)
	for k := range m.Tasks() {
		for _, w := range widths {
			low, high := m.TaskLoss(w)
			predicted = append(predicted, (low[k]+high[k])/2/m.TaskTrace(k))
		}
	}
	heat.Fields = slices.Insert(heat.Fields, 0, chart.Field{Name: "predicted", Values: predicted})
	panel := chart.Panel{Title: title, X: sizesOf(runs).axis(), Y: taskAxis, Layers: []chart.Layer{heat}}
	for f := 1; f <= min(features, m.Block()); f++ {
		stairs := chart.Layer{Kind: chart.Step, Name: fmt.Sprintf("N*(%d), theory", f), Color: []int{chart.Black, 1, 3}[(f-1)%3]}
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

// Fig2a draws the final loss of every task, relative to predicting the mean, against width, averaged over seeds, with the
// staircases N*(m): the smallest width at which an optimal encoder keeps a task's first m directions.
func Fig2a(runs results.Runs) (chart.Chart, error) {
	m, err := claims.Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"loss"}, Final: true})
	if err != nil {
		return chart.Chart{}, err
	}
	return chart.Chart{
		Name: "fig2a", Title: "Which tasks each width learns",
		Caption: "Loss of each task relative to predicting the mean, by width; steps: the width from which theory says the task's first m " +
			"directions are kept.",
		Panels: []chart.Panel{lossMap("", m, runs, 3)},
	}, nil
}

// agreement is the panel of Fig 2b: the observed loss of every task, size and seed against its prediction.
func agreement(title string, m theory.Mixture, runs results.Runs) chart.Panel {
	ties := chart.Layer{Kind: chart.Line, Name: "tie: predicted range", Color: tieColor}
	points := sizesOf(runs).each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
		low, high := m.TaskLoss(runs[0].Net.Width)
		layer := chart.Layer{Kind: chart.Points, Name: name, Color: color}
		var tasks, seeds []float64
		for _, r := range runs {
			for k := range low {
				least, most := low[k]/m.TaskTrace(k), high[k]/m.TaskTrace(k)
				loss := of("loss", k+1)(r, r.Last())
				if least < most {
					ties.X, ties.Y = append(ties.X, least, most, math.NaN()), append(ties.Y, loss, loss, math.NaN())
					continue
				}
				layer.X, layer.Y = append(layer.X, least), append(layer.Y, loss)
				tasks, seeds = append(tasks, float64(k+1)), append(seeds, float64(r.Train.Seed))
			}
		}
		layer.Fields = []chart.Field{{Name: "task", Values: tasks}, {Name: "seed", Values: seeds}}
		return []chart.Layer{layer}
	})
	ends := []float64{0, 1}
	layers := []chart.Layer{{Kind: chart.Line, Name: "observed = predicted", Color: chart.Black, Dashed: true, X: ends, Y: ends}}
	if len(ties.X) > 0 {
		layers = append(layers, ties)
	}
	return chart.Panel{Title: title, X: chart.Axis{Label: "predicted loss / loss of the mean"}, Y: chart.Axis{Label: "observed"},
		Layers: append(layers, points...)}
}

// Fig2b draws observed against predicted losses of every task, width and seed. Where utilities tie exactly, any way of
// sharing the neuron is optimal, and the prediction is a range: the loss observed is drawn as a line across it.
func Fig2b(runs results.Runs) (chart.Chart, error) {
	m, err := claims.Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"loss"}, Final: true})
	if err != nil {
		return chart.Chart{}, err
	}
	return chart.Chart{
		Name: "fig2b", Title: "Observed and predicted losses",
		Caption: "Each point is one task of one run; predictions are those of the best encoder of that width. Far above the diagonal: " +
			"features of nearly equal utility that training has not yet put in order.",
		Panels: []chart.Panel{agreement("", m, runs)},
	}, nil
}

// Fig17 draws Fig 2a and 2b for every frequency exponent among the runs.
func Fig17(runs results.Runs) (chart.Chart, error) {
	design := results.Design{Vary: []string{"net.width", "mixture.frequency.exponent"}, Columns: []string{"loss"}, Final: true}
	panels, err := laws(runs, design, func(title string, m theory.Mixture, runs results.Runs) []chart.Panel {
		return []chart.Panel{lossMap(title, m, runs, 2), agreement(title, m, runs)}
	})
	return chart.Chart{Name: "fig17", Title: "Four frequency laws",
		Caption: "The steeper the frequencies fall, the more width the rare tasks need.", Panels: panels, Columns: 2}, err
}

// Complexity draws Fig 12, 13 or 14 (by name): a mixture in which the most frequent task is also the simplest. Beside the
// loss by task and width it shows the width from which each feature is held, once against the frequency of its task and
// once against its utility, which alone orders them.
func Complexity(name string, runs results.Runs) (chart.Chart, error) {
	m, err := claims.Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"loss", "signal"}, Final: true})
	if err != nil {
		return chart.Chart{}, err
	}
	all := sizesOf(runs)
	byFrequency := chart.Panel{Title: "by frequency of the task", X: chart.Axis{Label: "frequency π_k", Log: true}, Y: all.axis()}
	byFrequency.Y.Label = "first held at " + Size.Label
	byUtility := chart.Panel{Title: "by utility of the feature", X: chart.Axis{Label: "utility π_k λ_kj", Log: true}, Y: byFrequency.Y}
	ranks := chart.Layer{Kind: chart.Line, Name: "rank of the utility, theory", Color: chart.Black, Dashed: true}
	for i, f := range m.Features() {
		if x := Size.at(runs[0], i+1); x <= float64(all[len(all)-1]) {
			ranks.X, ranks.Y = append(ranks.X, f.Utility), append(ranks.Y, x)
		}
	}
	byUtility.Layers = []chart.Layer{ranks}
	const shown = 4
	for j := range min(shown, m.Block()) {
		layer, utility, err := held(runs, m, j)
		if err != nil {
			return chart.Chart{}, err
		}
		layer.Name, layer.Color = fmt.Sprintf("feature %d", j+1), chart.Ordered(j, shown)
		byFrequency.Layers = append(byFrequency.Layers, layer)
		layer.X = utility
		byUtility.Layers = append(byUtility.Layers, layer)
	}
	title := "Frequent tasks simple, rare tasks complex"
	if m.Block() > 1 { // λ_kj falls as j^-α
		alpha := func(k int) float64 { return math.Log2(m.Spectrum[k][0] / m.Spectrum[k][1]) }
		title += fmt.Sprintf(": α = %.3g … %.3g", alpha(0), alpha(m.Tasks()-1))
	}
	return chart.Chart{
		Name: name, Title: title,
		Caption: "Features enter in the order of utility, not of frequency. Held: the signal reaches the first j eigenvalues' share less .05; " +
			"smaller features are left out.",
		Panels: []chart.Panel{lossMap("loss by task and width", m, runs, 3), byFrequency, byUtility}, Columns: 3,
	}, nil
}

// held are the first sizes that hold the j-th feature of each task, by the task's frequency, and the features' utilities.
func held(runs results.Runs, m theory.Mixture, j int) (layer chart.Layer, utility []float64, err error) {
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
	size := sizesOf(runs).axis()
	size.Log = false
	heat := chart.Panel{Title: "signal by task and width", X: size, Y: taskAxis, Layers: []chart.Layer{sizeMap(runs, "signal", "signal s_k")}}
	threshold := chart.Panel{Title: "smallest width with s_k > .5", X: chart.Axis{Label: "task k (1 = most frequent)"}, Y: size}
	theory := chart.Layer{Kind: chart.Line, Name: "N = k, theory", Color: chart.Black, Dashed: true}
	for k := 1; k <= runs[0].Mixture.Tasks; k++ {
		theory.X, theory.Y = append(theory.X, float64(k)), append(theory.Y, Size.at(runs[0], k))
	}
	threshold.Layers = []chart.Layer{theory}
	seeds, bySeed := results.By(runs, results.Seed)
	for i, s := range seeds {
		first, err := firstSizes(bySeed[s], func(_ int, signal float64) bool { return signal > claims.Learned })
		if err != nil {
			return chart.Chart{}, err
		}
		points := chart.Layer{Kind: chart.Points, Name: fmt.Sprintf("seed %d", s), Color: i % 6, X: theory.X, Y: first}
		threshold.Layers = append(threshold.Layers, points)
	}
	return chart.Chart{Name: "fig18", Title: "Rank-one tasks: task k needs width k",
		Caption: "One direction for each task, so that width N holds exactly the N most frequent tasks.",
		Panels:  []chart.Panel{heat, threshold}, Columns: 2}, nil
}

// Fig21 draws persistence: the signal of the rarest task over a training far longer than the common tasks need, by width,
// mean and 95% interval over seeds.
func Fig21(runs results.Runs) (chart.Chart, error) {
	m, err := claims.Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"signal"}})
	if err != nil {
		return chart.Chart{}, err
	}
	_, critical := m.NCrit()
	all := sizesOf(runs)
	rare := all.overTraining("rarest task", "signal s_k", false, runs, of("signal", m.Tasks()))
	frequent := all.overTraining("most frequent task", "signal s_k", false, runs, of("signal", 1))
	rare.Y.Min, rare.Y.Max = -.02, 1
	frequent.Y = rare.Y
	title := fmt.Sprintf("More training does not replace width: the rarest task enters at N = %d", critical.Some)
	return chart.Chart{Name: "fig21", Title: title,
		Caption: "Signal of the rarest and of the most frequent task over training; bands are 95% intervals over seeds.",
		Panels:  []chart.Panel{rare, frequent}, Columns: 2}, nil
}
