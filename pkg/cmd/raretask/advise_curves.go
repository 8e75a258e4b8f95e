package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/gomlx/gomlx/support/xslices"
	"github.com/spf13/cobra"

	"raretask/pkg/chart"
	"raretask/pkg/figure"
	"raretask/pkg/sizing"
	"raretask/pkg/table"
)

// onCurves tells size from data in a table of learning curves.
func (a *advising) onCurves(cmd *cobra.Command, path string) error {
	if a.at != "" || len(a.targets) > 0 || a.unique != "" {
		return badUsage("--at, --unique and --target are not of learning curves: %s is one table", path)
	}
	t, err := table.Read(path)
	if err != nil {
		return err
	}
	metrics, notes, err := a.curves(t)
	if err != nil {
		return err
	}
	if ours(t) && (len(a.metrics) == 0 || slices.Equal(a.metrics, []string{"loss"})) && math.IsNaN(a.chance) {
		a.chance = 1
		notes = append(notes, "the table is an export of this program: its loss is relative to the best constant, which is 1 (--chance 1)")
	}
	var answers []sizing.Diagnosis
	var left []sizing.SizeLeftOut
	var curves []sizing.Curve
	for _, m := range metrics {
		chance := a.chance
		if m.higher {
			chance = 1 - chance
		}
		own, err := sizing.Diagnose(m.curves, chance)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		answers, curves = append(answers, own...), append(curves, m.curves...)
	}
	if left, err = sizing.LeaveOutLargest(curves); err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	files, err := a.draw(func() (chart.Chart, error) { return figure.Diagnosed("size-or-data", curves, answers) })
	if err != nil {
		return err
	}
	all := map[string]any{"kind": "curves", "answers": answers, "left_out": left, "notes": notes, "files": files}
	return show(cmd, all, func(to io.Writer) {
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "task\tsize\tends at\tbest larger\tends at\tanswer\t")
		for _, d := range answers {
			fmt.Fprintf(w, "%s\t%.4g\t%.4g\t%.4g\t%.4g\t%s\t%s\n", taskOf(d), d.Size, d.End, d.Largest, d.Reference, d.Answer, d.Kind)
		}
		w.Flush()
		fmt.Fprintln(to)
		for _, d := range answers {
			fmt.Fprintf(to, "%s, size %.4g: %s: %s\n", taskOf(d), d.Size, d.Answer, d.Why)
		}
		for _, l := range left {
			fmt.Fprintf(to, "%s: left out, size %.4g would end at %.4g by a power of size through the others; it ends at %.4g\n",
				taskOf(sizing.Diagnosis{Task: l.Task, Frequency: l.Frequency}), l.Size, l.Predicted, l.Ends)
		}
		printNotes(to, notes)
		printFiles(to, files)
	})
}

// ours reports whether a table is what `sweep export` writes of linear regression.
func ours(t *table.Table) bool {
	families, err := t.Text("mixture.family")
	return err == nil && slices.Contains(t.Columns, "stack") && slices.Contains(t.Columns, "loss") &&
		!slices.ContainsFunc(families, func(f string) bool { return f != "regression" })
}

// draw writes the chart of an answer to --out, where that was given, and returns its files.
func (a *advising) draw(of func() (chart.Chart, error)) ([]string, error) {
	if a.out == "" {
		return []string{}, nil
	}
	c, err := of()
	if err != nil {
		return nil, err
	}
	return c.Save(a.out)
}

func printFiles(to io.Writer, files []string) {
	for _, f := range files {
		fmt.Fprintf(to, "drawn: %s\n", f)
	}
}

// taskOf names a task and its frequency, where that is known.
func taskOf(d sizing.Diagnosis) string {
	if d.Frequency > 0 {
		return fmt.Sprintf("%s at %.3g", d.Task, d.Frequency)
	}
	return d.Task
}

// printNotes prints what else there is to know, below a free line.
func printNotes(to io.Writer, notes []string) {
	for i, n := range notes {
		if i == 0 {
			fmt.Fprintln(to)
		}
		fmt.Fprintf(to, "note: %s\n", n)
	}
}

// metricCurves are the curves of one metric, turned so that lower is better.
type metricCurves struct {
	higher bool // it was turned: numbers are 1 - metric
	curves []sizing.Curve
}

// curves returns the curves of a table, and what to know about them.
func (a *advising) curves(t *table.Table) (all []metricCurves, notes []string, err error) {
	keys, err := a.curveKeys(t)
	if err != nil {
		return nil, nil, err
	}
	metrics := a.metrics
	if len(metrics) == 0 {
		if m := column(t, "", "loss", "accuracy", "acc"); m != "" {
			metrics = []string{m}
		} else { // a column for each task
			metrics = numeric(t, keys.all())
		}
	}
	if len(metrics) == 0 {
		return nil, nil, fmt.Errorf("%s: no column of losses: there are %s; --metric names some", t.Name, strings.Join(t.Columns, ", "))
	}
	groups, err := keys.groups(t)
	if err != nil {
		return nil, nil, err
	}
	notes = keys.unknown(t, groups, metrics)
	x, err := t.Numbers(keys.data)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range metrics {
		y, err := t.Numbers(name)
		if err != nil {
			return nil, nil, err
		}
		m := metricCurves{higher: a.higher || betterHigh(name)}
		if m.higher {
			notes = append(notes, fmt.Sprintf("%s is the better the higher: numbers are of 1 - %s", name, name))
			y = xslices.Map(y, func(v float64) float64 { return 1 - v })
		}
		for _, g := range groups {
			c := sizing.Curve{Size: g.size, Frequency: g.frequency, Task: g.task}
			if c.Task == "" || len(metrics) > 1 {
				c.Task = strings.TrimSpace(g.task + " " + name)
			}
			cut := 0
			if c.Data, c.Y, cut = g.mean(x, y); cut > 0 {
				notes = append(notes, fmt.Sprintf("size %.4g: %d amounts of data that not all seeds have are left out", g.size, cut))
			}
			m.curves = append(m.curves, c)
		}
		if !m.higher && !slices.ContainsFunc(m.curves, func(c sizing.Curve) bool { return !rises(c) }) {
			return nil, nil, fmt.Errorf("%s: %s rises along every curve: if it is the better the higher, say --higher", t.Name, name)
		}
		all = append(all, m)
	}
	slices.Sort(notes)
	return all, slices.Compact(notes), nil
}

