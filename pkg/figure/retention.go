package figure

import (
	"cmp"
	"fmt"
	"math"
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

// Fig4a draws the injected task's normalised signal over training at the longest gap, a panel for each size, with what each injection adds
// to it and what the gap until the next takes.
func Fig4a(runs results.Runs) (chart.Chart, error) {
	return swings(runs, longestGap(runs), chart.Chart{Name: "fig4a", Title: "The rarest task, withheld for G steps and returned in bulk"})
}

// Fig16a is Fig4a of runs in which the task of the lowest total utility is injected.
func Fig16a(runs results.Runs) (chart.Chart, error) {
	c := chart.Chart{Name: "fig16a", Title: "The task of the lowest total utility, withheld for G steps and returned in bulk"}
	return swings(runs, longestGap(runs), c)
}

// longestGap returns the runs of the longest gap.
func longestGap(runs results.Runs) results.Runs {
	longest := 0
	for _, r := range runs {
		longest = max(longest, results.Gap(r))
	}
	return runs.Where(func(r *results.Run) bool { return results.Gap(r) == longest })
}

// Fig20 is Fig4a for all gaps: a row for each gap, a column for each size.
func Fig20(runs results.Runs) (chart.Chart, error) {
	c := chart.Chart{Name: "fig20", Title: "What injections add and gaps take, by width and gap", Columns: len(sizesOf(runs))}
	c, err := swings(runs, runs, c)
	align(c)
	return c, err
}

// align gives the panels of a chart one left axis, those of each row one right axis, and labels to the outer ones alone.
func align(c chart.Chart) {
	left := span(c.Panels, false)
	for row := range slices.Chunk(c.Panels, max(1, c.Columns)) {
		right := span(row, true)
		for i := range row {
			p := &row[i]
			p.X.Ticks = []float64{0, math.Floor(p.X.Max / 2), p.X.Max}
			p.Y.Min, p.Y.Max, p.Y.Bare = left[0], left[1], i > 0
			p.Right.Min, p.Right.Max, p.Right.Bare = right[0], right[1], i < len(row)-1
		}
	}
}

// span returns from where to where the numbers of panels go on one of the vertical axes, with a margin.
func span(panels []chart.Panel, right bool) [2]float64 {
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range panels {
		for _, l := range p.Layers {
			for _, v := range slices.Concat(l.Y, l.Low, l.High) {
				if l.Right == right && !math.IsNaN(v) {
					low, high = min(low, v), max(high, v)
				}
			}
		}
	}
	if low >= high {
		return [2]float64{}
	}
	return [2]float64{low - .04*(high-low), high + .04*(high-low)}
}

// swings completes a chart with a panel for each gap and size of those of the runs that are shown.
func swings(runs, shown results.Runs, c chart.Chart) (chart.Chart, error) {
	if err := claims.NeedInjections(runs, claims.Injected); err != nil {
		return chart.Chart{}, err
	}
	gaps, byGap := results.By(shown, results.Gap)
	every := 1
	for _, g := range gaps {
		sizes, bySize := results.By(byGap[g], Size.Of)
		for _, n := range sizes {
			panel, each, err := swingPanel(bySize[n], 300/(len(gaps)+1))
			if err != nil {
				return chart.Chart{}, err
			}
			panel.Title = fmt.Sprintf("%s = %d, G = %d", Size.Symbol, n, g)
			panel.Facets = []chart.Facet{{Name: Size.Name, Value: n}, {Name: "gap", Value: g}}
			c.Panels = append(c.Panels, panel)
			every = max(every, each)
		}
	}
	c.Subtitle = about(shown)
	c.Caption = "Normalised signal of the injected task, s̃_r, just before and right after each injection; every gap gives it the same " +
		"number of samples. On the right: gain, what the step of the injection adds, and decay, what the gap until the next one adds, " +
		"below zero where it takes; what the optimizer's momentum adds in the steps after an injection counts to the gap. Means and 95% " +
		"intervals over seeds."
	if every > 1 {
		c.Caption += fmt.Sprintf(" Of gaps with many injections one in up to %d is drawn.", every)
	}
	return c, nil
}

// swingPanel draws the swings of runs of one size and gap: of at most so many injections one in every few.
func swingPanel(runs results.Runs, most int) (panel chart.Panel, every int, err error) {
	var all [][]claims.Swing
	for _, r := range runs {
		own, err := claims.KeptOf(runs).Swings(r)
		if err != nil {
			return panel, 0, err
		}
		all = append(all, own)
	}
	var signal, gain, decay means
	every = 1 + (len(all[0])-1)/most
	for i := 0; i < len(all[0]); i += every {
		over := func(of func(claims.Swing) float64) claims.Estimate {
			return claims.Interval(xslices.Map(all, func(own []claims.Swing) float64 { return of(own[i]) }))
		}
		at := all[0][i]
		signal.add(float64(at.Begin), over(func(s claims.Swing) float64 { return s.Before }))
		signal.add(float64(at.End), over(func(s claims.Swing) float64 { return s.After }))
		gain.add(float64(at.End), over(claims.Swing.Gain))
		decay.add(float64(at.Next), over(claims.Swing.Decay))
	}
	panel = chart.Panel{X: chart.Axis{Label: "training step", Name: "step", Max: float64(runs[0].Train.Steps)},
		Y:     chart.Axis{Label: "signal s̃_r", Name: "signal"},
		Right: chart.Axis{Label: "Δs̃_r per cycle", Name: "change"}}
	panel.Layers = append(signal.curve("s̃_r", 0), gain.layer(chart.Line, "gain", 2), decay.layer(chart.Line, "decay", chart.Black))
	for i := range panel.Layers[2:] {
		panel.Layers[2+i].Right, panel.Layers[2+i].Dashed = true, true
	}
	return panel, every, nil
}

// againstGap is a panel of a measure of retention against the gap, a series for each size.
func againstGap(title, label string, runs results.Runs, all []claims.Retention, value func(claims.Retention) claims.BySeed) chart.Panel {
	panel := chart.Panel{Title: title, X: chart.Axis{Label: "gap G (steps)", Name: "gap", Log: true}, Y: chart.Axis{Label: label}}
	shape := 0
	panel.Layers = sizesOf(runs).each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
		var m means
		for _, r := range all {
			if r.Width == runs[0].Net.Width {
				m.add(float64(r.Gap), value(r).Interval())
			}
		}
		line, points := m.layer(chart.Line, name, color), m.layer(chart.Points, name, color)
		line.Shape = 1 + shape%chart.Shapes
		points.Shape = line.Shape
		shape++
		return []chart.Layer{line, points}
	})
	return panel
}

