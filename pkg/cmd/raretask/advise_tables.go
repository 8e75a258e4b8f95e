package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"raretask/pkg/scaling"
	"raretask/pkg/sizing"
	"raretask/pkg/table"
)

// onCurves tells size from data in a table of learning curves.
func (a *advising) onCurves(cmd *cobra.Command, path string) error {
	t, err := table.Read(path)
	if err != nil {
		return err
	}
	curves, higher, err := a.curves(t)
	if err != nil {
		return err
	}
	chance := a.chance
	if higher {
		chance = 1 - chance
	}
	answers, err := sizing.Diagnose(curves, chance)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	all := map[string]any{"kind": "curves", "answers": answers}
	return show(cmd, all, func(to io.Writer) {
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "task\tsize\tstands at\tlargest\tstands at\tanswer\t")
		for _, d := range answers {
			name := d.Task
			if d.Frequency > 0 {
				name = strings.TrimSpace(fmt.Sprintf("%s at %.3g", name, d.Frequency))
			}
			end, reference := d.End, d.Reference
			if higher {
				end, reference = 1-end, 1-reference
			}
			fmt.Fprintf(w, "%s\t%.4g\t%.4g\t%.4g\t%.4g\t%s\t%s\n", name, d.Size, end, d.Largest, reference, d.Answer, d.Kind)
		}
		w.Flush()
		fmt.Fprintln(to)
		for _, d := range answers {
			fmt.Fprintf(to, "%s, size %.4g: %s: %s\n", d.Task, d.Size, d.Answer, d.Why)
		}
		if higher {
			fmt.Fprintln(to, "numbers in sentences are shares of errors, 1 - accuracy")
		}
	})
}

// curves returns the curves of a table, in which lower is better, and whether that turned the metric round.
func (a *advising) curves(t *table.Table) (curves []sizing.Curve, higher bool, err error) {
	size, data := column(t, a.size, "size", "N", "params", "parameters", "net.width", "width"),
		column(t, a.data, "tokens", "D", "samples", "steps", "step")
	for _, c := range [][3]string{{size, "size", "size"}, {data, "tokens", "data"}} {
		if c[0] == "" {
			return nil, false, fmt.Errorf("%s: no column %s: there are %s; --%s names one", t.Name, c[1], strings.Join(t.Columns, ", "), c[2])
		}
	}
	task, frequency, seed := column(t, a.task, "task", "domain"), column(t, a.frequency, "frequency"),
		column(t, a.seed, "seed", "run", "train.seed")
	metrics := a.metrics
	if len(metrics) == 0 {
		if m := column(t, "", "loss", "accuracy", "acc"); m != "" {
			metrics = []string{m}
		} else { // a column for each task
			known := []string{size, data, task, frequency, seed}
			metrics = slices.DeleteFunc(slices.Clone(t.Columns), func(c string) bool { return slices.Contains(known, c) })
		}
	}
	if len(metrics) == 0 {
		return nil, false, fmt.Errorf("%s: no column of losses: there are %s; --metric names some", t.Name, strings.Join(t.Columns, ", "))
	}
	higher = a.higher || len(metrics) == 1 && strings.HasPrefix(strings.ToLower(metrics[0]), "acc")
	x, err := t.Numbers(data)
	if err != nil {
		return nil, false, err
	}
	sizes, err := t.Numbers(size)
	if err != nil {
		return nil, false, err
	}
	by := slices.DeleteFunc([]string{task, frequency}, func(c string) bool { return c == "" })
	groups, err := t.Groups(append([]string{size}, by...))
	if err != nil {
		return nil, false, err
	}
	for _, metric := range metrics {
		y, err := t.Numbers(metric)
		if err != nil {
			return nil, false, err
		}
		for _, g := range groups {
			c := sizing.Curve{Size: sizes[g.Rows[0]], Task: metric}
			for i, name := range by {
				if name == task {
					c.Task = g.Cells[i+1]
					if len(metrics) > 1 {
						c.Task += " " + metric
					}
					continue
				}
				if c.Frequency, err = strconv.ParseFloat(g.Cells[i+1], 64); err != nil {
					return nil, false, fmt.Errorf("%s: %s: frequency %q: want a number", t.Name, t.Where(g.Rows[0]), g.Cells[i+1])
				}
			}
			c.Data, c.Y = meanOver(g.Rows, x, y, higher)
			curves = append(curves, c)
		}
	}
	return curves, higher, nil
}

