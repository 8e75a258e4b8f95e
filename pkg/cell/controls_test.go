package cell

import (
	"math"
	"testing"

	"raretask/pkg/spec"
)

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		seeds []float64
		want  string
	}{
		{[]float64{.5, .51, .49, .5, .5}, "supported"},
		{[]float64{.05, .06, .04, .05, .05}, "not supported"},
		{[]float64{.5, -.5, .3, .1, 0}, "inconclusive"},
		{[]float64{.5, .51, .49, .5}, "inconclusive"},
		{[]float64{.5, .51, .49, .5, math.NaN()}, "inconclusive"},
	} {
		if got := (Claim{Seeds: c.seeds, Minimum: .1}).Verdict(); got != c.want {
			t.Errorf("%v: %s, want %s", c.seeds, got, c.want)
		}
	}
}

// Every control is a valid sweep of as many runs as the mixture, and no two share a run.
func TestControlsDiffer(t *testing.T) {
	s, err := spec.Load("controls", "quick")
	if err != nil {
		t.Fatal(err)
	}
	mixture, err := s.Runs()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, c := range Controls(s) {
		runs, err := c.Sweep.Runs()
		if err != nil || len(runs) != len(mixture) {
			t.Errorf("%s: %d runs, want %d (%v)", c.Name, len(runs), len(mixture), err)
		}
		for _, r := range runs {
			if other, found := seen[r.Hash()]; found {
				t.Errorf("%s repeats a run of %s", c.Name, other)
			}
			seen[r.Hash()] = c.Name
		}
	}
}
