// Package bench measures how many model-steps a second sweeps train at, beside JAX and PyTorch on the same work in the same run, and what
// share of the machine's measured matrix-product peak that is. The peers' programs and pins are in the folder peers.
package bench

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"

	"raretask/pkg/backend"
	"raretask/pkg/net"
	"raretask/pkg/spec"
)

// Case is a sweep to train: widths x seeds runs.
type Case struct {
	Name, About string
	Runs        []spec.Run // ordered by width, then seed
	Shared      bool       // one data stream for all seeds
	Timed       int        // steps of a timed round; the sweep's own length is that of its runs
}

// Cases returns the cases of the benchmark. A timed round of each takes seconds; steps, if not 0, sets its length.
func Cases(steps int) ([]Case, error) {
	seeds := []int{0, 1, 2, 3}
	large := []spec.Axis{spec.Vary("net.width", 2, 4, 8, 16, 32, 64, 128, 256), spec.Vary("train.seed", seeds...),
		spec.Vary("train.steps", 500)}
	reduced := []spec.Axis{spec.Vary("net.width", 2, 4, 8, 16, 32, 48, 64, 96), spec.Vary("train.seed", 0, 1, 2)}
	oneStream := spec.Vary("train.data", 0)
	parity := []spec.Axis{spec.Vary("mixture.tasks", 100), spec.Vary("mixture.bits", 64), spec.Vary("train.batch", 1024),
		spec.Vary("net.width", 16, 32, 64, 128, 256, 512), spec.Vary("train.seed", seeds...), spec.Vary("train.steps", 500)}
	miniature := []spec.Axis{spec.Vary("net.width", 8, 16, 32, 64), spec.Vary("train.seed", 0, 1, 2, 3, 4), spec.Vary("train.rate", 3e-3),
		oneStream}
	decoder := []spec.Axis{spec.Vary("net.width", 128), spec.Vary("net.layers", 4), spec.Vary("mixture.window", 128),
		spec.Vary("train.rate", 3e-3), spec.Vary("train.steps", 1000), spec.Vary("train.warmup", 50)}
	var cases []Case
	for _, c := range []struct {
		name, about, preset, scale string
		timed                      int
		changes                    []spec.Axis
	}{
		{"fig2", "the paper's Figure 2, one data stream for all seeds", "fig2", "paper", 16, append(slices.Clip(large), oneStream)},
		{"fig2-streams", "the paper's Figure 2, a data stream for each seed", "fig2", "paper", 16, large},
		{"fig2-quick", "Figure 2 at the reduced scale, as committed", "fig2", "quick", 400, reduced},
		{"parity", "multitask sparse parity, one data stream for all seeds", "parity", "quick", 120, append(slices.Clip(parity), oneStream)},
		{"parity-streams", "multitask sparse parity, a data stream for each seed", "parity", "quick", 120, parity},
		{"language", "the miniature's decoders, one data stream for all seeds", "fig5", "quick", 105, miniature},
		{"decoder", "one decoder of 4 layers and width 128 on windows of 128 tokens", "fig5", "quick", 14, decoder},
	} {
		sweep, err := spec.Load(c.preset, c.scale)
		if err != nil {
			return nil, err
		}
		if sweep, err = spec.Of(c.name, sweep.Base, c.changes...); err != nil {
			return nil, err
		}
		runs, err := sweep.Runs()
		if err != nil {
			return nil, err
		}
		if steps > 0 {
			c.timed = steps
		}
		cases = append(cases, newCase(c.name, c.about, runs, c.timed))
	}
	return cases, nil
}

func newCase(name, about string, runs []spec.Run, timed int) Case {
	slices.SortStableFunc(runs, func(a, b spec.Run) int { return a.Net.Width - b.Net.Width })
	return Case{name, about, runs, len(spec.Stacks(runs)) == 1, timed}
}

// seeds returns how many runs each width has.
func (c Case) seeds() int {
	n := 0
	for _, run := range c.Runs {
		if run.Net.Width == c.Runs[0].Net.Width {
			n++
		}
	}
	return n
}

// language reports whether the case trains decoders of tokens.
func (c Case) language() bool {
	_, decoder := c.Runs[0].New().(net.Decoder)
	return decoder
}

// programs returns which programs train the case: ours and those peers that have one for it. Our algorithm sorts a batch by its tasks'
// readouts, of which a decoder has one for all.
func (c Case) programs(peers []string) []string {
	names := append([]string{ours}, peers...)
	if c.language() {
		names = slices.DeleteFunc(names, func(name string) bool { return name == tiles })
	}
	return names
}

// at returns the case's runs on the data of a round: every round trains from the same initial values on fresh data.
func (c Case) at(round int) []spec.Run {
	runs := slices.Clone(c.Runs)
	for i := range runs {
		data := uint32(round)
		if !c.Shared {
			data = uint32(round*c.seeds() + i%c.seeds())
		}
		runs[i].Train.Data = &data
	}
	return runs
}

