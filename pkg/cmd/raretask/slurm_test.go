package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cluster starts a Slurm cluster of two nodes with one core each, for one test.
func cluster(t *testing.T) (dir string, env []string) {
	t.Helper()
	for _, program := range []string{"slurmctld", "slurmd", "sbatch", "munged"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: apt-get install slurm-wlm munge", program)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("only root can start the daemons of Slurm")
	}
	dir = t.TempDir()
	for parent := dir; parent != "/"; parent = filepath.Dir(parent) { // munged wants to be reached by everybody
		if info, err := os.Stat(parent); err == nil && info.Mode().Perm()&0o055 != 0o055 {
			os.Chmod(parent, info.Mode().Perm()|0o055)
		}
	}
	t.Cleanup(func() {
		slurm(t, dir, "stop")
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
			for _, path := range logs {
				text, _ := os.ReadFile(path)
				t.Logf("%s:\n%s", path, text[max(0, len(text)-3000):])
			}
		}
	})
	slurm(t, dir, "start", "2")
	_, env = place(t, onGo, "SLURM_CONF="+filepath.Join(dir, "slurm.conf"))
	return dir, env
}

func slurm(t *testing.T, dir, verb string, args ...string) {
	t.Helper()
	cmd := exec.Command("testdata/slurm.sh", append([]string{verb, dir}, args...)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		t.Fatalf("slurm.sh %s %q: %v\n%s", verb, args, err, output.String())
	}
}

// array is a spec of as many stacks, of one run each.
func array(t *testing.T, stacks, steps int) string {
	t.Helper()
	var seeds []string
	for i := range stacks {
		seeds = append(seeds, fmt.Sprint(i))
	}
	return write(t, "array.yaml", fmt.Sprintf(`
mixture: {tasks: 3, dim: 6, block: 2}
net: {width: 3}
train: {batch: 16, steps: %d, warmup: 50, evaluations: 12}
grid: {train.seed: [%s]}
`, steps, strings.Join(seeds, ", ")))
}

// Of two nodes one dies and comes back while an array of 24 tasks runs (once, or RARETASK_SLURM_KILLS times, each with an array of its
// own): all results are there, none twice, and they and the weights are those of this machine alone.
func TestSlurmSurvivesANode(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	dir, env := cluster(t)
	for kill := range count("RARETASK_SLURM_KILLS", 1) {
		survivesANode(t, dir, env, array(t, 24, 5000+kill)) // seconds for a task, so that the node dies within one
	}
}

