package results

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"reflect"

	"github.com/gomlx/gomlx/support/xslices"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"raretask/pkg/train"
)

// field is a column of a table; all may be null.
type field struct {
	name, about string
	of          reflect.Type // one of those below
	split       bool         // bytes of one significance lie together (BYTE_STREAM_SPLIT), which compresses singles better
}

// What columns hold. All but singles have few different values.
var (
	singles = reflect.TypeFor[float32]()
	doubles = reflect.TypeFor[float64]()
	whole   = reflect.TypeFor[int64]()
	words   = reflect.TypeFor[string]()
)

// Columns that result files and exports have in common.
var (
	runField   = field{name: "run", about: "hash of the run's settings", of: words}
	stackField = field{name: "stack", about: "hash of the stack that it trained in", of: words}
	stepField  = field{name: "step", about: "steps done", of: whole}
	taskField  = field{name: "task", about: "task k, 1 = most frequent; null: of no task, just before and after injections", of: whole}
)

// columnFields returns the fields of columns.
func columnFields(columns []train.Column) []field {
	return xslices.Map(columns, func(c train.Column) field { return field{name: c.Name, about: c.About, of: singles} })
}

// value returns a text or a number as the column has it; nil and NaN are null.
func (f field) value(v any) parquet.Value {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) {
			return parquet.NullValue()
		} else if f.of == singles {
			return parquet.FloatValue(float32(v))
		}
	case uint32:
		return parquet.Int64Value(int64(v))
	}
	return parquet.ValueOf(v)
}

// compression is shared by all files: a codec of its own would allocate and clear 8 MB for each file, which for a thousand small ones is
// a tenth of the time of training them.
var compression = &zstd.Codec{Level: zstd.SpeedBetterCompression}

// smallest is that of published files, which are few and kept for ever.
var smallest = &zstd.Codec{Level: zstd.SpeedBestCompression}

// table writes rows of a Parquet file whose columns are known only at run time.
type table struct {
	w      *parquet.GenericWriter[any]
	fields []field
	rows   []parquet.Row
}

// keyColumns is the metadata key of the documentation of columns.
const keyColumns = "columns"

// documentation returns what each column is.
func documentation(fields []field) map[string]string {
	about := map[string]string{}
	for _, f := range fields {
		about[f.name] = f.about
	}
	return about
}

// newTable returns a table of columns.
func newTable(to io.Writer, fields []field, options ...parquet.WriterOption) *table {
	var all []reflect.StructField
	for i, f := range fields {
		tag := f.name + ",optional"
		switch {
		case f.of != singles:
			tag += ",dict"
		case f.split:
			tag += ",split"
		}
		all = append(all, reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: reflect.PointerTo(f.of), Tag: reflect.StructTag(fmt.Sprintf("parquet:%q", tag)),
		})
	}
	schema := parquet.SchemaOf(reflect.New(reflect.StructOf(all)).Interface())
	options = append([]parquet.WriterOption{schema, parquet.Compression(compression), parquet.CreatedBy("raretask", format, "")}, options...)
	return &table{w: parquet.NewGenericWriter[any](to, options...), fields: fields}
}

// together is how many rows are handed on at a time.
const together = 512

// write writes a row: a value of each column.
func (t *table) write(row []any) error {
	own := make(parquet.Row, len(row))
	for i, v := range row {
		own[i] = t.fields[i].value(v).Level(0, 1, i)
		if own[i].IsNull() {
			own[i] = own[i].Level(0, 0, i)
		}
	}
	if t.rows = append(t.rows, own); len(t.rows) < together {
		return nil
	}
	return t.flush()
}

func (t *table) flush() error {
	_, err := t.w.WriteRows(t.rows)
	t.rows = t.rows[:0]
	return err
}

func (t *table) close() error {
	return cmp.Or(t.flush(), t.w.Close())
}
