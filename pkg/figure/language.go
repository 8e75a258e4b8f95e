package figure

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/probe"
	"raretask/pkg/results"
)

// Settings in which language models of a figure may differ: each width has its own rate.
var bySize, bySchedule = []string{"net.width", "train.rate"}, []string{"train.injection.gap", "train.injection.samples"}

// perToken returns how often an instance of the injected task comes, in instances per token.
func perToken(r *results.Run) float64 {
	i, window := r.Train.Injection, r.Mixture.Signature().Input.Size()+1
	perStep := i.PerStep(r.Train.Batch, r.Mixture.Frequencies()[i.Task-1]) * float64(i.Steps()) / float64(i.Gap)
	return perStep / float64(r.Train.Batch*window)
}

// aboutLanguage says of what language models a figure is.
func aboutLanguage(runs results.Runs) string {
	r := runs[0]
	widths, _ := results.By(runs, results.Width)
	seeds, _ := results.By(runs, results.Seed)
	text := fmt.Sprintf("%d widths, %d seeds; %d steps of %d windows of %d tokens", len(widths), len(seeds), r.Train.Steps, r.Train.Batch,
		r.Mixture.Signature().Input.Size()+1)
	if r.Scale != "" {
		text += "; scale " + r.Scale
	}
	return text
}

// Fig5 draws, by size and by frequency of a novel task, the loss of its training instances and the accuracy on its test instances at the
// end.
func Fig5(runs results.Runs) (chart.Chart, error) {
	columns := []string{probe.TrainLoss, probe.TestAccuracy}
	err := runs.Need(results.Design{Vary: slices.Concat(bySize, bySchedule), Columns: columns, Final: true})
	if err != nil {
		return chart.Chart{}, err
	}
	c := chart.Chart{Name: "fig5a", Title: "A novel task by size and frequency", Subtitle: aboutLanguage(runs), Columns: 2,
		Caption: "Injected into the training of language models: cross-entropy of its label on training instances, and share of the test " +
			"instances whose label is the likeliest token, at the end of training; means over seeds."}
	frequencies, byFrequency := results.By(runs, perToken)
	short := func(f float64) float64 { // two digits, for people
		v, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 2, 64), 64)
		return v
	}
	y := chart.Axis{Label: "instances per token", Name: "frequency", Log: true, Ticks: xslices.Map(frequencies, short)}
	for i, column := range columns {
		heat := chart.Layer{Kind: chart.Heat, ValueLabel: []string{"train loss (nats)", "test accuracy"}[i]}
		if i == 1 {
			heat.ValueMax = 1
		}
		var all means
		for _, f := range frequencies {
			own := atEnd(byFrequency[f], of(column, 1), claims.Interval)
			all.x, all.all = append(all.x, own.x...), append(all.all, own.all...)
			heat.Y = append(heat.Y, slices.Repeat([]float64{short(f)}, len(own.x))...)
		}
		heat.X, heat.Value, heat.Fields = all.x, all.mean(), all.fields()
		c.Panels = append(c.Panels, chart.Panel{Title: []string{"train loss", "test accuracy"}[i], X: sizesOf(runs).axis(), Y: y,
			Layers: []chart.Layer{heat}})
	}
	return c, nil
}

// TaskCurves draws the test accuracy of the novel task and the loss of the language over training, a panel of the accuracy for each
// frequency, a series for each size.
func TaskCurves(runs results.Runs) (chart.Chart, error) {
	columns := []string{probe.TestAccuracy, "loss_sampled"}
	if err := runs.Need(results.Design{Vary: slices.Concat(bySize, bySchedule), Columns: columns}); err != nil {
		return chart.Chart{}, err
	}
	all := sizesOf(runs)
	c := chart.Chart{Name: "task-curves", Title: "The novel task over training", Subtitle: aboutLanguage(runs),
		Caption: "Share of the test instances whose label is the likeliest token; means over seeds."}
	c.Panels = frequencies(runs, func(runs results.Runs) chart.Panel {
		panel := all.overTraining("", "test accuracy", false, runs, of(probe.TestAccuracy, 1))
		panel.Y.Max = 1.02
		panel.Layers = fewSeeds(panel.Layers)
		return panel
	})
	return c, nil
}

