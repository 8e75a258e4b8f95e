package theory

import (
	"cmp"
	"fmt"
	"slices"
)

// Feature is one eigen-direction of one task.
//
//	u_{k,j} = pi_k lambda_{k,j}
//
// Above is how many features have a higher utility and Tied how many have this one (itself included), so the feature is
// kept by some best encoder from width Above+1 on and by every one from width Above+Tied on.
type Feature struct {
	Task, Index int
	Utility     float64
	Above, Tied int
}

// Widths is a threshold with both its ends, which differ only where utilities tie: from Some on a best encoder with the
// property exists, from Every on all best encoders have it. 0 means no width does it.
type Widths struct{ Every, Some int }

// String writes the threshold: one width, or from where to where it is a matter of which best encoder.
func (w Widths) String() string {
	if w.Every == w.Some || w.Every == 0 {
		return fmt.Sprint(w.Some)
	}
	return fmt.Sprintf("%d to %d", w.Some, w.Every)
}

// Features returns all K·d_T features in the order in which growing width makes them learnable: by falling utility, and
// where utilities tie by task and then by index. Source: Sec. 3 (utility), App. D (order by utility, not by frequency).
func (m Mixture) Features() []Feature { return m.featuresOf(m.Others(-1)) }

func (m Mixture) featuresOf(tasks []int) []Feature {
	features := make([]Feature, 0, len(tasks)*m.Block())
	for _, k := range tasks {
		for j, lambda := range m.Spectrum[k] {
			features = append(features, Feature{Task: k, Index: j, Utility: m.Frequency[k] * lambda})
		}
	}
	slices.SortFunc(features, func(a, b Feature) int { return cmp.Compare(b.Utility, a.Utility) })
	for first := 0; first < len(features); {
		end := first + 1
		for end < len(features) && tied(features[first].Utility, features[end].Utility) {
			end++
		}
		group := features[first:end]
		for i := range group {
			group[i].Above, group[i].Tied = first, len(group)
		}
		// Rounding must not decide the order within a tie.
		slices.SortFunc(group, func(a, b Feature) int {
			return cmp.Or(cmp.Compare(a.Task, b.Task), cmp.Compare(a.Index, b.Index))
		})
		first = end
	}
	return features
}

// OptimalLoss returns the least encoder loss at a width, that of keeping the features of highest utility.
//
//	L*(N) = min_{rank P <= N} Tr((I-P)M) = Tr M - sum of the N largest u_{k,j}
//
// It is Tr M at width 0 and 0 from width K·d_T on; ties don't matter to it. Source: Sec. 3.
func (m Mixture) OptimalLoss(width int) float64 { return tail(m.Features(), width) }

// tail sums the utilities of all but the first width features, the smallest first, so that nothing left is exactly 0.
func tail(features []Feature, width int) float64 {
	var rest float64
	for i := len(features) - 1; i >= max(width, 0); i-- {
		rest += features[i].Utility
	}
	return rest
}

// Retained returns n_k(N), how many features of each task a best encoder of that width keeps: the fewest and the most
// over all best encoders. They differ only where the N-th utility is tied with the next. Source: Sec. 3.
func (m Mixture) Retained(width int) (fewest, most []int) {
	fewest, most = make([]int, m.Tasks()), make([]int, m.Tasks())
	for k, thresholds := range m.featureWidths() {
		for _, w := range thresholds {
			if w.Every != 0 && w.Every <= width {
				fewest[k]++
			}
			if w.Some <= width {
				most[k]++
			}
		}
	}
	return fewest, most
}

// TaskLoss returns l*_k(N), the loss of each task under a best encoder of that width with its best decoder: the lowest
// and the highest over all best encoders.
//
//	l*_k(N) = sum_{j > n_k(N)} lambda_{k,j}
//
// Divide by TaskTrace for the normalised loss. Source: Sec. 3.
func (m Mixture) TaskLoss(width int) (lowest, highest []float64) {
	fewest, most := m.Retained(width)
	lowest, highest = make([]float64, m.Tasks()), make([]float64, m.Tasks())
	for k, lambda := range m.Spectrum {
		lowest[k], highest[k] = sum(lambda[most[k]:]), sum(lambda[fewest[k]:])
	}
	return lowest, highest
}