func survivesANode(t *testing.T, dir string, env []string, spec string) {
	// How many threads there are is a part of the backend's identity, and without a plugin for it Slurm pins no task to its core.
	own, env := place(t, append(env, "GOMAXPROCS=1")...)
	var s submitted
	executeJSON(t, env, &s, "sweep", "run", spec, "--executor", "slurm", "--partition", "test", "--time", "10",
		"--memory", "500M", "--checkpoint", "500ms")
	if s.Job == "" || len(s.Jobs) != 1 {
		t.Fatalf("submitted %+v", s)
	}
	var now state
	waitFor(t, "two running tasks and a result", func() bool {
		now = state{}
		executeJSON(t, env, &now, "sweep", "status", spec, "--executor", "slurm")
		return len(now.Jobs) == 1 && now.Jobs[0].Running == 2 && now.DoneStacks > 0
	})
	slurm(t, dir, "kill", "node1")
	waiting := make(chan submitted, 1)
	go func() {
		var all submitted
		defer func() { waiting <- all }()
		executeJSON(t, env, &all, "sweep", "run", spec, "--executor", "slurm", "--wait")
	}()
	node := exec.Command("sh", "-c", "until sinfo --noheader --node node1 --format=%T | grep -q down; do sleep .2; done")
	node.Env = append(os.Environ(), env...)
	if err := node.Run(); err != nil {
		t.Fatal(err)
	}
	slurm(t, dir, "node", "node1")
	// Slurm lets a task that was queued again wait for two minutes, in which the node that is back is told to end it: an end that comes late
	// must not meet the task started anew.
	again := exec.Command("scontrol", "update", "JobId="+s.Job, "StartTime=now+5")
	again.Env = append(os.Environ(), env...)
	again.Run() // says that tasks which run can't start earlier
	all := <-waiting
	if all.Job != "" || all.Done != 24 || all.DoneStacks != 24 {
		t.Errorf("waited for %+v; want 24 runs of the job that was there", all)
	}
	once(t, tableOf(t, env, spec, "--executor", "slurm"), 24)
	history := exec.Command("scontrol", "show", "job", s.Job)
	history.Env = append(os.Environ(), env...)
	if text, err := history.Output(); err != nil || !strings.Contains(string(text), "Restarts=1") {
		t.Errorf("no task was queued again, so the test has tested nothing: %v\n%s", err, text)
	}
	alone, here := place(t, onGo, "GOMAXPROCS=1")
	runSweep(t, here, spec)
	got, want := stored(t, own), stored(t, alone)
	if !maps.Equal(got, want) {
		t.Errorf("the files differ from those of a sweep on this machine alone:\n%q\n%q",
			slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// A job script of the user's runs the tasks, with arguments that hold spaces and with options of sbatch's own. What sbatch would replace in
// the name of a log is nothing of the kind in that of a folder.
func TestSlurmScript(t *testing.T) {
	_, env := cluster(t)
	ran := filepath.Join(t.TempDir(), "ran")
	script := write(t, "my script.sh", "#!/bin/sh\n#SBATCH --comment=mine --partition=none\n"+
		"echo \"$# $SLURM_ARRAY_TASK_ID $2 $3\" >>'"+ran+"'\nexec \"$@\"\n")
	spec := array(t, 2, 50)
	env = append(env, "RARETASK_RESULTS="+filepath.Join(t.TempDir(), `two words %j`))
	var s submitted
	executeJSON(t, env, &s, "sweep", "run", spec, "--executor", "slurm", "--partition", "test", "--script", script, "--wait")
	if s.Done != 2 {
		t.Errorf("%+v; want 2 runs done", s)
	}
	if _, err := os.Stat(filepath.Join(s.Logs, s.Job+"_0.log")); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(ran)
	lines := slices.Sorted(strings.SplitSeq(strings.TrimSpace(string(text)), "\n"))
	if err != nil || !slices.Equal(lines, []string{"4 0 sweep task", "4 1 sweep task"}) {
		t.Errorf("the script was run %q, %v; want once for each of two tasks", lines, err)
	}
	job := exec.Command("scontrol", "show", "job", s.Job)
	job.Env = append(os.Environ(), env...)
	if text, err := job.Output(); err != nil || !strings.Contains(string(text), "Comment=mine") {
		t.Errorf("the script's options for sbatch were not heard: %v\n%s", err, text)
	}
	status, _, stderr := execute(t, env, "sweep", "run", array(t, 3, 50), "--executor", "slurm", "--script", "none.sh")
	if status != 1 || !strings.Contains(stderr, "none.sh") {
		t.Errorf("without the script: exit %d, %s", status, stderr)
	}
}

// A cancelled array leaves a state that the next one goes on from.
func TestSlurmCancelled(t *testing.T) {
	_, env := cluster(t)
	spec := array(t, 2, 5000)
	var s submitted
	executeJSON(t, env, &s, "sweep", "run", spec, "--executor", "slurm", "--max-parallel", "1", "--checkpoint", "20ms")
	var now state
	waitFor(t, "a task that trains", func() bool {
		now = state{}
		executeJSON(t, env, &now, "sweep", "status", spec, "--executor", "slurm")
		return now.States[0].State == "training" && now.States[0].Step > 0
	})
	cancel := exec.Command("scancel", s.Job)
	cancel.Env = append(os.Environ(), env...)
	if output, err := cancel.CombinedOutput(); err != nil {
		t.Fatalf("scancel: %v\n%s", err, output)
	}
	waitFor(t, "the end of the job", func() bool {
		now = state{}
		executeJSON(t, env, &now, "sweep", "status", spec, "--executor", "slurm")
		return len(now.Jobs) == 0
	})
	if now.States[0].State != "interrupted" || now.States[0].Step == 0 {
		t.Errorf("after scancel: %+v; want a state that was kept", now.States)
	}
	s = submitted{}
	executeJSON(t, env, &s, "sweep", "run", spec, "--executor", "slurm", "--wait")
	if s.Done != 2 || len(s.Jobs) != 0 {
		t.Errorf("after another array: %+v", s)
	}
	once(t, tableOf(t, env, spec, "--executor", "slurm"), 2)
}

// Names from outside reach sbatch as arguments and nothing else.
func TestSlurmArgumentsAreNoShell(t *testing.T) {
	dir, env := place(t, onGo)
	bin := t.TempDir()
	answers := map[string]string{"squeue": "#!/bin/sh\n",
		"sbatch": "#!/bin/sh\nprintf '%s\\n' \"$@\" >" + filepath.Join(dir, "arguments") + "\necho 7\n"}
	for name, script := range answers {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env = append(env, "PATH="+bin+":"+os.Getenv("PATH"))
	spec := array(t, 3, 10)
	var s submitted
	executeJSON(t, env, &s, "sweep", "run", spec, "--executor", "slurm", "--partition", "a b; touch "+filepath.Join(dir, "ran"),
		"--memory", "$(id)", "--gpus", "2", "--max-parallel", "2")
	text, err := os.ReadFile(filepath.Join(dir, "arguments"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := []string{"--partition=a b; touch " + filepath.Join(dir, "ran"), "--mem=$(id)", "--gpus=2", "--array=0-2%2", "--requeue"}
	for _, want := range wanted {
		if !strings.Contains("\n"+string(text), "\n"+want+"\n") {
			t.Errorf("sbatch got\n%swithout %q", text, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("a partition's name was run by a shell")
	}
	status, _, stderr := execute(t, append(env, "PATH=/nonexistent"), "sweep", "run", spec, "--executor", "slurm")
	if status != 1 || !strings.Contains(stderr, "run this on a machine") {
		t.Errorf("without Slurm: exit %d, %s", status, stderr)
	}
}
