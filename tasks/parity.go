package tasks

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// Parity is multitask sparse parity (Michaud et al. 2023, arXiv 2303.13506): n fair bits, 0 or 1, and for each task k a
// subset S_k of them, all of one size and no two alike; the label is
//
//	c = sum_{i in S_k} x_i mod 2
//
// A network sees the bits and a one-hot code of the task, and gives a logit for each of the two labels.
type Parity struct {
	Subsets [][]int // S_k, K ascending lists of bits
	Bits    int     // n

	memberKD *Node // of a graph, in place of Subsets: 1 at the bits of each task [K, n]
}

// NewParity returns tasks subsets of the given size out of bits, drawn with the seed.
func NewParity(tasks, bits, size int, seed uint32) (*Parity, error) {
	switch {
	case tasks < 1:
		return nil, fmt.Errorf("tasks: parity: %d tasks: want at least 1", tasks)
	case size < 1 || size > bits:
		return nil, fmt.Errorf("tasks: parity: subsets of %d of %d bits: want 1 … %d", size, bits, bits)
	case float64(tasks) > Subsets(bits, size):
		return nil, fmt.Errorf("tasks: parity: %d tasks, but %d bits have only %.0f subsets of %d: want fewer tasks or more bits",
			tasks, bits, Subsets(bits, size), size)
	}
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	p := &Parity{Bits: bits}
	for len(p.Subsets) < tasks {
		subset := random.Perm(bits)[:size]
		slices.Sort(subset)
		if !slices.ContainsFunc(p.Subsets, func(s []int) bool { return slices.Equal(s, subset) }) {
			p.Subsets = append(p.Subsets, subset)
		}
	}
	return p, nil
}

// Subsets returns how many subsets of a size n bits have: n!/(size! (n-size)!).
func Subsets(n, size int) float64 {
	count := 1.
	for i := range size {
		count *= float64(n-i) / float64(i+1)
	}
	return math.Round(count)
}

// Tasks implements Family.
func (p *Parity) Tasks() int { return len(p.Subsets) }

// Inputs implements Family: the bits, without the code of the task.
func (p *Parity) Inputs() int { return p.Bits }

// Outputs implements Family: the logits of label 0 and of label 1.
func (p *Parity) Outputs() int { return 2 }

// Coded implements Family: the task is an input.
func (p *Parity) Coded() bool { return true }

// MeanLoss implements Family: one bit, as the labels are balanced.
func (p *Parity) MeanLoss() []float64 { return slices.Repeat([]float64{1}, p.Tasks()) }

// Constants implements Family: 1 at the bits of each task's subset [K, n].
func (p *Parity) Constants() []any {
	member := make([][]float32, p.Tasks())
	for k, subset := range p.Subsets {
		member[k] = make([]float32, p.Bits)
		for _, bit := range subset {
			member[k][bit] = 1
		}
	}
	return []any{member}
}

// Bind implements Family.
func (p *Parity) Bind(constants []*Node) Family {
	bound := *p
	bound.memberKD = constants[0]
	return &bound
}

// Draw implements Family. Targets are one-hot.
func (p *Parity) Draw(random Random, taskBK *Node) (xBD, yBO *Node) {
	memberKD := p.memberKD
	if memberKD == nil {
		memberKD = Const(taskBK.Graph(), p.Constants()[0])
	}
	xBD = random.Bits(taskBK.Shape().Dim(0), p.Bits)
	ownBD := Dot(taskBK, memberKD).Product() // 1 at the bits of the row's task
	sumB1 := ReduceAndKeep(Mul(xBD, ownBD), ReduceSum, -1)
	labelB1 := Sub(sumB1, MulScalar(Floor(MulScalar(sumB1, .5)), 2))
	return xBD, Concatenate([]*Node{OneMinus(labelB1), labelB1}, -1)
}

// Loss implements Family: the cross-entropy of two logits z in bits,
//
//	-log2 softmax(z)_label = softplus(z_other - z_label) / ln 2
func (p *Parity) Loss(prediction, target *Node) *Node {
	margin := ReduceSum(Mul(prediction, OneMinus(MulScalar(target, 2))), -1) // z_other - z_label
	// softplus without overflow; its gradient at 0, where zero weights start, is 1/2 as it should be.
	size := Abs(margin)
	softplus := Add(MulScalar(Add(margin, size), .5), Log1P(Exp(Neg(size))))
	return DivScalar(softplus, math.Ln2)
}
