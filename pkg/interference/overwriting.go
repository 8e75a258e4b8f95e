package interference

import (
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// Overwriting returns what really happens: the change of the loss of task i, on the same samples, after steps plain gradient
// steps of size eta on task j alone, [K][K]. The model's own store is left as it is. Parts says which weights move. It
// returns an error for weights that don't exist, no steps, and losses that are not finite.
func (m Model) Overwriting(b compute.Backend, parts []Part, eta float64, steps int, inputs ...any) ([][]float64, error) {
	if steps < 1 || !(eta > 0) {
		return nil, fmt.Errorf("interference: overwriting by %d steps of size %g: want at least 1 step of a size > 0", steps, eta)
	}
	if _, err := m.choose(parts); err != nil {
		return nil, err
	}
	before, err := m.losses(b, inputs)
	if err != nil {
		return nil, err
	}
	change := square(m.Tasks)
	for j := range m.Tasks {
		moved := m
		if moved.Store, err = m.Store.Clone(); err != nil {
			return nil, fmt.Errorf("interference: %w", err)
		}
		weights, err := moved.choose(parts)
		if err != nil {
			return nil, err
		}
		step := func(_ *model.Scope, in []*graph.Node) []*graph.Node {
			return []*graph.Node{moved.stepGraph(in, weights, j, eta)}
		}
		if _, err := moved.call(b, inputs, steps, step); err != nil {
			return nil, fmt.Errorf("%w, in steps on task %d", err, j+1)
		}
		after, err := moved.losses(b, inputs)
		if err != nil {
			return nil, fmt.Errorf("%w, after %d steps of size %g on task %d: want a smaller size", err, steps, eta, j+1)
		}
		for i := range after {
			change[i][j] = after[i] - before[i]
		}
	}
	return change, nil
}

// losses returns the loss of every task.
func (m Model) losses(b compute.Backend, inputs []any) ([]float64, error) {
	out, err := m.call(b, inputs, 1, func(_ *model.Scope, in []*graph.Node) []*graph.Node { return []*graph.Node{m.lossGraph(in)} })
	if err != nil {
		return nil, err
	}
	losses := float64s(out[0])
	for k, loss := range losses {
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return nil, fmt.Errorf("interference: loss of task %d is %g: want a finite number", k+1, loss)
		}
	}
	return losses, nil
}
