package figure

import (
	"bytes"
	"image/color"
	"io"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Width is the width of every static figure in points (pixels of a screen at 100%); a PNG has Density pixels per point.
const (
	Width   = 900
	Density = 2
)

const (
	margin      = 10
	columnGap   = 26
	rowGap      = 18
	titleSize   = 16
	panelSize   = 14
	textSize    = 13
	lineWidth   = 1.8
	halo        = 1.2
	markerSize  = 3.4
	barWidth    = 14
	thumbWidth  = 26
	tickLength  = 4
	legendRow   = 20
	axisPadding = 6
	// overlap hides the seams of neighbouring areas where a viewer scales the picture.
	overlap = .5
	// raise brings text centred on its line box to the centre of its digits.
	raise = 1
)

var fonts = font.NewCache(liberation.Collection())

// PNG returns the figure as a picture, Width·Density pixels wide. It returns an error when it can't be drawn, naming panel
// and layer.
func (f Figure) PNG() ([]byte, error) {
	return f.render(func(height vg.Length) (vg.CanvasSizer, io.WriterTo) {
		c := vgimg.NewWith(vgimg.UseWH(Width, height), vgimg.UseDPI(72*Density))
		return c, vgimg.PngCanvas{Canvas: c}
	})
}

// SVG returns the figure as a vector picture, with text as text in Liberation Sans or what has its widths. It returns an
// error when it can't be drawn, naming panel and layer.
func (f Figure) SVG() ([]byte, error) {
	picture, err := f.render(func(height vg.Length) (vg.CanvasSizer, io.WriterTo) {
		c := vgsvg.New(Width, height)
		return c, c
	})
	// A browser shows points a third larger than the pixels the sizes are meant in, and without the named font a serif one.
	picture = bytes.Replace(picture, []byte(`pt"`), []byte(`px"`), 2)
	family := "font-family:'Liberation Sans',Arial,Helvetica,sans-serif;"
	return bytes.ReplaceAll(picture, []byte("font-family:Liberation Sans;"), []byte(family)), err
}

func (f Figure) render(canvas func(height vg.Length) (vg.CanvasSizer, io.WriterTo)) ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if len(f.Choices) > 0 {
		var shown []string
		for _, c := range f.Choices {
			shown = append(shown, c.Name+" "+c.Options[c.Start])
		}
		f.Title += ": " + strings.Join(shown, ", ")
	}
	l := f.layout()
	surface, encoder := canvas(l.height)
	l.draw(draw.New(surface))
	var out bytes.Buffer
	_, err := encoder.WriteTo(&out)
	return out.Bytes(), err
}

// layout is where everything of a figure goes; lengths in points, y upwards.
type layout struct {
	figure  Figure
	height  vg.Length
	legend  [][]entry // rows
	axes    []axes    // one per panel
	columns int
}

// axes is a panel with its scales, its data rectangle and the room its left side needs.
type axes struct {
	Panel
	x, y scale
	box  vg.Rectangle
}

func (f Figure) layout() layout {
	l := layout{figure: f, legend: flow(f.entries()), columns: f.columns()}
	for _, p := range f.Panels {
		x, y := p.scales()
		l.axes = append(l.axes, axes{Panel: p, x: x, y: y})
	}
	// Data boxes of one column begin and end together.
	left, right := make([]vg.Length, l.columns), make([]vg.Length, l.columns)
	for i, a := range l.axes {
		c := i % l.columns
		left[c], right[c] = max(left[c], a.left()), max(right[c], a.right(f))
	}
	room := vg.Length(Width - 2*margin - columnGap*(l.columns-1))
	for c := range l.columns {
		room -= left[c] + right[c]
	}
	width := room / vg.Length(l.columns)
	height := min(max(.72*width, 190), 400)

	rows := (len(f.Panels) + l.columns - 1) / l.columns
	head := l.headHeight()
	top, bottom := vg.Length(0), vg.Length(0)
	for _, a := range l.axes {
		top, bottom = max(top, a.top()), max(bottom, a.bottom())
	}
	l.height = snap(head + vg.Length(rows)*(top+height+bottom+rowGap) - rowGap + margin)
	for i := range l.axes {
		x, y := vg.Length(margin), l.height-head-top-vg.Length(i/l.columns)*(top+height+bottom+rowGap)
		for c := range i % l.columns {
			x += left[c] + width + right[c] + columnGap
		}
		x += left[i%l.columns]
		l.axes[i].box = vg.Rectangle{Min: vg.Point{X: snap(x), Y: snap(y - height)}, Max: vg.Point{X: snap(x + width), Y: snap(y)}}
	}
	return l
}

