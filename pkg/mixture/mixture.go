// Package mixture draws batches of a mixture of tasks on the device: which task each sample is of, by the
// tasks' frequencies, and its input and target, by the tasks' family (Sec. 3, App. B.1 of arXiv 2605.29548).
//
// Letters in names and shape comments: B batch, K tasks, D input coordinates, O outputs of a task, R rows of a
// tile, P pairs of a tile and a task in it.
package mixture

import (
	"fmt"

	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/tasks"
)

// Mixture is a family of tasks and how often each of them is drawn.
type Mixture struct {
	Family    tasks.Family
	Frequency []float64 // pi_k, most frequent first; sums to 1
}

// New returns the mixture of a spec.
func New(s spec.Mixture) (*Mixture, error) {
	family, err := newFamily(s)
	if err != nil {
		return nil, err
	}
	return &Mixture{family, s.Frequencies()}, nil
}

func newFamily(s spec.Mixture) (tasks.Family, error) {
	switch s.Family {
	case "regression":
		return tasks.NewRegression(s.Alphas(), s.Block, s.Dim)
	case "parity":
		return tasks.NewParity(s.Tasks, s.Dim, s.Block, s.Seed)
	}
	return nil, fmt.Errorf("mixture: family %q: want regression or parity", s.Family)
}

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

// Theory returns the mixture as package theory takes it; false where the family has no closed forms.
func (m *Mixture) Theory() (theory.Mixture, bool) {
	family, ok := m.Family.(*tasks.Regression)
	if !ok {
		return theory.Mixture{}, false
	}
	return theory.Mixture{Frequency: m.Frequency, Spectrum: family.Spectrum}, true
}
