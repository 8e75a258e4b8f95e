package sweep

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// SlurmOptions are what each task of a job array asks for; what is empty is left to the cluster's defaults.
type SlurmOptions struct {
	Partition   string
	Time        string // as sbatch takes it: minutes, HH:MM:SS, D-HH
	Memory      string // of a node, as in 4G
	GPUs        int
	CPUs        int
	MaxParallel int // tasks at a time; 0: as many as fit
	Checkpoint  time.Duration

	// Script is a job script of the user's, which runs a task's command, its arguments, in its own way: in a container, say. It may
	// begin with options for sbatch; those here beat them. Empty: one that only runs the command.
	Script string
}

// Slurm is a sweep as job arrays. Everything it needs lies in a folder beside the results, which the nodes must share: the stacks, the
// program, the script that starts it, the logs and the numbers of the arrays.
type Slurm struct {
	dir   string
	store *results.Store
	plan  *Plan
	jobs  []string
}

// largestArray is how many tasks an array may have: Slurm's MaxArraySize is 1001 unless a site raises it. Larger sweeps give a task
// several stacks.
const largestArray = 1000

// job is what the tasks of an array read.
type job struct {
	Name       string        `json:"name"`
	Stacks     []spec.Stack  `json:"stacks"`
	Chunk      int           `json:"chunk"` // stacks of a task
	Checkpoint time.Duration `json:"checkpoint"`
}

func (j *job) task(i int) []spec.Stack {
	return j.Stacks[min(i*j.Chunk, len(j.Stacks)):min((i+1)*j.Chunk, len(j.Stacks))]
}