// Fig4b draws against the gap, by size, what there is just before an injection at the end of training: the normalised signals of the
// injected task and of the frequent ones, and the cosine of their gradients.
func Fig4b(runs results.Runs) (chart.Chart, error) {
	c := chart.Chart{Name: "fig4b", Title: "What is left when an injection comes, by width and gap"}
	cosine := ending{"gradients", "cosine G_r, G_F", func(r claims.Retention) claims.BySeed { return r.Cosine }}
	return endings(runs, c, endSignal, endCommon, cosine)
}

// Fig16b is Fig4b of runs in which the task of the lowest total utility is injected, without the cosine.
func Fig16b(runs results.Runs) (chart.Chart, error) {
	c := chart.Chart{Name: "fig16b", Title: "The task of the lowest total utility when an injection comes, by width and gap"}
	return endings(runs, c, endSignal, endCommon)
}

// ending is what there is just before an injection at the end of training.
type ending struct {
	title, label string
	of           func(claims.Retention) claims.BySeed
}

var (
	endSignal = ending{"injected task", "signal s̃_r", func(r claims.Retention) claims.BySeed { return r.Final }}
	endCommon = ending{"frequent tasks", "mean signal s̃_F", func(r claims.Retention) claims.BySeed { return r.Common }}
)

// endings completes a chart with a panel for each ending.
func endings(runs results.Runs, c chart.Chart, of ...ending) (chart.Chart, error) {
	all, err := claims.Retentions(runs) // which has the design
	if err != nil {
		return c, err
	}
	if all[0].Common == nil {
		return c, fmt.Errorf("figure: %s: nets without an exact signal: want linear ones", c.Name)
	}
	for _, e := range of {
		c.Panels = append(c.Panels, againstGap(e.title, e.label, runs, all, e.of))
	}
	c.Subtitle = about(runs)
	ends := cyclesOf(all, func(r claims.Retention) int { return r.Ends })
	c.Caption = "Normalised signals (0: a random encoder) and cosine just before an injection: means over the injections in the last " +
		"tenth of training, of which there are " + ends + ", and 95% intervals over seeds."
	return c, nil
}

