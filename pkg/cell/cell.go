// Package cell is what a notebook's cells call: a sweep's results, trained only where there are none yet, with progress
// in the cell; figures as pictures, files and interactive charts; tables. Errors end the cell with one sentence.
package cell

import (
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
	"sync"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"

	"raretask/pkg/backend"
	"raretask/pkg/figure"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/sweep"
)

// Scale returns the scale to run at: RARETASK_SCALE, or quick.
func Scale() string {
	if scale := os.Getenv("RARETASK_SCALE"); scale != "" {
		return scale
	}
	return "quick"
}

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
// interrupted cell keeps the stacks that were finished. Results are also copied to the folder
// RARETASK_PUBLISH, if that is set.
func Run(s *spec.Sweep) []results.Row {
	ctx, done := backend.Interruptible()
	defer done()
	store := Must(results.Open())
	b := Must(backend.Open())
	if b.Notice != "" && gonbui.IsNotebook {
		gonbui.DisplayHTML("<div style='border-left:4px solid #D55E00;padding-left:.6em'>" + html.EscapeString(b.Notice) + "</div>")
	}
	line := newStatus()
	rows, err := sweep.Run(ctx, s, b, store, func(p sweep.Progress) { line.show(progress(p)) })
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("interrupted; what was finished is kept, and running the cell again goes on from there")
	}
	if err != nil {
		line.end(html.EscapeString(err.Error()))
	}
	Check(err)
	if dir := os.Getenv("RARETASK_PUBLISH"); dir != "" {
		for _, stack := range spec.Stacks(Must(s.Runs())) {
			Check(store.Publish(stack, b.Identity, dir))
		}
	}
	line.end(summary(s, rows))
	return rows
}

func progress(p sweep.Progress) string {
	text := fmt.Sprintf("stack %d of %d", min(p.DoneStacks+1, p.Stacks), p.Stacks)
	share := 0.
	if p.Steps > 0 {
		share = float64(p.DoneSteps) / float64(p.Steps)
	}
	text += fmt.Sprintf(", %.0f%%", 100*share)
	if seconds := p.Elapsed.Seconds(); seconds > 0 {
		text += fmt.Sprintf(", %.0f model-steps/s", float64(p.DoneSteps)/seconds)
	}
	if left := p.Left(); left > 0 {
		text += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	if gonbui.IsNotebook {
		return fmt.Sprintf("<progress max='1' value='%.3f' style='width:20em'></progress> %s", share, text)
	}
	return text
}

// summary says what a sweep's results are, without anything that differs between machines.
func summary(s *spec.Sweep, rows []results.Row) string {
	runs, diverged := map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		runs[r.Run] = true
		if r.Diverged != nil {
			diverged[r.Run] = true
		}
	}
	text := fmt.Sprintf("%s: %d runs of %d steps, %d rows", s.Name, len(runs), s.Base.Train.Steps, len(rows))
	if len(diverged) > 0 {
		text += fmt.Sprintf(" — %d runs diverged", len(diverged))
	}
	return text
}

// status is one line that changes while a cell works.
type status struct {
	id   string
	last time.Time
}

func newStatus() *status {
	return &status{id: "raretask-" + gonbui.UniqueId()}
}

func (s *status) show(text string) {
	if time.Since(s.last) < 200*time.Millisecond {
		return
	}
	s.last = time.Now()
	if gonbui.IsNotebook {
		gonbui.UpdateHTML(s.id, text)
	} else {
		fmt.Fprintf(os.Stderr, "\r%-78s", text)
	}
}

func (s *status) end(text string) {
	switch {
	case !gonbui.IsNotebook:
		if !s.last.IsZero() {
			fmt.Fprintf(os.Stderr, "\r%78s\r", "")
		}
		fmt.Println(text)
	case s.last.IsZero():
		gonbui.DisplayHTML(text)
	default:
		gonbui.UpdateHTML(s.id, text)
	}
	gonbui.Sync()
}

// registerTypes lets gonbui send nested JSON, which it encodes by gob.
var registerTypes = sync.OnceFunc(func() {
	gob.Register(map[string]any{})
	gob.Register([]any{})
})

