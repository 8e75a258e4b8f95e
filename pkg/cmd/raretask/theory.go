package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"raretask/pkg/spec"
	"raretask/pkg/theory"
)

func init() { verbs = append(verbs, newTheoryCommand) }

func newTheoryCommand() *cobra.Command {
	var widths []int
	cmd := &cobra.Command{
		Use:   "theory SPEC",
		Short: "Closed forms of a mixture: which width can learn what",
		Long: `Computes, without training anything, what the best encoder of each width keeps of the regression mixture in SPEC (a preset's
name or a YAML file), at the widths of its grid:

  loss        L*(N) = Tr M - sum of the N largest utilities pi_k lambda_kj
  retained    n_k(N), features that each task keeps
  task loss   sum of the task's other eigenvalues lambda_kj, absolute
  N*_k(m)     smallest width that keeps m features of task k
  N_crit      width from which the rarest task's first feature survives the frequent tasks F, or all others

Where utilities tie, several encoders are best. Then retained and task loss are those of the encoder that prefers the more frequent
task, so that they add up to N and to the loss, and their ranges over all best encoders stand beside them; thresholds read 39-42: from
39 on some best encoder keeps the feature, from 42 on every one does.

With --json the keys are trace, frequent, widths, n_star, n_crit, and for the other ends n_star_some and n_crit_every. A SPEC with
several mixtures has all of them under mixtures, in the order of the grid, and the first one's keys at the top.`,
		Example: `  raretask theory fig2
  raretask theory fig2 --scale paper --widths 8,32,128,256
  raretask theory my.yaml --json | jq .n_crit`,
		Args: cobra.ExactArgs(1),
	}
	scale := scaleFlag(cmd)
	cmd.Flags().IntSliceVar(&widths, "widths", nil, "`N,…` in place of the widths in SPEC")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := loadSpec(args[0], scale)
		if err != nil {
			return err
		}
		mixtures, err := closedForms(s, widths)
		if err != nil {
			return err
		}
		all := struct {
			closedForm
			Mixtures []closedForm `json:"mixtures"`
		}{mixtures[0], mixtures}
		return show(cmd, all, func(w io.Writer) {
			for i, form := range mixtures {
				if i > 0 {
					fmt.Fprintln(w)
				}
				form.print(w)
			}
		})
	}
	return cmd
}

// loadSpec returns the sweep of a SPEC argument; one that is not valid is wrong usage.
func loadSpec(name string, scale func() (string, error)) (*spec.Sweep, error) {
	size, err := scale()
	if err != nil {
		return nil, err
	}
	s, err := spec.Load(name, size)
	var unreadable *fs.PathError
	if err != nil && !errors.As(err, &unreadable) {
		return nil, usageError{err}
	}
	return s, err
}

// closedForm is everything the theory says of one mixture. Tasks count from 1, the most frequent first.
type closedForm struct {
	Mixture   spec.Mixture `json:"mixture"`
	Trace     float64      `json:"trace"`
	Frequent  []int        `json:"frequent"`
	TaskTrace []float64    `json:"task_trace"`
	Widths    []atWidth    `json:"widths"`
	// N*_k(m) for m = "1", "2", "3": from which width every, and some, best encoder keeps m features of task k; 0: none does.
	NStar     map[string][]int `json:"n_star"`
	NStarSome map[string][]int `json:"n_star_some"`
	NCrit     critical         `json:"n_crit"`       // from which width some best encoder keeps the rarest task's first feature
	NCritAll  critical         `json:"n_crit_every"` // from which every one does
}

type critical struct {
	Frequent int `json:"frequent"`
	Others   int `json:"others"`
}

type atWidth struct {
	Width    int       `json:"width"`
	Loss     float64   `json:"loss"`
	TaskLoss []float64 `json:"task_loss"`
	Retained []int     `json:"retained"`
	// Over all best encoders; they differ only where the N-th utility ties with the next.
	TaskLossLowest  []float64 `json:"task_loss_lowest"`
	TaskLossHighest []float64 `json:"task_loss_highest"`
	RetainedFewest  []int     `json:"retained_fewest"`
	RetainedMost    []int     `json:"retained_most"`
}

// mostNumbers bounds the inputs·widths of all mixtures, and three widths for N*, so that closed forms take seconds.
const mostNumbers = 1 << 22

// closedForms returns the closed forms of each mixture of a sweep, at its widths or the given ones.
func closedForms(s *spec.Sweep, widths []int) ([]closedForm, error) {
	runs, err := s.Runs()
	if err != nil {
		return nil, usageError{err}
	}
	var mixtures []spec.Mixture
	var own [][]int // widths of each mixture
	known := map[string]int{}
	for _, run := range runs {
		key := fmt.Sprintf("%+v", run.Mixture)
		at, found := known[key]
		if !found {
			at, mixtures, own = len(mixtures), append(mixtures, run.Mixture), append(own, nil)
			known[key] = at
		}
		own[at] = append(own[at], run.Net.Width)
	}
	forms, numbers := make([]closedForm, len(mixtures)), 0
	for i, m := range mixtures {
		if len(widths) > 0 {
			own[i] = widths
		}
		own[i] = slices.Compact(slices.Sorted(slices.Values(own[i])))
		if numbers += m.Signature().Input.Size() * (len(own[i]) + 3); numbers > mostNumbers {
			return nil, badUsage("theory: %d mixtures, %d widths of one of %d inputs: want inputs·widths of at most %d in all; "+
				"--widths chooses some", len(mixtures), len(own[i]), m.Signature().Input.Size(), mostNumbers)
		}
		if forms[i], err = closedFormOf(m, own[i]); err != nil {
			return nil, err
		}
	}
	return forms, nil
}

