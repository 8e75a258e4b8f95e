// Package train trains stacks of runs: the runs of a stack share a mixture and a data stream and advance side by
// side in one XLA program that draws its data on the device and takes many steps in each dispatch (Sec. 3,
// App. B.1 of arXiv 2605.29548). Each run keeps its own weights, optimizer state, gradient clipping and learning rate.
package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/backend"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/tasks"
)

const (
	// evaluationRows is how many fresh samples of each task a sampled loss averages, where they have no more than longWindow tokens: of longer
	// windows there are as many as make evaluationTokens.
	evaluationRows, longWindow, evaluationTokens = 256, 64, 1 << 14
	// divergedAt is the multiple of the loss of predicting the mean at which a run counts as diverged.
	divergedAt = 1e3
)

// rowsOf returns how many fresh samples of each task are evaluated.
func rowsOf(of tasks.Signature) int {
	if n := of.Input.Size() + 1; of.Input.Type == dtypes.Int32 && n > longWindow {
		return max(4, evaluationTokens/n)
	}
	return evaluationRows
}

// Program is a compiled training program. It serves every stack of the same spec.Stack.Program.
type Program struct {
	shared   spec.Run // settings that all runs share
	on       *backend.Backend
	mixture  *mixture.Mixture
	groups   []group
	weights  []weight
	runs     int
	moments  int     // that the optimizer keeps of each weight
	means    int     // of each weight's gradient that the intervention keeps
	baseline float64 // loss of the best constant prediction, the largest of all tasks
	// Arrays that a program takes as inputs after its state: the family's constants, the numbers of an injection schedule, the rows of a
	// block of steps and the step at which that begins, a tap's arrays.
	constants, schedule int
	stream              int // those by which rows come that the host gathers: 2, or 0
	tap                 *Tap
	piece               int // tasks that are evaluated at a time

	train    stepper
	evaluate *graph.Exec

	// Compile is the time that building and compiling took; it happens at the first use.
	Compile   time.Duration
	compiling sync.Mutex
}

// stepper is what takes the steps of a program: whole, or an accumulation.
type stepper interface {
	compile(state, inputs []shapes.Shape) error
	// after returns the state after some more steps, one at least, or the context's error.
	after(ctx context.Context, state, inputs []*tensors.Tensor) ([]*tensors.Tensor, error)
	finalize()
}

// whole takes steps of whole batches by one graph, given state and inputs.
type whole struct{ *graph.Exec }

func (w whole) compile(state, inputs []shapes.Shape) error {
	_, err := w.Compile(slices.Concat(state, inputs)...)
	return err
}

func (w whole) after(_ context.Context, state, inputs []*tensors.Tensor) ([]*tensors.Tensor, error) {
	return call(w.Exec, state, inputs)
}

func (w whole) finalize() { w.Finalize() }

// group is runs of one width, whose weights are stacked.
type group struct {
	net     net.Net
	first   int // index of its first run
	runs    int
	weights []net.Weight
	graphs  []*Gauge
}

// weight is one stacked array of the state.
type weight struct {
	net.Weight
	group, first int   // its group, and that one's first run
	dims         []int // stacked
}

// Options are what a program does beside training; the zero value: nothing.
type Options struct {
	Metrics []string // that are measured in the graph, if any of them are; nil: the default ones
	Tap     *Tap
}

// Tap looks at the activations of every forward pass, or replaces them: ablation, patching, probes. See net.Tap.
type Tap struct {
	// Key identifies what Build builds; programs with taps of one key are one program.
	Key string
	// Inputs are arrays (slices or scalars) that Build gets as nodes; they are read at each step and neither fetched from the device nor part
	// of a saved state. What Build uses must be made in it or come with inputs: nothing else is known inside the loop over steps.
	Inputs []any
	// Build returns what takes the activation's place [S, B, ...], or the activation itself.
	Build func(name string, activation *graph.Node, inputs []*graph.Node) *graph.Node
}

// Key returns the part of a program's identity that options are.
func (o Options) Key() string {
	key := strings.Join(o.Metrics, ",")
	if o.Tap != nil {
		key += " tap " + o.Tap.Key
	}
	return key
}