// meanOver returns the different x of rows, ascending, and the mean of their y, of seeds and repeats; 1 - y where higher is better.
func meanOver(rows []int, x, y []float64, higher bool) (at, mean []float64) {
	sums, counts := map[float64]float64{}, map[float64]float64{}
	for _, i := range rows {
		v := y[i]
		if higher {
			v = 1 - v
		}
		if counts[x[i]] == 0 {
			at = append(at, x[i])
		}
		sums[x[i]] += v
		counts[x[i]]++
	}
	slices.Sort(at)
	for _, v := range at {
		mean = append(mean, sums[v]/counts[v])
	}
	return at, mean
}

// surfaceAdvice is what runs on mixtures say of one metric.
type surfaceAdvice struct {
	Metric  string            `json:"metric"`
	Form    string            `json:"form"`
	Left    float64           `json:"left_out_error"`
	R2      float64           `json:"left_out_r2"`
	Flat    bool              `json:"flat"` // ratios don't tell it
	At      *scaling.Interval `json:"at,omitempty"`
	Kind    string            `json:"kind,omitempty"`
	Effects []effect          `json:"effects,omitempty"`
}

type effect struct {
	Domain string           `json:"domain"`
	Change scaling.Interval `json:"change"`
}

// onMixtures tells what ratios do, by a table of ratios and one of metrics, or one of both.
func (a *advising) onMixtures(cmd *cobra.Command, paths []string) error {
	runs, metrics, values, err := a.mixtures(paths)
	if err != nil {
		return err
	}
	at := runs.Mean()
	if a.at != "" {
		if at, err = namedRatios(runs.Domains, a.at); err != nil {
			return err
		}
	}
	var all struct {
		Kind       string          `json:"kind"`
		Domains    []string        `json:"domains"`
		At         []float64       `json:"at"`
		Metrics    []surfaceAdvice `json:"metrics"`
		Confounded []string        `json:"confounded"`
		Repeats    []string        `json:"repeats"`
	}
	all.Kind, all.Domains, all.At, all.Confounded, all.Repeats = "surface", runs.Domains, at, append([]string{}, runs.Confounded()...),
		[]string{}
	if all.Repeats, err = a.repeats(runs, at); err != nil {
		return err
	}
	for i, name := range metrics {
		one, err := surfaceOf(runs, name, values[i], at, a.step)
		if err != nil {
			return err
		}
		all.Metrics = append(all.Metrics, one)
	}
	return show(cmd, all, func(to io.Writer) {
		parts := make([]string, len(at))
		for i, d := range runs.Domains {
			parts[i] = fmt.Sprintf("%s %.3g", d, at[i])
		}
		fmt.Fprintf(to, "%d runs on %d domains; at %s\n", len(runs.Ratios), len(runs.Domains), strings.Join(parts, ", "))
		for _, m := range all.Metrics {
			m.print(to, a.step)
		}
		for _, notes := range [][]string{all.Confounded, all.Repeats} {
			for i, n := range notes {
				if i == 0 {
					fmt.Fprintln(to)
				}
				fmt.Fprintf(to, "note: %s\n", n)
			}
		}
		if a.unique == "" {
			fmt.Fprintf(to, "\nnote: how often a domain would be repeated is not known; --unique and --tokens tell (more than %d times is worth "+
				"little)\n",
				sizing.MostRepeats)
		}
	})
}