func closedFormOf(s spec.Mixture, widths []int) (closedForm, error) {
	m, err := s.Theory()
	if err != nil {
		return closedForm{}, usageError{err}
	}
	dim := s.Signature().Input.Size()
	form := closedForm{Mixture: s, Trace: m.Trace(), NStar: map[string][]int{}, NStarSome: map[string][]int{}}
	for _, k := range m.Frequent(theory.FrequentShare) {
		form.Frequent = append(form.Frequent, k+1)
	}
	for k := range m.Tasks() {
		form.TaskTrace = append(form.TaskTrace, m.TaskTrace(k))
	}
	for _, width := range widths {
		if width < 1 || width > dim {
			return form, badUsage("--widths: %d: want 1 … %d, the inputs", width, dim)
		}
		form.Widths = append(form.Widths, closedFormAt(m, width))
	}
	for features := range 3 {
		key := fmt.Sprint(features + 1)
		for _, w := range m.NStar(features + 1) {
			form.NStar[key] = append(form.NStar[key], w.Every)
			form.NStarSome[key] = append(form.NStarSome[key], w.Some)
		}
	}
	frequent, others := m.NCrit()
	form.NCrit, form.NCritAll = critical{frequent.Some, others.Some}, critical{frequent.Every, others.Every}
	return form, nil
}

func closedFormAt(m theory.Mixture, width int) atWidth {
	at := atWidth{Width: width, Loss: m.OptimalLoss(width), Retained: make([]int, m.Tasks())}
	features := m.Features()
	for _, f := range features[:min(width, len(features))] {
		at.Retained[f.Task]++
	}
	for k, kept := range at.Retained {
		loss := 0.
		for _, lambda := range m.Spectrum[k][kept:] {
			loss += lambda
		}
		at.TaskLoss = append(at.TaskLoss, loss)
	}
	at.TaskLossLowest, at.TaskLossHighest = m.TaskLoss(width)
	at.RetainedFewest, at.RetainedMost = m.Retained(width)
	return at
}

// print writes a table of widths and one of tasks.
func (c closedForm) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	m := c.Mixture
	settings, _ := json.Marshal(m.Settings)
	fmt.Fprintf(out, "%d tasks of %s %s, beta %g\n", m.Tasks, m.Family, settings, m.Frequency.Exponent)
	fmt.Fprintf(out, "Tr M = %.5g; frequent tasks F: 1 … %d; N_crit %s against F, %s against all others\n\n",
		c.Trace, len(c.Frequent), ends(c.NCrit.Frequent, c.NCritAll.Frequent), ends(c.NCrit.Others, c.NCritAll.Others))
	fmt.Fprintln(w, "width N\tL*(N)\tL*/Tr M\ttasks kept\trarest task's loss\t")
	for _, at := range c.Widths {
		kept := 0
		for _, n := range at.Retained {
			if n > 0 {
				kept++
			}
		}
		rarest := len(at.TaskLoss) - 1
		fmt.Fprintf(w, "%d\t%.5f\t%.4f\t%d of %d\t%.4f\t\n",
			at.Width, at.Loss, at.Loss/c.Trace, kept, m.Tasks, at.TaskLoss[rarest]/c.TaskTrace[rarest])
	}
	w.Flush()
	fmt.Fprintln(out)
	header := []string{"task", "frequency", "N*(1)", "N*(2)", "N*(3)"}
	for _, at := range c.Widths {
		header = append(header, fmt.Sprintf("n(%d)", at.Width))
	}
	fmt.Fprintln(w, strings.Join(header, "\t")+"\t")
	for k, frequency := range m.Frequencies() {
		fmt.Fprintf(w, "%d\t%.5f\t", k+1, frequency)
		for _, features := range []string{"1", "2", "3"} {
			fmt.Fprintf(w, "%s\t", ends(c.NStarSome[features][k], c.NStar[features][k]))
		}
		for _, at := range c.Widths {
			fmt.Fprintf(w, "%d\t", at.Retained[k])
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	fmt.Fprint(out, "\nN*(m): the width from which the best encoder keeps m features of a task; 39-42: from 39 some best one does,\n"+
		"from 42 every one, as utilities tie. n(N): how many features it keeps at width N.\n\n")
}

// ends shows a threshold: from some best encoder on to every one, where ties make them differ.
func ends(some, every int) string {
	switch {
	case some == 0:
		return "-"
	case some == every:
		return fmt.Sprint(every)
	case every == 0:
		return fmt.Sprintf("from %d", some)
	}
	return fmt.Sprintf("%d-%d", some, every)
}
