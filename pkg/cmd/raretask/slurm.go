package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gomlx/gomlx/support/xslices"
	"github.com/spf13/cobra"

	"raretask/pkg/results"
	"raretask/pkg/sweep"
)

// slurmFlags are those of sweep run that are for --executor slurm.
type slurmFlags struct {
	sweep.SlurmOptions
	wait bool
}

var slurmFlagNames = []string{"partition", "time", "memory", "gpus", "cpus", "max-parallel", "script", "wait"}

func (f *slurmFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Partition, "partition", "", "Slurm: `name` of the partition")
	flags.StringVar(&f.Time, "time", "", "Slurm: `limit` of a task, as in 4:00:00; a task that hits it leaves a state to go on from")
	flags.StringVar(&f.Memory, "memory", "", "Slurm: `size` for a task, as in 8G")
	flags.IntVar(&f.GPUs, "gpus", 0, "Slurm: GPUs for a task")
	flags.IntVar(&f.CPUs, "cpus", 0, "Slurm: cores for a task")
	flags.IntVar(&f.MaxParallel, "max-parallel", 0, "Slurm: tasks at a time (default: as many as fit)")
	flags.StringVar(&f.Script, "script", "", "Slurm: your own job `file`, which runs its arguments: in a container, say, or after loading "+
		"modules (default: one with just exec \"$@\")")
	flags.BoolVar(&f.wait, "wait", false, "Slurm: wait for the results and show progress")
}

func (f *slurmFlags) check(cmd *cobra.Command) error {
	for _, name := range slurmFlagNames {
		if cmd.Flags().Changed(name) && cmd.Flag("executor").Value.String() == "local" {
			return badUsage("--%s: is for --executor slurm", name)
		}
	}
	if f.GPUs < 0 || f.CPUs < 0 || f.MaxParallel < 0 {
		return badUsage("--gpus %d, --cpus %d, --max-parallel %d: want numbers >= 0", f.GPUs, f.CPUs, f.MaxParallel)
	}
	return nil
}

// submitted is what sweep run --executor slurm prints.
type submitted struct {
	counts
	Job  string             `json:"job"` // of this call; empty where nothing was to submit
	Jobs []sweep.SlurmTasks `json:"jobs"`
	Logs string             `json:"logs"`
}

func (f *slurmFlags) run(cmd *cobra.Command, of *sweepOf, every time.Duration) error {
	slurm, err := sweep.OpenSlurm(of.store, of.plan)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	s := submitted{Logs: slurm.Dir()}
	if of.plan.Missing() > 0 {
		f.Checkpoint = every
		waiting := func() {
			fmt.Fprintln(os.Stderr, "raretask: another submission of this sweep is under way; waiting for it")
		}
		job, running, err := slurm.Submit(ctx, of.Name, f.SlurmOptions, waiting)
		switch s.Job = job; {
		case err != nil:
			return err
		case len(running) > 0:
			fmt.Fprintf(os.Stderr, "raretask: job %s has tasks left; nothing more is submitted\n", running[len(running)-1].Job)
		case job != "":
			fmt.Fprintf(os.Stderr, "raretask: submitted job %s; `scancel %s` stops it, and what it has trained is kept\n", job, job)
		}
	}
	if f.wait {
		if err := waitForTasks(cmd, slurm); err != nil {
			return err
		}
	}
	if s.Jobs, err = slurm.Tasks(ctx); err != nil {
		return err
	}
	s.counts = of.counts()
	return show(cmd, s, func(w io.Writer) {
		s.print(w)
		printJobs(w, s.Jobs)
		fmt.Fprintf(w, "logs: %s\n", s.Logs)
	})
}

func printJobs(w io.Writer, jobs []sweep.SlurmTasks) {
	for _, j := range jobs {
		fmt.Fprintf(w, "job %s: %s\n", j.Job, j)
	}
}

func waitForTasks(cmd *cobra.Command, slurm *sweep.Slurm) error {
	p := showProgress(os.Stderr)
	err := slurm.Wait(cmd.Context(), p.tasks)
	p.stop()
	if cmd.Context().Err() != nil {
		fmt.Fprintln(os.Stderr, "The job goes on; the same command waits for it again.")
	}
	return err
}

// tasks shows how far the tasks of a job array are.
func (p *progress) tasks(s sweep.Progress, tasks []sweep.SlurmTasks) {
	p.set(s.Text(xslices.Map(tasks, sweep.SlurmTasks.String)...), s.DoneSteps, s.Steps)
}

// newSweepTaskCommand is what the tasks of a job array run.
func newSweepTaskCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "task DIR",
		Short:  "Train the stacks of one task of a Slurm job array",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := results.Open()
			if err != nil {
				return err
			}
			p := showProgress(os.Stderr)
			defer p.stop()
			return sweep.RunTask(cmd.Context(), args[0], store, p.training)
		},
	}
}
