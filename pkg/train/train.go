// Package train trains stacks of runs: the runs of a stack share a mixture and a data stream and advance side by
// side in one XLA program that draws its data on the device and takes many steps in each dispatch (Sec. 3,
// App. B.1 of arXiv 2605.29548). Each run keeps its own weights, optimizer state, gradient clipping and learning rate.
package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
)

const (
	// evaluationRows is how many fresh samples of each task a sampled loss averages.
	evaluationRows = 256
	// divergedAt is the multiple of the loss of predicting the mean at which a run counts as diverged.
	divergedAt = 1e3
)

// Program is a compiled training program. It serves every stack of the same spec.Stack.Program.
type Program struct {
	shared    spec.Run // settings that all runs share
	mixture   *mixture.Mixture
	groups    []group
	weights   []weight
	runs      int
	meanLoss  float64 // of predicting the mean, the largest of all tasks
	constants int     // arrays of the family's constants
	// scheduled says that the state ends in an injection schedule. Programs without one are what they would be if
	// there were no schedules.
	scheduled bool

	train, evaluate *graph.Exec

	// Compile is the time that building and compiling took; it happens at the first use.
	Compile   time.Duration
	compiling sync.Mutex
}

// group is runs of one width, whose weights are stacked.
type group struct {
	net     net.Net
	first   int // index of its first run
	runs    int
	weights []net.Weight
}

// weight is one stacked array of the state.
type weight struct {
	group, first, axis int // group, its first run, axis of the runs
	dims               []int
	rate               float64 // factor of the learning rate
}

// New returns the program of a stack on a backend.
func New(b *backend.Backend, stack spec.Stack) (*Program, error) {
	p := &Program{shared: stack[0], runs: len(stack), scheduled: stack[0].Train.Injection != spec.Injection{}}
	var err error
	if p.mixture, err = mixture.New(p.shared.Mixture); err != nil {
		return nil, err
	}
	p.constants = len(p.mixture.Family.Constants())
	for i, run := range stack {
		if i > 0 && run.Net == stack[i-1].Net {
			p.groups[len(p.groups)-1].runs++
			continue
		}
		n, err := net.New(run.Net, p.mixture.Family)
		if err != nil {
			return nil, err
		}
		p.groups = append(p.groups, group{net: n, first: i, runs: 1, weights: n.Weights()})
	}
	for i, g := range p.groups {
		for _, w := range g.weights {
			p.weights = append(p.weights, weight{group: i, first: g.first, axis: w.RunAxis, dims: w.Stacked(g.runs), rate: w.Rate})
		}
	}
	for _, loss := range p.mixture.Family.MeanLoss() {
		p.meanLoss = max(p.meanLoss, loss)
	}
	step := p.trainGraph
	if b.Identity.Name == "go" {
		step = p.stepGraph // the Go backend of compute v0.1.5 can't run a While with a body of this size
	}
	if p.train, err = graph.NewExec(b.Backend, step); err != nil {
		return nil, err
	}
	p.evaluate, err = graph.NewExec(b.Backend, p.evaluateGraph)
	return p, err
}

// Finalize frees the compiled program.
func (p *Program) Finalize() {
	p.train.Finalize()
	p.evaluate.Finalize()
}

// Snapshot is the state of a stack's runs after Step steps.
type Snapshot struct {
	Step int
	Runs []RunState
}

// RunState is the state of one run.
type RunState struct {
	Weights  [][]float32 // in the order of its net's Weights, row-major
	Loss     float64     // mean training loss of the steps since the last snapshot; NaN at step 0
	Sampled  []float64   // loss of each task on fresh samples [K]
	Diverged int         // step at which the training loss was no longer finite, or far above that of the mean; -1: never
}

// Training is what a training does beside taking steps. Only Steps and Observe must be given.
type Training struct {
	Steps    []int                // when to observe, ascending; 0 is before the first step; the last one ends the training
	Observe  func(Snapshot) error // called at each of Steps
	Progress func(step int)       // called several times a second with the steps done
	From     *State               // what to go on from; nil: the start
	Save     func(State) error    // called about every Every, and when the context ends
	Every    time.Duration
}

// Train trains the runs of a stack, which must be of this program, from the start, and calls observe and progress as
// Training says.
func (p *Program) Train(ctx context.Context, stack spec.Stack, steps []int, observe func(Snapshot) error, progress func(step int)) error {
	return p.Run(ctx, stack, Training{Steps: steps, Observe: observe, Progress: progress})
}