func surfaceOf(runs *sizing.Runs, name string, values, at []float64, step float64) (m surfaceAdvice, err error) {
	s, err := sizing.NewSurface(runs, values)
	if err != nil {
		return m, fmt.Errorf("%s: %w", name, err)
	}
	m = surfaceAdvice{Metric: name, Form: s.Form, Left: s.Left, R2: s.R2, Flat: s.Flat}
	if s.Flat {
		return m, nil
	}
	told, kind, err := s.Predict(at)
	if err != nil {
		return m, err
	}
	m.At, m.Kind = &told, kind
	for i, d := range runs.Domains {
		change, err := s.Effect(at, i, step)
		if err != nil {
			continue // a ratio that can't grow so much
		}
		m.Effects = append(m.Effects, effect{d, change})
	}
	return m, nil
}

func (m surfaceAdvice) print(to io.Writer, step float64) {
	if m.Flat {
		fmt.Fprintf(to, "\n%s: ratios don't tell it: runs that are left out are told no better than by the mean of the others (R² %.2f)\n",
			m.Metric, m.R2)
		return
	}
	fmt.Fprintf(to, "\n%s: %.4g (95%% of runs %.4g to %.4g; %s); %s, which tells runs that are left out to %.2g (R² %.2f)\n", m.Metric,
		m.At.Estimate, m.At.Low,
		m.At.High, m.Kind, m.Form, m.Left, m.R2)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, e := range m.Effects {
		unsure := ""
		if e.Change.Low <= 0 && e.Change.High >= 0 {
			unsure = "may be nothing"
		}
		fmt.Fprintf(w, "  %+.2g of %s\t%+.3g\t%+.3g to %+.3g\t%s\n", step, e.Domain, e.Change.Estimate, e.Change.Low, e.Change.High, unsure)
	}
	w.Flush()
}

// mixtures reads ratios and metrics from one table or two, whose rows are joined by the columns that they share, or by their order.
func (a *advising) mixtures(paths []string) (runs *sizing.Runs, metrics []string, values [][]float64, err error) {
	var tables []*table.Table
	for _, path := range paths {
		t, err := table.Read(path)
		if err != nil {
			return nil, nil, nil, err
		}
		tables = append(tables, t)
	}
	first, last := tables[0], tables[len(tables)-1]
	var shared []string
	if len(tables) == 2 {
		shared = slices.DeleteFunc(slices.Clone(first.Columns), func(c string) bool { return !slices.Contains(last.Columns, c) })
	}
	order, err := joined(first, last, shared)
	if err != nil {
		return nil, nil, nil, err
	}
	domains := a.ratios
	if len(domains) == 0 {
		domains = numeric(first, shared)
	}
	if metrics = a.metrics; len(metrics) == 0 {
		metrics = numeric(last, slices.Concat(shared, map[bool][]string{true: domains}[len(tables) == 1]))
	}
	if len(metrics) == 0 {
		return nil, nil, nil, fmt.Errorf("%s: no column of a metric beside %s: --metric names some", last.Name, strings.Join(shared, ", "))
	}
	ratios := make([][]float64, first.Rows)
	for _, d := range domains {
		column, err := first.Numbers(d)
		if err != nil {
			return nil, nil, nil, err
		}
		for i, v := range column {
			ratios[i] = append(ratios[i], v)
		}
	}
	if runs, err = sizing.NewRuns(domains, ratios); err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", first.Name, err)
	}
	for _, m := range metrics {
		column, err := last.Numbers(m)
		if err != nil {
			return nil, nil, nil, err
		}
		own := make([]float64, first.Rows)
		for i := range own {
			own[i] = column[order[i]]
		}
		values = append(values, own)
	}
	return runs, metrics, values, nil
}

