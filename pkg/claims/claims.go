// Package claims holds the analyses of results: estimates over seeds, comparisons, controls, and the verdicts on what is claimed, each
// from runs to values and errors (arXiv 2605.29548, Sec. 3-4; arXiv 2303.13506 for exponents). Every analysis states in which settings
// its runs may differ; a run that diverged or is missing counts as failed and is never averaged away.
package claims

import (
	"maps"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"raretask/pkg/results"
)

// Thresholds: what counts as learned, held or an effect, ours where no source stands. What a metric counts stands with the metric
// (allocation.Missed and Had), being part of what is measured.
const (
	// Learned is the share of a rank-one task's covariance above which it counts as learned (Fig 18 of arXiv 2605.29548).
	Learned = .5
	// HeldTolerance is by how much a signal may fall short of its first m eigenvalues' share for them to count as held.
	HeldTolerance = .05
	// LearnedBits is the loss below which a task of one bit counts as learned (arXiv 2303.13506).
	LearnedBits = .1
	// Left is the loss over training, in bits of one, below which a power law is fitted: a quarter of what there is to learn is gone.
	Left = .75
	// Present is the exact signal s_k below which a task counts as absent; Audible the learned share by samples that is more than their
	// noise: 256 of them leave an error of some hundredths.
	Present, Audible = .01, .1
	// FewestSeeds is how many seeds a verdict needs.
	FewestSeeds = 5
	// The least effects that count: of width on what is retained or learned, of the gap on what is retained and on what is learned
	// (shares of 1), and the power of width with which something falls.
	WidthEffect, RetainedEffect, LearnedEffect, PowerEffect = .1, .02, .05, .1
)

// Value returns a column of a run at the i-th of its steps, for a task from 1; NaN where it is missing, and once the run has diverged: a
// sampled loss of what is left of it is a number, too, but none of the net that was asked for.
func Value(r *results.Run, column string, i, task int) float64 {
	if r.Diverged >= 0 && r.Steps[i] >= r.Diverged {
		return math.NaN()
	}
	return r.Value(column, i, task)
}

// Final returns a column of a run at the end of training, as Value does.
func Final(r *results.Run, column string, task int) float64 { return Value(r, column, r.Last(), task) }

// Estimate is a mean over runs and its 95% t interval.
type Estimate struct {
	Mean      float64 // of the N values; NaN where there is none
	Low, High float64 // NaN where there are fewer than two
	N, Failed int     // how many values there are, and how many are missing or of diverged runs
}

// Interval returns the estimate over values, in which NaN is one that failed.
func Interval(values []float64) Estimate {
	present := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	e := Estimate{math.NaN(), math.NaN(), math.NaN(), len(present), len(values) - len(present)}
	if e.N > 0 {
		e.Mean = stat.Mean(present, nil)
	}
	if e.N > 1 {
		half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(e.N - 1)}.Quantile(.975) * stat.StdDev(present, nil) / math.Sqrt(float64(e.N))
		e.Low, e.High = e.Mean-half, e.Mean+half
	}
	return e
}

// Geometric returns the geometric mean of positive values and its interval, in which their logarithms count.
func Geometric(values []float64) Estimate {
	e := Interval(xslices.Map(values, math.Log))
	e.Mean, e.Low, e.High = math.Exp(e.Mean), math.Exp(e.Low), math.Exp(e.High)
	return e
}

// Median returns the median of the values that are there, some of which may be infinite, the upper of the two in the middle; NaN where none
// is.
func Median(values []float64) float64 {
	present := slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(values), math.IsNaN)))
	if len(present) == 0 {
		return math.NaN()
	}
	return present[len(present)/2]
}

// Over returns the estimate of a measure over runs.
func Over(runs results.Runs, of func(*results.Run) float64) Estimate {
	return Interval(xslices.Map(runs, of))
}

// better reports whether an estimate ranks before another: with fewer failures, else by the mean. An estimate of nothing ranks last.
func (e Estimate) better(than Estimate, lower bool) bool {
	switch {
	case e.N == 0 || than.N == 0:
		return e.N > 0
	case e.Failed != than.Failed:
		return e.Failed < than.Failed
	}
	return e.Mean != than.Mean && (e.Mean < than.Mean) == lower
}

// BySeed is a number of each seed; NaN where it failed.
type BySeed map[uint32]float64

// Values returns the numbers in the order of their seeds.
func (s BySeed) Values() []float64 {
	return xslices.Map(slices.Sorted(maps.Keys(s)), func(seed uint32) float64 { return s[seed] })
}

// Interval returns the estimate over seeds.
func (s BySeed) Interval() Estimate { return Interval(s.Values()) }

// Paired returns a - b for every seed of the two; NaN for a seed that one of them lacks.
func Paired(a, b BySeed) BySeed {
	d := BySeed{}
	for _, s := range []BySeed{a, b} {
		for seed := range s {
			x, first := a[seed]
			y, second := b[seed]
			if d[seed] = x - y; !first || !second {
				d[seed] = math.NaN()
			}
		}
	}
	return d
}

// Claim is a statement about a number that every seed gives once, with the rule that judges it.
type Claim struct {
	ID      string // what it is about, unique among claims made together
	Name    string // the statement
	Effect  BySeed
	Minimum float64 // effect that the whole interval must exceed
}

// Verdict applies the rule: supported when the 95% interval over seeds lies above the minimum effect, not supported when it lies
// below, else inconclusive; also with fewer than five seeds, and where a seed failed.
func (c Claim) Verdict() string {
	e := c.Effect.Interval()
	switch {
	case e.N < FewestSeeds || e.Failed > 0:
		return Inconclusive
	case e.Low > c.Minimum:
		return Supported
	case e.High < c.Minimum:
		return "not supported"
	}
	return Inconclusive
}