// New returns the program of a stack on a backend.
func New(b *backend.Backend, stack spec.Stack, o Options) (*Program, error) {
	p := &Program{shared: stack[0], on: b, runs: len(stack), tap: o.Tap}
	var err error
	if p.mixture, err = p.shared.Mixture.Mixture(); err != nil {
		return nil, err
	}
	p.constants = len(tasks.Constants(p.mixture.Family))
	if stack[0].Train.Injection != (spec.Injection{}) {
		p.schedule = mixture.ScheduleInputs
	}
	if _, streamed := p.mixture.Family.(tasks.Streamed); streamed {
		p.stream = 2
	}
	if p.shared.Train.Optimizer != "sgd" {
		p.moments = 2
	}
	p.means = p.shared.Train.Intervention.Means()
	for i, run := range stack {
		if i > 0 && run.Net.Width == stack[i-1].Net.Width {
			p.groups[len(p.groups)-1].runs++
			continue
		}
		measurer, err := NewMeasurer(b, run, o.Metrics)
		if err != nil {
			return nil, err
		}
		n := run.New()
		p.groups = append(p.groups, group{net: n, first: i, runs: 1, weights: n.Weights(), graphs: measurer.graphs()})
	}
	for i, g := range p.groups {
		for _, w := range g.weights {
			p.weights = append(p.weights, weight{w, i, g.first, w.Stacked(g.runs)})
		}
	}
	p.baseline = slices.Max(p.mixture.Family.Baseline())
	p.piece = pieceOf(stack)
	if p.train, err = p.stepper(); err != nil {
		return nil, err
	}
	p.evaluate, err = graph.NewExec(b.Backend, p.evaluateGraph)
	return p, err
}

func (p *Program) stepper() (stepper, error) {
	if parts := p.shared.Train.Accumulate; parts > 1 {
		return newAccumulation(p, parts)
	}
	steps := p.trainGraph
	if p.on.Identity.Name == "go" {
		steps = p.stepGraph // the Go backend of compute v0.1.5 can't run a While with a body of this size
	}
	exec, err := graph.NewExec(p.on.Backend, steps)
	return whole{exec}, err
}

// Finalize frees the compiled program.
func (p *Program) Finalize() {
	p.train.finalize()
	p.evaluate.Finalize()
}

// Snapshot is the state of a stack's runs after Step steps.
type Snapshot struct {
	Step int
	Runs []RunState
}

// RunState is the state of one run.
type RunState struct {
	Step     int         // steps done, whose fresh samples Sampled and metrics are of
	Weights  [][]float32 // in the order of its net's Weights, row-major
	Loss     float64     // mean training loss since the last of LossSteps before; NaN at step 0
	Diverged int         // step at which the training loss was no longer finite, or far above that of the mean; -1: never
	Sampled  []float64   // loss of each task on fresh samples [K], in the family's unit
	Graph    [][]float64 // what metrics measured in the graph, by column
	Glance   bool        // nothing was evaluated: there are no Loss (NaN), Sampled and Graph
}

// Training is what a training does beside taking steps. Only Steps and Observe must be given.
type Training struct {
	Steps    []int                // when to observe, ascending; 0 is before the first step; the last one ends the training
	Glances  []int                // further steps, ascending, after which runs are observed without evaluating them
	Observe  func(Snapshot) error // called at each of Steps and Glances
	Keep     []int                // steps after which weights are kept, ascending, not beyond the last of Steps
	Kept     func(Weights) error  // called at each of Keep, before Observe
	Progress func(step int)       // called several times a second with the steps done
	From     *State               // what to go on from; nil: the start. Run takes its arrays
	Save     func(State) error    // called about every Every, and when the context ends; the state holds until it returns
	Every    time.Duration
}

// Weights are the weights of a stack's runs after Step steps, each run's as in RunState.
type Weights struct {
	Step int
	Runs [][][]float32
}

// LossSteps returns the steps at which the mean training loss of a run of so many steps begins anew: log-spaced, so that what is reported
// at a step is a function of the step alone and not of how often a run is looked at.
func LossSteps(steps int) []int { return EvaluationSteps(steps, mostLossSteps-1) }

const mostLossSteps = 41 // with step 0