// snap puts an edge on a pixel's border, where it is sharp.
func snap(v vg.Length) vg.Length { return vg.Length(math.Round(float64(v))) }

func (l layout) headHeight() vg.Length {
	h := vg.Length(margin)
	if l.figure.Title != "" {
		h += titleSize + 10
	}
	if len(l.legend) > 0 {
		h += legendRow*vg.Length(len(l.legend)) + 6
	}
	return h
}

func (a axes) left() vg.Length {
	w := widest(a.y.labels) + tickLength + axisPadding
	if a.Y.Label != "" {
		w += textSize + axisPadding
	}
	return w
}

func (a axes) right(f Figure) vg.Length {
	w := vg.Length(8)
	if heat, ok := a.heat(); ok {
		_, labels := linearTicks(f.valueRange(heat))
		w += barWidth + tickLength + 2*axisPadding + widest(labels)
		if heat.ValueLabel != "" {
			w += textSize + axisPadding
		}
	}
	return w
}

func (a axes) top() vg.Length {
	if a.Title == "" {
		return 4
	}
	return panelSize + 10
}

func (a axes) bottom() vg.Length {
	h := vg.Length(tickLength + textSize + axisPadding)
	if a.X.Label != "" {
		h += textSize + axisPadding
	}
	return h
}

// heat returns the panel's first map.
func (p Panel) heat() (Layer, bool) {
	for _, l := range p.Layers {
		if l.Kind == Heat {
			return l, true
		}
	}
	return Layer{}, false
}

// missingName stands for hatched cells in the legend, and in a panel without a single number.
const missingName = "no data"

func (p Panel) empty() bool {
	return !slices.ContainsFunc(p.Layers, func(l Layer) bool {
		return l.Kind != Rule && slices.ContainsFunc(slices.Concat(l.Y, l.Low, l.Value), finite)
	})
}

func style(size vg.Length, c color.Color) text.Style {
	return text.Style{Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}, XAlign: text.XCenter, YAlign: text.YCenter, Handler: text.Plain{Fonts: fonts}}
}

func bold(s text.Style) text.Style {
	s.Font.Weight = 3 // as golang.org/x/image/font names bold
	return s
}

func textWidth(s string) vg.Length { t := style(textSize, black); return t.Width(s) }

func widest(labels []string) vg.Length {
	var w vg.Length
	for _, s := range labels {
		w = max(w, textWidth(s))
	}
	return w
}

func (l layout) draw(c draw.Canvas) {
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	y := l.height - margin
	if l.figure.Title != "" {
		s := bold(style(titleSize, black))
		s.XAlign, s.YAlign = text.XLeft, text.YTop
		c.FillText(s, vg.Point{X: margin, Y: y}, l.figure.Title)
		y -= titleSize + 10
	}
	for _, row := range l.legend {
		x := vg.Length(margin)
		for _, e := range row {
			e.draw(c, vg.Point{X: x, Y: y - legendRow/2})
			x += e.width()
		}
		y -= legendRow
	}
	for _, a := range l.axes {
		a.draw(c, l.figure)
	}
}

func (a axes) draw(c draw.Canvas, f Figure) {
	data := draw.Canvas{Canvas: c.Canvas, Rectangle: a.box}
	heat, isMap := a.heat()
	if !isMap {
		a.drawGrid(data)
	}
	for _, l := range inDepth(a.Layers) {
		if f.shows(l) {
			a.drawLayer(data, l, f)
		}
	}
	a.drawFrame(c)
	if isMap {
		a.drawColorBar(c, heat, f)
	}
	if a.empty() {
		c.FillText(style(textSize, grey), data.Center(), missingName)
	}
}

// inDepth puts maps below ribbons and ribbons below everything else.
func inDepth(layers []Layer) []Layer {
	depth := func(l Layer) int {
		switch l.Kind {
		case Heat:
			return 0
		case Band:
			return 1
		}
		return 2
	}
	return slices.SortedStableFunc(slices.Values(layers), func(a, b Layer) int { return depth(a) - depth(b) })
}

func (a axes) point(x, y float64) vg.Point {
	size := a.box.Size()
	return vg.Point{X: a.box.Min.X + size.X*vg.Length(a.x.at(x)), Y: a.box.Min.Y + size.Y*vg.Length(a.y.at(y))}
}

func (a axes) drawGrid(c draw.Canvas) {
	line := draw.LineStyle{Color: gridded, Width: .8}
	for _, t := range a.x.ticks {
		x := a.point(t, a.y.min).X
		c.StrokeLine2(line, x, c.Min.Y, x, c.Max.Y)
	}
	for _, t := range a.y.ticks {
		y := a.point(a.x.min, t).Y
		c.StrokeLine2(line, c.Min.X, y, c.Max.X, y)
	}
}

