package interference

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"
)

// Cosine returns the cosines of gradients from their Gram matrix; NaN where one of the two is zero or missing.
//
//	cos_ij = <g_i, g_j> / (|g_i| |g_j|)
func Cosine(gram [][]float64) [][]float64 {
	return pairs(gram, func(ii, jj, ij float64) float64 {
		if ii <= 0 || jj <= 0 {
			return math.NaN()
		}
		return max(-1, min(1, ij/math.Sqrt(ii)/math.Sqrt(jj)))
	})
}

// MagnitudeSimilarity returns how alike in size gradients are: 1 for equal norms, towards 0 as one outgrows the other; NaN
// where both are zero or one is missing. Source: PCGrad (Yu et al. 2020, arXiv 2001.06782), definition 2.
//
//	2 |g_i| |g_j| / (|g_i|² + |g_j|²)
func MagnitudeSimilarity(gram [][]float64) [][]float64 {
	return pairs(gram, func(ii, jj, _ float64) float64 {
		if ii+jj <= 0 {
			return math.NaN()
		}
		return 2 * math.Sqrt(ii) * math.Sqrt(jj) / (ii + jj)
	})
}

func pairs(gram [][]float64, of func(ii, jj, ij float64) float64) [][]float64 {
	out := square(len(gram))
	for i := range gram {
		for j := range gram {
			out[i][j] = math.NaN()
			if !math.IsNaN(gram[i][j]) {
				out[i][j] = of(gram[i][i], gram[j][j], gram[i][j])
			}
		}
	}
	return out
}

// ConflictShare returns the share of pairs of different tasks whose gradients point against each other, among the pairs in
// which both are present and not zero; NaN where there is no such pair.
func ConflictShare(gram [][]float64) float64 {
	conflicts, all := 0., 0.
	cosine := Cosine(gram)
	for i := range cosine {
		for j := range i {
			if c := cosine[i][j]; !math.IsNaN(c) {
				all++
				if c < 0 {
					conflicts++
				}
			}
		}
	}
	return conflicts / all
}

// Stiffness returns how consistently a step on one task helps (1) or harms (-1) another: the mean sign of the gradients'
// inner product over independent batches, given the Gram matrix of each; batches in which a task has no samples don't
// count, and NaN stands where none does. Source: Fort et al. 2019, arXiv 1901.09491.
//
//	S_ij = E sign(g_i · g_j)
func Stiffness(grams ...[][]float64) ([][]float64, error) {
	if len(grams) == 0 {
		return nil, fmt.Errorf("interference: stiffness of no batches: want at least 1 Gram matrix")
	}
	sum, n := square(len(grams[0])), square(len(grams[0]))
	for b, gram := range grams {
		if len(gram) != len(sum) {
			return nil, fmt.Errorf("interference: Gram matrix %d is of %d tasks: want %d, as the first", b, len(gram), len(sum))
		}
		for i := range gram {
			for j, v := range gram[i] {
				if math.IsNaN(v) {
					continue
				}
				n[i][j]++
				if v != 0 {
					sum[i][j] += math.Copysign(1, v)
				}
			}
		}
	}
	for i := range sum {
		floats.Div(sum[i], n[i]) // 0/0 is the NaN of a pair that was never seen
	}
	return sum, nil
}

// Surgery returns gradients [K][P] without their conflicts: each one is projected, in a random order of the others, onto
// the plane normal to every other original gradient that it points against. A nil gradient stays nil. Source: PCGrad, algorithm
// 1 (arXiv 2001.06782).
//
//	g_i <- g_i - (g_i·g_j)/|g_j|² g_j   where g_i·g_j < 0
func Surgery(gradients [][]float64, random *rand.Rand) [][]float64 {
	out := make([][]float64, len(gradients))
	for i, g := range gradients {
		if g == nil {
			continue
		}
		out[i] = append([]float64{}, g...)
		for _, j := range random.Perm(len(gradients)) {
			if j == i || gradients[j] == nil {
				continue
			}
			if dot := floats.Dot(out[i], gradients[j]); dot < 0 {
				floats.AddScaled(out[i], -dot/floats.Dot(gradients[j], gradients[j]), gradients[j])
			}
		}
	}
	return out
}
