package interference

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/xslices"
)

// gradientGraph returns the losses [C] and samples [C] of tasks first … end-1 and, for each weight, the gradients [C, ...].
//
// Every task has a copy of the weights, so that one backward pass from the sum of the losses leaves each task's gradient
// on its own copy and visits no task's samples twice.
func (m Model) gradientGraph(inputs []*Node, weights []chosen, first, end int) []*Node {
	values := nodes(weights, inputs[0].Graph())
	var losses, samples, copies []*Node
	for task := first; task < end; task++ {
		for i, w := range weights {
			own := Identity(values[i])
			w.SetNodeValue(own)
			copies = append(copies, own)
		}
		loss, n := m.loss(inputs, task)
		losses, samples = append(losses, loss), append(samples, n)
	}
	for i, w := range weights { // a variable left changed would be written back to the store
		w.SetNodeValue(values[i])
	}
	loss, count := Stack(losses, 0), Stack(samples, 0)
	gradients := Gradient(ReduceAllSum(loss), copies...)
	out := []*Node{loss, count}
	for i := range weights {
		var rows []*Node
		for at := i; at < len(gradients); at += len(weights) {
			rows = append(rows, gradients[at])
		}
		out = append(out, Stack(rows, 0))
	}
	return out
}

// nodes returns the values of variables in a graph.
func nodes(weights []chosen, g *Graph) []*Node {
	return xslices.Map(weights, func(w chosen) *Node { return w.NodeValue(g) })
}

// loss builds the loss of a task in a scope of its own, where variables may be met again.
func (m Model) loss(inputs []*Node, task int) (loss, samples *Node) {
	loss, samples = m.Loss(m.Store.RootScope(), inputs, task)
	loss.AssertScalar()
	samples.AssertScalar()
	return loss, ConvertDType(samples, loss.DType())
}

// lossGraph returns the losses of all tasks [K].
func (m Model) lossGraph(inputs []*Node) *Node {
	var losses []*Node
	for task := range m.Tasks {
		loss, _ := m.loss(inputs, task)
		losses = append(losses, loss)
	}
	return Stack(losses, 0)
}

// stepGraph takes a gradient step of a size on one task's loss and returns that loss; the store keeps the new weights.
func (m Model) stepGraph(inputs []*Node, weights []chosen, task int, size float64) *Node {
	values := nodes(weights, inputs[0].Graph())
	loss, _ := m.loss(inputs, task)
	for i, gradient := range Gradient(loss, values...) {
		weights[i].SetNodeValue(Sub(values[i], MulScalar(gradient, size)))
	}
	return loss
}
