package interference

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/net"
	"raretask/tasks"
)

// toy is a two-layer network of a GoMLX store with three tasks on one batch: task k is the k-th output on the rows that
// present marks as its own.
type toy struct {
	Model
	x, y, present [][]float64
}

func newToy(present func(row, task int) bool) *toy {
	random := rand.New(rand.NewPCG(1, 2))
	matrix := func(rows, columns int) [][]float64 {
		m := xslices.Slice2DWithValue(0., rows, columns)
		for i := range m {
			for j := range m[i] {
				m[i][j] = random.NormFloat64()
			}
		}
		return m
	}
	t := &toy{x: matrix(12, 5), y: matrix(12, 3), present: matrix(12, 3)}
	for i := range t.present {
		for k := range t.present[i] {
			t.present[i][k] = 0
			if present(i, k) {
				t.present[i][k] = 1
			}
		}
	}
	store := model.NewStore()
	store.RootScope().In("hidden").VariableWithValue("weights", matrix(5, 4))
	store.RootScope().In("readout").VariableWithValue("weights", matrix(4, 3))
	t.Model = Model{Store: store, Tasks: 3, Loss: func(scope *model.Scope, in []*Node, task int) (*Node, *Node) {
		g := in[0].Graph()
		h := Tanh(MatMul(in[0], scope.In("hidden").GetVariable("weights").NodeValue(g)))
		prediction := MatMul(h, scope.In("readout").GetVariable("weights").NodeValue(g))
		own := Slice(in[2], AxisRange(), AxisElem(task))
		n := ReduceAllSum(own)
		squared := Square(Sub(Slice(prediction, AxisRange(), AxisElem(task)), Slice(in[1], AxisRange(), AxisElem(task))))
		return Div(ReduceAllSum(Mul(squared, own)), Max(n, ScalarOne(g, n.DType()))), n
	}}
	return t
}

func (t *toy) inputs() []any { return []any{t.x, t.y, t.present} }

func all(int, int) bool { return true }

// nudged returns the losses with one number of a variable moved.
func (t *toy) nudged(tb testing.TB, b *backend.Backend, path string, at int, by float64) []float64 {
	tb.Helper()
	m := t.Model
	var err error
	if m.Store, err = t.Store.Clone(); err != nil {
		tb.Fatal(err)
	}
	v := m.Store.GetVariable(path)
	flat := tensors.MustCopyFlatData[float64](v.MustValue())
	flat[at] += by
	if err := v.SetValue(tensors.FromFlatDataAndDimensions(flat, v.Shape().Dimensions...)); err != nil {
		tb.Fatal(err)
	}
	losses, err := m.losses(b.Backend, t.inputs())
	if err != nil {
		tb.Fatal(err)
	}
	return losses
}

// rows returns the gradients of all tasks [K][P].
func (m Model) rows(tb testing.TB, b *backend.Backend, parts []Part, inputs ...any) [][]float64 {
	tb.Helper()
	v, err := m.vectors(b.Backend, parts, 0, m.Tasks, inputs)
	if err != nil {
		tb.Fatal(err)
	}
	return slices.Collect(slices.Chunk(v.values, v.size))
}

func close(a, b, relative float64) bool {
	return math.Abs(a-b) <= relative*max(math.Abs(a), math.Abs(b), 1e-6)
}

func TestGradientsAreFiniteDifferences(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		toy := newToy(func(row, task int) bool { return row%3 == task || row < 4 })
		got := toy.rows(t, b, nil, toy.inputs()...)
		const h = 1e-5
		at := 0
		for _, w := range []struct {
			path string
			size int
		}{{"/hidden/weights", 20}, {"/readout/weights", 12}} {
			for i := range w.size {
				up, down := toy.nudged(t, b, w.path, i, h), toy.nudged(t, b, w.path, i, -h)
				for k := range up {
					if want := (up[k] - down[k]) / (2 * h); !close(got[k][at], want, 1e-4) {
						t.Errorf("task %d, %s[%d]: gradient %g, finite difference %g", k, w.path, i, got[k][at], want)
					}
				}
				at++
			}
		}
	})
}

