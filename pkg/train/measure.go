package train

import (
	"cmp"
	"context"
	"errors"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/spec"
)

// Speed is how fast a machine trains a stack.
type Speed struct {
	Compile    time.Duration // of the program
	Metrics    time.Duration // compiling what measures the runs of a stack, each anew
	Step       time.Duration
	Evaluation time.Duration // of all runs
	FLOPs      float64       // of a step, where the caller says
}

// Measure compiles a stack's program and trains it for about as long as given.
func Measure(ctx context.Context, b *backend.Backend, stack spec.Stack, metrics []string, long time.Duration) (Speed, error) {
	p, err := New(b, stack, Options{Metrics: metrics})
	if err != nil {
		return Speed{}, err
	}
	defer p.Finalize()
	measurers := make([]*Measurer, len(stack))
	for i, run := range stack {
		if measurers[i], err = NewMeasurer(b, run, metrics); err != nil {
			return Speed{}, err
		}
		defer measurers[i].Close()
	}
	var measuring [2]time.Duration // at first, with what measures to be compiled, and afterwards
	evaluate := func(s Snapshot) error {
		start := time.Now()
		defer func() {
			measuring[1] = time.Since(start)
			measuring[0] = cmp.Or(measuring[0], measuring[1])
		}()
		for i, state := range s.Runs {
			if _, err := measurers[i].Measure(state); err != nil {
				return err
			}
		}
		return nil
	}
	var speed Speed
	var begin, first time.Time // of the steps and of the first of them, which warms up
	limited, stop := context.WithCancel(ctx)
	defer stop()
	err = p.Run(limited, stack, Training{
		Steps: []int{0, stack[0].Train.Steps},
		Observe: func(s Snapshot) error {
			err := evaluate(s)
			if s.Step == 0 {
				begin = time.Now()
			}
			return err
		},
		Progress: func(step int) {
			now := time.Now()
			if first.IsZero() {
				first = now
				speed.Step = now.Sub(begin)
			} else {
				speed.Step = now.Sub(first) / time.Duration(step-1)
			}
			if now.Sub(begin) > long {
				stop()
			}
		},
	})
	if err != nil && (ctx.Err() != nil || !errors.Is(err, context.Canceled)) {
		return speed, err
	}
	start := time.Now()
	err = p.Run(ctx, stack, Training{Steps: []int{0}, Observe: evaluate})
	speed.Evaluation = time.Since(start)
	speed.Compile, speed.Metrics = p.Compile, max(0, measuring[0]-measuring[1])
	return speed, err
}
