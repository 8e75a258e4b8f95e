package interference

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// Cosine returns the cosines of gradients from their Gram matrix; NaN where one of the two is zero or missing.
//
//	cos_ij = <g_i, g_j> / (|g_i| |g_j|)
func Cosine(gram [][]float64) [][]float64 {
	cosine := square(len(gram))
	for i := range gram {
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
	change := square(len(gram))
	for i := range gram {
		floats.ScaleTo(change[i], -eta, gram[i])
	}
	return change
}