func TestChunksAndPartsOfTheGramMatrix(t *testing.T) {
	b := backendtest.Go(t)
	toy := newToy(all)
	whole, err := toy.Gradients(b.Backend, Options{}, toy.inputs()...)
	if err != nil {
		t.Fatal(err)
	}
	vectors := toy.rows(t, b, nil, toy.inputs()...)
	hidden, err := toy.Gradients(b.Backend, Options{Parts: []Part{{Path: "hidden"}}, Chunk: 1}, toy.inputs()...)
	if err != nil {
		t.Fatal(err)
	}
	neurons, err := toy.Gradients(b.Backend, Options{Parts: []Part{{Path: "/hidden/weights", Axis: 1, Neurons: []int{3, 1}}}, Chunk: 2},
		toy.inputs()...)
	if err != nil {
		t.Fatal(err)
	}
	dot := func(i, j int, in func(at int) bool) (sum float64) {
		for at := range vectors[i] {
			if in(at) {
				sum += vectors[i][at] * vectors[j][at]
			}
		}
		return sum
	}
	for i := range 3 {
		for j := range 3 {
			for name, c := range map[string]struct {
				got float64
				in  func(at int) bool
			}{
				"all weights": {whole.Gram[i][j], func(int) bool { return true }},
				"hidden":      {hidden.Gram[i][j], func(at int) bool { return at < 20 }},
				"two neurons": {neurons.Gram[i][j], func(at int) bool { return at < 20 && (at%4 == 3 || at%4 == 1) }},
			} {
				if want := dot(i, j, c.in); !close(c.got, want, 1e-12) {
					t.Errorf("%s: <g_%d, g_%d> = %g, want %g", name, i, j, c.got, want)
				}
			}
		}
	}
	// Looking leaves the model as it was.
	again, err := toy.Gradients(b.Backend, Options{}, toy.inputs()...)
	if err != nil || !slices.Equal(again.Loss, whole.Loss) {
		t.Errorf("losses %v, then %v (%v)", whole.Loss, again.Loss, err)
	}
}

func TestTaskWithoutSamplesIsMarked(t *testing.T) {
	b := backendtest.Go(t)
	toy := newToy(func(row, task int) bool { return task != 1 })
	got, err := toy.Gradients(b.Backend, Options{Chunk: 2}, toy.inputs()...)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string][][]float64{"gram": got.Gram, "cosine": Cosine(got.Gram)} {
		for i := range m {
			for j := range m[i] {
				if missing := math.IsNaN(m[i][j]); missing != (i == 1 || j == 1) {
					t.Errorf("%s[%d][%d] = %g", name, i, j, m[i][j])
				}
			}
		}
	}
	if !math.IsNaN(got.Loss[1]) || got.Samples[1] != 0 || got.Samples[0] != 12 {
		t.Errorf("loss %v of samples %v", got.Loss, got.Samples)
	}
}

func TestBadInput(t *testing.T) {
	b := backendtest.Go(t)
	toy := newToy(all)
	for want, parts := range map[string][]Part{
		"/hidden/weights, /readout/weights": {{Path: "decoder"}},
		"chosen twice":                      {{Path: "hidden"}, {Path: "/hidden/weights"}},
		"all its neurons": {
			{Path: "/hidden/weights", Axis: 1, Neurons: []int{0}}, {Path: "/hidden/weights", Axis: 1, Neurons: []int{1}}},
		"axis 2":   {{Path: "/hidden/weights", Axis: 2, Neurons: []int{0}}},
		"neuron 4": {{Path: "/hidden/weights", Axis: 1, Neurons: []int{0, 4}}},
	} {
		if _, err := toy.Gradients(b.Backend, Options{Parts: parts}, toy.inputs()...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parts %v: error %v, want one that says %q", parts, err, want)
		}
	}
	toy.x[0][0] = math.NaN()
	if _, err := toy.Gradients(b.Backend, Options{}, toy.inputs()...); err == nil || !strings.Contains(err.Error(), "diverged") {
		t.Errorf("a loss that is NaN: %v", err)
	}
	if _, err := (Model{}).Gradients(b.Backend, Options{}); err == nil {
		t.Error("no model: no error")
	}
}

