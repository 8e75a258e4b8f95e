package sweep

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/checkpoint"
	"raretask/pkg/results"
	"raretask/pkg/seal/damage"
	"raretask/pkg/spec"
)

// tiny is one stack of two runs.
const tiny = "mixture: {tasks: 3, dim: 6, block: 2}\ntrain: {batch: 8, steps: 60, warmup: 9, evaluations: 6}\ngrid: {net.width: [2, 3]}\n"

// contents returns the files of a store, results and weights, by name.
func contents(t *testing.T, store *results.Store) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, dir := range []string{store.Dir, filepath.Join(store.Dir, "weights")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			files[e.Name()] = string(text)
		}
	}
	return files
}

// differ returns the names of files that are not the same.
func differ(got, want map[string]string) []string {
	var names []string
	for name := range maps.Keys(want) {
		if got[name] != want[name] {
			names = append(names, name)
		}
	}
	for name := range maps.Keys(got) {
		if _, found := want[name]; !found {
			names = append(names, name)
		}
	}
	return names
}

// run trains what a sweep has no results of, and returns the plan, how many stacks it trained, and what it told people.
func run(t *testing.T, b *backend.Backend, store *results.Store, s *spec.Sweep) (p *Plan, trained int, told string) {
	t.Helper()
	var notices bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&notices, nil)))
	defer slog.SetDefault(before)
	p, err := NewPlan(s, store, &b.Identity)
	if err != nil {
		t.Fatal(err)
	}
	now, err := p.Train(t.Context(), b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Missing() != 0 || now.DoneStacks != len(p.Stacks) {
		t.Errorf("%d stacks are missing after training, %d done", p.Missing(), now.DoneStacks)
	}
	if left, _ := os.ReadDir(store.UnfinishedDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return p, now.Trained, notices.String()
}

// interrupt trains a stack halfway and returns the path of the state that is kept.
func interrupt(t *testing.T, b *backend.Backend, store *results.Store, s *spec.Sweep) (path string) {
	t.Helper()
	plan, err := NewPlan(s, store, &b.Identity)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	_, err = plan.Train(ctx, b, Options{Workers: 1, Checkpoint: time.Hour, Progress: func(p Progress) {
		if 2*p.DoneSteps >= p.Steps {
			stop()
		}
	}})
	path = store.Unfinished(plan.Stacks[0], b.Identity) + stateEnding
	if _, there := os.Stat(path); !errors.Is(err, context.Canceled) || there != nil {
		t.Fatalf("interrupted: %v; its state: %v", err, there)
	}
	return path
}

// An interrupted sweep ends in the bytes of one that nothing happened to: results and weights.
func TestResumes(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		s := parse(t, strings.Replace(tiny, "steps: 60", "steps: 60, injection: {task: 3, gap: 5}", 1)+"keep: [1, 20, 40, 60]")
		calm, store := &results.Store{Dir: t.TempDir()}, &results.Store{Dir: t.TempDir()}
		run(t, b, calm, s)
		want := contents(t, calm)
		if len(want) != 5 {
			t.Fatalf("%d files; want results and four of weights", len(want))
		}
		path := interrupt(t, b, store, s)
		if step := Kept(store, parseStack(t, s)); step < 30 || step >= 60 {
			t.Errorf("a state of step %d; want one halfway of 60", step)
		}
		if _, _, told := run(t, b, store, s); told != "" {
			t.Errorf("told %s", told)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the state is left")
		}
		if different := differ(contents(t, store), want); len(different) > 0 {
			t.Errorf("%q differ from an uninterrupted sweep's", different)
		}
	})
}

func parseStack(t *testing.T, s *spec.Sweep) spec.Stack {
	t.Helper()
	stacks, err := Stacks(s)
	if err != nil {
		t.Fatal(err)
	}
	return stacks[0]
}

