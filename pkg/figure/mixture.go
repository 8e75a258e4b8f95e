package figure

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"raretask/pkg/results"
	"raretask/pkg/theory"
)

// learned is the share of a rank-one task's covariance above which it counts as learned.
const learned = .5

// heldTolerance is by how much a signal may fall short of its first m eigenvalues' share for them to count as held.
const heldTolerance = .05

// tieColor is the palette's colour of ranges that theory leaves open.
const tieColor = 4

// final returns the rows of the last step of each run, or an error when there are none.
func final(rows []results.Row) ([]results.Row, error) {
	var last []results.Row
	for _, r := range rows {
		if r.Step == r.Steps {
			last = append(last, r)
		}
	}
	if len(last) == 0 {
		return nil, fmt.Errorf("figure: no rows of a finished run: want the rows of a sweep that ran to its end")
	}
	return last, nil
}

// groups splits rows by a key and returns the keys in ascending order.
func groups[K interface{ ~int32 | ~int64 | ~float64 }](rows []results.Row, key func(results.Row) K) ([]K, map[K][]results.Row) {
	by := map[K][]results.Row{}
	for _, r := range rows {
		by[key(r)] = append(by[key(r)], r)
	}
	return slices.Sorted(maps.Keys(by)), by
}

func width(r results.Row) int32    { return r.Width }
func task(r results.Row) int32     { return r.Task }
func beta(r results.Row) float64   { return r.Beta }
func loss(r results.Row) float64   { return results.Value(r.Loss) }
func signal(r results.Row) float64 { return results.Value(r.Signal) }

// mixtureOf returns the mixture that rows come from, which must be one.
func mixtureOf(rows []results.Row) (theory.Mixture, error) {
	r := rows[0]
	for _, other := range rows {
		if other.Tasks != r.Tasks || other.Block != r.Block || other.Beta != r.Beta || other.AlphaHead != r.AlphaHead || other.AlphaTail != r.AlphaTail {
			return theory.Mixture{}, fmt.Errorf("figure: rows of several mixtures where one is drawn: select by beta, alpha, tasks and block first")
		}
	}
	return theory.PowerLaw(int(r.Tasks), int(r.Block), r.Beta, r.AlphaHead, r.AlphaTail)
}

// interval returns the mean of the present values and the half width of its 95% t interval over them; NaN where
// there are none, or for the half width fewer than two.
func interval(values []float64) (mean, half float64, n int) {
	var present []float64
	for _, v := range values {
		if !math.IsNaN(v) {
			present = append(present, v)
		}
	}
	switch n = len(present); n {
	case 0:
		return math.NaN(), math.NaN(), 0
	case 1:
		return present[0], math.NaN(), 1
	}
	mean, deviation := stat.MeanStdDev(present, nil)
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 1)}.Quantile(.975)
	return mean, t * deviation / math.Sqrt(float64(n)), n
}

func values(rows []results.Row, of func(results.Row) float64) []float64 {
	v := make([]float64, len(rows))
	for i, r := range rows {
		v[i] = of(r)
	}
	return v
}

// lossMap is the panel of Fig 2a: the loss of every task at every width, and where theory says each feature enters.
func lossMap(title string, rows []results.Row, features int) (Panel, error) {
	m, err := mixtureOf(rows)
	if err != nil {
		return Panel{}, err
	}
	var x, y, value, seeds, predicted []float64
	widths, byWidth := groups(rows, width)
	for _, w := range widths {
		low, high := m.TaskLoss(int(w))
		tasks, byTask := groups(byWidth[w], task)
		for _, k := range tasks {
			mean, _, n := interval(values(byTask[k], loss))
			x, y, value, seeds = append(x, float64(w)), append(y, float64(k)), append(value, mean), append(seeds, float64(n))
			predicted = append(predicted, (low[k-1]+high[k-1])/2/m.TaskTrace(int(k-1)))
		}
	}
	panel := Panel{
		Title: title,
		X:     Axis{Label: "width N (neurons)", Log: true},
		Y:     Axis{Label: "task (1 = most frequent)"},
		Layers: []Layer{{Kind: Heat, X: x, Y: y, Value: value, ValueLabel: "loss / loss of the mean", ValueMin: 0, ValueMax: 1,
			Fields: []Field{{"predicted", predicted}, {"seeds", seeds}}}},
	}
	for f := 1; f <= min(features, m.Block()); f++ {
		var sx, sy []float64
		largest := float64(widths[len(widths)-1])
		for k, n := range m.NStar(f) {
			if float64(n.Some) <= largest*1.3 {
				if k == 0 {
					sx, sy = append(sx, float64(n.Some)), append(sy, .5)
				}
				sx, sy = append(sx, float64(n.Some)), append(sy, float64(k)+1.5)
			}
		}
		panel.Layers = append(panel.Layers, Layer{Kind: Step, Name: fmt.Sprintf("N*(%d), theory", f), Color: []int{Black, 1, 3}[(f-1)%3], X: sx, Y: sy})
	}
	return panel, nil
}

