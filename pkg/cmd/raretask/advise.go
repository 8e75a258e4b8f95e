package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/gomlx/gomlx/support/xslices"
	"github.com/spf13/cobra"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/figure"
	"raretask/pkg/results"
	"raretask/pkg/scaling"
	"raretask/pkg/sizing"
	"raretask/pkg/spec"
	"raretask/pkg/sweep"
)

func init() { verbs = append(verbs, newAdviseCommand) }

// advising is what advise is asked for.
type advising struct {
	scale func() (string, error)

	out string // folder of charts

	widths  []int // of a SPEC
	sizes   []int // parameters in place of widths
	targets []string
	late    float64

	size, data, task, frequency, seed string // names of columns of learning curves
	metrics                           []string
	higher                            bool
	chance                            float64

	ratios        []string // of a table of mixtures
	at            string
	step          float64
	unique        string
	tokens, proxy float64
}

func newAdviseCommand() *cobra.Command {
	var a advising
	cmd := &cobra.Command{
		Use:   "advise SPEC|FILE…",
		Short: "Which size or frequency a task needs; is it size or data; what a mixture buys",
		Long: `Answers with intervals, and one sentence each. What it answers follows from what it is given.

SPEC, a preset's name or a YAML file: which tasks each width will learn, the least width and the least frequency of each task, and what that
costs the others. Of mixtures of regressions on a bottleneck by theory, nothing is trained; of other nets by a threshold in size and
frequency that is fitted to the runs of SPEC that are stored. --target K=LOSS says what is to be reached, relative to nothing learned, and
asks for the mixture that reaches all targets at the least width; --late SHARE, what becomes of tasks whose samples all come in that last
share of training.

CURVES, a table of learning curves (CSV, TSV or Parquet) with columns size (or N, params), tokens (or D, steps, samples), loss or accuracy,
and, where there are, task, frequency and seed: is it size or data? A column for each task does, too. For each task and size: more data
would do; only a larger model would; a higher frequency is cheaper; neither; or can't tell.

RATIOS METRICS, two tables of runs on mixtures of domains, a row for each run, joined by the column that names runs: a column for each
domain, ratios that sum to 1; a column for each metric. What a change of one ratio buys, which ratios runs don't tell apart, and with --at
what a mixture would give. --unique names a table of domain and unique tokens, --tokens how many are trained on: domains that would repeat
too often are named, and those that a proxy of --proxy tokens repeats otherwise.

A prediction lies within what was measured, and stands beside what leaving out shows; a projection lies beyond it.

With --json the keys are kind (mixture, threshold, curves or surface), files, and, by kind, widths, parameters, tasks, checked,
recommended, late and sentences; variables, constant, slopes, exponent, outcomes, left_out and tasks; answers, left_out and notes (of a
metric that is the better the higher, numbers are of 1 less it); domains, at, metrics, confounded, repeats and notes. A number that is not
finite is null.`,
		Example: `  raretask advise fig3 --widths 16,32,64
  raretask advise mine.yaml --target 16=.4 --target 1=.1
  raretask advise parity
  raretask advise curves.csv --metric accuracy --chance .25 --out drawn
  raretask advise ratios.csv metrics.csv --at web=.5,code=.3,books=.2 --unique unique.csv --tokens 1e12`,
		Args: cobra.RangeArgs(1, 2),
	}
	a.scale = scaleFlag(cmd)
	flags := cmd.Flags()
	flags.IntSliceVar(&a.widths, "widths", nil, "`N,…` in place of the widths in SPEC")
	flags.IntSliceVar(&a.sizes, "parameters", nil, "`P,…` in place of widths: of each the widest net with no more")
	flags.StringVar(&a.out, "out", "", "`DIR` to draw the answer to, as a Vega-Lite chart and the table of what is plotted")
	flags.StringArrayVar(&a.targets, "target", nil, "`K=LOSS` that task K is to reach, relative to nothing learned; may be given again")
	flags.Float64Var(&a.late, "late", 0, "`share` at the end of training in which all samples of a task come")
	flags.StringVar(&a.size, "size", "", "`column` of sizes (default size, N, params, parameters or net.width)")
	flags.StringVar(&a.data, "data", "", "`column` of tokens or steps (default tokens, D, samples, steps or step)")
	flags.StringVar(&a.task, "task", "", "`column` of tasks (default task)")
	flags.StringVar(&a.frequency, "frequency", "", "`column` of how often the task comes (default frequency)")
	flags.StringVar(&a.seed, "seed", "", "`column` of seeds, whose mean counts (default seed, run or train.seed)")
	flags.StringSliceVar(&a.metrics, "metric", nil, "`columns` of losses or accuracies (default loss or accuracy, or every other column)")
	flags.BoolVar(&a.higher, "higher", false, "the metric is the better the higher (default: where it is named accuracy)")
	flags.Float64Var(&a.chance, "chance", math.NaN(), "`value` of the metric by guessing (default: where curves begin)")
	flags.StringSliceVar(&a.ratios, "ratios", nil, "`columns` of ratios (default: all numbers of RATIOS)")
	flags.StringVar(&a.at, "at", "", "`DOMAIN=RATIO,…` of a mixture to tell the metrics of (default: the mean of the runs)")
	flags.Float64Var(&a.step, "step", .05, "`change` of a ratio to tell the effect of")
	flags.StringVar(&a.unique, "unique", "", "`FILE` of domain and unique tokens")
	flags.Float64Var(&a.tokens, "tokens", 0, "`count` of tokens that are trained on")
	flags.Float64Var(&a.proxy, "proxy", 0, "`count` of tokens that the runs were trained on")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tables := 0
		for _, name := range args {
			if isTable(name) {
				tables++
			}
		}
		switch {
		case len(args) == 1 && tables == 0:
			return a.onSpec(cmd, args[0])
		case tables < len(args):
			return badUsage("advise %s: want a SPEC, a table of learning curves, or two tables of ratios and metrics (.csv, .tsv or .parquet)",
				strings.Join(args, " "))
		case len(args) == 1 && len(a.ratios) == 0:
			return a.onCurves(cmd, args[0])
		}
		return a.onMixtures(cmd, args)
	}
	return cmd
}

