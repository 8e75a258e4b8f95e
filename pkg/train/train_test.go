package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// tiny returns a stack of small runs.
func tiny(t *testing.T, change func(*spec.Run), widths ...int) spec.Stack {
	t.Helper()
	base := spec.Default()
	base.Mixture.Tasks, base.Mixture.Settings = 4, tasks.RegressionSettings{Dim: 14, Block: 3, Alpha: [2]float64{2, 2}}
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

// mlp returns a ReLU net of a depth; its width is tiny's to say.
func mlp(depth int) spec.Net {
	n := spec.NewNet("mlp", 1)
	n.Settings = net.MLPSettings{Depth: depth}
	return n
}

// mixtureOf returns the mixture of a run.
func mixtureOf(t *testing.T, run spec.Run) *mixture.Mixture {
	t.Helper()
	m, err := run.Mixture.Mixture()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// programs are those that trained has compiled, which takes far longer than most tests' steps.
var programs = map[*backend.Backend]map[string]*Program{}

// trained returns the snapshots of a stack at steps, by a program that tests share: it may have trained other stacks before.
func trained(t *testing.T, b *backend.Backend, stack spec.Stack, steps ...int) []Snapshot {
	t.Helper()
	if programs[b] == nil {
		programs[b] = map[string]*Program{}
	}
	key := stack.Program()
	if programs[b][key] == nil {
		p, err := New(b, stack, Options{})
		if err != nil {
			t.Fatal(err)
		}
		programs[b][key] = p
	}
	return trainedBy(t, programs[b][key], stack, steps...)
}

// trainedBy returns the snapshots of a stack at steps.
func trainedBy(t *testing.T, p *Program, stack spec.Stack, steps ...int) []Snapshot {
	t.Helper()
	var all []Snapshot
	err := p.Run(t.Context(), stack, Training{Steps: steps, Observe: func(s Snapshot) error { all = append(all, s); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// program returns a stack's program, which lasts as long as the test.
func program(t *testing.T, b *backend.Backend, stack spec.Stack, o Options) *Program {
	t.Helper()
	p, err := New(b, stack, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Finalize)
	return p
}

func last(s []Snapshot) Snapshot { return s[len(s)-1] }

// The same stack gives the same bytes twice, and however its steps are spread over dispatches.
func TestDeterministic(t *testing.T) {
	stack := tiny(t, nil, 2, 5, 5)
	stack[2].Train.Rate = 1e-3
	b := backendtest.XLA(t)
	one := last(trainedBy(t, program(t, b, stack, Options{}), stack, 100)) // compiled again
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
		"parity": tiny(t, parity(5, 9, mlp(1)), 8, 64),
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
}

func TestInterrupt(t *testing.T) {
	stack := tiny(t, nil, 2)
	p := program(t, backendtest.XLA(t), stack, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	err := p.Run(ctx, stack, Training{
		Steps: []int{100}, Observe: func(Snapshot) error { t.Error("ran to its end"); return nil }, Progress: func(int) { cancel() },
	})
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
