package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"raretask/pkg/lab"
)

func init() { verbs = append(verbs, newDoctorCommand) }

func newDoctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what is installed, what is missing and what to do about it",
		Long: `Names every part that notebooks need, its version and its state, and opens the backend for a small computation.
It changes nothing. Exit 0 when notebooks can run, 1 when not.`,
		Example: `  raretask doctor
  raretask doctor --json | jq .backend.name`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.Open()
			if err != nil {
				return err
			}
			diagnosis := l.Doctor()
			err = show(cmd, diagnosis, func(w io.Writer) { printDiagnosis(w, diagnosis) })
			if err == nil && !diagnosis.OK {
				err = errors.New("notebooks cannot run yet; the remedies are above")
			}
			return err
		},
	}
}

func printDiagnosis(out io.Writer, d lab.Diagnosis) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, part := range d.Parts {
		state, text := "ok", part.Version
		if !part.OK {
			state, text = "MISSING", part.Remedy
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", part.Name, state, text)
	}
	w.Flush()
}
