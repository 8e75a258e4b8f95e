package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"raretask/pkg/lab"
)

func init() { verbs = append(verbs, newReproduceCommand) }

func newReproduceCommand() *cobra.Command {
	var job lab.Job
	cmd := &cobra.Command{
		Use:   "reproduce [FIGURE…]",
		Short: "Execute the notebooks and write the paper's figures",
		Long: `Sets up what is missing, executes the notebooks without a browser, and writes the executed notebooks, each figure as PNG, SVG
and CSV, and a page that shows them (index.html). With FIGURE only the cells that draw it run, and those they need:
fig2a is one panel, fig2 all of them. Results of training are kept, so that a second run, or one that was cut off, trains nothing twice.

--notebook executes a notebook of yours instead. A cell belongs to a figure by its tag, which may be any word but setup; cells tagged
setup always run.`,
		Example: `  raretask reproduce fig2                   # minutes
  raretask reproduce fig2 --scale smoke     # seconds, rough
  raretask reproduce --out figures          # every figure
  raretask reproduce --notebook mine.ipynb  # your own`,
	}
	scale := scaleFlag(cmd)
	cmd.Flags().StringVar(&job.Out, "out", "", "`folder` for the results (default results/reproduce/SCALE)")
	cmd.Flags().StringArrayVar(&job.Notebooks, "notebook", nil, "`file` to execute instead of the project's notebooks; may be repeated")
	cmd.Flags().BoolVar(&job.InPlace, "in-place", false, "write outputs into the notebooks themselves")
	cmd.Flags().MarkHidden("in-place")
	cmd.RunE = func(cmd *cobra.Command, figures []string) (err error) {
		job.Figures = figures
		if job.Scale, err = scale(); err != nil {
			return err
		}
		return reproduce(cmd, job)
	}
	return cmd
}

// reproduction is what --json prints.
type reproduction struct {
	Scale   string       `json:"scale"`
	Out     string       `json:"out"`
	Index   string       `json:"index"`
	Figures []lab.Figure `json:"figures"`
}

func reproduce(cmd *cobra.Command, job lab.Job) error {
	l, err := lab.Open()
	if err != nil {
		return err
	}
	if job.Notebooks, err = notebooks(l, job.Notebooks); err != nil {
		return err
	}
	if err := lab.CheckFigures(job.Figures, job.Notebooks); err != nil {
		var unknown *lab.UnknownFigure
		if errors.As(err, &unknown) {
			return usageError{err}
		}
		return err
	}
	if job.Out, err = outFolder(l, job); err != nil {
		return err
	}
	if err := checkCopies(job); err != nil {
		return err
	}
	if _, err := setUp(cmd, lab.Gopls); err != nil {
		return err
	}
	p := showProgress(os.Stderr)
	drawn, err := l.Execute(cmd.Context(), job, p.event)
	p.stop()
	if err != nil {
		return err
	}
	index, err := lab.WriteIndex(job, drawn)
	if err != nil {
		return err
	}
	return report(cmd, reproduction{job.Scale, job.Out, index, drawn})
}

// notebooks are the named ones, or the project's.
func notebooks(l *lab.Lab, named []string) ([]string, error) {
	if len(named) == 0 {
		return l.Notebooks()
	}
	for i, path := range named {
		if _, err := os.Stat(path); err != nil {
			return nil, badUsage("--notebook: %w", err)
		}
		var err error
		if named[i], err = filepath.Abs(path); err != nil {
			return nil, err
		}
	}
	return named, nil
}

// checkCopies refuses notebooks whose executed copies would overwrite one of them or each other.
func checkCopies(job lab.Job) error {
	copies := map[string]string{}
	for _, path := range job.Notebooks {
		if job.InPlace {
			break
		}
		to := filepath.Join(job.Out, filepath.Base(path))
		if other := copies[to]; other != "" {
			return badUsage("--notebook: %s and %s would both be written to %s; rename one", other, path, to)
		}
		copies[to] = path
		source, err := os.Stat(path)
		if err != nil {
			return err
		}
		if target, err := os.Stat(to); err == nil && os.SameFile(source, target) {
			return badUsage("--out: %s would be overwritten by its executed copy; choose another folder", path)
		}
	}
	return nil
}

// outFolder is --out, or a folder of the scale below the results.
func outFolder(l *lab.Lab, job lab.Job) (string, error) {
	if job.Out != "" {
		return filepath.Abs(job.Out)
	}
	results := os.Getenv("RARETASK_RESULTS")
	if results == "" {
		results = filepath.Join(l.Root(), "results")
	}
	return filepath.Abs(filepath.Join(results, "reproduce", job.Scale))
}

func report(cmd *cobra.Command, r reproduction) error {
	if wantsJSON(cmd) {
		return printJSON(cmd, r)
	}
	w := cmd.OutOrStdout()
	for _, figure := range r.Figures {
		fmt.Fprintf(w, "%-8s %8s  %s\n", figure.Name, seconds(figure.Seconds), figure.Title)
	}
	fmt.Fprintf(w, "%d figure(s): open %s\n", len(r.Figures), r.Index)
	return nil
}
