package sizing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"raretask/pkg/spec"
)

// Trials are mixtures drawn at random, on which predictions that were made before are held against what training brings. Each kind has a
// stream of its own: the first so many of Seed are for fits, those of another seed for tests.
const (
	FitSeed  = 2026
	TestSeed = 2027
)

// draws are random numbers of one trial.
type draws struct{ *rand.Rand }

func drawsOf(seed uint64, kind string, i int) draws {
	salt := uint64(0)
	for _, c := range kind {
		salt = salt*131 + uint64(c)
	}
	return draws{rand.New(rand.NewPCG(seed, salt+uint64(i)))}
}

// within returns a number of a range, to two decimals.
func (d draws) within(low, high float64) float64 {
	return math.Round(100*(low+(high-low)*d.Float64())) / 100
}

// whole returns a whole number of a range, ends included, evenly in logarithms.
func (d draws) whole(low, high int) int {
	return min(high, int(float64(low)*math.Pow(float64(high+1)/float64(low), d.Float64())))
}

// Bottlenecks returns n mixtures of regressions: 6 to 24 tasks of 4 or 8 directions, exponents of frequencies of .5 to 2, of spectra of 1.5
// to 3, the most frequent task the simplest, at six widths each, trained as the preset fig2 is.
func Bottlenecks(scale string, seed uint64, n int) ([]*spec.Sweep, error) {
	return trials("fig2", scale, seed, n, func(d draws, i int) []spec.Axis {
		tasks, block := d.whole(6, 24), 4*(1+d.IntN(2))
		first, second := d.within(1.5, 3), d.within(1.5, 3)
		dim := tasks * block
		var widths []int
		for len(widths) < 6 {
			if w := d.whole(2, min(96, dim-1)); !slices.Contains(widths, w) {
				widths = append(widths, w)
			}
		}
		slices.Sort(widths)
		return []spec.Axis{spec.Vary("mixture.tasks", tasks), spec.Vary("mixture.block", block), spec.Vary("mixture.dim", dim),
			spec.Vary("mixture.alpha", [2]float64{max(first, second), min(first, second)}),
			spec.Vary("mixture.frequency.exponent", d.within(.5, 2)), spec.Vary("net.width", widths...),
			spec.Vary("train.seed", uint32(seed)+uint32(i))}
	})
}

// Parities returns n mixtures of sparse parities: 8 to 32 tasks on 16 to 32 bits, exponents of frequencies of 1 to 2, at six widths each,
// trained as the preset parity is.
func Parities(scale string, seed uint64, n int) ([]*spec.Sweep, error) {
	return trials("parity", scale, seed, n, func(d draws, i int) []spec.Axis {
		s := uint32(seed) + uint32(i)
		return []spec.Axis{spec.Vary("mixture.tasks", d.whole(8, 32)), spec.Vary("mixture.bits", d.whole(16, 32)),
			spec.Vary("mixture.frequency.exponent", d.within(1, 2)), spec.Vary("net.width", 8, 16, 32, 64, 128, 256),
			spec.Vary("mixture.seed", s), spec.Vary("train.seed", s)}
	})
}

// Languages returns n languages with a novel task: rank 8 to 48, sharpness 1 to 2.5, one to eight instances a batch, at widths 8, 16 and
// 32, all at the rate of the narrow ones in the preset language.
func Languages(scale string, seed uint64, n int) ([]*spec.Sweep, error) {
	return trials("fig5", scale, seed, n, func(d draws, i int) []spec.Axis {
		s := uint32(seed) + uint32(i)
		return []spec.Axis{spec.Vary("mixture.rank", d.whole(8, 48)), spec.Vary("mixture.sharpness", d.within(1, 2.5)),
			spec.Vary("mixture.seed", s), spec.Vary("train.injection.samples", d.whole(1, 8)), spec.Vary("train.injection.gap", 1),
			spec.Vary("net.width", 8, 16, 32), spec.Vary("train.rate", 1e-2), spec.Vary("train.evaluations", 6), spec.Vary("train.seed", s)}
	})
}

func trials(preset, scale string, seed uint64, n int, draw func(d draws, i int) []spec.Axis) (all []*spec.Sweep, err error) {
	for i := range n {
		s, err := spec.Load(preset, scale)
		if err != nil {
			return nil, err
		}
		trial, err := spec.Of(fmt.Sprintf("%s-trial-%d-%d", preset, seed, i+1), s.Base, draw(drawsOf(seed, preset, i), i)...)
		if err != nil {
			return nil, err
		}
		trial.Scale, trial.Keep = s.Scale, []int{}
		all = append(all, trial)
	}
	return all, nil
}

