package figure

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strconv"
)

// CSV returns what is plotted as one long table, a row per point.
//
//	panel,layer,kind,x,y,low,high,value,<fields of all layers in order of appearance>
//
// panel is the panel's title (its number where it has none), layer the layer's name. On an axis of categories x and y are
// their names. Numbers have seven digits; a missing one is an empty field. It returns an error when the figure can't be
// drawn, naming panel and layer.
func (f Figure) CSV() ([]byte, error) {
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
	if row >= len(values) || !finite(values[row]) {
		return ""
	}
	return strconv.FormatFloat(plotted(values[row]), 'g', -1, 64)
}

// plotted is a number as table and chart hold it: seven digits, what single precision measures and more than a picture
// shows, at half the size in a notebook.
func plotted(v float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 7, 64), 64)
	if err != nil {
		return v // out of range: not a number that a chart holds
	}
	return rounded
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
