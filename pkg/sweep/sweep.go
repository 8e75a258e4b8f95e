// Package sweep runs all runs of a spec, on this machine or as a Slurm job array: it splits them into stacks and trains those that have no
// results yet. Processes that share a folder of results share the work; what is killed goes on where it was, to the same bytes.
package sweep

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"raretask/pkg/backend"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// Progress is how far a sweep is.
type Progress struct {
	Runs, DoneRuns     int   // of the whole sweep; done includes those that had results before
	Stacks, DoneStacks int   // in which they train
	Trained            int   // stacks, by this process
	Steps, DoneSteps   int64 // model-steps (a step of one run) that were left to train at the start
	Elapsed            time.Duration
	Compile            time.Duration // how much of it went into compiling; the mean over workers
}

// Text says how far the sweep is, and how fast, or what else there is to say.
func (p Progress) Text(more ...string) string {
	text := fmt.Sprintf("%d%%: %d of %d runs done", 100*p.DoneSteps/max(1, p.Steps), p.DoneRuns, p.Runs)
	if trained := p.Elapsed - p.Compile; more == nil && p.DoneSteps > 0 && trained > 100*time.Millisecond {
		more = []string{fmt.Sprintf("%.0f model-steps/s", float64(p.DoneSteps)/trained.Seconds())}
	} else if more == nil {
		more = []string{"compiling"}
	}
	return strings.Join(append([]string{text}, more...), ", ")
}

// Left returns the estimated time left; 0 where too little has been trained to say.
func (p Progress) Left() time.Duration {
	trained := p.Elapsed - p.Compile
	if p.DoneSteps == 0 || trained < time.Second || trained < time.Minute && p.DoneSteps < p.Steps/200 {
		return 0
	}
	return time.Duration(float64(p.Elapsed-p.Compile) * float64(p.Steps-p.DoneSteps) / float64(p.DoneSteps))
}

// Options are how stacks are trained; the zero value is the usual way.
type Options struct {
	Progress   func(Progress) // called several times a second, one call at a time
	Checkpoint time.Duration  // how often the state of a long training is kept; 0: a minute
	Workers    int            // stacks at a time; 0: as many as suit the backend, the memory and what is left to train
}

// Run trains what has no results yet and returns all runs. progress, if not nil, is called
// several times a second. When ctx ends, finished stacks and the state of others are kept and Run returns the context's error.
func Run(ctx context.Context, s *spec.Sweep, b *backend.Backend, store *results.Store, progress func(Progress)) (results.Runs, error) {
	plan, err := NewPlan(s, store, &b.Identity)
	if err != nil {
		return nil, err
	}
	if _, err := plan.Train(ctx, b, Options{Progress: progress}); err != nil {
		return nil, err
	}
	return plan.Results(), nil
}

// Results returns the runs of all stacks that have results, in the order of the stacks.
func (p *Plan) Results() results.Runs {
	var runs results.Runs
	for _, f := range p.Done {
		if f == nil {
			continue
		}
		for _, r := range f.Runs() {
			r.Scale = p.scale
			runs = append(runs, r)
		}
	}
	return runs
}

// Train trains what has no results yet. Stacks that another process is training are left to it and waited for. It returns how
// far it came, also with an error; on the first error the other stacks stop and keep their state.
//
// Several stacks train at a time, because one stack of small runs doesn't fill the cores, and so that one is evaluated and written
// while another trains. Each has its share of the cores (backend.Backend.Split). What they compute doesn't depend on it.
func (p *Plan) Train(ctx context.Context, b *backend.Backend, o Options) (Progress, error) {
	_, left := p.Cost()
	if err := p.cleanDone(); err != nil {
		return Progress{}, err
	}
	o.Checkpoint = cmp.Or(o.Checkpoint, time.Minute)
	workers, err := p.fitting(b, cmp.Or(o.Workers, p.workers(b)))
	if err != nil {
		return Progress{}, err
	}
	backends, err := b.Split(workers)
	if err != nil {
		return Progress{}, err
	}
	collect(workers * left.Host)
	w := newWork(p, b.Identity, o)
	w.workers = workers
	if len(w.queue) > 0 {
		w.report()
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, on := range backends {
		all.Go(func() error { return w.train(ctx, on) })
	}
	err = all.Wait() // the first one
	w.close()
	return w.now, err
}

// collect sets how often Go's heap is collected, unless GOGC says so: where it grows by train.Garbage, or by a quarter of the bytes in use
// that stacks make it hold. Of a small heap, collecting at every doubling took 5% of the time of a thousand tiny runs; weights, which large
// ones hold, are no work to collect, and lie beside XLA's own.
func collect(host int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(max(25, 100*train.Garbage/(train.Garbage/4+host)))
	}
}

// work is the stacks that a process has yet to train. Its fields from mu on are shared by workers.
type work struct {
	*Plan
	identity backend.Identity
	options  Options
	workers  int
	start    time.Time

	mu       sync.Mutex
	queue    []int
	programs map[string]*program
	owed     map[int]int64 // model-steps of each stack that Progress.Steps counts and that are yet to train
	now      Progress
}

