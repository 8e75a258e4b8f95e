package train

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/spec"
)

// A task whose loss counts once is the plain mixture; counting more changes it.
func TestWeightOfATask(t *testing.T) {
	b := backendtest.XLA(t)
	encoder := func(i spec.Intervention) []float32 {
		stack := tiny(t, func(r *spec.Run) { r.Train.Intervention = i }, 4)
		return last(trained(t, b, stack, 60)).Runs[0].Weights[0]
	}
	plain := encoder(spec.Intervention{})
	for i, w := range encoder(spec.Intervention{Kind: "weight", Task: 4, Factor: 1}) {
		if math.Abs(float64(w-plain[i])) > 1e-4 {
			t.Fatalf("factor 1 changes weight %d from %g to %g", i, plain[i], w)
		}
	}
	if slices.Equal(encoder(spec.Intervention{Kind: "weight", Task: 4, Factor: 20}), plain) {
		t.Error("factor 20 changes nothing")
	}
}

// Where two gradients of a run conflict each becomes normal to what the other was; where they don't, or one is zero, both
// stay. Two runs side by side are decided apart.
func TestSurgeryInTraining(t *testing.T) {
	b := backendtest.Go(t)
	p, err := New(b, tiny(t, func(r *spec.Run) { r.Train.Intervention = spec.Intervention{Kind: "surgery", Task: 4} }, 3, 3, 4))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Finalize()
	exec, err := NewExec(b.Backend, func(slopes *Node) []*Node { // of b along a, for each run
		g := slopes.Graph()
		var a, c, a0, c0 []*Node
		for i, w := range p.weights {
			size := 1
			for _, d := range w.dims {
				size *= d
			}
			v := Reshape(Iota(g, shapes.Make(dtypes.Float32, size), 0), w.dims...)
			x := Sin(AddScalar(v, float64(i)))
			a0, c0 = append(a0, x), append(c0, Add(Mul(x, w.perRun(slopes)), Cos(MulScalar(v, 2.3))))
		}
		a, c = slices.Clone(a0), slices.Clone(c0)
		p.project(a, c)
		return []*Node{p.products(a0, c0), p.products(a, c0), p.products(a0, c), p.products(a, a), p.products(a0, a0)}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call([]float32{-3, 3, -3})
	if err != nil {
		t.Fatal(err)
	}
	n := make([][]float32, len(out))
	for i, o := range out {
		n[i] = tensors.MustCopyFlatData[float32](o)
	}
	for run, conflict := range []bool{true, false, true} {
		if (n[0][run] < 0) != conflict {
			t.Fatalf("run %d: product %g before, want conflict %v", run, n[0][run], conflict)
		}
		if conflict && (math.Abs(float64(n[1][run])) > 1e-4*float64(n[4][run]) || math.Abs(float64(n[2][run])) > 1e-4*float64(n[4][run])) {
			t.Errorf("run %d: products %g, %g after, want 0", run, n[1][run], n[2][run])
		}
		if !conflict && n[3][run] != n[4][run] {
			t.Errorf("run %d: no conflict, but the gradient changed", run)
		}
	}
}

// Masked, only the task itself and weight decay move the encoder's weights from its own inputs; without a sample of it
// they stay as they were.
func TestMaskedInputsStay(t *testing.T) {
	b := backendtest.XLA(t)
	stack := tiny(t, func(r *spec.Run) {
		r.Train.Decay = 0
		r.Train.Intervention = spec.Intervention{Kind: "mask", Task: 4}
		r.Train.Injection = spec.Injection{Task: 4, Gap: 1000, Samples: 1}
	}, 4)
	all := trained(t, b, stack, 0, 50)
	before, after := all[0].Runs[0].Weights[0], all[1].Runs[0].Weights[0]
	dim := stack[0].Mixture.Dim
	for i := range before {
		own := i%dim >= 9 && i%dim < 12 // task 4 of blocks of 3
		if same := before[i] == after[i]; same != own {
			t.Fatalf("weight %d of input %d: unchanged is %v", i, i%dim, same)
		}
	}
}