// NStar returns N*_k(m) for every task: the smallest widths at which a best encoder keeps its first features.
//
//	N*_k(m) = min { N : n_k(N) >= m }
//
// Both ends are 0 for m outside 1..d_T. Source: Sec. 3; the paper doesn't speak of ties.
func (m Mixture) NStar(features int) []Widths {
	stars := make([]Widths, m.Tasks())
	if features < 1 || features > m.Block() {
		return stars
	}
	for k, thresholds := range m.featureWidths() {
		stars[k] = thresholds[features-1]
	}
	return stars
}

// featureWidths returns for every task (K x d_T) the widths at which its j-th feature is kept. Of t tied features, t_k
// of them task k's, the i-th of task k is kept by some best encoder once i of the t fit, and by every one once at most
// t_k - i of the t are left out. A feature of no utility need never be kept.
func (m Mixture) featureWidths() [][]Widths {
	widths := make([][]Widths, m.Tasks())
	features := m.Features()
	for first, end := 0, 0; first < len(features); first = end {
		f := features[first]
		for end = first; end < len(features) && features[end].Task == f.Task && features[end].Above == f.Above; end++ {
		}
		for i := 1; i <= end-first; i++ {
			w := Widths{Some: f.Above + i}
			if f.Utility > 0 {
				w.Every = f.Above + f.Tied - (end - first) + i
			}
			widths[f.Task] = append(widths[f.Task], w)
		}
	}
	return widths
}

// ResidualFloor returns delta*_F(N), the least that any encoder of that width can leave of the tasks in F.
//
//	delta*_F(N) = sum_{i > N} mu^F_i,   mu^F_1 >= mu^F_2 >= …  the eigenvalues of M_F = sum_{k in F} pi_k C_k
//
// frequent holds the task indices of F. Source: Sec. 3, Theorem 4 and what follows it.
func (m Mixture) ResidualFloor(frequent []int, width int) float64 {
	return tail(m.featuresOf(frequent), width)
}

// CriticalWidth returns the least width at which the first feature of task rare survives the gradients of the tasks in F.
//
//	N_crit = min { N : mu^F_N <= pi_r lambda_{r,1} },   mu^F_N = 0 beyond the rank of M_F
//
// Some reads <= with ties, as the paper does; Every is the same with <. A task in F that is rare itself is left out of
// F. Source: Sec. 3 (local stability of a rare rank-one feature).
func (m Mixture) CriticalWidth(rare int, frequent []int) Widths {
	u := m.Frequency[rare] * m.Spectrum[rare][0]
	w := Widths{Every: 1, Some: 1}
	for _, f := range m.featuresOf(frequent) {
		if f.Task == rare {
			continue
		}
		switch {
		case tied(f.Utility, u):
			w.Every++
		case f.Utility > u:
			w.Every++
			w.Some++
		}
	}
	return w
}

// NCrit returns the critical width of the rarest task in both readings of F: the frequent set at share 0.8 (the residual
// lines of Fig. 3, 15 and 19 are delta*_F at that width) and all other tasks (the width at which the rarest task appears).
func (m Mixture) NCrit() (frequent, others Widths) {
	rare := m.Rarest()
	return m.CriticalWidth(rare, m.Frequent(FrequentShare)), m.CriticalWidth(rare, m.Others(rare))
}

// FrequentFloor returns delta*_F(N_crit^F), the residual of the frequent tasks at which the rarest task's first feature becomes stable (the
// line of Fig. 3, 15 and 19), and N_crit against all other tasks.
func (m Mixture) FrequentFloor() (floor float64, others Widths) {
	frequent, others := m.NCrit()
	return m.ResidualFloor(m.Frequent(FrequentShare), frequent.Some), others
}