func (a axes) drawLayer(c draw.Canvas, l Layer, f Figure) {
	switch l.Kind {
	case Line, Step:
		path := c.ClipLinesXY(a.path(l)...)
		if _, isMap := a.heat(); isMap {
			// On a map's dark end a dark line needs a halo.
			c.StrokeLines(draw.LineStyle{Color: color.White, Width: lineWidth + 2*halo}, path...)
		}
		c.StrokeLines(l.line(), path...)
	case Points:
		a.drawPoints(c, l)
	case Band:
		a.drawBand(c, l)
	case Rule:
		for _, x := range l.X {
			if p := a.point(x, a.y.min); c.ContainsX(p.X) {
				c.StrokeLine2(l.line(), p.X, c.Min.Y, p.X, c.Max.Y)
			}
		}
		for _, y := range l.Y {
			if p := a.point(a.x.min, y); c.ContainsY(p.Y) {
				c.StrokeLine2(l.line(), c.Min.X, p.Y, c.Max.X, p.Y)
			}
		}
	case Heat:
		a.drawCells(c, l, f)
	}
}

func (l Layer) line() draw.LineStyle {
	s := draw.LineStyle{Color: colorOf(l.Color), Width: lineWidth}
	if l.Kind == Rule {
		s.Width = 1.3
	}
	if l.Dashed {
		s.Dashes = []vg.Length{6, 4}
	}
	return s
}

// path returns the pieces of a line or staircase between its gaps.
func (a axes) path(l Layer) [][]vg.Point {
	var pieces [][]vg.Point
	open := false
	for i := range l.X {
		if !finite(l.X[i]) || !finite(l.Y[i]) {
			open = false
			continue
		}
		p := a.point(l.X[i], l.Y[i])
		if !open {
			pieces = append(pieces, nil)
			open = true
		}
		last := &pieces[len(pieces)-1]
		if n := len(*last); l.Kind == Step && n > 0 {
			*last = append(*last, vg.Point{X: p.X, Y: (*last)[n-1].Y})
		}
		*last = append(*last, p)
	}
	return pieces
}

func (a axes) drawPoints(c draw.Canvas, l Layer) {
	bar := draw.LineStyle{Color: colorOf(l.Color), Width: 1.2}
	for i := range l.X {
		if !finite(l.X[i]) || !finite(l.Y[i]) {
			continue
		}
		p := a.point(l.X[i], l.Y[i])
		if len(l.Low) > 0 && finite(l.Low[i]) && finite(l.High[i]) {
			low, high := a.point(l.X[i], a.y.floor(l.Low[i])).Y, a.point(l.X[i], a.y.floor(l.High[i])).Y
			c.StrokeLines(bar, c.ClipLinesXY([]vg.Point{{X: p.X, Y: low}, {X: p.X, Y: high}},
				[]vg.Point{{X: p.X - 3, Y: low}, {X: p.X + 3, Y: low}}, []vg.Point{{X: p.X - 3, Y: high}, {X: p.X + 3, Y: high}})...)
		}
		c.DrawGlyph(l.marker(), p)
	}
}

// marker tells the palette's colours apart by shape too; ordered colours share one.
func (l Layer) marker() draw.GlyphStyle {
	g := draw.GlyphStyle{Color: colorOf(l.Color), Radius: markerSize, Shape: draw.CircleGlyph{}}
	if l.Color >= 0 && l.Color < len(palette) {
		g.Shape = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, diamond{}}[l.Color%4]
	}
	return g
}

type diamond struct{}

func (diamond) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, p vg.Point) {
	r := 1.3 * s.Radius
	c.SetColor(s.Color)
	c.Fill(polygon(vg.Point{X: p.X - r, Y: p.Y}, vg.Point{X: p.X, Y: p.Y - r}, vg.Point{X: p.X + r, Y: p.Y}, vg.Point{X: p.X, Y: p.Y + r}))
}

func polygon(points ...vg.Point) vg.Path {
	var path vg.Path
	path.Move(points[0])
	for _, p := range points[1:] {
		path.Line(p)
	}
	path.Close()
	return path
}

func (a axes) drawBand(c draw.Canvas, l Layer) {
	var upper, lower []vg.Point
	fill := func() {
		if len(upper) > 1 {
			slices.Reverse(lower)
			c.FillPolygon(faded(l.Color), c.ClipPolygonXY(append(upper, lower...)))
		}
		upper, lower = nil, nil
	}
	for i, x := range l.X {
		if !finite(x) || !finite(l.Low[i]) || !finite(l.High[i]) {
			fill()
			continue
		}
		upper = append(upper, a.point(x, a.y.floor(l.High[i])))
		lower = append(lower, a.point(x, a.y.floor(l.Low[i])))
	}
	fill()
}

