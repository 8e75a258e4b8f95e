package theory

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas/blas64"
)

// Flow returns the row space that gradient flow on the encoder loss reaches from s after time t, exactly.
//
//	dU/dt = 2 (I-P) M U   has the solution   span U(t) = span(e^{2Mt} U(0))
//
// c is the diagonal of M (D numbers, see Mixture.Covariance); t is in units of 1/(rate x loss). It returns an error when
// c has not D finite numbers >= 0, or when t is negative or not finite.
func Flow(s Subspace, c []float64, t float64) (Subspace, error) {
	if len(c) != s.Dim {
		return Subspace{}, fmt.Errorf("theory: covariance of %d numbers: want %d, the dimension of the subspace", len(c), s.Dim)
	}
	for i, x := range c {
		if !(x >= 0) || math.IsInf(x, 1) {
			return Subspace{}, fmt.Errorf("theory: covariance number %d is %g: want a finite number >= 0", i, x)
		}
	}
	if !(t >= 0) || math.IsInf(t, 1) {
		return Subspace{}, fmt.Errorf("theory: flow time %g: want a finite number >= 0", t)
	}
	if s.Rank == 0 || t == 0 {
		return s, nil
	}
	// In one step e^{2Mt} would drown all directions but the fastest in rounding; pieces that stretch by at most e^8,
	// each made orthonormal again, lose none.
	top := slices.Max(c)
	pieces := math.Ceil(2 * (top - slices.Min(c)) * t / 8)
	pieces = max(1, pieces)
	stretch := make([]float64, s.Dim)
	for i, x := range c {
		stretch[i] = math.Exp(2 * (x - top) * t / pieces)
	}
	width, basis := s.Width, slices.Clone(s.Basis)
	for range int(pieces) {
		for i, e := range stretch {
			for n := range s.Rank {
				basis[i*s.Rank+n] *= e
			}
		}
		s = columnSpace(blas64.General{Rows: s.Dim, Cols: s.Rank, Stride: s.Rank, Data: basis})
		basis = slices.Clone(s.Basis)
	}
	s.Width = width
	return s, nil
}

// Drift returns how far one step moves the only neuron of two tasks, at angle theta from the more frequent one's feature.
//
//	theta' - theta = eta (q - p) sin 2 theta
//
// p and q are the frequencies of the two tasks, eta the learning rate, angles in radians. The rare task's signal is
// sin² theta. Source: Sec. 3 (one neuron, two tasks), Fig. 11.
func Drift(theta, p, q, eta float64) float64 { return eta * (q - p) * math.Sin(2*theta) }

// Decay returns the angle of that neuron after steps on the common task alone, for small angles and rates.
//
//	theta_G = (1 - 2 eta)^G theta_0
//
// Within 2% of the exact recursion for theta_0 = .05, eta = .002, G <= 200; theta_0 = .3, eta = .01 misses by 3.2%.
// Source: Sec. 3.
func Decay(theta0, eta float64, steps int) float64 {
	return math.Pow(1-2*eta, float64(steps)) * theta0
}

// GatedSignals returns the signals of the common and the rare task for neurons at angles theta from the common task's feature,
// of which a softmax gate picks for each task by how well they serve it.
//
//	S = sum_n a_n c_n,   a = softmax(sharpness·c),   c_n = cos² theta_n (common) or sin² theta_n (rare)
//
// One neuron is the ungated case. The paper's gate (Fig. 11) is not spelled out; this is ours.
func GatedSignals(theta []float64, sharpness float64) (common, rare float64) {
	for _, offset := range []float64{0, math.Pi / 2} {
		var sum, signal float64
		for _, t := range theta {
			c := math.Pow(math.Cos(t-offset), 2)
			sum += math.Exp(sharpness * c)
			signal += math.Exp(sharpness*c) * c
		}
		if offset == 0 {
			common = signal / sum
		} else {
			rare = signal / sum
		}
	}
	return common, rare
}

// Gated returns the angles of gated neurons after one gradient step of size eta on the expected loss, at frequencies p and q.
//
//	theta_n <- theta_n + eta d/dtheta_n (p S_common + q S_rare)
//	dS/dtheta_n = a_n (1 + sharpness (c_n - S)) dc_n/dtheta_n
//
// For one neuron this is Drift.
func Gated(theta []float64, p, q, eta, sharpness float64) []float64 {
	next := slices.Clone(theta)
	common, rare := GatedSignals(theta, sharpness)
	for _, task := range []struct{ offset, frequency, signal float64 }{{0, p, common}, {math.Pi / 2, q, rare}} {
		var sum float64
		for _, t := range theta {
			sum += math.Exp(sharpness * math.Pow(math.Cos(t-task.offset), 2))
		}
		for n, t := range theta {
			c := math.Pow(math.Cos(t-task.offset), 2)
			gate := math.Exp(sharpness*c) / sum
			next[n] -= eta * task.frequency * gate * (1 + sharpness*(c-task.signal)) * math.Sin(2*(t-task.offset))
		}
	}
	return next
}
