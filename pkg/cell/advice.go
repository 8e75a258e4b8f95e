package cell

import (
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/claims"
	"raretask/pkg/results"
	"raretask/pkg/sizing"
	"raretask/pkg/spec"
)

// Theory returns the closed forms of a sweep's mixture, of which theory says what widths keep. There is to be one.
func Theory(s *spec.Sweep) sizing.Mixture {
	runs := Must(s.Runs())
	for _, r := range runs {
		if !reflect.DeepEqual(r.Mixture, runs[0].Mixture) {
			Check(fmt.Errorf("cell.Theory: %s has several mixtures: want one, by a single value for each setting of mixture", s.Name))
		}
	}
	return sizing.Mixture{Mixture: Must(runs[0].Mixture.Theory())}
}

// Calibration returns how far trained bottlenecks end from theory, by the runs of some presets.
func Calibration() *sizing.Calibration {
	return Must(sizing.Calibrate(xslices.Map(sizing.CalibrationPresets, func(name string) results.Runs { return Run(Spec(name)) })...))
}

// RunAll returns the results of several sweeps, a set for each.
func RunAll(sweeps []*spec.Sweep) []results.Runs { return xslices.Map(sweeps, Run) }

// Advice displays what becomes of each task at widths.
func Advice(a *sizing.Advice) {
	headers := []string{"task", "frequency", "learned from N ="}
	for _, w := range a.Widths {
		headers = append(headers, fmt.Sprintf("loss at N = %d", w), "95% of nets", "least frequency")
	}
	Table(headers, xslices.Map(a.Tasks, func(t sizing.TaskAdvice) []any {
		row := []any{t.Task, t.Frequency, t.Width}
		for _, at := range t.At {
			need := "learned"
			switch {
			case at.Tie:
				need = "a tie"
			case !at.Learned && at.Frequency == nil:
				need = "none"
			case !at.Learned:
				need = fmt.Sprintf("%.3g (%.3g times)", *at.Frequency, *at.Frequency/t.Frequency)
			}
			row = append(row, at.Loss.Estimate, fmt.Sprintf("%.2f … %.2f", at.Loss.Low, at.Loss.High), need)
		}
		return row
	}))
	fmt.Println(a.Checked + ".")
}

// Tried displays how predictions of theory came out, by mixture.
func Tried(sweeps []*spec.Sweep, pairs []sizing.Pair) {
	var rows [][]any
	for i, s := range sweeps {
		var own []sizing.Pair
		for _, p := range pairs {
			if p.Mixture == i {
				own = append(own, p)
			}
		}
		c, b := sizing.Count(own), s.Base.Mixture
		rows = append(rows, []any{i + 1, b.Tasks, settingOf(s, "mixture.alpha"), b.Frequency.Exponent, fmt.Sprintf("%d of %d", c.Right, c.Known),
			fmt.Sprintf("%d of %d", c.RightTied, c.Tied), fmt.Sprintf("%d of %d", c.Covered, c.Pairs)})
	}
	Table([]string{"mixture", "tasks", "α", "β", "told right", "ties told right", "losses within their interval"}, rows)
}

// settingOf writes a setting of a sweep's base.
func settingOf(s *spec.Sweep, key string) string {
	for _, setting := range s.Base.Settings() {
		if setting.Key == key {
			return strings.Trim(strings.ReplaceAll(fmt.Sprint(setting.Value), " ", " … "), "[]")
		}
	}
	return ""
}

// Promises displays what became of recommended mixtures once they were trained.
func Promises(c *sizing.Calibration, promises []sizing.Promise, runs []results.Runs) {
	var rows [][]any
	for i, p := range promises {
		Check(runs[i].Need(results.Design{Columns: []string{"loss"}, Final: true}))
		kept := p.Keep(c, runs[i][0])
		var tasks []string
		for k, target := range p.Targets {
			if !math.IsNaN(target) {
				mark := ""
				if !kept.Reached[k] {
					mark = " missed"
				}
				tasks = append(tasks, fmt.Sprintf("%d: %.2f ≤ %.2f%s", k+1, kept.Loss[k], target, mark))
			}
		}
		rows = append(rows, []any{i + 1, p.Recommended.Width, strings.Join(tasks, ", "), kept.Promised, kept.Most, kept.Cost})
	}
	Table([]string{"mixture", "N", "task: loss ≤ target", "cost promised", "at most", "cost"}, rows)
}

// Latenesses displays what became of tasks that came in the last fifth of training alone, or of each of its stretches.
func Latenesses(all []sizing.Lateness, late, bursts, constant []results.Runs) {
	var rows [][]any
	for i, l := range all {
		loss := func(runs results.Runs) float64 {
			own := runs.Where(func(r *results.Run) bool { return r.Net.Width == l.Width })
			Check(own.Need(results.Design{Columns: []string{"loss"}, Final: true}))
			return claims.Final(own[0], "loss", l.Task+1)
		}
		rows = append(rows, []any{i + 1, l.Task + 1, l.Width, l.Before.Margin, l.After.Margin, l.After.High, loss(late[i]), loss(bursts[i]),
			loss(constant[i])})
	}
	Table([]string{"mixture", "task", "N", "margin, constant", "margin, late", "loss predicted, late", "late", "in bursts", "constant"}, rows)
}

// Answers displays whether it is size or data, task by task.
func Answers(all []sizing.Diagnosis) {
	Table([]string{"task", "frequency", "size", "ends at", "best of the larger", "answer", "why", ""}, xslices.Map(all,
		func(d sizing.Diagnosis) []any {
			return []any{d.Task, d.Frequency, d.Size, d.End, d.Reference, d.Answer, d.Why, d.Kind}
		}))
}

// Rules displays how often ways to tell what will be learned are right, by family.
func Rules(families []string, all [][]sizing.Rule) {
	var rows [][]any
	for i, rules := range all {
		for _, r := range rules {
			every := ""
			if r.Asks > 0 {
				every = fmt.Sprintf("%d of %d", r.AllRight, r.Asks)
			}
			rows = append(rows, []any{families[i], r.Name, fmt.Sprintf("%d of %d", r.Right, r.Told), r.Accuracy(), every})
		}
	}
	Table([]string{"", "by", "right, of pairs with a smaller size", "share", "right, of all pairs"}, rows)
}
