package figure

import (
	"fmt"
	"math"
	"slices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/results"
)

// Rates draws the final loss against the learning rate by width, one panel for each parameterization, with 95% intervals over
// seeds. Where a best rate belongs to the net and not to its width, the valleys stand one above the other. A rate at which a seed failed
// has no loss: that of the others would make it look better than it is.
func Rates(runs results.Runs) (chart.Chart, error) {
	vary := []string{"net.width", "net.parameterization", "net.base", "train.rate"}
	if err := runs.Need(results.Design{Vary: vary, Final: true}); err != nil {
		return chart.Chart{}, err
	}
	nets, err := claims.BestRates(runs)
	if err != nil {
		return chart.Chart{}, err
	}
	m := runs[0].Mixture
	f := chart.Chart{Name: m.Family + "-rates", Title: "Which learning rate suits which width",
		Caption: "Final loss, geometric mean over seeds with 95% intervals. A small net must be judged by its own best rate."}
	all := sizesOf(runs)
	panels := map[string]int{}
	for _, n := range nets {
		title := "standard parameterization"
		if n.Parameterization == "mup" {
			title = fmt.Sprintf("muP, base width %d", n.Base)
		}
		if _, known := panels[title]; !known {
			panels[title] = len(f.Panels)
			f.Panels = append(f.Panels, chart.Panel{Title: title, X: chart.Axis{Label: "learning rate", Log: true},
				Y: chart.Axis{Label: fmt.Sprintf("loss of the mixture (%s)", m.Signature().Unit), Log: true}})
		}
		losses := means{x: n.Rates, all: slices.Clone(n.Losses)}
		for i, e := range losses.all {
			if e.Failed > 0 {
				losses.all[i].Mean, losses.all[i].Low, losses.all[i].High = math.NaN(), math.NaN(), math.NaN()
			}
		}
		size := int(Size.at(runs[0], n.Width))
		name, color := fmt.Sprintf("%s = %d", Size.Symbol, size), chart.Ordered(slices.Index(all, size), len(all))
		panel := &f.Panels[panels[title]]
		panel.Layers = append(panel.Layers, losses.layer(chart.Line, name, color), losses.layer(chart.Points, name, color))
	}
	f.Columns = len(f.Panels)
	return f, nil
}
