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
	return d.rows(name, 0, d.weights[name].Shape().Dim(1), v)
}

// rows is linear by the rows from … to-1 of a weight. Parts of what one product gives would do as well, but XLA's CPU compiler doesn't
// vectorise the pads of which the gradient of a slice consists, and weights have fewer numbers than activations.
func (d *decoder) rows(name string, from, to int, v *Node) *Node {
	dims, w := v.Shape().Dimensions, d.weights[name]
	if to-from < w.Shape().Dim(1) {
		w = Slice(w, AxisRange(), AxisRange(from, to))
	}
	product := d.Product("spi,soi->spo", Reshape(v, dims[0], dims[1]*dims[2], dims[3]), w)
	return Reshape(product, dims[0], dims[1], dims[2], to-from)
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
		up, gate := d.rows(name("up_gate"), 0, d.MLP/2, v), d.rows(name("up_gate"), d.MLP/2, d.MLP, v)
		return d.linear(name("down"), d.tapped(name("neurons"), Mul(activation.Swish(gate), up)))
	})
	return stream
}

// attention is causal self-attention.
func (d *decoder) attention(name func(string) string, v *Node) *Node {
	dims := v.Shape().Dimensions
	s, b, l, k := dims[0], dims[1], dims[2], d.Head
	shared := d.Heads / d.Group // heads of keys and of values
	part := func(from, size int) *Node { return d.clipped(d.rows(name("qkv"), from, from+size, v)) }
	q, keys, values := part(0, d.Width), part(d.Width, d.keys()), part(d.Width+d.keys(), d.keys())
	if d.Block == OLMo2 {
		q, keys = d.norm(name("query_norm"), q), d.norm(name("key_norm"), keys)
	}
	q = MulScalar(Reshape(d.rotate(Reshape(q, s*b, l, d.Heads, k)), s*b, l, shared, d.Group, k), d.scale())
	keys, values = d.rotate(Reshape(keys, s*b, l, shared, k)), Reshape(values, s*b, l, shared, k)
	var mixed []*Node
	for _, ask := range parts(l) {
		from, to := ask[0], ask[1]
		tokens := func(v *Node, from int) *Node { return Slice(v, AxisRange(), AxisRange(from, to)) }
		mixed = append(mixed, d.mix(from, tokens(q, from), tokens(keys, 0), tokens(values, 0)))
	}
	return d.linear(name("out"), Reshape(Concatenate(mixed, 1), s, b, l, d.Width))
}

// clipped limits queries, keys and values. (The gradient of GoMLX's Clip takes four signs of each number.)
func (d *decoder) clipped(v *Node) *Node {
	if d.Clip == 0 {
		return v
	}
	within := LessOrEqual(Abs(v), Scalar(v.Graph(), v.DType(), d.Clip))
	return Where(within, v, StopGradient(ClipScalar(v, -d.Clip, d.Clip)))
}

// parts returns which tokens of a window ask at once, from and to, exclusive: a quarter of them, and no fewer than 32. Scores with all
// tokens after the last of a part are left out.
func parts(window int) (all [][2]int) {
	size := max(32, (window+3)/4)
	for from := 0; from < window; from += size {
		all = append(all, [2]int{from, min(window, from+size)})
	}
	return all
}

// mix returns the means of values [A, M, H/g, k] by the softmax of scores of queries [A, L, H/g, g, k], of which the first is the token at
// from, with keys [A, M, H/g, k]: like queries.
func (d *decoder) mix(from int, queries, keys, values *Node) *Node {
	scores := d.Product("alhgk,amhk->ahglm", queries, keys)
	g, square := scores.Graph(), shapes.Make(dtypes.Int32, 1, 1, 1, scores.Shape().Dim(3), scores.Shape().Dim(4))
	before := GreaterOrEqual(AddScalar(Iota(g, square, 3), from), Iota(g, square, 4)) // or the token itself
	scores = Where(BroadcastToShape(before, shapes.Make(dtypes.Bool, scores.Shape().Dimensions...)), scores, Infinity(g, scores.DType(), -1))
	// The softmax is divided by its sum once values are mixed, of which there are fewer than scores.
	weights := Exp(Sub(scores, StopGradient(ReduceAndKeep(scores, ReduceMax, -1))))
	sum := Transpose(Transpose(ReduceSum(weights, -1), 2, 3), 1, 2)
	return Div(d.Product("ahglm,amhk->alhgk", weights, values), InsertAxes(sum, -1))
}

// scale is by what scores of attention are multiplied.
func (t *Transformer) scale() float64 {
	if t.Mup {
		base := float64(t.Width) * t.Shrink
		return math.Sqrt(min(base, float64(t.TransformerSettings.Head))) / float64(t.Head)
	}
	return 1 / math.Sqrt(float64(t.Head))
}

// rotate turns pairs of numbers of each head [A, L, H, k] by angles that grow with the position: the j-th of the first half with the j-th
// of the second by position·theta^(-2j/k) (rotary embedding, Su et al., arXiv 2104.09864, as in Hugging Face's models).
func (d *decoder) rotate(v *Node) *Node {
	dims, half := v.Shape().Dimensions, d.Head/2
	cosine, sine := make([][][][]float32, dims[1]), make([][][][]float32, dims[1])
	for p := range cosine {
		c, s, minus := make([]float32, half), make([]float32, half), make([]float32, half)
		for j := range half {
			angle := float64(p) * math.Pow(d.Theta, -float64(j)/float64(half))
			c[j], s[j] = float32(math.Cos(angle)), float32(math.Sin(angle))
			minus[j] = -s[j]
		}
		cosine[p], sine[p] = [][][]float32{{c, c}}, [][][]float32{{minus, s}}
	}
	c, s := InsertAxes(Const(v.Graph(), cosine), 0), InsertAxes(Const(v.Graph(), sine), 0) // [1, L, 1, 2, k/2]
	// The halves change places by Reverse: the gradient of slices is made of pads, which XLA's CPU compiler doesn't vectorise.
	halves := Reshape(v, dims[0], dims[1], dims[2], 2, half)
	return Reshape(Add(Mul(halves, c), Mul(Reverse(halves, 3), s)), dims...)
}
