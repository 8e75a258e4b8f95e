package results

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"raretask/pkg/backend"
	"raretask/pkg/seal"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// File is the result file of a stack, whole and sealed.
//
// Its rows are those of every run, step and task, in this order, and then those of every run and glance, without a task; columns of a run's
// own stand on each of a step's rows. What its metadata say, as JSON under the keys below, is what a File holds; published files have it
// packed under a single key.
type File struct {
	Path    string           `json:"-"`
	Stack   spec.Stack       `json:"-"`
	Hash    string           `json:"-"` // of the stack
	Backend backend.Identity `json:"-"`

	Steps    []int          `json:"steps"`             // at which all runs were evaluated
	Glances  []int          `json:"glances,omitempty"` // further steps, at which columns that are known often were measured
	Columns  []train.Column `json:"columns"`           // that were measured
	Metrics  []string       `json:"metrics,omitempty"` // that gave the columns
	Kept     []int          `json:"kept,omitempty"`    // steps after which weights were kept
	Diverged []int          `json:"diverged"`          // step at which each run diverged; -1: never

	values map[string][]float64 // of the columns that have been read, of all runs
	seen   map[string][]float64 // the same at Glances
	packed bool                 // metadata are written packed, and columns split: as published
}

// format is the number of this layout; files of another one are of an older or newer engine.
const format = "2"

// Keys of a file's metadata, beside seal.Key.
const (
	keyFormat   = "format"
	keyStack    = "stack"   // hash of the stack
	keyRuns     = "runs"    // settings of each run
	keyHead     = "results" // steps, glances, columns, kept, diverged
	keyBackend  = "backend"
	keyVersions = "versions"
	keyPacked   = "packed" // instead of runs, results, backend, versions and columns: all of them
)

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
	return fmt.Sprintf("results: %s is of another version of raretask, whose numbers are others; running the sweep again trains it again, "+
		"or delete it", e.Path)
}

// OpenFile reads the head of a result file and checks its seal. The error is a *DamagedError where the file can't be believed, an
// *OlderError where another version wrote it, and what the system says (of a missing or forbidden file, or a folder in its place)
// otherwise.
func OpenFile(path string) (*File, error) {
	return readFile(path, func(*File, *parquet.File) error { return nil })
}

