package claims

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/mathext"

	"raretask/pkg/results"
	"raretask/pkg/scaling"
	"raretask/pkg/spec"
)

// resamples is how many bootstrap samples of the seeds an interval takes.
const resamples = 2000

// NeedBits checks and loads runs, which may differ in width, for analyses of what coded tasks of one bit have learned. It returns an
// error where tasks are not coded, or where what there is to learn of one is not one bit.
func NeedBits(runs results.Runs) error {
	if err := runs.Need(results.Design{Vary: []string{"net.width"}, Columns: []string{"loss_sampled"}}); err != nil {
		return err
	}
	m := runs[0].Mixture
	family, err := m.Settings.Family(m.Tasks)
	if err != nil {
		return err
	}
	of := family.Signature()
	if other := slices.ContainsFunc(family.Baseline(), func(v float64) bool { return v != 1 }); other || of.Unit != "bits" || !of.Coded {
		return fmt.Errorf("claims: runs of mixture.family %s, with a loss in %s: want coded tasks whose best constant costs one bit each",
			m.Family, of.Unit)
	}
	return nil
}

// Bits is a loss of the mixture in bits, of a run at the i-th of its steps.
type Bits func(r *results.Run, i int) float64

// MixtureBits is the sum over tasks of frequency times loss.
func MixtureBits(r *results.Run, i int) float64 {
	sum := 0.
	for k, pi := range r.Mixture.Frequencies() {
		sum += pi * Value(r, "loss_sampled", i, k+1)
	}
	return sum
}

// Beyond returns the share of an endless list of tasks, p_k proportional to k^-(alpha+1), that lies beyond the K of a mixture.
func Beyond(m spec.Mixture) float64 {
	exponent, here := m.Frequency.Exponent, 0. // sum of k^-(alpha+1) over the tasks that there are
	for k := range m.Tasks {
		here += math.Pow(float64(k+1), -exponent)
	}
	beyond := mathext.Zeta(exponent, float64(m.Tasks+1))
	return beyond / (here + beyond)
}

// EndlessBits is the loss of the mixture if its tasks went on without end, all beyond the K that were trained costing their full bit. A
// mixture of few tasks ends: its loss falls faster than a power once few are left to learn, which says nothing about the law.
func EndlessBits(r *results.Run, i int) float64 {
	beyond := Beyond(r.Mixture)
	return MixtureBits(r, i)*(1-beyond) + beyond
}

// LearningTime is when one run learned one task.
type LearningTime struct {
	Width, Task int
	Seed        uint32
	Frequency   float64
	Step        float64 // first evaluated step with a loss below .1 bit; the last step where there is none
	Censored    bool    // not learned: the time is longer than Step
}

// LearningTimes returns when each run learned each of its tasks of one bit, ordered by width, seed and task. Tasks that were not learned
// are there too, as censored; so are all that a run that diverged had not learned before.
func LearningTimes(runs results.Runs) ([]LearningTime, error) {
	if err := NeedBits(runs); err != nil {
		return nil, err
	}
	ordered := slices.Clone(runs)
	slices.SortStableFunc(ordered, func(a, b *results.Run) int {
		return cmp.Or(cmp.Compare(a.Net.Width, b.Net.Width), cmp.Compare(a.Train.Seed, b.Train.Seed))
	})
	var times []LearningTime
	for _, r := range ordered {
		for k, pi := range r.Mixture.Frequencies() {
			t := LearningTime{r.Net.Width, k + 1, r.Train.Seed, pi, float64(r.Train.Steps), true}
			for i, step := range r.Steps {
				if Value(r, "loss_sampled", i, k+1) < LearnedBits {
					t.Step, t.Censored = float64(step), false
					break
				}
			}
			times = append(times, t)
		}
	}
	return times, nil
}

// TimeLine fits time against frequency, censored times included.
func TimeLine(times []LearningTime) (scaling.Line, error) {
	var x, y []float64
	var censored []bool
	for _, t := range times {
		x, y, censored = append(x, t.Frequency), append(y, t.Step), append(censored, t.Censored)
	}
	return scaling.Censored(x, y, censored)
}

// curve is a loss of the mixture of one seed against width or step.
type curve struct{ x, y []float64 }

func (c *curve) add(x, y float64) { c.x, c.y = append(c.x, x), append(c.y, y) }

// againstWidth returns the final loss against width, a curve for each seed.
func againstWidth(runs results.Runs, of Bits) []curve {
	seeds, _ := results.By(runs, results.Seed)
	curves := make([]curve, len(seeds))
	for _, r := range runs {
		curves[slices.Index(seeds, r.Train.Seed)].add(float64(r.Net.Width), of(r, r.Last()))
	}
	return curves
}

// againstStep returns the loss over training, a curve for each run.
func againstStep(runs results.Runs, of Bits) []curve {
	curves := make([]curve, len(runs))
	for _, step := range CommonSteps(runs) {
		for i, r := range runs {
			at, _ := r.Index(step)
			curves[i].add(float64(step), of(r, at))
		}
	}
	return curves
}

