package theory

import (
	"math"
	"slices"
)

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
	common, _ = gated(theta, 0, sharpness)
	rare, _ = gated(theta, math.Pi/2, sharpness)
	return common, rare
}

// gated returns the signal of the task whose feature is at an angle, and the sum that the gates are shares of.
func gated(theta []float64, at, sharpness float64) (signal, sum float64) {
	for _, t := range theta {
		c := math.Pow(math.Cos(t-at), 2)
		sum += math.Exp(sharpness * c)
		signal += math.Exp(sharpness*c) * c
	}
	return signal / sum, sum
}

// Gated returns the angles of gated neurons after one gradient step of size eta on the expected loss, at frequencies p and q.
//
//	theta_n <- theta_n + eta d/dtheta_n (p S_common + q S_rare)
//	dS/dtheta_n = a_n (1 + sharpness (c_n - S)) dc_n/dtheta_n
//
// For one neuron this is Drift.
func Gated(theta []float64, p, q, eta, sharpness float64) []float64 {
	next := slices.Clone(theta)
	for _, task := range []struct{ at, frequency float64 }{{0, p}, {math.Pi / 2, q}} {
		signal, sum := gated(theta, task.at, sharpness)
		for n, t := range theta {
			c := math.Pow(math.Cos(t-task.at), 2)
			gate := math.Exp(sharpness*c) / sum
			next[n] -= eta * task.frequency * gate * (1 + sharpness*(c-signal)) * math.Sin(2*(t-task.at))
		}
	}
	return next
}
