// Package sweep runs all runs of a spec, on this machine or as a Slurm job array: it splits them into stacks and trains those that have no
// results yet. Processes that share a folder of results share the work; what is killed goes on where it was, to the same bytes.
package sweep

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// Progress is how far a sweep is.
type Progress struct {
	Stacks, DoneStacks int   // of the whole sweep; done includes those that had results before
	Trained            int   // stacks, by this process
	Steps, DoneSteps   int64 // model-steps (a step of one run) that were left to train at the start
	Elapsed            time.Duration
	Compile            time.Duration // how much of it went into compiling
}

// Left returns the estimated time left; 0 where too little has been trained to say.
func (p Progress) Left() time.Duration {
	if p.DoneSteps == 0 || p.Elapsed-p.Compile < time.Second {
		return 0
	}
	return time.Duration(float64(p.Elapsed-p.Compile) * float64(p.Steps-p.DoneSteps) / float64(p.DoneSteps))
}

// Options are how stacks are trained; the zero value is the usual way.
type Options struct {
	Progress   func(Progress) // called several times a second, one call at a time
	Checkpoint time.Duration  // how often the state of a long training is kept; 0: a minute
	Workers    int            // stacks at a time; 0: one for each core, at most 2
	Anywhere   bool           // results of whatever backend count
}

// Run trains what has no results yet and returns the rows of all stacks. progress, if not nil, is called
// several times a second. When ctx ends, finished stacks and the state of others are kept and Run returns the context's error.
func Run(ctx context.Context, s *spec.Sweep, b *backend.Backend, store *results.Store, progress func(Progress)) ([]results.Row, error) {
	plan, err := NewPlan(s, store, b.Identity)
	if err != nil {
		return nil, err
	}
	if _, err := plan.Train(ctx, b, store, Options{Progress: progress}); err != nil {
		return nil, err
	}
	var all []results.Row
	err = plan.Rows(func(rows []results.Row) error { all = append(all, rows...); return nil })
	return all, err
}

// Rows calls f with the rows of each stack that has results, in the order of the stacks.
func (p *Plan) Rows(f func([]results.Row) error) error {
	for _, path := range p.Done {
		if path == "" {
			continue
		}
		rows, err := results.Read(path)
		if err != nil {
			return err
		}
		if err := f(rows); err != nil {
			return err
		}
	}
	return nil
}

// Train trains what has no results yet. Stacks that another process is training are left to it and waited for. It returns how
// far it came, also with an error; on the first error the other stacks stop and keep their state.
//
// Several stacks train at a time, because one stack of small runs doesn't fill the cores, and so that one is evaluated and written
// while another trains. What they compute doesn't depend on it.
func (p *Plan) Train(ctx context.Context, b *backend.Backend, store *results.Store, o Options) (Progress, error) {
	_, left, err := p.Cost()
	if err != nil {
		return Progress{}, err
	}
	if err := p.cleanDone(store); err != nil {
		return Progress{}, err
	}
	o.Checkpoint = cmp.Or(o.Checkpoint, time.Minute)
	workers, err := workersFor(left.Memory, machineMemory(), cmp.Or(o.Workers, min(2, runtime.NumCPU())))
	if err != nil {
		return Progress{}, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w := newWork(p, b, store, o)
	if len(w.queue) > 0 {
		w.report()
	}
	var all sync.WaitGroup
	var failed atomic.Bool
	for range workers {
		all.Go(func() {
			if err := w.train(ctx); err != nil {
				failed.Store(true)
				stop(err) // the first one is the cause
			}
		})
	}
	all.Wait()
	w.close()
	if failed.Load() {
		err = context.Cause(ctx)
	}
	return w.now, err
}

// work is the stacks that a process has yet to train. Its fields from mu on are shared by workers.
type work struct {
	*Plan
	backend *backend.Backend
	store   *results.Store
	options Options
	start   time.Time

	mu       sync.Mutex
	queue    []int
	programs map[string]*program
	owed     map[int]int64 // model-steps of each stack that Progress.Steps counts and that are yet to train
	now      Progress
}

// program is a compiled program and how many stacks may still need it.
type program struct {
	*train.Program
	stacks  int
	counted bool // its compilation, in Progress
}

func newWork(p *Plan, b *backend.Backend, store *results.Store, o Options) *work {
	w := &work{Plan: p, backend: b, store: store, options: o, start: time.Now(), queue: p.left(), programs: map[string]*program{}, owed: map[int]int64{}}
	w.now = Progress{Stacks: len(p.Stacks), DoneStacks: len(p.Stacks) - len(w.queue)}
	for _, i := range w.queue {
		w.owed[i] = int64(len(p.Stacks[i])) * int64(p.Stacks[i][0].Train.Steps)
		w.now.Steps += w.owed[i]
		key := p.Stacks[i].Program()
		if w.programs[key] == nil {
			w.programs[key] = new(program)
		}
		w.programs[key].stacks++
	}
	return w
}

// retry is how long a worker waits before it looks again at stacks that other processes are training.
const retry = 300 * time.Millisecond

// train trains stacks until none is left.
func (w *work) train(ctx context.Context) error {
	held := map[int]bool{} // by another process, when last looked at
	for {
		i, ok := w.take()
		if !ok {
			return nil
		}
		if held[i] {
			select {
			case <-ctx.Done():
			case <-time.After(retry):
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		done, err := w.trainStack(ctx, i)
		if err != nil {
			return err
		}
		if !done {
			held[i] = true
			w.putBack(i)
		}
	}
}

// find returns the file of a stack's results, "" where there is none.
func (w *work) find(stack spec.Stack) (string, error) {
	return lookUp(stack, func(s spec.Stack) (string, error) {
		if w.options.Anywhere {
			return w.store.FindAnywhere(s)
		}
		return w.store.Find(s, w.backend.Identity)
	})
}

func (w *work) take() (i int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return 0, false
	}
	i, w.queue = w.queue[0], slices.Clone(w.queue[1:])
	return i, true
}

func (w *work) putBack(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, i)
}

// programOf returns the program of a stack.
func (w *work) programOf(stack spec.Stack) (*train.Program, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.programs[stack.Program()]
	var err error
	if p.Program == nil {
		p.Program, err = train.New(w.backend, stack)
	}
	return p.Program, err
}

// finished records the results of a stack, trained here or elsewhere, and frees its program when no other stack needs it.
func (w *work) finished(i int, path string, here bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Done[i] = path
	if here {
		w.now.Trained++
	}
	w.now.DoneStacks++
	w.now.Steps -= w.owed[i]
	w.owed[i] = 0
	p := w.programs[w.Stacks[i].Program()]
	if p.stacks--; p.stacks == 0 && p.Program != nil {
		p.Finalize()
	}
	w.report()
}

// trained records that steps of a stack are done; fresh are those that were taken here and now.
func (w *work) trained(i, steps int, fresh bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := int64(len(w.Stacks[i])) * int64(steps)
	w.owed[i] -= n
	if fresh {
		w.now.DoneSteps += n
		if p := w.programs[w.Stacks[i].Program()]; !p.counted {
			p.counted = true
			w.now.Compile += p.Compile
		}
	} else {
		w.now.Steps -= n
	}
	w.report()
}

// report hands on the progress; w.mu is locked.
func (w *work) report() {
	w.now.Elapsed = time.Since(w.start)
	if w.options.Progress != nil {
		w.options.Progress(w.now)
	}
}

// close frees the programs that are left after an error.
func (w *work) close() {
	for _, p := range w.programs {
		if p.Program != nil && p.stacks > 0 {
			p.Finalize()
		}
	}
}
