package net_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/corpus"
	"raretask/pkg/net"
	"raretask/tasks"
)

// decoder returns a transformer of a width and settings on windows of a vocabulary.
func decoder(t *testing.T, width, window, vocabulary int, s net.TransformerSettings) *net.Transformer {
	t.Helper()
	tokens := tasks.Array{Dims: []int{window}, Type: dtypes.Int32}
	of := tasks.Signature{Tasks: 2, Input: tokens, Target: tokens, Outputs: vocabulary, Coded: true, Unit: "nats"}
	if err := s.Check(width, of); err != nil {
		t.Fatal(err)
	}
	return s.Net(of, net.Shape{Width: width}).(*net.Transformer)
}

// hashed returns the numbers of the array-th array that testdata/olmo.py gives its models: a hash, uniform in -1 … 1.
func hashed(array, count int) []float32 {
	values := make([]float32, count)
	for i := range values {
		h := uint32(uint64(i+array*1000003) * 0x9E3779B1)
		h ^= h >> 15
		h *= 0x85EBCA77
		h ^= h >> 13
		values[i] = float32(float64(h)/(1<<31) - 1)
	}
	return values
}

// arraysOf returns arrays of s runs of each weight, given the numbers of each weight of a run.
func arraysOf(n net.Net, s int, values func(weight, run int, w net.Weight) []float32) (arrays []any) {
	for i, w := range n.Weights() {
		var flat []float32
		for run := range s {
			flat = append(flat, values(i, run, w)...)
		}
		arrays = append(arrays, tensors.FromFlatDataAndDimensions(flat, w.Stacked(s)...))
	}
	return arrays
}

// reference is a case of testdata/olmo.json.
type reference struct {
	Settings struct {
		net.TransformerSettings
		Width, Window, Vocabulary int
	}
	Parameters int
	Loss       float64
	Logits     []float64
	Gradients  map[string][]float64
}

// Logits, loss and gradients are those of the classes of Hugging Face's transformers, of both kinds of blocks.
func TestTransformerIsOLMo(t *testing.T) {
	text, err := os.ReadFile("testdata/olmo.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]reference
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) < 8 {
		t.Fatal(len(cases), err)
	}
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		for name, c := range cases {
			s := c.Settings.TransformerSettings
			s.Epsilon = 1e-5
			s.Recompute = strings.HasSuffix(name, "tied") // one of each kind of blocks
			compare(t, b, name, c, decoder(t, c.Settings.Width, c.Settings.Window-1, c.Settings.Vocabulary, s))
		}
	})
}

// compare holds a transformer with hashed weights against a reference.
func compare(t *testing.T, b *backend.Backend, name string, c reference, n *net.Transformer) {
	size := 0
	arrays := arraysOf(n, 1, func(i, _ int, w net.Weight) []float32 {
		size += w.Size()
		values := hashed(i, w.Size())
		for j, v := range values {
			if values[j] = v / 3; !w.Matrix {
				values[j] = 1 + v/4
			}
		}
		return values
	})
	l, v := c.Settings.Window, c.Settings.Vocabulary
	tokens := make([][]int32, 2)
	for i := range 2 * l {
		tokens[i/l] = append(tokens[i/l], int32(i*7919%104729%v))
	}
	out := backendtest.Run(t, b, append([]any{tokens}, arrays...), func(in []*Node) []*Node {
		logits := n.Logits(in[1:], Slice(in[0], AxisRange(), AxisRange(0, l-1)), nil)
		loss := ReduceAllMean(corpus.CrossEntropy(logits, InsertAxes(Slice(in[0], AxisRange(), AxisRange(1)), 0)))
		return append([]*Node{logits, loss}, Gradient(loss, in[1:]...)...)
	})
	if size != c.Parameters {
		t.Errorf("%s: %d parameters, want %d", name, size, c.Parameters)
	}
	at := func(batch, position, from, to int) []float32 { return out[0][(batch*(l-1)+position)*v:][:v][from:to] }
	got := slices.Concat(at(0, 0, 0, 5), at(0, l-2, v-5, v), at(1, l/2, 0, 5), at(1, l-2, 0, 5))
	for i, want := range c.Logits {
		if math.Abs(float64(got[i])-want) > 1e-4 {
			t.Errorf("%s: logit %d is %g, want %g", name, i, got[i], want)
		}
	}
	if loss := float64(out[1][0]); math.Abs(loss-c.Loss) > 1e-5*c.Loss {
		t.Errorf("%s: loss %g, want %g", name, loss, c.Loss)
	}
	for i, w := range n.Weights() {
		g := make([]float64, 0, w.Size())
		for _, v := range out[2+i] {
			g = append(g, float64(v))
		}
		end := len(g)
		for j, got := range []float64{floats.Norm(g, 2), g[0], g[1], g[2], g[end-2], g[end-1]} {
			if want := c.Gradients[w.Name]; len(want) != 6 || math.Abs(got-want[j]) > 1e-3*want[0]+1e-7 {
				t.Errorf("%s: gradient of %s: %g, want %v at %d", name, w.Name, got, want, j)
			}
		}
	}
}

