package results

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// kind is what a column of a table holds; all may be null.
type kind int

const (
	singles kind = iota // float32
	doubles             // float64, few different ones
	whole               // int64
	words               // texts, few different ones
)

// field is a column of a table.
type field struct {
	name, about string
	kind        kind
}

// Columns that result files and exports have in common.
var (
	runField   = field{name: "run", about: "hash of the run's settings", kind: words}
	stackField = field{name: "stack", about: "hash of the stack that it trained in", kind: words}
	stepField  = field{name: "step", about: "steps done", kind: whole}
	taskField  = field{name: "task", about: "task k, 1 = most frequent", kind: whole}
)

// goType returns the type and tag of a struct field that has the column's Parquet type.
func (f field) goType() (reflect.Type, string) {
	switch f.kind {
	case doubles:
		return reflect.TypeFor[*float64](), ",optional,dict"
	case whole:
		return reflect.TypeFor[*int64](), ",optional,dict"
	case words:
		return reflect.TypeFor[*string](), ",optional,dict"
	}
	return reflect.TypeFor[*float32](), ",optional"
}

// compression is shared by all files: a codec of its own would allocate and clear 8 MB for each file, which for a thousand small ones is
// a tenth of the time of training them.
var compression = &zstd.Codec{Level: zstd.SpeedBetterCompression}

// table writes rows of a Parquet file whose columns are known only at run time.
type table struct {
	w      *parquet.Writer
	fields []field
	rows   []parquet.Row
}

// newTable returns a table with the documentation of its columns in the metadata key "columns".
func newTable(to io.Writer, fields []field, options ...parquet.WriterOption) *table {
	var all []reflect.StructField
	about := map[string]string{}
	for i, f := range fields {
		kind, tag := f.goType()
		all = append(all, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: kind, Tag: reflect.StructTag(fmt.Sprintf("parquet:%q", f.name+tag))})
		about[f.name] = f.about
	}
	docs, err := json.Marshal(about)
	if err != nil {
		panic(err) // a map of strings always has a JSON form
	}
	schema := parquet.SchemaOf(reflect.New(reflect.StructOf(all)).Interface())
	options = append(options, schema, parquet.Compression(compression), parquet.CreatedBy("raretask", format, ""), parquet.KeyValueMetadata("columns", string(docs)))
	return &table{w: parquet.NewWriter(to, options...), fields: fields}
}

// together is how many rows are handed on at a time.
const together = 512

// write writes a row of non-null values, or values without a level for null, column by column.
func (t *table) write(row parquet.Row) error {
	own := make(parquet.Row, len(row))
	for i, v := range row {
		switch {
		case v.IsNull() || v.Kind() == parquet.Double && math.IsNaN(v.Double()):
			own[i] = parquet.NullValue().Level(0, 0, i)
		case t.fields[i].kind == singles:
			own[i] = parquet.FloatValue(float32(v.Double())).Level(0, 1, i)
		default:
			own[i] = v.Level(0, 1, i)
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
	if err := t.flush(); err != nil {
		return err
	}
	return t.w.Close()
}
