package sizing

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

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
	Largest   float64           `json:"largest"`
	Frequency float64           `json:"frequency,omitzero"`
	Answer    string            `json:"answer"`
	Why       string            `json:"why"`
	Kind      string            `json:"kind"`             // prediction or projection
	End       float64           `json:"end"`              // where the size stands
	Reference float64           `json:"reference"`        // where the largest stands
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

// What counts as a difference: a share of what there is to learn, and so many standard errors of noise.
const (
	leastShare = .05
	errors     = 5.
	// nearest and farthest bound by which factor of data an answer goes beyond what was measured: as far as the curve's fall was seen.
	nearest, farthest = 10., 100.
	// patience is by which factor of data a size must have outlasted the largest to count as one that won't learn.
	patience = 10.
)

// Diagnose answers for each task and size but the largest, by the curves of one frequency each, and those of higher ones as evidence.
// chance is the loss of guessing; NaN: where curves begin.
func Diagnose(curves []Curve, chance float64) ([]Diagnosis, error) {
	if len(curves) == 0 {
		return nil, fmt.Errorf("sizing: no curves")
	}
	tasks := xslices.Map(curves, func(c Curve) string { return c.Task })
	slices.Sort(tasks)
	var all []Diagnosis
	for _, task := range slices.Compact(tasks) {
		var own []look
		for _, c := range curves {
			if c.Task == task {
				l, err := newLook(c)
				if err != nil {
					return nil, err
				}
				own = append(own, l)
			}
		}
		slices.SortStableFunc(own, func(a, b look) int { return cmp.Or(cmp.Compare(a.Frequency, b.Frequency), cmp.Compare(a.Size, b.Size)) })
		all = append(all, diagnose(own, chance)...)
	}
	return all, nil
}

// look is a curve with what is seen of it.
type look struct {
	Curve
	noise float64 // of a point
	start float64 // median of the first points
	end   float64 // mean of the last ones
	last  int     // how many these are
	best  float64 // least mean of so many in a row
}

// newLook returns what is seen of a curve.
func newLook(c Curve) (l look, err error) {
	l.Curve = c
	if len(c.Data) < 2 || len(c.Data) != len(c.Y) {
		return l, fmt.Errorf("sizing: task %s, size %.4g: %d amounts of data and %d losses: want as many, and two at least", c.Task, c.Size,
			len(c.Data), len(c.Y))
	}
	for i, d := range c.Data {
		if !(d >= 0) || math.IsInf(d, 0) || math.IsNaN(c.Y[i]) || math.IsInf(c.Y[i], 0) || c.Y[i] < 0 || i > 0 && d <= c.Data[i-1] {
			return l, fmt.Errorf("sizing: task %s, size %.4g: loss %g at %g: want finite losses, at amounts of data that ascend", c.Task, c.Size,
				c.Y[i], d)
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
	l.last = max(1, min(5, len(c.Y)/6))
	mean := func(to int) float64 {
		sum := 0.
		for _, v := range c.Y[to-l.last : to] {
			sum += v
		}
		return sum / float64(l.last)
	}
	l.end, l.best = mean(len(c.Y)), math.Inf(1)
	for to := l.last; to <= len(c.Y); to++ {
		l.best = min(l.best, mean(to))
	}
	l.start = scaling.Median(c.Y[:max(1, min(3, len(c.Y)/4))])
	return l, nil
}

// error is the standard error of the end.
func (l look) error() float64 { return l.noise / math.Sqrt(float64(l.last)) }

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
		large := sizes[len(sizes)-1]
		if len(sizes) == 1 {
			all = append(all, Diagnosis{Task: large.Task, Size: large.Size, Largest: large.Size, Frequency: large.Frequency, Answer: CantTell,
				Why:  "there is one size only: want curves of two sizes at least",
				Kind: "prediction", End: large.end, Reference: large.end})
			continue
		}
		level := chance
		if math.IsNaN(level) {
			level = slices.Max(xslices.Map(sizes, func(l look) float64 { return l.start }))
		}
		for _, small := range sizes[:len(sizes)-1] {
			d := Diagnosis{Task: small.Task, Size: small.Size, Largest: large.Size, Frequency: small.Frequency, Kind: "prediction",
				End: small.end, Reference: large.best}
			d.answer(small, large, sizes, higher, level)
			all = append(all, d)
		}
	}
	return all
}

