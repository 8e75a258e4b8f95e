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

	"raretask/pkg/scaling"
)

// Outcome is whether a task was learned in one training.
type Outcome struct {
	X       []float64 // of each variable, positive
	Learned bool
	Run     int // which training it is of: all of one are resampled together
}

// Threshold is a model of whether a task is learned, by variables such as size and frequency:
//
//	P(learned) = 1/(1 + exp(-(c + sum_i b_i ln x_i)))
//
// so that of two variables the threshold of one is a power of the other: size^-s, s = b_size/b_frequency, is the frequency from which a
// size learns a task (what Gu et al., arXiv 2505.18091, measure as 1.152 of knowledge, and quantised skills of exponent alpha have as alpha
// + 1).
type Threshold struct {
	Variables []string
	Constant  float64
	Slopes    []float64 // b_i
	Outcomes  int
	Learned   int
	Low, High []float64 // of each variable in the outcomes
	Left      *LeftOut  // nil where what is left is no fit

	resamples [][]float64 // constant and slopes
}

// LeftOut is how a fit without the largest values of the first variable tells what was learned there.
type LeftOut struct {
	Above    float64 `json:"above"` // the largest value that was fitted
	Outcomes int     `json:"outcomes"`
	Right    int     `json:"right"`
}

// ridge is the penalty on slopes of standardised logarithms: outcomes that a line divides would have infinite ones.
const ridge = .1

// FitThreshold fits the model by penalised likelihood, and resamples trainings for intervals.
func FitThreshold(variables []string, outcomes []Outcome, resamples int) (*Threshold, error) {
	t, err := fitThreshold(variables, outcomes, resamples)
	if err == nil {
		t.Left = leftOut(variables, outcomes)
	}
	return t, err
}

func fitThreshold(variables []string, outcomes []Outcome, resamples int) (*Threshold, error) {
	t := &Threshold{Variables: variables, Outcomes: len(outcomes)}
	for i, name := range variables {
		values := xslices.Map(outcomes, func(o Outcome) float64 { return o.X[i] })
		if bad := slices.IndexFunc(values, func(v float64) bool { return !(v > 0) || math.IsInf(v, 0) }); bad >= 0 {
			return nil, fmt.Errorf("sizing: %s of outcome %d is %g: want a positive number", name, bad+1, values[bad])
		}
		if len(values) > 0 {
			t.Low, t.High = append(t.Low, slices.Min(values)), append(t.High, slices.Max(values))
		}
		if len(values) > 0 && t.Low[i] == t.High[i] {
			return nil, fmt.Errorf("sizing: all outcomes have one %s, %g: want several, or nothing tells what it does", name, values[0])
		}
	}
	for _, o := range outcomes {
		if o.Learned {
			t.Learned++
		}
	}
	switch {
	case len(outcomes) < 4*(len(variables)+1):
		return nil, fmt.Errorf("sizing: %d outcomes: want at least %d for %d variables", len(outcomes), 4*(len(variables)+1), len(variables))
	case t.Learned == 0 || t.Learned == len(outcomes):
		return nil, fmt.Errorf("sizing: of %d outcomes %d are learned: want some that are and some that are not, or there is no threshold to see",
			len(outcomes), t.Learned)
	}
	fit := logistic(outcomes, nil)
	t.Constant, t.Slopes = fit[0], fit[1:]
	runs := map[int][]int{}
	var order []int
	for i, o := range outcomes {
		if runs[o.Run] == nil {
			order = append(order, o.Run)
		}
		runs[o.Run] = append(runs[o.Run], i)
	}
	weight := make([]float64, len(outcomes))
	for r := range resamples {
		random := rand.New(rand.NewPCG(20260528, uint64(r)))
		clear(weight)
		for range order {
			for _, i := range runs[order[random.IntN(len(order))]] {
				weight[i]++
			}
		}
		t.resamples = append(t.resamples, logistic(outcomes, weight))
	}
	return t, nil
}

// logistic returns the constant and the slopes on logarithms that maximise the penalised likelihood of weighted outcomes (nil: all once),
// by Newton's method.
func logistic(outcomes []Outcome, weight []float64) []float64 {
	k := len(outcomes[0].X)
	mean, spread := make([]float64, k), make([]float64, k)
	for i := range k {
		logs := xslices.Map(outcomes, func(o Outcome) float64 { return math.Log(o.X[i]) })
		mean[i], spread[i] = stat.MeanStdDev(logs, nil)
	}
	x := mat.NewDense(len(outcomes), k+1, nil)
	for j, o := range outcomes {
		x.Set(j, 0, 1)
		for i, v := range o.X {
			x.Set(j, i+1, (math.Log(v)-mean[i])/spread[i])
		}
	}
	b, step := mat.NewVecDense(k+1, nil), mat.NewVecDense(k+1, nil)
	for range 100 {
		gradient, hessian := mat.NewVecDense(k+1, nil), mat.NewSymDense(k+1, nil)
		for i := range k + 1 {
			lambda := ridge
			if i == 0 {
				lambda = 1e-6 // of the constant: only so that a resample of one kind of outcome has an end
			}
			gradient.SetVec(i, -lambda*b.AtVec(i))
			hessian.SetSym(i, i, lambda)
		}
		for j, o := range outcomes {
			w := 1.
			if weight != nil {
				w = weight[j]
			}
			if w == 0 {
				continue
			}
			row := x.RawRowView(j)
			p := sigmoid(mat.Dot(mat.NewVecDense(k+1, row), b))
			y := 0.
			if o.Learned {
				y = 1
			}
			for i := range row {
				gradient.SetVec(i, gradient.AtVec(i)+w*(y-p)*row[i])
				for l := range i + 1 {
					hessian.SetSym(i, l, hessian.At(i, l)+w*p*(1-p)*row[i]*row[l])
				}
			}
		}
		var factors mat.Cholesky
		if !factors.Factorize(hessian) || factors.SolveVecTo(step, gradient) != nil {
			break
		}
		if size := mat.Norm(step, 2); size > 5 { // far from the quadratic: a shorter step
			step.ScaleVec(5/size, step)
		}
		b.AddVec(b, step)
		if mat.Norm(step, 2) < 1e-9 {
			break
		}
	}
	fit := make([]float64, k+1)
	fit[0] = b.AtVec(0)
	for i := range k {
		fit[i+1] = b.AtVec(i+1) / spread[i]
		fit[0] -= fit[i+1] * mean[i]
	}
	return fit
}

