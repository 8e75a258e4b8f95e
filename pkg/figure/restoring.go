package figure

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/results"
)

// Forgetting draws at which rate nets lose the feature of a task that is withheld, against the rate that the restoring force of the others
// predicts: under the exact flow of subspaces, and for each set of runs, whose optimizers may differ; a point for each exponent of
// frequencies and width that holds one feature of the task. Of gradient descent decoders are at first taken for the best all the time, then
// for what they are; of Adam there is one rate for all in the first set, and one that rises as the loss that is left falls.
func Forgetting(sets ...results.Runs) (chart.Chart, error) {
	c := chart.Chart{Name: "forgetting", Title: "How fast a withheld feature is lost, and how fast theory says", Columns: 3,
		Caption: fmt.Sprintf("Rate at which ln p/(1−p) falls, p the share of the feature that the encoder holds, while it falls from %g to %g; "+
			"per step, or per unit of time of the flow. Solid: as predicted; dashed: times the factor that fits a panel best, which stands in "+
			"its title with the factor by which points typically miss it. Means and 95%% intervals over seeds, of %d at least.",
			claims.Holding, claims.Lost, fewest)}
	flow, err := flowed(sets[0])
	if err != nil {
		return chart.Chart{}, err
	}
	best := formula{"4 η μ_N/(O c²)", func(f claims.Forgetting) claims.BySeed { return f.Predicted }}
	lagged := formula{"4 η s/O", func(f claims.Forgetting) claims.BySeed { return f.Lagged }}
	adaptive := formula{"4 η s/(O √L)", func(f claims.Forgetting) claims.BySeed { return f.Adaptive }}
	c.Subtitle = about(slices.Concat(sets...))
	betas, _ := results.By(sets[0], results.Beta)
	c.Panels = append(c.Panels, ratePanel("flow", betas, flow, formula{"4 μ_N", best.of}))
	for i, runs := range sets {
		all, err := claims.Forgettings(runs) // which has the design
		if err != nil {
			return chart.Chart{}, err
		}
		all = slices.DeleteFunc(all, func(f claims.Forgetting) bool { return f.Kept != 1 || f.Measured.Interval().N < fewest })
		formulas := []formula{best, lagged}
		switch adam := func(r results.Runs) bool { return r[0].Train.Optimizer != "sgd" }; {
		case adam(runs) && !slices.ContainsFunc(sets[:i], adam):
			formulas = []formula{lagged, adaptive}
		case adam(runs):
			formulas = []formula{adaptive}
		}
		for _, by := range formulas {
			c.Panels = append(c.Panels, ratePanel(optimizer(runs), betas, all, by))
		}
	}
	return c, nil
}

// formula is what theory says of a rate.
type formula struct {
	label string
	of    func(claims.Forgetting) claims.BySeed
}

// flowed returns what the exact flow makes of the mixtures and widths of runs. The start is off by so little that what grows fastest has
// outgrown all else when it shows.
func flowed(runs results.Runs) (all []claims.Forgetting, err error) {
	if err := runs.Need(results.Design{Vary: []string{"net.width", byFrequency}}); err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(1, 0))
	betas, byBeta := results.By(runs, results.Beta)
	for _, beta := range betas {
		r := byBeta[beta][0]
		m, err := r.Mixture.Theory()
		if err != nil {
			return nil, err
		}
		widths, _ := results.By(byBeta[beta], results.Width)
		own, err := claims.Flowed(m, beta, r.Train.Injection.Task-1, widths, func() float64 { return 1e-12 * random.NormFloat64() })
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	return all, nil
}

