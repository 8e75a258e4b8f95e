package sweep

import (
	"slices"
	"testing"

	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// Steps are kept in their order, each once, however a spec lists them; runs that end before a step don't keep it.
func TestKeptStepsAreSorted(t *testing.T) {
	text := "mixture: {tasks: 2, dim: 4, block: 2}\nnet: {width: 2}\ntrain: {batch: 8, warmup: 1}\n" +
		"keep: [30, 5, 30, 0, 10]\ngrid: {train.steps: [10, 30]}\n"
	s, err := spec.Parse("x.yaml", []byte(text), "smoke")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(s, &results.Store{Dir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]int{{0, 5, 10}, {0, 5, 10, 30}} {
		if got := plan.kept(i); !slices.Equal(got, want) {
			t.Errorf("%d steps: weights are kept after %v, want %v", plan.Stacks[i][0].Train.Steps, got, want)
		}
	}
}
