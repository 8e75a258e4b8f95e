package chart

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"
)

// scale is an axis with its limits and ticks settled.
type scale struct {
	min, max float64
	log      bool
	ticks    []float64
	labels   []string
}

// cuts reports whether any of the values lies outside.
func (s scale) cuts(values []float64) bool {
	return slices.ContainsFunc(values, func(v float64) bool { return v < s.min || v > s.max })
}

// scales settles both axes of a panel.
func (p Panel) scales() (x, y, right scale) {
	var other Panel // what stands on the right axis
	for _, l := range p.Layers {
		if l.Right {
			l.Right = false
			other.Layers = append(other.Layers, l)
		}
	}
	if len(other.Layers) > 0 {
		other.Y = p.Right
		_, right, _ = other.scales()
	}
	var xs, ys, xSpread, ySpread, xEdges, yEdges []float64
	for _, l := range p.Layers {
		if l.Right {
			l.Y, l.Low, l.High = nil, nil, nil
		}
		// References lie where theory puts them, not on the grid of the measured points.
		if l.Kind == Rule || l.Kind == Step {
			xSpread, ySpread = append(xSpread, l.X...), append(ySpread, l.Y...)
		} else {
			xs, ys = append(xs, l.X...), append(ys, l.Y...)
		}
		ySpread = slices.Concat(ySpread, l.Low, l.High)
		if l.Kind == Heat {
			_, edges := p.X.cells(l.X)
			xEdges = append(xEdges, edges...)
			_, edges = p.Y.cells(l.Y)
			yEdges = append(yEdges, edges...)
		}
	}
	return p.X.scale(xs, xSpread, xEdges), p.Y.scale(ys, ySpread, yEdges), right
}

// scale settles limits and ticks. values are coordinates of measured points, spread those of references and
// intervals, edges those of a map's cells, at which the axis ends whatever lies beyond.
func (a Axis) scale(values, spread, edges []float64) scale {
	if n := len(a.Categories); n > 0 {
		return scale{min: -.5, max: float64(n) - .5, ticks: xslices.Iota(0., n), labels: a.Categories}
	}
	s := scale{min: a.Min, max: a.Max, log: a.Log}
	if a.Min == 0 && a.Max == 0 {
		all := edges
		if len(edges) == 0 {
			all = slices.Concat(values, spread)
		}
		s.min, s.max = a.limits(all, len(edges) > 0)
	}
	if a.Ticks != nil {
		s.ticks = slices.DeleteFunc(slices.Clone(a.Ticks), func(t float64) bool { return s.cuts([]float64{t}) })
		s.labels = xslices.Map(s.ticks, plainly)
	} else {
		s.ticks, s.labels = ticks(s.min, s.max, a.Log, powersOfTwo(values))
	}
	return s
}

// ticks returns round numbers in the range and how they are written.
func ticks(low, high float64, log, binary bool) ([]float64, []string) {
	var at []float64
	switch {
	case log && binary:
		at = logTicks(low, high, 2)
	case log && high/low >= 50:
		at = logTicks(low, high, 10)
	case log && high/low >= 4:
		for decade := math.Floor(math.Log10(low)); decade <= math.Log10(high); decade++ {
			for _, lead := range []float64{1, 2, 5} {
				at = append(at, lead*math.Pow(10, decade))
			}
		}
		at = slices.DeleteFunc(at, func(t float64) bool { return t < low || t > high })
	default:
		return linearTicks(low, high)
	}
	return at, xslices.Map(at, plainly)
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

// cells returns the distinct coordinates in ascending order and the edges of their cells, one more: half-way between neighbours on
// the axis, and as far beyond the outermost ones.
func (a Axis) cells(coordinates []float64) (distinct, edges []float64) {
	to, from := func(v float64) float64 { return v }, func(v float64) float64 { return v }
	if n := len(a.Categories); n > 0 {
		distinct = xslices.Iota(0., n)
	} else {
		distinct = slices.Compact(slices.Sorted(slices.Values(coordinates)))
		if a.Log {
			to, from = math.Log2, math.Exp2
		}
	}
	n := len(distinct)
	switch n {
	case 0:
		return nil, nil
	case 1:
		return distinct, []float64{from(to(distinct[0]) - .5), from(to(distinct[0]) + .5)}
	}
	middle := func(i int) float64 { return (to(distinct[i]) + to(distinct[i+1])) / 2 }
	edges = append(edges, from(2*to(distinct[0])-middle(0)))
	for i := range n - 1 {
		edges = append(edges, from(middle(i)))
	}
	return distinct, append(edges, from(2*to(distinct[n-1])-middle(n-2)))
}

// powersOfTwo reports whether there are values and all are 1, 2, 4, ….
func powersOfTwo(values []float64) bool {
	other := func(v float64) bool { fraction, exponent := math.Frexp(v); return fraction != .5 || exponent < 1 }
	present := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return !finite(v) })
	return len(present) > 0 && !slices.ContainsFunc(present, other)
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
		tick := i*step + 0 // no -0
		ticks = append(ticks, tick)
		label := strconv.FormatFloat(tick, 'f', decimals, 64)
		if far := max(math.Abs(low), math.Abs(high)); far >= 1e6 || far < 1e-3 {
			label = plainly(tick)
		}
		labels = append(labels, label)
	}
	return ticks, labels
}

// plainly writes a tick as people do: 0.001, 8, 10000; beyond that as 1e-5 or 2e6, since fonts lack some superscripts.
func plainly(v float64) string {
	if size := math.Abs(v); v == 0 || size >= 9.99e-5 && size < 9.99e5 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', 3, 64), "e")
	power, _ := strconv.Atoi(exponent)
	return strings.TrimRight(strings.TrimRight(mantissa, "0"), ".") + "e" + strconv.Itoa(power)
}

// valueRange returns the limits of a layer's colours: as set, or over all layers of the figure that show the same quantity.
func (f Chart) valueRange(of Layer) (low, high float64) {
	if of.ValueMin != 0 || of.ValueMax != 0 {
		return of.ValueMin, of.ValueMax
	}
	var values []float64
	for _, l := range f.layers() {
		if l.ValueLabel == of.ValueLabel {
			values = append(values, l.Value...)
		}
	}
	return Axis{Log: of.ValueLog}.limits(values, true)
}

// valueTicks are the ticks of a layer's colour bar.
func (f Chart) valueTicks(of Layer) ([]float64, []string) {
	low, high := f.valueRange(of)
	at, labels := ticks(low, high, of.ValueLog, of.ValueLog && powersOfTwo(of.Value))
	if of.ValueLog || slices.ContainsFunc(of.Value, func(v float64) bool { return v != math.Trunc(v) }) {
		return at, labels
	}
	at = slices.DeleteFunc(at, func(t float64) bool { return t != math.Trunc(t) })
	return at, xslices.Map(at, plainly)
}
