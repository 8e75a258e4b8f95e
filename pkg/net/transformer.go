package net

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute/dtypes"

	"raretask/tasks"
)

func init() {
	Register(Kind{"transformer", "a decoder of language, OLMo or OLMo 2 (arXiv 2402.00838, 2501.00656)", TransformerSettings{
		Layers: 2, Head: 16, Group: 1, Block: OLMo, Theta: 10_000, Clip: 8, Epsilon: 1e-5}, true})
}

// Blocks that a Transformer may be made of.
const (
	// OLMo normalises what goes into attention and MLP (layer norm without gain or bias) and clips queries, keys and values.
	OLMo = "olmo"
	// OLMo2 normalises what comes out of them (RMS norm with a gain), and queries and keys.
	OLMo2 = "olmo2"
)

// TransformerSettings are the sizes of Transformer beside its width.
type TransformerSettings struct {
	Layers    int     `yaml:"layers" json:"layers" about:"blocks of attention and MLP"`
	Head      int     `yaml:"head" json:"head" about:"size of a head of attention; a width below it has one head of its size"`
	Group     int     `yaml:"group" json:"group" about:"query heads that share one head of keys and values; 1: each has its own"`
	MLP       int     `yaml:"mlp" json:"mlp" about:"numbers that the MLP projects to, both halves of SwiGLU; 0: 8 times the width"`
	Block     string  `yaml:"block" json:"block" about:"olmo (norm before attention and MLP) or olmo2 (after, and of queries and keys)"`
	Theta     float64 `yaml:"theta" json:"theta" about:"base of the rotary embedding's wavelengths"`
	Clip      float64 `yaml:"clip" json:"clip" about:"olmo: largest query, key and value; 0: no limit"`
	Epsilon   float64 `yaml:"epsilon" json:"epsilon" about:"added to the variance in norms"`
	Tied      bool    `yaml:"tied" json:"tied" about:"the embedding is the readout, too"`
	Recompute bool    `yaml:"recompute" json:"recompute" about:"backward passes compute blocks again rather than keep their activations"`
}

// Check implements Settings.
func (t TransformerSettings) Check(width int, of tasks.Signature) error {
	count := func(v, least int) bool { return v >= least && v <= 1<<20 }
	heads := width / max(1, t.Head)
	return cmp.Or(
		tasks.Want(of.Coded && len(of.Input.Dims) == 1 && of.Input.Type == dtypes.Int32, "kind", "transformer",
			"another kind: this family's inputs are no sequences of tokens"),
		tasks.Want(t.Layers >= 1 && t.Layers <= 1000, "layers", t.Layers, "1 … 1000"),
		tasks.Want(count(t.Head, 2) && t.Head%2 == 0, "head", t.Head, "an even number: a rotary embedding turns pairs"),
		tasks.Want(width%2 == 0 && (width < t.Head || width%max(1, t.Head) == 0), "width", width,
			fmt.Sprintf("a multiple of net.head (%d), or an even number below it", t.Head)),
		tasks.Want(t.Group >= 1 && max(1, heads)%t.Group == 0, "group", t.Group, fmt.Sprintf("a divisor of the %d heads", max(1, heads))),
		tasks.Want(t.MLP == 0 || count(t.MLP, 2) && t.MLP%2 == 0, "mlp", t.MLP, "an even number, or 0: 8 times the width"),
		tasks.Want(t.Block == OLMo || t.Block == OLMo2, "block", t.Block, OLMo+" or "+OLMo2),
		tasks.Want(t.Theta >= 1 && t.Theta <= 1e9, "theta", t.Theta, "1 … 1e9"),
		tasks.Want(t.Clip >= 0 && t.Clip <= 1e9, "clip", t.Clip, "a number >= 0 (0: no limit)"),
		tasks.Want(t.Clip == 0 || t.Block == OLMo, "clip", t.Clip, "0: olmo2 normalises queries and keys instead"),
		tasks.Want(t.Epsilon > 1e-12 && t.Epsilon < 1, "epsilon", t.Epsilon, "a number above 1e-12, below 1"),
	)
}

// Net implements Settings.
func (t TransformerSettings) Net(of tasks.Signature, s Shape) Net {
	n := &Transformer{Shape: s, TransformerSettings: t, Vocabulary: of.Outputs, Window: of.Input.Size()}
	n.Head = min(t.Head, s.Width)
	n.Heads = s.Width / n.Head
	if n.MLP == 0 {
		n.MLP = 8 * s.Width
	}
	return n
}

