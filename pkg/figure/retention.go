package figure

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"raretask/pkg/interference"
	"raretask/pkg/results"
	"raretask/pkg/theory"
)

func gap(r results.Row) int32 { return r.Gap }

// injected returns the rows of the injected task in runs with an injection schedule, by gap.
func injected(rows []results.Row) (gaps []int32, byGap map[int32][]results.Row, err error) {
	var own []results.Row
	for _, r := range rows {
		if r.Injected > 0 && r.Task == r.Injected {
			own = append(own, r)
		}
	}
	if len(own) == 0 {
		return nil, nil, fmt.Errorf("figure: no rows of runs with an injection schedule: want a sweep that sets train.injection")
	}
	gaps, byGap = groups(own, gap)
	return gaps, byGap, nil
}

// kept returns what a net has of a task: the signal of its representation where that is exact, else the share that is gone of the loss
// of predicting the mean, by fresh samples, at least 0.
func kept(r results.Row) float64 {
	if r.Signal != nil {
		return signal(r)
	}
	return max(0, 1-results.Value(r.Sampled))
}

// keptLabel says what kept returns.
func keptLabel(rows []results.Row) string {
	if rows[0].Signal != nil {
		return "signal s_r"
	}
	return "learned share"
}

// audible is the learned share by samples that is more than their noise: 256 of them leave an error of some hundredths.
const audible = .1

// ByBeta splits rows by the exponent of their frequencies, in ascending order.
func ByBeta(rows []results.Row) (betas []float64, byBeta map[float64][]results.Row) {
	return groups(rows, beta)
}

// Retention is what became of the injected task at one width and gap, a number for each seed: means over the observed
// cycles of the last two thirds of training, of the signal, or of the learned share where there is no exact signal.
type Retention struct {
	Width, Gap                              int
	Final                                   []float64 // normalised signal at the end, or learned share
	Before, Gain, Decay, Retained, HalfLife []float64 // of interference.Cycle
	Cycles                                  int       // that the means are over, at most, in one run
}

// Retentions returns the measures of a sweep with injection schedules, by width and gap.
func Retentions(rows []results.Row) ([]Retention, error) {
	_, byGap, err := injected(rows)
	if err != nil {
		return nil, err
	}
	var all []Retention
	for g, ofGap := range byGap {
		_, byWidth := groups(ofGap, width)
		for w, ofWidth := range byWidth {
			r := Retention{Width: int(w), Gap: int(g)}
			seeds, bySeed := groups(ofWidth, func(r results.Row) int64 { return r.Seed })
			for _, s := range seeds {
				if err := r.add(bySeed[s]); err != nil {
					return nil, err
				}
			}
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Retention) int { return cmp.Or(a.Width-b.Width, a.Gap-b.Gap) })
	return all, nil
}

// RetentionAt returns the measures at a width and gap; without numbers where there are none.
func RetentionAt(all []Retention, width, gap int) Retention {
	for _, r := range all {
		if r.Width == width && r.Gap == gap {
			return r
		}
	}
	return Retention{Width: width, Gap: gap}
}

// Differences returns a - b, seed by seed; missing where one of the two is.
func Differences(a, b []float64) []float64 {
	var d []float64
	for i := range min(len(a), len(b)) {
		d = append(d, a[i]-b[i])
	}
	return d
}

// add adds one run.
func (r *Retention) add(rows []results.Row) error {
	slices.SortFunc(rows, func(a, b results.Row) int { return int(a.Step - b.Step) })
	var steps []int
	for _, row := range rows {
		steps = append(steps, int(row.Step))
	}
	first := rows[0]
	cycles, err := interference.Cycles(steps, values(rows, kept), int(first.From), int(first.Gap), int(first.Burst))
	if err != nil {
		return fmt.Errorf("figure: width %d, gap %d: %w", r.Width, r.Gap, err)
	}
	end := rows[len(rows)-1]
	final := normalized(end)
	if end.Signal == nil {
		final = kept(end)
		for i := range cycles {
			if cycles[i].Peak < audible {
				cycles[i].Retained, cycles[i].HalfLife = math.NaN(), math.NaN()
			}
		}
	}
	cycles = slices.DeleteFunc(cycles, func(c interference.Cycle) bool { return 3*c.End < int(first.Steps) })
	r.Cycles = max(r.Cycles, len(cycles))
	mean := func(of func(interference.Cycle) float64) float64 {
		v := make([]float64, len(cycles))
		for i, c := range cycles {
			v[i] = of(c)
		}
		m, _, _ := interval(v)
		return m
	}
	r.Final = append(r.Final, final)
	r.Before = append(r.Before, mean(func(c interference.Cycle) float64 { return c.Before }))
	r.Gain = append(r.Gain, mean(func(c interference.Cycle) float64 { return c.Gain }))
	r.Decay = append(r.Decay, mean(func(c interference.Cycle) float64 { return c.Decay }))
	r.Retained = append(r.Retained, mean(func(c interference.Cycle) float64 { return c.Retained }))
	r.HalfLife = append(r.HalfLife, mean(func(c interference.Cycle) float64 { return c.HalfLife }))
	return nil
}

