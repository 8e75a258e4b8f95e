package cell

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"

	"raretask/pkg/figure"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// Measure is a number of a row by which runs are compared.
type Measure struct {
	Name  string
	Of    func(results.Row) float64
	Lower bool // the lower the better
}

// RareSignal, RareLoss and MixtureLoss are what the control tables show: what the encoder keeps of the rarest task, exact, for bottlenecks; the
// rarest task's loss on fresh samples, for any net; the loss of the whole mixture with the best decoders, exact, for bottlenecks.
var (
	RareSignal  = Measure{"signal s_r of the rarest task", func(r results.Row) float64 { return results.Value(r.Signal) }, false}
	RareLoss    = Measure{"loss of the rarest task (1: nothing learned)", func(r results.Row) float64 { return results.Value(r.Sampled) }, true}
	MixtureLoss = Measure{"encoder loss of the whole mixture", func(r results.Row) float64 { return results.Value(r.Encoder) }, true}
)

// Control is a mixture with one thing changed.
type Control struct {
	Name   string
	Sweeps []*spec.Sweep // that differ in the learning rate; the best rate of each width counts
	Step   int           // at which it is looked at; 0: the end
}

// Controls returns what has to be run beside a mixture, all at its widths and seeds, before a rare task's failure is put down
// to interference: whether the net can express the task (alone), whether rarity matters (uniform frequencies), whether rate,
// parameterization or depth is to blame, whether a solution is found but not kept (started from one), and what happens when the
// others' gradients are kept from overwriting (surgery, masked inputs where tasks have their own, a heavier loss). The rare task is
// the last one.
func Controls(s *spec.Sweep) []Control {
	base := s.Base
	rare, batch, rate := base.Mixture.Tasks, base.Train.Batch, base.Train.Rate
	start := base.Train.Steps / 6
	solve := spec.Injection{Task: rare, Gap: 1, Samples: batch, Until: start}
	with := func(axes ...spec.Axis) []*spec.Sweep { return []*spec.Sweep{Must(s.With(axes...))} }
	intervene := func(kind string, factor float64) []*spec.Sweep {
		return with(spec.Vary("train.intervention", spec.Intervention{Kind: kind, Task: rare, Factor: factor}))
	}
	fromSolution := with(spec.Vary("train.injection", solve), spec.Vary("train.steps", base.Train.Steps+start))
	rates := spec.Vary("train.rate", rate/3, rate, rate*3)
	controls := []Control{
		{"rare task alone, a sixth of the steps", fromSolution, start},
		{"uniform frequencies", with(spec.Vary("mixture.frequency.exponent", 0.)), 0},
		{"mixture", with(), 0},
		{"mixture, best of three rates", append(with(), with(spec.Vary("train.rate", rate/3, rate*3))...), 0},
		{"mixture, muP, best of three rates", with(spec.Vary("net.parameterization", "mup"), spec.Vary("net.base", 32), rates), 0},
		{"mixture, from the solution of the first line", fromSolution, 0},
		{"mixture, gradient surgery", intervene("surgery", 0), 0},
		{"mixture, rare loss counts 8 times", intervene("weight", 8), 0},
	}
	if base.Mixture.Family == "regression" {
		controls = append(controls, Control{"mixture, others masked on the rare inputs", intervene("mask", 0), 0})
	}
	if base.Net.Kind == "mlp" {
		controls = append(controls, Control{"mixture, one more hidden layer, best of three rates", with(spec.Vary("net.depth", base.Net.Layers()+1), rates), 0})
	}
	for _, c := range controls {
		for _, sweep := range c.Sweeps {
			sweep.Name = c.Name
		}
	}
	return controls
}

// ControlTable trains what is missing of the controls and displays the rare task's measure by width: mean and half width of the 95%
// interval over seeds, with the rate where several were tried.
func ControlTable(controls []Control, m Measure) {
	byControl := make([]map[int32]best, len(controls))
	widths := map[int32]bool{}
	for i, c := range controls {
		byControl[i] = bestOf(c, m)
		for w := range byControl[i] {
			widths[w] = true
		}
	}
	headers := []string{m.Name}
	ordered := slices.Sorted(maps.Keys(widths))
	for _, w := range ordered {
		headers = append(headers, fmt.Sprintf("N = %d", w))
	}
	var table [][]any
	for i, c := range controls {
		row := []any{c.Name}
		for _, w := range ordered {
			row = append(row, byControl[i][w])
		}
		table = append(table, row)
	}
	Table(headers, table)
}

