package tasks

import (
	"cmp"
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/xslices"
)

func init() {
	Register(Kind{Name: "regression", About: "linear regressions on orthogonal blocks of one Gaussian input (Sec. 3, App. B.1)", Engine: 3,
		Defaults: RegressionSettings{Dim: 128, Block: 8, Alpha: [2]float64{2, 2}}})
}

// RegressionSettings are those of Regression.
type RegressionSettings struct {
	Dim   int        `yaml:"dim" json:"dim" about:"input dimensions D"`
	Block int        `yaml:"block" json:"block" about:"directions of a task d_T"`
	Alpha [2]float64 `yaml:"alpha,flow" json:"alpha" about:"spectrum exponent of the most frequent … the rarest task, on a uniform grid"`
}

// largestDim bounds inputs so that products of sizes are whole numbers far below 2^53.
const largestDim = 1 << 20

// Check implements Settings.
func (s RegressionSettings) Check(tasks int) error {
	ok := func(alpha float64) bool { return alpha >= 0 && alpha <= 100 }
	return cmp.Or(
		Want(s.Dim >= 1 && s.Dim <= largestDim, "dim", s.Dim, fmt.Sprintf("1 … %d", largestDim)),
		Want(s.Block >= 1 && s.Block <= s.Dim, "block", s.Block, fmt.Sprintf("1 … mixture.dim (%d) directions for each task", s.Dim)),
		Want(s.Block < 1 || tasks <= s.Dim/s.Block, "dim", s.Dim,
			fmt.Sprintf("at least tasks·block = %d·%d = %.0f, so that every task has directions of its own",
				tasks, s.Block, float64(tasks)*float64(s.Block))),
		Want(ok(s.Alpha[0]) && ok(s.Alpha[1]), "alpha", s.Alpha, "two numbers 0 … 100"),
	)
}

// Alphas returns the spectrum exponent of each of K tasks, most frequent first: a uniform grid between the ends of Alpha.
func (s RegressionSettings) Alphas(tasks int) []float64 {
	alphas := make([]float64, tasks)
	for k := range alphas {
		at := 0.
		if tasks > 1 {
			at = float64(k) / float64(tasks-1)
		}
		alphas[k] = s.Alpha[0] + at*(s.Alpha[1]-s.Alpha[0])
	}
	return alphas
}

// Signature implements Settings.
func (s RegressionSettings) Signature(tasks int) Signature {
	return Signature{Tasks: tasks, Input: Vector(s.Dim), Target: Vector(s.Block), Outputs: s.Block, Disjoint: true, Unit: "squared error"}
}

// Family implements Settings.
func (s RegressionSettings) Family(tasks int) (Family, error) {
	return NewRegression(s.Alphas(tasks), s.Block, s.Dim)
}

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
	case len(alpha) > dim/block:
		return nil, fmt.Errorf("tasks: regression: %d tasks x block %d = %.0f directions do not fit in dim %d: want tasks·block <= dim",
			len(alpha), block, float64(len(alpha))*float64(block), dim)
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

// Signature implements Family.
func (r *Regression) Signature() Signature {
	return RegressionSettings{Dim: r.Dim, Block: len(r.Spectrum[0])}.Signature(len(r.Spectrum))
}

// Spectra implements Spectral.
func (r *Regression) Spectra() [][]float64 { return r.Spectrum }

// Relevant implements Family: the task's own block.
func (r *Regression) Relevant(task int) []int {
	block := len(r.Spectrum[task])
	return xslices.Iota(task*block, block)
}

// Baseline implements Family. The target has mean zero, so predicting the mean costs Tr C_k / d_T.
func (r *Regression) Baseline() []float64 {
	loss := make([]float64, len(r.Spectrum))
	for k, row := range r.Spectrum {
		for _, lambda := range row {
			loss[k] += lambda / float64(len(row))
		}
	}
	return loss
}

// Draw implements Family.
func (r *Regression) Draw(random Random, taskBK *Node) (xBD, yBO *Node) {
	g := taskBK.Graph()
	b, k, o := taskBK.Shape().Dim(0), len(r.Spectrum), len(r.Spectrum[0])
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

// Score implements Family: the squared error, averaged over outputs.
func (r *Regression) Score(prediction, target *Node) (loss, weight *Node) {
	return ReduceMean(Square(Sub(prediction, target)), -1), nil
}
