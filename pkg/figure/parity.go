package figure

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mathext"

	"raretask/pkg/results"
	"raretask/pkg/scaling"
)

// learnedBits is the loss below which a parity counts as learned (Michaud et al. 2023, arXiv 2303.13506).
const learnedBits = .1

// resamples is how many bootstrap samples of the seeds an interval takes.
const resamples = 2000

func bits(r results.Row) float64      { return results.Value(r.Sampled) }
func seed(r results.Row) int64        { return r.Seed }
func step(r results.Row) int32        { return r.Step }
func frequency(r results.Row) float64 { return r.Frequency }

// ofParity returns an error unless rows are of multitask sparse parity, run to their end.
func ofParity(rows []results.Row) error {
	if _, err := final(rows); err != nil {
		return err
	}
	first := rows[0]
	for _, r := range rows {
		if r.Family != "parity" {
			return fmt.Errorf("figure: rows of family %q: want parity", r.Family)
		}
		if r.Tasks != first.Tasks || r.Beta != first.Beta || r.Rate != first.Rate || r.Depth != first.Depth || r.Param != first.Param || r.Steps != first.Steps {
			return fmt.Errorf("figure: rows of several parity sweeps where one is drawn: select by tasks, beta, rate, depth, parameterization and steps first")
		}
	}
	return nil
}

// A mixtureLoss gives the loss of the mixture in bits of each seed in ascending order; rows are of one width and step.
type mixtureLoss func(rows []results.Row) []float64

// mixtureBits is the sum over tasks of frequency times loss.
func mixtureBits(rows []results.Row) []float64 {
	var losses []float64
	seeds, bySeed := groups(rows, seed)
	for _, s := range seeds {
		sum := 0.
		for _, r := range bySeed[s] {
			sum += r.Frequency * bits(r)
		}
		losses = append(losses, sum)
	}
	return losses
}

// endlessBits is the loss of the mixture if its tasks went on without end, p_k proportional to k^-(alpha+1), all beyond the K that
// were trained costing their full bit. A mixture of few tasks ends: its loss falls faster than a power once few are left to learn,
// which says nothing about the law.
func endlessBits(rows []results.Row) []float64 {
	losses := mixtureBits(rows)
	here := 0. // sum of k^-(alpha+1) over the tasks that there are
	for k := range rows[0].Tasks {
		here += math.Pow(float64(k+1), -rows[0].Beta)
	}
	beyond := mathext.Zeta(rows[0].Beta, float64(rows[0].Tasks+1))
	for i := range losses {
		losses[i] = (losses[i]*here + beyond) / (here + beyond)
	}
	return losses
}

// LearningTime is when one run learned one task.
type LearningTime struct {
	Width, Task, Seed int
	Frequency         float64
	Step              float64 // first evaluated step with a loss below .1 bit; the last step where there is none
	Censored          bool    // not learned: the time is longer than Step
}

// LearningTimes returns when each run of a parity sweep learned each task, ordered by width, seed and task. Tasks that were
// not learned are there too, as censored.
func LearningTimes(rows []results.Row) ([]LearningTime, error) {
	if err := ofParity(rows); err != nil {
		return nil, err
	}
	var times []LearningTime
	widths, byWidth := groups(rows, width)
	for _, w := range widths {
		seeds, bySeed := groups(byWidth[w], seed)
		for _, s := range seeds {
			tasks, byTask := groups(bySeed[s], task)
			for _, k := range tasks {
				last := byTask[k][0]
				t := LearningTime{int(w), int(k), int(s), last.Frequency, float64(last.Steps), true}
				for _, r := range byTask[k] {
					if bits(r) < learnedBits && float64(r.Step) <= t.Step {
						t.Step, t.Censored = float64(r.Step), false
					}
				}
				times = append(times, t)
			}
		}
	}
	return times, nil
}

// timeLine fits time against frequency, censored times included.
func timeLine(times []LearningTime) (scaling.Line, error) {
	var x, y []float64
	var censored []bool
	for _, t := range times {
		x, y, censored = append(x, t.Frequency), append(y, t.Step), append(censored, t.Censored)
	}
	return scaling.Censored(x, y, censored)
}

// curve is the loss of the mixture of one seed against width or step.
type curve struct{ x, y []float64 }

