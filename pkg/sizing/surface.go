package sizing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"raretask/pkg/scaling"
)

// Runs are trainings on mixtures of domains: ratios that sum to 1, of each run.
type Runs struct {
	Domains []string
	Ratios  [][]float64
}

// NewRuns checks ratios: they must not be negative, and those of a run must sum to 1 but for rounding.
func NewRuns(domains []string, ratios [][]float64) (*Runs, error) {
	if len(domains) < 2 {
		return nil, fmt.Errorf("sizing: %d domains: want two at least", len(domains))
	}
	if len(ratios) < fewestRuns {
		return nil, fmt.Errorf("sizing: %d runs: want %d at least, or nothing can be left out to check a surface", len(ratios), fewestRuns)
	}
	for i, r := range ratios {
		if err := sumsToOne(domains, r); err != nil {
			return nil, fmt.Errorf("sizing: run %d: %w", i+1, err)
		}
	}
	return &Runs{domains, ratios}, nil
}

const (
	fewestRuns = 6
	// roundedTo is by how much ratios that were written down may miss 1.
	roundedTo = .02
)

func sumsToOne(domains []string, ratios []float64) error {
	if len(ratios) != len(domains) {
		return fmt.Errorf("%d ratios of %d domains", len(ratios), len(domains))
	}
	sum := 0.
	for i, v := range ratios {
		if !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("ratio %g of %s: want 0 … 1", v, domains[i])
		}
		sum += v
	}
	if math.Abs(sum-100) < 100*roundedTo {
		return fmt.Errorf("ratios sum to %.4g: want 1; are they in percent?", sum)
	}
	if math.Abs(sum-1) > roundedTo {
		return fmt.Errorf("ratios of %s sum to %.4g: want 1", strings.Join(domains, ", "), sum)
	}
	return nil
}

// Surface is how a metric depends on ratios: of several forms the one that predicts runs that were left out best.
type Surface struct {
	*Runs
	Form   string  // of the function of ratios
	Left   float64 // root mean square error of runs that were left out, one by one
	R2     float64 // share of the variance that is told of these: below 0 the mean of the others tells more
	Flat   bool    // ratios don't tell the metric: as much is told of some shuffled one
	Metric []float64

	*smoother
	floor  float64 // of the exponential form: below which the metric can't come; NaN for other forms
	center float64 // mean in the form's own units
	beta   *mat.VecDense
	sigma  float64 // standard deviation of what the form leaves, in its own units
	beyond float64 // half of the width that holds 95% of errors of runs left out, in standard deviations that leverage makes of them
}

// form is a function of ratios that is linear in its coefficients; a constant is added to its terms.
type form struct {
	name  string
	terms func(ratios []float64) []float64
}

// leastRatio keeps logarithms of ratios finite: what is added to each.
const leastRatio = .005

var forms = []form{
	{"linear in the ratios", slices.Clone[[]float64]},
	{"linear in their logarithms", func(r []float64) []float64 {
		return xslices.Map(r, func(v float64) float64 { return math.Log(v + leastRatio) })
	}},
	{"quadratic in the ratios", func(r []float64) []float64 {
		terms := slices.Clone(r)
		for i := range r {
			for _, v := range r[:i] {
				terms = append(terms, r[i]*v)
			}
		}
		return terms
	}},
}

// exponential is the form of data mixing laws: a floor + exp of a linear function (Ye et al., arXiv 2403.16952).
const exponential = "exponential of a linear function of the ratios"

// penalties of coefficients that are tried, relative to the mean square of the terms.
var penalties = []float64{1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1}

// floors that the exponential form is tried with, as shares of the least value.
var floors = []float64{0, .5, .8, .9, .95, .98}

// smoother is a form with a penalty, fitted to the ratios of runs: what is the same for all metrics.
type smoother struct {
	form
	mean    []float64     // of the terms over runs
	x       *mat.Dense    // [runs, terms], centred
	inverse *mat.SymDense // of the penalised normal matrix
	hat     []float64     // leverage of each run, the mean's 1/n included
	free    float64       // degrees of freedom that are left
	most    float64       // largest leverage
}

