package claims

import (
	"math"
	"testing"

	"raretask/pkg/results"
	"raretask/pkg/scaling"
	"raretask/pkg/spec"
)

// bottlenecks returns five seeds of runs whose encoder loss falls towards L*(N) times a factor, wide ones more slowly.
func bottlenecks(t *testing.T, factor float64, widths ...int) (runs results.Runs) {
	for _, w := range widths {
		for seed := range uint32(5) {
			r := spec.Default()
			r.Net.Width, r.Train.Seed, r.Train.Steps = w, seed, 1<<14
			m, err := r.Mixture.Theory()
			if err != nil {
				t.Fatal(err)
			}
			var steps []int
			var losses []float64
			for step := 64; step <= r.Train.Steps; step *= 2 {
				steps = append(steps, step)
				losses = append(losses, factor*(1+1e-4*float64(seed))*(m.OptimalLoss(w)+m.Trace()*math.Pow(float64(step)/64, -1)))
			}
			losses[len(losses)-1] = factor * (1 + 1e-4*float64(seed)) * m.OptimalLoss(w)
			runs = append(runs, results.NewRun(r, steps, map[string][]float64{"encoder_loss": losses, "full_loss": losses}))
		}
	}
	return runs
}

func TestFloorsAndReigns(t *testing.T) {
	runs := bottlenecks(t, 1.005, 8, 16, 32)
	floors, err := Floors(runs)
	if err != nil || len(floors) != 3 || floors[2].Slope != nil {
		t.Fatalf("%+v, %v", floors, err)
	}
	for i, f := range floors {
		if e := f.Above.Interval(); math.Abs(e.Mean-.0052) > 1e-4 {
			t.Errorf("N %d is %v above the floor, want .0052", f.Width, e)
		}
		if i < 2 && (math.Abs(f.Slope.Interval().Mean-f.Theory) > 1e-9 || f.Theory >= 0) {
			t.Errorf("N %d: slope %v, want %g", f.Width, f.Slope, f.Theory)
		}
	}
	reigns, err := Reigns(runs)
	if err != nil || len(reigns) != 3 || !reigns[0].Open || reigns[1].Open || !reigns[2].Open || reigns[1].Width != 16 ||
		!(reigns[0].To < reigns[1].To && reigns[1].Loss < reigns[0].Loss) {
		t.Errorf("%+v, %v", reigns, err)
	}
}

func TestSmallerThan(t *testing.T) {
	limit := func(width int) float64 { return 1 / float64(width) }
	large := Reign{scaling.Reign{Loss: .099}, 32} // above 1/11, below 1/10
	for eps, want := range map[float64]int{0: 10, .1: 5, .5: 1, 1: 0, -1: 31} {
		if got := SmallerThan(limit, large, eps); got != want {
			t.Errorf("N_s*(%g) = %d, want %d", eps, got, want)
		}
	}
}
