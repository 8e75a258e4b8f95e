package net

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/mixture"
	"raretask/tasks"
)

func init() {
	Register(Kind{"bottleneck", "one linear encoder for all tasks and one linear decoder for each (Sec. 3)", BottleneckSettings{}, true})
}

// BottleneckSettings are those of Bottleneck: its width says all.
type BottleneckSettings struct{}

// Check implements Settings.
func (BottleneckSettings) Check(width int, of tasks.Signature) error {
	return cmp.Or(
		tasks.Want(!of.Coded && vector(of.Input), "kind", "bottleneck",
			"another kind: a linear net needs vectors as inputs and a readout for each task, which this family has not"),
		tasks.Want(width <= of.Input.Size(), "width", width, fmt.Sprintf("1 … %d, the inputs", of.Input.Size())),
	)
}

// Net implements Settings.
func (BottleneckSettings) Net(of tasks.Signature, s Shape) Net {
	return &Bottleneck{Shape: s, Tasks: of.Tasks, Inputs: of.Input.Size(), Outputs: of.Outputs}
}

// Bottleneck is the student of Sec. 3: one linear encoder W (N x D) shared by all tasks and one linear decoder D_k (O x N) for each,
// chosen by the sample's task; the prediction is s D_k W x with s = Shrink, which is other than 1 only under muP, where decoders start at
// zero.
type Bottleneck struct {
	Shape
	Tasks, Inputs, Outputs int
}

// Weights implements Net: "encoder" [N, D], which starts with orthonormal rows (W Wᵀ = I), and "decoder"
// [K, O, N], uniform in ±sqrt(3/N) (Kaiming's uniform with fan-in N and gain 1).
func (b *Bottleneck) Weights() []Weight {
	count := b.Tasks * b.Outputs * b.Width
	return []Weight{
		{"encoder", []int{b.Width, b.Inputs}, 0, 1, true, func(random *rand.Rand) []float32 {
			return orthonormalRows(random, b.Width, b.Inputs)
		}},
		{"decoder", []int{b.Tasks, b.Outputs, b.Width}, 1, 1, true, b.readout(count, func(random *rand.Rand) []float32 {
			return within(random, math.Sqrt(3/float64(b.Width)), count)
		})},
	}
}

// Forward implements Net.
func (b *Bottleneck) Forward(family tasks.Family, weights []*Node, batch *mixture.Batch, tap Tap) (loss, count *Node) {
	hBSN := Tapped(tap, "hidden", b.Product("bd,snd->bsn", batch.X, weights[0]))
	return b.OwnReadout(family, batch, hBSN, weights[1], tap), nil
}

// Cost implements Net: a sample uses its own task's decoder alone.
func (b *Bottleneck) Cost() (used, activations int) {
	return b.Width * (b.Inputs + b.Outputs), b.Width
}

// Incoming implements Shallow: the encoder.
func (b *Bottleneck) Incoming() int { return 0 }

// Linear implements Linear.
func (b *Bottleneck) Linear(weights [][]float32) (encoder, decoders []float32) {
	if b.Shrink == 0 || b.Shrink == 1 {
		return weights[0], weights[1]
	}
	decoders = make([]float32, len(weights[1]))
	for i, v := range weights[1] {
		decoders[i] = v * float32(b.Shrink)
	}
	return weights[0], decoders
}

// Receptive implements Receptive.
func (b *Bottleneck) Receptive() []int { return []int{0} }
