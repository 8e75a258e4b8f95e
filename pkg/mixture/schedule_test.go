package mixture

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
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
				if low, high := math.Floor(want+1e-9), math.Floor(want+1e-9+float64(injections)/(1<<32)); float64(total) < low ||
					float64(total) > high {
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
		draws := backendtest.Compile(t, b, func(in []*Node) []*Node {
			same := func(a, b *Node) *Node { return ConvertDType(LogicalAll(Equal(a, b)), dtypes.Float32) }
			thresholds, forced := Draws(in[0], in[1], in[2:])
			return []*Node{forced, same(thresholds, in[1]), same(thresholds, in[5])}
		})
		for step := range 300 {
			out := draws(append([]any{int32(step), m.Thresholds()}, inputs(t, s)...)...)
			want := make([]float32, 16)
			want[15] = float32(s.Count(step))
			if !slices.Equal(out[0], want) {
				t.Fatalf("step %d: certain samples %v, want %v", step, out[0], want)
			}
			active, usual, withheld := step >= 20 && step < 270, out[1][0] == 1, out[2][0] == 1
			if s.Active(step) != active || withheld != active || usual == active {
				t.Fatalf("step %d: active is %v; thresholds are the usual ones: %v, those of the others: %v",
					step, s.Active(step), usual, withheld)
			}
		}
	})
}

// A batch of a schedule holds exactly the certain samples of the task, and none by chance.
func TestBatchHoldsTheInjectedSamples(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		m := power(t, slices.Repeat([]float64{2}, 4), 8, 128, 2)
		draw := backendtest.Compile(t, b, func(in []*Node) []*Node {
			thresholds, forced := Draws(in[0], in[1], in[3:])
			return []*Node{Draw(m.Family, NewRandom(in[2], in[0], 0), thresholds, forced, 64).Counts}
		})
		for _, i := range []Injection{ // the first task and the last, too, which have no neighbour on one side
			{Task: 1, Gap: 3, Samples: 40}, {Task: 2, Gap: 3, Samples: 40}, {Task: 3, Gap: 3, Samples: 40}, {Task: 4, Gap: 3, Samples: 40},
			{Task: 2, Gap: 3},
		} {
			s := NewSchedule(i, 64, m.Frequency)
			for step := range 30 {
				counts := draw(append([]any{int32(step), m.Thresholds(), []uint32{7, 0}}, inputs(t, s)...)...)[0]
				if total := counts[0] + counts[1] + counts[2] + counts[3]; total != 64 || counts[i.Task-1] != float32(s.Count(step)) {
					t.Fatalf("%+v, step %d: counts %v, want 64 in all and %d of the task", i, step, counts, s.Count(step))
				}
			}
		}
	})
}

func inputs(t *testing.T, s *Schedule) []any {
	t.Helper()
	all, err := s.Inputs()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What the thresholds hold of a mixture they may not hold of the rest of it.
func TestRestIsRefusedWhileATaskIsWithheld(t *testing.T) {
	frequency := []float64{.3, .7, 51. / cells} // 51 cells of all, 170 without the second task, but 72.9 without the first
	if _, err := thresholds(frequency); err != nil {
		t.Fatal(err)
	}
	for k, want := range []string{"task 3: ", "", ""} {
		_, err := NewSchedule(Injection{Task: k + 1, Gap: 1, Samples: 1}, batch, frequency).Inputs()
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("task %d withheld: %v, want an error about %q", k+1, err, want)
		}
	}
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
	// Withheld, a task must leave others to draw: also where their share is below rounding.
	for _, pi := range [][]float64{{1}, {1, 1e-31}} {
		err := Injection{Task: 1, Gap: 1}.Check(batch, pi)
		var bad *tasks.KeyError
		if !errors.As(err, &bad) || bad.Key != "task" {
			t.Errorf("frequencies %g: %v, want an error about task", pi, err)
		}
	}
}

// Injections are those after which a step may have been looked at, within the schedule.
func TestInjectionsWithinSteps(t *testing.T) {
	pi := reduced(t).Frequency
	for _, c := range []struct {
		i    Injection
		want [][2]int // within 100 steps
	}{
		{Injection{Task: 16, Gap: 30, Length: 4}, [][2]int{{26, 30}, {56, 60}, {86, 90}}},
		{Injection{Task: 16, Gap: 30, From: 40}, [][2]int{{69, 70}, {99, 100}}},
		{Injection{Task: 16, Gap: 30, Until: 89}, [][2]int{{29, 30}, {59, 60}}},
		{Injection{Task: 16, Gap: 30, From: 200}, nil},
	} {
		s := NewSchedule(c.i, batch, pi)
		var got [][2]int
		for i := range s.Injections(100) {
			begin, end := s.Injection(i)
			got = append(got, [2]int{begin, end})
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.i, got, c.want)
		}
	}
}

// What a step carries on the host is what it carries in a graph.
func TestCarries(t *testing.T) {
	pi := []float64{.7, .3}
	for _, i := range []Injection{{Task: 2, Gap: 1, Samples: 1}, {Task: 2, Gap: 4, Samples: 3, Length: 2},
		{Task: 2, Gap: 7, From: 5, Until: 60}, {Task: 2, Gap: 3, Samples: 5, From: 2}} {
		s := NewSchedule(i, 8, pi)
		inputs, err := s.Inputs()
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for step := range 80 {
			arrays := append([]any{int32(step), [][]uint32{{1, 2}, {3, 4}}}, inputs...)
			out := backendtest.Run(t, backendtest.Go(t), arrays, func(in []*Node) []*Node {
				_, forced := Draws(in[0], in[1], in[2:])
				return []*Node{forced}
			})
			if got := s.Carries(step); float32(got) != out[0][1] {
				t.Errorf("%+v, step %d: %d, in the graph %g", i, step, got, out[0][1])
			}
			total += s.Carries(step)
		}
		if total == 0 {
			t.Errorf("%+v carries nothing", i)
		}
	}
}
