package interference

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// gradientGraph returns the losses [C] and samples [C] of the tasks and, for each weight, the gradients [C, ...].
//
// Every task has a copy of the weights, so that one backward pass from the sum of the losses leaves each task's gradient
// on its own copy and visits no task's samples twice.
func (m Model) gradientGraph(scope *model.Scope, inputs []*Node, weights []chosen, tasks []int) []*Node {
	g := inputs[0].Graph()
	var losses, samples, copies []*Node
	for _, task := range tasks {
		for _, w := range weights {
			copies = append(copies, Identity(parameter(w.Variable, g)))
		}
		restore := replace(weights, g, copies[len(copies)-len(weights):])
		loss, n := m.loss(inputs, task)
		restore()
		losses, samples = append(losses, loss), append(samples, n)
	}
	loss, count := Stack(losses, 0), Stack(samples, 0)
	gradients := Gradient(ReduceAllSum(loss), copies...)
	out := []*Node{loss, count}
	for i := range weights {
		var rows []*Node
		for k := range tasks {
			rows = append(rows, gradients[k*len(weights)+i])
		}
		out = append(out, Stack(rows, 0))
	}
	return out
}

// loss builds the loss of a task in a scope of its own, where variables may be met again.
func (m Model) loss(inputs []*Node, task int) (loss, samples *Node) {
	loss, samples = m.Loss(m.Store.RootScope(), inputs, task)
	loss.AssertScalar()
	samples.AssertScalar()
	return loss, ConvertDType(samples, loss.DType())
}

// parameter returns the node of a variable's value before anything in the graph changed it.
func parameter(v *model.Variable, g *Graph) *Node { return v.NodeValue(g) }

// replace puts other nodes in the place of variables until restore is called; a variable left changed would be written
// back to the store.
func replace(weights []chosen, g *Graph, nodes []*Node) (restore func()) {
	var before []*Node
	for i, w := range weights {
		before = append(before, w.NodeValue(g))
		w.SetNodeValue(nodes[i])
	}
	return func() {
		for i, w := range weights {
			w.SetNodeValue(before[i])
		}
	}
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
	g := inputs[0].Graph()
	var values []*Node
	for _, w := range weights {
		values = append(values, w.NodeValue(g))
	}
	loss, _ := m.loss(inputs, task)
	for i, gradient := range Gradient(loss, values...) {
		weights[i].SetNodeValue(Sub(values[i], MulScalar(gradient, size)))
	}
	return loss
}
