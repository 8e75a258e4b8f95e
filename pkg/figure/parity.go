package figure

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/results"
)

// late is the first step that figures of what is learned when show: in the first half percent of training nothing is.
func late(runs results.Runs) int { return (runs[0].Train.Steps + 199) / 200 }

// ParityOrder draws what is learned when, and by which width: the loss of some tasks over training at the largest width, and the
// final loss of every task at every width, averaged over seeds.
func ParityOrder(runs results.Runs) (chart.Chart, error) {
	if err := claims.NeedBits(runs); err != nil { // which has the design
		return chart.Chart{}, err
	}
	all, unit := sizesOf(runs), runs[0].Mixture.Signature().Unit
	largest := all.largest(runs)
	over := chart.Panel{Title: fmt.Sprintf("over training, width %d", largest[0].Net.Width), X: stepAxis,
		Y: chart.Axis{Label: fmt.Sprintf("loss of the task (%s)", unit), Min: 0, Max: 1.1}}
	shown := []int{1, 2, 3, 5, 8, 12, 17, 24, 50, 100, 200, 500}
	shown = slices.DeleteFunc(shown, func(k int) bool { return k > runs[0].Mixture.Tasks })
	for i, k := range shown {
		m := overSteps(largest, late(runs), of("loss_sampled", k), claims.Interval)
		over.Layers = append(over.Layers, m.curve(fmt.Sprintf("task %d", k), chart.Ordered(i, len(shown)))...)
	}
	over.Layers = append(over.Layers, rule("learned", nil, []float64{claims.LearnedBits}))
	return chart.Chart{Name: runs[0].Mixture.Family + "-order", Title: "Frequent tasks first, rare ones only by wide nets",
		Caption: "Left: each task falls from one bit to zero in its turn; bands are 95% intervals over seeds. Right: at the end of training, " +
			"narrow nets hold only the frequent tasks.",
		Panels: []chart.Panel{over, {Title: "at the end, by width", X: all.axis(), Y: taskAxis(runs[0].Mixture.Tasks),
			Layers: []chart.Layer{sizeMap(runs, "loss_sampled", fmt.Sprintf("loss (%s)", unit))}}},
		Columns: 2}, nil
}

// ParityTimes draws the time to learn a task against its frequency, by width, with the line of the largest width. Tasks that were
// not learned stand at the last step: their time is longer.
func ParityTimes(runs results.Runs) (chart.Chart, error) {
	times, err := claims.LearningTimes(runs) // which has the design
	if err != nil {
		return chart.Chart{}, err
	}
	all := sizesOf(runs)
	widest := all.largest(runs)[0].Net.Width
	left := chart.Panel{Title: fmt.Sprintf("width %d", widest), X: chart.Axis{Label: "frequency of the task", Log: true},
		Y: chart.Axis{Label: "training steps until learned", Log: true}}
	own := slices.DeleteFunc(slices.Clone(times), func(t claims.LearningTime) bool { return t.Width != widest })
	left.Layers = []chart.Layer{timePoints("learned", 0, own, false), timePoints("not learned by the end", 1, own, true)}
	if line, err := claims.TimeLine(own); err == nil {
		x := slices.Sorted(slices.Values(runs[0].Mixture.Frequencies()))
		left.Layers = append(left.Layers, chart.Layer{Kind: chart.Line, Name: fmt.Sprintf("slope %.2f", line.Slope), Color: chart.Black,
			X: x, Y: xslices.Map(x, line.At)})
	}
	type net struct {
		width int
		seed  uint32
	}
	learned := map[net]float64{}
	for _, t := range times {
		if !t.Censored {
			learned[net{t.Width, t.Seed}]++
		}
	}
	held := atEnd(runs, func(r *results.Run, _ int) float64 {
		if r.Diverged >= 0 {
			return math.NaN()
		}
		return learned[net{r.Net.Width, r.Train.Seed}]
	}, claims.Interval)
	right := chart.Panel{Title: "every width", X: all.axis(), Y: chart.Axis{Label: "tasks learned by the end"},
		Layers: []chart.Layer{held.layer(chart.Points, "learned", 0)}}
	return chart.Chart{Name: runs[0].Mixture.Family + "-times", Title: "Time to learn a task against its frequency",
		Caption: "Each point is one task of one seed: the first step with a loss below .1 bit. At the top, in orange: tasks that were not " +
			"learned, which the line (Tobit) counts as later than the last step. Right: how many tasks each width has learned when training ends, " +
			"mean over seeds with 95% intervals.",
		Panels: []chart.Panel{left, right}, Columns: 2}, nil
}