// answer fills in the answer of a size beside the largest one, of all sizes of its frequency, and of curves of higher frequencies.
func (d *Diagnosis) answer(small, large look, sizes, higher []look, chance float64) {
	least := slices.Min(xslices.Map(sizes, func(l look) float64 { return l.best }))
	noise := math.Hypot(small.error(), large.error())
	step := max(leastShare*(chance-least), errors*noise) // a difference that counts
	flat := func(l look) bool { return l.best > chance-max(.02*math.Abs(chance), errors*l.error()) }
	say := func(answer, why string, args ...any) { d.Answer, d.Why = answer, fmt.Sprintf(why, args...) }
	x, y := small.falling()
	if t, ok := fitTail(x, y); ok && !flat(small) {
		d.tail = &t
		e, low, high := t.over(func(l law) float64 { return l.e })
		d.Floor = &scaling.Interval{Estimate: e, Low: low, High: high}
	}
	worse := small.end - small.best
	switch {
	case !slices.ContainsFunc(sizes, func(l look) bool { return !flat(l) }):
		say(Neither, "every size stands at chance, %.4g, from the first amount of data to the last", chance)
	case small.end-large.best < step:
		d.alike(small, large, step)
	case worse > max(step, errors*math.Sqrt2*small.error()) && large.end-large.best < worse/2:
		say(LargerModel, "it gets worse with data: from %.4g to %.4g, while size %.4g stands at %.4g", small.best, small.end, large.Size,
			large.end)
	case d.moreOften(small, large, higher, step):
	case flat(small):
		d.threshold(small, large, chance)
	case d.tail == nil:
		say(CantTell, "fewer than %d points lie where its curve falls", fewestOfTail)
	default:
		d.extrapolate(small, large, step)
	}
}

// alike answers where the size is where the largest is.
func (d *Diagnosis) alike(small, large look, step float64) {
	x, y := large.falling()
	t, ok := fitTail(x, y)
	d.Kind = "projection"
	switch best, low, _ := t.over(func(l law) float64 { return large.end - l.at(10*large.until()) }); {
	case !ok:
		d.Answer, d.Why = CantTell, fmt.Sprintf("it is where size %.4g is, and fewer than %d points lie where that one falls", large.Size,
			fewestOfTail)
	case low > step/4 || best > step:
		d.Answer, d.Why = MoreData, fmt.Sprintf("it is where size %.4g is, %.4g, and both still fall: ten times the data take off about %.2g",
			large.Size,
			large.end, best)
	default:
		d.Answer, d.Why = Neither, fmt.Sprintf("all sizes stand at %.4g and fall no more: that looks like the floor of the task", large.end)
	}
}

// moreOften answers where the size itself, at a higher frequency, comes to where the largest is at this one.
func (d *Diagnosis) moreOften(small, large look, higher []look, step float64) bool {
	for _, l := range higher {
		if l.Size == small.Size && l.Frequency > small.Frequency && l.end < large.best+step {
			d.Answer = HigherFrequency
			d.Why = fmt.Sprintf("at frequency %.3g, %.3g times this one, the same size comes to %.4g, as size %.4g does at this one (%.4g)",
				l.Frequency, l.Frequency/small.Frequency, l.end, large.Size, large.best)
			return true
		}
	}
	return false
}

// threshold answers where the size is still at chance and the largest is not.
func (d *Diagnosis) threshold(small, large look, chance float64) {
	if at := large.learnedAt(chance, large.best); small.until() >= patience*at {
		d.Answer = LargerModel
		d.Why = fmt.Sprintf("it is still at chance, %.4g, after %.3g times the data with which size %.4g learned it (%.3g)", chance,
			small.until()/at,
			large.Size, at)
	} else {
		d.Answer = CantTell
		d.Why = fmt.Sprintf("it is still at chance, %.4g, but size %.4g learned it suddenly and late, at %.3g of %.3g: %g times as much would "+
			"tell",
			chance, large.Size, at, small.until(), patience)
	}
}

// extrapolate answers by the law of the size's own curve.
func (d *Diagnosis) extrapolate(small, large look, step float64) {
	d.Kind = "projection"
	reference := large.best + step/2
	needed, soon, late := d.tail.over(func(l law) float64 { return l.reaches(reference) })
	d.Needed = &scaling.Interval{Estimate: needed, Low: soon, High: late}
	times := func(v float64) float64 { return v / small.until() }
	horizon := min(farthest, max(nearest, d.tail.to/d.tail.from))
	switch {
	case d.Floor.Low > reference || times(soon) > horizon:
		d.Answer = LargerModel
		d.Why = fmt.Sprintf("its curve levels off at %.4g (%.4g to %.4g): %.3g times the data would not bring it to the %.4g of size %.4g",
			d.Floor.Estimate, d.Floor.Low, d.Floor.High, horizon, large.best, large.Size)
	case times(late) <= horizon:
		d.Answer = MoreData
		d.Why = fmt.Sprintf("its curve comes to the %.4g of size %.4g with %.3g times the data (%.3g to %.3g)", large.best, large.Size,
			times(needed),
			times(soon), times(late))
	default:
		d.Answer = CantTell
		d.Why = fmt.Sprintf("its curve may level off anywhere from %.4g to %.4g, and size %.4g stands at %.4g: longer curves would tell",
			d.Floor.Low,
			d.Floor.High, large.Size, large.best)
	}
}
