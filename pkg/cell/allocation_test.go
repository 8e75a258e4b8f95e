package cell

import (
	"math"
	"slices"
	"testing"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/pkg/train"
)

// Ablation by samples is exact ablation up to the error of the samples, for the tasks that the net has, and a neuron that leads nowhere is
// worth nothing.
func TestSampledAblation(t *testing.T) {
	b := backendtest.Go(t)
	run := spec.Default()
	run.Mixture.Tasks, run.Mixture.Block, run.Mixture.Dim, run.Net.Width = 4, 3, 14, 6
	run.Train.Batch, run.Train.Steps, run.Train.Warmup = 64, 300, 20
	m, err := mixture.New(run.Mixture)
	if err != nil {
		t.Fatal(err)
	}
	closed, _ := m.Theory()
	for _, kind := range []string{"bottleneck", "mlp"} {
		run.Net.Kind = kind
		p, err := train.New(b, spec.Stack{run})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Finalize()
		var weights [][]float32
		err = p.Train(t.Context(), spec.Stack{run}, []int{300}, func(s train.Snapshot) error { weights = s.Runs[0].Weights; return nil }, nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := net.New(run.Net, m.Family)
		if err != nil {
			t.Fatal(err)
		}
		weights = silenced(n.Weights(), weights, run.Net.Width, 2)
		copies, err := train.New(b, slices.Repeat(spec.Stack{run}, run.Net.Width+1))
		if err != nil {
			t.Fatal(err)
		}
		defer copies.Finalize()
		sampled, err := sampledAblation(copies, run, 7, weights)
		if err != nil {
			t.Fatal(err)
		}
		most := 0.
		for k, effect := range sampled[2] {
			if effect != 0 && !math.IsNaN(effect) {
				t.Errorf("%s: a silent neuron is worth %g to task %d", kind, effect, k+1)
			}
		}
		for _, effects := range sampled {
			for _, e := range effects {
				if !math.IsNaN(e) {
					most = max(most, math.Abs(e))
				}
			}
		}
		if most < .1 {
			t.Errorf("%s: no neuron is worth more than %g to any task, or this test shows nothing", kind, most)
		}
		if kind == "mlp" {
			continue
		}
		exact, err := exactAblation(closed, run, weights)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := theory.FullLoss(closed, weights[0], weights[1], run.Net.Width, run.Mixture.Dim)
		if err != nil {
			t.Fatal(err)
		}
		for neuron := range exact {
			for k, want := range exact[neuron] {
				got := sampled[neuron][k]
				if math.IsNaN(got) && whole.Normalized[k] > .8 { // the net doesn't have the task
					continue
				}
				if math.IsNaN(got) || math.Abs(got-want) > .05+.25*math.Abs(want) {
					t.Errorf("neuron %d is worth %g to task %d by samples, %g exactly", neuron, got, k+1, want)
				}
			}
		}
	}
}

// What tasks depend on: blocks of their own, or subsets of shared bits.
func TestOwnInputs(t *testing.T) {
	for family, dim := range map[string]int{"regression": 14, "parity": 6} {
		settings := spec.Default().Mixture
		settings.Family, settings.Tasks, settings.Block, settings.Dim = family, 4, 3, dim
		m, err := mixture.New(settings)
		if err != nil {
			t.Fatal(err)
		}
		total := make([]float64, dim)
		for k, own := range ownInputs(m.Family) {
			sum := 0.
			for i, v := range own {
				sum += v
				total[i] += v
			}
			if sum != 3 {
				t.Errorf("%s: task %d depends on %g inputs, want 3", family, k+1, sum)
			}
		}
		shared := false
		for _, v := range total {
			shared = shared || v > 1
		}
		if shared != (family == "parity") {
			t.Errorf("%s: tasks share inputs is %t", family, shared)
		}
	}
}
