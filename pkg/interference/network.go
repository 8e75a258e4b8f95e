package interference

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// Probes is the purpose of the stream that gradients are sampled from; training and evaluation have their own.
const Probes uint32 = 2

// NewNet is OfNet with the initial values of a run.
func NewNet(run spec.Run, rows int) (Model, error) {
	m, err := run.Mixture.Mixture()
	if err != nil {
		return Model{}, err
	}
	n := run.New()
	return OfNet(m.Family, n, net.Initial(n, run.Net.Width, run.Train.Seed), rows)
}

// OfNet returns one run of a network of package net as a Model whose variables have the names of its weights ("/encoder",
// "/decoder", …, with an axis of size 1 for the run). values are the weights as a train.RunState holds them. The loss of
// a task is its mean over rows fresh samples of that task alone; inputs of Gradients are then the seed of the samples
// (uint32 [2]) and a step (int32).
func OfNet(family tasks.Family, n net.Net, values [][]float32, rows int) (Model, error) {
	store, weights := model.NewStore(), n.Weights()
	if len(values) != len(weights) || rows < 1 {
		return Model{}, fmt.Errorf("interference: %d arrays of weights and %d samples of a task: want %d arrays and at least 1 sample",
			len(values), rows, len(weights))
	}
	for i, w := range weights {
		if size := w.Size(); len(values[i]) != size {
			return Model{}, fmt.Errorf("interference: weights %q of %d numbers: want %d", w.Name, len(values[i]), size)
		}
		if _, err := store.RootScope().CreateVariable(w.Name, tensors.FromFlatDataAndDimensions(values[i], w.Stacked(1)...)); err != nil {
			return Model{}, fmt.Errorf("interference: %w", err)
		}
	}
	k := family.Signature().Tasks
	return Model{Store: store, Tasks: k, Loss: func(scope *model.Scope, inputs []*graph.Node, task int) (loss, samples *graph.Node) {
		g := inputs[0].Graph()
		end := make([]float32, k)
		for i := task; i < k; i++ {
			end[i] = float32(rows)
		}
		random := mixture.NewRandom(inputs[0], inputs[1], Probes+uint32(task))
		batch := mixture.Arrange(family, random, graph.Const(g, end), rows)
		nodes := xslices.Map(weights, func(w net.Weight) *graph.Node { return scope.GetVariable(w.Name).NodeValue(g) })
		sum, count := n.Forward(family, nodes, batch, nil)
		samples = graph.Const(g, float32(rows))
		if count != nil {
			samples = graph.ReduceAllSum(count)
		}
		return graph.Div(graph.ReduceAllSum(sum), samples), samples
	}}, nil
}
