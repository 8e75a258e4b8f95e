package corpus

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/floats"

	"raretask/tasks"
)

// streamed is what families have in common whose windows the host gathers: for training a step's, for evaluation some that are never
// trained on.
type streamed struct {
	task    Task
	heldOut [][]int32 // windows [n, L]

	rows              *Node // of a graph: windows [B, L] that a batch is made of
	held, train, test *Node // of a graph, in place of Constants
}

func newStreamed(task Task, heldOut [][]int32) streamed {
	return streamed{task: task, heldOut: heldOut}
}

// heldRows returns how many windows are held for evaluation.
func heldRows(window int) int { return min(1<<12, 1<<22/window) }

// Row implements tasks.Streamed: a window.
func (s *streamed) Row() tasks.Array {
	return tasks.Array{Dims: []int{len(s.heldOut[0])}, Type: dtypes.Int32}
}

// Instances implements Family.
func (s *streamed) Instances() (train, test *Node) { return s.train, s.test }

// Constants implements tasks.Parametric: windows that are held out [n, L], and the training and test instances [n, 4].
func (s *streamed) Constants() []any { return []any{s.heldOut, s.task.Train, s.task.Test} }

func (s *streamed) bind(constants []*Node) {
	s.held, s.train, s.test = constants[0], constants[1], constants[2]
}

// Draw implements tasks.Family: windows that were gathered for training, or else such as are held out. Targets are the tokens that follow.
func (s *streamed) Draw(random tasks.Random, taskBK *Node) (xBL, yBL *Node) {
	g, rows := taskBK.Graph(), taskBK.Shape().Dim(0)
	held, train := s.held, s.train
	if held == nil {
		held, train = Const(g, s.heldOut), Const(g, s.task.Train)
	}
	uniform := random.Uniform(rows, 2)
	window := s.rows
	if window == nil {
		window = pickRows(held, uniform, 0)
	}
	return inject(window, pickRows(train, uniform, 1), taskBK)
}

// every returns 0 … n-1.
func every(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// pickRows returns rows of a table [n, ...], each equally likely, by a column of numbers in (0, 1) [B, m].
func pickRows(table, uniform *Node, column int) *Node {
	n := table.Shape().Dim(0)
	at := MulScalar(Slice(uniform, AxisRange(), AxisElem(column)), float64(n))
	return Gather(table, MinScalar(ConvertDType(at, dtypes.Int32), float64(n-1)), false)
}

// inject puts instances [B, 4] in the place of the first tokens of those windows [B, L] that are of the novel task, and returns all but the
// last token of each window, and all but the first [B, L-1].
func inject(window, instances, taskBK *Node) (xBL, yBL *Node) {
	rows, l := window.Shape().Dim(0), window.Shape().Dim(1)
	novel := BroadcastToShape(GreaterThan(Slice(taskBK, AxisRange(), AxisElem(Novel)), Const(taskBK.Graph(), float32(.5))),
		shapes.Make(dtypes.Bool, rows, instance))
	begin := Where(novel, instances, Slice(window, AxisRange(), AxisRange(0, instance)))
	if l > instance {
		begin = Concatenate([]*Node{begin, Slice(window, AxisRange(), AxisRange(instance))}, 1)
	}
	return Slice(begin, AxisRange(), AxisRange(0, l-1)), Slice(begin, AxisRange(), AxisRange(1))
}

// baseline returns the entropy of a token at an unknown place that is predicted, in windows of a language of some frequencies and in such
// as begin with a training instance.
func (t Task) baseline(frequency []float64, window int) []float64 {
	novel := make([]float64, len(frequency))
	positions := float64(window - 1)
	floats.AddScaled(novel, (positions-(instance-1))/positions, frequency)
	for _, row := range t.Train {
		for _, token := range row[1:] {
			novel[token] += 1 / positions / float64(len(t.Train))
		}
	}
	return []float64{entropy(frequency), entropy(novel)}
}
