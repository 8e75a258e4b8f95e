package probe_test

import (
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/corpus"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/probe"
	"raretask/tasks"
)

// planted is a decoder built by hand on a task of comparison: each symbol's embedding is its number along a known direction, and noise
// along all others; the label follows from the difference along that direction alone.
type planted struct {
	task      corpus.Task
	size      int // of the vocabulary
	direction []float32
}

func (p planted) Weights() []net.Weight {
	return []net.Weight{{Name: "table", Dims: []int{p.size, len(p.direction)}, Rate: 1}}
}

func (p planted) Forward(tasks.Family, []*Node, *mixture.Batch, net.Tap) (loss, count *Node) {
	panic("not trained")
}

func (p planted) Depth() int { return 1 }

func (p planted) Passing() int { return 0 }
func (p planted) Parts() int   { return 1 }

func (p planted) Cost() (used, activations int) { return 0, 0 }

func (p planted) Logits(weights []*Node, tokens *Node, tap net.Tap) *Node {
	g, b, l := tokens.Graph(), tokens.Shape().Dim(0), tokens.Shape().Dim(1)
	code := OneHot(Reshape(tokens, b*l), p.size, weights[0].DType())
	h := Reshape(Einsum("pv,svd->spd", code, weights[0]), 1, b, l, len(p.direction))
	if tap != nil {
		h = tap("residual0", h)
		h = Add(h, tap("mlp1", ZerosLike(h)))
	}
	along := Einsum("sbld,d->sbl", h, Const(g, p.direction))
	first, second := Slice(along, AxisRange(), AxisRange(), AxisElem(0)), Slice(along, AxisRange(), AxisRange(), AxisElem(l-1))
	score := MulScalar(Sub(second, AddScalar(first, .5)), 4) // above 0 where the first number is smaller
	labels := make([]float32, p.size)
	labels[p.task.Labels[0]], labels[p.task.Labels[1]] = 1, -1
	logits := Mul(Reshape(score, 1, b, 1, 1), Reshape(Const(g, labels), 1, 1, 1, p.size))
	return BroadcastToDims(logits, 1, b, l, p.size)
}

// plant returns such a decoder and its weights.
func plant(t *testing.T, d int) (*probe.Model, planted) {
	t.Helper()
	kind, _ := tasks.Named("language")
	settings := kind.Defaults.(corpus.LanguageSettings)
	settings.Vocabulary, settings.Symbols, settings.Rank = 40, 12, 3
	l, err := corpus.NewLanguage(settings)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(5, 1))
	p := planted{l.Injected, settings.Vocabulary, make([]float32, d)}
	norm := 0.
	for i := range p.direction {
		p.direction[i] = float32(random.NormFloat64())
		norm += float64(p.direction[i]) * float64(p.direction[i])
	}
	table := make([]float32, p.size*d)
	for i := range p.direction {
		p.direction[i] /= float32(math.Sqrt(norm))
	}
	for value, token := range l.Injected.Symbols {
		row, along := table[int(token)*d:][:d], 0.
		for i := range row {
			row[i] = float32(3 * random.NormFloat64())
			along += float64(row[i] * p.direction[i])
		}
		for i := range row {
			row[i] += p.direction[i] * float32(float64(value)-along)
		}
	}
	return probe.NewModel(backendtest.XLA(t), p, [][]float32{table}), p
}

// The search finds the planted direction, and swapping along it moves the label also in pairs that it hasn't seen; a random direction
// doesn't.
func TestAlign(t *testing.T) {
	m, p := plant(t, 16)
	random := rand.New(rand.NewPCG(6, 1))
	train, test := p.task.Counterfactuals(p.task.Train, 500, random), p.task.Counterfactuals(p.task.Test, 300, random)
	got, err := m.Align("residual0", 0, train, test, 400, random)
	if err != nil {
		t.Fatal(err)
	}
	cosine := 0.
	for i, v := range got.Vector {
		cosine += v * float64(p.direction[i])
	}
	if math.Abs(cosine) < .95 || got.Train < .95 || got.Test < .95 || got.Random > .7 {
		t.Errorf("cosine %g with the planted direction; %+v", cosine, got)
	}
	if _, err := m.Align("residual0", 0, nil, test, 1, random); err == nil {
		t.Error("no pairs to fit: want an error")
	}
	if _, err := m.Align("residual9", 0, train, test, 1, random); err == nil {
		t.Error("an activation that isn't there: want an error")
	}
}

// Half of the pairs change the label, all follow the rule.
func TestCounterfactuals(t *testing.T) {
	_, p := plant(t, 8)
	random := rand.New(rand.NewPCG(7, 1))
	pairs := p.task.Counterfactuals(p.task.Train, 200, random)
	changes := 0
	value := map[int32]int{}
	for v, token := range p.task.Symbols {
		value[token] = v
	}
	for _, c := range pairs {
		want := p.task.Labels[1]
		if value[c.Source[0]] < value[c.Base[1]] {
			want = p.task.Labels[0]
		}
		if c.Label != want || c.Source[1] != c.Base[1] {
			t.Errorf("%+v: want label %d", c, want)
		}
		if (value[c.Base[0]] < value[c.Base[1]]) != (c.Label == p.task.Labels[0]) {
			changes++
		}
	}
	if len(pairs) != 200 || changes != 100 {
		t.Errorf("%d pairs, of which %d change the label", len(pairs), changes)
	}
}

// What is read is the activation, and a part that gives nothing is nulled without effect; nulling the embedding's place would cost the
// label.
func TestActivationsAndNulls(t *testing.T) {
	m, p := plant(t, 8)
	rows, err := m.Activations([][]int32{{p.task.Symbols[3], p.task.Symbols[5]}, {p.task.Symbols[7], 0}}, 0, "residual0")
	if err != nil {
		t.Fatal(err)
	}
	for i, token := range []int32{p.task.Symbols[3], p.task.Symbols[7]} {
		for j, v := range rows[0][i] {
			if want := float64(m.Weights[0][int(token)*8+j]); math.Abs(v-want) > 1e-6 {
				t.Errorf("row %d, number %d: %g, want %g", i, j, v, want)
			}
		}
	}
	loss, rises, err := m.NullEffects("mlp", 1, p.task.Train, false)
	if err != nil || len(rises) != 1 || math.Abs(rises[0]) > 1e-6 || loss > 2 {
		t.Errorf("loss %g, rises %v (%v)", loss, rises, err)
	}
	stack := language(t, nil, 8)
	_, weights := trained(t, stack)
	decoder := probe.NewModel(backendtest.XLA(t), stack[0].New().(net.Decoder), weights[0])
	family, _ := stack[0].Mixture.Settings.Family(2)
	for _, mean := range []bool{false, true} {
		_, rises, err = decoder.NullEffects("attention", 2, family.(*corpus.Language).Injected.Train, mean)
		if err != nil || len(rises) != 2 || rises[0] == 0 {
			t.Errorf("mean %t: rises %v (%v)", mean, rises, err)
		}
	}
}
