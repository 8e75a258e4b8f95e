package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// Plan is what a sweep would do.
type Plan struct {
	Stacks []spec.Stack
	Done   []string // for each stack the file of its results, "" where it has yet to be trained
}

// Stacks returns the stacks of a sweep, in the order of their first runs. Runs that share a mixture and a data stream are one stack, as long
// as the sweep's memory allows; the split is a function of the spec alone.
func Stacks(s *spec.Sweep) ([]spec.Stack, error) {
	runs, err := s.Runs()
	if err != nil {
		return nil, err
	}
	limit := s.Memory
	if limit == 0 {
		limit = spec.DefaultMemory
	}
	var split []spec.Stack
	for _, stack := range spec.Stacks(runs) {
		for len(stack) > 0 {
			n := 0
			for n < len(stack) {
				cost, err := train.CostOf(stack[:n+1])
				if err != nil {
					return nil, err
				}
				if gib(cost.Memory) > limit {
					break
				}
				n++
			}
			if n == 0 {
				cost, _ := train.CostOf(stack[:1])
				return nil, fmt.Errorf("sweep: %s: width %d alone takes about %.2g GiB to train: want memory: %.2g or more in the spec, which allows %g",
					s.Name, stack[0].Net.Width, gib(cost.Memory), gib(cost.Memory)*1.05, limit)
			}
			split, stack = append(split, stack[:n:n]), stack[n:]
		}
	}
	return split, nil
}

func gib(bytes int) float64 { return float64(bytes) / (1 << 30) }

// NewPlan looks up which stacks of a sweep have results. A damaged file is reported and counts as missing.
func NewPlan(s *spec.Sweep, store *results.Store, id backend.Identity) (*Plan, error) {
	stacks, err := Stacks(s)
	if err != nil {
		return nil, err
	}
	p := &Plan{Stacks: stacks, Done: make([]string, len(stacks))}
	return p, p.look(func(stack spec.Stack) (string, error) { return store.Find(stack, id) })
}

// look looks every stack up that isn't known to be done.
func (p *Plan) look(find func(spec.Stack) (string, error)) error {
	for i, stack := range p.Stacks {
		if p.Done[i] != "" {
			continue
		}
		path, err := lookUp(stack, find)
		if err != nil {
			return err
		}
		p.Done[i] = path
	}
	return nil
}

// lookUp returns the file of a stack's results, "" where there is none; a damaged one is reported.
func lookUp(stack spec.Stack, find func(spec.Stack) (string, error)) (string, error) {
	path, err := find(stack)
	var damaged *results.DamagedError
	switch {
	case errors.As(err, &damaged):
		slog.Warn(err.Error())
		return "", nil
	case errors.Is(err, results.ErrMissing):
		return "", nil
	}
	return path, err
}

// Missing returns how many stacks have yet to be trained.
func (p *Plan) Missing() int { return len(p.left()) }

// left returns the indices of the stacks that have yet to be trained, those of one program together, so that each
// program is compiled once.
func (p *Plan) left() []int {
	first := map[string]int{}
	var left []int
	for i, stack := range p.Stacks {
		if p.Done[i] != "" {
			continue
		}
		left = append(left, i)
		if _, found := first[stack.Program()]; !found {
			first[stack.Program()] = i
		}
	}
	slices.SortStableFunc(left, func(a, b int) int { return first[p.Stacks[a].Program()] - first[p.Stacks[b].Program()] })
	return left
}

// Runs returns how many runs the stacks have, and how many of them are done.
func (p *Plan) Runs() (all, done int) {
	for i, stack := range p.Stacks {
		all += len(stack)
		if p.Done[i] != "" {
			done += len(stack)
		}
	}
	return all, done
}

// Cost returns what training all stacks takes, and what is left of it. Memory is that of the largest stack.
func (p *Plan) Cost() (all, left train.Cost, err error) {
	for i, stack := range p.Stacks {
		c, err := train.CostOf(stack)
		if err != nil {
			return all, left, err
		}
		all = train.Cost{Parameters: all.Parameters + c.Parameters, FLOPs: all.FLOPs + c.FLOPs, Memory: max(all.Memory, c.Memory)}
		if p.Done[i] == "" {
			left = train.Cost{Parameters: left.Parameters + c.Parameters, FLOPs: left.FLOPs + c.FLOPs, Memory: max(left.Memory, c.Memory)}
		}
	}
	return all, left, nil
}

// worthwhile is how many seconds of training, roughly, make it worth while to compile a program once more, which takes one or two and
// more on busy cores.
const worthwhile = 5.

// roughly returns about how many seconds a stack trains: in small nets what starting operations takes, in large ones products.
func roughly(stack spec.Stack) float64 {
	t := stack[0].Train
	cost, _ := train.CostOf(stack) // Cost has reported its error
	return max(float64(t.Steps)*5e-4+float64(len(train.Steps(t)))*2e-3, cost.FLOPs/1e11)
}

// workers returns how many of the stacks that are left are best trained at a time. A backend that can't be divided takes two: one is evaluated
// while the other trains.
func (p *Plan) workers(b *backend.Backend) int {
	if b.Parts() == 1 {
		return min(2, runtime.NumCPU())
	}
	stacks, seconds := map[string]int{}, map[string]float64{}
	for _, i := range p.left() {
		key := p.Stacks[i].Program()
		stacks[key]++
		seconds[key] += roughly(p.Stacks[i])
	}
	n := 0
	for key, of := range stacks {
		n += max(1, min(of, int(seconds[key]/worthwhile)))
	}
	return max(1, min(n, b.Parts()))
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
	type program struct {
		stack  spec.Stack
		stacks int
		steps  int // of all its stacks
		flops  float64
	}
	var programs []program // ascending in the FLOPs of a step
	at := map[string]int{}
	for _, i := range p.left() {
		stack := p.Stacks[i]
		key := stack.Program()
		if _, found := at[key]; !found {
			cost, err := train.CostOf(stack)
			if err != nil {
				return 0, err
			}
			at[key] = len(programs)
			programs = append(programs, program{stack: stack, flops: cost.FLOPs / float64(stack[0].Train.Steps)})
		}
		programs[at[key]].steps += stack[0].Train.Steps
		programs[at[key]].stacks++
	}
	slices.SortStableFunc(programs, func(a, b program) int { return int(a.flops - b.flops) })
	workers := min(p.workers(b), b.Parts())
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
			var err error
			if speed, err = train.Measure(ctx, backends[0], q.stack, calibration); err != nil {
				return 0, err
			}
			speed.FLOPs = q.flops
		}
		evaluations := float64(q.stacks * len(train.Steps(q.stack[0].Train)))
		training := speed.Step.Seconds()*float64(q.steps)*q.flops/speed.FLOPs + speed.Evaluation.Seconds()*evaluations
		seconds += speed.Compile.Seconds() + training/float64(min(workers, q.stacks))
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
