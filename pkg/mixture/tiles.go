package mixture

import (
	"slices"

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