// optimizer says by what runs were trained.
func optimizer(runs results.Runs) string {
	t := runs[0].Train
	text := map[string]string{"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}[t.Optimizer]
	if t.Clip > 0 {
		text += ", clip"
	}
	if t.Decay > 0 {
		text += ", decay"
	}
	return text
}

// ratePanel draws measured rates against predicted ones.
func ratePanel(title string, betas []float64, all []claims.Forgetting, by formula) chart.Panel {
	panel := chart.Panel{Facets: []chart.Facet{{Name: "training", Value: title}, {Name: "formula", Value: by.label}},
		X: chart.Axis{Label: "predicted: " + by.label, Name: "predicted", Log: true}, Y: chart.Axis{Label: "measured", Log: true}}
	factor, spread, _ := claims.CommonRate(all, by.of)
	panel.Title = fitted(title, factor, spread)
	rate := func(f claims.Forgetting) float64 { return by.of(f).Interval().Mean }
	panel.Layers = byBeta(betas, all, panel.Y, rate, func(f claims.Forgetting) claims.Estimate { return f.Measured.Interval() })
	panel.Layers = append(panel.Layers, proportional(xslices.Map(all, rate), factor)...)
	return panel
}

// fitted is a title with the factor that fits and what it misses by.
func fitted(title string, factor, spread float64) string {
	if factor >= 100 {
		return fmt.Sprintf("%s: %.0f ×/÷ %.2f", title, factor, spread)
	}
	return fmt.Sprintf("%s: %.2f ×/÷ %.2f", title, factor, spread)
}

// fewest is of how many seeds a point must be.
const fewest = 3

// byBeta draws an estimate against a number, a series for each exponent of frequencies.
func byBeta(
	betas []float64, all []claims.Forgetting, axis chart.Axis, x func(claims.Forgetting) float64, y func(claims.Forgetting) claims.Estimate,
) (layers []chart.Layer) {
	for i, beta := range betas {
		var m means
		var widths, gaps []float64
		for _, f := range all {
			if v, e := x(f), y(f); f.Beta == beta && v > 0 {
				m.add(v, e)
				widths, gaps = append(widths, float64(f.Width)), append(gaps, float64(f.Gap))
			}
		}
		if len(m.x) == 0 {
			continue
		}
		l := m.on(axis).layer(chart.Points, fmt.Sprintf("β = %g", beta), i)
		l.Shape = 1 + i%chart.Shapes
		l.Fields = append(l.Fields, chart.Field{Name: "width", Values: widths}, chart.Field{Name: "gap", Values: gaps})
		layers = append(layers, l)
	}
	return layers
}

// proportional are the line of equals over some numbers, unless points are far from it, and that of a factor.
func proportional(x []float64, factor float64) []chart.Layer {
	x = slices.DeleteFunc(x, func(v float64) bool { return !(v > 0) })
	if len(x) == 0 {
		return nil
	}
	ends := []float64{slices.Min(x), slices.Max(x)}
	var layers []chart.Layer
	if factor < 10 {
		layers = append(layers, chart.Layer{Kind: chart.Line, Name: "as predicted", Color: chart.Black, X: ends, Y: ends})
	}
	if factor > 0 {
		y := []float64{factor * ends[0], factor * ends[1]}
		layers = append(layers, chart.Layer{Kind: chart.Line, Name: "times a factor", Color: chart.Black, Dashed: true, X: ends, Y: y})
	}
	return layers
}

// RetainedShare draws what is left of a feature when an injection of its task comes, as the fall of ln p/(1-p) since the one before,
// against what the restoring force predicts, 4 η μ_N G/(O c²): for each set of runs a panel of the widths that don't hold the feature and
// one of those that do, with all gaps and exponents of frequencies.
func RetainedShare(sets ...results.Runs) (chart.Chart, error) {
	c := chart.Chart{Name: "retained-share", Title: "What a gap takes of a feature, and what theory says", Columns: 2,
		Caption: "Fall of ln p/(1−p) from the end of an injection to the next, p the share of the feature that the encoder holds: of little, " +
			"the share exp(−fall) is left. Left of each pair: widths at which an optimum doesn't hold the feature; right: widths at which it " +
			"does. Points at which nothing was lost have no place. Means over injections in the last two thirds of training, and 95% intervals " +
			"over seeds. Dashed: times the factor that fits best, which stands above with the factor by which points typically miss it."}
	c.Subtitle = about(slices.Concat(sets...))
	betas, _ := results.By(sets[0], results.Beta)
	for _, runs := range sets {
		all, err := claims.Forgettings(runs) // which has the design
		if err != nil {
			return chart.Chart{}, err
		}
		by := formula{"4 η μ_N G/(O c²)", func(f claims.Forgetting) claims.BySeed { return f.Predicted }}
		if runs[0].Train.Optimizer != "sgd" {
			by = formula{"4 η s G/(O √L)", func(f claims.Forgetting) claims.BySeed { return f.Adaptive }}
		}
		for _, held := range []bool{false, true} {
			own := slices.DeleteFunc(slices.Clone(all), func(f claims.Forgetting) bool { return (f.Kept > 0) != held })
			title := optimizer(runs) + map[bool]string{false: ", below N_crit", true: ", from N_crit on"}[held]
			c.Panels = append(c.Panels, fallPanel(title, betas, own, by))
		}
	}
	return c, nil
}

func fallPanel(title string, betas []float64, all []claims.Forgetting, by formula) chart.Panel {
	panel := chart.Panel{X: chart.Axis{Label: "predicted: " + by.label, Name: "predicted", Log: true},
		Y: chart.Axis{Label: "fall of ln p/(1−p) in a gap", Name: "fall", Log: true}, Facets: []chart.Facet{{Name: "training", Value: title}}}
	factor, spread, _ := claims.CommonRate(all, by.of)
	panel.Title = fitted(title, factor, spread)
	fall := func(f claims.Forgetting) float64 { return by.of(f).Interval().Mean * float64(f.Free) }
	panel.Layers = byBeta(betas, all, panel.Y, fall, func(f claims.Forgetting) claims.Estimate {
		e, steps := f.Measured.Interval(), float64(f.Free)
		e.Mean, e.Low, e.High = e.Mean*steps, e.Low*steps, e.High*steps
		return e
	})
	panel.Layers = append(panel.Layers, proportional(xslices.Map(all, fall), factor)...)
	return panel
}

// FoundOrKept draws what nets end with in a mixture against what they had of the rare task before, by width, for starts of all strengths.
func FoundOrKept(runs results.Runs) (chart.Chart, error) {
	all, err := claims.Starts(runs) // which has the design
	if err != nil {
		return chart.Chart{}, err
	}
	label := "learned share"
	if claims.KeptOf(runs).Exact {
		label = "signal s_r"
	}
	panel := chart.Panel{X: chart.Axis{Label: label + " before the mixture", Name: "start", Min: -.02, Max: 1.02},
		Y: chart.Axis{Label: label + " in the end", Name: "end", Min: -.02, Max: 1.02}}
	ends := []float64{0, 1}
	panel.Layers = []chart.Layer{{Kind: chart.Line, Name: "kept as it was", Color: chart.Black, Dashed: true, X: ends, Y: ends}}
	shape := 0
	panel.Layers = append(panel.Layers, sizesOf(runs).each(runs, func(name string, color int, own results.Runs) []chart.Layer {
		var m means
		var lengths []float64
		for _, s := range all {
			if s.Width == own[0].Net.Width {
				m.add(s.Had.Interval().Mean, s.Ends.Interval())
				lengths = append(lengths, float64(s.Until))
			}
		}
		line, points := m.layer(chart.Line, name, color), m.layer(chart.Points, name, color)
		points.Shape = 1 + shape%chart.Shapes
		line.Shape = points.Shape
		points.Fields = append(points.Fields, chart.Field{Name: "steps alone", Values: lengths})
		line.Fields = nil
		shape++
		return []chart.Layer{line, points}
	})...)
	return chart.Chart{Name: "found-or-kept-" + runs[0].Mixture.Family, Title: "What a net ends with against what it started with",
		Subtitle: about(runs), Panels: []chart.Panel{panel},
		Caption: "Each point: the rare task alone for some steps, then the mixture. A level line: what a net ends with doesn't depend on " +
			"the start, it finds or loses the task whatever it had; on the dashed line it keeps what it had. Means and 95% intervals over " +
			"seeds."}, nil
}

// Resized draws the rarest task's signal over training of nets whose width stays, and of such as grow or shrink in mid-training.
func Resized(runs results.Runs) (chart.Chart, error) {
	if err := runs.Need(results.Design{Vary: []string{"net.width", "train.intervention.*"}, Columns: []string{"signal"}}); err != nil {
		return chart.Chart{}, err
	}
	panel := chart.Panel{X: stepAxis, Y: chart.Axis{Label: "signal s_r of the rarest task", Name: "signal", Max: 1}}
	panel.X.Log, panel.X.Max = false, float64(runs[0].Train.Steps)
	names, byName := results.By(runs, widthOver)
	for i, name := range names {
		panel.Layers = append(panel.Layers, overSteps(byName[name], 0, of("signal", runs[0].Mixture.Tasks), claims.Interval).curve(name, i)...)
	}
	for _, r := range runs {
		if i := r.Train.Intervention; i.Resizes() {
			panel.Layers = append(panel.Layers, rule("the width changes", []float64{float64(i.Step)}, nil))
			break
		}
	}
	return chart.Chart{Name: "resized", Title: "Neurons that come late, or are taken away", Subtitle: about(runs),
		Panels:  []chart.Panel{panel},
		Caption: "Signal of the rarest task; bands are 95% intervals over seeds. New neurons start as all do, at random."}, nil
}

// widthOver says how wide a run's net is over training.
func widthOver(r *results.Run) string {
	i := r.Train.Intervention
	begin, end := i.Active(0, r.Net.Width), i.Active(math.MaxInt, r.Net.Width)
	if begin == end {
		return fmt.Sprintf("N = %d", begin)
	}
	return fmt.Sprintf("N = %d, then %d", begin, end)
}
