package net_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/stat"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/tasks"
)

const rows = 24

// families are small, of three tasks on seven inputs.
var families = map[string]tasks.Settings{
	"parity": tasks.ParitySettings{Bits: 7, Size: 2}, "regression": tasks.RegressionSettings{Dim: 7, Block: 2, Alpha: [2]float64{2, 2}},
}

// kindOf is a net and its kind's settings.
type kindOf struct {
	settings net.Settings
	shape    net.Shape
}

func mlp(width, depth int) kindOf {
	return kindOf{net.MLPSettings{Depth: depth}, net.Shape{Width: width, Shrink: 1}}
}

func bottleneck(width int) kindOf {
	return kindOf{net.BottleneckSettings{}, net.Shape{Width: width, Shrink: 1}}
}

// mup returns the net under muP.
func (k kindOf) mup(base float64) kindOf {
	k.shape.Mup, k.shape.Shrink = true, base/float64(k.shape.Width)
	return k
}

func (k kindOf) of(t *testing.T, family string) (tasks.Family, net.Net) {
	t.Helper()
	f, err := families[family].Family(3)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.settings.Check(k.shape.Width, f.Signature()); err != nil {
		t.Fatal(err)
	}
	return f, k.settings.Net(f.Signature(), k.shape)
}

// plain is one network in float64 Go, with a one-hot code as inputs of the first layer where the family is coded: the
// computation that the stacked network is held against.
type plain struct {
	net     net.Net
	family  tasks.Family
	kind    kindOf
	weights map[string][]float64
}

func initial(t *testing.T, family string, kind kindOf, seed uint64) *plain {
	t.Helper()
	f, n := kind.of(t, family)
	p := &plain{n, f, kind, map[string][]float64{}}
	random := rand.New(rand.NewPCG(seed, 1))
	for _, w := range n.Weights() {
		for range w.Initial(random) { // fresh numbers everywhere, so that no zero hides a mistake
			p.weights[w.Name] = append(p.weights[w.Name], random.Float64()-.5)
		}
	}
	return p
}

// depth returns the hidden layers.
func (p *plain) depth() int { return p.kind.settings.(net.MLPSettings).Depth }

func affine(w, x, bias []float64) []float64 {
	y := make([]float64, len(w)/len(x))
	for i := range y {
		for j, v := range x {
			y[i] += w[i*len(x)+j] * v
		}
		if bias != nil {
			y[i] += bias[i]
		}
	}
	return y
}

// forward returns the last hidden layer, the prediction and the loss of one sample.
func (p *plain) forward(x, target []float64, task int) (h, y []float64, loss float64) {
	n, k := p.kind.shape.Width, p.family.Signature().Tasks
	w1, input := p.weights["weight1"], x
	if code := p.weights["code"]; code != nil {
		oneHot := make([]float64, k)
		oneHot[task] = 1
		input = slices.Concat(x, oneHot)
		w1 = nil
		for i := range n {
			w1 = append(w1, p.weights["weight1"][i*len(x):(i+1)*len(x)]...)
			for j := range k {
				w1 = append(w1, code[j*n+i])
			}
		}
	}
	h = input
	for l := 1; l <= p.depth(); l++ {
		w := p.weights[fmt.Sprintf("weight%d", l)]
		if l == 1 {
			w = w1
		}
		h = affine(w, h, p.weights[fmt.Sprintf("bias%d", l)])
		for i := range h {
			h[i] = max(0, h[i])
		}
	}
	if decoder := p.weights["decoder"]; decoder != nil {
		size := len(target) * n
		y = affine(decoder[task*size:(task+1)*size], h, nil)
		for i := range y {
			y[i] *= p.kind.shape.Shrink
			loss += (y[i] - target[i]) * (y[i] - target[i]) / float64(len(y))
		}
		return h, y, loss
	}
	y = affine(p.weights["readout"], h, nil)
	sum, own := 0., 0.
	for i := range y {
		y[i] = y[i]*p.kind.shape.Shrink + p.weights["readout_bias"][i]
		sum += math.Exp(y[i])
		own += y[i] * target[i]
	}
	return h, y, (math.Log(sum) - own) / math.Ln2
}

// evaluation is what the graph gives for two stacked networks.
type evaluation struct {
	x, y, task, loss []float64
	taps             map[string][]float64
	names            []string
	gradients        [][]float64
}

