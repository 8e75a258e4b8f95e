package train

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/tasks"
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
	surgery := func(r *spec.Run) { r.Train.Intervention = spec.Intervention{Kind: "surgery", Task: 4} }
	p := program(t, b, tiny(t, surgery, 3, 3, 4), Options{})
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
		p.project(a, c, a, c)
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

// Masked, only the task itself and weight decay move the first layer's weights from its own inputs; without a sample of it
// they stay as they were.
func TestMaskedInputsStay(t *testing.T) {
	b := backendtest.XLA(t)
	for _, n := range []spec.Net{spec.NewNet("bottleneck", 1), mlp(1), mlp(2)} {
		stack := tiny(t, func(r *spec.Run) {
			r.Net = n
			r.Train.Decay = 0
			r.Train.Intervention = spec.Intervention{Kind: "mask", Task: 4}
			r.Train.Injection = spec.Injection{Task: 4, Gap: 1000, Samples: 1}
		}, 4)
		all := trained(t, b, stack, 0, 50)
		before, after := all[0].Runs[0].Weights[0], all[1].Runs[0].Weights[0]
		dim := stack[0].Mixture.Signature().Input.Size()
		for i := range before {
			own := i%dim >= 9 && i%dim < 12                                               // task 4 of blocks of 3
			if same := before[i] == after[i]; same != own && !(same && n.Kind == "mlp") { // a neuron may be silent
				t.Fatalf("%s %+v: weight %d of input %d: unchanged is %v", n.Kind, n.Settings, i, i%dim, same)
			}
		}
		if slices.Equal(before, after) {
			t.Errorf("%s %+v: nothing moved", n.Kind, n.Settings)
		}
	}
}

// A neuron that takes no part learns nothing and says nothing; one that does is as if there never had been others.
func TestWidthChangesInTraining(t *testing.T) {
	b := backendtest.XLA(t)
	const few, at = 2, 30
	for _, n := range []spec.Net{spec.NewNet("bottleneck", 1), mlp(2)} {
		resized := func(kind string) []Snapshot {
			stack := tiny(t, func(r *spec.Run) {
				r.Net, r.Train.Optimizer, r.Train.Rate, r.Train.Decay = n, "sgd", .1, 0
				r.Train.Intervention = spec.Intervention{Kind: kind, Neurons: few, Step: at}
			}, 2, 4)
			return trained(t, b, stack, 0, 10, at, 60)
		}
		plain := trained(t, b, tiny(t, func(r *spec.Run) {
			r.Net, r.Train.Optimizer, r.Train.Rate, r.Train.Decay = n, "sgd", .1, 0
		}, 2, 4), 0, 10, at, 60)
		grown, shrunk := resized("grow"), resized("shrink")
		rows := func(s Snapshot, run, from, to int) []float32 {
			d := len(s.Runs[run].Weights[0]) / []int{2, 4}[run]
			return s.Runs[run].Weights[0][from*d : to*d]
		}
		for i, same := range []bool{true, true, true, false} {
			if got := slices.Equal(rows(grown[i], 1, few, 4), rows(grown[0], 1, few, 4)); got != same {
				t.Errorf("%s: neurons that grow at step %d: as they started after %d steps is %v", n.Kind, at, grown[i].Step, got)
			}
		}
		gone := func(i int) []float32 { return rows(shrunk[i], 1, few, 4) }
		if !slices.Equal(gone(3), gone(2)) || slices.Equal(gone(2), gone(0)) {
			t.Errorf("%s: neurons that are gone from step %d on move later, or didn't before", n.Kind, at)
		}
		for _, all := range [][]Snapshot{grown, shrunk} {
			if !slices.Equal(rows(all[3], 0, 0, few), rows(plain[3], 0, 0, few)) {
				t.Errorf("%s: a net of no more than %d neurons trained otherwise", n.Kind, few)
			}
		}
		stay := func(i int) []float32 { return rows(shrunk[i], 1, 0, few) }
		if slices.Equal(stay(2), stay(3)) || !slices.Equal(rows(shrunk[1], 1, 0, 4), rows(plain[1], 1, 0, 4)) {
			t.Errorf("%s: the neurons that stay don't learn, or learned otherwise before others left", n.Kind)
		}
		p := program(t, b, tiny(t, func(r *spec.Run) { r.Net = n }, 2, 4), Options{})
		weights := [][][]float32{shrunk[3].Runs[0].Weights, silenced(shrunk[3].Runs[1].Weights, p.groups[1].weights, few)}
		alone, err := p.Evaluate(tiny(t, func(r *spec.Run) { r.Net = n }, 2, 4), 60, weights)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range alone[1].Sampled {
			if got := shrunk[3].Runs[1].Sampled[k]; math.Abs(got-v) > 1e-5*(1+v) {
				t.Errorf("%s: task %d: loss %g without the neurons that are gone, want %g", n.Kind, k+1, got, v)
			}
		}
	}
}

// silenced returns weights of a net of four neurons a layer without those from few on: nothing reads them.
func silenced(weights [][]float32, of []net.Weight, few int) [][]float32 {
	var all [][]float32
	for i, w := range of {
		own := slices.Clone(weights[i])
		if reads := w.Name == "weight2" || w.Name == "decoder"; reads {
			for at := range own {
				if at%4 >= few {
					own[at] = 0
				}
			}
		}
		all = append(all, own)
	}
	return all
}

