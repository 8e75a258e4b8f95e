package tasks

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/stat/combin"
)

func init() {
	Register(Kind{Name: "parity", About: "multitask sparse parity: each task is the parity of a few of many random bits", Engine: 2,
		Defaults: ParitySettings{Bits: 32, Size: 3}})
}

// ParitySettings are those of Parity.
type ParitySettings struct {
	Bits int    `yaml:"bits" json:"bits" about:"random bits n"`
	Size int    `yaml:"size" json:"size" about:"bits of a task k"`
	Seed uint32 `yaml:"seed" json:"seed" vary:"input" role:"seed" about:"which subsets of the bits are the tasks'"`
}

// largestTable bounds tasks·bits, so that subsets are drawn in seconds.
const largestTable = 1 << 24

// Check implements Settings.
func (s ParitySettings) Check(tasks int) error {
	return cmp.Or(
		Want(s.Bits >= 1 && s.Bits <= largestDim, "bits", s.Bits, fmt.Sprintf("1 … %d", largestDim)),
		Want(s.Size >= 1 && s.Size <= s.Bits, "size", s.Size, fmt.Sprintf("1 … mixture.bits (%d) bits for each task", s.Bits)),
		Want(tasks <= largestTable/max(1, s.Bits), "tasks", tasks,
			fmt.Sprintf("at most %d with %d bits: programs take a table of tasks·bits numbers", largestTable/max(1, s.Bits), s.Bits)),
		Want(float64(tasks) <= Subsets(s.Bits, s.Size), "tasks", tasks,
			fmt.Sprintf("at most %.0f, the subsets of %d of %d bits: no two tasks are alike", Subsets(s.Bits, s.Size), s.Size, s.Bits)),
	)
}

// Signature implements Settings: two logits, of label 0 and of label 1.
func (s ParitySettings) Signature(tasks int) Signature {
	return Signature{Tasks: tasks, Input: Vector(s.Bits), Target: Vector(2), Outputs: 2, Coded: true, Unit: "bits"}
}

// Family implements Settings.
func (s ParitySettings) Family(tasks int) (Family, error) {
	return NewParity(tasks, s.Bits, s.Size, s.Seed)
}

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
	p, taken := &Parity{Bits: bits}, map[string]bool{}
	for misses := 0; len(p.Subsets) < tasks && misses < 20*bits; {
		subset := random.Perm(bits)[:size]
		slices.Sort(subset)
		if key := fmt.Sprint(subset); taken[key] {
			misses++
		} else {
			taken[key], misses = true, 0
			p.Subsets = append(p.Subsets, subset)
		}
	}
	if len(p.Subsets) < tasks {
		p.complete(tasks, size, random, taken)
	}
	return p, nil
}

// complete adds subsets where nearly all are taken, so that drawing finds hardly any: it shuffles those that are left.
func (p *Parity) complete(tasks, size int, random *rand.Rand, taken map[string]bool) {
	var left [][]int
	for all := combin.NewCombinationGenerator(p.Bits, size); all.Next(); {
		if subset := all.Combination(nil); !taken[fmt.Sprint(subset)] {
			left = append(left, subset)
		}
	}
	random.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	p.Subsets = append(p.Subsets, left[:tasks-len(p.Subsets)]...)
}

// Subsets returns how many subsets of a size n bits have: n!/(size! (n-size)!).
func Subsets(n, size int) float64 {
	count := 1.
	for i := range min(size, n-size) { // only ever up, so that what is beyond a float64 stays infinite
		count *= float64(n-i) / float64(i+1)
	}
	return math.Round(count)
}

// Signature implements Family.
func (p *Parity) Signature() Signature {
	return ParitySettings{Bits: p.Bits}.Signature(len(p.Subsets))
}

// Relevant implements Family: the bits of the task's subset, which other tasks may share.
func (p *Parity) Relevant(task int) []int { return p.Subsets[task] }

// Baseline implements Family: one bit, as the labels are balanced.
func (p *Parity) Baseline() []float64 { return slices.Repeat([]float64{1}, len(p.Subsets)) }

// Constants implements Parametric: 1 at the bits of each task's subset [K, n].
func (p *Parity) Constants() []any {
	member := make([][]float32, len(p.Subsets))
	for k, subset := range p.Subsets {
		member[k] = make([]float32, p.Bits)
		for _, bit := range subset {
			member[k][bit] = 1
		}
	}
	return []any{member}
}

// Bind implements Parametric.
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

// Score implements Family: the cross-entropy of two logits z in bits,
//
//	-log2 softmax(z)_label = softplus(z_other - z_label) / ln 2
func (p *Parity) Score(prediction, target *Node) (loss, weight *Node) {
	margin := ReduceSum(Mul(prediction, OneMinus(MulScalar(target, 2))), -1) // z_other - z_label
	// softplus without overflow; its gradient at 0, where zero weights start, is 1/2 as it should be.
	size := Abs(margin)
	softplus := Add(MulScalar(Add(margin, size), .5), Log1P(Exp(Neg(size))))
	return DivScalar(softplus, math.Ln2), nil
}
