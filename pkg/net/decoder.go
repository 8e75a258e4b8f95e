package net

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/nn"

	"raretask/pkg/mixture"
	"raretask/tasks"
)

// Letters in shape comments here: S stacked runs, B batch, L tokens of a window, d width, H heads, k size of a head, V vocabulary.

// Forward implements Net. A tap sees, runs leading: "residual0", the embedded tokens [S, B, L, d]; of each layer "attention1", what
// attention gives back to the stream, "middle1", the stream after it, "neurons1", what down reads [S, B, L, mlp/2], "mlp1", what the MLP
// gives back, and "residual1", the stream after it; "hidden", what the readout reads; and "prediction", the logits [S, B, L, V].
func (t *Transformer) Forward(family tasks.Family, weights []*Node, batch *mixture.Batch, tap Tap) (loss, count *Node) {
	return ScoredRuns(family, batch, t.Logits(weights, batch.X, tap))
}

// Logits returns those of the token after each of tokens [B, L] (int32): [S, B, L, V].
func (t *Transformer) Logits(weights []*Node, tokens *Node, tap Tap) *Node {
	d := &decoder{Transformer: t, tap: tap, weights: map[string]*Node{}}
	for i, w := range t.Weights() {
		d.weights[w.Name] = weights[i]
	}
	stream := d.tapped("residual0", d.embed(tokens))
	for l := 1; l <= t.Layers; l++ {
		stream = d.block(l, stream)
		if t.Recompute {
			stream = stream.Checkpoint()
		}
	}
	hidden := d.tapped("hidden", d.norm("norm", stream))
	readout := "readout"
	if t.Tied {
		readout = "embedding"
	}
	logits := d.linear(readout, hidden)
	if t.Mup {
		logits = MulScalar(logits, t.Shrink)
	}
	return d.tapped("prediction", logits)
}

// decoder is a forward pass.
type decoder struct {
	*Transformer
	tap     Tap
	weights map[string]*Node
}

func (d *decoder) tapped(name string, v *Node) *Node {
	if d.tap == nil {
		return v
	}
	next := d.tap(name, v)
	next.AssertDims(v.Shape().Dimensions...)
	return next
}

// fewTokens is up to which vocabulary tokens are looked up by a product with their one-hot code: the gradient of a gather is a serial
// scatter on XLA's CPU.
const fewTokens = 4096

// embed returns the embedding of tokens [B, L]: [S, B, L, d].
func (d *decoder) embed(tokens *Node) *Node {
	table := d.weights["embedding"] // [S, V, d]
	b, l, s := tokens.Shape().Dim(0), tokens.Shape().Dim(1), table.Shape().Dim(0)
	flat := Reshape(tokens, b*l)
	if d.Vocabulary <= fewTokens {
		code := OneHot(flat, d.Vocabulary, table.DType())
		return Reshape(d.Product("pv,svd->spd", code, table), s, b, l, d.Width)
	}
	rows := Gather(Transpose(table, 0, 1), InsertAxes(flat, -1), false) // [B·L, S, d]
	return Reshape(Transpose(rows, 0, 1), s, b, l, d.Width)
}

// linear multiplies the last axis of v [S, B, L, in] by a weight [S, out, in].
func (d *decoder) linear(name string, v *Node) *Node {
	dims := v.Shape().Dimensions
	w := d.weights[name]
	product := d.Product("spi,soi->spo", Reshape(v, dims[0], dims[1]*dims[2], dims[3]), w)
	return Reshape(product, dims[0], dims[1], dims[2], w.Shape().Dim(1))
}

// norm normalises the last axis: without gain in olmo, by the root mean square and with a gain [S, n] in olmo2.
func (d *decoder) norm(name string, v *Node) *Node {
	if d.Block == OLMo {
		return nn.LayerNorm(v, []int{-1}, d.Epsilon, nil, nil, nil)
	}
	gain := InsertAxes(d.weights[name], 1, 1) // [S, 1, 1, n]
	mean := ReduceAndKeep(Square(v), ReduceMean, -1)
	return Mul(Div(v, Sqrt(AddScalar(mean, d.Epsilon))), gain) // GoMLX v0.28 has no gradient of Rsqrt
}