// readFile is OpenFile with a look into the file, an error of which is damage.
func readFile(path string, look func(*File, *parquet.File) error) (*File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("results: %s is no file: want to write results there; move it away", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	f, err := decode(data, look)
	if errors.Is(err, errOlder) {
		return nil, &OlderError{path}
	} else if err != nil {
		return nil, &DamagedError{path, err}
	}
	f.Path = path
	return f, nil
}

var errOlder = errors.New("of another version")

func decode(data []byte, look func(*File, *parquet.File) error) (f *File, err error) {
	defer func() {
		if cause := recover(); cause != nil { // the reader of Parquet panics on some of what it can't read
			err = fmt.Errorf("%v", cause)
		}
	}()
	if err := seal.Check(data); errors.Is(err, seal.ErrUnsealed) && older(data) {
		return nil, errOlder
	} else if err != nil {
		return nil, err
	}
	file, err := openParquet(data)
	if err != nil {
		return nil, err
	}
	if version, _ := file.Lookup(keyFormat); version != format {
		return nil, errOlder
	}
	f = new(File)
	if err := f.parse(file); err != nil {
		return nil, err
	}
	return f, look(f, file)
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

// outdated reports whether a file is a whole one of another format or engine, by its footer alone.
func outdated(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	defer func() { recover() }() // as in decode
	file, err := parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return false
	}
	hash, _ := file.Lookup(keyStack)
	version, _ := file.Lookup(keyFormat)
	var head File
	return hash != "" && (version != format || head.parse(file) == nil && head.Stack.Hash() != hash)
}

// parse fills in what the metadata say.
func (f *File) parse(file *parquet.File) error {
	f.Hash, _ = file.Lookup(keyStack)
	lookup := file.Lookup
	if code, packed := file.Lookup(keyPacked); packed {
		metadata, err := unpack(code)
		if err != nil {
			return fmt.Errorf("metadata %s: %w", keyPacked, err)
		}
		lookup = func(key string) (string, bool) { text, there := metadata[key]; return string(text), there }
	}
	for key, to := range map[string]any{keyRuns: &f.Stack, keyHead: f, keyBackend: &f.Backend} {
		text, _ := lookup(key)
		if err := json.Unmarshal([]byte(text), to); err != nil {
			return fmt.Errorf("metadata %s: %w", key, err)
		}
	}
	rows := int64(len(f.Stack) * len(f.Glances))
	if len(f.Stack) > 0 {
		rows += f.evaluated()
	}
	if file.NumRows() != rows || len(f.Diverged) != len(f.Stack) {
		return fmt.Errorf("%d rows: want %d", file.NumRows(), rows)
	}
	return nil
}

// mostMetadata bounds what is unpacked.
const mostMetadata = 64 << 20

// pack returns metadata as base64 of gzip of their JSON. Parquet compresses columns alone, and settings of hundreds of small files take
// more than their numbers do.
func pack(metadata map[string]json.RawMessage) (string, error) {
	text, err := json.Marshal(metadata)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	w.Write(text) // to memory: no error
	w.Close()
	return base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// unpack returns what was packed.
func unpack(code string) (metadata map[string]json.RawMessage, err error) {
	r, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(code)))
	if err != nil {
		return nil, err
	}
	err = json.NewDecoder(io.LimitReader(r, mostMetadata)).Decode(&metadata)
	return metadata, err
}

// evaluated returns the number of rows of every run, step and task.
func (f *File) evaluated() int64 {
	return int64(len(f.Stack) * len(f.Steps) * f.Stack[0].Mixture.Tasks)
}

// Runs returns the file's runs; columns are loaded by Need.
func (f *File) Runs() Runs {
	runs := make(Runs, len(f.Stack))
	for i, run := range f.Stack {
		runs[i] = &Run{Run: run, ID: run.Hash(), Stack: f.Hash, Diverged: f.Diverged[i], Steps: f.Steps, Glances: f.Glances, file: f, at: i}
	}
	return runs
}

// UnmeasuredError says that a column is not among those of a run.
type UnmeasuredError struct{ Column, Run, Where string }

func (e *UnmeasuredError) Error() string {
	return fmt.Sprintf("results: %s of %s was not measured (%s): name a metric that has it in the spec's metrics, and `raretask sweep run` "+
		"measures it, from kept weights where there are some", e.Column, e.Run, e.Where)
}

// load reads columns of the run that are not there yet, for all runs of its file.
func (r *Run) load(columns []string) error {
	where := "in memory"
	if r.file != nil {
		where = r.file.Path
	}
	for _, c := range columns {
		if !r.Measured(c) {
			return &UnmeasuredError{c, fmt.Sprintf("run %s (width %d, seed %d)", r.ID, r.Net.Width, r.Train.Seed), where}
		}
	}
	if r.file == nil {
		return nil
	}
	return r.file.load(columns)
}

