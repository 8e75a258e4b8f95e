package figure

import (
	"fmt"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/stat"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/results"
	"raretask/pkg/theory"
)

// residualPanel is the panel of Fig 3, 15 and 19: for every width and seed at the end of training, what the frequent tasks have yet to
// learn against the signal of the most frequent tasks (their mean) and of the rarest.
func residualPanel(m theory.Mixture, runs results.Runs, frequent int) chart.Panel {
	panel := chart.Panel{X: chart.Axis{Label: "residual δ_F", Name: "residual", Log: true},
		Y: chart.Axis{Label: "normalised signal s̃", Name: "signal"}}
	residual := xslices.Map(of("residual", 1).at(runs, (*results.Run).Last), positive)
	names := []string{"most frequent task", "rarest task"}
	if frequent > 1 {
		names[0] = fmt.Sprintf("most frequent tasks (%d)", frequent)
	}
	for i, tasks := range [][]int{xslices.Iota(1, frequent), {m.Tasks()}} {
		signal := func(r *results.Run, at int) float64 {
			return stat.Mean(xslices.Map(tasks, func(k int) float64 { return of("signal_normalized", k)(r, at) }), nil)
		}
		layer := chart.Layer{Kind: chart.Points, Name: names[i], Color: chart.Black, Shape: []int{1, 4}[i], X: residual,
			Y: measure(signal).at(runs, (*results.Run).Last), Value: Size.values(runs), ValueLabel: Size.Label, ValueName: Size.Name, ValueLog: true}
		layer.Fields = []chart.Field{{Name: "seed", Values: xslices.Map(runs, func(r *results.Run) float64 { return float64(r.Train.Seed) })}}
		panel.Layers = append(panel.Layers, layer)
	}
	if floor, _ := m.FrequentFloor(); floor > 0 { // else it has no place on a logarithmic axis: there is width for all of them
		panel.Layers = append(panel.Layers, rule("δ*_F(N_crit)", []float64{floor}, nil))
	}
	return panel
}

// residuals draws that panel for each mixture.
func residuals(name, title string, runs results.Runs, frequent int, vary ...string) (chart.Chart, error) {
	design := results.Design{Vary: append(vary, "net.width"), Columns: []string{"residual", "signal_normalized"}, Final: true}
	panels, columns, err := mixes(runs, design, func(m theory.Mixture, runs results.Runs) chart.Panel {
		return residualPanel(m, runs, min(frequent, m.Tasks()-1))
	})
	if err != nil {
		return chart.Chart{}, err
	}
	whose := "the most frequent task"
	if frequent > 1 {
		whose = fmt.Sprintf("the %d most frequent tasks (mean)", frequent)
	}
	return chart.Chart{Name: name, Title: title, Subtitle: about(runs), Panels: panels, Columns: columns,
		Caption: fmt.Sprintf("A point for each width and seed at the end of training: what the frequent tasks have yet to learn, and the "+
			"normalised signal of %s and of the rarest. Dashed: the least residual at N_crit against the frequent tasks.", whose)}, nil
}

// Fig3 draws the signal of the three most frequent tasks and of the rarest against what the frequent tasks have yet to learn.
func Fig3(runs results.Runs) (chart.Chart, error) {
	return residuals("fig3", "The rarest task enters when little is left of the frequent ones", runs, 3)
}

// Fig15 is Fig 3 for ranges of complexity (rows) and frequency laws (columns).
func Fig15(runs results.Runs) (chart.Chart, error) {
	return residuals("fig15", "Residual and signal, by complexity and frequency", runs, 3, byComplexity, byFrequency)
}

// Fig19 is Fig 3 for frequency laws, with the most frequent task alone.
func Fig19(runs results.Runs) (chart.Chart, error) {
	return residuals("fig19", "Residual and signal, by frequency law", runs, 1, byFrequency)
}

