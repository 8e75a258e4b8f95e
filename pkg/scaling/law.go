package scaling

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Point is the loss of a model of N parameters after D tokens, samples or steps.
type Point struct{ N, D, Loss float64 }

// Law is L(N,D) = E + A/N^a + B/D^b (Eq. 1 of arXiv 2605.29548; Hoffmann et al., arXiv 2203.15556, Eq. 2).
type Law struct{ E, A, B, Alpha, Beta float64 }

// Published fits of Chinchilla's runs: Hoffmann et al. (arXiv 2203.15556, D.3), whose minimisation stopped early, and Besiroglu et al.
// (arXiv 2404.10102, Table 1), from 240 of the same runs.
var (
	Hoffmann  = Law{E: 1.69, A: 406.4, B: 410.7, Alpha: .34, Beta: .28}
	Besiroglu = Law{E: 1.8172, A: 482.01, B: 2085.43, Alpha: .3478, Beta: .3658}
)

// Loss returns L(N,D).
func (l Law) Loss(n, d float64) float64 {
	return l.E + l.A*math.Pow(n, -l.Alpha) + l.B*math.Pow(d, -l.Beta)
}

// Asymptotic returns L_inf(N), the loss as D grows without limit.
func (l Law) Asymptotic(n float64) float64 { return l.E + l.A*math.Pow(n, -l.Alpha) }

// Boundary returns (1 + a/b)^(1/a): a model larger than another by more than this factor reaches, trained compute-optimally, what the other
// doesn't with any amount of data. It follows from L_C(N) - E = (1 + a/b) A/N^a.
func (l Law) Boundary() float64 { return math.Pow(1+l.Alpha/l.Beta, 1/l.Alpha) }

// Optimum returns the N and D at which a budget of C = 6 N D gives the least loss.
func (l Law) Optimum(c float64) (n, d float64) {
	g := math.Pow(l.Alpha*l.A/(l.Beta*l.B), 1/(l.Alpha+l.Beta))
	n = g * math.Pow(c/6, l.Beta/(l.Alpha+l.Beta))
	return n, c / 6 / n
}

// delta is where the Huber loss of ln L turns from square to absolute (Hoffmann et al.).
const delta = 1e-3

// FewestPoints are what a fit of five parameters needs.
const FewestPoints = 6

// Fit returns the law that minimises the sum over points of Huber_delta(ln L(N,D) - ln loss). Sizes and data are searched for (a, b) from a
// grid of starts; of each pair E, A and B follow by least squares of relative errors, none of them negative (variable projection, which
// makes the problem far better conditioned: arXiv 2603.22339); all five are then improved together.
func Fit(points []Point) (Law, error) {
	if err := check(points); err != nil {
		return Law{}, err
	}
	p := newProblem(points)
	starts := p.starts()
	slices.SortFunc(starts, func(a, b []float64) int { return cmp.Compare(p.value(a), p.value(b)) })
	best := p.improve(starts[0], 2000, 1e-13)
	for _, start := range starts[1:4] {
		if theta := p.improve(start, 2000, 1e-13); p.value(theta) < p.value(best) {
			best = theta
		}
	}
	return p.law(best), nil
}

// check returns an error that says what is missing.
func check(points []Point) error {
	var n, d, loss []float64
	for i, p := range points {
		for _, v := range []float64{p.N, p.D, p.Loss} {
			if !(v > 0) || math.IsInf(v, 0) {
				return fmt.Errorf("scaling: point %d is N %g, D %g, loss %g: want positive numbers, as a law in powers is fitted to ln loss",
					i+1, p.N, p.D, p.Loss)
			}
		}
		n, d, loss = append(n, p.N), append(d, p.D), append(loss, p.Loss)
	}
	sizes, amounts := distinct(n), distinct(d)
	switch {
	case len(points) < FewestPoints:
		return fmt.Errorf("scaling: %d points: want at least %d for a law of five parameters", len(points), FewestPoints)
	case len(sizes) < 3:
		return fmt.Errorf("scaling: %d sizes N (%s): want at least 3, or nothing tells E from A/N^a", len(sizes), list(sizes))
	case len(amounts) < 3:
		return fmt.Errorf("scaling: %d amounts of data D (%s): want at least 3, or nothing tells E from B/D^b", len(amounts), list(amounts))
	case len(distinct(loss)) == 1:
		return fmt.Errorf("scaling: all %d losses are %g: there is nothing to fit", len(points), loss[0])
	}
	return nil
}

