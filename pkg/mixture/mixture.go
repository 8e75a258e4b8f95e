// Package mixture draws batches of a mixture of tasks on the device: which task each sample is of, by the
// tasks' frequencies, and its input and target, by the tasks' family (Sec. 3, App. B.1 of arXiv 2605.29548).
//
// Letters in names and shape comments: B batch, K tasks, D input coordinates, O outputs of a task, R rows of a
// tile, P pairs of a tile and a task in it.
package mixture

import (
	"fmt"
	"math"
	"math/big"
	"slices"

	"raretask/tasks"
)

// Mixture is a family of tasks and how often each of them is drawn.
type Mixture struct {
	Family    tasks.Family
	Frequency []float64 // pi_k, most frequent first; sums to 1

	thresholds [][]uint32
}

// New returns the mixture of a family. It returns an error for frequencies that are not one for each task, not in 0 … 1, or don't sum to 1,
// and for tasks that can't be drawn at their frequencies.
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
	ends, err := thresholds(frequency)
	if err != nil {
		return nil, err
	}
	return &Mixture{family, frequency, ends}, nil
}

// Tasks returns K.
func (m *Mixture) Tasks() int { return len(m.Frequency) }

// Thresholds returns what Draw compares 64-bit numbers with [2, K]: the high and the low words of the tasks' thresholds.
// Task k is drawn where the number is below its threshold but not below that of task k-1.
func (m *Mixture) Thresholds() [][]uint32 { return m.thresholds }

// cells is how many numbers a draw tells apart: those of 64 bits whose lowest bit is 0, so that the threshold 2^64-1 stands for
// 2^64: it is above all of them.
const cells = 1 << 63

// Drawable reports whether every task is frequent enough to be drawn at its frequency to a thousandth.
func Drawable(frequency []float64) bool {
	return !slices.ContainsFunc(frequency, func(pi float64) bool { return !(pi >= 1e3/cells) })
}

// thresholds returns the thresholds of tasks that are drawn in proportion to their frequencies. Each lies at most half a
// cell from the sum up to it: the sums have 128 bits, as float64 would lose the rarest tasks. A task whose probability is
// off by more than a thousandth is an error; so is a mixture of none.
func thresholds(frequency []float64) ([][]uint32, error) {
	sums := make([]big.Float, len(frequency))
	total := new(big.Float).SetPrec(128)
	for k, pi := range frequency {
		if !(pi >= 0 && pi <= math.MaxFloat64) {
			return nil, fmt.Errorf("mixture: task %d: frequency %g: want a finite number >= 0", k+1, pi)
		}
		sums[k].Set(total.Add(total, big.NewFloat(pi)))
	}
	if total.Sign() == 0 {
		return nil, fmt.Errorf("mixture: %d tasks, none of a frequency above 0: want one to draw", len(frequency))
	}
	all, _ := total.Float64()
	words := [][]uint32{make([]uint32, len(frequency)), make([]uint32, len(frequency))}
	begin := uint64(0)
	for k, pi := range frequency {
		share := sums[k].Quo(&sums[k], total)
		end, _ := share.Add(share.SetMantExp(share, 63), big.NewFloat(.5)).Uint64()
		if got, want := float64(end-begin)/cells, pi/all; math.Abs(got-want) > 1e-3*want {
			return nil, fmt.Errorf("mixture: task %d: frequency %g would be drawn as %g: want that within a thousandth, "+
				"as it is for frequencies above %.2g", k+1, want, got, 1e3/cells)
		}
		threshold := 2 * end
		if end == cells {
			threshold = math.MaxUint64
		}
		words[0][k], words[1][k], begin = uint32(threshold>>32), uint32(threshold), end
	}
	return words, nil
}
