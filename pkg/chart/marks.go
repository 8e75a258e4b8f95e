package chart

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"
)

// marks are what draws the tracks of one kind: one mark for all series in the legend, one for each look of those that aren't.
func (w *writer) marks(d drawing, kind Kind) []any {
	var marks []any
	tracks, x, y, tip := d.tracks, d.x, d.y, d.tip
	low, high := ends(tracks, y)
	for _, g := range grouped(tracks, kind, d.right) {
		filter, detail := only(tracks, g), object{"field": "l", "type": "nominal"}
		first := tracks[g[0]]
		mark, encoding := object{"clip": true}, object{}
		switch kind {
		case Line, Step:
			mark["type"], mark["order"], encoding["detail"] = "line", false, detail // in the points' own order rather than along x
			if kind == Step {
				mark["interpolate"] = "step-after"
			}
			if d.isMap {
				under := maps.Clone(mark)
				under["stroke"], under["strokeWidth"] = "white", haloWidth
				halo := object{"detail": detail}
				if first.Name != "" {
					halo["opacity"] = chosenOnly()
				}
				marks = append(marks, unit(filter, under, halo))
			}
		case Band:
			mark["type"], mark["order"], encoding["detail"] = "area", false, detail
			encoding["y"], encoding["y2"] = object{"field": low, "stack": false}, object{"field": high}
		case Rule:
			mark["type"], encoding["tooltip"] = "rule", tip
			if len(first.X) > 0 {
				encoding["y"], encoding["y2"] = object{"value": 0.}, object{"value": "height"}
			} else {
				encoding["x"], encoding["x2"] = object{"value": 0.}, object{"value": "width"}
			}
		case Points:
			mark["type"], mark["shape"], encoding["tooltip"] = "point", first.shape(), tip
			// Unless some lie outside, those at the edge are drawn whole.
			mark["clip"] = slices.ContainsFunc(g, func(i int) bool { return x.cuts(tracks[i].X) || y.cuts(tracks[i].Y) })
			barred := slices.DeleteFunc(slices.Clone(g), func(i int) bool { return !tracks[i].bars })
			if len(barred) > 0 {
				bar := object{"type": "rule", "clip": true, "strokeWidth": 1.2}
				reach := object{"y": object{"field": low}, "y2": object{"field": high}}
				marks = append(marks, w.series(only(tracks, barred), first.Layer, bar, reach))
			}
		}
		marks = append(marks, w.series(filter, first.Layer, mark, encoding))
	}
	return marks
}

func unit(filter []any, mark, encoding object) object {
	u := object{"mark": mark, "encoding": encoding}
	if len(filter) > 0 {
		u["transform"] = filter
	}
	return u
}

// grouped splits the tracks of a kind into those that one mark can draw.
func grouped(tracks []track, kind Kind, right bool) [][]int {
	var groups [][]int
	for i, t := range tracks {
		if t.Right != right || !slices.Contains(t.kinds, kind) {
			continue
		}
		at := slices.IndexFunc(groups, func(g []int) bool {
			o := tracks[g[0]]
			alike := t.Name != "" && o.Name != "" || t.Name == o.Name && t.Color == o.Color && t.Dashed == o.Dashed
			return alike && (kind != Points || t.shape() == o.shape()) && (len(t.X) > 0) == (len(o.X) > 0) &&
				(len(t.Value) > 0) == (len(o.Value) > 0)
		})
		if at < 0 {
			at = len(groups)
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], i)
	}
	return groups
}

// only filters out all but the chosen tracks.
func only(tracks []track, chosen []int) []any {
	if len(chosen) == len(tracks) {
		return nil
	}
	return []any{object{"filter": "indexof(" + literal(list(chosen)) + ", datum.l) >= 0"}}
}

// series is a mark in the colour and dashes of a layer: by its name, faded where the legend's choice leaves it out, or its own where it
// has none. The first one with a name listens to the legend.
func (w *writer) series(filter []any, l Layer, mark, encoding object) object {
	stroke := mark["type"] == "line" || l.Kind == Rule
	byValue := len(l.Value) > 0
	if byValue {
		channel := map[bool]string{true: "stroke", false: "fill"}[mark["type"] != "point"]
		encoding[channel] = w.byValue(l)
	}
	if l.Name == "" {
		if !byValue {
			mark["color"] = hex(colorOf(l.Color))
		}
		if stroke && l.Dashed {
			mark["strokeDash"] = dashed
		}
		return unit(filter, mark, encoding)
	}
	if !byValue {
		encoding["color"] = w.byName("color")
	}
	if stroke {
		encoding["strokeDash"] = w.byName("strokeDash")
	}
	encoding["opacity"] = chosenOnly()
	u := unit(filter, mark, encoding)
	if !w.listening {
		w.listening = true
		u["params"] = []any{object{"name": "chosen", "bind": "legend", "select": object{"type": "point", "fields": []any{"series"}}}}
	}
	return u
}