// A small step changes losses as the inner products say, and many steps on a task lower its own loss.
func TestOverwritingIsFirstOrderForSmallSteps(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		toy := newToy(all)
		got, err := toy.Gradients(b.Backend, Options{}, toy.inputs()...)
		if err != nil {
			t.Fatal(err)
		}
		const eta = 1e-6
		want := FirstOrder(got.Gram, eta)
		change, err := toy.Overwriting(b.Backend, nil, eta, 1, toy.inputs()...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			for j := range want[i] {
				if math.Abs(change[i][j]-want[i][j]) > 1e-4*math.Abs(want[i][i]) {
					t.Errorf("step on task %d: loss of task %d changes by %g, want %g", j, i, change[i][j], want[i][j])
				}
			}
		}
		many, err := toy.Overwriting(b.Backend, nil, .01, 30, toy.inputs()...)
		if err != nil {
			t.Fatal(err)
		}
		for k := range many {
			if many[k][k] >= 0 {
				t.Errorf("30 steps on task %d change its loss by %g", k, many[k][k])
			}
		}
	})
}

func TestConflict(t *testing.T) {
	gram := [][]float64{{4, -2, 0}, {-2, 1, 0}, {0, 0, 0}}
	cosine := Cosine(gram)
	if cosine[0][1] != -1 || cosine[0][0] != 1 || !math.IsNaN(cosine[0][2]) || !math.IsNaN(cosine[2][2]) {
		t.Errorf("cosines %v", cosine)
	}
	if share := ConflictShare(gram); share != 1 {
		t.Errorf("conflict share %g", share)
	}
	if share := ConflictShare([][]float64{{0}}); !math.IsNaN(share) {
		t.Errorf("conflict share of one task %g", share)
	}
}

// Gradients of all tasks cost no more than three times the plain gradients of one task after another.
func TestCost(t *testing.T) {
	if testing.Short() {
		t.Skip("timing")
	}
	b := backendtest.XLA(t)
	m := bottleneck(t, 8, 8, 128, 64, 512)
	seed := []uint32{5, 0}
	measure := func(tasks [][2]int) time.Duration {
		best := time.Hour
		weights, err := m.choose(nil)
		if err != nil {
			t.Fatal(err)
		}
		var execs []*model.Exec
		for _, chunk := range tasks {
			exec, err := model.NewExec(b.Backend, m.Store, func(scope *model.Scope, in []*Node) []*Node {
				return m.gradientGraph(in, weights, chunk[0], chunk[1])
			})
			if err != nil {
				t.Fatal(err)
			}
			defer exec.Finalize()
			execs = append(execs, exec)
		}
		for range 6 { // the first of them compiles
			start := time.Now()
			for _, exec := range execs {
				out, err := exec.Call(seed, int32(0))
				if err != nil {
					t.Fatal(err)
				}
				float64s(out[len(out)-1])
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	var single [][2]int
	for k := range 8 {
		single = append(single, [2]int{k, k + 1})
	}
	together, apart := measure([][2]int{{0, 8}}), measure(single)
	t.Logf("8 tasks: %v together, %v one after another: ratio %.2f", together, apart, float64(together)/float64(apart))
	if together > 3*apart {
		t.Errorf("gradients of 8 tasks take %v together and %v one after another: want at most 3 times", together, apart)
	}
}

func bottleneck(tb testing.TB, k, block, dim, width, rows int) Model {
	tb.Helper()
	alpha := make([]float64, k)
	for i := range alpha {
		alpha[i] = 2
	}
	family, err := tasks.NewRegression(alpha, block, dim)
	if err != nil {
		tb.Fatal(err)
	}
	n := &net.Bottleneck{Shape: net.Shape{Width: width}, Tasks: k, Inputs: dim, Outputs: block}
	var values [][]float32
	for i, w := range n.Weights() {
		values = append(values, w.Initial(rand.New(rand.NewPCG(9, uint64(i)))))
	}
	m, err := OfNet(family, n, values, rows)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}