// Peers are the programs to compare with: idiomatic JAX and PyTorch, eager and compiled; and JAX given our algorithm, which tells what
// is the engine's and what the idea's.
var Peers = []string{"jax", "torch", "torch-compile", tiles}

const (
	ours  = "raretask"
	tiles = "jax-tiles" // no rival: our own algorithm
)

// Settings of a benchmark.
type Settings struct {
	Cases   []Case
	Rounds  int      // timed rounds, at least 1, in which all programs take turns; medians are reported
	Peers   []string // of Peers
	Threads int      // of PyTorch; 0: one for each core, as all programs have

	Python      string   // interpreter with the peers' packages
	Environment []string // in which it runs

	// Progress, if not nil, is told what begins, as step 1 … total, and returns what to call at its end.
	Progress func(text string, step, total int) (end func())
}

// Run runs the benchmark.
//
// In every round our program and the peers take turns on the same work, so that what else the machine does meets
// all of them. A peer that does not work here is recorded with its error and left out.
func Run(ctx context.Context, b *backend.Backend, s Settings) (*Report, error) {
	machine := Machine{CPU: cpuName(), Cores: runtime.NumCPU(), Backend: b.Identity.Name + ", " + b.Identity.Version}
	report := &Report{Machine: machine, Rounds: s.Rounds}
	gauge := &gauge{backend: b}
	tell := &teller{progress: s.Progress}
	for _, c := range s.Cases {
		tell.total += len(c.programs(s.Peers)) * (s.Rounds + 1)
	}
	for _, c := range s.Cases {
		result, err := runCase(ctx, b, c, s, gauge, tell)
		if err != nil {
			return nil, fmt.Errorf("bench: %s: %w", c.Name, err)
		}
		report.Cases = append(report.Cases, *result)
	}
	report.Machine.Peak, report.Machine.Bandwidth = median(gauge.peaks), median(gauge.bandwidths)
	for i := range report.Cases {
		report.Cases[i].finish(report.Machine)
	}
	return report, nil
}

// contender is a program that trains a case.
type contender struct {
	Program
	trainer  trainer
	outcomes []outcome
}

// trainer trains a case's runs, from their initial values, on the data of a round.
type trainer interface {
	train(ctx context.Context, round int) (outcome, error)
	close()
}

// outcome is one training of a case.
type outcome struct {
	step, cpu float64   // milliseconds for a step of all runs, and of processor time
	loss      []float64 // by which trainings are compared, for each run
}

func runCase(ctx context.Context, b *backend.Backend, c Case, s Settings, gauge *gauge, tell *teller) (*Result, error) {
	folder, err := os.MkdirTemp("", "raretask-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	var contenders []*contender
	defer func() {
		for _, t := range contenders {
			t.close()
		}
	}()
	for _, name := range c.programs(s.Peers) {
		t := &contender{Program: Program{Name: name}}
		contenders = append(contenders, t)
		err := tell.doing(fmt.Sprintf("%s: %s compiles", c.Name, name), func() (err error) {
			if name == ours {
				t.trainer, err = newOurs(ctx, b, c, folder, &t.Program)
			} else {
				t.trainer, err = newPeer(ctx, s, c, folder, &t.Program)
			}
			return err
		})
		if err := t.failed(ctx, err); err != nil {
			return nil, err
		}
	}
	for round := range s.Rounds {
		if err := gauge.measure(); err != nil {
			return nil, err
		}
		for _, t := range contenders {
			err := tell.doing(fmt.Sprintf("%s: %s, round %d of %d", c.Name, t.Name, round+1, s.Rounds), func() error { return t.train(ctx, round) })
			if err := t.failed(ctx, err); err != nil {
				return nil, err
			}
		}
	}
	return newResult(c, contenders), nil
}

func (t *contender) train(ctx context.Context, round int) error {
	if t.Error != "" {
		return nil
	}
	result, err := t.trainer.train(ctx, round)
	if err == nil {
		t.outcomes = append(t.outcomes, result)
	}
	return err
}

// failed records a peer's error; one of ours, and an interruption, ends the benchmark.
func (t *contender) failed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	t.close()
	if t.Name == ours || ctx.Err() != nil {
		return cmp.Or(ctx.Err(), err)
	}
	t.Error = err.Error()
	return nil
}

// close ends the program, if it has begun.
func (t *contender) close() {
	if t.trainer != nil {
		t.trainer.close()
	}
	t.trainer = nil
}

// teller counts what there is to do.
type teller struct {
	progress    func(text string, step, total int) func()
	step, total int
}

func (t *teller) doing(text string, do func() error) error {
	t.step++
	if t.progress != nil {
		defer t.progress(text, t.step, t.total)()
	}
	return do()
}

// median returns the middle of the values, NaN for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