// load reads columns that have not been read yet, of all runs [run][step] or [run][step][task].
func (f *File) load(columns []string) error {
	columns = slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return f.values[c] != nil })
	if len(columns) == 0 {
		return nil
	}
	values, seen := map[string][]float64{}, map[string][]float64{}
	same := func(now *File) bool {
		return now.Hash == f.Hash && slices.Equal(now.Steps, f.Steps) && slices.Equal(now.Glances, f.Glances)
	}
	now, err := readFile(f.Path, func(now *File, file *parquet.File) error {
		for _, c := range f.Columns {
			if !same(now) || !slices.Contains(columns, c.Name) {
				continue
			}
			leaf, ok := file.Schema().Lookup(c.Name)
			if !ok {
				return fmt.Errorf("no column %s", c.Name)
			}
			flat, err := numbers(file, leaf.ColumnIndex)
			if err != nil {
				return err
			}
			if c.Often {
				seen[c.Name] = flat[f.evaluated():]
			}
			flat = flat[:f.evaluated()]
			if k := f.Stack[0].Mixture.Tasks; !c.PerTask { // it stands on each task's row
				for i := range len(flat) / k {
					flat[i] = flat[i*k]
				}
				flat = flat[:len(flat)/k]
			}
			values[c.Name] = flat
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !same(now) {
		return fmt.Errorf("results: %s has been replaced by another process since it was looked up; run it again", f.Path)
	}
	if f.values == nil {
		f.values, f.seen = map[string][]float64{}, map[string][]float64{}
	}
	maps.Copy(f.values, values)
	maps.Copy(f.seen, seen)
	return nil
}

// numbers returns a column of all row groups; null is NaN.
func numbers(file *parquet.File, column int) ([]float64, error) {
	flat := make([]float64, 0, file.NumRows())
	buffer := make([]parquet.Value, 1024)
	for _, group := range file.RowGroups() {
		reader := parquet.NewColumnChunkValueReader(group.ColumnChunks()[column])
		for n, err := 1, error(nil); err == nil && n > 0; { // until io.EOF, or too few numbers
			n, err = reader.ReadValues(buffer)
			for _, v := range buffer[:n] {
				if v.IsNull() {
					flat = append(flat, math.NaN())
				} else {
					flat = append(flat, float64(v.Float()))
				}
			}
		}
		reader.Close()
	}
	if int64(len(flat)) != file.NumRows() {
		return nil, fmt.Errorf("%d numbers in %d rows", len(flat), file.NumRows())
	}
	return flat, nil
}

// encode returns the bytes of a sealed file with columns of its runs, which must be loaded and have its steps.
// Of columns in last there is the number of the last step alone.
func (f *File) encode(runs Runs, last map[string]bool) ([]byte, error) {
	fields := append([]field{runField, stackField, stepField, taskField}, columnFields(f.Columns)...)
	metadata := map[string]json.RawMessage{}
	for key, value := range map[string]any{keyRuns: f.Stack, keyHead: f, keyBackend: f.Backend, keyVersions: moduleVersions(),
		keyColumns: documentation(fields)} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		metadata[key] = text
	}
	options := []parquet.WriterOption{
		parquet.KeyValueMetadata(keyFormat, format),
		parquet.KeyValueMetadata(keyStack, f.Hash),
		parquet.KeyValueMetadata(seal.Key, seal.Placeholder),
	}
	if f.packed {
		code, err := pack(metadata)
		if err != nil {
			return nil, err
		}
		options = append(options, parquet.KeyValueMetadata(keyPacked, code), parquet.Compression(smallest))
		metadata = nil
	}
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		options = append(options, parquet.KeyValueMetadata(key, string(metadata[key])))
	}
	var out bytes.Buffer
	for i := range fields {
		fields[i].split = f.packed
	}
	w := newTable(&out, fields, options...)
	for _, r := range runs {
		for _, step := range f.Steps {
			i, _ := r.Index(step)
			for k := 1; k <= r.Mixture.Tasks; k++ {
				row := []any{r.ID, r.Stack, step, k}
				for _, c := range f.Columns {
					value := r.Value(c.Name, i, k)
					if last[c.Name] && step != f.Steps[len(f.Steps)-1] {
						value = math.NaN()
					}
					row = append(row, value)
				}
				if err := w.write(row); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, r := range runs {
		for i, step := range f.Glances {
			row := []any{r.ID, r.Stack, step, nil}
			for _, c := range f.Columns {
				row = append(row, r.glance(c.Name, i))
			}
			if err := w.write(row); err != nil {
				return nil, err
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
