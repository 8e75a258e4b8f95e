package net

import (
	"math"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"

	"raretask/pkg/mixture"
	"raretask/tasks"
)

// Bottleneck is the student of Sec. 3: one linear encoder W (N x D) shared by all tasks and one linear decoder
// D_k (O x N) for each, chosen by the sample's task; the prediction is s D_k W x with s = Shrink (0 stands for
// 1), which is other than 1 only under muP for Adam: there it is base/width, and decoders start at zero (Yang & Hu,
// arXiv 2203.03466, Table 8).
type Bottleneck struct {
	Tasks, Inputs, Width, Outputs int
	Mup                           bool
	Shrink                        float64
}

// Weights implements Net: "encoder" [N, D], which starts with orthonormal rows (W Wᵀ = I), and "decoder"
// [K, O, N], uniform in ±sqrt(3/N) (Kaiming's uniform with fan-in N and gain 1).
func (b *Bottleneck) Weights() []Weight {
	return []Weight{
		{"encoder", []int{b.Width, b.Inputs}, 0, 1, func(random *rand.Rand) []float32 {
			return orthonormalRows(random, b.Width, b.Inputs)
		}},
		{"decoder", []int{b.Tasks, b.Outputs, b.Width}, 1, 1, func(random *rand.Rand) []float32 {
			count := b.Tasks * b.Outputs * b.Width
			if b.Mup {
				return make([]float32, count)
			}
			return within(random, math.Sqrt(3/float64(b.Width)), count)
		}},
	}
}

// Forward implements Net. Beside "hidden" and "loss" it returns "prediction" [P, S, R, O], by pairs.
func (b *Bottleneck) Forward(family tasks.Family, weights []*Node, batch *mixture.Batch) map[string]*Node {
	hBSN := Einsum("bd,snd->bsn", batch.X, weights[0])
	prediction, loss := ownReadout(family, batch, hBSN, weights[1], b.Shrink)
	return map[string]*Node{"hidden": hBSN, "prediction": prediction, "loss": loss}
}

// ownReadout reads the hidden layer by each task's own linear decoder: predictions shrink·D_k h [P, S, R, O], by pairs,
// and the sum of the losses of each task's samples [S, K].
func ownReadout(family tasks.Family, batch *mixture.Batch, hBSN, decoderKSON *Node, shrink float64) (yPSRO, lossSK *Node) {
	decoderPSON := batch.PairOwn(decoderKSON)
	yPSRO = Einsum("prsn,pson->psro", batch.Pair(hBSN), decoderPSON)
	if shrink != 0 && shrink != 1 {
		yPSRO = MulScalar(yPSRO, shrink)
	}
	lossPSR := family.Loss(yPSRO, InsertAxes(batch.PairTarget, 1))
	lossPS := ReduceSum(Mul(lossPSR, InsertAxes(batch.Mask, 1)), -1)
	return yPSRO, Einsum("ps,pk->sk", lossPS, batch.PairTask)
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