// Run trains the runs of a stack, which must be of this program. It stops with the context's error when ctx ends. One
// program may run several stacks at once.
//
// The numbers are a function of the stack and the backend alone, however steps are spread over dispatches, and also
// where a training goes on from a saved state.
func (p *Program) Run(ctx context.Context, stack spec.Stack, t Training) error {
	state, inputs, err := p.restore(stack, t.From)
	if err != nil {
		return err
	}
	defer func() { free(state); free(inputs) }()
	rows, err := p.feed(stack, inputs)
	if err != nil {
		return err
	}
	if err := p.compile(state, inputs); err != nil {
		return err
	}
	done := 0
	if t.From != nil {
		done = t.From.Step
	}
	kept, saved := done, time.Now() // step of the state that is kept, and when that was
	chunk := 1                      // steps in a dispatch; grown until a dispatch takes about a quarter of a second
	steps := stack[0].Train.Steps
	for _, next := range stops(t, done) {
		for done < next {
			stopped := ctx.Err()
			if t.Save != nil && done > kept && (stopped != nil || time.Since(saved) > t.Every) {
				s, err := p.save(state, done)
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
			end := min(next, done+chunk)
			if rows != nil {
				last, err := rows.load(done)
				if err != nil {
					return fmt.Errorf("train: step %d: %w", done, err)
				}
				end = min(end, last)
			}
			start, before := time.Now(), done
			if state, done, err = p.advance(ctx, state, inputs, done, end); err != nil {
				return fmt.Errorf("train: step %d: %w", done, err)
			}
			if took := time.Since(start); took < 250*time.Millisecond && done == before+chunk {
				chunk *= 2
			} else if took > 500*time.Millisecond {
				chunk = max(1, chunk/2)
			}
			if t.Progress != nil && done > before {
				t.Progress(done)
			}
		}
		if err := p.stop(next, steps, state, inputs, t); err != nil {
			return err
		}
	}
	return nil
}

// stops returns the steps after which a training does something else than a step, once it has done so many. What it did when it had done
// them is not done again.
func stops(t Training, done int) []int {
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(t.Steps, t.Glances, t.Keep))))
	return slices.DeleteFunc(all, func(step int) bool {
		return step > t.Steps[len(t.Steps)-1] || step < done || step == done && t.From != nil
	})
}

// stop does what is to do after a step of a training of so many.
func (p *Program) stop(step, steps int, state, inputs []*tensors.Tensor, t Training) error {
	_, keep := slices.BinarySearch(t.Keep, step)
	_, observe := slices.BinarySearch(t.Steps, step)
	_, glance := slices.BinarySearch(t.Glances, step)
	var weights [][][]float32
	if keep = keep && t.Kept != nil; keep || observe || glance {
		weights = p.weightsOf(state)
	}
	if keep {
		if err := t.Kept(Weights{step, weights}); err != nil {
			return err
		}
	}
	if observe {
		losses := LossSteps(steps)
		before, _ := slices.BinarySearch(losses, step)
		snapshot, err := p.snapshot(state, inputs, weights, step, step-losses[max(0, before-1)])
		if err != nil {
			return err
		}
		return t.Observe(snapshot)
	} else if glance {
		s := Snapshot{Step: step, Runs: make([]RunState, p.runs)}
		for i := range s.Runs {
			s.Runs[i] = RunState{Step: step, Loss: math.NaN(), Glance: true}
		}
		p.fill(&s, state, weights)
		return t.Observe(s)
	}
	return nil
}

// compile builds and compiles what is not compiled yet.
func (p *Program) compile(state, inputs []*tensors.Tensor) error {
	p.compiling.Lock()
	defer p.compiling.Unlock()
	if p.Compile > 0 {
		return nil
	}
	start := time.Now()
	shapesOf := func(arrays ...[]*tensors.Tensor) []shapes.Shape {
		return xslices.Map(slices.Concat(arrays...), (*tensors.Tensor).Shape)
	}
	if err := p.train.compile(shapesOf(state), shapesOf(inputs)); err != nil {
		return fmt.Errorf("train: cannot compile the program: %w", err)
	}
	scalars := []*tensors.Tensor{state[stateStep], state[stateStep]} // of the types of those that it takes
	if _, err := p.evaluate.Compile(shapesOf(scalars, p.weightsIn(state), inputs)...); err != nil {
		return fmt.Errorf("train: cannot compile the evaluation: %w", err)
	}
	p.Compile = time.Since(start)
	backend.Trim()
	return nil
}

// weightsIn returns the weights of a state.
func (p *Program) weightsIn(state []*tensors.Tensor) []*tensors.Tensor {
	return state[stateWeights:][:len(p.weights)]
}

