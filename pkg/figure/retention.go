package figure

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/interference"
	"raretask/pkg/results"
	"raretask/pkg/theory"
)

// gaps draws a panel for each gap.
func gaps(runs results.Runs, draw func(title string, gap int, runs results.Runs) chart.Panel) (panels []chart.Panel) {
	all, byGap := results.By(runs, results.Gap)
	for _, g := range all {
		panels = append(panels, draw(fmt.Sprintf("G = %d", g), g, byGap[g]))
	}
	return panels
}

// Fig4a draws the injected task's normalised signal over training, a panel for each gap and a series for each width.
func Fig4a(runs results.Runs) (chart.Chart, error) {
	if err := claims.NeedInjections(runs, "signal_normalized"); err != nil {
		return chart.Chart{}, err
	}
	panels := gaps(runs, func(title string, _ int, own results.Runs) chart.Panel {
		signal := of("signal_normalized", own[0].Train.Injection.Task)
		return sizesOf(runs).overTraining(title, "normalised signal s̃_r", false, own, signal)
	})
	return chart.Chart{Name: "fig4a", Title: "The rarest task, withheld for G steps and returned in bulk",
		Caption: "Normalised signal of the rarest task; every gap gives it the same number of samples. Bands: 95% intervals over seeds.",
		Panels:  panels, Columns: min(3, len(panels))}, nil
}

// againstGap is a panel of a measure of retention against the gap, a series for each size.
func againstGap(title, label string, runs results.Runs, all []claims.Retention, value func(claims.Retention) claims.BySeed) chart.Panel {
	panel := chart.Panel{Title: title, X: chart.Axis{Label: "gap G (steps)", Log: true}, Y: chart.Axis{Label: label}}
	panel.Layers = sizesOf(runs).each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
		var m means
		for _, r := range all {
			if r.Width == runs[0].Net.Width {
				m.add(float64(r.Gap), value(r).Interval())
			}
		}
		return []chart.Layer{m.layer(chart.Line, name, color), m.layer(chart.Points, name, color)}
	})
	return panel
}

// Fig4b draws against the gap, by width, the injected task's normalised signal at the end and the share of its signal that
// is left when the next injection comes.
func Fig4b(runs results.Runs) (chart.Chart, error) {
	all, err := claims.Retentions(runs) // which has the design
	if err != nil {
		return chart.Chart{}, err
	}
	end := againstGap("at the end", "normalised signal s̃_r", runs, all, func(r claims.Retention) claims.BySeed { return r.Final })
	share := againstGap("left at the next injection", "retained share of the signal", runs, all,
		func(r claims.Retention) claims.BySeed { return r.Retained })
	share.Y.Min, share.Y.Max = 0, 1.05
	return chart.Chart{Name: "fig4b", Title: "What is retained, by width and gap",
		Caption: "Left: signal at the end of training. Right: signal just before an injection relative to its peak after the one before, late " +
			"in training; no point where the signal never reached .01. 95% intervals over seeds; the single seeds are in the notebook's table.",
		Panels: []chart.Panel{end, share}, Columns: 2}, nil
}

// SampledRetention draws, for nets whose signal is known by samples only, the injected task's learned share over training at the
// shortest and the longest gap, and against the gap what is learned at the end and what is left of it when the next injection comes.
func SampledRetention(runs results.Runs) (chart.Chart, error) {
	all, err := claims.Retentions(runs) // which has the design
	if err != nil {
		return chart.Chart{}, err
	}
	kept := claims.KeptOf(runs)
	panels := gaps(runs, func(title string, _ int, own results.Runs) chart.Panel {
		return sizesOf(runs).overTraining(title, "learned share", false, own, func(r *results.Run, i int) float64 {
			return kept.At(r, i, r.Train.Injection.Task)
		})
	})
	for i := range panels {
		panels[i].X.Log = false
	}
	if n := len(panels); n > 2 {
		panels = []chart.Panel{panels[0], panels[n-1]}
	}
	panels = append(panels,
		againstGap("at the end", "learned share", runs, all, func(r claims.Retention) claims.BySeed { return r.Final }),
		againstGap("left at the next injection", "retained share", runs, all, func(r claims.Retention) claims.BySeed { return r.Retained }))
	for i := range panels {
		panels[i].Y.Min, panels[i].Y.Max = -.02, 1.05
	}
	return chart.Chart{Name: "retention-sampled", Title: "Retention known by samples, by width and gap", Columns: 2, Panels: panels,
		Caption: "Learned share of the rarest task: what is gone of the loss of predicting the mean, on 256 fresh samples. Top: over training, " +
			"with a few of the cycles seen closely. Bottom left: at the end. Bottom right: just before an injection relative to the peak after " +
			"the one before, late in training; no point where a tenth was never learned. 95% intervals over seeds."}, nil
}

