package train

import (
	"math"
	"testing"

	"github.com/gomlx/compute/distributed"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
)

// A batch that is cut over two devices trains to the weights of one device, each with all of the weights: XLA adds up what the devices have
// of a gradient.
func TestBatchOverDevices(t *testing.T) {
	one := backendtest.XLA(t)
	t.Setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2") // else our client asks for one
	two, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	if two.NumDevices() < 2 {
		t.Skipf("the plugin offers %d devices: not run", two.NumDevices())
	}
	stack := reading(t)
	after := func(b *backend.Backend, devices int) [][]float32 {
		p, err := New(b, stack, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Finalize()
		state, inputs, err := p.initial(stack)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := p.feed(stack, inputs)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rows.load(0); err != nil {
			t.Fatal(err)
		}
		exec, err := NewExec(b.Backend, p.stepGraph)
		if err != nil {
			t.Fatal(err)
		}
		defer exec.Finalize()
		at := p.stateSize() + inputConstants + p.constants + p.schedule // where the rows stand
		if devices > 1 {
			mesh, err := distributed.NewDeviceMesh([]int{devices}, []string{"data"})
			if err != nil {
				t.Fatal(err)
			}
			cut, err := distributed.BuildSpec(mesh).R().S("data").R().Done()
			if err != nil {
				t.Fatal(err)
			}
			specs := make([]*distributed.ShardingSpec, at+2)
			specs[at] = cut
			exec = exec.AutoSharding(mesh).WithInputShardingSpecs(specs...)
		}
		arrays := make([][]any, devices)
		for d := range devices {
			for i, array := range append(append([]*tensors.Tensor{}, state...), inputs...) {
				if i == at {
					array = part(array, d, devices)
				}
				copied := tensors.FromShape(array.Shape()) // on no device yet
				err := array.ConstBytes(func(from []byte) { copied.MutableBytes(func(to []byte) { copy(to, from) }) })
				if err != nil {
					t.Fatal(err)
				}
				arrays[d] = append(arrays[d], copied)
			}
		}
		for range 20 {
			var all []any
			for d := range devices {
				all = append(all, arrays[d]...)
			}
			out, err := exec.Call(all...)
			if err != nil {
				t.Fatal(err)
			}
			n := len(out) / devices
			for d := range devices {
				for i, o := range out[d*n:][:n] {
					arrays[d][i] = o
				}
			}
		}
		var weights [][]float32
		for d := range devices {
			for i := range p.weights {
				weights = append(weights, tensors.MustCopyFlatData[float32](arrays[d][stateWeights+i].(*tensors.Tensor)))
			}
		}
		return weights
	}
	alone, both := after(one, 1), after(two, 2)
	if len(both) != 2*len(alone) {
		t.Fatalf("%d weights of two devices, %d of one", len(both), len(alone))
	}
	for i, w := range both {
		for j, v := range w {
			if want := alone[i%len(alone)][j]; math.Abs(float64(v-want)) > 1e-5 {
				t.Fatalf("weight %d, number %d: %g on one device, %g on two", i%len(alone), j, want, v)
			}
		}
	}
}

// part returns what a device has of rows [steps, B, L].
func part(rows *tensors.Tensor, device, devices int) *tensors.Tensor {
	dims := rows.Shape().Dimensions
	own := dims[1] / devices
	var values []int32
	tensors.MustConstFlatData(rows, func(flat []int32) {
		for step := range dims[0] {
			from := (step*dims[1] + device*own) * dims[2]
			values = append(values, flat[from:from+own*dims[2]]...)
		}
	})
	return tensors.FromFlatDataAndDimensions(values, dims[0], own, dims[2])
}
