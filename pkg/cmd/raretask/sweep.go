package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"raretask/pkg/backend"
	"raretask/pkg/claims"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/sweep"
)

func init() { verbs = append(verbs, newSweepCommand) }

func newSweepCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Train all runs of a spec: plan, run, status, export, clean",
		Long: `Trains all runs of SPEC, a preset's name or a YAML file, and keeps their results. Runs that share a mixture and a data stream
train side by side as one stack, in one XLA program. A stack that has results is never trained again; one that was interrupted, also by
kill -9, goes on where it was, to the same bytes. Several sweeps may run at once: they share the work.

Results are Parquet files below results/runs, or RARETASK_RESULTS.

Presets, which sweep presets tells more of: ` + strings.Join(spec.Presets(), ", ") + `.`,
		Example: `  raretask sweep presets
  raretask sweep plan fig2
  raretask sweep run fig2
  raretask sweep export fig2 --out fig2.parquet`,
	}
	cmd.AddCommand(newSweepPresetsCommand(), newSweepPlanCommand(), newSweepRunCommand(), newSweepStatusCommand(), newSweepExportCommand(),
		newSweepCleanCommand(),
		newSweepTaskCommand())
	return cmd
}

// sweepVerb completes a verb of sweep that does something with the sweep of SPEC, once what it has of results is known.
func sweepVerb(cmd *cobra.Command, do func(cmd *cobra.Command, of *sweepOf) error) *cobra.Command {
	scale := scaleFlag(cmd)
	executor := cmd.Flags().String("executor", "local", "`WHERE` stacks train: local or slurm (results of whatever machine count)")
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *executor != "local" && *executor != "slurm" {
			return badUsage("--executor: %q: want local or slurm", *executor)
		}
		s, _, err := loadSweep(args[0], scale)
		if err != nil {
			return err
		}
		of := &sweepOf{Sweep: s}
		if of.store, err = results.Open(); err != nil {
			return err
		}
		if *executor == "slurm" {
			of.plan, err = sweep.NewPlan(s, of.store, nil)
		} else if of.backend, err = backend.Open(); err == nil {
			of.plan, err = sweep.NewPlan(s, of.store, &of.backend.Identity)
		}
		if err != nil {
			return err
		}
		return do(cmd, of)
	}
	return cmd
}

// loadSweep returns the sweep of a SPEC argument and its stacks; one that cannot train is wrong usage.
func loadSweep(name string, scale func() (string, error)) (*spec.Sweep, []spec.Stack, error) {
	s, err := loadSpec(name, scale)
	if err != nil {
		return nil, nil, err
	}
	stacks, err := sweep.Stacks(s)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return s, stacks, nil
}

// sweepOf is a sweep and where its results are.
type sweepOf struct {
	*spec.Sweep
	store   *results.Store
	plan    *sweep.Plan
	backend *backend.Backend // nil with --executor slurm
}

// counts are what the verbs of sweep print first.
type counts struct {
	Name       string `json:"name"`
	Runs       int    `json:"runs"`
	Stacks     int    `json:"stacks"`
	Done       int    `json:"done"` // runs
	DoneStacks int    `json:"done_stacks"`
}

func (of *sweepOf) counts() counts {
	c := counts{Name: of.Name, Stacks: len(of.plan.Stacks), DoneStacks: len(of.plan.Stacks) - of.plan.Missing()}
	c.Runs, c.Done = of.plan.Runs()
	return c
}

func (c counts) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d of %s done, in %d of %s\n", c.Name, c.Done, many(c.Runs, "run"), c.DoneStacks, many(c.Stacks, "stack"))
}

// planned is what sweep plan prints.
type planned struct {
	counts
	Programs   int      `json:"programs"`
	Parameters int      `json:"parameters"`
	FLOPs      float64  `json:"flops"`
	Seconds    *float64 `json:"seconds"`
	MemoryGiB  float64  `json:"memory_gib"`
	KeptBytes  int      `json:"kept_bytes"`
	Spec       string   `json:"spec"`
}

