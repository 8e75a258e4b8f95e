package chart

import (
	"bytes"
	"encoding/csv"
	"math"
	"slices"
	"strconv"
)

// header is that of every table, before the fields.
var header = []string{"panel", "layer", "kind", "x", "y", "low", "high", "value"}

// CSV returns what is plotted as one long table, a row per point.
//
//	panel,layer,kind,x,y,low,high,value,<fields of all layers in order of appearance>
//
// panel is the panel's title (its number where it has none), layer the layer's name. On an axis of categories x and y are
// their names. Numbers have six digits; a missing one is an empty field. It returns an error when the figure can't be
// drawn, naming panel and layer.
func (f Chart) CSV() ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	fields := fieldNames(f.layers())
	var out bytes.Buffer
	table := csv.NewWriter(&out)
	table.Write(append(slices.Clone(header), fields...)) // a buffer takes everything
	for i, p := range f.Panels {
		title := p.Title
		if title == "" {
			title = strconv.Itoa(i + 1)
		}
		for _, l := range p.Layers {
			for row := range l.rows() {
				record := []string{title, l.Name, l.Kind.String(), p.X.cell(l.X, row), p.Y.cell(l.Y, row),
					cell(l.Low, row), cell(l.High, row), cell(l.Value, row)}
				for _, name := range fields {
					record = append(record, l.field(name, row))
				}
				table.Write(record)
			}
		}
	}
	table.Flush()
	return out.Bytes(), table.Error()
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
