package figure

import (
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/chart"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// interfering returns three seeds of runs in which all that is measured of the frequent tasks falls with width and step.
func interfering(runs ...spec.Run) results.Runs {
	falling := func(share float64) func(spec.Run, int, int) float64 {
		return func(r spec.Run, step, _ int) float64 { return share / float64(r.Net.Width*max(1, step)) }
	}
	return seeded(runs, []int{0, 1, 10, 100}, columns{
		"residual": falling(1), "frequent_gradient": falling(2), "bound": falling(4),
		"signal":            func(r spec.Run, step, k int) float64 { return float64(r.Net.Width*step) / float64(1e5*k) },
		"signal_normalized": func(r spec.Run, step, k int) float64 { return float64(step*k) / 1e4 },
		"cosine":            func(r spec.Run, step, k int) float64 { return -float64(k) / float64(r.Net.Width*max(1, step)) },
	})
}

// reduced returns the mixture of fig3 at the reduced scale, whose N_crit is known to be 39.
func reduced(beta float64) spec.Run {
	r := spec.Default()
	r.Mixture.Settings = tasks.RegressionSettings{Dim: 128, Block: 8, Alpha: [2]float64{2, 2}}
	r.Mixture.Frequency.Exponent, r.Train.Steps = beta, 100
	return r
}

var overSteps3 = []float64{1, 10, 100}

func TestCurves(t *testing.T) {
	f, err := Curves(interfering(widths(reduced(2), 2, 8)...))
	if err != nil {
		t.Fatal(err)
	}
	residual := panel(t, f, "frequent tasks: residual")
	isMean(t, residual, chart.Line, "N = 2", overSteps3, []float64{.5, .05, .005})
	isMean(t, panel(t, f, "frequent tasks: gradient"), chart.Line, "N = 8", overSteps3, []float64{.25, .025, .0025})
	isMean(t, panel(t, f, "rarest task"), chart.Line, "N = 8", overSteps3, []float64{.0016, .016, .16})
	is(t, layer(t, residual, chart.Rule, "δ*_F(N_crit)"), nil, []float64{floorOf(t, reduced(2))})
	if !strings.Contains(f.Caption, "width is 39 to 42.") {
		t.Errorf("caption %q: want N_crit, 39 to 42", f.Caption)
	}
}

// floorOf returns the residual of the frequent tasks at the width from which the rarest withstands them.
func floorOf(t *testing.T, r spec.Run) float64 {
	t.Helper()
	m, err := r.Mixture.Theory()
	if err != nil {
		t.Fatal(err)
	}
	frequent, _ := m.NCrit()
	return m.ResidualFloor(m.Frequent(.8), frequent.Some)
}

// A point of Fig 3 is a run: what it has left of the frequent tasks, and the signal of the three most frequent, or of the rarest.
func TestFig3(t *testing.T) {
	runs := interfering(widths(reduced(2), 2, 8)...)
	f, err := Fig3(runs)
	if err != nil {
		t.Fatal(err)
	}
	p := f.Panels[0]
	x := []float64{.005 * .9, .005, .005 * 1.1, .00125 * .9, .00125, .00125 * 1.1} // at the last step, of the seeds
	seeds := []float64{.9, 1, 1.1, .9, 1, 1.1}
	times := func(v float64) []float64 { return xslices.Map(seeds, func(s float64) float64 { return v * s }) }
	is(t, layer(t, p, chart.Points, "most frequent tasks (3)"), x, times(.02))
	rare := layer(t, p, chart.Points, "rarest task")
	is(t, rare, x, times(.16))
	if !slices.Equal(rare.Value, []float64{2, 2, 2, 8, 8, 8}) || !slices.Equal(field(t, rare, "seed"), []float64{0, 1, 2, 0, 1, 2}) {
		t.Errorf("points of widths %v and seeds %v", rare.Value, field(t, rare, "seed"))
	}
	is(t, layer(t, p, chart.Rule, "δ*_F(N_crit)"), []float64{floorOf(t, reduced(2))}, nil)
	if table, err := f.CSV(); err != nil || !strings.HasPrefix(string(table), "panel,beta,complexity,series,seed,residual,signal,width\n") {
		t.Errorf("table %.100s, %v: want a column for each quantity", table, err)
	}
}

func TestFig19HasEveryLaw(t *testing.T) {
	runs := interfering(each(widths(reduced(2), 2, 8), setBeta, 1, 2)...)
	f, err := Fig19(runs)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Panels) != 2 {
		t.Fatalf("%d panels, want one of each exponent", len(f.Panels))
	}
	for i, beta := range []float64{1, 2} {
		is(t, layer(t, f.Panels[i], chart.Rule, "δ*_F(N_crit)"), []float64{floorOf(t, reduced(beta))}, nil)
		if y := layer(t, f.Panels[i], chart.Points, "most frequent task").Y[1]; !near([]float64{y}, []float64{.01}) {
			t.Errorf("signal of the most frequent task %g, want .01", y)
		}
	}
	if _, err := Fig3(runs); err == nil || !strings.Contains(err.Error(), "mixture.frequency.exponent") {
		t.Errorf("Fig3 of two laws: %v", err)
	}
}

