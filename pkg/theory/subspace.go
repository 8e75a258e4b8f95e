package theory

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/lapack/lapack64"
)

// Float is the type of an encoder's numbers; all computing is in float64.
type Float interface{ ~float32 | ~float64 }

// Subspace is the row space of an encoder, all that its representation depends on.
//
//	P = U U^T = W^T (W W^T)^-1 W
//
// Basis is U, Dim x Rank (D x N at full rank), row-major, with orthonormal columns. Width is the number of rows the
// encoder had; Rank < Width means that some of its rows are combinations of others, and then P uses the pseudo-inverse.
type Subspace struct {
	Dim, Width, Rank int
	Basis            []float64
}

// RowSpace returns the row space of the encoder w, width x dim (N x D), row-major.
//
// The basis comes from a QR factorisation of W^T with column pivoting; directions below max(N,D)·2^-52 of the largest
// count as absent. It returns an error when a size is below 1 or doesn't fit len(w), and when a number is not finite
// (a diverged run). Cost O(D N²).
func RowSpace[T Float](w []T, width, dim int) (Subspace, error) {
	if width < 1 || dim < 1 || len(w) != width*dim {
		return Subspace{}, fmt.Errorf("theory: encoder of %d numbers as %d x %d: want width >= 1, dim >= 1 and %d numbers",
			len(w), width, dim, width*dim)
	}
	transposed := blas64.General{Rows: dim, Cols: width, Stride: width, Data: make([]float64, dim*width)}
	for n := range width {
		for i := range dim {
			x := float64(w[n*dim+i])
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return Subspace{}, fmt.Errorf("theory: encoder row %d, column %d is %g: want finite numbers", n, i, x)
			}
			transposed.Data[i*width+n] = x
		}
	}
	return columnSpace(transposed), nil
}

// columnSpace overwrites a and returns the space of its columns.
func columnSpace(a blas64.General) Subspace {
	most := min(a.Rows, a.Cols)
	tau, pivots := make([]float64, most), slices.Repeat([]int{-1}, a.Cols)
	work := make([]float64, 1)
	lapack64.Geqp3(a, pivots, tau, work, -1)
	work = make([]float64, max(1, int(work[0])))
	lapack64.Geqp3(a, pivots, tau, work, len(work))

	s := Subspace{Dim: a.Rows, Width: a.Cols}
	// Pivoting sorts the diagonal of R by size.
	floor := float64(max(a.Rows, a.Cols)) * 0x1p-52 * math.Abs(a.Data[0])
	for s.Rank < most && math.Abs(a.Data[s.Rank*a.Stride+s.Rank]) > floor {
		s.Rank++
	}
	if s.Rank == 0 {
		return s
	}
	q := blas64.General{Rows: a.Rows, Cols: s.Rank, Stride: a.Stride, Data: a.Data}
	work = make([]float64, 1)
	lapack64.Orgqr(q, tau[:s.Rank], work, -1)
	work = make([]float64, max(1, int(work[0])))
	lapack64.Orgqr(q, tau[:s.Rank], work, len(work))
	s.Basis = make([]float64, s.Dim*s.Rank)
	for i := range s.Dim {
		copy(s.Basis[i*s.Rank:(i+1)*s.Rank], a.Data[i*a.Stride:])
	}
	return s
}

// Holds returns the share of a coordinate's direction that lies in the space, P_ii.
func (s Subspace) Holds(i int) float64 {
	row := s.Basis[i*s.Rank : (i+1)*s.Rank]
	return floats.Dot(row, row)
}

// rows returns rows from … to-1 of U.
func (s Subspace) rows(from, to int) blas64.General {
	return blas64.General{Rows: to - from, Cols: s.Rank, Stride: max(1, s.Rank), Data: s.Basis[from*s.Rank : to*s.Rank]}
}

// projector writes rows from … to-1 of P = U U^T, D columns each, row-major, to p.
func (s Subspace) projector(from, to int, p []float64) {
	if s.Rank == 0 {
		clear(p)
		return
	}
	blas64.Gemm(blas.NoTrans, blas.Trans, 1, s.rows(from, to), s.rows(0, s.Dim), 0,
		blas64.General{Rows: to - from, Cols: s.Dim, Stride: s.Dim, Data: p})
}

// Covariance returns the diagonal of sum_{k in tasks} pi_k C_k in dim coordinates: M for all tasks, M_F for those of F.
// dim must be at least K·d_T.
func (m Mixture) Covariance(tasks []int, dim int) []float64 {
	c := make([]float64, dim)
	for _, k := range tasks {
		for j, lambda := range m.Spectrum[k] {
			c[k*m.Block()+j] = m.Frequency[k] * lambda
		}
	}
	return c
}
