// Package scaling fits power laws to measurements, with intervals that count what was measured: L(N,D) = E + A/N^a + B/D^b by the Huber
// loss of ln L (Hoffmann et al., arXiv 2203.15556), and what follows from it about small and large models (Fig 1 of arXiv 2605.29548);
// y = A x^b by least squares in logarithms, by maximum likelihood where some y are only known to lie beyond what was measured; and
// bootstrap intervals over points or seeds (Michaud et al. 2023, arXiv 2303.13506, App. A, for what of parity is fitted).
package scaling

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Line is log y = Intercept + Slope·log x, natural logarithms: y = exp(Intercept)·x^Slope. Scatter is the standard deviation
// of log y about it.
type Line struct{ Slope, Intercept, Scatter float64 }

// At returns y at x.
func (l Line) At(x float64) float64 { return math.Exp(l.Intercept + l.Slope*math.Log(x)) }

// PowerLaw fits y = A x^b by least squares in logarithms. x and y are positive and of equal length; it needs two different x.
func PowerLaw(x, y []float64) (Line, error) {
	lx, ly, err := logarithms(x, y)
	if err != nil {
		return Line{}, err
	}
	intercept, slope := stat.LinearRegression(lx, ly, nil, false)
	squares := 0.
	for i := range lx {
		squares += math.Pow(ly[i]-intercept-slope*lx[i], 2)
	}
	return Line{slope, intercept, math.Sqrt(squares / float64(len(x)))}, nil
}

// Censored fits y = A x^b where some y are only known to be larger than what stands there (a task that was not learned by
// the last step). log y is taken to be normal about the line (Tobin's model), and the likelihood
//
//	sum over measured of log N(log y; line, sigma²) + sum over censored of log P(log y > limit)
//
// is maximised by Newton's method in (line/sigma, 1/sigma), in which it is concave (Olsen 1978, Econometrica 46:1211). At least
// two measured y at different x are needed.
func Censored(x, y []float64, censored []bool) (Line, error) {
	lx, ly, err := logarithms(x, y)
	if err != nil {
		return Line{}, err
	}
	if len(censored) != len(x) {
		return Line{}, fmt.Errorf("scaling: %d censoring marks for %d points: want one each", len(censored), len(x))
	}
	var mx, my []float64
	for i, c := range censored {
		if !c {
			mx, my = append(mx, x[i]), append(my, y[i])
		}
	}
	start, err := PowerLaw(mx, my)
	if err != nil {
		return Line{}, fmt.Errorf("%w, among the points that are not censored", err)
	}
	if !slices.Contains(censored, true) {
		return start, nil
	}
	// theta = (intercept/sigma, slope/sigma, 1/sigma)
	precision := 1 / max(start.Scatter, 1e-3)
	theta := [3]float64{start.Intercept * precision, start.Slope * precision, precision}
	value, gradient, hessian := likelihood(theta, lx, ly, censored)
	for range 200 {
		var step mat.VecDense
		if err := step.SolveVec(hessian, gradient); err != nil {
			return Line{}, fmt.Errorf("scaling: the censored points leave the line undetermined: %w", err)
		}
		moved := false
		for scale := 1.; scale > 1e-9; scale /= 2 {
			next := theta
			for i := range next {
				next[i] -= scale * step.AtVec(i)
			}
			if v, g, h := likelihood(next, lx, ly, censored); next[2] > 0 && v > value {
				moved = v-value > 1e-12*math.Abs(v)
				theta, value, gradient, hessian = next, v, g, h
				break
			}
		}
		if !moved {
			break
		}
	}
	return Line{theta[1] / theta[2], theta[0] / theta[2], 1 / theta[2]}, nil
}

// likelihood returns the logarithm of the likelihood of Censored with its gradient and Hessian.
func likelihood(theta [3]float64, lx, ly []float64, censored []bool) (value float64, gradient *mat.VecDense, hessian *mat.Dense) {
	gradient, hessian = mat.NewVecDense(3, nil), mat.NewDense(3, 3, nil)
	for i := range lx {
		direction := mat.NewVecDense(3, []float64{1, lx[i], -ly[i]}) // of z, the line less log y, in units of sigma
		z := theta[0] + theta[1]*lx[i] - theta[2]*ly[i]
		var slope, curvature float64
		if censored[i] {
			value += logCDF(z)
			slope = math.Exp(distuv.UnitNormal.LogProb(z) - logCDF(z))
			curvature = -slope * (slope + z)
		} else {
			value += math.Log(theta[2]) - z*z/2
			slope, curvature = -z, -1
			gradient.SetVec(2, gradient.AtVec(2)+1/theta[2])
			hessian.Set(2, 2, hessian.At(2, 2)-1/(theta[2]*theta[2]))
		}
		gradient.AddScaledVec(gradient, slope, direction)
		hessian.RankOne(hessian, curvature, direction, direction)
	}
	return value, gradient, hessian
}

// logCDF is the logarithm of the standard normal distribution function; far below zero by Mills' ratio, where the
// function itself underflows.
func logCDF(z float64) float64 {
	if z > -20 {
		return math.Log(.5 * math.Erfc(-z/math.Sqrt2))
	}
	return distuv.UnitNormal.LogProb(z) - math.Log(-z) + math.Log1p(-1/(z*z))
}

func logarithms(x, y []float64) (lx, ly []float64, err error) {
	if len(x) != len(y) {
		return nil, nil, fmt.Errorf("scaling: %d x and %d y: want equally many", len(x), len(y))
	}
	for i := range x {
		if !(x[i] > 0) || !(y[i] > 0) || math.IsInf(x[i], 0) || math.IsInf(y[i], 0) {
			return nil, nil, fmt.Errorf("scaling: point %d is (%g, %g): want positive numbers", i+1, x[i], y[i])
		}
		lx, ly = append(lx, math.Log(x[i])), append(ly, math.Log(y[i]))
	}
	if len(x) < 2 || slices.Min(lx) == slices.Max(lx) {
		return nil, nil, fmt.Errorf("scaling: a line through %d points needs two different x", len(x))
	}
	return lx, ly, nil
}

// Bootstrap returns the 95% percentile interval of a statistic under resampling of n seeds with replacement: of gets the
// chosen seeds' indices. Resamples on which of fails are left out; with none left the interval is NaN. Intervals of five seeds
// or fewer are too narrow: their spread is that of the sample, and no resample reaches beyond its extremes.
func Bootstrap(n, resamples int, random *rand.Rand, of func(seeds []int) (float64, error)) (low, high float64) {
	var values []float64
	for range resamples {
		seeds := make([]int, n)
		for i := range seeds {
			seeds[i] = random.IntN(n)
		}
		if v, err := of(seeds); err == nil && !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return math.NaN(), math.NaN()
	}
	slices.Sort(values)
	return stat.Quantile(.025, stat.Empirical, values, nil), stat.Quantile(.975, stat.Empirical, values, nil)
}