func newSweepPlanCommand() *cobra.Command {
	return sweepVerb(&cobra.Command{
		Use:   "plan SPEC",
		Short: "Say what would run and what it would cost",
		Long: `Prints how many runs SPEC has, in how many stacks and programs they train, how many are done, and the parameters, memory,
floating-point operations and time of what is left, and the spec with all of its defaults. The time comes from compiling up to three of
the programs and running each for a second.

JSON keys: runs, stacks and done (runs that have results), flops and seconds (of what is left; null where it takes more memory than this
machine has); also done_stacks, programs, parameters
(all runs), memory_gib (the largest stack), kept_bytes (of the weights that all runs keep) and spec (as YAML).`,
		Example: `  raretask sweep plan fig2 --scale paper
  raretask sweep plan my.yaml --json | jq .seconds`,
	}, func(cmd *cobra.Command, of *sweepOf) error {
		p, err := of.cost(cmd.Context())
		if err != nil {
			return err
		}
		return show(cmd, p, func(out io.Writer) {
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "%s\t%s in %s, %s to compile\n", p.Name, many(p.Runs, "run"), many(p.Stacks, "stack"), many(p.Programs, "program"))
			fmt.Fprintf(w, "done\t%s in %s\n", many(p.Done, "run"), many(p.DoneStacks, "stack"))
			fmt.Fprintf(w, "parameters\t%d, all runs\n", p.Parameters)
			fmt.Fprintf(w, "memory\tabout %.2g GiB for the largest stack\n", p.MemoryGiB)
			fmt.Fprintf(w, "kept\t%s of weights, all runs; sweep clean removes them\n", size(int64(p.KeptBytes)))
			time := "more memory than there is here"
			if p.Seconds != nil {
				time = seconds(*p.Seconds) + " here"
			}
			fmt.Fprintf(w, "left\tabout %.2g FLOPs, %s\n", p.FLOPs, time)
			w.Flush()
			fmt.Fprintf(out, "\nthe spec, defaults included:\n%s", p.Spec)
		})
	})
}

func (of *sweepOf) cost(ctx context.Context) (p planned, err error) {
	all, left := of.plan.Cost()
	text, err := of.YAML()
	if err != nil {
		return p, err
	}
	p = planned{counts: of.counts(), Spec: string(text), Programs: of.plan.Programs(), Parameters: all.Parameters, FLOPs: left.FLOPs,
		MemoryGiB: float64(all.Memory) / (1 << 30), KeptBytes: all.Kept}
	b := of.backend
	if b == nil && p.Programs > 0 {
		if b, err = backend.Open(); err != nil {
			return p, err
		}
	}
	long, err := of.plan.Estimate(ctx, b)
	var large *sweep.MemoryError
	if errors.As(err, &large) { // a plan for another machine
		slog.Warn(err.Error())
		return p, nil
	}
	seconds := long.Seconds()
	p.Seconds = &seconds
	return p, err
}

// ran is what sweep run prints.
type ran struct {
	counts
	Trained        int     `json:"trained"` // stacks, by this command
	Seconds        float64 `json:"seconds"`
	CompileSeconds float64 `json:"compile_seconds"`
	Results        string  `json:"results"`
}

func newSweepRunCommand() *cobra.Command {
	var every time.Duration
	var job slurmFlags
	cmd := sweepVerb(&cobra.Command{
		Use:   "run SPEC",
		Short: "Train what has no results yet",
		Long: `Trains the runs of SPEC that have no results yet. Ctrl-C stops at once and keeps what was trained; the same command goes on
from there. A stack that trains for longer keeps its state every --checkpoint, so that a kill costs no more than that.`,
		Example: `  raretask sweep run fig2 --scale smoke
  raretask sweep run my.yaml --checkpoint 5m
  raretask sweep run fig2 --scale paper --executor slurm --partition gpu --gpus 1 --time 4:00:00 --max-parallel 8 --wait`,
	}, func(cmd *cobra.Command, of *sweepOf) error {
		if of.backend == nil {
			return job.run(cmd, of, every)
		}
		return of.runHere(cmd, every)
	})
	cmd.Flags().DurationVar(&every, "checkpoint", time.Minute, "how `often` the state of a long training is kept")
	job.add(cmd)
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if every <= 0 {
			return badUsage("--checkpoint %s: want a duration > 0, as in 30s or 5m", every)
		}
		return job.check(cmd)
	}
	return cmd
}

