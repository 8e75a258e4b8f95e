package mixture

import (
	"errors"
	"math"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/tasks"
)

const batch = 256

// reduced returns sixteen tasks whose frequencies fall with their square.
func reduced(t *testing.T) *Mixture { return power(t, slices.Repeat([]float64{2}, 16), 8, 128, 2) }

// The count of all injections so far is the stated one, rounded down, however long the schedule runs.
func TestInjectionsCarryTheStatedCountInTheLongRun(t *testing.T) {
	for _, c := range []Injection{
		{Task: 16, Gap: 16}, {Task: 16, Gap: 384}, {Task: 15, Gap: 7}, {Task: 16, Gap: 384, Length: 32},
		{Task: 1, Gap: 1}, {Task: 16, Gap: 10, Samples: 3}, {Task: 16, Gap: 10, Samples: 3, Length: 7}, {Task: 16, Gap: 97, From: 5000},
	} {
		pi := reduced(t).Frequency
		if err := c.Check(batch, pi); err != nil {
			t.Fatal(err)
		}
		s := NewSchedule(c, batch, pi)
		perStep := c.PerStep(batch, pi[c.Task-1])
		total, injections := 0, 0
		for step := range 1_000_000 {
			n := s.Count(step)
			if n > batch {
				t.Fatalf("%+v: step %d carries %d samples in a batch of %d", c, step, n, batch)
			}
			if total += n; step >= c.From && (step-c.From)%c.Gap >= c.Gap-s.Length {
				injections++
				// A whole number reached by rational steps must not fall short by rounding.
				want := float64(injections) * perStep
				if low, high := math.Floor(want+1e-9), math.Floor(want+1e-9+float64(injections)/(1<<32)); float64(total) < low || float64(total) > high {
					t.Fatalf("%+v: %d samples in %d steps of injections, want floor(%g)", c, total, injections, want)
				}
			} else if n != 0 {
				t.Fatalf("%+v: %d samples in step %d, which is not part of an injection", c, n, step)
			}
		}
		if injections == 0 {
			t.Errorf("%+v: no injection", c)
		}
	}
}

// What a program computes on the device is what Count says, and the withheld task has no share of the draws.
func TestDrawsAreCount(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		m := reduced(t)
		s := NewSchedule(Injection{Task: 16, Gap: 11, Length: 3, From: 20, Until: 270}, batch, m.Frequency)
		const steps = 300
		out := backendtest.Run(t, b, append([]any{m.Cumulative()}, s.Inputs()...), func(in []*Node) []*Node {
			var all []*Node
			for step := range steps {
				cumulative, forced := Draws(Const(in[0].Graph(), int32(step)), in[0], in[1:])
				all = append(all, cumulative, forced)
			}
			return []*Node{Concatenate(all, 0)}
		})[0]
		for step := range steps {
			cumulative, forced := out[:16], out[16:32]
			out = out[32:]
			want := make([]float32, 16)
			want[15] = float32(s.Count(step))
			if !slices.Equal(forced, want) {
				t.Fatalf("step %d: certain samples %v, want %v", step, forced, want)
			}
			if withheld := cumulative[15] == cumulative[14]; withheld != s.Active(step) || s.Active(step) != (step >= 20 && step < 270) {
				t.Fatalf("step %d: withheld is %v", step, withheld)
			}
		}
	})
}

// A batch of a schedule holds exactly the certain samples of the task, and none by chance.
func TestBatchHoldsTheInjectedSamples(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		m := power(t, slices.Repeat([]float64{2}, 4), 8, 128, 2)
		s := NewSchedule(Injection{Task: 2, Gap: 3}, 64, m.Frequency)
		for step := range 30 {
			counts := backendtest.Run(t, b, append([]any{int32(step), m.Cumulative(), []uint32{7, 0}}, s.Inputs()...), func(in []*Node) []*Node {
				cumulative, forced := Draws(in[0], in[1], in[3:])
				return []*Node{Draw(m.Family, NewRandom(in[2], in[0], 0), cumulative, forced, 64).Counts}
			})[0]
			if total := counts[0] + counts[1] + counts[2] + counts[3]; total != 64 || counts[1] != float32(s.Count(step)) {
				t.Fatalf("step %d: counts %v, want 64 in all and %d of task 2", step, counts, s.Count(step))
			}
		}
	})
}

func TestImpossibleInjections(t *testing.T) {
	for key, i := range map[string]Injection{
		"gap":     {Task: 16, Gap: 100_000},
		"task":    {Task: 17, Gap: 1},
		"samples": {Task: 16, Gap: 5, Samples: 257},
		"length":  {Task: 16, Gap: 5, Length: 6},
		"until":   {Task: 16, Gap: 5, From: 9, Until: 9},
	} {
		err := i.Check(batch, reduced(t).Frequency)
		var bad *tasks.KeyError
		if !errors.As(err, &bad) || bad.Key != key {
			t.Errorf("%+v: %v, want an error about %s", i, err, key)
		}
	}
}
