package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/gomlx/gomlx/support/xslices"
	"github.com/spf13/cobra"

	"raretask/pkg/claims"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/sweep"
)

func init() { verbs = append(verbs, newClaimsCommand) }

func newClaimsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "claims [ID…]",
		Short: "What of the paper holds: a verdict on each statement, from stored runs",
		Long: `Judges what the paper says by runs that are there, one's own or such as came with the project, and trains nothing. A
statement has one part or several, each a number of every seed; the rule wants the 95% interval over five seeds or more to lie
above a least effect.

  supported      every part's interval lies above
  contradicted   some part's lies below
  inconclusive   neither, or too few seeds, or one failed
  not run        there are no runs, or there could be none here

A rule that was written when its runs had been seen is marked by *. With ID the parts are shown.

With --json the key claims has id, source, statement, rule, rule_after_runs, presets, verdict, sentence, runs, stacks, and parts with name,
estimate, low, high, minimum, seeds, failed and verdict.`,
		Example: `  raretask claims
  raretask claims language
  raretask claims --json | jq '.claims[] | {id, verdict}'`,
	}
	scale := scaleFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		size, err := scale()
		if err != nil {
			return err
		}
		known := xslices.Map(claims.Statements(), func(s claims.Statement) string { return s.ID })
		for _, id := range args {
			if !slices.Contains(known, id) {
				return badUsage("claims %q: want one of %s", id, strings.Join(known, ", "))
			}
		}
		judged, err := judge(size, args...)
		if err != nil {
			return err
		}
		return show(cmd, map[string]any{"claims": judged}, func(w io.Writer) {
			if len(args) == 0 {
				printVerdicts(w, judged)
				return
			}
			for i, j := range judged {
				if i > 0 {
					fmt.Fprintln(w)
				}
				printParts(w, j)
			}
		})
	}
	return cmd
}

// judge gives the verdicts on the statements with these IDs, or on all.
func judge(scale string, ids ...string) ([]claims.Judged, error) {
	var judged []claims.Judged
	for _, s := range claims.Statements() {
		if len(ids) > 0 && !slices.Contains(ids, s.ID) {
			continue
		}
		runs, why, err := finished(s, scale)
		if err != nil {
			return nil, err
		}
		j, err := s.On(runs, why)
		if err != nil {
			return nil, err
		}
		judged = append(judged, j)
	}
	return judged, nil
}

// finished returns the runs of a statement's sweeps, of each nil where some are missing, and then why.
func finished(of claims.Statement, scale string) (all []results.Runs, why string, err error) {
	store, err := results.Open()
	if err != nil {
		return nil, "", err
	}
	results.Publishing(scale)
	for _, name := range of.Presets {
		preset, err := spec.Load(name, scale)
		if err != nil {
			return nil, "", err
		}
		sweeps := []*spec.Sweep{preset}
		remedy := fmt.Sprintf("`raretask sweep run %s --scale %s` trains the others", name, scale)
		if of.Sweeps != nil {
			if sweeps, err = of.Sweeps(preset); err != nil {
				return nil, "", err
			}
			remedy = "notebook 07 trains the others"
		}
		for _, s := range sweeps {
			plan, err := sweep.NewPlan(s, store, nil)
			if err != nil {
				return nil, "", err
			}
			if total, done := plan.Runs(); done < total {
				all, why = append(all, nil), fmt.Sprintf("%d of %d runs of %s are there; %s", done, total, s.Name, remedy)
				continue
			}
			all = append(all, plan.Results())
		}
	}
	return all, why, nil
}

func printVerdicts(to io.Writer, judged []claims.Judged) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "id\tverdict\tparts\truns\tstatement")
	parts, chance := 0, 0.
	for _, j := range judged {
		mark := ""
		if j.Late && j.Verdict != claims.NotRun {
			mark = "*"
		}
		fmt.Fprintf(w, "%s\t%s%s\t%s\t%d\t%s (%s)\n", j.ID, j.Verdict, mark, partsOf(j), j.Runs, j.Text, j.Source)
		parts += len(j.Parts)
		chance += .025 * float64(len(j.Parts))
	}
	w.Flush()
	fmt.Fprintf(to, "\n* its rule was written when its runs had been seen\n%d parts in all: were every true effect no more than its minimum, "+
		"%.2g of them would be expected to come out as supported by chance\n", parts, chance)
}

// partsOf says how many of a statement's parts are supported.
func partsOf(j claims.Judged) string {
	if len(j.Parts) == 0 {
		return ""
	}
	supported := 0
	for _, p := range j.Parts {
		if p.Verdict == claims.Supported {
			supported++
		}
	}
	return fmt.Sprintf("%d of %d", supported, len(j.Parts))
}

func printParts(to io.Writer, j claims.Judged) {
	fmt.Fprintf(to, "%s: %s\n%s (%s)\nrule: %s\n", j.ID, j.Verdict, j.Text, j.Source, j.Rule)
	if len(j.Parts) == 0 {
		fmt.Fprintln(to, j.Sentence)
		return
	}
	fmt.Fprintln(to)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "part\testimate\t95% interval\tminimum\tseeds\tverdict")
	for _, p := range j.Parts {
		fmt.Fprintf(w, "%s\t%.3g\t%.3g to %.3g\t%g\t%d\t%s\n", p.Name, p.Estimate, p.Low, p.High, p.Minimum, p.Seeds, p.Verdict)
	}
	w.Flush()
}
