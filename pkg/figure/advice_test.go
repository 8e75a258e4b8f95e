package figure

import (
	"math"
	"strings"
	"testing"

	"raretask/pkg/chart"
	"raretask/pkg/results"
	"raretask/pkg/sizing"
	"raretask/pkg/theory"
)

// The lines of iso-learning are where a width just learns a task, and pass through where the mixture is.
func TestIsoLearning(t *testing.T) {
	var mixtures []sizing.Mixture
	for _, beta := range []float64{1, 2} {
		m, err := theory.PowerLaw(6, 4, beta, 2, 2)
		if err != nil {
			t.Fatal(err)
		}
		mixtures = append(mixtures, sizing.Mixture{Mixture: m})
	}
	widths := []int{1, 2, 4, 8, 16}
	f, err := IsoLearning("β", []string{"1", "2"}, mixtures, []int{2, 6}, widths, func(w int) float64 { return 1e6 * float64(w) })
	if err != nil || len(f.Panels) != 2 || len(f.Panels[0].Layers) != 8 {
		t.Fatal(len(f.Panels), err)
	}
	for _, l := range f.Panels[0].Layers {
		m := mixtures[l.Chosen[0]]
		task := map[string]int{"task 2": 1, "task 6": 5}[l.Name]
		for i, x := range l.X {
			if l.Kind == chart.Points {
				if !m.At(int(x))[task].Learned || m.At(int(x) - 1)[task].Learned || l.Y[i] != m.Frequency[task] {
					t.Errorf("%s stands at %g, %g", l.Name, x, l.Y[i])
				}
				continue
			}
			if !m.With(task, 1.001*l.Y[i]).At(int(x))[task].Learned || m.With(task, .999*l.Y[i]).At(int(x))[task].Learned {
				t.Errorf("%s: width %g doesn't just learn it at %g", l.Name, x, l.Y[i])
			}
		}
	}
	drawn(t, f)
	if _, err := IsoLearning("β", []string{"1"}, mixtures, []int{1}, widths, nil); err == nil {
		t.Error("a name for two mixtures")
	}
	if _, err := IsoLearning("β", []string{"1"}, mixtures[:1], []int{7}, widths, nil); err == nil {
		t.Error("task 7 of 6")
	}
}

// Predictions that came out stand apart from those that didn't; rules and answers have a panel each.
func TestAdviceIsDrawn(t *testing.T) {
	pairs := []sizing.Pair{
		{Verdict: sizing.Verdict{Learned: true, Margin: .4}, Observed: true, Loss: .2, To: .3},
		{Verdict: sizing.Verdict{Learned: false, Margin: -.4}, Observed: true, Loss: .2, From: .9, To: 1.1},
		{Verdict: sizing.Verdict{Learned: false, Margin: -3}, Loss: 1},
	}
	f, err := Tried(pairs)
	if err != nil {
		t.Fatal(err)
	}
	right, wrong := layer(t, f.Panels[0], chart.Points, "as predicted"), layer(t, f.Panels[0], chart.Points, "not as predicted")
	is(t, right, []float64{.4}, []float64{.2})
	is(t, wrong, []float64{-.4}, []float64{.2})
	drawn(t, f)

	f, err = Rules([]string{"a", "b"}, [][]sizing.Rule{{{Name: "x", Right: 3, Told: 4}}, {{Name: "x", Right: 1, Told: 2}, {Name: "y", Right: 2,
		Told: 2}}})
	if err != nil || len(f.Panels) != 2 || f.Panels[0].Layers[1].X[0] != .75 {
		t.Fatal(f, err)
	}
	drawn(t, f)

	var curves []sizing.Curve
	for _, size := range []float64{1e6, 1e8} {
		c := sizing.Curve{Task: "t", Size: size}
		for i := range 20 {
			c.Data = append(c.Data, 1e6*math.Pow(2, float64(i)/2))
			c.Y = append(c.Y, map[float64]float64{1e6: 1, 1e8: .3}[size]+math.Pow(2, -float64(i)/4)+.001*math.Sin(9*float64(i)))
		}
		curves = append(curves, c)
	}
	answers, err := sizing.Diagnose(curves, math.NaN())
	if err != nil {
		t.Fatal(err)
	}
	f, err = Diagnosed("x", curves, answers)
	if err != nil || len(f.Panels) != 1 || f.Panels[0].Title != "t: "+sizing.LargerModel {
		t.Fatal(f.Panels, err)
	}
	further := layer(t, f.Panels[0], chart.Line, "")
	if last := further.X[len(further.X)-1]; math.Abs(last/(10*curves[0].Data[19])-1) > 1e-9 {
		t.Errorf("it goes on to %g", last)
	}
	drawn(t, f)
}

func drawn(t *testing.T, f chart.Chart) {
	t.Helper()
	if _, err := f.VegaLite(); err != nil {
		t.Error(err)
	}
	if _, err := f.CSV(); err != nil {
		t.Error(err)
	}
}

// Runs of any family are drawn by size; figures that need closed forms say so.
func TestLossOfAnyFamily(t *testing.T) {
	runs := spoken()
	f, err := Loss(runs)
	if err != nil {
		t.Fatal(err)
	}
	few := layer(t, f.Panels[0], chart.Line, "train.rate 0.0125, train.injection.samples 1")
	if len(few.X) != 1 || few.X[0] != 8 {
		t.Errorf("%+v", few)
	}
	drawn(t, f)
	one := runs.Where(func(r *results.Run) bool { return r.Net.Width == 8 && r.Train.Injection.Samples == 1 })
	if _, err := Fig2a(one); err == nil || !strings.Contains(err.Error(), "figure.Loss") {
		t.Error(err)
	}
}