// Fig2a draws the final loss of every task, relative to predicting the mean, against width, averaged over seeds, with the
// staircases N*(m): the smallest width at which an optimal encoder keeps a task's first m directions.
func Fig2a(rows []results.Row) (Figure, error) {
	rows, err := final(rows)
	if err != nil {
		return Figure{}, err
	}
	panel, err := lossMap("", rows, 3)
	return Figure{
		Name: "fig2a", Title: "Which tasks each width learns",
		Caption: "Loss of each task relative to predicting the mean, by width; steps: the width from which theory says the task's first m directions are kept.",
		Panels:  []Panel{panel},
	}, err
}

// agreement is the panel of Fig 2b: the observed loss of every task, width and seed against its prediction.
func agreement(title string, rows []results.Row) (Panel, error) {
	m, err := mixtureOf(rows)
	if err != nil {
		return Panel{}, err
	}
	panel := Panel{Title: title, X: Axis{Label: "predicted loss / loss of the mean"}, Y: Axis{Label: "observed"},
		Layers: []Layer{{Kind: Line, Name: "observed = predicted", Color: Black, Dashed: true, X: []float64{0, 1}, Y: []float64{0, 1}}}}
	ties := Layer{Kind: Line, Name: "tie: predicted range", Color: tieColor}
	widths, byWidth := groups(rows, width)
	for i, w := range widths {
		low, high := m.TaskLoss(int(w))
		layer := Layer{Kind: Points, Name: fmt.Sprintf("N = %d", w), Color: Ordered(i, len(widths))}
		var tasks, seeds []float64
		for _, r := range byWidth[w] {
			k := int(r.Task - 1)
			least, most := low[k]/m.TaskTrace(k), high[k]/m.TaskTrace(k)
			if least < most {
				ties.X, ties.Y = append(ties.X, least, most, math.NaN()), append(ties.Y, loss(r), loss(r), math.NaN())
				continue
			}
			layer.X, layer.Y = append(layer.X, least), append(layer.Y, loss(r))
			tasks, seeds = append(tasks, float64(r.Task)), append(seeds, float64(r.Seed))
		}
		layer.Fields = []Field{{"task", tasks}, {"seed", seeds}}
		panel.Layers = append(panel.Layers, layer)
	}
	if len(ties.X) > 0 {
		panel.Layers = slices.Insert(panel.Layers, 1, ties)
	}
	return panel, nil
}

// Fig2b draws observed against predicted losses of every task, width and seed. Where utilities tie exactly, any way of
// sharing the neuron is optimal, and the prediction is a range: the loss observed is drawn as a line across it.
func Fig2b(rows []results.Row) (Figure, error) {
	rows, err := final(rows)
	if err != nil {
		return Figure{}, err
	}
	panel, err := agreement("", rows)
	return Figure{
		Name: "fig2b", Title: "Observed and predicted losses",
		Caption: "Each point is one task of one run; predictions are those of the best encoder of that width. Far above the diagonal: features of nearly equal utility that training has not yet put in order.",
		Panels:  []Panel{panel},
	}, err
}

// WidthLoss is the final loss of the mixture at one width, averaged over seeds, in units of the targets squared summed
// over outputs.
type WidthLoss struct {
	Width, Seeds           int
	Optimum, Encoder, Full float64 // L*(N); with the best decoders; with the learned ones
}

// Losses returns the final losses of one mixture by width.
func Losses(rows []results.Row) ([]WidthLoss, error) {
	rows, err := final(rows)
	if err != nil {
		return nil, err
	}
	m, err := mixtureOf(rows)
	if err != nil {
		return nil, err
	}
	var losses []WidthLoss
	widths, byWidth := groups(rows, width)
	for _, w := range widths {
		_, byTask := groups(byWidth[w], task)
		encoder, _, n := interval(values(byTask[1], func(r results.Row) float64 { return results.Value(r.Encoder) }))
		full, _, _ := interval(values(byTask[1], func(r results.Row) float64 { return results.Value(r.Full) }))
		losses = append(losses, WidthLoss{int(w), n, m.OptimalLoss(int(w)), encoder, full})
	}
	return losses, nil
}

