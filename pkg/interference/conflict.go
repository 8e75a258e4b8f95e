package interference

import (
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/floats"
)

// Cosine returns the cosines of gradients from their Gram matrix; NaN where one of the two is zero or missing.
//
//	cos_ij = <g_i, g_j> / (|g_i| |g_j|)
func Cosine(gram [][]float64) [][]float64 {
	cosine := make([][]float64, len(gram))
	for i := range gram {
		cosine[i] = make([]float64, len(gram))
		for j, product := range gram[i] {
			if cosine[i][j] = math.NaN(); gram[i][i] > 0 && gram[j][j] > 0 {
				cosine[i][j] = max(-1, min(1, product/math.Sqrt(gram[i][i])/math.Sqrt(gram[j][j])))
			}
		}
	}
	return cosine
}

// ConflictShare returns the share of pairs of different tasks whose gradients point against each other, among the pairs in
// which both are present and not zero; NaN where there is no such pair.
func ConflictShare(gram [][]float64) float64 {
	conflicts, all := 0., 0.
	for i, row := range Cosine(gram) {
		for _, c := range row[:i] {
			if c < 0 {
				conflicts++
			}
			if !math.IsNaN(c) {
				all++
			}
		}
	}
	return conflicts / all
}

// FirstOrder returns what a small gradient step of a size on task j does to the loss of task i, to first order in the
// size: negative helps, positive overwrites. Source: MER (Riemer et al. 2019, arXiv 1810.11910).
//
//	Change_ij = -eta <g_i, g_j>
func FirstOrder(gram [][]float64, eta float64) [][]float64 {
	return xslices.Map(gram, func(row []float64) []float64 { return floats.ScaleTo(make([]float64, len(row)), -eta, row) })
}

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
	change := xslices.Slice2DWithValue(0., m.Tasks, m.Tasks)
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
