package main

import (
	"bytes"
	"encoding/csv"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/results"
)

// small is twelve runs in six stacks, a second or two of work.
const small = `
mixture: {tasks: 3, dim: 6, block: 2}
train: {batch: 16, steps: 200, warmup: 50, evaluations: 12}
grid: {net.width: [2, 3], train.seed: [0, 1, 2, 3, 4, 5]}
`

// onGo makes a test independent of the plugin, and quick.
const onGo = "GOMLX_BACKEND=go"

// place is the environment of a sweep with an empty folder of results.
func place(t *testing.T, settings ...string) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	return dir, append(settings, "RARETASK_RESULTS="+dir)
}

// table returns the whole table of a spec as Parquet.
func table(t *testing.T, env []string, spec string, more ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "table.parquet")
	args := append([]string{"sweep", "export", spec, "--out", out}, more...)
	if status, _, stderr := execute(t, env, args...); status != 0 || strings.Contains(stderr, "left out") {
		t.Fatalf("export: exit %d: %s", status, stderr)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// once checks that a table has a row for each (run, step, task) and the number of runs wanted.
func once(t *testing.T, file []byte, runs int) {
	t.Helper()
	rows, err := parquet.Read[results.Row](bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	type key struct {
		run        string
		step, task int32
	}
	seen, different := map[key]bool{}, map[string]bool{}
	for _, row := range rows {
		k := key{row.Run, row.Step, row.Task}
		if seen[k] {
			t.Errorf("%v is there twice", k)
		}
		seen[k], different[row.Run] = true, true
	}
	if len(different) != runs {
		t.Errorf("%d runs, want %d", len(different), runs)
	}
}

func runSweep(t *testing.T, env []string, spec string, more ...string) ran {
	t.Helper()
	var r ran
	executeJSON(t, env, &r, append([]string{"sweep", "run", spec}, more...)...)
	return r
}

func TestSweepFromPlanToTable(t *testing.T) {
	dir, env := place(t, onGo)
	spec := write(t, "small.yaml", small)
	var p planned
	executeJSON(t, env, &p, "sweep", "plan", spec)
	// 6 FLOPs for each sample and weight used, N (D + d_T) of them.
	const want = 6. * 16 * 200 * 6 * (2 + 3) * (6 + 2)
	if p.Runs != 12 || p.Stacks != 6 || p.Done != 0 || p.Programs != 1 || p.FLOPs != want || !(p.Seconds > 0) {
		t.Errorf("plan %+v; want 12 runs in 6 stacks, %g FLOPs", p, want)
	}
	if r := runSweep(t, env, spec); r.Trained != 6 || r.Done != 12 {
		t.Errorf("trained %+v, want 6 stacks", r)
	}
	executeJSON(t, env, &p, "sweep", "plan", spec)
	if p.Done != 12 || p.DoneStacks != 6 || p.FLOPs != 0 || p.Seconds != 0 {
		t.Errorf("plan of what is done: %+v", p)
	}
	if r := runSweep(t, env, spec); r.Trained != 0 {
		t.Errorf("a finished sweep trained %d stacks", r.Trained)
	}
	var now state
	executeJSON(t, env, &now, "sweep", "status", spec)
	if now.Done != 12 || len(now.States) != 6 || now.States[0].State != "done" {
		t.Errorf("status %+v", now)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "runs", "unfinished", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	once(t, table(t, env, spec), 12)
}

func TestExportsAgree(t *testing.T) {
	_, env := place(t, onGo)
	spec := write(t, "small.yaml", small)
	if status, _, stderr := execute(t, env, "sweep", "export", spec); status != 1 || !strings.Contains(stderr, "sweep run") {
		t.Errorf("export of nothing: exit %d, %s", status, stderr)
	}
	runSweep(t, env, spec)
	rows, err := parquet.Read[results.Row](bytes.NewReader(table(t, env, spec)), int64(len(table(t, env, spec))))
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := execute(t, env, "sweep", "export", spec)
	if status != 0 {
		t.Fatal(stderr)
	}
	lines, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil || len(lines) != len(rows)+1 {
		t.Fatalf("%d lines of CSV for %d rows: %v", len(lines), len(rows), err)
	}
	if !slices.Equal(lines[0], results.ColumnNames()) || lines[1][0] != rows[0].Run {
		t.Errorf("CSV begins %q", lines[:2])
	}
	for _, args := range [][]string{{"export", spec, "--out", "x.xlsx"}, {"export", spec, "--json"}, {"run", spec, "--gpus", "1"},
		{"run", spec, "--executor", "cloud"}, {"run", spec, "--checkpoint", "0s"}, {"run"}} {
		if status, _, stderr := execute(t, env, append([]string{"sweep"}, args...)...); status != 2 || stderr == "" {
			t.Errorf("%q: exit %d, %s; want 2", args, status, stderr)
		}
	}
}

// Killed at random moments and started again, a sweep ends in the bytes of one that nothing happened to, with no run twice.
func TestSweepSurvivesKills(t *testing.T) {
	t.Run("go", func(t *testing.T) {
		kills := 50
		if testing.Short() {
			kills = 10
		}
		survivesKills(t, []string{onGo}, small, kills)
	})
	t.Run("XLA", func(t *testing.T) {
		if testing.Short() {
			t.Skip("compiles at every start, which takes a minute for enough kills")
		}
		backendtest.XLA(t)
		survivesKills(t, nil, strings.Replace(small, "steps: 200", "steps: 20000", 1), 12)
	})
}

func survivesKills(t *testing.T, env []string, text string, kills int) {
	spec := write(t, "small.yaml", text)
	_, calm := place(t, env...)
	begin := time.Now()
	runSweep(t, calm, spec)
	long := time.Since(begin)
	want := table(t, calm, spec)
	once(t, want, 12)

	random := rand.New(rand.NewPCG(1, 2))
	resumed := 0
	dir, stormy := place(t, env...)
	for kill := 0; kill < kills; {
		cmd := exec.Command(binary(t), "sweep", "run", spec, "--checkpoint", "5ms")
		cmd.Env = append(os.Environ(), stormy...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(random.Float64()*float64(long)), func() { cmd.Process.Kill() })
		cmd.Wait()
		if timer.Stop() || cmd.ProcessState.Success() { // it was faster than the kill: from the start again
			if got := table(t, stormy, spec); !bytes.Equal(got, want) {
				t.Fatal("after kills the table differs from an uninterrupted sweep's")
			}
			dir, stormy = place(t, env...)
			continue
		}
		kill++
		states, _ := filepath.Glob(filepath.Join(dir, "runs", "unfinished", "*.safetensors"))
		resumed += len(states)
	}
	runSweep(t, stormy, spec)
	if got := table(t, stormy, spec); !bytes.Equal(got, want) {
		t.Error("after kills the table differs from an uninterrupted sweep's")
	}
	if resumed == 0 {
		t.Error("no kill left a state to go on from: the test has tested nothing")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "runs", "unfinished", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Two sweeps of one spec share its stacks.
func TestSweepsShare(t *testing.T) {
	_, env := place(t, onGo)
	spec := write(t, "small.yaml", small)
	answers := make(chan ran, 2)
	for range 2 {
		go func() {
			var r ran
			defer func() { answers <- r }()
			executeJSON(t, env, &r, "sweep", "run", spec)
		}()
	}
	a, b := <-answers, <-answers
	if a.Trained+b.Trained != 6 || a.Done != 12 || b.Done != 12 {
		t.Errorf("two sweeps trained %d and %d of 6 stacks, and saw %d and %d of 12 runs done", a.Trained, b.Trained, a.Done, b.Done)
	}
	once(t, table(t, env, spec), 12)
}

// One long run, which Ctrl-C stops at once; it goes on from there, to the same bytes.
func TestSweepInterrupted(t *testing.T) {
	_, calm := place(t, onGo)
	spec := write(t, "long.yaml", `
mixture: {tasks: 3, dim: 6, block: 2}
net: {width: 3}
train: {batch: 16, steps: 3000, warmup: 50, evaluations: 12}
`)
	runSweep(t, calm, spec)
	dir, env := place(t, onGo)
	cmd := exec.Command(binary(t), "sweep", "run", spec, "--checkpoint", "1ms")
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a state", func() bool {
		states, _ := filepath.Glob(filepath.Join(dir, "runs", "unfinished", "*.safetensors"))
		return len(states) > 0
	})
	var now state
	executeJSON(t, env, &now, "sweep", "status", spec)
	if now.States[0].State != "training" || now.States[0].Step == 0 {
		t.Errorf("status of a sweep that runs: %+v", now)
	}
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "same command") {
		t.Errorf("interrupted: exit %d, %s", cmd.ProcessState.ExitCode(), stderr.String())
	}
	executeJSON(t, env, &now, "sweep", "status", spec)
	if now.States[0].State != "interrupted" || now.States[0].Step == 0 || now.States[0].Step >= 3000 {
		t.Errorf("status of an interrupted sweep: %+v", now)
	}
	runSweep(t, env, spec)
	if !bytes.Equal(table(t, env, spec), table(t, calm, spec)) {
		t.Error("the table differs from an uninterrupted sweep's")
	}
}

// waitFor waits, for at most a minute, until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("a minute without %s", what)
		}
	}
}

