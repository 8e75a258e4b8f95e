package sizing

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/stat"

	"raretask/pkg/scaling"
)

// Curve is how one size learns one task: a loss, or the share of errors, that is the better the lower, at amounts of data that ascend.
type Curve struct {
	Task      string
	Size      float64
	Frequency float64 // of the task in training; 0: not known
	Data, Y   []float64
}

// Answers to: is it size or data?
const (
	MoreData        = "more data would do"
	LargerModel     = "only a larger model would"
	HigherFrequency = "a higher frequency is cheaper"
	Neither         = "neither"
	CantTell        = "can't tell from this"
)

// Diagnosis is the answer for a size of a task that is smaller than the largest.
type Diagnosis struct {
	Task      string            `json:"task"`
	Size      float64           `json:"size"`
	Largest   float64           `json:"largest"` // the best of the larger sizes
	Frequency float64           `json:"frequency,omitzero"`
	Answer    string            `json:"answer"`
	Why       string            `json:"why"`
	Kind      string            `json:"kind"`             // measured, prediction or projection
	End       float64           `json:"end"`              // where the size stands
	Reference float64           `json:"reference"`        // where the best of the larger ones stands
	Floor     *scaling.Interval `json:"floor,omitempty"`  // of the size with any amount of data, where its curve says so
	Needed    *scaling.Interval `json:"needed,omitempty"` // data that the size needs to come to the reference

	tail *tail
}

// Further returns where the size's curve leads, from where its fall was fitted to so many times the data that were measured; nothing where
// its curve says nothing.
func (d Diagnosis) Further(times float64) (data, y []float64) {
	if d.tail == nil {
		return nil, nil
	}
	for i := range 41 {
		at := d.tail.from * math.Pow(times*d.tail.to/d.tail.from, float64(i)/40)
		data, y = append(data, at), append(y, d.tail.best.at(at))
	}
	return data, y
}

// What counts as a difference: a share of what was still to learn when the curves had had a hundredth of their data, and so many standard
// errors of noise.
const (
	leastShare = .05
	errors     = 5.
	before     = 100.
	// nearest and farthest bound by which factor of data an answer goes beyond what was measured: as far as the curve's fall was seen.
	nearest, farthest = 10., 100.
	// patience is by which factor of data a size must have outlasted the larger one to count as one that won't learn.
	patience = 10.
)

// Diagnose answers for each task and size but the largest, beside the best of the larger ones at the same frequency, with curves of higher
// frequencies as further evidence. chance is the loss of guessing; NaN: not known.
func Diagnose(curves []Curve, chance float64) ([]Diagnosis, error) {
	if len(curves) == 0 {
		return nil, fmt.Errorf("sizing: no curves")
	}
	byTask := map[string][]look{}
	for _, c := range curves {
		l, err := newLook(c)
		if err != nil {
			return nil, err
		}
		byTask[c.Task] = append(byTask[c.Task], l)
	}
	var all []Diagnosis
	for _, task := range slices.SortedFunc(maps.Keys(byTask), byNumber) {
		own := byTask[task]
		slices.SortStableFunc(own, func(a, b look) int { return cmp.Or(cmp.Compare(a.Frequency, b.Frequency), cmp.Compare(a.Size, b.Size)) })
		all = append(all, diagnose(own, chance)...)
	}
	return all, nil
}

// byNumber orders names as numbers where both are.
func byNumber(a, b string) int {
	x, noNumber := strconv.ParseFloat(a, 64)
	y, neither := strconv.ParseFloat(b, 64)
	if noNumber != nil || neither != nil {
		return cmp.Compare(a, b)
	}
	return cmp.Compare(x, y)
}

// look is a curve with what is seen of it.
type look struct {
	Curve
	noise float64 // of a point
	start float64 // median of the first points
	end   float64 // where a line through the last ones ends
	best  float64 // least mean of as many in a row, or the end where that is lower
	last  int     // how many these are
	late  float64 // mean of the last quarter
	third float64 // mean of the first third less that of the last
}