// stacked returns the weights of two networks as the stack's arrays.
func stacked(nets [2]*plain) (weights []any) {
	for _, w := range nets[0].net.Weights() {
		inner := 1
		for _, d := range w.Dims[w.RunAxis:] {
			inner *= d
		}
		var flat []float32
		for at := 0; at < len(nets[0].weights[w.Name]); at += inner {
			for _, p := range nets {
				for _, v := range p.weights[w.Name][at : at+inner] {
					flat = append(flat, float32(v))
				}
			}
		}
		weights = append(weights, tensors.FromFlatDataAndDimensions(flat, w.Stacked(2)...))
	}
	return weights
}

// given is a source of numbers that are an input of the graph [rows, 7]: XLA takes longer to compile a generator than the rest of a
// small net's program.
type given struct{ numbers *Node }

func (r given) Normal(...int) *Node  { return r.numbers }
func (r given) Uniform(...int) *Node { panic("no family here draws such numbers") }
func (r given) Bits(...int) *Node {
	return ConvertDType(GreaterThan(r.numbers, ScalarZero(r.numbers.Graph(), dtypes.Float32)), dtypes.Float32)
}

// replacement is a net.Tap that knows the batch.
type replacement func(batch *mixture.Batch, name string, activation *Node) *Node

func unchanged(_ *mixture.Batch, _ string, activation *Node) *Node { return activation }

// evaluate runs the forward pass and its gradient with each of replacements in place of activations, all in one program, which
// compiles in little more time than one of them.
func evaluate(t *testing.T, b *backend.Backend, nets [2]*plain, replacements ...replacement) []evaluation {
	t.Helper()
	weights := stacked(nets)
	var each []evaluation
	run := backendtest.Compile(t, b, func(in []*Node) (out []*Node) {
		random, in := given{in[0]}, in[1:]
		batch := mixture.Arrange(nets[0].family, random, Const(in[0].Graph(), []float32{11, 19, rows}), rows)
		each = nil
		for _, replace := range replacements {
			var names []string
			var seen []*Node
			loss, count := nets[0].net.Forward(nets[0].family, in, batch, func(name string, activation *Node) *Node {
				if shape := activation.Shape(); shape.Rank() != 3 || shape.Dim(0) != 2 || shape.Dim(1) != rows {
					t.Errorf("%s has shape %s: want [2 runs, %d samples, …]", name, shape, rows)
				}
				names, seen = append(names, name), append(seen, activation)
				return replace(batch, name, activation)
			})
			if count != nil {
				t.Error("samples count otherwise than once")
			}
			out = append(out, batch.X, batch.Y, batch.Task, loss)
			out = append(append(out, Gradient(ReduceAllSum(loss), in...)...), seen...)
			each = append(each, evaluation{names: names, taps: map[string][]float64{}})
		}
		return out
	})
	random, numbers := rand.New(rand.NewPCG(5, 2)), make([][]float32, rows)
	for row := range numbers {
		for range 7 {
			numbers[row] = append(numbers[row], float32(random.NormFloat64()))
		}
	}
	out := run(append([]any{numbers}, weights...)...)
	next := func() []float64 {
		values := make([]float64, len(out[0]))
		for i, v := range out[0] {
			values[i] = float64(v)
		}
		out = out[1:]
		return values
	}
	for i := range each {
		e := &each[i]
		e.x, e.y, e.task, e.loss = next(), next(), next(), next()
		for range weights {
			e.gradients = append(e.gradients, next())
		}
		for _, name := range e.names {
			e.taps[name] = next()
		}
	}
	return each
}

// total returns the sum of the losses of each task's samples, and the last hidden layer and the prediction of every row.
func (p *plain) total(e evaluation) (byTask []float64, hidden, predictions [][]float64, sum float64) {
	of := p.family.Signature()
	k, d, o := of.Tasks, of.Input.Size(), of.Outputs
	byTask = make([]float64, k)
	for row := range rows {
		task := slices.Index(e.task[row*k:(row+1)*k], 1)
		h, y, loss := p.forward(e.x[row*d:(row+1)*d], e.y[row*o:(row+1)*o], task)
		byTask[task] += loss
		sum += loss
		hidden, predictions = append(hidden, h), append(predictions, y)
	}
	return byTask, hidden, predictions, sum
}

