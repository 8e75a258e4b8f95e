package train

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/checkpoint"
	"raretask/pkg/spec"
)

// A training that is stopped, kept in a file and gone on from, gives every byte of one that was not.
func TestResumesToTheSameBytes(t *testing.T) {
	for _, optimizer := range []string{"adamw", "sgd"} {
		t.Run(optimizer, func(t *testing.T) {
			resumes(t, tiny(t, func(r *spec.Run) {
				if r.Train.Optimizer = optimizer; optimizer == "sgd" {
					r.Train.Decay = 0
				}
			}, 2, 5, 5))
		})
	}
}

func resumes(t *testing.T, stack spec.Stack) {
	stack[2].Train.Rate = 1e-3
	steps := []int{0, 1, 10, 100}
	b := backendtest.XLA(t)
	want := trained(t, b, stack, steps...)
	p := program(t, b, stack, Options{})
	for _, stopAt := range []int{1, 7, 10, 40} {
		var got []Snapshot
		var saved *State
		ctx, stop := context.WithCancel(context.Background())
		training := Training{
			Steps:   append([]int{}, steps...),
			Observe: func(s Snapshot) error { got = append(got, s); return nil },
			Progress: func(step int) {
				if step >= stopAt {
					stop()
				}
			},
			Save: func(s State) error { saved = s.clone(); return nil },
		}
		if err := p.Run(ctx, stack, training); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want that of the context", err)
		}
		if saved == nil || saved.Step < stopAt || saved.Step >= 100 {
			t.Fatalf("stopped at step %d: saved %+v", stopAt, saved)
		}
		training.From = throughFile(t, *saved)
		if err := p.Run(context.Background(), stack, training); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("stopped at step %d: %d snapshots, want %d", saved.Step, len(got), len(want))
		}
		for i := range got {
			if !equal(got[i], want[i]) {
				t.Errorf("stopped at step %d: snapshot at step %d differs", saved.Step, want[i].Step)
			}
		}
	}
}

// equal compares snapshots to the bit; a loss at step 0 is not a number.
func equal(a, b Snapshot) bool {
	if a.Step == 0 {
		for i := range a.Runs {
			a.Runs[i].Loss, b.Runs[i].Loss = 0, 0
		}
	}
	return reflect.DeepEqual(a, b)
}

func throughFile(t *testing.T, s State) *State {
	t.Helper()
	var file bytes.Buffer
	if err := checkpoint.WriteSealed(&file, s.Arrays, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state.safetensors")
	if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	arrays, _, err := checkpoint.ReadSealed(path)
	if err != nil {
		t.Fatal(err)
	}
	return &State{s.Step, arrays}
}

func TestRefusesAnothersState(t *testing.T) {
	b := backendtest.XLA(t)
	states := map[int]State{}
	for _, width := range []int{2, 3} {
		stack := tiny(t, nil, width)
		p := program(t, b, stack, Options{})
		ctx, stop := context.WithCancel(context.Background())
		p.Run(ctx, stack, Training{Steps: []int{100}, Progress: func(int) { stop() }, Save: func(s State) error {
			states[width] = *s.clone()
			return nil
		}})
		other, found := states[5-width]
		if !found {
			continue
		}
		if err := p.Run(context.Background(), stack, Training{Steps: []int{100}, From: &other}); !errors.Is(err, ErrState) {
			t.Error("a state of width 2 was taken for one of width 3")
		}
		other.Arrays = other.Arrays[1:]
		if err := p.Run(context.Background(), stack, Training{Steps: []int{100}, From: &other}); !errors.Is(err, ErrState) {
			t.Error("a state that lacks an array was taken")
		}
	}
}

// One program trains several stacks at once, each to the bytes that it gives alone.
func TestStacksSideBySide(t *testing.T) {
	b := backendtest.XLA(t)
	stacks := make([]spec.Stack, 3)
	for i := range stacks {
		stacks[i] = tiny(t, func(r *spec.Run) { r.Train.Seed = uint32(i) }, 3, 6)
	}
	p := program(t, b, stacks[0], Options{})
	var all sync.WaitGroup
	got := make([]Snapshot, len(stacks))
	for i, stack := range stacks {
		all.Go(func() {
			err := p.Run(t.Context(), stack, Training{Steps: []int{100}, Observe: func(s Snapshot) error { got[i] = s; return nil }})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, stack := range stacks {
		err := p.Run(t.Context(), stack, Training{Steps: []int{100}, Observe: func(s Snapshot) error {
			if !reflect.DeepEqual(got[i], s) {
				t.Errorf("seed %d: differs beside other stacks", i)
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
}
