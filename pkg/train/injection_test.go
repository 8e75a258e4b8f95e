package train

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/spec"
)

func injected(t *testing.T, i spec.Injection) spec.Stack {
	return tiny(t, func(r *spec.Run) { r.Train.Injection = i }, 4)
}

func TestInjectionIsTheSameHoweverStepsAreDispatched(t *testing.T) {
	b := backendtest.XLA(t)
	stack := injected(t, spec.Injection{Task: 4, Gap: 7, From: 5})
	once := last(trained(t, b, stack, 60)).Runs[0].Weights
	often := last(trained(t, b, stack, 3, 11, 12, 13, 40, 60)).Runs[0].Weights
	if !reflect.DeepEqual(once, often) {
		t.Error("the weights depend on when training was observed")
	}
	if reflect.DeepEqual(once, last(trained(t, b, injected(t, spec.Injection{}), 60)).Runs[0].Weights) {
		t.Error("an injection schedule changed nothing")
	}
}

// Until its first injection a withheld task's decoder stays as it was; with an injection in every step it moves.
func TestWithheldTaskTeachesNothing(t *testing.T) {
	b := backendtest.XLA(t)
	for _, c := range []struct {
		injection spec.Injection
		moves     bool
	}{{spec.Injection{Task: 4, Gap: 100, Length: 100}, true}, {spec.Injection{Task: 4, Gap: 100, Samples: 1}, false}} {
		stack := tiny(t, func(r *spec.Run) { r.Train.Injection, r.Train.Decay = c.injection, 0 }, 4)
		all := trained(t, b, stack, 0, 60)
		before, after := all[0].Runs[0].Weights[1], all[1].Runs[0].Weights[1]
		first := len(before) / 4 * 3
		if moved := !slices.Equal(before[first:], after[first:]); moved != c.moves {
			t.Errorf("%+v: the decoder of task 4 moved is %v, want %v", c.injection, moved, c.moves)
		}
	}
}

func TestStepsAreDenseAroundInjections(t *testing.T) {
	settings := injected(t, spec.Injection{Task: 4, Gap: 7})[0].Train
	steps := Steps(settings)
	for _, want := range []int{0, 6, 7, 8, 9, 11, 13, 100} {
		if !slices.Contains(steps, want) {
			t.Errorf("steps %v lack %d", steps, want)
		}
	}
	if !slices.IsSorted(steps) || steps[len(steps)-1] != 100 {
		t.Errorf("steps %v: want ascending ones up to 100", steps)
	}
	// As many injections as there may be are not listed.
	settings.Steps, settings.Injection = math.MaxInt32, spec.Injection{Task: 4, Gap: 1}
	if steps := Steps(settings); len(steps) > 1000 || !slices.Contains(steps, 2) || steps[len(steps)-1] != math.MaxInt32 {
		t.Errorf("%d steps, up to %d", len(steps), steps[len(steps)-1])
	}
	settings.Steps, settings.Injection = 100, spec.Injection{}
	if !slices.Equal(Steps(settings), EvaluationSteps(settings.Steps, settings.Evaluations)) {
		t.Error("without a schedule other steps are observed than before")
	}
}

// Every injection is looked at just before and after, at steps that Steps hasn't; of more than there is room for some, each of them whole.
func TestGlances(t *testing.T) {
	settings := injected(t, spec.Injection{Task: 4, Gap: 7, Length: 2, From: 3})[0].Train
	all := append(Glances(settings), Steps(settings)...)
	for end := 10; end <= 100; end += 7 {
		if !slices.Contains(all, end) || !slices.Contains(all, end-2) {
			t.Errorf("steps %v lack %d or %d", all, end-2, end)
		}
	}
	if both := len(all); len(slices.Compact(slices.Sorted(slices.Values(all)))) != both || slices.Max(all) != 100 {
		t.Errorf("steps %v: want each once, up to 100", all)
	}
	settings.Steps, settings.Evaluations = math.MaxInt32, 4
	if glances := Glances(settings); len(glances) > 300 || len(glances) < 250 || glances[len(glances)-1] < math.MaxInt32/2 {
		t.Errorf("%d glances: want three for each of 100 injections", len(glances))
	}
	settings.Steps, settings.Injection = 1000, spec.Injection{Task: 4, Gap: 600, From: 500}
	if glances := Glances(settings); glances[0] > 505 || glances[0] < 500 || len(glances) < 100 || len(glances) > longGap {
		t.Errorf("withheld once, from step 500 on: %d glances from %d on, want more than 100, at first every step", len(glances), glances[0])
	}
	for _, never := range []spec.Injection{{}, {Task: 4, Gap: 1, Samples: 9, Until: 50}, {Task: 4, Gap: 20, From: 300}} {
		if settings.Steps, settings.Injection = 100, never; len(Glances(settings)) > 0 {
			t.Errorf("%+v: glances at %v", never, Glances(settings))
		}
	}
}

// At a glance nothing is evaluated, and the weights are those that another training has there.
func TestGlanceSeesWeights(t *testing.T) {
	b := backendtest.XLA(t)
	stack := tiny(t, func(r *spec.Run) { r.Train.Injection = spec.Injection{Task: 4, Gap: 7} }, 4, 6)
	want := trained(t, b, stack, 7, 14, 60)
	var got []Snapshot
	err := program(t, b, stack, Options{}).Run(t.Context(), stack, Training{Steps: []int{14, 60}, Glances: []int{7, 20},
		Observe: func(s Snapshot) error { got = append(got, s); return nil }})
	if err != nil || len(got) != 4 {
		t.Fatalf("%d snapshots, %v", len(got), err)
	}
	for i, s := range []Snapshot{got[0], got[1], got[3]} {
		for r, run := range s.Runs {
			if !reflect.DeepEqual(run.Weights, want[i].Runs[r].Weights) || run.Step != want[i].Step || run.Glance != (i == 0) {
				t.Errorf("step %d, run %d: not the weights of another training, or glance %t", s.Step, r, run.Glance)
			}
			if evaluated := run.Sampled != nil && !math.IsNaN(run.Loss); evaluated == run.Glance {
				t.Errorf("step %d: glance %t, evaluated %t", s.Step, run.Glance, evaluated)
			}
		}
	}
}
