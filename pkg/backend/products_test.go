package backend

import (
	"testing"
	"time"

	"github.com/gomlx/gomlx/core/graph"
)

// Products side by side, each large enough to be spread over all cores, in two programs at once: in compute v0.1.5 they may wait
// for one another forever.
func TestProductsDontWaitForOneAnother(t *testing.T) {
	alone(t)
	t.Setenv("GOMLX_BACKEND", "go")
	b, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	x := make([][]float32, 256)
	for i := range x {
		x[i] = make([]float32, 256)
		x[i][i] = 1
	}
	ended := make(chan error)
	for range 2 {
		go func() {
			exec, err := graph.NewExec(b.Backend, func(x *graph.Node) *graph.Node {
				sum := graph.ReduceAllSum(x)
				for i := range 16 {
					sum = graph.Add(sum, graph.ReduceAllSum(graph.Dot(graph.AddScalar(x, float64(i)), x).Product()))
				}
				return sum
			})
			for range 20 {
				if err == nil {
					_, err = exec.Call(x)
				}
			}
			ended <- err
		}()
	}
	for range 2 {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the products still wait for one another after a minute")
		}
	}
}
