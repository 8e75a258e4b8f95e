package bench

import (
	"math"
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
	Peak      float64 `json:"peak_gflops"`    // median GFLOP/s of large float32 products by the same backend, in the same run
	Bandwidth float64 `json:"bandwidth_gb_s"` // median GB/s of adding two large arrays
}

// gauge measures the machine's peaks through the backend that trains.
type gauge struct {
	backend           *backend.Backend
	peaks, bandwidths []float64
}

// measure takes sizes that keep the device busy for long beside what a call takes: an accelerator larger ones.
func (g *gauge) measure() error {
	side, numbers := 1024, 16<<20
	if name := g.backend.Identity.Name; name != "xla:cpu" && name != "go" {
		side, numbers = 8192, 256<<20
	}
	dot := func(a, b *graph.Node) *graph.Node { return graph.Dot(a, b).Product() }
	product, err := g.fastest(dot, []int{side, side}, []int{side, 2 * side})
	if err != nil {
		return err
	}
	sum, err := g.fastest(graph.Add, []int{numbers}, []int{numbers})
	if err != nil {
		return err
	}
	g.peaks = append(g.peaks, 4*math.Pow(float64(side), 3)/product/1e9)
	g.bandwidths = append(g.bandwidths, 3*4*float64(numbers)/sum/1e9)
	return nil
}

// fastest returns the seconds of the fastest of a few calls on arrays of ones, which lie on the device as the result does: the first warms
// up, and another process may take a core from any.
func (g *gauge) fastest(build func(a, b *graph.Node) *graph.Node, a, b []int) (best float64, err error) {
	ones, err := graph.CallOnceN(g.backend.Backend, func(of *graph.Graph) []*graph.Node {
		return []*graph.Node{graph.Ones(of, shapes.Make(dtypes.Float32, a...)), graph.Ones(of, shapes.Make(dtypes.Float32, b...))}
	})
	if err != nil {
		return 0, err
	}
	exec, err := graph.NewExec(g.backend.Backend, func(a, b *graph.Node) []*graph.Node {
		out := build(a, b)
		return []*graph.Node{out, graph.Slice(graph.Reshape(out, -1), graph.AxisElem(0))}
	})
	if err != nil {
		return 0, err
	}
	defer exec.Finalize()
	for range 6 {
		begin := now()
		out, err := exec.Call(ones[0], ones[1])
		if err != nil {
			return 0, err
		}
		// Dispatch returns before the computation ends; a look at one number waits for all.
		err = out[1].ConstFlatData(func(any) {})
		if seconds := now().Sub(begin).Seconds(); best == 0 || seconds < best {
			best = seconds
		}
		finalize(out)
		if err != nil {
			return 0, err
		}
	}
	finalize(ones)
	return best, nil
}

func finalize(all []*tensors.Tensor) {
	for _, t := range all {
		t.MustFinalizeAll()
	}
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