// Complexity draws Fig 12, 13 or 14 (by name): a mixture in which the most frequent task is also the simplest. Beside the
// loss by task and width it shows the width from which each feature is held, once against the frequency of its task and
// once against its utility, which alone orders them.
func Complexity(name string, rows []results.Row) (Figure, error) {
	rows, err := final(rows)
	if err != nil {
		return Figure{}, err
	}
	m, err := mixtureOf(rows)
	if err != nil {
		return Figure{}, err
	}
	heat, err := lossMap("loss by task and width", rows, 3)
	if err != nil {
		return Figure{}, err
	}
	byFrequency := Panel{Title: "by frequency of the task", X: Axis{Label: "frequency pi_k", Log: true}, Y: Axis{Label: "first width that holds it (neurons)", Log: true}}
	byUtility := Panel{Title: "by utility of the feature", X: Axis{Label: "utility pi_k lambda_kj", Log: true}, Y: byFrequency.Y}
	widths, _ := groups(rows, width)
	features := m.Features()
	var ux, uy []float64
	for i, f := range features[:min(len(features), int(widths[len(widths)-1]))] {
		ux, uy = append(ux, f.Utility), append(uy, float64(i+1))
	}
	byUtility.Layers = []Layer{{Kind: Line, Name: "rank of the utility, theory", Color: Black, Dashed: true, X: ux, Y: uy}}
	const shown = 4
	for j := range min(shown, m.Block()) {
		layer := Layer{Kind: Points, Name: fmt.Sprintf("feature %d", j+1), Color: Ordered(j, shown)}
		var utility, tasks []float64
		_, byTask := groups(rows, task)
		for k := range m.Tasks() {
			if m.Spectrum[k][j] <= heldTolerance*m.TaskTrace(k) {
				continue // the rule can't tell whether so small a feature is held
			}
			held := firstHeld(byTask[int32(k+1)], func(s float64) bool { return m.HeldFeatures(k, s, heldTolerance) > j })
			layer.X, layer.Y = append(layer.X, m.Frequency[k]), append(layer.Y, held)
			utility, tasks = append(utility, m.Frequency[k]*m.Spectrum[k][j]), append(tasks, float64(k+1))
		}
		layer.Fields = []Field{{"task", tasks}}
		byFrequency.Layers = append(byFrequency.Layers, layer)
		layer.X = utility
		byUtility.Layers = append(byUtility.Layers, layer)
	}
	r := rows[0]
	return Figure{
		Name: name, Title: fmt.Sprintf("Frequent tasks simple, rare tasks complex: alpha %g … %g", r.AlphaHead, r.AlphaTail),
		Caption: "Features enter in the order of utility, not of frequency. Held: the signal reaches the first j eigenvalues' share less .05; smaller features are left out.",
		Panels:  []Panel{heat, byFrequency, byUtility}, Columns: 3,
	}, nil
}

// firstHeld returns the smallest width at which the mean signal over seeds holds, and goes on holding at every larger
// width; NaN where it never does.
func firstHeld(rows []results.Row, holds func(signal float64) bool) float64 {
	first := math.NaN()
	widths, byWidth := groups(rows, width)
	for _, w := range slices.Backward(widths) {
		mean, _, _ := interval(values(byWidth[w], signal))
		if math.IsNaN(mean) || !holds(mean) {
			break
		}
		first = float64(w)
	}
	return first
}

// Fig17 draws Fig 2a and 2b for every frequency exponent in the rows.
func Fig17(rows []results.Row) (Figure, error) {
	rows, err := final(rows)
	if err != nil {
		return Figure{}, err
	}
	f := Figure{Name: "fig17", Title: "Four frequency laws",
		Caption: "The steeper the frequencies fall, the more width the rare tasks need."}
	betas, byBeta := groups(rows, beta)
	for _, b := range betas {
		title := fmt.Sprintf("beta = %g", b)
		heat, err := lossMap(title, byBeta[b], 2)
		if err != nil {
			return f, err
		}
		points, err := agreement(title, byBeta[b])
		if err != nil {
			return f, err
		}
		f.Panels = append(f.Panels, heat, points)
	}
	f.Columns = 2
	return f, nil
}

