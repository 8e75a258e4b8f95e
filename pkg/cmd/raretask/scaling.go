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
C (FLOPs; D is then C/6N), and loss. All other columns, such as a task or a domain, divide the rows into groups that are fitted each on its
own; --by names those that shall. The fit minimises the Huber loss of ln L as Hoffmann et al. (2022) do, from several starts.

Intervals are 95% percentiles over resamples of the points, so points of one training that is seen several times make them too narrow. The
boundary is (1 + a/b)^(1/a): a model more than so many times as large as another reaches, trained compute-optimally, what the other doesn't
reach with any amount of data. Beside the fit stand how well the law without the largest sizes predicts them, and which sizes pull the fit.

A loss that rises with data, that doesn't depend on N or D, or that has a bend which no such law has, is said, and not fitted over.

With --json the keys are those of the first group's fit: E, A, B, a, b and boundary (each with estimate, low and high), covariance
(of E, ln A, ln B, a, b), scatter, extrapolation, influence, notes; and fits has those of all groups, with group, and trouble or
error where there is none.`,
		Example: `  raretask scaling fit runs.csv
  raretask scaling fit runs.parquet --n params --d tokens --loss c4_loss --by model_family
  raretask scaling fit runs.csv --predict 7e9,2e12 --budget 1e22
  raretask scaling fit runs.csv --split 4e8,7e9        # what the smaller one reaches, and with what
  raretask scaling fit runs.csv --json | jq .boundary`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.n, "n", "", "`column` of parameters (default N)")
	flags.StringVar(&f.d, "d", "", "`column` of tokens, samples or steps (default D)")
	flags.StringVar(&f.c, "c", "", "`column` of FLOPs, in place of D (default C)")
	flags.StringVar(&f.loss, "loss", "", "`column` of losses (default loss)")
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
	Predictions []prediction     `json:"predictions,omitempty"`
	Budgets     []optimum        `json:"budgets,omitempty"`
	Split       *scaling.Split   `json:"split,omitempty"`
	Smaller     float64          `json:"n_s_star,omitempty"` // N_s*(eps)
	Trouble     *scaling.Trouble `json:"trouble,omitempty"`
	Error       string           `json:"error,omitempty"`

	name string
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
	points, by, err := f.points(t)
	if err != nil {
		return err
	}
	groups, err := t.Groups(by)
	if err != nil {
		return err
	}
	switch {
	case len(groups) == 0:
		return fmt.Errorf("%s: no rows below the header", t.Name)
	case !f.grouped && len(groups)*scaling.FewestPoints > t.Rows:
		return fmt.Errorf("%s: columns %s divide its %d rows into %d groups, too few rows each: --by names those that shall, --by \"\" none",
			t.Name, strings.Join(by, ", "), t.Rows, len(groups))
	}
	p := showProgress(os.Stderr)
	defer p.stop()
	fits, failed := make([]*fit, len(groups)), 0
	for i, g := range groups {
		own := make([]scaling.Point, len(g.Rows))
		for j, row := range g.Rows {
			own[j] = points[row]
		}
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

// points returns the rows as points, and the columns that make groups.
func (f *fitting) points(t *table.Table) (points []scaling.Point, by []string, err error) {
	missing := func(what, flag string) error {
		return fmt.Errorf("%s: no column %s: there are %s; --%s names one", t.Name, what, strings.Join(t.Columns, ", "), flag)
	}
	n, loss := column(t, f.n, "N", "params", "parameters"), column(t, f.loss, "loss")
	d, c := column(t, f.d, "D", "tokens"), column(t, f.c, "C", "flops")
	switch {
	case n == "":
		return nil, nil, missing("N", "n")
	case loss == "":
		return nil, nil, missing("loss", "loss")
	case f.d != "" && f.c != "":
		return nil, nil, badUsage("--d %s and --c %s: want one of them", f.d, f.c)
	case d == "" && c == "":
		return nil, nil, missing("D or C", "d or --c")
	}
	fromC := f.c != "" || d == ""
	used := []string{n, loss, d, c}
	values := map[string][]float64{}
	for _, name := range []string{n, loss, map[bool]string{true: c, false: d}[fromC]} {
		if values[name], err = t.Numbers(name); err != nil {
			return nil, nil, err
		}
	}
	for i := range t.Rows {
		p := scaling.Point{N: values[n][i], Loss: values[loss][i]}
		if fromC {
			p.D = values[c][i] / 6 / p.N
		} else {
			p.D = values[d][i]
		}
		if !(p.N > 0) || !(p.D > 0) || !(p.Loss > 0) {
			return nil, nil, fmt.Errorf("%s: %s: N %g, D %g, loss %g: want positive numbers", t.Name, t.Where(i), p.N, p.D, p.Loss)
		}
		points = append(points, p)
	}
	if f.grouped {
		by = slices.DeleteFunc(f.by, func(name string) bool { return name == "" })
	} else {
		by = slices.DeleteFunc(slices.Clone(t.Columns), func(name string) bool { return slices.Contains(used, name) })
	}
	return points, by, nil
}

// fill fits the points of a group.
func (o *fit) fill(cmd *cobra.Command, f *fitting, points []scaling.Point, places [][2]float64, progress func(int)) error {
	if err := scaling.Shape(points); err != nil {
		if !errors.As(err, &o.Trouble) || !f.anyway {
			return err
		}
	}
	fitted, err := scaling.Report(cmd.Context(), points, f.resamples, progress)
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
	fmt.Fprintf(to, "\npoints scatter by %.2g%% in loss, the farthest is off by %.2g%%\n", 100*o.Scatter, 100*math.Expm1(o.Worst))
	if e := o.Extrapolation; e != nil {
		fmt.Fprintf(to, "without the sizes above %.3g the law predicts their %d losses %.2g%% too %s on average, the worst off by %.2g%%\n",
			e.Above, e.Points, 100*math.Abs(e.Mean), map[bool]string{true: "high", false: "low"}[e.Mean > 0], 100*e.Worst)
	}
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
