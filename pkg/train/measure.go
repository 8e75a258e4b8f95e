package train

import (
	"context"
	"errors"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/spec"
)

// Speed is how fast a machine trains a stack.
type Speed struct {
	Compile    time.Duration // of training and of what measures
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
	evaluate := func(s Snapshot) error {
		for i, state := range s.Runs {
			if _, err := measurers[i].Measure(state); err != nil {
				return err
			}
		}
		return nil
	}
	var speed Speed
	var begin, first time.Time  // of the steps and of the first of them, which warms up
	var compiling time.Duration // of the first evaluation, which compiles what measures
	limited, stop := context.WithCancel(ctx)
	defer stop()
	err = p.Run(limited, stack, Training{
		Steps: []int{0, stack[0].Train.Steps},
		Observe: func(s Snapshot) error {
			if s.Step > 0 {
				return evaluate(s)
			}
			start := time.Now()
			err := evaluate(s)
			begin = time.Now()
			compiling = begin.Sub(start)
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
	speed.Compile = p.Compile + max(0, compiling-speed.Evaluation)
	return speed, err
}
