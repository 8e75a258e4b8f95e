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

	"raretask/pkg/chart"
	"raretask/pkg/figure"
	"raretask/pkg/scaling"
	"raretask/pkg/sizing"
	"raretask/pkg/table"
)

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
	if !(math.Abs(a.step) < 1) || a.step == 0 {
		return badUsage("--step %g: want a change of a ratio, above -1 and below 1", a.step)
	}
	runs, metrics, values, dropped, err := a.mixtures(paths)
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
		Notes      []string        `json:"notes"`
		Files      []string        `json:"files"`
	}
	all.Kind, all.Domains, all.At = "surface", runs.Domains, at
	all.Confounded, all.Notes = append([]string{}, runs.Confounded()...), append([]string{}, dropped...)
	if all.Repeats, err = a.repeats(runs, at); err != nil {
		return err
	}
	var drawn []string
	var surfaces []*sizing.Surface
	for i, name := range metrics {
		one, surface, err := surfaceOf(runs, name, values[i], at, a.step)
		if err != nil && len(metrics) == 1 {
			return err
		} else if err != nil {
			all.Notes = append(all.Notes, err.Error())
			continue
		}
		all.Metrics = append(all.Metrics, one)
		if !one.Flat {
			drawn, surfaces = append(drawn, name), append(surfaces, surface)
		}
	}
	if len(all.Metrics) == 0 {
		return fmt.Errorf("%s: no metric tells anything: %s", paths[len(paths)-1], strings.Join(all.Notes, "; "))
	}
	all.Files = []string{}
	if len(drawn) > 0 { // none where no metric tells ratios apart
		if all.Files, err = a.draw(func() (chart.Chart, error) { return figure.Effects(drawn, surfaces, at, a.step) }); err != nil {
			return err
		}
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
		printNotes(to, slices.Concat(all.Confounded, all.Repeats, all.Notes))
		printFiles(to, all.Files)
		if a.unique == "" {
			fmt.Fprintf(to, "\nnote: how often a domain would be repeated is not known; --unique and --tokens tell (more than %d times is worth "+
				"little)\n",
				sizing.MostRepeats)
		}
	})
}

func surfaceOf(runs *sizing.Runs, name string, values, at []float64, step float64) (m surfaceAdvice, s *sizing.Surface, err error) {
	if s, err = sizing.NewSurface(runs, values); err != nil {
		return m, nil, fmt.Errorf("%s: %w", name, err)
	}
	m = surfaceAdvice{Metric: name, Form: s.Form, Left: s.Left, R2: s.R2, Flat: s.Flat}
	if s.Flat {
		return m, s, nil
	}
	told, kind, err := s.Predict(at)
	if err != nil {
		return m, s, err
	}
	m.At, m.Kind = &told, kind
	for i, d := range runs.Domains {
		change, err := s.Effect(at, i, step)
		if err != nil {
			continue // a ratio that can't grow so much
		}
		m.Effects = append(m.Effects, effect{d, change})
	}
	return m, s, nil
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

// mixtures reads ratios and metrics from one table or two, whose rows are joined by the names of runs that they share, or by their order;
// and says which columns are no numbers throughout.
func (a *advising) mixtures(paths []string) (runs *sizing.Runs, metrics []string, values [][]float64, dropped []string, err error) {
	fail := func(err error) (*sizing.Runs, []string, [][]float64, []string, error) { return nil, nil, nil, nil, err }
	var tables []*table.Table
	for _, path := range paths {
		t, err := table.Read(path)
		if err != nil {
			return fail(err)
		}
		tables = append(tables, t)
	}
	first, last := tables[0], tables[len(tables)-1]
	shared := nameColumns(first, last)
	order, err := joined(first, last, shared)
	if err != nil {
		return fail(err)
	}
	domains := a.ratios
	if len(domains) == 0 {
		domains = numeric(first, shared)
	}
	if metrics = a.metrics; len(metrics) == 0 {
		metrics = numeric(last, slices.Concat(shared, map[bool][]string{true: domains}[len(tables) == 1]))
		dropped = halfNumeric(last, shared)
	}
	if len(metrics) == 0 {
		return fail(fmt.Errorf("%s: no column of a metric beside %s: --metric names some", last.Name,
			strings.Join(slices.Concat(shared, domains), ", ")))
	}
	ratios := make([][]float64, first.Rows)
	for _, d := range domains {
		column, err := first.Numbers(d)
		if err != nil {
			return fail(err)
		}
		for i, v := range column {
			ratios[i] = append(ratios[i], v)
		}
	}
	if runs, err = sizing.NewRuns(domains, ratios); err != nil {
		return fail(fmt.Errorf("%s: %w; --ratios names the columns of ratios", first.Name, err))
	}
	for _, m := range metrics {
		column, err := last.Numbers(m)
		if err != nil {
			return fail(err)
		}
		own := make([]float64, first.Rows)
		for i := range own {
			own[i] = column[order[i]]
		}
		values = append(values, own)
	}
	return runs, metrics, values, dropped, nil
}

// nameColumns returns the columns that two tables share and that name runs: such as are called so, whose cells are no numbers, or whose
// cells are the same in both.
func nameColumns(first, last *table.Table) (shared []string) {
	if first == last {
		return nil
	}
	for _, c := range first.Columns {
		if !slices.Contains(last.Columns, c) {
			continue
		}
		_, words := first.Numbers(c)
		own, _ := first.Text(c)
		other, _ := last.Text(c)
		if unnamed(c) || words != nil || slices.Equal(slices.Sorted(slices.Values(own)), slices.Sorted(slices.Values(other))) {
			shared = append(shared, c)
		}
	}
	return shared
}

// halfNumeric says of columns most of whose cells are numbers which one is not.
func halfNumeric(t *table.Table, but []string) (notes []string) {
	for _, c := range t.Columns {
		cells, _ := t.Text(c)
		numbers := 0
		for _, cell := range cells {
			if _, err := strconv.ParseFloat(cell, 64); err == nil {
				numbers++
			}
		}
		if _, err := t.Numbers(c); err != nil && 2*numbers > len(cells) && !slices.Contains(but, c) {
			notes = append(notes, fmt.Sprintf("left out: %v", err))
		}
	}
	return notes
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
