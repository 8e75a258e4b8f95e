package sweep

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

func parse(t *testing.T, text string) *spec.Sweep {
	t.Helper()
	s, err := spec.Parse("test.yaml", []byte(text), "quick")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// No preset needs the memory that a spec has when it doesn't say, so its stacks are what they would be without a limit.
func TestPresetsAreNotSplit(t *testing.T) {
	for _, name := range spec.Presets() {
		for _, scale := range spec.Scales {
			s, err := spec.Load(name, scale)
			if err != nil {
				t.Fatal(err)
			}
			stacks, err := Stacks(s)
			if err != nil {
				t.Fatal(err)
			}
			runs, err := s.Runs()
			if err != nil {
				t.Fatal(err)
			}
			if want := spec.Stacks(runs); !reflect.DeepEqual(stacks, want) {
				t.Errorf("%s, %s: %d stacks, want %d", name, scale, len(stacks), len(want))
			}
		}
	}
}

func TestMemorySplitsStacks(t *testing.T) {
	const text = "memory: %g\nmixture: {tasks: 4, dim: 64, block: 4}\ntrain: {batch: 64}\n" +
		"grid: {net.width: [4, 8, 16, 32], train.rate: [1e-3, 3e-3]}"
	whole, err := Stacks(parse(t, fmt.Sprintf(text, 1.)))
	if err != nil || len(whole) != 1 {
		t.Fatalf("%d stacks, %v; want 1", len(whole), err)
	}
	// Beside what stacks of any size take.
	least := gib(train.CostOf(whole[0][:1]).Memory)
	limit := least + (gib(train.CostOf(whole[0]).Memory)-least)*.6
	split, err := Stacks(parse(t, fmt.Sprintf(text, limit)))
	if err != nil || len(split) < 2 {
		t.Fatalf("%d stacks, %v; want several", len(split), err)
	}
	var runs spec.Stack
	for _, stack := range split {
		if takes := gib(train.CostOf(stack).Memory); takes > limit {
			t.Errorf("a stack takes %g GiB of %g", takes, limit)
		}
		runs = append(runs, stack...)
	}
	if !reflect.DeepEqual(runs, whole[0]) {
		t.Error("splitting lost or moved runs")
	}
	_, err = Stacks(parse(t, fmt.Sprintf(text, least/2)))
	if err == nil || !strings.Contains(err.Error(), "want memory:") {
		t.Errorf("error %v; want how much memory a run needs", err)
	}
	for _, bad := range []string{"0", "-1", "much", ".nan", ".inf"} {
		if _, err := spec.Parse("test.yaml", []byte("memory: "+bad), "quick"); err == nil || !strings.Contains(err.Error(), "memory") {
			t.Errorf("memory: %s: error %v", bad, err)
		}
	}
}

func TestWorkersFitMemory(t *testing.T) {
	for _, c := range []struct{ stack, machine, most, want int }{
		{1 << 30, 8 << 30, 2, 2}, {5 << 30, 8 << 30, 2, 1}, {5 << 30, 0, 2, 2}, {8 << 30, 8 << 30, 2, 1},
	} {
		if got, err := workersFor(c.stack, c.machine, c.most); got != c.want || err != nil {
			t.Errorf("workersFor(%d, %d, %d) = %d, %v; want %d", c.stack, c.machine, c.most, got, err, c.want)
		}
	}
	if _, err := workersFor(9<<30, 8<<30, 2); err == nil || !strings.Contains(err.Error(), "this machine has 8 GiB") {
		t.Errorf("error %v; want what the machine has", err)
	}
	if got := machineMemory(); got < 1<<28 || got > 1<<50 {
		t.Errorf("this machine has %d bytes", got)
	}
}

// However many stacks train at a time and however the machine's cores are divided among them, their files are the same.
func TestWorkersDontMatter(t *testing.T) { backendtest.Each(t, workersDontMatter) }

func workersDontMatter(t *testing.T, b *backend.Backend) {
	s := parse(t, "mixture: {tasks: 3, dim: 6, block: 2}\ntrain: {batch: 16, steps: 50, warmup: 10, evaluations: 5}\n"+
		"grid: {train.seed: [0, 1, 2], train.batch: [8, 16], net.width: [2, 3]}")
	files := map[string]string{}
	for workers := 1; workers <= 3; workers++ {
		store := &results.Store{Dir: t.TempDir()}
		plan, err := NewPlan(s, store, &b.Identity)
		if err != nil {
			t.Fatal(err)
		}
		var last Progress
		now, err := plan.Train(t.Context(), b, Options{Workers: workers, Progress: func(p Progress) {
			if p.DoneSteps < last.DoneSteps || p.DoneStacks < last.DoneStacks {
				t.Errorf("progress went back: %+v after %+v", p, last)
			}
			last = p
		}})
		if err != nil {
			t.Fatal(err)
		}
		if now.Trained != 6 || now.DoneStacks != 6 || now.DoneSteps != now.Steps || now.Steps != 12*50 {
			t.Errorf("%d workers: %+v", workers, now)
		}
		got := contents(t, store)
		if workers == 1 {
			files = got
		}
		if len(got) != 12 { // results and weights of each stack
			t.Errorf("%d workers: %d files", workers, len(got))
		}
		if different := differ(got, files); len(different) > 0 {
			t.Errorf("%d workers: %q differ from one worker's", workers, different)
		}
	}
}

func TestProgramsStayTogether(t *testing.T) {
	stacks, err := Stacks(parse(t, "grid: {train.seed: [0, 1, 2], train.batch: [64, 128]}"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := planOf(stacks, nil, false, nil, &results.Store{Dir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	changes := 0
	left := newWork(p, backend.Identity{}, Options{}).queue
	for i := range left[1:] {
		if stacks[left[i]].Program() != stacks[left[i+1]].Program() {
			changes++
		}
	}
	if changes != 1 {
		t.Errorf("the order %v changes program %d times, want 1", left, changes)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locks", "a")
	first, err := tryLock(path)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	if second, err := tryLock(path); err != nil || second != nil {
		t.Errorf("locked twice: %v, %v", second, err)
	}
	if err := os.Remove(path); err != nil { // by somebody else
		t.Fatal(err)
	}
	if err := first.release(); err != nil {
		t.Errorf("release without the file: %v", err)
	}
	if first, err = tryLock(path); err != nil || first == nil {
		t.Fatal(first, err)
	}
	if err := first.release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the lock's file is left")
	}
	again, err := tryLock(path)
	if err != nil || again == nil {
		t.Fatalf("not free after its release: %v", err)
	}
	if err := again.release(); err != nil {
		t.Error(err)
	}
}

func TestArray(t *testing.T) {
	for _, c := range []struct {
		done        []int
		stacks      int
		chunk, most int
		want        string
	}{
		{nil, 4, 1, 0, "0-3"}, {[]int{1}, 4, 1, 2, "0,2-3%2"}, {[]int{0, 1, 2}, 4, 1, 0, "3"}, {nil, 5, 2, 0, "0-2"},
		{[]int{2, 3}, 5, 2, 0, "0,2"},
	} {
		s := &Slurm{plan: &Plan{Stacks: make([]spec.Stack, c.stacks), Done: make([]*results.File, c.stacks)}}
		for _, i := range c.done {
			s.plan.Done[i] = new(results.File)
		}
		if got := s.array(c.chunk, c.most); got != c.want {
			t.Errorf("done %v of %d, chunk %d: %q, want %q", c.done, c.stacks, c.chunk, got, c.want)
		}
	}
}

// What a killed process was writing is removed: by whoever finishes the stack, and by the next sweep where the stack
// was already finished.
func TestLeftoversAreCleaned(t *testing.T) {
	b := backendtest.Go(t)
	store := &results.Store{Dir: t.TempDir()}
	s := parse(t, "mixture: {tasks: 2, dim: 4, block: 2}\nnet: {width: 2}\ntrain: {batch: 8, steps: 3, warmup: 1}")
	for _, when := range []string{"before the stack is finished", "after"} {
		plan, err := NewPlan(s, store, &b.Identity)
		if err != nil {
			t.Fatal(err)
		}
		base := store.Unfinished(plan.Stacks[0], b.Identity)
		dir := filepath.Dir(base)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		left := []string{store.Lock(plan.Stacks[0]), base + ".123.new", filepath.Join(dir, "."+filepath.Base(base)+stateEnding+".123.new")}
		if when == "after" {
			left = append(left, base+stateEnding)
		}
		for _, path := range left {
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := plan.Train(t.Context(), b, Options{}); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s: left behind: %v %v", when, entries, err)
		}
	}
}