func TestSweepSurvivesDamage(t *testing.T) {
	dir, env := place(t, onGo)
	spec := write(t, "small.yaml", small)
	runSweep(t, env, spec)
	want := table(t, env, spec)
	files, _ := filepath.Glob(filepath.Join(dir, "runs", "*.parquet"))
	info, err := os.Stat(files[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[2], info.Size()/2); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := execute(t, env, "sweep", "run", spec)
	if status != 0 || !strings.Contains(stderr, filepath.Base(files[2])) || !strings.Contains(stdout, "trained 1 stacks") {
		t.Errorf("with a truncated file: exit %d, %s%s; want it named and trained again", status, stdout, stderr)
	}
	if !bytes.Equal(table(t, env, spec), want) {
		t.Error("the table differs after a damaged file was trained again")
	}
}

// A state that is cut off, or another stack's, costs only its training.
func TestSweepSurvivesDamagedState(t *testing.T) {
	_, calm := place(t, onGo)
	spec := write(t, "small.yaml", small)
	runSweep(t, calm, spec)
	dir, env := place(t, onGo)
	files, _ := filepath.Glob(filepath.Join(strings.TrimPrefix(calm[1], "RARETASK_RESULTS="), "runs", "*.parquet"))
	unfinished := filepath.Join(dir, "runs", "unfinished")
	if err := os.MkdirAll(unfinished, 0o777); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(files[0]), ".parquet") + ".safetensors"
	if err := os.WriteFile(filepath.Join(unfinished, name), []byte("cut"), 0o644); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := execute(t, env, "sweep", "run", spec)
	if status != 0 || !strings.Contains(stderr, "it starts again") {
		t.Errorf("with a damaged state: exit %d, %s", status, stderr)
	}
	if !bytes.Equal(table(t, env, spec), table(t, calm, spec)) {
		t.Error("the table differs after a damaged state")
	}
}

