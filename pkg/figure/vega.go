package figure

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// vegaSchema names the language; it is an identifier, nothing is fetched.
const vegaSchema = "https://vega.github.io/schema/vega-lite/v5.json"

// VegaLite returns the figure as an interactive Vega-Lite v5 chart that needs no network: hovering shows every number and
// field of a point, a click in the legend brings out a series. Data, limits, ticks and colours are those of the static
// picture.
//
// The map holds only what encoding/gob and encoding/json carry as it is: map[string]any, []any, string, float64, bool;
// a missing number is an absent key. It returns an error when the figure can't be drawn, naming panel and layer.
func (f Figure) VegaLite() (map[string]any, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	l := f.layout()
	var panels []any
	listening := false
	for _, a := range l.axes {
		panels = append(panels, vegaPanel{axes: a, figure: f, listening: &listening}.spec())
	}
	spec := object{
		"$schema": vegaSchema, "description": f.Caption, "columns": float64(l.columns), "spacing": float64(columnGap), "concat": panels,
		"title":   object{"text": f.Title, "anchor": "start", "fontSize": float64(titleSize)},
		"resolve": object{"scale": object{"fill": "independent"}},
		"config":  vegaConfig(),
	}
	if len(f.Choices) > 0 {
		spec["params"] = f.choiceParams()
	}
	return spec, nil
}

// choiceParams are the lists that the reader chooses from.
func (f Figure) choiceParams() []any {
	params := []any{}
	for i, c := range f.Choices {
		params = append(params, object{"name": choiceKey(i), "value": c.Options[c.Start],
			"bind": object{"input": "select", "options": list(c.Options), "name": c.Name + " "}})
	}
	return params
}

func choiceKey(i int) string { return fmt.Sprintf("choice%d", i) }

// whenChosen filters a layer out unless its options are those that the reader chose.
func (f Figure) whenChosen(l Layer) []any {
	filters := []any{}
	for i, option := range l.Chosen {
		filters = append(filters, object{"filter": fmt.Sprintf("%s === %s", choiceKey(i), literal([]any{f.Choices[i].Options[option]})+"[0]")})
	}
	return filters
}

func vegaConfig() object {
	label := func(more object) object {
		more["labelFontSize"], more["titleFontSize"], more["titleFontWeight"] = float64(textSize), float64(textSize), "normal"
		return more
	}
	return object{
		"font":   "Liberation Sans, Arial, Helvetica, sans-serif",
		"axis":   label(object{"gridColor": hex(gridded), "tickColor": hex(grey), "domain": false}),
		"legend": label(object{"labelLimit": 0., "titleLimit": 0.}),
		"title":  object{"fontSize": float64(panelSize)},
		"view":   object{"stroke": hex(grey)},
	}
}

type object = map[string]any

// fits narrows the panels so that the chart, whose labels stand further out than the picture's, fits beside JupyterLab's
// file browser.
const fits = .92

// vegaPanel is a panel being written. listening is shared by the panels: the first series of the figure listens to the
// legend, and all of them follow the choice; Vega-Lite knows only one owner of a name.
type vegaPanel struct {
	axes
	figure    Figure
	listening *bool
}

func (p vegaPanel) spec() object {
	layers := []any{}
	for _, l := range inDepth(p.Layers) {
		layer := object{"data": object{"values": p.rows(l)}, "layer": p.marks(l)}
		if len(l.Chosen) > 0 {
			layer["transform"] = p.figure.whenChosen(l)
		}
		layers = append(layers, layer)
	}
	if p.empty() {
		layers = append(layers, object{"data": object{"values": []any{object{}}},
			"mark": object{"type": "text", "text": missingName, "color": hex(grey), "fontSize": float64(textSize)}})
	}
	size := p.box.Size()
	return object{"title": p.Title, "width": math.Round(fits * float64(size.X)), "height": float64(size.Y), "layer": layers}
}

