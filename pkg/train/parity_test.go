package train

import (
	"math"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// parity changes a run to multitask sparse parity.
func parity(k, bits int, s spec.Net) func(*spec.Run) {
	return func(r *spec.Run) {
		r.Mixture.Family, r.Mixture.Tasks, r.Mixture.Frequency.Exponent = "parity", k, 1.4
		r.Mixture.Settings = tasks.ParitySettings{Bits: bits, Size: 3}
		r.Net = s
		r.Train.Optimizer, r.Train.Schedule, r.Train.Warmup, r.Train.Decay, r.Train.Clip = "adam", "constant", 1, 0, 0
	}
}

// Parity trains to the same bytes twice and however it is looked at, and to the same losses on both backends.
func TestParityIsDeterministic(t *testing.T) {
	stack := tiny(t, parity(5, 9, mlp(2)), 4, 7, 7)
	stack[2].Train.Rate = 1e-3
	one := last(trainedBy(t, program(t, backendtest.XLA(t), stack, Options{}), stack, 100)) // compiled again
	many := last(trained(t, backendtest.XLA(t), stack, 0, 1, 2, 10, 33, 100))
	plain := last(trained(t, backendtest.Go(t), stack, 100))
	for i := range stack {
		for w := range one.Runs[i].Weights {
			if !slices.Equal(one.Runs[i].Weights[w], many.Runs[i].Weights[w]) {
				t.Errorf("run %d, array %d: weights depend on where the training was looked at", i, w)
			}
		}
		for k, loss := range one.Runs[i].Sampled {
			if d := math.Abs(loss - plain.Runs[i].Sampled[k]); d > 1e-4 {
				t.Errorf("run %d, task %d: losses %g and %g on two backends", i, k+1, loss, plain.Runs[i].Sampled[k])
			}
		}
	}
}

// Subsets of bits are an input: the program of one seed's tasks trains another's as that one's own program does.
func TestOneProgramForAllSubsets(t *testing.T) {
	stack := tiny(t, parity(5, 9, mlp(1)), 4, 7)
	other := slices.Clone(stack)
	for i := range other {
		other[i].Mixture.Settings = tasks.ParitySettings{Bits: 9, Size: 3, Seed: 1}
	}
	if stack.Program() != other.Program() {
		t.Fatal("two programs")
	}
	b := backendtest.XLA(t)
	p := program(t, b, stack, Options{})
	var of [2]Snapshot
	for i, s := range []spec.Stack{stack, other} {
		if err := p.Run(t.Context(), s, Training{Steps: []int{50}, Observe: func(s Snapshot) error { of[i] = s; return nil }}); err != nil {
			t.Fatal(err)
		}
	}
	if own := last(trained(t, b, other, 50)); !equal(of[1], own) {
		t.Error("another's program trains to other bytes than its own")
	}
	if equal(of[0], of[1]) {
		t.Error("the subsets don't matter")
	}
	weights := [][][]float32{of[1].Runs[0].Weights, of[1].Runs[1].Weights}
	evaluated, err := p.Evaluate(other, 50, weights)
	if err != nil {
		t.Fatal(err)
	}
	for i, run := range of[1].Runs {
		if !slices.Equal(evaluated[i].Sampled, run.Sampled) {
			t.Errorf("run %d: losses %v, in training %v", i, evaluated[i].Sampled, run.Sampled)
		}
	}
}

// The measured control of Sec. 4.4: a narrow network that fails the rare task in the mixture has the capacity for it, as it
// solves it where there is nothing else.
func TestNarrowNetSolvesTheRareTaskAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for half a minute")
	}
	const steps, seeds = 6000, 5
	learned := func(k int) (n int, losses []float64) { // seeds that learn the last task
		stack := tiny(t, parity(k, 16, mlp(1)), slices.Repeat([]int{8}, seeds)...)
		for i := range stack {
			data := uint32(1)
			stack[i].Train.Batch, stack[i].Train.Steps, stack[i].Train.Seed, stack[i].Train.Data = 256, steps, uint32(i), &data
		}
		for _, run := range last(trained(t, backendtest.XLA(t), stack, steps)).Runs {
			losses = append(losses, run.Sampled[k-1])
			if run.Sampled[k-1] < .1 {
				n++
			}
		}
		return n, losses
	}
	alone, losses := learned(1)
	t.Logf("alone: %.3f bits", losses)
	mixed, mixedLosses := learned(8)
	t.Logf("rarest of eight: %.3f bits", mixedLosses)
	if alone < 3 || mixed > 0 {
		t.Errorf("%d of %d seeds learn the rare task alone, %d in the mixture: want most, none", alone, seeds, mixed)
	}
}