// Fig18 draws the rank-one check: with one direction for each task, the smallest width that learns task k (s_k > .5)
// is k.
func Fig18(rows []results.Row) (Figure, error) {
	rows, err := final(rows)
	if err != nil {
		return Figure{}, err
	}
	var x, y, value, seeds []float64
	widths, byWidth := groups(rows, width)
	for _, w := range widths {
		tasks, byTask := groups(byWidth[w], task)
		for _, k := range tasks {
			mean, _, n := interval(values(byTask[k], signal))
			x, y, value, seeds = append(x, float64(w)), append(y, float64(k)), append(value, mean), append(seeds, float64(n))
		}
	}
	heat := Panel{Title: "signal by task and width", X: Axis{Label: "width N (neurons)"}, Y: Axis{Label: "task (1 = most frequent)"},
		Layers: []Layer{{Kind: Heat, X: x, Y: y, Value: value, ValueLabel: "signal s_k", ValueMin: 0, ValueMax: 1, Fields: []Field{{"seeds", seeds}}}}}
	threshold := Panel{Title: "smallest width with s_k > .5", X: Axis{Label: "task k (1 = most frequent)"}, Y: Axis{Label: "width N (neurons)"}}
	bySeed, seedRows := groups(rows, func(r results.Row) int64 { return r.Seed })
	tasks, _ := groups(rows, task)
	var identity []float64
	for _, k := range tasks {
		identity = append(identity, float64(k))
	}
	threshold.Layers = []Layer{{Kind: Line, Name: "N = k, theory", Color: Black, Dashed: true, X: identity, Y: identity}}
	for i, s := range bySeed {
		layer := Layer{Kind: Points, Name: fmt.Sprintf("seed %d", s), Color: i % 6}
		_, byTask := groups(seedRows[s], task)
		for _, k := range tasks {
			layer.X = append(layer.X, float64(k))
			layer.Y = append(layer.Y, firstHeld(byTask[k], func(v float64) bool { return v > learned }))
		}
		threshold.Layers = append(threshold.Layers, layer)
	}
	return Figure{Name: "fig18", Title: "Rank-one tasks: task k needs width k",
		Caption: "One direction for each task, so that width N holds exactly the N most frequent tasks.",
		Panels:  []Panel{heat, threshold}, Columns: 2}, nil
}

// Fig21 draws persistence: the signal of the rarest task over a training far longer than the common tasks need, by width,
// mean and 95% interval over seeds.
func Fig21(rows []results.Row) (Figure, error) {
	if _, err := final(rows); err != nil {
		return Figure{}, err
	}
	m, err := mixtureOf(rows)
	if err != nil {
		return Figure{}, err
	}
	_, critical := m.NCrit()
	rare := Panel{Title: "rarest task", X: Axis{Label: "training step", Log: true}, Y: Axis{Label: "signal s_k", Min: -.02, Max: 1}}
	frequent := Panel{Title: "most frequent task", X: rare.X, Y: rare.Y}
	widths, byWidth := groups(rows, width)
	for i, w := range widths {
		_, byTask := groups(byWidth[w], task)
		name := fmt.Sprintf("N = %d", w)
		rare.Layers = append(rare.Layers, trajectory(name, Ordered(i, len(widths)), byTask[int32(m.Tasks())], signal)...)
		frequent.Layers = append(frequent.Layers, trajectory(name, Ordered(i, len(widths)), byTask[1], signal)...)
	}
	return Figure{Name: "fig21", Title: fmt.Sprintf("More training does not replace width: the rarest task enters at N = %d", critical.Some),
		Caption: "Signal of the rarest and of the most frequent task over training; bands are 95% intervals over seeds.",
		Panels:  []Panel{rare, frequent}, Columns: 2}, nil
}

// trajectory returns the band and line of a measure over training, over the seeds in rows; step 0 has no place on a
// logarithmic axis and is left out.
func trajectory(name string, color int, rows []results.Row, of func(results.Row) float64) []Layer {
	line := Layer{Kind: Line, Name: name, Color: color}
	band := Layer{Kind: Band, Name: name, Color: color}
	steps, byStep := groups(rows, func(r results.Row) int32 { return r.Step })
	for _, s := range steps {
		if s == 0 {
			continue
		}
		mean, half, _ := interval(values(byStep[s], of))
		line.X, line.Y = append(line.X, float64(s)), append(line.Y, mean)
		band.X, band.Low, band.High = append(band.X, float64(s)), append(band.Low, mean-half), append(band.High, mean+half)
	}
	return []Layer{band, line}
}
