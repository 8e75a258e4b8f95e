// Package chart describes a chart as data and writes it as an interactive Vega-Lite v5 chart and as the table of what is plotted;
// pictures are drawn from the Vega-Lite. A missing value stays missing in all of them: a gap in a line, a grey cell in a map, an
// empty field in the table.
package chart

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/results"
)

// Kind is how a layer is drawn, and which of its numbers it needs.
type Kind int

const (
	Line   Kind = iota // X, Y: straight segments; a missing Y breaks the line
	Points             // X, Y: markers; with Low, High also error bars
	Step               // X, Y: along x at the old y, then to the new y
	Band               // X, Low, High: the ribbon of an interval
	Rule               // X alone: vertical reference lines; Y alone: horizontal ones
	Heat               // X, Y, Value: cells around the coordinates, coloured by value
)

var kindNames = [...]string{"line", "points", "step", "band", "rule", "heat"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// Chart is a whole figure. Name (e.g. "fig2a") names its files; Columns is how many panels stand side by side, 0 for
// automatic. Subtitle says of what runs it is, below the title. Caption is not drawn: with the title it is the chart's description, which a
// screen reader reads.
type Chart struct {
	Name, Title, Subtitle, Caption string
	Panels                         []Panel
	Columns                        int
	Choices                        []Choice
}

// Choice is something that the reader of the interactive chart chooses from a list; layers with a Chosen are there for
// one option of each choice alone. A picture shows the options at Start, the table all of them.
type Choice struct {
	Name    string
	Options []string
	Start   int
}

// Panel is one pair of axes with layers, and where layers ask for it a second vertical axis on the right. Maps are drawn lowest, then
// bands, rules, lines and points, each in their order. Facets are what all of its points have in common.
type Panel struct {
	Title       string
	X, Y, Right Axis
	Layers      []Layer
	Facets      []Facet
}

// Facet is a column of the table, such as "beta", with one value for a whole panel.
type Facet struct {
	Name  string
	Value any // a number or a text
}

// Axis says what a coordinate is. Label should hold the unit; Name is its column in the table, the label's words before the unit where it
// is empty. Min and Max both 0 means automatic. With Categories,
// coordinates are 0, 1, 2, … and the axis shows the categories' names; Log, limits and Ticks don't apply then. Ticks are where the axis
// is labelled, for example the widths that were trained, as far as they lie in its range; nil means round numbers. Reverse has it run the
// other way, down or to the left. A Bare axis has neither label nor numbers: a neighbour has them.
type Axis struct {
	Label      string
	Name       string
	Log        bool
	Reverse    bool
	Bare       bool
	Min, Max   float64
	Ticks      []float64
	Categories []string
}

// Layer is one series. Which numbers it needs depends on its Kind; those given must be of equal length. NaN and infinite
// values are missing.
//
// Name is its entry in the legend ("" for none); layers of one name share an entry, so a line, its band and its points
// should have the same Name and Color. Color is an index of the colour-blind-safe palette, what Ordered returns for
// series with an order (widths), or Black. Shape is a marker's, counted from 1; 0 is that of the colour. Right puts a layer on the panel's
// second axis.
//
// Value colours a map's cells, points, or lines (of one value each), by a colour bar that ValueLabel names; ValueName is its column in
// the table. ValueMin and ValueMax both 0 means automatic, over all layers of the figure with the same label.
type Layer struct {
	Kind               Kind
	Name               string
	Color              int
	Shape              int
	Dashed, Right      bool
	X, Y               []float64
	Low, High          []float64
	Value              []float64
	ValueLabel         string
	ValueName          string
	ValueMin, ValueMax float64
	ValueLog           bool
	Fields             []Field
	Chosen             []int // the option of each of the figure's choices that this layer is of, or Any; nil: all
}

// Any stands for all options of a choice.
const Any = -1

// Field is one more column of a layer, for tooltips and the table, with a number for each point.
type Field struct {
	Name   string
	Values []float64
}

// layers are those of all panels.
func (f Chart) layers() []Layer {
	return slices.Concat(xslices.Map(f.Panels, func(p Panel) []Layer { return p.Layers })...)
}

// rows is the number of points of a layer, whichever coordinates it uses.
func (l Layer) rows() int { return max(len(l.X), len(l.Y)) }

// Save writes NAME.vl.json and NAME.csv to dir, which it makes if need be, and returns their paths. Each file is written aside and
// renamed, so that a reader never sees half of one.
func (f Chart) Save(dir string) ([]string, error) {
	if f.Name == "" || f.Name != filepath.Base(f.Name) || strings.HasPrefix(f.Name, ".") {
		return nil, fmt.Errorf("chart: name %q: want a plain file name such as fig2a", f.Name)
	}
	spec, err := f.VegaLite()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("chart: %s: %w", f.Name, err)
	}
	table, err := f.CSV()
	if err != nil {
		return nil, err
	}
	paths := []string{filepath.Join(dir, f.Name+".vl.json"), filepath.Join(dir, f.Name+".csv")}
	for i, content := range [][]byte{text, table} {
		err := results.WriteFile(paths[i], func(file *os.File) error { _, err := file.Write(content); return err })
		if err != nil {
			return paths[:i], fmt.Errorf("chart: %s: %w", f.Name, err)
		}
	}
	return paths, nil
}

