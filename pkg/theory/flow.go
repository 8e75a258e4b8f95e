package theory

import (
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/blas/blas64"
)

// Flow returns what gradient flow of the population loss, with the best decoders at every moment, makes of a row space in time t:
//
//	U' = 2 (I-P) C U,   span U(t) = span exp(2 C t) U(0)
//
// C is diagonal, such as Covariance returns. The space turns towards the largest diagonal entries, and between two of them as
//
//	tan theta(t) = exp(-2 (mu_a - mu_b) t) tan theta(0)
//
// theta the angle of a direction to a, in the plane of a and b. So what lies along a feature without use, mu_b = 0 while its task is
// withheld, goes at rate 2 mu_a, its signal at 4 mu_a: see Restoring.
func (s Subspace) Flow(covariance []float64, t float64) Subspace {
	largest := slices.Max(covariance)
	for t > 0 && largest > 0 && s.Rank > 0 {
		step := min(t, 2/largest) // columns that turn together by more than exp(4) can't be told apart in the end
		turned := blas64.General{Rows: s.Dim, Cols: s.Rank, Stride: s.Rank, Data: slices.Clone(s.Basis)}
		for i, c := range covariance {
			grow := math.Exp(2 * c * step)
			for j := range s.Rank {
				turned.Data[i*s.Rank+j] *= grow
			}
		}
		next := columnSpace(turned)
		next.Width = s.Width
		s, t = next, t-step
	}
	return s
}

// Restoring returns mu_N of some tasks, the utility of the weakest feature that the best encoder of a width keeps of them; 0 where it keeps
// them all. It is the force that takes back what lies along features of a task that is withheld: a tilt of the weakest feature towards them
// decays as exp(-2 mu_N t) under Flow, the task's signal as exp(-4 mu_N t), however little else there is to learn. (In training on a loss
// averaged over O outputs, at rate eta, with rows of norm c along that direction, time runs as eta/(O c²) in a step.)
func (m Mixture) Restoring(width int, tasks []int) float64 {
	features := m.featuresOf(tasks)
	if width < 1 || width > len(features) {
		return 0
	}
	return features[width-1].Utility
}

// Without returns the mixture while a task is withheld: the others in proportion to their frequencies.
func (m Mixture) Without(task int) Mixture {
	rest := 1 - m.Frequency[task]
	m.Frequency = xslices.Map(m.Frequency, func(pi float64) float64 { return pi / rest })
	m.Frequency[task] = 0
	return m
}

// Takeover returns at which rate the next feature of the others begins to take the place of one of a withheld task, which rows of norm c
// hold, where decoders are trained beside the encoder:
//
//	s = pi (sqrt(c^4 + 4 lambda) - c²)/2,   about mu/c² where lambda is small beside c^4
//
// in place of mu/c², the rate with the best decoder at every moment: the tilt e of the rows towards the feature and its decoder d grow
// together from nothing, by gradient descent on pi ((sqrt(lambda) - d e)² + c² d²), as exp(2 s t). It is the largest over the features that
// the width has no room for beside the one of the withheld task.
func (m Mixture) Takeover(width, withheld int, norm float64) float64 {
	features := m.featuresOf(m.Others(withheld))
	square, most := norm*norm, 0.
	for _, f := range features[min(width-1, len(features)):] {
		lambda := m.Spectrum[f.Task][f.Index]
		most = max(most, m.Frequency[f.Task]*2*lambda/(math.Sqrt(square*square+4*lambda)+square))
	}
	return most
}

// BestEncoder returns the row space of a best encoder of a width, every number of whose rows is off by what off returns.
func (m Mixture) BestEncoder(width int, off func() float64) (Subspace, error) {
	dim := m.Tasks() * m.Block()
	rows := xslices.Map(make([]float64, width*dim), func(float64) float64 { return off() })
	for n, f := range m.Features()[:min(width, dim)] {
		rows[n*dim+f.Task*m.Block()+f.Index]++
	}
	return RowSpace(rows, width, dim)
}
