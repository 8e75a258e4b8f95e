package figure

import (
	"fmt"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/results"
	"raretask/pkg/theory"
)

// frequentFloor returns δ*_F(N_crit^F), the residual of the frequent tasks at which the rarest task's first
// feature becomes stable, and N_crit against all other tasks.
func frequentFloor(m theory.Mixture) (floor float64, critical int) {
	againstFrequent, againstAll := m.NCrit()
	return m.ResidualFloor(m.Frequent(theory.FrequentShare), againstFrequent.Some), againstAll.Some
}

// residualPanel is what the frequent tasks have yet to learn over training, and the floor.
func (s sizes) residualPanel(title string, runs results.Runs, floor float64) chart.Panel {
	panel := s.overTraining(title, "residual δ_F", true, runs, of("residual", 1))
	if floor > 0 { // else it has no place on a logarithmic axis: there is width for all of them
		panel.Layers = append(panel.Layers, rule("δ*_F(N_crit)", nil, []float64{floor}))
	}
	return panel
}

// Fig3 draws, over training and by width, what the frequent tasks have yet to learn, the size of their gradient, and the rarest
// task's signal.
func Fig3(runs results.Runs) (chart.Chart, error) {
	design := results.Design{Vary: []string{"net.width"}, Columns: []string{"residual", "frequent_gradient", "signal_normalized"}}
	m, err := claims.Theory(runs, design)
	if err != nil {
		return chart.Chart{}, err
	}
	floor, critical := frequentFloor(m)
	all := sizesOf(runs)
	return chart.Chart{
		Name: "fig3", Title: "Wide nets leave the frequent tasks little to learn, and little gradient",
		Caption: fmt.Sprintf("Residual and gradient of the frequent tasks and signal of the rarest task over training; the dashed line is the "+
			"least residual at the width from which the rarest task's first feature withstands the frequent ones; against all other tasks that "+
			"width is %d. Bands: 95%% intervals over seeds.", critical),
		Panels: []chart.Panel{
			all.residualPanel("frequent tasks: residual", runs, floor),
			all.overTraining("frequent tasks: gradient", "gradient norm ‖G_F‖", true, runs, of("frequent_gradient", 1)),
			all.overTraining("rarest task", "normalised signal s̃_r", false, runs, of("signal_normalized", m.Tasks())),
		}, Columns: 3,
	}, nil
}

// Fig15 draws the frequent tasks' residual over training for every frequency exponent among the runs.
func Fig15(runs results.Runs) (chart.Chart, error) {
	all := sizesOf(runs)
	design := results.Design{Vary: []string{"net.width", "mixture.frequency.exponent"}, Columns: []string{"residual"}}
	panels, err := laws(runs, design, func(title string, m theory.Mixture, runs results.Runs) []chart.Panel {
		floor, critical := frequentFloor(m)
		return []chart.Panel{all.residualPanel(fmt.Sprintf("%s (N_crit = %d)", title, critical), runs, floor)}
	})
	return chart.Chart{Name: "fig15", Title: "What the frequent tasks have yet to learn, for four frequency laws",
		Caption: "Residual of the frequent tasks over training by width; dashed: the least residual at N_crit against them.",
		Panels:  panels, Columns: min(2, len(panels))}, err
}

// Fig19 draws, late in training and against width, the frequent tasks' gradient and the bound on it, beside the rarest
// task's signal, for every frequency exponent among the runs.
func Fig19(runs results.Runs) (chart.Chart, error) {
	design := results.Design{Vary: []string{"net.width", "mixture.frequency.exponent"},
		Columns: []string{"frequent_gradient", "bound", "residual", "signal"}, Final: true}
	panels, err := laws(runs, design, func(title string, m theory.Mixture, runs results.Runs) []chart.Panel {
		_, critical := frequentFloor(m)
		panel := chart.Panel{Title: title, X: sizesOf(runs).axis(), Y: chart.Axis{Label: "late in training", Log: true}}
		for i, c := range []struct {
			name string
			measure
		}{
			{"gradient norm ‖G_F‖", of("frequent_gradient", 1)}, {"bound (Theorem 4)", of("bound", 1)}, {"residual δ_F", of("residual", 1)},
			{"signal s_r of the rarest task", of("signal", m.Tasks())},
		} {
			panel.Layers = append(panel.Layers, atEnd(runs, c.measure, claims.Interval).on(panel.Y).layer(chart.Points, c.name, i))
		}
		panel.Layers = append(panel.Layers, rule("N_crit", []float64{Size.at(runs[0], critical)}, nil))
		return []chart.Panel{panel}
	})
	return chart.Chart{Name: "fig19", Title: "Late in training: the frequent tasks' gradient against width",
		Caption: "Means and 95% intervals over seeds at the last step. The bound is 2 √(λ_1(M_F) δ_F); the vertical line is N_crit against all " +
			"other tasks.",
		Panels: panels, Columns: min(2, len(panels))}, err
}

// GradientMap draws over training, for some widths, the cosine of each task's population gradient with that of the frequent
// tasks (without itself): below zero, everywhere, and towards zero where the images of the tasks part.
func GradientMap(runs results.Runs, widths ...int) (chart.Chart, error) {
	if err := runs.Need(results.Design{Vary: []string{"net.width"}, Columns: []string{"cosine"}}); err != nil {
		return chart.Chart{}, err
	}
	f := chart.Chart{Name: "gradients", Title: "Who pulls against the frequent tasks",
		Caption: "Cosine of each task's gradient with the frequent tasks' over training, averaged over seeds. It is never positive."}
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
		f.Panels = append(f.Panels, chart.Panel{Title: title, X: stepAxis, Y: taskAxis, Layers: []chart.Layer{cells}})
	}
	return f, nil
}
