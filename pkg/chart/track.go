package chart

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"

	"github.com/gomlx/gomlx/support/xslices"
)

// A track is the points of a series, held once for all layers that draw them: its line, its band, its markers.
type track struct {
	Layer // the numbers and fields of all of them
	kinds []Kind
	bars  bool // the markers have error bars
}

// tracks returns the panel's points, lowest drawn first.
func (p Panel) tracks() []track {
	var tracks []track
	for _, l := range inDepth(p.Layers) {
		i := slices.IndexFunc(tracks, func(t track) bool { return t.takes(l) })
		if i < 0 {
			i = len(tracks)
			tracks = append(tracks, track{Layer: l})
		}
		tracks[i].add(l)
	}
	return tracks
}

// inDepth puts maps below bands, those below rules, those below lines, and points on top.
func inDepth(layers []Layer) []Layer {
	depth := [...]int{Heat: 0, Band: 1, Rule: 2, Line: 3, Step: 3, Points: 4}
	return slices.SortedStableFunc(slices.Values(layers), func(a, b Layer) int { return depth[a.Kind] - depth[b.Kind] })
}

// takes reports whether a layer's points are those of the track.
func (t track) takes(l Layer) bool {
	sharing := func(k Kind) bool { return k == Line || k == Step || k == Points || k == Band }
	agree := func(a, b []float64) bool { return len(a) == 0 || len(b) == 0 || slices.EqualFunc(a, b, samePoint) }
	if !sharing(t.Kind) || !sharing(l.Kind) || slices.Contains(t.kinds, l.Kind) {
		return false
	}
	if t.Name != l.Name || t.Color != l.Color || t.Dashed != l.Dashed || t.Right != l.Right || !slices.Equal(t.Chosen, l.Chosen) {
		return false
	}
	if !slices.EqualFunc(t.X, l.X, samePoint) || !agree(t.Y, l.Y) || !agree(t.Low, l.Low) || !agree(t.High, l.High) ||
		!slices.EqualFunc(t.Value, l.Value, samePoint) {
		return false
	}
	for _, field := range l.Fields {
		i := slices.IndexFunc(t.Fields, func(f Field) bool { return f.Name == field.Name })
		if i >= 0 && !slices.EqualFunc(t.Fields[i].Values, field.Values, samePoint) {
			return false
		}
	}
	return true
}

func samePoint(a, b float64) bool { return a == b || !finite(a) && !finite(b) }

func (t *track) add(l Layer) {
	t.kinds = append(t.kinds, l.Kind)
	t.bars = t.bars || l.Kind == Points && len(l.Low) > 0
	for _, c := range []struct {
		to   *[]float64
		from []float64
	}{{&t.Y, l.Y}, {&t.Low, l.Low}, {&t.High, l.High}} {
		if len(*c.to) == 0 {
			*c.to = c.from
		}
	}
	known := fieldNames([]Layer{t.Layer})
	for _, field := range l.Fields {
		if !slices.Contains(known, field.Name) {
			t.Fields = append(slices.Clip(t.Fields), field)
		}
	}
}

// A column is a kind of number that tracks have.
type column struct {
	key  string // short and safe; a field's readable name is in the tooltip
	name string // of a field
	cell func(t track, row int) string
}

// numbers are the columns that place and colour; l is the track's number.
var numbers = []column{
	{"x", "", func(t track, row int) string { return cell(t.X, row) }},
	{"y", "", func(t track, row int) string { return cell(t.Y, row) }},
	{"low", "", func(t track, row int) string { return cell(t.Low, row) }},
	{"high", "", func(t track, row int) string { return cell(t.High, row) }},
	{"value", "", func(t track, row int) string { return cell(t.Value, row) }},
}

// fieldColumns are the columns of the tracks' fields, in order of appearance.
func fieldColumns(tracks []track) []column {
	var columns []column
	for i, name := range fieldNames(xslices.Map(tracks, func(t track) Layer { return t.Layer })) {
		columns = append(columns, column{fmt.Sprintf("f%d", i), name, func(t track, row int) string { return t.field(name, row) }})
	}
	return columns
}

// data is a panel's points as inline CSV: a row per point, with the columns that any track fills.
func data(tracks []track) object {
	columns := slices.Concat(numbers, fieldColumns(tracks))
	columns = slices.DeleteFunc(columns, func(c column) bool {
		return !slices.ContainsFunc(tracks, func(t track) bool { return t.fills(c) })
	})
	header, parse := []string{"l"}, object{"l": "number"}
	for _, c := range columns {
		header = append(header, c.key)
		if c.name == "" {
			parse[c.key] = "number"
		}
	}
	var out bytes.Buffer
	table := csv.NewWriter(&out)
	table.Write(header) // a buffer takes everything
	for i, t := range tracks {
		for row := range t.rows() {
			record := []string{strconv.Itoa(i)}
			for _, c := range columns {
				record = append(record, c.cell(t, row))
			}
			for record[len(record)-1] == "" { // as Vega reads what a row lacks; together they are a tenth of a large chart
				record = record[:len(record)-1]
			}
			table.Write(record)
		}
	}
	table.Flush()
	return object{"values": out.String(), "format": object{"type": "csv", "parse": parse}}
}

func (t track) fills(c column) bool {
	return slices.ContainsFunc(xslices.Iota(0, t.rows()), func(row int) bool { return c.cell(t, row) != "" })
}
