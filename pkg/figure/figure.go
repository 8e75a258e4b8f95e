// Package figure turns results into the paper's figures (arXiv 2605.29548, Sec. 3-4 and appendices): one function each, from runs to a
// chart. Each begins with its design, the settings in which its runs may differ; any other difference is an error that names it.
package figure

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/results"
	"raretask/pkg/theory"
)

// Sizing is what the size of a net is counted in.
type Sizing struct {
	Label, Name, Symbol string // of an axis, of a column, and of a size in legends
	Of                  func(*results.Run) int
}

// Sizes of nets.
var (
	Width      = Sizing{"width N (neurons)", "width", "N", results.Width}
	Parameters = Sizing{"parameters P", "parameters", "P", results.Parameters}
)

// Size is what nets go by in every figure, on axes and in legends: Width, or what a notebook puts here before it draws.
var Size = Width

// at returns the size of a net that differs from the run's in width alone.
func (s Sizing) at(r *results.Run, width int) float64 {
	other := *r
	other.Net.Width = width
	return float64(s.Of(&other))
}

// sizes are the sizes of all nets of a figure, ascending: each has one colour in all panels.
type sizes []int

func sizesOf(runs results.Runs) sizes {
	all, _ := results.By(runs, Size.Of)
	return all
}

// axis is labelled at the sizes that were trained.
func (s sizes) axis() chart.Axis {
	return chart.Axis{Label: Size.Label, Name: Size.Name, Log: true, Ticks: xslices.Map(s, func(n int) float64 { return float64(n) })}
}

// values are the sizes as numbers, of points.
func (s Sizing) values(runs results.Runs) []float64 {
	return xslices.Map(runs, func(r *results.Run) float64 { return float64(s.Of(r)) })
}

// largest returns the runs of the largest size.
func (s sizes) largest(runs results.Runs) results.Runs {
	return runs.Where(func(r *results.Run) bool { return Size.Of(r) == s[len(s)-1] })
}

// each draws the runs of each size under a name and colour of their own.
func (s sizes) each(runs results.Runs, draw func(name string, color int, runs results.Runs) []chart.Layer) (layers []chart.Layer) {
	present, bySize := results.By(runs, Size.Of)
	for _, n := range present {
		layers = append(layers, draw(fmt.Sprintf("%s = %d", Size.Symbol, n), chart.Ordered(slices.Index(s, n), len(s)), bySize[n])...)
	}
	return layers
}

// about says of what runs a figure is, for its subtitle: mixture, training and seeds.
func about(runs results.Runs) string {
	betas, _ := results.By(runs, results.Beta)
	seeds, _ := results.By(runs, results.Seed)
	r := runs[0]
	text := fmt.Sprintf("β = %s; K = %d tasks, D = %d; %d steps of %d samples; seed %s",
		listed(betas), r.Mixture.Tasks, r.Mixture.Signature().Input.Size(), r.Train.Steps, r.Train.Batch, listed(seeds))
	if r.Scale != "" {
		text += "; scale " + r.Scale
	}
	return text
}

// listed writes values with commas.
func listed[T any](values []T) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(values), "[]"), " ", ", ")
}

// complexity is how complex tasks of a mixture are: the directions that hold 90% of the energy of the most frequent task and of the rarest.
type complexity struct{ first, last int }

func complexityOf(m theory.Mixture) complexity {
	return complexity{m.Directions(0, energy), m.Directions(m.Tasks()-1, energy)}
}

// energy is the share that a task's directions are counted for (App. D).
const energy = .9

func (c complexity) String() string {
	if c.first == c.last {
		return fmt.Sprintf("%d directions", c.first)
	}
	return fmt.Sprintf("%d … %d directions", c.first, c.last)
}

// Settings in which the mixtures of a figure may differ.
const byFrequency, byComplexity = "mixture.frequency.exponent", "mixture.alpha"

