package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"raretask/pkg/scaling"
	"raretask/pkg/table"
)

func init() { verbs = append(verbs, newScalingCommand) }

func newScalingCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "scaling", Short: "Scaling laws of anybody's runs, with intervals"}
	cmd.AddCommand(newScalingFitCommand())
	return cmd
}

// fitting is what scaling fit is asked for.
type fitting struct {
	n, d, c, loss string // names of columns; empty: as they are usually called
	train         string // column that says which training a row is of
	by            []string
	grouped       bool // by was given
	resamples     int
	predict       []string
	budget        []float64
	split         []float64
	eps, baseline float64
	anyway        bool
}

func newScalingFitCommand() *cobra.Command {
	var f fitting
	cmd := &cobra.Command{
		Use:   "fit FILE",
		Short: "L(N,D) = E + A/N^a + B/D^b from a table of losses",
		Long: `Fits L(N,D) = E + A/N^a + B/D^b to a table (CSV, TSV or Parquet) with columns N (parameters), D (tokens, samples or steps) or
C (FLOPs; D is then C/6N), and loss; where there is only N, or only D, L = E + A/x^a to that. All other columns, such as a task or a
domain, divide the rows into groups that are fitted each on its own; --by names those that shall. The fit minimises the Huber loss of ln L
as Hoffmann et al. (2022) do, from several starts.

Intervals are 95% percentiles over resamples of the points. Points of one training that is seen several times make them too narrow: --run
names the column that says which training a row is of, and trainings are then resampled whole. The boundary is (1 + a/b)^(1/a): a model
more than so many times as large as another reaches, trained compute-optimally, what the other doesn't reach with any amount of data. Beside
the fit stand how well the law without the largest sizes predicts them, and which sizes pull the fit.

A loss that rises with data, that doesn't depend on N or D, or that has a bend which no such law has, is said, and not fitted over.

With --json the keys are those of the first group's fit: E, A, B, a, b and boundary (each with estimate, low and high), covariance
(of E, ln A, ln B, a, b), scatter, extrapolation, influence, notes; of a table with N or D alone they are in one_variable, with of (N or
D), E, A and a. fits has those of all groups, with group, and trouble or error where there is none.`,
		Example: `  raretask scaling fit runs.csv
  raretask scaling fit runs.parquet --n params --d tokens --loss c4_loss --by model_family
  raretask scaling fit runs.csv --predict 7e9,2e12 --budget 1e22
  raretask scaling fit runs.csv --split 4e8,7e9        # what the smaller one reaches, and with what
  raretask scaling fit curves.csv --run seed           # points along trainings
  raretask scaling fit runs.csv --json | jq .boundary`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.n, "n", "", "`column` of parameters (default N)")
	flags.StringVar(&f.d, "d", "", "`column` of tokens, samples or steps (default D)")
	flags.StringVar(&f.c, "c", "", "`column` of FLOPs, in place of D (default C)")
	flags.StringVar(&f.loss, "loss", "", "`column` of losses (default loss)")
	flags.StringVar(&f.train, "run", "", "`column` that says which training a row is of, to resample whole trainings")
	flags.StringSliceVar(&f.by, "by", nil, "`columns` that divide the rows into groups; \"\": none (default: all other columns)")
	flags.IntVar(&f.resamples, "resamples", 4000, "`count` of resamples for intervals")
	flags.StringArrayVar(&f.predict, "predict", nil, "`N,D` of which to predict the loss; may be given again")
	flags.Float64SliceVar(&f.budget, "budget", nil, "`FLOPs,…` whose best N and D to tell")
	flags.Float64SliceVar(&f.split, "split", nil, "`N_s,N_l`: how the smaller model reaches what the larger one does")
	flags.Float64Var(&f.eps, "eps", 0, "`loss` by which the limit of N_s*(eps) lies above what N_l reaches")
	flags.Float64Var(&f.baseline, "baseline", 0, "`loss` of guessing, for --split (default: the largest loss in the table)")
	flags.BoolVar(&f.anyway, "anyway", false, "fit what no such law describes, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.grouped = flags.Changed("by")
		return f.run(cmd, args[0])
	}
	return cmd
}

// fit is that of one group.
type fit struct {
	Group map[string]string `json:"group,omitempty"`
	*scaling.Fitted
	One         *oneVariable     `json:"one_variable,omitempty"`
	Predictions []prediction     `json:"predictions,omitempty"`
	Budgets     []optimum        `json:"budgets,omitempty"`
	Split       *scaling.Split   `json:"split,omitempty"`
	Smaller     float64          `json:"n_s_star,omitempty"` // N_s*(eps)
	Trouble     *scaling.Trouble `json:"trouble,omitempty"`
	Error       string           `json:"error,omitempty"`

	name string
}