// timePoints are the times of tasks that were learned, or of those that were not.
func timePoints(name string, color int, times []claims.LearningTime, censored bool) chart.Layer {
	type time = claims.LearningTime
	own := slices.DeleteFunc(slices.Clone(times), func(t time) bool { return t.Censored != censored })
	return chart.Layer{Kind: chart.Points, Name: name, Color: color,
		X: xslices.Map(own, func(t time) float64 { return t.Frequency }), Y: xslices.Map(own, func(t time) float64 { return t.Step }),
		Fields: []chart.Field{{Name: "task", Values: xslices.Map(own, func(t time) float64 { return float64(t.Task) })},
			{Name: "seed", Values: xslices.Map(own, func(t time) float64 { return float64(t.Seed) })}}}
}

// ParityLoss draws the loss of the mixture against width, with 95% intervals over seeds and the fitted power law, and over training
// at every width.
func ParityLoss(runs results.Runs) (chart.Chart, error) {
	if err := claims.NeedBits(runs); err != nil { // which has the design
		return chart.Chart{}, err
	}
	all := sizesOf(runs)
	over := chart.Panel{Title: "over training", X: stepAxis,
		Y: chart.Axis{Label: fmt.Sprintf("loss of the mixture (%s)", runs[0].Mixture.Signature().Unit), Log: true}}
	against := chart.Panel{Title: "at the end", X: all.axis(), Y: over.Y}
	widths, _ := results.By(runs, results.Width)
	for i, loss := range []claims.Bits{claims.MixtureBits, claims.EndlessBits} {
		name, color := []string{fmt.Sprintf("%d tasks", runs[0].Mixture.Tasks), "endless tasks"}[i], []int{1, 0}[i]
		against.Layers = append(against.Layers, atEnd(runs, measure(loss), claims.Geometric).on(over.Y).layer(chart.Points, name, color))
		if line, err := claims.WidthLine(runs, loss); err == nil {
			against.Layers = append(against.Layers, chart.Layer{Kind: chart.Line, Name: fmt.Sprintf("%s: ∝ N^%.2f", name, line.Slope),
				Color: color, Dashed: true, X: xslices.Map(widths, func(w int) float64 { return Size.at(runs[0], w) }),
				Y: xslices.Map(widths, func(w int) float64 { return line.At(float64(w)) })})
		}
	}
	over.Layers = all.each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
		return overSteps(runs, late(runs), claims.MixtureBits, claims.Geometric).on(over.Y).curve(name, color)
	})
	return chart.Chart{Name: runs[0].Mixture.Family + "-loss", Title: "Loss of the mixture against width and over training",
		Caption: "Frequency-weighted cross-entropy, geometric mean over seeds with 95% intervals. Endless tasks: as if ever rarer ones " +
			"followed the last, none of them learned.",
		Panels: []chart.Panel{against, over}, Columns: 2}, nil
}

// Rates draws the final loss against the learning rate by width, one panel for each parameterization, with 95% intervals over
// seeds. Where a best rate belongs to the net and not to its width, the valleys stand one above the other. A rate at which a seed failed
// has no loss: that of the others would make it look better than it is.
func Rates(runs results.Runs) (chart.Chart, error) {
	vary := []string{"net.width", "net.parameterization", "net.base", "train.rate"}
	if err := runs.Need(results.Design{Vary: vary, Final: true, Absent: true}); err != nil {
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
		losses := means{n.Rates, n.Losses}.without(func(e claims.Estimate) bool { return e.Failed > 0 })
		size := int(Size.at(runs[0], n.Width))
		name, color := fmt.Sprintf("%s = %d", Size.Symbol, size), chart.Ordered(slices.Index(all, size), len(all))
		panel := &f.Panels[panels[title]]
		panel.Layers = append(panel.Layers, losses.layer(chart.Line, name, color), losses.layer(chart.Points, name, color))
	}
	f.Columns = len(f.Panels)
	return f, nil
}
