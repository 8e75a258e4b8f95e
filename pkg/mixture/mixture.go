// Package mixture draws batches of a mixture of tasks on the device: which task each sample is of, by the
// tasks' frequencies, and its input and target, by the tasks' family (Sec. 3, App. B.1 of arXiv 2605.29548).
//
// Letters in names and shape comments: B batch, K tasks, D input coordinates, O outputs of a task, R rows of a
// tile, P pairs of a tile and a task in it.
package mixture

import (
	"fmt"
	"math"

	"raretask/tasks"
)

// Mixture is a family of tasks and how often each of them is drawn.
type Mixture struct {
	Family    tasks.Family
	Frequency []float64 // pi_k, most frequent first; sums to 1
}

// New returns the mixture of a family. It returns an error for frequencies that are not one for each task, not in 0 … 1, or don't sum to 1.
func New(family tasks.Family, frequency []float64) (*Mixture, error) {
	total := 0.
	for k, pi := range frequency {
		if !(pi >= 0 && pi <= 1) {
			return nil, fmt.Errorf("mixture: task %d: frequency %g: want 0 … 1", k+1, pi)
		}
		total += pi
	}
	if k := family.Signature().Tasks; len(frequency) != k || math.Abs(total-1) > 1e-9 {
		return nil, fmt.Errorf("mixture: %d frequencies that sum to %g for %d tasks: want one of each, with sum 1", len(frequency), total, k)
	}
	return &Mixture{family, frequency}, nil
}

// Tasks returns K.
func (m *Mixture) Tasks() int { return len(m.Frequency) }

// Cumulative returns the running sums of the frequencies [K]; the last one is 1 exactly.
func (m *Mixture) Cumulative() []float32 { return cumulative(m.Frequency) }

// cumulative is 1 from the last task on that has a frequency above 0, so that rounding never draws a later one.
func cumulative(frequency []float64) []float32 {
	sums := make([]float32, len(frequency))
	total, last := 0., 0
	for k, pi := range frequency {
		total += pi
		sums[k] = float32(total)
		if pi > 0 {
			last = k
		}
	}
	for k := last; k < len(sums); k++ {
		sums[k] = 1
	}
	return sums
}