// smoothers returns those of runs that leave something to be checked: a form with as many terms as half of the runs can't be.
func (r *Runs) smoothers() (all []*smoother) {
	n := len(r.Ratios)
	for _, f := range forms {
		k := len(f.terms(r.Ratios[0]))
		if k > max(n/2, len(r.Domains)+1) {
			continue
		}
		x := mat.NewDense(n, k, nil)
		for i, own := range r.Ratios {
			x.SetRow(i, f.terms(own))
		}
		mean := make([]float64, k)
		for j := range k {
			mean[j] = stat.Mean(mat.Col(nil, j, x), nil)
		}
		x.Apply(func(_, j int, v float64) float64 { return v - mean[j] }, x)
		var normal mat.SymDense
		normal.SymOuterK(1, x.T())
		scale := mat.Trace(&normal) / float64(k)
		for _, penalty := range penalties {
			if s, ok := newSmoother(f, x, mean, &normal, penalty*scale); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

func newSmoother(f form, x *mat.Dense, mean []float64, normal *mat.SymDense, penalty float64) (*smoother, bool) {
	n, k := x.Dims()
	s := &smoother{form: f, mean: mean, x: x, inverse: mat.NewSymDense(k, nil), free: float64(n)}
	penalised := mat.NewSymDense(k, nil)
	penalised.CopySym(normal)
	for i := range k {
		penalised.SetSym(i, i, penalised.At(i, i)+penalty)
	}
	var factors mat.Cholesky
	if !factors.Factorize(penalised) || factors.InverseTo(s.inverse) != nil {
		return nil, false
	}
	for i := range n {
		row := mat.NewVecDense(k, x.RawRowView(i))
		h := 1/float64(n) + mat.Inner(row, s.inverse, row)
		s.hat, s.free, s.most = append(s.hat, h), s.free-h, max(s.most, h)
	}
	return s, s.free >= 2 && s.most < 1-1e-6
}

// NewSurface fits a metric of each run, and returns an error where it is the same in all.
func NewSurface(runs *Runs, metric []float64) (*Surface, error) {
	if len(metric) != len(runs.Ratios) {
		return nil, fmt.Errorf("sizing: %d values of the metric for %d runs: want as many", len(metric), len(runs.Ratios))
	}
	if bad := slices.IndexFunc(metric, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }); bad >= 0 {
		return nil, fmt.Errorf("sizing: the metric of run %d is %g: want a number", bad+1, metric[bad])
	}
	if slices.Min(metric) == slices.Max(metric) {
		return nil, fmt.Errorf("sizing: the metric is %g in all %d runs: there is nothing to tell", metric[0], len(metric))
	}
	all := runs.smoothers()
	best := bestSurface(all, runs, metric)
	if best == nil {
		return nil, fmt.Errorf("sizing: no form of surface has few enough coefficients for %d runs on %d domains", len(metric), len(runs.Domains))
	}
	// The best of many forms tells something of any metric: it must tell more than of the same numbers in another order.
	random, shuffled := rand.New(rand.NewPCG(20260528, 0)), slices.Clone(metric)
	for range shuffles {
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if other := bestSurface(all, runs, shuffled); other != nil && other.R2 >= best.R2 {
			best.Flat = true
		}
	}
	best.Flat = best.Flat || best.R2 < leastR2
	return best, nil
}

const (
	// leastR2 is the share of variance, of runs left out, below which a surface is none.
	leastR2 = .05
	// shuffles of a metric, of none of which as much may be told: by chance one in twenty metrics passes.
	shuffles = 19
)

// bestSurface returns the form that predicts runs that were left out best; nil where there is none.
func bestSurface(all []*smoother, runs *Runs, metric []float64) (best *Surface) {
	consider := func(s *Surface) {
		if best == nil || s.Left < best.Left {
			best = s
		}
	}
	least := slices.Min(metric)
	for _, s := range all {
		consider(s.fit(runs, metric, math.NaN()))
		if least > 0 && s.name == forms[0].name {
			for _, share := range floors {
				consider(s.fit(runs, metric, share*least))
			}
		}
	}
	if best == nil {
		return nil
	}
	n := float64(len(metric))
	alone := stat.Variance(metric, nil) * n / (n - 1) // mean square error of the mean of the others
	best.R2 = 1 - best.Left*best.Left/alone
	return best
}

// fit fits a metric, or ln(metric - floor) where there is a floor.
func (s *smoother) fit(runs *Runs, metric []float64, floor float64) *Surface {
	n := len(metric)
	f := &Surface{Runs: runs, Form: s.name, Metric: metric, smoother: s, floor: floor, beta: new(mat.VecDense)}
	y := mat.NewVecDense(n, nil)
	for i, v := range metric {
		if y.SetVec(i, v); !math.IsNaN(floor) {
			f.Form = exponential
			y.SetVec(i, math.Log(v-floor))
		}
	}
	f.center = mat.Sum(y) / float64(n)
	for i := range n {
		y.SetVec(i, y.AtVec(i)-f.center)
	}
	var moments mat.VecDense
	moments.MulVec(s.x.T(), y)
	f.beta.MulVec(s.inverse, &moments)
	var fitted mat.VecDense
	fitted.MulVec(s.x, f.beta)
	squares, own, sum := 0., 0., 0.
	spread := make([]float64, n)
	for i := range n {
		residual := y.AtVec(i) - fitted.AtVec(i)
		left := residual / (1 - s.hat[i]) // where the others are fitted alone
		e := metric[i] - f.back(f.center+y.AtVec(i)-left)
		squares, own, sum = squares+residual*residual, own+left*left/(1+s.hat[i]), sum+e*e
		spread[i] = math.Abs(e) / math.Sqrt(1+s.hat[i])
	}
	f.sigma = max(math.Sqrt(squares/s.free), math.Sqrt(own/float64(n)))
	f.Left = math.Sqrt(sum / float64(n))
	f.beyond = beyondOf(spread)
	return f
}

// beyondOf returns what 95% of errors stay below: of n the ceil(.95 (n+1))-th, which holds for the next one whatever their distribution; of
// few at least what it would be were they normal.
func beyondOf(spread []float64) float64 {
	n := len(spread)
	slices.Sort(spread)
	squares := 0.
	for _, v := range spread {
		squares += v * v
	}
	normal := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 1)}.Quantile(.975) * math.Sqrt(squares/float64(n))
	at := int(math.Ceil(.95*float64(n+1))) - 1
	switch {
	case at >= n:
		return max(normal, spread[n-1])
	case n < 2*fewestForQuantiles:
		return max(normal, spread[at])
	}
	return spread[at]
}

