package net

import (
	"cmp"
	"fmt"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"

	"raretask/pkg/mixture"
	"raretask/tasks"
)

func init() {
	Register(Kind{"mlp", "a ReLU network of any depth, with biases", MLPSettings{Depth: 1}, true})
}

// MLPSettings are the sizes of MLP.
type MLPSettings struct {
	Depth int `yaml:"depth" json:"depth" about:"hidden layers"`
}

// Check implements Settings.
func (s MLPSettings) Check(width int, of tasks.Signature) error {
	return cmp.Or(
		tasks.Want(s.Depth >= 1 && s.Depth <= 100, "depth", s.Depth, "1 … 100 hidden layers"),
		tasks.Want(vector(of.Input), "kind", "mlp", "another kind: this family's inputs are no vectors"),
	)
}

// Net implements Settings.
func (s MLPSettings) Net(of tasks.Signature, shape Shape) Net {
	return &MLP{Shape: shape, Tasks: of.Tasks, Inputs: of.Input.Size(), Depth: s.Depth, Outputs: of.Outputs, Coded: of.Coded}
}

// MLP is a ReLU network with Depth hidden layers of Width neurons, all with biases:
//
//	h_1 = relu(W_1 x + b_1 + code_k),  h_l = relu(W_l h_{l-1} + b_l),  prediction = s R h_L + c
//
// In a coded family (multitask sparse parity), code_k is task k's column of the weights of the one-hot code: a bias for
// the task, as the product with a one-hot input is the choice of a column; one readout R, c serves all tasks. In the others
// there is no code, and each task has its own linear readout R_k, as in the bottleneck.
//
// Initial values are PyTorch's: weights and biases of a layer uniform in ±1/sqrt(fan-in), the code being part of the first
// layer's input. s is Shrink; under muP the readout's weights start at zero.
type MLP struct {
	Shape
	Tasks, Inputs, Depth, Outputs int
	Coded                         bool
}

// Weights implements Net: "weight1" [N, D], "bias1" [N], in a coded family "code" [K, N]; "weight2" [N, N], "bias2" [N] …;
// "readout" [O, N] and "readout_bias" [O], or "decoder" [K, O, N].
func (m *MLP) Weights() []Weight {
	n, fanIn := m.Width, m.Inputs
	if m.Coded {
		fanIn += m.Tasks
	}
	weights := []Weight{
		{"weight1", []int{n, m.Inputs}, 0, 1, true, Uniform(fanIn, n*m.Inputs)},
		{"bias1", []int{n}, 0, 1, false, Uniform(fanIn, n)},
	}
	if m.Coded {
		weights = append(weights, Weight{"code", []int{m.Tasks, n}, 1, 1, true, Uniform(fanIn, m.Tasks*n)})
	}
	for l := 2; l <= m.Depth; l++ {
		weights = append(weights,
			Weight{fmt.Sprintf("weight%d", l), []int{n, n}, 0, m.Shrink, true, Uniform(n, n*n)},
			Weight{fmt.Sprintf("bias%d", l), []int{n}, 0, 1, false, Uniform(n, n)})
	}
	start := func(count int) func(*rand.Rand) []float32 { return m.readout(count, Uniform(n, count)) }
	if m.Coded {
		return append(weights,
			Weight{"readout", []int{m.Outputs, n}, 0, 1, true, start(m.Outputs * n)},
			Weight{"readout_bias", []int{m.Outputs}, 0, 1, false, start(m.Outputs)})
	}
	return append(weights, Weight{"decoder", []int{m.Tasks, m.Outputs, n}, 1, 1, true, start(m.Tasks * m.Outputs * n)})
}

// Forward implements Net. Beside "hidden", the last hidden layer, and "prediction" a tap sees every layer before as "hidden1", "hidden2", …
func (m *MLP) Forward(family tasks.Family, weights []*Node, batch *mixture.Batch, tap Tap) (loss, count *Node) {
	next := func() *Node {
		w := weights[0]
		weights = weights[1:]
		return w
	}
	layer := func(productBSN *Node) *Node { return Add(productBSN, InsertAxes(next(), 0)) }
	name := func(l int) string {
		if l == m.Depth {
			return "hidden"
		}
		return fmt.Sprintf("hidden%d", l)
	}
	hBSN := layer(m.Product("bd,snd->bsn", batch.X, next()))
	if m.Coded {
		hBSN = Add(hBSN, batch.OwnTask(next()))
	}
	hBSN = Tapped(tap, name(1), activation.Relu(hBSN))
	for l := 2; l <= m.Depth; l++ {
		hBSN = Tapped(tap, name(l), activation.Relu(layer(m.Product("bsi,soi->bso", hBSN, next()))))
	}
	if !m.Coded {
		return m.OwnReadout(family, batch, hBSN, next(), tap), nil
	}
	yBSO := layer(MulScalar(m.Product("bsn,son->bso", hBSN, next()), m.Shrink))
	return Scored(family, batch, Tapped(tap, "prediction", yBSO))
}

// Cost implements Net: a sample uses its own task's column of the code, or decoder, alone. Each layer holds what ReLU gets and what it
// gives.
func (m *MLP) Cost() (used, activations int) {
	for _, w := range m.Weights() {
		used += w.Size()
	}
	own := m.Width
	if !m.Coded {
		own *= m.Outputs
	}
	return used - (m.Tasks-1)*own, 2 * m.Depth * m.Width
}

// Incoming implements Shallow.
func (m *MLP) Incoming() int {
	if m.Depth > 1 {
		return -1
	}
	return 0
}

// Receptive implements Receptive.
func (m *MLP) Receptive() []int { return []int{0} }
