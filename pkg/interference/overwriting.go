package interference

import (
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// FirstOrder returns what a small gradient step of a size on task j does to the loss of task i, to first order in the
// size: negative helps, positive overwrites. Source: MER (Riemer et al. 2019, arXiv 1810.11910).
//
//	Change_ij = -eta <g_i, g_j>
func FirstOrder(gram [][]float64, eta float64) [][]float64 {
	return pairs(gram, func(_, _, ij float64) float64 { return -eta * ij })
}

// Overwriting returns what really happens: the change of the loss of task i, on the same samples, after steps plain gradient
// steps of size eta on task j alone, [K][K]. The model's own store is left as it is. Parts says which weights move. It
// returns an error for weights that don't exist, no steps, and losses that are not finite.
func (m Model) Overwriting(b compute.Backend, parts []Part, eta float64, steps int, inputs ...any) ([][]float64, error) {
	if steps < 1 || !(eta > 0) {
		return nil, fmt.Errorf("interference: overwriting by %d steps of size %g: want at least 1 step of a size > 0", steps, eta)
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
		if err := moved.step(b, parts, j, eta, steps, inputs); err != nil {
			return nil, err
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

// step takes steps on a task and keeps the new weights in the store.
func (m Model) step(b compute.Backend, parts []Part, task int, eta float64, steps int, inputs []any) error {
	weights, err := m.choose(parts)
	if err != nil {
		return err
	}
	if len(inputs) == 0 {
		inputs = []any{float32(0)}
	}
	exec, err := model.NewExec(b, m.Store, func(scope *model.Scope, in []*graph.Node) *graph.Node { return m.stepGraph(in, weights, task, eta) })
	if err != nil {
		return fmt.Errorf("interference: %w", err)
	}
	defer exec.Finalize()
	for range steps {
		if _, err := exec.Call(inputs...); err != nil {
			return fmt.Errorf("interference: step on task %d: %w", task+1, err)
		}
	}
	return nil
}

// losses returns the loss of every task.
func (m Model) losses(b compute.Backend, inputs []any) ([]float64, error) {
	out, err := m.call(b, inputs, func(scope *model.Scope, in []*graph.Node) []*graph.Node { return []*graph.Node{m.lossGraph(in)} })
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