// fewestForQuantiles are the errors that a 95% quantile needs at all.
const fewestForQuantiles = 19

// centred returns a mixture's terms less their mean over runs.
func (s *smoother) centred(ratios []float64) *mat.VecDense {
	terms := s.terms(ratios)
	for i := range terms {
		terms[i] -= s.mean[i]
	}
	return mat.NewVecDense(len(terms), terms)
}

// leverage is how far a mixture is from those that were run, in the form's terms: the variance of what is said of it over that of a run.
func (s *smoother) leverage(ratios []float64) float64 {
	v := s.centred(ratios)
	return 1/float64(len(s.hat)) + mat.Inner(v, s.inverse, v)
}

// linear returns what the form says in its own units.
func (s *Surface) linear(ratios []float64) float64 {
	return s.center + mat.Dot(s.beta, s.centred(ratios))
}

// back returns the metric of a value in the form's own units.
func (s *Surface) back(v float64) float64 {
	if math.IsNaN(s.floor) {
		return v
	}
	return s.floor + math.Exp(v)
}

// Predict returns the metric of a mixture and where 95% of runs of it are expected, by the errors of runs that were left out; and whether
// that is a prediction, no farther from the runs than they are from each other, or a projection.
func (s *Surface) Predict(ratios []float64) (at scaling.Interval, kind string, err error) {
	if err := sumsToOne(s.Domains, ratios); err != nil {
		return at, "", fmt.Errorf("sizing: %w", err)
	}
	h := s.leverage(ratios)
	if kind = "prediction"; h > s.most*(1+1e-9) {
		kind = "projection"
	}
	v := s.back(s.linear(ratios))
	half := s.beyond * math.Sqrt(1+h)
	return scaling.Interval{Estimate: v, Low: v - half, High: v + half}, kind, nil
}

// Effect returns by how much the metric changes where one domain's ratio grows by a step and the others shrink in proportion, from a
// mixture on, with its 95% interval.
func (s *Surface) Effect(ratios []float64, domain int, step float64) (scaling.Interval, error) {
	moved, err := s.Moved(ratios, domain, step)
	if err != nil {
		return scaling.Interval{}, err
	}
	d := new(mat.VecDense)
	d.SubVec(s.centred(moved), s.centred(ratios))
	before, change := s.linear(ratios), mat.Dot(s.beta, d)
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: s.free}.Quantile(.975) * s.sigma * math.Sqrt(mat.Inner(d, s.inverse, d))
	to := func(v float64) float64 { return s.back(before+v) - s.back(before) }
	return scaling.Interval{Estimate: to(change), Low: to(change - half), High: to(change + half)}, nil
}

