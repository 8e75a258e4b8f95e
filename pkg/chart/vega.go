package chart

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gomlx/gomlx/support/xslices"
)

// vegaSchema names the language; it is an identifier, nothing is fetched.
const vegaSchema = "https://vega.github.io/schema/vega-lite/v5.json"

// MIME is the type of what VegaLite returns, by which JupyterLab draws it.
const MIME = "application/vnd.vegalite.v5+json"

// Sizes in pixels of a screen at 100%. Width is what fits into a JupyterLab window of 1280, beside its file browser.
const (
	Width      = 790
	columnGap  = 20
	titleSize  = 15
	panelSize  = 12
	labelSize  = 12
	tickSize   = 11
	lineWidth  = 1.8
	haloWidth  = 4.2  // of the white below a line on a map, which a dark line needs on its dark end
	strokeSize = 300. // areas of the legend's samples
	pointSize  = 70.
	sampleRoom = 38 // what an entry of the legend needs besides its name
)

type object = map[string]any

// VegaLite returns the chart in Vega-Lite v5, which needs no network: hovering shows every number and field of a point, a click in the
// legend brings out a series, and lists below the chart offer the choices. Each panel holds its points once, as CSV; the number of a
// point's series, l, is a row's first column.
//
// The map holds only what encoding/gob and encoding/json carry as it is: map[string]any, []any, string, float64, bool. It returns an
// error when the chart can't be drawn, naming panel and layer.
func (f Chart) VegaLite() (map[string]any, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	columns := f.columns()
	w := writer{Chart: f, entries: f.entries()}
	width := f.width(columns)
	panels := xslices.Map(f.Panels, func(p Panel) any { return w.panel(p, width) })
	title, words, params := object{"text": f.Title, "anchor": "start", "fontSize": float64(titleSize)}, literal(f.Title+": "), []any{}
	if f.Subtitle != "" {
		title["subtitle"], title["subtitleColor"], title["subtitleFontSize"] = f.Subtitle, hex(grey), float64(tickSize)
	}
	for i, c := range f.Choices { // each a list that the reader chooses from
		words += fmt.Sprintf(" + %s + choice%d", literal(strings.Repeat(", ", min(i, 1))+c.Name+" "), i)
		title["text"] = object{"expr": words}
		params = append(params, object{"name": fmt.Sprintf("choice%d", i), "value": c.Options[c.Start],
			"bind": object{"input": "select", "options": list(c.Options), "name": c.Name + " "}})
	}
	shared := "independent"
	if f.oneBar() {
		shared = "shared"
	}
	spec := object{
		"$schema": vegaSchema, "name": f.Name, "description": strings.Trim(f.Title+". "+f.Caption, ". ") + ".", "background": "white",
		"columns": float64(columns), "spacing": float64(columnGap), "concat": panels,
		"title":   title,
		"resolve": object{"scale": object{"fill": shared, "stroke": shared}},
		"config":  config(),
	}
	if len(f.Choices) > 0 {
		spec["params"] = params
	}
	return spec, nil
}

func config() object {
	text := func(more object) object {
		more["labelFontSize"], more["titleFontSize"], more["titleFontWeight"] = float64(tickSize), float64(labelSize), "normal"
		return more
	}
	return object{
		"font":   "DejaVu Sans, Verdana, Arial, sans-serif",
		"axis":   text(object{"gridColor": hex(gridded), "tickColor": hex(grey), "domain": false}),
		"legend": text(object{"labelLimit": 0., "titleLimit": 0.}),
		"title":  object{"fontSize": float64(panelSize), "color": "black"},
		// Said, though it is what is usual: where JupyterLab is dark it has charts write in white, and these are on white.
		"style": object{"guide-label": object{"fill": "black"}, "guide-title": object{"fill": "black"}},
		"view":  object{"stroke": hex(grey)},
		"mark":  object{"aria": false}, // else half of an SVG is each mark's numbers in words; the chart has a description
		"line":  object{"strokeWidth": lineWidth},
		"point": object{"filled": true, "size": 45., "opacity": 1.},
		"rule":  object{"strokeWidth": 1.3},
		"area":  object{"fillOpacity": .22},
	}
}