// curves returns the loss of the mixture of each seed against a key of rows, all seeds at the same keys.
func curves(rows []results.Row, key func(results.Row) int32, of mixtureLoss) []curve {
	seeds, _ := groups(rows, seed)
	all := make([]curve, len(seeds))
	keys, by := groups(rows, key)
	for _, k := range keys {
		for i, loss := range of(by[k]) {
			all[i].x, all[i].y = append(all[i].x, float64(k)), append(all[i].y, loss)
		}
	}
	return all
}

// widthLine fits the final losses of all seeds against width.
func widthLine(seeds []curve) (scaling.Line, error) {
	var all curve
	for _, c := range seeds {
		all.x, all.y = append(all.x, c.x...), append(all.y, c.y...)
	}
	return scaling.PowerLaw(all.x, all.y)
}

// stepLine fits the loss over training, averaged over seeds, from the first evaluation at which a quarter of the initial bit is gone.
func stepLine(seeds []curve) (scaling.Line, error) {
	var from curve
	for i, at := range seeds[0].x {
		mean := 0.
		for _, c := range seeds {
			mean += c.y[i] / float64(len(seeds))
		}
		if len(from.x) > 0 || mean < .75 {
			from.x, from.y = append(from.x, at), append(from.y, mean)
		}
	}
	return scaling.PowerLaw(from.x, from.y)
}

// Exponent is a measured exponent of multitask sparse parity, and what others found or predict.
type Exponent struct {
	Name                string
	Estimate, Low, High float64 // with the bootstrap's 95% interval over seeds
	Published, Theory   float64
	About               string
}

// ParityExponents returns the exponents of a parity sweep: of loss against width and over training, and of the time to learn a
// task against its frequency. Published values are those of the full scale, at alpha .4 (arXiv 2303.13506, Sec. 3 and App. A);
// the theory's are its quantization model's. What can't be fitted is NaN, and About says why.
func ParityExponents(rows []results.Row) ([]Exponent, error) {
	if err := ofParity(rows); err != nil {
		return nil, err
	}
	last, _ := final(rows)
	widths, byWidth := groups(rows, width)
	widest := byWidth[widths[len(widths)-1]]
	times, err := LearningTimes(widest)
	if err != nil {
		return nil, err
	}
	alpha := rows[0].Beta - 1
	name := fmt.Sprintf("width %d", widths[len(widths)-1])
	const endless = ", tasks beyond the last one counted as not learned"
	list := []Exponent{
		{Name: "loss against width", Published: -.378, Theory: -alpha, About: "all widths, last step"},
		{Name: "loss against width" + endless, Published: -.378, Theory: -alpha, About: "all widths, last step"},
		{Name: "loss over training", Published: -.346, Theory: -alpha / (1 + alpha), About: name + ", from .75 bit on"},
		{Name: "loss over training" + endless, Published: -.346, Theory: -alpha / (1 + alpha), About: name + ", from .75 bit on"},
		{Name: "time to learn against frequency", Published: -.81, Theory: -1, About: name + ", tasks not learned are censored (Tobit)"},
	}
	seeds, _ := groups(widest, seed)
	through := func(seeds []curve, line func([]curve) (scaling.Line, error)) func([]int) (scaling.Line, error) {
		return func(chosen []int) (scaling.Line, error) { return line(pick(seeds, chosen)) }
	}
	bySeed := make([][]LearningTime, len(seeds))
	for _, t := range times {
		i := slices.Index(seeds, int64(t.Seed))
		bySeed[i] = append(bySeed[i], t)
	}
	fits := []func(chosen []int) (scaling.Line, error){
		through(curves(last, width, mixtureBits), widthLine), through(curves(last, width, endlessBits), widthLine),
		through(curves(widest, step, mixtureBits), stepLine), through(curves(widest, step, endlessBits), stepLine),
		func(chosen []int) (scaling.Line, error) { return timeLine(slices.Concat(pick(bySeed, chosen)...)) },
	}
	all := make([]int, len(seeds))
	for i := range all {
		all[i] = i
	}
	for i, fit := range fits {
		line, err := fit(all)
		if err != nil {
			list[i].Estimate, list[i].Low, list[i].High = math.NaN(), math.NaN(), math.NaN()
			list[i].About += "; not fitted: " + err.Error()
			continue
		}
		list[i].Estimate = line.Slope
		list[i].Low, list[i].High = scaling.Bootstrap(len(seeds), resamples, rand.New(rand.NewPCG(1, uint64(i))), func(chosen []int) (float64, error) {
			line, err := fit(chosen)
			return line.Slope, err
		})
	}
	return list, nil
}

