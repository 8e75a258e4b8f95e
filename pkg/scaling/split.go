package scaling

import (
	"fmt"
	"math"
)

// Surface is the loss of a size N and an amount of data D: a law's, or an interpolation of measurements.
type Surface func(n, d float64) float64

// Split is how the loss that a large model reaches below a baseline is reached by a small one (Fig 1, Def. 1 and 2 of arXiv 2605.29548):
// Both + Data + Model = baseline - L_C(N_l), unless the small one's limit lies below that.
type Split struct {
	Small float64 `json:"small"` // N_s
	Large float64 `json:"large"` // N_l
	// ComputeSmall and ComputeLarge are L_C, losses at the compute-optimal amount of data; Limit is L_inf(N_s).
	ComputeSmall float64 `json:"compute_small"`
	ComputeLarge float64 `json:"compute_large"`
	Limit        float64 `json:"limit"`
	Both         float64 `json:"both"`  // from the baseline to L_C(N_s): reached by both
	Data         float64 `json:"data"`  // from there to L_inf(N_s), or L_C(N_l) if that is higher: reached by the small one with more data
	Model        float64 `json:"model"` // from L_inf(N_s) down to L_C(N_l): reached only by a larger model
}

// Split returns the split of a law between two sizes, below a baseline such as the loss of guessing.
func (l Law) Split(small, large, baseline float64) (Split, error) {
	return NewSplit(small, large, baseline, l.Asymptotic(small), func(n float64) (float64, error) { return l.ComputeOptimal(n), nil })
}

// NewSplit returns the split of two sizes of which one knows the smaller one's limit and how to find L_C.
func NewSplit(small, large, baseline, limit float64, optimal func(n float64) (float64, error)) (Split, error) {
	if !(small > 0) || !(large > small) || math.IsInf(large, 0) {
		return Split{}, fmt.Errorf("scaling: sizes %g and %g: want 0 < N_s < N_l", small, large)
	}
	s := Split{Small: small, Large: large, Limit: limit}
	var err error
	if s.ComputeSmall, err = optimal(small); err != nil {
		return s, err
	}
	if s.ComputeLarge, err = optimal(large); err != nil {
		return s, err
	}
	if !(baseline >= s.ComputeSmall) {
		return s, fmt.Errorf("scaling: baseline %g: want no less than L_C(N_s) = %.4g", baseline, s.ComputeSmall)
	}
	s.Both = baseline - s.ComputeSmall
	s.Model = max(0, s.Limit-s.ComputeLarge)
	s.Data = s.ComputeSmall - max(s.Limit, s.ComputeLarge)
	return s, nil
}

// ComputeOptimal returns L_C(N), the loss of N at the amount of data for which it is the best size: E + A (1 + a/b)/N^a.
func (l Law) ComputeOptimal(n float64) float64 {
	return l.E + l.A*(1+l.Alpha/l.Beta)*math.Pow(n, -l.Alpha)
}

// SmallerThan returns N_s*(eps), the largest size whose limit L_inf is more than eps above L_C of a large one (Def. 2).
func (l Law) SmallerThan(large, eps float64) float64 {
	return math.Pow((1+l.Alpha/l.Beta)*math.Pow(large, -l.Alpha)+eps/l.A, -1/l.Alpha)
}

// ComputeOptimal returns L_C(N) of any surface, and the D at which it is reached, between two amounts of data: where changing N at constant
// C = 6 N D doesn't change the loss, d L/d ln N = d L/d ln D. It fails where that doesn't happen in between.
func (s Surface) ComputeOptimal(n, least, most float64) (loss, d float64, err error) {
	const step = 1e-4
	balance := func(ln float64) float64 { // positive where more data for a smaller model would help
		d := math.Exp(ln)
		return s(n*math.Exp(step), d*math.Exp(-step)) - s(n*math.Exp(-step), d*math.Exp(step))
	}
	low, high := math.Log(least), math.Log(most)
	if !(balance(low) > 0) == !(balance(high) > 0) {
		return 0, 0, fmt.Errorf("scaling: size %.4g is no budget's best one between D %.4g and %.4g", n, least, most)
	}
	for up := balance(low) > 0; high-low > 1e-12*math.Abs(high); {
		middle := (low + high) / 2
		if balance(middle) > 0 == up {
			low = middle
		} else {
			high = middle
		}
		if middle == low && middle == high {
			break
		}
	}
	d = math.Exp((low + high) / 2)
	return s(n, d), d, nil
}
