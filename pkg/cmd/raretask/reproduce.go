package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/gomlx/support/xslices"
	"github.com/spf13/cobra"

	"raretask/pkg/claims"
	"raretask/pkg/lab"
	"raretask/pkg/results"
	"raretask/pkg/spec"
)

func init() { verbs = append(verbs, newReproduceCommand) }

func newReproduceCommand() *cobra.Command {
	var job lab.Job
	cmd := &cobra.Command{
		Use:   "reproduce [FIGURE…]",
		Short: "Execute the notebooks and write the paper's figures",
		Long: `Sets up what is missing, executes the notebooks without a browser, and writes the executed notebooks, each figure as PNG, SVG
and CSV, and a gallery (index.html): the figures with their captions, each notebook as a page with its charts interactive, the table of
claims. The folder is a web site as it is and needs no network. With FIGURE only the cells that draw it run, and those they need:
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
	cmd.Flags().BoolVar(&job.Published, "published", false, "draw the points that came with the project rather than train them")
	cmd.Flags().BoolVar(&job.InPlace, "in-place", false, "write outputs into the notebooks themselves")
	cmd.Flags().MarkHidden("in-place")
	cmd.RunE = func(cmd *cobra.Command, figures []string) (err error) {
		job.Figures = figures
		if job.Scale, err = scale(); err == nil {
			err = reproduce(cmd, job)
		}
		return err
	}
	return cmd
}

// scaleFlag adds --scale to a command and returns what to ask for its value: the flag beats RARETASK_SCALE, which beats quick.
func scaleFlag(cmd *cobra.Command) func() (string, error) {
	flag := cmd.Flags().String("scale", "", "`S`ize: smoke (seconds), quick (minutes) or paper (default: RARETASK_SCALE, or else quick)")
	return func() (string, error) {
		scale, source := *flag, "--scale"
		if scale == "" {
			scale, source = os.Getenv("RARETASK_SCALE"), "RARETASK_SCALE"
		}
		if scale = cmp.Or(scale, "quick"); !slices.Contains(spec.Scales, scale) {
			return "", badUsage("%s: unknown scale %q; want %s", source, scale, strings.Join(spec.Scales, ", "))
		}
		return scale, nil
	}
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
	var unknown *lab.UnknownFigure
	if err := lab.CheckFigures(job.Figures, job.Notebooks); errors.As(err, &unknown) {
		return usageError{err}
	} else if err != nil {
		return err
	}
	if job.Out == "" {
		folder, err := results.Dir()
		if err != nil {
			return err
		}
		job.Out = filepath.Join(folder, "reproduce", job.Scale)
	}
	if job.Out, err = filepath.Abs(job.Out); err != nil {
		return err
	}
	if err := checkCopies(job); err != nil {
		return err
	}
	if _, err := setUp(cmd, lab.Gopls); err != nil {
		return err
	}
	p := showProgress(os.Stderr)
	begin := time.Now()
	drawn, err := l.Execute(cmd.Context(), job, p.event)
	p.stop()
	if err != nil {
		return err
	}
	about := lab.Colophon{Version: version(), Date: begin.UTC().Format("2 January 2006, 15:04 UTC"), Seconds: time.Since(begin).Seconds()}
	if about.Verdicts, err = verdicts(job.Scale); err != nil {
		return err
	}
	index, err := l.WriteGallery(cmd.Context(), job, drawn, about)
	if err != nil {
		return err
	}
	return show(cmd, reproduction{job.Scale, job.Out, index, drawn}, func(w io.Writer) {
		for _, figure := range drawn {
			fmt.Fprintf(w, "%-8s %8s  %s\n", figure.Name, seconds(figure.Seconds), figure.Title)
		}
		fmt.Fprintf(w, "%d figure(s): open %s\n", len(drawn), index)
	})
}

// verdicts are the rows of the gallery's table of claims.
func verdicts(scale string) ([]lab.Verdict, error) {
	if scale == "smoke" { // at which nothing is to be judged
		scale = "quick"
	}
	judged, err := judge(scale)
	return xslices.Map(judged, func(j claims.Judged) lab.Verdict {
		return lab.Verdict{Statement: j.Text, Source: j.Source, Verdict: string(j.Verdict), Parts: partsOf(j), Sentence: j.Sentence,
			Late: j.Late && j.Verdict != claims.NotRun}
	}), err
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
	if job.InPlace {
		return nil
	}
	for _, path := range job.Notebooks {
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