// oneVariable is the fit of losses against N or D alone.
type oneVariable struct {
	Of string `json:"of"`
	*scaling.FittedFloor
}

type prediction struct {
	N    float64          `json:"n"`
	D    float64          `json:"d"`
	Loss scaling.Interval `json:"loss"`
}

type optimum struct {
	C float64          `json:"c"`
	N scaling.Interval `json:"n"`
	D scaling.Interval `json:"d"`
}

func (f *fitting) run(cmd *cobra.Command, path string) error {
	if f.resamples < 100 || f.resamples > 1_000_000 {
		return badUsage("--resamples %d: want 100 … 1000000", f.resamples)
	}
	if n := len(f.split); n != 0 && (n != 2 || !(f.split[0] > 0) || !(f.split[1] > f.split[0]) || math.IsInf(f.split[1], 0)) {
		return badUsage("--split %v: want two sizes, the smaller first", f.split)
	}
	for _, c := range f.budget {
		if !(c > 0) || math.IsInf(c, 0) {
			return badUsage("--budget %g: want positive numbers", c)
		}
	}
	places, err := pairs(f.predict)
	if err != nil {
		return err
	}
	t, err := table.Read(path)
	if err != nil {
		return err
	}
	rows, err := f.rows(t)
	if err != nil {
		return err
	}
	if rows.of != "N,D" && len(f.predict)+len(f.budget)+len(f.split) > 0 {
		return badUsage("--predict, --budget and --split need N and D: %s has %s alone", t.Name, rows.of)
	}
	by := rows.by
	groups, err := t.Groups(by)
	if err != nil {
		return err
	}
	switch {
	case len(groups) == 0:
		return fmt.Errorf("%s: no rows below the header", t.Name)
	case !f.grouped && len(by) > 0 && len(groups)*rows.fewest() > t.Rows:
		return fmt.Errorf("%s: columns %s divide its %d rows into %d groups, too few rows each: --by names those that shall, --by \"\" none",
			t.Name, strings.Join(by, ", "), t.Rows, len(groups))
	}
	p := showProgress(os.Stderr)
	defer p.stop()
	fits, failed := make([]*fit, len(groups)), 0
	for i, g := range groups {
		own := rows.at(g.Rows)
		total := int64(len(groups)) * int64(f.resamples)
		fits[i] = &fit{name: strings.Join(g.Cells, ", ")}
		if len(by) > 0 {
			fits[i].Group = map[string]string{}
			for j, c := range by {
				fits[i].Group[c] = g.Cells[j]
			}
		}
		err := fits[i].fill(cmd, f, own, places, func(done int) {
			p.set("resamples", int64(i)*int64(f.resamples)+int64(done), total)
		})
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
		if err != nil {
			failed++
			if fits[i].Error = err.Error(); !errors.As(err, &fits[i].Trouble) && len(groups) == 1 {
				return fmt.Errorf("%s: %w", t.Name, err)
			}
		}
	}
	p.stop()
	all := struct {
		*fit
		Fits []*fit `json:"fits"`
	}{fits[0], fits}
	if err := show(cmd, all, func(w io.Writer) {
		for i, one := range fits {
			if i > 0 {
				fmt.Fprintln(w)
			}
			one.print(w)
		}
	}); err != nil {
		return err
	}
	if failed == len(fits) {
		return fmt.Errorf("%s: no group was fitted; --anyway fits over what no such law describes, --by chooses other groups", t.Name)
	}
	return nil
}

// pairs reads N,D pairs.
func pairs(texts []string) (all [][2]float64, err error) {
	for _, text := range texts {
		n, d, found := strings.Cut(text, ",")
		var pair [2]float64
		for i, part := range []string{n, d} {
			if pair[i], err = strconv.ParseFloat(strings.TrimSpace(part), 64); !found || err != nil || !(pair[i] > 0) || math.IsInf(pair[i], 0) {
				return nil, badUsage("--predict %q: want N,D, two positive numbers", text)
			}
		}
		all = append(all, pair)
	}
	return all, nil
}

// column returns the name of a table's column: the one that was asked for, or the first of the usual names, whatever their case.
func column(t *table.Table, asked string, usual ...string) string {
	if asked != "" {
		return asked
	}
	for _, name := range usual {
		for _, c := range t.Columns {
			if strings.EqualFold(c, name) {
				return c
			}
		}
	}
	return ""
}