func faded(c int) color.NRGBA {
	full := colorOf(c)
	return color.NRGBA{full.R, full.G, full.B, 56}
}

func (a axes) drawCells(c draw.Canvas, l Layer, f Figure) {
	low, high := f.valueRange(l)
	xs, ys := a.X.cells(l.X), a.Y.cells(l.Y)
	for i, v := range l.Value {
		from, to := a.point(xs[i][0], ys[i][0]), a.point(xs[i][1], ys[i][1])
		cell := vg.Rectangle{
			Min: vg.Point{X: max(snap(from.X), c.Min.X), Y: max(snap(from.Y), c.Min.Y)},
			Max: vg.Point{X: min(snap(to.X)+overlap, c.Max.X), Y: min(snap(to.Y)+overlap, c.Max.Y)},
		}
		if cell.Min.X >= cell.Max.X || cell.Min.Y >= cell.Max.Y {
			continue
		}
		if !finite(v) {
			hatch(draw.Canvas{Canvas: c.Canvas, Rectangle: cell})
			continue
		}
		c.SetColor(rampAt((v - low) / (high - low)))
		c.Fill(cell.Path())
	}
}

// hatch fills the canvas with the mark of a missing value.
func hatch(c draw.Canvas) {
	c.SetColor(missing)
	c.Fill(c.Rectangle.Path())
	height := c.Max.Y - c.Min.Y
	for x := c.Min.X - height; x < c.Max.X; x += 6 {
		c.StrokeLines(draw.LineStyle{Color: grey, Width: .7}, c.ClipLinesXY([]vg.Point{{X: x, Y: c.Min.Y}, {X: x + height, Y: c.Max.Y}})...)
	}
}

func (a axes) drawFrame(c draw.Canvas) {
	frame := draw.LineStyle{Color: grey, Width: 1}
	c.StrokeLines(frame, []vg.Point{a.box.Min, {X: a.box.Max.X, Y: a.box.Min.Y}, a.box.Max, {X: a.box.Min.X, Y: a.box.Max.Y}, a.box.Min})
	tick := style(textSize, black)
	tick.YAlign = text.YTop
	stride := a.labelStride()
	for i, t := range a.x.ticks {
		x := a.point(t, a.y.min).X
		c.StrokeLine2(frame, x, a.box.Min.Y, x, a.box.Min.Y-tickLength)
		if i%stride == 0 {
			c.FillText(tick, vg.Point{X: x, Y: a.box.Min.Y - tickLength - 2}, a.x.labels[i])
		}
	}
	for _, t := range a.x.minor {
		x := a.point(t, a.y.min).X
		c.StrokeLine2(frame, x, a.box.Min.Y, x, a.box.Min.Y-tickLength/2)
	}
	tick.XAlign, tick.YAlign = text.XRight, text.YCenter
	for i, t := range a.y.ticks {
		y := a.point(a.x.min, t).Y
		c.StrokeLine2(frame, a.box.Min.X, y, a.box.Min.X-tickLength, y)
		c.FillText(tick, vg.Point{X: a.box.Min.X - tickLength - 3, Y: y + raise}, a.y.labels[i])
	}
	for _, t := range a.y.minor {
		y := a.point(a.x.min, t).Y
		c.StrokeLine2(frame, a.box.Min.X, y, a.box.Min.X-tickLength/2, y)
	}
	a.drawLabels(c)
}

// labelStride says that every first, second, third, … label along x is written, so that none touch.
func (a axes) labelStride() int {
	for stride := 1; ; stride++ {
		fits := true
		for i := stride; i < len(a.x.ticks); i += stride {
			gap := a.point(a.x.ticks[i], a.y.min).X - a.point(a.x.ticks[i-stride], a.y.min).X
			fits = fits && gap > (textWidth(a.x.labels[i])+textWidth(a.x.labels[i-stride]))/2+5
		}
		if fits {
			return stride
		}
	}
}