// isTable reports whether a file is named as a table.
func isTable(name string) bool {
	return slices.Contains([]string{".csv", ".tsv", ".parquet"}, strings.ToLower(filepath.Ext(name)))
}

// onSpec advises on a sweep.
func (a *advising) onSpec(cmd *cobra.Command, name string) error {
	s, err := loadSpec(name, a.scale)
	if err != nil {
		return err
	}
	_, err = s.Base.Mixture.Theory()
	if err != nil || s.Base.Net.Kind != "bottleneck" {
		if len(a.targets) > 0 || a.late != 0 || len(a.widths)+len(a.sizes) > 0 {
			return badUsage("--widths, --parameters, --target and --late are answered by theory: %s trains nets of kind %s on %s, of which there "+
				"is none", name,
				s.Base.Net.Kind, s.Base.Mixture.Family)
		}
		return a.onRuns(cmd, s)
	}
	return a.onTheory(cmd, s)
}

// storedRuns returns the runs of a sweep that there are.
func storedRuns(s *spec.Sweep) (results.Runs, error) {
	store, err := results.Open()
	if err != nil {
		return nil, err
	}
	plan, err := sweep.NewPlan(s, store, nil)
	if err != nil {
		return nil, err
	}
	return plan.Results(), nil
}

// calibration returns how far trained nets end from theory, or why that is not known.
func calibration() (*sizing.Calibration, error) {
	var sets []results.Runs
	for _, name := range sizing.CalibrationPresets {
		s, err := spec.Load(name, "quick")
		if err != nil {
			return nil, err
		}
		runs, err := storedRuns(s)
		if err != nil {
			return nil, err
		}
		if len(runs) == 0 {
			return nil, fmt.Errorf("there are no runs of %s at scale quick, which say how far trained nets end from theory; "+
				"`raretask sweep run %s --scale quick` trains them", name, name)
		}
		sets = append(sets, runs)
	}
	return sizing.Calibrate(sets...)
}

// theoryAdvice is the answer by theory.
type theoryAdvice struct {
	Kind string `json:"kind"`
	*sizing.Advice
	Recommended *recommendation `json:"recommended,omitempty"`
	Late        []lateAdvice    `json:"late,omitempty"`
	Sentences   []string        `json:"sentences"`
	Parameters  []int           `json:"parameters"` // of nets of these widths
	Files       []string        `json:"files"`
}

// parametersAt returns how many numbers a run's net trains at a width.
func parametersAt(r spec.Run, width int) int {
	r.Net.Width = width
	return r.Parameters()
}