// byValue colours by a layer's values. Bars that are told alike are drawn once, where panels share them.
func (w *writer) byValue(l Layer) object {
	low, high := w.valueRange(l)
	at, labels := w.valueTicks(l)
	kind, scheme := "linear", object{"name": "viridis", "extent": []any{0., 1.}}
	if l.ValueLog {
		kind = "log"
	}
	if l.Kind != Heat {
		scheme["extent"] = []any{0., .9} // without the palest end, as Ordered
	}
	return object{"field": "value", "type": "quantitative",
		"scale":  object{"type": kind, "domain": []any{low, high}, "scheme": scheme, "clamp": true},
		"legend": labelled(at, labels, object{"title": list(wrapped(l.ValueLabel)), "type": "gradient", "gradientLength": w.bar})}
}

// chosenOnly fades what the legend's choice leaves out; without a choice nothing is.
func chosenOnly() object {
	return object{"condition": object{"param": "chosen", "value": 1.}, "value": .12}
}

// byName encodes the layers' names. Vega-Lite takes from the first what the others leave out: how they look, and the legend.
func (w *writer) byName(channel string) object {
	c := object{"field": "series", "type": "nominal"}
	if slices.Contains(w.told, channel) {
		return c
	}
	w.told = append(w.told, channel)
	names := xslices.Map(w.entries, func(e entry) string { return e.name })
	symbols := xslices.Map(w.entries, func(e entry) string { return e.symbol })
	looks := xslices.Map(w.entries, func(e entry) any { return e.dash })
	if channel == "color" {
		looks = xslices.Map(w.entries, func(e entry) any { return e.color })
	}
	c["scale"] = object{"domain": list(names), "range": looks}
	symbol := fmt.Sprintf("%s[indexof(%s, datum.value)]", literal(symbols), literal(names))
	is := func(expression string) object { return object{"value": object{"expr": expression}} }
	c["legend"] = object{"title": "", "orient": "top", "offset": 6., "columns": legendColumns(names),
		"symbolSize": strokeSize, "labelOffset": 8.,
		"encoding": object{"symbols": object{"shape": is(symbol), "strokeWidth": object{"value": 2.5}, "fillOpacity": object{"value": 1.},
			"size": is(fmt.Sprintf("%s === 'stroke' ? %g : %g", symbol, strokeSize, pointSize))}}}
	return c
}

// legendColumns is the largest number of columns, each as wide as its widest name, that fits.
func legendColumns(names []string) float64 {
	for n := len(names); n > 1; n-- {
		width := 0.
		for c := range n {
			var column []string
			for i := c; i < len(names); i += n {
				column = append(column, names[i])
			}
			width += textWidth(column) + sampleRoom
		}
		if width < Width {
			return float64(n)
		}
	}
	return 1
}

// hovers are invisible points on lines and bands, which have none to hover over.
func hovers(d drawing) []any {
	var marks []any
	tracks := d.tracks
	low, _ := ends(tracks, d.y)
	for _, key := range []string{"y", low} {
		chosen := where(tracks, func(t track) bool {
			shown := t.Right != d.right || slices.ContainsFunc(t.kinds, func(k Kind) bool { return k == Points || k == Rule || k == Heat })
			return !shown && (len(t.Y) > 0) == (key == "y")
		})
		if len(chosen) > 0 {
			marks = append(marks, unit(only(tracks, chosen), object{"type": "point", "opacity": 0., "size": 150., "clip": true},
				object{"y": object{"field": key}, "tooltip": d.tip}))
		}
	}
	return marks
}

// maps are the cells of the panel's maps, and the mark of those without a value.
func (w *writer) maps(p Panel, d drawing) []any {
	var maps []any
	tracks, tip := d.tracks, d.tip
	for i, t := range tracks {
		if t.Kind != Heat {
			continue
		}
		steps := slices.Concat(only(tracks, []int{i}), edges("x", p.X, t.X), edges("y", p.Y, t.Y))
		fill := w.byValue(t.Layer)
		// Cells overlap by a fraction of a pixel: the browser would blend white into edges that only touch.
		overlap := func(a Axis, size float64) float64 {
			if a.Reverse {
				return -size
			}
			return size
		}
		rect := object{"type": "rect", "clip": true, "x2Offset": overlap(p.X, .7), "y2Offset": overlap(p.Y, -.7)}
		cells := []any{unit([]any{object{"filter": "isValid(datum.value)"}}, rect, object{"fill": fill, "tooltip": tip})}
		if t.gaps() {
			missing := []any{object{"filter": "!isValid(datum.value)"}, calculate("series", literal(missingName))}
			cells = append(cells, w.series(missing, Layer{Name: missingName}, rect, object{"tooltip": tip}))
		}
		maps = append(maps, object{"transform": steps, "layer": cells, "encoding": object{
			"x": object{"field": "x0"}, "x2": object{"field": "x1"}, "y": object{"field": "y0"}, "y2": object{"field": "y1"}}})
	}
	return maps
}

