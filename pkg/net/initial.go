package net

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
)

// Initial returns the initial values of a run of a net: one array for each of its Weights, row-major. It is the only place where seeds
// become weights. Every array of every run has its own stream, so that neither depends on what else is in a stack.
func Initial(n Net, width int, seed uint32) [][]float32 {
	var values [][]float32
	for i, w := range n.Weights() {
		values = append(values, w.Initial(rand.New(rand.NewPCG(uint64(seed)<<32|uint64(i), uint64(width)))))
	}
	return values
}

// Uniform draws count numbers from ±1/sqrt(fan-in), PyTorch's initial values of a linear layer.
func Uniform(fanIn, count int) func(*rand.Rand) []float32 {
	return func(random *rand.Rand) []float32 { return within(random, 1/math.Sqrt(float64(fanIn)), count) }
}

// readout returns how count numbers of a readout start: at zero under muP, else as given.
func (s Shape) readout(count int, initial func(*rand.Rand) []float32) func(*rand.Rand) []float32 {
	if s.Mup {
		return func(*rand.Rand) []float32 { return make([]float32, count) }
	}
	return initial
}

// within draws count numbers uniformly from ±bound.
func within(random *rand.Rand, bound float64, count int) []float32 {
	values := make([]float32, count)
	for i := range values {
		values[i] = float32((2*random.Float64() - 1) * bound)
	}
	return values
}

// orthonormalRows returns n orthonormal rows of dimension d: the thin Q of a Gaussian matrix, its signs fixed so that
// the rows are uniform on the Stiefel manifold.
func orthonormalRows(random *rand.Rand, n, d int) []float32 {
	q := blas64.General{Rows: d, Cols: n, Stride: n, Data: make([]float64, d*n)}
	for i := range q.Data {
		q.Data[i] = random.NormFloat64()
	}
	tau, work := make([]float64, n), make([]float64, max(1, n*64))
	lapack64.Geqrf(q, tau, work, len(work))
	sign := make([]float64, n)
	for j := range sign {
		sign[j] = math.Copysign(1, q.Data[j*n+j])
	}
	lapack64.Orgqr(q, tau, work, len(work))
	values := make([]float32, n*d)
	for i := range n {
		for j := range d {
			values[i*d+j] = float32(sign[i] * q.Data[j*n+i])
		}
	}
	return values
}