// mixes draws a panel for each mixture among runs, a row for each range of complexity, the narrowest first, and a column for each exponent
// of frequencies. It returns the panels and how many stand side by side.
func mixes(
	runs results.Runs, design results.Design, draw func(m theory.Mixture, runs results.Runs) chart.Panel,
) (panels []chart.Panel, columns int, err error) {
	if len(runs) > 0 {
		if _, err := runs[0].Mixture.Theory(); err != nil {
			return nil, 0, fmt.Errorf("%w; figure.Loss draws runs of any family", err)
		}
	}
	if err := runs.Need(design); err != nil {
		return nil, 0, err
	}
	type mix struct {
		complexity
		beta float64
		theory.Mixture
		runs results.Runs
	}
	var all []mix
	betas, byBeta := results.By(runs, results.Beta)
	for _, beta := range betas {
		names, byName := results.By(byBeta[beta], func(r *results.Run) string { return fmt.Sprint(r.Mixture.Settings) })
		for _, name := range names {
			m, err := byName[name][0].Mixture.Theory()
			if err != nil {
				return nil, 0, err
			}
			all = append(all, mix{complexityOf(m), beta, m, byName[name]})
		}
	}
	slices.SortStableFunc(all, func(a, b mix) int { return cmp.Compare(a.last-a.first, b.last-b.first) })
	for _, m := range all {
		panel := draw(m.Mixture, m.runs)
		panel.Title = fmt.Sprintf("β = %g", m.beta)
		if len(all) > len(betas) {
			panel.Title = fmt.Sprintf("%s, %s", m.complexity, panel.Title)
		}
		panel.Facets = []chart.Facet{{Name: "beta", Value: m.beta}, {Name: "complexity", Value: m.complexity}}
		panels = append(panels, panel)
	}
	if columns = len(betas); columns == 1 {
		columns = min(3, len(panels))
	}
	return panels, columns, nil
}

// measure is a number of a run at the i-th of its steps; NaN where there is none.
type measure func(r *results.Run, i int) float64

// of measures a column of a task (from 1; of a column of the run's own: any).
func of(column string, task int) measure {
	return func(r *results.Run, i int) float64 { return claims.Value(r, column, i, task) }
}

// at measures runs, each at an index of its steps.
func (m measure) at(runs results.Runs, index func(*results.Run) int) []float64 {
	return xslices.Map(runs, func(r *results.Run) float64 { return m(r, index(r)) })
}

// An estimator makes one number of those of seeds: claims.Interval, or claims.Geometric of what is drawn on a logarithmic axis.
type estimator func(values []float64) claims.Estimate

// means are estimates over seeds along an axis.
type means struct {
	x   []float64
	all []claims.Estimate
}

func (m *means) add(x float64, e claims.Estimate) { m.x, m.all = append(m.x, x), append(m.all, e) }

func (m means) mean() []float64 {
	return xslices.Map(m.all, func(e claims.Estimate) float64 { return e.Mean })
}

// fields say of how many seeds each mean is, and how many failed: they have no number, mostly since they diverged.
func (m means) fields() []chart.Field {
	return []chart.Field{{Name: "seeds", Values: xslices.Map(m.all, func(e claims.Estimate) float64 { return float64(e.N) })},
		{Name: "failed", Values: xslices.Map(m.all, func(e claims.Estimate) float64 { return float64(e.Failed) })}}
}

// layer draws means as a line, as points with intervals, or their intervals as a band.
func (m means) layer(kind chart.Kind, name string, color int) chart.Layer {
	l := chart.Layer{Kind: kind, Name: name, Color: color, X: m.x}
	if kind != chart.Band {
		l.Y, l.Fields = m.mean(), m.fields()
	}
	if kind != chart.Line {
		l.Low = xslices.Map(m.all, func(e claims.Estimate) float64 { return e.Low })
		l.High = xslices.Map(m.all, func(e claims.Estimate) float64 { return e.High })
	}
	return l
}

// curve draws means as a line in its band.
func (m means) curve(name string, color int) []chart.Layer {
	return []chart.Layer{m.layer(chart.Band, name, color), m.layer(chart.Line, name, color)}
}

// without makes means missing that pass a test.
func (m means) without(test func(claims.Estimate) bool) means {
	m.all = slices.Clone(m.all)
	for i, e := range m.all {
		if test(e) {
			m.all[i].Mean, m.all[i].Low, m.all[i].High = math.NaN(), math.NaN(), math.NaN()
		}
	}
	return m
}

// on makes means that have no place on a logarithmic axis missing.
func (m means) on(axis chart.Axis) means {
	return m.without(func(e claims.Estimate) bool { return axis.Log && !(e.Mean > 0) })
}

// positive is a number that has a place on a logarithmic axis; NaN where it has none.
func positive(v float64) float64 {
	if v > 0 {
		return v
	}
	return math.NaN()
}

// overSteps returns the means of a measure over training from a step on. Step 0 has no place on a logarithmic axis.
func overSteps(runs results.Runs, from int, value measure, mean estimator) (m means) {
	for _, step := range claims.CommonSteps(runs) {
		if step >= from {
			m.add(float64(step), mean(value.at(runs, func(r *results.Run) int { i, _ := r.Index(step); return i })))
		}
	}
	return m
}

