package results

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"

	"github.com/gomlx/gomlx/support/xslices"
	"github.com/parquet-go/parquet-go"

	"raretask/pkg/spec"
)

// Export writes the results of files as one table of comma-separated values, or as Parquet, and returns its number of rows. A row is a run,
// step and task, with the name of the spec that asked for it, with a column for each setting, which has the setting's key as its name, and
// for each metric; columns of a run's own stand on every task's row. Long makes it a row for each run, step, task and metric with the
// metric's value; of metrics of a run's own the task is empty.
func Export(to io.Writer, name string, asParquet, long bool, files []*File) (int, error) {
	e := &exporter{name: name, long: long}
	for _, f := range files {
		e.columns = union(e.columns, columnFields(f.Columns))
		for _, s := range f.Stack[0].Settings() {
			for _, part := range parts(s) {
				e.settings = union(e.settings, []field{{name: part.key, about: s.About, of: typeOf(part.value)}})
			}
		}
	}
	measured := e.columns
	if long {
		measured = []field{{name: "metric", about: "name of the column", of: words}, {name: "value", about: "of the metric, in its unit",
			of: singles}}
	}
	e.fields = slices.Concat([]field{specField, runField, stackField}, e.settings, []field{
		{name: "parameters", about: "numbers that the run trains", of: whole},
		{name: "diverged", about: "step at which the run diverged; null: never", of: whole},
		stepField, {name: "samples", about: "samples seen", of: whole},
		taskField, {name: "frequency", about: "share of task k in the mixture pi_k", of: doubles},
	}, measured)
	var finish func() error
	if asParquet {
		docs, err := json.Marshal(documentation(e.fields))
		if err != nil {
			return 0, err
		}
		t := newTable(to, e.fields, parquet.KeyValueMetadata(keyColumns, string(docs)))
		e.write, finish = t.write, t.close
	} else {
		w := csv.NewWriter(to)
		w.Write(xslices.Map(e.fields, func(f field) string { return f.name })) // the writer keeps its error
		e.write = func(row []any) error { return w.Write(texts(row, e.fields)) }
		finish = func() error { w.Flush(); return w.Error() }
	}
	err := e.all(files)
	return e.rows, cmp.Or(err, finish())
}

// specField is the column of the spec's name, none what a text has that is empty.
var specField = field{name: "spec", about: "name of the spec that asked for the run", of: words}

const none = "none"

type exporter struct {
	name              string
	long              bool
	settings, columns []field // of all files
	fields            []field // of the table
	rows              int
	write             func(row []any) error
}

// union returns fields and those of more whose names are not among them.
func union(fields, more []field) []field {
	for _, m := range more {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.name == m.name }) {
			fields = append(fields, m)
		}
	}
	return fields
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

// typeOf returns what a column of a setting holds.
func typeOf(v any) reflect.Type {
	switch v.(type) {
	case int, uint32:
		return whole
	}
	return reflect.TypeOf(v)
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
	head := []any{e.name, r.ID, r.Stack}
	for _, s := range e.settings {
		v := own[s.name]
		if v == "" {
			v = none // readers take an empty text for a missing one, and leave its rows out when they group
		}
		head = append(head, v)
	}
	head = append(head, r.Run.Parameters(), nil)
	if r.Diverged >= 0 {
		head[len(head)-1] = r.Diverged
	}
	frequency := r.Mixture.Frequencies()
	at := func(step int, task ...any) []any {
		return append(append(slices.Clip(head), step, step*r.Train.Batch), task...)
	}
	glances := 0
	for i, step := range r.Steps {
		for ; glances < len(r.Glances) && r.Glances[glances] < step; glances++ {
			known := func(column string) any { return r.glance(column, glances) }
			if err := e.row(f, known, 0, at(r.Glances[glances], nil, nil)); err != nil {
				return err
			}
		}
		for k := 1; k <= r.Mixture.Tasks; k++ {
			known := func(column string) any { return r.Value(column, i, k) }
			if err := e.row(f, known, k, at(step, k, frequency[k-1])); err != nil {
				return err
			}
		}
	}
	return nil
}

// row writes what is known of a run and task at a step; task 0: at a glance.
func (e *exporter) row(f *File, known func(column string) any, task int, row []any) error {
	if !e.long {
		for _, field := range e.columns {
			row = append(row, known(field.name))
		}
		e.rows++
		return e.write(row)
	}
	for _, c := range f.Columns {
		if task > 1 && !c.PerTask || task == 0 && !c.Often {
			continue
		}
		line := append(slices.Clip(row), c.Name, known(c.Name))
		if !c.PerTask {
			line[len(row)-2], line[len(row)-1] = nil, nil
		}
		e.rows++
		if err := e.write(line); err != nil {
			return err
		}
	}
	return nil
}

// texts returns a row as comma-separated values have it; null is empty.
func texts(row []any, fields []field) []string {
	out := make([]string, len(row))
	for i, v := range row {
		switch v := v.(type) {
		case nil:
		case float64:
			if !math.IsNaN(v) {
				out[i] = strconv.FormatFloat(v, 'g', -1, fields[i].of.Bits())
			}
		default:
			out[i] = fmt.Sprint(v)
		}
	}
	return out
}
