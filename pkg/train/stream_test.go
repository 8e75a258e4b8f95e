package train

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/corpus"
	"raretask/pkg/spec"
)

// reading is a stack of small decoders on a file of bytes.
func reading(t *testing.T) spec.Stack {
	t.Helper()
	text := make([]byte, 3000)
	for i := range text {
		text[i] = byte(i*i%7 + i%5)
	}
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	run := spec.Default()
	run.Mixture = spec.Mixture{Family: "text", Tasks: 2, Settings: corpus.TextSettings{Source: path, Type: "bytes", Vocabulary: 16, Window: 8,
		Order: corpus.Shuffled, Held: .1, Task: corpus.Comparison, Symbols: 4}, Frequency: run.Mixture.Frequency}
	run.Net = spec.NewNet("transformer", 8)
	run.Train.Batch, run.Train.Steps, run.Train.Warmup = 4, 1100, 10 // more than two blocks
	run.Train.Injection = spec.Injection{Task: 2, Gap: 2, Samples: 1}
	if err := run.Validate(); err != nil {
		t.Fatal(err)
	}
	return spec.Stack{run}
}

// A training that takes its samples from the host ends with the same bytes whatever dispatches it takes and wherever it was interrupted,
// and it learns.
func TestStreamedSamples(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		stack := reading(t)
		steps := stack[0].Train.Steps
		if b.Identity.Name == "go" {
			steps = 530 // into the second block
		}
		p, err := New(b, stack, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Finalize()
		run := func(from *State, at ...int) (weights [][]float32, state *State, loss float64) {
			last := Training{Steps: at, From: from, Every: 1, Save: func(s State) error { state = s.clone(); return nil },
				Observe: func(s Snapshot) error { weights, loss = s.Runs[0].Weights, s.Runs[0].Sampled[0]; return nil }}
			if err := p.Run(t.Context(), stack, last); err != nil {
				t.Fatal(err)
			}
			return weights, state, loss
		}
		_, _, before := run(nil, 0)
		once, _, after := run(nil, steps)
		often, state, _ := run(nil, 3, 511, 513, steps-7, steps)
		resumed, _, _ := run(state, steps)
		if !slices.EqualFunc(once, often, slices.Equal) || !slices.EqualFunc(once, resumed, slices.Equal) {
			t.Error("other weights after other dispatches or after going on from a saved state")
		}
		if !(after < before-.5) {
			t.Errorf("loss of the text %g, then %g", before, after)
		}
	})
}