// overTraining is a panel of a measure over training, a series for each size.
func (s sizes) overTraining(title, label string, log bool, runs results.Runs, value measure) chart.Panel {
	panel := chart.Panel{Title: title, X: stepAxis, Y: chart.Axis{Label: label, Log: log}}
	panel.Layers = s.each(runs, func(name string, color int, runs results.Runs) []chart.Layer {
		return overSteps(runs, 1, value, claims.Interval).on(panel.Y).curve(name, color)
	})
	return panel
}

// atEnd are the means of a measure by size at the end of training.
func atEnd(runs results.Runs, value measure, mean estimator) (m means) {
	all, bySize := results.By(runs, Size.Of)
	for _, n := range all {
		m.add(float64(n), mean(value.at(bySize[n], (*results.Run).Last)))
	}
	return m
}

// stepAxis is where steps of training stand.
var stepAxis = chart.Axis{Label: "training step", Name: "step", Log: true}

const taskLabel = "task (1 = most frequent)"

// taskAxis is where tasks stand, labelled at the first and at some of the others.
func taskAxis(tasks int) chart.Axis {
	a := chart.Axis{Label: taskLabel, Name: "task", Ticks: []float64{1}}
	each := max(1, tasks/4)
	for k := max(2, each); k <= tasks; k += each {
		a.Ticks = append(a.Ticks, float64(k))
	}
	return a
}

// down is the axis with its first values on top.
func down(a chart.Axis) chart.Axis {
	a.Reverse = true
	return a
}

// taskMap is a map of means of each task.
func taskMap(label string, tasks int, of func(task int) means) chart.Layer {
	heat := chart.Layer{Kind: chart.Heat, ValueLabel: label}
	var all means
	for k := 1; k <= tasks; k++ {
		own := of(k)
		all.x, all.all = append(all.x, own.x...), append(all.all, own.all...)
		heat.Y = append(heat.Y, slices.Repeat([]float64{float64(k)}, len(own.x))...)
	}
	heat.X, heat.Value, heat.Fields = all.x, all.mean(), all.fields()
	return heat
}

// sizeMap is a map of a column, from 0 to 1, by size and task at the end of training.
func sizeMap(runs results.Runs, column, label string) chart.Layer {
	heat := taskMap(label, runs[0].Mixture.Tasks, func(k int) means { return atEnd(runs, of(column, k), claims.Interval) })
	heat.ValueMax = 1
	return heat
}

// rule is a dashed reference line of theory.
func rule(name string, x, y []float64) chart.Layer {
	return chart.Layer{Kind: chart.Rule, Name: name, Color: chart.Black, Dashed: true, X: x, Y: y}
}

// Loss draws what runs of any family end with by size: the loss of the mixture, of which 1 is that of the best constant of each task; a
// series for each setting but size and seeds in which the runs differ.
func Loss(runs results.Runs) (chart.Chart, error) {
	ends, err := claims.Ends(runs)
	if err != nil {
		return chart.Chart{}, err
	}
	r := runs[0]
	values := func(key func(*results.Run) int) string { all, _ := results.By(runs, key); return listed(all) }
	c := chart.Chart{Name: "loss", Title: "What nets end with, by size",
		Subtitle: fmt.Sprintf("%s, %s tasks, %s; %s steps of %s samples", r.Mixture.Family,
			values(func(r *results.Run) int { return r.Mixture.Tasks }), r.Net.Kind,
			values(func(r *results.Run) int { return r.Train.Steps }), values(func(r *results.Run) int { return r.Train.Batch })),
		Caption: "Loss of the mixture relative to the best constant of each task, by frequency, at the end of training: means over seeds " +
			"with 95% intervals."}
	others := claims.Others(ends)
	var sizes sizes
	panel := chart.Panel{Y: chart.Axis{Label: "loss at the end (1: nothing learned)", Name: "loss"}}
	for i, name := range others {
		var m means
		for _, e := range ends {
			if e.Others == name {
				x := e.Width
				if Size.Name == Parameters.Name {
					x = e.Parameters
				}
				sizes = append(sizes, x)
				m.add(float64(x), e.Loss)
			}
		}
		panel.Layers = append(panel.Layers, m.curve(name, chart.Ordered(i, len(others)))...)
	}
	slices.Sort(sizes)
	panel.X = slices.Compact(sizes).axis()
	c.Panels = []chart.Panel{panel}
	return c, nil
}
