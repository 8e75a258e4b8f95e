package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"raretask/pkg/net"
)

func init() { verbs = append(verbs, newNetCommand) }

func newNetCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "net", Short: "Nets of published sizes"}
	cmd.AddCommand(&cobra.Command{
		Use:   "describe NAME",
		Short: "Sizes and exact parameter count of a net, without allocating it",
		Long: `Prints the sizes of a net and how many parameters each of its arrays has, without allocating any. NAME is one of

  ` + strings.Join(net.Presets(), "\n  ") + `

With --json the keys are parameters, layers, width, heads, head, mlp, vocabulary, window, and weights with name, dims and parameters.`,
		Example: `  raretask net describe olmo-4b
  raretask net describe olmo-1b --json | jq .parameters`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, ok := net.PresetOf(args[0])
			if !ok {
				return badUsage("net %q: want one of %s", args[0], strings.Join(net.Presets(), ", "))
			}
			d := describe(args[0], p)
			return show(cmd, d, d.print)
		},
	})
	return cmd
}

// description is what there is to say of a net.
type description struct {
	Name       string   `json:"name"`
	About      string   `json:"about"`
	Parameters int      `json:"parameters"`
	Layers     int      `json:"layers"`
	Width      int      `json:"width"`
	Heads      int      `json:"heads"`
	Head       int      `json:"head"`
	MLP        int      `json:"mlp"`
	Vocabulary int      `json:"vocabulary"`
	Window     int      `json:"window"`
	Weights    []weight `json:"weights"`
}

type weight struct {
	Name       string `json:"name"`
	Dims       []int  `json:"dims"`
	Parameters int    `json:"parameters"`
}

func describe(name string, p net.Preset) description {
	n := p.Net()
	d := description{name, p.About, net.Parameters(n), n.Layers, n.Width, n.Heads, n.Head, n.MLP, n.Vocabulary, n.Window, nil}
	for _, w := range n.Weights() {
		d.Weights = append(d.Weights, weight{w.Name, w.Dims, w.Size()})
	}
	return d
}

func (d description) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, line := range []struct {
		name  string
		value any
	}{
		{"net", d.Name + " (" + d.About + ")"}, {"parameters", d.Parameters}, {"layers", d.Layers}, {"width", d.Width},
		{"heads", fmt.Sprintf("%d of %d", d.Heads, d.Head)}, {"MLP", fmt.Sprintf("%d, both halves of SwiGLU", d.MLP)},
		{"vocabulary", d.Vocabulary}, {"window", d.Window},
	} {
		fmt.Fprintf(w, "%s\t%v\n", line.name, line.value)
	}
	fmt.Fprintln(w)
	for i, array := range d.Weights {
		if l := len(d.Weights); l > 12 && i == 5 {
			fmt.Fprintf(w, "…\tthe same %d times\n", d.Layers-1)
		}
		if l := len(d.Weights); l <= 12 || i < 5 || i == l-1 {
			fmt.Fprintf(w, "%s\t%v\t%d\n", array.Name, array.Dims, array.Parameters)
		}
	}
}
