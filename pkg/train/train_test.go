package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/pkg/spec"
)

// tiny returns a stack of small runs.
func tiny(t *testing.T, change func(*spec.Run), widths ...int) spec.Stack {
	t.Helper()
	base := spec.Default()
	base.Mixture.Tasks, base.Mixture.Block, base.Mixture.Dim = 4, 3, 14
	base.Train.Batch, base.Train.Steps, base.Train.Warmup = 40, 100, 20
	if change != nil {
		change(&base)
	}
	var stack spec.Stack
	for _, w := range widths {
		run := base
		run.Net.Width = w
		if err := run.Validate(); err != nil {
			t.Fatal(err)
		}
		stack = append(stack, run)
	}
	return stack
}

// trained returns the snapshots of a stack at steps.
func trained(t *testing.T, b *backend.Backend, stack spec.Stack, steps ...int) []Snapshot {
	t.Helper()
	p, err := New(b, stack)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Finalize()
	var all []Snapshot
	err = p.Train(context.Background(), stack, steps, func(s Snapshot) error { all = append(all, s); return nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func last(s []Snapshot) Snapshot { return s[len(s)-1] }

// The same stack gives the same bytes twice, and however its steps are spread over dispatches.
func TestDeterministic(t *testing.T) {
	stack := tiny(t, nil, 2, 5, 5)
	stack[2].Train.Rate = 1e-3
	b := backendtest.XLA(t)
	one := last(trained(t, b, stack, 100))
	many := last(trained(t, b, stack, 0, 1, 2, 3, 10, 33, 99, 100))
	for i := range stack {
		for w := range one.Runs[i].Weights {
			if !slices.Equal(one.Runs[i].Weights[w], many.Runs[i].Weights[w]) {
				t.Errorf("run %d, array %d: weights depend on where the training was looked at", i, w)
			}
		}
	}
	if slices.Equal(one.Runs[1].Weights[0], one.Runs[2].Weights[0]) {
		t.Error("two learning rates gave one encoder")
	}
}

func TestBackendsAgree(t *testing.T) {
	stack := tiny(t, nil, 2, 6)
	a, b := last(trained(t, backendtest.Go(t), stack, 100)), last(trained(t, backendtest.XLA(t), stack, 100))
	for i := range stack {
		for k, loss := range a.Runs[i].Sampled {
			if d := math.Abs(loss - b.Runs[i].Sampled[k]); d > 1e-4 {
				t.Errorf("width %d, task %d: losses %g and %g after 100 steps", stack[i].Net.Width, k+1, loss, b.Runs[i].Sampled[k])
			}
		}
		if d := math.Abs(a.Runs[i].Loss - b.Runs[i].Loss); d > 1e-4 {
			t.Errorf("width %d: training losses %g and %g", stack[i].Net.Width, a.Runs[i].Loss, b.Runs[i].Loss)
		}
	}
}

// reference trains one bottleneck in plain float64 Go on the batches that the program draws: the independent
// computation that the stacked, tiled, packed program is held against.
type reference struct {
	run                spec.Run
	n, d, k, o         int
	weights, m, v      [2][]float64 // encoder [N, D], decoder [K, O, N], and AdamW's moments
	inputs, targets    []float64
	tasks              []int
	gradients          [2][]float64
	loss, gradientNorm float64
}

func (r *reference) step(t int) {
	b := r.run.Train.Batch
	for i := range r.weights {
		r.gradients[i] = make([]float64, len(r.weights[i]))
	}
	r.loss = 0
	for row := range b {
		x, y := r.inputs[row*r.d:(row+1)*r.d], r.targets[row*r.o:(row+1)*r.o]
		decoder := r.tasks[row] * r.o * r.n
		h := make([]float64, r.n)
		for i := range h {
			for j, v := range x {
				h[i] += r.weights[0][i*r.d+j] * v
			}
		}
		dh := make([]float64, r.n)
		for j := range r.o {
			e := -y[j]
			for i := range h {
				e += r.weights[1][decoder+j*r.n+i] * h[i]
			}
			r.loss += e * e / float64(r.o*b)
			for i := range h {
				r.gradients[1][decoder+j*r.n+i] += 2 * e * h[i] / float64(r.o*b)
				dh[i] += 2 * e * r.weights[1][decoder+j*r.n+i] / float64(r.o*b)
			}
		}
		for i := range dh {
			for j, v := range x {
				r.gradients[0][i*r.d+j] += dh[i] * v
			}
		}
	}
	r.update(float64(t))
}

func (r *reference) update(t float64) {
	s := r.run.Train
	r.gradientNorm = 0
	for _, g := range r.gradients {
		for _, v := range g {
			r.gradientNorm += v * v
		}
	}
	r.gradientNorm = math.Sqrt(r.gradientNorm)
	scale := min(1, s.Clip/(r.gradientNorm+1e-6))
	rate := s.Rate * min(t/float64(s.Warmup), math.Sqrt(float64(s.Warmup)/t))
	for i, g := range r.gradients {
		for j, v := range g {
			v *= scale
			r.m[i][j] = .9*r.m[i][j] + .1*v
			r.v[i][j] = .999*r.v[i][j] + .001*v*v
			move := r.m[i][j] / (1 - math.Pow(.9, t)) / (math.Sqrt(r.v[i][j]/(1-math.Pow(.999, t))) + 1e-8)
			r.weights[i][j] -= rate * (move + s.Decay*r.weights[i][j])
		}
	}
}

func TestTrainingAgainstPlainGo(t *testing.T) {
	const steps = 60
	b := backendtest.XLA(t)
	stack := tiny(t, func(r *spec.Run) { r.Train.Clip, r.Train.Decay, r.Train.Warmup = .8, .1, 30 }, 2, 5, 6)
	stack[0].Train.Rate = 2e-2
	snapshots := trained(t, b, stack, 0, steps)
	m, err := mixture.New(stack[0].Mixture)
	if err != nil {
		t.Fatal(err)
	}
	k := m.Family.Tasks()
	draw, err := NewExec(b.Backend, func(in []*Node) []*Node {
		batch := mixture.Draw(m.Family, mixture.NewRandom(in[0], in[1], trainingSamples), in[2], in[3], stack[0].Train.Batch)
		return []*Node{batch.X, batch.Y, batch.Task}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer draw.Finalize()
	clipped := 0
	for i, run := range stack {
		r := &reference{run: run, n: run.Net.Width, d: m.Family.Inputs(), k: k, o: m.Family.Outputs()}
		for w, values := range snapshots[0].Runs[i].Weights {
			r.weights[w] = float64s(values)
			r.m[w], r.v[w] = make([]float64, len(values)), make([]float64, len(values))
		}
		for step := range steps {
			out, err := draw.Call([]uint32{run.Train.DataSeed(), 0}, int32(step), m.Cumulative(), make([]float32, k))
			if err != nil {
				t.Fatal(err)
			}
			r.inputs, r.targets = float64s(tensors.MustCopyFlatData[float32](out[0])), float64s(tensors.MustCopyFlatData[float32](out[1]))
			r.tasks = r.tasks[:0]
			oneHot := tensors.MustCopyFlatData[float32](out[2])
			for row := range run.Train.Batch {
				r.tasks = append(r.tasks, slices.Index(oneHot[row*k:(row+1)*k], 1))
			}
			r.step(step + 1)
			if r.gradientNorm > run.Train.Clip {
				clipped++
			}
		}
		for w, values := range snapshots[1].Runs[i].Weights {
			for j, v := range values {
				if math.Abs(float64(v)-r.weights[w][j]) > 2e-5 {
					t.Fatalf("width %d, array %d, weight %d: %g, plain Go %g", run.Net.Width, w, j, v, r.weights[w][j])
				}
			}
		}
	}
	if clipped == 0 || clipped == steps*len(stack) {
		t.Errorf("gradients were clipped in %d of %d steps: the test should see both", clipped, steps*len(stack))
	}
}

func float64s(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// A part of the machine's cores trains to the same bytes as all of them: products large enough to be divided among threads, small ones, and
// those of a ReLU net.
func TestPartsAgree(t *testing.T) {
	whole := backendtest.XLA(t)
	parts, err := whole.Split(2)
	if err != nil {
		t.Fatal(err)
	}
	if whole.Parts() > 1 && parts[0] == whole {
		t.Fatal("not divided")
	}
	quick, err := spec.Load("fig2", "quick")
	if err != nil {
		t.Fatal(err)
	}
	large, err := spec.Load("fig2", "paper")
	if err != nil {
		t.Fatal(err)
	}
	for name, stack := range map[string]spec.Stack{
		"small":  {quick.Base, quick.Base},
		"large":  {large.Base},
		"parity": tiny(t, parity(5, 9, spec.Net{Kind: "mlp"}), 8, 64),
	} {
		stack[0].Net.Width = max(48, stack[0].Net.Width)
		last := map[int]Snapshot{}
		for i, b := range []*backend.Backend{whole, parts[0], parts[1]} {
			last[i] = trained(t, b, stack, 0, 20)[1]
		}
		if !equal(last[0], last[1]) || !equal(last[0], last[2]) {
			t.Errorf("%s: a part of the cores trains to other bytes than all of them", name)
		}
	}
}

// A run that diverges is recorded with its step and leaves its stack mates as they are.
func TestDivergence(t *testing.T) {
	b := backendtest.XLA(t)
	unclipped := func(r *spec.Run) { r.Train.Clip = 0 }
	stack := tiny(t, unclipped, 5, 5)
	calm := last(trained(t, b, stack, 100))
	stack[1].Train.Rate = 1e30
	wild := last(trained(t, b, stack, 100))
	if at := wild.Runs[1].Diverged; at < 1 || at > 10 {
		t.Errorf("rate 1e30 diverged at step %d, want one of the first", at)
	}
	if wild.Runs[0].Diverged != -1 || calm.Runs[1].Diverged != -1 {
		t.Errorf("calm runs diverged at %d, %d", wild.Runs[0].Diverged, calm.Runs[1].Diverged)
	}
	for w := range calm.Runs[0].Weights {
		if !slices.Equal(calm.Runs[0].Weights[w], wild.Runs[0].Weights[w]) {
			t.Errorf("array %d of the calm run changed beside a diverging one", w)
		}
	}
	m, err := mixture.New(stack[0].Mixture)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEvaluator(m).Evaluate(stack[1], 100, wild.Runs[1])
	if err != nil || e.Exact != nil {
		t.Errorf("evaluation of a diverged run: %v, %v; want no closed forms and no error", e.Exact, err)
	}
}

// The loss on fresh samples estimates the exact one: within five standard errors of a mean of squares.
func TestSampledAgainstExact(t *testing.T) {
	stack := tiny(t, nil, 3)
	m, err := mixture.New(stack[0].Mixture)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range trained(t, backendtest.XLA(t), stack, 0, 100) {
		e, err := NewEvaluator(m).Evaluate(stack[0], s.Step, s.Runs[0])
		if err != nil {
			t.Fatal(err)
		}
		for k, exact := range e.Exact.Loss.Normalized {
			if sampled := e.Sampled[k]; math.Abs(sampled/exact-1) > 5*math.Sqrt(2./evaluationRows) {
				t.Errorf("step %d, task %d: sampled loss %g, exact %g", s.Step, k+1, sampled, exact)
			}
		}
	}
}

func TestInterrupt(t *testing.T) {
	stack := tiny(t, nil, 2)
	p, err := New(backendtest.XLA(t), stack)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Finalize()
	ctx, cancel := context.WithCancel(context.Background())
	err = p.Train(ctx, stack, []int{100}, func(Snapshot) error { t.Error("ran to its end"); return nil }, func(int) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted training: %v", err)
	}
}

func TestEvaluationSteps(t *testing.T) {
	for _, c := range []struct {
		steps, n int
		want     []int
	}{{100, 3, []int{0, 1, 10, 100}}, {100, 1, []int{0, 100}}, {1, 5, []int{0, 1}}, {3, 9, []int{0, 1, 2, 3}}} {
		if got := EvaluationSteps(c.steps, c.n); !slices.Equal(got, c.want) {
			t.Errorf("EvaluationSteps(%d, %d) = %v, want %v", c.steps, c.n, got, c.want)
		}
	}
}