// Every kind, family, depth and parameterization: activations, losses and gradients (by finite differences) of two stacked
// networks are those of plain Go.
func TestForwardAndGradients(t *testing.T) {
	for _, c := range []struct {
		family string
		kind   kindOf
	}{
		{"parity", mlp(5, 1)},
		{"parity", mlp(4, 3)},
		{"parity", mlp(6, 2).mup(2)},
		{"regression", mlp(5, 1)},
		{"regression", mlp(4, 2).mup(2)},
	} {
		t.Run(fmt.Sprintf("%s %+v", c.family, c.kind), func(t *testing.T) {
			nets := [2]*plain{initial(t, c.family, c.kind, 1), initial(t, c.family, c.kind, 2)}
			e := evaluate(t, backendtest.Go(t), nets, unchanged)[0]
			for s, p := range nets {
				byTask, hidden, predictions, sum := p.total(e)
				for k, want := range byTask {
					if got := e.loss[s*len(byTask)+k]; math.Abs(got-want) > 1e-5*(1+want) {
						t.Errorf("network %d, task %d: loss %g, want %g", s, k+1, got, want)
					}
				}
				n := p.kind.shape.Width
				for row, h := range hidden {
					for i, want := range h {
						if got := e.taps["hidden"][(s*rows+row)*n+i]; math.Abs(got-want) > 1e-5 {
							t.Fatalf("network %d, row %d, neuron %d: %g, want %g", s, row, i, got, want)
						}
					}
				}
				for row, y := range predictions {
					for i, want := range y {
						if got := e.taps["prediction"][(s*rows+row)*len(y)+i]; math.Abs(got-want) > 1e-5 {
							t.Fatalf("network %d, row %d, output %d: %g, want %g", s, row, i, got, want)
						}
					}
				}
				checkGradients(t, p, e, s, sum)
			}
		})
	}
}

func checkGradients(t *testing.T, p *plain, e evaluation, run int, sum float64) {
	t.Helper()
	const step = 1e-6
	for i, w := range p.net.Weights() {
		values := p.weights[w.Name]
		inner := 1
		for _, d := range w.Dims[w.RunAxis:] {
			inner *= d
		}
		for j := range values {
			was := values[j]
			values[j] = was + step
			_, _, _, more := p.total(e)
			values[j] = was
			want := (more - sum) / step
			got := e.gradients[i][(j/inner*2+run)*inner+j%inner]
			if math.Abs(got-want) > 2e-4*(1+math.Abs(want)) {
				t.Fatalf("network %d, %s[%d]: gradient %g, finite difference %g", run, w.Name, j, got, want)
			}
		}
	}
}

// PyTorch's initial values: uniform in ±1/sqrt(fan-in), the code of the task counted among the inputs.
func TestInitialValues(t *testing.T) {
	standard := net.MLPSettings{Depth: 2}.Net(tasks.ParitySettings{Bits: 60, Size: 3}.Signature(40), net.Shape{Width: 300, Shrink: 1})
	fanIn := map[string]float64{"weight1": 100, "bias1": 100, "code": 100, "weight2": 300, "bias2": 300, "readout": 300, "readout_bias": 300}
	for _, w := range standard.Weights() {
		var values []float64
		for _, v := range w.Initial(rand.New(rand.NewPCG(1, 2))) {
			values = append(values, float64(v))
		}
		bound := 1 / math.Sqrt(fanIn[w.Name])
		if low, high := slices.Min(values), slices.Max(values); low < -bound || high > bound {
			t.Errorf("%s: from %g to %g: want within ±%g", w.Name, low, high, bound)
		}
		if len(values) < 100 {
			continue
		}
		n, sd := float64(len(values)), bound/math.Sqrt(3)
		mean, got := stat.MeanStdDev(values, nil)
		// A uniform number's variance has standard error sd² sqrt(.8/n).
		if math.Abs(mean) > 4*sd/math.Sqrt(n) || math.Abs(got-sd) > 2*sd*math.Sqrt(.8/n) {
			t.Errorf("%s: mean %g, standard deviation %g: want 0, %g", w.Name, mean, got, sd)
		}
	}
}

// muP (Table 8 of arXiv 2203.03466, for Adam): what differs from standard, at four times the base width.
func TestMup(t *testing.T) {
	for family, kind := range map[string]kindOf{"parity": mlp(4, 3).mup(1), "regression": bottleneck(4).mup(1)} {
		_, n := kind.of(t, family)
		for _, w := range n.Weights() {
			rate, zero := 1., false
			switch w.Name {
			case "weight2", "weight3":
				rate = .25
			case "readout", "readout_bias", "decoder":
				zero = true
			}
			values := w.Initial(rand.New(rand.NewPCG(1, 2)))
			if w.Rate != rate || zero != !slices.ContainsFunc(values, func(v float32) bool { return v != 0 }) {
				t.Errorf("%s: rate factor %g, initial values %v: want %g, zero %t", w.Name, w.Rate, values, rate, zero)
			}
		}
	}
}

