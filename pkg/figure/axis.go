package figure

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// scale is an axis with its limits and ticks settled, so that the static and the interactive chart show the same.
type scale struct {
	min, max float64
	log      bool
	ticks    []float64
	labels   []string
	minor    []float64
}

// at returns where v lies between min (0) and max (1).
func (s scale) at(v float64) float64 {
	if s.log {
		return math.Log(v/s.min) / math.Log(s.max/s.min)
	}
	return (v - s.min) / (s.max - s.min)
}

// floor keeps the lower end of an interval on a logarithmic axis.
func (s scale) floor(v float64) float64 {
	if s.log {
		return max(v, s.min)
	}
	return v
}

// scales settles both axes of a panel.
func (p Panel) scales() (x, y scale) {
	var xs, ys, xSpread, ySpread, xEdges, yEdges []float64
	for _, l := range p.Layers {
		// References lie where theory puts them, not on the grid of the measured points.
		if l.Kind == Rule || l.Kind == Step {
			xSpread, ySpread = append(xSpread, l.X...), append(ySpread, l.Y...)
		} else {
			xs, ys = append(xs, l.X...), append(ys, l.Y...)
		}
		ySpread = slices.Concat(ySpread, l.Low, l.High)
		if l.Kind == Heat {
			for _, e := range p.X.cells(l.X) {
				xEdges = append(xEdges, e[0], e[1])
			}
			for _, e := range p.Y.cells(l.Y) {
				yEdges = append(yEdges, e[0], e[1])
			}
		}
	}
	return p.X.scale(xs, xSpread, xEdges), p.Y.scale(ys, ySpread, yEdges)
}

// scale settles limits and ticks. values are coordinates of measured points, spread those of references and
// intervals, edges those of a map's cells, at which the axis ends.
func (a Axis) scale(values, spread, edges []float64) scale {
	if n := len(a.Categories); n > 0 {
		s := scale{min: -.5, max: float64(n) - .5, labels: a.Categories}
		for i := range n {
			s.ticks = append(s.ticks, float64(i))
		}
		return s
	}
	s := scale{min: a.Min, max: a.Max, log: a.Log}
	if a.Min == 0 && a.Max == 0 {
		s.min, s.max = a.limits(slices.Concat(values, spread, edges), len(edges) > 0)
	}
	switch {
	case !a.Log:
		s.ticks, s.labels = linearTicks(s.min, s.max)
	case powersOfTwo(values):
		s.ticks = logTicks(s.min, s.max, 2)
	case s.max/s.min >= 50:
		s.ticks = logTicks(s.min, s.max, 10)
		s.minor = minorTicks(s.min, s.max)
	case s.max/s.min >= 4:
		for decade := math.Floor(math.Log10(s.min)); decade <= math.Log10(s.max); decade++ {
			for _, lead := range []float64{1, 2, 5} {
				s.ticks = append(s.ticks, lead*math.Pow(10, decade))
			}
		}
		s.ticks = slices.DeleteFunc(s.ticks, func(t float64) bool { return t < s.min || t > s.max })
	default:
		s.ticks, s.labels = linearTicks(s.min, s.max)
	}
	if s.labels == nil {
		for _, t := range s.ticks {
			s.labels = append(s.labels, plain(t))
		}
	}
	return s
}

// limits returns the range of the finite values with a margin (none for tight), and from 0 where that is near.
func (a Axis) limits(values []float64, tight bool) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if finite(v) && (!a.Log || v > 0) {
			low, high = min(low, v), max(high, v)
		}
	}
	switch {
	case low > high && a.Log:
		return 1, 10
	case low > high:
		return 0, 1
	case low == high && a.Log:
		return low / 2, high * 2
	case low == high:
		return low - max(1, math.Abs(low))/2, high + max(1, math.Abs(high))/2
	case tight:
		return low, high
	case a.Log:
		margin := math.Pow(high/low, .04)
		return low / margin, high * margin
	}
	margin := .04 * (high - low)
	if low >= 0 && low < .3*high {
		return 0, high + margin
	}
	return low - margin, high + margin
}

