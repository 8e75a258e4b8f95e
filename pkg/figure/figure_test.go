package figure

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/chart"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// spread is how far apart the seeds of made-up runs are, as a share of their mean, and reach how far the 95% interval of three goes from it
// to both sides: t(.975, 2)/sqrt(3) = 2.48414 times the distance.
const spread, reach = .1, .1 * 2.48414

// columns give made-up runs their numbers, at a step of a run for a task from 1; 0 for columns of the run's own.
type columns map[string]func(r spec.Run, step, task int) float64

// made returns a run with these numbers.
func made(r spec.Run, steps []int, of columns) *results.Run {
	values := map[string][]float64{}
	for name, value := range of {
		own := slices.Contains([]string{"residual", "frequent_gradient", "bound", "full_loss", "injected_signal", "common_signal",
			"injected_cosine"}, name)
		for _, step := range steps {
			for k := 1; k <= r.Mixture.Tasks && !own; k++ {
				values[name] = append(values[name], value(r, step, k))
			}
			if own {
				values[name] = append(values[name], value(r, step, 0))
			}
		}
	}
	return results.NewRun(r, steps, values)
}

// seeded returns each run three times, with numbers whose mean over seeds is that of the columns, spread apart.
func seeded(runs []spec.Run, steps []int, of columns) (all results.Runs) {
	for _, r := range runs {
		for seed := range 3 {
			shifted := columns{}
			for name, value := range of {
				shifted[name] = func(r spec.Run, step, task int) float64 {
					return value(r, step, task) * (1 + spread*float64(seed-1))
				}
			}
			r.Train.Seed = uint32(seed)
			all = append(all, made(r, steps, shifted))
		}
	}
	return all
}

// widths returns a run at several widths.
func widths(r spec.Run, widths ...int) (runs []spec.Run) {
	for _, w := range widths {
		r.Net.Width = w
		runs = append(runs, r)
	}
	return runs
}

// each returns runs with a setting at each of several values.
func each[T any](runs []spec.Run, set func(*spec.Run, T), values ...T) (all []spec.Run) {
	for _, v := range values {
		for _, r := range runs {
			set(&r, v)
			all = append(all, r)
		}
	}
	return all
}

func setBeta(r *spec.Run, beta float64) { r.Mixture.Frequency.Exponent = beta }
func setGap(r *spec.Run, gap int) {
	r.Train.Injection = spec.Injection{Task: r.Mixture.Tasks, Gap: gap}
}

// small returns settings of six tasks of some directions each, trained for 100 steps.
func small(block int) spec.Run {
	base := spec.Default()
	base.Mixture.Tasks, base.Mixture.Settings = 6, tasks.RegressionSettings{Dim: 12 * block, Block: block, Alpha: [2]float64{2, 2}}
	base.Train.Steps = 100
	return base
}

// perfect returns runs that end exactly at the optimum, one for each width and seed.
func perfect(t *testing.T, base spec.Run, seeds int, sizes ...int) (runs results.Runs) {
	t.Helper()
	for _, r := range widths(base, sizes...) {
		m, err := r.Mixture.Theory()
		if err != nil {
			t.Fatal(err)
		}
		_, loss := m.TaskLoss(r.Net.Width)
		for seed := range seeds {
			r.Train.Seed = uint32(seed)
			runs = append(runs, made(r, []int{r.Train.Steps}, columns{
				"loss":   func(_ spec.Run, _, k int) float64 { return loss[k-1] / m.TaskTrace(k-1) },
				"signal": func(_ spec.Run, _, k int) float64 { return 1 - loss[k-1]/m.TaskTrace(k-1) },
			}))
		}
	}
	return runs
}

// panel returns the panel of a title.
func panel(t *testing.T, f chart.Chart, title string) chart.Panel {
	t.Helper()
	i := slices.IndexFunc(f.Panels, func(p chart.Panel) bool { return p.Title == title })
	if i < 0 {
		t.Fatalf("%s has no panel %q", f.Name, title)
	}
	return f.Panels[i]
}

// layer returns a panel's layer of a kind and name.
func layer(t *testing.T, p chart.Panel, kind chart.Kind, name string) chart.Layer {
	t.Helper()
	i := slices.IndexFunc(p.Layers, func(l chart.Layer) bool { return l.Kind == kind && l.Name == name })
	if i < 0 {
		t.Fatalf("panel %q has no %s %q", p.Title, kind, name)
	}
	return p.Layers[i]
}

func field(t *testing.T, l chart.Layer, name string) []float64 {
	t.Helper()
	i := slices.IndexFunc(l.Fields, func(f chart.Field) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("layer %q has no field %q", l.Name, name)
	}
	return l.Fields[i].Values
}

