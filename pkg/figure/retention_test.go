package figure

import (
	"math"
	"testing"

	"raretask/pkg/results"
)

// decaying returns the rows of a sampled task whose learned share jumps to a peak at every injection (every 20 steps, one long) and
// halves every 10 steps.
func decaying(width int32, seed int64, peak float64) (rows []results.Row) {
	for step := int32(0); step <= 200; step++ {
		share := 0.
		if step >= 20 {
			share = peak * math.Exp2(-float64(step%20)/10)
		}
		loss := float32(1 - share)
		rows = append(rows, results.Row{Net: "mlp", Tasks: 3, Task: 3, Injected: 3, Gap: 20, Burst: 1, Width: width, Seed: seed, Step: step, Steps: 200, Sampled: &loss})
	}
	return rows
}

// Without an exact signal retention is that of the learned share; what is below the noise of samples is not there to be retained, and
// a loss above that of the mean is nothing learned.
func TestRetentionBySamples(t *testing.T) {
	worse := float32(1.3)
	if got := kept(results.Row{Sampled: &worse}); got != 0 {
		t.Errorf("a loss of 1.3 leaves %g, want 0", got)
	}
	var rows []results.Row
	for seed := range int64(2) {
		rows = append(rows, decaying(8, seed, .05)...)
		rows = append(rows, decaying(64, seed, .8)...)
	}
	all, err := Retentions(rows)
	if err != nil {
		t.Fatal(err)
	}
	narrow, wide := RetentionAt(all, 8, 20), RetentionAt(all, 64, 20)
	if !math.IsNaN(narrow.Retained[0]) || !math.IsNaN(narrow.HalfLife[0]) {
		t.Errorf("a share of .05 is retained by %g with a half-life of %g, want neither", narrow.Retained[0], narrow.HalfLife[0])
	}
	left := math.Exp2(-1.9)
	if math.Abs(wide.Retained[0]-left) > 1e-5 || math.Abs(wide.HalfLife[0]-10) > 1e-3 || math.Abs(wide.Gain[0]-.8*(1-left)) > 1e-5 || math.Abs(wide.Final[0]-.8) > 1e-5 {
		t.Errorf("retained %g, half-life %g, gain %g, final %g: want %g, 10, %g, .8", wide.Retained[0], wide.HalfLife[0], wide.Gain[0], wide.Final[0], left, .8*(1-left))
	}
	f, err := SampledRetention(rows)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Panels) != 3 { // one gap
		t.Errorf("%d panels, want 3", len(f.Panels))
	}
	if _, err := f.PNG(); err != nil {
		t.Error(err)
	}
	if _, err := SampledRetention(rows[:0]); err == nil {
		t.Error("no error without rows")
	}
}
