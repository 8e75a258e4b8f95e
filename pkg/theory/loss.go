package theory

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
)

// Loss is the exact loss of an encoder with its own decoders.
//
//	Task[k]        l_k = E ||Lambda_k^{1/2} B_k^T x - D_k W x||² = ||Lambda_k^{1/2} B_k^T - D_k W||_F²,  x ~ N(0, I_D)
//	Normalized[k]  l_k / Tr C_k, 1 for a prediction of the mean
//	Mixture        sum_k pi_k l_k
//
// In the units of the targets squared, summed over a task's outputs. Source: Sec. 3, App. B.1.
type Loss struct {
	Task, Normalized []float64
	Mixture          float64
}

// FullLoss evaluates the encoder w, width x dim (N x D), with the decoders, K x d_T x width, both row-major.
//
// It expands the square, so that D_k W is never formed: l_k = Tr C_k - 2 <Lambda^{1/2} B^T W^T, D_k> + <D_k W W^T, D_k>.
// Numbers that are not finite (a diverged run) give a NaN or infinite loss, not an error: check with math.IsNaN and
// math.IsInf. It returns an error when a size doesn't fit. Cost O(D N²).
func FullLoss[T Float](m Mixture, w, decoders []T, width, dim int) (Loss, error) {
	K, block := m.Tasks(), m.Block()
	switch {
	case width < 1 || len(w) != width*dim:
		return Loss{}, fmt.Errorf("theory: encoder of %d numbers as %d x %d: want width >= 1 and %d numbers", len(w), width, dim, width*dim)
	case dim < K*block:
		return Loss{}, fmt.Errorf("theory: encoder of %d inputs for %d tasks of %d coordinates: want at least %d inputs", dim, K, block, K*block)
	case len(decoders) != K*block*width:
		return Loss{}, fmt.Errorf("theory: decoders of %d numbers: want %d, %d tasks x %d outputs x width %d",
			len(decoders), K*block*width, K, block, width)
	}
	encoder := blas64.General{Rows: width, Cols: dim, Stride: dim, Data: float64s(w)}
	decoder := blas64.General{Rows: K * block, Cols: width, Stride: width, Data: float64s(decoders)}
	gram := blas64.General{Rows: width, Cols: width, Stride: width, Data: make([]float64, width*width)}
	blas64.Gemm(blas.NoTrans, blas.Trans, 1, encoder, encoder, 0, gram)
	decoderGram := blas64.General{Rows: K * block, Cols: width, Stride: width, Data: make([]float64, K*block*width)}
	blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, decoder, gram, 0, decoderGram)

	loss := Loss{Task: make([]float64, K), Normalized: make([]float64, K)}
	for k, lambda := range m.Spectrum {
		l := m.TaskTrace(k)
		for j := range lambda {
			i := k*block + j
			own := decoder.Data[i*width : (i+1)*width]
			l += floats.Dot(own, decoderGram.Data[i*width:(i+1)*width]) - 2*crossTerm(own, encoder, i, lambda[j])
		}
		// A perfect fit may come out below 0 by rounding; NaN stays NaN.
		loss.Task[k] = max(0, l)
		loss.Normalized[k] = loss.Task[k] / m.TaskTrace(k)
		loss.Mixture += m.Frequency[k] * loss.Task[k]
	}
	return loss, nil
}

// crossTerm returns sqrt(lambda) times the product of a decoder's row with column i of the encoder.
func crossTerm(row []float64, encoder blas64.General, i int, lambda float64) float64 {
	column := blas64.Vector{N: encoder.Rows, Inc: encoder.Stride, Data: encoder.Data[i:]}
	return math.Sqrt(lambda) * blas64.Dot(blas64.Vector{N: len(row), Inc: 1, Data: row}, column)
}

func float64s[T Float](v []T) []float64 {
	return xslices.Map(v, func(x T) float64 { return float64(x) })
}
