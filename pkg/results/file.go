package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"runtime/debug"
	"slices"

	"github.com/parquet-go/parquet-go"

	"raretask/pkg/backend"
	"raretask/pkg/seal"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// File is the result file of a stack, whole and sealed.
//
// Its rows are those of every run, step and task, in this order; columns of a run's own stand on each of a step's rows. What its metadata says, as
// JSON under the keys below, is what a File holds.
type File struct {
	Path    string
	Stack   spec.Stack
	Steps   []int          // at which all runs were evaluated
	Columns []train.Column // that were measured
	Metrics []string       // that gave the columns
	Kept    []int          // steps after which weights were kept
	Hash    string         // of the stack
	Backend backend.Identity
	// Diverged is the step at which each run diverged; -1: never.
	Diverged []int

	values map[string][]float64 // of the columns that have been read, of all runs
}

// format is the number of this layout; files of another one are of an older or newer engine.
const format = "2"

// Keys of a file's metadata, beside seal.Key.
const (
	keyFormat   = "format"
	keyStack    = "stack"   // hash of the stack
	keyRuns     = "runs"    // settings of each run
	keyHead     = "results" // steps, columns, kept, diverged
	keyBackend  = "backend"
	keyVersions = "versions"
)

type head struct {
	Steps    []int          `json:"steps"`
	Columns  []train.Column `json:"columns"`
	Metrics  []string       `json:"metrics,omitempty"`
	Kept     []int          `json:"kept,omitempty"`
	Diverged []int          `json:"diverged"`
}

// DamagedError says that a result file can't be believed.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("results: %s is damaged (%v); running the sweep again trains it again, or delete it", e.Path, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// An OlderError says that a result file is of another engine or format.
type OlderError struct{ Path string }

func (e *OlderError) Error() string {
	return fmt.Sprintf("results: %s is of another version of raretask, whose numbers are others; running the sweep again trains it again, or delete it", e.Path)
}

// OpenFile reads the head of a result file and checks its seal. The error is a *DamagedError where the file can't be believed, an *OlderError where
// another version wrote it, and what the system says (of a missing or forbidden file, or a folder in its place) otherwise.
func OpenFile(path string) (*File, error) {
	f, _, err := readFile(path)
	return f, err
}

func readFile(path string) (f *File, data []byte, err error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("results: %s is no file: want to write results there; move it away", path)
	}
	if data, err = os.ReadFile(path); err != nil {
		return nil, nil, fmt.Errorf("results: %w", err)
	}
	defer func() {
		if cause := recover(); cause != nil { // the reader of Parquet panics on some of what it can't read
			f, err = nil, &DamagedError{path, fmt.Errorf("%v", cause)}
		}
	}()
	sealed := seal.Check(data)
	if errors.Is(sealed, seal.ErrUnsealed) && older(data) {
		return nil, nil, &OlderError{path}
	} else if sealed != nil {
		return nil, nil, &DamagedError{path, sealed}
	}
	file, err := openParquet(data)
	if err != nil {
		return nil, nil, &DamagedError{path, err}
	}
	if version, _ := file.Lookup(keyFormat); version != format {
		return nil, nil, &OlderError{path}
	}
	f = &File{Path: path}
	if err := f.parse(file); err != nil {
		return nil, nil, &DamagedError{path, err}
	}
	return f, data, nil
}

func openParquet(data []byte) (*parquet.File, error) {
	return parquet.OpenFile(bytes.NewReader(data), int64(len(data)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
}

// older reports whether a file without a seal is one that was written before there were seals.
func older(data []byte) bool {
	file, err := openParquet(data)
	if err != nil {
		return false
	}
	_, hasStack := file.Lookup(keyStack)
	_, hasFormat := file.Lookup(keyFormat)
	return hasStack && !hasFormat
}

// parse fills in what the metadata say.
func (f *File) parse(file *parquet.File) error {
	f.Hash, _ = file.Lookup(keyStack)
	var h head
	for key, to := range map[string]any{keyRuns: &f.Stack, keyHead: &h, keyBackend: &f.Backend} {
		text, _ := file.Lookup(key)
		if err := json.Unmarshal([]byte(text), to); err != nil {
			return fmt.Errorf("metadata %s: %w", key, err)
		}
	}
	f.Steps, f.Columns, f.Metrics, f.Kept, f.Diverged = h.Steps, h.Columns, h.Metrics, h.Kept, h.Diverged
	rows := int64(len(f.Stack) * len(f.Steps))
	if len(f.Stack) > 0 {
		rows *= int64(f.Stack[0].Mixture.Tasks)
	}
	if file.NumRows() != rows || len(f.Diverged) != len(f.Stack) {
		return fmt.Errorf("%d rows: want %d", file.NumRows(), rows)
	}
	return nil
}

// Runs returns the file's runs; columns are loaded by Need.
func (f *File) Runs() Runs {
	runs := make(Runs, len(f.Stack))
	for i, run := range f.Stack {
		runs[i] = &Run{Run: run, ID: run.Hash(), Stack: f.Hash, Diverged: f.Diverged[i], Steps: f.Steps, values: map[string][]float64{}, file: f, at: i}
	}
	return runs
}

// load reads columns of the run that are not there yet, for all runs of its file.
func (r *Run) load(columns []string) error {
	var missing []string
	for _, c := range columns {
		if _, loaded := r.values[c]; !loaded {
			missing = append(missing, c)
		}
	}
	if len(missing) == 0 || r.file == nil {
		return r.lacks(missing)
	}
	for _, c := range missing {
		if !r.Measured(c) {
			return r.lacks([]string{c})
		}
	}
	if err := r.file.load(missing); err != nil {
		return err
	}
	for _, c := range missing {
		values := r.file.values[c]
		n := len(values) / len(r.file.Stack)
		r.values[c] = values[r.at*n:][:n]
	}
	return nil
}

// load reads columns that have not been read yet.
func (f *File) load(columns []string) error {
	columns = slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return f.values[c] != nil })
	if len(columns) == 0 {
		return nil
	}
	values, err := f.read(columns)
	if f.values == nil {
		f.values = map[string][]float64{}
	}
	maps.Copy(f.values, values)
	return err
}