// Transformer is a causal decoder of Layers blocks on a residual stream of Width numbers, of either kind:
//
//	olmo    r += A(norm r),  r += M(norm r);  logits = R norm r
//	olmo2   r += norm A(r),  r += norm M(r);  logits = R norm r
//
// A is attention with rotary embeddings (halves of a head, not neighbours, turn together), M is SwiGLU: down (silu(gate) · up). There are
// no biases. Initial values are OLMo's mitchell: normal, cut at 3 standard deviations, of 1/sqrt(d), and of what attention and MLP give
// back to the stream 1/sqrt(2·inputs·layer). Under muP the readout starts at zero and is multiplied by Shrink, weights inside blocks learn
// at Shrink times the rate, and scores of attention are divided by the size of a head instead of its root, equal at a head of the base
// width.
type Transformer struct {
	Shape
	TransformerSettings // Head and MLP as they are of this width

	Heads, Vocabulary, Window int
}

// Depth implements Decoder.
func (t *Transformer) Depth() int { return t.Layers }

// keys is how many numbers the keys have of a token, and so the values.
func (t *Transformer) keys() int { return t.Width / t.Group }

// Weights implements Net: "embedding" [V, d]; of each layer l, from 1 on, "qkv1" [d + 2·d/group, d], "out1" [d, d], "up_gate1" [mlp, d], of
// which up comes first, "down1" [d, mlp/2]; and the "readout" [V, d] unless it is tied. In olmo2 also the gains "query_norm1" [d],
// "key_norm1" [d/group], "attention_norm1" [d], "mlp_norm1" [d] and "norm" [d].
func (t *Transformer) Weights() []Weight {
	d := t.Width
	matrix := func(name string, rows, columns int, std, rate float64) Weight {
		return Weight{name, []int{rows, columns}, 0, rate, true, cutNormal(std, rows*columns)}
	}
	root := func(n int) float64 { return 1 / math.Sqrt(float64(n)) }
	weights := []Weight{matrix("embedding", t.Vocabulary, d, root(d), 1)}
	hidden := 1.
	if t.Mup {
		hidden = t.Shrink
	}
	gain := func(name string, n int) {
		if t.Block == OLMo2 {
			weights = append(weights, Weight{name, []int{n}, 0, 1, false, ones(n)})
		}
	}
	for l := 1; l <= t.Layers; l++ {
		name := func(of string) string { return fmt.Sprintf("%s%d", of, l) }
		weights = append(weights, matrix(name("qkv"), d+2*t.keys(), d, root(d), hidden), matrix(name("out"), d, d, root(2*d*l), hidden),
			matrix(name("up_gate"), t.MLP, d, root(d), hidden), matrix(name("down"), d, t.MLP/2, root(t.MLP*l), hidden))
		gain(name("query_norm"), d)
		gain(name("key_norm"), t.keys())
		gain(name("attention_norm"), d)
		gain(name("mlp_norm"), d)
	}
	gain("norm", d)
	if !t.Tied {
		readout := matrix("readout", t.Vocabulary, d, root(d), 1)
		readout.Initial = t.readout(t.Vocabulary*d, readout.Initial)
		weights = append(weights, readout)
	}
	return weights
}

// Cost implements Net, of a window of tokens: each uses all weights but the embedding's, and is scored against all before it. What is held
// of a token is what each block makes of it; with Recompute about half of that, as XLA's CPU compiler was seen to keep.
func (t *Transformer) Cost() (used, activations int) {
	for _, w := range t.Weights() {
		used += w.Size()
	}
	if !t.Tied {
		used -= t.Vocabulary * t.Width
	}
	blocks := t.Layers * t.block()
	if t.Recompute {
		blocks /= 2
	}
	return t.Window * (used + t.Layers*t.Window*t.Width), t.Window * (blocks + 3*t.Vocabulary)
}

// block returns how many numbers a block makes of a token.
func (t *Transformer) block() int {
	seen := 0
	for _, part := range parts(t.Window) {
		seen += (part[1] - part[0]) * part[1]
	}
	return 6*t.Width + 4*t.keys() + 2*t.MLP + 2*t.Heads*seen/max(1, t.Window)
}

// Parts implements Decoder.
func (t *Transformer) Parts() int { return t.Layers * len(parts(t.Window)) }

// Passing implements Decoder: one block at a time.
func (t *Transformer) Passing() int { return t.Window * (t.block() + 3*t.Vocabulary) }

// cutNormal draws count normal numbers of a standard deviation, again where they are beyond three of them.
func cutNormal(std float64, count int) func(*rand.Rand) []float32 {
	return func(random *rand.Rand) []float32 {
		values := make([]float32, count)
		for i := range values {
			v := random.NormFloat64()
			for math.Abs(v) > 3 {
				v = random.NormFloat64()
			}
			values[i] = float32(v * std)
		}
		return values
	}
}

func ones(count int) func(*rand.Rand) []float32 {
	return func(*rand.Rand) []float32 {
		values := make([]float32, count)
		for i := range values {
			values[i] = 1
		}
		return values
	}
}
