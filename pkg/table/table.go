// Package table reads tables of other people's runs: CSV, TSV or Parquet, with a header, whose cells are numbers or text.
package table

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// MostCells bounds a table: larger ones are meant for another tool.
const MostCells = 50_000_000

// Table is columns of cells of equal length. A cell without a value is empty.
type Table struct {
	Name    string   // of the file, for errors
	Columns []string // in the file's order, all different
	Rows    int

	cells map[string][]string
	lines []int // of each row in its file; nil: rows are no lines
}

// Read reads a file: Parquet where it begins as such, TSV where it is named .tsv, else CSV. Lines may end as they like, a byte order mark
// and lines that are empty are passed over.
func Read(path string) (*Table, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	if bytes.HasPrefix(data, []byte("PAR1")) {
		return readParquet(name, data)
	}
	separator := ','
	if strings.EqualFold(filepath.Ext(path), ".tsv") {
		separator = '\t'
	}
	return readCSV(name, data, separator)
}

// New returns a table of columns and rows.
func New(name string, columns []string, rows [][]string) (*Table, error) {
	t := &Table{Name: name, cells: map[string][]string{}}
	for _, c := range columns {
		if err := t.add(c); err != nil {
			return nil, err
		}
	}
	for i, row := range rows {
		if len(row) != len(columns) {
			return nil, fmt.Errorf("%s: row %d has %d cells: want %d, as the header", name, i+1, len(row), len(columns))
		}
		t.append(row)
	}
	return t, nil
}

func (t *Table) add(column string) error {
	column = strings.TrimSpace(column)
	if column == "" {
		return fmt.Errorf("%s: column %d of the header has no name", t.Name, len(t.Columns)+1)
	}
	if slices.Contains(t.Columns, column) {
		return fmt.Errorf("%s: two columns are named %q", t.Name, column)
	}
	t.Columns = append(t.Columns, column)
	return nil
}

func (t *Table) append(row []string) {
	for i, c := range t.Columns {
		t.cells[c] = append(t.cells[c], strings.TrimSpace(row[i]))
	}
	t.Rows++
}

func readCSV(name string, data []byte, separator rune) (*Table, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	r.Comma = separator
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: empty: want a header of column names and rows of numbers", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t, err := New(name, header, nil)
	if err != nil {
		return nil, err
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil { // names the line, and that it has another number of fields
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := r.FieldPos(0)
		t.lines = append(t.lines, line)
		if t.append(row); t.Rows*len(header) > MostCells {
			return nil, fmt.Errorf("%s: more than %d cells", name, MostCells)
		}
	}
}

func readParquet(name string, data []byte) (t *Table, err error) {
	defer func() { // parquet-go v0.32 panics on some files that are cut off
		if cause := recover(); cause != nil {
			t, err = nil, fmt.Errorf("%s: no Parquet file that can be read: %v", name, cause)
		}
	}()
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var columns []string
	for _, field := range f.Schema().Fields() {
		if !field.Leaf() || field.Repeated() {
			return nil, fmt.Errorf("%s: column %q is nested: want columns of numbers or text", name, field.Name())
		}
		columns = append(columns, field.Name())
	}
	if f.NumRows()*int64(len(columns)) > MostCells {
		return nil, fmt.Errorf("%s: more than %d cells", name, MostCells)
	}
	if t, err = New(name, columns, nil); err != nil {
		return nil, err
	}
	for _, group := range f.RowGroups() {
		if err := t.appendGroup(group); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return t, nil
}

// appendGroup appends the rows of a row group.
func (t *Table) appendGroup(group parquet.RowGroup) (err error) {
	rows := group.Rows()
	defer func() { err = cmp.Or(err, rows.Close()) }()
	buffer := make([]parquet.Row, 256)
	for {
		n, err := rows.ReadRows(buffer)
		for _, row := range buffer[:n] {
			cells := make([]string, len(t.Columns))
			for _, v := range row {
				if !v.IsNull() {
					cells[v.Column()] = v.String()
				}
			}
			t.append(cells)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Text returns the cells of a column.
func (t *Table) Text(column string) ([]string, error) {
	if !slices.Contains(t.Columns, column) {
		return nil, fmt.Errorf("%s: no column %q: there are %s", t.Name, column, strings.Join(t.Columns, ", "))
	}
	return t.cells[column], nil
}

// Numbers returns the cells of a column as numbers: finite, or an error that says where the first other one stands.
func (t *Table) Numbers(column string) ([]float64, error) {
	cells, err := t.Text(column)
	if err != nil {
		return nil, err
	}
	numbers := make([]float64, len(cells))
	for i, cell := range cells {
		v, err := strconv.ParseFloat(cell, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s: %s: column %q is %q: want a number", t.Name, t.Where(i), column, cell)
		}
		numbers[i] = v
	}
	return numbers, nil
}

// Where says where row i of the table, from 0, stands in its file.
func (t *Table) Where(i int) string {
	if t.lines == nil {
		return fmt.Sprintf("row %d", i+1)
	}
	return fmt.Sprintf("line %d", t.lines[i])
}

// Group is the rows that have the same cells in some columns.
type Group struct {
	Cells []string // in the order of the columns
	Rows  []int    // from 0
}

// Groups returns the groups of rows by columns, in the order in which they first appear.
func (t *Table) Groups(columns []string) ([]Group, error) {
	var groups []Group
	known := map[string]int{}
	for i := range t.Rows {
		cells := make([]string, len(columns))
		for j, c := range columns {
			text, err := t.Text(c)
			if err != nil {
				return nil, err
			}
			cells[j] = text[i]
		}
		key := fmt.Sprintf("%q", cells)
		at, found := known[key]
		if !found {
			at, groups = len(groups), append(groups, Group{Cells: cells})
			known[key] = at
		}
		groups[at].Rows = append(groups[at].Rows, i)
	}
	return groups, nil
}
