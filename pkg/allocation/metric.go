package allocation

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"raretask/pkg/backend"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/pkg/train"
	"raretask/tasks"
)

const (
	// Missed is the share of a task's own loss (that of the best constant prediction) that silencing a neuron must cost it for the neuron
	// to count as serving it.
	Missed = .05
	// Had is the share of its own loss that a task must have learned, where losses are of samples, to have something to miss: silencing a
	// neuron also changes what a net wrongly believes about a task that it has not learned.
	Had = .1

	mostNeurons = 4096
)

func init() { train.Register(train.Metric{Name: "allocation", Of: of}) }

// tasksColumns are the columns of each task, in the order of served; that of linear nets is the last.
var tasksColumns = []train.Column{
	{Name: "neurons_held", About: "neurons that serve task k more than any other task", PerTask: true},
	{Name: "neurons_missed", About: fmt.Sprintf("neurons whose silence costs task k %g or more of a constant's loss", Missed), PerTask: true},
	{Name: "neurons_shared", About: "of neurons_missed, those that another task would miss, too", PerTask: true},
	{Name: "own_input_weight", About: "share of the squared input weights of neurons_missed on task k's own inputs, mean", PerTask: true},
	{Name: "capacity", About: "dimensions that the hidden layer has for task k's inputs alone (Scherlis et al. 2022)", PerTask: true},
}

// owner names the column of a neuron, counted from 0.
func owner(neuron int) string { return fmt.Sprintf("owner_%d", neuron+1) }

// of returns the gauge of a run; nil where its net has other than one hidden layer. Losses without a neuron are exact where closed
// forms exist for a linear net, else of the fresh samples of the step, the same for all neurons. A diverged run has no values.
func of(b *backend.Backend, run spec.Run) (*train.Gauge, error) {
	shallow, ok := run.New().(net.Shallow)
	if !ok || shallow.Incoming() < 0 {
		return nil, nil
	}
	if run.Net.Width > mostNeurons {
		return nil, fmt.Errorf("allocation: net.width: %d: want at most %d, as each neuron has a column", run.Net.Width, mostNeurons)
	}
	family := sync.OnceValues(func() (tasks.Family, error) { return run.Mixture.Settings.Family(run.Mixture.Tasks) }) // not while planning
	sampler := &sampler{b: b, run: run}
	losses, columns := sampler.losses, tasksColumns[:len(tasksColumns)-1]
	linear, closed := shallow.(net.Linear)
	form, err := run.Mixture.Theory()
	if closed = closed && err == nil; closed {
		losses, columns = exactly(form, linear, run), tasksColumns
	}
	columns = slices.Clone(columns)
	for n := range run.Net.Width {
		about := fmt.Sprintf("task that neuron %d serves most; 0: none", n+1)
		columns = append(columns, train.Column{Name: owner(n), About: about})
	}
	dim := run.Mixture.Signature().Input.Size()
	host := func(s train.RunState) ([][]float64, error) {
		if s.Diverged >= 0 {
			return make([][]float64, len(columns)), nil
		}
		family, err := family()
		if err != nil {
			return nil, err
		}
		sampler.baseline = family.Baseline()
		effects, err := Ablation(run.Net.Width, func(without int) ([]float64, error) { return losses(s, without) })
		if err != nil {
			return nil, err
		}
		encoder := mat.NewDense(run.Net.Width, dim, nil)
		encoder.Apply(func(n, d int, _ float64) float64 { return float64(s.Weights[shallow.Incoming()][n*dim+d]) }, encoder)
		return values(family, effects, encoder, closed), nil
	}
	return &train.Gauge{Columns: columns, Host: host, Close: sampler.close}, nil
}

// values returns the columns of the metric, given what each neuron is worth to each task [N][K] and what it weighs inputs by.
func values(family tasks.Family, effects [][]float64, encoder *mat.Dense, linear bool) [][]float64 {
	owners := Owners(effects, Missed)
	k := family.Signature().Tasks
	columns := make([][]float64, 4)
	columns[0] = xslices.Map(Held(owners, k), func(n int) float64 { return float64(n) })
	for task := range k {
		missed, shared, weight := 0., 0., 0.
		for n, share := range InputWeight(encoder, family.Relevant(task)) {
			if !(effects[n][task] >= Missed) {
				continue
			}
			missed, weight = missed+1, weight+share
			if missing := slices.DeleteFunc(slices.Clone(effects[n]), func(e float64) bool { return !(e >= Missed) }); len(missing) > 1 {
				shared++
			}
		}
		for i, v := range []float64{missed, shared, weight / missed} { // without neurons there is no mean
			columns[1+i] = append(columns[1+i], v)
		}
	}
	if linear {
		capacity, own := Capacity(encoder), make([]float64, k)
		for task := range own {
			for _, input := range family.Relevant(task) {
				own[task] += capacity[input]
			}
		}
		columns = append(columns, own)
	}
	for _, task := range owners {
		columns = append(columns, []float64{float64(task + 1)})
	}
	return columns
}

// exactly returns the losses of a linear net in closed form, relative to the best constant's, without a neuron (-1: with all).
func exactly(form theory.Mixture, linear net.Linear, run spec.Run) func(train.RunState, int) ([]float64, error) {
	dim := run.Mixture.Signature().Input.Size()
	return func(s train.RunState, without int) ([]float64, error) {
		encoder, decoders := linear.Linear(s.Weights)
		if without >= 0 {
			encoder = slices.Clone(encoder)
			clear(encoder[without*dim:][:dim])
		}
		loss, err := theory.FullLoss(form, encoder, decoders, run.Net.Width, dim)
		return loss.Normalized, err
	}
}

// sampler evaluates a run on fresh samples, through a tap that silences neurons.
type sampler struct {
	b        *backend.Backend
	run      spec.Run
	baseline []float64
	program  *train.Program // compiled when it is first used
}

// losses returns each task's loss on the samples of the state's step, relative to the best constant's, without a neuron (-1: with all; then
// NaN for a task that the net doesn't have, so that it misses no neuron).
func (a *sampler) losses(s train.RunState, without int) ([]float64, error) {
	stack := spec.Stack{a.run}
	mask := [][]float32{slices.Repeat([]float32{1}, a.run.Net.Width)} // [S, N]
	if a.program == nil {
		var err error
		if a.program, err = train.New(a.b, stack, train.Options{Metrics: []string{}, Tap: silence(mask)}); err != nil {
			return nil, err
		}
	}
	if without >= 0 {
		mask[0][without] = 0
	}
	states, err := a.program.Evaluate(stack, s.Step, [][][]float32{s.Weights}, mask)
	if err != nil {
		return nil, err
	}
	relative := floats.DivTo(make([]float64, len(a.baseline)), states[0].Sampled, a.baseline)
	for k, loss := range relative {
		if without < 0 && loss > 1-Had {
			relative[k] = math.NaN()
		}
	}
	return relative, nil
}

func (a *sampler) close() {
	if a.program != nil {
		a.program.Finalize()
	}
}

// silence returns the tap that multiplies the neurons of "hidden" by a mask [S, N].
func silence(mask [][]float32) *train.Tap {
	return &train.Tap{Key: "silence", Inputs: []any{mask}, Build: func(name string, activation *graph.Node, inputs []*graph.Node) *graph.Node {
		if name != "hidden" {
			return activation
		}
		return graph.Mul(activation, graph.InsertAxes(inputs[0], 1)) // [S, B, N]
	}}
}