func TestSweepOnReadOnlyFolder(t *testing.T) {
	dir, env := place(t, onGo)
	spec := write(t, "small.yaml", small)
	mount(t, dir, "size=16m,ro")
	status, _, stderr := execute(t, env, "sweep", "run", spec)
	if status != 1 || !strings.Contains(stderr, "RARETASK_RESULTS") || !strings.Contains(stderr, "read-only") {
		t.Errorf("exit %d, %s; want 1 and what to do", status, stderr)
	}
}

func TestSweepOnFullDisk(t *testing.T) {
	_, calm := place(t, onGo)
	spec := write(t, "small.yaml", small)
	runSweep(t, calm, spec)
	dir, env := place(t, onGo)
	mount(t, dir, "size=24k")
	status, _, stderr := execute(t, env, "sweep", "run", spec)
	if status != 1 || !strings.Contains(stderr, "no space left") {
		t.Errorf("exit %d, %s; want 1 and the cause", status, stderr)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".new") {
			t.Errorf("half a file is left: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	runSweep(t, env, spec)
	if !bytes.Equal(table(t, env, spec), table(t, calm, spec)) {
		t.Error("the table differs after the disk was full")
	}
}

// mount puts a file system of its own on a folder for a test.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	flags := uintptr(0)
	if rest, found := strings.CutSuffix(options, ",ro"); found {
		options, flags = rest, syscall.MS_RDONLY
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Skipf("needs a file system of its own: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}
