// Package allocation says which neurons serve which task: what a neuron captures of each task, what each task loses without
// it, how much of the representation a feature has for itself, and how neurons change hands over training (Sec. 3-4 of
// arXiv 2605.29548). Numbers in and out; nothing here trains or draws samples.
//
// Letters: N neurons, K tasks, D input features.
package allocation

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
)

// Capture returns what each neuron alone keeps of each task [N][K], and what share of what a neuron keeps is each task's
// [N][K] (rows sum to 1; NaN for a neuron without weights).
//
//	Kept_nk  = w_nᵀ C_k w_n / (|w_n|² Tr C_k)
//	Share_nk = w_nᵀ C_k w_n / sum_l w_nᵀ C_l w_n
//
// encoder holds the rows w_n [N][D], covariances the diagonals of C_k [K][D].
func Capture(encoder, covariances [][]float64) (kept, share [][]float64, err error) {
	for k, c := range covariances {
		for n, w := range encoder {
			if len(w) != len(c) {
				return nil, nil, fmt.Errorf("allocation: neuron %d of %d weights for task %d of %d inputs: want as many of both", n, len(w), k+1, len(c))
			}
		}
	}
	for _, w := range encoder {
		own, of := make([]float64, len(covariances)), make([]float64, len(covariances))
		for k, c := range covariances {
			for i, x := range w {
				of[k] += x * x * c[i]
			}
			own[k] = of[k] / floats.Dot(w, w) / floats.Sum(c)
		}
		floats.Scale(1/floats.Sum(of), of)
		kept, share = append(kept, own), append(share, of)
	}
	return kept, share, nil
}

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
			if e >= best && !math.IsNaN(e) {
				if e > best || owners[n] == Nobody {
					owners[n], best = k, e
				}
			}
		}
	}
	return owners
}

// Held returns the number of neurons that each task holds [K], and how many serve nobody.
func Held(owners []int, tasks int) (held []int, nobody int) {
	held = make([]int, tasks)
	for _, owner := range owners {
		if owner == Nobody {
			nobody++
		} else {
			held[owner]++
		}
	}
	return held, nobody
}

// Losses returns how often a neuron passed from one task to another between consecutive snapshots: [K][K], row the task that lost
// it, column the task that got it. A neuron that served nobody in between has been lost to who gets it in the end.
func Losses(snapshots [][]int, tasks int) ([][]int, error) {
	lost := make([][]int, tasks)
	for k := range lost {
		lost[k] = make([]int, tasks)
	}
	if len(snapshots) == 0 {
		return lost, nil
	}
	holder := make([]int, len(snapshots[0]))
	for n := range holder {
		holder[n] = Nobody
	}
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
//	C_i = (W_i·W_i)² / sum_j (W_i·W_j)²,   W_i the i-th column of the encoder
func Capacity(encoder [][]float64) []float64 {
	return shares(encoder, func(own, squares float64) float64 { return own * own / squares })
}

// Dimensionality returns the dimensions that each feature takes up [D] in the sense of superposition. Source: Elhage et al. 2022,
// "Toy models of superposition".
//
//	D_i = |W_i|² / sum_j (Ŵ_i·W_j)²,   Ŵ_i = W_i/|W_i|
//
// A feature that shares its directions only with itself has 1, two features head to head on one direction have 1/2; 0
// where a feature is not represented.
func Dimensionality(encoder [][]float64) []float64 {
	return shares(encoder, func(own, squares float64) float64 { return own / (squares / own) })
}

// shares applies a formula to |W_i|² and sum_j (W_i·W_j)² of each column.
func shares(encoder [][]float64, of func(own, squares float64) float64) []float64 {
	if len(encoder) == 0 {
		return nil
	}
	d := len(encoder[0])
	column := func(i int) []float64 {
		c := make([]float64, len(encoder))
		for n := range encoder {
			c[n] = encoder[n][i]
		}
		return c
	}
	columns := make([][]float64, d)
	for i := range columns {
		columns[i] = column(i)
	}
	out := make([]float64, d)
	for i, own := range columns {
		var squares float64
		for _, other := range columns {
			dot := floats.Dot(own, other)
			squares += dot * dot
		}
		if squares > 0 {
			out[i] = of(floats.Dot(own, own), squares)
		}
	}
	return out
}
