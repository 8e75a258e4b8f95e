package mixture

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/tasks"
)

// Random draws numbers inside a graph from the counter-based generator Threefry-2x32-20 (Salmon et al. 2011,
// "Parallel random numbers: as easy as 1, 2, 3"), keyed by (seed, step): any step's batch can be drawn without
// the steps before it, and every backend draws the same bits. GoMLX's own generator differs between its
// backends and threads a state through every call.
type Random struct {
	key   [2]*Node // uint32 scalars
	calls uint32
	first *Node // of the rows drawn, of a larger draw (uint32 scalar); nil: 0
}

// NewRandom returns the source of one step. seed is uint32 [2], step an int32 scalar; purpose separates
// streams that share them.
func NewRandom(seed, step *Node, purpose uint32) *Random {
	g := seed.Graph()
	k0 := Reshape(Slice(seed, AxisElem(0)))
	k1 := Reshape(Slice(seed, AxisElem(1)))
	c0, c1 := threefry(k0, k1, ConvertDType(step, dtypes.Uint32), Const(g, purpose))
	return &Random{key: [2]*Node{c0, c1}}
}

// From returns the source of rows from first on (an int32 scalar, a multiple of 32) of what r draws: rows are the leading axis of every
// draw, and numbers are the same however many are drawn at a time.
func (r *Random) From(first *Node) *Random {
	return &Random{key: r.key, calls: r.calls, first: ConvertDType(first, dtypes.Uint32)}
}

// words returns n fresh uint32 numbers, of which 32 rows have per32. The second word of each Threefry block goes unused: joining both
// halves costs more than drawing them. The barrier keeps XLA from computing the words again in every operation that reads them.
func (r *Random) words(n, per32 int) *Node {
	word, _ := r.blocks(n, per32)
	return OptimizationBarrier(word)
}

// blocks returns both words (uint32 [n]) of n fresh Threefry blocks, of which 32 rows have per32.
func (r *Random) blocks(n, per32 int) (high, low *Node) {
	g := r.key[0].Graph()
	counter := Iota(g, shapes.Make(dtypes.Uint32, n), 0)
	if r.first != nil {
		counter = Add(counter, Mul(DivScalar(r.first, uint32(32)), Const(g, uint32(per32))))
	}
	high, low = threefry(r.key[0], r.key[1], counter, BroadcastToDims(Const(g, r.calls), n))
	r.calls++
	return high, low
}

// Uniform implements tasks.Random: the centres of 2^23 equal cells of (0, 1), which are exact in float32.
func (r *Random) Uniform(dims ...int) *Node {
	cell := ConvertDType(BitwiseShiftRightLogicalScalar(r.words(tasks.Size(dims), 32*perRow(dims)), uint32(9)), dtypes.Float32)
	return Reshape(MulScalar(AddScalar(cell, 0.5), math.Exp2(-23)), dims...)
}

// Bits implements tasks.Random: all 32 bits of each word.
func (r *Random) Bits(dims ...int) *Node {
	g, n := r.key[0].Graph(), tasks.Size(dims)
	words := (n + 31) / 32
	wide := BroadcastToDims(InsertAxes(r.words(words, perRow(dims)), -1), words, 32)
	shifted := BitwiseShiftRightLogical(wide, Iota(g, shapes.Make(dtypes.Uint32, words, 32), 1))
	bits := ConvertDType(BitwiseAnd(shifted, Const(g, uint32(1))), dtypes.Float32)
	return OptimizationBarrier(Reshape(Slice(Reshape(bits, words*32), AxisRange(0, n)), dims...))
}

// Normal implements tasks.Random: the quantile function of uniform numbers, sqrt(2) erfinv(2u - 1). On the cells of
// Uniform that is at most 5.4 in size. (Box and Muller's way needs sines, which XLA computes one by one on a CPU.)
func (r *Random) Normal(dims ...int) *Node {
	x := AddScalar(MulScalar(r.Uniform(dims...), 2), -1)
	return OptimizationBarrier(MulScalar(erfInv(x), math.Sqrt2))
}

// erfInv is the inverse error function in single precision, by the polynomials of M. Giles, "Approximating the erfinv
// function" (GPU Computing Gems 2, 2011). GoMLX has erf but not its inverse.
func erfInv(x *Node) *Node {
	polynomial := func(w *Node, coefficients ...float64) *Node {
		p := Scalar(w.Graph(), w.DType(), coefficients[0])
		for _, c := range coefficients[1:] {
			p = AddScalar(Mul(p, w), c)
		}
		return p
	}
	w := Neg(Log(Mul(OneMinus(x), OnePlus(x))))
	centre := polynomial(AddScalar(w, -2.5), 2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06,
		.00021858087, -.00125372503, -.00417768164, .246640727, 1.50140941)
	tail := polynomial(AddScalar(Sqrt(w), -3), -.000200214257, .000100950558, .00134934322, -.00367342844,
		.00573950773, -.0076224613, .00943887047, 1.00167406, 2.83297682)
	return Mul(x, Where(LessThan(w, Scalar(w.Graph(), w.DType(), 5)), centre, tail))
}

// threefry encrypts the counter (c0, c1) with the key (k0, k1) in 20 rounds. All are uint32; scalars broadcast.
func threefry(k0, k1, c0, c1 *Node) (x0, x1 *Node) {
	parity := BitwiseXor(BitwiseXor(k0, k1), Const(k0.Graph(), uint32(0x1BD11BDA)))
	keys := [3]*Node{k0, k1, parity}
	rotations := [2][4]uint32{{13, 15, 26, 6}, {17, 29, 16, 24}}
	x0, x1 = Add(c0, k0), Add(c1, k1)
	for group := range 5 {
		for _, rotation := range rotations[group%2] {
			x0 = Add(x0, x1)
			x1 = BitwiseOr(BitwiseShiftLeftScalar(x1, rotation), BitwiseShiftRightLogicalScalar(x1, 32-rotation))
			x1 = BitwiseXor(x1, x0)
		}
		x0 = Add(x0, keys[(group+1)%3])
		x1 = AddScalar(Add(x1, keys[(group+2)%3]), uint32(group+1))
	}
	return x0, x1
}

// perRow returns how many numbers a row of a draw has.
func perRow(dims []int) int {
	if len(dims) == 0 {
		return 1
	}
	return tasks.Size(dims[1:])
}
