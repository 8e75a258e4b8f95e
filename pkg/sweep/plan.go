package sweep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/backend"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"

	_ "raretask/pkg/allocation" // metrics that sweeps can name, or have by default
	_ "raretask/pkg/exact"
	_ "raretask/pkg/interference"
	_ "raretask/pkg/probe"
)

// Plan is what a sweep would do.
type Plan struct {
	Stacks []spec.Stack
	Done   []*results.File // for each stack its results, nil where it has yet to be trained

	scale   string   // of the sweep
	metrics []string // of the sweep; nil: the default ones
	named   bool     // by somebody else than a preset
	asked   []string // their names, ascending
	keep    []int
	store   *results.Store
	on      *backend.Identity // whose results count; nil: whatever backend's
	keys    []string          // of each stack's program
	costs   []train.Cost
	columns map[string][]train.Column  // that runs of a program have
	partial []*results.IncompleteError // results that lack something of what is asked
	told    []string                   // of each stack, what was said of its results
	memory  int                        // bytes that stacks which train side by side may take; 0: as many as there are
}

// Stacks returns the stacks of a sweep, in the order of their first runs. Runs that share a mixture and a data stream are one stack, as
// long as the sweep's memory allows; the split is a function of the spec alone.
func Stacks(s *spec.Sweep) (stacks []spec.Stack, err error) {
	runs, err := s.Runs()
	if err != nil {
		return nil, err
	}
	if err := train.CheckMetrics(s.Metrics); err != nil {
		return nil, s.At(err)
	}
	limit := cmp.Or(s.Memory, spec.DefaultMemory)
	for _, stack := range spec.Stacks(runs) {
		var cost train.Cost
		first := 0
		for i, run := range stack {
			next := cost.With(run)
			if gib(next.Memory) > limit && i > first {
				stacks = append(stacks, stack[first:i:i])
				first, next = i, train.Cost{}.With(run)
			}
			if gib(next.Memory) > limit {
				return nil, fmt.Errorf("sweep: %s: width %d alone takes about %.2g GiB to train: "+
					"want memory: %.2g or more in the spec, which allows %g", s.Name, run.Net.Width, gib(next.Memory), gib(next.Memory)*1.05, limit)
			}
			cost = next
		}
		stacks = append(stacks, stack[first:])
	}
	return stacks, nil
}

func gib(bytes int) float64 { return float64(bytes) / (1 << 30) }

// NewPlan looks up which stacks of a sweep have results on a backend; nil: on whatever one. A damaged file is reported and counts as
// missing; where any are missing, so is one of another version.
func NewPlan(s *spec.Sweep, store *results.Store, on *backend.Identity) (*Plan, error) {
	stacks, err := Stacks(s)
	if err != nil {
		return nil, err
	}
	p, err := planOf(stacks, s.Metrics, s.Asks(), s.Keep, store, on)
	if err != nil {
		return nil, err
	}
	p.scale = s.Scale
	p.memory = int(cmp.Or(s.Memory, spec.DefaultMemory) * (1 << 30))
	if p.Missing() == 0 {
		return p, nil
	}
	ours := map[string]bool{}
	for _, stack := range stacks {
		ours[stack.Hash()] = true
	}
	if older := store.Older(func(hash string) bool { return ours[hash] }); older != "" {
		slog.Warn("results of another version of raretask are there, whose numbers are others: they are not used and can be deleted",
			"such as", older)
	}
	return p, nil
}

// planOf returns the plan of stacks. named says that somebody else than a preset has named the metrics.
func planOf(
	stacks []spec.Stack, metrics []string, named bool, keep []int, store *results.Store, on *backend.Identity,
) (*Plan, error) {
	p := &Plan{Stacks: stacks, named: named, Done: make([]*results.File, len(stacks)), metrics: metrics, asked: union(metrics, nil),
		store: store, on: on, columns: map[string][]train.Column{}, partial: make([]*results.IncompleteError, len(stacks)),
		told: make([]string, len(stacks))}
	if keep != nil {
		p.keep = union(keep, nil)
	}
	if metrics == nil {
		p.asked = train.DefaultMetrics()
	}
	left := mostColumns
	for _, stack := range stacks {
		key := stack.Program() + train.Options{Metrics: p.asked}.Key()
		p.keys, p.costs = append(p.keys, key), append(p.costs, train.CostOf(stack))
		if _, known := p.columns[key]; !known {
			var err error
			if p.columns[key], err = columnsOf(stack, p.asked, &left); err != nil {
				return nil, err
			}
		}
	}
	return p, p.look()
}