// Fig20 draws what an injection adds and what the gap takes, by width and gap, late in training.
func Fig20(runs results.Runs) (chart.Chart, error) {
	all, err := claims.Retentions(runs) // which has the design
	if err != nil {
		return chart.Chart{}, err
	}
	return chart.Chart{Name: "fig20", Title: "Gain at an injection, decay until the next",
		Caption: "Means over the observed cycles in the last two thirds of each run; 95% intervals over seeds. In equilibrium what is gained " +
			"is lost again.",
		Panels: []chart.Panel{
			againstGap("gain", "gain of the signal", runs, all, func(r claims.Retention) claims.BySeed { return r.Gain }),
			againstGap("decay", "decay of the signal", runs, all, func(r claims.Retention) claims.BySeed { return r.Decay }),
		}, Columns: 2}, nil
}

// moments are where a cycle is looked at: just before an injection, right after it, and steps later.
var moments = []int{-1, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}

// Fig16 draws the cosine of the injected task's population gradient with the frequent tasks' just before, right after and at
// growing distances after injections, a panel for each gap, late in training.
func Fig16(runs results.Runs) (chart.Chart, error) {
	if err := claims.NeedInjections(runs, "cosine"); err != nil {
		return chart.Chart{}, err
	}
	panels := gaps(runs, func(title string, gap int, own results.Runs) chart.Panel {
		panel := chart.Panel{Title: title, X: chart.Axis{Label: "steps after the injection", Categories: []string{"before"}},
			Y: chart.Axis{Label: "cosine of G_r and G_F"}}
		for _, m := range moments[1:] {
			if m < gap {
				panel.X.Categories = append(panel.X.Categories, strconv.Itoa(m))
			}
		}
		panel.Layers = sizesOf(runs).each(own, func(name string, color int, runs results.Runs) []chart.Layer {
			var m means
			for at := range panel.X.Categories {
				e := claims.Over(runs, func(r *results.Run) float64 { return aroundInjections(r, moments[at]) })
				e.High = min(0, e.High)
				m.add(float64(at), e)
			}
			return m.curve(name, color)
		})
		return panel
	})
	return chart.Chart{Name: "fig16", Title: "The rarest task's gradient against the frequent tasks', around injections",
		Caption: "Cosine of the population gradients, exact and never positive; means over the second half of training's observed injections, " +
			"bands are 95% intervals over seeds.",
		Panels: panels, Columns: min(3, len(panels))}, nil
}

// aroundInjections returns a run's mean cosine at a moment of the injections in the second half of training.
func aroundInjections(r *results.Run, moment int) float64 {
	injection := r.Train.Injection
	if moment < 0 {
		moment = -injection.Steps()
	}
	var v []float64
	for i, step := range r.Steps {
		if since := step - moment - injection.From; step > r.Train.Steps/2 && since > 0 && since%injection.Gap == 0 {
			v = append(v, r.Value("cosine", i, injection.Task))
		}
	}
	if r.Diverged >= 0 {
		return math.NaN()
	}
	return claims.Interval(v).Mean
}