// Estimate returns the mean over seeds and the half width of its 95% t interval, of what is present.
func Estimate(seeds []float64) (mean, half float64, n int) { return interval(seeds) }

// Fig4a draws the injected task's normalised signal over training, a panel for each gap and a series for each width.
func Fig4a(rows []results.Row) (Figure, error) {
	gaps, byGap, err := injected(rows)
	if err != nil {
		return Figure{}, err
	}
	f := Figure{Name: "fig4a", Title: "The rarest task, withheld for G steps and returned in bulk",
		Caption: "Normalised signal of the rarest task; every gap gives it the same number of samples. Bands: 95% intervals over seeds."}
	for _, g := range gaps {
		panel := overTraining(fmt.Sprintf("G = %d", g), "normalised signal s~_r", byGap[g], byGap[g][0].Task, false, normalized)
		f.Panels = append(f.Panels, panel)
	}
	f.Columns = min(3, len(f.Panels))
	return f, nil
}

// Fig4b draws against the gap, by width, the injected task's normalised signal at the end and the share of its signal that
// is left when the next injection comes.
func Fig4b(rows []results.Row) (Figure, error) {
	all, err := Retentions(rows)
	if err != nil {
		return Figure{}, err
	}
	share := againstGap("left at the next injection", "retained share of the signal", all, func(r Retention) []float64 { return r.Retained })
	share.Y.Min, share.Y.Max = 0, 1.05
	return Figure{Name: "fig4b", Title: "What is retained, by width and gap",
		Caption: "Left: signal at the end of training. Right: signal just before an injection relative to its peak after the one before, late in training; no point where the signal never reached .01. 95% intervals over seeds; the single seeds are in the notebook's table.",
		Panels: []Panel{
			againstGap("at the end", "normalised signal s~_r", all, func(r Retention) []float64 { return r.Final }),
			share,
		}, Columns: 2}, nil
}

// SampledRetention draws, for nets whose signal is known by samples only, the injected task's learned share over training at the
// shortest and the longest gap, and against the gap what is learned at the end and what is left of it when the next injection comes.
func SampledRetention(rows []results.Row) (Figure, error) {
	gaps, byGap, err := injected(rows)
	if err != nil {
		return Figure{}, err
	}
	all, err := Retentions(rows)
	if err != nil {
		return Figure{}, err
	}
	f := Figure{Name: "retention-sampled", Title: "Retention in a ReLU net, by width and gap", Columns: 2,
		Caption: "Learned share of the rarest task: what is gone of the loss of predicting the mean, on 256 fresh samples. Top: over training, with a few of the cycles seen closely. Bottom left: at the end. Bottom right: just before an injection relative to the peak after the one before, late in training; no point where a tenth was never learned. 95% intervals over seeds."}
	for _, g := range slices.Compact([]int32{gaps[0], gaps[len(gaps)-1]}) {
		panel := overTraining(fmt.Sprintf("G = %d", g), "learned share", byGap[g], byGap[g][0].Task, false, kept)
		panel.X.Log, panel.Y.Min, panel.Y.Max = false, -.02, 1.05
		f.Panels = append(f.Panels, panel)
	}
	for _, c := range []struct {
		title, label string
		of           func(Retention) []float64
	}{
		{"at the end", "learned share", func(r Retention) []float64 { return r.Final }},
		{"left at the next injection", "retained share", func(r Retention) []float64 { return r.Retained }},
	} {
		panel := againstGap(c.title, c.label, all, c.of)
		panel.Y.Min, panel.Y.Max = -.02, 1.05
		f.Panels = append(f.Panels, panel)
	}
	return f, nil
}

// Fig20 draws what an injection adds and what the gap takes, by width and gap, late in training.
func Fig20(rows []results.Row) (Figure, error) {
	all, err := Retentions(rows)
	if err != nil {
		return Figure{}, err
	}
	return Figure{Name: "fig20", Title: "Gain at an injection, decay until the next",
		Caption: "Means over the observed cycles in the last two thirds of each run; 95% intervals over seeds. In equilibrium what is gained is lost again.",
		Panels: []Panel{
			againstGap("gain", "gain of the signal", all, func(r Retention) []float64 { return r.Gain }),
			againstGap("decay", "decay of the signal", all, func(r Retention) []float64 { return r.Decay }),
		}, Columns: 2}, nil
}

