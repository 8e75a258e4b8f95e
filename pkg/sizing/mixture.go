// Package sizing answers what people who size models and mix data ask: which tasks a size will learn, which size or frequency a task
// needs, whether more data would do, and what a change of the mixture buys. Every answer has an interval and says whether it is a
// prediction, inside of what was measured and checked by leaving out, or a projection beyond it.
//
// Of linear bottlenecks theory says it (arXiv 2605.29548, Sec. 3: Thm 3, Prop. 6), of other nets a threshold in size and frequency that is
// fitted to runs, of other people's runs their learning curves and tables.
package sizing

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"raretask/pkg/theory"
)

// Mixture is a mixture of regression tasks on one shared bottleneck, of which theory says what a width keeps. Tasks count from 0.
type Mixture struct{ theory.Mixture }

// Verdict is what becomes of a task at a width.
type Verdict struct {
	Task, Width int
	Frequency   float64
	Features    int     // directions that every best encoder keeps
	Learned     bool    // the first is kept
	Low, High   float64 // loss relative to nothing learned, over all best encoders
	// Margin is ln of the utility that decides, the task's first, over that which it competes with: above 0 it is kept. The nearer to 0, the
	// longer training takes to find out.
	Margin float64
}

// NearTie is the margin below which no training of practical length tells whether a task is kept: a tie.
const NearTie = .05

// Tied reports whether the verdict is one on a tie.
func (v Verdict) Tied() bool { return math.Abs(v.Margin) < NearTie }

// At returns the verdicts on all tasks at a width.
func (m Mixture) At(width int) []Verdict {
	features := m.Features()
	low, high := m.TaskLoss(width)
	fewest, _ := m.Retained(width)
	verdicts := make([]Verdict, m.Tasks())
	for k := range verdicts {
		v := Verdict{Task: k, Width: width, Frequency: m.Frequency[k], Features: fewest[k], Learned: fewest[k] > 0}
		v.Low, v.High = low[k]/m.TaskTrace(k), high[k]/m.TaskTrace(k)
		v.Margin = m.margin(features, k, 0, width)
		verdicts[k] = v
	}
	return verdicts
}

// margin is that of the j-th feature of task k at a width: against the width-th largest utility of all other features, which it must beat
// to stay.
func (m Mixture) margin(features []theory.Feature, k, j, width int) float64 {
	own := m.Frequency[k] * m.Spectrum[k][j]
	rank := 0
	for _, f := range features {
		if f.Task == k && f.Index == j {
			continue
		}
		if rank++; rank == width {
			return math.Log(own / f.Utility) // +Inf against a feature of no utility
		}
	}
	return math.Inf(1) // there is room for all
}

// SmallestWidth returns the least width at which every best encoder brings the loss of task k, relative to nothing learned, down to a
// target, and the number of its features that takes; an error where none does.
func (m Mixture) SmallestWidth(k int, target float64) (width, features int, err error) {
	if features, err = m.needs(k, target); err != nil || features == 0 {
		return 0, features, err
	}
	if m.Frequency[k] == 0 {
		return 0, 0, fmt.Errorf("sizing: task %d has frequency 0: no width learns it", k+1)
	}
	return m.NStar(features)[k].Every, features, nil
}

// needs returns how many features of task k a loss takes, relative to nothing learned.
func (m Mixture) needs(k int, target float64) (int, error) {
	if k < 0 || k >= m.Tasks() {
		return 0, fmt.Errorf("sizing: task %d: want 1 … %d", k+1, m.Tasks())
	}
	if !(target >= 0) {
		return 0, fmt.Errorf("sizing: target loss %g of task %d: want 0 … 1, relative to nothing learned: 0 is the floor", target, k+1)
	}
	left := m.TaskTrace(k)
	for j, lambda := range m.Spectrum[k] {
		if left <= (target+1e-12)*m.TaskTrace(k) {
			return j, nil
		}
		left -= lambda
	}
	return m.Block(), nil
}

// With returns the mixture in which task k has a frequency and the others share the rest as before.
func (m Mixture) With(k int, frequency float64) Mixture {
	rest := 1 - m.Frequency[k]
	all := make([]float64, m.Tasks())
	for i, f := range m.Frequency {
		if all[i] = f / rest * (1 - frequency); i == k {
			all[i] = frequency
		}
	}
	return Mixture{theory.Mixture{Frequency: all, Spectrum: m.Spectrum}}
}

// SmallestFrequency returns the frequency of task k above which a width keeps so many of its features, the others sharing the rest as they
// do: of the others' features at most width - features may be worth more. NaN where no frequency does.
func (m Mixture) SmallestFrequency(k, width, features int) float64 {
	switch {
	case features > width || features > m.Block() || m.Spectrum[k][features-1] == 0:
		return math.NaN()
	case m.Tasks() == 1:
		return 0
	}
	// p lambda > (1-p) w, w being the utility at a share of one of the others that must stay below.
	rest := 1 - m.Frequency[k]
	var others []float64
	for _, f := range m.Features() {
		if f.Task != k {
			others = append(others, f.Utility/rest)
		}
	}
	slices.SortFunc(others, func(a, b float64) int { return cmp.Compare(b, a) })
	at := width - features
	if at >= len(others) {
		return 0 // there is room for all
	}
	w := others[at]
	return w / (w + m.Spectrum[k][features-1])
}