func list(values []float64) string {
	text := ""
	for i, v := range values {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%.4g", v)
	}
	return text
}

// distinct returns the different values, ascending.
func distinct(values []float64) []float64 {
	return slices.Compact(slices.Sorted(slices.Values(values)))
}

// problem is a fit in the parameters theta = (ln E, p, q, a, b) of L = E + exp(p - a x) + exp(q - b y), where x and y are ln N and ln D
// less their means: so a and p, b and q hardly depend on each other.
type problem struct {
	x, y, ln     []float64 // of each point; ln of its loss
	weight       []float64 // how often it is there
	meanX, meanY float64
	terms        [3]float64 // shares of L that residual leaves
}

// parameters of a law.
const parameters = 5

func newProblem(points []Point) *problem {
	p := new(problem)
	for _, at := range points {
		p.x, p.y, p.ln = append(p.x, math.Log(at.N)), append(p.y, math.Log(at.D)), append(p.ln, math.Log(at.Loss))
		p.weight = append(p.weight, 1)
	}
	p.meanX, p.meanY = floats.Sum(p.x)/float64(len(p.x)), floats.Sum(p.y)/float64(len(p.y))
	floats.AddConst(-p.meanX, p.x)
	floats.AddConst(-p.meanY, p.y)
	return p
}

func (p *problem) law(theta []float64) Law {
	return Law{E: math.Exp(theta[0]), A: math.Exp(theta[1] + theta[3]*p.meanX), B: math.Exp(theta[2] + theta[4]*p.meanY),
		Alpha: theta[3], Beta: theta[4]}
}

func (p *problem) theta(l Law) []float64 {
	return []float64{math.Log(l.E), math.Log(l.A) - l.Alpha*p.meanX, math.Log(l.B) - l.Beta*p.meanY, l.Alpha, l.Beta}
}

// residual returns ln L - ln loss of point i, and leaves the three terms' shares of L in terms.
func (p *problem) residual(theta []float64, i int) float64 {
	e, n, d := theta[0], theta[1]-theta[3]*p.x[i], theta[2]-theta[4]*p.y[i]
	top := max(e, n, d)
	p.terms[0], p.terms[1], p.terms[2] = math.Exp(e-top), math.Exp(n-top), math.Exp(d-top)
	sum := p.terms[0] + p.terms[1] + p.terms[2]
	for j := range p.terms {
		p.terms[j] /= sum
	}
	return top + math.Log(sum) - p.ln[i]
}

// value returns the sum of Huber losses.
func (p *problem) value(theta []float64) float64 {
	sum := 0.
	for i, w := range p.weight {
		if w == 0 {
			continue
		}
		if r := math.Abs(p.residual(theta, i)); r < delta {
			sum += w * r * r / 2
		} else {
			sum += w * delta * (r - delta/2)
		}
	}
	return sum
}

// exponents that starts have.
var exponents = []float64{.1, .2, .3, .45, .65, .9, 1.3, 2}