// againstGap is a panel of a measure against the gap, a series for each width.
func againstGap(title, label string, all []Retention, of func(Retention) []float64) Panel {
	panel := Panel{Title: title, X: Axis{Label: "gap G (steps)", Log: true}, Y: Axis{Label: label}}
	byWidth := map[int]*Layer{}
	for _, r := range all {
		layer := byWidth[r.Width]
		if layer == nil {
			layer = &Layer{Kind: Points, Name: fmt.Sprintf("N = %d", r.Width)}
			byWidth[r.Width] = layer
		}
		mean, half, _ := interval(of(r))
		layer.X, layer.Y = append(layer.X, float64(r.Gap)), append(layer.Y, mean)
		layer.Low, layer.High = append(layer.Low, mean-half), append(layer.High, mean+half)
	}
	widths := slices.Sorted(maps.Keys(byWidth))
	for i, w := range widths {
		layer := byWidth[w]
		layer.Color = Ordered(i, len(widths))
		line := *layer
		line.Kind, line.Low, line.High = Line, nil, nil
		panel.Layers = append(panel.Layers, line, *layer)
	}
	return panel
}

// moments are where a cycle is looked at: just before an injection, right after it, and steps later.
var moments = []int{-1, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}

// Fig16 draws the cosine of the injected task's population gradient with the frequent tasks' just before, right after and at
// growing distances after injections, a panel for each gap, late in training.
func Fig16(rows []results.Row) (Figure, error) {
	gaps, byGap, err := injected(rows)
	if err != nil {
		return Figure{}, err
	}
	f := Figure{Name: "fig16", Title: "The rarest task's gradient against the frequent tasks', around injections",
		Caption: "Cosine of the population gradients, exact and never positive; means over the second half of training's observed injections, bands are 95% intervals over seeds."}
	for _, g := range gaps {
		panel := Panel{Title: fmt.Sprintf("G = %d", g), X: Axis{Label: "steps after the injection"}, Y: Axis{Label: "cosine of G_r and G_F"}}
		for _, m := range moments {
			if m < int(g) {
				name := strconv.Itoa(m)
				if m < 0 {
					name = "before"
				}
				panel.X.Categories = append(panel.X.Categories, name)
			}
		}
		widths, byWidth := groups(byGap[g], width)
		for i, w := range widths {
			line := Layer{Kind: Line, Name: fmt.Sprintf("N = %d", w), Color: Ordered(i, len(widths))}
			band := Layer{Kind: Band, Name: line.Name, Color: line.Color}
			for at := range panel.X.Categories {
				mean, half, _ := interval(aroundInjections(byWidth[w], moments[at]))
				line.X, line.Y = append(line.X, float64(at)), append(line.Y, mean)
				band.X, band.Low, band.High = append(band.X, float64(at)), append(band.Low, mean-half), append(band.High, min(0, mean+half))
			}
			panel.Layers = append(panel.Layers, band, line)
		}
		f.Panels = append(f.Panels, panel)
	}
	f.Columns = min(3, len(f.Panels))
	return f, nil
}

// aroundInjections returns, for each seed, the mean cosine at a moment of the injections in the second half of training.
func aroundInjections(rows []results.Row, moment int) []float64 {
	var means []float64
	seeds, bySeed := groups(rows, func(r results.Row) int64 { return r.Seed })
	for _, s := range seeds {
		var v []float64
		for _, r := range bySeed[s] {
			end := r.Step - int32(moment)
			if moment < 0 {
				end = r.Step + r.Burst
			}
			if r.Step > r.Steps/2 && end > r.From && (end-r.From)%r.Gap == 0 {
				v = append(v, cosine(r))
			}
		}
		mean, _, _ := interval(v)
		means = append(means, mean)
	}
	return means
}

