package results

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"

	"raretask/pkg/backend"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

var id = backend.Identity{Name: "xla:cpu", Version: "test", Devices: 1, Threads: 2}

func stackAndRows(t *testing.T) (spec.Stack, []Row) {
	t.Helper()
	run := spec.Default()
	run.Mixture.Tasks, run.Mixture.Block, run.Mixture.Dim, run.Net.Width = 2, 2, 4, 2
	evaluation := train.Evaluation{Step: 0, TrainLoss: math.NaN(), Diverged: 7, Sampled: []float64{.5, math.Inf(1)}}
	return spec.Stack{run}, Rows(run, evaluation)
}

func TestWriteFindRead(t *testing.T) {
	store := &Store{Dir: filepath.Join(t.TempDir(), "not", "yet")}
	stack, rows := stackAndRows(t)
	if _, err := store.Find(stack, id); !errors.Is(err, ErrMissing) {
		t.Fatalf("Find before Write: %v", err)
	}
	path, err := store.Write(stack, id, rows)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := store.Find(stack, id); err != nil || found != path {
		t.Fatalf("Find = %q, %v; want %q", found, err, path)
	}
	got, err := Read(path)
	if err != nil || len(got) != 2 {
		t.Fatalf("Read: %d rows, %v", len(got), err)
	}
	if got[0].TrainLoss != nil || got[0].Encoder != nil || *got[0].Diverged != 7 || *got[0].Sampled != .5 || got[1].Task != 2 {
		t.Errorf("row came back as %+v", got[0])
	}
	other := id
	other.Threads = 3
	if _, err := store.Find(stack, other); !errors.Is(err, ErrMissing) {
		t.Errorf("results of another backend were taken: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(store.Dir, "unfinished", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The same rows make the same bytes, and every column is documented in the file.
func TestFileIsDeterministicAndDocumented(t *testing.T) {
	stack, rows := stackAndRows(t)
	var bytes [2][]byte
	for i := range bytes {
		path, err := (&Store{Dir: t.TempDir()}).Write(stack, id, rows)
		if err != nil {
			t.Fatal(err)
		}
		if bytes[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		file, closer, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer closer.Close()
		text, _ := file.Lookup("columns")
		var docs map[string]string
		if err := json.Unmarshal([]byte(text), &docs); err != nil {
			t.Fatal(err)
		}
		for _, column := range file.Schema().Columns() {
			if docs[column[0]] == "" {
				t.Errorf("column %s has no documentation", column[0])
			}
		}
		var stored spec.Stack
		if text, _ = file.Lookup("spec"); json.Unmarshal([]byte(text), &stored) != nil || stored.Hash() != stack.Hash() {
			t.Errorf("the file's spec is not the stack's: %s", text)
		}
	}
	if !slices.Equal(bytes[0], bytes[1]) {
		t.Error("the same rows made different files")
	}
}

func TestPublished(t *testing.T) {
	stack, rows := stackAndRows(t)
	store := &Store{Dir: t.TempDir(), Published: t.TempDir()}
	path, err := store.Write(stack, id, rows)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Publish(stack, id, store.Published); err != nil {
		t.Fatal(err)
	}
	if found, err := store.Find(stack, id); err != nil || found != path {
		t.Errorf("Find = %q, %v; want one's own results first", found, err)
	}
	published := filepath.Join(store.Published, stack.Hash()+".parquet")
	if found, err := store.Find(stack, backend.Identity{Name: "go"}); err != nil || found != published {
		t.Errorf("Find = %q, %v; want the published file whatever the backend", found, err)
	}
}

func TestDamagedFile(t *testing.T) {
	stack, rows := stackAndRows(t)
	store := &Store{Dir: t.TempDir()}
	path, err := store.Write(stack, id, rows)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{0, 3, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(path, whole[:length], 0o644); err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if _, err := store.Find(stack, id); !errors.As(err, &damaged) || damaged.Path != path {
			t.Errorf("a file cut to %d bytes: Find: %v", length, err)
		}
		if _, err := Read(path); !errors.As(err, &damaged) {
			t.Errorf("a file cut to %d bytes: Read: %v", length, err)
		}
	}
	if _, err := store.Write(stack, id, rows); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Find(stack, id); err != nil {
		t.Errorf("writing again did not mend it: %v", err)
	}
}

// A failing write leaves nothing behind, neither a new file nor a change to the old one.
func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.parquet")
	full := errors.New("no space left on device")
	err := WriteFile(path, func(f *os.File) error { f.WriteString("half"); return full })
	if !errors.Is(err, full) {
		t.Errorf("WriteFile: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	stack, rows := stackAndRows(t)
	if _, err := (&Store{Dir: filepath.Join(file, "runs")}).Write(stack, id, rows); err == nil {
		t.Error("a file for a folder was taken")
	}
}

// Files that were written before a column was added must be read: the column is empty.
func TestReadsFilesOfBefore(t *testing.T) {
	type before struct {
		Run     string   `parquet:"run,dict"`
		Width   int32    `parquet:"width,dict"`
		Step    int32    `parquet:"step,delta"`
		Task    int32    `parquet:"task,delta"`
		Sampled *float32 `parquet:"loss_sampled,optional"`
	}
	loss := float32(.25)
	path := filepath.Join(t.TempDir(), "old.parquet")
	if err := parquet.WriteFile(path, []before{{"a", 8, 3, 1, &loss}, {"a", 8, 3, 2, nil}}); err != nil {
		t.Fatal(err)
	}
	rows, err := Read(path)
	if err != nil || len(rows) != 2 {
		t.Fatalf("Read: %d rows, %v", len(rows), err)
	}
	if r := rows[0]; r.Run != "a" || r.Width != 8 || r.Task != 1 || *r.Sampled != .25 || r.Depth != 0 || r.Param != "" || rows[1].Sampled != nil {
		t.Errorf("rows came back as %+v", rows)
	}
}

func TestRowsOfParity(t *testing.T) {
	run := spec.Default()
	run.Mixture.Family, run.Mixture.Tasks, run.Mixture.Dim, run.Mixture.Block = "parity", 2, 8, 3
	run.Net = spec.Net{Kind: "mlp", Width: 16, Depth: 2, Parameterization: "mup", Base: 8}
	rows := Rows(run, train.Evaluation{Step: 5, TrainLoss: .9, Diverged: -1, Sampled: []float64{.5, 1}})
	store := &Store{Dir: t.TempDir()}
	path, err := store.Write(spec.Stack{run}, id, rows)
	if err != nil {
		t.Fatal(err)
	}
	if rows, err = Read(path); err != nil {
		t.Fatal(err)
	}
	if r := rows[1]; r.Depth != 2 || r.Param != "mup" || r.Base != 8 || r.Block != 3 || !math.IsNaN(r.AlphaHead) || *r.Sampled != 1 || r.Loss != nil {
		t.Errorf("row came back as %+v", r)
	}
}
