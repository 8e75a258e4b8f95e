package train

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// pieceBytes bounds what an evaluation holds at a time: so many tasks are evaluated at once as fit. Sums over samples round by it in the
// seventh digit, and so by Cost.sample: to change either changes what evaluations say to the last bit.
const pieceBytes = 128 << 20

// wordRows is of how many rows each piece must be a multiple: random bits come in words of as many.
const wordRows = 32

// pieceOf returns how many tasks of a stack are evaluated at a time, a function of its settings alone. It divides their number, so that the
// mean over pieces is that over tasks.
func pieceOf(stack spec.Stack) int {
	k, rows := stack[0].Mixture.Tasks, rowsOf(stack[0].Mixture.Signature())
	if rows < wordRows {
		return k
	}
	n := max(1, min(k, pieceBytes/(rows*CostOf(stack).sample)))
	for k%n != 0 {
		n--
	}
	return n
}

// Evaluate returns the state of the runs of a stack, which must be of this program, with weights that need not have been trained by it: one
// set for each run, as in RunState. Samples are those of a step of the stack's data stream. tap, if given, stand in for the inputs of the
// program's tap. Loss is not known (NaN), and no run counts as diverged.
func (p *Program) Evaluate(stack spec.Stack, step int, weights [][][]float32, tap ...any) ([]RunState, error) {
	if err := p.fit(weights); err != nil {
		return nil, err
	}
	if len(tap) > 0 && (p.tap == nil || len(tap) != len(p.tap.Inputs)) {
		return nil, fmt.Errorf("train: %d inputs of a tap: want none, or as many as the program's tap has", len(tap))
	}
	inputs, err := p.inputs(stack, tap...)
	if err != nil {
		return nil, err
	}
	defer free(inputs)
	arrays := p.stack(weights)
	defer free(arrays)
	runs, err := p.evaluated(step, arrays, inputs)
	for i := range runs {
		runs[i].Weights, runs[i].Loss, runs[i].Diverged = weights[i], math.NaN(), -1
	}
	return runs, err
}

// fit returns an error for weights that are not those of the program's nets.
func (p *Program) fit(weights [][][]float32) error {
	if len(weights) != p.runs {
		return fmt.Errorf("train: %d sets of weights for a program of %d runs: want as many", len(weights), p.runs)
	}
	for _, g := range p.groups {
		for r, run := range weights[g.first:][:g.runs] {
			same := func(values []float32, w net.Weight) bool { return len(values) == w.Size() }
			if !slices.EqualFunc(run, g.weights, same) {
				return fmt.Errorf("train: weights of run %d: want the %d arrays of its net, of its sizes", g.first+r, len(g.weights))
			}
		}
	}
	return nil
}

// evaluated returns what the evaluation says of all runs, piece by piece.
func (p *Program) evaluated(step int, weights, inputs []*tensors.Tensor) ([]RunState, error) {
	k := p.mixture.Tasks()
	runs := make([]RunState, p.runs)
	for i := range runs {
		runs[i].Step, runs[i].Sampled = step, make([]float64, k)
	}
	for first := 0; first < k; first += p.piece {
		if err := p.evaluatePiece(step, first, weights, inputs, runs); err != nil {
			return nil, fmt.Errorf("train: evaluation at step %d: %w", step, err)
		}
	}
	return runs, nil
}

// evaluatePiece fills in what is known of the tasks from first on.
func (p *Program) evaluatePiece(step, first int, weights, inputs []*tensors.Tensor, runs []RunState) error {
	scalars := []*tensors.Tensor{tensors.FromScalar(int32(step)), tensors.FromScalar(int32(first))}
	defer free(scalars)
	out, err := call(p.evaluate, scalars, weights, inputs)
	if err != nil {
		return err
	}
	defer free(out)
	k := p.mixture.Tasks()
	losses := tensors.MustCopyFlatData[float32](out[0])
	for r := range runs {
		for task := first; task < first+p.piece; task++ {
			runs[r].Sampled[task] = float64(losses[r*k+task])
		}
	}
	at := 1
	for _, g := range p.groups {
		column := 0
		for _, gauge := range g.graphs {
			for _, c := range gauge.Columns {
				values := tensors.MustCopyFlatData[float32](out[at])
				for r := range g.runs {
					runs[g.first+r].add(column, c, values[r*len(values)/g.runs:][:len(values)/g.runs], first, p.piece, k)
				}
				at, column = at+1, column+1
			}
		}
	}
	return nil
}

// add takes over a column of a piece: of its tasks, or its share of the mean over pieces.
func (s *RunState) add(column int, c Column, values []float32, first, piece, tasks int) {
	if column == len(s.Graph) {
		s.Graph = append(s.Graph, make([]float64, map[bool]int{true: tasks, false: 1}[c.PerTask]))
	}
	if !c.PerTask {
		s.Graph[column][0] += float64(values[0]) / float64(tasks/piece)
		return
	}
	for task := first; task < first+piece; task++ {
		s.Graph[column][task] = float64(values[task])
	}
}

// evaluateGraph returns the mean loss of each task [runs, K] on fresh samples of each of some tasks, and what metrics
// measure of them: given the step, the first of the tasks, the weights and the inputs. Samples of a task are the same whatever the piece.
func (p *Program) evaluateGraph(arrays []*Node) []*Node {
	step, first, weights := arrays[0], arrays[1], arrays[2:][:len(p.weights)]
	inputs := arrays[2+len(p.weights):]
	constants, _, _, tap := p.split(step, inputs)
	g := step.Graph()
	k, each := p.mixture.Tasks(), rowsOf(p.mixture.Family.Signature())
	rows := p.piece * each
	random := mixture.NewRandom(inputs[inputSeed], step, evaluationSamples)
	end := MulScalar(AddScalar(Iota(g, shapes.Make(dtypes.Float32, k), 0), 1), each)
	if p.piece < k {
		random = random.From(MulScalar(first, int32(each)))
		end = Sub(end, MulScalar(ConvertDType(first, dtypes.Float32), each))
		end = MinScalar(MaxScalar(end, 0.), float64(rows))
	}
	family := tasks.Bind(p.mixture.Family, constants)
	batch := mixture.Arrange(family, random, end, rows)
	out := []*Node{nil}
	var losses []*Node
	at := 0
	for _, group := range p.groups {
		own := weights[at:][:len(group.weights)]
		loss, count := group.net.Forward(p.mixture.Family, own, batch, tap)
		if count != nil {
			loss = Div(MulScalar(loss, each), InsertAxes(MaxScalar(count, 1e-30), 0))
		}
		losses = append(losses, loss)
		piece := Piece{Family: family, Net: group.net, Weights: own, Batch: batch, Rows: each, Tap: tap}
		for _, gauge := range group.graphs {
			out = append(out, gauge.Graph(piece)...)
		}
		at += len(group.weights)
	}
	out[0] = DivScalar(Concatenate(losses, 0), each)
	return out
}
