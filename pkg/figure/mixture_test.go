package figure

import (
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

func TestFig2aStairs(t *testing.T) {
	f, err := Fig2a(perfect(t, small(1), 3, 1, 2, 3, 4, 5, 6))
	if err != nil {
		t.Fatal(err)
	}
	stairs := layer(t, f.Panels[0], chart.Step, "N*(1), theory")
	is(t, stairs, []float64{1, 1, 2, 3, 4, 5, 6}, []float64{.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5})
	heat := layer(t, f.Panels[0], chart.Heat, "")
	predicted, seeds := field(t, heat, "predicted"), field(t, heat, "seeds")
	if len(heat.X) != 36 {
		t.Errorf("%d cells, want 6 widths of 6 tasks", len(heat.X))
	}
	for i := range heat.X {
		want := 1.
		if heat.X[i] >= heat.Y[i] {
			want = 0
		}
		if heat.Value[i] != want || predicted[i] != want || seeds[i] != 3 {
			t.Errorf("task %g at width %g: loss %g of %g seeds, predicted %g: want %g of 3", heat.Y[i], heat.X[i], heat.Value[i], seeds[i],
				predicted[i], want)
		}
	}
}

// On perfect runs every point of Fig 2b lies on the diagonal, and exact ties are ranges that hold the loss observed.
func TestFig2bDiagonalAndTies(t *testing.T) {
	base := small(2)
	base.Mixture.Tasks = 4 // (1,2) and (4,1) have one utility
	f, err := Fig2b(perfect(t, base, 1, 1, 2, 4, 8))
	if err != nil {
		t.Fatal(err)
	}
	points := 0
	for _, l := range f.Panels[0].Layers {
		if l.Kind == chart.Points {
			points += len(l.X)
			is(t, l, l.X, l.X)
			if slices.Max(l.Value) != 4 && l.Name != "N = 4" {
				t.Errorf("%s has tasks %v, want all 4", l.Name, l.Value)
			}
		}
	}
	ties := layer(t, f.Panels[0], chart.Line, "tie: predicted range")
	// Task 1 keeps one or two of (1, 1/4), task 4 none or one of them; observed is the highest loss.
	is(t, ties, []float64{0, .2, math.NaN(), .2, 1, math.NaN()}, []float64{.2, .2, math.NaN(), 1, 1, math.NaN()})
	if points != 4*4-2 {
		t.Errorf("%d points, want all but the two that are tied", points)
	}
}

func TestFig17HasEveryLaw(t *testing.T) {
	runs := perfect(t, each(widths(small(1), 2), setBeta, .5)[0], 2, 2, 4)
	runs = append(runs, perfect(t, each(widths(small(1), 2), setBeta, 2)[0], 2, 2, 4)...)
	f, err := Fig17(runs)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Panels) != 2 || f.Panels[0].Title != "β = 0.5" || f.Panels[1].Title != "β = 2" {
		t.Fatalf("%d panels, from %q to %q", len(f.Panels), f.Panels[0].Title, f.Panels[len(f.Panels)-1].Title)
	}
	for _, p := range f.Panels {
		heat := layer(t, p, chart.Heat, "")
		if len(heat.X) != 12 || heat.Value[4] != 1 || !math.IsNaN(heat.Value[5]) { // task 3 at widths 2 and 4; no loss has no logarithm
			t.Errorf("%s: %d cells, task 3 at %v costs %v", p.Title, len(heat.X), heat.X[4:6], heat.Value[4:6])
		}
	}
	if f, err = Fig2b(runs); err != nil {
		t.Fatal(err)
	}
	onDiagonal := []float64{0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1} // two seeds
	is(t, layer(t, panel(t, f, "β = 2"), chart.Points, "N = 2"), onDiagonal, onDiagonal)
	if _, err := Fig2a(runs); err == nil || !strings.Contains(err.Error(), "mixture.frequency.exponent") {
		t.Errorf("Fig2a of two laws: %v", err)
	}
}

