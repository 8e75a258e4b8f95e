// Package allocation says which neurons serve which task: what each task loses without a neuron, what a neuron looks at, how much of the
// representation a feature has for itself, and how neurons change hands over training (Sec. 3-4 of arXiv 2605.29548). Importing it
// registers the metric "allocation", which stores the owner of every neuron at every evaluation.
//
// Letters: N neurons, K tasks, D inputs, S stacked runs, B batch.
package allocation

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Ablation returns how much each task's loss rises without each neuron [N][K]. loss evaluates all tasks with one neuron
// silenced (by a zero in place of its weights, or whatever silence means for the net), or with none, for neuron -1.
func Ablation(neurons int, loss func(without int) ([]float64, error)) ([][]float64, error) {
	whole, err := loss(-1)
	if err != nil {
		return nil, fmt.Errorf("allocation: loss of the whole net: %w", err)
	}
	effects := make([][]float64, neurons)
	for n := range effects {
		if effects[n], err = loss(n); err != nil {
			return nil, fmt.Errorf("allocation: loss without neuron %d: %w", n, err)
		}
		if len(effects[n]) != len(whole) {
			return nil, fmt.Errorf("allocation: %d losses without neuron %d: want %d, as with it", len(effects[n]), n, len(whole))
		}
		effects[n] = floats.SubTo(make([]float64, len(whole)), effects[n], whole)
	}
	return effects, nil
}

// Nobody is the owner of a neuron that no task would miss.
const Nobody = -1

// Owners returns for each neuron the task that it serves most: the one with the largest effect, where that is at least
// least, else Nobody. Weight the effects by the tasks' frequencies to see what the mixture's loss gets, or leave them relative
// to each task's own loss to see what a task gets.
func Owners(effects [][]float64, least float64) []int {
	owners := make([]int, len(effects))
	for n, effect := range effects {
		owners[n] = Nobody
		best := least
		for k, e := range effect {
			if e > best || e == best && owners[n] == Nobody {
				owners[n], best = k, e
			}
		}
	}
	return owners
}

// Held returns the number of neurons that each task holds [K].
func Held(owners []int, tasks int) []int {
	held := make([]int, tasks)
	for _, owner := range owners {
		if owner != Nobody {
			held[owner]++
		}
	}
	return held
}

// Losses returns how often a neuron passed from one task to another between consecutive snapshots: [K][K], row the task that lost
// it, column the task that got it. A neuron that served nobody in between has been lost to who gets it in the end.
func Losses(snapshots [][]int, tasks int) ([][]int, error) {
	lost := xslices.Slice2DWithValue(0, tasks, tasks)
	if len(snapshots) == 0 {
		return lost, nil
	}
	holder := slices.Repeat([]int{Nobody}, len(snapshots[0]))
	for s, owners := range snapshots {
		if len(owners) != len(holder) {
			return nil, fmt.Errorf("allocation: snapshot %d of %d neurons: want %d, as the first", s, len(owners), len(holder))
		}
		for n, owner := range owners {
			if owner == Nobody {
				continue
			}
			if before := holder[n]; before != Nobody && before != owner {
				lost[before][owner]++
			}
			holder[n] = owner
		}
	}
	return lost, nil
}

// Capacity returns how much of the representation each feature has for itself [D]: 1 for a dimension of its own, less where it
// shares one, 0 where it is not represented. The sum is at most N. Source: Scherlis et al. 2022, arXiv 2210.01892.
//
//	C_i = (W_i·W_i)² / sum_j (W_i·W_j)²,   W_i the i-th column of the encoder [N, D]
func Capacity(encoder *mat.Dense) []float64 {
	_, d := encoder.Dims()
	var products mat.SymDense
	products.SymOuterK(1, encoder.T())
	capacity := make([]float64, d)
	for i := range capacity {
		squares := 0.
		for j := range capacity {
			squares += products.At(i, j) * products.At(i, j)
		}
		if own := products.At(i, i); squares > 0 {
			capacity[i] = own * own / squares
		}
	}
	return capacity
}

// InputWeight returns the share of each neuron's squared weights from inputs that is from some of them [N]; NaN for a neuron without
// weights. encoder holds the neurons' weights [N, D].
func InputWeight(encoder *mat.Dense, inputs []int) []float64 {
	n, _ := encoder.Dims()
	shares := make([]float64, n)
	for i := range shares {
		row := encoder.RawRowView(i)
		for _, j := range inputs {
			shares[i] += row[j] * row[j]
		}
		shares[i] /= floats.Dot(row, row)
	}
	return shares
}
