package claims

import (
	"cmp"
	"fmt"
	"sort"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// Runner returns the results of a sweep, training what is missing.
type Runner func(*spec.Sweep) (results.Runs, error)

// Measure is a column by which runs are compared: its number of the rarest task, the last one, or of the run.
type Measure struct {
	Name, Column string
	Lower        bool // the lower the better
}

// RareSignal, RareLoss and MixtureLoss are what controls are measured by: what the encoder keeps of the rarest task, exact, for linear
// nets; the rarest task's loss on fresh samples, for any net; the loss of the whole mixture with the best decoders, exact, for linear
// nets.
var (
	RareSignal  = Measure{"signal s_r of the rarest task", "signal", false}
	RareLoss    = Measure{"loss of the rarest task (1: nothing learned)", "loss_sampled", true}
	MixtureLoss = Measure{"encoder loss of the whole mixture", "encoder_loss", true}
)

// Control is a mixture with one thing changed.
type Control struct {
	Name   string
	Sweeps []*spec.Sweep // that differ in the learning rate; the best rate of each width counts
	Step   int           // at which it is looked at; 0: the end
}

// Controls returns what has to be run beside a mixture, all at its widths and seeds, before a rare task's failure is put down to
// interference: whether the net can express the task (alone) and find it with the samples that it has (alone, of the mixture's batches its
// own samples), whether rarity matters (uniform frequencies), whether rate, parameterization or depth is to blame, whether a solution is
// found but not kept (started from one), and what happens when the others' gradients are kept from overwriting (surgery on gradients, on
// their running means and on updates; masked inputs where tasks have their own; a heavier loss). The rare task is the last one.
func Controls(s *spec.Sweep) ([]Control, error) {
	base := s.Base
	rare, rate, start := base.Mixture.Tasks, base.Train.Rate, base.Train.Steps/6
	rates := spec.Vary("train.rate", rate/3, rate, rate*3)
	intervene := func(i spec.Intervention) spec.Axis {
		i.Task = rare
		return spec.Vary("train.intervention", i)
	}
	flood := spec.Injection{Task: rare, Gap: 1, Samples: base.Train.Batch, Until: start}
	solved := []spec.Axis{spec.Vary("train.injection", flood), spec.Vary("train.steps", base.Train.Steps+start)}
	var controls []Control
	var failed error
	add := func(name string, step int, sweeps ...[]spec.Axis) {
		control := Control{Name: name, Step: step}
		for _, axes := range sweeps {
			sweep, err := s.With(axes...)
			if err != nil {
				failed = cmp.Or(failed, fmt.Errorf("claims: control %q: %w", name, err))
				return
			}
			sweep.Name = name
			control.Sweeps = append(control.Sweeps, sweep)
		}
		controls = append(controls, control)
	}
	add("rare task alone, a sixth of the steps", start, solved)
	add("rare task alone, with the samples that the mixture has of it", 0, []spec.Axis{intervene(spec.Intervention{Kind: "alone"})})
	add("uniform frequencies", 0, []spec.Axis{spec.Vary("mixture.frequency.exponent", 0.)})
	add("mixture", 0, nil)
	add("mixture, best of three rates", 0, nil, []spec.Axis{spec.Vary("train.rate", rate/3, rate*3)})
	add("mixture, muP, best of three rates", 0, []spec.Axis{spec.Vary("net.parameterization", "mup"), spec.Vary("net.base", 32), rates})
	add("mixture, from the solution of the first line", 0, solved)
	add("mixture, gradient surgery", 0, []spec.Axis{intervene(spec.Intervention{Kind: "surgery"})})
	add("mixture, surgery against the last hundred gradients", 0, []spec.Axis{intervene(spec.Intervention{Kind: "surgery", Memory: .99})})
	if base.Train.Optimizer != "sgd" {
		add("mixture, surgery on the optimizer's update", 0, []spec.Axis{intervene(spec.Intervention{Kind: "surgery-update"})})
	}
	add("mixture, rare loss counts 8 times", 0, []spec.Axis{intervene(spec.Intervention{Kind: "weight", Factor: 8})})
	if base.Mixture.Signature().Disjoint {
		add("mixture, others masked on the rare inputs", 0, []spec.Axis{intervene(spec.Intervention{Kind: "mask"})})
		add("the same, at the rare task's own effective rate", 0, []spec.Axis{intervene(spec.Intervention{Kind: "mask-matched"})})
	}
	if depth, ok := depthOf(base); ok {
		add("mixture, one more hidden layer, best of three rates", 0, []spec.Axis{spec.Vary("net.depth", depth+1), rates})
	}
	return controls, failed
}

// Best is a measure of nets of one width at the rate that is best for it.
type Best struct {
	Width, Parameters int // Parameters: how many numbers such a net trains
	Rate              float64
	Lowest, Highest   float64 // rate tried
	Seeds             BySeed  // at that rate
}

// BestOf runs what is missing of a control and returns the measure by width, in ascending order. A rate at which a seed failed is never
// better than one at which none did.
func BestOf(c Control, m Measure, run Runner) ([]Best, error) {
	var sets []results.Runs
	for _, sweep := range c.Sweeps {
		set, err := run(sweep)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	runs, err := results.Join(sets...)
	if err != nil {
		return nil, err
	}
	return bestOf(runs, m, c.Step)
}

// bestOf returns the measure by width of runs, at a step (0: the end).
func bestOf(runs results.Runs, m Measure, step int) ([]Best, error) {
	design := results.Design{Vary: []string{"net.width", "train.rate"}, Columns: []string{m.Column}, Final: step == 0, Absent: true}
	if err := runs.Need(design); err != nil {
		return nil, err
	}
	var best []Best
	widths, byWidth := results.By(runs, results.Width)
	for _, w := range widths {
		rates, all, err := perRate(byWidth[w], func(r *results.Run) float64 { return m.at(r, step) })
		if err != nil {
			return nil, err
		}
		at := 0
		for i, seeds := range all {
			if seeds.Interval().better(all[at].Interval(), m.Lower) {
				at = i
			}
		}
		best = append(best, Best{w, byWidth[w][0].Run.Parameters(), rates[at], rates[0], rates[len(rates)-1], all[at]})
	}
	return best, nil
}

// at returns the measure of a run at its last evaluation up to a step; 0: at the end.
func (m Measure) at(r *results.Run, step int) float64 {
	i := r.Last()
	if step > 0 {
		i = before(r, step)
	}
	return Value(r, m.Column, i, r.Mixture.Tasks)
}

// Depth is a measure of nets of one depth.
type Depth struct {
	Depth int
	Nets  []Best
}

// Depths runs what is missing and returns the measure for the widths of a sweep of nets whose depth is a setting, first of the sweep's
// own depth, then of nets of other depths with as many weights: what depth does at equal parameters. Of several rates of the sweep the
// best one counts.
func Depths(s *spec.Sweep, m Measure, run Runner, depths ...int) ([]Depth, error) {
	own, ok := depthOf(s.Base)
	if !ok {
		return nil, fmt.Errorf("claims: %s: nets of kind %s have no depth: want a kind with the setting net.depth", s.Name, s.Base.Net.Kind)
	}
	nets, err := BestOf(Control{Sweeps: []*spec.Sweep{s}}, m, run)
	if err != nil {
		return nil, err
	}
	all := []Depth{{own, nets}}
	for _, depth := range depths {
		deep, err := s.With(spec.Vary("net.depth", depth))
		if err != nil {
			return nil, err
		}
		widths := xslices.Map(nets, func(n Best) int { return equalWidth(deep.Base, n.Parameters) })
		if deep, err = deep.With(spec.Vary("net.width", widths...)); err != nil {
			return nil, err
		}
		same, err := BestOf(Control{Sweeps: []*spec.Sweep{deep}}, m, run)
		if err != nil {
			return nil, err
		}
		all = append(all, Depth{depth, same})
	}
	return all, nil
}

// equalWidth returns the smallest width at which a run trains at least so many numbers.
func equalWidth(run spec.Run, want int) int {
	return 1 + sort.Search(want, func(n int) bool {
		run.Net.Width = n + 1
		return run.Parameters() >= want
	})
}