// Fig22 draws the loss of the novel task's test instances against that of the language, both over training, a panel for each frequency, a
// series for each size.
func Fig22(runs results.Runs) (chart.Chart, error) {
	design := results.Design{Vary: slices.Concat(bySize, bySchedule), Columns: []string{probe.TestLoss, "loss_sampled"}}
	if err := runs.Need(design); err != nil {
		return chart.Chart{}, err
	}
	language, err := languageLoss(runs)
	if err != nil {
		return chart.Chart{}, err
	}
	c := chart.Chart{Name: "fig22", Title: "Loss of the novel task against that of the language", Subtitle: aboutLanguage(runs),
		Caption: "Each line is a size over training, which runs from right to left; means over seeds. Cross-entropy of the label of test " +
			"instances, and of fresh windows of the language."}
	all := sizesOf(runs)
	c.Panels = frequencies(runs, func(runs results.Runs) chart.Panel {
		panel := chart.Panel{X: chart.Axis{Label: "language loss (nats)", Name: "language"},
			Y: chart.Axis{Label: "task loss (nats)", Name: "task"}}
		panel.Layers = all.each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
			x, y := overSteps(runs, 1, language, claims.Interval), overSteps(runs, 1, of(probe.TestLoss, 1), claims.Interval)
			line := chart.Layer{Kind: chart.Line, Name: name, Color: color, X: x.mean(), Y: y.mean()}
			line.Fields = []chart.Field{{Name: "step", Values: x.x}}
			return []chart.Layer{line}
		})
		return panel
	})
	return c, nil
}

// Fig23 draws the loss of the novel task's test instances against the compute of training, 6 parameters tokens, a panel for each frequency,
// a series for each size.
func Fig23(runs results.Runs) (chart.Chart, error) {
	design := results.Design{Vary: slices.Concat(bySize, bySchedule), Columns: []string{probe.TestLoss}}
	if err := runs.Need(design); err != nil {
		return chart.Chart{}, err
	}
	c := chart.Chart{Name: "fig23", Title: "Loss of the novel task against compute", Subtitle: aboutLanguage(runs),
		Caption: "Cross-entropy of the label of test instances over training, by the FLOPs of it: 6 for each parameter and token. Dashed: the " +
			"least loss that some size has reached with so much. Means over seeds."}
	all := sizesOf(runs)
	c.Panels = frequencies(runs, func(runs results.Runs) chart.Panel {
		panel := chart.Panel{
			X: chart.Axis{Label: "compute (FLOPs)", Name: "compute", Log: true}, Y: chart.Axis{Label: "task loss (nats)", Name: "task"}}
		var front frontier
		panel.Layers = all.each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
			r := runs[0]
			tokens := float64(r.Train.Batch * (r.Mixture.Signature().Input.Size() + 1))
			m := overSteps(runs, 1, of(probe.TestLoss, 1), claims.Interval)
			m.x = xslices.Map(m.x, func(step float64) float64 { return 6 * float64(r.Run.Parameters()) * tokens * step })
			front.x, front.y = append(front.x, m.x...), append(front.y, m.mean()...)
			return fewSeeds(m.curve(name, color))
		})
		x, y := front.least()
		best := chart.Layer{Kind: chart.Line, Name: "best of all sizes", Color: chart.Black, Dashed: true, X: x, Y: y}
		panel.Layers = append(panel.Layers, best)
		return panel
	})
	return c, nil
}

// frequencies draws a panel for each frequency of the novel task.
func frequencies(runs results.Runs, draw func(results.Runs) chart.Panel) (panels []chart.Panel) {
	all, byFrequency := results.By(runs, perToken)
	for _, f := range all {
		panel := draw(byFrequency[f])
		panel.Title, panel.Facets = fmt.Sprintf("%.2g instances per token", f), []chart.Facet{{Name: "frequency", Value: f}}
		panels = append(panels, panel)
	}
	return panels
}

// fewSeeds leaves out intervals: that of two seeds is twelve times as wide as they are apart, and says nothing.
func fewSeeds(layers []chart.Layer) []chart.Layer {
	return slices.DeleteFunc(layers, func(l chart.Layer) bool { return l.Kind == chart.Band })
}

// frontier is losses by compute.
type frontier struct{ x, y []float64 }

// least returns where the least loss up to some compute falls, and to what.
func (f frontier) least() (x, y []float64) {
	order := xslices.Iota(0, len(f.x))
	slices.SortFunc(order, func(a, b int) int { return int(math.Copysign(1, f.x[a]-f.x[b])) })
	best := math.Inf(1)
	for _, i := range order {
		if f.y[i] < best {
			best = f.y[i]
			x, y = append(x, f.x[i]), append(y, best)
		}
	}
	return x, y
}

// languageLoss measures the loss of plain windows, in nats: what is stored is relative to the best constant of the run's language.
func languageLoss(runs results.Runs) (measure, error) {
	baseline := map[any]float64{}
	for _, r := range runs {
		if _, known := baseline[r.Mixture.Settings]; known {
			continue
		}
		family, err := r.Mixture.Settings.Family(r.Mixture.Tasks)
		if err != nil {
			return nil, err
		}
		baseline[r.Mixture.Settings] = family.Baseline()[0]
	}
	return func(r *results.Run, i int) float64 {
		return baseline[r.Mixture.Settings] * claims.Value(r, "loss_sampled", i, 1)
	}, nil
}
