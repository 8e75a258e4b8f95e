package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"raretask/pkg/backend"
	"raretask/pkg/net"
	"raretask/pkg/seal"
	"raretask/pkg/seal/damage"
	"raretask/pkg/spec"
	"raretask/pkg/train"
	"raretask/tasks"
)

var id = backend.Identity{Name: "xla:cpu", Version: "test", Devices: 1, Threads: 2}

func small() spec.Run {
	run := spec.Default()
	run.Mixture.Tasks, run.Mixture.Settings, run.Net.Width = 2, tasks.RegressionSettings{Dim: 4, Block: 2, Alpha: [2]float64{2, 2}}, 2
	run.Train.Steps = 10
	return run
}

// example is the results of a stack of two runs, the second of which has diverged.
func example() (*File, Runs) {
	stack := spec.Stack{small(), small()}
	stack[1].Net.Width = 3
	f := &File{
		Stack: stack, Steps: []int{0, 10}, Metrics: []string{"loss_sampled", "train_loss"}, Kept: []int{10}, Backend: id,
		Columns: []train.Column{{Name: "train_loss", About: "of the run"}, {Name: "loss_sampled", About: "of a task", PerTask: true}},
	}
	var runs Runs
	for i, run := range stack {
		r := NewRun(run, f.Steps, map[string][]float64{
			"train_loss": {math.NaN(), .25 + float64(i)}, "loss_sampled": {.5, math.Inf(1), .125, math.NaN()},
		})
		r.Stack = stack.Hash()
		runs = append(runs, r)
	}
	runs[1].Diverged = 7
	return f, runs
}