// outputs returns a function of a run's weights: its predictions and its last hidden layer, on fixed samples.
func outputs(t *testing.T, b *backend.Backend, run spec.Run) func(RunState) (prediction, hidden []float32) {
	t.Helper()
	m, n := mixtureOf(t, run), run.New()
	const rows = 64
	forward := backendtest.Compile(t, b, func(in []*Node) []*Node {
		g := in[0].Graph()
		batch := mixture.Draw(m.Family, mixture.NewRandom(Const(g, []uint32{8, 0}), Const(g, int32(0)), 9), Const(g, m.Thresholds()),
			Const(g, make([]float32, run.Mixture.Tasks)), rows)
		named := map[string]*Node{}
		n.Forward(m.Family, in, batch, func(name string, v *Node) *Node { named[name] = v; return v })
		return []*Node{named["prediction"], named["hidden"]}
	})
	return func(state RunState) (prediction, hidden []float32) {
		var weights []any
		for i, w := range n.Weights() {
			weights = append(weights, tensors.FromFlatDataAndDimensions(state.Weights[i], w.Stacked(1)...))
		}
		out := forward(weights...)
		return out[0], out[1]
	}
}

// The coordinate check of Yang & Hu (arXiv 2203.03466, App. D.1): how far a few steps move the predictions and the neurons
// of the last hidden layer must not depend on width under muP; under the standard parameterization it grows.
func TestMupCoordinates(t *testing.T) {
	b := backendtest.XLA(t)
	const seeds = 2
	growth := map[string][2]float64{}
	mup := mlp(2)
	mup.Parameterization, mup.Base = "mup", 16
	for name, s := range map[string]spec.Net{"standard": mlp(2), "mup": mup} {
		// Of a regression gradients point one way from the start.
		learnable := func(r *spec.Run) { r.Net, r.Train.Schedule, r.Train.Warmup = s, "constant", 1 }
		stack := tiny(t, learnable, append(slices.Repeat([]int{16}, seeds), slices.Repeat([]int{256}, seeds)...)...)
		for i := range stack {
			data := uint32(1)
			stack[i].Train.Rate, stack[i].Train.Seed, stack[i].Train.Data = 4e-3, uint32(i%seeds), &data
		}
		snapshots := trained(t, b, stack, 0, 4)
		prediction, hidden := map[int]float64{}, map[int]float64{}
		of := map[int]func(RunState) ([]float32, []float32){16: outputs(t, b, stack[0]), 256: outputs(t, b, stack[seeds])}
		for i, run := range stack {
			p0, h0 := of[run.Net.Width](snapshots[0].Runs[i])
			p4, h4 := of[run.Net.Width](snapshots[1].Runs[i])
			prediction[run.Net.Width] += distance(p0, p4) / seeds
			hidden[run.Net.Width] += distance(h0, h4) / seeds
		}
		growth[name] = [2]float64{prediction[256] / prediction[16], hidden[256] / hidden[16]}
		t.Logf("%s: predictions moved %.4f at width 16, %.4f at 256; neurons %.4f, %.4f", name, prediction[16], prediction[256], hidden[16],
			hidden[256])
	}
	for i, what := range []string{"predictions", "neurons"} {
		if g := growth["mup"][i]; g < .5 || g > 2 {
			t.Errorf("mup: %s move %.2f times as far at 16 times the width: want 1", what, g)
		}
		if g := growth["standard"][i]; g < 2.5 {
			t.Errorf("standard: %s move %.2f times as far at 16 times the width: want growth, or this test shows nothing", what, g)
		}
	}
}

// distance is the root mean square of the differences.
func distance(a, b []float32) float64 {
	sum := 0.
	for i := range a {
		sum += float64(a[i]-b[i]) * float64(a[i]-b[i])
	}
	return math.Sqrt(sum / float64(len(a)))
}

// A sample pays for its own task's column of the code, or its own decoder, whatever the number of tasks.
func TestCostOfMLP(t *testing.T) {
	for _, k := range []int{1, 7} {
		run := tiny(t, parity(k, 9, mlp(1)), 5)[0]
		regression := run
		regression.Mixture, regression.Mixture.Tasks = spec.Default().Mixture, k
		regression.Mixture.Settings = tasks.RegressionSettings{Dim: 21, Block: 3}
		for _, c := range []struct {
			run  spec.Run
			used int // weights
		}{
			{run, 5*9 + 5 + 5 + 2*5 + 2}, // weights, biases, column of the code, readout
			{regression, 5*21 + 5 + 3*5}, // weights, biases, decoder
		} {
			cost := CostOf(spec.Stack{c.run})
			if want := 6 * float64(c.used*c.run.Train.Batch*c.run.Train.Steps); cost.FLOPs != want {
				t.Errorf("%s, %d tasks: %g FLOPs, want %g", c.run.Mixture.Family, k, cost.FLOPs, want)
			}
		}
	}
}
