package net

import (
	"fmt"
	"math"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"

	"raretask/pkg/mixture"
	"raretask/tasks"
)

// MLP is a ReLU network with Depth hidden layers of Width neurons, all with biases:
//
//	h_1 = relu(W_1 x + b_1 + code_k),  h_l = relu(W_l h_{l-1} + b_l),  prediction = s R h_L + c
//
// In a coded family (multitask sparse parity), code_k is task k's column of the weights of the one-hot code: a bias for
// the task, as the product with a one-hot input is the choice of a column; one readout R, c serves all tasks. In the others
// there is no code, and each task has its own linear readout R_k, as in the bottleneck.
//
// Initial values are PyTorch's: weights and biases of a layer uniform in ±1/sqrt(fan-in), the code being part of the first
// layer's input. Shrink is 1, or base/width under muP for Adam (Yang & Hu, arXiv 2203.03466, Table 8): it is then the
// readout's multiplier s, whose weights start at zero, and the learning rate of the weights between hidden layers.
type MLP struct {
	Tasks, Inputs, Width, Depth, Outputs int
	Coded                                bool
	Mup                                  bool
	Shrink                               float64
}

// Weights implements Net: "weight1" [N, D], "bias1" [N], in a coded family "code" [K, N]; "weight2" [N, N], "bias2" [N] …;
// "readout" [O, N] and "readout_bias" [O], or "decoder" [K, O, N].
func (m *MLP) Weights() []Weight {
	n, fanIn := m.Width, m.Inputs
	if m.Coded {
		fanIn += m.Tasks
	}
	weights := []Weight{
		{"weight1", []int{n, m.Inputs}, 0, 1, uniform(fanIn, n*m.Inputs)},
		{"bias1", []int{n}, 0, 1, uniform(fanIn, n)},
	}
	if m.Coded {
		weights = append(weights, Weight{"code", []int{m.Tasks, n}, 1, 1, uniform(fanIn, m.Tasks*n)})
	}
	for l := 2; l <= m.Depth; l++ {
		weights = append(weights,
			Weight{fmt.Sprintf("weight%d", l), []int{n, n}, 0, m.Shrink, uniform(n, n*n)},
			Weight{fmt.Sprintf("bias%d", l), []int{n}, 0, 1, uniform(n, n)})
	}
	start := func(values int) func(*rand.Rand) []float32 {
		if m.Mup {
			return zeros(values)
		}
		return uniform(n, values)
	}
	if m.Coded {
		return append(weights,
			Weight{"readout", []int{m.Outputs, n}, 0, 1, start(m.Outputs * n)},
			Weight{"readout_bias", []int{m.Outputs}, 0, 1, start(m.Outputs)})
	}
	return append(weights, Weight{"decoder", []int{m.Tasks, m.Outputs, n}, 1, 1, start(m.Tasks * m.Outputs * n)})
}

// Forward implements Net. Beside "hidden", the last hidden layer, and "loss" it returns every layer as "hidden1",
// "hidden2", … [B, S, N] and "prediction": [B, S, O] in a coded family, else [P, S, R, O], by pairs.
func (m *MLP) Forward(family tasks.Family, weights []*Node, batch *mixture.Batch) map[string]*Node {
	next := func() *Node {
		w := weights[0]
		weights = weights[1:]
		return w
	}
	layer := func(productBSN *Node) *Node { return Add(productBSN, InsertAxes(next(), 0)) }
	hBSN := layer(Einsum("bd,snd->bsn", batch.X, next()))
	if m.Coded {
		hBSN = Add(hBSN, batch.OwnTask(next()))
	}
	hBSN = activation.Relu(hBSN)
	named := map[string]*Node{"hidden1": hBSN}
	for l := 2; l <= m.Depth; l++ {
		hBSN = activation.Relu(layer(Einsum("bsi,soi->bso", hBSN, next())))
		named[fmt.Sprintf("hidden%d", l)] = hBSN
	}
	named["hidden"] = hBSN
	if !m.Coded {
		named["prediction"], named["loss"] = ownReadout(family, batch, hBSN, next(), m.Shrink)
		return named
	}
	yBSO := layer(MulScalar(Einsum("bsn,son->bso", hBSN, next()), m.Shrink))
	lossBS := family.Loss(yBSO, InsertAxes(batch.Y, 1))
	named["prediction"], named["loss"] = yBSO, Einsum("bs,bk->sk", lossBS, batch.Task)
	return named
}

// uniform draws count numbers from ±1/sqrt(fan-in), PyTorch's initial values of a linear layer.
func uniform(fanIn, count int) func(*rand.Rand) []float32 {
	return func(random *rand.Rand) []float32 { return within(random, 1/math.Sqrt(float64(fanIn)), count) }
}

func zeros(count int) func(*rand.Rand) []float32 {
	return func(*rand.Rand) []float32 { return make([]float32, count) }
}

// within draws count numbers uniformly from ±bound.
func within(random *rand.Rand, bound float64, count int) []float32 {
	values := make([]float32, count)
	for i := range values {
		values[i] = float32((2*random.Float64() - 1) * bound)
	}
	return values
}