// lossRows are the rows of a table as points.
type lossRows struct {
	of     string // "N,D", "N" or "D": what losses are fitted against; the other is 0
	points []scaling.Point
	runs   []int    // which training each is of; nil: nobody said
	by     []string // columns that make groups
}

// fewest is how many points a fit needs.
func (r lossRows) fewest() int {
	if r.of == "N,D" {
		return scaling.FewestPoints
	}
	return scaling.FewestOfFloor
}

// at returns some of the rows.
func (r lossRows) at(rows []int) lossRows {
	own := lossRows{of: r.of}
	for _, i := range rows {
		if own.points = append(own.points, r.points[i]); r.runs != nil {
			own.runs = append(own.runs, r.runs[i])
		}
	}
	return own
}

// rows returns the table as points, and the columns that make groups.
func (f *fitting) rows(t *table.Table) (r lossRows, err error) {
	missing := func(what, flag string) error {
		return fmt.Errorf("%s: no column %s: there are %s; --%s names one", t.Name, what, strings.Join(t.Columns, ", "), flag)
	}
	n, loss := column(t, f.n, "N", "params", "parameters"), column(t, f.loss, "loss")
	d, c := column(t, f.d, "D", "tokens"), column(t, f.c, "C", "flops")
	fromC := f.c != "" || d == ""
	switch {
	case n == "" && d == "":
		return r, missing("N", "n")
	case loss == "":
		return r, missing("loss", "loss")
	case f.d != "" && f.c != "":
		return r, badUsage("--d %s and --c %s: want one of them", f.d, f.c)
	case d == "" && c == "":
		r.of = "N"
	case n == "" && d != "":
		r.of, fromC = "D", false
	default:
		r.of = "N,D"
	}
	used := []string{n, loss, d, c, f.train}
	data := map[bool]string{true: c, false: d}[fromC]
	values := map[string][]float64{}
	for _, name := range []string{n, loss, data} {
		if name == "" {
			continue
		}
		if values[name], err = t.Numbers(name); err != nil {
			return r, err
		}
	}
	for i := range t.Rows {
		p := scaling.Point{Loss: values[loss][i]}
		if n != "" {
			p.N = values[n][i]
		}
		switch {
		case r.of == "N":
		case fromC:
			p.D = values[c][i] / 6 / p.N
		default:
			p.D = values[d][i]
		}
		if r.of != "D" && !(p.N > 0) || r.of != "N" && !(p.D > 0) || !(p.Loss > 0) {
			return r, fmt.Errorf("%s: %s: N %g, D %g, loss %g: want positive numbers", t.Name, t.Where(i), p.N, p.D, p.Loss)
		}
		r.points = append(r.points, p)
	}
	if f.train != "" {
		names, err := t.Text(f.train)
		if err != nil {
			return r, err
		}
		at := map[string]int{}
		for _, name := range names {
			if _, known := at[name]; !known {
				at[name] = len(at)
			}
			r.runs = append(r.runs, at[name])
		}
	}
	if r.by = f.by; f.grouped {
		r.by = slices.DeleteFunc(f.by, func(name string) bool { return name == "" })
	} else {
		r.by = slices.DeleteFunc(slices.Clone(t.Columns), func(name string) bool { return slices.Contains(used, name) })
	}
	return r, nil
}

// fill fits the points of a group.
func (o *fit) fill(cmd *cobra.Command, f *fitting, rows lossRows, places [][2]float64, progress func(int)) error {
	points := rows.points
	if rows.of != "N,D" {
		var x, y []float64
		for _, p := range points {
			x, y = append(x, p.N+p.D), append(y, p.Loss) // one of the two is 0
		}
		fitted, err := scaling.ReportFloor(cmd.Context(), x, y, rows.runs, f.resamples, progress)
		if err != nil {
			errors.As(err, &o.Trouble)
			return err
		}
		o.One = &oneVariable{rows.of, fitted}
		return nil
	}
	if err := scaling.Shape(points); err != nil {
		if !errors.As(err, &o.Trouble) || !f.anyway {
			return err
		}
	}
	fitted, err := scaling.Report(cmd.Context(), points, rows.runs, f.resamples, progress)
	if err != nil {
		return err
	}
	o.Fitted = fitted
	for _, at := range places {
		o.Predictions = append(o.Predictions, prediction{at[0], at[1], fitted.Predict(at[0], at[1])})
	}
	for _, c := range f.budget {
		n, d := fitted.Optimum(c)
		o.Budgets = append(o.Budgets, optimum{c, n, d})
	}
	if len(f.split) == 2 {
		baseline := f.baseline
		if baseline == 0 {
			for _, p := range points {
				baseline = max(baseline, p.Loss)
			}
			baseline = max(baseline, fitted.Law.ComputeOptimal(f.split[0]))
		}
		s, err := fitted.Law.Split(f.split[0], f.split[1], baseline)
		if err != nil {
			return err
		}
		o.Split, o.Smaller = &s, fitted.Law.SmallerThan(f.split[1], f.eps)
	}
	return nil
}

