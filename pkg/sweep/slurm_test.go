package sweep

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"raretask/pkg/results"
)

// pretend puts programs of Slurm that are these shell scripts on PATH. They find a folder of the test's own in $DIR.
func pretend(t *testing.T, scripts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("DIR", dir)
	return dir
}

// arrays is a sweep of two stacks without results, as job arrays below dir.
func arrays(t *testing.T, dir string) *Slurm {
	t.Helper()
	store := &results.Store{Dir: filepath.Join(dir, "runs")}
	const text = "mixture: {tasks: 3, dim: 6, block: 2}\nnet: {width: 3}\ntrain: {batch: 16, steps: 90, warmup: 9}\ngrid: {train.seed: [0, 1]}"
	plan, err := NewPlan(parse(t, text), store, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSlurm(store, plan)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// Of submissions at once one submits, and the others see its array.
func TestSlurmSubmitsOnce(t *testing.T) {
	bin := pretend(t, map[string]string{
		"sbatch": "sleep .1; echo 7 >>$DIR/submitted; echo 7\n",
		"squeue": "if test -e $DIR/submitted; then echo PENDING None; fi\n",
	})
	dir := t.TempDir()
	var all sync.WaitGroup
	ids, waited := make([]string, 4), make([]bool, 4)
	for i := range ids {
		s := arrays(t, dir)
		all.Go(func() {
			id, running, err := s.Submit(t.Context(), "test", SlurmOptions{}, func() { waited[i] = true })
			if err != nil || (id == "") != (len(running) == 1) {
				t.Errorf("job %q, running %v, %v; want a job of this call or of another", id, running, err)
			}
			ids[i] = id
		})
	}
	all.Wait()
	slices.Sort(ids)
	if want := []string{"", "", "", "7"}; !slices.Equal(ids, want) || len(lines(t, filepath.Join(bin, "submitted"))) != 1 {
		t.Errorf("submitted %q, want %q", ids, want)
	}
	if !slices.Contains(waited, true) {
		t.Error("nobody was told of waiting")
	}
}

// What a kill has left without its mode is not taken for the program.
func TestSlurmProgramCanRun(t *testing.T) {
	s := arrays(t, t.TempDir())
	program, script, err := s.prepare(&job{})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{program, script} {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.prepare(&job{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{program, script} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v; want one that runs", path, info.Mode(), err)
		}
	}
}

// Only our own jobs are asked for, and one that Slurm has forgotten is no error and not asked for again.
func TestSlurmAsksForItsOwnJobs(t *testing.T) {
	bin := pretend(t, map[string]string{"squeue": `echo "$@" >>$DIR/asked
case "$*" in
*--jobs=5*) echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1;;
*--jobs=6*) ;;
*--jobs=7*) echo "RUNNING None"; echo "PENDING JobArrayTaskLimit"; echo "COMPLETING None";;
*) echo "RUNNING None";;
esac
`})
	s := arrays(t, t.TempDir())
	s.jobs = []string{"5", "6", "7"}
	want := []SlurmTasks{{Job: "7", Running: 1, Pending: 1, Other: 1, Reason: "JobArrayTaskLimit"}}
	for range 2 {
		if tasks, err := s.Tasks(t.Context()); err != nil || !slices.Equal(tasks, want) {
			t.Errorf("%+v, %v; want %+v", tasks, err, want)
		}
	}
	if asked := lines(t, filepath.Join(bin, "asked")); len(asked) != 5 {
		t.Errorf("asked %q; want 5, 6 and 7 and then 6 and 7", asked)
	}
	pretend(t, map[string]string{"squeue": "echo Unable to contact slurm controller >&2; exit 1\n"})
	if _, err := s.Tasks(t.Context()); err == nil || !strings.Contains(err.Error(), "Unable to contact") {
		t.Errorf("error %v; want that of squeue", err)
	}
}

// While nothing changes Wait looks ever more rarely.
func TestSlurmWaitsLonger(t *testing.T) {
	pretend(t, map[string]string{"squeue": "echo RUNNING None\n"})
	defer func(a, b time.Duration) { poll, slowPoll = a, b }(poll, slowPoll)
	poll, slowPoll = 10*time.Millisecond, 100*time.Millisecond
	s := arrays(t, t.TempDir())
	s.jobs = []string{"7"}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var looks []time.Time
	err := s.Wait(ctx, func(Progress, []SlurmTasks) {
		if looks = append(looks, time.Now()); len(looks) == 9 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if gap := looks[8].Sub(looks[7]); gap < slowPoll {
		t.Errorf("the last two looks were %v apart, want %v", gap, slowPoll)
	}
}

// sbatch replaces what follows a % in the name of a log, and nothing in one with a backslash.
func TestSlurmEscapesLogs(t *testing.T) {
	bin := pretend(t, map[string]string{"sbatch": "printf '%s\\n' \"$@\" >$DIR/arguments; echo 7\n"})
	dir := filepath.Join(t.TempDir(), "100%j")
	s := arrays(t, dir)
	if _, _, err := s.Submit(t.Context(), "test", SlurmOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	got := lines(t, filepath.Join(bin, "arguments"))
	want := "--output=" + strings.ReplaceAll(s.Dir(), "100%j", "100%%j") + "/%A_%a.log"
	if !slices.Contains(got, want) || !slices.Contains(got, "--chdir="+s.Dir()) {
		t.Errorf("sbatch got %q, want %q", got, want)
	}
	_, _, err := arrays(t, dir+`\x`).Submit(t.Context(), "test", SlurmOptions{}, nil)
	if err == nil || !strings.Contains(err.Error(), "RARETASK_RESULTS") {
		t.Errorf("error %v; want what to do about a backslash", err)
	}
}
