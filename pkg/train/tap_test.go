package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/net"
	"raretask/pkg/spec"
)

// onBothBackends runs a test on each.
func onBothBackends(t *testing.T, test func(t *testing.T, b *backend.Backend)) {
	for name, open := range map[string]func(testing.TB) *backend.Backend{"go": backendtest.Go, "xla": backendtest.XLA} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// deep makes a run's net a ReLU net of two hidden layers.
func deep(r *spec.Run) { r.Net.Kind, r.Net.Settings = "mlp", net.MLPSettings{Depth: 2} }

// withTap returns the weights of a stack's runs after some steps of a program with a tap.
func withTap(t *testing.T, b *backend.Backend, stack spec.Stack, tap *Tap, steps int) [][][]float32 {
	t.Helper()
	p, err := New(b, stack, Options{Metrics: []string{}, Tap: tap})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Finalize()
	var weights [][][]float32
	kept := func(w Weights) error { weights = w.Runs; return nil }
	training := Training{Steps: []int{steps}, Observe: func(Snapshot) error { return nil }, Keep: []int{steps}, Kept: kept}
	if err := p.Run(t.Context(), stack, training); err != nil {
		t.Fatal(err)
	}
	return weights
}

func same(a, b [][]float32) bool { return slices.EqualFunc(a, b, slices.Equal) }

// A tap sees every named activation of training and of evaluation, its runs leading, and one that returns them as they are changes no bit
// of the weights, also where it has inputs.
func TestTapSees(t *testing.T) {
	onBothBackends(t, func(t *testing.T, b *backend.Backend) {
		for name, change := range map[string]func(*spec.Run){"bottleneck": nil, "mlp": deep} {
			stack := tiny(t, change, 3, 3, 5)
			hidden := map[string][]string{"bottleneck": {"hidden"}, "mlp": {"hidden1", "hidden"}}[name]
			want := map[string]bool{}
			for _, rows := range []int{stack[0].Train.Batch, stack[0].Mixture.Tasks * evaluationRows} {
				for _, runs := range [][2]int{{2, 3}, {1, 5}} {
					for _, h := range hidden {
						want[fmt.Sprint(h, []int{runs[0], rows, runs[1]})] = true
					}
					want[fmt.Sprint("prediction", []int{runs[0], rows, stack[0].Mixture.Signature().Outputs})] = true
				}
			}
			seen, building := map[string]bool{}, sync.Mutex{}
			look := &Tap{Key: "look", Inputs: []any{[]float32{1, 2}, int32(3)}, Build: func(name string, v *Node, inputs []*Node) *Node {
				building.Lock()
				defer building.Unlock()
				seen[fmt.Sprint(name, v.Shape().Dimensions)] = true
				if len(inputs) != 2 || inputs[0].Shape().Dim(0) != 2 {
					t.Errorf("a tap of two inputs gets %v", inputs)
				}
				return v
			}}
			looked, plain := withTap(t, b, stack, look, 30), withTap(t, b, stack, nil, 30)
			if !maps.Equal(seen, want) {
				t.Errorf("%s: a tap sees %v, want %v", name, seen, want)
			}
			for i := range stack {
				if !same(looked[i], plain[i]) {
					t.Errorf("%s, run %d: a tap that only looks changes the weights", name, i)
				}
			}
		}
	})
}

// What a tap puts in an activation's place is what is trained on: a neuron at zero gets no gradient, in the run that its input says, and
// the other run trains as without the tap.
func TestTapReplaces(t *testing.T) {
	onBothBackends(t, func(t *testing.T, b *backend.Backend) {
		stack := tiny(t, func(r *spec.Run) { r.Train.Decay = 0 }, 3, 3)
		stack[1].Train.Rate /= 2
		mask := [][]float32{{1, 0, 1}, {1, 1, 1}} // [S, N]
		silence := &Tap{Key: "silence", Inputs: []any{mask}, Build: func(name string, v *Node, inputs []*Node) *Node {
			if name != "hidden" {
				return v
			}
			return Mul(v, InsertAxes(inputs[0], 1))
		}}
		start := net.Initial(stack[0].New(), 3, stack[0].Train.Seed)
		plain, patched := withTap(t, b, stack, nil, 30), withTap(t, b, stack, silence, 30)
		dim := stack[0].Mixture.Signature().Input.Size()
		for n := range 3 {
			row := func(encoder []float32) []float32 { return encoder[n*dim:][:dim] }
			if still := slices.Equal(row(start[0]), row(patched[0][0])); still != (n == 1) {
				t.Errorf("neuron %d, silenced %t, keeps its initial weights: %t", n, n == 1, still)
			}
		}
		for at := range start[1] { // decoders [K, O, N]
			if still := start[1][at] == patched[0][1][at]; still != (at%3 == 1) {
				t.Errorf("weight %d of the decoders, of neuron %d, keeps its initial value: %t", at, at%3, still)
			}
		}
		if same(plain[0], patched[0]) || !same(plain[1], patched[1]) {
			t.Error("want the first run to train otherwise, and the second as without a tap")
		}
	})
}

// A tap's inputs are neither part of a saved state nor fetched with one: a program without the tap goes on from it.
func TestTapInputsAreNotState(t *testing.T) {
	onBothBackends(t, func(t *testing.T, b *backend.Backend) {
		stack := tiny(t, nil, 3)
		idle := &Tap{Key: "idle", Inputs: []any{make([]float32, 7)}, Build: func(_ string, v *Node, _ []*Node) *Node { return v }}
		p, err := New(b, stack, Options{Metrics: []string{}, Tap: idle})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Finalize()
		state, inputs, err := p.initial(stack)
		if err != nil {
			t.Fatal(err)
		}
		before := len(state)
		if state, _, err = p.advance(t.Context(), state, inputs, 0, 2); err != nil || len(state) != before || len(state) != p.stateSize() {
			t.Errorf("%d arrays come back, %v: want the %d of the state", len(state), err, before)
		}
		free(state)
		free(inputs)

		ctx, stop := context.WithCancel(t.Context())
		var saved State
		err = p.Run(ctx, stack, Training{Steps: []int{40}, Observe: func(Snapshot) error { return nil },
			Progress: func(int) { stop() }, Save: func(s State) error { saved = *s.clone(); return nil }})
		if !errors.Is(err, context.Canceled) || saved.Step == 0 {
			t.Fatalf("saved at step %d, %v", saved.Step, err)
		}
		plain, err := New(b, stack, Options{Metrics: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Finalize()
		var ends [2][][][]float32
		for i, from := range []*State{nil, &saved} {
			if err := plain.Run(t.Context(), stack, Training{Steps: []int{40}, Observe: func(Snapshot) error { return nil }, From: from,
				Keep: []int{40}, Kept: func(w Weights) error { ends[i] = w.Runs; return nil }}); err != nil {
				t.Fatal(err)
			}
		}
		resumed := ends[1]
		if !same(resumed[0], ends[0][0]) {
			t.Error("a state of a program with a tap goes on to other weights without it")
		}
		if _, err := plain.Evaluate(stack, 40, resumed, make([]float32, 7)); err == nil {
			t.Error("inputs of a tap for a program that has none")
		}
		if _, err := p.Evaluate(stack, 40, resumed, make([]float32, 7), int32(1)); err == nil {
			t.Error("two inputs for a tap of one")
		}
		if states, err := p.Evaluate(stack, 40, resumed, make([]float32, 7)); err != nil || states[0].Step != 40 {
			t.Errorf("evaluated at step 40: %v, %v", states, err)
		}
	})
}
