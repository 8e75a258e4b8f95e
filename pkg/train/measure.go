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
	Compile    time.Duration
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
	var speed Speed
	evaluate := func(s Snapshot) error {
		for i, state := range s.Runs {
			measurer, err := NewMeasurer(b, stack[i], metrics)
			if err != nil {
				return err
			}
			if _, err := measurer.Measure(state); err != nil {
				return err
			}
			measurer.Close()
		}
		return nil
	}
	var begin, first time.Time // of the steps and of the first of them, which warms up
	limited, stop := context.WithCancel(ctx)
	defer stop()
	err = p.Run(limited, stack, Training{
		Steps: []int{0, stack[0].Train.Steps},
		Observe: func(s Snapshot) error {
			if s.Step == 0 {
				begin = time.Now()
			}
			return evaluate(s)
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
	speed.Compile = p.Compile
	start := time.Now()
	err = p.Run(ctx, stack, Training{Steps: []int{0}, Observe: evaluate})
	speed.Evaluation = time.Since(start)
	return speed, err
}