// Show displays a figure: an interactive chart where the notebook can draw one, and the same as a picture anywhere else.
// Its files (PNG, SVG, CSV, Vega-Lite) go to RARETASK_FIGURES, or figures among
// the results.
//
//	cell.Show(figure.Fig2a(rows))
func Show(f figure.Figure, err error) {
	Check(err)
	dir := Must(figuresDir())
	paths := Must(f.Save(dir))
	if !gonbui.IsNotebook {
		for _, path := range paths {
			fmt.Println(path)
		}
		return
	}
	png := Must(f.PNG())
	chart := Must(plain(Must(f.VegaLite())))
	registerTypes()
	gonbui.SendData(&protocol.DisplayData{
		Data: map[protocol.MIMEType]any{
			"application/vnd.vegalite.v5+json": chart,
			protocol.MIMEImagePNG:              png,
			protocol.MIMETextPlain:             f.Title,
		},
		Metadata: map[string]any{"image/png": map[string]any{"alt": f.Title + ". " + f.Caption}},
	})
	if f.Caption != "" {
		gonbui.DisplayMarkdown("*" + f.Caption + "*")
	}
	gonbui.Sync() // GoNB drops what it has not read when the cell's program ends, and reading a large chart takes it a while
}

// plain returns v as JSON's own types, the only ones that gonbui's encoding knows.
func plain(v any) (plain any, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return plain, json.Unmarshal(text, &plain)
}

func figuresDir() (string, error) {
	if dir := os.Getenv("RARETASK_FIGURES"); dir != "" {
		return dir, nil
	}
	dir, err := results.Dir()
	return filepath.Join(dir, "figures"), err
}

// Table displays rows under their headers; numbers align on the right, a first column of names on the left.
func Table(headers []string, rows [][]any) {
	cells := make([][]string, len(rows))
	for i, row := range rows {
		for _, v := range row {
			switch v := v.(type) {
			case float64:
				cells[i] = append(cells[i], fmt.Sprintf("%.4g", v))
			default:
				cells[i] = append(cells[i], fmt.Sprint(v))
			}
		}
	}
	named := false
	if len(rows) > 0 {
		_, named = rows[0][0].(string)
	}
	if !gonbui.IsNotebook {
		printTable(headers, cells, named)
		return
	}
	first := " ---: |"
	if named {
		first = " :--- |"
	}
	var b strings.Builder
	b.WriteString("| " + strings.Join(headers, " | ") + " |\n|" + first + strings.Repeat(" ---: |", len(headers)-1) + "\n")
	for _, row := range cells {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	gonbui.DisplayMarkdown(b.String())
	gonbui.Sync()
}

func printTable(headers []string, cells [][]string, named bool) {
	wide := make([]int, len(headers))
	for _, row := range slices.Concat([][]string{headers}, cells) {
		for i, text := range row {
			wide[i] = max(wide[i], len([]rune(text)))
		}
	}
	if named {
		wide[0] = -wide[0] // which fmt aligns on the left
	}
	for _, row := range slices.Concat([][]string{headers}, cells) {
		for i, text := range row {
			fmt.Printf("%*s  ", wide[i], text)
		}
		fmt.Println()
	}
}

// Losses displays the final losses of a sweep of bottlenecks beside the optimum L*(N), by width: means over seeds.
func Losses(rows []results.Row) {
	var table [][]any
	for _, l := range Must(figure.Losses(rows)) {
		table = append(table, []any{l.Width, l.Optimum, l.Encoder, l.Encoder / l.Optimum, l.Full, l.Full / l.Optimum, l.Seeds})
	}
	Table([]string{"width", "L*(N)", "encoder loss", "÷ L*", "full loss", "÷ L*", "seeds"}, table)
}

// Exponents displays the exponents of a sweep of multitask sparse parity beside published ones and theory.
func Exponents(rows []results.Row) {
	var table [][]any
	for _, e := range Must(figure.ParityExponents(rows)) {
		table = append(table, []any{e.Name, e.Estimate, fmt.Sprintf("%.3f … %.3f", e.Low, e.High), e.Published, e.Theory, e.About})
	}
	Table([]string{"exponent of", "ours", "95% interval", "published", "theory", "fitted on"}, table)
}

// BestRates displays the learning rate at which each width of a sweep over train.rate ends best.
func BestRates(rows []results.Row) {
	var table [][]any
	for _, b := range Must(figure.BestRates(rows)) {
		edge := ""
		if b.Edge {
			edge = "at the edge: the best may lie beyond"
		}
		table = append(table, []any{b.Parameterization, b.Width, b.Rate, fmt.Sprint(b.Seeds), b.Loss, fmt.Sprintf("%.3g … %.3g", b.Low, b.High), edge})
	}
	Table([]string{"parameterization", "width", "best rate", "of each seed", "loss there", "95% interval", ""}, table)
}