// Curves draws, over training and by width, what the frequent tasks have yet to learn, the size of their gradient, and the rarest
// task's signal.
func Curves(runs results.Runs) (chart.Chart, error) {
	design := results.Design{Vary: []string{"net.width"}, Columns: []string{"residual", "frequent_gradient", "signal_normalized"}}
	m, err := claims.Theory(runs, design)
	if err != nil {
		return chart.Chart{}, err
	}
	floor, critical := m.FrequentFloor()
	all := sizesOf(runs)
	residual := all.overTraining("frequent tasks: residual", "residual δ_F", true, runs, of("residual", 1))
	if floor > 0 {
		residual.Layers = append(residual.Layers, rule("δ*_F(N_crit)", nil, []float64{floor}))
	}
	return chart.Chart{
		Name: "interference-curves", Title: "Over training: residual and gradient of the frequent tasks, signal of the rarest",
		Subtitle: about(runs),
		Caption: fmt.Sprintf("The dashed line is the least residual at the width from which the rarest task's first feature withstands the "+
			"frequent ones; against all other tasks that width is %s. Bands: 95%% intervals over seeds.", critical),
		Panels: []chart.Panel{residual,
			all.overTraining("frequent tasks: gradient", "gradient norm ‖G_F‖", true, runs, of("frequent_gradient", 1)),
			all.overTraining("rarest task", "normalised signal s̃_r", false, runs, of("signal_normalized", m.Tasks())),
		}, Columns: 3,
	}, nil
}

// LateGradient draws, late in training and against width, the frequent tasks' gradient and the bound on it, beside the rarest
// task's signal, for every frequency exponent among the runs.
func LateGradient(runs results.Runs) (chart.Chart, error) {
	design := results.Design{Vary: []string{"net.width", byFrequency},
		Columns: []string{"frequent_gradient", "bound", "residual", "signal"}, Final: true}
	panels, columns, err := mixes(runs, design, func(m theory.Mixture, runs results.Runs) chart.Panel {
		_, critical := m.FrequentFloor()
		panel := chart.Panel{X: sizesOf(runs).axis(), Y: chart.Axis{Label: "late in training", Name: "late", Log: true}}
		for i, c := range []struct {
			name string
			measure
		}{
			{"gradient norm ‖G_F‖", of("frequent_gradient", 1)}, {"bound (Theorem 4)", of("bound", 1)}, {"residual δ_F", of("residual", 1)},
			{"signal s_r of the rarest task", of("signal", m.Tasks())},
		} {
			panel.Layers = append(panel.Layers, atEnd(runs, c.measure, claims.Interval).on(panel.Y).layer(chart.Points, c.name, i))
		}
		panel.Layers = append(panel.Layers, rule("N_crit", []float64{Size.at(runs[0], critical.Some)}, nil))
		return panel
	})
	if err != nil {
		return chart.Chart{}, err
	}
	return chart.Chart{Name: "gradient-width", Title: "Late in training: the frequent tasks' gradient against width", Subtitle: about(runs),
		Caption: "Means and 95% intervals over seeds at the last step. The bound is 2 √(λ_1(M_F) δ_F); the vertical line is N_crit against all " +
			"other tasks. Intervals that reach below zero are cut off.",
		Panels: panels, Columns: min(2, columns)}, nil
}

// GradientMap draws over training, for some widths, the cosine of each task's population gradient with that of the frequent
// tasks (without itself): below zero, everywhere, and towards zero where the images of the tasks part.
func GradientMap(runs results.Runs, widths ...int) (chart.Chart, error) {
	if err := runs.Need(results.Design{Vary: []string{"net.width"}, Columns: []string{"cosine"}}); err != nil {
		return chart.Chart{}, err
	}
	f := chart.Chart{Name: "gradients", Title: "Who pulls against the frequent tasks", Subtitle: about(runs),
		Caption: "Cosine of each task's gradient with that of the frequent tasks other than itself, over training, averaged over seeds. It " +
			"is never positive."}
	_, byWidth := results.By(runs, results.Width)
	for _, w := range widths {
		own := byWidth[w]
		if own == nil {
			return f, fmt.Errorf("figure: no runs of width %d: want widths that were trained", w)
		}
		cells := taskMap("cosine of G_k and G_F", own[0].Mixture.Tasks, func(k int) means {
			return overSteps(own, 1, of("cosine", k), claims.Interval)
		})
		title := fmt.Sprintf("%s = %d", Size.Symbol, Size.Of(own[0]))
		f.Panels = append(f.Panels, chart.Panel{Title: title, X: stepAxis, Y: down(taskAxis(own[0].Mixture.Tasks)), Layers: []chart.Layer{cells}})
	}
	return f, nil
}