// CommonSteps returns the steps at which all runs were evaluated: a mean over some of the seeds is no step of a curve.
func CommonSteps(runs results.Runs) []int {
	return slices.DeleteFunc(slices.Clone(runs[0].Steps), func(step int) bool {
		return slices.ContainsFunc(runs, func(r *results.Run) bool { _, found := r.Index(step); return !found })
	})
}

// widthLine fits the final losses of all seeds against width.
func widthLine(seeds []curve) (scaling.Line, error) {
	var all curve
	for _, c := range seeds {
		all.x, all.y = append(all.x, c.x...), append(all.y, c.y...)
	}
	return scaling.PowerLaw(all.x, all.y)
}

// stepLine fits the loss over training, averaged over seeds, from the first evaluation at which it is below Left.
func stepLine(seeds []curve) (scaling.Line, error) {
	var from curve
	for i, at := range seeds[0].x {
		mean := 0.
		for _, c := range seeds {
			mean += c.y[i] / float64(len(seeds))
		}
		if len(from.x) > 0 || mean < Left {
			from.add(at, mean)
		}
	}
	return scaling.PowerLaw(from.x, from.y)
}

// WidthLine fits a power law to the final losses of runs of several widths; an error where one failed. Runs must have passed NeedBits.
func WidthLine(runs results.Runs, of Bits) (scaling.Line, error) {
	return widthLine(againstWidth(runs, of))
}

// Exponent is a measured exponent, and what others found or predict.
type Exponent struct {
	Name                string
	Estimate, Low, High float64 // with the bootstrap's 95% interval over seeds
	Published, Theory   float64
	About               string
}

// Exponents returns the exponents of a sweep over widths of coded tasks of one bit: of loss against width and over training, and of the
// time to learn a task against its frequency. Published values are those of the full scale, at alpha .4 (arXiv 2303.13506, Sec. 3 and
// App. A); the theory's are its quantization model's. What can't be fitted, for example because a run failed, is NaN, and About says why.
func Exponents(runs results.Runs) ([]Exponent, error) {
	if err := NeedBits(runs); err != nil {
		return nil, err
	}
	if f := runs[0].Mixture.Frequency; f.Law != "power" {
		return nil, fmt.Errorf("claims: frequencies by the law %q: want a power law, whose exponent the others follow", f.Law)
	}
	widths, byWidth := results.By(runs, results.Width)
	widest := byWidth[widths[len(widths)-1]]
	seeds, _ := results.By(runs, results.Seed)
	if len(widest) != len(seeds) {
		return nil, fmt.Errorf("claims: %d runs of the largest width, %d, for %d seeds: want one of each",
			len(widest), widest[0].Net.Width, len(seeds))
	}
	slices.SortFunc(widest, func(a, b *results.Run) int { return cmp.Compare(a.Train.Seed, b.Train.Seed) })
	times, err := LearningTimes(widest)
	if err != nil {
		return nil, err
	}
	bySeed := slices.Collect(slices.Chunk(times, runs[0].Mixture.Tasks))
	list := exponents(runs[0].Mixture.Frequency.Exponent-1, fmt.Sprintf("width %d", widest[0].Net.Width))
	fits := []func(chosen []int) (scaling.Line, error){
		through(againstWidth(runs, MixtureBits), widthLine), through(againstWidth(runs, EndlessBits), widthLine),
		through(againstStep(widest, MixtureBits), stepLine), through(againstStep(widest, EndlessBits), stepLine),
		func(chosen []int) (scaling.Line, error) {
			return TimeLine(slices.Concat(xslices.Gather(bySeed, chosen)...))
		},
	}
	for i, fit := range fits {
		line, err := fit(xslices.Iota(0, len(seeds)))
		if err != nil {
			list[i].Estimate, list[i].Low, list[i].High = math.NaN(), math.NaN(), math.NaN()
			list[i].About += "; not fitted: " + err.Error()
			continue
		}
		list[i].Estimate = line.Slope
		random := rand.New(rand.NewPCG(1, uint64(i)))
		list[i].Low, list[i].High = scaling.Bootstrap(len(seeds), resamples, random, func(chosen []int) (float64, error) {
			line, err := fit(chosen)
			return line.Slope, err
		})
	}
	return list, nil
}

// exponents returns what is known of the exponents without runs, in the order of their fits; over names the runs of those over training.
func exponents(alpha float64, over string) []Exponent {
	const endless = ", tasks beyond the last one counted as not learned"
	width, from := "all widths, last step", fmt.Sprintf("%s, from %.2g bit on", over, Left)
	return []Exponent{
		{Name: "loss against width", Published: -.378, Theory: -alpha, About: width},
		{Name: "loss against width" + endless, Published: -.378, Theory: -alpha, About: width},
		{Name: "loss over training", Published: -.346, Theory: -alpha / (1 + alpha), About: from},
		{Name: "loss over training" + endless, Published: -.346, Theory: -alpha / (1 + alpha), About: from},
		{Name: "time to learn against frequency", Published: -.81, Theory: -1, About: over + ", tasks not learned are censored (Tobit)"},
	}
}

// through returns the fit of chosen seeds' curves.
func through(seeds []curve, line func([]curve) (scaling.Line, error)) func(chosen []int) (scaling.Line, error) {
	return func(chosen []int) (scaling.Line, error) { return line(xslices.Gather(seeds, chosen)) }
}
