package bench

import (
	"bufio"
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
	product, sum      *graph.Exec
	a, b, x           *tensors.Tensor
	peaks, bandwidths []float64
}

const (
	gaugeM, gaugeK, gaugeN = 1024, 1024, 2048
	gaugeSum               = 16 << 20 // numbers
)

func newGauge(b *backend.Backend) (*gauge, error) {
	g := &gauge{a: ones(gaugeM, gaugeK), b: ones(gaugeK, gaugeN), x: ones(gaugeSum)}
	var err error
	if g.product, err = graph.NewExec(b.Backend, func(a, b *graph.Node) *graph.Node { return graph.Dot(a, b).Product() }); err != nil {
		return nil, err
	}
	g.sum, err = graph.NewExec(b.Backend, func(x, y *graph.Node) *graph.Node { return graph.Add(x, y) })
	return g, err
}

func ones(dims ...int) *tensors.Tensor {
	t := tensors.FromShape(shapes.Make(dtypes.Float32, dims...))
	tensors.MustMutableFlatData(t, func(flat []float32) {
		for i := range flat {
			flat[i] = 1
		}
	})
	return t
}

// measure takes the best of a few calls: the first warms up, and another process may take a core from any.
func (g *gauge) measure() error {
	product, err := fastest(g.product, g.a, g.b)
	if err != nil {
		return err
	}
	sum, err := fastest(g.sum, g.x, g.x)
	if err != nil {
		return err
	}
	g.peaks = append(g.peaks, 2*gaugeM*gaugeK*gaugeN/product/1e9)
	g.bandwidths = append(g.bandwidths, 3*4*gaugeSum/sum/1e9)
	return nil
}

// fastest returns the seconds of the fastest call.
func fastest(exec *graph.Exec, args ...any) (float64, error) {
	best := 0.
	for range 6 {
		begin := now()
		out, err := exec.Call(args...)
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

func (g *gauge) finalize() {
	g.product.Finalize()
	g.sum.Finalize()
	for _, t := range []*tensors.Tensor{g.a, g.b, g.x} {
		t.MustFinalizeAll()
	}
}

// cpuName returns the processor's model, where the system tells.
func cpuName() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
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
