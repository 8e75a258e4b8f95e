package theory

import "math"

// ModelScalingRatio returns how much larger a model must be for its compute-optimal loss to be out of reach of a smaller
// one however much data that one gets.
//
//	L(N,D) = E + A/N^a + B/D^b,  C = 6ND:   L_C(N) - E = A (1 + a/b) N^-a,   L_inf(N) - E = A N^-a
//	L_inf(N_s) > L_C(N_l)   exactly when   N_l/N_s > (1 + a/b)^(1/a)
//
// a and b are the exponents of model size and data, both > 0; otherwise it is NaN. Source: Fig. 1's argument, worked out
// here; it gives 10.36 for the fit of Hoffmann et al. 2022, 6.83 for that of Besiroglu et al. 2024 (arXiv 2404.10102).
func ModelScalingRatio(a, b float64) float64 {
	if !(a > 0 && b > 0) {
		return math.NaN()
	}
	return math.Pow(1+a/b, 1/a)
}
