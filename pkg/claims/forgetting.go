package claims

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/results"
	"raretask/pkg/theory"
)

// Forgetting is how fast a net loses the first feature of a task while it is withheld, beside what theory says: rates, per step, at which
//
//	ln p/(1-p)
//
// falls, p the share of the feature that the encoder holds; means by seed.
type Forgetting struct {
	Beta       float64
	Width, Gap int
	Free       int // steps of a gap without an injection
	Kept       int // features of the task that every optimum of this width keeps; of one alone the theory is
	Measured   BySeed
	// Predicted is 4 eta mu_N/(O c²): mu_N theory.Restoring of the other tasks at their frequencies while this one is withheld, eta the rate,
	// O the outputs that the loss averages, c the norm of the rows that hold the feature, as measured.
	Predicted BySeed
	// Lagged is 4 eta/O times theory.Takeover instead of mu_N/c²: the newcomer's decoder has to grow, too.
	Lagged BySeed
	// Adaptive is Lagged over the root of the loss of the others that a best net has left beside the feature, but for a factor: by the root of
	// the second moment Adam divides a gradient, which in a net that has settled is a sample of what is left.
	Adaptive BySeed
	Spans    int // how many stretches of training a seed's means are of, at most
}

// Columns that are known often, of the injected task's first feature.
const (
	injectedFeature = "injected_feature"
	injectedNorm    = "injected_norm"
)

// A stretch of forgetting in which a task is withheld once lasts while the share of its feature falls from Holding to Lost.
const (
	Holding = .9
	Lost    = .1
)