// betterHigh reports whether a metric is the better the higher by its name.
func betterHigh(name string) bool {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return slices.ContainsFunc(words, func(w string) bool {
		return strings.HasPrefix(w, "acc") || slices.Contains([]string{"score", "em", "exact", "f1", "auc", "bleu", "rouge", "reward"}, w)
	})
}

// rises reports whether a curve ends clearly above where it begins.
func rises(c sizing.Curve) bool {
	n := len(c.Y)
	return n >= 4 && c.Y[n-1]+c.Y[n-2] > 1.05*(c.Y[0]+c.Y[1])
}

// curveKeys are the columns that say what a row is of; empty: there is none.
type curveKeys struct{ size, data, task, frequency, seed string }

func (k curveKeys) all() []string { return []string{k.size, k.data, k.task, k.frequency, k.seed} }

func (a *advising) curveKeys(t *table.Table) (curveKeys, error) {
	k := curveKeys{size: column(t, a.size, "size", "N", "params", "parameters", "net.width", "width"),
		data: column(t, a.data, "tokens", "D", "samples", "steps", "step"), task: column(t, a.task, "task", "domain"),
		frequency: column(t, a.frequency, "frequency"), seed: column(t, a.seed, "seed", "run", "train.seed")}
	for _, c := range [][3]string{{k.size, "size", "size"}, {k.data, "tokens", "data"}} {
		if c[0] == "" {
			return k, fmt.Errorf("%s: no column %s: there are %s; --%s names one", t.Name, c[1], strings.Join(t.Columns, ", "), c[2])
		}
	}
	return k, nil
}

// curveRows are the rows of one curve.
type curveRows struct {
	size, frequency float64
	task            string
	seeds           map[string][]int // rows of each
}

// groups returns the rows of each curve, in the order in which they first appear.
func (k curveKeys) groups(t *table.Table) (groups []curveRows, err error) {
	sizes, err := t.Numbers(k.size)
	if err != nil {
		return nil, err
	}
	frequencies, tasks, seeds := make([]float64, t.Rows), make([]string, t.Rows), make([]string, t.Rows)
	if k.frequency != "" {
		if frequencies, err = t.Numbers(k.frequency); err != nil {
			return nil, err
		}
	}
	for to, name := range map[*[]string]string{&tasks: k.task, &seeds: k.seed} {
		if name == "" {
			continue
		}
		if *to, err = t.Text(name); err != nil {
			return nil, err
		}
	}
	type key struct {
		size, frequency float64
		task            string
	}
	at := map[key]int{}
	for i := range t.Rows {
		id := key{sizes[i], frequencies[i], tasks[i]}
		g, known := at[id]
		if !known {
			g, groups = len(groups), append(groups, curveRows{id.size, id.frequency, id.task, map[string][]int{}})
			at[id] = g
		}
		groups[g].seeds[seeds[i]] = append(groups[g].seeds[seeds[i]], i)
	}
	return groups, nil
}

// unknown says which columns of words, or of a rate, differ between rows of one curve and amount of data, though they don't say what it is
// of: such rows are averaged.
func (k curveKeys) unknown(t *table.Table, groups []curveRows, metrics []string) (notes []string) {
	data, err := t.Text(k.data)
	if err != nil {
		return nil
	}
	for _, c := range t.Columns {
		cells, _ := t.Text(c)
		words := slices.ContainsFunc(cells, func(cell string) bool { _, err := strconv.ParseFloat(cell, 64); return cell != "" && err != nil })
		if slices.Contains(k.all(), c) || slices.Contains(metrics, c) || !words && !strings.EqualFold(c, "lr") || c == "stack" && ours(t) {
			continue
		}
		differs := func(g curveRows) bool {
			at := map[string]string{}
			for _, rows := range g.seeds {
				for _, i := range rows {
					if before, known := at[data[i]]; known && before != cells[i] {
						return true
					}
					at[data[i]] = cells[i]
				}
			}
			return false
		}
		if slices.ContainsFunc(groups, differs) {
			notes = append(notes, fmt.Sprintf("rows that differ in %s are averaged: select them first, or name the column by --task", c))
		}
	}
	return notes
}

// mean returns the amounts of data that all seeds of a curve have, ascending, the mean over seeds and repeats of a number there, and how
// many amounts are left out.
func (g curveRows) mean(x, y []float64) (at, mean []float64, cut int) {
	sums, counts, seeds := map[float64]float64{}, map[float64]float64{}, map[float64]int{}
	for _, rows := range g.seeds {
		seen := map[float64]bool{}
		for _, i := range rows {
			sums[x[i]] += y[i]
			if counts[x[i]]++; !seen[x[i]] {
				seeds[x[i]]++
			}
			seen[x[i]] = true
		}
	}
	for _, v := range slices.Sorted(maps.Keys(sums)) {
		if seeds[v] < len(g.seeds) {
			cut++
			continue
		}
		at, mean = append(at, v), append(mean, sums[v]/counts[v])
	}
	return at, mean, cut
}
