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
	"slices"
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
	Metrics    []string      `json:"metrics"`
	Keep       []int         `json:"keep"`
	Chunk      int           `json:"chunk"` // stacks of a task
	Checkpoint time.Duration `json:"checkpoint"`
}

func (j *job) task(i int) []spec.Stack {
	return j.Stacks[min(i*j.Chunk, len(j.Stacks)):min((i+1)*j.Chunk, len(j.Stacks))]
}

// OpenSlurm returns the job arrays of a plan.
func OpenSlurm(store *results.Store, plan *Plan) (*Slurm, error) {
	dir := filepath.Join(filepath.Dir(store.Dir), "slurm", folderOf(plan.Stacks))
	s := &Slurm{dir: dir, store: store, plan: plan}
	return s, s.readJobs()
}

// folderOf returns the name of the folder of a sweep's arrays.
func folderOf(stacks []spec.Stack) string {
	digest := sha256.New()
	for _, stack := range stacks {
		io.WriteString(digest, stack.Hash())
	}
	return hex.EncodeToString(digest.Sum(nil)[:8])
}

func (s *Slurm) readJobs() error {
	text, err := os.ReadFile(filepath.Join(s.dir, "jobs"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	s.jobs = strings.Fields(string(text))
	return err
}

// Dir returns the folder of the arrays' logs.
func (s *Slurm) Dir() string { return s.dir }

// Submit submits a job array that trains what has no results yet, and returns its number. Where arrays of this sweep have tasks left it
// submits nothing and returns these. Of several submissions at once each looks after the one before it has submitted; waiting, called once,
// tells of that. A task that a failing node takes down is queued again; a task that is cancelled or ends early leaves the state that the
// next array goes on from.
func (s *Slurm) Submit(ctx context.Context, name string, o SlurmOptions, waiting func()) (id string, running []SlurmTasks, err error) {
	l, err := s.lock(ctx, waiting)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	if err := s.readJobs(); err != nil {
		return "", nil, err
	}
	if running, err = s.Tasks(ctx); err != nil || len(running) > 0 {
		return "", running, err
	}
	if err := s.plan.look(); err != nil || s.plan.Missing() == 0 {
		return "", nil, err
	}
	if id, err = s.sbatch(ctx, name, o); err != nil {
		return "", nil, err
	}
	s.jobs = append(s.jobs, id)
	return id, nil, place(filepath.Join(s.dir, "jobs"), []byte(strings.Join(s.jobs, "\n")+"\n"), 0o644)
}

// lock waits for the lock of this sweep's submissions.
func (s *Slurm) lock(ctx context.Context, waiting func()) (*lock, error) {
	for {
		l, err := tryLock(filepath.Join(s.dir, "lock"))
		if l != nil || err != nil {
			return l, err
		}
		waiting()
		waiting = func() {}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *Slurm) sbatch(ctx context.Context, name string, o SlurmOptions) (id string, err error) {
	chunk := (len(s.plan.Stacks) + largestArray - 1) / largestArray
	program, script, err := s.prepare(&job{
		Name: name, Stacks: s.plan.Stacks, Metrics: s.plan.metrics, Keep: s.plan.keep, Chunk: chunk, Checkpoint: o.Checkpoint,
	})
	if err != nil {
		return "", err
	}
	if o.Script != "" {
		if script, err = filepath.Abs(o.Script); err != nil {
			return "", err
		}
	}
	if strings.Contains(s.dir, `\`) { // with it sbatch replaces nothing in a name: no task would have a log of its own
		return "", fmt.Errorf(`sweep: %s: Slurm can't keep logs where a folder's name has a \; choose another with RARETASK_RESULTS`, s.dir)
	}
	logs := filepath.Join(strings.ReplaceAll(s.dir, "%", "%%"), "%A_%a.log")
	args := append(o.arguments(), "--job-name=raretask-"+name, "--chdir="+s.dir, "--output="+logs, "--array="+s.array(chunk, o.MaxParallel))
	cmd := exec.CommandContext(ctx, "sbatch", append(args, script, program, "sweep", "task", s.dir)...)
	cmd.Env = append(os.Environ(), "RARETASK_RESULTS="+filepath.Dir(s.store.Dir))
	if root, err := backend.Root(); err == nil {
		cmd.Env = append(cmd.Env, "RARETASK_ROOT="+root)
	}
	answer, err := output(cmd)
	if err != nil {
		return "", err
	}
	id, _, _ = strings.Cut(strings.TrimSpace(answer), ";") // on a federation the cluster's name follows
	if _, err := strconv.Atoi(id); err != nil {
		return "", fmt.Errorf("sweep: sbatch answered %q: want a job's number", answer)
	}
	return id, nil
}

// arguments returns sbatch's, but for what differs between sweeps.
func (o SlurmOptions) arguments() []string {
	args := []string{"--parsable", "--requeue", "--open-mode=append", "--export=ALL", "--ntasks=1"}
	for _, option := range []struct {
		name  string
		value any
	}{{"partition", o.Partition}, {"time", o.Time}, {"mem", o.Memory}, {"gpus", o.GPUs}, {"cpus-per-task", o.CPUs}} {
		if option.value != "" && option.value != 0 {
			args = append(args, fmt.Sprintf("--%s=%v", option.name, option.value))
		}
	}
	return args
}

// array returns the indices of the tasks that have something to train, as sbatch takes them: 0-3,7%2.
func (s *Slurm) array(chunk, maxParallel int) string {
	tasks := slices.Collect(slices.Chunk(s.plan.Done, chunk))
	var ranges []string
	for first := 0; first < len(tasks); first++ {
		end := first
		for end < len(tasks) && slices.Contains(tasks[end], nil) {
			end++
		}
		switch end - first {
		case 0:
		case 1:
			ranges = append(ranges, strconv.Itoa(first))
		default:
			ranges = append(ranges, fmt.Sprintf("%d-%d", first, end-1))
		}
		first = end
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
	return program, script, errors.Join(
		place(filepath.Join(s.dir, "job.json"), text, 0o644),
		place(program, binary, 0o755),
		place(script, []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755))
}

// place writes a file unless it is there as it should be. A kill at any point leaves no file of that name without its mode.
func place(path string, content []byte, mode fs.FileMode) error {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&mode == mode {
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
			return nil
		}
	}
	return results.WriteFile(path, func(f *os.File) error {
		_, err := f.Write(content)
		return errors.Join(err, f.Chmod(mode))
	})
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
	if name := folderOf(j.Stacks); name != filepath.Base(dir) || j.Chunk < 1 || index < 0 || index*j.Chunk >= len(j.Stacks) {
		return fmt.Errorf("sweep: SLURM_ARRAY_TASK_ID=%d: %s has no such task, or has been changed; submit the sweep again", index, dir)
	}
	p, err := planOf(j.task(index), j.Metrics, j.Metrics != nil, j.Keep, store, nil)
	if err != nil || p.Missing() == 0 {
		return err
	}
	b, err := backend.Open()
	if err != nil {
		return err
	}
	_, err = p.Train(ctx, b, Options{Progress: progress, Checkpoint: j.Checkpoint})
	return err
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

// Tasks returns the arrays of this sweep that have tasks left, as squeue has them. It asks for each alone, which spares the controller the
// list of all jobs, and no longer for those that Slurm has forgotten.
func (s *Slurm) Tasks(ctx context.Context) ([]SlurmTasks, error) {
	var left []SlurmTasks
	var known []string
	for _, id := range s.jobs {
		text, err := output(exec.CommandContext(ctx, "squeue", "--noheader", "--array", "--jobs="+id, "--format=%T %r"))
		if err != nil && strings.Contains(err.Error(), "Invalid job id") {
			continue
		} else if err != nil {
			return nil, err
		}
		known = append(known, id)
		if t := tasksOf(id, text); t != (SlurmTasks{Job: id}) {
			left = append(left, t)
		}
	}
	s.jobs = known
	return left, nil
}

// tasksOf counts the tasks of an array in the lines of squeue.
func tasksOf(id, text string) SlurmTasks {
	t := SlurmTasks{Job: id}
	for line := range strings.Lines(text) {
		state, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch state {
		case "":
		case "RUNNING":
			t.Running++
		case "PENDING", "REQUEUED", "CONFIGURING":
			t.Pending++
			if reason != "None" && reason != "Priority" && reason != "Resources" {
				t.Reason = reason
			}
		default:
			t.Other++
		}
	}
	return t
}

// Wait looks every poll, and while nothing changes ever more rarely, down to every slowPoll.
var poll, slowPoll = 2 * time.Second, 30 * time.Second

// Wait waits until every stack has results and the tasks have ended, or no task is left that could train one, which is an error. It calls
// progress with each look. Tasks that go on with every result there, as do those that wait for a node, are waited for a few looks
// only. The arrays go on when ctx ends.
func (s *Slurm) Wait(ctx context.Context, progress func(Progress, []SlurmTasks)) error {
	start, missing := time.Now(), s.plan.Missing()
	idle, over := 0, 0
	var last Progress
	var lastTasks []SlurmTasks
	for wait := poll; ; {
		// Tasks first: one that has ended since has its results there.
		tasks, err := s.Tasks(ctx)
		if err != nil {
			return cmp.Or(ctx.Err(), err)
		}
		if err := s.plan.look(); err != nil {
			return err
		}
		left := s.plan.Missing()
		all := len(s.plan.Stacks)
		now := Progress{Stacks: all, DoneStacks: all - left, Steps: int64(missing), DoneSteps: int64(missing - left)}
		now.Runs, now.DoneRuns = s.plan.Runs()
		if wait = min(wait*3/2, slowPoll); now != last || !slices.Equal(tasks, lastTasks) || left == 0 || len(tasks) == 0 {
			wait = poll
		}
		last, lastTasks = now, tasks
		now.Elapsed = time.Since(start)
		progress(now, tasks)
		if left == 0 {
			if over++; len(tasks) == 0 || over > 5 {
				return nil
			}
		} else if len(tasks) > 0 {
			idle = 0
		} else if idle++; idle > 5 { // a shared folder may show files late
			return fmt.Errorf("sweep: no task is left and %d stacks have no results; their logs are in %s, and running it again submits them again",
				left, s.dir)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// output runs a command of Slurm and returns what it prints.
func output(cmd *exec.Cmd) (string, error) {
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	answer, err := cmd.Output()
	if name := filepath.Base(cmd.Args[0]); errors.Is(err, exec.ErrNotFound) {
		err = fmt.Errorf("sweep: no %s here: run this on a machine from which Slurm jobs are submitted", name)
	} else if err != nil {
		err = fmt.Errorf("sweep: %s: %w: %s", name, err, strings.TrimSpace(complaint.String()))
	}
	return string(answer), err
}