// joined returns, for each row of a table, the row of another that has the same cells in the columns they share.
func joined(first, last *table.Table, shared []string) (order []int, err error) {
	if first == last || len(shared) == 0 {
		if first.Rows != last.Rows {
			return nil, fmt.Errorf("%s has %d rows and %s has %d, and they share no column to join them by", first.Name, first.Rows, last.Name,
				last.Rows)
		}
		for i := range first.Rows {
			order = append(order, i)
		}
		return order, nil
	}
	keys := func(t *table.Table) ([]string, error) {
		all := make([]string, t.Rows)
		for _, c := range shared {
			cells, err := t.Text(c)
			if err != nil {
				return nil, err
			}
			for i, cell := range cells {
				all[i] += fmt.Sprintf("%q ", cell)
			}
		}
		return all, nil
	}
	own, err := keys(first)
	if err != nil {
		return nil, err
	}
	others, err := keys(last)
	if err != nil {
		return nil, err
	}
	at := map[string]int{}
	for i, key := range others {
		if _, twice := at[key]; twice {
			return nil, fmt.Errorf("%s: %s: %s is there twice: want a row for each run", last.Name, last.Where(i), strings.TrimSpace(key))
		}
		at[key] = i
	}
	for i, key := range own {
		row, found := at[key]
		if !found {
			return nil, fmt.Errorf("%s: %s: no row of %s has %s %s", first.Name, first.Where(i), last.Name, strings.Join(shared, ", "), key)
		}
		order = append(order, row)
	}
	return order, nil
}

// numeric returns the columns of a table, but for some, all of whose cells are numbers.
func numeric(t *table.Table, but []string) (names []string) {
	for _, c := range t.Columns {
		if _, err := t.Numbers(c); err == nil && !slices.Contains(but, c) && !unnamed(c) {
			names = append(names, c)
		}
	}
	return names
}

// unnamed reports whether a column only counts rows, as tables of pandas have one.
func unnamed(column string) bool {
	return strings.HasPrefix(column, "Unnamed") || slices.Contains([]string{"index", "run", "id", "name"}, strings.ToLower(column))
}

// namedRatios reads DOMAIN=RATIO pairs.
func namedRatios(domains []string, text string) ([]float64, error) {
	ratios, given := make([]float64, len(domains)), 0
	for part := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(part, "=")
		i := slices.Index(domains, strings.TrimSpace(name))
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if !found || i < 0 || err != nil {
			return nil, badUsage("--at %q: want DOMAIN=RATIO, one of %s", part, strings.Join(domains, ", "))
		}
		ratios[i] = v
		given++
	}
	sum := 0.
	for _, v := range ratios {
		sum += v
	}
	if given == 0 || math.Abs(sum-1) > 1e-3 {
		return nil, badUsage("--at %q: ratios sum to %.4g: want 1", text, sum)
	}
	return ratios, nil
}

// repeats reads unique tokens and says which domains repeat too often.
func (a *advising) repeats(runs *sizing.Runs, at []float64) ([]string, error) {
	if a.unique == "" {
		if a.tokens != 0 || a.proxy != 0 {
			return nil, badUsage("--tokens and --proxy need --unique, a table of domain and unique tokens")
		}
		return []string{}, nil
	}
	t, err := table.Read(a.unique)
	if err != nil {
		return nil, err
	}
	names := t.Columns
	domain, count := column(t, "", "domain"), column(t, "", "tokens", "unique", "unique_tokens")
	if domain == "" || count == "" {
		return nil, fmt.Errorf("%s: columns %s: want domain and tokens", t.Name, strings.Join(names, ", "))
	}
	cells, err := t.Text(domain)
	if err != nil {
		return nil, err
	}
	counts, err := t.Numbers(count)
	if err != nil {
		return nil, err
	}
	unique := make([]float64, len(runs.Domains))
	for i, d := range runs.Domains {
		row := slices.Index(cells, d)
		if row < 0 {
			return nil, fmt.Errorf("%s: no row of domain %s", t.Name, d)
		}
		unique[i] = counts[row]
	}
	notes, err := runs.Repeats(at, unique, a.tokens, a.proxy)
	return append([]string{}, notes...), err
}