// best is a measure of a width at the rate that is best for it, a number for each seed.
type best struct {
	rate            float64
	lowest, highest float64 // rate tried
	seeds           []float64
}

// String says so where the best rate may lie beyond those that were tried.
func (b best) String() string {
	text := Interval(b.seeds)
	switch {
	case b.lowest == b.highest:
		return text
	case b.rate == b.lowest:
		return fmt.Sprintf("%s (rate ≤ %.2g)", text, b.rate)
	case b.rate == b.highest:
		return fmt.Sprintf("%s (rate ≥ %.2g)", text, b.rate)
	}
	return fmt.Sprintf("%s (rate %.2g)", text, b.rate)
}

// bestOf trains what is missing of a control and returns each width's measure of the last task.
func bestOf(c Control, m Measure) map[int32]best {
	type run struct {
		width int32
		rate  float64
		seed  int64
	}
	at := map[run]results.Row{} // the last evaluation that counts
	for _, sweep := range c.Sweeps {
		for _, r := range Run(sweep) {
			key := run{r.Width, r.Rate, r.Seed}
			if r.Task == r.Tasks && (c.Step == 0 || int(r.Step) <= c.Step) && r.Step >= at[key].Step {
				at[key] = r
			}
		}
	}
	type setting struct {
		width int32
		rate  float64
	}
	seeds := map[setting][]float64{}
	for key, r := range at {
		seeds[setting{key.width, key.rate}] = append(seeds[setting{key.width, key.rate}], m.Of(r))
	}
	byWidth := map[int32]best{}
	for key, values := range seeds {
		slices.Sort(values) // the mean's last bit shall not depend on the order of a map
		mean, _, _ := figure.Estimate(values)
		before, found := byWidth[key.width]
		if !found {
			before.lowest, before.highest = key.rate, key.rate
		}
		was, _, _ := figure.Estimate(before.seeds)
		if better := mean > was && !m.Lower || mean < was && m.Lower; !found || better || math.IsNaN(was) || mean == was && key.rate < before.rate {
			before.rate, before.seeds = key.rate, values
		}
		before.lowest, before.highest = min(before.lowest, key.rate), max(before.highest, key.rate)
		byWidth[key.width] = before
	}
	return byWidth
}

// Depths trains what is missing and displays the last task's measure for the widths of a sweep of nets with one hidden layer, beside
// nets of other depths with as many weights: what depth does at equal parameters. Of several rates of the sweep the best one counts.
func Depths(s *spec.Sweep, m Measure, depths ...int) {
	wide := bestOf(Control{Sweeps: []*spec.Sweep{s}}, m)
	widths := slices.Sorted(maps.Keys(wide))
	headers := []string{m.Name, "1 hidden layer"}
	table := make([][]any, len(widths))
	for i, w := range widths {
		run := s.Base
		run.Net.Width = int(w)
		table[i] = []any{fmt.Sprintf("about %d weights", parameters(run)), fmt.Sprintf("N = %d: %v", w, wide[w])}
	}
	for _, depth := range depths {
		headers = append(headers, fmt.Sprintf("%d hidden layers", depth))
		var same []int
		for _, w := range widths {
			same = append(same, equalWidth(s.Base, int(w), depth))
		}
		deep := bestOf(Control{Sweeps: []*spec.Sweep{Must(s.With(spec.Vary("net.depth", depth), spec.Vary("net.width", same...)))}}, m)
		for i, w := range same {
			table[i] = append(table[i], fmt.Sprintf("N = %d: %v", w, deep[int32(w)]))
		}
	}
	Table(headers, table)
}

// parameters returns the number of a run's weights.
func parameters(run spec.Run) int { return Must(train.CostOf(spec.Stack{run})).Parameters }

// equalWidth returns the width at which a net of another depth has as many weights as the run has at a width, or the fewest more.
func equalWidth(run spec.Run, width, depth int) int {
	run.Net.Width = width
	want := parameters(run)
	run.Net.Depth = depth
	return 1 + sort.Search(width, func(n int) bool {
		run.Net.Width = n + 1
		return parameters(run) >= want
	})
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
