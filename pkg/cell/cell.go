// Package cell is what a notebook's cells call: a sweep's results, trained only where there are none yet, with progress
// in the cell; figures as interactive charts and files; tables. Errors end the cell with one sentence.
package cell

import (
	"cmp"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"

	"raretask/pkg/backend"
	"raretask/pkg/chart"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/sweep"
)

// Scale returns the scale to run at: RARETASK_SCALE, or quick.
func Scale() string { return cmp.Or(os.Getenv("RARETASK_SCALE"), "quick") }

// Check ends the cell with the error, if there is one.
func Check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		gonbui.Sync()
		os.Exit(1)
	}
}

// Must returns v, or ends the cell with the error.
func Must[T any](v T, err error) T {
	Check(err)
	return v
}

// Spec returns a preset, or the spec in a YAML file, at the scale of this notebook, with settings changed as given:
//
//	cell.Spec("fig2", spec.Vary("net.width", 8, 16, 32))
func Spec(name string, changes ...spec.Axis) *spec.Sweep {
	return Must(Must(spec.Load(name, Scale())).With(changes...))
}

// Run returns the results of a sweep. Stacks that have none are trained first; the cell shows how far that is. An
// interrupted cell keeps the stacks that were finished. What analyses need of the results is also copied to the folder
// RARETASK_PUBLISH, if that is set.
func Run(s *spec.Sweep) results.Runs { return Must(run(s)) }

func run(s *spec.Sweep) (results.Runs, error) {
	ctx, done := backend.Interruptible()
	defer done()
	store, err := results.Open()
	if err != nil {
		return nil, err
	}
	b, err := backend.Open()
	if err != nil {
		return nil, err
	}
	dir := results.Publishing(s.Scale)
	if b.Notice != "" && gonbui.IsNotebook {
		gonbui.DisplayHTML("<div style='border-left:4px solid #D55E00;padding-left:.6em'>" + html.EscapeString(b.Notice) + "</div>")
	}
	runs, err := sweep.Run(ctx, s, b, store, func(p sweep.Progress) { line.show(progress(p)) })
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("interrupted; what was finished is kept, and running the cell again goes on from there")
	}
	if err != nil {
		line.end(html.EscapeString(err.Error()))
		return nil, err
	}
	if dir != "" && s.Asks() {
		if err := runs.Publish(dir); err != nil {
			return nil, err
		}
	}
	// It says nothing that differs between machines.
	text := fmt.Sprintf("%s: %d runs of %d steps", s.Name, len(runs), s.Base.Train.Steps)
	if len(runs) == 1 {
		text = fmt.Sprintf("%s: a run of %d steps", s.Name, s.Base.Train.Steps)
	}
	if diverged := runs.Where(func(r *results.Run) bool { return r.Diverged >= 0 }); len(diverged) > 0 {
		text += fmt.Sprintf(" — %d runs diverged", len(diverged))
	}
	line.end(text)
	return runs, nil
}

// PaperScale displays a figure of those runs of a preset that there are at the paper's own scale, one's own or such as came with the
// project, whatever the scale of the notebook, and says how many are missing. It trains nothing, as that takes hours.
//
//	cell.PaperScale("fig3", figure.Fig3)
func PaperScale(preset string, draw func(results.Runs) (chart.Chart, error), changes ...spec.Axis) {
	runs := Finished(preset, changes...)
	if len(runs) == 0 {
		return
	}
	c, err := draw(runs)
	c.Name += "-paper"
	Show(c, err)
}

// Finished returns the runs of PaperScale.
func Finished(preset string, changes ...spec.Axis) results.Runs {
	s := Must(Must(spec.Load(preset, "paper")).With(changes...))
	store := Must(results.Open())
	store.Published = Must(results.PublishedDir())
	results.Publishing(s.Scale)
	plan := Must(sweep.NewPlan(s, store, nil))
	all, done := plan.Runs()
	text := fmt.Sprintf("%s at the paper's scale: %d runs of %d steps", preset, done, s.Base.Train.Steps)
	if done < all {
		text += fmt.Sprintf("; the other %d were not run: <code>raretask sweep run %s --scale paper</code> trains them", all-done, preset)
	}
	line.end(text)
	return plan.Results()
}

