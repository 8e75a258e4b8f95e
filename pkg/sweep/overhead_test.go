package sweep

import (
	"sync"
	"testing"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// BenchmarkOverhead trains 1,000 runs of 200 steps of a tiny mixture by a sweep and by the program alone, in turns: the same
// stacks at the same steps on the same parts of the machine, but nothing computed of the weights and nothing kept; and by the program
// on the machine as one. Compiling is apart from all of them. It is a report:
//
//	go test ./pkg/sweep -run - -bench Overhead -benchtime 5x
func BenchmarkOverhead(b *testing.B) {
	on := backendtest.XLA(b)
	widths, seeds := []int{2, 3, 4, 6, 8, 10, 12, 16, 20, 24}, make([]int, 100)
	for i := range seeds {
		seeds[i] = i
	}
	s, err := spec.Parse("overhead.yaml", []byte("{mixture: {tasks: 8, dim: 32, block: 4}, train: {batch: 64, steps: 200, warmup: 20}}"),
		"quick")
	if err == nil {
		s, err = s.With(spec.Vary("net.width", widths...), spec.Vary("train.seed", seeds...))
	}
	if err != nil {
		b.Fatal(err)
	}
	var one, raw, sweep, compile time.Duration
	for b.Loop() {
		store := &results.Store{Dir: b.TempDir()}
		plan, err := NewPlan(s, store, &on.Identity)
		if err != nil {
			b.Fatal(err)
		}
		backends, err := on.Split(plan.workers(on))
		if err != nil {
			b.Fatal(err)
		}
		one += trainRaw(b, []*backend.Backend{on}, plan.Stacks)
		raw += trainRaw(b, backends, plan.Stacks)
		done, err := plan.Train(b.Context(), on, Options{})
		if err != nil {
			b.Fatal(err)
		}
		sweep, compile = sweep+done.Elapsed-done.Compile, compile+done.Compile
	}
	n := float64(b.N)
	b.ReportMetric(one.Seconds()/n, "undivided-s")
	b.ReportMetric(raw.Seconds()/n, "raw-s")
	b.ReportMetric(sweep.Seconds()/n, "sweep-s")
	b.ReportMetric(compile.Seconds()/n, "compile-s")
	b.ReportMetric(100*(sweep.Seconds()/raw.Seconds()-1), "%-overhead")
}

// trainRaw trains stacks of one program and returns how long that took without compiling.
func trainRaw(b *testing.B, backends []*backend.Backend, stacks []spec.Stack) time.Duration {
	nothing := func(train.Snapshot) error { return nil }
	programs := make([]*train.Program, len(backends))
	for i, on := range backends {
		program, err := train.New(on, stacks[0], train.Options{})
		if err == nil {
			defer program.Finalize()
			err = program.Run(b.Context(), stacks[0], train.Training{Steps: []int{0}, Observe: nothing}) // which compiles it
		}
		if err != nil {
			b.Fatal(err)
		}
		programs[i] = program
	}
	start := time.Now()
	queue := make(chan spec.Stack, len(stacks))
	for _, stack := range stacks {
		queue <- stack
	}
	close(queue)
	var all sync.WaitGroup
	for _, program := range programs {
		all.Go(func() {
			for stack := range queue {
				if err := program.Run(b.Context(), stack, train.Training{Steps: train.Steps(stack[0].Train), Observe: nothing}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	return time.Since(start)
}