func sigmoid(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// leftOut fits outcomes but those with the largest value of the first variable, and counts what it says of these; nil where that is no fit.
func leftOut(variables []string, outcomes []Outcome) *LeftOut {
	sizes := slices.Compact(slices.Sorted(slices.Values(xslices.Map(outcomes, func(o Outcome) float64 { return o.X[0] }))))
	if len(sizes) < 3 {
		return nil
	}
	var small, large []Outcome
	for _, o := range outcomes {
		if o.X[0] < sizes[len(sizes)-1] {
			small = append(small, o)
		} else {
			large = append(large, o)
		}
	}
	fit, err := fitThreshold(variables, small, 0)
	if err != nil {
		return nil
	}
	l := &LeftOut{Above: sizes[len(sizes)-2], Outcomes: len(large)}
	for _, o := range large {
		if (fit.Probability(o.X).Estimate > .5) == o.Learned {
			l.Right++
		}
	}
	return l
}

// linear returns c + sum b_i ln x_i of a constant and slopes.
func linear(fit, x []float64) float64 {
	z := fit[0]
	for i, v := range x {
		z += fit[i+1] * math.Log(v)
	}
	return z
}

// over returns a function of the constant and the slopes with its 95% interval over resamples.
func (t *Threshold) over(of func(fit []float64) float64) scaling.Interval {
	estimate := of(append([]float64{t.Constant}, t.Slopes...))
	if len(t.resamples) == 0 {
		return scaling.Interval{Estimate: estimate, Low: math.NaN(), High: math.NaN()}
	}
	values := slices.Sorted(slices.Values(xslices.Map(t.resamples, of)))
	return scaling.Interval{Estimate: estimate, Low: quantile(.025, values), High: quantile(.975, values)}
}

// quantile returns that of sorted values, of which some may be infinite: those aren't mixed with others.
func quantile(p float64, values []float64) float64 {
	if v := stat.Quantile(p, stat.Empirical, values, nil); math.IsInf(v, 0) {
		return v
	}
	finite := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return math.IsInf(v, 0) })
	return stat.Quantile(min(1, p*float64(len(values))/float64(len(finite))), stat.LinInterp, finite, nil)
}

// Probability returns that of being learned, and its band: that of the model, not of one training.
func (t *Threshold) Probability(x []float64) scaling.Interval {
	return t.over(func(fit []float64) float64 { return sigmoid(linear(fit, x)) })
}

// Needed returns the value of a variable at which the probability of being learned comes to some value, the others given (that of the
// variable doesn't matter). It is infinite where more of the variable makes no task learned.
func (t *Threshold) Needed(variable int, x []float64, probability float64) scaling.Interval {
	others := slices.Clone(x)
	others[variable] = 1
	return t.over(func(fit []float64) float64 {
		if fit[variable+1] <= 0 {
			return math.Inf(1)
		}
		return math.Exp((math.Log(probability/(1-probability)) - linear(fit, others)) / fit[variable+1])
	})
}

// Exponent returns d ln(threshold of one variable)/d ln(another): of frequency against size the slope that stands beside -(alpha+1).
func (t *Threshold) Exponent(of, against int) scaling.Interval {
	return t.over(func(fit []float64) float64 { return -fit[against+1] / fit[of+1] })
}

// Inside reports whether a place lies within what was measured: a prediction. Else it is a projection.
func (t *Threshold) Inside(x []float64) bool {
	for i, v := range x {
		if v < t.Low[i]*(1-1e-9) || v > t.High[i]*(1+1e-9) {
			return false
		}
	}
	return true
}

// Kind names what a statement about a place is.
func (t *Threshold) Kind(x []float64) string {
	if t.Inside(x) {
		return "prediction"
	}
	return "projection"
}

// String says what the model is.
func (t *Threshold) String() string {
	terms := []string{fmt.Sprintf("%.3g", t.Constant)}
	for i, name := range t.Variables {
		terms = append(terms, fmt.Sprintf("%.3g ln %s", t.Slopes[i], name))
	}
	return "logit P(learned) = " + strings.Join(terms, " + ")
}