// Forgettings returns the measures of linear nets at a constant rate, by exponent of frequencies, width and gap. A task that is injected
// again and again is looked at from the end of each injection to the next, in the last two thirds of training; one that is withheld once,
// while it is lost, if it ever was held and is.
func Forgettings(runs results.Runs) ([]Forgetting, error) {
	design := results.Design{Vary: []string{"net.width", "train.injection.gap", "mixture.frequency.exponent"},
		Columns: []string{injectedFeature, injectedNorm}}
	if err := runs.Need(design); err != nil {
		return nil, err
	}
	if r := runs[0]; r.Train.Schedule != "constant" || 3*r.Train.Warmup > r.Train.Steps {
		return nil, fmt.Errorf("claims: run %s: schedule %s, warm-up %d of %d steps: want a rate that is constant in the last two thirds",
			r.ID, r.Train.Schedule, r.Train.Warmup, r.Train.Steps)
	}
	var all []Forgetting
	betas, byBeta := results.By(runs, results.Beta)
	for _, beta := range betas {
		widths, byWidth := results.By(byBeta[beta], results.Width)
		for _, w := range widths {
			gaps, byGap := results.By(byWidth[w], results.Gap)
			for _, g := range gaps {
				f, err := forgetting(byGap[g])
				if err != nil {
					return nil, err
				}
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// forgetting returns the measures of runs that differ in their seeds.
func forgetting(runs results.Runs) (f Forgetting, err error) {
	r := runs[0]
	m, err := r.Mixture.Theory()
	if err != nil {
		return f, err
	}
	task := r.Train.Injection.Task - 1
	kept, _ := m.Retained(r.Net.Width)
	f = Forgetting{Beta: results.Beta(r), Width: r.Net.Width, Gap: results.Gap(r), Free: results.Gap(r) - r.Train.Injection.Steps(),
		Kept: kept[task]}
	time := 4 * r.Train.Rate / float64(r.Mixture.Signature().Outputs)
	without := m.Without(task)
	next := without.Restoring(f.Width, without.Others(task)) // of the others: the task's own feature stands for one
	left := without.ResidualFloor(without.Others(task), f.Width-1)
	lag := func(h held) float64 {
		return h.mean(func(c float64) float64 { return without.Takeover(f.Width, task, c) })
	}
	values := map[*BySeed]func(h held) float64{
		&f.Measured:  held.rate,
		&f.Predicted: func(h held) float64 { return time * h.mean(func(c float64) float64 { return next / (c * c) }) },
		&f.Lagged:    func(h held) float64 { return time * lag(h) },
		&f.Adaptive:  func(h held) float64 { return time * lag(h) / math.Sqrt(left) },
	}
	spans := map[*results.Run][]held{}
	for _, r := range runs {
		spans[r] = spansOf(r)
		f.Spans = max(f.Spans, len(spans[r]))
	}
	for to, of := range values {
		if *to, err = perSeed(runs, runs, func(r *results.Run) float64 { return Interval(xslices.Map(spans[r], of)).Mean }); err != nil {
			return f, err
		}
	}
	return f, nil
}

// held is what there is of a feature in a stretch of training: at some steps the share p and the norm c.
type held struct {
	steps       []int
	share, norm []float64
}

// rate is that at which ln p/(1-p) falls in the stretch.
func (h held) rate() float64 {
	last := len(h.steps) - 1
	return (logit(h.share[0]) - logit(h.share[last])) / float64(h.steps[last]-h.steps[0])
}

// mean returns the mean over the stretch's steps of a function of the norm, linear between those that are known.
func (h held) mean(of func(norm float64) float64) float64 {
	sum := 0.
	for i, step := range h.steps[1:] {
		sum += float64(step-h.steps[i]) * (of(h.norm[i]) + of(h.norm[i+1])) / 2
	}
	return sum / float64(h.steps[len(h.steps)-1]-h.steps[0])
}

// spansOf returns the stretches of a run's training that Forgettings looks at.
func spansOf(r *results.Run) (all []held) {
	steps, share := often(r, injectedFeature)
	_, norm := often(r, injectedNorm)
	cut := func(from, to int) {
		all = append(all, held{steps[from : to+1], share[from : to+1], norm[from : to+1]})
	}
	i := r.Train.Injection
	if i.From+i.Gap >= r.Train.Steps { // withheld once
		begin, _ := slices.BinarySearch(steps, i.From)
		below := func(limit float64) int {
			return begin + slices.IndexFunc(share[begin:], func(p float64) bool { return p < limit })
		}
		if from, to := below(Holding), below(Lost); begin < len(share) && share[begin] >= Holding && to > from {
			cut(from-1, to)
		}
		return all
	}
	for end, next := range gaps(r) {
		from, seen := slices.BinarySearch(steps, end)
		to, left := slices.BinarySearch(steps, next)
		if seen && left && 3*end >= r.Train.Steps {
			cut(from, to)
		}
	}
	return all
}

// gaps yields the steps done after each of a run's injections and before the next.
func gaps(r *results.Run) func(yield func(end, next int) bool) {
	return func(yield func(end, next int) bool) {
		i := r.Train.Injection
		for end := i.From + i.Gap; end+i.Gap <= r.Train.Steps; end += i.Gap {
			if !yield(end, end+i.Gap-i.Steps()) {
				return
			}
		}
	}
}

// logit returns ln p/(1-p), of which rounding leaves no more than 27 or so.
func logit(p float64) float64 {
	p = min(max(p, 1e-12), 1-1e-12)
	return math.Log(p / (1 - p))
}

// CommonRate returns the factor of all predictions that fits what was measured best, and by which factor measures typically miss it: the
// geometric mean and the geometric standard deviation of measured over predicted rates, where both are above 0; and of how many.
func CommonRate(all []Forgetting, predicted func(Forgetting) BySeed) (factor, spread float64, fitted int) {
	var logs []float64
	for _, f := range all {
		if ratio := f.Measured.Interval().Mean / predicted(f).Interval().Mean; ratio > 0 && !math.IsInf(ratio, 1) {
			logs = append(logs, math.Log(ratio))
		}
	}
	if len(logs) == 0 {
		return math.NaN(), math.NaN(), 0
	}
	mean := Interval(logs).Mean
	squares := xslices.Map(logs, func(v float64) float64 { return (v - mean) * (v - mean) })
	return math.Exp(mean), math.Exp(math.Sqrt(Interval(squares).Mean)), len(logs)
}

// Flowed returns what Forgettings would say of nets that are no more than their row spaces, under the exact flow theory.Subspace.Flow: from
// a best encoder of each width, every number of which is off by what off returns, the task withheld. It is of the widths that keep one
// feature of the task.
func Flowed(m theory.Mixture, beta float64, task int, widths []int, off func() float64) ([]Forgetting, error) {
	without := m.Without(task)
	covariance := without.Covariance(without.Others(task), m.Tasks()*m.Block())
	var all []Forgetting
	for _, w := range widths {
		mu := without.Restoring(w, without.Others(task))
		if fewest, most := m.Retained(w); fewest[task] != 1 || most[task] != 1 || mu == 0 {
			continue
		}
		s, err := m.BestEncoder(w, off)
		if err != nil {
			return nil, err
		}
		step := .01 / mu
		var h held
		for i, p := 0, 1.; p > Lost; i++ {
			if p = s.Holds(task * m.Block()); p < Holding {
				h.steps, h.share = append(h.steps, i), append(h.share, p)
			}
			s = s.Flow(covariance, step)
		}
		rate := BySeed{0: 4 * mu}
		measured := BySeed{0: h.rate() / step}
		all = append(all, Forgetting{Beta: beta, Width: w, Kept: 1, Measured: measured, Predicted: rate, Lagged: rate, Adaptive: rate, Spans: 1})
	}
	return all, nil
}