// pick returns the chosen ones.
func pick[T any](all []T, chosen []int) []T {
	picked := make([]T, len(chosen))
	for n, i := range chosen {
		picked[n] = all[i]
	}
	return picked
}

// ParityOrder draws what is learned when, and by which width: the loss of some tasks over training at the largest width, and the
// final loss of every task at every width, averaged over seeds.
func ParityOrder(rows []results.Row) (Figure, error) {
	if err := ofParity(rows); err != nil {
		return Figure{}, err
	}
	last, _ := final(rows)
	widths, byWidth := groups(rows, width)
	widest := widths[len(widths)-1]
	tasks, byTask := groups(later(byWidth[widest]), task)
	over := Panel{Title: fmt.Sprintf("over training, width %d", widest), X: Axis{Label: "training step", Log: true}, Y: Axis{Label: "loss of the task (bits)", Min: 0, Max: 1.1}}
	shown := slices.DeleteFunc([]int32{1, 2, 3, 5, 8, 12, 17, 24, 50, 100, 200, 500}, func(k int32) bool { return int(k) > len(tasks) })
	for i, k := range shown {
		over.Layers = append(over.Layers, trajectory(fmt.Sprintf("task %d", k), Ordered(i, len(shown)), byTask[k], bits)...)
	}
	over.Layers = append(over.Layers, Layer{Kind: Rule, Name: "learned", Color: Black, Dashed: true, Y: []float64{learnedBits}})
	heat := Layer{Kind: Heat, ValueLabel: "loss (bits)", ValueMin: 0, ValueMax: 1}
	var seeds []float64
	_, lastByWidth := groups(last, width)
	for _, w := range widths {
		_, byTask := groups(lastByWidth[w], task)
		for _, k := range tasks {
			mean, _, n := interval(values(byTask[k], bits))
			heat.X, heat.Y, heat.Value, seeds = append(heat.X, float64(w)), append(heat.Y, float64(k)), append(heat.Value, mean), append(seeds, float64(n))
		}
	}
	heat.Fields = []Field{{"seeds", seeds}}
	return Figure{Name: "parity-order", Title: "Sparse parity: frequent tasks first, rare ones only by wide nets",
		Caption: "Left: each task falls from one bit to zero in its turn; bands are 95% intervals over seeds. Right: at the end of training, narrow nets hold only the frequent tasks.",
		Panels: []Panel{over, {Title: "at the end, by width", X: Axis{Label: "width N (neurons)", Log: true},
			Y: Axis{Label: "task (1 = most frequent)"}, Layers: []Layer{heat}}},
		Columns: 2}, nil
}

// later leaves out the first half percent of training, in which nothing is learned.
func later(rows []results.Row) []results.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r results.Row) bool { return r.Step == 0 || 200*r.Step < r.Steps })
}

// ParityTimes draws the time to learn a task against its frequency, by width, with the line of the largest width. Tasks that were
// not learned stand at the last step: their time is longer.
func ParityTimes(rows []results.Row) (Figure, error) {
	times, err := LearningTimes(rows)
	if err != nil {
		return Figure{}, err
	}
	widths, byWidth := groups(rows, width)
	widest := int(widths[len(widths)-1])
	f := Figure{Name: "parity-times", Title: "Time to learn a task against its frequency", Columns: 2,
		Caption: "Each point is one task of one seed: the first step with a loss below .1 bit. At the top, in orange: tasks that were not learned, which the line (Tobit) counts as later than the last step. Right: how many tasks each width has learned when training ends, mean over seeds with 95% intervals."}
	left := Panel{Title: fmt.Sprintf("width %d", widest), X: Axis{Label: "frequency of the task", Log: true}, Y: Axis{Label: "training steps until learned", Log: true}}
	learnt, missed := Layer{Kind: Points, Name: "learned", Color: 0}, Layer{Kind: Points, Name: "not learned by the end", Color: 1}
	var own []LearningTime
	var fields [2][2][]float64
	for _, t := range times {
		if t.Width != widest {
			continue
		}
		own = append(own, t)
		layer, at := &learnt, 0
		if t.Censored {
			layer, at = &missed, 1
		}
		layer.X, layer.Y = append(layer.X, t.Frequency), append(layer.Y, t.Step)
		fields[at][0], fields[at][1] = append(fields[at][0], float64(t.Task)), append(fields[at][1], float64(t.Seed))
	}
	learnt.Fields = []Field{{"task", fields[0][0]}, {"seed", fields[0][1]}}
	missed.Fields = []Field{{"task", fields[1][0]}, {"seed", fields[1][1]}}
	left.Layers = []Layer{learnt, missed}
	if line, err := timeLine(own); err == nil {
		fit := Layer{Kind: Line, Name: fmt.Sprintf("slope %.2f", line.Slope), Color: Black}
		fit.X, _ = groups(byWidth[int32(widest)], frequency)
		for _, x := range fit.X {
			fit.Y = append(fit.Y, line.At(x))
		}
		left.Layers = append(left.Layers, fit)
	}
	held := Layer{Kind: Points, Name: "learned", Color: 0}
	for _, w := range widths {
		counts := map[int]float64{}
		for _, t := range times {
			if t.Width == int(w) {
				counts[t.Seed] += 0
				if !t.Censored {
					counts[t.Seed]++
				}
			}
		}
		mean, half, _ := interval(slices.Sorted(maps.Values(counts)))
		held.X, held.Y, held.Low, held.High = append(held.X, float64(w)), append(held.Y, mean), append(held.Low, mean-half), append(held.High, mean+half)
	}
	right := Panel{Title: "every width", X: Axis{Label: "width N (neurons)", Log: true}, Y: Axis{Label: "tasks learned by the end"}, Layers: []Layer{held}}
	f.Panels = []Panel{left, right}
	return f, nil
}

