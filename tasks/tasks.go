// Package tasks holds the families of tasks that mixtures are made of, one family in each file, all behind
// one small interface. A family says what a sample of each of its K tasks looks like (the tasks of Sec. 3,
// App. B.1 and App. D of arXiv 2605.29548, and neighbours); how often each task is drawn is the mixture's
// business, and how a sample is predicted is the network's.
//
// Letters in names and shape comments: B batch, K tasks, D input coordinates, O outputs of a task.
package tasks

import (
	"github.com/gomlx/gomlx/core/graph"
)

// Family is K tasks over one input space. Methods that take graph nodes build a graph: they panic on wrong
// shapes, as graph builders of GoMLX do.
type Family interface {
	// Tasks returns K, the number of tasks.
	Tasks() int
	// Inputs returns D, the number of coordinates of x.
	Inputs() int
	// Coded says how a network learns which task a sample is of: by a one-hot code of K more inputs, with one readout for
	// all tasks (true), or by choosing the task's own readout (false).
	Coded() bool
	// Outputs returns O, the number of outputs of each task.
	Outputs() int
	// Constants returns arrays of numbers by which families of equal sizes differ, so that one compiled program serves them all: it
	// takes them as inputs and binds them. A family without any has them in the program.
	Constants() []any
	// Bind returns the family with graph nodes in place of its Constants, for Draw.
	Bind(constants []*graph.Node) Family
	// Draw returns inputs x [B, D] and targets y [B, O] of a batch, given the task of each sample as one-hot
	// rows [B, K].
	Draw(random Random, taskBK *graph.Node) (xBD, yBO *graph.Node)
	// Loss returns the loss [..., K-free leading axes] of predictions against targets of shape [..., O]: a
	// number for each sample, averaged over the O outputs.
	Loss(prediction, target *graph.Node) *graph.Node
	// MeanLoss returns, for each task, the expected Loss of the best constant prediction; losses are reported
	// relative to it.
	MeanLoss() []float64
}

// Random is a source of random numbers inside a graph. Each call returns fresh numbers.
type Random interface {
	// Normal returns independent standard normal numbers (float32).
	Normal(dims ...int) *graph.Node
	// Uniform returns independent numbers, uniform in [0, 1) (float32).
	Uniform(dims ...int) *graph.Node
	// Bits returns independent fair bits, 0 or 1 (float32).
	Bits(dims ...int) *graph.Node
}