// width is that of a panel's data rectangle: what labels and colour bars of all columns leave, in equal parts.
func (f Chart) width(columns int) float64 {
	around, shared, bar := make([]float64, columns), f.oneBar(), 0.
	for i, p := range f.Panels {
		_, y, right := p.scales()
		room := 0.
		if !p.Y.Bare {
			room = textWidth(y.labels) + 36
		}
		if len(right.labels) > 0 && !p.Right.Bare {
			room += textWidth(right.labels) + 36
		}
		own := 10.
		if of, ok := p.valued(); ok {
			_, labels := f.valueTicks(of)
			bar = 24 + max(22+textWidth(labels), textWidth(wrapped(of.ValueLabel)))
			if !shared {
				own = bar
			}
		}
		around[i%columns] = max(around[i%columns], room+own)
	}
	left := float64(Width - columnGap*(columns-1))
	if shared {
		left -= bar
	}
	for _, room := range around {
		left -= room
	}
	return math.Floor(left / float64(columns))
}

// textWidth guesses the width of the widest of some labels: a digit's for every letter.
func textWidth(labels []string) float64 {
	widest := 0
	for _, s := range labels {
		widest = max(widest, len([]rune(s)))
	}
	return .64 * tickSize * float64(widest)
}

// titleLines breaks a panel's title where it would reach far out of the panel, which moves the panels beside it.
func titleLines(title string, width float64) any {
	const axis = 56     // of the room of the labels beside the panel
	const glue = "\x00" // an equation stays together
	lines := broken(strings.ReplaceAll(title, " = ", glue+"="+glue), int((width+axis)/(.62*panelSize)))
	if len(lines) < 2 {
		return title
	}
	return xslices.Map(lines, func(line string) any { return strings.ReplaceAll(line, glue, " ") })
}

// wrapped breaks a colour bar's label into lines about as wide as the bar and its numbers.
func wrapped(label string) []string { return broken(label, 12) }