// ParityLoss draws the loss of the mixture against width, with 95% intervals over seeds and the fitted power law, and over training
// at every width.
func ParityLoss(rows []results.Row) (Figure, error) {
	if err := ofParity(rows); err != nil {
		return Figure{}, err
	}
	last, _ := final(rows)
	over := Panel{Title: "over training", X: Axis{Label: "training step", Log: true}, Y: Axis{Label: "loss of the mixture (bits)", Log: true}}
	against := Panel{Title: "at the end", X: Axis{Label: "width N (neurons)", Log: true}, Y: over.Y}
	for i, of := range []mixtureLoss{mixtureBits, endlessBits} {
		points := meanBits(last, width, of)
		points.Kind, points.Color = Points, []int{1, 0}[i]
		points.Name = []string{fmt.Sprintf("%d tasks", rows[0].Tasks), "endless tasks"}[i]
		against.Layers = append(against.Layers, points)
		if line, err := widthLine(curves(last, width, of)); err == nil {
			fit := Layer{Kind: Line, Name: fmt.Sprintf("slope %.2f", line.Slope), Color: points.Color, Dashed: true, X: points.X}
			for _, x := range points.X {
				fit.Y = append(fit.Y, line.At(x))
			}
			against.Layers = append(against.Layers, fit)
		}
	}
	widths, byWidth := groups(rows, width)
	for i, w := range widths {
		line := meanBits(later(byWidth[w]), step, mixtureBits)
		line.Kind, line.Name, line.Color = Line, fmt.Sprintf("N = %d", w), Ordered(i, len(widths))
		band := line
		band.Kind, band.Y, line.Low, line.High = Band, nil, nil, nil
		over.Layers = append(over.Layers, band, line)
	}
	return Figure{Name: "parity-loss", Title: "Loss of the mixture against width and over training",
		Caption: "Frequency-weighted cross-entropy, geometric mean over seeds with 95% intervals. Endless tasks: as if ever rarer ones followed the last, none of them learned.",
		Panels:  []Panel{against, over}, Columns: 2}, nil
}

// meanBits returns the loss of the mixture by a key of rows: geometric means over seeds, with intervals.
func meanBits(rows []results.Row, key func(results.Row) int32, of mixtureLoss) Layer {
	var l Layer
	keys, by := groups(rows, key)
	for _, k := range keys {
		mean, low, high := geometric(of(by[k]))
		l.X, l.Y, l.Low, l.High = append(l.X, float64(k)), append(l.Y, mean), append(l.Low, low), append(l.High, high)
	}
	return l
}

// geometric returns the geometric mean of positive values and its 95% t interval, in which the values' logarithms count; without
// interval for one value.
func geometric(values []float64) (mean, low, high float64) {
	logs := make([]float64, len(values))
	for i, v := range values {
		logs[i] = math.Log(v)
	}
	m, half, n := interval(logs)
	if n == 1 {
		half = 0
	}
	return math.Exp(m), math.Exp(m - half), math.Exp(m + half)
}
