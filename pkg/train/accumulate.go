package train

import (
	"context"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/mixture"
)

// accumulation takes the steps of a program whose batches come in parts of equal size: the gradients of all parts are added up before the
// optimizer's step, and what a part holds of activations is gone before the next one.
//
// The host loops over the parts, each of which is meant to be work for many times as long as it takes to start. (One after the other in one
// graph they take as many times as long to compile. And a While over them has no place in GoMLX v0.28.5: not in the body of another one, as
// closures are the main function's alone, and not beside other operations, as scalars are cached for all functions of a graph together.)
type accumulation struct {
	program           *Program
	parts             int
	begin, add, apply *Exec
}

// Positions in sums: how much the parts so far count together (scalar), the sums of their losses [runs] and of their gradients.
const (
	sumCount = iota
	sumLosses
	sumGradients
)

func newAccumulation(p *Program, parts int) (*accumulation, error) {
	a := &accumulation{program: p, parts: parts}
	for exec, graph := range map[**Exec]func([]*Node) []*Node{&a.begin: a.beginGraph, &a.add: a.addGraph, &a.apply: a.applyGraph} {
		var err error
		if *exec, err = NewExec(p.on.Backend, graph); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *accumulation) finalize() {
	for _, exec := range []*Exec{a.begin, a.add, a.apply} {
		exec.Finalize()
	}
}

// beginGraph returns the parts of a step's batch, and sums of none of them, given state and inputs.
func (a *accumulation) beginGraph(arrays []*Node) []*Node {
	p := a.program
	state, inputs := arrays[:p.stateSize()], arrays[p.stateSize():]
	batch := p.draw(state[stateStep], inputs)
	sums := []*Node{ScalarZero(batch.X.Graph(), dtypes.Float32), ZerosLike(state[stateLossSum])}
	for _, w := range state[stateWeights:][:len(p.weights)] {
		sums = append(sums, ZerosLike(w))
	}
	return append(batch.Parts(a.partShapes()), sums...)
}

// addGraph returns the sums with those of one more part, given the step, the weights, the sums, the number of the part, the parts, and
// inputs.
func (a *accumulation) addGraph(arrays []*Node) []*Node {
	p := a.program
	take := func(n int) (taken []*Node) {
		taken, arrays = arrays[:n], arrays[n:]
		return taken
	}
	step, weights := take(1)[0], take(len(p.weights))
	sums, part, parts := take(sumGradients+len(weights)), take(1)[0], take(len(a.partShapes()))
	_, _, _, tap := p.split(step, arrays)
	losses, count := p.losses(weights, mixture.Part(parts, part), tap)
	return append([]*Node{Add(sums[sumCount], count), Add(sums[sumLosses], ReduceSum(losses, 1))},
		add(sums[sumGradients:], Gradient(ReduceAllSum(losses), weights...))...)
}

// applyGraph returns the state after a step, given the state before it, the sums of all parts, and inputs.
func (a *accumulation) applyGraph(arrays []*Node) []*Node {
	p := a.program
	state, rest := arrays[:p.stateSize()], arrays[p.stateSize():]
	sums, inputs := rest[:sumGradients+len(p.weights)], rest[sumGradients+len(p.weights):]
	next := slices.Clone(state)
	mean := func(v *Node) *Node { return Div(v, sums[sumCount]) }
	p.advanced(next, inputs, mean(sums[sumLosses]), gradients{sum: xslices.Map(sums[sumGradients:], mean)})
	return next
}

func (a *accumulation) partShapes() []shapes.Shape {
	return mixture.PartShapes(a.program.mixture.Family.Signature(), a.program.shared.Train.Batch, a.parts)
}

func (a *accumulation) compile(state, inputs []shapes.Shape) error {
	step, weights := state[stateStep:stateStep+1], state[stateWeights:][:len(a.program.weights)]
	sums := append([]shapes.Shape{shapes.Make(dtypes.Float32), state[stateLossSum]}, weights...)
	if _, err := a.begin.Compile(slices.Concat(state, inputs)...); err != nil {
		return err
	}
	if _, err := a.add.Compile(slices.Concat(step, weights, sums, step, a.partShapes(), inputs)...); err != nil {
		return err
	}
	_, err := a.apply.Compile(slices.Concat(state, sums, inputs)...)
	return err
}

// after returns the state after a step, or the context's error: a step of a large net takes longer than an interrupted process has.
func (a *accumulation) after(ctx context.Context, state, inputs []*tensors.Tensor) ([]*tensors.Tensor, error) {
	begun, err := call(a.begin, state, inputs)
	if err != nil {
		return nil, err
	}
	n := len(a.partShapes())
	parts, sums := begun[:n], begun[n:]
	defer func() { free(parts); free(sums) }()
	for i := range a.parts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := []*tensors.Tensor{tensors.FromScalar(int32(i))}
		more, err := call(a.add, state[stateStep:stateStep+1], a.program.weightsIn(state), sums, part, parts, inputs)
		free(part)
		if err != nil {
			return nil, err
		}
		free(sums)
		sums = more
		tensors.ToScalar[float32](sums[sumCount]) // waits, so that no more than one part's activations are there
	}
	return call(a.apply, state, sums, inputs)
}