// advance runs steps from done to end, or fewer where the context ends in one whose batch comes in parts, and returns the new state, and
// how many steps are done; the old one is freed.
func (p *Program) advance(ctx context.Context, state, inputs []*tensors.Tensor, done, end int) ([]*tensors.Tensor, int, error) {
	replace(state, stateEnd, tensors.FromScalar(int32(end)))
	for done < end {
		next, err := p.train.after(ctx, state, inputs)
		if err != nil && errors.Is(err, ctx.Err()) {
			return state, done, nil
		} else if err != nil {
			return state, done, err
		}
		free(state)
		state = next
		// Dispatch returns before the computation ends; reading the step waits for it.
		now := int(tensors.ToScalar[int32](state[stateStep]))
		if now <= done {
			return state, done, fmt.Errorf("the program made no progress")
		}
		done = now
	}
	return state, done, nil
}

// call runs a compiled graph.
func call(exec *graph.Exec, arrays ...[]*tensors.Tensor) ([]*tensors.Tensor, error) {
	return exec.Call(xslices.Map(slices.Concat(arrays...), func(t *tensors.Tensor) any { return t })...)
}

func replace(state []*tensors.Tensor, at int, t *tensors.Tensor) {
	free(state[at : at+1])
	state[at] = t
}

func free(state []*tensors.Tensor) {
	for _, t := range state {
		t.MustFinalizeAll()
	}
}

// initial returns the state before the first step and the inputs of a stack.
func (p *Program) initial(stack spec.Stack) (state, inputs []*tensors.Tensor, err error) {
	if inputs, err = p.inputs(stack); err != nil {
		return nil, nil, err
	}
	state = []*tensors.Tensor{
		stateStep:     tensors.FromScalar(int32(0)),
		stateEnd:      tensors.FromScalar(int32(0)),
		stateLossSum:  tensors.FromShape(shapes.Make(dtypes.Float32, p.runs)),
		stateDiverged: tensors.FromValue(slices.Repeat([]int32{-1}, p.runs)),
	}
	// Large arrays go to the device one by one, so that the host holds no second copy of them.
	move := func(t *tensors.Tensor) {
		state = append(state, t)
		if err == nil {
			err = t.ToDevice(p.on.Backend, 0)
		}
	}
	for _, g := range p.groups {
		values := xslices.Map(stack[g.first:][:g.runs], func(run spec.Run) [][]float32 {
			return net.Initial(g.net, run.Net.Width, run.Train.Seed)
		})
		for _, t := range g.stack(values) {
			move(t)
		}
	}
	for range p.moments + p.means {
		for _, w := range p.weights {
			move(tensors.FromShape(shapes.Make(dtypes.Float32, w.dims...)))
		}
	}
	if err != nil {
		free(state)
		free(inputs)
		return nil, nil, fmt.Errorf("train: state before the first step: %w", err)
	}
	return state, inputs, nil
}

// inputs returns what a stack's program takes beside its state; tap, if given, in place of the inputs of the program's tap.
func (p *Program) inputs(stack spec.Stack, tap ...any) (inputs []*tensors.Tensor, err error) {
	if len(stack) != p.runs || (p.schedule > 0) != (stack[0].Train.Injection != spec.Injection{}) {
		return nil, fmt.Errorf("train: a stack of %d runs for a program of %d, or an injection schedule in one of them only", len(stack), p.runs)
	}
	mix, err := stack[0].Mixture.Mixture()
	if err != nil {
		return nil, err
	}
	values := []any{
		inputSeed:       []uint32{stack[0].Train.DataSeed(), 0},
		inputThresholds: mix.Thresholds(),
		inputForced:     make([]float32, mix.Tasks()),
		inputRate:       xslices.Map(stack, func(run spec.Run) float32 { return float32(run.Train.Rate) }),
		inputLosses:     make([]int32, mostLossSteps),
	}
	for i, step := range LossSteps(stack[0].Train.Steps) {
		values[inputLosses].([]int32)[i] = int32(step)
	}
	values = append(values, tasks.Constants(mix.Family)...)
	if schedule := mixture.NewSchedule(stack[0].Train.Injection, stack[0].Train.Batch, mix.Frequency); schedule != nil {
		numbers, err := schedule.Inputs()
		if err != nil {
			return nil, err
		}
		values = append(values, numbers...)
	}
	if streamed, ok := mix.Family.(tasks.Streamed); ok {
		values = append(values, tensors.FromShape(blockOf(streamed, stack[0].Train.Batch)), int32(0))
	}
	if p.tap != nil && len(tap) == 0 {
		tap = p.tap.Inputs
	}
	for _, v := range append(values, tap...) {
		t, err := tensors.FromAnyValue(v)
		if err != nil {
			free(inputs)
			return nil, fmt.Errorf("train: %w", err)
		}
		inputs = append(inputs, t)
	}
	return inputs, nil
}