// Every kind shows the layers it says, in order, and each as it is before the layer that reads it.
func TestTaps(t *testing.T) {
	for _, c := range []struct {
		family string
		kind   kindOf
		want   []string
	}{
		{"parity", mlp(5, 1), []string{"hidden", "prediction"}},
		{"parity", mlp(5, 3), []string{"hidden1", "hidden2", "hidden", "prediction"}},
		{"regression", mlp(4, 2), []string{"hidden1", "hidden", "prediction"}},
		{"regression", bottleneck(4), []string{"hidden", "prediction"}},
		{"regression", bottleneck(4).mup(2), []string{"hidden", "prediction"}},
	} {
		t.Run(fmt.Sprintf("%s %+v", c.family, c.kind), func(t *testing.T) {
			backendtest.Each(t, func(t *testing.T, b *backend.Backend) { checkTaps(t, b, c.family, c.kind, c.want) })
		})
	}
}

func checkTaps(t *testing.T, b *backend.Backend, family string, kind kindOf, want []string) {
	nets := [2]*plain{initial(t, family, kind, 1), initial(t, family, kind, 2)}
	each := evaluate(t, b, nets, unchanged,
		func(_ *mixture.Batch, _ string, v *Node) *Node { return MulScalar(MulScalar(v, 2), .5) },
		func(batch *mixture.Batch, name string, v *Node) *Node {
			if name != "prediction" || family != "regression" {
				return v
			}
			return Add(InsertAxes(batch.Y, 0), Reshape(Const(v.Graph(), []float32{0, 2}), 2, 1, 1)) // run 1 is off by 2
		},
		func(_ *mixture.Batch, name string, v *Node) *Node {
			if name != "hidden" {
				return v
			}
			return Mul(v, Reshape(Const(v.Graph(), []float32{1, 0}), 2, 1, 1))
		})
	shown, same, exact, ablated := each[0], each[1], each[2], each[3]
	if !slices.Equal(shown.names, want) {
		t.Errorf("taps %v, want %v", shown.names, want)
	}
	// A tap that returns another node with the same numbers leaves losses as they are, and so do gradients.
	if !slices.Equal(same.loss, shown.loss) {
		t.Errorf("losses %v, with an identity in between %v", shown.loss, same.loss)
	}
	for i, g := range shown.gradients {
		for j, v := range g {
			if math.Abs(v-same.gradients[i][j]) > 1e-6*(1+math.Abs(v)) {
				t.Fatalf("array %d: gradient %g, with an identity in between %g", i, v, same.gradients[i][j])
			}
		}
	}
	// What takes the prediction's place is what is scored, of each run and sample its own: targets lose nothing, with any readout.
	samples := []float64{11, 8, 5}
	for k := range samples {
		if family == "regression" && (math.Abs(exact.loss[k]) > 1e-6 || math.Abs(exact.loss[3+k]-4*samples[k]) > 1e-4) {
			t.Errorf("task %d: targets as predictions lose %g, those off by 2 %g: want 0, %g", k+1, exact.loss[k], exact.loss[3+k], 4*samples[k])
		}
	}
	// An ablated hidden layer leaves the readout's bias alone; one run's own ablation leaves the other's loss.
	if !slices.Equal(ablated.loss[:3], shown.loss[:3]) || slices.Equal(ablated.loss[3:], shown.loss[3:]) {
		t.Errorf("losses %v, with run 1 ablated %v: want run 0's as they were", shown.loss, ablated.loss)
	}
	for i, v := range ablated.taps["prediction"][len(ablated.taps["prediction"])/2:] {
		bias := 0.
		if w := nets[1].weights["readout_bias"]; w != nil {
			bias = w[i%len(w)]
		}
		if math.Abs(v-bias) > 1e-6 {
			t.Fatalf("ablated, prediction %d is %g, want %g", i, v, bias)
		}
	}
}