// newLook returns what is seen of a curve.
func newLook(c Curve) (l look, err error) {
	l.Curve = c
	if len(c.Data) < 2 || len(c.Data) != len(c.Y) {
		return l, fmt.Errorf("sizing: task %s, size %.4g: %d amounts of data and %d losses: want as many, and two at least", c.Task, c.Size,
			len(c.Data), len(c.Y))
	}
	for i, d := range c.Data {
		wrong := ""
		switch v := c.Y[i]; {
		case math.IsNaN(v) || math.IsInf(v, 0):
			wrong = "want a number"
		case v < 0:
			wrong = "want a loss, or a share of errors, of 0 or more (an accuracy in percent is to be divided by 100)"
		case !(d >= 0) || math.IsInf(d, 0):
			wrong = "want an amount of data of 0 or more"
		case i > 0 && d <= c.Data[i-1]:
			wrong = "want amounts of data that ascend"
		}
		if wrong != "" {
			return l, fmt.Errorf("sizing: task %s, size %.4g: %g at %g: %s", c.Task, c.Size, c.Y[i], d, wrong)
		}
	}
	var bends []float64 // of three points in a row
	for i := 1; i+1 < len(c.Y); i++ {
		bends = append(bends, (c.Y[i]-(c.Y[i-1]+c.Y[i+1])/2)/math.Sqrt(1.5))
	}
	if len(bends) > 2 {
		usual := scaling.Median(bends)
		l.noise = 1.4826 * scaling.Median(xslices.Map(bends, func(v float64) float64 { return math.Abs(v - usual) }))
	}
	l.last = max(1, min(8, len(c.Y)/4))
	mean := func(to int) float64 {
		sum := 0.
		for _, v := range c.Y[to-l.last : to] {
			sum += v
		}
		return sum / float64(l.last)
	}
	l.end = c.lastOf(l.last)
	l.best = l.end
	for to := l.last; to <= len(c.Y); to++ {
		l.best = min(l.best, mean(to))
	}
	l.start = scaling.Median(c.Y[:max(1, min(3, len(c.Y)/4))])
	quarter, third := max(1, len(c.Y)/4), max(1, len(c.Y)/3)
	l.late = stat.Mean(c.Y[len(c.Y)-quarter:], nil)
	l.third = stat.Mean(c.Y[:third], nil) - stat.Mean(c.Y[len(c.Y)-third:], nil)
	return l, nil
}

// at returns the curve's mean about an amount of data, or where it begins.
func (l look) at(data float64) float64 {
	i, _ := slices.BinarySearch(l.Data, data)
	from, to := max(0, min(i, len(l.Y)-1)-1), min(len(l.Y), i+2)
	return stat.Mean(l.Y[from:to], nil)
}

// flat reports whether the curve has not left a level: within a fiftieth of it, and where the level is only where curves begin, without a
// fall that noise doesn't explain.
func (l look) flat(level float64, known bool) bool {
	thirds := float64(max(1, len(l.Y)/3))
	falls := l.third > max(.002*math.Abs(level), errors*l.noise*math.Sqrt(2/thirds))
	return l.best >= level-max(.02*math.Abs(level), errors*l.error()) && (known || !falls)
}

// error is the standard error of the end, about twice that of a mean of as many points.
func (l look) error() float64 { return 2 * l.noise / math.Sqrt(float64(l.last)) }

// lastOf returns where a line through the last points ends, against the logarithm of data: a mean of a curve that falls lies above its end.
func (c Curve) lastOf(n int) float64 {
	if n < 3 {
		return stat.Mean(c.Y[len(c.Y)-n:], nil)
	}
	x := xslices.Map(c.Data[len(c.Data)-n:], func(d float64) float64 { return math.Log(max(d, 1e-300)) })
	intercept, slope := stat.LinearRegression(x, c.Y[len(c.Y)-n:], nil, false)
	return max(0, intercept+slope*x[n-1])
}

// until is the largest amount of data.
func (l look) until() float64 { return l.Data[len(l.Data)-1] }

// learnedAt returns the amount of data at which the curve is first half-way from a level to another one, below it, for good.
func (l look) learnedAt(from, to float64) float64 {
	at := math.Inf(1)
	for i := len(l.Y) - 1; i >= 0 && l.Y[i] < (from+to)/2; i-- {
		at = l.Data[i]
	}
	return at
}

// falling returns the part of the curve from where a tenth of its fall is done, without what comes before any data.
func (l look) falling() (x, y []float64) {
	begin := 0
	for i, v := range l.Y {
		if v > l.start-.1*(l.start-l.best) || l.Data[i] == 0 {
			begin = i + 1
		}
	}
	// What is left of the fall says where it ends: of a curve that was steep first and flat later the last two decades.
	for begin < len(l.Data)-12 && l.Data[begin] < l.until()/100 {
		begin++
	}
	return l.Data[min(begin, len(l.Data)):], l.Y[min(begin, len(l.Data)):]
}

