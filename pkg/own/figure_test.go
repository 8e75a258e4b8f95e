package own_test

import (
	"fmt"

	"raretask/pkg/chart"
	"raretask/pkg/results"
)

// Norms draws the norm of the weights over training, a line for each run.
func Norms(runs results.Runs) (chart.Chart, error) {
	err := runs.Need(results.Design{Vary: []string{"net.width"}, Columns: []string{"weight_norm"}})
	panel := chart.Panel{X: chart.Axis{Label: "training step"}, Y: chart.Axis{Label: "norm of the weights"}}
	widths, byWidth := results.By(runs, results.Width)
	for i, w := range widths {
		for _, r := range byWidth[w] {
			line := chart.Layer{Kind: chart.Line, Name: fmt.Sprintf("N = %d", w), Color: chart.Ordered(i, len(widths))}
			line.Y = r.Series("weight_norm", 0)
			for _, step := range r.Steps {
				line.X = append(line.X, float64(step))
			}
			panel.Layers = append(panel.Layers, line)
		}
	}
	return chart.Chart{Name: "norms", Title: "Weights grow", Panels: []chart.Panel{panel}}, err
}
