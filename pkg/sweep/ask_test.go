package sweep

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/results"
	"raretask/pkg/seal/damage"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// norm is the sum of the squares of a run's weights.
func norm(weights [][]float32) float64 {
	sum := 0.
	for _, w := range weights {
		for _, v := range w {
			sum += float64(v) * float64(v)
		}
	}
	return sum
}

func init() {
	train.Register(train.Metric{Name: "test_norm", Of: func(*backend.Backend, spec.Run) (*train.Gauge, error) {
		return &train.Gauge{Columns: []train.Column{{Name: "norm", About: "sum of squares of the weights"}},
			Host: func(s train.RunState) ([][]float64, error) { return [][]float64{{norm(s.Weights)}}, nil }}, nil
	}})
	// Two that are measured in the graph, each a number of its own.
	for name, number := range map[string]float64{"test_one": 1, "test_two": 2} {
		train.Register(train.Metric{Name: name, Of: func(_ *backend.Backend, run spec.Run) (*train.Gauge, error) {
			return &train.Gauge{Columns: []train.Column{{Name: name, About: "a number"}}, Graph: func(p train.Piece) []*Node {
				runs := shapes.Make(dtypes.Float32, p.Weights[0].Shape().Dimensions[0])
				return []*Node{AddScalar(Zeros(p.Weights[0].Graph(), runs), number)}
			}}, nil
		}})
	}
}