func written(t *testing.T, store *Store) *File {
	t.Helper()
	f, runs := example()
	f, err := store.Write(f, runs)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var everything = Want{Columns: []string{"train_loss", "loss_sampled"}, Steps: []int{0, 10}}

func TestWriteFindRead(t *testing.T) {
	store := &Store{Dir: filepath.Join(t.TempDir(), "not", "yet [1] 100%")}
	f, runs := example()
	if _, err := store.Find(f.Stack, []string{id.Key()}, Want{}); !errors.Is(err, ErrMissing) {
		t.Fatalf("Find before Write: %v", err)
	}
	f, err := store.Write(f, runs)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := store.Backends()
	if err != nil || !slices.Equal(keys, []string{id.Key()}) {
		t.Errorf("backends %q, %v; want %s", keys, err, id.Key())
	}
	found, err := store.Find(f.Stack, keys, everything)
	if err != nil {
		t.Fatal(err)
	}
	if found.Path != store.Path(f.Stack, id) || found.Hash != f.Stack.Hash() || found.Backend != id || !slices.Equal(found.Steps, f.Steps) ||
		!slices.Equal(found.Columns, f.Columns) || !slices.Equal(found.Metrics, f.Metrics) || !slices.Equal(found.Kept, f.Kept) ||
		!slices.Equal(found.Diverged, []int{-1, 7}) || !reflect.DeepEqual(found.Stack, f.Stack) {
		t.Errorf("came back as %+v; want %+v", found, f)
	}
	got := found.Runs()
	if err := got.Need(Design{Vary: []string{"net.width"}, Columns: everything.Columns}); err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		want := runs[i]
		if r.ID != want.ID || r.Stack != want.Stack || r.Diverged != want.Diverged {
			t.Errorf("run %d came back as %+v", i, r)
		}
		for _, column := range everything.Columns {
			for s := range f.Steps {
				for k := 1; k <= 2; k++ {
					if a, b := r.Value(column, s, k), want.Value(column, s, k); a != b && !(math.IsNaN(a) && math.IsNaN(b)) {
						t.Errorf("run %d, %s, step %d, task %d: %g; want %g", i, column, f.Steps[s], k, a, b)
					}
				}
			}
		}
	}
	other := id
	other.Threads = 3
	if _, err := store.Find(f.Stack, []string{other.Key()}, Want{}); !errors.Is(err, ErrMissing) {
		t.Errorf("results of another backend were taken: %v", err)
	}
	if left, _ := os.ReadDir(store.UnfinishedDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The same runs make the same bytes, and every column is documented in the file.
func TestFileIsDeterministicAndDocumented(t *testing.T) {
	var files [2][]byte
	for i := range files {
		f := written(t, &Store{Dir: t.TempDir()})
		data, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = data
		file, err := openParquet(data)
		if err != nil {
			t.Fatal(err)
		}
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
		if text, _ = file.Lookup(keyRuns); json.Unmarshal([]byte(text), &stored) != nil || stored.Hash() != f.Stack.Hash() {
			t.Errorf("the file's runs are not the stack's: %s", text)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the same runs made different files")
	}
}

// Published files have the metadata of others, packed under one key; what can't be unpacked is an error.
func TestPublishedMetadata(t *testing.T) {
	f := written(t, &Store{Dir: t.TempDir()})
	dir := t.TempDir()
	if err := Publish(f, dir, names(f.Columns), false); err != nil {
		t.Fatal(err)
	}
	lookUp := func(path string) *parquet.File {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := openParquet(data)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	whole, published := lookUp(f.Path), lookUp(publishedPath(dir, f.Hash))
	code, _ := published.Lookup(keyPacked)
	packed, err := unpack(code)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{keyRuns, keyBackend, keyVersions, keyColumns} {
		want, _ := whole.Lookup(key)
		if _, plain := published.Lookup(key); plain || want == "" || string(packed[key]) != want {
			t.Errorf("%s is %s, plain: %v; want %s, packed", key, packed[key], plain, want)
		}
	}
	if _, plain := published.Lookup(keyHead); plain || len(packed[keyHead]) == 0 {
		t.Errorf("%s is %s, plain: %v; want it packed", keyHead, packed[keyHead], plain)
	}
	for _, wrong := range []string{"", "gzip", code[:len(code)/2]} {
		if _, err := unpack(wrong); err == nil {
			t.Errorf("metadata %.10q…: want an error", wrong)
		}
	}
}

// What is wanted and not there is named, and what is there is not.
func TestIncomplete(t *testing.T) {
	store := &Store{Dir: t.TempDir()}
	f := written(t, store)
	_, err := store.Find(f.Stack, []string{id.Key()}, Want{
		Columns: []string{"train_loss", "cosine"}, Steps: []int{0, 3, 10}, Keep: []int{3, 10}})
	var incomplete *IncompleteError
	if !errors.As(err, &incomplete) || !slices.Equal(incomplete.Columns, []string{"cosine"}) || !slices.Equal(incomplete.Steps, []int{3}) ||
		!slices.Equal(incomplete.Keep, []int{3, 10}) || incomplete.File.Path != f.Path {
		t.Fatalf("error %+v; want the column cosine, step 3 and the weights of 3 and 10", err)
	}
	if err := store.WriteWeights(f.Stack, id, weights(f.Stack, 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Find(f.Stack, []string{id.Key()}, Want{Keep: []int{10}}); err != nil {
		t.Errorf("with the weights there: %v", err)
	}
	if err := f.Runs().Need(Design{Vary: []string{"net.width"}, Columns: []string{"cosine"}}); err == nil ||
		!strings.Contains(err.Error(), "cosine of run "+f.Stack[0].Hash()) || !strings.Contains(err.Error(), "raretask sweep run") {
		t.Errorf("error %v; want the column, the run and the command", err)
	}
}

// Publishing keeps what is needed: some columns, all steps or the last; what is asked for later comes to it.
func TestPublish(t *testing.T) {
	store := &Store{Dir: t.TempDir(), Published: t.TempDir()}
	f := written(t, store)
	own := []string{id.Key()}
	elsewhere := &Store{Dir: t.TempDir(), Published: store.Published}
	for _, c := range []struct {
		columns, want []string
		final         bool
		steps         []int
	}{
		{[]string{"train_loss"}, []string{"train_loss"}, true, []int{10}},
		{[]string{"loss_sampled"}, []string{"train_loss", "loss_sampled"}, true, []int{10}},
		{[]string{"loss_sampled"}, []string{"train_loss", "loss_sampled"}, false, []int{0, 10}},
		{[]string{"loss_sampled"}, []string{"train_loss", "loss_sampled"}, true, []int{0, 10}},
	} {
		if err := Publish(f, store.Published, c.columns, c.final); err != nil {
			t.Fatal(err)
		}
		got, err := elsewhere.Find(f.Stack, own, everything)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, column := range got.Columns {
			names = append(names, column.Name)
		}
		if !slices.Equal(names, c.want) || !slices.Equal(got.Steps, c.steps) || got.Kept != nil || !slices.Equal(got.Diverged, []int{-1, 7}) {
			t.Errorf("published %v at %v, kept %v, diverged %v; want %v at %v", names, got.Steps, got.Kept, got.Diverged, c.want, c.steps)
		}
		runs := got.Runs()
		if err := runs.Need(Design{Vary: []string{"net.width"}, Columns: c.want, Final: true}); err != nil {
			t.Fatal(err)
		}
		if v := runs[1].Final("train_loss", 1); v != 1.25 {
			t.Errorf("final training loss %g; want 1.25", v)
		}
	}
	if found, err := store.Find(f.Stack, own, Want{}); err != nil || found.Path != f.Path {
		t.Errorf("Find = %v, %v; want one's own results first", found, err)
	}
	if err := Publish(f, store.Published, []string{"cosine"}, true); err == nil || !strings.Contains(err.Error(), "cosine") {
		t.Errorf("error %v on publishing what was not measured", err)
	}
}

// Published results have what notebooks draw: they count, whatever the backend, where nothing else is asked for.
func TestPublishedCounts(t *testing.T) {
	store := &Store{Dir: t.TempDir(), Published: t.TempDir()}
	f := written(t, &Store{Dir: t.TempDir()})
	if err := Publish(f, store.Published, []string{"train_loss"}, true); err != nil {
		t.Fatal(err)
	}
	often := slices.Clone(f.Stack)
	for i := range often {
		often[i].Train.Evaluations = 400
	}
	for name, c := range map[string]struct {
		stack spec.Stack
		want  Want
		found bool
	}{
		"as the notebook asks":       {f.Stack, everything, true},
		"a column by name":           {f.Stack, Want{Columns: everything.Columns, Named: true}, false},
		"a column by name, is there": {f.Stack, Want{Columns: []string{"train_loss"}, Steps: []int{10}, Named: true}, true},
		"weights by name":            {f.Stack, Want{Keep: []int{10}, Named: true}, false},
		"more evaluations":           {often, Want{Steps: []int{0, 5, 10}}, false},
	} {
		file, err := store.Find(c.stack, []string{"other"}, c.want)
		if (err == nil) != c.found || err != nil && !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v, %v; want it found: %t", name, file, err, c.found)
		}
	}
	// One's own that lack something come before published ones that do, too.
	own := written(t, store)
	var incomplete *IncompleteError
	if _, err := store.Find(f.Stack, []string{id.Key()}, Want{Columns: []string{"cosine"}, Named: true}); !errors.As(err, &incomplete) ||
		incomplete.File.Path != own.Path {
		t.Errorf("error %v; want one's own, incomplete", err)
	}
}

func TestTruncatedFile(t *testing.T) {
	store := &Store{Dir: t.TempDir()}
	f := written(t, store)
	whole, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{0, 3, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(f.Path, whole[:length], 0o644); err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if _, err := store.Find(f.Stack, []string{id.Key()}, Want{}); !errors.As(err, &damaged) || damaged.Path != f.Path {
			t.Errorf("a file cut to %d bytes: Find: %v", length, err)
		}
		if err := f.Runs().Load(f.Columns); !errors.As(err, &damaged) || !strings.Contains(err.Error(), "running the sweep again") {
			t.Errorf("a file cut to %d bytes: Load: %v", length, err)
		}
	}
	written(t, store)
	if _, err := store.Find(f.Stack, []string{id.Key()}, everything); err != nil {
		t.Errorf("writing again did not mend it: %v", err)
	}
}

// Of every mutant of a result file (200, or RARETASK_MUTATIONS) none passes: it is refused as damaged or holds the same. Nor does reading
// one panic or take much memory.
func TestMutants(t *testing.T) {
	store := &Store{Dir: t.TempDir()}
	f := written(t, store)
	whole, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	g, runs := example()
	g.Stack = slices.Clone(g.Stack)
	for i := range g.Stack {
		g.Stack[i].Train.Seed = 9
		runs[i].Run = g.Stack[i]
	}
	if g, err = store.Write(g, runs); err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(g.Path)
	if err != nil {
		t.Fatal(err)
	}
	column := bytes.Index(whole, []byte("train_loss"))
	named := slices.Clone(whole)
	named[column] ^= 1 // emptied the column before there were seals
	refused := func(name string, mutant []byte) {
		if err := os.WriteFile(f.Path, mutant, 0o644); err != nil {
			t.Fatal(err)
		}
		file, err := store.Find(f.Stack, []string{id.Key()}, everything)
		var damaged *DamagedError
		switch {
		case err == nil && bytes.Equal(mutant, whole):
			if err := file.Runs().Load(file.Columns); err != nil {
				t.Errorf("%s: %v for the whole file", name, err)
			}
		case !errors.As(err, &damaged):
			t.Errorf("%s: error %v; want it refused as damaged", name, err)
		}
		late := *f // looked up before it was damaged
		late.values = nil
		if err := late.Runs().Load(f.Columns); err == nil && !bytes.Equal(mutant, whole) {
			t.Errorf("%s: was read", name)
		}
	}
	refused("a bit in a column's name", named)
	var before, after runtime.MemStats
	for name, mutant := range damage.Mutants(damage.Count(200), whole, other) {
		runtime.ReadMemStats(&before)
		refused(name, mutant)
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
			t.Errorf("%s: took %d MB", name, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
}

// Files from before there were seals are recognised and never read; damage to them makes no trouble.
func TestFilesOfBefore(t *testing.T) {
	whole := fileOfBefore(t)
	path := filepath.Join(t.TempDir(), "old.parquet")
	read := func(data []byte) error {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := OpenFile(path)
		return err
	}
	var older *OlderError
	if err := read(whole); !errors.As(err, &older) || older.Path != path {
		t.Errorf("error %v; want one that says it is of another version", err)
	}
	var before, after runtime.MemStats
	for name, mutant := range damage.Mutants(damage.Count(200), whole, whole) {
		runtime.ReadMemStats(&before)
		var damaged *DamagedError
		if err := read(mutant); !errors.As(err, &older) && !errors.As(err, &damaged) {
			t.Errorf("%s: error %v; want older or damaged", name, err)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
			t.Errorf("%s: took %d MB", name, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
	store := &Store{Dir: t.TempDir()}
	none := func(string) bool { return false }
	f := written(t, store)
	if got := store.Older(none); got != "" {
		t.Errorf("%s counts as older", got)
	}
	if err := os.WriteFile(filepath.Join(store.Dir, "aged.parquet"), whole, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := store.Older(none); filepath.Base(got) != "aged.parquet" {
		t.Errorf("found %q; want the file of before", got)
	}
	if got := store.Older(func(hash string) bool { return hash == "aged" }); got != "" {
		t.Errorf("found %q though it is looked for", got)
	}
	data, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := read(resealed(t, data, []byte("format\x18\x01"+format), []byte("format\x18\x019"))); !errors.As(err, &older) {
		t.Errorf("error %v for a format to come; want one that says it is of another version", err)
	}
}

// fileOfBefore is a result file of the first format.
func fileOfBefore(t *testing.T) []byte {
	type row struct {
		Run     string   `parquet:"run,dict"`
		Width   int32    `parquet:"width,dict"`
		Step    int32    `parquet:"step,delta"`
		Task    int32    `parquet:"task,delta"`
		Sampled *float32 `parquet:"loss_sampled,optional"`
	}
	loss := float32(.25)
	var file bytes.Buffer
	err := parquet.Write(&file, []row{{"a", 8, 3, 1, &loss}, {"a", 8, 3, 2, nil}}, parquet.CreatedBy("raretask", "1", ""),
		parquet.KeyValueMetadata("stack", "0123456789abcdef"), parquet.KeyValueMetadata("spec", "[]"))
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// Results in another backend's or stack's place are refused.
func TestMisplacedFile(t *testing.T) {
	store := &Store{Dir: t.TempDir()}
	f := written(t, store)
	onGo := backend.Identity{Name: "go"}
	other := spec.Stack{small()}
	for _, c := range []struct {
		stack spec.Stack
		on    backend.Identity
	}{{f.Stack, onGo}, {other, id}} {
		path := store.Path(c.stack, c.on)
		data, err := os.ReadFile(f.Path)
		if err == nil {
			err = os.WriteFile(path, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if _, err := store.Find(c.stack, []string{c.on.Key()}, Want{}); !errors.As(err, &damaged) || damaged.Path != path ||
			!strings.Contains(err.Error(), f.Hash) || !strings.Contains(err.Error(), "xla:cpu") {
			t.Errorf("error %v; want which stack and backend it is of", err)
		}
	}
}

// What is no damage says what it is.
func TestNoFileInItsPlace(t *testing.T) {
	store := &Store{Dir: t.TempDir()}
	f, runs := example()
	path := store.Path(f.Stack, id)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := store.Find(f.Stack, []string{id.Key()}, Want{}); err == nil || errors.As(err, &damaged) || errors.Is(err, ErrMissing) ||
		!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("a folder in its place: %v", err)
	}
	if _, err := store.Write(f, runs); err == nil {
		t.Error("written over a folder")
	}
	if left, _ := os.ReadDir(store.UnfinishedDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestUnreadableFile(t *testing.T) {
	store := &Store{Dir: t.TempDir()}
	f := written(t, store)
	if err := os.Chmod(f.Path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(f.Path); err == nil {
		t.Skip("root may read every file")
	}
	var damaged *DamagedError
	if _, err := store.Find(f.Stack, []string{id.Key()}, Want{}); !errors.Is(err, fs.ErrPermission) || errors.As(err, &damaged) ||
		!strings.Contains(err.Error(), f.Path) {
		t.Errorf("error %v; want that the file may not be read", err)
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
	f, runs := example()
	if _, err := (&Store{Dir: filepath.Join(file, "runs")}).Write(f, runs); err == nil || !strings.Contains(err.Error(), "RARETASK_RESULTS") {
		t.Errorf("a file for a folder: %v; want what to do", err)
	}
}

// A file that another process has completed since it was looked up is not read as what it was.
func TestReplacedFile(t *testing.T) {
	store := &Store{Dir: t.TempDir()}
	old := written(t, store)
	f, runs := example()
	f.Steps = []int{0, 5, 10}
	for i, r := range runs {
		runs[i] = NewRun(r.Run, f.Steps, map[string][]float64{"train_loss": {1, 2, 3}, "loss_sampled": {1, 2, 3, 4, 5, 6}})
	}
	if _, err := store.Write(f, runs); err != nil {
		t.Fatal(err)
	}
	if err := old.Runs().Load(old.Columns); err == nil || !strings.Contains(err.Error(), "run it again") {
		t.Errorf("error %v; want that the file was replaced", err)
	}
}

// weights are some for every run of a stack.
func weights(stack spec.Stack, step int) train.Weights {
	w := train.Weights{Step: step}
	for i, run := range stack {
		w.Runs = append(w.Runs, net.Initial(run.New(), run.Net.Width, uint32(i+step)))
	}
	return w
}

func TestWeightsRoundTrip(t *testing.T) {
	store := &Store{Dir: t.TempDir()}
	f := written(t, store)
	want := weights(f.Stack, 10)
	if err := store.WriteWeights(f.Stack, id, want); err != nil {
		t.Fatal(err)
	}
	got, err := store.Weights(f, 10)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("weights came back as %v, %v", got, err)
	}
	if _, err := store.Weights(f, 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("weights of step 5: %v", err)
	}
	// In another step's, stack's or backend's place they are refused.
	path := store.weightsPath(f.Path, 10)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, elsewhere := *f, *f
	other.Stack, other.Hash = spec.Stack{small()}, spec.Stack{small()}.Hash()
	elsewhere.Backend = backend.Identity{Name: "go"}
	for name, c := range map[string]struct {
		file *File
		step int
	}{"step": {f, 5}, "stack": {&other, 10}, "backend": {&elsewhere, 10}} {
		c.file.Path = store.Path(c.file.Stack, c.file.Backend)
		if err := os.WriteFile(store.weightsPath(c.file.Path, c.step), data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Weights(c.file, c.step); err == nil || !strings.Contains(err.Error(), "want step") {
			t.Errorf("weights of another %s: %v", name, err)
		}
	}
}

// Of every mutant of a weight file none passes.
func TestWeightMutants(t *testing.T) {
	store := &Store{Dir: t.TempDir()}
	f := written(t, store)
	var files [2][]byte
	for i, step := range []int{5, 10} {
		if err := store.WriteWeights(f.Stack, id, weights(f.Stack, step)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(store.weightsPath(f.Path, step))
		if err != nil {
			t.Fatal(err)
		}
		files[i] = data
	}
	var before, after runtime.MemStats
	for name, mutant := range damage.Mutants(damage.Count(200), files[1], files[0]) {
		if err := os.WriteFile(store.weightsPath(f.Path, 10), mutant, 0o644); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&before)
		if _, err := store.Weights(f, 10); (err == nil) != bytes.Equal(mutant, files[1]) {
			t.Errorf("%s: error %v", name, err)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
			t.Errorf("%s: took %d MB", name, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
}

func TestRemoveWeights(t *testing.T) {
	store := &Store{Dir: filepath.Join(t.TempDir(), "[a] %")}
	if bytes, err := store.RemoveWeights([]spec.Stack{{small()}}); bytes != 0 || err != nil {
		t.Errorf("of nothing: %d, %v", bytes, err)
	}
	f := written(t, store)
	other := spec.Stack{small()}
	size := int64(0)
	for _, c := range []struct {
		stack spec.Stack
		step  int
	}{{f.Stack, 5}, {f.Stack, 10}, {other, 10}} {
		if err := store.WriteWeights(c.stack, id, weights(c.stack, c.step)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(store.weightsPath(store.Path(c.stack, id), c.step))
		if err != nil {
			t.Fatal(err)
		}
		if c.stack.Hash() == f.Hash {
			size += info.Size()
		}
	}
	if bytes, err := store.RemoveWeights([]spec.Stack{f.Stack}); bytes != size || err != nil {
		t.Errorf("removed %d bytes, %v; want %d", bytes, err, size)
	}
	left, err := os.ReadDir(filepath.Join(store.Dir, "weights"))
	if err != nil || len(left) != 1 || !strings.HasPrefix(left[0].Name(), other.Hash()) {
		t.Errorf("left %v, %v; want the other stack's", left, err)
	}
	if _, err := store.Find(f.Stack, []string{id.Key()}, everything); err != nil {
		t.Errorf("results went with the weights: %v", err)
	}
}

// resealed returns a file in which a text was replaced by another as long, with the seal that belongs to that.
func resealed(t *testing.T, file, old, new []byte) []byte {
	t.Helper()
	if len(old) != len(new) || bytes.Count(file, old) != 1 {
		t.Fatalf("%q is there %d times", old, bytes.Count(file, old))
	}
	changed := bytes.Replace(file, old, new, 1)
	return sealAgain(t, changed)
}

// A file whose rows or runs are not what it says is damaged, though its seal is whole.
func TestHeadMatchesRows(t *testing.T) {
	f := written(t, &Store{Dir: t.TempDir()})
	data, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{`"steps":[0,10]`, `"steps":[0123]`}, {`"steps":[0,10]`, `"steps":[ 10 ]`}, {`"diverged":[-1,7]`, `"diverged":[1234]`},
	} {
		if err := os.WriteFile(f.Path, resealed(t, data, []byte(c[0]), []byte(c[1])), 0o644); err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if _, err := OpenFile(f.Path); !errors.As(err, &damaged) {
			t.Errorf("%s: error %v", fmt.Sprint(c), err)
		}
	}
}

// sealAgain seals a sealed file that has been changed.
func sealAgain(t *testing.T, file []byte) []byte {
	t.Helper()
	marker := []byte(seal.Placeholder[:len(seal.Placeholder)-64])
	at := bytes.LastIndex(file, marker) + len(marker)
	copy(file[at:], seal.Placeholder[len(marker):])
	if err := seal.Seal(file); err != nil {
		t.Fatal(err)
	}
	return file
}

// edition is a family of content that everybody has in a version of their own.
type edition struct {
	tasks.RegressionSettings `yaml:",inline"`
}

var version = "first"

func (edition) Identity() (digest string, everybodys bool) { return version, true }

func init() {
	regression, _ := tasks.Named("regression")
	settings := regression.Defaults.(tasks.RegressionSettings)
	tasks.Register(tasks.Kind{Name: "edition", About: "regression", Engine: 1, Defaults: edition{settings}})
}

// Results of one's own are of one's own version of what everybody has; published ones are of any.
func TestPublishedOfAnyVersion(t *testing.T) {
	defer func(before string) { version = before }(version)
	published := t.TempDir()
	store := &Store{Dir: t.TempDir(), Published: published}
	f, runs := example()
	for i := range f.Stack {
		settings := f.Stack[i].Mixture.Settings.(tasks.RegressionSettings)
		f.Stack[i].Mixture.Family, f.Stack[i].Mixture.Settings = "edition", edition{settings}
		runs[i].Run = f.Stack[i]
	}
	f, err := store.Write(f, runs)
	if err != nil {
		t.Fatal(err)
	}
	own := []string{id.Key()}
	if _, err := store.Find(f.Stack, own, Want{}); err != nil {
		t.Fatal(err)
	}
	version = "second"
	if found, err := store.Find(f.Stack, own, Want{}); !errors.Is(err, ErrMissing) {
		t.Errorf("of another version, Find = %v, %v; want %v", found, err, ErrMissing)
	}
	version = "first"
	if err := Publish(f, published, []string{"train_loss"}, false); err != nil {
		t.Fatal(err)
	}
	version = "second"
	found, err := store.Find(f.Stack, own, Want{})
	if err != nil || filepath.Dir(found.Path) != published || found.Runs().Load(found.Columns) != nil {
		t.Errorf("of another version, published: Find = %v, %v; want the published results", found, err)
	}
}
