// Package theory holds every closed form of the regression mixture: which features an encoder of a given width keeps,
// what that costs each task, and what an actual encoder's row space says about losses, interference and bounds.
// Source: arXiv 2605.29548, Sec. 3, App. B.1 and D; plain numbers in and out, nothing here trains or samples.
//
// Letters: K tasks, d_T coordinates per task, D >= K·d_T input dimensions, N the encoder's width. Task k owns the
// coordinates k·d_T … (k+1)·d_T-1, so every C_k and every mixture of them is diagonal. Tasks, coordinates and
// eigenvalues count from 0; a number of features m and a width N count from 1.
package theory

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"
)

// tieTolerance is the relative difference below which two utilities are one: equal utilities such as 1·2² = 4·1²
// reach us through different roundings.
const tieTolerance = 1e-9

// FrequentShare is the share of the mixture that the most frequent tasks F must first reach together (Sec. 3).
const FrequentShare = .8

// Mixture is K regression tasks on orthogonal blocks of coordinates.
//
//	M = sum_k pi_k C_k,   C_k = B_k diag(lambda_k) B_k^T
//
// Frequency holds pi_k (K numbers >= 0 that sum to 1), Spectrum the eigenvalues lambda_{k,j} (K x d_T, each row descending
// from a positive one, none negative), which the methods take for granted. Source: Sec. 3, App. B.1.
type Mixture struct {
	Frequency []float64
	Spectrum  [][]float64
}

// PowerLaw returns the paper's mixture: frequencies and spectra that fall by power laws.
//
//	pi_k ∝ k^-beta,   lambda_{k,j} = j^-alpha_k,   k = 1..tasks, j = 1..block
//
// alpha_k runs on a uniform grid from alphaFirst (the most frequent task) to alphaLast (the rarest). It returns an error
// when there is no task or coordinate, or when an exponent is negative or not finite. Source: App. B.1 and D.
func PowerLaw(tasks, block int, beta, alphaFirst, alphaLast float64) (Mixture, error) {
	if tasks < 1 || block < 1 {
		return Mixture{}, fmt.Errorf("theory: %d tasks of %d coordinates: want at least 1 of each", tasks, block)
	}
	for name, exponent := range map[string]float64{"frequency exponent": beta, "first alpha": alphaFirst, "last alpha": alphaLast} {
		if !(exponent >= 0) || math.IsInf(exponent, 0) {
			return Mixture{}, fmt.Errorf("theory: %s %g: want a finite number >= 0", name, exponent)
		}
	}
	m := Mixture{Frequency: powers(tasks, beta), Spectrum: make([][]float64, tasks)}
	total := sum(m.Frequency)
	for k := range tasks {
		m.Frequency[k] /= total
		alpha := alphaFirst
		if tasks > 1 {
			alpha += (alphaLast - alphaFirst) * float64(k) / float64(tasks-1)
		}
		m.Spectrum[k] = powers(block, alpha)
	}
	return m, nil
}

// powers returns 1, 2^-exponent, …, n^-exponent.
func powers(n int, exponent float64) []float64 {
	return xslices.Map(xslices.Iota(1., n), func(i float64) float64 { return math.Pow(i, -exponent) })
}

// Tasks returns K.
func (m Mixture) Tasks() int { return len(m.Frequency) }

// Block returns d_T, the number of coordinates (and targets) of a task.
func (m Mixture) Block() int { return len(m.Spectrum[0]) }

// TaskTrace returns Tr C_k = sum_j lambda_{k,j}, the loss of task k when nothing is learned.
func (m Mixture) TaskTrace(k int) float64 { return sum(m.Spectrum[k]) }

// Trace returns the mixture's loss when nothing is learned.
//
//	Tr M = sum_k pi_k Tr C_k
func (m Mixture) Trace() float64 {
	var trace float64
	for k, p := range m.Frequency {
		trace += p * m.TaskTrace(k)
	}
	return trace
}

// Frequent returns F, the most frequent tasks whose frequencies first sum to at least share, the most frequent first;
// of equally frequent tasks the one with the lower index comes first. The paper's share is 0.8. Source: Sec. 3.
func (m Mixture) Frequent(share float64) []int {
	tasks := m.Others(-1)
	slices.SortStableFunc(tasks, func(a, b int) int {
		if tied(m.Frequency[a], m.Frequency[b]) {
			return 0
		}
		return cmp.Compare(m.Frequency[b], m.Frequency[a])
	})
	var total float64
	for i, k := range tasks {
		// Four times 0.2 is a share of 0.8 whatever the rounding.
		if total += m.Frequency[k]; total >= share*(1-tieTolerance) {
			return tasks[:i+1]
		}
	}
	return tasks
}

// Rarest returns the task of the lowest frequency; of equally rare tasks the last.
func (m Mixture) Rarest() int {
	rarest := 0
	for k, p := range m.Frequency {
		if p <= m.Frequency[rarest] || tied(p, m.Frequency[rarest]) {
			rarest = k
		}
	}
	return rarest
}

// Others returns every task but k.
func (m Mixture) Others(k int) []int {
	return slices.DeleteFunc(xslices.Iota(0, m.Tasks()), func(i int) bool { return i == k })
}

// HeldFeatures returns how many of its leading features task k holds at signal s = Tr(P C_k)/Tr C_k.
//
//	max { m : s >= sum_{j<=m} lambda_{k,j} / Tr C_k - tolerance }
//
// It is 0 when not even the first is held, and when s is not a number. The project's tolerance is 0.05; for rank-one
// tasks (d_T = 1), "learned" is s > .5 instead.
func (m Mixture) HeldFeatures(k int, signal, tolerance float64) int {
	trace, kept := m.TaskTrace(k), 0.0
	for j, lambda := range m.Spectrum[k] {
		if kept += lambda; !(signal >= kept/trace-tolerance) {
			return j
		}
	}
	return m.Block()
}

// tied says whether two utilities (or frequencies) are equal up to rounding.
func tied(a, b float64) bool {
	return math.Abs(a-b) <= tieTolerance*max(math.Abs(a), math.Abs(b))
}

func sum(v []float64) float64 {
	var s float64
	for _, x := range v {
		s += x
	}
	return s
}

// Directions returns how many of task k's leading directions it takes to hold a share of its energy, its complexity.
//
//	min m:  sum_{j<=m} lambda_{k,j} >= share · Tr C_k
//
// Source: App. D, where share is .9.
func (m Mixture) Directions(k int, share float64) int {
	held, all := 0., m.TaskTrace(k)
	for j, lambda := range m.Spectrum[k] {
		if held += lambda; held >= share*all*(1-tieTolerance) {
			return j + 1
		}
	}
	return len(m.Spectrum[k])
}