// block is one layer, on the residual stream [S, B, L, d].
func (d *decoder) block(l int, stream *Node) *Node {
	name := func(of string) string { return fmt.Sprintf("%s%d", of, l) }
	add := func(norm, to, part string, of func(*Node) *Node) {
		var back *Node
		if d.Block == OLMo {
			back = of(d.norm(norm, stream))
		} else {
			back = d.norm(norm, of(stream))
		}
		stream = d.tapped(name(to), Add(stream, d.tapped(name(part), back)))
	}
	add(name("attention_norm"), "middle", "attention", func(v *Node) *Node { return d.attention(name, v) })
	add(name("mlp_norm"), "residual", "mlp", func(v *Node) *Node {
		both := d.linear(name("up_gate"), v)
		up := Slice(both, AxisRange().Spacer(), AxisRange(0, d.MLP/2))
		gate := Slice(both, AxisRange().Spacer(), AxisRange(d.MLP/2))
		return d.linear(name("down"), d.tapped(name("neurons"), Mul(activation.Swish(gate), up)))
	})
	return stream
}

// attention is causal self-attention.
func (d *decoder) attention(name func(string) string, v *Node) *Node {
	dims := v.Shape().Dimensions
	s, b, l, k := dims[0], dims[1], dims[2], d.Head
	shared := d.Heads / d.Group // heads of keys and of values
	qkv := d.linear(name("qkv"), v)
	if d.Clip > 0 {
		qkv = ClipScalar(qkv, -d.Clip, d.Clip)
	}
	part := func(from, to int) *Node { return Slice(qkv, AxisRange().Spacer(), AxisRange(from, to)) }
	q, keys, values := part(0, d.Width), part(d.Width, d.Width+d.keys()), part(d.Width+d.keys(), d.Width+2*d.keys())
	if d.Block == OLMo2 {
		q, keys = d.norm(name("query_norm"), q), d.norm(name("key_norm"), keys)
	}
	q = Reshape(d.rotate(Reshape(q, s*b, l, d.Heads, k)), s*b, l, shared, d.Group, k)
	keys = d.rotate(Reshape(keys, s*b, l, shared, k))
	scores := d.Product("alhgk,amhk->ahglm", q, keys)
	scores = MulScalar(scores, d.scale())
	weights := Softmax(Where(d.before(v.Graph(), scores.Shape()), scores, Infinity(v.Graph(), scores.DType(), -1)), -1)
	mixed := d.Product("ahglm,amhk->alhgk", weights, Reshape(values, s*b, l, shared, k))
	return d.linear(name("out"), Reshape(mixed, s, b, l, d.Width))
}

// scale is by what scores of attention are multiplied.
func (t *Transformer) scale() float64 {
	if t.Mup {
		base := float64(t.Width) * t.Shrink
		return math.Sqrt(min(base, float64(t.TransformerSettings.Head))) / float64(t.Head)
	}
	return 1 / math.Sqrt(float64(t.Head))
}

// before is true where a token [L] may see another [L]: itself and those before it.
func (d *decoder) before(g *Graph, scores shapes.Shape) *Node {
	l := scores.Dim(-1)
	square := shapes.Make(dtypes.Int32, 1, 1, 1, l, l)
	return BroadcastToShape(GreaterOrEqual(Iota(g, square, 3), Iota(g, square, 4)), shapes.Make(dtypes.Bool, scores.Dimensions...))
}

// rotate turns pairs of numbers of each head [A, L, H, k] by angles that grow with the position: the j-th of the first half with the j-th
// of the second by position·theta^(-2j/k) (rotary embedding, Su et al., arXiv 2104.09864, as in Hugging Face's models).
func (d *decoder) rotate(v *Node) *Node {
	l, half := v.Shape().Dim(1), d.Head/2
	cosine, sine := make([][][]float32, l), make([][][]float32, l)
	for p := range l {
		cosine[p], sine[p] = [][]float32{make([]float32, half)}, [][]float32{make([]float32, half)}
		for j := range half {
			angle := float64(p) * math.Pow(d.Theta, -float64(j)/float64(half))
			cosine[p][0][j], sine[p][0][j] = float32(math.Cos(angle)), float32(math.Sin(angle))
		}
	}
	c, s := InsertAxes(Const(v.Graph(), cosine), 0), InsertAxes(Const(v.Graph(), sine), 0) // [1, L, 1, k/2]
	first, second := Slice(v, AxisRange().Spacer(), AxisRange(0, half)), Slice(v, AxisRange().Spacer(), AxisRange(half))
	return Concatenate([]*Node{Sub(Mul(first, c), Mul(second, s)), Add(Mul(second, c), Mul(first, s))}, -1)
}