// Of two layers and one, of stacked widths and of two runs of one width, on tasks that share their inputs and tasks that don't:
// the gradients that an intervention makes are what plain Go makes of the gradients of each task alone.
func TestInterventionsOfAnMLP(t *testing.T) {
	const task = 2
	conflicts := map[bool]int{} // runs with surgery whose gradients conflict, and don't
	for _, family := range []string{"regression", "parity"} {
		for _, i := range []spec.Intervention{{Kind: "weight", Task: task, Factor: 5}, {Kind: "surgery", Task: task},
			{Kind: "mask", Task: task}} {
			if family == "parity" && i.Kind == "mask" {
				continue
			}
			for _, depth := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s %s depth %d", family, i.Kind, depth), func(t *testing.T) {
					stack := tiny(t, func(r *spec.Run) {
						r.Net = mlp(depth)
						if family == "parity" {
							parity(4, 9, r.Net)(r)
						}
						r.Train.Intervention = i
					}, 3, 5, 5)
					for seed := range stack {
						data := uint32(1)
						stack[seed].Train.Seed, stack[seed].Train.Data = uint32(seed), &data
					}
					byTask, got := interventionGradients(t, stack)
					for run := range stack {
						want, conflict := intervened(stack[run], byTask[run])
						if i.Kind == "surgery" {
							conflicts[conflict]++
						}
						for at, w := range want {
							if math.Abs(got[run][at]-w) > 1e-5*(1+math.Abs(w)) {
								t.Fatalf("width %d, run %d, number %d of the gradient: %g, want %g", stack[run].Net.Width, run, at, got[run][at], w)
							}
						}
					}
				})
			}
		}
	}
	if conflicts[true] == 0 || conflicts[false] == 0 {
		t.Errorf("surgery in %d runs with a conflict and %d without: want some of both, or this test shows half", conflicts[true],
			conflicts[false])
	}
}

// interventionGradients returns, of the first batch at the initial values, the gradient of the loss of each task's samples alone
// [run][task] and that of the intervention [run], all weights of a run in one row.
func interventionGradients(t *testing.T, stack spec.Stack) (byTask [][][]float64, intervened [][]float64) {
	t.Helper()
	b := backendtest.Go(t)
	p := program(t, b, stack, Options{})
	state, inputs, err := p.initial(stack)
	if err != nil {
		t.Fatal(err)
	}
	k := stack[0].Mixture.Tasks
	var args []any
	for _, s := range append([]*tensors.Tensor{inputs[inputSeed], inputs[inputThresholds], inputs[inputForced]}, p.weightsIn(state)...) {
		args = append(args, s)
	}
	numbers := backendtest.Run(t, b, args, func(in []*Node) []*Node {
		g := in[0].Graph()
		weights := in[3:]
		batch := mixture.Draw(p.mixture.Family, mixture.NewRandom(in[0], Const(g, int32(0)), trainingSamples), in[1], in[2], stack[0].Train.Batch)
		losses, total := p.losses(weights, batch, nil)
		out := p.intervene(nil, losses, total, weights).sum
		for task := range k {
			loss := DivScalar(ReduceAllSum(Slice(losses, AxisRange(), AxisElem(task))), float64(stack[0].Train.Batch))
			out = append(out, Gradient(loss, weights...)...)
		}
		return out
	})
	row := func(run int, gradients [][]float32) (flat []float64) {
		at := 0
		for _, g := range p.groups {
			for _, w := range g.weights {
				if run >= g.first && run < g.first+g.runs {
					for _, v := range separate(gradients[at], w, run-g.first, g.runs) {
						flat = append(flat, float64(v))
					}
				}
				at++
			}
		}
		return flat
	}
	n := len(p.weights)
	for run := range stack {
		intervened = append(intervened, row(run, numbers[:n]))
		byTask = append(byTask, nil)
		for task := range k {
			byTask[run] = append(byTask[run], row(run, numbers[n*(task+1):n*(task+2)]))
		}
	}
	return byTask, intervened
}

// intervened is what an intervention has to make of the gradients of all tasks, and whether the task's conflicts with the rest.
func intervened(run spec.Run, byTask [][]float64) (want []float64, conflict bool) {
	i := run.Train.Intervention
	own := byTask[i.Task-1]
	rest := make([]float64, len(own))
	for k, gradient := range byTask {
		if k != i.Task-1 {
			floats.Add(rest, gradient)
		}
	}
	product := floats.Dot(own, rest)
	want = make([]float64, len(own))
	for at := range want {
		switch i.Kind {
		case "weight":
			want[at] = i.Factor*own[at] + rest[at]
		case "surgery":
			want[at] = own[at] + rest[at]
			if product < 0 {
				want[at] -= product/floats.Dot(rest, rest)*rest[at] + product/floats.Dot(own, own)*own[at]
			}
		case "mask":
			m := run.Mixture.Settings.(tasks.RegressionSettings)
			input := at % m.Dim // the first layer comes first, a row for each neuron
			if at >= run.Net.Width*m.Dim || input < (i.Task-1)*m.Block || input >= i.Task*m.Block {
				want[at] = rest[at]
			}
			want[at] += own[at]
		}
	}
	return want, product < 0
}