// diagnose answers for the sizes of one task, ordered by frequency and size.
func diagnose(own []look, chance float64) (all []Diagnosis) {
	for first, end := 0, 0; first < len(own); first = end {
		for end = first; end < len(own) && own[end].Frequency == own[first].Frequency; end++ {
		}
		sizes, higher := own[first:end], own[end:]
		if len(sizes) == 1 {
			one := sizes[0]
			all = append(all, Diagnosis{Task: one.Task, Size: one.Size, Largest: one.Size, Frequency: one.Frequency, Answer: CantTell,
				Why: "there is one size only: want curves of two sizes at least", Kind: prediction, End: one.end, Reference: one.end})
			continue
		}
		of := newLevels(sizes, chance)
		for i, small := range sizes[:len(sizes)-1] {
			large := slices.MinFunc(sizes[i+1:], func(a, b look) int { return cmp.Compare(a.best, b.best) })
			d := Diagnosis{Task: small.Task, Size: small.Size, Largest: large.Size, Frequency: small.Frequency, Kind: prediction,
				End: small.end, Reference: large.best}
			d.answer(small, large, of, higher)
			all = append(all, d)
		}
	}
	return all
}

// What an answer is: read off curves, within what was measured, or beyond.
const measured, prediction, projection = "measured", "prediction", "projection"

// levels are what all sizes of a frequency have in common.
type levels struct {
	chance float64 // loss of guessing, or where curves begin
	known  bool    // it was given
	flat   bool    // no size has left it
	spread float64 // what was still to learn when curves had had a hundredth of their data
	count  int     // sizes
}

func newLevels(sizes []look, chance float64) levels {
	of := levels{chance: chance, known: !math.IsNaN(chance), flat: true, count: len(sizes)}
	if !of.known {
		of.chance = slices.Max(xslices.Map(sizes, func(l look) float64 { return l.start }))
	}
	least, middle := math.Inf(1), math.Inf(-1)
	for _, l := range sizes {
		least, middle = min(least, l.best), max(middle, l.at(l.until()/before))
		of.flat = of.flat && l.flat(of.chance, of.known)
	}
	of.spread = max(0, min(of.chance, middle)-least)
	return of
}

// answer fills in the answer of a size beside a larger one, and curves of higher frequencies.
func (d *Diagnosis) answer(small, large look, of levels, higher []look) {
	noise := math.Hypot(small.error(), large.error())
	step := max(leastShare*of.spread, errors*noise) // a difference that counts
	flat := small.flat(of.chance, of.known)
	if t, ok := fitTail(small.falling()); ok && !flat {
		d.tail = &t
		e, low, high := t.over(func(l law) float64 { return l.e })
		d.Floor = &scaling.Interval{Estimate: e, Low: low, High: high}
	}
	worse := min(small.end, small.late) - small.best
	switch {
	case of.flat && of.known:
		d.say(Neither, "no size is better than chance, %.4g, from the first amount of data to the last", of.chance)
	case of.flat:
		d.say(Neither, "every size stands at %.4g, where it began, from the first amount of data to the last", of.chance)
	case large.best-small.end > step:
		d.say(CantTell, "it stands at %.4g, and of larger sizes the best at %.4g: they were not trained as far, or failed", small.end, large.best)
	case small.end-large.best <= step:
		d.alike(large, of, step)
	case worse > max(step, errors*math.Sqrt2*small.error()) && large.end-large.best < worse/2:
		d.say(LargerModel, "it gets worse with data: from %.4g to %.4g, while size %.4g stands at %.4g", small.best, small.end, large.Size,
			large.end)
	case d.moreOften(small, large, higher, step):
	case flat:
		d.threshold(small, large, of.chance)
	case d.tail == nil:
		d.say(CantTell, "fewer than %d points lie where its curve falls", fewestOfTail)
	default:
		d.extrapolate(small, large, step)
	}
}

func (d *Diagnosis) say(answer, why string, args ...any) {
	d.Answer, d.Why = answer, fmt.Sprintf(why, args...)
}

// alike answers where the size is where the larger one is.
func (d *Diagnosis) alike(large look, of levels, step float64) {
	t, ok := fitTail(large.falling())
	if !ok {
		d.say(CantTell, "it is where size %.4g is, %.4g, and fewer than %d points lie where that one falls", large.Size, large.end, fewestOfTail)
		return
	}
	d.Kind = projection
	switch best, low, _ := t.over(func(l law) float64 { return large.end - l.at(10*large.until()) }); {
	case low > step/4 || best > step:
		d.say(MoreData, "it is where size %.4g is, %.4g, and both still fall: ten times the data take off about %.2g", large.Size, large.end,
			best)
	case of.count == 2:
		d.say(Neither, "both sizes stand at %.4g and %.4g and fall no more: that looks like the floor of the task", d.End, large.end)
	default:
		d.say(Neither, "it stands at %.4g, size %.4g at %.4g, and both fall no more: that looks like the floor of the task", d.End, large.Size,
			large.end)
	}
}