// near reports whether numbers are equal but for rounding; NaN is equal to NaN.
func near(got, want []float64) bool {
	return slices.EqualFunc(got, want, func(a, b float64) bool {
		return math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-5*max(1e-9, math.Abs(b))
	})
}

// is checks a layer's numbers.
func is(t *testing.T, l chart.Layer, x, y []float64) {
	t.Helper()
	if !near(l.X, x) || !near(l.Y, y) {
		t.Errorf("%s %q at x %v, y %v: want x %v, y %v", l.Kind, l.Name, l.X, l.Y, x, y)
	}
}

// isMean checks a layer of means over the seeds of seeded: their values, intervals and how many there are.
func isMean(t *testing.T, p chart.Panel, kind chart.Kind, name string, x, y []float64) {
	t.Helper()
	l := layer(t, p, kind, name)
	is(t, l, x, y)
	interval := l
	if kind == chart.Line {
		interval = layer(t, p, chart.Band, name)
	}
	for i, mean := range y {
		half := math.Abs(mean) * reach
		if !near(interval.Low[i:i+1], []float64{mean - half}) || !near(interval.High[i:i+1], []float64{mean + half}) {
			t.Errorf("%s %q at %g: %g … %g: want %g ± %g", kind, name, x[i], interval.Low[i], interval.High[i], mean, half)
		}
		if n, failed := field(t, l, "seeds")[i], field(t, l, "failed")[i]; n != 3 || failed != 0 {
			t.Errorf("%s %q at %g is of %g seeds, %g failed: want 3 and 0", kind, name, x[i], n, failed)
		}
	}
}

// draws are all figures with runs they can draw.
func draws(t *testing.T) map[string]struct {
	draw func(results.Runs) (chart.Chart, error)
	runs results.Runs
} {
	type example = struct {
		draw func(results.Runs) (chart.Chart, error)
		runs results.Runs
	}
	loss := perfect(t, small(2), 2, 2, 4, 8)
	over := interfering(each(widths(small(2), 2, 8), setBeta, 1, 2)...)
	one := over.Where(func(r *results.Run) bool { return results.Beta(r) == 1 })
	cycles, bits := cycling(), quantized([]int{4, 32}, 2)
	return map[string]example{
		"fig2a": {Fig2a, loss}, "fig2b": {Fig2b, loss}, "fig17": {Fig17, loss}, "fig18": {Fig18, loss}, "fig21": {Fig21, loss},
		"fig13": {Fig13, ranges(t, 1)}, "fig14": {Fig14, ranges(t, 1, 2)}, "feature-order": {FeatureOrder, loss},
		"gradients": {func(runs results.Runs) (chart.Chart, error) { return GradientMap(runs, 2, 8) }, one},
		"fig3":      {Fig3, one}, "fig15": {Fig15, over}, "fig19": {Fig19, over},
		"interference-curves": {Curves, one}, "gradient-width": {LateGradient, over},
		"fig4a": {Fig4a, cycles}, "fig4b": {Fig4b, cycles}, "fig16a": {Fig16a, cycles}, "fig16b": {Fig16b, cycles}, "fig20": {Fig20, cycles},
		"around-injections": {AroundInjections, cycles}, "cycles": {Cycles, cycles},
		"retention": {RetentionChart, cycles}, "retention-sampled": {SampledRetention, decaying(20, 50)},
		"parity-order": {ParityOrder, bits}, "parity-times": {ParityTimes, bits}, "parity-loss": {ParityLoss, bits},
		"parity-rates": {Rates, rated()},
	}
}

// Every figure draws what it is for under its own name, the same each time, and refuses no runs, runs that differ in a setting it doesn't
// know, a run that stands there twice, and one that was not trained to its end.
func TestFiguresStateTheirDesigns(t *testing.T) {
	for name, f := range draws(t) {
		drawn, err := f.draw(f.runs)
		if err != nil || drawn.Name != name {
			t.Errorf("%s: drew %q: %v", name, drawn.Name, err)
			continue
		}
		if _, err := drawn.VegaLite(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		first, _ := drawn.CSV()
		again, _ := f.draw(slices.Clone(f.runs))
		if second, err := again.CSV(); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s is not a function of its runs: %v", name, err)
		}
		other, unfinished := *f.runs[0], *f.runs[0]
		other.Run.Train.Batch = 17
		other.ID = other.Hash()
		unfinished.Steps = unfinished.Steps[:unfinished.Last()]
		for want, runs := range map[string]results.Runs{
			"no runs": {}, "train.batch": append(slices.Clone(f.runs), &other), "twice": append(slices.Clone(f.runs), f.runs[0]),
			"last step": {&unfinished},
		} {
			if _, err := f.draw(runs); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v: want one that says %q", name, err, want)
			}
		}
	}
}