// A state that can't be believed costs its training and one notice: it is never gone on from, nor does it take much memory.
func TestDamagedStates(t *testing.T) {
	b := backendtest.Go(t)
	s, other := parse(t, tiny), parse(t, strings.Replace(tiny, "[2, 3]", "[3, 4]", 1))
	store := &results.Store{Dir: t.TempDir()}
	run(t, b, store, s)
	want := contents(t, store)
	fresh := func() {
		for _, dir := range []string{store.Dir, filepath.Join(store.Dir, "weights")} {
			for name := range want {
				os.Remove(filepath.Join(dir, name))
			}
		}
	}
	fresh()
	path := interrupt(t, b, store, s)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	alien, err := os.ReadFile(interrupt(t, b, &results.Store{Dir: t.TempDir()}, other))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(s, store, &b.Identity)
	if err != nil {
		t.Fatal(err)
	}
	w := newWork(plan, b.Identity, Options{})
	place := func(state []byte) {
		if err := os.WriteFile(path, state, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	repaired := func(name string, state []byte, notices int) {
		fresh()
		place(state)
		_, trained, told := run(t, b, store, s)
		if n := strings.Count(told, "level=WARN"); trained != 1 || n != notices || n != strings.Count(told, "it starts again") {
			t.Errorf("%s: trained %d, told %d things, want %d: %s", name, trained, n, notices, told)
		}
		if different := differ(contents(t, store), want); len(different) > 0 {
			t.Errorf("%s: %q differ", name, different)
		}
	}
	count := damage.Count(200)
	var before, after runtime.MemStats
	i, tried := 0, 0
	for name, mutant := range damage.Mutants(count, whole, alien) {
		place(mutant)
		o, err := w.newObserver(0, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&before)
		state, err := o.load(path)
		if same := bytes.Equal(mutant, whole); (err == nil) != same || (state == nil) == same {
			t.Errorf("%s: error %v", name, err)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
			t.Errorf("%s: took %d MB", name, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
		if damage.Repaired(i, count) {
			tried++
			repaired(name, mutant, map[bool]int{false: 1}[bytes.Equal(mutant, whole)])
		}
		i++
	}
	t.Logf("%d states, of which %d were trained on from", count, tried)
	repaired("another stack's", alien, 1)
	repaired("none of a state", []byte("none"), 1)
	for name, change := range map[string]func(arrays []checkpoint.Array, metadata map[string]string){
		"step -5":                func(_ []checkpoint.Array, m map[string]string) { m["step"] = "-5" },
		"step 99999999":          func(_ []checkpoint.Array, m map[string]string) { m["step"] = "99999999" },
		"no step":                func(_ []checkpoint.Array, m map[string]string) { delete(m, "step") },
		"an earlier step":        func(_ []checkpoint.Array, m map[string]string) { m["step"] = "2" },
		"more evaluations seen":  func(_ []checkpoint.Array, m map[string]string) { m["seen"] = "7" },
		"another backend":        func(_ []checkpoint.Array, m map[string]string) { m["backend"] = "another" },
		"other questions":        func(_ []checkpoint.Array, m map[string]string) { m["asked"] = "another" },
		"step -5 in the array":   func(a []checkpoint.Array, _ map[string]string) { a[0].Data = []byte{0xfb, 0xff, 0xff, 0xff} },
		"a late step in it":      func(a []checkpoint.Array, _ map[string]string) { a[0].Data = []byte{0xff, 0xe0, 0xf5, 5} },
		"another array's name":   func(a []checkpoint.Array, _ map[string]string) { a[4].Name = "group9.encoder" },
		"an array of other dims": func(a []checkpoint.Array, _ map[string]string) { a[4].Dims = []int{len(a[4].Data) / 4} },
		"fewer numbers": func(a []checkpoint.Array, _ map[string]string) {
			m := &a[len(a)-2]
			m.Data, m.Dims = m.Data[8:], []int{m.Dims[0] - 1}
		},
	} {
		place(whole)
		arrays, metadata, err := checkpoint.ReadSealed(path)
		if err != nil {
			t.Fatal(err)
		}
		change(arrays, metadata)
		var state bytes.Buffer
		if err := checkpoint.WriteSealed(&state, arrays, metadata); err != nil {
			t.Fatal(err)
		}
		repaired(name, state.Bytes(), 1)
	}
}