// Products in bfloat16 are near those in float32, other than they, and give gradients of the weights' own type.
func TestProductsInBFloat16(t *testing.T) {
	for _, c := range []struct {
		family string
		kind   kindOf
	}{{"parity", mlp(6, 2)}, {"regression", mlp(6, 1)}, {"regression", bottleneck(5)}} {
		backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
			low := c.kind
			low.shape.Products = dtypes.BFloat16
			exact := evaluate(t, b, [2]*plain{initial(t, c.family, c.kind, 1), initial(t, c.family, c.kind, 2)}, unchanged)[0]
			rounded := evaluate(t, b, [2]*plain{initial(t, c.family, low, 1), initial(t, c.family, low, 2)}, unchanged)[0] // reads float32 alone
			if slices.Equal(exact.loss, rounded.loss) {
				t.Errorf("%s %+v: products in bfloat16 change nothing", c.family, c.kind)
			}
			for k, want := range exact.loss {
				if got := rounded.loss[k]; math.Abs(got-want) > 1e-2*math.Abs(want) {
					t.Errorf("%s %+v: loss %g, in bfloat16 %g", c.family, c.kind, want, got)
				}
			}
			for i, g := range exact.gradients {
				off, size := 0., 0.
				for j, v := range g {
					off, size = off+(v-rounded.gradients[i][j])*(v-rounded.gradients[i][j]), size+v*v
				}
				if math.Sqrt(off) > 3e-2*math.Sqrt(size) {
					t.Errorf("%s %+v, array %d: gradients differ by %.3g of their norm", c.family, c.kind, i, math.Sqrt(off/size))
				}
			}
		})
	}
}

// Biases are no matrices; everything else is.
func TestMatrices(t *testing.T) {
	vectors := []string{"bias1", "bias2", "bias3", "readout_bias"}
	for family, kinds := range map[string][]kindOf{"parity": {mlp(4, 3)}, "regression": {mlp(4, 2), bottleneck(3)}} {
		for _, kind := range kinds {
			_, n := kind.of(t, family)
			for _, w := range n.Weights() {
				if w.Matrix == slices.Contains(vectors, w.Name) {
					t.Errorf("%s %+v: %s is a matrix: %t", family, kind, w.Name, w.Matrix)
				}
			}
		}
	}
}

func TestKinds(t *testing.T) {
	if names := net.Names(); !slices.Equal(names, []string{"bottleneck", "mlp", "transformer"}) {
		t.Errorf("kinds %v", names)
	}
	if _, ok := net.Named("rnn"); ok {
		t.Error("an unknown kind is known")
	}
	known, _ := net.Named("mlp")
	for what, bad := range map[string]net.Kind{"a taken name": known, "no name": {Defaults: known.Defaults}, "no defaults": {Name: "toy"}} {
		func() {
			defer func() {
				if said := fmt.Sprint(recover()); !strings.Contains(said, "want a new name") {
					t.Errorf("%s: %s: want a panic that says what is right", what, said)
				}
			}()
			net.Register(bad)
		}()
	}
	parity, regression := families["parity"].Signature(3), families["regression"].Signature(3)
	images := tasks.Signature{Tasks: 3, Input: tasks.Array{Dims: []int{4, 4}}, Outputs: 2}
	for _, c := range []struct {
		s     net.Settings
		width int
		of    tasks.Signature
		key   string // none: possible
	}{
		{net.BottleneckSettings{}, 7, regression, ""}, {net.BottleneckSettings{}, 8, regression, "width"},
		{net.BottleneckSettings{}, 2, parity, "kind"},
		{net.BottleneckSettings{}, 2, images, "kind"}, {net.MLPSettings{Depth: 100}, 1 << 20, parity, ""},
		{net.MLPSettings{}, 2, parity, "depth"},
		{net.MLPSettings{Depth: 101}, 2, parity, "depth"}, {net.MLPSettings{Depth: 1 << 53}, 2, parity, "depth"},
		{net.MLPSettings{Depth: 1}, 2, images, "kind"},
	} {
		err := c.s.Check(c.width, c.of)
		var bad *tasks.KeyError
		if c.key == "" && err != nil || c.key != "" && (!errors.As(err, &bad) || bad.Key != c.key) {
			t.Errorf("%+v of width %d: %v, want an error about %q", c.s, c.width, err, c.key)
		}
	}
}

// Initial values are a function of a net's sizes, its width and the seed alone; each array and seed has its own.
func TestInitialIsOfTheSeed(t *testing.T) {
	_, n := mlp(6, 2).of(t, "parity")
	a, again, other := net.Initial(n, 6, 1), net.Initial(n, 6, 1), net.Initial(n, 6, 2)
	for i, w := range n.Weights() {
		if len(a[i]) != w.Size() || !slices.Equal(a[i], again[i]) || slices.Equal(a[i], other[i]) {
			t.Errorf("%s: %d numbers of %d, equal again %t, of another seed %t", w.Name, len(a[i]), w.Size(), slices.Equal(a[i], again[i]),
				slices.Equal(a[i], other[i]))
		}
	}
	if a[1][0]/a[1][1] == a[4][0]/a[4][1] { // two biases, whose bounds differ
		t.Error("two arrays start alike")
	}
}
