package figure

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"

	"raretask/pkg/results"
	"raretask/pkg/theory"
)

func residual(r results.Row) float64   { return results.Value(r.Residual) }
func gradient(r results.Row) float64   { return results.Value(r.Gradient) }
func bound(r results.Row) float64      { return results.Value(r.Bound) }
func normalized(r results.Row) float64 { return results.Value(r.Normal) }
func cosine(r results.Row) float64     { return results.Value(r.Cosine) }

// positive makes what a logarithmic axis can't show missing.
func positive(of func(results.Row) float64) func(results.Row) float64 {
	return func(r results.Row) float64 {
		if v := of(r); v > 0 {
			return v
		}
		return math.NaN()
	}
}

// frequentFloor returns delta*_F(N_crit^F), the residual of the frequent tasks at which the rarest task's first
// feature becomes stable, and N_crit against all other tasks.
func frequentFloor(m theory.Mixture) (floor float64, critical int) {
	againstFrequent, againstAll := m.NCrit()
	return m.ResidualFloor(m.Frequent(.8), againstFrequent.Some), againstAll.Some
}

// overTraining is a panel of a measure over training, a series for each width.
func overTraining(title, label string, rows []results.Row, shown int32, log bool, of func(results.Row) float64) Panel {
	panel := Panel{Title: title, X: Axis{Label: "training step", Log: true}, Y: Axis{Label: label, Log: log}}
	if log {
		of = positive(of)
	}
	widths, byWidth := groups(rows, width)
	for i, w := range widths {
		_, byTask := groups(byWidth[w], task)
		layers := trajectory(fmt.Sprintf("N = %d", w), Ordered(i, len(widths)), byTask[shown], of)
		if log { // an interval that reaches below zero has no place on the axis
			layers[0].Low = floored(layers[0].Low, layers[1].Y)
		}
		panel.Layers = append(panel.Layers, layers...)
	}
	return panel
}

// floored keeps the low ends of intervals on a logarithmic axis: at most a factor of ten below the mean.
func floored(low, mean []float64) []float64 {
	for i := range low {
		low[i] = max(low[i], mean[i]/10)
	}
	return low
}

// Fig3 draws, over training and by width, what the frequent tasks have yet to learn, the size of their gradient, and the rarest
// task's signal.
func Fig3(rows []results.Row) (Figure, error) {
	if _, err := final(rows); err != nil {
		return Figure{}, err
	}
	m, err := mixtureOf(rows)
	if err != nil {
		return Figure{}, err
	}
	floor, critical := frequentFloor(m)
	left := overTraining("frequent tasks: residual", "residual delta_F", rows, 1, true, residual)
	left.Layers = append(left.Layers, Layer{Kind: Rule, Name: "delta*_F(N_crit)", Color: Black, Dashed: true, Y: []float64{floor}})
	size := overTraining("frequent tasks: gradient", "gradient norm ||G_F||", rows, 1, true, gradient)
	rare := overTraining("rarest task", "normalised signal s~_r", rows, int32(m.Tasks()), false, normalized)
	return Figure{
		Name: "fig3", Title: "Wide nets leave the frequent tasks little to learn, and little gradient",
		Caption: fmt.Sprintf("Residual and gradient of the frequent tasks and signal of the rarest task over training; the dashed line is the least residual at the width from which the rarest task's first feature withstands the frequent ones; against all other tasks that width is %d. Bands: 95%% intervals over seeds.", critical),
		Panels:  []Panel{left, size, rare}, Columns: 3,
	}, nil
}

// Fig15 draws the frequent tasks' residual over training for every frequency exponent in the rows.
func Fig15(rows []results.Row) (Figure, error) {
	if _, err := final(rows); err != nil {
		return Figure{}, err
	}
	f := Figure{Name: "fig15", Title: "What the frequent tasks have yet to learn, for four frequency laws",
		Caption: "Residual of the frequent tasks over training by width; dashed: the least residual at N_crit against them."}
	betas, byBeta := groups(rows, beta)
	for _, b := range betas {
		m, err := mixtureOf(byBeta[b])
		if err != nil {
			return f, err
		}
		floor, critical := frequentFloor(m)
		panel := overTraining(fmt.Sprintf("beta = %g (N_crit = %d)", b, critical), "residual delta_F", byBeta[b], 1, true, residual)
		panel.Layers = append(panel.Layers, Layer{Kind: Rule, Name: "delta*_F(N_crit)", Color: Black, Dashed: true, Y: []float64{floor}})
		f.Panels = append(f.Panels, panel)
	}
	f.Columns = min(2, len(f.Panels))
	return f, nil
}

