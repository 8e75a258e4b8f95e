package mixture

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/tasks"
)

// tileRows returns the rows of a tile: the largest divisor of the batch that is at most 16. Smaller tiles mask
// fewer rows but make the products for each pair too small to be fast; 16 was the best of 8, 16 and 32 on two cores.
func tileRows(rows int) int {
	for r := 16; ; r-- {
		if rows%r == 0 {
			return r
		}
	}
}

// Batch is a batch of B samples, sorted by task, and its tiling.
//
// Computing with the weights of each sample's own task would take a gather of weights for each sample, or a
// product with all K tasks' weights. The order of samples in a batch is irrelevant, so they are sorted by
// task and the B rows cut into tiles of R rows; a pair is a tile and a task that has rows in it. There are at
// most P = B/R + K - 1 pairs, a static number: weights are picked once for each pair by a product with PairTask, rows
// by a product with PairTile, and rows of a pair that are not of its task are masked. Independent draws
// keep their distribution exactly.
type Batch struct {
	X          *Node // [B, D] inputs
	Y          *Node // [B, O] targets
	Task       *Node // [B, K] one-hot task of each row
	PairTile   *Node // [P, B/R] one-hot tile of each pair; zero for unused pairs
	PairTask   *Node // [P, K] one-hot task of each pair; zero for unused pairs
	Mask       *Node // [P, R] 1 where the row is of the pair's task
	PairTarget *Node // [P, R, O] targets of each pair's rows
	Counts     *Node // [K] samples of each task
}

// Pair returns the rows of v [B, ...] for each pair: [P, R, ...].
func (b *Batch) Pair(v *Node) *Node {
	dims, tiles := v.Shape().Dimensions, b.PairTile.Shape().Dim(1)
	return pick(b.PairTile, Reshape(v, append([]int{tiles, dims[0] / tiles}, dims[1:]...)...))
}

// PairOwn returns the entry of v [K, ...] of each pair's task: [P, ...]; zero for unused pairs.
func (b *Batch) PairOwn(v *Node) *Node { return pick(b.PairTask, v) }

// pick returns entries of v [n, ...] by one-hot rows [m, n]: [m, ...]. It is a product of matrices because the gradient of one that
// keeps v's axes apart costs XLA's CPU compiler transposed copies of all entries: 15% of a step of Figure 2 at full size.
func pick(oneHot, v *Node) *Node {
	dims := v.Shape().Dimensions
	picked := Dot(oneHot, Reshape(v, dims[0], size(dims[1:]))).Product()
	return Reshape(picked, append([]int{-1}, dims[1:]...)...)
}

// OwnTask returns, for each row of the batch, the entry of v [K, ...] that belongs to the row's task: [B, ...]. It picks
// entries rather than multiply by the one-hot task: with 100 tasks, 64 bits, widths 16 … 512 and 4 seeds, a step of 1,024
// samples then takes 56 ms of processor time rather than 88, as little as without any code.
func (b *Batch) OwnTask(v *Node) *Node {
	dims := v.Shape().Dimensions
	task := ReduceSum(Mul(b.Task, Iota(v.Graph(), b.Task.Shape(), 1)), 1)
	picked := Gather(Reshape(v, dims[0], size(dims[1:])), ConvertDType(InsertAxes(task, -1), dtypes.Int32), true)
	return Reshape(picked, append([]int{-1}, dims[1:]...)...)
}

// Draw draws a batch of size rows. cumulative [K] holds the running sums of the frequencies of independent
// draws; forced [K] (float32, whole numbers) is how many further samples each task gets for certain: those
// take the place of independent draws.
func Draw(family tasks.Family, random tasks.Random, cumulative, forced *Node, rows int) *Batch {
	uB := random.Uniform(rows)
	free := Sub(Scalar(uB.Graph(), dtypes.Float32, rows), ReduceAllSum(forced))
	drawn := ConvertDType(LessThan(Iota(uB.Graph(), uB.Shape(), 0), free), dtypes.Float32)
	below := ConvertDType(LessThan(InsertAxes(uB, -1), InsertAxes(cumulative, 0)), dtypes.Float32) // [B, K]
	end := Add(ReduceSum(Mul(below, InsertAxes(drawn, -1)), 0), CumSum(forced, 0))
	return Arrange(family, random, end, rows)
}

// Draws returns what an injection schedule makes of the draws of the step after step (int32 scalar) steps: the
// cumulative frequencies and the certain samples that Draw takes, both [K]. schedule is Schedule.Inputs, usual the
// cumulative frequencies without a schedule.
func Draws(step, usual *Node, schedule []*Node) (cumulative, forced *Node) {
	g := step.Graph()
	numbers, fraction, taskK, withheldK := schedule[0], schedule[1], schedule[2], schedule[3]
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
	return Where(BroadcastToShape(active, shapes.Make(dtypes.Bool, usual.Shape().Dimensions...)), withheldK, usual), forced
}

// Arrange draws a batch in which the rows of task k end before row end[k] (float32 [K], whole, ascending, the
// last one equal to rows).
func Arrange(family tasks.Family, random tasks.Random, end *Node, rows int) *Batch {
	g := end.Graph()
	k := family.Tasks()
	r := tileRows(rows)
	tiles := rows / r
	begin := Concatenate([]*Node{Const(g, []float32{0}), Slice(end, AxisRange(0, k-1))}, 0)
	between := func(v *Node, from, to *Node) *Node { // v [n] against K intervals: [n, K]
		v = InsertAxes(v, -1)
		return ConvertDType(LogicalAnd(GreaterOrEqual(v, InsertAxes(from, 0)), LessThan(v, InsertAxes(to, 0))), dtypes.Float32)
	}
	count := func(n int) *Node { return Iota(g, shapes.Make(dtypes.Float32, n), 0) }

	b := &Batch{Counts: Sub(end, begin)}
	b.Task = between(count(rows), begin, end)
	b.X, b.Y = family.Draw(random, b.Task)

	// Task k touches tiles first[k] … last[k]; its pairs are numbered after those of the tasks before it.
	first := Floor(DivScalar(begin, r))
	last := Floor(DivScalar(AddScalar(end, -1), r))
	touched := Mul(AddScalar(Sub(last, first), 1), ConvertDType(GreaterThan(b.Counts, ScalarZero(g, dtypes.Float32)), dtypes.Float32))
	pairEnd := CumSum(touched, 0)
	pairBegin := Sub(pairEnd, touched)
	pair := count(tiles + k - 1)
	b.PairTask = between(pair, pairBegin, pairEnd)
	pick := func(v *Node) *Node { return ReduceSum(Mul(b.PairTask, InsertAxes(v, 0)), 1) } // [P] value of the pair's task
	used := ReduceSum(b.PairTask, 1)
	tile := Add(Sub(Add(pick(first), pair), pick(pairBegin)), MulScalar(OneMinus(used), -float64(2*rows))) // unused: no tile
	b.PairTile = ConvertDType(Equal(InsertAxes(tile, -1), InsertAxes(count(tiles), 0)), dtypes.Float32)
	row := Add(InsertAxes(MulScalar(tile, r), -1), InsertAxes(count(r), 0)) // [P, R]
	inside := LogicalAnd(GreaterOrEqual(row, InsertAxes(pick(begin), -1)), LessThan(row, InsertAxes(pick(end), -1)))
	b.Mask = ConvertDType(inside, dtypes.Float32)
	b.PairTarget = b.Pair(b.Y)
	return b
}
