package sizing

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// tail is a law y = E + A/x^a with E and A not below 0, fitted to where a learning curve falls, and laws from all over the set that the
// points don't tell from it: those whose sum of squares is within the bounds of a 95% profile likelihood interval.
type tail struct {
	best     law
	accepted []law
	noise    float64 // standard deviation of y about the best
	from, to float64 // x that were fitted
}

type law struct{ e, a, alpha float64 }

func (l law) at(x float64) float64 { return l.e + l.a*math.Pow(x, -l.alpha) }

// reaches returns the x at which a law comes down to y; +Inf where it never does.
func (l law) reaches(y float64) float64 {
	if y <= l.e || l.a == 0 {
		return math.Inf(1)
	}
	return math.Pow(l.a/(y-l.e), 1/l.alpha)
}

// Exponents of learning curves that are looked at, and how many of those accepted, and floors at each.
const (
	leastExponent, mostExponent = .05, 3.
	exponentSteps, floorSteps   = 40, 6
	fewestOfTail                = 5
)

// fitTail returns the fit of at least five points; false where there are fewer.
func fitTail(x, y []float64) (t tail, ok bool) {
	n := len(x)
	if n < fewestOfTail {
		return t, false
	}
	t.from, t.to = x[0], x[n-1]
	s := tailSums{x: x, y: y, scale: math.Sqrt(x[0] * x[n-1])}
	exponent := func(i float64) float64 {
		return leastExponent * math.Pow(mostExponent/leastExponent, i/exponentSteps)
	}
	least := func(i float64) float64 { _, squares := s.given(exponent(i)); return squares }
	best := 0.
	for i := range exponentSteps + 1 {
		if least(float64(i)) < least(best) {
			best = float64(i)
		}
	}
	low, high := max(0, best-1), min(exponentSteps, best+1)
	for range 40 {
		a, b := low+(high-low)/3, high-(high-low)/3
		if least(a) < least(b) {
			high = b
		} else {
			low = a
		}
	}
	if middle := (low + high) / 2; least(middle) < least(best) {
		best = middle
	}
	free := float64(n - 3)
	quantile := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: free}.Quantile(.975)
	limit := least(best) * (1 + quantile*quantile/free)
	edge := func(far float64) float64 { // between the best exponent and an end, where the limit is passed
		if least(far) <= limit {
			return far
		}
		near := best
		for range 40 {
			if middle := (near + far) / 2; least(middle) <= limit {
				near = middle
			} else {
				far = middle
			}
		}
		return near
	}
	first, last := edge(0), edge(exponentSteps)
	for i := range exponentSteps + 1 {
		s.accept(&t, exponent(first+(last-first)*float64(i)/exponentSteps), limit)
	}
	t.best, _ = s.given(exponent(best))
	t.best.a *= math.Pow(s.scale, t.best.alpha)
	t.noise = math.Sqrt(least(best) / free)
	return t, true
}

// tailSums are points with x in units of a scale.
type tailSums struct {
	x, y  []float64
	scale float64
}

// sums returns those of v = x^-a, v², v y and y.
func (s tailSums) sums(alpha float64) (v, vv, vy, y float64) {
	for i := range s.x {
		p := math.Pow(s.x[i]/s.scale, -alpha)
		v, vv, vy, y = v+p, vv+p*p, vy+p*s.y[i], y+s.y[i]
	}
	return v, vv, vy, y
}

// with returns the law of an exponent and a floor with the best factor, not below 0, and its sum of squares.
func (s tailSums) with(alpha, e float64) (l law, squares float64) {
	v, vv, vy, _ := s.sums(alpha)
	l = law{e, max(0, (vy-e*v)/vv), alpha}
	for i := range s.x {
		r := s.y[i] - l.e - l.a*math.Pow(s.x[i]/s.scale, -alpha)
		squares += r * r
	}
	return l, squares
}

// floor returns the best floor at an exponent, which may be below 0, and by how much the sum of squares grows with the square of the
// distance from it.
func (s tailSums) floor(alpha float64) (e, growth float64) {
	v, vv, vy, y := s.sums(alpha)
	n := float64(len(s.x))
	growth = n - v*v/vv
	return (y - vy*v/vv) / growth, growth
}

// given returns the best law of an exponent.
func (s tailSums) given(alpha float64) (law, float64) {
	e, _ := s.floor(alpha)
	return s.with(alpha, max(0, e))
}

// accept adds laws of an exponent from all over the floors at which the sum of squares is within the limit.
func (s tailSums) accept(t *tail, alpha, limit float64) {
	best, growth := s.floor(alpha)
	_, least := s.given(alpha)
	half := math.Sqrt(max(0, limit-least) / growth)
	for j := -floorSteps; j <= floorSteps; j++ {
		e := max(0, best) + half*float64(j)/floorSteps
		if e < 0 {
			continue
		}
		if l, squares := s.with(alpha, e); squares <= limit*(1+1e-9) {
			l.a *= math.Pow(s.scale, alpha)
			t.accepted = append(t.accepted, l)
		}
	}
}

// over returns a number of the best law and its range over all that are accepted.
func (t tail) over(of func(l law) float64) (best, low, high float64) {
	best = of(t.best)
	low, high = best, best
	for _, l := range t.accepted {
		v := of(l)
		low, high = min(low, v), max(high, v)
	}
	return best, low, high
}
