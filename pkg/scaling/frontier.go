package scaling

import (
	"cmp"
	"math"
	"slices"
)

// Curve is the loss of one size over its training: D ascends, and all numbers are positive.
type Curve struct {
	N       float64
	D, Loss []float64
}

// At returns the loss after an amount of data, by interpolation in logarithms; NaN outside of the curve.
func (c Curve) At(d float64) float64 {
	i, found := slices.BinarySearch(c.D, d)
	switch {
	case found:
		return c.Loss[i]
	case i == 0 || i == len(c.D):
		return math.NaN()
	}
	t := math.Log(d/c.D[i-1]) / math.Log(c.D[i]/c.D[i-1])
	return math.Exp((1-t)*math.Log(c.Loss[i-1]) + t*math.Log(c.Loss[i]))
}

// covers reports whether the curve has a budget of C = 6ND.
func (c Curve) covers(budget float64) bool { return !math.IsNaN(c.At(budget / 6 / c.N)) }

// Reign is the longest stretch of budgets C = 6ND at which a size is the best of all that were measured there, and what it reaches in their
// (geometric) middle: a measured L_C(N).
type Reign struct {
	N, From, To float64
	D, Loss     float64
	Open        bool // it begins or ends where the size's own curve does: where it would end is not known
}

// budgets is at how many budgets a frontier is looked for.
const budgets = 2000

// Frontier returns the reigns of sizes, ascending; a size that is never the best has none.
func Frontier(curves []Curve) (all []Reign) {
	curves = slices.Clone(curves)
	slices.SortFunc(curves, func(a, b Curve) int { return cmp.Compare(a.N, b.N) })
	least, most := math.Inf(1), 0.
	for _, c := range curves {
		least, most = min(least, 6*c.N*c.D[0]), max(most, 6*c.N*c.D[len(c.D)-1])
	}
	budget := func(i int) float64 { return least * math.Pow(most/least, float64(i)/budgets) }
	first, last := make([]int, len(curves)), slices.Repeat([]int{-1}, len(curves)) // the longest stretch of each
	begin, before := 0, -1
	for i := range budgets + 1 {
		best, loss := -1, math.Inf(1)
		for j, c := range curves {
			if l := c.At(budget(i) / 6 / c.N); l < loss {
				best, loss = j, l
			}
		}
		if best != before {
			begin, before = i, best
		}
		if best >= 0 && (last[best] < 0 || i-begin >= last[best]-first[best]) {
			first[best], last[best] = begin, i
		}
	}
	for j, c := range curves {
		if last[j] < 0 {
			continue
		}
		r := Reign{N: c.N, From: budget(first[j]), To: budget(last[j])}
		r.D = math.Sqrt(r.From*r.To) / 6 / r.N
		r.Loss = c.At(r.D)
		r.Open = !c.covers(budget(first[j]-1)) || !c.covers(budget(last[j]+1))
		all = append(all, r)
	}
	return all
}