// Moved returns ratios of which one is larger by a step.
func (r *Runs) Moved(ratios []float64, domain int, step float64) ([]float64, error) {
	if err := sumsToOne(r.Domains, ratios); err != nil {
		return nil, fmt.Errorf("sizing: %w", err)
	}
	own, rest := ratios[domain], 1-ratios[domain]
	if own+step < 0 || own+step > 1 || rest <= 0 {
		return nil, fmt.Errorf("sizing: %s at %.3g can't change by %.3g: want a ratio of 0 … 1 after it", r.Domains[domain], own, step)
	}
	moved := make([]float64, len(ratios))
	for i, v := range ratios {
		if moved[i] = v * (rest - step) / rest; i == domain {
			moved[i] = own + step
		}
	}
	return moved, nil
}

// Mean returns the mean of the runs' ratios, over what they sum to.
func (r *Runs) Mean() []float64 {
	mean, sum := make([]float64, len(r.Domains)), 0.
	for _, own := range r.Ratios {
		for i, v := range own {
			mean[i] += v
			sum += v
		}
	}
	for i := range mean {
		mean[i] /= sum
	}
	return mean
}

// Confounded says which ratios runs don't tell apart: those that hardly vary, and pairs that move together or against each other.
func (r *Runs) Confounded() (notes []string) {
	columns := make([][]float64, len(r.Domains))
	var moving []int
	for i := range r.Domains {
		columns[i] = xslices.Map(r.Ratios, func(own []float64) float64 { return own[i] })
		if low, high := slices.Min(columns[i]), slices.Max(columns[i]); high-low < hardlyVaries {
			notes = append(notes, fmt.Sprintf("%s is %.3g to %.3g in all runs: they don't say what it does", r.Domains[i], low, high))
		} else {
			moving = append(moving, i)
		}
	}
	for n, i := range moving {
		for _, j := range moving[n+1:] {
			c := stat.Correlation(columns[i], columns[j], nil)
			if len(moving) == 2 && c < 0 {
				continue // what one gains the other must lose
			}
			if math.Abs(c) > together {
				notes = append(notes, fmt.Sprintf("%s and %s move %s (correlation %.2f): what the one does can't be told from what the other does",
					r.Domains[i], r.Domains[j], map[bool]string{true: "together", false: "against each other"}[c > 0], c))
			}
		}
	}
	return notes
}

// What counts as a ratio that hardly varies, and as two that move together.
const hardlyVaries, together = .005, .9

// MostRepeats is how often a domain may be repeated before more of it is worth little (arXiv 2606.07597).
const MostRepeats = 15

// unlikeRepeats is by which factor proxy and target may repeat a domain differently.
const unlikeRepeats = 2

// Repeats says which domains a mixture would repeat too often over so many tokens, by how many unique ones there are of each, and where a
// proxy of fewer tokens repeats otherwise (0: no proxy). A proxy that doesn't repeat a domain as the target will promises too much of it:
// arXiv 2606.07597 reports an error of .75 without that control and .05 with it.
func (r *Runs) Repeats(ratios, unique []float64, tokens, proxy float64) (notes []string, err error) {
	if err := sumsToOne(r.Domains, ratios); err != nil {
		return nil, fmt.Errorf("sizing: %w", err)
	}
	if len(unique) != len(r.Domains) {
		return nil, fmt.Errorf("sizing: %d counts of unique tokens for %d domains: want one each", len(unique), len(r.Domains))
	}
	if !(tokens > 0) || !(proxy >= 0) {
		return nil, fmt.Errorf("sizing: %g tokens to train on, %g of the proxy: want how many, above 0", tokens, proxy)
	}
	for i, u := range unique {
		if !(u > 0) {
			return nil, fmt.Errorf("sizing: %g unique tokens of %s: want a positive number", u, r.Domains[i])
		}
		times := ratios[i] * tokens / u
		if times > MostRepeats {
			notes = append(notes, fmt.Sprintf("%s would be seen %.3g times in %.3g tokens: more than %d times is worth little", r.Domains[i], times,
				tokens,
				MostRepeats))
		}
		// Below one time nothing is repeated, in the proxy or in the target.
		if before := ratios[i] * proxy / u; proxy > 0 && max(times, 1) > unlikeRepeats*max(before, 1) {
			notes = append(notes, fmt.Sprintf("%s is seen %.3g times in the target and %.3g in the proxy: cut the proxy's data of it to %.3g "+
				"tokens, so "+
				"that it repeats as often, or the proxy promises too much", r.Domains[i], times, before, ratios[i]*proxy/times))
		}
	}
	return notes, nil
}
