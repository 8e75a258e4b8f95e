package chart

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"
)

// CSV returns what is plotted as one tidy table, a row for each point: its panel (the title, or the number where it has none) and the
// panel's facets, its series, its fields, and its coordinates and value under the names of what they are, with _low and _high for the ends
// of an interval. On an axis of categories coordinates are their names. Numbers have six digits; a missing one is an empty field. It
// returns an error when the figure can't be drawn, naming panel and layer.
func (f Chart) CSV() ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	// Columns in their order: of the panel, of the points' fields, and of their numbers.
	header := [][]string{{"panel"}, {"series"}, nil}
	known := map[string]bool{"panel": true, "series": true}
	var rows []map[string]string
	add := func(at int, row map[string]string, name, cell string) {
		if row[name] = cell; !known[name] {
			known[name], header[at] = true, append(header[at], name)
		}
	}
	for i, p := range f.Panels {
		facets := map[string]string{"panel": cmp.Or(p.Title, strconv.Itoa(i+1))}
		for _, facet := range p.Facets {
			add(0, facets, facet.Name, fmt.Sprint(facet.Value))
		}
		add(2, map[string]string{}, p.X.column("x"), "")
		for _, t := range p.tracks() {
			for at := range t.rows() {
				row := maps.Clone(facets)
				add(1, row, "series", t.Name)
				for _, field := range t.Fields {
					add(1, row, field.Name, cell(field.Values, at))
				}
				for _, q := range t.quantities(p) {
					add(2, row, q.name, q.axis.cell(q.values, at))
				}
				rows = append(rows, row)
			}
		}
	}
	var out bytes.Buffer
	table := csv.NewWriter(&out)
	names := slices.Concat(header...)
	table.Write(names) // a buffer takes everything
	for _, row := range rows {
		table.Write(xslices.Map(names, func(name string) string { return row[name] }))
	}
	table.Flush()
	return out.Bytes(), table.Error()
}

// quantity is a column of a track's numbers.
type quantity struct {
	name   string
	axis   Axis
	values []float64
}

// quantities are what a track has numbers of.
func (t track) quantities(p Panel) []quantity {
	y := p.vertical(t.Layer)
	all := []quantity{{p.X.column("x"), p.X, t.X}, {y.column("y"), y, t.Y}, {y.column("y") + "_low", y, t.Low},
		{y.column("y") + "_high", y, t.High}, {cmp.Or(t.ValueName, Axis{Label: t.ValueLabel}.column("value")), Axis{}, t.Value}}
	return slices.DeleteFunc(all, func(q quantity) bool { return len(q.values) == 0 })
}

// column is the axis' name in a table.
func (a Axis) column(unnamed string) string {
	label, _, _ := strings.Cut(a.Label, " (")
	return cmp.Or(a.Name, label, unnamed)
}

func cell(values []float64, row int) string {
	if row >= len(values) {
		return ""
	}
	return plotted(values[row])
}

// plotted writes a number as table and chart hold it: six digits, more than a picture shows; whole numbers, such as steps and seeds,
// with all of theirs.
func plotted(v float64) string {
	switch {
	case !finite(v):
		return ""
	case v == math.Trunc(v) && math.Abs(v) < 1e15:
		return strconv.FormatFloat(v+0, 'f', -1, 64) // + 0 makes -0 a 0
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

func (a Axis) cell(values []float64, row int) string {
	if len(a.Categories) > 0 && row < len(values) && finite(values[row]) {
		return a.Categories[int(values[row])]
	}
	return cell(values, row)
}

// fieldNames are those of the layers' fields, in order of appearance.
func fieldNames(layers []Layer) (names []string) {
	for _, l := range layers {
		for _, field := range l.Fields {
			if !slices.Contains(names, field.Name) {
				names = append(names, field.Name)
			}
		}
	}
	return names
}

// field is a point's cell of a field; empty where the layer has no such field.
func (l Layer) field(name string, row int) string {
	if i := slices.IndexFunc(l.Fields, func(f Field) bool { return f.Name == name }); i >= 0 {
		return cell(l.Fields[i].Values, row)
	}
	return ""
}
