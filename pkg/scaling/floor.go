package scaling

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/stat"
)

// FloorLaw is y = E + A/x^a: a loss against size alone, or data alone.
type FloorLaw struct{ E, A, Alpha float64 }

// At returns y at x.
func (l FloorLaw) At(x float64) float64 { return l.E + l.A*math.Pow(x, -l.Alpha) }

// FewestOfFloor are the points and the different x that a fit of three parameters needs.
const FewestOfFloor = 4

// FitFloor returns the law that minimises the sum over points of Huber_delta(ln law - ln y). The exponent is searched for; of each E and A
// follow by least squares of relative errors, neither of them negative, weighted so that they touch the Huber loss.
func FitFloor(x, y []float64) (FloorLaw, error) {
	if len(x) != len(y) {
		return FloorLaw{}, fmt.Errorf("scaling: %d x and %d y: want as many", len(x), len(y))
	}
	for i := range x {
		for _, v := range []float64{x[i], y[i]} {
			if !(v > 0) || math.IsInf(v, 0) {
				return FloorLaw{}, fmt.Errorf("scaling: point %d is x %g, y %g: want positive numbers", i+1, x[i], y[i])
			}
		}
	}
	switch {
	case len(x) < FewestOfFloor || len(distinct(x)) < FewestOfFloor:
		return FloorLaw{}, fmt.Errorf("scaling: %d points of %d different sizes or amounts: want at least %d of each for three parameters",
			len(x), len(distinct(x)), FewestOfFloor)
	case len(distinct(y)) == 1:
		return FloorLaw{}, fmt.Errorf("scaling: all %d losses are %g: there is nothing to fit", len(y), y[0])
	}
	return newFloorProblem(x, y).fit(), nil
}

// floorProblem is a fit in units of the geometric mean of x.
type floorProblem struct {
	x, y   []float64 // x over its mean
	weight []float64 // how often each point is there
	mean   float64
}

func newFloorProblem(x, y []float64) *floorProblem {
	p := &floorProblem{y: y, mean: math.Exp(stat.Mean(xslices.Map(x, math.Log), nil))}
	p.x = xslices.Map(x, func(v float64) float64 { return v / p.mean })
	p.weight = slices.Repeat([]float64{1}, len(x))
	return p
}

// Exponents that are looked at, and in how many steps.
const leastExponent, mostExponent, exponentSteps = .01, 10., 40

// fit returns the best law: of a grid of exponents the best, then by golden sections between its neighbours.
func (p *floorProblem) fit() FloorLaw {
	exponent := func(i int) float64 {
		return leastExponent * math.Pow(mostExponent/leastExponent, float64(i)/exponentSteps)
	}
	best, value := 0, math.Inf(1)
	for i := range exponentSteps + 1 {
		if _, v := p.given(exponent(i)); v < value {
			best, value = i, v
		}
	}
	return p.between(exponent(max(0, best-1)), exponent(min(exponentSteps, best+1)), 1e-9)
}

// near returns the best law whose exponent is within a factor of three of some other: of a resample, which is cheaper.
func (p *floorProblem) near(alpha float64) FloorLaw {
	return p.between(max(leastExponent, alpha/3), min(mostExponent, alpha*3), 1e-4)
}

// between returns the best law with an exponent of a range, to a share of it.
func (p *floorProblem) between(low, high, share float64) FloorLaw {
	const golden = .6180339887498949
	a, b := high-golden*(high-low), low+golden*(high-low)
	_, va := p.given(a)
	_, vb := p.given(b)
	for high-low > share*high {
		if va < vb {
			high, b, vb = b, a, va
			a = high - golden*(high-low)
			_, va = p.given(a)
		} else {
			low, a, va = a, b, vb
			b = low + golden*(high-low)
			_, vb = p.given(b)
		}
	}
	law, _ := p.given((low + high) / 2)
	law.A *= math.Pow(p.mean, law.Alpha)
	return law
}

// given returns the law of an exponent, of x over its mean, and its value.
func (p *floorProblem) given(alpha float64) (law FloorLaw, value float64) {
	powers := xslices.Map(p.x, func(x float64) float64 { return math.Pow(x, -alpha) })
	weight := slices.Clone(p.weight)
	value = math.Inf(1)
	for range 30 {
		columns := [3][]float64{make([]float64, len(p.x)), make([]float64, len(p.x)), nil}
		for i, w := range weight {
			columns[0][i], columns[1][i] = math.Sqrt(w)/p.y[i], math.Sqrt(w)*powers[i]/p.y[i]
		}
		e, a := nonNegativePair(columns[0], columns[1], weight)
		next, sum := FloorLaw{e, a, alpha}, 0.
		for i, w := range p.weight {
			r := math.Log((e + a*powers[i]) / p.y[i])
			switch size := math.Abs(r); {
			case w == 0:
				continue
			case size < delta:
				sum, weight[i] = sum+w*r*r/2, w
			default:
				sum, weight[i] = sum+w*delta*(size-delta/2), w*delta/size
			}
		}
		better := sum < value*(1-1e-12)
		if better {
			law = next
		}
		if before := value; !better || before-sum < 1e-6*before {
			value = min(value, sum)
			break
		}
		value = sum
	}
	return law, value
}

// nonNegativePair returns the coefficients >= 0 of two weighted columns whose sum is closest to the roots of the weights.
func nonNegativePair(u, v, weight []float64) (a, b float64) {
	var uu, uv, vv, u1, v1 float64
	for i, w := range weight {
		one := math.Sqrt(w)
		uu, uv, vv = uu+u[i]*u[i], uv+u[i]*v[i], vv+v[i]*v[i]
		u1, v1 = u1+u[i]*one, v1+v[i]*one
	}
	if det := uu*vv - uv*uv; det > 1e-14*uu*vv {
		a, b = (u1*vv-v1*uv)/det, (v1*uu-u1*uv)/det
	}
	switch {
	case a > 0 && b > 0:
		return a, b
	case vv > 0 && v1*v1/vv >= u1*u1/uu:
		return 0, v1 / vv
	}
	return u1 / uu, 0
}