func (o *fit) print(to io.Writer) {
	if o.name != "" {
		fmt.Fprintf(to, "%s\n", o.name)
	}
	if o.One != nil {
		o.One.print(to)
		return
	}
	if o.Fitted == nil {
		fmt.Fprintf(to, "no fit: %s\n", strings.TrimPrefix(o.Error, "scaling: "))
		return
	}
	fmt.Fprintf(to, "L(N,D) = E + A/N^a + B/D^b, %d points of %d sizes\n\n", o.Points, o.Sizes)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(name string, i scaling.Interval, about string) {
		fmt.Fprintf(w, "%s\t%.4g\t%.4g to %.4g\t%s\n", name, i.Estimate, i.Low, i.High, about)
	}
	row("E", o.E, "")
	row("A", o.A, "")
	row("B", o.B, "")
	row("a", o.Alpha, "")
	row("b", o.Beta, "")
	row("boundary", o.Boundary, "times the size: what it reaches compute-optimally, the smaller one doesn't with any data")
	for _, p := range o.Predictions {
		row(fmt.Sprintf("L(%.3g, %.3g)", p.N, p.D), p.Loss, "")
	}
	for _, b := range o.Budgets {
		row(fmt.Sprintf("best N for %.3g FLOPs", b.C), b.N, "")
		row("     D", b.D, "")
	}
	w.Flush()
	printTrust(to, o.Scatter, o.Worst, o.Extrapolation)
	if s := o.Split; s != nil {
		fmt.Fprintf(to, "\nof what N = %.3g reaches (%.4g), N = %.3g\n", s.Large, s.ComputeLarge, s.Small)
		fmt.Fprintf(to, "  reaches down to %.4g compute-optimally\n  needs more data down to %.4g\n", s.ComputeSmall, s.ComputeSmall-s.Data)
		if s.Model > 0 {
			fmt.Fprintf(to, "  and never reaches the last %.4g: its limit is %.4g\n", s.Model, s.Limit)
		}
		fmt.Fprintf(to, "N_s* = %.3g: smaller models than this need to grow\n", o.Smaller)
	}
	for _, note := range o.Notes {
		fmt.Fprintf(to, "note: %s\n", note)
	}
	if o.Trouble != nil {
		fmt.Fprintf(to, "fitted anyway: %s\n", o.Trouble.About)
	}
}

func (o *oneVariable) print(to io.Writer) {
	other, flag := "D or C", "--d or --c"
	if o.Of == "D" {
		other, flag = "N", "--n"
	}
	fmt.Fprintf(to, "L(%s) = E + A/%s^a, %d points (there is no column %s; %s names one)\n\n", o.Of, o.Of, o.Points, other, flag)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, row := range []struct {
		name string
		scaling.Interval
	}{{"E", o.E}, {"A", o.A}, {"a", o.Alpha}} {
		fmt.Fprintf(w, "%s\t%.4g\t%.4g to %.4g\n", row.name, row.Estimate, row.Low, row.High)
	}
	w.Flush()
	printTrust(to, o.Scatter, o.Worst, o.Extrapolation)
	for _, note := range o.Notes {
		fmt.Fprintf(to, "note: %s\n", note)
	}
}

// printTrust says how far points are from a law, and how well it predicts the largest.
func printTrust(to io.Writer, scatter, worst float64, e *scaling.Extrapolation) {
	fmt.Fprintf(to, "\npoints scatter by %.2g%% in loss, the farthest is off by %.2g%%\n", 100*scatter, 100*math.Expm1(worst))
	if e != nil {
		fmt.Fprintf(to, "without those above %.3g the law predicts their %d losses %.2g%% too %s on average, the worst off by %.2g%%\n",
			e.Above, e.Points, 100*math.Abs(e.Mean), map[bool]string{true: "high", false: "low"}[e.Mean > 0], 100*e.Worst)
	}
}
