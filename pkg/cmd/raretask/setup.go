package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"raretask/pkg/lab"
)

func init() { verbs = append(verbs, newSetupCommand) }

func newSetupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "setup",
		Short: "Install what is missing: Python environment, Go kernel, XLA plugin",
		Long: `Installs what is missing into .raretask in the checkout, and nothing anywhere else: a pinned Python environment with
JupyterLab, the Go kernel and its tools, and the XLA plugin. What is there and up to date is left alone.

GOMLX_BACKEND=xla:cuda or xla:tpu installs that plugin; GOMLX_BACKEND=go needs none. Nobody publishes a digest of the CPU
plugins for macOS and arm64: RARETASK_UNVERIFIED=1 fetches them all the same.`,
		Example: `  raretask setup
  GOMLX_BACKEND=xla:cuda raretask setup`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := setUp(cmd)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return show(cmd, l.Doctor(), nil)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "Ready. Next: `go run ./pkg/cmd/raretask lab`, or `… reproduce fig2`.")
			return nil
		},
	}
}

// setUp opens the lab and installs what it lacks, with progress on standard error, but not the parts named in without.
func setUp(cmd *cobra.Command, without ...string) (*lab.Lab, error) {
	l, err := lab.Open()
	if err != nil {
		return nil, err
	}
	p := showProgress(os.Stderr)
	defer p.stop()
	return l, l.Setup(cmd.Context(), p.event, without...)
}