func (of *sweepOf) runHere(cmd *cobra.Command, every time.Duration) error {
	p := showProgress(os.Stderr)
	now, err := of.plan.Train(cmd.Context(), of.backend, sweep.Options{Progress: p.training, Checkpoint: every})
	p.stop()
	if err != nil {
		if cmd.Context().Err() != nil {
			fmt.Fprintf(os.Stderr, "%d of %s done, and how far the others came is kept; run the same command to go on from there.\n",
				now.DoneRuns, many(now.Runs, "run"))
		}
		return err
	}
	r := ran{counts: of.counts(), Trained: now.Trained, Results: of.store.Dir,
		Seconds: now.Elapsed.Seconds(), CompileSeconds: now.Compile.Seconds()}
	return show(cmd, r, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s done, in %s; trained %s in %s", r.Name, many(r.Done, "run"), many(r.DoneStacks, "stack"),
			many(r.Trained, "stack"), seconds(r.Seconds))
		if r.Trained > 0 {
			fmt.Fprintf(w, ", of which compiling took %s (%.0f%%)", seconds(r.CompileSeconds), 100*r.CompileSeconds/r.Seconds)
		}
		fmt.Fprintf(w, "\nresults: %s\n", r.Results)
		of.printEnds(w)
		name := cmd.Flags().Arg(0)
		from := name
		if path, err := filepath.Abs(name); err == nil && isFile(path) { // a notebook's cells run elsewhere
			from = path
		}
		fmt.Fprintf(w, "\nnext: raretask sweep export %s --out %s.parquet; or in a notebook: cell.Show(figure.Loss(cell.Run(cell.Spec(%q))))\n",
			name, r.Name, from)
	})
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// mostEnds is how many lines the table of what nets end with has.
const mostEnds = 24

// printEnds prints what the sweep's nets end with, where a loss was measured.
func (of *sweepOf) printEnds(to io.Writer) {
	ends, err := claims.Ends(of.plan.Results())
	if err != nil {
		return // metrics without a loss, which is what was asked for
	}
	fmt.Fprintln(to)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "width\tparameters\tloss at the end\t95% interval\tseeds\t")
	for _, e := range ends[:min(len(ends), mostEnds)] {
		interval := ""
		if e.Loss.N > 1 {
			interval = fmt.Sprintf("%.4g to %.4g", e.Loss.Low, e.Loss.High)
		}
		seeds := fmt.Sprint(e.Loss.N)
		if e.Loss.Failed > 0 {
			seeds += fmt.Sprintf(", %d failed", e.Loss.Failed)
		}
		fmt.Fprintf(w, "%d\t%d\t%.4g\t%s\t%s\t%s\n", e.Width, e.Parameters, e.Loss.Mean, interval, seeds, e.Others)
	}
	w.Flush()
	if more := len(ends) - mostEnds; more > 0 {
		fmt.Fprintf(to, "… and %d more\n", more)
	}
	fmt.Fprintln(to, "loss of the mixture by frequency; 1: the best constant of each task")
}

// many writes a count and what is counted.
func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// training shows how far a sweep is.
func (p *progress) training(s sweep.Progress) {
	p.set(s.Text(), s.DoneSteps, s.Steps)
}

// stackState is a line of sweep status.
type stackState struct {
	Stack int    `json:"stack"`
	Runs  int    `json:"runs"`
	State string `json:"state"` // done, training, interrupted (a state is kept) or left
	Step  int    `json:"step"`  // at which the state was kept last
	Steps int    `json:"steps"`
	File  string `json:"file,omitempty"`
}

// state is what sweep status prints.
type state struct {
	counts
	Jobs   []sweep.SlurmTasks `json:"jobs,omitempty"`
	States []stackState       `json:"states"`
}

func newSweepStatusCommand() *cobra.Command {
	return sweepVerb(&cobra.Command{
		Use:   "status SPEC",
		Short: "Say how far a sweep is",
		Long: `Prints which stacks of SPEC are done, which are training or were interrupted and at which step their state was kept last, and
which are left. With --executor slurm also the state of their job arrays.

JSON keys: runs, stacks, done (runs that have results), done_stacks, states, jobs.`,
		Example: `  raretask sweep status fig2
  raretask sweep status fig2 --scale paper --executor slurm --json`,
	}, func(cmd *cobra.Command, of *sweepOf) error {
		now, err := of.state(cmd.Context())
		if err != nil {
			return err
		}
		return show(cmd, now, now.print)
	})
}

func (of *sweepOf) state(ctx context.Context) (state, error) {
	now := state{counts: of.counts()}
	if of.backend == nil {
		// Tasks first: one that has ended since trains nothing any more.
		job, err := sweep.OpenSlurm(of.store, of.plan)
		if err != nil {
			return now, err
		}
		if now.Jobs, err = job.Tasks(ctx); err != nil {
			return now, err
		}
	}
	for i, stack := range of.plan.Stacks {
		line := stackState{Stack: i, Runs: len(stack), State: "left", Steps: stack[0].Train.Steps}
		if done := of.plan.Done[i]; done != nil {
			line.State, line.Step, line.File = "done", line.Steps, done.Path
		} else if line.Step = sweep.Kept(of.store, stack); sweep.Locked(of.store, stack) {
			line.State = "training"
		} else if line.Step > 0 {
			line.State = "interrupted"
		}
		now.States = append(now.States, line)
	}
	return now, nil
}