// widest returns the largest width of a run's net with no more than so many parameters; 0: none.
func widest(r spec.Run, parameters int) int {
	most := r.Mixture.Signature().Input.Size()
	return sort.Search(most, func(w int) bool { return parametersAt(r, w+1) > parameters })
}

// isoLearning draws which frequency each width needs, for some tasks of a mixture.
func isoLearning(m sizing.Mixture, r spec.Run, name string) (chart.Chart, error) {
	k := m.Tasks()
	var widths []int
	for w := 1.; w < float64(r.Mixture.Signature().Input.Size()); w *= 1.12 {
		if n := int(w); len(widths) == 0 || n > widths[len(widths)-1] {
			widths = append(widths, n)
		}
	}
	some := slices.Compact([]int{1, max(1, k/4), max(1, k/2), k})
	return figure.IsoLearning("mixture", []string{name}, []sizing.Mixture{m}, some, widths, func(width int) float64 {
		r.Net.Width = width
		return claims.FLOPs(results.NewRun(r, nil, nil)) * float64(r.Train.Steps)
	})
}

type recommendation struct {
	Width       int       `json:"width"`
	Frequencies []float64 `json:"frequencies"`
	Shares      string    `json:"shares"` // as mixture.frequency.shares, to four digits
	Margin      *float64  `json:"margin"` // ln of the least utility that is needed over the largest other one; null: there is no other
	Cost        float64   `json:"cost"`   // to the tasks that lose, by their frequencies before
	Instead     int       `json:"instead"`
}

type lateAdvice struct {
	Task     int     `json:"task"`
	Width    int     `json:"width"`
	Constant bool    `json:"constant"`
	Late     bool    `json:"late"`
	Margin   float64 `json:"margin"`
}

func (a *advising) onTheory(cmd *cobra.Command, s *spec.Sweep) error {
	runs, err := s.Runs()
	if err != nil {
		return err
	}
	theory, err := runs[0].Mixture.Theory()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(runs, func(r spec.Run) bool { return r.Mixture != runs[0].Mixture }) {
		return badUsage("%s has several mixtures: want one, as in a file with `base: %s` and one value of what varies", s.Name, s.Name)
	}
	m, widths := sizing.Mixture{Mixture: theory}, a.widths
	if len(widths)+len(a.sizes) == 0 {
		for _, r := range runs {
			widths = append(widths, r.Net.Width)
		}
	}
	for _, p := range a.sizes {
		w := widest(runs[0], p)
		if w == 0 {
			return badUsage("--parameters %d: a net of width 1 has %d", p, parametersAt(runs[0], 1))
		}
		widths = append(widths, w)
	}
	slices.Sort(widths)
	if widths = slices.Compact(widths); widths[0] < 1 {
		return badUsage("--widths %d: want at least 1", widths[0])
	}
	targets, asked, err := a.targetsOf(m)
	if err != nil {
		return err
	}
	c, unknown := calibration()
	advice, err := m.Advise(c, targets, widths)
	if err != nil {
		return err
	}
	all := theoryAdvice{Kind: "mixture", Advice: advice}
	for _, w := range widths {
		all.Parameters = append(all.Parameters, parametersAt(runs[0], w))
	}
	if all.Files, err = a.draw(func() (chart.Chart, error) { return isoLearning(m, runs[0], s.Name) }); err != nil {
		return err
	}
	if unknown != nil {
		advice.Checked = "without intervals: " + unknown.Error()
	}
	if asked {
		if all.Recommended, err = recommend(m, targets, advice); err != nil {
			return err
		}
	}
	if a.late != 0 {
		if !(a.late > 0 && a.late <= 1) {
			return badUsage("--late %g: want a share of training, above 0 and at most 1", a.late)
		}
		if all.Late, err = latePart(m, widths, a.late); err != nil {
			return err
		}
	}
	all.Sentences = all.sentences(a.late)
	return show(cmd, all, all.print)
}

// targetsOf returns the targets of each task, NaN for none, and whether any was asked for.
func (a *advising) targetsOf(m sizing.Mixture) (targets []float64, asked bool, err error) {
	targets = slices.Repeat([]float64{math.NaN()}, m.Tasks())
	for _, text := range a.targets {
		task, loss, found := strings.Cut(text, "=")
		k, err1 := strconv.Atoi(strings.TrimSpace(task))
		v, err2 := strconv.ParseFloat(strings.TrimSpace(loss), 64)
		if !found || err1 != nil || err2 != nil || k < 1 || k > m.Tasks() {
			return nil, false, badUsage("--target %q: want K=LOSS, K from 1 to %d", text, m.Tasks())
		}
		targets[k-1] = v
	}
	return targets, len(a.targets) > 0, nil
}