// OpenSlurm returns the job arrays of a plan.
func OpenSlurm(store *results.Store, plan *Plan) (*Slurm, error) {
	digest := sha256.New()
	for _, stack := range plan.Stacks {
		io.WriteString(digest, stack.Hash())
	}
	s := &Slurm{store: store, plan: plan}
	s.dir = filepath.Join(filepath.Dir(store.Dir), "slurm", hex.EncodeToString(digest.Sum(nil)[:8]))
	text, err := os.ReadFile(filepath.Join(s.dir, "jobs"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	s.jobs = strings.Fields(string(text))
	return s, err
}

// Dir returns the folder of the arrays' logs.
func (s *Slurm) Dir() string { return s.dir }

// Submit submits a job array that trains what has no results yet, and returns its number. A task that a failing node takes down is queued
// again; a task that is cancelled or ends early leaves the state that the next array goes on from.
func (s *Slurm) Submit(ctx context.Context, name string, o SlurmOptions) (string, error) {
	j := &job{Name: name, Stacks: s.plan.Stacks, Chunk: (len(s.plan.Stacks) + largestArray - 1) / largestArray, Checkpoint: o.Checkpoint}
	program, script, err := s.prepare(j)
	if err != nil {
		return "", err
	}
	if o.Script != "" {
		if script, err = filepath.Abs(o.Script); err != nil {
			return "", err
		}
	}
	args := append(o.arguments(), "--job-name=raretask-"+name, "--chdir="+s.dir, "--output="+filepath.Join(s.dir, "%A_%a.log"), "--array="+s.array(j.Chunk, o.MaxParallel))
	cmd := exec.CommandContext(ctx, "sbatch", append(args, script, program, "sweep", "task", s.dir)...)
	cmd.Env = append(os.Environ(), "RARETASK_RESULTS="+filepath.Dir(s.store.Dir))
	if root, err := backend.Root(); err == nil {
		cmd.Env = append(cmd.Env, "RARETASK_ROOT="+root)
	}
	answer, err := output(cmd)
	if err != nil {
		return "", err
	}
	id, _, _ := strings.Cut(strings.TrimSpace(answer), ";") // on a federation the cluster's name follows
	if _, err := strconv.Atoi(id); err != nil {
		return "", fmt.Errorf("sweep: sbatch answered %q: want a job's number", answer)
	}
	s.jobs = append(s.jobs, id)
	return id, results.WriteFile(filepath.Join(s.dir, "jobs"), func(f *os.File) error {
		_, err := fmt.Fprintln(f, strings.Join(s.jobs, "\n"))
		return err
	})
}

// arguments returns sbatch's, but for what differs between sweeps.
func (o SlurmOptions) arguments() []string {
	args := []string{"--parsable", "--requeue", "--open-mode=append", "--export=ALL", "--ntasks=1"}
	for _, option := range []struct{ name, value string }{{"partition", o.Partition}, {"time", o.Time}, {"mem", o.Memory}} {
		if option.value != "" {
			args = append(args, "--"+option.name+"="+option.value)
		}
	}
	if o.GPUs > 0 {
		args = append(args, "--gpus="+strconv.Itoa(o.GPUs))
	}
	if o.CPUs > 0 {
		args = append(args, "--cpus-per-task="+strconv.Itoa(o.CPUs))
	}
	return args
}

// array returns the indices of the tasks that have something to train, as sbatch takes them: 0-3,7%2.
func (s *Slurm) array(chunk, maxParallel int) string {
	var ranges []string
	missing := func(task int) bool {
		for i := task * chunk; i < min((task+1)*chunk, len(s.plan.Stacks)); i++ {
			if s.plan.Done[i] == "" {
				return true
			}
		}
		return false
	}
	for first := 0; first*chunk < len(s.plan.Stacks); first++ {
		if !missing(first) {
			continue
		}
		last := first
		for missing(last + 1) {
			last++
		}
		if first == last {
			ranges = append(ranges, strconv.Itoa(first))
		} else {
			ranges = append(ranges, fmt.Sprintf("%d-%d", first, last))
		}
		first = last
	}
	text := strings.Join(ranges, ",")
	if maxParallel > 0 {
		text += "%" + strconv.Itoa(maxParallel)
	}
	return text
}

// prepare writes what the tasks read: their stacks, this program under a name of its own (a rebuilt one must not change
// under tasks that run) and the script, which holds no names, so that none needs quoting.
func (s *Slurm) prepare(j *job) (program, script string, err error) {
	text, err := json.Marshal(j)
	if err != nil {
		return "", "", err
	}
	own, err := os.Executable()
	if err != nil {
		return "", "", err
	}
	binary, err := os.ReadFile(own)
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256(binary)
	program = filepath.Join(s.dir, "raretask-"+hex.EncodeToString(sum[:6]))
	script = filepath.Join(s.dir, "task.sh")
	for path, content := range map[string][]byte{filepath.Join(s.dir, "job.json"): text, program: binary, script: []byte("#!/bin/sh\nexec \"$@\"\n")} {
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
			continue
		}
		err := results.WriteFile(path, func(f *os.File) error { _, err := f.Write(content); return err })
		if err == nil && path != filepath.Join(s.dir, "job.json") {
			err = os.Chmod(path, 0o755)
		}
		if err != nil {
			return "", "", err
		}
	}
	return program, script, nil
}

// RunTask trains the stacks of this task of a job array, whose folder is dir.
func RunTask(ctx context.Context, dir string, store *results.Store, progress func(Progress)) error {
	text, err := os.ReadFile(filepath.Join(dir, "job.json"))
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("sweep: %s: %w", dir, err)
	}
	index, err := strconv.Atoi(os.Getenv("SLURM_ARRAY_TASK_ID"))
	if err != nil {
		return fmt.Errorf("sweep: SLURM_ARRAY_TASK_ID=%q: want the number of a task; Slurm sets it", os.Getenv("SLURM_ARRAY_TASK_ID"))
	}
	stacks := j.task(index)
	p := &Plan{Stacks: stacks, Done: make([]string, len(stacks))}
	if err := p.look(store.FindAnywhere); err != nil || p.Missing() == 0 {
		return err
	}
	b, err := backend.Open()
	if err != nil {
		return err
	}
	_, err = p.Train(ctx, b, store, Options{Progress: progress, Checkpoint: j.Checkpoint, Anywhere: true})
	return err
}

