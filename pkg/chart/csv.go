package chart

import (
	"bytes"
	"encoding/csv"
	"math"
	"slices"
	"strconv"
)

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
	header := []string{"panel", "layer", "kind", "x", "y", "low", "high", "value"}
	for _, p := range f.Panels {
		for _, l := range p.Layers {
			for _, field := range l.Fields {
				if !slices.Contains(header, field.Name) {
					header = append(header, field.Name)
				}
			}
		}
	}
	var out bytes.Buffer
	table := csv.NewWriter(&out)
	if err := table.Write(header); err != nil {
		return nil, err
	}
	for i, p := range f.Panels {
		title := p.Title
		if title == "" {
			title = strconv.Itoa(i + 1)
		}
		for _, l := range p.Layers {
			for row := range l.rows() {
				record := make([]string, len(header))
				copy(record, []string{title, l.Name, l.Kind.String(), p.X.cell(l.X, row), p.Y.cell(l.Y, row),
					cell(l.Low, row), cell(l.High, row), cell(l.Value, row)})
				for _, field := range l.Fields {
					record[slices.Index(header, field.Name)] = field.cell(row)
				}
				if err := table.Write(record); err != nil {
					return nil, err
				}
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

func (f Field) cell(row int) string {
	if names, ok := f.Values.([]string); ok {
		return names[row]
	}
	return cell(f.Values.([]float64), row)
}
