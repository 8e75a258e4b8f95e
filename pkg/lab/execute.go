package lab

import (
	"bufio"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"codeberg.org/go-fonts/dejavu/dejavusans"
	"codeberg.org/go-fonts/dejavu/dejavusansbold"
	"github.com/gomlx/gomlx/support/xslices"
)

//go:embed execute.py
var executePy string

// A Job says which cells of which notebooks to execute, at what scale, and where the results go.
type Job struct {
	Notebooks []string // paths
	Figures   []string // fig2a, or fig2 for all of its panels; none for whole notebooks
	Scale     string   // smoke, quick or paper
	Out       string   // folder of the executed copies; figures go to its folder figures

	// InPlace writes the outputs into the notebooks themselves, to refresh what is committed.
	InPlace bool
	// Published lets notebooks draw the points that came with the project rather than train them.
	Published bool
}

// A Figure is what a cell drew.
type Figure struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Files   []string `json:"files"`   // relative to Job.Out
	Seconds float64  `json:"seconds"` // spent in the cells tagged with it
}

// plan is the part of a job that needs a kernel: a line of JSON for execute.py.
type plan struct {
	Notebooks    []planned   `json:"notebooks"`
	InPlace      bool        `json:"in_place"`
	Replacements [][2]string `json:"replacements"` // paths of this machine and what stands for them
	Fonts        string      `json:"fonts"`        // folder of what pictures are written in
}

type planned struct {
	Path  string `json:"path"`
	Out   string `json:"out"`
	Cells []int  `json:"cells"`
}

// outcome is an event of execute.py.
type outcome struct {
	State    string  `json:"state"` // start, done or failed for a cell; written for a notebook
	Notebook string  `json:"notebook"`
	Cell     int     `json:"cell"`
	Seconds  float64 `json:"seconds"`
	Error    string  `json:"error"`
}

// Execute runs the job's cells in fresh kernels, notebook after notebook, draws the charts that they show (Vega-Lite) as pictures, and
// stops at the first failing cell with its error. It returns what was drawn until then. Cancelling ctx shuts the kernel down. The lab
// must have been set up.
func (l *Lab) Execute(ctx context.Context, job Job, progress Progress) ([]Figure, error) {
	notebooks, err := readNotebooks(job.Notebooks, job.Figures...)
	if err != nil {
		return nil, err
	}
	figuresDir := filepath.Join(job.Out, "figures")
	staging := ""
	if err = os.MkdirAll(figuresDir, 0o755); err == nil {
		staging, err = os.MkdirTemp(job.Out, ".drawing-")
	}
	if err != nil {
		return nil, fmt.Errorf("lab: cannot write results: %w; choose another folder", err)
	}
	defer os.RemoveAll(staging)

	run := &execution{notebooks: notebooks, staging: staging, figures: figuresDir, progress: progress, drawn: []Figure{}}
	plan := l.plan(job, run)
	if plan.Fonts, err = l.fonts(); err != nil {
		return nil, err
	}
	cmd, err := l.command(ctx, "-c", executePy)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, "RARETASK_SCALE="+job.Scale, "RARETASK_FIGURES="+staging)
	if !job.Published {
		cmd.Env = append(cmd.Env, "RARETASK_PUBLISHED=0")
	}
	cmd.Stderr = os.Stderr
	err = run.follow(cmd, plan)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return run.figuresDrawn(), err
}

// fonts writes the fonts of charts to a folder: a machine may have none, or none with all letters of mathematics.
func (l *Lab) fonts() (string, error) {
	dir := filepath.Join(l.jupyterHome(), "fonts")
	for name, content := range map[string][]byte{"DejaVuSans.ttf": dejavusans.TTF, "DejaVuSans-Bold.ttf": dejavusansbold.TTF} {
		if err := replace(filepath.Join(dir, name), content); err != nil {
			return "", fmt.Errorf("lab: cannot write fonts: %w", err)
		}
	}
	return dir, nil
}

func (l *Lab) plan(job Job, run *execution) plan {
	p := plan{InPlace: job.InPlace, Replacements: [][2]string{{l.root + "/", ""}, {l.root, "."}}}
	if home, err := os.UserHomeDir(); err == nil && len(home) > 1 {
		p.Replacements = append(p.Replacements, [2]string{home, "~"})
	}
	for _, n := range run.notebooks {
		item := planned{Path: n.path, Out: n.path}
		if !job.InPlace {
			item.Out = filepath.Join(job.Out, filepath.Base(n.path))
		}
		item.Cells = xslices.Map(n.only(job.Figures), func(c cell) int { return c.index })
		if len(item.Cells) > 0 {
			p.Notebooks = append(p.Notebooks, item)
			run.total += len(item.Cells)
		}
	}
	return p
}