// broken breaks a text into lines of fewer letters than so many, where words allow.
func broken(text string, letters int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		if last := len(lines) - 1; last >= 0 && utf8.RuneCountInString(lines[last])+utf8.RuneCountInString(word) < letters {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// valued returns the panel's first layer that is coloured by value.
func (p Panel) valued() (Layer, bool) {
	for _, l := range p.Layers {
		if len(l.Value) > 0 {
			return l, true
		}
	}
	return Layer{}, false
}

// oneBar reports whether one colour bar serves several panels.
func (f Chart) oneBar() bool {
	first, _ := f.Panels[0].valued()
	other := func(p Panel) bool {
		of, ok := p.valued()
		return !ok || of.ValueLabel != first.ValueLabel || of.ValueLog != first.ValueLog
	}
	return len(f.Panels) > 1 && !slices.ContainsFunc(f.Panels, other)
}

// missingName stands for the cells without a value in the legend, and in a panel without a single number.
const missingName = "no data"

func (p Panel) empty() bool {
	return !slices.ContainsFunc(p.Layers, func(l Layer) bool {
		return l.Kind != Rule && slices.ContainsFunc(slices.Concat(l.Y, l.Low, l.Value), finite)
	})
}

// writer writes one panel after the other. The first series of the chart tells how all of them look and listens to the legend.
type writer struct {
	Chart
	entries   []entry
	told      []string // channels
	bar       float64  // length of the panel's colour bar
	listening bool
}

func (w *writer) panel(p Panel, width float64) object {
	tracks := p.tracks()
	x, y, right := p.scales()
	isMap := slices.ContainsFunc(p.Layers, func(l Layer) bool { return l.Kind == Heat })
	height := math.Round(min(max(.72*width, 130), 360))
	w.bar = height - 50
	// Encoded, not of the marks: from those, Vega-Lite 5.6 takes the mouse away when a legend listens.
	d := drawing{tracks: tracks, isMap: isMap, x: x, y: y, tip: object{"value": object{"expr": tooltip(p, tracks)}}}
	layers := append(w.maps(p, d), w.all(d)...)
	encoding, resolve := object{"x": channel("x", x, p.X, !isMap), "y": channel("y", y, p.Y, !isMap)}, object{}
	if len(right.labels) > 0 {
		d.right, d.y = true, right
		other := channel("y", right, p.Right, false)
		other["axis"].(object)["orient"] = "right"
		layers = []any{object{"layer": layers, "encoding": object{"y": encoding["y"]}},
			object{"layer": w.all(d), "encoding": object{"y": other}}}
		delete(encoding, "y")
		resolve["scale"] = object{"y": "independent"}
	}
	if p.empty() {
		layers = append(layers, object{"data": object{"values": []any{object{}}},
			"mark":     object{"type": "text", "text": missingName, "color": hex(grey), "fontSize": float64(labelSize)},
			"encoding": object{"x": object{"value": width / 2}, "y": object{"value": height / 2}}})
	}
	return object{"title": titleLines(p.Title, width), "width": width, "height": height,
		"data": data(tracks), "transform": w.transform(tracks, y), "layer": layers, "encoding": encoding, "resolve": resolve}
}

// drawing is what the marks of a panel are drawn with, on one of its vertical axes.
type drawing struct {
	tracks       []track
	right, isMap bool
	x, y         scale
	tip          object
}

// all are the marks of an axis but for its maps.
func (w *writer) all(d drawing) (layers []any) {
	for _, kind := range []Kind{Band, Rule, Line, Step} {
		layers = append(layers, w.marks(d, kind)...)
	}
	layers = slices.Concat(layers, hovers(d), w.marks(d, Points))
	byName := func(l Layer) bool { return l.Name != "" && len(l.Value) == 0 }
	if len(w.entries) > 0 && !slices.ContainsFunc(w.layers(), byName) && !slices.Contains(w.told, "color") {
		// All series are coloured by value, which tells the legend nothing.
		layers = append(layers, unit(nil, object{"type": "point", "opacity": 0.}, object{"color": w.byName("color")}))
	}
	return layers
}

// transform names each point's series, drops what isn't chosen, and keeps an interval's end on a logarithmic axis.
func (w *writer) transform(tracks []track, y scale) []any {
	names := xslices.Map(tracks, func(t track) string { return t.Name })
	steps := []any{}
	if strings.Join(names, "") != "" {
		steps = append(steps, calculate("series", literal(names)+"[datum.l]"))
	}
	for i, c := range w.Choices {
		options := xslices.Map(tracks, func(t track) int {
			if len(t.Chosen) == 0 {
				return Any
			}
			return t.Chosen[i]
		})
		of := literal(options) + "[datum.l]"
		steps = append(steps, object{"filter": fmt.Sprintf("%s < 0 || %s === indexof(%s, choice%d)", of, of, literal(list(c.Options)), i)})
	}
	if low, high := ends(tracks, y); low != "low" {
		cut := func(from string) string {
			return fmt.Sprintf("isValid(datum.%s) ? max(datum.%s, %s) : null", from, from, literal(y.min))
		}
		steps = append(steps, calculate(low, cut("low")), calculate(high, cut("high")))
	}
	return steps
}

// ends are the columns of an interval as it is drawn: where it goes below a logarithmic axis, others than its numbers.
func ends(tracks []track, y scale) (low, high string) {
	if y.log && slices.ContainsFunc(tracks, func(t track) bool {
		return slices.ContainsFunc(slices.Concat(t.Low, t.High), func(v float64) bool { return v < y.min })
	}) {
		return "from", "to"
	}
	return "low", "high"
}

func calculate(as, expression string) object { return object{"calculate": expression, "as": as} }

// channel places a panel's points along an axis.
func channel(key string, s scale, a Axis, grid bool) object {
	placed := object{"type": "linear", "domain": []any{s.min, s.max}, "nice": false, "zero": false}
	if s.log {
		placed = object{"type": "log", "domain": []any{s.min, s.max}, "nice": false}
	}
	if a.Reverse {
		placed["reverse"] = true
	}
	axis := labelled(s.ticks, s.labels, object{"title": a.Label, "grid": grid, "labelOverlap": true, "labelSeparation": 3.})
	if a.Bare {
		axis["title"], axis["labels"], axis["ticks"] = nil, false, false
	}
	return object{"field": key, "type": "quantitative", "scale": placed, "axis": axis}
}

// labelled adds the places of an axis' or legend's labels and the labels.
func labelled(ticks []float64, labels []string, to object) object {
	to["values"] = list(ticks)
	to["labelExpr"] = fmt.Sprintf("%s[indexof(%s, datum.value)]", literal(list(labels)), literal(list(ticks)))
	return to
}

// literal is a value as the expression language reads it, which is JSON.
func literal(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // finite numbers, strings, and lists of them
	}
	return string(text)
}

func list[T any](values []T) []any {
	return xslices.Map(values, func(v T) any { return v })
}