// cells returns the two edges of the cell of every coordinate: half-way to its neighbours on the axis, and as far beyond
// the outermost ones.
func (a Axis) cells(coordinates []float64) [][2]float64 {
	to, from := func(v float64) float64 { return v }, func(v float64) float64 { return v }
	if a.Log && len(a.Categories) == 0 {
		to, from = math.Log2, math.Exp2
	}
	distinct := slices.Clone(coordinates)
	slices.Sort(distinct)
	distinct = slices.Compact(distinct)
	n := len(distinct)
	edges := make([][2]float64, len(coordinates))
	for i, c := range coordinates {
		k, _ := slices.BinarySearch(distinct, c)
		below, above := math.NaN(), math.NaN()
		if k > 0 {
			below = (to(c) - to(distinct[k-1])) / 2
		}
		if k < n-1 {
			above = (to(distinct[k+1]) - to(c)) / 2
		}
		switch {
		case n == 1 || len(a.Categories) > 0:
			below, above = .5, .5
		case k == 0:
			below = above
		case k == n-1:
			above = below
		}
		edges[i] = [2]float64{from(to(c) - below), from(to(c) + above)}
	}
	return edges
}

func powersOfTwo(values []float64) bool {
	some := false
	for _, v := range values {
		if !finite(v) {
			continue
		}
		if fraction, exponent := math.Frexp(v); fraction != .5 || exponent < 1 {
			return false
		}
		some = true
	}
	return some
}

// logTicks returns powers of base in the range, every second, third, … one where there would be more than nine.
func logTicks(low, high, base float64) []float64 {
	first := math.Ceil(math.Log(low)/math.Log(base) - 1e-9)
	last := math.Floor(math.Log(high)/math.Log(base) + 1e-9)
	stride := math.Ceil((last - first + 1) / 9)
	var ticks []float64
	for e := first; e <= last; e += max(1, stride) {
		ticks = append(ticks, math.Pow(base, e))
	}
	return ticks
}

func minorTicks(low, high float64) []float64 {
	var minor []float64
	for decade := math.Floor(math.Log10(low)); decade <= math.Log10(high); decade++ {
		for lead := 2.; lead < 10; lead++ {
			if t := lead * math.Pow(10, decade); t >= low && t <= high {
				minor = append(minor, t)
			}
		}
	}
	if len(minor) > 60 {
		return nil
	}
	return minor
}

// linearTicks returns four to eight round numbers in the range, with as many decimals as their distance needs.
func linearTicks(low, high float64) (ticks []float64, labels []string) {
	unit := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	step := unit
	for _, lead := range []float64{2, 5} {
		if (high-low)/(lead*unit) >= 4 {
			step = lead * unit
		}
	}
	decimals := max(0, int(-math.Floor(math.Log10(step)+1e-9)))
	for i := math.Ceil(low/step - 1e-9); i*step <= high+1e-9*step; i++ {
		tick := i * step
		ticks = append(ticks, tick)
		label := strconv.FormatFloat(tick+0, 'f', decimals, 64)
		if far := max(math.Abs(low), math.Abs(high)); far >= 1e6 || far < 1e-3 {
			label = plain(tick)
		}
		labels = append(labels, label)
	}
	return ticks, labels
}

// plain writes a tick as people do: 0.001, 8, 10000; beyond that as 1e-5 or 2e6, since fonts lack some superscripts.
func plain(v float64) string {
	if size := math.Abs(v); v == 0 || size >= 9.99e-5 && size < 9.99e5 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', 3, 64), "e")
	power, _ := strconv.Atoi(exponent)
	return strings.TrimRight(strings.TrimRight(mantissa, "0"), ".") + "e" + strconv.Itoa(power)
}

// valueRange returns the limits of a map's colours: as set, or over all maps of the figure that show the same quantity.
func (f Figure) valueRange(of Layer) (low, high float64) {
	if of.ValueMin != 0 || of.ValueMax != 0 {
		return of.ValueMin, of.ValueMax
	}
	low, high = math.Inf(1), math.Inf(-1)
	for _, p := range f.Panels {
		for _, l := range p.Layers {
			if l.Kind != Heat || l.ValueLabel != of.ValueLabel {
				continue
			}
			for _, v := range l.Value {
				if finite(v) {
					low, high = min(low, v), max(high, v)
				}
			}
		}
	}
	switch {
	case low > high:
		return 0, 1
	case low == high:
		return low - .5, high + .5
	}
	return low, high
}
