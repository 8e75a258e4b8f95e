package cell

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"
	"github.com/janpfeifer/gonb/gonbui"

	"raretask/pkg/allocation"
	"raretask/pkg/claims"
	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// Losses displays the final losses of a sweep of linear nets beside the optimum L*(N), by width: means over seeds.
func Losses(runs results.Runs) {
	headers := []string{"width", "L*(N)", "encoder loss", "÷ L*", "full loss", "÷ L*", "seeds"}
	Table(headers, xslices.Map(Must(claims.Losses(runs)), func(l claims.WidthLoss) []any {
		return []any{l.Width, l.Optimum, l.Encoder.Mean, l.Encoder.Mean / l.Optimum, l.Full.Mean, l.Full.Mean / l.Optimum,
			fmt.Sprint(l.Full.N, missing(l.Full))}
	}))
}

// Exponents displays the exponents of a sweep of tasks of one bit beside published ones and theory.
func Exponents(runs results.Runs) {
	headers := []string{"exponent of", "ours", "95% interval", "published", "theory", "fitted on"}
	Table(headers, xslices.Map(Must(claims.Exponents(runs)), func(e claims.Exponent) []any {
		return []any{e.Name, e.Estimate, fmt.Sprintf("%.3f … %.3f", e.Low, e.High), e.Published, e.Theory, e.About}
	}))
}

// BestRates displays the learning rate at which each width of a sweep over train.rate ends best.
func BestRates(runs results.Runs) {
	var table [][]any
	for _, b := range Must(claims.BestRates(runs)) {
		loss, note := b.Losses[b.Best], ""
		if b.Edge {
			note = "at the edge: the best may lie beyond"
		}
		interval := fmt.Sprintf("%.3g … %.3g", loss.Low, loss.High)
		table = append(table, []any{b.Parameterization, b.Width, b.Rates[b.Best], counted(b.Seeds.Values()), loss.Mean, interval,
			b.Halfway.Mean, note + missing(loss)})
	}
	Table([]string{"parameterization", "width", "best rate", "of single seeds", "loss there", "95% interval", "after half of the steps", ""},
		table)
}

// counted writes which values there are, and how often those that are there more than once.
func counted(values []float64) string {
	times := map[float64]int{}
	for _, v := range values {
		times[v]++
	}
	return strings.Join(xslices.Map(slices.Sorted(maps.Keys(times)), func(v float64) string {
		if times[v] > 1 {
			return fmt.Sprintf("%g (%d)", v, times[v])
		}
		return fmt.Sprint(v)
	}), ", ")
}

// RetentionTable displays what becomes of the injected task by width and gap: means and half widths of 95% intervals over seeds, each
// with the number of cycles of a run that it averages.
func RetentionTable(runs results.Runs) {
	headers := []string{"width", "gap", "before an injection, at the end", "cycles", "gain", "decay", "cycles", "retained share",
		"half-life (steps, median)", "cycles"}
	Table(headers, xslices.Map(Must(claims.Retentions(runs)), func(r claims.Retention) []any {
		return []any{r.Width, r.Gap, Interval(r.Final), r.Ends, Interval(r.Gain), Interval(r.Decay), r.Swings,
			Interval(r.Retained), halfLife(r.HalfLife, runs[0].Train.Steps), r.Closely}
	}))
}

// halfLife writes the median over seeds, and how many are not in it; one that is longer than training is no more than that.
func halfLife(seeds claims.BySeed, steps int) string {
	median, note := claims.Median(seeds.Values()), missing(seeds.Interval())
	switch {
	case math.IsNaN(median):
		return "missing"
	case median > float64(steps):
		return fmt.Sprintf("> %d%s", steps, note)
	}
	return fmt.Sprintf("%.0f%s", median, note)
}

// ControlTable trains what is missing of a mixture's controls and displays the measure by width: mean and half width of the 95%
// interval over seeds, with the rate where several were tried.
func ControlTable(s *spec.Sweep, m claims.Measure) {
	headers := []string{m.Name}
	var table [][]any
	for _, c := range Must(claims.Controls(s)) {
		row := []any{c.Name}
		for _, b := range Must(claims.BestOf(c, m, run)) {
			row = append(row, best(b))
			if len(headers) < len(row) {
				headers = append(headers, fmt.Sprintf("N = %d", b.Width))
			}
		}
		table = append(table, row)
	}
	Table(headers, table)
}