// moreOften answers where the size itself, at a higher frequency, comes to where the larger one is at this one.
func (d *Diagnosis) moreOften(small, large look, higher []look, step float64) bool {
	for _, l := range higher {
		if l.Size == small.Size && l.Frequency > small.Frequency && l.end < large.best+step {
			d.Kind = measured
			d.say(HigherFrequency, "at frequency %.3g, %.3g times this one, the same size comes to %.4g, as size %.4g does at this one (%.4g)",
				l.Frequency, l.Frequency/small.Frequency, l.end, large.Size, large.best)
			return true
		}
	}
	return false
}

// threshold answers where the size has not left its start and the larger one has.
func (d *Diagnosis) threshold(small, large look, chance float64) {
	switch at := large.learnedAt(chance, large.best); {
	case math.IsInf(at, 1):
		d.say(CantTell, "it is still where it began, %.4g, and size %.4g learned it and lost it again", chance, large.Size)
	case small.until() >= patience*at:
		d.say(LargerModel, "it is still where it began, %.4g, after %.3g times the data with which size %.4g learned it (%.3g)", chance,
			small.until()/at, large.Size, at)
	default:
		d.say(CantTell, "it is still where it began, %.4g, but size %.4g learned it suddenly and late, at %.3g of %.3g: %g times as much "+
			"would tell",
			chance, large.Size, at, small.until(), patience)
	}
}

// extrapolate answers by the law of the size's own curve.
func (d *Diagnosis) extrapolate(small, large look, step float64) {
	d.Kind = projection
	reference := large.best + step/2
	needed, soon, late := d.tail.over(func(l law) float64 { return l.reaches(reference) })
	d.Needed = &scaling.Interval{Estimate: needed, Low: soon, High: late}
	times := func(v float64) float64 { return v / small.until() }
	horizon := min(farthest, max(nearest, d.tail.to/d.tail.from))
	switch {
	case d.Floor.Low > reference:
		d.say(LargerModel, "its curve levels off at %.4g (%.4g to %.4g), above the %.4g of size %.4g", d.Floor.Estimate, d.Floor.Low,
			d.Floor.High,
			large.best, large.Size)
	case times(soon) > horizon:
		d.say(LargerModel, "its curve is too slow: it would take more than %.3g times the data to come to the %.4g of size %.4g", horizon,
			large.best,
			large.Size)
	case times(late) <= horizon:
		d.say(MoreData, "its curve comes to %.4g, next to the %.4g of size %.4g, with %.3g times the data (%.3g to %.3g)", reference, large.best,
			large.Size, times(needed), times(soon), times(late))
	default:
		d.say(CantTell, "its curve may level off anywhere from %.4g to %.4g, and size %.4g stands at %.4g: longer curves would tell", d.Floor.Low,
			d.Floor.High, large.Size, large.best)
	}
}

// SizeLeftOut is where the largest size of a task ends, and where the others' ends would have it.
type SizeLeftOut struct {
	Task      string  `json:"task"`
	Frequency float64 `json:"frequency,omitzero"`
	Size      float64 `json:"size"`
	Predicted float64 `json:"predicted"` // by a power of size through the ends of the others
	Ends      float64 `json:"ends"`
}

// LeaveOutLargest returns, for each task and frequency of three sizes or more, what leaving out the largest would have predicted of it.
func LeaveOutLargest(curves []Curve) (all []SizeLeftOut, err error) {
	type place struct {
		task      string
		frequency float64
	}
	ends := map[place]map[float64]float64{}
	for _, c := range curves {
		l, err := newLook(c)
		if err != nil {
			return nil, err
		}
		at := place{c.Task, c.Frequency}
		if ends[at] == nil {
			ends[at] = map[float64]float64{}
		}
		ends[at][c.Size] = l.end
	}
	for at, bySize := range ends {
		sizes := slices.Sorted(maps.Keys(bySize))
		last := len(sizes) - 1
		if last < 2 {
			continue
		}
		line, err := scaling.PowerLaw(sizes[:last], xslices.Map(sizes[:last], func(s float64) float64 { return bySize[s] }))
		if err != nil { // a loss of 0 is on no power
			continue
		}
		all = append(all, SizeLeftOut{at.task, at.frequency, sizes[last], line.At(sizes[last]), bySize[sizes[last]]})
	}
	slices.SortFunc(all, func(a, b SizeLeftOut) int {
		return cmp.Or(byNumber(a.Task, b.Task), cmp.Compare(a.Frequency, b.Frequency))
	})
	return all, nil
}