// stack returns the weights of all runs, each as in RunState, as the program's arrays.
func (p *Program) stack(runs [][][]float32) []*tensors.Tensor {
	var arrays []*tensors.Tensor
	for _, g := range p.groups {
		arrays = append(arrays, g.stack(runs[g.first:][:g.runs])...)
	}
	return arrays
}

// stack returns the weights of the group's runs as arrays.
func (g group) stack(runs [][][]float32) []*tensors.Tensor {
	var arrays []*tensors.Tensor
	for i, w := range g.weights {
		arrays = append(arrays, interleave(xslices.Map(runs, func(run [][]float32) []float32 { return run[i] }), w))
	}
	return arrays
}

// weightsOf is the inverse of stack.
func (p *Program) weightsOf(state []*tensors.Tensor) [][][]float32 {
	runs := make([][][]float32, p.runs)
	for i, w := range p.weights {
		tensors.MustConstFlatData(state[stateWeights+i], func(flat []float32) {
			n := w.dims[w.RunAxis]
			for r := range n {
				runs[w.first+r] = append(runs[w.first+r], separate(flat, w.Weight, r, n))
			}
		})
	}
	return runs
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

// snapshot reads the state of all runs, whose weights are given; since is the number of steps that the sum of losses holds.
func (p *Program) snapshot(state, inputs []*tensors.Tensor, weights [][][]float32, step, since int) (Snapshot, error) {
	s := Snapshot{Step: step}
	var err error
	if s.Runs, err = p.evaluated(step, p.weightsIn(state), inputs); err != nil {
		return s, err
	}
	p.fill(&s, state, weights)
	lossSum := tensors.MustCopyFlatData[float32](state[stateLossSum])
	for i := range s.Runs {
		s.Runs[i].Loss = float64(lossSum[i]) / float64(since)
	}
	return s, nil
}

// fill fills in what is known of all runs without evaluating them.
func (p *Program) fill(s *Snapshot, state []*tensors.Tensor, weights [][][]float32) {
	diverged := tensors.MustCopyFlatData[int32](state[stateDiverged])
	for i := range s.Runs {
		s.Runs[i].Weights, s.Runs[i].Diverged = weights[i], int(diverged[i])
	}
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
	schedule := mixture.NewSchedule(t.Injection, t.Batch, make([]float64, t.Injection.Task))
	n := schedule.Injections(t.Steps)
	if n < 2 {
		return steps
	}
	for _, i := range EvaluationSteps(n-1, cycles)[1:] {
		begin, end := schedule.Injection(i - 1)
		next, _ := schedule.Injection(i)
		steps = append(steps, begin, next)
		for after := 0; end+after < next; after = max(1, 2*after) {
			steps = append(steps, end+after)
		}
	}
	slices.Sort(steps)
	return slices.Compact(steps)
}

// longGap is how often a task that is withheld once is measured.
const longGap = 200

// Glances returns the steps beyond Steps at which what is known often is measured: just before and right after every injection of a task
// that is withheld between them, of 25·Evaluations of them at most (and of 1,000), evenly spread, and then just before the next one, too.
// While a task is withheld once, with no injection before the last step, it is measured after some longGap further steps, log-spaced.
func Glances(t spec.Train) []int {
	schedule := mixture.NewSchedule(t.Injection, t.Batch, make([]float64, t.Injection.Task))
	if schedule == nil || schedule.Length == schedule.Gap {
		return nil
	}
	var steps []int
	n := schedule.Injections(t.Steps)
	if begin, end := schedule.Injection(0); schedule.From < t.Steps && end >= t.Steps {
		for _, since := range EvaluationSteps(min(begin, t.Steps)-schedule.From, longGap) {
			steps = append(steps, schedule.From+since)
		}
	}
	seen := min(n, 25*t.Evaluations, 1000)
	for i := range seen {
		i = i * n / seen
		begin, end := schedule.Injection(i)
		next, _ := schedule.Injection(i + 1)
		steps = append(steps, begin, end, min(next, t.Steps))
	}
	slices.Sort(steps)
	known := Steps(t)
	return slices.DeleteFunc(slices.Compact(steps), func(step int) bool { _, there := slices.BinarySearch(known, step); return there })
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