// No logit depends on a later token, and none of a run on the weights of another: also of windows that attention takes in parts.
func TestTransformerIsCausal(t *testing.T) {
	b := backendtest.XLA(t)
	const window, vocabulary = 70, 20
	for _, s := range []net.TransformerSettings{
		{Layers: 2, Head: 4, Group: 1, Block: net.OLMo, Theta: 100, Clip: 1, Epsilon: 1e-5},
		{Layers: 2, Head: 4, Group: 2, Block: net.OLMo2, Theta: 100, Epsilon: 1e-5},
	} {
		n := decoder(t, 8, window, vocabulary, s)
		arrays := arraysOf(n, 2, func(i, run int, w net.Weight) []float32 { return hashed(i+50*run, w.Size()) })
		logits := func(arrays []any, changed int) []float32 {
			tokens := make([][]int32, 2)
			for i := range 2 * window {
				tokens[i/window] = append(tokens[i/window], int32(i*i%19))
			}
			if changed >= 0 {
				tokens[1][changed] = 19
			}
			return backendtest.Run(t, b, append([]any{tokens}, arrays...), func(in []*Node) []*Node {
				return []*Node{n.Logits(in[1:], in[0], nil)}
			})[0]
		}
		one := logits(arrays, -1)
		for _, changed := range []int{0, 31, 32, 53, 69} {
			other := logits(arrays, changed)
			for i := range one {
				position, row := i/vocabulary%window, i/vocabulary/window%2
				if row == 1 && position == changed && one[i] == other[i] || (row == 0 || position < changed) && one[i] != other[i] {
					t.Fatalf("%s: logit %d at position %d of row %d was %g, is %g with another token %d of row 1", s.Block, i%vocabulary,
						position, row, one[i], other[i], changed)
				}
			}
		}
		alone := arraysOf(n, 2, func(i, run int, w net.Weight) []float32 { return hashed(i+50*run*3, w.Size()) })
		if third := logits(alone, -1); !slices.Equal(third[:len(third)/2], one[:len(one)/2]) || slices.Equal(third, one) {
			t.Errorf("%s: logits of a run depend on another's weights", s.Block)
		}
	}
}

// A tap sees every place that Forward names, and what it puts there is what the rest reads.
func TestTransformerTaps(t *testing.T) {
	b := backendtest.XLA(t)
	n := decoder(t, 8, 5, 20, net.TransformerSettings{Layers: 2, Head: 4, Group: 1, Block: net.OLMo, Theta: 100, Epsilon: 1e-5})
	arrays := arraysOf(n, 2, func(i, run int, w net.Weight) []float32 { return hashed(i+50*run, w.Size()) })
	tokens := [][]int32{{1, 2, 3, 4, 5}}
	var seen []string
	run := func(replace string, by func(*Node) *Node) []float32 {
		return backendtest.Run(t, b, append([]any{tokens}, arrays...), func(in []*Node) []*Node {
			seen = nil
			return []*Node{n.Logits(in[1:], in[0], func(name string, v *Node) *Node {
				seen = append(seen, name)
				if name == replace {
					return by(v)
				}
				return v
			})}
		})[0]
	}
	plain := run("", nil)
	want := "residual0 attention1 middle1 neurons1 mlp1 residual1 attention2 middle2 neurons2 mlp2 residual2 hidden prediction"
	if got := strings.Join(seen, " "); got != want {
		t.Errorf("taps %s, want %s", got, want)
	}
	for _, name := range seen {
		if same := run(name, func(v *Node) *Node { return Identity(v) }); !slices.Equal(same, plain) {
			t.Errorf("%s: replaced by itself it changes logits", name)
		}
		if other := run(name, func(v *Node) *Node { return MulScalar(v, 2) }); slices.Equal(other, plain) && name != "residual0" {
			t.Errorf("%s: doubled it changes nothing", name)
		}
	}
	// The MLP's and attention's zeroed contributions leave the stream as it was: what residual2 is without them is residual0.
	zero := func(v *Node) *Node { return ZerosLike(v) }
	without := backendtest.Run(t, b, append([]any{tokens}, arrays...), func(in []*Node) []*Node {
		var first, last *Node
		n.Logits(in[1:], in[0], func(name string, v *Node) *Node {
			switch {
			case name == "residual0":
				first = v
			case name == "residual2":
				last = v
			case strings.HasPrefix(name, "mlp"), strings.HasPrefix(name, "attention"):
				return zero(v)
			}
			return v
		})
		return []*Node{first, last}
	})
	if !slices.Equal(without[0], without[1]) {
		t.Error("without what blocks give back the stream still changes")
	}
}

// The paper's sizes have exactly as many parameters as its Table 1 says, which is 2·V·d + 16·layers·d².
func TestPublishedSizes(t *testing.T) {
	want := map[string]int{"olmo-4m": 6_963_200, "olmo-20m": 28_753_920, "olmo-300m": 371_458_048, "olmo-1b": 1_279_787_008,
		"olmo-4b": 4_707_057_664}
	if len(net.Presets()) != len(want) {
		t.Errorf("presets %v", net.Presets())
	}
	for name, parameters := range want {
		p, ok := net.PresetOf(name)
		if !ok {
			t.Fatalf("no preset %s: %v", name, net.Presets())
		}
		if got := net.Parameters(p.Net()); got != parameters || got != 2*50304*p.Width+16*p.Layers*p.Width*p.Width {
			t.Errorf("%s: %d parameters, want %d", name, got, parameters)
		}
		decoder(t, p.Width, p.Window, p.Vocabulary, p.TransformerSettings)
	}
}