// ranges are perfect runs of the paper's three ranges of complexity, in another order than theirs.
func ranges(t *testing.T, betas ...float64) (runs results.Runs) {
	t.Helper()
	for _, beta := range betas {
		for _, alpha := range [][2]float64{{3, 1.5}, {2, 2}, {2.2, 1.8}} {
			base := small(32)
			base.Mixture.Settings = tasks.RegressionSettings{Dim: 6 * 32, Block: 32, Alpha: alpha}
			base.Mixture.Frequency.Exponent = beta
			runs = append(runs, perfect(t, base, 2, 4, 16)...)
		}
	}
	return runs
}

// Panels stand in the order of the paper: rows of ranges, the narrowest first, columns of laws; the ranges are App. D's.
func TestComplexities(t *testing.T) {
	f, err := Fig14(ranges(t, 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, p := range f.Panels {
		titles = append(titles, p.Title)
		for _, l := range p.Layers {
			if l.Kind == chart.Points {
				is(t, l, l.X, l.X)
			}
		}
	}
	want := []string{"5 directions, β = 1", "5 directions, β = 2", "4 … 7 directions, β = 1", "4 … 7 directions, β = 2",
		"2 … 12 directions, β = 1", "2 … 12 directions, β = 2"}
	if !slices.Equal(titles, want) || f.Columns != 2 {
		t.Errorf("panels %q, %d side by side: want %q, two", titles, f.Columns, want)
	}
	if f, err = Fig13(ranges(t, 1)); err != nil || len(f.Panels) != 3 || f.Columns != 3 || f.Panels[2].Title != want[4] {
		t.Errorf("%d panels in %d columns, %v", len(f.Panels), f.Columns, err)
	}
	for want, draw := range map[string]func(results.Runs) (chart.Chart, error){"mixture.alpha": Fig17, "mixture.frequency.exponent": Fig13} {
		if _, err := draw(ranges(t, 1, 2)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ranges and laws in a figure of one of them: %v; want an error that names %s", err, want)
		}
	}
}

// Amplitudes are the roots of the spectra, and 90% of the energy is reached where the sum of the first eigenvalues says so.
func TestFig12Spectra(t *testing.T) {
	var settings []spec.Run
	for _, r := range ranges(t, 1) {
		settings = append(settings, r.Run)
	}
	f, err := Fig12(settings)
	if err != nil || len(f.Panels) != 3 {
		t.Fatalf("%d panels, %v: want one of each range", len(f.Panels), err)
	}
	p := panel(t, f, "2 … 12 directions")
	for k, l := range p.Layers[:6] {
		alpha := 3 - 1.5*float64(k)/5
		for j, x := range l.X {
			if x != float64(j+1) || !near(l.Y[j:j+1], []float64{math.Pow(x, -alpha/2)}) || l.Value[j] != float64(k+1) {
				t.Fatalf("task %g, direction %g: amplitude %g, want %g", l.Value[j], x, l.Y[j], math.Pow(x, -alpha/2))
			}
		}
	}
	reached := layer(t, p, chart.Points, "90% of the energy")
	if reached.X[0] != 2 || reached.X[5] != 12 || len(reached.X) != 6 {
		t.Errorf("90%% of the energy at %v: want from 2 to 12", reached.X)
	}
}

// Features of perfect runs are held from their rank on, rounded up to a width that was trained.
func TestComplexityOrdersByUtility(t *testing.T) {
	base := small(2)
	base.Mixture.Settings = tasks.RegressionSettings{Dim: 12, Block: 2, Alpha: [2]float64{3, .7}}
	sizes := []int{1, 2, 3, 4, 6, 8}
	runs := perfect(t, base, 2, sizes...)
	f, err := FeatureOrder(runs)
	if err != nil {
		t.Fatal(err)
	}
	m, err := base.Mixture.Theory()
	if err != nil {
		t.Fatal(err)
	}
	byFrequency, byUtility := panel(t, f, "by frequency of the task"), panel(t, f, "by utility of the feature")
	for j := range 2 {
		l := layer(t, byFrequency, chart.Points, fmt.Sprintf("feature %d", j+1))
		var y, utility []float64
		for k, n := range m.NStar(j + 1) {
			first := math.NaN()
			if i, _ := slices.BinarySearch(sizes, n.Every); i < len(sizes) {
				first = float64(sizes[i])
			}
			y, utility = append(y, first), append(utility, m.Frequency[k]*m.Spectrum[k][j])
		}
		is(t, l, m.Frequency, y)
		is(t, layer(t, byUtility, chart.Points, l.Name), utility, y)
	}
	ranks := layer(t, byUtility, chart.Line, "rank of the utility, theory")
	if len(ranks.X) != 8 || !slices.Equal(ranks.Y, []float64{1, 2, 3, 4, 5, 6, 7, 8}) || ranks.X[0] != m.Features()[0].Utility {
		t.Errorf("ranks %v at utilities %v: want 1 … 8, from %g on", ranks.Y, ranks.X, m.Features()[0].Utility)
	}
}

// Perfect rank-one runs put the threshold of task k at width k, and the missing widths show as missing.
func TestFig18Thresholds(t *testing.T) {
	f, err := Fig18(perfect(t, small(1), 2, 1, 2, 3, 4, 5))
	if err != nil {
		t.Fatal(err)
	}
	k := []float64{1, 2, 3, 4, 5, 6}
	p := panel(t, f, "smallest width with s_k > .5")
	for _, seed := range []string{"seed 0", "seed 1"} {
		is(t, layer(t, p, chart.Points, seed), k, []float64{1, 2, 3, 4, 5, math.NaN()})
	}
	is(t, layer(t, p, chart.Line, "N_crit(k) = k, theory"), k, k)
	steps := layer(t, panel(t, f, "signal by task and width"), chart.Step, "N = k, theory")
	is(t, steps, []float64{1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6}, []float64{.5, 1.5, 1.5, 2.5, 2.5, 3.5, 3.5, 4.5, 4.5, 5.5, 5.5, 6.5})
	heat := layer(t, panel(t, f, "signal by task and width"), chart.Heat, "")
	for i, s := range heat.Value {
		if learned := heat.X[i] >= heat.Y[i]; learned != (s == 1) || !learned != (s == 0) {
			t.Errorf("task %g at width %g: signal %g", heat.Y[i], heat.X[i], s)
		}
	}
}

func TestFig21Persistence(t *testing.T) {
	runs := seeded(widths(small(1), 4, 8), []int{0, 1, 10, 100}, columns{"loss": func(r spec.Run, step, k int) float64 {
		return float64(r.Net.Width*step) / float64(1000*k)
	}})
	f, err := Fig21(runs)
	if err != nil {
		t.Fatal(err)
	}
	x := []float64{1, 10, 100}
	for k, l := range panel(t, f, "N = 8").Layers[:6] {
		of := float64(k + 1)
		is(t, l, x, []float64{.008 / of, .08 / of, .8 / of})
		if l.Value[0] != of || field(t, l, "seeds")[2] != 3 {
			t.Errorf("line %d is of task %g and %g seeds: want %g and 3", k, l.Value[0], field(t, l, "seeds")[2], of)
		}
	}
	is(t, layer(t, panel(t, f, "N = 4"), chart.Rule, "usual horizon"), []float64{10}, nil)
}

// Nets at the optimum lie in the band of theory, which is open where utilities tie.
func TestThreshold(t *testing.T) {
	f, err := Threshold(perfect(t, reduced(2), 2, 36, 40, 44))
	if err != nil {
		t.Fatal(err)
	}
	band, points := layer(t, f.Panels[0], chart.Band, "best nets, theory"), layer(t, f.Panels[0], chart.Points, "trained")
	if len(band.X) != 9 || len(points.X) != 6 {
		t.Fatalf("%d widths of theory, %d points", len(band.X), len(points.X))
	}
	for i, n := range points.X {
		at := int(n) - 36
		if y := points.Y[i]; y < band.Low[at]-1e-9 || y > band.High[at]+1e-9 || (band.Low[at] < band.High[at]) != (n == 40) {
			t.Errorf("N = %g: %g, theory %g to %g", n, y, band.Low[at], band.High[at])
		}
	}
	if !strings.Contains(f.Caption, "from N = 39 on, every one from 42.") {
		t.Error(f.Caption)
	}
}
