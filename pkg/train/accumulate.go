package train

import (
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/mixture"
	"raretask/tasks"
)

// accumulation takes the steps of a program whose batches come in parts of equal size: the gradients of all parts are added up before the
// optimizer's step, and what a part holds of activations is gone before the next one.
//
// The host loops over the parts, each of which is meant to be work for many times as long as it takes to start. (One after the other in one
// graph they take as many times as long to compile. And a While over them has no place in GoMLX v0.28.5: not in the body of another one, as
// closures are the main function's alone, and not beside other operations, as scalars are cached for all functions of a graph together.)
type accumulation struct {
	*Program
	parts             int
	begin, add, apply *Exec
}

// Positions in sums: how much the parts so far count together (scalar), the sums of their losses [runs] and of their gradients.
const (
	sumCount = iota
	sumLosses
	sumGradients
)

// partArrays is how many arrays the parts of a batch are.
const partArrays = 4

func newAccumulation(p *Program, parts int) (*accumulation, error) {
	a := &accumulation{Program: p, parts: parts}
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
	state, inputs := arrays[:a.stateSize()], arrays[a.stateSize():]
	batch, _ := a.draw(state[stateStep], inputs)
	sums := []*Node{ScalarZero(batch.X.Graph(), dtypes.Float32), ZerosLike(state[stateLossSum])}
	for _, w := range state[stateWeights:][:len(a.weights)] {
		sums = append(sums, ZerosLike(w))
	}
	return append(batch.Parts(a.parts), sums...)
}

// addGraph returns the sums with those of one more part, given the step, weights, inputs, the parts, the number of that one and the sums.
func (a *accumulation) addGraph(arrays []*Node) []*Node {
	n := len(a.weights)
	step, weights, rest := arrays[0], arrays[1:][:n], arrays[1+n:]
	sums := rest[len(rest)-sumGradients-n:]
	rest = rest[:len(rest)-len(sums)]
	inputs, parts, at := rest[:len(rest)-1-partArrays], rest[len(rest)-1-partArrays:][:partArrays], rest[len(rest)-1]
	_, _, _, tap := a.split(step, inputs)
	losses, count := a.losses(weights, mixture.Part(parts, at), tap)
	return append([]*Node{Add(sums[sumCount], count), Add(sums[sumLosses], ReduceSum(losses, 1))},
		add(sums[sumGradients:], Gradient(ReduceAllSum(losses), weights...))...)
}

// applyGraph returns the state after a step, given the state before it, inputs and the sums of all parts.
func (a *accumulation) applyGraph(arrays []*Node) []*Node {
	own := len(arrays) - sumGradients - len(a.weights)
	state, inputs, sums := arrays[:a.stateSize()], arrays[a.stateSize():own], arrays[own:]
	next := slices.Clone(state)
	mean := func(v *Node) *Node { return Div(v, sums[sumCount]) }
	a.advanced(next, inputs, mean(sums[sumLosses]), gradients{sum: xslices.Map(sums[sumGradients:], mean)})
	return next
}

// compile compiles all for arrays of these shapes.
func (a *accumulation) compile(state, inputs []shapes.Shape) error {
	of, rows := a.mixture.Family.Signature(), a.shared.Train.Batch/a.parts
	cut := func(array tasks.Array) shapes.Shape {
		return shapes.Make(array.Type, slices.Concat([]int{a.parts, rows}, array.Dims)...)
	}
	weights := state[stateWeights:][:len(a.weights)]
	one, several := tasks.Array{Dims: []int{of.Tasks}, Type: dtypes.Float32}, shapes.Make(dtypes.Float32, of.Tasks)
	parts := []shapes.Shape{cut(of.Input), cut(of.Target), cut(one), several}
	sums := append([]shapes.Shape{shapes.Make(dtypes.Float32), state[stateLossSum]}, weights...)
	step := state[stateStep : stateStep+1]
	if _, err := a.begin.Compile(slices.Concat(state, inputs)...); err != nil {
		return err
	}
	if _, err := a.add.Compile(slices.Concat(step, weights, inputs, parts, step, sums)...); err != nil {
		return err
	}
	_, err := a.apply.Compile(slices.Concat(state, inputs, sums)...)
	return err
}

// accumulate returns the state after a step.
func (a *accumulation) accumulate(state, inputs []*tensors.Tensor) ([]*tensors.Tensor, error) {
	begun, err := call(a.begin, state, inputs)
	if err != nil {
		return nil, err
	}
	parts, sums := begun[:partArrays], begun[partArrays:]
	defer func() { free(parts); free(sums) }()
	for i := range a.parts {
		at := []*tensors.Tensor{tensors.FromScalar(int32(i))}
		more, err := call(a.add, state[stateStep:stateStep+1], a.weightsIn(state), inputs, parts, at, sums)
		free(at)
		if err != nil {
			return nil, err
		}
		free(sums)
		sums = more
		tensors.ToScalar[float32](sums[sumCount]) // waits, so that no more than one part's activations are there
	}
	return call(a.apply, state, inputs, sums)
}