// mostColumns is how many columns the widths of all programs may have: a metric may have one for each neuron.
const mostColumns = 1 << 20

// columnsOf returns the columns that runs of a stack have, each once, and takes those of each width from how many are left.
func columnsOf(stack spec.Stack, metrics []string, left *int) ([]train.Column, error) {
	var columns []train.Column
	for i, run := range stack {
		if i > 0 && run.Net.Width == stack[i-1].Net.Width {
			continue
		}
		m, err := train.NewMeasurer(nil, run, metrics)
		if err != nil {
			return nil, err
		}
		if *left -= len(m.Columns); *left < 0 {
			return nil, fmt.Errorf("sweep: metrics: more than %d columns in all programs: want fewer widths or metrics; split the spec", mostColumns)
		}
		columns = with(columns, m.Columns)
		m.Close()
	}
	return columns, nil
}

// want returns what is asked of a stack's results.
func (p *Plan) want(i int) results.Want {
	w := results.Want{Steps: train.Steps(p.Stacks[i][0].Train), Named: p.named || len(p.keep) > 0}
	columns := p.columns[p.keys[i]]
	w.Columns = xslices.Map(columns, func(c train.Column) string { return c.Name })
	if train.Often(columns) {
		w.Glances = train.Glances(p.Stacks[i][0].Train)
	}
	// Weights that were kept by default may be gone (sweep clean): nobody asked for them.
	for _, step := range p.keep {
		if step <= p.Stacks[i][0].Train.Steps {
			w.Keep = append(w.Keep, step)
		}
	}
	return w
}

// look looks every stack up that isn't known to be done.
func (p *Plan) look() error {
	on, err := p.backends()
	if err != nil {
		return err
	}
	for i := range p.Stacks {
		if p.Done[i] == nil {
			if err := p.lookUp(i, on); err != nil {
				return err
			}
		}
	}
	return nil
}

// backends returns the keys of those whose results count.
func (p *Plan) backends() ([]string, error) {
	if p.on != nil {
		return []string{p.on.Key()}, nil
	}
	return p.store.Backends()
}

// lookUp looks for a stack's results on backends. What is damaged or of another version is reported and counts as missing.
func (p *Plan) lookUp(i int, on []string) error {
	file, err := p.store.Find(p.Stacks[i], on, p.want(i))
	var damaged *results.DamagedError
	var older *results.OlderError
	var incomplete *results.IncompleteError
	p.partial[i] = nil
	switch {
	case errors.As(err, &damaged), errors.As(err, &older):
		if p.told[i] != err.Error() {
			slog.Warn(err.Error())
		}
		p.told[i] = err.Error()
	case errors.As(err, &incomplete):
		p.partial[i] = incomplete
	case errors.Is(err, results.ErrMissing):
	case err != nil:
		return err
	default:
		p.Done[i] = file
	}
	return nil
}

// Missing returns how many stacks have yet to be trained, or measured.
func (p *Plan) Missing() (stacks int) {
	for _, done := range p.Done {
		if done == nil {
			stacks++
		}
	}
	return stacks
}

// queue is the stacks of one program that have yet to be trained.
type queue struct {
	key     string
	stacks  []int
	seconds float64 // about, of training them
}

// queues returns what is left to train, by program, so that each is compiled once, in the order of their first stacks.
func (p *Plan) queues() []*queue {
	var all []*queue
	of := map[string]*queue{}
	for i, key := range p.keys {
		if p.Done[i] != nil {
			continue
		}
		if of[key] == nil {
			of[key] = &queue{key: key}
			all = append(all, of[key])
		}
		of[key].stacks = append(of[key].stacks, i)
		of[key].seconds += p.roughly(i)
	}
	return all
}

// Programs returns how many programs what is left takes.
func (p *Plan) Programs() int { return len(p.queues()) }

// Runs returns how many runs the stacks have, and how many of them are done.
func (p *Plan) Runs() (all, done int) {
	for i, stack := range p.Stacks {
		all += len(stack)
		if p.Done[i] != nil {
			done += len(stack)
		}
	}
	return all, done
}

