package interference

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"
)

// Cycle is what became of a task's signal from one injection to the next.
//
//	Gain     = Peak - Before
//	Decay    = Peak - Next
//	Retained = Next / Peak; NaN where the peak is below present: there was nothing to retain
//	HalfLife = ln 2 / rate, the rate of exp(-rate·t) fitted by least squares to the logarithm of the signal from its peak
//	           on; +Inf where the signal doesn't fall, NaN where the peak is below present
//
// The optimizer's momentum carries an injection on for some steps, so the peak comes after it.
type Cycle struct {
	Begin, End, NextBegin int // steps done before the injection, after it, and before the next
	PeakStep              int
	Before, Peak, Next    float64
	Gain, Decay           float64
	Retained, HalfLife    float64
}

// Cycles returns the cycles that the evaluations of one run saw closely: those with a signal just before the injection, right after it,
// and just before the next. steps ascend; signal holds the task's signal s_k at each, which counts as absent below present. Injections
// end after from + gap, from + 2 gap, … steps and last length steps. Ratios need a signal that can't be negative, so cycles are of s_k
// and not of its normalised form, which puts a random encoder at zero and an absent task below.
func Cycles(steps []int, signal []float64, from, gap, length int, present float64) ([]Cycle, error) {
	if len(steps) != len(signal) || gap < 1 || length < 1 || length > gap {
		return nil, fmt.Errorf("interference: cycles of %d steps and %d signals, gap %d, length %d: want as many of both, and 1 <= length <= gap",
			len(steps), len(signal), gap, length)
	}
	at := map[int]int{}
	for i, s := range steps {
		if i > 0 && s <= steps[i-1] {
			return nil, fmt.Errorf("interference: step %d after step %d: want ascending steps", s, steps[i-1])
		}
		at[s] = i
	}
	var cycles []Cycle
	for i, end := range steps {
		if end <= from || (end-from)%gap != 0 {
			continue
		}
		c := Cycle{Begin: end - length, End: end, NextBegin: end + gap - length}
		before, seenBefore := at[c.Begin]
		next, seenNext := at[c.NextBegin]
		if !seenBefore || !seenNext || next < i {
			continue
		}
		c.fill(steps[i:next+1], signal[i:next+1], signal[before], present)
		cycles = append(cycles, c)
	}
	return cycles, nil
}

// fill computes a cycle from what was seen between its end and the next beginning.
func (c *Cycle) fill(steps []int, signal []float64, before, present float64) {
	c.Before, c.Peak, c.PeakStep, c.Next = before, signal[0], steps[0], signal[len(signal)-1]
	for i, s := range signal {
		if s > c.Peak {
			c.Peak, c.PeakStep = s, steps[i]
		}
	}
	c.Gain, c.Decay = c.Peak-c.Before, c.Peak-c.Next
	c.Retained, c.HalfLife = math.NaN(), math.NaN()
	if !(c.Peak >= present) {
		return
	}
	c.Retained = c.Next / c.Peak
	var t, logs []float64
	for i, s := range signal {
		if steps[i] >= c.PeakStep && s > 0 {
			t, logs = append(t, float64(steps[i])), append(logs, math.Log(s))
		}
	}
	c.HalfLife = math.Inf(1)
	if len(t) < 2 {
		return
	}
	if _, slope := stat.LinearRegression(t, logs, nil, false); slope < 0 {
		c.HalfLife = -math.Ln2 / slope
	}
}
