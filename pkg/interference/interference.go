// Package interference measures how tasks that share a model pull at its weights: the gradient of each task's loss, how
// gradients agree or conflict, what a step on one task does to another, and how long a task that is withheld is
// retained (Sec. 3-4 of arXiv 2605.29548). It works on any GoMLX model that has a loss for each task; the population
// forms of the linear bottleneck, exact and without samples, are in package theory.
//
// Letters in names and shape comments: K tasks, P numbers of all chosen weights together.
package interference

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// Model is a GoMLX model and the losses of its tasks.
type Model struct {
	Store *model.Store // its weights: the trainable variables, all with values
	Tasks int          // K
	// Loss builds the loss of a task, counted from 0, and how many samples it averages, both scalars. Inputs are
	// the nodes of what Gradients and the others are given as inputs, in that order. It is called once for each task in
	// one graph and must take the weights from the scope's variables.
	Loss func(scope *model.Scope, inputs []*graph.Node, task int) (loss, samples *graph.Node)
}

// Part is the weights that gradients are taken of.
type Part struct {
	Path string // of a variable, as in "/encoder", or of a scope that holds some
	// Axis and Neurons choose slices of the variable, the neurons of a layer say; nil Neurons: all of it.
	Axis    int
	Neurons []int
}

// Options are what Gradients computes on. The zero value: all weights, all tasks at once.
type Options struct {
	Parts []Part // nil: all weights
	// Chunk is how many tasks' gradients are computed and held together. With n = K/Chunk rounded up, memory is that of
	// 2·Chunk gradients (4 P bytes each, on the device and as much again on the host, where Gram matrices
	// are computed in float64) and the activations of Chunk tasks, and the cost is that of K(n+1)/2 gradients. 0: K.
	Chunk int
}

// Matrix is the gradients of K tasks by their inner products.
type Matrix struct {
	Loss    []float64   // of each task [K]; NaN without samples
	Samples []float64   // that each task's loss averages [K]
	Gram    [][]float64 // <g_i, g_j> [K][K]; NaN where a task has no samples
}

