package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"raretask/pkg/spec"
)

func init() { verbs = append(verbs, newSpecCommand) }

func newSpecCommand() *cobra.Command {
	var page strings.Builder
	printKeys(&page, spec.Keys())
	return &cobra.Command{
		Use:   "spec",
		Short: "Every setting that a spec may have, with its type, default and range",
		Long: `A spec is YAML: settings of mixture, net and train; grid, of which every combination runs (net.width: [8, 16]); zip, whose lists
are taken in step; metrics, what is measured; keep, after which steps weights are kept; memory, in GiB; about; base, a preset to start from;
and scales, settings that replace others at smoke, quick or paper. What it can't mean is an error that names key, value, line and what is
allowed.

` + page.String() + `
With --json the key keys has name, of, type, default, allowed and about of each.`,
		Example: `  raretask spec | grep injection
  raretask sweep plan fig2          # a preset's settings, defaults included`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd, map[string]any{"keys": spec.Keys()}, func(w io.Writer) { printKeys(w, spec.Keys()) })
		},
	}
}

// printKeys prints settings as a table, those of a family or a kind of net below its name.
func printKeys(to io.Writer, keys []spec.Key) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	before := ""
	for _, k := range keys {
		if k.Of != before {
			fmt.Fprintf(w, "\n%s\t\t\t\n", k.Of)
		}
		before = k.Of
		allowed := k.Allowed
		if allowed == "" {
			allowed = k.Type
		}
		byDefault := k.Default
		if byDefault == "" {
			byDefault = `""`
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Name, byDefault, allowed, k.About)
	}
	w.Flush()
}

func newSweepPresetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "presets",
		Short:   "What there is to run, and what it must show",
		Long:    `Lists the presets with what each is about and how many runs it has. With --json the key presets has name, about and runs.`,
		Example: `  raretask sweep presets`,
		Args:    cobra.NoArgs,
	}
	scale := scaleFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		size, err := scale()
		if err != nil {
			return err
		}
		type preset struct {
			Name  string `json:"name"`
			About string `json:"about"`
			Runs  int    `json:"runs"`
		}
		var all []preset
		for _, name := range spec.Presets() {
			s, err := spec.Load(name, size)
			if err != nil {
				return err
			}
			runs, err := s.Runs()
			if err != nil {
				return err
			}
			all = append(all, preset{name, strings.TrimSpace(s.About), len(runs)})
		}
		return show(cmd, map[string]any{"presets": all}, func(w io.Writer) {
			for i, p := range all {
				if i > 0 {
					fmt.Fprintln(w)
				}
				fmt.Fprintf(w, "%s: %s\n  %s\n", p.Name, many(p.Runs, "run"), wrapped(p.About, 110, "  "))
			}
		})
	}
	return cmd
}

// wrapped breaks a text into lines of a width, all but the first indented.
func wrapped(text string, width int, indent string) string {
	var out strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case column+1+len(word) > width:
			out.WriteString("\n" + indent)
			column = 0
		default:
			out.WriteString(" ")
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String()
}
