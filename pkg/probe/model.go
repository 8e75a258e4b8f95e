package probe

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/floats"

	"raretask/pkg/backend"
	"raretask/pkg/corpus"
	"raretask/pkg/net"
)

// Model is a decoder with the weights of one run, as results keep them.
type Model struct {
	*net.Applied
	Net net.Decoder
}

// NewModel returns the model of a decoder and its weights, which may change.
func NewModel(b *backend.Backend, n net.Decoder, weights [][]float32) *Model {
	return &Model{net.NewApplied(b, n, weights), n}
}

// at returns an activation [1, B, L, d] of a position: [B, d].
func at(v *Node, position int) *Node {
	v = Slice(v, AxisElem(0), AxisRange(), AxisElem(position))
	return Reshape(v, v.Shape().Dim(1), v.Shape().Dim(3))
}

// Activations returns named activations of windows of tokens [n][L] at a position: [n][d] of each.
func (m *Model) Activations(tokens [][]int32, position int, names ...string) ([][][]float64, error) {
	missing := ""
	out, err := m.Call(fmt.Sprint("activations ", names, position), []any{tokens}, func(in, weights []*Node) []*Node {
		seen := make([]*Node, len(names))
		m.Net.Logits(weights, in[0], func(place string, v *Node) *Node {
			if i := slices.Index(names, place); i >= 0 {
				seen[i] = at(v, position)
			}
			return v
		})
		for i, v := range seen {
			if v == nil { // a panic in a graph's builder leaves GoMLX v0.28 waiting for ever
				missing, seen[i] = names[i], ConvertDType(in[0], dtypes.Float32)
			}
		}
		return seen
	})
	if err != nil {
		return nil, err
	}
	if missing != "" {
		return nil, fmt.Errorf("probe: no activation is named %q: want one that the net's Logits names", missing)
	}
	all := make([][][]float64, len(names))
	for a, flat := range out {
		d := len(flat) / len(tokens)
		for i := range tokens {
			all[a] = append(all[a], xslices.Map(flat[i*d:][:d], func(v float32) float64 { return float64(v) }))
		}
	}
	return all, nil
}

// NullEffects returns the mean loss of the labels of instances [n][4], in nats, and by how much it rises where what a part of each layer,
// mlp or attention, gives back to the stream is nulled: replaced by zero, or by its mean over the instances at each position. Source: Fig
// 10 of arXiv 2605.29548, which doesn't say which.
func (m *Model) NullEffects(part string, layers int, instances [][]int32, mean bool) (loss float64, rises []float64, err error) {
	tokens, labels := split(instances)
	out, err := m.Call(fmt.Sprint("null ", part, layers, mean), []any{tokens, labels}, func(in, weights []*Node) []*Node {
		var losses []*Node
		for l := range layers + 1 {
			logits := m.Net.Logits(weights, in[0], func(place string, v *Node) *Node {
				switch {
				case place != fmt.Sprintf("%s%d", part, l):
					return v
				case mean:
					return BroadcastToShape(ReduceAndKeep(v, ReduceMean, 1), v.Shape())
				}
				return ZerosLike(v)
			})
			losses = append(losses, ReduceAllMean(corpus.CrossEntropy(at(logits, 1), in[1])))
		}
		return losses
	})
	if err != nil {
		return 0, nil, err
	}
	for _, v := range out[1:] {
		rises = append(rises, float64(v[0]-out[0][0]))
	}
	return float64(out[0][0]), rises, nil
}

// split returns the symbols of instances and their labels.
func split(instances [][]int32) (tokens [][]int32, labels []int32) {
	for _, row := range instances {
		tokens, labels = append(tokens, row[:2]), append(labels, row[2])
	}
	return tokens, labels
}

// Direction is a direction of an activation at a position, and how often putting another window's part along it into a window makes the
// label the likeliest token that would follow there: interchange accuracy, of the pairs it was fitted on, of others, and of a random
// direction on those others (distributed alignment search for one direction, Geiger et al., arXiv 2303.02536; Sec. 4.3 of arXiv
// 2605.29548).
type Direction struct {
	Vector              []float64 // of length 1
	Train, Test, Random float64
}

// alignmentBatch and alignmentRate are those of the search, by Adam.
const (
	alignmentBatch = 128
	alignmentRate  = 2e-2
)