// Fig19 draws, late in training and against width, the frequent tasks' gradient and the bound on it, beside the rarest
// task's signal, for every frequency exponent in the rows.
func Fig19(rows []results.Row) (Figure, error) {
	rows, err := final(rows)
	if err != nil {
		return Figure{}, err
	}
	f := Figure{Name: "fig19", Title: "Late in training: the frequent tasks' gradient against width",
		Caption: "Means and 95% intervals over seeds at the last step. The bound is 2 sqrt(lambda_1(M_F) delta_F); the vertical line is N_crit against all other tasks."}
	betas, byBeta := groups(rows, beta)
	for _, b := range betas {
		m, err := mixtureOf(byBeta[b])
		if err != nil {
			return f, err
		}
		_, critical := frequentFloor(m)
		panel := Panel{Title: fmt.Sprintf("beta = %g", b), X: Axis{Label: "width N (neurons)", Log: true}, Y: Axis{Label: "late in training", Log: true}}
		for i, c := range []struct {
			name string
			task int32
			of   func(results.Row) float64
		}{{"gradient norm ||G_F||", 1, gradient}, {"bound (Theorem 4)", 1, bound}, {"residual delta_F", 1, residual}, {"signal s_r of the rarest task", int32(m.Tasks()), signal}} {
			panel.Layers = append(panel.Layers, againstWidth(c.name, i, c.task, byBeta[b], positive(c.of)))
		}
		panel.Layers = append(panel.Layers, Layer{Kind: Rule, Name: "N_crit", Color: Black, Dashed: true, X: []float64{float64(critical)}})
		f.Panels = append(f.Panels, panel)
	}
	f.Columns = min(2, len(f.Panels))
	return f, nil
}

// againstWidth is a series of means and intervals over seeds.
func againstWidth(name string, color int, shown int32, rows []results.Row, of func(results.Row) float64) Layer {
	layer := Layer{Kind: Points, Name: name, Color: color}
	widths, byWidth := groups(rows, width)
	for _, w := range widths {
		_, byTask := groups(byWidth[w], task)
		mean, half, _ := interval(values(byTask[shown], of))
		layer.X, layer.Y = append(layer.X, float64(w)), append(layer.Y, mean)
		layer.Low, layer.High = append(layer.Low, mean-half), append(layer.High, mean+half)
	}
	layer.Low = floored(layer.Low, layer.Y)
	return layer
}

// GradientMap draws over training, for some widths, the cosine of each task's population gradient with that of the frequent
// tasks (without itself): below zero, everywhere, and towards zero where the images of the tasks part.
func GradientMap(rows []results.Row, widths ...int) (Figure, error) {
	if _, err := final(rows); err != nil {
		return Figure{}, err
	}
	f := Figure{Name: "gradients", Title: "Who pulls against the frequent tasks",
		Caption: "Cosine of each task's gradient with the frequent tasks' over training, averaged over seeds. It is never positive."}
	_, byWidth := groups(rows, width)
	for _, w := range widths {
		if byWidth[int32(w)] == nil {
			return f, fmt.Errorf("figure: no rows of width %d: want widths that were trained", w)
		}
		cells := Layer{Kind: Heat, ValueLabel: "cosine of G_k and G_F"}
		steps, byStep := groups(byWidth[int32(w)], func(r results.Row) int32 { return r.Step })
		for _, s := range steps {
			if s == 0 {
				continue
			}
			tasks, byTask := groups(byStep[s], task)
			for _, k := range tasks {
				mean, _, _ := interval(values(byTask[k], cosine))
				cells.X, cells.Y, cells.Value = append(cells.X, float64(s)), append(cells.Y, float64(k)), append(cells.Value, mean)
			}
		}
		f.Panels = append(f.Panels, Panel{Title: fmt.Sprintf("N = %d", w), X: Axis{Label: "training step", Log: true}, Y: Axis{Label: "task (1 = most frequent)"}, Layers: []Layer{cells}})
	}
	return f, nil
}

// SlopesOnWidth returns, for each seed, the slope of ln|v| on ln N over widths at the end of training, with the sign of the
// measure: minus a measure gives the power of N with which it falls. Widths where it is missing or zero don't count.
func SlopesOnWidth(rows []results.Row, of func(results.Row) float64) []float64 {
	var slopes []float64
	seeds, bySeed := groups(rows, func(r results.Row) int64 { return r.Seed })
	for _, s := range seeds {
		var x, y []float64
		sign := 1.
		for _, r := range bySeed[s] {
			if v := of(r); r.Task == 1 && r.Step == r.Steps && v != 0 && !math.IsNaN(v) {
				x, y, sign = append(x, math.Log(float64(r.Width))), append(y, math.Log(math.Abs(v))), math.Copysign(1, v)
			}
		}
		slope := math.NaN()
		if len(x) > 1 {
			_, slope = stat.LinearRegression(x, y, nil, false)
		}
		slopes = append(slopes, sign*slope)
	}
	return slopes
}
