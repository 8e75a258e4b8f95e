package interference_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/corpus"
	"raretask/pkg/interference"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// speaking is a run of a small transformer on a small language.
func speaking(t *testing.T) (spec.Run, *net.Transformer, *corpus.Language, [][]float32) {
	t.Helper()
	run := spec.Default()
	run.Mixture = spec.Mixture{Family: "language", Tasks: 2, Settings: corpus.LanguageSettings{Vocabulary: 20, Window: 6, Rank: 3,
		Sharpness: 2, Task: corpus.Comparison, Symbols: 5}, Frequency: run.Mixture.Frequency}
	run.Net = spec.NewNet("transformer", 8)
	run.Train.Batch, run.Train.Injection = 4, spec.Injection{Task: 2, Gap: 3, Samples: 6}
	if run.Train.Injection.Samples = 3; run.Validate() != nil {
		t.Fatal(run.Validate())
	}
	family, err := run.Mixture.Settings.Family(2)
	if err != nil {
		t.Fatal(err)
	}
	n := run.New().(*net.Transformer)
	return run, n, family.(*corpus.Language), net.Initial(n, 8, 1)
}

// The parts of a batch's gradient are those of its loss, token by token: their sum is the gradient that training would follow.
func TestPartsOfABatch(t *testing.T) {
	b := backendtest.XLA(t)
	_, n, language, weights := speaking(t)
	random := rand.New(rand.NewPCG(1, 2))
	windows, instances := language.Windows(random, 4), language.Injected.Train[:2]
	c := interference.NewCollider(b, n, language, weights)
	defer c.Close()
	own, others, err := c.Batch(windows, instances)
	if err != nil {
		t.Fatal(err)
	}
	// The same by another way: the whole loss, and that of positions 0 … 2 of the last two windows.
	var x, y [][]int32
	for i, w := range windows {
		if w = slices.Clone(w); i >= 2 {
			copy(w, instances[i-2])
		}
		x, y = append(x, w[:5]), append(y, w[1:])
	}
	at := slices.IndexFunc(n.Weights(), func(w net.Weight) bool { return w.Name == "down2" })
	args := []any{x, y}
	for i, w := range n.Weights() {
		args = append(args, tensors.FromFlatDataAndDimensions(weights[i], w.Stacked(1)...))
	}
	out := backendtest.Run(t, backendtest.Go(t), args, func(in []*Node) []*Node {
		loss := corpus.CrossEntropy(n.Logits(in[2:], in[0], nil), InsertAxes(in[1], 0))
		task := Slice(loss, AxisRange(), AxisRange(2), AxisRange(0, 3))
		return []*Node{Gradient(DivScalar(ReduceAllSum(loss), 20), in[2+at])[0], Gradient(DivScalar(ReduceAllSum(task), 20), in[2+at])[0]}
	})
	neurons := n.MLP / 2
	for i := range neurons {
		for j := range 8 {
			task, other := own[1][i][16+j], others[1][i][16+j]
			if whole := float64(out[0][j*neurons+i]); math.Abs(task+other-whole) > 1e-6+1e-3*math.Abs(whole) {
				t.Fatalf("neuron %d, output %d: %g and %g of %g", i, j, task, other, whole)
			}
			if want := float64(out[1][j*neurons+i]); math.Abs(task-want) > 1e-6+1e-3*math.Abs(want) {
				t.Fatalf("neuron %d, output %d: %g of the task's tokens, want %g", i, j, task, want)
			}
		}
	}
}

// A gradient is along itself on any share of neurons, against its negative, and normal to one on other neurons; the share is of those that
// are largest in the reference.
func TestCosineOfNeurons(t *testing.T) {
	reference := interference.ByNeuron{{3, 0}, {0, 1}, {0, 0}, {2, 0}}
	for _, c := range []struct {
		g     interference.ByNeuron
		share float64
		want  float64
	}{
		{reference, 1, 1}, {reference, .5, 1},
		{interference.ByNeuron{{-3, 0}, {0, -1}, {0, 0}, {-2, 0}}, 1, -1},
		{interference.ByNeuron{{0, 0}, {0, 0}, {5, 5}, {0, 0}}, 1, 0},
		{interference.ByNeuron{{3, 0}, {9, 9}, {9, 9}, {2, 0}}, .5, 1},          // neurons 0 and 3 alone
		{interference.ByNeuron{{0, 3}, {0, 1}, {0, 0}, {0, 0}}, .25, 0},         // neuron 0 alone
		{interference.ByNeuron{{0, 0}, {1, 0}, {0, 0}, {0, 0}}, .5, math.NaN()}, // nothing there
	} {
		got := c.g.Cosine(reference, c.share)
		if math.IsNaN(got) != math.IsNaN(c.want) || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v on %g of the neurons: %g, want %g", c.g, c.share, got, c.want)
		}
	}
}

// The metric has task tokens only where the next step is an injection, and its null is about zero where others' gradient says nothing of
// the task; it is a function of the step alone.
func TestCollisions(t *testing.T) {
	b := backendtest.XLA(t)
	run, _, _, weights := speaking(t)
	measured := func(step int) map[string]float64 {
		m, err := train.NewMeasurer(b, run, []string{"collisions"})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		values, err := m.Measure(train.RunState{Step: step, Weights: weights, Diverged: -1})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]float64{}
		for i, c := range m.Columns {
			all[c.Name] = values[i][0]
		}
		return all
	}
	between, at := measured(1), measured(2)
	own := interference.CosineOf(interference.Own, 1, 1)
	if len(at) != 2*2*3*4 || !math.IsNaN(between[own]) || !(at[own] > .1) {
		t.Errorf("%d columns; the task's own tokens along the reference: %g between injections, %g at one", len(at), between[own], at[own])
	}
	whole, others := interference.CosineOf(interference.Whole, 2, .25), interference.CosineOf(interference.Others, 2, .25)
	if between[whole] != between[others] || at[whole] == at[others] {
		t.Errorf("a batch is %g and others %g between injections, %g and %g at one", between[whole], between[others], at[whole], at[others])
	}
	for name, v := range measured(2) {
		if v != at[name] && !math.IsNaN(v) {
			t.Errorf("%s: %g, then %g", name, at[name], v)
		}
	}
	for name, v := range at {
		if !math.IsNaN(v) && math.Abs(v) > 1 {
			t.Errorf("%s is %g", name, v)
		}
	}
}