// program is a program as each backend has compiled it, and what is left of it.
type program struct {
	on      map[*backend.Backend]*compiled // also those that are about to be compiled
	stacks  int                            // that are not finished
	seconds float64                        // about, of training what is queued
}

type compiled struct {
	programs map[string]*train.Program // by the metrics that they measure: results that are completed keep those that they have
	counted  time.Duration             // of compiling, in Progress
}

func newWork(p *Plan, id backend.Identity, o Options) *work {
	w := &work{Plan: p, identity: id, options: o, start: time.Now(), programs: map[string]*program{}, owed: map[int]int64{}}
	for _, q := range p.queues() {
		w.programs[q.key] = &program{on: map[*backend.Backend]*compiled{}, stacks: len(q.stacks), seconds: q.seconds}
		w.queue = append(w.queue, q.stacks...)
	}
	for _, i := range w.queue {
		w.owed[i] = int64(len(p.Stacks[i])) * int64(p.Stacks[i][0].Train.Steps)
		w.now.Steps += w.owed[i]
	}
	w.now.Stacks, w.now.DoneStacks = len(p.Stacks), len(p.Stacks)-len(w.queue)
	w.now.Runs, w.now.DoneRuns = p.Runs()
	return w
}

// retry is how long a worker waits before it looks again at stacks that other processes are training.
const retry = 300 * time.Millisecond

// train trains stacks on a backend until none is left for it. A panic, which Go would end the process for, is an error, so that other
// stacks keep their state.
func (w *work) train(ctx context.Context, on *backend.Backend) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("sweep: %v: this is a bug; please report it, with these lines:\n%s", cause, debug.Stack())
		}
	}()
	held := map[int]bool{} // by another process, when last looked at
	for {
		i, ok := w.take(on, held)
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
			return ctx.Err()
		}
		done, err := w.trainStack(ctx, i, on)
		if err != nil {
			return err
		}
		if !done {
			held[i] = true
			w.putBack(i)
		}
	}
}

// take returns the stack to train next on a backend: one whose program it has, else one of a program that none has, else one
// of a program of which enough is left to compile it once more. Those that another process held come last.
func (w *work) take(on *backend.Backend, held map[int]bool) (i int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	best, least := -1, 0
	for at, i := range w.queue {
		p, rank := w.programs[w.keys[i]], 0
		switch {
		case p.on[on] != nil:
		case len(p.on) == 0:
			rank = 1
		case p.seconds >= worthwhile || w.options.Workers > 0:
			rank = 2
		default:
			continue
		}
		if held[i] {
			rank += 3
		}
		if best < 0 || rank < least {
			best, least = at, rank
		}
	}
	if best < 0 {
		return 0, false
	}
	i = w.queue[best]
	w.queue = slices.Delete(w.queue, best, best+1)
	p := w.programs[w.keys[i]]
	p.seconds -= w.roughly(i)
	if p.on[on] == nil {
		p.on[on] = &compiled{programs: map[string]*train.Program{}}
	}
	return i, true
}

func (w *work) putBack(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, i)
	w.programs[w.keys[i]].seconds += w.roughly(i)
}

// programOf returns the program of a stack on a backend that measures what an observer wants.
func (w *work) programOf(i int, on *backend.Backend, o *observer) (*train.Program, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	options := train.Options{Metrics: o.metrics}
	programs := w.programs[w.keys[i]].on[on].programs
	if p := programs[options.Key()]; p != nil {
		return p, nil
	}
	p, err := train.New(on, w.Stacks[i], options)
	if err == nil {
		programs[options.Key()] = p
	}
	return p, err
}

// finished records that a stack has results, trained here or not, and frees its program when no other stack needs it.
func (w *work) finished(i int, trained bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if trained {
		w.now.Trained++
	}
	w.now.DoneStacks, w.now.DoneRuns = w.now.DoneStacks+1, w.now.DoneRuns+len(w.Stacks[i])
	w.now.Steps -= w.owed[i]
	w.owed[i] = 0
	p := w.programs[w.keys[i]]
	if p.stacks--; p.stacks == 0 {
		p.finalize()
	}
	w.report()
}

// finalize frees a program on all backends.
func (p *program) finalize() {
	for _, c := range p.on {
		for _, program := range c.programs {
			program.Finalize()
		}
	}
	clear(p.on)
	backend.Trim()
}

// advanced records that steps of a stack are done; fresh are those that were taken now, on a backend.
func (w *work) advanced(i, steps int, fresh *backend.Backend) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := int64(len(w.Stacks[i])) * int64(steps)
	w.owed[i] -= n
	if fresh != nil {
		w.now.DoneSteps += n
		c := w.programs[w.keys[i]].on[fresh]
		before := c.counted
		c.counted = 0
		for _, p := range c.programs {
			c.counted += p.Compile
		}
		w.now.Compile += (c.counted - before) / time.Duration(w.workers)
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
		p.finalize()
	}
}
