// Package sweep runs all runs of a spec on this machine: it splits them into stacks, trains those that have no
// results yet, and returns the results of all.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/mixture"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// Progress is how far a sweep is.
type Progress struct {
	Stacks, DoneStacks int   // of the whole sweep; done includes those that had results before
	Steps, DoneSteps   int64 // model-steps (a step of one run) that were left to train at the start
	Elapsed            time.Duration
}

// Left returns the estimated time left; 0 where nothing has been trained yet.
func (p Progress) Left() time.Duration {
	if p.DoneSteps == 0 {
		return 0
	}
	return time.Duration(float64(p.Elapsed) * float64(p.Steps-p.DoneSteps) / float64(p.DoneSteps))
}

// Plan is what a sweep would do.
type Plan struct {
	Stacks []spec.Stack
	Done   []string // for each stack the file of its results, "" where it has yet to be trained
}

// NewPlan looks up which stacks of a sweep have results. A damaged file is reported and counts as missing.
func NewPlan(s *spec.Sweep, store *results.Store, id backend.Identity) (*Plan, error) {
	runs, err := s.Runs()
	if err != nil {
		return nil, err
	}
	p := &Plan{Stacks: spec.Stacks(runs)}
	for _, stack := range p.Stacks {
		path, err := store.Find(stack, id)
		var damaged *results.DamagedError
		if errors.As(err, &damaged) {
			slog.Warn(err.Error())
		} else if err != nil && !errors.Is(err, results.ErrMissing) {
			return nil, err
		}
		p.Done = append(p.Done, path)
	}
	return p, nil
}

// Missing returns how many stacks have yet to be trained.
func (p *Plan) Missing() int {
	n := 0
	for _, path := range p.Done {
		if path == "" {
			n++
		}
	}
	return n
}

// Run trains what has no results yet and returns the rows of all stacks. progress, if not nil, is called
// several times a second. When ctx ends, finished stacks are kept and Run returns the context's error.
func Run(ctx context.Context, s *spec.Sweep, b *backend.Backend, store *results.Store, progress func(Progress)) ([]results.Row, error) {
	plan, err := NewPlan(s, store, b.Identity)
	if err != nil {
		return nil, err
	}
	now := Progress{Stacks: len(plan.Stacks), DoneStacks: len(plan.Stacks) - plan.Missing()}
	for i, stack := range plan.Stacks {
		if plan.Done[i] == "" {
			now.Steps += int64(len(stack) * stack[0].Train.Steps)
		}
	}
	start := time.Now()
	var program *train.Program
	defer func() {
		if program != nil {
			program.Finalize()
		}
	}()
	compiled := ""
	for i, stack := range plan.Stacks {
		if plan.Done[i] != "" {
			continue
		}
		if key := stack.Program(); program == nil || key != compiled {
			if program != nil {
				program.Finalize()
			}
			if program, err = train.New(b, stack); err != nil {
				return nil, err
			}
			compiled = key
		}
		before := now.DoneSteps
		rows, err := trainStack(ctx, program, stack, func(step int) {
			now.DoneSteps, now.Elapsed = before+int64(step*len(stack)), time.Since(start)
			if progress != nil {
				progress(now)
			}
		})
		if err != nil {
			return nil, err
		}
		if plan.Done[i], err = store.Write(stack, b.Identity, rows); err != nil {
			return nil, err
		}
		now.DoneStacks++
	}
	var all []results.Row
	for _, path := range plan.Done {
		rows, err := results.Read(path)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// trainStack trains one stack and returns its rows, ordered by run, step and task.
func trainStack(ctx context.Context, program *train.Program, stack spec.Stack, progress func(step int)) ([]results.Row, error) {
	m, err := mixture.New(stack[0].Mixture)
	if err != nil {
		return nil, err
	}
	evaluator := train.NewEvaluator(m)
	byRun := make([][]results.Row, len(stack))
	steps := train.Steps(stack[0].Train)
	err = program.Train(ctx, stack, steps, func(s train.Snapshot) error {
		for i, state := range s.Runs {
			evaluation, err := evaluator.Evaluate(stack[i], s.Step, state)
			if err != nil {
				return fmt.Errorf("sweep: width %d, seed %d, step %d: %w", stack[i].Net.Width, stack[i].Train.Seed, s.Step, err)
			}
			if state.Diverged >= 0 && state.Diverged <= s.Step {
				slog.Warn("run diverged", "width", stack[i].Net.Width, "rate", stack[i].Train.Rate, "seed", stack[i].Train.Seed, "step", state.Diverged)
			}
			byRun[i] = append(byRun[i], results.Rows(stack[i], evaluation)...)
		}
		return nil
	}, progress)
	var rows []results.Row
	for _, r := range byRun {
		rows = append(rows, r...)
	}
	return rows, err
}
