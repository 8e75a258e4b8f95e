package figure

import (
	"strings"
	"testing"

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

func TestFig3(t *testing.T) {
	f, err := Fig3(interfering(widths(reduced(2), 2, 8)...))
	if err != nil {
		t.Fatal(err)
	}
	residual := panel(t, f, "frequent tasks: residual")
	isMean(t, residual, chart.Line, "N = 2", overSteps3, []float64{.5, .05, .005})
	isMean(t, panel(t, f, "frequent tasks: gradient"), chart.Line, "N = 8", overSteps3, []float64{.25, .025, .0025})
	isMean(t, panel(t, f, "rarest task"), chart.Line, "N = 8", overSteps3, []float64{.0016, .016, .16})
	m, err := reduced(2).Mixture.Theory()
	if err != nil {
		t.Fatal(err)
	}
	frequent, _ := m.NCrit()
	is(t, layer(t, residual, chart.Rule, "δ*_F(N_crit)"), nil, []float64{m.ResidualFloor(m.Frequent(.8), frequent.Some)})
	if !strings.Contains(f.Caption, "width is 39.") {
		t.Errorf("caption %q: want N_crit 39", f.Caption)
	}
}

func TestFig15HasEveryLaw(t *testing.T) {
	runs := interfering(each(widths(reduced(2), 2, 8), setBeta, 1, 2)...)
	f, err := Fig15(runs)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Panels) != 2 {
		t.Fatalf("%d panels, want one of each exponent", len(f.Panels))
	}
	p := panel(t, f, "β = 2 (N_crit = 39)")
	isMean(t, p, chart.Line, "N = 8", overSteps3, []float64{.125, .0125, .00125})
	one, two := layer(t, f.Panels[0], chart.Rule, "δ*_F(N_crit)").Y[0], layer(t, p, chart.Rule, "δ*_F(N_crit)").Y[0]
	if !(one > 0) || !(two > 0) || one == two {
		t.Errorf("floors %g and %g: want each law's own", one, two)
	}
	if _, err := Fig3(runs); err == nil || !strings.Contains(err.Error(), "mixture.frequency.exponent") {
		t.Errorf("Fig3 of two laws: %v", err)
	}
}

func TestFig19(t *testing.T) {
	f, err := Fig19(interfering(each(widths(reduced(2), 2, 8), setBeta, 1, 2)...))
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
	f, err := Fig3(runs)
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