// FittedFloor is such a law with what says how far to trust it.
type FittedFloor struct {
	Law    FloorLaw `json:"-"`
	Points int      `json:"points"`
	E      Interval `json:"E"`
	A      Interval `json:"A"`
	Alpha  Interval `json:"a"`
	// Scatter is that of ln y about the law, Worst the largest distance.
	Scatter       float64        `json:"scatter"`
	Worst         float64        `json:"worst"`
	Extrapolation *Extrapolation `json:"extrapolation"`
	Notes         []string       `json:"notes"`
	Resamples     int            `json:"resamples"`
	Failed        int            `json:"failed_resamples"`

	laws []FloorLaw
}

// ReportFloor fits a law and resamples the points so many times, as Report does; progress, where it isn't nil, is told how many resamples
// are done. It returns a *Trouble where y rises with x, or where no power falls as it does.
func ReportFloor(ctx context.Context, x, y []float64, runs []int, resamples int, progress func(done int)) (*FittedFloor, error) {
	law, err := FitFloor(x, y)
	if err != nil {
		return nil, err
	}
	f := &FittedFloor{Law: law, Points: len(x), Resamples: resamples}
	off := xslices.Map(xslices.Iota(0, len(x)), func(i int) float64 { return math.Abs(math.Log(law.At(x[i]) / y[i])) })
	f.Scatter, f.Worst = deviation*Median(off), slices.Max(off)
	if t := f.shape(x, y); t != nil {
		return nil, t
	}
	problem, draws := newFloorProblem(x, y), drawsOf(runs, len(x))
	f.laws, err = inParallel(ctx, resamples, progress, func() func(i int) (FloorLaw, bool) {
		own := *problem
		own.weight = slices.Clone(problem.weight)
		return func(i int) (FloorLaw, bool) {
			draws.draw(own.weight, rand.New(rand.NewPCG(seedOfResamples, uint64(i))))
			var present []float64
			for j, w := range own.weight {
				if w > 0 {
					present = append(present, x[j])
				}
			}
			if len(distinct(present)) < FewestOfFloor-1 {
				return FloorLaw{}, false
			}
			return own.near(law.Alpha), true
		}
	})
	if err != nil {
		return nil, err
	}
	if f.Failed = resamples - len(f.laws); len(f.laws) == 0 {
		return nil, fmt.Errorf("scaling: none of %d resamples of %d points has the sizes or amounts that a fit needs", resamples, len(x))
	}
	f.E, f.A = f.interval(func(l FloorLaw) float64 { return l.E }), f.interval(func(l FloorLaw) float64 { return l.A })
	f.Alpha = f.interval(func(l FloorLaw) float64 { return l.Alpha })
	f.Extrapolation = extrapolateFloor(x, y)
	lowest := slices.Min(y)
	if f.E.Low < .05*lowest {
		f.Notes = append(f.Notes, fmt.Sprintf("the floor E may be nothing: its interval begins at %.3g, the least loss is %.4g", f.E.Low, lowest))
	}
	if f.Alpha.High > 3*f.Alpha.Low {
		f.Notes = append(f.Notes, fmt.Sprintf("exponent a is hardly determined: %.3g to %.3g", f.Alpha.Low, f.Alpha.High))
	}
	return f, nil
}

// shape says where points have none that such a law has.
func (f *FittedFloor) shape(x, y []float64) *Trouble {
	law, lowest, first, last := f.Law, slices.Min(y), slices.Min(x), slices.Max(x)
	if law.At(first)-law.At(last) >= max(least, f.Scatter/math.Sqrt(float64(len(x))))*lowest {
		return nil
	}
	if slope, _ := PowerLaw(x, y); slope.Slope > 0 && slope.At(last)/slope.At(first) > 1+rise {
		return &Trouble{"rising", fmt.Sprintf("loss rises by %.1f%% from %.4g to %.4g: no falling power does",
			100*(slope.At(last)/slope.At(first)-1), first, last)}
	}
	return &Trouble{"flat", fmt.Sprintf("loss changes by %.2g%% from %.4g to %.4g, where points scatter by %.2g%%",
		100*(law.At(first)-law.At(last))/lowest, first, last, 100*f.Scatter)}
}

// interval returns a statistic of the law and its interval over resamples.
func (f *FittedFloor) interval(of func(FloorLaw) float64) Interval {
	return intervalOf(f.Law, f.laws, of)
}

// Predict returns y at x with its band.
func (f *FittedFloor) Predict(x float64) Interval {
	return f.interval(func(l FloorLaw) float64 { return l.At(x) })
}

// extrapolateFloor fits all but the largest tenth of the x, at least the largest one, and predicts these.
func extrapolateFloor(x, y []float64) *Extrapolation {
	sizes := distinct(x)
	above := sizes[len(sizes)-1-max(1, len(sizes)/10)]
	var sx, sy []float64
	for i := range x {
		if x[i] <= above {
			sx, sy = append(sx, x[i]), append(sy, y[i])
		}
	}
	law, err := FitFloor(sx, sy)
	if err != nil {
		return nil
	}
	e := &Extrapolation{Above: above, Points: len(x) - len(sx)}
	for i := range x {
		if x[i] > above {
			e.add(math.Log(law.At(x[i]) / y[i]))
		}
	}
	return e
}