// Align searches a direction of an activation at a position by some steps of gradient descent on pairs for training.
func (m *Model) Align(
	activation string, position int, train, test []corpus.Counterfactual, steps int, random *rand.Rand,
) (Direction, error) {
	if len(train) == 0 || len(test) == 0 {
		return Direction{}, fmt.Errorf("probe: %d pairs to fit and %d to test: want some of each", len(train), len(test))
	}
	first, err := m.Activations([][]int32{train[0].Base}, position, activation)
	if err != nil {
		return Direction{}, err
	}
	search := interchange{m, activation, position, min(alignmentBatch, len(train))}
	d := Direction{Vector: unit(random, len(first[0][0]))}
	var adam moments
	for range steps {
		batch := make([]corpus.Counterfactual, min(alignmentBatch, len(train)))
		for i := range batch {
			batch[i] = train[random.IntN(len(train))]
		}
		_, gradient, err := search.evaluate(d.Vector, batch)
		if err != nil {
			return d, err
		}
		adam.step(d.Vector, gradient, alignmentRate)
		floats.Scale(1/floats.Norm(d.Vector, 2), d.Vector)
	}
	for to, pairs := range map[*float64][]corpus.Counterfactual{&d.Train: train, &d.Test: test} {
		if *to, err = search.accuracy(d.Vector, pairs); err != nil {
			return d, err
		}
	}
	d.Random, err = search.accuracy(unit(random, len(d.Vector)), test)
	return d, err
}

// unit returns a random vector of length 1.
func unit(random *rand.Rand, d int) []float64 {
	v := make([]float64, d)
	for i := range v {
		v[i] = random.NormFloat64()
	}
	floats.Scale(1/floats.Norm(v, 2), v)
	return v
}

// interchange is an interchange intervention on batches of some size.
type interchange struct {
	*Model
	activation     string
	position, rows int
}

// graph returns which of the last tokens of bases are followed by their labels [n], the mean loss of these, and its gradient [d], given a
// direction [d], bases, sources [n, L] and labels [n].
func (x interchange) graph(in, weights []*Node) []*Node {
	w, base, source, label := in[0], in[1], in[2], in[3]
	direction := Div(w, Sqrt(ReduceAllSum(Square(w))))
	var other *Node
	x.Net.Logits(weights, source, func(place string, v *Node) *Node {
		if place == x.activation {
			other = v
		}
		return v
	})
	logits := x.Net.Logits(weights, base, func(place string, v *Node) *Node {
		if place != x.activation {
			return v
		}
		part := Einsum("sbld,d->sbl", Sub(other, v), direction)
		length := v.Shape().Dim(2)
		here := Equal(Iota(v.Graph(), shapes.Make(dtypes.Int32, 1, 1, length), 2), Const(v.Graph(), int32(x.position)))
		part = Mul(part, ConvertDType(here, dtypes.Float32))
		return Add(v, Mul(InsertAxes(part, -1), Reshape(direction, 1, 1, 1, -1)))
	})
	last := at(logits, base.Shape().Dim(1)-1)
	loss := ReduceAllMean(corpus.CrossEntropy(last, label))
	right := Equal(ArgMax(last, -1, dtypes.Int32), label)
	return append([]*Node{ConvertDType(right, dtypes.Float32), loss}, Gradient(loss, w)...)
}

// evaluate returns which of pairs end with their labels, as 1 and 0, and the gradient of the mean loss.
func (x interchange) evaluate(direction []float64, pairs []corpus.Counterfactual) (right []float32, gradient []float64, err error) {
	var base, source [][]int32
	var label []int32
	for _, p := range pairs {
		base, source, label = append(base, p.Base), append(source, p.Source), append(label, p.Label)
	}
	w := make([]float32, len(direction))
	for i, v := range direction {
		w[i] = float32(v)
	}
	out, err := x.Call(fmt.Sprint("interchange ", x.activation, x.position, x.rows), []any{w, base, source, label}, x.graph)
	if err != nil {
		return nil, nil, err
	}
	return out[0], xslices.Map(out[2], func(v float32) float64 { return float64(v) }), nil
}

// accuracy returns the share of pairs that end with their labels, batch by batch; the last one is filled up by the first pairs.
func (x interchange) accuracy(direction []float64, pairs []corpus.Counterfactual) (float64, error) {
	sum := 0.
	for from := 0; from < len(pairs); from += x.rows {
		batch := make([]corpus.Counterfactual, x.rows)
		for i := range batch {
			batch[i] = pairs[(from+i)%len(pairs)]
		}
		right, _, err := x.evaluate(direction, batch)
		if err != nil {
			return 0, err
		}
		for _, v := range right[:min(x.rows, len(pairs)-from)] {
			sum += float64(v)
		}
	}
	return sum / float64(len(pairs)), nil
}

// moments are Adam's.
type moments struct {
	first, second []float64
	steps         float64
}

// step moves weights down their gradient.
func (a *moments) step(w, gradient []float64, rate float64) {
	if a.first == nil {
		a.first, a.second = make([]float64, len(w)), make([]float64, len(w))
	}
	a.steps++
	for i, g := range gradient {
		a.first[i] = .9*a.first[i] + .1*g
		a.second[i] = .999*a.second[i] + .001*g*g
		m, v := a.first[i]/(1-math.Pow(.9, a.steps)), a.second[i]/(1-math.Pow(.999, a.steps))
		w[i] -= rate * m / (math.Sqrt(v) + 1e-8)
	}
}