// NewPlanAnywhere is NewPlan where results of whatever backend count.
func NewPlanAnywhere(s *spec.Sweep, store *results.Store) (*Plan, error) {
	stacks, err := Stacks(s)
	if err != nil {
		return nil, err
	}
	p := &Plan{Stacks: stacks, Done: make([]string, len(stacks))}
	return p, p.look(store.FindAnywhere)
}

// SlurmTasks is how the tasks of an array that have not ended are.
type SlurmTasks struct {
	Job     string `json:"job"`
	Running int    `json:"running"`
	Pending int    `json:"pending"` // also those that were queued again
	Other   int    `json:"other"`   // ending, suspended, …
	Reason  string `json:"reason,omitempty"`
}

func (t SlurmTasks) String() string {
	text := fmt.Sprintf("%d tasks running, %d pending", t.Running, t.Pending)
	if t.Other > 0 {
		text += fmt.Sprintf(", %d ending", t.Other)
	}
	if t.Reason != "" {
		text += " (" + t.Reason + ")"
	}
	return text
}

// Tasks returns the arrays of this sweep that have tasks left, as squeue has them.
func (s *Slurm) Tasks(ctx context.Context) ([]SlurmTasks, error) {
	if len(s.jobs) == 0 {
		return nil, nil
	}
	text, err := output(exec.CommandContext(ctx, "squeue", "--noheader", "--array", "--format=%F %T %r"))
	if err != nil {
		return nil, err
	}
	counts := map[string]*SlurmTasks{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		t := counts[fields[0]]
		if t == nil {
			t = &SlurmTasks{Job: fields[0]}
			counts[t.Job] = t
		}
		switch fields[1] {
		case "RUNNING":
			t.Running++
		case "PENDING", "REQUEUED", "CONFIGURING":
			t.Pending++
			if reason := strings.Join(fields[2:], " "); reason != "None" && reason != "Priority" && reason != "Resources" {
				t.Reason = reason
			}
		default:
			t.Other++
		}
	}
	var left []SlurmTasks
	for _, id := range s.jobs {
		if t := counts[id]; t != nil {
			left = append(left, *t)
		}
	}
	return left, nil
}

// poll is how often Wait looks.
const poll = 2 * time.Second

// Wait waits until every stack has results and the tasks have ended, or no task is left that could train one, which is an error. It calls
// progress with each look. Tasks that go on with every result there, as do those that wait for a node, are waited for a few looks
// only. The arrays go on when ctx ends.
func (s *Slurm) Wait(ctx context.Context, progress func(Progress, []SlurmTasks)) error {
	start, missing := time.Now(), s.plan.Missing()
	idle, over := 0, 0
	for {
		// Tasks first: one that has ended since has its results there.
		tasks, err := s.Tasks(ctx)
		if err != nil {
			return cmp.Or(ctx.Err(), err)
		}
		if err := s.plan.look(s.store.FindAnywhere); err != nil {
			return err
		}
		left := s.plan.Missing()
		progress(Progress{Stacks: len(s.plan.Stacks), DoneStacks: len(s.plan.Stacks) - left, Steps: int64(missing), DoneSteps: int64(missing - left), Elapsed: time.Since(start)}, tasks)
		if left == 0 {
			if over++; len(tasks) == 0 || over > 5 {
				return nil
			}
		} else if len(tasks) > 0 {
			idle = 0
		} else if idle++; idle > 5 { // a shared folder may show files late
			return fmt.Errorf("sweep: no task is left and %d stacks have no results; their logs are in %s, and running it again submits them again", left, s.dir)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

// output runs a command of Slurm and returns what it prints.
func output(cmd *exec.Cmd) (string, error) {
	var answer, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &answer, &complaint
	err := cmd.Run()
	name := filepath.Base(cmd.Args[0])
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("sweep: no %s here: run this on a machine from which Slurm jobs are submitted", name)
	} else if err != nil {
		return "", fmt.Errorf("sweep: %s: %w: %s", name, err, strings.TrimSpace(complaint.String()))
	}
	return answer.String(), nil
}
