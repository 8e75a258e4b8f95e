package main

import (
	"bytes"
	"encoding/csv"
	"io/fs"
	"maps"
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

// tableOf returns the whole table of a spec as Parquet.
func tableOf(t *testing.T, env []string, spec string, more ...string) []byte {
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

// row is what a row of a table is of.
type row struct {
	Run  string `parquet:"run,optional"`
	Step int64  `parquet:"step,optional"`
	Task int64  `parquet:"task,optional"`
}

func rowsOf(t *testing.T, file []byte) []row {
	t.Helper()
	rows, err := parquet.Read[row](bytes.NewReader(file), int64(len(file)))
	if err != nil || len(rows) == 0 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	return rows
}

// columnsOf returns the names of a table's columns.
func columnsOf(t *testing.T, file []byte) []string {
	t.Helper()
	table, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, column := range table.Schema().Columns() {
		names = append(names, column[0])
	}
	return names
}

// once checks that a table has a row for each (run, step, task) and the number of runs wanted.
func once(t *testing.T, file []byte, runs int) {
	t.Helper()
	seen, different := map[row]bool{}, map[string]bool{}
	for _, r := range rowsOf(t, file) {
		if seen[r] || r.Run == "" || r.Task < 1 {
			t.Errorf("%v is there twice, or none", r)
		}
		seen[r], different[r.Run] = true, true
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
	if p.Runs != 12 || p.Stacks != 6 || p.Done != 0 || p.Programs != 1 || p.FLOPs != want || p.Seconds == nil || !(*p.Seconds > 0) {
		t.Errorf("plan %+v; want 12 runs in 6 stacks, %g FLOPs", p, want)
	}
	if r := runSweep(t, env, spec); r.Trained != 6 || r.Done != 12 {
		t.Errorf("trained %+v, want 6 stacks", r)
	}
	executeJSON(t, env, &p, "sweep", "plan", spec)
	if p.Done != 12 || p.DoneStacks != 6 || p.FLOPs != 0 || p.Seconds == nil || *p.Seconds != 0 {
		t.Errorf("plan of what is done: %+v", p)
	}
	executeJSON(t, env, &p, "sweep", "plan", spec, "--executor", "slurm") // with no backend, and none is needed
	if p.Done != 12 {
		t.Errorf("plan of what is done, for Slurm: %+v", p)
	}
	large := write(t, "large.yaml", "memory: 4096\nmixture: {tasks: 2, dim: 1048576, block: 8}\nnet: {width: 65536}\n")
	var elsewhere planned
	executeJSON(t, env, &elsewhere, "sweep", "plan", large)
	if elsewhere.MemoryGiB < 1000 || elsewhere.Seconds != nil {
		t.Errorf("plan for another machine: %+v", elsewhere)
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
	once(t, tableOf(t, env, spec), 12)

	// Weights were kept, as many bytes as planned, and go when asked to.
	bytes := func() (n int64) {
		files, _ := filepath.Glob(filepath.Join(dir, "runs", "weights", "*.safetensors"))
		for _, path := range files {
			if info, err := os.Stat(path); err == nil {
				n += info.Size()
			}
		}
		return n
	}
	kept := bytes()
	if want := 4 * 6 * (2 + 3) * (6 + 2*3); p.KeptBytes != want || kept < int64(want) {
		t.Errorf("plan keeps %d bytes of weights, want %d; files have %d", p.KeptBytes, want, kept)
	}
	if status, stdout, _ := execute(t, env, "sweep", "plan", spec); status != 0 || !strings.Contains(stdout, "1.44 KB of weights") {
		t.Errorf("plan, exit %d: %s", status, stdout)
	}
	var c cleaned
	executeJSON(t, env, &c, "sweep", "clean", spec)
	if c.Bytes != kept || bytes() != 0 {
		t.Errorf("removed %d bytes of %d, %d are left", c.Bytes, kept, bytes())
	}
	if r := runSweep(t, env, spec); r.Trained != 0 || r.Done != 12 {
		t.Errorf("without weights: %+v; want everything done", r)
	}
	if status, _, stderr := execute(t, env, "sweep", "clean", "fig99"); status != 2 || !strings.Contains(stderr, "presets:") {
		t.Errorf("clean of nothing: exit %d, %s", status, stderr)
	}
}

// What a spec names is measured and kept; one that names a metric that doesn't exist is wrong.
func TestSpecNamesMetrics(t *testing.T) {
	dir, env := place(t, onGo)
	spec := write(t, "some.yaml", "metrics: [train_loss]\nkeep: [3, 200]\n"+small)
	runSweep(t, env, spec)
	columns := columnsOf(t, tableOf(t, env, spec))
	if !slices.Contains(columns, "train_loss") || slices.Contains(columns, "loss") {
		t.Errorf("columns %q", columns)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "runs", "weights", "*-3.safetensors")); len(files) != 6 {
		t.Errorf("weights of step 3: %q", files)
	}
	if r := runSweep(t, env, write(t, "all.yaml", small)); r.Trained != 0 || r.Done != 12 {
		t.Errorf("the other metrics: %+v; want them measured of kept weights", r)
	}
	for key, bad := range map[string]string{"metrics": "metrics: [nonsense]", "keep": "keep: [201]"} {
		status, _, stderr := execute(t, env, "sweep", "run", write(t, "bad.yaml", bad+"\n"+small))
		if status != 2 || !strings.Contains(stderr, "bad.yaml:1: "+key) || !strings.Contains(stderr, "want") {
			t.Errorf("%s: exit %d, %s; want file, line and what would be right", bad, status, stderr)
		}
	}
}

func TestExportsAgree(t *testing.T) {
	_, env := place(t, onGo)
	spec := write(t, "small.yaml", small)
	if status, _, stderr := execute(t, env, "sweep", "export", spec); status != 1 || !strings.Contains(stderr, "sweep run") {
		t.Errorf("export of nothing: exit %d, %s", status, stderr)
	}
	runSweep(t, env, spec)
	for _, more := range [][]string{nil, {"--long"}} {
		file := tableOf(t, env, spec, more...)
		rows, columns := rowsOf(t, file), columnsOf(t, file)
		status, stdout, stderr := execute(t, env, append([]string{"sweep", "export", spec}, more...)...)
		if status != 0 {
			t.Fatal(stderr)
		}
		lines, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
		if err != nil || len(lines) != len(rows)+1 {
			t.Fatalf("%d lines of CSV for %d rows: %v", len(lines), len(rows), err)
		}
		if !slices.Equal(lines[0], columns) || lines[1][0] != "small" || lines[1][1] != rows[0].Run {
			t.Errorf("CSV begins %q, columns of Parquet are %q", lines[:2], columns)
		}
		long := slices.Contains(columns, "metric") && slices.Contains(columns, "value")
		if long != (more != nil) || slices.Contains(columns, "loss") == long || !slices.Contains(columns, "train.decay") {
			t.Errorf("export %q has the columns %q", more, columns)
		}
	}
	for _, args := range [][]string{{"export", spec, "--out", "x.xlsx"}, {"export", spec, "--json"}, {"run", spec, "--gpus", "1"},
		{"run", spec, "--executor", "cloud"}, {"run", spec, "--checkpoint", "0s"}, {"run"}} {
		if status, _, stderr := execute(t, env, append([]string{"sweep"}, args...)...); status != 2 || stderr == "" {
			t.Errorf("%q: exit %d, %s; want 2", args, status, stderr)
		}
	}
}

// stored returns all files of results and weights below a folder of results by their paths; what trainings have left fails the test.
func stored(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(filepath.Join(dir, "runs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.Contains(path, "unfinished") {
			t.Errorf("left behind: %s", path)
		}
		if !strings.HasSuffix(path, ".parquet") && !strings.HasSuffix(path, ".safetensors") { // of Slurm's
			return nil
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir)] = string(text)
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

// Killed at random moments (10 or 50 times, or RARETASK_KILLS, on each backend) and started again, a sweep ends in the bytes of one that
// nothing happened to, results and weights, with no run twice.
func TestSweepSurvivesKills(t *testing.T) {
	t.Run("go", func(t *testing.T) {
		kills := 50
		if testing.Short() {
			kills = 10
		}
		survivesKills(t, []string{onGo}, small, count("RARETASK_KILLS", kills))
	})
	t.Run("XLA", func(t *testing.T) {
		if testing.Short() {
			t.Skip("compiles at every start, which takes a minute for enough kills")
		}
		backendtest.XLA(t)
		survivesKills(t, nil, strings.Replace(small, "steps: 200", "steps: 20000", 1), count("RARETASK_KILLS", 12))
	})
}

func survivesKills(t *testing.T, env []string, text string, kills int) {
	spec := write(t, "small.yaml", text)
	calmDir, calm := place(t, env...)
	begin := time.Now()
	runSweep(t, calm, spec)
	long := time.Since(begin)
	want := stored(t, calmDir)
	once(t, tableOf(t, calm, spec), 12)
	same := func(dir string) {
		t.Helper()
		if got := stored(t, dir); !maps.Equal(got, want) {
			t.Fatalf("after kills %q differ from an uninterrupted sweep's", slices.Sorted(maps.Keys(got)))
		}
	}

	random := rand.New(rand.NewPCG(1, 2))
	resumed, sweeps := 0, 1
	dir, stormy := place(t, env...)
	for kill := 0; kill < kills; {
		cmd := exec.Command(binary(t), "sweep", "run", spec, "--checkpoint", "5ms")
		cmd.Env = append(os.Environ(), stormy...)
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(random.Float64()*float64(long)), func() { cmd.Process.Kill() })
		cmd.Wait()
		if timer.Stop() || cmd.ProcessState.Success() { // it was faster than the kill: from the start again
			same(dir)
			sweeps, long = sweeps+1, min(long, time.Since(begin))
			dir, stormy = place(t, env...)
			continue
		}
		kill++
		states, _ := filepath.Glob(filepath.Join(dir, "runs", "unfinished", "*.safetensors"))
		resumed += len(states)
	}
	runSweep(t, stormy, spec)
	same(dir)
	if resumed == 0 {
		t.Error("no kill left a state to go on from: the test has tested nothing")
	}
	t.Logf("%d kills of %d sweeps left %d states", kills, sweeps, resumed)
}

// Four sweeps of one spec at once (twice, or RARETASK_RACES times) share its stacks and leave what one alone does.
func TestSweepsShare(t *testing.T) {
	alone, env := place(t, onGo)
	spec := write(t, "small.yaml", small)
	runSweep(t, env, spec)
	want := stored(t, alone)
	for race := range count("RARETASK_RACES", 2) {
		dir, env := place(t, onGo)
		answers := make(chan ran, 4)
		for range cap(answers) {
			go func() {
				var r ran
				defer func() { answers <- r }()
				executeJSON(t, env, &r, "sweep", "run", spec)
			}()
		}
		trained := 0
		for range cap(answers) {
			r := <-answers
			if trained += r.Trained; r.Done != 12 {
				t.Errorf("race %d: a sweep saw %d of 12 runs done", race, r.Done)
			}
		}
		if trained != 6 {
			t.Errorf("race %d: the sweeps trained %d stacks of 6", race, trained)
		}
		if !maps.Equal(stored(t, dir), want) {
			t.Errorf("race %d: the files differ from those of one sweep alone", race)
		}
	}
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
	if !bytes.Equal(tableOf(t, env, spec), tableOf(t, calm, spec)) {
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
	want := tableOf(t, env, spec)
	files, _ := filepath.Glob(filepath.Join(dir, "runs", "*.parquet"))
	info, err := os.Stat(files[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[2], info.Size()/2); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := execute(t, env, "sweep", "run", spec)
	if status != 0 || !strings.Contains(stderr, filepath.Base(files[2])) || !strings.Contains(stdout, "trained 1 stack ") {
		t.Errorf("with a truncated file: exit %d, %s%s; want it named and trained again", status, stdout, stderr)
	}
	if !bytes.Equal(tableOf(t, env, spec), want) {
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
	if !bytes.Equal(tableOf(t, env, spec), tableOf(t, calm, spec)) {
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

// Where everything is done nothing needs to be written, whatever a killed process has left.
func TestSweepDoneOnReadOnlyFolder(t *testing.T) {
	dir, env := place(t, onGo)
	spec := write(t, "small.yaml", small)
	mount(t, dir, "size=16m")
	runSweep(t, env, spec)
	want := tableOf(t, env, spec)
	files, _ := filepath.Glob(filepath.Join(dir, "runs", "*.parquet"))
	left := strings.TrimSuffix(filepath.Base(files[0]), ".parquet") + ".safetensors"
	lock, _, _ := strings.Cut(left, "-")
	for _, name := range []string{left, "." + left + ".1.new", lock} {
		if err := os.WriteFile(filepath.Join(dir, "runs", "unfinished", name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=16m"); err != nil {
		t.Fatal(err)
	}
	if r := runSweep(t, env, spec); r.Trained != 0 || r.Done != 12 {
		t.Errorf("%+v; want everything done", r)
	}
	var now state
	executeJSON(t, env, &now, "sweep", "status", spec)
	if now.Done != 12 || !bytes.Equal(tableOf(t, env, spec), want) {
		t.Errorf("status %+v", now)
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
	if !bytes.Equal(tableOf(t, env, spec), tableOf(t, calm, spec)) {
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