// check returns an error naming figure, panel and layer for the first thing that can't be drawn as described.
func (f Chart) check() error {
	if len(f.Panels) == 0 {
		return fmt.Errorf("chart: %s has no panels: want at least one", f.Name)
	}
	for _, c := range f.Choices {
		if c.Name == "" || c.Start < 0 || c.Start >= len(c.Options) {
			return fmt.Errorf("chart: %s, choice %q of %d options, starting at %d: want a name and a start among the options",
				f.Name, c.Name, len(c.Options), c.Start)
		}
	}
	colors := map[string]int{}
	for i, p := range f.Panels {
		where := fmt.Sprintf("chart: %s, panel %d %q", f.Name, i+1, p.Title)
		if err := p.X.check(); err != nil {
			return fmt.Errorf("%s: x axis %w", where, err)
		}
		if err := p.Y.check(); err != nil {
			return fmt.Errorf("%s: y axis %w", where, err)
		}
		if err := p.Right.check(); err != nil {
			return fmt.Errorf("%s: right axis %w", where, err)
		}
		for j, l := range p.Layers {
			if err := cmp.Or(l.check(p), f.checkChosen(l), checkColor(l, colors)); err != nil {
				return fmt.Errorf("%s, layer %d %q (%s): %w", where, j+1, l.Name, l.Kind, err)
			}
		}
	}
	return nil
}

// checkColor checks that a name has one colour; colors holds those of the names before.
func checkColor(l Layer, colors map[string]int) error {
	if first, known := colors[l.Name]; known && first != l.Color && l.Kind != Heat {
		return fmt.Errorf("colour %d after colour %d: want one per name", l.Color, first)
	}
	if l.Name != "" && l.Kind != Heat {
		colors[l.Name] = l.Color
	}
	return nil
}

func (f Chart) checkChosen(l Layer) error {
	if l.Chosen != nil && len(l.Chosen) != len(f.Choices) {
		return fmt.Errorf("%d options chosen: want one for each of the figure's %d choices", len(l.Chosen), len(f.Choices))
	}
	for i, option := range l.Chosen {
		if n := len(f.Choices[i].Options); option < Any || option >= n {
			return fmt.Errorf("option %d of choice %q: want 0 … %d, or chart.Any", option, f.Choices[i].Name, n-1)
		}
	}
	return nil
}

func (a Axis) check() error {
	automatic := a.Min == 0 && a.Max == 0
	for i, t := range a.Ticks {
		if !finite(t) || a.Log && t <= 0 {
			return fmt.Errorf("ticks[%d] = %g: want finite numbers, above 0 on a logarithmic axis", i, t)
		}
	}
	switch {
	case len(a.Categories) > 0 || automatic:
		return nil
	case !finite(a.Min) || !finite(a.Max) || a.Min >= a.Max:
		return fmt.Errorf("from %g to %g: want finite limits, the lower first, or 0, 0 for automatic ones", a.Min, a.Max)
	case a.Log && a.Min <= 0:
		return fmt.Errorf("is logarithmic from %g: want a lower limit above 0", a.Min)
	}
	return nil
}