// starts returns, for each pair of exponents of the grid, the terms that fit best by relative least squares.
func (p *problem) starts() (all [][]float64) {
	for _, a := range exponents {
		for _, b := range exponents {
			columns := [3][]float64{}
			for i := range p.x {
				for j, ln := range []float64{0, -a * p.x[i], -b * p.y[i]} {
					columns[j] = append(columns[j], math.Exp(ln-p.ln[i]))
				}
			}
			c := nonNegative(columns)
			least := 1e-6 * math.Exp(slices.Min(p.ln)) // of a term that is not there: a logarithm needs one
			all = append(all, []float64{math.Log(max(c[0], least)), math.Log(max(c[1], least)), math.Log(max(c[2], least)), a, b})
		}
	}
	return all
}

// nonNegative returns the coefficients >= 0 of three columns whose sum is closest to 1 everywhere: of all subsets of columns whose least
// squares have no negative coefficient the closest.
func nonNegative(columns [3][]float64) (best [3]float64) {
	products, sums := [3][3]float64{}, [3]float64{}
	for i := range columns {
		sums[i] = floats.Sum(columns[i])
		for j := range columns {
			products[i][j] = floats.Dot(columns[i], columns[j])
		}
	}
	gain := 0. // by how much the sum of squares is below that of nothing
	for subset := 1; subset < 8; subset++ {
		var in []int
		for j := range 3 {
			if subset>>j&1 == 1 {
				in = append(in, j)
			}
		}
		m, v := mat.NewSymDense(len(in), nil), mat.NewVecDense(len(in), nil)
		for i, a := range in {
			v.SetVec(i, sums[a])
			for j, b := range in[:i+1] {
				m.SetSym(i, j, products[a][b])
			}
		}
		var factors mat.Cholesky
		solution := mat.NewVecDense(len(in), nil)
		if !factors.Factorize(m) || factors.SolveVecTo(solution, v) != nil || mat.Min(solution) < 0 {
			continue
		}
		if g := mat.Dot(solution, v); g > gain {
			gain, best = g, [3]float64{}
			for i, a := range in {
				best[a] = solution.AtVec(i)
			}
		}
	}
	return best
}

// improve minimises the value from theta on by Levenberg and Marquardt's method on weighted squares, the weights of each step those that
// make the squares touch the Huber loss, until a step gains less than a share of the value.
func (p *problem) improve(theta []float64, steps int, share float64) []float64 {
	theta = slices.Clone(theta)
	value, damping := p.value(theta), 1e-3
	next, change := make([]float64, parameters), mat.NewVecDense(parameters, nil)
	damped := mat.NewSymDense(parameters, nil)
	var factors mat.Cholesky
	for range steps {
		normal, gradient := p.linearise(theta)
		moved := false
		for ; damping < 1e12; damping *= 8 {
			for i := range parameters {
				for j := range i {
					damped.SetSym(i, j, normal[i][j])
				}
				damped.SetSym(i, i, normal[i][i]*(1+damping)+1e-18)
			}
			if !factors.Factorize(damped) || factors.SolveVecTo(change, mat.NewVecDense(parameters, gradient[:])) != nil {
				continue
			}
			floats.AddTo(next, theta, change.RawVector().Data)
			if min(next[3], next[4]) <= 0 || max(next[3], next[4]) >= 10 {
				continue
			}
			if v := p.value(next); v < value {
				moved = value-v > share*value
				copy(theta, next)
				value, damping = v, damping/16
				break
			}
		}
		if !moved {
			break
		}
	}
	return theta
}

// linearise returns the normal matrix, of which the lower half is filled, and what it must give.
func (p *problem) linearise(theta []float64) (normal [parameters][parameters]float64, gradient [parameters]float64) {
	for i, w := range p.weight {
		if w == 0 {
			continue
		}
		r := p.residual(theta, i)
		if a := math.Abs(r); a > delta {
			w *= delta / a
		}
		e, n, d := p.terms[0], p.terms[1], p.terms[2]
		slope := [parameters]float64{e, n, d, -n * p.x[i], -d * p.y[i]}
		for j, s := range slope {
			gradient[j] -= w * r * s
			for k := range j + 1 {
				normal[j][k] += w * s * slope[k]
			}
		}
	}
	return normal, gradient
}