// One seed at three rates is no three seeds.
func TestRatesAreNoSeeds(t *testing.T) {
	runs := each(widths(small(1), 2), func(r *spec.Run, rate float64) { r.Train.Rate = rate }, 1e-3, 3e-3, 1e-2)
	var all results.Runs
	for _, r := range runs {
		all = append(all, perfect(t, r, 1, 2)...)
	}
	if _, err := Fig2a(all); err == nil || !strings.Contains(err.Error(), "train.rate") {
		t.Errorf("%v: want an error that names train.rate", err)
	}
	if _, err := Fig2a(append(perfect(t, small(1), 1, 1), perfect(t, each(widths(small(1), 1), setBeta, 2)[0], 1, 1)...)); err == nil ||
		!strings.Contains(err.Error(), "mixture.frequency.exponent") {
		t.Errorf("two mixtures: %v", err)
	}
}

// Where size is counted in parameters, so are the points and what theory says.
func TestSizeIsWidthOrParameters(t *testing.T) {
	t.Cleanup(func() { Size = Width })
	runs := perfect(t, small(1), 2, 1, 2, 4)
	parameters := func(width float64) float64 { return 12*width + 6*width } // encoder, and a readout of each task
	for _, s := range []struct {
		Sizing
		at func(float64) float64
	}{{Width, func(w float64) float64 { return w }}, {Parameters, parameters}} {
		Size = s.Sizing
		f, err := Fig2a(runs)
		if err != nil {
			t.Fatal(err)
		}
		p, want := f.Panels[0], []float64{s.at(1), s.at(2), s.at(4)}
		heat, stairs := layer(t, p, chart.Heat, ""), layer(t, p, chart.Step, "N*(1), theory")
		is(t, stairs, []float64{s.at(1), s.at(1), s.at(2), s.at(3), s.at(4), s.at(5)}, []float64{.5, 1.5, 2.5, 3.5, 4.5, 5.5}) // 6 is far off
		if p.X.Label != s.Label || !slices.Equal(p.X.Ticks, want) || !slices.Equal(heat.X[:3], want) {
			t.Errorf("%q with ticks %v, cells at %v: want %q at %v", p.X.Label, p.X.Ticks, heat.X, s.Label, want)
		}
		f, err = Fig2b(runs)
		if err != nil {
			t.Fatal(err)
		}
		layer(t, f.Panels[0], chart.Points, fmt.Sprintf("%s = %g", s.Symbol, s.at(4)))
	}
}

// A seed that diverged is left out of the mean, which says so; where all have diverged the cell is missing, never zero.
func TestDivergedIsMissing(t *testing.T) {
	runs := perfect(t, small(1), 2, 1, 2)
	for _, r := range runs {
		if r.Net.Width == 2 || r.Train.Seed == 1 {
			r.Diverged = 50
		}
	}
	f, err := Fig2a(runs)
	if err != nil {
		t.Fatal(err)
	}
	heat := layer(t, f.Panels[0], chart.Heat, "")
	seeds, failed := field(t, heat, "seeds"), field(t, heat, "failed")
	for i, w := range heat.X {
		want := map[float64][2]float64{1: {1, 1}, 2: {0, 2}}[w]
		if (w == 2) != math.IsNaN(heat.Value[i]) || seeds[i] != want[0] || failed[i] != want[1] {
			t.Errorf("width %g: value %g from %g seeds, %g failed: want %v", w, heat.Value[i], seeds[i], failed[i], want)
		}
	}
}

// A curve has no step at which only some of the seeds were evaluated, and nothing of a run once it has diverged.
func TestCurvesAreOfAllSeeds(t *testing.T) {
	of := columns{"loss": func(r spec.Run, step, _ int) float64 { return float64(step)/100 + float64(r.Train.Seed) }}
	a, b := small(1), small(1)
	b.Train.Seed = 1
	runs := results.Runs{made(a, []int{0, 1, 10, 100}, of), made(b, []int{0, 10, 50, 100}, of)}
	runs[1].Diverged = 60
	f, err := Fig21(runs)
	if err != nil {
		t.Fatal(err)
	}
	line := panel(t, f, "N = 32").Layers[0]
	is(t, line, []float64{10, 100}, []float64{.6, 1})
	if failed := field(t, line, "failed"); !slices.Equal(failed, []float64{0, 1}) {
		t.Errorf("failed %v: want none, then one", failed)
	}
}