func progress(p sweep.Progress) string {
	text := p.Text()
	if left := p.Left(); left > 0 {
		text += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	if gonbui.IsNotebook {
		return fmt.Sprintf("<progress max='%d' value='%d' style='width:20em'></progress> %s", max(1, p.Steps), p.DoneSteps, text)
	}
	return text
}

// status is one output that changes while a cell works, with a line for each of its sweeps.
type status struct {
	id    string
	last  time.Time
	ended []string
}

// line is that of this cell, which is a program of its own. (Of a cell with more than fifty outputs JupyterLab folds the rest away.)
var line status

func (s *status) update(text string) {
	if s.id == "" {
		s.id = "raretask-" + gonbui.UniqueId()
	}
	gonbui.UpdateHTML(s.id, strings.Join(append(told(s.ended), text), "<br>"))
}

// told are some of many lines.
func told(lines []string) []string {
	const first = 3
	if len(lines) <= first+1 {
		return slices.Clone(lines)
	}
	return append(slices.Clone(lines[:first]), fmt.Sprintf("… %d more …", len(lines)-first))
}

func (s *status) show(text string) {
	if time.Since(s.last) < 200*time.Millisecond {
		return
	}
	s.last = time.Now()
	if gonbui.IsNotebook {
		s.update(text)
	} else {
		fmt.Fprintf(os.Stderr, "\r%-78s", text)
	}
}

func (s *status) end(text string) {
	if gonbui.IsNotebook {
		s.update(text)
		s.ended = append(s.ended, text)
	} else {
		if !s.last.IsZero() {
			fmt.Fprintf(os.Stderr, "\r%78s\r", "")
		}
		fmt.Println(text)
	}
	gonbui.Sync()
}

// Show displays a chart, interactive in the notebook, and its caption. Its description and its table, NAME.vl.json and NAME.csv, go to
// RARETASK_FIGURES, or figures among the results; pictures are drawn where notebooks are executed (lab.Execute).
//
//	cell.Show(figure.Fig2a(runs))
func Show(f chart.Chart, err error) {
	Check(err)
	dir := os.Getenv("RARETASK_FIGURES")
	if dir == "" {
		dir = filepath.Join(Must(results.Dir()), "figures")
	}
	paths := Must(f.Save(dir))
	if !gonbui.IsNotebook {
		for _, path := range paths {
			fmt.Println(path)
		}
		return
	}
	display(Must(f.VegaLite()), f.Title, f.Caption)
}

// Vega displays a chart of one's own: its description in Vega-Lite 5, as JSON. Data stand in it, in "data": {"values": …}, so that the
// notebook draws it without a network. Outside of a notebook it prints the description.
//
//	cell.Vega(`{"mark": "bar", "data": {"values": [{"a": 1}, {"a": 2}]}, "encoding": {"x": {"field": "a", "type": "quantitative"}}}`)
func Vega(description string) {
	var spec map[string]any
	if err := json.Unmarshal([]byte(description), &spec); err != nil {
		Check(fmt.Errorf("cell.Vega: want a JSON object: %w", err))
	}
	if !gonbui.IsNotebook {
		fmt.Println(description)
		return
	}
	title, _ := spec["title"].(string)
	if object, ok := spec["title"].(map[string]any); ok {
		title, _ = object["text"].(string)
	}
	caption, _ := spec["description"].(string)
	display(sendable(spec).(map[string]any), title, caption)
}

// sendable has an empty list in the place of null, by which Vega-Lite is told to leave something out: gob has no word for null, and makes
// nil of an empty list, which is null in JSON.
func sendable(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			v[key] = sendable(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = sendable(inner)
		}
	case nil:
		return []any{}
	}
	return value
}

// display shows a chart in Vega-Lite, and its caption below it.
func display(spec map[string]any, title, caption string) {
	gob.Register(map[string]any{}) // gonbui sends nested JSON, which it encodes by gob
	gob.Register([]any{})
	about := strings.Trim(title+". "+caption, ". ")
	gonbui.SendData(&protocol.DisplayData{
		Data:     map[protocol.MIMEType]any{chart.MIME: spec, protocol.MIMETextPlain: cmp.Or(title, "a chart")},
		Metadata: map[string]any{"image/png": map[string]any{"alt": about}},
	})
	if caption != "" {
		gonbui.DisplayMarkdown("*" + caption + "*")
	}
	gonbui.Sync() // GoNB drops what it has not read when the cell's program ends, and reading a large chart takes it a while
}

// Table displays rows under their headers; numbers align on the right, a first column of names on the left. Outside of a notebook it
// prints the same Markdown.
func Table(headers []string, rows [][]any) {
	first := " ---: |"
	if len(rows) > 0 {
		if _, named := rows[0][0].(string); named {
			first = " :--- |"
		}
	}
	var b strings.Builder
	b.WriteString("| " + strings.Join(headers, " | ") + " |\n|" + first + strings.Repeat(" ---: |", len(headers)-1) + "\n")
	for _, row := range rows {
		for _, v := range row {
			if number, ok := v.(float64); ok {
				v = fmt.Sprintf("%.4g", number)
			}
			fmt.Fprintf(&b, "| %v ", v)
		}
		b.WriteString("|\n")
	}
	if !gonbui.IsNotebook {
		fmt.Print(b.String())
		return
	}
	gonbui.DisplayMarkdown(b.String())
	gonbui.Sync()
}
