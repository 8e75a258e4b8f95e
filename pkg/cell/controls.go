package cell

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"raretask/pkg/figure"
	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// Control is a mixture with one thing changed.
type Control struct {
	Name  string
	Sweep *spec.Sweep
}

// Controls returns what has to be run beside a mixture, all at its widths and seeds, before a rare task's failure is put down
// to interference: whether the net can express the task (alone), whether rarity matters (uniform frequencies), whether a
// solution is found but not kept (started from one), and what happens when the others' gradients are kept from
// overwriting (surgery, masked inputs where the net has such, a heavier loss); and the mixture at other rates. The rare task
// is the last one.
func Controls(s *spec.Sweep) []Control {
	base := s.Base
	rare, batch := base.Mixture.Tasks, base.Train.Batch
	start := base.Train.Steps / 6
	alone := spec.Injection{Task: rare, Gap: 1, Samples: batch}
	solved := alone
	solved.Until = start
	changes := []struct {
		name string
		axes []spec.Axis
	}{
		{"mixture", nil},
		{"rare task alone", []spec.Axis{spec.Vary("train.injection", alone)}},
		{"uniform frequencies", []spec.Axis{spec.Vary("mixture.frequency.exponent", 0.)}},
		{"mixture, from a solution of the rare task", []spec.Axis{spec.Vary("train.injection", solved), spec.Vary("train.steps", base.Train.Steps+start)}},
		{"mixture, gradient surgery", []spec.Axis{spec.Vary("train.intervention", spec.Intervention{Kind: "surgery", Task: rare})}},
		{"mixture, others masked on the rare inputs", []spec.Axis{spec.Vary("train.intervention", spec.Intervention{Kind: "mask", Task: rare})}},
		{"mixture, rare loss counts 8 times", []spec.Axis{spec.Vary("train.intervention", spec.Intervention{Kind: "weight", Task: rare, Factor: 8})}},
		{"mixture, a third of the rate", []spec.Axis{spec.Vary("train.rate", base.Train.Rate/3)}},
		{"mixture, three times the rate", []spec.Axis{spec.Vary("train.rate", base.Train.Rate*3)}},
	}
	var controls []Control
	for _, c := range changes {
		changed, err := s.With(c.axes...)
		if c.name == "mixture, others masked on the rare inputs" && base.Net.Kind != "bottleneck" {
			continue // inputs of several tasks can't be masked for one
		}
		Check(err)
		changed.Name = c.name
		controls = append(controls, Control{c.name, changed})
	}
	return controls
}

// ControlTable trains what is missing of the controls and displays the rare task's measure at the end by width: mean and half
// width of the 95% interval over seeds. of picks the measure; unit names it.
func ControlTable(controls []Control, unit string, of func(results.Row) float64) {
	byControl := make([]map[int32][]float64, len(controls))
	widths := map[int32]bool{}
	for i, c := range controls {
		byControl[i] = map[int32][]float64{}
		for _, r := range Run(c.Sweep) {
			if r.Step == r.Steps && r.Task == r.Tasks {
				byControl[i][r.Width] = append(byControl[i][r.Width], of(r))
				widths[r.Width] = true
			}
		}
	}
	headers := []string{unit}
	ordered := slices.Sorted(maps.Keys(widths))
	for _, w := range ordered {
		headers = append(headers, fmt.Sprintf("N = %d", w))
	}
	var table [][]any
	for i, c := range controls {
		row := []any{c.Name}
		for _, w := range ordered {
			row = append(row, Interval(byControl[i][w]))
		}
		table = append(table, row)
	}
	Table(headers, table)
}

// Interval writes the mean over seeds and the half width of its 95% interval.
func Interval(seeds []float64) string {
	mean, half, n := figure.Estimate(seeds)
	switch n {
	case 0:
		return "missing"
	case 1:
		return fmt.Sprintf("%.3f", mean)
	}
	return fmt.Sprintf("%.3f ± %.3f", mean, half)
}

// Median writes the median over seeds, of numbers that may be infinite.
func Median(seeds []float64) string {
	var present []float64
	for _, v := range seeds {
		if !math.IsNaN(v) {
			present = append(present, v)
		}
	}
	if len(present) == 0 {
		return "missing"
	}
	slices.Sort(present)
	return fmt.Sprintf("%.0f", present[len(present)/2])
}

// Claim is a statement about a number that every seed gives once, with the rule that judges it.
type Claim struct {
	Name    string
	Seeds   []float64
	Minimum float64 // effect that the whole interval must exceed
}

// Verdict applies the rule: supported when the 95% interval over seeds lies above the minimum effect, not supported when it lies
// below, else inconclusive; fewer than five seeds are always inconclusive.
func (c Claim) Verdict() string {
	mean, half, n := figure.Estimate(c.Seeds)
	switch {
	case n < 5:
		return "inconclusive"
	case mean-half > c.Minimum:
		return "supported"
	case mean+half < c.Minimum:
		return "not supported"
	}
	return "inconclusive"
}

// Claims displays claims with estimate, interval and verdict.
func Claims(claims ...Claim) {
	var table [][]any
	for _, c := range claims {
		_, _, n := figure.Estimate(c.Seeds)
		table = append(table, []any{c.Name, Interval(c.Seeds), c.Minimum, n, c.Verdict()})
	}
	Table([]string{"claim", "effect", "minimum", "seeds", "verdict"}, table)
}