func (r *Run) lacks(columns []string) error {
	if len(columns) == 0 {
		return nil
	}
	where := "in memory"
	if r.file != nil {
		where = r.file.Path
	}
	return fmt.Errorf("results: %s of run %s (width %d, seed %d) was not measured (%s): name a metric that has it in the spec's metrics, and `raretask sweep run` "+
		"measures it, from kept weights where there are some", columns[0], r.ID, r.Net.Width, r.Train.Seed, where)
}

// read returns columns of all runs, [run][step] or [run][step][task].
func (f *File) read(columns []string) (values map[string][]float64, err error) {
	now, data, err := readFile(f.Path)
	if err != nil {
		return nil, err
	}
	if now.Hash != f.Hash || !slices.Equal(now.Steps, f.Steps) {
		return nil, fmt.Errorf("results: %s has been replaced by another process since it was looked up; run it again", f.Path)
	}
	defer func() {
		if cause := recover(); cause != nil {
			values, err = nil, &DamagedError{f.Path, fmt.Errorf("%v", cause)}
		}
	}()
	file, err := openParquet(data)
	if err != nil {
		return nil, &DamagedError{f.Path, err}
	}
	values = map[string][]float64{}
	for _, c := range f.Columns {
		if !slices.Contains(columns, c.Name) {
			continue
		}
		leaf, ok := file.Schema().Lookup(c.Name)
		if !ok {
			return nil, &DamagedError{f.Path, fmt.Errorf("no column %s", c.Name)}
		}
		flat, err := numbers(file, leaf.ColumnIndex)
		if err != nil {
			return nil, &DamagedError{f.Path, err}
		}
		if k := f.Stack[0].Mixture.Tasks; !c.PerTask { // it stands on each task's row
			for i := range len(flat) / k {
				flat[i] = flat[i*k]
			}
			flat = flat[:len(flat)/k]
		}
		values[c.Name] = flat
	}
	return values, nil
}

// numbers returns a column of all row groups; null is NaN.
func numbers(file *parquet.File, column int) ([]float64, error) {
	flat := make([]float64, 0, file.NumRows())
	buffer := make([]parquet.Value, 1024)
	for _, group := range file.RowGroups() {
		pages := group.ColumnChunks()[column].Pages()
		for {
			page, err := pages.ReadPage()
			if err != nil {
				break // io.EOF, or too few numbers
			}
			for reader := page.Values(); ; {
				n, err := reader.ReadValues(buffer)
				for _, v := range buffer[:n] {
					if v.IsNull() {
						flat = append(flat, math.NaN())
					} else {
						flat = append(flat, float64(v.Float()))
					}
				}
				if err != nil || n == 0 {
					break
				}
			}
			parquet.Release(page)
		}
		pages.Close()
	}
	if int64(len(flat)) != file.NumRows() {
		return nil, fmt.Errorf("%d numbers in %d rows", len(flat), file.NumRows())
	}
	return flat, nil
}

// encode returns the bytes of a sealed file with columns of its runs, which must be loaded.
func (f *File) encode(runs Runs) ([]byte, error) {
	table := []field{runField, stackField, stepField, taskField}
	for _, c := range f.Columns {
		table = append(table, field{name: c.Name, about: c.About})
	}
	options := []parquet.WriterOption{
		parquet.KeyValueMetadata(keyFormat, format), parquet.KeyValueMetadata(keyStack, f.Hash), parquet.KeyValueMetadata(seal.Key, seal.Placeholder),
	}
	for _, m := range []struct {
		key   string
		value any
	}{
		{keyRuns, f.Stack}, {keyHead, head{f.Steps, f.Columns, f.Metrics, f.Kept, f.Diverged}}, {keyBackend, f.Backend}, {keyVersions, moduleVersions()},
	} {
		text, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		options = append(options, parquet.KeyValueMetadata(m.key, string(text)))
	}
	var out bytes.Buffer
	w := newTable(&out, table, options...)
	row := make(parquet.Row, len(table))
	for _, r := range runs {
		row[0], row[1] = parquet.ByteArrayValue([]byte(r.ID)), parquet.ByteArrayValue([]byte(r.Stack))
		for i, step := range f.Steps {
			for k := 1; k <= r.Mixture.Tasks; k++ {
				row[2], row[3] = parquet.Int64Value(int64(step)), parquet.Int64Value(int64(k))
				for c, column := range f.Columns {
					row[4+c] = parquet.DoubleValue(r.Value(column.Name, i, k))
				}
				if err := w.write(row); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := w.close(); err != nil {
		return nil, err
	}
	return out.Bytes(), seal.Seal(out.Bytes())
}

// moduleVersions returns the versions of what computes.
func moduleVersions() map[string]string {
	versions := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	versions["go"] = info.GoVersion
	for _, dep := range info.Deps {
		switch dep.Path {
		case "github.com/gomlx/gomlx", "github.com/gomlx/go-xla", "github.com/gomlx/compute":
			versions[dep.Path] = dep.Version
		}
	}
	return versions
}

// notThere reports whether an error says that there is no file.
func notThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }
