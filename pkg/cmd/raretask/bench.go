package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"raretask/pkg/backend"
	"raretask/pkg/bench"
	"raretask/pkg/lab"
)

func init() { verbs = append(verbs, newBenchCommand) }

func newBenchCommand() *cobra.Command {
	var peers bool
	var steps int
	var settings bench.Settings
	cmd := &cobra.Command{
		Use:   "bench [CASE…]",
		Short: "Measure how fast sweeps train, beside JAX and PyTorch",
		Long: `Trains the paper's Figure 2 at full and at reduced size, sparse parity, and decoders of a language, and reports model-steps a
second (a step of one run), compile time apart and included, and the share of the machine's measured matrix-product peak.

With --peers the same sweeps are trained by JAX and PyTorch as people write them, from the same initial values; the programs
take turns, medians over rounds are reported, and so is how far the trained losses are apart. The first time that installs JAX
and PyTorch into .raretask/peers: on Linux about 3 GB to fetch and 6 GB on disk, because the package index has PyTorch
there only with its CUDA libraries. Meanwhile the machine should do nothing else.`,
		Example: `  raretask bench                          # a minute
  raretask bench --peers                  # minutes
  raretask bench fig2 --peers --steps 50
  raretask bench --peers --json | jq '.cases[] | {name, ratio, peak_share}'`,
	}
	cmd.Flags().BoolVar(&peers, "peers", false, "train with JAX and PyTorch too")
	cmd.Flags().IntVar(&steps, "steps", 0, "`steps` of a timed round (default: as many as take seconds)")
	cmd.Flags().IntVar(&settings.Rounds, "rounds", 3, "timed `rounds`, at least 2")
	cmd.Flags().StringSliceVar(&settings.Peers, "only", bench.Peers, "the peers to compare with, separated by commas")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		switch {
		case settings.Rounds < 2:
			return badUsage("--rounds %d: want at least 2: the spread over rounds says how far to trust a median", settings.Rounds)
		case steps < 0 || steps == 1:
			return badUsage("--steps %d: want at least 2: the first step of a round is not timed", steps)
		case !peers && cmd.Flags().Changed("only"):
			return badUsage("--only %s: want --peers beside it", strings.Join(settings.Peers, ","))
		}
		for _, name := range settings.Peers {
			if !slices.Contains(bench.Peers, name) {
				return badUsage("--only: no peer is named %q; want %s", name, strings.Join(bench.Peers, ", "))
			}
		}
		var err error
		if settings.Cases, err = benchCases(names, steps); err != nil {
			return err
		}
		if !peers {
			settings.Peers = nil
		}
		return runBench(cmd, settings)
	}
	return cmd
}

// benchCases returns the cases of these names, or all.
func benchCases(names []string, steps int) ([]bench.Case, error) {
	all, err := bench.Cases(steps)
	if err != nil || len(names) == 0 {
		return all, err
	}
	var cases []bench.Case
	for _, name := range names {
		at := slices.IndexFunc(all, func(c bench.Case) bool { return c.Name == name })
		if at < 0 {
			var known []string
			for _, c := range all {
				known = append(known, c.Name)
			}
			return nil, badUsage("no case is named %q; want %s", name, strings.Join(known, ", "))
		}
		cases = append(cases, all[at])
	}
	return cases, nil
}

func runBench(cmd *cobra.Command, settings bench.Settings) error {
	p := showProgress(os.Stderr)
	defer p.stop()
	if len(settings.Peers) > 0 {
		l, err := lab.Open()
		if err != nil {
			return err
		}
		if err := l.SetupPeers(cmd.Context(), p.event); err != nil {
			return err
		}
		settings.Python, _ = l.PeersPython()
		settings.Environment = l.PeersEnvironment()
	}
	b, err := backend.Open()
	if err != nil {
		return err
	}
	defer b.Finalize()
	settings.Progress = func(text string, step, total int) func() {
		begin, event := time.Now(), lab.Event{Text: text, Step: step, Total: total}
		p.event(event)
		return func() {
			event.Done, event.Seconds = true, time.Since(begin).Seconds()
			p.event(event)
		}
	}
	report, err := bench.Run(cmd.Context(), b, settings)
	p.stop()
	if err != nil {
		return err
	}
	return show(cmd, report, func(w io.Writer) { fmt.Fprint(w, report.Markdown()) })
}