// Run trains the runs of a stack, which must be of this program. It stops with the context's error when ctx ends. One
// program may run several stacks at once.
//
// The numbers are a function of the stack and the backend alone, however steps are spread over dispatches, and also
// where a training goes on from a saved state.
func (p *Program) Run(ctx context.Context, stack spec.Stack, t Training) error {
	state, err := p.restore(stack, t.From)
	if err != nil {
		return err
	}
	defer func() { free(state) }()
	if err := p.compile(state); err != nil {
		return err
	}
	done, last := 0, 0
	steps := t.Steps
	if t.From != nil {
		done, last = t.From.Step, t.From.Observed
		steps = slices.DeleteFunc(slices.Clone(steps), func(s int) bool { return s <= done })
	}
	kept, saved := done, time.Now() // step of the state that is kept, and when that was
	chunk := 1                      // steps in a dispatch; grown until a dispatch takes about a quarter of a second
	for len(steps) > 0 {
		if steps[0] == done {
			if err := p.observe(state, done, last, t.Observe); err != nil {
				return err
			}
			last = done
			state = replace(state, stateLossSum, tensors.FromShape(shapes.Make(dtypes.Float32, p.runs)))
			steps = steps[1:]
			continue
		}
		stopped := ctx.Err()
		if t.Save != nil && done > kept && (stopped != nil || time.Since(saved) > t.Every) {
			s, err := p.save(state, done, last)
			if err == nil {
				err = t.Save(s)
			}
			if err != nil {
				return err
			}
			kept, saved = done, time.Now()
		}
		if stopped != nil {
			return stopped
		}
		end := min(steps[0], done+chunk)
		start := time.Now()
		if state, err = p.advance(state, done, end); err != nil {
			return fmt.Errorf("train: step %d: %w", done, err)
		}
		if took := time.Since(start); took < 250*time.Millisecond && end == done+chunk {
			chunk *= 2
		} else if took > 500*time.Millisecond {
			chunk = max(1, chunk/2)
		}
		if done = end; t.Progress != nil {
			t.Progress(done)
		}
	}
	return nil
}

// observe hands on a snapshot of the state after step steps, of which those since last have not been observed.
func (p *Program) observe(state []*tensors.Tensor, step, last int, observe func(Snapshot) error) error {
	snapshot, err := p.snapshot(state, step, step-last)
	if err != nil {
		return err
	}
	return observe(snapshot)
}

// compile builds and compiles what is not compiled yet.
func (p *Program) compile(state []*tensors.Tensor) error {
	p.compiling.Lock()
	defer p.compiling.Unlock()
	if p.Compile > 0 {
		return nil
	}
	start := time.Now()
	var all []shapes.Shape
	for _, s := range state {
		all = append(all, s.Shape())
	}
	if _, err := p.train.Compile(all...); err != nil {
		return fmt.Errorf("train: cannot compile the program: %w", err)
	}
	n := len(p.weights)
	evaluated := slices.Concat([]shapes.Shape{all[stateSeed], all[stateStep]}, all[stateWeights+3*n:][:p.constants], all[stateWeights:][:n])
	if _, err := p.evaluate.Compile(evaluated...); err != nil {
		return fmt.Errorf("train: cannot compile the evaluation: %w", err)
	}
	p.Compile = time.Since(start)
	return nil
}

// advance runs steps from done to end and returns the new state; the old one is freed.
func (p *Program) advance(state []*tensors.Tensor, done, end int) ([]*tensors.Tensor, error) {
	state = replace(state, stateEnd, tensors.FromScalar(int32(end)))
	for done < end {
		args := make([]any, len(state))
		for i, s := range state {
			args[i] = s
		}
		next, err := p.train.Call(args...)
		if err != nil {
			return state, err
		}
		free(state)
		state = next
		// Dispatch returns before the computation ends; reading the step waits for it.
		now := int(tensors.ToScalar[int32](state[stateStep]))
		if now == done {
			return state, fmt.Errorf("the program made no progress")
		}
		done = now
	}
	return state, nil
}

func replace(state []*tensors.Tensor, at int, t *tensors.Tensor) []*tensors.Tensor {
	free(state[at : at+1])
	state[at] = t
	return state
}

func free(state []*tensors.Tensor) {
	for _, t := range state {
		t.MustFinalizeAll()
	}
}

// initialState returns the state before the first step.
func (p *Program) initialState(stack spec.Stack) ([]*tensors.Tensor, error) {
	if len(stack) != p.runs || p.scheduled != (stack[0].Train.Injection != spec.Injection{}) {
		return nil, fmt.Errorf("train: a stack of %d runs for a program of %d, or an injection schedule in one of them only", len(stack), p.runs)
	}
	mix, err := mixture.New(stack[0].Mixture)
	if err != nil {
		return nil, err
	}
	rates, diverged := make([]float32, p.runs), make([]int32, p.runs)
	for i, run := range stack {
		rates[i], diverged[i] = float32(run.Train.Rate), -1
	}
	k := mix.Family.Tasks()
	state := []*tensors.Tensor{
		stateStep:       tensors.FromScalar(int32(0)),
		stateEnd:        tensors.FromScalar(int32(0)),
		stateSeed:       tensors.FromValue([]uint32{stack[0].Train.DataSeed(), 0}),
		stateCumulative: tensors.FromValue(mix.Cumulative()),
		stateForced:     tensors.FromShape(shapes.Make(dtypes.Float32, k)),
		stateRate:       tensors.FromValue(rates),
		stateLossSum:    tensors.FromShape(shapes.Make(dtypes.Float32, p.runs)),
		stateDiverged:   tensors.FromValue(diverged),
	}
	for _, g := range p.groups {
		for i, w := range g.weights {
			values := make([][]float32, g.runs)
			for r := range values {
				run := stack[g.first+r]
				// Every array of every run has its own stream, so that neither depends on what else is in the stack.
				values[r] = w.Initial(rand.New(rand.NewPCG(uint64(run.Train.Seed)<<32|uint64(i), uint64(run.Net.Width))))
			}
			state = append(state, interleave(values, w))
		}
	}
	for range 2 {
		for _, w := range p.weights {
			state = append(state, tensors.FromShape(shapes.Make(dtypes.Float32, w.dims...)))
		}
	}
	inputs := mix.Family.Constants()
	if schedule := mixture.NewSchedule(stack[0].Train, mix.Frequency); schedule != nil {
		inputs = append(inputs, schedule.Inputs()...)
	}
	uploaded, err := upload(inputs)
	return append(state, uploaded...), err
}