func TestLateGradient(t *testing.T) {
	f, err := LateGradient(interfering(each(widths(reduced(2), 2, 8), setBeta, 1, 2)...))
	if err != nil {
		t.Fatal(err)
	}
	p, x := panel(t, f, "β = 2"), []float64{2, 8}
	for name, y := range map[string][]float64{
		"gradient norm ‖G_F‖": {.01, .0025}, "bound (Theorem 4)": {.02, .005}, "residual δ_F": {.005, .00125},
		"signal s_r of the rarest task": {.002 / 16, .008 / 16},
	} {
		isMean(t, p, chart.Points, name, x, y)
	}
	is(t, layer(t, p, chart.Rule, "N_crit"), []float64{39}, nil)
}

// What is zero has no place on a logarithmic axis; a seed of it counts.
func TestZeroOnALogarithmicAxis(t *testing.T) {
	runs := interfering(widths(reduced(2), 2, 8)...)
	zero := interfering(widths(reduced(2), 2, 8)...)
	for i, r := range runs {
		if r.Train.Seed == 0 || r.Net.Width == 8 {
			runs[i] = made(r.Run, zero[i].Steps, columns{"residual": func(spec.Run, int, int) float64 { return 0 },
				"frequent_gradient": func(spec.Run, int, int) float64 { return 1 }, "signal_normalized": func(spec.Run, int, int) float64 { return 1 }})
		}
	}
	f, err := Curves(runs)
	if err != nil {
		t.Fatal(err)
	}
	p := panel(t, f, "frequent tasks: residual")
	is(t, layer(t, p, chart.Line, "N = 2"), overSteps3, []float64{2.1 / 3 * .5, 2.1 / 3 * .05, 2.1 / 3 * .005})
	is(t, layer(t, p, chart.Line, "N = 8"), overSteps3, []float64{nan, nan, nan})
	if _, err := f.VegaLite(); err != nil {
		t.Error(err)
	}
}

func TestGradientMap(t *testing.T) {
	runs := interfering(widths(small(1), 2, 8)...)
	f, err := GradientMap(runs, 8)
	if err != nil {
		t.Fatal(err)
	}
	heat := layer(t, panel(t, f, "N = 8"), chart.Heat, "")
	if len(f.Panels) != 1 || len(heat.X) != 18 {
		t.Fatalf("%d panels with %d cells, want 1 of 3 steps and 6 tasks", len(f.Panels), len(heat.X))
	}
	for i, v := range heat.Value {
		if want := -heat.Y[i] / (8 * heat.X[i]); !near([]float64{v}, []float64{want}) || field(t, heat, "seeds")[i] != 3 {
			t.Errorf("task %g at step %g: %g of %g seeds, want %g of 3", heat.Y[i], heat.X[i], v, field(t, heat, "seeds")[i], want)
		}
	}
	if _, err := GradientMap(runs, 16); err == nil || !strings.Contains(err.Error(), "width 16") {
		t.Errorf("a width that was not trained: %v", err)
	}
}
