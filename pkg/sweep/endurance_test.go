package sweep

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/results"
	"raretask/pkg/seal/damage"
	"raretask/pkg/spec"
)

// racing says that the race detector is in: what is resident is its own for the most part.
var racing bool

// held is what a process holds.
type held struct{ heap, resident, files, goroutines int }

func holds(t *testing.T) held {
	t.Helper()
	runtime.GC() // which only queues finalizers
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("needs /proc: %v", err)
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return held{int(m.HeapAlloc), pages * os.Getpagesize(), len(files), runtime.NumGoroutine()}
}

// A process that trains stack after stack (60 on each backend, or RARETASK_STACKS), a program for every 20 of them or every thirtieth part,
// holds no more memory, descriptors and goroutines after the last than after the first third.
func TestManyStacks(t *testing.T) { backendtest.Each(t, manyStacks) }

func manyStacks(t *testing.T, b *backend.Backend) {
	n, err := strconv.Atoi(os.Getenv("RARETASK_STACKS"))
	if err != nil {
		n = 60
	}
	each := max(20, n/30)
	seeds := make([]int, each)
	for i := range seeds {
		seeds[i] = i
	}
	store := &results.Store{Dir: t.TempDir()}
	var early held
	for part := range n / each {
		if part == n/each/3 {
			early = holds(t)
		}
		s, err := parse(t, fmt.Sprintf("mixture: {tasks: 3, dim: 6, block: 2}\nnet: {width: 2}\n"+
			"train: {batch: 8, steps: 10, warmup: %d, evaluations: 3}", 1+part)).
			With(spec.Vary("train.seed", seeds...))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), s, b, store, nil); err != nil {
			t.Fatal(err)
		}
	}
	late := holds(t)
	t.Logf("after a third: %+v; after %d stacks: %+v", early, n, late)
	// Compiling leaves what compilers cache; a stack may keep some kilobytes of allocators' slack, but nothing of its size.
	if more := late.resident - early.resident; more > 32<<20+n*10<<10 && !racing {
		t.Errorf("%d MB more are resident", more>>20)
	}
	if more := late.heap - early.heap; more > 4<<20 {
		t.Errorf("Go's heap has grown by %d KB", more>>10)
	}
	if late.files > early.files+2 || late.goroutines > early.goroutines+2 {
		t.Errorf("%d descriptors and %d goroutines more", late.files-early.files, late.goroutines-early.goroutines)
	}
}

// Whatever happens to a result file between them, what a finished run says is done an export has, and what an export leaves out, or
// refuses, a run trains.
func TestRunAndExportAgree(t *testing.T) {
	b := backendtest.Go(t)
	s := parse(t, strings.Replace(tiny, "grid: {", "grid: {train.seed: [0, 1], ", 1))
	store := &results.Store{Dir: t.TempDir()}
	export := func(p *Plan) (string, error) {
		var table bytes.Buffer
		var files []*results.File
		for _, f := range p.Done {
			if f != nil {
				files = append(files, f)
			}
		}
		_, err := results.Export(&table, "x", false, false, files)
		return table.String(), err
	}
	finished, _, _ := run(t, b, store, s)
	want, err := export(finished)
	if err != nil {
		t.Fatal(err)
	}
	kept := contents(t, store)
	path, other := finished.Done[0].Path, finished.Done[1].Path
	whole := []byte(kept[filepath.Base(path)])
	i, count, tried := -1, damage.Count(200), 0
	for name, mutant := range damage.Mutants(count, whole, []byte(kept[filepath.Base(other)])) {
		if i++; !damage.Repaired(i, count) || bytes.Equal(mutant, whole) {
			continue
		}
		tried++
		before, err := NewPlan(s, store, &b.Identity)
		if err == nil {
			err = os.WriteFile(path, mutant, 0o644)
		}
		if err != nil || before.Missing() > 0 {
			t.Fatal(err, before)
		}
		if _, err := export(before); err == nil {
			t.Errorf("%s: exported", name)
		}
		later, err := NewPlan(s, store, &b.Identity) // as another process makes it
		if err != nil || later.Missing() != 1 {
			t.Fatalf("%s: %d stacks are missing, %v", name, later.Missing(), err)
		}
		if table, err := export(later); err != nil || strings.Count(table, "\n") != (strings.Count(want, "\n")+1)/2 {
			t.Errorf("%s: an export of the other stack: %d lines, %v", name, strings.Count(table, "\n"), err)
		}
		again, trained, _ := run(t, b, store, s)
		if table, err := export(again); err != nil || trained != 1 || table != want {
			t.Errorf("%s: trained %d; the same table: %t, %v", name, trained, table == want, err)
		}
	}
	t.Logf("%d files were damaged between a run and an export", tried)
}
