package scaling

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Interval is an estimate and its 95% percentile interval over resamples.
type Interval struct {
	Estimate float64 `json:"estimate"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
}

// MarshalJSON writes null for numbers that are not finite, which JSON has not.
func (i Interval) MarshalJSON() ([]byte, error) {
	finite := func(v float64) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	return json.Marshal(map[string]*float64{"estimate": finite(i.Estimate), "low": finite(i.Low), "high": finite(i.High)})
}

// Fitted is a law with all that says how far to trust it.
type Fitted struct {
	Law      Law      `json:"-"`
	Points   int      `json:"points"`
	Sizes    int      `json:"sizes"`
	E        Interval `json:"E"`
	A        Interval `json:"A"`
	B        Interval `json:"B"`
	Alpha    Interval `json:"a"`
	Beta     Interval `json:"b"`
	Boundary Interval `json:"boundary"` // Law.Boundary
	// Covariance is that of (E, ln A, ln B, a, b) over resamples.
	Covariance [][]float64 `json:"covariance"`
	Scatter    float64     `json:"scatter"` // of ln loss about the law: 1.48 times the median distance, a standard deviation if normal
	Worst      float64     `json:"worst"`   // largest distance of ln loss from the law
	// Extrapolation is how the law without the largest sizes predicts them; nil where too few points are left.
	Extrapolation *Extrapolation `json:"extrapolation"`
	Influence     []Influence    `json:"influence"` // of sizes, those that pull most first
	Notes         []string       `json:"notes"`     // what to know before the fit is used
	Resamples     int            `json:"resamples"`
	Failed        int            `json:"failed_resamples"` // resamples without the three sizes or amounts of data that a fit needs

	laws []Law // of the resamples
}

// Extrapolation is the error of a prediction.
type Extrapolation struct {
	Above  float64 `json:"above"`  // the largest size of the points that were fitted
	Points int     `json:"points"` // predicted: those of larger sizes
	Mean   float64 `json:"mean"`   // mean of ln prediction - ln loss: positive where it promised too little
	Worst  float64 `json:"worst"`  // largest |ln prediction - ln loss|
}

// Influence is what the law would be without the points of some sizes.
type Influence struct {
	From   float64 `json:"from"` // sizes N
	To     float64 `json:"to"`
	Points int     `json:"points"`
	E      float64 `json:"E"`
	Alpha  float64 `json:"a"`
	Beta   float64 `json:"b"`
	// Shift is the largest change of E, a or b in standard errors.
	Shift float64 `json:"shift"`
}

// seedOfResamples makes intervals the same each time.
const seedOfResamples = 20260528

// Report fits a law and resamples the points so many times with replacement; progress, where it isn't nil, is told how many resamples are
// done. Points of one training that is seen several times are not independent: runs says which training each point is of, and all points of
// one are drawn together (nil: each is of its own).
func Report(ctx context.Context, points []Point, runs []int, resamples int, progress func(done int)) (*Fitted, error) {
	law, err := Fit(points)
	if err != nil {
		return nil, err
	}
	p := newProblem(points)
	f := &Fitted{Law: law, Points: len(points), Sizes: len(distinct(p.x)), Resamples: resamples}
	if f.laws, err = p.resample(ctx, law, drawsOf(runs, len(points)), resamples, progress); err != nil {
		return nil, err
	}
	if f.Failed = resamples - len(f.laws); len(f.laws) == 0 {
		return nil, fmt.Errorf("scaling: none of %d resamples of %d points has the sizes and amounts of data that a fit needs", resamples,
			len(points))
	}
	interval := func(of func(Law) float64) Interval { return f.interval(of) }
	f.E, f.A, f.B = interval(func(l Law) float64 { return l.E }), interval(func(l Law) float64 { return l.A }),
		interval(func(l Law) float64 { return l.B })
	f.Alpha, f.Beta = interval(func(l Law) float64 { return l.Alpha }), interval(func(l Law) float64 { return l.Beta })
	f.Boundary = interval(Law.Boundary)
	f.Covariance = covariance(f.laws)
	off := distances(points, law)
	f.Worst = slices.Max(off)
	f.Scatter = deviation * Median(off)
	f.Extrapolation = extrapolate(points)
	f.Influence = f.influence(points)
	f.Notes = f.notes(points)
	return f, nil
}

// Median returns the median of at least one value.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// interval returns a statistic of the law and its interval over resamples.
func (f *Fitted) interval(of func(Law) float64) Interval {
	return intervalOf(f.Law, f.laws, of)
}

// intervalOf returns a statistic of a law and its interval over those of resamples.
func intervalOf[L any](law L, laws []L, of func(L) float64) Interval {
	values := slices.Sorted(slices.Values(xslices.Map(laws, of)))
	return Interval{of(law), stat.Quantile(.025, stat.LinInterp, values, nil), stat.Quantile(.975, stat.LinInterp, values, nil)}
}

// Predict returns the loss of a size and an amount of data, with its band: the uncertainty of the law, not the scatter about it.
func (f *Fitted) Predict(n, d float64) Interval {
	return f.interval(func(l Law) float64 { return l.Loss(n, d) })
}

// Optimum returns the size and the amount of data of least loss for a budget of C = 6 N D.
func (f *Fitted) Optimum(c float64) (n, d Interval) {
	size := func(l Law) float64 { n, _ := l.Optimum(c); return n }
	data := func(l Law) float64 { _, d := l.Optimum(c); return d }
	return f.interval(size), f.interval(data)
}

// resample fits resamples of the points from the law on, on all cores. Those without a fit are left out.
func (p *problem) resample(ctx context.Context, law Law, from draws, resamples int, progress func(done int)) ([]Law, error) {
	start := p.theta(law)
	return inParallel(ctx, resamples, progress, func() func(i int) (Law, bool) {
		own := p.clone()
		return func(i int) (Law, bool) {
			from.draw(own.weight, rand.New(rand.NewPCG(seedOfResamples, uint64(i))))
			if !own.enough() {
				return Law{}, false
			}
			return own.law(own.improve(start, 200, 1e-7)), true
		}
	})
}

// inParallel fits resamples on all cores, in each by a function of its own, and returns those that have a fit, in their order.
func inParallel[L any](ctx context.Context, resamples int, progress func(done int), worker func() func(i int) (L, bool)) ([]L, error) {
	laws := make([]*L, resamples)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), resamples) {
		all.Go(func() {
			fit := worker()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= resamples {
					return
				}
				if progress != nil && i%64 == 0 {
					progress(i)
				}
				if l, ok := fit(i); ok {
					laws[i] = &l
				}
			}
		})
	}
	all.Wait()
	var found []L
	for _, l := range laws {
		if l != nil {
			found = append(found, *l)
		}
	}
	return found, ctx.Err()
}

// clone shares the points.
func (p *problem) clone() *problem {
	own := *p
	own.weight = slices.Clone(p.weight)
	return &own
}

// draws are the points of each training, which are drawn together.
type draws [][]int

// drawsOf returns those of n points, of which runs says which training each is of; nil: each is of its own.
func drawsOf(runs []int, n int) (d draws) {
	at := map[int]int{}
	for i := range n {
		run := i
		if runs != nil {
			run = runs[i]
		}
		k, known := at[run]
		if !known {
			k, d = len(d), append(d, nil)
			at[run] = k
		}
		d[k] = append(d[k], i)
	}
	return d
}

// draw weighs points by how often a resample has them.
func (d draws) draw(weight []float64, random *rand.Rand) {
	clear(weight)
	for range d {
		for _, i := range d[random.IntN(len(d))] {
			weight[i]++
		}
	}
}

// enough reports whether a resample has what a fit needs.
func (p *problem) enough() bool {
	var x, y []float64
	for i, w := range p.weight {
		if w > 0 {
			x, y = append(x, p.x[i]), append(y, p.y[i])
		}
	}
	return len(x) > parameters && len(distinct(x)) > 2 && len(distinct(y)) > 2
}

func covariance(laws []Law) [][]float64 {
	if len(laws) < 2 {
		return nil
	}
	data := mat.NewDense(len(laws), parameters, nil)
	for i, l := range laws {
		data.SetRow(i, []float64{l.E, math.Log(l.A), math.Log(l.B), l.Alpha, l.Beta})
	}
	var c mat.SymDense
	stat.CovarianceMatrix(&c, data, nil)
	rows := make([][]float64, parameters)
	for i := range rows {
		rows[i] = mat.Row(nil, i, &c)
	}
	return rows
}

// extrapolate fits all but the largest tenth of the sizes, at least the largest one, and predicts these; nil where the others are too few
// for a fit.
func extrapolate(points []Point) *Extrapolation {
	sizes := distinct(xslices.Map(points, func(p Point) float64 { return p.N }))
	above := sizes[len(sizes)-1-max(1, len(sizes)/10)]
	var small, large []Point
	for _, p := range points {
		if p.N <= above {
			small = append(small, p)
		} else {
			large = append(large, p)
		}
	}
	law, err := Fit(small)
	if err != nil {
		return nil
	}
	e := &Extrapolation{Above: above, Points: len(large)}
	for _, p := range large {
		e.add(math.Log(law.Loss(p.N, p.D) / p.Loss))
	}
	return e
}

// add counts the error of one of the points.
func (e *Extrapolation) add(off float64) {
	e.Mean += off / float64(e.Points)
	e.Worst = max(e.Worst, math.Abs(off))
}

// groupsOfSizes is into how many groups sizes are cut, to see what pulls a fit.
const groupsOfSizes = 10

// influence fits the points without each group of sizes.
func (f *Fitted) influence(points []Point) []Influence {
	sizes := distinct(xslices.Map(points, func(p Point) float64 { return p.N }))
	groups := min(groupsOfSizes, len(sizes))
	var all []Influence
	for g := range groups {
		of := sizes[g*len(sizes)/groups : (g+1)*len(sizes)/groups]
		in := Influence{From: of[0], To: of[len(of)-1]}
		left := slices.DeleteFunc(slices.Clone(points), func(p Point) bool { return p.N >= in.From && p.N <= in.To })
		in.Points = len(points) - len(left)
		law, err := Fit(left)
		if err != nil { // what is left is too little
			continue
		}
		in.E, in.Alpha, in.Beta = law.E, law.Alpha, law.Beta
		for i, change := range map[int]float64{0: law.E - f.Law.E, 3: law.Alpha - f.Law.Alpha, 4: law.Beta - f.Law.Beta} {
			if f.Covariance != nil && f.Covariance[i][i] > 0 {
				in.Shift = max(in.Shift, math.Abs(change)/math.Sqrt(f.Covariance[i][i]))
			}
		}
		all = append(all, in)
	}
	slices.SortStableFunc(all, func(a, b Influence) int { return cmp.Compare(b.Shift, a.Shift) })
	return all
}

// notes says what to know before a fit is used.
func (f *Fitted) notes(points []Point) (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	losses := xslices.Map(points, func(p Point) float64 { return p.Loss })
	if least := slices.Min(losses); f.E.Low < .05*least {
		note("the floor E may be nothing: its interval begins at %.3g, the least loss is %.4g", f.E.Low, least)
	}
	for name, i := range map[string]Interval{"a": f.Alpha, "b": f.Beta} {
		if i.High > 3*max(i.Low, 1e-9) {
			note("exponent %s is hardly determined: %.3g to %.3g", name, i.Low, i.High)
		}
	}
	slices.Sort(notes)
	if _, off := outliers(points, f.Law); len(off) > 0 {
		sizes := list(distinct(xslices.Map(off, func(p Point) float64 { return p.N })))
		note("far off: %d of %d points (N = %s), more than %.0f times as far from the law as points scatter; compare with the fit without them",
			len(off), len(points), sizes, float64(farOff))
	}
	if e := f.Extrapolation; e != nil && e.Worst > 5*max(f.Scatter, delta) {
		note("without sizes above %.3g the law misses them by up to %.2g%%, where points scatter by %.2g%%", e.Above, 100*e.Worst, 100*f.Scatter)
	}
	if f.Failed > 0 {
		note("%d of %d resamples had too few sizes or amounts of data for a fit", f.Failed, f.Resamples)
	}
	if len(f.Influence) > 0 && f.Influence[0].Shift > 2 {
		i := f.Influence[0]
		note("sizes %s pull the fit: without them a parameter changes by %.1f standard errors", list(distinct([]float64{i.From, i.To})), i.Shift)
	}
	return notes
}

// Trouble is why no law of this form describes points.
type Trouble struct {
	Kind  string `json:"kind"` // rising, broken or flat
	About string `json:"about"`
}

// Error implements error.
func (t *Trouble) Error() string { return "scaling: " + t.About }

// Shape looks for what no law of this form has: a loss that rises with data, one that doesn't depend on size or data, a break. It returns
// a *Trouble, or nil.
func Shape(points []Point) error {
	if err := check(points); err != nil {
		return err
	}
	if t := rising(points); t != nil {
		return t
	}
	law, err := Fit(points)
	if err != nil {
		return err
	}
	if t := flat(points, law); t != nil {
		return t
	}
	if t := broken(points, law); t != nil {
		return t
	}
	return nil
}

// rise is by how much a loss may rise above an earlier one of its size, in ln loss; it is more where a curve's noise is.
const rise = .02

// rising looks for sizes whose loss rises with data, by more than five standard deviations of their noise.
func rising(points []Point) *Trouble {
	var worst, size, from, to float64
	for _, n := range distinct(xslices.Map(points, func(p Point) float64 { return p.N })) {
		own := slices.DeleteFunc(slices.Clone(points), func(p Point) bool { return p.N != n })
		slices.SortFunc(own, func(a, b Point) int { return cmp.Compare(a.D, b.D) })
		if len(own) < 3 {
			continue
		}
		noise := noiseOf(own)
		for i, p := range own {
			for j, q := range own[:i] {
				up := math.Log(p.Loss / q.Loss)
				// A single point that stands out is noise; a rise is seen by the next point, too.
				if i+1 < len(own) {
					up = min(up, math.Log(own[i+1].Loss/q.Loss))
				} else if i-1 > j {
					up = min(up, math.Log(own[i-1].Loss/q.Loss))
				}
				if up > rise+5*noise && up > worst {
					worst, size, from, to = up, n, q.D, p.D
				}
			}
		}
	}
	if worst == 0 {
		return nil
	}
	return &Trouble{"rising", fmt.Sprintf("loss of size N %.4g rises by %.1f%% from D %.4g to %.4g: no sum of falling powers does; "+
		"a curve that gets worse needs another explanation (repeated data, forgetting, a rate too high) before a fit", size,
		100*math.Expm1(worst), from, to)}
}

// noiseOf estimates the noise of ln loss of a curve by how far points are from the line through their neighbours, more or less than is
// usual: a bend is no noise.
func noiseOf(curve []Point) float64 {
	var all []float64
	for i := 1; i+1 < len(curve); i++ {
		a, b, c := curve[i-1], curve[i], curve[i+1]
		if a.D == c.D {
			continue
		}
		at := math.Log(b.D/a.D) / math.Log(c.D/a.D)
		line := (1-at)*math.Log(a.Loss) + at*math.Log(c.Loss)
		all = append(all, (math.Log(b.Loss)-line)/math.Sqrt(1+at*at+(1-at)*(1-at)))
	}
	if len(all) == 0 {
		return 0
	}
	usual := Median(all)
	return deviation * Median(xslices.Map(all, func(v float64) float64 { return math.Abs(v - usual) }))
}

// deviation times the median distance of normal numbers is their standard deviation.
const deviation = 1.4826

// least is the share of loss that a term must take from the smallest N or D to the largest to be seen at all.
const least = 2e-3

// flat looks for a term that changes the loss by less than the noise.
func flat(points []Point, law Law) *Trouble {
	scatter := deviation * Median(distances(points, law))
	ranges := func(of func(Point) float64) (low, high float64) {
		all := xslices.Map(points, of)
		return slices.Min(all), slices.Max(all)
	}
	smallest, largest := ranges(func(p Point) float64 { return p.N })
	first, last := ranges(func(p Point) float64 { return p.D })
	lowest, _ := ranges(func(p Point) float64 { return p.Loss })
	ofN := law.A * (math.Pow(smallest, -law.Alpha) - math.Pow(largest, -law.Alpha)) / lowest
	ofD := law.B * (math.Pow(first, -law.Beta) - math.Pow(last, -law.Beta)) / lowest
	for _, c := range []struct {
		name      string
		effect    float64
		low, high float64
	}{{"N", ofN, smallest, largest}, {"D", ofD, first, last}} {
		if c.effect < max(least, scatter/math.Sqrt(float64(len(points)))) {
			return &Trouble{"flat", fmt.Sprintf("loss doesn't depend on %s: from %.4g to %.4g it changes by %.2g%%, where points scatter by "+
				"%.2g%%", c.name, c.low, c.high, 100*c.effect, 100*scatter)}
		}
	}
	return nil
}

// distances returns how far the ln losses of points are from a law.
func distances(points []Point, law Law) []float64 {
	return xslices.Map(points, func(p Point) float64 { return math.Abs(math.Log(law.Loss(p.N, p.D) / p.Loss)) })
}

// farOff is how many times the scatter of all points (no less than delta) makes one an outlier, and few the share of points that can be.
const farOff, few = 10, .05

// outliers parts points into those near a law and a few far off. Where more are far off than few, none is: then it is the law that misses.
func outliers(points []Point, law Law) (near, off []Point) {
	distance := distances(points, law)
	scatter := deviation * Median(distance)
	for i, p := range points {
		if distance[i] > farOff*max(scatter, delta) {
			off = append(off, p)
		} else {
			near = append(near, p)
		}
	}
	if float64(len(off)) > few*float64(len(points)) {
		return points, nil
	}
	return near, off
}

// broken looks for what is left of ln loss after the fit and is no noise: a smooth function of ln N and ln D that explains much of it, and
// is no less than systematic. Outliers are left out: a few of them, at one end of N or D, pass for a smooth
// departure.
func broken(points []Point, law Law) *Trouble {
	points, _ = outliers(points, law)
	p := newProblem(points)
	terms := monomials(p)
	n, k := len(points), len(terms)
	if n < 3*k {
		return nil
	}
	design, left := mat.NewDense(n, k, nil), mat.NewVecDense(n, nil)
	for j, term := range terms {
		for i := range n {
			design.Set(i, j, math.Pow(p.x[i], term[0])*math.Pow(p.y[i], term[1]))
		}
	}
	theta := p.theta(law)
	for i := range n {
		left.SetVec(i, -p.residual(theta, i))
	}
	var c, trend mat.VecDense
	if err := c.SolveVec(design, left); err != nil {
		return nil // sizes and data that don't tell the terms apart
	}
	trend.MulVec(design, &c)
	explained := math.Pow(mat.Norm(&trend, 2)/mat.Norm(left, 2), 2)
	size := mat.Norm(&trend, 2) / math.Sqrt(float64(n))
	// Noise leaves k terms an explained share of k/n on average; five standard deviations above that are no accident.
	chance := float64(k) / float64(n)
	if size < systematic || explained < max(mostly, chance+5*math.Sqrt(2*chance/float64(n))) {
		return nil
	}
	return &Trouble{"broken", fmt.Sprintf("ln loss departs from the best law by a smooth %.1f%%, %.0f%% of all that is left: there is a "+
		"break or a bend that one sum of powers doesn't have; fit a narrower range", 100*size, 100*explained)}
}

// The least smooth departure of ln loss that counts, and its least share of the squares that a fit leaves.
const systematic, mostly = .01, .3

// monomials returns the exponents of ln N and ln D, up to cubes as far as there are values enough.
func monomials(p *problem) [][2]float64 {
	terms := [][2]float64{{0, 0}, {1, 1}}
	for power := 1.; power <= 3; power++ {
		if float64(len(distinct(p.x))) > power {
			terms = append(terms, [2]float64{power, 0})
		}
		if float64(len(distinct(p.y))) > power {
			terms = append(terms, [2]float64{0, power})
		}
	}
	return terms
}
