package mixture

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Random draws numbers inside a graph from the counter-based generator Threefry-2x32-20 (Salmon et al. 2011,
// "Parallel random numbers: as easy as 1, 2, 3"), keyed by (seed, step): any step's batch can be drawn without
// the steps before it, and every backend draws the same bits. GoMLX's own generator differs between its
// backends and threads a state through every call.
type Random struct {
	key   [2]*Node // uint32 scalars
	calls uint32
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

// words returns 2n fresh uint32 numbers as two vectors [n].
func (r *Random) words(n int) (a, b *Node) {
	g := r.key[0].Graph()
	counter := Iota(g, shapes.Make(dtypes.Uint32, n), 0)
	call := BroadcastToDims(Const(g, r.calls), n)
	r.calls++
	return threefry(r.key[0], r.key[1], counter, call)
}

// unit maps the upper 23 bits of each word to the open interval (0, 1), at the centres of 2^23 equal cells: exact in
// float32, and its logarithm is finite at both ends.
func unit(word *Node) *Node {
	cell := ConvertDType(BitwiseShiftRightLogicalScalar(word, uint32(9)), dtypes.Float32)
	return MulScalar(AddScalar(cell, 0.5), math.Exp2(-23))
}

// Uniform implements tasks.Random.
func (r *Random) Uniform(dims ...int) *Node {
	n := size(dims)
	a, b := r.words((n + 1) / 2)
	return Reshape(Slice(Concatenate([]*Node{unit(a), unit(b)}, 0), AxisRange(0, n)), dims...)
}

// Normal implements tasks.Random, by the Box-Muller transform of both words.
func (r *Random) Normal(dims ...int) *Node {
	n := size(dims)
	a, b := r.words((n + 1) / 2)
	radius := Sqrt(MulScalar(Log(unit(a)), -2))
	angle := MulScalar(unit(b), 2*math.Pi)
	z := Concatenate([]*Node{Mul(radius, Cos(angle)), Mul(radius, Sin(angle))}, 0)
	return Reshape(Slice(z, AxisRange(0, n)), dims...)
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

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}