// edges looks the two edges of every cell along an axis up.
func edges(axis string, a Axis, coordinates []float64) []any {
	distinct, edges := a.cells(coordinates)
	written := func(values []float64) string { return "[" + strings.Join(xslices.Map(values, plotted), ",") + "]" } // as the data are
	at := fmt.Sprintf("indexof(%s, datum.%s)", written(distinct), axis)
	return []any{calculate(axis+"0", written(edges)+"["+at+"]"), calculate(axis+"1", written(edges[1:])+"["+at+"]")}
}

// gaps reports whether a map has cells without a value.
func (l Layer) gaps() bool {
	return l.Kind == Heat && slices.ContainsFunc(l.Value, func(v float64) bool { return !finite(v) })
}

// where returns the tracks that pass a test, as l counts them.
func where(tracks []track, test func(track) bool) (chosen []int) {
	for i, t := range tracks {
		if test(t) {
			chosen = append(chosen, i)
		}
	}
	return chosen
}

// tooltip is the expression of what a point tells: all its numbers and fields under readable names.
func tooltip(p Panel, tracks []track) string {
	var parts, names []string
	add := func(name, fallback, present, value string) {
		if name == "" || slices.Contains(names, name) {
			name = strings.TrimSpace(name + " " + fallback)
		}
		names = append(names, name)
		parts = append(parts, fmt.Sprintf("%s ? {%s: %s} : {}", present, literal(name), value))
	}
	if slices.ContainsFunc(tracks, func(t track) bool { return t.Name != "" }) {
		add("series", "", "datum.series", "datum.series")
	}
	type axis struct {
		key, present string
		Axis
	}
	axes := []axis{{"x", "isValid(datum.x)", p.X}, {"y", "isValid(datum.y)", p.Y}}
	if right := where(tracks, func(t track) bool { return t.Right }); len(right) > 0 {
		on := "indexof(" + literal(list(right)) + ", datum.l) >= 0"
		axes[1].present += " && !(" + on + ")"
		axes = append(axes, axis{"y", "isValid(datum.y) && " + on, p.Right})
	}
	for _, a := range axes {
		value := "datum." + a.key
		if len(a.Categories) > 0 {
			value = literal(a.Categories) + "[" + value + "]"
		}
		add(a.Label, a.key, a.present, value)
	}
	add("low", "", "isValid(datum.low)", "datum.low")
	add("high", "", "isValid(datum.high)", "datum.high")
	for i, t := range tracks {
		if len(t.Value) > 0 {
			add(t.ValueLabel, "value", fmt.Sprintf("datum.l === %d", i), fmt.Sprintf("isValid(datum.value) ? datum.value : %q", missingName))
		}
	}
	for _, c := range fieldColumns(tracks) {
		add(c.name, "", "datum."+c.key, "datum."+c.key)
	}
	return "merge(" + strings.Join(parts, ", ") + ")"
}

// shape tells the palette's colours apart in grey, too.
func (l Layer) shape() string {
	switch {
	case l.Shape > 0:
		return shapes[l.Shape-1]
	case l.Color < 0 || l.Color >= len(palette):
		return shapes[0]
	}
	return shapes[l.Color%4]
}

// shapes of markers.
var shapes = [Shapes]string{"circle", "square", "triangle-up", "diamond", "cross", "triangle-down"}

// Shapes is how many markers there are.
const Shapes = 6

// dashes tell lines of the palette's colours apart in grey, where they have no points; dashed is what a layer asks for.
var (
	dashes = [...][]any{{1., 0.}, {10., 3.}, {8., 3., 2., 3.}, {5., 2.}}
	dashed = []any{6., 4.}
)

// entry is a line of the legend.
type entry struct {
	name, color, symbol string
	dash                []any
}

// entries returns the legend in order of appearance. It stands above the panels, where it covers nothing.
func (f Chart) entries() []entry {
	var names []string
	layers, gaps := map[string][]Layer{}, false
	for _, l := range f.layers() {
		gaps = gaps || l.gaps()
		if l.Name == "" || l.Kind == Heat {
			continue
		}
		if layers[l.Name] == nil {
			names = append(names, l.Name)
		}
		layers[l.Name] = append(layers[l.Name], l)
	}
	entries := xslices.Map(names, func(name string) entry { return legendEntry(name, layers[name]) })
	if gaps {
		entries = append(entries, entry{missingName, hex(missing), "square", dashes[0]})
	}
	return entries
}

func legendEntry(name string, layers []Layer) entry {
	has := func(test func(Layer) bool) bool { return slices.ContainsFunc(layers, test) }
	first := layers[0]
	e := entry{name, hex(colorOf(first.Color)), "stroke", dashes[0]}
	points := has(func(l Layer) bool { return l.Kind == Points })
	switch {
	case has(func(l Layer) bool { return l.Dashed }):
		e.dash = dashed
	case !points && first.Color >= 0 && first.Color < len(palette):
		e.dash = dashes[first.Color%len(dashes)]
	}
	switch {
	case has(func(l Layer) bool { return l.Kind == Line || l.Kind == Step || l.Kind == Rule }):
	case points:
		e.symbol = first.shape()
	default:
		e.symbol = "square"
	}
	return e
}