// RetentionChart draws the injected task's signal over training for one width and gap, chosen in the interactive chart, with
// its gain and decay in the tooltip.
func RetentionChart(runs results.Runs) (chart.Chart, error) {
	kept := claims.KeptOf(runs)
	if err := claims.NeedInjections(runs, kept.Column); err != nil {
		return chart.Chart{}, err
	}
	label := "learned share"
	if kept.Exact {
		label = "signal s_r"
	}
	panel := chart.Panel{X: stepAxis, Y: chart.Axis{Label: label, Min: -.02, Max: 1}}
	all := sizesOf(runs)
	between, _ := results.By(runs, results.Gap)
	seeds, _ := results.By(runs, results.Seed)
	inOrder := slices.SortedFunc(slices.Values(runs), func(a, b *results.Run) int {
		return cmp.Or(Size.Of(a)-Size.Of(b), results.Gap(a)-results.Gap(b), cmp.Compare(a.Train.Seed, b.Train.Seed))
	})
	for _, r := range inOrder {
		layers, err := seedLayers(kept, r, slices.Index(seeds, r.Train.Seed)%6)
		if err != nil {
			return chart.Chart{}, err
		}
		for _, l := range layers {
			l.Chosen = []int{slices.Index(all, Size.Of(r)), slices.Index(between, results.Gap(r))}
			panel.Layers = append(panel.Layers, l)
		}
	}
	of, _, _ := strings.Cut(Size.Label, " (")
	return chart.Chart{Name: "retention", Title: "Signal of the rarest task",
		Caption: "Choose a width and a gap below the chart. Each line is a seed; points are just before an injection (its gain and decay in " +
			"the tooltip).",
		Panels: []chart.Panel{panel}, Choices: []chart.Choice{choice(of, all, len(all)/3), choice("gap G", between, len(between)-1)}}, nil
}

func choice(name string, of []int, start int) chart.Choice {
	return chart.Choice{Name: name, Start: start, Options: xslices.Map(of, strconv.Itoa)}
}

// seedLayers are what a run keeps of the injected task over training, and its cycles.
func seedLayers(kept claims.Kept, r *results.Run, color int) ([]chart.Layer, error) {
	cycles, err := kept.Cycles(r)
	if err != nil {
		return nil, err
	}
	cycles = slices.DeleteFunc(cycles, func(c interference.Cycle) bool { return c.Begin == 0 }) // 0 has no place on a logarithmic axis
	column := func(of func(interference.Cycle) float64) []float64 { return xslices.Map(cycles, of) }
	line := chart.Layer{Kind: chart.Line, Name: fmt.Sprintf("seed %d", r.Train.Seed), Color: color}
	points := line
	points.Kind = chart.Points
	for i, step := range r.Steps {
		if step > 0 {
			line.X, line.Y = append(line.X, float64(step)), append(line.Y, kept.At(r, i, r.Train.Injection.Task))
		}
	}
	points.X = column(func(c interference.Cycle) float64 { return float64(c.Begin) })
	points.Y = column(func(c interference.Cycle) float64 { return c.Before })
	points.Fields = []chart.Field{{Name: "gain", Values: column(func(c interference.Cycle) float64 { return c.Gain })},
		{Name: "decay", Values: column(func(c interference.Cycle) float64 { return c.Decay })},
		{Name: "retained", Values: column(func(c interference.Cycle) float64 { return c.Retained })}}
	layers := []chart.Layer{line, points}
	for i, l := range layers {
		all := func(v int) []float64 { return slices.Repeat([]float64{float64(v)}, len(l.X)) }
		layers[i].Fields = append(l.Fields, chart.Field{Name: "width", Values: all(r.Net.Width)},
			chart.Field{Name: "gap", Values: all(r.Train.Injection.Gap)})
	}
	return layers, nil
}

