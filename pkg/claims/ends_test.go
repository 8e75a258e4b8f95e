package claims

import (
	"math"
	"testing"

	"raretask/pkg/results"
)

// Runs of any family are told by width and by whatever else they differ in, seeds together.
func TestEnds(t *testing.T) {
	var runs results.Runs
	for _, rate := range []float64{.1, .2} {
		for _, w := range []int{4, 8} {
			for seed := range 3 {
				r := bitTasks(2, 10)
				r.Net.Width, r.Train.Rate, r.Train.Seed = w, rate, uint32(seed)
				loss := 1/float64(w) + rate + .1*float64(seed-1)
				runs = append(runs, results.NewRun(r, []int{10}, map[string][]float64{"loss_sampled": {loss, loss}}))
			}
		}
	}
	runs[0].Diverged = 5
	ends, err := Ends(runs)
	if err != nil || len(ends) != 4 || len(Others(ends)) != 2 || ends[0].Others != "train.rate 0.1" || ends[1].Width != 4 ||
		ends[2].Width != 8 {
		t.Fatalf("%+v %v", ends, err)
	}
	if e := ends[0].Loss; e.N != 2 || e.Failed != 1 || ends[3].Loss.N != 3 || math.Abs(ends[3].Loss.Mean-.325) > 1e-9 {
		t.Errorf("%+v", ends)
	}
}