// recommend returns the mixture that reaches the targets at the least width.
func recommend(m sizing.Mixture, targets []float64, advice *sizing.Advice) (*recommendation, error) {
	r, err := m.Recommend(targets)
	if err != nil {
		return nil, err
	}
	instead := 0 // width that reaches all of them as the mixture is
	for k, target := range targets {
		if !math.IsNaN(target) {
			instead = max(instead, advice.Tasks[k].Width)
		}
	}
	shares := strings.Join(xslices.Map(r.Frequency, func(v float64) string { return fmt.Sprintf("%.4g", v) }), " ")
	margin := &r.Margin
	if math.IsInf(r.Margin, 1) {
		margin = nil
	}
	return &recommendation{r.Width, r.Frequency, shares, margin, m.CostOf(r.Mixture, r.Width).Common, instead}, nil
}

// latePart returns where a late task is learned and one of constant frequency is not, or the other way round.
func latePart(m sizing.Mixture, widths []int, share float64) (all []lateAdvice, err error) {
	for k := range m.Tasks() {
		if m.Frequency[k] >= share {
			continue // so frequent that it would be all there is
		}
		for _, w := range widths {
			late, err := m.Late(k, w, share)
			if err != nil {
				return nil, err
			}
			if before := m.At(w)[k]; before.Learned != late.Learned {
				all = append(all, lateAdvice{k + 1, w, before.Learned, late.Learned, late.Margin})
			}
		}
	}
	return all, nil
}

// sentences says the answers in one each.
func (t theoryAdvice) sentences(share float64) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for i, w := range t.Widths {
		var learned, ties []string
		for _, task := range t.Tasks {
			switch at := task.At[i]; {
			case at.Tie:
				ties = append(ties, fmt.Sprint(task.Task))
			case at.Learned:
				learned = append(learned, fmt.Sprint(task.Task))
			}
		}
		text := fmt.Sprintf("width %d learns %d of %d tasks", w, len(learned), len(t.Tasks))
		if len(ties) > 0 {
			text += fmt.Sprintf("; %s would be a tie", strings.Join(ties, ", "))
		}
		say("%s (%s)", text, t.Tasks[0].At[i].Kind)
	}
	rarest := slices.MinFunc(t.Tasks, func(a, b sizing.TaskAdvice) int { return int(math.Copysign(1, a.Frequency-b.Frequency)) })
	for i := len(t.Widths) - 1; i >= 0; i-- {
		at := rarest.At[i]
		if at.Learned || at.Frequency == nil {
			continue
		}
		say("task %d needs width %d; or, at width %d, a frequency of %.3g in place of %.3g (%.3g times), which costs the others %.2g of loss",
			rarest.Task,
			rarest.Width, at.Width, *at.Frequency, rarest.Frequency, *at.Frequency/rarest.Frequency, at.Cost)
		break
	}
	if r := t.Recommended; r != nil {
		say("all targets are reached at width %d by the frequencies below; as the mixture is they take %d. What the others lose, by their "+
			"frequencies before, is %.3g of a loss of 1 for nothing learned", r.Width, r.Instead, r.Cost)
		if r.Margin != nil && *r.Margin < sizing.NearTie {
			say("but what is needed is worth hardly more than what is not (margin %.2g): training may keep either; a lower target, or a wider net, "+
				"is safer", *r.Margin)
		}
	}
	if share != 0 {
		won := 0
		for _, l := range t.Late {
			if l.Late {
				won++
			}
		}
		say("with all samples of a task in the last %g of training, %d pairs of task and width are learned that a constant frequency doesn't "+
			"learn, and %d are lost; the nearer their margin to 0, the longer that share must be", share, won, len(t.Late)-won)
		say("in short bursts, spread over training, it is nearer to a constant frequency: no closed form says how near, notebook 08 tries ten")
	}
	return all
}