// OneNeuron draws how the angle of one neuron decays while the rare task is withheld, for several rates, and its closed form.
func OneNeuron() (chart.Chart, error) {
	decay := chart.Panel{X: chart.Axis{Label: "common steps G", Name: "step"},
		Y: chart.Axis{Label: "angle to the common feature (rad)", Name: "angle"}}
	const start, steps = .05, 300
	closed := chart.Layer{Kind: chart.Points, Name: "(1 - 2η)^G θ_0", Color: chart.Black}
	for i, eta := range []float64{.001, .002, .004} {
		exact := chart.Layer{Kind: chart.Line, Name: fmt.Sprintf("η = %g", eta), Color: i}
		theta := start
		for g := range steps + 1 {
			if g%5 == 0 {
				exact.X, exact.Y = append(exact.X, float64(g)), append(exact.Y, theta)
			}
			if g%30 == 0 {
				closed.X, closed.Y = append(closed.X, float64(g)), append(closed.Y, theory.Decay(start, eta, g))
			}
			theta += theory.Drift(theta, 1, 0, eta)
		}
		decay.Layers = append(decay.Layers, exact)
	}
	decay.Layers = append(decay.Layers, closed)
	return chart.Chart{Name: "one-neuron", Title: "One neuron forgets a task that is withheld", Panels: []chart.Panel{decay},
		Caption: "The exact recursion (lines) and its closed form (points)."}, nil
}

// Fig11 draws two tasks, of frequencies .9 and .1, and one neuron, or two of which a softmax gate picks for each task by how well they
// serve it (theory.Gated): where the neurons end, and the rare task's alignment while tasks are drawn, the same ones for both.
func Fig11() (chart.Chart, error) {
	const p, eta, sharpness, steps = .9, .05, 8, 200
	var panels []chart.Panel
	over := chart.Panel{Title: "p = .9, q = .1", X: chart.Axis{Label: "step"},
		Y: chart.Axis{Label: "alignment with the rare task", Name: "alignment", Min: -.02, Max: 1.02}}
	for i, neurons := range [][]float64{{.8}, {.8, .7}} {
		name := fmt.Sprintf("N = %d", i+1)
		line := chart.Layer{Kind: chart.Line, Name: name, Color: i}
		random := rand.New(rand.NewPCG(11, 0))
		for step := range steps + 1 {
			_, rare := theory.GatedSignals(neurons, sharpness)
			line.X, line.Y = append(line.X, float64(step)), append(line.Y, rare)
			frequency := [2]float64{0, 1}
			if random.Float64() < p {
				frequency = [2]float64{1, 0}
			}
			neurons = theory.Gated(neurons, frequency[0], frequency[1], eta, sharpness)
		}
		over.Layers = append(over.Layers, line)
		arrows, tips := chart.Layer{Kind: chart.Line, Name: name, Color: i}, chart.Layer{Kind: chart.Points, Name: name, Color: i, Shape: 1}
		for _, theta := range neurons {
			x, y := math.Cos(theta), math.Sin(theta)
			arrows.X, arrows.Y = append(arrows.X, 0, x, math.NaN()), append(arrows.Y, 0, y, math.NaN())
			tips.X, tips.Y = append(tips.X, x), append(tips.Y, y)
		}
		features := chart.Layer{Kind: chart.Points, Name: "features of T_f and T_r", Color: chart.Black, Shape: 5,
			X: []float64{1, 0}, Y: []float64{0, 1}}
		panels = append(panels, chart.Panel{Title: name + ", after training", Layers: []chart.Layer{arrows, tips, features},
			X:      chart.Axis{Label: "along T_f", Name: "frequent", Min: -.1, Max: 1.1},
			Y:      chart.Axis{Label: "along T_r", Name: "rare", Min: -.1, Max: 1.1},
			Facets: []chart.Facet{{Name: "width", Value: i + 1}}})
	}
	return chart.Chart{Name: "fig11", Title: "One neuron serves the frequent task; of two, each takes one",
		Subtitle: fmt.Sprintf("frequencies %g and %g; %d steps of rate %g", p, 1-p, steps, eta), Panels: append(panels, over),
		Columns: 3, Caption: "Each step is on one task, drawn by its frequency: a rare one pushes the alignment up, the frequent ones pull " +
			"it down. The gate's definition, rate and start are ours."}, nil
}