func (s state) print(w io.Writer) {
	s.counts.print(w)
	for _, line := range s.States {
		if line.State == "training" || line.State == "interrupted" {
			fmt.Fprintf(w, "stack %d: %s, state kept at step %d of %d\n", line.Stack, line.State, line.Step, line.Steps)
		}
	}
	printJobs(w, s.Jobs)
}

// exported is what sweep export prints.
type exported struct {
	counts
	File string `json:"file"`
	Rows int    `json:"rows"`
}

func newSweepExportCommand() *cobra.Command {
	var out string
	var long bool
	cmd := sweepVerb(&cobra.Command{
		Use:   "export SPEC",
		Short: "Write all results as one table",
		Long: `Writes the results of SPEC as one table, a row for each run, step and task, with a column for each setting (named by its key in a
spec) and for each metric. --long makes it a row for each run, step, task and metric, with columns metric and value. The ending of --out
chooses CSV or Parquet; without it CSV goes to standard output. Parquet documents its columns in the metadata key "columns". Stacks that
have no results yet are left out, with a notice.`,
		Example: `  raretask sweep export fig2 --out fig2.parquet
  raretask sweep export fig2 --long | head`,
	}, func(cmd *cobra.Command, of *sweepOf) error { return of.export(cmd, out, long) })
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write: *.csv or *.parquet")
	cmd.Flags().BoolVar(&long, "long", false, "a row for each metric, in place of a column")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if out != "" && !strings.HasSuffix(out, ".csv") && !strings.HasSuffix(out, ".parquet") {
			return badUsage("--out: %s: want a name that ends in .csv or .parquet", out)
		}
		if out == "" && wantsJSON(cmd) {
			return badUsage("--json: want --out too, because the table would go to standard output")
		}
		return nil
	}
	return cmd
}

func (of *sweepOf) export(cmd *cobra.Command, out string, long bool) error {
	e := exported{counts: of.counts(), File: out}
	if e.DoneStacks == 0 {
		return errors.New("no results yet; `raretask sweep run` trains them")
	}
	if e.DoneStacks < e.Stacks {
		fmt.Fprintf(os.Stderr, "raretask: %d of %s have no results yet and are left out\n", e.Runs-e.Done, many(e.Runs, "run"))
	}
	files := slices.DeleteFunc(slices.Clone(of.plan.Done), func(f *results.File) bool { return f == nil })
	if part := len(files) - len(slices.DeleteFunc(slices.Clone(files), of.published)); part > 0 {
		fmt.Fprintf(os.Stderr, "raretask: %d of %d stacks are what notebooks draw of published results, not all steps and metrics; "+
			"with RARETASK_PUBLISHED=0 `raretask sweep run` trains them\n", part, len(files))
	}
	if out == "" {
		_, err := results.Export(cmd.OutOrStdout(), of.Name, false, long, files)
		return err
	}
	err := results.WriteFile(out, func(f *os.File) (err error) {
		e.Rows, err = results.Export(f, of.Name, strings.HasSuffix(out, ".parquet"), long, files)
		return err
	})
	if err != nil {
		return err
	}
	return show(cmd, e, func(w io.Writer) { fmt.Fprintf(w, "%s: %s of %s\n", e.File, many(e.Rows, "row"), many(e.Done, "run")) })
}

// published reports whether a file came with the project.
func (of *sweepOf) published(f *results.File) bool {
	return slices.Contains([]string{of.store.Published, results.PublishedAt(of.store.Published, "paper")}, filepath.Dir(f.Path))
}

// cleaned is what sweep clean prints.
type cleaned struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

func newSweepCleanCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clean SPEC",
		Short: "Remove the weights that a sweep has kept",
		Long: `Removes the weights that the runs of SPEC have kept. Results stay; a metric that is asked for later is then measured by training
again.`,
		Example: `  raretask sweep clean fig2`,
		Args:    cobra.ExactArgs(1),
	}
	scale := scaleFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, stacks, err := loadSweep(args[0], scale)
		if err != nil {
			return err
		}
		store, err := results.Open()
		if err != nil {
			return err
		}
		c := cleaned{Name: s.Name}
		if c.Bytes, err = store.RemoveWeights(stacks); err != nil {
			return err
		}
		return show(cmd, c, func(w io.Writer) { fmt.Fprintf(w, "%s: removed %s of weights\n", c.Name, size(c.Bytes)) })
	}
	return cmd
}

// size writes a number of bytes as people do.
func size(bytes int64) string {
	unit, units := float64(bytes), []string{"B", "KB", "MB", "GB", "TB"}
	for unit >= 1000 && len(units) > 1 {
		unit, units = unit/1000, units[1:]
	}
	return fmt.Sprintf("%.3g %s", unit, units[0])
}
