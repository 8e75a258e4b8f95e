package bench

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend"
)

// Machine is what the numbers were measured on.
type Machine struct {
	CPU       string  `json:"cpu"`
	Cores     int     `json:"cores"`
	Backend   string  `json:"backend"`
	Peak      float64 `json:"peak_gflops"`    // median GFLOP/s of a 1024 x 1024 x 2048 float32 product by the same backend, in the same run
	Bandwidth float64 `json:"bandwidth_gb_s"` // median GB/s of adding two arrays of 64 MB
}

// gauge measures the machine's peaks through the backend that trains.
type gauge struct {
	backend           *backend.Backend
	peaks, bandwidths []float64
}

const (
	gaugeM, gaugeK, gaugeN = 1024, 1024, 2048
	gaugeSum               = 16 << 20 // numbers
)

func ones(dims ...int) *tensors.Tensor {
	t := tensors.FromShape(shapes.Make(dtypes.Float32, dims...))
	tensors.MustMutableFlatData(t, func(flat []float32) {
		for i := range flat {
			flat[i] = 1
		}
	})
	return t
}

func (g *gauge) measure() error {
	a, b, x := ones(gaugeM, gaugeK), ones(gaugeK, gaugeN), ones(gaugeSum)
	defer func() {
		for _, t := range []*tensors.Tensor{a, b, x} {
			t.MustFinalizeAll()
		}
	}()
	product, err := g.fastest(func(a, b *graph.Node) *graph.Node { return graph.Dot(a, b).Product() }, a, b)
	if err != nil {
		return err
	}
	sum, err := g.fastest(func(x, y *graph.Node) *graph.Node { return graph.Add(x, y) }, x, x)
	if err != nil {
		return err
	}
	g.peaks = append(g.peaks, 2*gaugeM*gaugeK*gaugeN/product/1e9)
	g.bandwidths = append(g.bandwidths, 3*4*gaugeSum/sum/1e9)
	return nil
}

// fastest returns the seconds of the fastest of a few calls: the first warms up, and another process may take a core from any.
func (g *gauge) fastest(build func(a, b *graph.Node) *graph.Node, a, b *tensors.Tensor) (best float64, err error) {
	exec, err := graph.NewExec(g.backend.Backend, build)
	if err != nil {
		return 0, err
	}
	defer exec.Finalize()
	for range 6 {
		begin := now()
		out, err := exec.Call(a, b)
		if err != nil {
			return 0, err
		}
		// Dispatch returns before the computation ends; a look at the data waits for it.
		err = out[0].ConstFlatData(func(any) {})
		if seconds := now().Sub(begin).Seconds(); best == 0 || seconds < best {
			best = seconds
		}
		out[0].MustFinalizeAll()
		if err != nil {
			return 0, err
		}
	}
	return best, nil
}

// cpuName returns the processor's model, where the system tells.
func cpuName() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// processorTime is what this process has used, over all threads.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