// Cost is what a mixture in place of another takes from the tasks, at a width: losses relative to nothing learned, by the worst of the best
// encoders, and their sum by the frequencies of the first.
type Cost struct {
	Before, After []float64
	Common        float64 // sum of pi_k (after - before) of the tasks that lose
}

// CostOf returns the cost at a width of another mixture of the same tasks.
func (m Mixture) CostOf(other Mixture, width int) Cost {
	var c Cost
	before, after := m.At(width), other.At(width)
	for k := range before {
		c.Before, c.After = append(c.Before, before[k].High), append(c.After, after[k].High)
		c.Common += m.Frequency[k] * max(0, after[k].High-before[k].High)
	}
	return c
}

// Recommended is a mixture that reaches targets at the least width.
type Recommended struct {
	Mixture
	Width    int
	Features []int // of each task that the targets need
	// Margin is ln of the least utility that is needed over the largest that is not: how far from a tie.
	Margin float64
}

// Recommend returns the mixture in which all targets (losses relative to nothing learned; NaN: none) are reached by the least width: the
// sum of the features they need, which frequencies in inverse proportion to what stands between a task's last needed and first spare
// eigenvalue put above all others. Tasks without a target share what tasks with one leave them: a share of their old frequency so small
// that none of their features is in the way, or are left out of the count where they have room.
func (m Mixture) Recommend(targets []float64) (r Recommended, err error) {
	if len(targets) != m.Tasks() {
		return r, fmt.Errorf("sizing: %d targets for %d tasks: want one each, NaN for none", len(targets), m.Tasks())
	}
	weights := make([]float64, m.Tasks())
	r.Features = make([]int, m.Tasks())
	wanted := 0
	for k, target := range targets {
		if math.IsNaN(target) {
			continue
		}
		if wanted++; m.Frequency[k] == 0 {
			return r, fmt.Errorf("sizing: task %d has frequency 0: without samples no target is reached", k+1)
		}
		if r.Features[k], err = m.needs(k, target); err != nil {
			return r, err
		}
		r.Width += r.Features[k]
		weights[k] = 1 / m.between(k, r.Features[k])
	}
	if wanted == 0 || r.Width == 0 {
		return r, fmt.Errorf("sizing: no target that takes a feature: want a loss below 1, relative to nothing learned, of some task")
	}
	r.Mixture = Mixture{theory.Mixture{Frequency: m.beside(targets, weights), Spectrum: m.Spectrum}}
	r.Margin = r.marginOf(r.Features)
	return r, nil
}

// slack is by which factor the first eigenvalue of a task that needs no feature lies below what is needed.
const slack = 2

// between returns the geometric mean of the last of so many eigenvalues of task k and the next; without a next the last over slack.
func (m Mixture) between(k, features int) float64 {
	next := 0.
	if features < m.Block() {
		next = m.Spectrum[k][features]
	}
	switch {
	case features == 0:
		return slack * next
	case next == 0:
		return m.Spectrum[k][features-1] / slack
	}
	return math.Sqrt(m.Spectrum[k][features-1] * next)
}

// beside returns frequencies from the weights of tasks with a target; tasks without one keep their proportions as far as none is worth more
// than half of what is needed least, which is worth 1 or more here.
func (m Mixture) beside(targets, weights []float64) []float64 {
	scale := math.Inf(1)
	for k, target := range targets {
		if math.IsNaN(target) && m.Frequency[k] > 0 {
			scale = min(scale, 1/(slack*m.Frequency[k]*m.Spectrum[k][0]))
		}
	}
	sum := 0.
	for k, target := range targets {
		if math.IsNaN(target) && m.Frequency[k] > 0 {
			weights[k] = scale * m.Frequency[k]
		}
		sum += weights[k]
	}
	for k := range weights {
		weights[k] /= sum
	}
	return weights
}

// marginOf returns ln of the least needed utility over the largest other one.
func (m Mixture) marginOf(features []int) float64 {
	least, most := math.Inf(1), 0.
	for _, f := range m.Features() {
		if f.Index < features[f.Task] {
			least = min(least, f.Utility)
		} else {
			most = max(most, f.Utility)
		}
	}
	return math.Log(least / most)
}

// Late returns what a width keeps of task k in the end if all its samples come in the last share of training, as many as a constant
// frequency would have given it: the verdict of the mixture in which it is so much more frequent; the others are rarer then, and count the
// less. Of bursts there is no closed form: in trials they brought little over the constant frequency (Latenesses).
func (m Mixture) Late(k, width int, share float64) (Verdict, error) {
	p := m.Frequency[k] / share
	if !(share > 0 && share <= 1) || !(p < 1) {
		return Verdict{}, fmt.Errorf("sizing: task %d in the last %g of training: want a share above its frequency, %.3g, and at most 1", k+1,
			share,
			m.Frequency[k])
	}
	return m.With(k, p).At(width)[k], nil
}
