package cell

import (
	"math"
	"strings"
	"testing"

	"raretask/pkg/results"
)

// cycled returns the rows of a run whose learned share is at a peak after every injection (every gap steps, one long) and at a
// fraction of it before the next.
func cycled(width, gap int32, seed int64, peak, left float64) (rows []results.Row) {
	for step := int32(0); step <= 120; step++ {
		share := peak * left
		if step > 0 && step%gap == 0 {
			share = peak
		}
		loss := float32(1 - share)
		rows = append(rows, results.Row{Tasks: 2, Task: 2, Injected: 2, Gap: gap, Burst: 1, Width: width, Seed: seed, Step: step, Steps: 120, Sampled: &loss})
	}
	return rows
}

// Retention that grows with width and falls with the gap is supported, also where the narrowest net never has the task; the same
// retention everywhere is not.
func TestRetentionClaims(t *testing.T) {
	var grows, same []results.Row
	for seed := range int64(5) {
		jitter := .001 * float64(seed)
		for _, gap := range []int32{4, 12} {
			fall := .02 * float64(gap)
			grows = append(grows, cycled(2, gap, seed, .01, .5)...)
			grows = append(grows, cycled(8, gap, seed, .5, .6-fall+jitter)...)
			grows = append(grows, cycled(32, gap, seed, .9, 1-fall/2-jitter)...)
			same = append(same, cycled(8, gap, seed, .9, .9+jitter)...)
			same = append(same, cycled(32, gap, seed, .9, .9-jitter)...)
		}
	}
	for want, rows := range map[string][]results.Row{"supported": grows, "not supported": same} {
		for _, c := range RetentionClaims("", rows) {
			if strings.Contains(c.Name, "retained") && !strings.Contains(c.Name, "N = 2") && c.Verdict() != want {
				t.Errorf("%s: %v of at least %g is %s, want %s", c.Name, c.Seeds, c.Minimum, c.Verdict(), want)
			}
		}
	}
	first := RetentionClaims("", grows)[0]
	if !strings.Contains(first.Name, "N = 8") || math.Abs(first.Seeds[0]-(.88-.36)) > 1e-6 {
		t.Errorf("%s: %v, want the widest net held against N = 8", first.Name, first.Seeds)
	}
}