func (t theoryAdvice) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "task\tfrequency\ttarget\twidth")
	for _, n := range t.Widths {
		fmt.Fprintf(w, "\tloss at N = %d\tfrequency", n)
	}
	fmt.Fprintln(w)
	for _, task := range t.Tasks {
		fmt.Fprintf(w, "%d\t%.3g\t%.3g\t%d", task.Task, task.Frequency, task.Target, task.Width)
		for _, at := range task.At {
			need := "-"
			if !at.Learned {
				if need = "none"; at.Frequency != nil {
					need = fmt.Sprintf("%.3g", *at.Frequency)
				}
			}
			mark := ""
			if at.Tie {
				mark = "?"
			}
			fmt.Fprintf(w, "\t%.3g (%.2g to %.2g)%s\t%s", at.Loss.Estimate, at.Loss.Low, at.Loss.High, mark, need)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	fmt.Fprintln(to, "\nwidth: the least that reaches the target, a loss relative to nothing learned; frequency: the least at which that "+
		"width does; ?: a tie")
	for i, n := range t.Widths {
		fmt.Fprintf(to, "width %d has %d parameters\n", n, t.Parameters[i])
	}
	fmt.Fprintf(to, "%s\n\n", t.Checked)
	for _, sentence := range t.Sentences {
		fmt.Fprintln(to, sentence)
	}
	if r := t.Recommended; r != nil {
		fmt.Fprintf(to, "\nmixture.frequency: {law: given, shares: %s}\n", r.Shares)
	}
	printFiles(to, t.Files)
	if len(t.Late) > 0 {
		fmt.Fprintln(to)
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "task\twidth\tconstant\tlate\tmargin")
		for _, l := range t.Late {
			fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%+.2f\n", l.Task, l.Width, learnedOrNot(l.Constant), learnedOrNot(l.Late), l.Margin)
		}
		w.Flush()
	}
}

func learnedOrNot(learned bool) string {
	if learned {
		return "learned"
	}
	return "not"
}

// onRuns advises by the runs of a sweep that are stored.
func (a *advising) onRuns(cmd *cobra.Command, s *spec.Sweep) error {
	runs, err := storedRuns(s)
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		return fmt.Errorf("advise %s: of %s there is no closed form, and no run is stored; `raretask sweep run %s --scale %s` trains them",
			s.Name,
			s.Base.Mixture.Family, s.Name, s.Scale)
	}
	p := showProgress(os.Stderr)
	l, err := sizing.LearnFrom(runs, 1000)
	p.stop()
	if err != nil {
		return fmt.Errorf("advise %s: %w", s.Name, err)
	}
	exponent := l.Exponent(1, 0)
	files, err := a.draw(func() (chart.Chart, error) { return figure.SizeThreshold(l) })
	if err != nil {
		return err
	}
	all := map[string]any{"kind": "threshold", "variables": l.Variables, "constant": l.Constant, "slopes": l.Slopes, "exponent": exponent,
		"outcomes": l.Outcomes, "learned": l.Learned, "left_out": l.Left, "tasks": l.Tasks, "files": files}
	return show(cmd, all, func(to io.Writer) {
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "task\tfrequency\twidth for one of two\twidth for nine of ten\t\tlearned by runs")
		for _, t := range l.Tasks {
			var shown []string
			for _, o := range t.Shown {
				shown = append(shown, fmt.Sprintf("%d: %d/%d", o.Width, o.Learned, o.Runs))
			}
			fmt.Fprintf(w, "%d\t%.3g\t%s\t%s\t%s\t%s\n", t.Task, t.Frequency, widthOf(t.Half), widthOf(t.Sure), t.Kind, strings.Join(shown, ", "))
		}
		w.Flush()
		fmt.Fprintf(to, "\n%v, by %d outcomes of %d runs\n", l.Threshold, l.Outcomes, len(runs))
		fmt.Fprintf(to, "the frequency from which a size learns a task goes as size^%.3g (%.3g to %.3g); knowledge in language models as "+
			"size^-1.152 "+
			"(arXiv 2505.18091)\n", exponent.Estimate, exponent.Low, exponent.High)
		if l.Left != nil {
			fmt.Fprintf(to, "without the sizes above %.4g the model tells %d of their %d outcomes\n", l.Left.Above, l.Left.Right, l.Left.Outcomes)
		}
		printFiles(to, files)
	})
}

// widthOf writes a width and its interval; one that is infinite is none.
func widthOf(i scaling.Interval) string {
	text := func(v float64) string {
		if math.IsInf(v, 1) {
			return "no width"
		}
		return fmt.Sprintf("%.3g", v)
	}
	return fmt.Sprintf("%s (%s to %s)", text(i.Estimate), text(i.Low), text(i.High))
}
