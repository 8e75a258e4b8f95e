package chart

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"
)

// marks are what draws the tracks of one kind: one mark for all series in the legend, one for each look of those that aren't.
func (w *writer) marks(tracks []track, kind Kind, isMap bool, x, y scale, tip object) []any {
	var marks []any
	low, high := ends(tracks, y)
	for _, g := range grouped(tracks, kind) {
		filter, detail := only(tracks, g), object{"field": "l", "type": "nominal"}
		first := tracks[g[0]]
		mark, encoding := object{"clip": true}, object{}
		switch kind {
		case Line, Step:
			mark["type"], mark["order"], encoding["detail"] = "line", false, detail // in the points' own order rather than along x
			if kind == Step {
				mark["interpolate"] = "step-after"
			}
			if isMap {
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
func grouped(tracks []track, kind Kind) [][]int {
	var groups [][]int
	for i, t := range tracks {
		if !slices.Contains(t.kinds, kind) {
			continue
		}
		at := slices.IndexFunc(groups, func(g []int) bool {
			o := tracks[g[0]]
			alike := t.Name != "" && o.Name != "" || t.Name == o.Name && t.Color == o.Color && t.Dashed == o.Dashed
			return alike && (kind != Points || t.shape() == o.shape()) && (len(t.X) > 0) == (len(o.X) > 0)
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
	if l.Name == "" {
		mark["color"] = hex(colorOf(l.Color))
		if stroke && l.Dashed {
			mark["strokeDash"] = dashed
		}
		return unit(filter, mark, encoding)
	}
	encoding["color"] = w.byName("color")
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
func hovers(tracks []track, y scale, tip object) []any {
	var marks []any
	low, _ := ends(tracks, y)
	for _, key := range []string{"y", low} {
		var chosen []int
		for i, t := range tracks {
			shown := slices.ContainsFunc(t.kinds, func(k Kind) bool { return k == Points || k == Rule || k == Heat })
			if !shown && (len(t.Y) > 0) == (key == "y") {
				chosen = append(chosen, i)
			}
		}
		if len(chosen) > 0 {
			marks = append(marks, unit(only(tracks, chosen), object{"type": "point", "opacity": 0., "size": 150., "clip": true},
				object{"y": object{"field": key}, "tooltip": tip}))
		}
	}
	return marks
}

// maps are the cells of the panel's maps, and the mark of those without a value.
func (w *writer) maps(p Panel, tracks []track, height float64, tip object) []any {
	var maps []any
	for i, t := range tracks {
		if t.Kind != Heat {
			continue
		}
		steps := slices.Concat(only(tracks, []int{i}), edges("x", p.X, t.X), edges("y", p.Y, t.Y))
		low, high := w.valueRange(t.Layer)
		at, labels := linearTicks(low, high)
		fill := object{"field": "value", "type": "quantitative",
			"scale":  object{"type": "linear", "domain": []any{low, high}, "scheme": "viridis", "clamp": true},
			"legend": labelled(at, labels, object{"title": list(wrapped(t.ValueLabel)), "gradientLength": height - 50})}
		// Cells overlap by a fraction of a pixel: the browser would blend white into edges that only touch.
		rect := object{"type": "rect", "clip": true, "x2Offset": .7, "y2Offset": -.7}
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
	for _, c := range []struct {
		key string
		Axis
	}{{"x", p.X}, {"y", p.Y}} {
		value := "datum." + c.key
		if len(c.Categories) > 0 {
			value = literal(c.Categories) + "[" + value + "]"
		}
		add(c.Label, c.key, "isValid(datum."+c.key+")", value)
	}
	add("low", "", "isValid(datum.low)", "datum.low")
	add("high", "", "isValid(datum.high)", "datum.high")
	for i, t := range tracks {
		if t.Kind == Heat {
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
	if l.Color < 0 || l.Color >= len(palette) {
		return "circle"
	}
	return [...]string{"circle", "square", "triangle-up", "diamond"}[l.Color%4]
}

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