// NovelTable displays how many unseen instances of a novel task decoders tell, by width and by what was changed for it: mean and half width
// of the 95% interval over seeds. Changes are those against the lowest frequency in main.
func NovelTable(main results.Runs, controls ...results.Runs) {
	widths, _ := results.By(Must(results.Join(append(controls, main)...)), results.Width)
	headers := []string{"test accuracy"}
	for _, w := range widths {
		headers = append(headers, fmt.Sprintf("N = %d", w))
	}
	base := map[int]claims.NovelSetting{}
	for _, n := range Must(claims.Novels(main)) {
		if s, known := base[n.Width]; !known || n.Setting.Samples < s.Samples {
			base[n.Width] = n.Setting
		}
	}
	var table [][]any
	rows := map[string][]any{}
	for _, runs := range append([]results.Runs{main}, controls...) {
		for _, n := range Must(claims.Novels(runs)) {
			name, at := n.Setting.Beside(base[n.Width]), 1+slices.Index(widths, n.Width)
			if rows[name] == nil {
				rows[name] = append([]any{name}, slices.Repeat([]any{"–"}, len(widths))...)
				table = append(table, rows[name])
			}
			if rows[name][at] != "–" {
				Check(fmt.Errorf("cell: width %d has %s twice: want runs that differ in what the table says", n.Width, name))
			}
			rows[name][at] = Interval(n.Accuracy)
		}
	}
	Table(headers, table)
}

// Depths trains what is missing and displays the measure for the widths of a sweep, beside nets of other depths with as many weights.
func Depths(s *spec.Sweep, m claims.Measure, depths ...int) {
	headers := []string{m.Name}
	var table [][]any
	for i, d := range Must(claims.Depths(s, m, run, depths...)) {
		headers = append(headers, fmt.Sprintf("hidden layers: %d", d.Depth))
		for j, n := range d.Nets {
			if i == 0 {
				table = append(table, []any{fmt.Sprintf("about %d weights", n.Parameters)})
			}
			table[j] = append(table[j], fmt.Sprintf("N = %d: %s", n.Width, best(n)))
		}
	}
	Table(headers, table)
}

// Claims displays claims with estimate, interval and verdict.
//
//	cell.Claims(claims.RetentionClaims("", runs))
func Claims(list []claims.Claim, err error) {
	Check(err)
	supported := 0
	Table([]string{"claim", "effect", "minimum", "seeds", "verdict"}, xslices.Map(list, func(c claims.Claim) []any {
		if c.Verdict() == claims.Supported {
			supported++
		}
		return []any{c.Name, Interval(c.Effect), c.Minimum, c.Effect.Interval().N, c.Verdict()}
	}))
	Note(fmt.Sprintf("%d of %d are supported; if every true effect were no more than its minimum, at most %.2g would be expected to come out "+
		"so by chance.", supported, len(list), .025*float64(len(list))))
}

// Note displays a line below a table.
func Note(text string) {
	if !gonbui.IsNotebook {
		fmt.Println(text)
		return
	}
	gonbui.DisplayMarkdown("*" + text + "*")
	gonbui.Sync()
}

// Allocation displays, for each run of a sweep of nets of one hidden layer, what its net has of each task, the neurons that the task holds
// at the end and held at most, and the task that took most of those it lost. Nothing is trained where the sweep's results hold the metric.
func Allocation(s *spec.Sweep) {
	measured := *s
	measured.Metrics = slices.Compact(slices.Sorted(slices.Values(slices.Concat(s.Metrics, allocation.Metrics))))
	runs := Run(&measured)
	if dir := results.Publishing(s.Scale); dir != "" {
		Check(runs.Publish(dir)) // tables read what no design names
	}
	for _, r := range runs {
		headers, rows, err := allocation.Table(r)
		Check(err)
		text := fmt.Sprintf("width %d, seed %d", r.Net.Width, r.Train.Seed)
		if r.Diverged >= 0 {
			text += fmt.Sprintf(", diverged at step %d", r.Diverged)
		}
		new(status).end(text)
		Table(headers, rows)
	}
}

// Interval writes the mean over seeds and the half width of its 95% interval, and how many seeds are not in it.
func Interval(seeds claims.BySeed) string {
	e := seeds.Interval()
	text := fmt.Sprintf("%.3f", e.Mean)
	switch {
	case e.N == 0:
		return "missing"
	case e.N > 1:
		text += fmt.Sprintf(" ± %.3f", e.High-e.Mean)
	}
	return text + missing(e)
}

func missing(e claims.Estimate) string {
	if e.Failed == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of %d missing)", e.Failed, e.N+e.Failed)
}

// best writes a measure with its rate, and says so where the best rate may lie beyond those that were tried.
func best(b claims.Best) string {
	text := Interval(b.Seeds)
	switch {
	case b.Lowest == b.Highest:
		return text
	case b.Rate == b.Lowest:
		return fmt.Sprintf("%s (rate ≤ %.2g)", text, b.Rate)
	case b.Rate == b.Highest:
		return fmt.Sprintf("%s (rate ≥ %.2g)", text, b.Rate)
	}
	return fmt.Sprintf("%s (rate %.2g)", text, b.Rate)
}