// Cost returns what training all stacks takes, and what is left of it. Memory is that of the largest stack, Kept the bytes of kept weights.
func (p *Plan) Cost() (all, left train.Cost) {
	for i, c := range p.costs {
		kept := 4 * c.Parameters * len(p.kept(i))
		for _, sum := range []*train.Cost{&all, &left} {
			if sum == &left && p.Done[i] != nil {
				continue
			}
			*sum = train.Cost{
				Parameters: sum.Parameters + c.Parameters, FLOPs: sum.FLOPs + c.FLOPs,
				Memory: max(sum.Memory, c.Memory), Host: max(sum.Host, c.Host), Kept: sum.Kept + kept,
			}
		}
	}
	return all, left
}

// kept returns the steps after which weights of a stack are kept.
func (p *Plan) kept(i int) []int {
	steps := p.Stacks[i][0].Train.Steps
	if p.keep == nil {
		return []int{steps}
	}
	return p.want(i).Keep
}

// worthwhile is how many seconds of training, roughly, make it worth while to compile a program once more, which takes one or two and
// more on busy cores.
const worthwhile = 5.

// roughly returns about how many seconds a stack trains: in small nets what starting operations takes, in large ones products.
func (p *Plan) roughly(i int) float64 {
	t := p.Stacks[i][0].Train
	return max(float64(t.Steps)*5e-4+float64(len(train.Steps(t)))*2e-3, p.costs[i].FLOPs/1e11)
}

// workers returns how many of the stacks that are left are best trained at a time. A backend that can't be divided takes two: one is
// evaluated while the other trains; on a device of its own, whose memory is not known here, one.
func (p *Plan) workers(b *backend.Backend) int {
	switch {
	case b.Identity.Name != "xla:cpu" && b.Identity.Name != "go":
		return 1
	case b.Parts() == 1:
		return min(2, runtime.NumCPU())
	}
	n := 0
	for _, q := range p.queues() {
		n += max(1, min(len(q.stacks), int(q.seconds/worthwhile)))
	}
	return max(1, min(n, b.Parts()))
}

// fitting returns how many of so many workers the sweep's memory and the machine's are enough for; an error where it is for none. What an
// accelerator has go-xla v0.4.4 doesn't tell.
func (p *Plan) fitting(b *backend.Backend, workers int) (int, error) {
	if b.Identity.Name != "xla:cpu" && b.Identity.Name != "go" {
		return workers, nil
	}
	_, left := p.Cost()
	if p.memory > 0 && left.Memory > 0 {
		workers = max(1, min(workers, p.memory/left.Memory))
	}
	return workersFor(left.Memory, machineMemory(), workers)
}

// calibratedPrograms is how many programs Estimate compiles at most, and calibration how long it runs each of them.
const (
	calibratedPrograms = 3
	calibration        = time.Second
)

// Estimate returns how long what is left takes on this machine. It compiles up to three programs and runs each for about a second; of the
// others it takes the time for each FLOP and for compiling to be that of the program nearest in FLOPs. Stacks that train side by side
// are taken not to disturb each other.
func (p *Plan) Estimate(ctx context.Context, b *backend.Backend) (time.Duration, error) {
	flops := func(q *queue) float64 { // of a step
		first := q.stacks[0]
		return p.costs[first].FLOPs / float64(p.Stacks[first][0].Train.Steps)
	}
	programs := p.queues()
	if len(programs) == 0 {
		return 0, nil
	}
	slices.SortStableFunc(programs, func(a, b *queue) int { return cmp.Compare(flops(a), flops(b)) })
	workers, err := p.fitting(b, min(p.workers(b), b.Parts()))
	if err != nil {
		return 0, err
	}
	backends, err := b.Split(workers)
	if err != nil {
		return 0, err
	}
	var seconds float64
	measured := -1
	var speed train.Speed
	for i, q := range programs {
		// Spread the measured ones evenly over the programs.
		if want := i * calibratedPrograms / len(programs); want > measured || len(programs) <= calibratedPrograms {
			measured = want
			if speed, err = train.Measure(ctx, backends[0], p.Stacks[q.stacks[0]], p.asked, calibration); err != nil {
				return 0, err
			}
			speed.FLOPs = flops(q)
		}
		training := speed.Metrics.Seconds() * float64(len(q.stacks))
		for _, at := range q.stacks {
			t := p.Stacks[at][0].Train
			training += speed.Step.Seconds()*float64(t.Steps)*flops(q)/speed.FLOPs + speed.Evaluation.Seconds()*float64(len(train.Steps(t)))
		}
		seconds += speed.Compile.Seconds() + training/float64(min(workers, len(q.stacks)))
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
