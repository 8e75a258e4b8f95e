package net

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/stat"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/pkg/spec"
)

const rows = 24

func settings(family string, net spec.Net) (spec.Mixture, spec.Net) {
	m := spec.Default().Mixture
	m.Family, m.Tasks, m.Block, m.Dim = family, 3, 2, 7
	return m, net
}

// plain is one network in float64 Go, with a one-hot code as inputs of the first layer where the family is coded: the
// computation that the stacked network is held against.
type plain struct {
	net     Net
	mixture *mixture.Mixture
	spec    spec.Net
	weights map[string][]float64
}

func initial(t *testing.T, family string, s spec.Net, seed uint64) *plain {
	t.Helper()
	ms, ns := settings(family, s)
	m, err := mixture.New(ms)
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(ns, m.Family)
	if err != nil {
		t.Fatal(err)
	}
	p := &plain{n, m, ns, map[string][]float64{}}
	random := rand.New(rand.NewPCG(seed, 1))
	for _, w := range n.Weights() {
		for range w.Initial(random) { // fresh numbers everywhere, so that no zero hides a mistake
			p.weights[w.Name] = append(p.weights[w.Name], random.Float64()-.5)
		}
	}
	return p
}

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
	n, k := p.spec.Width, p.mixture.Family.Tasks()
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
	for l := 1; l <= p.spec.Layers(); l++ {
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
			y[i] *= p.spec.Shrink()
			loss += (y[i] - target[i]) * (y[i] - target[i]) / float64(len(y))
		}
		return h, y, loss
	}
	y = affine(p.weights["readout"], h, nil)
	sum, own := 0., 0.
	for i := range y {
		y[i] = y[i]*p.spec.Shrink() + p.weights["readout_bias"][i]
		sum += math.Exp(y[i])
		own += y[i] * target[i]
	}
	return h, y, (math.Log(sum) - own) / math.Ln2
}

// evaluation is what the graph gives for two stacked networks.
type evaluation struct {
	x, y, task, hidden, loss []float64
	gradients                [][]float64
}

func evaluate(t *testing.T, nets [2]*plain) evaluation {
	t.Helper()
	family := nets[0].mixture.Family
	var weights []any
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
	exec, err := NewExec(backendtest.Go(t).Backend, func(in []*Node) []*Node {
		g := in[0].Graph()
		random := mixture.NewRandom(Const(g, []uint32{5, 0}), Const(g, int32(2)), 0)
		batch := mixture.Arrange(family, random, Const(g, []float32{11, 19, rows}), rows)
		named := nets[0].net.Forward(family, in, batch)
		out := []*Node{batch.X, batch.Y, batch.Task, named["hidden"], named["loss"]}
		return append(out, Gradient(ReduceAllSum(named["loss"]), in...)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call(weights...)
	if err != nil {
		t.Fatal(err)
	}
	numbers := make([][]float64, len(out))
	for i, o := range out {
		for _, v := range tensors.MustCopyFlatData[float32](o) {
			numbers[i] = append(numbers[i], float64(v))
		}
	}
	return evaluation{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5:]}
}

// total returns the sum of the losses of each task's samples and the last hidden layer of every row.
func (p *plain) total(e evaluation) (byTask []float64, hidden [][]float64, sum float64) {
	k, d, o := p.mixture.Family.Tasks(), p.mixture.Family.Inputs(), p.mixture.Family.Outputs()
	byTask = make([]float64, k)
	for row := range rows {
		task := slices.Index(e.task[row*k:(row+1)*k], 1)
		h, _, loss := p.forward(e.x[row*d:(row+1)*d], e.y[row*o:(row+1)*o], task)
		byTask[task] += loss
		sum += loss
		hidden = append(hidden, h)
	}
	return byTask, hidden, sum
}

// Every kind, family, depth and parameterization: activations, losses and gradients (by finite differences) of two stacked
// networks are those of plain Go.
func TestForwardAndGradients(t *testing.T) {
	for _, c := range []struct {
		family string
		net    spec.Net
	}{
		{"parity", spec.Net{Kind: "mlp", Width: 5}},
		{"parity", spec.Net{Kind: "mlp", Width: 4, Depth: 3}},
		{"parity", spec.Net{Kind: "mlp", Width: 6, Depth: 2, Parameterization: "mup", Base: 2}},
		{"regression", spec.Net{Kind: "mlp", Width: 5}},
		{"regression", spec.Net{Kind: "mlp", Width: 4, Depth: 2, Parameterization: "mup", Base: 2}},
	} {
		t.Run(fmt.Sprintf("%s depth %d %s", c.family, c.net.Layers(), c.net.Parameterization), func(t *testing.T) {
			nets := [2]*plain{initial(t, c.family, c.net, 1), initial(t, c.family, c.net, 2)}
			e := evaluate(t, nets)
			for s, p := range nets {
				byTask, hidden, sum := p.total(e)
				for k, want := range byTask {
					if got := e.loss[s*len(byTask)+k]; math.Abs(got-want) > 1e-5*(1+want) {
						t.Errorf("network %d, task %d: loss %g, want %g", s, k+1, got, want)
					}
				}
				n := p.spec.Width
				for row, h := range hidden {
					for i, want := range h {
						if got := e.hidden[(row*2+s)*n+i]; math.Abs(got-want) > 1e-5 {
							t.Fatalf("network %d, row %d, neuron %d: %g, want %g", s, row, i, got, want)
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
			_, _, more := p.total(e)
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
	m := spec.Default().Mixture
	m.Family, m.Tasks, m.Dim, m.Block = "parity", 40, 60, 3
	mix, err := mixture.New(m)
	if err != nil {
		t.Fatal(err)
	}
	standard, err := New(spec.Net{Kind: "mlp", Width: 300, Depth: 2}, mix.Family)
	if err != nil {
		t.Fatal(err)
	}
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
	for _, kind := range []string{"mlp", "bottleneck"} {
		family := map[string]string{"mlp": "parity", "bottleneck": "regression"}[kind]
		m, s := settings(family, spec.Net{Kind: kind, Width: 4, Parameterization: "mup", Base: 1})
		if kind == "mlp" {
			s.Depth = 3
		}
		mix, err := mixture.New(m)
		if err != nil {
			t.Fatal(err)
		}
		n, err := New(s, mix.Family)
		if err != nil {
			t.Fatal(err)
		}
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