func (l Layer) check(p Panel) error {
	if l.Kind < Line || l.Kind > Heat {
		return fmt.Errorf("unknown kind: want one of %s", strings.Join(kindNames[:], ", "))
	}
	if !validColor(l.Color) {
		return fmt.Errorf("colour %d: want 0 … %d, what Ordered returns, or Black", l.Color, len(palette)-1)
	}
	if l.Shape < 0 || l.Shape > len(shapes) {
		return fmt.Errorf("shape %d: want 0 … %d", l.Shape, len(shapes))
	}
	if err := l.checkLengths(p); err != nil {
		return err
	}
	if err := cmp.Or(p.X.admits("x", l.X), p.vertical(l).admits("y", l.Y), Axis{Log: l.ValueLog}.admits("value", l.Value)); err != nil {
		return err
	}
	if l.Kind == Heat {
		return l.checkCells()
	}
	return nil
}

// admits doesn't object to a missing value: that one is a gap.
func (a Axis) admits(name string, values []float64) error {
	for i, v := range values {
		switch n := len(a.Categories); {
		case !finite(v):
		case n > 0 && (v != math.Trunc(v) || v < 0 || v >= float64(n)):
			return fmt.Errorf("%s[%d] = %g on an axis of %d categories: want 0 … %d", name, i, v, n, n-1)
		case n == 0 && a.Log && v <= 0:
			return fmt.Errorf("%s[%d] = %g on a logarithmic axis: want more than 0, or NaN for a gap", name, i, v)
		}
	}
	return nil
}

// vertical is the axis on which a layer stands.
func (p Panel) vertical(l Layer) Axis {
	if l.Right {
		return p.Right
	}
	return p.Y
}

func (l Layer) checkLengths(p Panel) error {
	rule, spread := l.Kind == Rule, len(l.Low) > 0 || len(l.High) > 0
	switch {
	case len(l.Value) > 0 && l.Kind != Heat && l.Kind != Points && l.Kind != Line:
		return fmt.Errorf("values of a %s: want a map, points or a line", l.Kind)
	case rule && (len(l.X) > 0) == (len(l.Y) > 0):
		return fmt.Errorf("a rule with %d x and %d y: want one of them alone", len(l.X), len(l.Y))
	case spread && l.Kind != Points && l.Kind != Band:
		return fmt.Errorf("an interval on a %s: want a band of its own below it", l.Kind)
	}
	type column struct {
		name   string
		values []float64
		needed bool
	}
	columns := []column{
		{"x", l.X, !rule}, {"y", l.Y, !rule && l.Kind != Band},
		{"low", l.Low, l.Kind == Band || spread}, {"high", l.High, l.Kind == Band || spread}, {"value", l.Value, l.Kind == Heat},
	}
	names := []string{"panel", "series", p.X.column("x"), p.vertical(l).column("y")}
	for _, field := range l.Fields {
		if field.Name == "" || slices.Contains(names, field.Name) {
			return fmt.Errorf("field %q: want a name that no other column has", field.Name)
		}
		names = append(names, field.Name)
		columns = append(columns, column{fmt.Sprintf("field %q", field.Name), field.Values, true})
	}
	for _, c := range columns {
		if n := len(c.values); n != l.rows() && (c.needed || n != 0) {
			return fmt.Errorf("%s has %d values: want %d, as many as the layer has points", c.name, n, l.rows())
		}
	}
	return nil
}

func (l Layer) checkCells() error {
	seen := map[[2]float64]bool{}
	for i := range l.X {
		cell := [2]float64{l.X[i], l.Y[i]}
		if !finite(cell[0]) || !finite(cell[1]) || seen[cell] {
			return fmt.Errorf("cell %d at x %g, y %g: want finite coordinates, each pair once", i, cell[0], cell[1])
		}
		seen[cell] = true
	}
	if l.ValueMin > l.ValueMax || !finite(l.ValueMin) || !finite(l.ValueMax) {
		return fmt.Errorf("values from %g to %g: want finite limits, the lower first", l.ValueMin, l.ValueMax)
	}
	return nil
}

// columns is the number of panels side by side.
func (f Chart) columns() int {
	n := len(f.Panels)
	if f.Columns > 0 {
		return min(f.Columns, n)
	}
	if n == 4 {
		return 2
	}
	return min(n, 3)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
