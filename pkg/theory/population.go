package theory

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"
)

// Population is what an encoder's row space says about every task, exact and without samples.
//
//	Signal[k]         s_k = Tr(P C_k) / Tr C_k
//	Normalized[k]     (s_k - N/D) / (1 - N/D), 0 for a random encoder; NaN when N >= D, where chance is already 1
//	EncoderLoss       Tr((I-P) M), the loss with the best decoders
//	Residual          delta_F = Tr((I-P) M_F)
//	FrequentGradient  ||G_F||_F,   G_F = 2 (I-P) M_F U = sum_{k in F} pi_k G_k
//	Bound             2 sqrt(lambda_1(M_F) delta_F) >= ||G_F||_F   (Theorem 4)
//	TaskGradient[k]   ||G_k||_F
//	Interference[k]   <G_k, G_{F without k}> <= 0
//	Cosine[k]         the cosine of those two; NaN where one of them is zero
//	Gram[k][l]        <G_k, G_l>, K x K; -4 Tr[(U^T C_k U)(U^T C_l U)] <= 0 off the diagonal
//
// Losses are in the units of the targets squared, summed over a task's outputs. The best-decoder loss of task k is
// (1 - Signal[k])·TaskTrace(k). Rank is the rank of P; N is the encoder's width. Source: Sec. 3, App. B.1.
type Population struct {
	Rank                               int
	Signal, Normalized                 []float64
	EncoderLoss, Residual              float64
	FrequentGradient, Bound            float64
	TaskGradient, Interference, Cosine []float64
	Gram                               [][]float64
}

// Population evaluates an encoder's row space against the mixture, with F the tasks of frequent.
//
// The covariances are diagonal, so everything follows from the squared entries of P, as sums of terms of one sign:
//
//	1 - P_ii            = sum_j (I-P)_ij²
//	<G_a, G_b>          = 2 sum_ij (a_i - a_j)(b_i - b_j) P_ij²   for covariances diag(a), diag(b)
//
// (the second because (I-P)AU and [P,A] have the same products). Rounding therefore can break neither the bound nor a
// sign. It returns an error when the subspace has fewer than K·d_T dimensions. Cost O(D² N), memory O(D d_T).
func (m Mixture) Population(s Subspace, frequent []int) (Population, error) {
	return m.PopulationOf(s, frequent, xslices.Iota(0, m.Tasks()))
}

// PopulationOf is Population for some tasks and those of F alone: what it says of others is NaN, and so are the sums over all, EncoderLoss
// and FrequentGradient, unless they are all there. Cost O(D N d_T) for each task.
func (m Mixture) PopulationOf(s Subspace, frequent, tasks []int) (Population, error) {
	K, block := m.Tasks(), m.Block()
	if s.Dim < K*block {
		return Population{}, fmt.Errorf("theory: encoder of %d inputs for %d tasks of %d coordinates: want at least %d inputs",
			s.Dim, K, block, K*block)
	}
	p := Population{Rank: s.Rank, Signal: slices.Repeat([]float64{math.NaN()}, K), Gram: xslices.Slice2DWithValue(math.NaN(), K, K)}
	mF := m.Covariance(frequent, s.Dim)
	rows := make([]float64, block*s.Dim)
	var squaredGradient float64
	seen := slices.Compact(slices.Sorted(slices.Values(slices.Concat(frequent, tasks))))
	for _, k := range seen {
		s.projector(k*block, (k+1)*block, rows)
		clear(p.Gram[k])
		var lost float64
		for j, lambda := range m.Spectrum[k] {
			i := k*block + j
			row := rows[j*s.Dim : (j+1)*s.Dim]
			left := squareRow(row, i)
			lost += lambda * left
			p.Residual += mF[i] * left
			squaredGradient += commutator(row, mF, i, K*block)
			m.addGram(p.Gram[k], row, k, j)
		}
		p.Signal[k] = 1 - lost/m.TaskTrace(k)
		p.EncoderLoss += m.Frequency[k] * lost
	}
	p.FrequentGradient = math.Sqrt(squaredGradient)
	if len(seen) < K {
		p.EncoderLoss, p.FrequentGradient = math.NaN(), math.NaN()
	}
	p.Bound = 2 * math.Sqrt(slices.Max(mF)*p.Residual)
	p.normalize(float64(s.Width) / float64(s.Dim))
	p.interfere(m.Frequency, frequent)
	return p, nil
}

// squareRow squares row i of P in place and returns 1 - P_ii = sum_j (I-P)_ij².
func squareRow(row []float64, i int) float64 {
	left := (1 - row[i]) * (1 - row[i])
	for j, x := range row {
		row[j] = x * x
		if j != i {
			left += row[j]
		}
	}
	return left
}

// commutator returns what row i adds to 2 sum_ij (c_i - c_j)² P_ij². Rows from tasked on, outside all tasks, are never
// visited: their terms are counted with the transposed entry.
func commutator(squared, c []float64, i, tasked int) float64 {
	var g float64
	for j, p := range squared {
		d := c[i] - c[j]
		if j < tasked {
			g += 2 * d * d * p
		} else {
			g += 4 * d * d * p
		}
	}
	return g
}

// addGram adds the terms of row i = k·d_T + j of P to row k of the Gram matrix: -4 lambda_i lambda_l P_il² between
// tasks, 4 lambda_i² P_il² for entries outside the task and 2 (lambda_i - lambda_l)² P_il² for those inside.
func (m Mixture) addGram(gram, squared []float64, k, j int) {
	block, own := m.Block(), m.Spectrum[k][j]
	for l, lambda := range m.Spectrum {
		entries := squared[l*block : (l+1)*block]
		for i, q := range entries {
			if l == k {
				gram[k] += 2 * (own - lambda[i]) * (own - lambda[i]) * q
				continue
			}
			gram[l] -= 4 * own * lambda[i] * q
			gram[k] += 4 * own * own * q
		}
	}
	for _, q := range squared[len(m.Spectrum)*block:] {
		gram[k] += 4 * own * own * q
	}
}

func (p *Population) normalize(chance float64) {
	p.Normalized = make([]float64, len(p.Signal))
	for k, s := range p.Signal {
		p.Normalized[k] = math.NaN()
		if chance < 1 {
			p.Normalized[k] = (s - chance) / (1 - chance)
		}
	}
}

// interfere fills what the Gram matrix says about each task against the frequent ones.
func (p *Population) interfere(frequency []float64, frequent []int) {
	K := len(frequency)
	p.TaskGradient, p.Interference, p.Cosine = make([]float64, K), make([]float64, K), make([]float64, K)
	for k := range K { // what was not seen of a task is NaN in all of them
		var squared float64
		for _, a := range frequent {
			if a == k {
				continue
			}
			p.Interference[k] += frequency[a] * p.Gram[k][a]
			for _, b := range frequent {
				if b != k {
					squared += frequency[a] * frequency[b] * p.Gram[a][b]
				}
			}
		}
		p.TaskGradient[k] = math.Sqrt(p.Gram[k][k])
		p.Cosine[k] = math.NaN()
		if squared > 0 && p.TaskGradient[k] > 0 {
			p.Cosine[k] = max(-1, p.Interference[k]/(p.TaskGradient[k]*math.Sqrt(squared)))
		}
	}
}
