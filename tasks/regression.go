package tasks

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
)

// Regression is the family of Sec. 3 and App. B.1: K linear regressions on orthogonal blocks of one Gaussian
// input. Task k owns coordinates k·d_T … (k+1)·d_T - 1 and its target is
//
//	y_j = sqrt(lambda_{k,j}) x_{k·d_T + j},  lambda_{k,j} = j^-alpha_k,  j = 1 … d_T,  x ~ N(0, I_D)
//
// A rank-one mixture has d_T = 1. Blocks of coordinates lose no generality: the initial encoder and AdamW's
// input distribution aside, any other orthogonal blocks are a rotation of these.
type Regression struct {
	Spectrum [][]float64 // K x d_T eigenvalues of each task's covariance, descending
	Dim      int         // D; at least K·d_T
}

// NewRegression returns K = len(alpha) tasks with d_T = block directions each, in dim input dimensions, and
// spectrum j^-alpha[k].
func NewRegression(alpha []float64, block, dim int) (*Regression, error) {
	switch {
	case len(alpha) == 0:
		return nil, fmt.Errorf("tasks: regression: no tasks: want at least 1")
	case block < 1:
		return nil, fmt.Errorf("tasks: regression: block %d: want at least 1 direction for each task", block)
	case len(alpha)*block > dim:
		return nil, fmt.Errorf("tasks: regression: %d tasks x block %d = %d directions do not fit in dim %d: want tasks·block <= dim",
			len(alpha), block, len(alpha)*block, dim)
	}
	r := &Regression{Dim: dim}
	for k, a := range alpha {
		if math.IsNaN(a) || math.IsInf(a, 0) || a < 0 {
			return nil, fmt.Errorf("tasks: regression: task %d: spectrum exponent alpha %g: want a finite number >= 0", k+1, a)
		}
		row := make([]float64, block)
		for j := range row {
			row[j] = math.Pow(float64(j+1), -a)
		}
		r.Spectrum = append(r.Spectrum, row)
	}
	return r, nil
}

// Tasks implements Family.
func (r *Regression) Tasks() int { return len(r.Spectrum) }

// Inputs implements Family.
func (r *Regression) Inputs() int { return r.Dim }

// Outputs implements Family: d_T.
func (r *Regression) Outputs() int { return len(r.Spectrum[0]) }

// Coded implements Family: every task has a readout of its own.
func (r *Regression) Coded() bool { return false }

// Coordinates returns the inputs first … end-1 that task k alone depends on.
func (r *Regression) Coordinates(k int) (first, end int) {
	return k * r.Outputs(), (k + 1) * r.Outputs()
}

// MeanLoss implements Family. The target has mean zero, so predicting the mean costs Tr C_k / d_T.
func (r *Regression) MeanLoss() []float64 {
	loss := make([]float64, r.Tasks())
	for k, row := range r.Spectrum {
		for _, lambda := range row {
			loss[k] += lambda / float64(len(row))
		}
	}
	return loss
}

// Constants implements Family: none.
func (r *Regression) Constants() []any { return nil }

// Bind implements Family.
func (r *Regression) Bind([]*Node) Family { return r }

// Draw implements Family.
func (r *Regression) Draw(random Random, taskBK *Node) (xBD, yBO *Node) {
	g := taskBK.Graph()
	b, k, o := taskBK.Shape().Dim(0), r.Tasks(), r.Outputs()
	xBD = random.Normal(b, r.Dim)
	amplitude := make([][]float32, k)
	for i, row := range r.Spectrum {
		amplitude[i] = make([]float32, o)
		for j, lambda := range row {
			amplitude[i][j] = float32(math.Sqrt(lambda))
		}
	}
	// The sample's own block is picked by weighting all blocks with the one-hot task, which stays exact and
	// fuses into one pass over x.
	xBKO := Reshape(Slice(xBD, AxisRange(), AxisRange(0, k*o)), b, k, o)
	weightBKO := Mul(InsertAxes(taskBK, -1), InsertAxes(Const(g, amplitude), 0))
	return xBD, ReduceSum(Mul(xBKO, weightBKO), 1)
}

// Loss implements Family: the mean squared error over outputs.
func (r *Regression) Loss(prediction, target *Node) *Node {
	return ReduceMean(Square(Sub(prediction, target)), -1)
}
