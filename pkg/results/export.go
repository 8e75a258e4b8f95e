package results

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"raretask/pkg/spec"
)

// Export writes the results of files as one table of comma-separated values, or as Parquet, and returns its number of rows. A row is a run, step and
// task, with a column for each setting, which has the setting's key as its name, and for each metric; columns of a run's own stand on every task's row.
// Long makes it a row for each run, step, task and metric with the metric's value; of metrics of a run's own the task is empty.
func Export(to io.Writer, asParquet, long bool, files []*File) (int, error) {
	e := &exporter{long: long}
	for _, f := range files {
		e.add(f)
	}
	if asParquet {
		t := newTable(to, e.fields)
		e.write = func(row []any) error { return t.write(values(row)) }
		if err := e.all(files); err != nil {
			return e.rows, err
		}
		return e.rows, t.close()
	}
	w := csv.NewWriter(to)
	var names []string
	for _, f := range e.fields {
		names = append(names, f.name)
	}
	if err := w.Write(names); err != nil {
		return 0, err
	}
	e.write = func(row []any) error { return w.Write(texts(row, e.fields)) }
	err := e.all(files)
	w.Flush()
	if err == nil {
		err = w.Error()
	}
	return e.rows, err
}

type exporter struct {
	long     bool
	fields   []field
	settings []string // keys, of all files
	columns  []string // of all files
	rows     int
	write    func(row []any) error
}

// add makes room for the settings and columns of a file.
func (e *exporter) add(f *File) {
	if e.fields == nil {
		e.fields = []field{runField, stackField, {name: "parameters", about: "numbers that the run trains", kind: whole},
			{name: "diverged", about: "step at which the run diverged; null: never", kind: whole},
			stepField, {name: "samples", about: "samples seen", kind: whole},
			taskField, {name: "frequency", about: "share of task k in the mixture pi_k", kind: doubles}}
		if e.long {
			e.fields = append(e.fields, field{name: "metric", about: "name of the column", kind: words},
				field{name: "value", about: "of the metric, in its unit", kind: singles})
		}
	}
	for _, s := range f.Stack[0].Settings() {
		for _, part := range parts(s) {
			if !slices.Contains(e.settings, part.key) {
				// Settings stand after run and stack.
				e.fields = slices.Insert(e.fields, 2+len(e.settings), field{name: part.key, about: s.About, kind: kindOf(part.value)})
				e.settings = append(e.settings, part.key)
			}
		}
	}
	for _, c := range f.Columns {
		if !slices.Contains(e.columns, c.Name) {
			e.columns = append(e.columns, c.Name)
			if !e.long {
				e.fields = append(e.fields, field{name: c.Name, about: c.About})
			}
		}
	}
}

// part is a setting, or one of the numbers of a setting that has several.
type part struct {
	key   string
	value any
}

func parts(s spec.Setting) []part {
	v := reflect.ValueOf(s.Value)
	if v.Kind() != reflect.Array {
		return []part{{s.Key, s.Value}}
	}
	var all []part
	for i := range v.Len() {
		all = append(all, part{fmt.Sprintf("%s.%d", s.Key, i+1), v.Index(i).Interface()})
	}
	return all
}

func kindOf(v any) kind {
	switch v.(type) {
	case string:
		return words
	case float64:
		return doubles
	}
	return whole
}

func (e *exporter) all(files []*File) error {
	for _, f := range files {
		runs := f.Runs()
		if err := runs.Load(f.Columns); err != nil {
			return err
		}
		for _, r := range runs {
			if err := e.run(f, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *exporter) run(f *File, r *Run) error {
	own := map[string]any{}
	for _, s := range r.Settings() {
		for _, part := range parts(s) {
			own[part.key] = part.value
		}
	}
	head := []any{r.ID, r.Stack}
	for _, key := range e.settings {
		head = append(head, own[key])
	}
	head = append(head, r.Run.Parameters(), nil)
	if r.Diverged >= 0 {
		head[len(head)-1] = r.Diverged
	}
	frequency := r.Mixture.Frequencies()
	for i, step := range r.Steps {
		for k := 1; k <= r.Mixture.Tasks; k++ {
			row := append(slices.Clip(head), step, step*r.Train.Batch, k, frequency[k-1])
			if err := e.row(f, r, i, k, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// row writes what is known of a run and task at the i-th step.
func (e *exporter) row(f *File, r *Run, i, k int, row []any) error {
	if !e.long {
		for _, c := range e.columns {
			row = append(row, r.Value(c, i, k))
		}
		e.rows++
		return e.write(row)
	}
	for _, c := range f.Columns {
		line := append(slices.Clip(row), c.Name, r.Value(c.Name, i, k))
		if !c.PerTask {
			if k > 1 {
				continue
			}
			line[len(row)-2], line[len(row)-1] = nil, nil
		}
		e.rows++
		if err := e.write(line); err != nil {
			return err
		}
	}
	return nil
}

// values returns a row as Parquet has it.
func values(row []any) parquet.Row {
	out := make(parquet.Row, len(row))
	for i, v := range row {
		switch v := v.(type) {
		case string:
			out[i] = parquet.ByteArrayValue([]byte(v)).Level(0, 1, i)
		case int:
			out[i] = parquet.Int64Value(int64(v)).Level(0, 1, i)
		case uint32:
			out[i] = parquet.Int64Value(int64(v)).Level(0, 1, i)
		case float64:
			out[i] = parquet.DoubleValue(v).Level(0, 1, i)
		}
	}
	return out
}

// texts returns a row as comma-separated values have it; null is empty.
func texts(row []any, fields []field) []string {
	out := make([]string, len(row))
	for i, v := range row {
		switch v := v.(type) {
		case nil:
		case float64:
			if !math.IsNaN(v) {
				out[i] = strconv.FormatFloat(v, 'g', -1, map[bool]int{true: 32, false: 64}[fields[i].kind == singles])
			}
		default:
			out[i] = fmt.Sprint(v)
		}
	}
	return out
}
