package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"raretask/pkg/lab"
)

func newLabCommand() *cobra.Command {
	var port int
	var noBrowser bool
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Open the notebooks in JupyterLab",
		Long: `Sets up what is missing and opens the notebooks in JupyterLab, for this machine only: it listens on the loopback address
and wants the token in the printed address. Ctrl-C stops it and the kernels.

On another machine, use --no-browser there and forward the port: ssh -L 8888:127.0.0.1:8888 MACHINE.`,
		Example: `  raretask lab
  raretask lab --no-browser --port 9000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if port < 1 || port > 65535 {
				return badUsage("--port %d: want 1 to 65535", port)
			}
			l, err := setUp(cmd)
			if err != nil {
				return err
			}
			return l.Serve(cmd.Context(), port, !noBrowser, func(url string) {
				show(cmd, map[string]string{"url": url}, func(w io.Writer) { fmt.Fprintf(w, "JupyterLab: %s\nCtrl-C stops it.\n", url) })
			})
		},
	}
	cmd.Flags().IntVar(&port, "port", 8888, "`port` to listen on; when it is taken, the next free one")
	cmd.Flags().BoolVar(&noBrowser, "no-browser", false, "only print the address")
	return cmd
}

func newSetupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "setup",
		Short: "Install what is missing: Python environment, Go kernel, XLA plugin",
		Long: `Installs what is missing into .raretask in the checkout, and nothing anywhere else: a pinned Python environment with
JupyterLab, the Go kernel and its tools, and the XLA plugin. What is there and up to date is left alone.

GOMLX_BACKEND=xla:cuda or xla:tpu installs that plugin; GOMLX_BACKEND=go needs none. Nobody publishes a digest of the CPU plugins for macOS and
arm64: RARETASK_UNVERIFIED=1 fetches them all the same.`,
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