// Promise is a mixture that was recommended, and what it was said to do.
type Promise struct {
	Sweep       *spec.Sweep // that trains it
	Of          Mixture     // that it stands in the place of
	Targets     []float64   // losses relative to nothing learned; NaN: none
	Recommended Recommended
	Cost        Cost // at the recommended width
}

// Promises returns n recommendations for mixtures of Bottlenecks: of each the rarest task and two others drawn at random are to come to
// losses of .15 to .6, whatever becomes of the rest.
func Promises(scale string, seed uint64, n int) (all []Promise, err error) {
	sweeps, err := Bottlenecks(scale, seed, n)
	if err != nil {
		return nil, err
	}
	for i, s := range sweeps {
		m, err := s.Base.Mixture.Theory()
		if err != nil {
			return nil, err
		}
		p := Promise{Of: Mixture{m}, Targets: slices.Repeat([]float64{math.NaN()}, m.Tasks())}
		d := drawsOf(seed, "promise", i)
		for _, k := range append(d.Perm(m.Tasks() - 1)[:2], m.Tasks()-1) {
			p.Targets[k] = d.within(.15, .6)
		}
		if p.Recommended, err = p.Of.Recommend(p.Targets); err != nil {
			return nil, err
		}
		p.Cost = p.Of.CostOf(p.Recommended.Mixture, p.Recommended.Width)
		p.Sweep, err = spec.Of(s.Name+"-recommended", s.Base, spec.Vary("mixture.frequency.law", "given"),
			spec.Vary("mixture.frequency.shares", spec.Shares(p.Recommended.Frequency)), spec.Vary("net.width", p.Recommended.Width))
		if err != nil {
			return nil, err
		}
		p.Sweep.Scale, p.Sweep.Keep = s.Scale, []int{}
		all = append(all, p)
	}
	return all, nil
}

// Lateness is a task that theory says a width learns if all its samples come in the last fifth of training, and not at a constant
// frequency.
type Lateness struct {
	Constant, Late, Bursts *spec.Sweep // all with as many samples of it
	Task, Width            int
	Before, After          Verdict
}

// lateShare is the share of training at whose end a late task comes, and of each of so many stretches of training one in bursts.
const lateShare, stretches = .2, 25

// Latenesses returns one for each of n mixtures of Bottlenecks that has one: the rarest task and the narrowest width of which it is said
// with a margin of .15 both ways.
func Latenesses(scale string, seed uint64, n int) (all []Lateness, err error) {
	sweeps, err := Bottlenecks(scale, seed, n)
	if err != nil {
		return nil, err
	}
	for _, s := range sweeps {
		runs, err := s.Runs()
		if err != nil {
			return nil, err
		}
		m, err := s.Base.Mixture.Theory()
		if err != nil {
			return nil, err
		}
		l, found := lateness(Mixture{m}, runs)
		if !found {
			continue
		}
		steps := s.Base.Train.Steps
		in := func(name string, gap int) (*spec.Sweep, error) {
			injection := spec.Injection{Task: l.Task + 1, Gap: gap, Length: int(lateShare * float64(gap))}
			own, err := spec.Of(s.Name+"-"+name, s.Base, spec.Vary("net.width", l.Width), spec.Vary("train.injection", injection))
			if err == nil {
				own.Scale, own.Keep = s.Scale, []int{}
			}
			return own, err
		}
		if l.Late, err = in("late", steps); err != nil {
			return nil, err
		}
		if l.Bursts, err = in("bursts", max(1, steps/stretches)); err != nil {
			return nil, err
		}
		l.Constant = s // all of its widths, which train anyway
		all = append(all, l)
	}
	return all, nil
}

func lateness(m Mixture, runs []spec.Run) (l Lateness, found bool) {
	const clear = 3 * NearTie
	for k := m.Tasks() - 1; k > 0; k-- {
		for _, r := range runs {
			before := m.At(r.Net.Width)[k]
			after, err := m.Late(k, r.Net.Width, lateShare)
			if err == nil && before.Margin < -clear && after.Margin > clear {
				return Lateness{Task: k, Width: r.Net.Width, Before: before, After: after}, true
			}
		}
	}
	return l, false
}