// upload makes tensors of slices and scalars.
func upload(values []any) ([]*tensors.Tensor, error) {
	var all []*tensors.Tensor
	for _, v := range values {
		t, err := tensors.FromAnyValue(v)
		if err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
		all = append(all, t)
	}
	return all, nil
}

// blocks returns how a stacked weight splits at its run axis: outer blocks of size inner for each run.
func blocks(w net.Weight) (outer, inner int) {
	outer, inner = 1, 1
	for axis, d := range w.Dims {
		if axis < w.RunAxis {
			outer *= d
		} else {
			inner *= d
		}
	}
	return outer, inner
}

// interleave stacks the values of runs along the run axis.
func interleave(values [][]float32, w net.Weight) *tensors.Tensor {
	outer, inner := blocks(w)
	flat := make([]float32, 0, outer*inner*len(values))
	for o := range outer {
		for _, v := range values {
			flat = append(flat, v[o*inner:(o+1)*inner]...)
		}
	}
	return tensors.FromFlatDataAndDimensions(flat, w.Stacked(len(values))...)
}

// separate is the inverse of interleave, for one run.
func separate(flat []float32, w net.Weight, run, runs int) []float32 {
	outer, inner := blocks(w)
	values := make([]float32, 0, outer*inner)
	for o := range outer {
		at := (o*runs + run) * inner
		values = append(values, flat[at:at+inner]...)
	}
	return values
}

// snapshot reads the state of all runs; since is the number of steps that the sum of losses holds.
func (p *Program) snapshot(state []*tensors.Tensor, step, since int) (Snapshot, error) {
	n := len(p.weights)
	sampled, err := p.sampled(state[stateSeed], step, state[stateWeights+3*n:][:p.constants], state[stateWeights:][:n])
	if err != nil {
		return Snapshot{}, err
	}
	lossSum := tensors.MustCopyFlatData[float32](state[stateLossSum])
	diverged := tensors.MustCopyFlatData[int32](state[stateDiverged])
	s := Snapshot{Step: step, Runs: make([]RunState, p.runs)}
	for i := range s.Runs {
		run := &s.Runs[i]
		run.Diverged = int(diverged[i])
		run.Loss = float64(lossSum[i]) / float64(since)
		run.Sampled = sampled[i]
	}
	at := stateWeights
	for _, g := range p.groups {
		for _, w := range g.weights {
			flat := tensors.MustCopyFlatData[float32](state[at])
			for r := range g.runs {
				run := &s.Runs[g.first+r]
				run.Weights = append(run.Weights, separate(flat, w, r, g.runs))
			}
			at++
		}
	}
	return s, nil
}

// cycles is how many gaps between injections are observed closely.
const cycles = 8

// Steps returns the steps at which a run is evaluated: EvaluationSteps, and with an injection schedule also the steps
// just before, right after and, at growing distances, ever longer after some injections, log-spaced ones up to the
// last but one, until just before the next.
func Steps(t spec.Train) []int {
	steps := EvaluationSteps(t.Steps, t.Evaluations)
	if t.Injection == (spec.Injection{}) {
		return steps
	}
	begin, end := mixture.NewSchedule(t, make([]float64, t.Injection.Task)).Injections(t.Steps)
	if len(begin) < 2 {
		return steps
	}
	for _, i := range EvaluationSteps(len(begin)-1, cycles)[1:] {
		steps = append(steps, begin[i-1], begin[i])
		for after := 0; end[i-1]+after < begin[i]; after = max(1, 2*after) {
			steps = append(steps, end[i-1]+after)
		}
	}
	slices.Sort(steps)
	return slices.Compact(steps)
}

// EvaluationSteps returns about n+1 log-spaced steps: 0, 1, …, steps.
func EvaluationSteps(steps, n int) []int {
	at := []int{0}
	for i := range n {
		s := steps
		if n > 1 {
			s = int(math.Round(math.Pow(float64(steps), float64(i)/float64(n-1))))
		}
		if s > at[len(at)-1] {
			at = append(at, s)
		}
	}
	return at
}
