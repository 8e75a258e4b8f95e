// Package net holds the networks that are trained, each as stacked runs: a leading or inner axis S on every
// weight carries S independent models of one shape, which one forward pass evaluates side by side.
//
// Weights, not parameters, is what they are called here: a Parameter of a GoMLX graph is any input.
//
// Letters in names and shape comments: S stacked runs, N width, B batch, K tasks, D input coordinates, O outputs of a
// task, R rows of a tile, P pairs of a tile and a task in it (see package mixture).
package net

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/mixture"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// Weight is one array of a network's weights.
type Weight struct {
	Name    string
	Dims    []int   // of one run
	RunAxis int     // where the axis S of a stack stands among Dims
	Rate    float64 // factor of the learning rate
	// Initial returns the initial values of one run, row-major.
	Initial func(random *rand.Rand) []float32
}

// Stacked returns the dimensions of the weight for s runs.
func (w Weight) Stacked(s int) []int {
	dims := append([]int{}, w.Dims[:w.RunAxis]...)
	return append(append(dims, s), w.Dims[w.RunAxis:]...)
}

// Net is a network of one shape.
type Net interface {
	Weights() []Weight
	// Forward evaluates S stacked runs, given their weights, on a batch that they share. It returns named
	// activations, among them "hidden" [B, S, N] and "loss" [S, K]: the sum of the losses of each task's
	// samples.
	Forward(family tasks.Family, weights []*graph.Node, batch *mixture.Batch) map[string]*graph.Node
}

// New returns the network of a spec for a family of tasks.
func New(s spec.Net, family tasks.Family) (Net, error) {
	mup, shrink := s.Parameterization == "mup", s.Shrink()
	switch s.Kind {
	case "bottleneck":
		return &Bottleneck{Tasks: family.Tasks(), Inputs: family.Inputs(), Width: s.Width, Outputs: family.Outputs(), Mup: mup, Shrink: shrink}, nil
	case "mlp":
		return &MLP{Tasks: family.Tasks(), Inputs: family.Inputs(), Width: s.Width, Depth: s.Layers(), Outputs: family.Outputs(),
			Coded: family.Coded(), Mup: mup, Shrink: shrink}, nil
	}
	return nil, fmt.Errorf("net: kind %q: want bottleneck or mlp", s.Kind)
}
