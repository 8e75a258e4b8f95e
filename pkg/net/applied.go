package net

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend"
)

// Applied is a net with the weights of one run, for graphs that are called now and then. What it compiles serves all weights.
type Applied struct {
	Weights [][]float32 // in the order of the net's, row-major

	net   Net
	on    *backend.Backend
	execs map[string]*Exec
}

// NewApplied returns a net with weights, which may change.
func NewApplied(b *backend.Backend, n Net, weights [][]float32) *Applied {
	return &Applied{weights, n, b, map[string]*Exec{}}
}

// Close frees what was compiled.
func (a *Applied) Close() {
	if len(a.execs) == 0 {
		return
	}
	for _, exec := range a.execs {
		exec.Finalize()
	}
	clear(a.execs)
	backend.Trim()
}

// Call calls a graph of inputs and the weights, as stacks of one run, and returns the arrays of float32 that it gives. The graph of a name
// is built once, so all that it depends on stands in its name.
func (a *Applied) Call(name string, inputs []any, build func(in, weights []*Node) []*Node) ([][]float32, error) {
	arguments := slices.Clone(inputs)
	for i, w := range a.net.Weights() {
		if i >= len(a.Weights) || len(a.Weights[i]) != w.Size() {
			return nil, fmt.Errorf("net: weight %s: want its %d numbers", w.Name, w.Size())
		}
		array := tensors.FromFlatDataAndDimensions(a.Weights[i], w.Stacked(1)...)
		defer array.MustFinalizeAll()
		arguments = append(arguments, array)
	}
	exec := a.execs[name]
	if exec == nil {
		var err error
		exec, err = NewExec(a.on.Backend, func(in []*Node) []*Node { return build(in[:len(inputs)], in[len(inputs):]) })
		if err != nil {
			return nil, fmt.Errorf("net: %s: %w", name, err)
		}
		a.execs[name] = exec
	}
	out, err := exec.Call(arguments...)
	if err != nil {
		return nil, fmt.Errorf("net: %s: %w", name, err)
	}
	numbers := make([][]float32, len(out))
	for i, o := range out {
		numbers[i] = tensors.MustCopyFlatData[float32](o)
		o.MustFinalizeAll()
	}
	return numbers, nil
}