// rows are a layer's points. Keys are short and safe; readable names are the titles of the tooltips. Drawn positions that
// differ from the numbers have keys of their own: x0, x1, y0, y1 are a cell's edges, from and to an interval's ends.
func (p vegaPanel) rows(l Layer) []any {
	rows := []any{}
	var xs, ys [][2]float64
	if l.Kind == Heat {
		xs, ys = p.X.cells(l.X), p.Y.cells(l.Y)
	}
	for i := range l.rows() {
		row := object{"row": float64(i), "series": l.Name}
		put := func(key string, values []float64) {
			if i < len(values) && finite(values[i]) {
				row[key] = plotted(values[i])
			}
		}
		put("x", l.X)
		put("y", l.Y)
		put("low", l.Low)
		put("high", l.High)
		put("value", l.Value)
		if len(l.Low) > 0 && finite(l.Low[i]) && finite(l.High[i]) {
			row["from"], row["to"] = plotted(p.y.floor(l.Low[i])), plotted(p.y.floor(l.High[i]))
		}
		if l.Kind == Heat {
			row["x0"], row["x1"], row["y0"], row["y1"] = plotted(xs[i][0]), plotted(xs[i][1]), plotted(ys[i][0]), plotted(ys[i][1])
			if !finite(l.Value[i]) {
				row["series"] = missingName
			}
		}
		if len(p.X.Categories) > 0 {
			row["xname"] = p.X.cell(l.X, i)
		}
		if len(p.Y.Categories) > 0 {
			row["yname"] = p.Y.cell(l.Y, i)
		}
		for j, field := range l.Fields {
			if names, ok := field.Values.([]string); ok {
				row[fieldKey(j)] = names[i]
			} else {
				put(fieldKey(j), field.Values.([]float64))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func fieldKey(j int) string { return fmt.Sprintf("field%d", j) }

// marks are what draws one layer.
func (p vegaPanel) marks(l Layer) []any {
	x, y := p.channel("x", "x"), p.channel("y", "y")
	_, isMap := p.heat()
	switch l.Kind {
	case Line, Step:
		// The order is the points' own; without it a line would go by x.
		path := func() object { return object{"x": x, "y": y, "order": quantity("row")} }
		line := object{"type": "line", "strokeWidth": lineWidth, "interpolate": l.interpolation(), "clip": true}
		marks := []any{}
		if isMap {
			under := object{"type": "line", "strokeWidth": lineWidth + 2*halo, "interpolate": l.interpolation(), "clip": true, "stroke": "#ffffff"}
			encoding := path()
			if l.Name != "" {
				encoding["opacity"] = chosenOnly()
			}
			marks = append(marks, object{"mark": under, "encoding": encoding})
		}
		// A line has no points to hover over.
		hover := object{"type": "point", "filled": true, "opacity": 0., "size": 150., "clip": true}
		return append(marks, p.mark(l, line, path()),
			object{"mark": hover, "encoding": object{"x": x, "y": y, "tooltip": p.tooltip(l)}})
	case Points:
		marks := []any{p.mark(l, object{"type": "point", "filled": true, "size": 55., "shape": l.vegaShape(), "clip": true, "opacity": 1.}, object{"x": x, "y": y})}
		if len(l.Low) > 0 {
			marks = append(marks, p.mark(l, object{"type": "rule", "strokeWidth": 1.2, "clip": true},
				object{"x": x, "y": p.channel("y", "from"), "y2": object{"field": "to"}}))
		}
		return marks
	case Band:
		return []any{p.mark(l, object{"type": "area", "fillOpacity": .22, "clip": true},
			object{"x": x, "y": p.channel("y", "from"), "y2": object{"field": "to"}})}
	case Rule:
		position := object{"x": x}
		if len(l.X) == 0 {
			position = object{"y": y}
		}
		return []any{p.mark(l, object{"type": "rule", "strokeWidth": 1.3, "clip": true}, position)}
	}
	return p.cells(l)
}

// mark gives a mark its series' look, its place in the legend and its tooltip.
func (p vegaPanel) mark(l Layer, mark, encoding object) object {
	stroke := mark["type"] == "line" || l.Kind == Rule
	encoding["tooltip"] = p.tooltip(l)
	if l.Name == "" {
		mark["color"] = hex(colorOf(l.Color))
		if stroke && l.Dashed {
			mark["strokeDash"] = []any{6., 4.}
		}
		return object{"mark": mark, "encoding": encoding}
	}
	encoding["color"] = p.figure.series("color")
	if stroke {
		encoding["strokeDash"] = p.figure.series("strokeDash")
	}
	encoding["opacity"] = chosenOnly()
	unit := object{"mark": mark, "encoding": encoding}
	if !*p.listening {
		*p.listening = true
		unit["params"] = []any{object{"name": "chosen", "bind": "legend", "select": object{"type": "point", "fields": []any{"series"}}}}
	}
	return unit
}

// chosenOnly fades what the legend's choice leaves out; without a choice nothing is.
func chosenOnly() object {
	return object{"condition": object{"param": "chosen", "value": 1.}, "value": .12}
}

func (p vegaPanel) cells(l Layer) []any {
	edges := func(encoding object) object {
		encoding["x"], encoding["x2"] = p.channel("x", "x0"), object{"field": "x1"}
		encoding["y"], encoding["y2"] = p.channel("y", "y0"), object{"field": "y1"}
		encoding["tooltip"] = p.tooltip(l)
		return encoding
	}
	low, high := p.figure.valueRange(l)
	domain, colors := []any{}, []any{}
	for i, c := range ramp {
		domain = append(domain, low+(high-low)*float64(i)/float64(len(ramp)-1))
		colors = append(colors, hex(c))
	}
	fill := quantity("value")
	fill["scale"] = object{"type": "linear", "domain": domain, "range": colors, "interpolate": "rgb", "clamp": true}
	ticks, _ := linearTicks(low, high)
	fill["legend"] = object{"title": l.ValueLabel, "gradientLength": float64(p.box.Size().Y) - 30, "values": list(ticks)}
	// Cells overlap by a fraction of a pixel: the browser would blend white into edges that only touch.
	rect := object{"type": "rect", "clip": true, "x2Offset": .7, "y2Offset": -.7}
	only := func(test string) []any { return []any{object{"filter": test}} }
	marks := []any{object{"transform": only("isValid(datum.value)"), "mark": rect, "encoding": edges(object{"fill": fill})}}
	if slices.ContainsFunc(l.Value, func(v float64) bool { return !finite(v) }) {
		marks = append(marks, object{"transform": only("!isValid(datum.value)"), "mark": rect, "encoding": edges(object{"color": p.figure.series("color")})})
	}
	return marks
}

func quantity(key string) object { return object{"field": key, "type": "quantitative"} }

// channel places a key on the x or y axis.
func (p vegaPanel) channel(axis, key string) object {
	s, label := p.x, p.X.Label
	if axis == "y" {
		s, label = p.y, p.Y.Label
	}
	_, isMap := p.heat()
	kind := "linear"
	if s.log {
		kind = "log"
	}
	values, names := list(s.ticks), list(s.labels)
	channel := quantity(key)
	channel["scale"] = object{"type": kind, "domain": []any{s.min, s.max}, "nice": false, "zero": false}
	channel["axis"] = object{"title": label, "values": values, "grid": !isMap, "labelOverlap": true,
		"labelExpr": fmt.Sprintf("%s[indexof(%s, datum.value)]", literal(names), literal(values))}
	return channel
}

// literal is a list as the expression language reads it, which is JSON.
func literal(values []any) string {
	text, err := json.Marshal(values)
	if err != nil {
		panic(err) // ticks are finite numbers and strings
	}
	return string(text)
}

func list[T any](values []T) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

// series encodes the layers' names as colour or dashes; both make one legend.
func (f Figure) series(channel string) object {
	names, looks := []any{}, []any{}
	for _, e := range f.entries() {
		names = append(names, e.name)
		look, dash := grey, []any{1., 0.}
		for _, l := range e.layers {
			look = colorOf(l.Color)
			if l.Dashed {
				dash = []any{6., 4.}
			}
		}
		if len(e.layers) == 0 {
			look = missing
		}
		if channel == "color" {
			looks = append(looks, hex(look))
		} else {
			looks = append(looks, dash)
		}
	}
	return object{"field": "series", "type": "nominal", "scale": object{"domain": names, "range": looks},
		"legend": object{"title": "", "orient": "top", "columns": 8., "symbolType": "stroke", "symbolStrokeWidth": 3., "symbolSize": 300.}}
}

// tooltip lists what a row holds under readable names.
func (p vegaPanel) tooltip(l Layer) []any {
	lines := []any{}
	add := func(key, title, fallback string, number bool) {
		if title == "" {
			title = fallback
		}
		line := object{"field": key, "title": title, "type": "nominal"}
		if number {
			line["type"], line["format"] = "quantitative", ".6~g"
		}
		lines = append(lines, line)
	}
	position := func(values []float64, a Axis, key string) {
		if len(values) == 0 {
			return
		}
		if len(a.Categories) > 0 {
			add(key+"name", a.Label, key, false)
		} else {
			add(key, a.Label, key, true)
		}
	}
	if l.Name != "" {
		add("series", "series", "", false)
	}
	position(l.X, p.X, "x")
	position(l.Y, p.Y, "y")
	if len(l.Low) > 0 {
		add("low", "low", "", true)
		add("high", "high", "", true)
	}
	if l.Kind == Heat {
		add("value", l.ValueLabel, "value", true)
	}
	for j, field := range l.Fields {
		_, isNumber := field.Values.([]float64)
		add(fieldKey(j), field.Name, "", isNumber)
	}
	return lines
}

func (l Layer) interpolation() string {
	if l.Kind == Step {
		return "step-after"
	}
	return "linear"
}

func (l Layer) vegaShape() string {
	if l.Color < 0 || l.Color >= len(palette) {
		return "circle"
	}
	return []string{"circle", "square", "triangle-up", "diamond"}[l.Color%4]
}
