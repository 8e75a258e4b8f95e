package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func init() { verbs = append(verbs, newLabCommand) }

func newLabCommand() *cobra.Command {
	var port int
	var noBrowser bool
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Open the notebooks in JupyterLab",
		Long: `Sets up what is missing and opens the notebooks in JupyterLab, for this machine only: it listens on the loopback address
(in a container of the project's image on all of that container's) and wants the token in the printed address. Ctrl-C stops it
and the kernels.

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