// RetentionChart draws the injected task's signal over training for one width and gap, chosen in the interactive chart, with
// its gain and decay in the tooltip.
func RetentionChart(rows []results.Row) (Figure, error) {
	gaps, byGap, err := injected(rows)
	if err != nil {
		return Figure{}, err
	}
	widths, _ := groups(rows, width)
	f := Figure{Name: "retention", Title: "Signal of the rarest task",
		Caption: "Choose a width and a gap below the chart. Each line is a seed; points are just before an injection (its gain and decay in the tooltip)."}
	widthChoice, gapChoice := Choice{Name: "width N", Start: len(widths) / 3}, Choice{Name: "gap G", Start: len(gaps) - 1}
	panel := Panel{X: Axis{Label: "training step", Log: true}, Y: Axis{Label: keptLabel(rows), Min: -.02, Max: 1}}
	for i, w := range widths {
		widthChoice.Options = append(widthChoice.Options, strconv.Itoa(int(w)))
		for j, g := range gaps {
			if i == 0 {
				gapChoice.Options = append(gapChoice.Options, strconv.Itoa(int(g)))
			}
			_, byWidth := groups(byGap[g], width)
			seeds, bySeed := groups(byWidth[w], func(r results.Row) int64 { return r.Seed })
			for k, s := range seeds {
				layers, err := seedLayers(bySeed[s], fmt.Sprintf("seed %d", s), k%6)
				if err != nil {
					return f, err
				}
				for _, l := range layers {
					l.Chosen = []int{i, j}
					l.Fields = append(l.Fields, Field{"width", slices.Repeat([]float64{float64(w)}, len(l.X))}, Field{"gap", slices.Repeat([]float64{float64(g)}, len(l.X))})
					panel.Layers = append(panel.Layers, l)
				}
			}
		}
	}
	f.Panels, f.Choices = []Panel{panel}, []Choice{widthChoice, gapChoice}
	return f, nil
}

// seedLayers are one run's signal and its cycles.
func seedLayers(rows []results.Row, name string, color int) ([]Layer, error) {
	slices.SortFunc(rows, func(a, b results.Row) int { return int(a.Step - b.Step) })
	line := Layer{Kind: Line, Name: name, Color: color}
	var steps []int
	for _, r := range rows {
		steps = append(steps, int(r.Step))
		if r.Step > 0 {
			line.X, line.Y = append(line.X, float64(r.Step)), append(line.Y, kept(r))
		}
	}
	cycles, err := interference.Cycles(steps, values(rows, kept), int(rows[0].From), int(rows[0].Gap), int(rows[0].Burst))
	if err != nil {
		return nil, err
	}
	points := Layer{Kind: Points, Name: name, Color: color}
	var gain, decay, retained []float64
	for _, c := range cycles {
		if c.Begin == 0 { // no place on a logarithmic axis
			continue
		}
		points.X, points.Y = append(points.X, float64(c.Begin)), append(points.Y, c.Before)
		gain, decay, retained = append(gain, c.Gain), append(decay, c.Decay), append(retained, c.Retained)
	}
	points.Fields = []Field{{"gain", gain}, {"decay", decay}, {"retained", retained}}
	return []Layer{line, points}, nil
}

// Fig11 draws the closed forms of one neuron and two tasks: how its angle decays between injections of the rare task, for
// several rates; and what changes with a second neuron, when a softmax gate sends each task to the neuron that serves it
// (theory.Gated), at p = .9, q = .1.
func Fig11() (Figure, error) {
	decay := Panel{Title: "one neuron, rare task withheld", X: Axis{Label: "common steps G"}, Y: Axis{Label: "angle to the common feature (rad)"}}
	const start, steps = .05, 300
	closed := Layer{Kind: Points, Name: "(1 - 2 eta)^G theta_0", Color: Black}
	for i, eta := range []float64{.001, .002, .004} {
		exact := Layer{Kind: Line, Name: fmt.Sprintf("eta = %g", eta), Color: i}
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
	const p, q, eta, sharpness = .9, .1, .05, 8
	mixed := Panel{Title: "p = .9, q = .1", X: Axis{Label: "step"}, Y: Axis{Label: "signal of the rare task", Min: -.02, Max: 1.02}}
	for i, neurons := range [][]float64{{.8}, {.8, .7}} {
		name := []string{"one neuron", "two gated neurons"}[i]
		layer := Layer{Kind: Line, Name: name, Color: 3 + i}
		for step := range 401 {
			if step%4 == 0 {
				_, rare := theory.GatedSignals(neurons, sharpness)
				layer.X, layer.Y = append(layer.X, float64(step)), append(layer.Y, rare)
			}
			neurons = theory.Gated(neurons, p, q, eta, sharpness)
		}
		mixed.Layers = append(mixed.Layers, layer)
	}
	return Figure{Name: "fig11", Title: "One neuron forgets; a second one, gated, keeps the rare task",
		Caption: "Left: the exact recursion (lines) and its closed form (points). Right: expected gradient steps on both tasks; one neuron goes to the common task, of two each takes one.",
		Panels:  []Panel{decay, mixed}, Columns: 2}, nil
}