// cyclesOf says over how many cycles means go, by gap.
func cyclesOf(all []claims.Retention, of func(claims.Retention) int) string {
	var each []string
	for _, r := range all {
		if r.Width == all[0].Width {
			each = append(each, fmt.Sprintf("%d at G = %d", of(r), r.Gap))
		}
	}
	return strings.Join(each, ", ")
}

// everySeed is the retained share where every seed has one.
func everySeed(r claims.Retention) claims.BySeed {
	if r.Retained.Interval().Failed > 0 {
		return claims.BySeed{}
	}
	return r.Retained
}

// Cycles draws against the gap, by size, what an injection adds in the last two thirds of training, what the gap adds or takes, and what
// share is left.
func Cycles(runs results.Runs) (chart.Chart, error) {
	all, err := claims.Retentions(runs) // which has the design
	if err != nil {
		return chart.Chart{}, err
	}
	share := againstGap("left at the next", "retained share", runs, all, everySeed)
	share.Y.Min, share.Y.Max = 0, 1.05
	return chart.Chart{Name: "cycles", Title: "Gain at an injection, decay until the next", Subtitle: about(runs),
		Caption: "Means over cycles in the last two thirds of training, and 95% intervals over seeds. What the step of an injection adds to " +
			"the normalised signal, and what the gap adds (below zero: takes; what momentum adds after an injection counts to the gap): " +
			cyclesOf(all, func(r claims.Retention) int { return r.Swings }) + ". Share of the peak of s_r after an injection " +
			"that is left just before the next, of cycles that were seen closely: " +
			cyclesOf(all, func(r claims.Retention) int { return r.Closely }) +
			"; no point where it never reached .01 in some seed.",
		Panels: []chart.Panel{
			againstGap("gain", "gain of s̃_r", runs, all, func(r claims.Retention) claims.BySeed { return r.Gain }),
			againstGap("decay", "decay of s̃_r", runs, all, func(r claims.Retention) claims.BySeed { return r.Decay }),
			share,
		}, Columns: 3}, nil
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
			return kept.At(r, i)
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
			"with a few of the cycles seen closely. Bottom left: just before the last injection seen. Bottom right: just before " +
			"an injection relative to the peak after the one before, in the last two thirds of training; no point where a tenth was never " +
			"learned. 95% intervals over seeds."}, nil
}

// moments are where a cycle is looked at: just before an injection, right after it, and steps later.
var moments = []int{-1, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}

// AroundInjections draws the cosine of the injected task's population gradient with the frequent tasks' just before, right after and at
// growing distances after injections, a panel for each gap, late in training.
func AroundInjections(runs results.Runs) (chart.Chart, error) {
	if err := claims.NeedInjections(runs, claims.InjectedCosine); err != nil {
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
	return chart.Chart{Name: "around-injections", Title: "The rarest task's gradient against the frequent tasks', around injections",
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
			v = append(v, r.Value(claims.InjectedCosine, i, injection.Task))
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
		Caption: "Choose a width and a gap below the chart. Each line is a seed; points are just before an injection (in the " +
			"tooltip how far the signal rises to its peak after it, and falls from there until the next).",
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
			line.X, line.Y = append(line.X, float64(step)), append(line.Y, kept.At(r, i))
		}
	}
	points.X = column(func(c interference.Cycle) float64 { return float64(c.Begin) })
	points.Y = column(func(c interference.Cycle) float64 { return c.Before })
	points.Fields = []chart.Field{{Name: "rise to the peak", Values: column(func(c interference.Cycle) float64 { return c.Gain })},
		{Name: "fall from it", Values: column(func(c interference.Cycle) float64 { return c.Decay })},
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
	var panels []chart.Panel
	over := chart.Panel{Title: "p = .9, q = .1", X: chart.Axis{Label: "step"},
		Y: chart.Axis{Label: "alignment with the rare task", Name: "alignment", Min: -.02, Max: 1.02}}
	for i := range 2 {
		name := fmt.Sprintf("N = %d", i+1)
		rare, neurons := claims.GatedRun(i+1, 11)
		line := chart.Layer{Kind: chart.Line, Name: name, Color: i, Y: rare}
		for step := range rare {
			line.X = append(line.X, float64(step))
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
		Subtitle: fmt.Sprintf("frequencies %g and %.1f; %d steps of rate %g", claims.GatedFrequency, 1-claims.GatedFrequency,
			claims.GatedSteps, claims.GatedRate), Panels: append(panels, over),
		Columns: 3, Caption: "Each step is on one task, drawn by its frequency: a rare one pushes the alignment up, the frequent ones pull " +
			"it down. The gate's definition, rate and start are ours."}, nil
}