// variables returns the trainable variables in the order of their paths.
func (m Model) variables() ([]*model.Variable, error) {
	if m.Store == nil || m.Loss == nil || m.Tasks < 1 {
		return nil, fmt.Errorf("interference: a model of %d tasks: want a store, a loss, and at least 1 task", m.Tasks)
	}
	var all []*model.Variable
	for v := range m.Store.IterVariables() {
		if v.Trainable && v.DType().IsFloat() {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("interference: the store has no trainable variables: initialise the model first")
	}
	slices.SortFunc(all, func(a, b *model.Variable) int { return strings.Compare(a.Path(), b.Path()) })
	return all, nil
}

// chosen is a variable and the slices of it that count.
type chosen struct {
	*model.Variable
	Part
}

// choose returns the variables of the parts.
func (m Model) choose(parts []Part) ([]chosen, error) {
	all, err := m.variables()
	if err != nil {
		return nil, err
	}
	if parts == nil {
		parts = []Part{{Path: "/"}}
	}
	var picked []chosen
	for _, part := range parts {
		path := "/" + strings.Trim(part.Path, "/")
		before := len(picked)
		for _, v := range all {
			if v.Path() != path && !strings.HasPrefix(v.Path(), strings.TrimSuffix(path, "/")+"/") {
				continue
			}
			if slices.ContainsFunc(picked, func(c chosen) bool { return c.Variable == v }) {
				return nil, fmt.Errorf("interference: weights %q are chosen twice: want each in one part, with all its neurons", v.Path())
			}
			if err := part.fits(v); err != nil {
				return nil, err
			}
			picked = append(picked, chosen{v, part})
		}
		if len(picked) == before {
			paths := xslices.Map(all, (*model.Variable).Path)
			return nil, fmt.Errorf("interference: no weights %q: want one of %s, or a scope that holds some",
				part.Path, strings.Join(paths, ", "))
		}
	}
	return picked, nil
}

func (p Part) fits(v *model.Variable) error {
	if p.Neurons == nil {
		return nil
	}
	if p.Axis < 0 || p.Axis >= v.Shape().Rank() {
		return fmt.Errorf("interference: axis %d of weights %q: want 0 … %d", p.Axis, v.Path(), v.Shape().Rank()-1)
	}
	seen := map[int]bool{}
	for _, n := range p.Neurons {
		if size := v.Shape().Dim(p.Axis); n < 0 || n >= size || seen[n] {
			return fmt.Errorf("interference: neuron %d on axis %d of weights %q: want distinct ones in 0 … %d", n, p.Axis, v.Path(), size-1)
		}
		seen[n] = true
	}
	return nil
}

// vectors is the gradients of some tasks, C x P row-major, with their losses.
type vectors struct {
	loss, samples, values []float64
	size                  int // P
}

func (v vectors) matrix() blas64.General {
	return blas64.General{Rows: len(v.loss), Cols: v.size, Stride: v.size, Data: v.values}
}

// Gradients returns the Gram matrix of the gradients of all tasks' losses, each task's with its own samples and all of a
// chunk in one backward pass. Inner products are sums in float64. It returns an error for weights that don't exist
// and for a loss or gradient that is not finite; a task without samples is marked by NaN.
func (m Model) Gradients(b compute.Backend, options Options, inputs ...any) (Matrix, error) {
	if _, err := m.choose(options.Parts); err != nil {
		return Matrix{}, err
	}
	size := options.Chunk
	if size <= 0 || size > m.Tasks {
		size = m.Tasks
	}
	result := Matrix{Gram: xslices.Slice2DWithValue(0., m.Tasks, m.Tasks)}
	for first := 0; first < m.Tasks; first += size {
		a, err := m.vectors(b, options.Parts, first, min(first+size, m.Tasks), inputs)
		if err != nil {
			return Matrix{}, err
		}
		result.Loss, result.Samples = append(result.Loss, a.loss...), append(result.Samples, a.samples...)
		fill(result.Gram, first, first, a, a)
		for other := first + size; other < m.Tasks; other += size {
			c, err := m.vectors(b, options.Parts, other, min(other+size, m.Tasks), inputs)
			if err != nil {
				return Matrix{}, err
			}
			fill(result.Gram, first, other, a, c)
		}
	}
	return result, nil
}

// fill writes the inner products of a's rows with c's to the Gram matrix, on both sides of its diagonal.
func fill(gram [][]float64, firstA, firstC int, a, c vectors) {
	product := blas64.General{Rows: len(a.loss), Cols: len(c.loss), Stride: len(c.loss), Data: make([]float64, len(a.loss)*len(c.loss))}
	blas64.Gemm(blas.NoTrans, blas.Trans, 1, a.matrix(), c.matrix(), 0, product)
	for i := range a.loss {
		for j := range c.loss {
			v := product.Data[i*product.Stride+j]
			if a.samples[i] == 0 || c.samples[j] == 0 {
				v = math.NaN()
			}
			gram[firstA+i][firstC+j], gram[firstC+j][firstA+i] = v, v
		}
	}
}

// vectors computes the gradients of tasks first … end-1 in one program.
func (m Model) vectors(b compute.Backend, parts []Part, first, end int, inputs []any) (v vectors, err error) {
	weights, err := m.choose(parts)
	if err != nil {
		return v, err
	}
	out, err := m.call(b, inputs, 1, func(_ *model.Scope, in []*graph.Node) []*graph.Node { return m.gradientGraph(in, weights, first, end) })
	if err != nil {
		return v, err
	}
	v.loss, v.samples = float64s(out[0]), float64s(out[1])
	columns := make([][]float64, len(weights)) // of each weight, the chosen part of every task
	for i, w := range weights {
		columns[i] = w.pick(float64s(out[2+i]), end-first)
		v.size += len(columns[i]) / (end - first)
	}
	for k := range v.loss {
		for _, part := range columns {
			n := len(part) / len(v.loss)
			v.values = append(v.values, part[k*n:(k+1)*n]...)
		}
		if v.samples[k] == 0 {
			v.loss[k] = math.NaN()
			continue
		}
		for _, x := range append(slices.Clip(v.values[k*v.size:]), v.loss[k]) {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return v, fmt.Errorf("interference: loss or gradient of task %d is %g: want a model that has not diverged", first+k+1, x)
			}
		}
	}
	return v, nil
}

// pick returns the chosen neurons' numbers of a [tasks, dims...] array.
func (c chosen) pick(flat []float64, tasks int) []float64 {
	if c.Neurons == nil {
		return flat
	}
	dims := c.Shape().Dimensions
	outer, inner := tasks, 1
	for axis, d := range dims {
		if axis < c.Axis {
			outer *= d
		} else if axis > c.Axis {
			inner *= d
		}
	}
	var picked []float64
	for o := range outer {
		for _, n := range c.Neurons {
			at := (o*dims[c.Axis] + n) * inner
			picked = append(picked, flat[at:at+inner]...)
		}
	}
	return picked
}

// builder is a graph over a model's variables.
type builder = func(scope *model.Scope, inputs []*graph.Node) []*graph.Node

// call runs a graph so many times, returns what it gives last, and turns its panics into errors.
func (m Model) call(b compute.Backend, inputs []any, times int, build builder) (out []*tensors.Tensor, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("interference: building the losses: %v", cause)
		}
	}()
	if len(inputs) == 0 {
		inputs = []any{float32(0)} // a graph of variables alone would need a signature of its own
	}
	exec, err := model.NewExec(b, m.Store, build)
	if err != nil {
		return nil, fmt.Errorf("interference: %w", err)
	}
	defer exec.Finalize()
	for range times {
		if out, err = exec.Call(inputs...); err != nil {
			return nil, fmt.Errorf("interference: %w", err)
		}
	}
	return out, nil
}

// float64s returns the numbers of a float32 or float64 array.
func float64s(t *tensors.Tensor) []float64 {
	var numbers []float64
	t.MustConstFlatData(func(flat any) {
		switch flat := flat.(type) {
		case []float32:
			numbers = xslices.Map(flat, func(x float32) float64 { return float64(x) })
		case []float64:
			numbers = slices.Clone(flat)
		}
	})
	return numbers
}