// values returns a column of every run at every step.
func values(t *testing.T, p *Plan, column string) [][]float64 {
	t.Helper()
	var all [][]float64
	runs := p.Results()
	if err := runs.Load([]train.Column{{Name: column}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		all = append(all, r.Series(column, 1))
	}
	return all
}

func columnNames(f *results.File) []string {
	var names []string
	for _, c := range f.Columns {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

// What a spec's metrics and keep ask for is what there is, whether the sweep runs here or as a task of Slurm's.
func TestMetricsAndKeep(t *testing.T) {
	t.Setenv("GOMLX_BACKEND", "go")
	b := backendtest.Go(t)
	s := parse(t, tiny+"metrics: [test_two, test_one]\nkeep: [5, 60]")
	here := &results.Store{Dir: t.TempDir()}
	plan, trained, _ := run(t, b, here, s)
	file := plan.Done[0]
	if trained != 1 || !slices.Equal(columnNames(file), []string{"test_one", "test_two"}) || !slices.Equal(file.Kept, []int{5, 60}) ||
		!slices.Equal(file.Metrics, []string{"test_one", "test_two"}) {
		t.Errorf("trained %d: columns %v, weights of %v", trained, columnNames(file), file.Kept)
	}
	for column, want := range map[string]float64{"test_one": 1, "test_two": 2} {
		for _, series := range values(t, plan, column) {
			if slices.ContainsFunc(series, func(v float64) bool { return v != want }) {
				t.Errorf("%s is %v", column, series)
			}
		}
	}
	pretend(t, map[string]string{"sbatch": "echo 7\n", "squeue": "\n"})
	store := &results.Store{Dir: filepath.Join(t.TempDir(), `50% [a] "b"`, "runs")}
	remote, err := NewPlan(s, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	slurm, err := OpenSlurm(store, remote)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := slurm.Submit(t.Context(), "test", SlurmOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SLURM_ARRAY_TASK_ID", "0")
	if err := RunTask(t.Context(), slurm.Dir(), store, nil); err != nil {
		t.Fatal(err)
	}
	if different := differ(contents(t, store), contents(t, here)); len(different) > 0 {
		t.Errorf("%q differ from those of this machine", different)
	}
	if err := remote.look(); err != nil || remote.Missing() != 0 {
		t.Errorf("the plan doesn't see them: %d missing, %v", remote.Missing(), err)
	}
	// No weights, and no metrics, can be asked for, too.
	none, trained, _ := run(t, b, &results.Store{Dir: t.TempDir()}, parse(t, tiny+"metrics: []\nkeep: []"))
	if trained != 1 || len(none.Done[0].Columns) > 0 || len(none.Done[0].Kept) > 0 {
		t.Errorf("asked for nothing: columns %v, weights of %v", none.Done[0].Columns, none.Done[0].Kept)
	}
}

// A metric that is asked for later is measured of the weights that were kept, without training; without them its runs are trained again,
// with a notice, and the results are then those of a sweep that had asked for it from the start.
func TestMetricLater(t *testing.T) {
	b := backendtest.Go(t)
	before, later := parse(t, tiny), parse(t, tiny+"metrics: [test_norm, test_one]")
	store := &results.Store{Dir: t.TempDir()}
	first, _, _ := run(t, b, store, before)
	losses := values(t, first, "loss")
	p, trained, told := run(t, b, store, later)
	if trained != 0 || !strings.Contains(told, "without training") || strings.Contains(told, "WARN") {
		t.Errorf("trained %d: %s; want it measured of kept weights", trained, told)
	}
	weights, err := store.Weights(p.Done[0], 60)
	if err != nil {
		t.Fatal(err)
	}
	for i, series := range values(t, p, "norm") {
		for s, v := range series {
			if last := s == len(series)-1; last && v != float64(float32(norm(weights.Runs[i]))) || !last && !math.IsNaN(v) {
				t.Errorf("run %d: norm %v; want %g at the end alone", i, series, norm(weights.Runs[i]))
			}
		}
	}
	later60 := p.Results()
	design := results.Design{Vary: []string{"net.width"}, Columns: []string{"norm"}}
	if err := later60.Need(design); err == nil || !strings.Contains(err.Error(), "after its last step alone") {
		t.Errorf("error %v of an analysis of all steps; want that it is known at the last alone", err)
	}
	if design.Final = true; later60.Need(design) != nil {
		t.Errorf("error %v of an analysis of the last step", later60.Need(design))
	}
	if one := values(t, p, "test_one"); one[1][len(one[1])-1] != 1 {
		t.Errorf("measured in the graph: %v", one)
	}
	for i, series := range values(t, p, "loss") {
		if !slices.Equal(series, losses[i]) {
			t.Errorf("run %d: losses %v, were %v", i, series, losses[i])
		}
	}
	// Both sweeps are done, and stay so.
	for i := range 4 {
		if _, trained, told := run(t, b, store, []*spec.Sweep{before, later}[i%2]); trained != 0 || told != "" {
			t.Errorf("trained %d: %s", trained, told)
		}
	}
	if _, err := store.RemoveWeights(p.Stacks); err != nil {
		t.Fatal(err)
	}
	if _, trained, told := run(t, b, store, before); trained != 0 || told != "" {
		t.Errorf("without weights that nobody asked for: trained %d, %s", trained, told)
	}
	p, trained, told = run(t, b, store, parse(t, tiny+"metrics: [test_two]"))
	if trained != 1 || !strings.Contains(told, "trained again") || !strings.Contains(told, p.Done[0].Path) {
		t.Errorf("without weights: trained %d, %s; want a notice", trained, told)
	}
	all := &results.Store{Dir: t.TempDir()}
	run(t, b, all, parse(t, tiny+"metrics: [domains, exact, injection, instances, loss_sampled, test_norm, test_one, test_two, train_loss]"))
	if different := differ(contents(t, store), contents(t, all)); len(different) > 0 {
		t.Errorf("%q differ from a sweep's that asked for all", different)
	}
}

// Weights that are damaged, not those of the end, or another backend's are not measured.
func TestMetricOfNoWeights(t *testing.T) {
	b := backendtest.Go(t)
	later := parse(t, tiny+"metrics: [test_norm]")
	fresh := &results.Store{Dir: t.TempDir()}
	p, _, _ := run(t, b, fresh, later)
	want := values(t, p, "norm")
	again := func(name string, store *results.Store) {
		p, trained, told := run(t, b, store, later)
		if trained != 1 || !strings.Contains(told, "trained again") {
			t.Errorf("%s: trained %d, %s", name, trained, told)
		}
		for i, series := range values(t, p, "norm") {
			if !slices.Equal(series, want[i]) {
				t.Errorf("%s: norm %v; want %v", name, series, want[i])
			}
		}
	}
	store := &results.Store{Dir: t.TempDir()}
	run(t, b, store, parse(t, tiny+"keep: [12]"))
	again("weights of step 12", store)

	store = &results.Store{Dir: t.TempDir()}
	run(t, b, store, parse(t, tiny+"metrics: [domains, exact, injection, instances, loss_sampled, test_norm, train_loss]"))
	together := contents(t, store)
	store = &results.Store{Dir: t.TempDir()}
	base := contentsAfter(t, b, store)
	kept := slices.DeleteFunc(names(base), func(name string) bool { return strings.HasSuffix(name, ".parquet") })
	path := filepath.Join(store.Dir, "weights", kept[0])
	whole := []byte(base[filepath.Base(path)])
	i, count, tried := -1, damage.Count(200), 0
	for name, mutant := range damage.Mutants(count, whole, whole) {
		if i++; !damage.Repaired(i, count) || bytes.Equal(mutant, whole) {
			continue
		}
		tried++
		for file, text := range base {
			dir := map[bool]string{true: "weights"}[strings.HasSuffix(file, ".safetensors")]
			if err := os.WriteFile(filepath.Join(store.Dir, dir, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, mutant, 0o644); err != nil {
			t.Fatal(err)
		}
		again(name, store)
		if different := differ(contents(t, store), together); len(different) > 0 {
			t.Errorf("%s: %q differ", name, different)
		}
	}
	t.Logf("%d damaged weight files, of which a metric was asked", tried)

	// Tasks of Slurm's take results of whatever backend, but measure weights of their own alone.
	store = &results.Store{Dir: t.TempDir()}
	old, _, _ := run(t, b, store, parse(t, tiny))
	file := *old.Done[0]
	runs := file.Runs()
	if err := runs.Load(file.Columns); err != nil {
		t.Fatal(err)
	}
	weights, err := store.Weights(&file, 60)
	if err == nil {
		err = os.Remove(file.Path)
	}
	if err != nil {
		t.Fatal(err)
	}
	file.Backend = backend.Identity{Name: "another"}
	if _, err := store.Write(&file, runs); err != nil {
		t.Fatal(err)
	}
	if err := store.WriteWeights(file.Stack, file.Backend, weights); err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(later, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	if now, err := plan.Train(t.Context(), b, Options{}); err != nil || now.Trained != 1 || plan.Done[0].Backend != b.Identity {
		t.Errorf("of another backend's: trained %d, %v", now.Trained, err)
	}
}

func names(files map[string]string) []string {
	var all []string
	for name := range files {
		all = append(all, name)
	}
	return all
}

func contentsAfter(t *testing.T, b *backend.Backend, store *results.Store) map[string]string {
	t.Helper()
	run(t, b, store, parse(t, tiny))
	return contents(t, store)
}

// What is of the training, as its loss is, weights don't tell; of a run that has diverged they tell no more than it had.
func TestWeightsDontTellAll(t *testing.T) {
	b := backendtest.Go(t)
	store := &results.Store{Dir: t.TempDir()}
	run(t, b, store, parse(t, tiny+"metrics: [loss_sampled]"))
	p, trained, told := run(t, b, store, parse(t, tiny+"metrics: [train_loss]"))
	if trained != 1 || !strings.Contains(told, "trained again") {
		t.Errorf("training losses of weights: trained %d, %s", trained, told)
	}
	for _, series := range values(t, p, "train_loss") {
		if !(series[len(series)-1] > 0) {
			t.Errorf("training losses %v", series)
		}
	}
	const wild = "mixture: {tasks: 3, dim: 6, block: 2}\nnet: {width: 2}\n" +
		"train: {batch: 8, steps: 60, warmup: 1, evaluations: 6, optimizer: sgd, decay: 0, clip: 0}\ngrid: {train.rate: [1e-3, 1e9]}\n"
	store = &results.Store{Dir: t.TempDir()}
	run(t, b, store, parse(t, wild+"metrics: [loss_sampled]"))
	p, trained, _ = run(t, b, store, parse(t, wild+"metrics: [exact]"))
	last := func(i int) float64 { return slices.Clone(values(t, p, "encoder_loss"))[i][len(p.Done[0].Steps)-1] }
	if trained != 0 || p.Done[0].Diverged[0] >= 0 || p.Done[0].Diverged[1] < 0 || !(last(0) > 0) || !math.IsNaN(last(1)) {
		t.Errorf("trained %d; diverged %v; losses %g and %g: want the second run to have none", trained, p.Done[0].Diverged, last(0), last(1))
	}
}

// Specs that ask the same runs other questions share one file, which holds what any of them asked: none takes from another.
func TestSpecsShareAFile(t *testing.T) {
	b := backendtest.Go(t)
	seldom, often := parse(t, tiny+"metrics: [test_norm]"), parse(t, strings.Replace(tiny, "evaluations: 6", "evaluations: 9", 1)+"keep: [7]")
	store := &results.Store{Dir: t.TempDir()}
	total := 0
	for i := range 6 {
		p, trained, _ := run(t, b, store, []*spec.Sweep{seldom, often}[i%2])
		total += trained
		for _, step := range train.Steps(p.Stacks[0][0].Train) {
			if !slices.Contains(p.Done[0].Steps, step) {
				t.Errorf("not known at step %d: %v", step, p.Done[0].Steps)
			}
		}
	}
	if total != 2 {
		t.Errorf("trained %d times; want once for each spec", total)
	}
	p, _, _ := run(t, b, store, seldom)
	if got := columnNames(p.Done[0]); !slices.Contains(got, "norm") || !slices.Contains(got, "residual") ||
		!slices.Equal(p.Done[0].Kept, []int{7, 60}) {
		t.Errorf("columns %v, weights of %v", got, p.Done[0].Kept)
	}
	if files := contents(t, store); len(files) != 3 {
		t.Errorf("%d files; want results and two of weights", len(files))
	}
	// The training loss at a step doesn't depend on how often a run is looked at.
	alone, _, _ := run(t, b, &results.Store{Dir: t.TempDir()}, parse(t, tiny))
	for i, r := range alone.Results() {
		together := p.Results()[i]
		for _, x := range []*results.Run{r, together} {
			if err := (results.Runs{x}).Load([]train.Column{{Name: "train_loss"}}); err != nil {
				t.Fatal(err)
			}
		}
		for s, step := range r.Steps {
			at, found := together.Index(step)
			if a, b := r.Value("train_loss", s, 1), together.Value("train_loss", at, 1); !found || a != b && !(math.IsNaN(a) && math.IsNaN(b)) {
				t.Errorf("step %d: training loss %g, %g together with others", step, a, b)
			}
		}
	}
}

// What is known often is known just before and after every injection, at all steps at which any of two specs looks at the runs.
func TestGlances(t *testing.T) {
	b := backendtest.Go(t)
	injected := strings.Replace(tiny, "steps: 60", "steps: 60, injection: {task: 3, gap: 5}", 1)
	store := &results.Store{Dir: t.TempDir()}
	without, trained, _ := run(t, b, store, parse(t, injected+"metrics: [exact]"))
	if trained != 1 || len(without.Done[0].Glances) > 0 {
		t.Errorf("trained %d; glances at %v though nothing is known there", trained, without.Done[0].Glances)
	}
	_, trained, told := run(t, b, store, parse(t, injected))
	if trained != 1 || !strings.Contains(told, "trained again") {
		t.Errorf("trained %d, %s; the end's weights don't tell of injections", trained, told)
	}
	p, trained, _ := run(t, b, store, parse(t, strings.Replace(injected, "evaluations: 6", "evaluations: 12", 1)))
	if trained != 1 {
		t.Error("more evaluations were not trained")
	}
	for range 2 {
		again, trained, _ := run(t, b, store, parse(t, injected))
		if trained != 0 || len(again.Done[0].Glances) == 0 {
			t.Errorf("trained %d; glances at %v", trained, again.Done[0].Glances)
		}
	}
	runs := p.Results()
	design := results.Design{Vary: []string{"net.width"},
		Columns: []string{"injected_signal", "common_signal", "injected_cosine", "signal_normalized", "encoder_loss"}}
	if err := runs.Need(design); err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		steps, values := r.Often("injected_signal")
		for step := 4; step <= 60; step++ {
			at, known := slices.BinarySearch(steps, step)
			if injection := step%5 == 0 || step%5 == 4; injection && (!known || math.IsNaN(values[at])) {
				t.Errorf("width %d: nothing is known at step %d: %v", r.Net.Width, step, steps)
			}
		}
		for i, step := range r.Steps {
			at, known := slices.BinarySearch(steps, step)
			if want := r.Value("signal_normalized", i, 3); !known || values[at] != want {
				t.Errorf("width %d, step %d: signal %g, want %g", r.Net.Width, step, values[at], want)
			}
		}
		if _, common := r.Often("common_signal"); len(common) != len(steps) {
			t.Errorf("%d common signals at %d steps", len(common), len(steps))
		}
		if own, _ := r.Often("encoder_loss"); !slices.Equal(own, r.Steps) {
			t.Errorf("a column that isn't known often: steps %v, want %v", own, r.Steps)
		}
	}
}

// Results that are found late to be damaged are an error that says what to do, and doing that repairs them.
func TestDamagedLate(t *testing.T) {
	b := backendtest.Go(t)
	s := parse(t, tiny)
	store := &results.Store{Dir: t.TempDir()}
	want := contentsAfter(t, b, store)
	path := store.Path(parseStack(t, s), b.Identity)
	whole := []byte(want[filepath.Base(path)])
	i, count, tried := -1, damage.Count(200), 0
	for name, mutant := range damage.Mutants(count, whole, whole) {
		if i++; !damage.Repaired(i, count) || bytes.Equal(mutant, whole) {
			continue
		}
		tried++
		p, err := NewPlan(s, store, &b.Identity)
		if err != nil || p.Missing() > 0 {
			t.Fatalf("%s: %d missing, %v", name, p.Missing(), err)
		}
		if err := os.WriteFile(path, mutant, 0o644); err != nil {
			t.Fatal(err)
		}
		var damaged *results.DamagedError
		if _, err := results.Export(new(bytes.Buffer), "x", false, false, p.Done); !errors.As(err, &damaged) ||
			!strings.Contains(err.Error(), "running the sweep again") {
			t.Errorf("%s: %v on export; want what to do", name, err)
		}
		if _, trained, told := run(t, b, store, s); trained != 1 || !strings.Contains(told, filepath.Base(path)) {
			t.Errorf("%s: trained %d, %s", name, trained, told)
		}
		if different := differ(contents(t, store), want); len(different) > 0 {
			t.Errorf("%s: %q differ", name, different)
		}
	}
	t.Logf("%d damaged result files were replaced", tried)
}

// Weights that a spec names are replaced where they are damaged.
func TestDamagedWeights(t *testing.T) {
	b := backendtest.Go(t)
	s := parse(t, tiny+"keep: [9, 60]")
	store := &results.Store{Dir: t.TempDir()}
	p, _, _ := run(t, b, store, s)
	want := contents(t, store)
	name := func(step string) string {
		return strings.TrimSuffix(filepath.Base(p.Done[0].Path), ".parquet") + "-" + step + ".safetensors"
	}
	path, whole, other := filepath.Join(store.Dir, "weights", name("9")), []byte(want[name("9")]), []byte(want[name("60")])
	i, count, tried := -1, damage.Count(200), 0
	for name, mutant := range damage.Mutants(count, whole, other) {
		if i++; !damage.Repaired(i, count) || bytes.Equal(mutant, whole) {
			continue
		}
		tried++
		if err := os.WriteFile(path, mutant, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Weights(p.Done[0], 9); err == nil || !bytes.Equal(mutant, other) && !strings.Contains(err.Error(), "keep: [9]") {
			t.Errorf("%s: error %v; want what to do", name, err)
		}
		if _, trained, told := run(t, b, store, s); trained != 1 || !strings.Contains(told, "trained again") {
			t.Errorf("%s: trained %d, %s", name, trained, told)
		}
		if different := differ(contents(t, store), want); len(different) > 0 {
			t.Errorf("%s: %q differ", name, different)
		}
	}
	t.Logf("%d damaged weight files were replaced", tried)
}

// Names of folders mean nothing: states are found and removed, results seen.
func TestFolderNames(t *testing.T) {
	b := backendtest.Go(t)
	s := parse(t, tiny)
	want := contentsAfter(t, b, &results.Store{Dir: t.TempDir()})
	for _, name := range []string{"a [b", `c\d`, "100%j", "*?", "e f"} {
		store := &results.Store{Dir: filepath.Join(t.TempDir(), name)}
		interrupt(t, b, store, s)
		if Kept(store, parseStack(t, s)) == 0 {
			t.Errorf("%s: the state is not seen", name)
		}
		run(t, b, store, s)
		if different := differ(contents(t, store), want); len(different) > 0 {
			t.Errorf("%s: %q differ", name, different)
		}
		if anywhere, err := NewPlan(s, store, nil); err != nil || anywhere.Missing() != 0 {
			t.Errorf("%s: results are not seen, %v", name, err)
		}
	}
}

// Locks and states that somebody removes while they are in use do no harm.
func TestRemovedFiles(t *testing.T) {
	b := backendtest.Go(t)
	s := parse(t, tiny)
	want := contentsAfter(t, b, &results.Store{Dir: t.TempDir()})
	store := &results.Store{Dir: t.TempDir()}
	p, err := NewPlan(s, store, &b.Identity)
	if err != nil {
		t.Fatal(err)
	}
	removed := 0
	_, err = p.Train(t.Context(), b, Options{Checkpoint: time.Nanosecond, Progress: func(Progress) {
		entries, _ := os.ReadDir(store.UnfinishedDir())
		for _, e := range entries {
			if os.Remove(filepath.Join(store.UnfinishedDir(), e.Name())) == nil {
				removed++
			}
		}
	}})
	if err != nil || removed < 2 {
		t.Errorf("removed %d files: %v", removed, err)
	}
	if different := differ(contents(t, store), want); len(different) > 0 {
		t.Errorf("%q differ", different)
	}
}

var failing struct {
	sync.Mutex
	ahead chan struct{} // closed when the run of seed 0 has been measured twice
	seen  int
}

func init() {
	train.Register(train.Metric{Name: "test_failing", Of: func(_ *backend.Backend, run spec.Run) (*train.Gauge, error) {
		return &train.Gauge{Columns: []train.Column{{Name: "failing", About: "nothing"}}, Host: func(train.RunState) ([][]float64, error) {
			if run.Train.Seed > 0 {
				<-failing.ahead
				if run.Train.Seed == 2 {
					panic("over a pencil")
				}
				return nil, errors.New("out of paper")
			}
			failing.Lock()
			defer failing.Unlock()
			if failing.seen++; failing.seen == 2 {
				close(failing.ahead)
			}
			return [][]float64{{0}}, nil
		}}, nil
	}})
}

// The first error, be it a panic, ends a sweep; the other stacks stop and keep their state.
func TestFirstErrorStopsOthers(t *testing.T) {
	firstErrorStopsOthers(t, "1", "seed 1", "out of paper")
	firstErrorStopsOthers(t, "2", "over a pencil", "please report it", "ask_test.go")
}

func firstErrorStopsOthers(t *testing.T, seed string, want ...string) {
	failing.ahead, failing.seen = make(chan struct{}), 0
	b := backendtest.Go(t)
	s := parse(t, "metrics: [test_failing]\nmixture: {tasks: 3, dim: 6, block: 2}\nnet: {width: 2}\n"+
		"train: {batch: 8, steps: 10000000, warmup: 9, evaluations: 40}\ngrid: {train.seed: [0, "+seed+"]}")
	store := &results.Store{Dir: t.TempDir()}
	p, err := NewPlan(s, store, &b.Identity)
	if err != nil {
		t.Fatal(err)
	}
	now, err := p.Train(t.Context(), b, Options{Workers: 2, Checkpoint: time.Hour})
	if err == nil || now.DoneStacks != 0 {
		t.Fatalf("error %v, %d stacks done", err, now.DoneStacks)
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %v; want %q", err, text)
		}
	}
	for i, stack := range p.Stacks {
		if kept := Kept(store, stack); (kept > 0) != (i == 0) {
			t.Errorf("stack %d: a state of step %d; want one of stack 0 alone", i, kept)
		}
	}
}

// BenchmarkPlan (write its files to memory: TMPDIR=/dev/shm) plans 6,000 runs in 600 stacks, and in 6,000, that are all done: here, and
// for Slurm, where results of whatever backend count.
func BenchmarkPlan(b *testing.B) {
	on := backendtest.Go(b)
	for name, widths := range map[string]int{"600": 10, "6000": 1} {
		s := parseGrid(b, widths, 6000/widths)
		store := &results.Store{Dir: b.TempDir()}
		p, err := NewPlan(s, store, &on.Identity)
		if err != nil {
			b.Fatal(err)
		}
		w := newWork(p, on.Identity, Options{})
		for i := range p.Stacks {
			o, err := w.newObserver(i, on, nil)
			if err == nil {
				_, err = store.Write(o.file(on.Identity), o.runs())
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		for where, id := range map[string]*backend.Identity{"here": &on.Identity, "Slurm": nil} {
			b.Run(name+" stacks/"+where, func(b *testing.B) {
				for b.Loop() {
					p, err := NewPlan(s, store, id)
					if err != nil || p.Missing() > 0 {
						b.Fatalf("%d missing, %v", p.Missing(), err)
					}
					p.Cost()
				}
			})
		}
	}
}

func parseGrid(b *testing.B, widths, seeds int) *spec.Sweep {
	list := func(first, n int) string {
		var all []string
		for i := range n {
			all = append(all, strconv.Itoa(first+i))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	s, err := spec.Parse("plan.yaml", []byte("grid: {net.width: "+list(2, widths)+", train.seed: "+list(0, seeds)+"}"), "quick")
	if err != nil {
		b.Fatal(err)
	}
	return s
}
