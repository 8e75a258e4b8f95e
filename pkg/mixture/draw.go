package mixture

import (
	"fmt"
	"math"
	"slices"

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

// Parts returns the arrays of a batch that is cut into parts of equal size, whose shapes PartShapes gives, as a loop over them carries
// them.
func (b *Batch) Parts(of []shapes.Shape) []*Node {
	parts := []*Node{b.X, b.Y, b.Task, b.end}
	for i, shape := range of {
		parts[i] = Reshape(parts[i], shape.Dimensions...)
	}
	return parts
}

// PartShapes returns the shapes of the arrays of n parts of a batch of rows, of a family of this signature.
func PartShapes(of tasks.Signature, rows, n int) []shapes.Shape {
	cut := func(of tasks.Array) shapes.Shape {
		return shapes.Make(of.Type, slices.Concat([]int{n, rows / n}, of.Dims)...)
	}
	task := tasks.Array{Dims: []int{of.Tasks}, Type: dtypes.Float32}
	return []shapes.Shape{cut(of.Input), cut(of.Target), cut(task), shapes.Make(dtypes.Float32, of.Tasks)}
}

// Part returns the batch that is the i-th of parts (int32 scalar).
func Part(parts []*Node, i *Node) *Batch {
	own := func(v *Node) *Node { return Gather(v, Reshape(i, 1), false) } // compute v0.1.5's Go backend has no DynamicSlice
	b := &Batch{X: own(parts[0]), Y: own(parts[1]), Task: own(parts[2])}
	rows := float64(b.Task.Shape().Dim(0))
	before := MulScalar(ConvertDType(i, dtypes.Float32), rows)
	b.end = MinScalar(MaxScalar(Sub(parts[3], before), 0.), rows)
	b.Counts = Sub(b.end, begin(b.end))
	return b
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
	of := family.Signature()
	signed(b.X, of.Input, rows)
	signed(b.Y, of.Target, rows)
	return b
}

// signed panics unless v is what a family says that it draws for each of so many rows.
func signed(v *Node, want tasks.Array, rows int) {
	if shape := shapes.Make(want.Type, slices.Concat([]int{rows}, want.Dims)...); !v.Shape().Equal(shape) {
		panic(fmt.Sprintf("mixture: a family drew %s: want %s, as its Signature says", v.Shape(), shape))
	}
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

// tileRows returns the rows of a tile: the largest divisor of the batch that is at most 16. Smaller tiles mask
// fewer rows but make the products for each pair too small to be fast; 16 was the best of 8, 16 and 32 on two cores.
func tileRows(rows int) int {
	for r := 16; ; r-- {
		if rows%r == 0 {
			return r
		}
	}
}

// Tiles is the tiling of a batch, for networks with a readout for each task.
//
// Computing with the weights of each sample's own task would take a gather of weights for each sample, or a product with all K tasks'
// weights. So the B rows, sorted by task, are cut into tiles of R rows; a pair is a tile and a task that has rows in it. There are at most
// P = B/R + K - 1 pairs, a static number: weights are picked once for each pair by a product with PairTask, rows by a product with
// PairTile, and rows of a pair that are not of its task are masked.
type Tiles struct {
	PairTile *Node // [P, B/R] one-hot tile of each pair; zero for unused pairs
	PairTask *Node // [P, K] one-hot task of each pair; zero for unused pairs
	Mask     *Node // [P, R] 1 where the row is of the pair's task
	Target   *Node // [P, R, O] targets of each pair's rows
}

// Pairs returns how many pairs a batch is tiled into, and the rows of a tile.
func Pairs(batch, tasks int) (pairs, rows int) {
	rows = tileRows(batch)
	return batch/rows + tasks - 1, rows
}

// Tiles returns the batch's tiling.
func (b *Batch) Tiles() *Tiles {
	if b.tiles == nil {
		b.tiles = newTiles(b)
	}
	return b.tiles
}

func newTiles(b *Batch) *Tiles {
	g, begin, end := b.end.Graph(), begin(b.end), b.end
	rows, k := b.Task.Shape().Dim(0), b.Task.Shape().Dim(1)
	pairs, r := Pairs(rows, k)
	tiles := rows / r
	count := func(n int) *Node { return Iota(g, shapes.Make(dtypes.Float32, n), 0) }
	t := new(Tiles)
	// Task k touches tiles first[k] … last[k]; its pairs are numbered after those of the tasks before it.
	first := Floor(DivScalar(begin, r))
	last := Floor(DivScalar(AddScalar(end, -1), r))
	present := ConvertDType(GreaterThan(b.Counts, ScalarZero(g, dtypes.Float32)), dtypes.Float32)
	touched := Mul(AddScalar(Sub(last, first), 1), present)
	pairEnd := CumSum(touched, 0)
	pairBegin := Sub(pairEnd, touched)
	pair := count(pairs)
	t.PairTask = between(pair, pairBegin, pairEnd)
	own := func(v *Node) *Node { return ReduceSum(Mul(t.PairTask, InsertAxes(v, 0)), 1) } // [P] value of the pair's task
	used := ReduceSum(t.PairTask, 1)
	tile := Add(Sub(Add(own(first), pair), own(pairBegin)), MulScalar(OneMinus(used), -float64(2*rows))) // unused: no tile
	t.PairTile = ConvertDType(Equal(InsertAxes(tile, -1), InsertAxes(count(tiles), 0)), dtypes.Float32)
	row := Add(InsertAxes(MulScalar(tile, r), -1), InsertAxes(count(r), 0)) // [P, R]
	inside := LogicalAnd(GreaterOrEqual(row, InsertAxes(own(begin), -1)), LessThan(row, InsertAxes(own(end), -1)))
	t.Mask = ConvertDType(inside, dtypes.Float32)
	t.Target = t.Pair(b.Y)
	return t
}

// Pair returns the rows of v [B, ...] for each pair: [P, R, ...].
func (t *Tiles) Pair(v *Node) *Node {
	dims, tiles := v.Shape().Dimensions, t.PairTile.Shape().Dim(1)
	return pick(t.PairTile, Reshape(v, append([]int{tiles, dims[0] / tiles}, dims[1:]...)...))
}

// Rows is the inverse of Pair: the rows [B, ...] of v [P, R, ...], each from the pair that has it unmasked.
func (t *Tiles) Rows(v *Node) *Node {
	dims := v.Shape().Dimensions
	mask := Reshape(t.Mask, append([]int{dims[0], dims[1]}, slices.Repeat([]int{1}, len(dims)-2)...)...)
	rows := pick(Transpose(t.PairTile, 0, 1), Mul(v, mask)) // [B/R, R, ...]
	return Reshape(rows, append([]int{-1}, dims[2:]...)...)
}

// Own returns the entry of v [K, ...] of each pair's task: [P, ...]; zero for unused pairs.
func (t *Tiles) Own(v *Node) *Node { return pick(t.PairTask, v) }

// pick returns entries of v [n, ...] by one-hot rows [m, n]: [m, ...]. It is a product of matrices because the gradient of one that
// keeps v's axes apart costs XLA's CPU compiler transposed copies of all entries: 15% of a step of Figure 2 at full size.
func pick(oneHot, v *Node) *Node {
	dims := v.Shape().Dimensions
	picked := Dot(oneHot, Reshape(v, dims[0], tasks.Size(dims[1:]))).Product()
	return Reshape(picked, append([]int{-1}, dims[1:]...)...)
}
