package sizing

import (
	"fmt"
	"math"
	"slices"

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
	if math.Abs(sum-1) > roundedTo {
		return fmt.Errorf("ratios sum to %.4g: want 1", sum)
	}
	return nil
}

// Surface is how a metric depends on ratios: of several forms the one that predicts runs that were left out best.
type Surface struct {
	*Runs
	Form    string  // of the function of ratios
	Left    float64 // root mean square error of runs that were left out, one by one
	R2      float64 // share of the variance that is told of these: below 0 the mean tells more
	Flat    bool    // ratios don't tell the metric
	Metric  []float64
	form    form
	floor   float64 // exponential form: below which the metric can't come
	beta    *mat.VecDense
	inverse *mat.SymDense // of the penalised normal matrix
	sigma   float64       // standard deviation of what the form leaves, in its own units
	free    float64
	beyond  float64 // 95% quantile of errors of runs left out, in standard deviations that leverage makes of them
	most    float64 // largest leverage of a run
}

// form is a function of ratios that is linear in its coefficients.
type form struct {
	name  string
	terms func(ratios []float64) []float64
}

// least keeps logarithms of ratios finite: what a ratio of nothing counts as.
const leastRatio = .005

var forms = []form{
	{"linear in the ratios", func(r []float64) []float64 { return slices.Clone(r) }},
	{"linear in their logarithms", func(r []float64) []float64 {
		return append([]float64{1}, xslices.Map(r, func(v float64) float64 { return math.Log(v + leastRatio) })...)
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

// penalties of coefficients that are tried, relative to the mean square of the terms.
var penalties = []float64{1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1}

// floors that the exponential form is tried with, as shares of the least value.
var floors = []float64{0, .5, .8, .9, .95, .98}

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
	var best *Surface
	consider := func(s *Surface, ok bool) {
		if ok && (best == nil || s.Left < best.Left) {
			best = s
		}
	}
	for _, f := range forms {
		for _, penalty := range penalties {
			consider(fitSurface(runs, metric, f, penalty, math.NaN()))
		}
	}
	if least := slices.Min(metric); least > 0 { // data mixing laws (Ye et al., arXiv 2403.16952): c + exp of a linear function
		for _, share := range floors {
			for _, penalty := range penalties {
				consider(fitSurface(runs, metric, form{"exponential of a linear function of the ratios", forms[0].terms}, penalty, share*least))
			}
		}
	}
	if best == nil {
		return nil, fmt.Errorf("sizing: no form of surface has fewer coefficients than the %d runs tell", len(metric))
	}
	variance := stat.Variance(metric, nil) * float64(len(metric)-1) / float64(len(metric))
	n := float64(len(metric))
	alone := variance * n * n / ((n - 1) * (n - 1)) // of the mean of the others
	best.R2 = 1 - best.Left*best.Left/alone
	best.Flat = best.R2 < leastR2
	return best, nil
}

// leastR2 is the share of variance, of runs left out, below which a surface is none.
const leastR2 = .05

// fitSurface fits a form with a penalty, of ln(metric - floor) where there is a floor.
func fitSurface(runs *Runs, metric []float64, f form, penalty, floor float64) (*Surface, bool) {
	n, k := len(metric), len(f.terms(runs.Ratios[0]))
	s := &Surface{Runs: runs, Form: f.name, Metric: metric, form: f, floor: floor}
	x, y := mat.NewDense(n, k, nil), mat.NewVecDense(n, nil)
	for i, r := range runs.Ratios {
		x.SetRow(i, f.terms(r))
		if v := metric[i]; math.IsNaN(floor) {
			y.SetVec(i, v)
		} else {
			y.SetVec(i, math.Log(v-floor))
		}
	}
	// The mean is no coefficient to be made small: what is fitted is what runs differ in.
	center := mat.Sum(y) / float64(n)
	for i := range n {
		y.SetVec(i, y.AtVec(i)-center)
	}
	var normal mat.SymDense
	normal.SymOuterK(1, x.T())
	mean := mat.Trace(&normal) / float64(k)
	for i := range k {
		normal.SetSym(i, i, normal.At(i, i)+penalty*mean)
	}
	var factors mat.Cholesky
	if !factors.Factorize(&normal) {
		return nil, false
	}
	var moments mat.VecDense
	moments.MulVec(x.T(), y)
	s.beta, s.inverse = mat.NewVecDense(k, nil), mat.NewSymDense(k, nil)
	if factors.SolveVecTo(s.beta, &moments) != nil || factors.InverseTo(s.inverse) != nil {
		return nil, false
	}
	// Forms of ratios that sum to 1 have a constant among them, or one that their terms make: the mean goes back there.
	s.addCenter(center)
	trace, squares := 0., 0.
	leverages, left := make([]float64, n), make([]float64, n)
	for i, r := range runs.Ratios {
		h := s.leverage(r)
		own := center + y.AtVec(i)
		residual := own - s.linear(r)
		leverages[i], trace, squares = h, trace+h, squares+residual*residual
		told := own - residual/(1-h) // by the others
		left[i] = metric[i] - s.back(told)
	}
	s.free = float64(n) - trace
	if s.free < 2 || slices.Max(leverages) > 1-1e-6 {
		return nil, false
	}
	s.sigma, s.most = math.Sqrt(squares/s.free), slices.Max(leverages)
	sum := 0.
	spread := make([]float64, n)
	for i, e := range left {
		sum += e * e
		spread[i] = math.Abs(e) / math.Sqrt(1+leverages[i])
	}
	s.Left = math.Sqrt(sum / float64(n))
	slices.Sort(spread)
	// Of n errors the ceil(.95 (n+1))-th is what the next one stays below in 95% of cases; of fewer than 19 their largest, and a tenth more.
	at := int(math.Ceil(.95*float64(n+1))) - 1
	if s.beyond = spread[min(at, n-1)]; at >= n {
		s.beyond *= 1.1
	}
	return s, !math.IsNaN(s.Left)
}

// addCenter adds a constant to what the coefficients say: to the first term where that is 1, to all ratios where they sum to 1.
func (s *Surface) addCenter(center float64) {
	domains := len(s.Domains)
	if terms := s.form.terms(s.Ratios[0]); len(terms) == domains+1 {
		s.beta.SetVec(0, s.beta.AtVec(0)+center)
		return
	}
	for i := range domains {
		s.beta.SetVec(i, s.beta.AtVec(i)+center)
	}
}

// linear returns what the form says in its own units.
func (s *Surface) linear(ratios []float64) float64 {
	terms := s.form.terms(ratios)
	return mat.Dot(s.beta, mat.NewVecDense(len(terms), terms))
}

// back returns the metric of a value in the form's own units.
func (s *Surface) back(v float64) float64 {
	if math.IsNaN(s.floor) {
		return v
	}
	return s.floor + math.Exp(v)
}

// leverage is how far a mixture is from those that were run, in the form's terms: the variance of what is said of it over that of a run.
func (s *Surface) leverage(ratios []float64) float64 {
	terms := s.form.terms(ratios)
	v := mat.NewVecDense(len(terms), terms)
	return mat.Inner(v, s.inverse, v)
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
	a, b := s.form.terms(ratios), s.form.terms(moved)
	d := mat.NewVecDense(len(a), nil)
	for i := range a {
		d.SetVec(i, b[i]-a[i])
	}
	before := s.linear(ratios)
	change := mat.Dot(s.beta, d)
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

// MostRepeats is how often a domain may be repeated before a repeat is worth much less than new data (see the note in Repeats).
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
	if len(unique) != len(r.Domains) || !(tokens > 0) || !(proxy >= 0) {
		return nil, fmt.Errorf("sizing: %d counts of unique tokens for %d domains, %g tokens, %g of the proxy: want one each, and tokens above 0",
			len(unique), len(r.Domains), tokens, proxy)
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
