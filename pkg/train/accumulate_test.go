package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/spec"
)

// A batch in parts trains as it does whole, up to rounding: of tasks with readouts of their own, of losses that count positions, with
// clipping and injections.
func TestAccumulate(t *testing.T) {
	backendtest.Each(t, accumulates)
}

func accumulates(t *testing.T, b *backend.Backend) {
	decoder := reading(t)
	decoder[0].Train.Steps = 40
	regression := spec.Default()
	regression.Train.Batch, regression.Train.Steps, regression.Train.Clip = 64, 40, .1
	regression.Net.Width = 8
	for _, stack := range []spec.Stack{decoder, {regression}} {
		after := func(parts int) (values []float32, loss float64) {
			own := spec.Stack{stack[0]}
			own[0].Train.Accumulate = parts
			if err := own[0].Validate(); err != nil {
				t.Fatal(err)
			}
			p, err := New(b, own, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Finalize()
			err = p.Run(t.Context(), own, Training{Steps: []int{1, 40}, Observe: func(s Snapshot) error {
				if loss += s.Runs[0].Loss; s.Step == 40 {
					for _, w := range s.Runs[0].Weights {
						values = append(values, w...)
					}
				}
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			return values, loss
		}
		whole, loss := after(0)
		parts, same := after(4)
		if math.Abs(loss-same) > 1e-4*loss {
			t.Errorf("%s: training loss %g whole, %g in parts", stack[0].Mixture.Family, loss, same)
		}
		for i, v := range whole {
			if math.Abs(float64(v-parts[i])) > 2e-4 {
				t.Fatalf("%s: weight %d is %g, in parts %g", stack[0].Mixture.Family, i, v, parts[i])
			}
		}
	}
	bad := regression
	bad.Train.Accumulate = 3
	if bad.Validate() == nil {
		t.Error("64 samples in 3 parts: want an error")
	}
	bad.Train.Accumulate, bad.Train.Intervention = 4, spec.Intervention{Kind: "alone", Task: 2}
	if bad.Validate() == nil {
		t.Error("parts beside an intervention: want an error")
	}
}

// ending is a context that ends once it has been asked so often whether it has.
type ending struct {
	context.Context
	left int
}

func (e *ending) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

// A training that is told to end between two parts of a batch keeps the state before that step, and goes on to the same bytes.
func TestAccumulationEndsBetweenParts(t *testing.T) {
	b := backendtest.XLA(t)
	run := spec.Default()
	run.Train.Batch, run.Train.Steps, run.Train.Accumulate, run.Net.Width = 64, 6, 4, 8
	stack := spec.Stack{run}
	p, err := New(b, stack, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Finalize()
	train := func(ctx context.Context, from *State) (end []float32, kept *State) {
		last := 0
		err := p.Run(ctx, stack, Training{From: from, Steps: []int{0, run.Train.Steps}, Every: time.Hour,
			Progress: func(step int) {
				if step <= last {
					t.Errorf("progress to step %d after %d", step, last)
				}
				last = step
			},
			Observe: func(s Snapshot) error { end = slices.Concat(s.Runs[0].Weights...); return nil },
			Save: func(s State) error {
				whole := State{Step: s.Step}
				for _, a := range s.Arrays {
					a.Data = slices.Clone(a.Data)
					whole.Arrays = append(whole.Arrays, a)
				}
				kept = &whole
				return nil
			}})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		return end, kept
	}
	want, _ := train(t.Context(), nil)
	steps := map[int]int{} // how often so many were kept
	for asked := 0; steps[run.Train.Steps-1] == 0; asked++ {
		_, kept := train(&ending{t.Context(), asked}, nil)
		if kept == nil {
			if steps[0]++; len(steps) > 1 || asked > run.Train.Accumulate {
				t.Fatalf("asked %d times, nothing was kept", asked)
			}
			continue
		}
		steps[kept.Step]++
		if end, _ := train(t.Context(), kept); !slices.Equal(end, want) {
			t.Fatalf("ended after step %d and went on to other weights", kept.Step)
		}
	}
	if steps[1] < run.Train.Accumulate {
		t.Errorf("%v times so many steps were kept: want one kept wherever the next one ends", steps)
	}
}