func (a axes) drawLabels(c draw.Canvas) {
	middle := vg.Point{X: (a.box.Min.X + a.box.Max.X) / 2, Y: (a.box.Min.Y + a.box.Max.Y) / 2}
	label := style(textSize, black)
	label.YAlign = text.YBottom
	c.FillText(label, vg.Point{X: middle.X, Y: a.box.Min.Y - a.bottom()}, a.X.Label)
	label.Rotation = math.Pi / 2
	c.FillText(label, vg.Point{X: a.box.Min.X - widest(a.y.labels) - tickLength - 2*axisPadding, Y: middle.Y}, a.Y.Label)
	title := bold(style(panelSize, black))
	title.YAlign = text.YBottom
	c.FillText(title, vg.Point{X: middle.X, Y: a.box.Max.Y + 5}, a.Title)
}

func (a axes) drawColorBar(c draw.Canvas, heat Layer, f Figure) {
	low, high := f.valueRange(heat)
	left := a.box.Max.X + axisPadding + 2
	bar := scale{min: low, max: high}
	at := func(v float64) vg.Length {
		return a.box.Min.Y + (a.box.Max.Y-a.box.Min.Y)*vg.Length(bar.at(v))
	}
	for y := a.box.Min.Y; y < a.box.Max.Y; y++ {
		c.SetColor(rampAt(float64((y + .5 - a.box.Min.Y) / (a.box.Max.Y - a.box.Min.Y))))
		c.Fill(vg.Rectangle{Min: vg.Point{X: left, Y: y}, Max: vg.Point{X: left + barWidth, Y: min(y+1+overlap, a.box.Max.Y)}}.Path())
	}
	tick := style(textSize, black)
	tick.XAlign = text.XLeft
	ticks, labels := linearTicks(low, high)
	for i, t := range ticks {
		c.StrokeLine2(draw.LineStyle{Color: grey, Width: 1}, left+barWidth, at(t), left+barWidth+tickLength, at(t))
		c.FillText(tick, vg.Point{X: left + barWidth + tickLength + 3, Y: at(t) + raise}, labels[i])
	}
	label := style(textSize, black)
	label.YAlign, label.Rotation = text.YTop, math.Pi/2
	c.FillText(label, vg.Point{X: left + barWidth + tickLength + axisPadding + widest(labels), Y: (a.box.Min.Y + a.box.Max.Y) / 2}, heat.ValueLabel)
}

// entry is one line of the legend: every layer of its name adds to its sample.
type entry struct {
	name   string
	layers []Layer
}

// entries returns the figure's legend in order of appearance. It stands above the panels, where it covers nothing.
func (f Figure) entries() []entry {
	var entries []entry
	gaps := false
	for _, p := range f.Panels {
		for _, l := range p.Layers {
			gaps = gaps || l.Kind == Heat && slices.ContainsFunc(l.Value, func(v float64) bool { return !finite(v) })
			if l.Name == "" || l.Kind == Heat {
				continue
			}
			i := slices.IndexFunc(entries, func(e entry) bool { return e.name == l.Name })
			if i < 0 {
				i = len(entries)
				entries = append(entries, entry{name: l.Name})
			}
			if !slices.ContainsFunc(entries[i].layers, l.looksLike) {
				entries[i].layers = append(entries[i].layers, l)
			}
		}
	}
	if gaps {
		entries = append(entries, entry{name: missingName})
	}
	return entries
}

func (l Layer) looksLike(other Layer) bool {
	return l.Kind == other.Kind && l.Color == other.Color && l.Dashed == other.Dashed
}

// flow breaks the legend into rows that fit the width.
func flow(entries []entry) [][]entry {
	var rows [][]entry
	room := vg.Length(0)
	for _, e := range entries {
		if e.width() > room {
			rows = append(rows, nil)
			room = Width - 2*margin
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], e)
		room -= e.width()
	}
	return rows
}

func (e entry) width() vg.Length { return thumbWidth + 6 + textWidth(e.name) + 20 }

func (e entry) draw(c draw.Canvas, at vg.Point) {
	sample := draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
		Min: vg.Point{X: snap(at.X), Y: snap(at.Y - 5)}, Max: vg.Point{X: snap(at.X + thumbWidth), Y: snap(at.Y + 5)}}}
	if len(e.layers) == 0 {
		hatch(sample)
	}
	for _, l := range inDepth(e.layers) {
		switch l.Kind {
		case Band:
			c.SetColor(faded(l.Color))
			c.Fill(sample.Rectangle.Path())
		case Points:
			c.DrawGlyphNoClip(l.marker(), vg.Point{X: at.X + thumbWidth/2, Y: at.Y})
		default:
			c.StrokeLine2(l.line(), at.X, at.Y, at.X+thumbWidth, at.Y)
		}
	}
	label := style(textSize, black)
	label.XAlign = text.XLeft
	c.FillText(label, vg.Point{X: at.X + thumbWidth + 6, Y: at.Y + raise}, strings.ReplaceAll(e.name, "\n", " "))
}
