package mixture

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/tasks"
)

// Batch is a batch of B samples, sorted by task: independent draws keep their distribution exactly, as the order of samples in a batch is
// irrelevant.
type Batch struct {
	X      *Node // [B, Input...]
	Y      *Node // [B, Target...]
	Task   *Node // [B, K] one-hot task of each row
	Counts *Node // [K] samples of each task

	end   *Node  // [K] rows of task k end before it
	tiles *Tiles // where a network has asked for them
}

// OwnTask returns, for each row of the batch, the entry of v [K, ...] that belongs to the row's task: [B, ...]. It picks
// entries rather than multiply by the one-hot task, which would be a third of a step's work (pkg/bench/README.md).
func (b *Batch) OwnTask(v *Node) *Node {
	dims := v.Shape().Dimensions
	task := ReduceSum(Mul(b.Task, Iota(v.Graph(), b.Task.Shape(), 1)), 1)
	picked := Gather(Reshape(v, dims[0], tasks.Size(dims[1:])), ConvertDType(InsertAxes(task, -1), dtypes.Int32), true)
	return Reshape(picked, append([]int{-1}, dims[1:]...)...)
}

// Draw draws a batch of size rows. thresholds (uint32 [2, K]) are those of Mixture.Thresholds for independent draws;
// forced [K] (float32, whole numbers) is how many further samples each task gets for certain: those take the place
// of independent draws.
func Draw(family tasks.Family, random *Random, thresholds, forced *Node, rows int) *Batch {
	g := forced.Graph()
	all := func(v uint32) *Node { return BroadcastToDims(Const(g, v), rows) }
	drawn := LessThan(Iota(g, shapes.Make(dtypes.Float32, rows), 0), Sub(Scalar(g, dtypes.Float32, rows), ReduceAllSum(forced)))
	row := func(word *Node) *Node { // [B, 1]; all ones where the row isn't drawn, which is below no threshold
		return InsertAxes(OptimizationBarrier(Where(drawn, word, all(math.MaxUint32))), -1)
	}
	// A barrier for each word: one for both would make a step of Figure 2 at the reduced scale 5% longer.
	high, low := random.blocks(rows, 32)
	high, low = row(high), row(BitwiseAnd(low, all(math.MaxUint32-1)))
	endHigh, endLow := Slice(thresholds, AxisElem(0)), Slice(thresholds, AxisElem(1)) // [1, K]
	below := LogicalOr(LessThan(high, endHigh), LogicalAnd(Equal(high, endHigh), LessThan(low, endLow)))
	end := Add(ReduceSum(ConvertDType(below, dtypes.Float32), 0), CumSum(forced, 0))
	return Arrange(family, random, end, rows)
}

// Draws returns what an injection schedule makes of the draws of the step after step (int32 scalar) steps: the
// thresholds and the certain samples that Draw takes. schedule is Schedule.Inputs, usual the thresholds without a schedule.
func Draws(step, usual *Node, schedule []*Node) (thresholds, forced *Node) {
	g := step.Graph()
	numbers, fraction, taskK, withheld := schedule[0], schedule[1], schedule[2], schedule[3]
	number := func(i int) *Node { return Reshape(Slice(numbers, AxisElem(i))) }
	from, until, gap, length, whole := number(0), number(1), number(2), number(3), number(4)
	active := LogicalAnd(GreaterOrEqual(step, from), LessThan(step, until))
	since := Sub(step, from)
	at := Mod(since, gap)
	first := Sub(gap, length)
	index := ConvertDType(Add(Add(Mul(Div(since, gap), length), Sub(at, first)), Const(g, int32(1))), dtypes.Uint32)
	carried := LessThan(Mul(index, fraction), fraction)
	count := Add(ConvertDType(whole, dtypes.Float32), ConvertDType(carried, dtypes.Float32))
	injecting := LogicalAnd(active, GreaterOrEqual(at, first))
	forced = Mul(taskK, Mul(count, ConvertDType(injecting, dtypes.Float32)))
	return Where(BroadcastToShape(active, shapes.Make(dtypes.Bool, usual.Shape().Dimensions...)), withheld, usual), forced
}

// Arrange draws a batch in which the rows of task k end before row end[k] (float32 [K], whole, ascending, the
// last one equal to rows).
func Arrange(family tasks.Family, random tasks.Random, end *Node, rows int) *Batch {
	g, begin := end.Graph(), begin(end)
	rowsB := Iota(g, shapes.Make(dtypes.Float32, rows), 0)
	b := &Batch{Counts: Sub(end, begin), Task: between(rowsB, begin, end), end: end}
	b.X, b.Y = family.Draw(random, b.Task)
	return b
}

// between returns 1 where entries of v [n] lie in one of K intervals: [n, K].
func between(v, from, to *Node) *Node {
	v = InsertAxes(v, -1)
	return ConvertDType(LogicalAnd(GreaterOrEqual(v, InsertAxes(from, 0)), LessThan(v, InsertAxes(to, 0))), dtypes.Float32)
}

// begin returns the first row of each task [K].
func begin(end *Node) *Node {
	return Concatenate([]*Node{Const(end.Graph(), []float32{0}), Slice(end, AxisRange(0, end.Shape().Dim(0)-1))}, 0)
}
