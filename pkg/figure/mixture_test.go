package figure

import (
	"math"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/pkg/train"
)

// perfect returns the rows of runs that end exactly at the optimum, one for each width and seed.
func perfect(t *testing.T, base spec.Run, widths []int, seeds int) []results.Row {
	t.Helper()
	m, err := theory.PowerLaw(base.Mixture.Tasks, base.Mixture.Block, base.Mixture.Frequency.Exponent, base.Mixture.Alpha[0], base.Mixture.Alpha[1])
	if err != nil {
		t.Fatal(err)
	}
	var rows []results.Row
	for _, w := range widths {
		_, loss := m.TaskLoss(w)
		for seed := range seeds {
			run := base
			run.Net.Width, run.Train.Seed = w, uint32(seed)
			exact := &train.Exact{}
			exact.EncoderLoss, exact.Loss.Mixture = m.OptimalLoss(w), m.OptimalLoss(w)
			for k := range m.Tasks() {
				normalized := loss[k] / m.TaskTrace(k)
				exact.Signal = append(exact.Signal, 1-normalized)
				exact.Loss.Normalized = append(exact.Loss.Normalized, normalized)
				for _, v := range []*[]float64{&exact.Population.Normalized, &exact.TaskGradient, &exact.Interference, &exact.Cosine} {
					*v = append(*v, 0)
				}
			}
			rows = append(rows, results.Rows(run, train.Evaluation{Step: run.Train.Steps, Diverged: -1, Sampled: exact.Loss.Normalized, Exact: exact})...)
		}
	}
	return rows
}

func rankOne() spec.Run {
	base := spec.Default()
	base.Mixture.Tasks, base.Mixture.Block, base.Mixture.Dim = 6, 1, 12
	return base
}

// layer returns the first layer of a kind and name.
func layer(t *testing.T, f Figure, kind Kind, name string) Layer {
	t.Helper()
	for _, p := range f.Panels {
		for _, l := range p.Layers {
			if l.Kind == kind && l.Name == name {
				return l
			}
		}
	}
	t.Fatalf("%s has no %s %q", f.Name, kind, name)
	return Layer{}
}

// Perfect rank-one runs put the threshold of task k at width k, and the missing widths show as missing.
func TestFig18Thresholds(t *testing.T) {
	f, err := Fig18(perfect(t, rankOne(), []int{1, 2, 3, 4, 5}, 2))
	if err != nil {
		t.Fatal(err)
	}
	got := layer(t, f, Points, "seed 1")
	for i, k := range got.X {
		if n := got.Y[i]; k <= 5 && n != k || k == 6 && !math.IsNaN(n) {
			t.Errorf("task %g is learned from width %g", k, n)
		}
	}
	if _, err := f.PNG(); err != nil {
		t.Error(err)
	}
}

// On perfect runs every point of Fig 2b lies on the diagonal, and exact ties are ranges that hold the loss observed.
func TestFig2bDiagonalAndTies(t *testing.T) {
	base := spec.Default()
	base.Mixture.Tasks, base.Mixture.Block, base.Mixture.Dim = 4, 2, 8 // (1,2) and (4,1) have one utility
	f, err := Fig2b(perfect(t, base, []int{1, 2, 4, 8}, 1))
	if err != nil {
		t.Fatal(err)
	}
	points := 0
	for _, l := range f.Panels[0].Layers {
		if l.Kind != Points {
			continue
		}
		for i, x := range l.X {
			points++
			if math.Abs(x-l.Y[i]) > 1e-6 {
				t.Errorf("%s: predicted %g, observed %g", l.Name, x, l.Y[i])
			}
		}
	}
	ties := layer(t, f, Line, "tie: predicted range")
	if tied := len(ties.X) / 3; tied != 2 || points != 4*4-tied {
		t.Errorf("%d ties and %d points, want tasks 1 and 4 tied at width 4 alone", tied, points)
	}
}

func TestFig2aStairs(t *testing.T) {
	f, err := Fig2a(perfect(t, rankOne(), []int{1, 2, 3, 4, 5, 6}, 3))
	if err != nil {
		t.Fatal(err)
	}
	stairs := layer(t, f, Step, "N*(1), theory")
	if want := []float64{1, 1, 2, 3, 4, 5, 6}; !slices.Equal(stairs.X, want) {
		t.Errorf("stairs at %v, want %v", stairs.X, want)
	}
	heat := layer(t, f, Heat, "")
	for i := range heat.X {
		if learned := heat.X[i] >= heat.Y[i]; learned != (heat.Value[i] == 0) || !learned != (heat.Value[i] == 1) {
			t.Errorf("task %g at width %g: loss %g", heat.Y[i], heat.X[i], heat.Value[i])
		}
	}
}

func TestLosses(t *testing.T) {
	rows := perfect(t, rankOne(), []int{2, 4}, 3)
	losses, err := Losses(rows)
	if err != nil || len(losses) != 2 {
		t.Fatal(losses, err)
	}
	for _, l := range losses {
		if l.Seeds != 3 || math.Abs(l.Encoder/l.Optimum-1) > 1e-6 {
			t.Errorf("%+v: want 3 seeds at the optimum", l)
		}
	}
}

// A diverged seed is left out of the mean; where all have diverged the cell is missing, never zero.
func TestDivergedIsMissing(t *testing.T) {
	rows := perfect(t, rankOne(), []int{1, 2}, 2)
	for i := range rows {
		if rows[i].Width == 2 || rows[i].Seed == 1 {
			rows[i].Loss = nil
		}
	}
	f, err := Fig2a(rows)
	if err != nil {
		t.Fatal(err)
	}
	heat := layer(t, f, Heat, "")
	seeds := heat.Fields[slices.IndexFunc(heat.Fields, func(f Field) bool { return f.Name == "seeds" })].Values.([]float64)
	for i, w := range heat.X {
		if (w == 2) != math.IsNaN(heat.Value[i]) || (w == 2) != (seeds[i] == 0) || w == 1 && seeds[i] != 1 {
			t.Errorf("width %g: value %g from %g seeds", w, heat.Value[i], seeds[i])
		}
	}
}

func TestFiguresRefuseWhatTheyCantDraw(t *testing.T) {
	if _, err := Fig2a(nil); err == nil || !strings.Contains(err.Error(), "finished run") {
		t.Errorf("no rows: %v", err)
	}
	other := rankOne()
	other.Mixture.Frequency.Exponent = 2
	rows := append(perfect(t, rankOne(), []int{1}, 1), perfect(t, other, []int{1}, 1)...)
	if _, err := Fig2a(rows); err == nil || !strings.Contains(err.Error(), "several mixtures") {
		t.Errorf("two mixtures: %v", err)
	}
}

// The half width of a 95% interval of 1, 2, 3 is t(.975, 2)/sqrt(3) = 4.3027/1.7321.
func TestInterval(t *testing.T) {
	mean, half, n := interval([]float64{1, math.NaN(), 2, 3})
	if mean != 2 || n != 3 || math.Abs(half-2.48414) > 1e-4 {
		t.Errorf("interval = %g ± %g of %d", mean, half, n)
	}
	if mean, half, n := interval([]float64{4}); mean != 4 || !math.IsNaN(half) || n != 1 {
		t.Errorf("one value: %g ± %g of %d", mean, half, n)
	}
	if mean, _, n := interval(nil); !math.IsNaN(mean) || n != 0 {
		t.Errorf("no value: %g of %d", mean, n)
	}
}