// execution follows one run of execute.py.
type execution struct {
	notebooks        []notebook
	staging, figures string
	progress         Progress
	done, total      int
	seconds          map[string]float64 // by tag
	drawn            []Figure
}

func (e *execution) follow(cmd *exec.Cmd, p plan) error {
	job, err := json.Marshal(p)
	if err != nil {
		return err
	}
	// Standard input stays open as long as we live: its end tells the script to go.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lab: cannot start the lab's Python: %w", err)
	}
	_, err = io.WriteString(stdin, string(job)+"\n")
	failure := e.read(stdout)
	if failure != nil {
		stdin.Close() // tells a script that we no longer follow to go
	}
	io.Copy(io.Discard, stdout) // on a full pipe it would wait for us, and we for it
	exit := cmd.Wait()
	if exit != nil && failure == nil { // else the failing cell has told why
		failure = fmt.Errorf("lab: executing notebooks stopped: %w", exit)
	}
	return errors.Join(failure, err)
}

// read follows the events to their end and returns the failing cell's error.
func (e *execution) read(events io.Reader) (failure error) {
	e.seconds = map[string]float64{}
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o outcome
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("lab: cannot read %q from execute.py: %w", lines.Text(), err)
		}
		if o.State == "written" {
			continue
		}
		c := e.cell(o)
		event := Event{Text: e.describe(o.Notebook, c), Step: e.done + 1, Total: e.total, Done: o.State == "done", Seconds: o.Seconds}
		switch o.State {
		case "done":
			e.done++
			for _, tag := range c.tags {
				e.seconds[tag] += o.Seconds
			}
			failure = cmp.Or(e.collect(c, o.Seconds), failure)
		case "failed":
			failure = fmt.Errorf("%s, cell %d (%s):\n%s", filepath.Base(o.Notebook), o.Cell+1, c.heading, o.Error)
			continue
		}
		e.progress.tell(event)
	}
	return errors.Join(failure, lines.Err())
}

func (e *execution) cell(o outcome) cell {
	for _, n := range e.notebooks {
		for _, c := range n.cells {
			if n.path == o.Notebook && c.index == o.Cell {
				return c
			}
		}
	}
	return cell{index: o.Cell}
}

func (e *execution) describe(path string, c cell) string {
	text := fmt.Sprintf("%s cell %d", strings.TrimSuffix(filepath.Base(path), ".ipynb"), c.index+1)
	tags := slices.DeleteFunc(slices.Clone(c.tags), func(tag string) bool { return tag == setupTag })
	return text + " " + cmp.Or(strings.Join(tags, " "), c.heading)
}

// figuresDrawn lists what was drawn, with the time of all cells tagged with a figure, not only of the one that drew it.
func (e *execution) figuresDrawn() []Figure {
	for i := range e.drawn {
		for tag, spent := range e.seconds {
			if draws(tag, e.drawn[i].Name) {
				e.drawn[i].Seconds = max(e.drawn[i].Seconds, spent)
			}
		}
	}
	return e.drawn
}

// collect moves the files that a cell drew into the figures' folder and notes whose they are.
func (e *execution) collect(c cell, seconds float64) error {
	files, err := os.ReadDir(e.staging)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := os.Rename(filepath.Join(e.staging, file.Name()), filepath.Join(e.figures, file.Name())); err != nil {
			return fmt.Errorf("lab: cannot keep a figure: %w", err)
		}
		name, _, _ := strings.Cut(file.Name(), ".")
		i := slices.IndexFunc(e.drawn, func(f Figure) bool { return f.Name == name })
		if i < 0 {
			i = len(e.drawn)
			e.drawn = append(e.drawn, Figure{Name: name, Title: c.heading})
		}
		figure := &e.drawn[i]
		if slices.Contains(c.tags, name) { // rather than a cell that draws it by the way
			figure.Title = c.heading
		}
		if path := filepath.Join("figures", file.Name()); !slices.Contains(figure.Files, path) {
			figure.Files = append(figure.Files, path)
		}
		figure.Seconds = seconds
	}
	return nil
}
