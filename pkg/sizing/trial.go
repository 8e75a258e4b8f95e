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

// Bottlenecks returns n mixtures of regressions: 6 to 24 tasks of 4 or 8 directions, exponents of frequencies of .5 to 2, of spectra of 1.5 to
// 3, the most frequent task the simplest, at six widths each, trained as the preset fig2 is.
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

// Parities returns n mixtures of sparse parities: 8 to 32 tasks on 16 to 32 bits, exponents of frequencies of 1 to 2, at six widths each, trained
// as the preset parity is.
func Parities(scale string, seed uint64, n int) ([]*spec.Sweep, error) {
	return trials("parity", scale, seed, n, func(d draws, i int) []spec.Axis {
		s := uint32(seed) + uint32(i)
		return []spec.Axis{spec.Vary("mixture.tasks", d.whole(8, 32)), spec.Vary("mixture.bits", d.whole(16, 32)),
			spec.Vary("mixture.frequency.exponent", d.within(1, 2)), spec.Vary("net.width", 8, 16, 32, 64, 128, 256),
			spec.Vary("mixture.seed", s), spec.Vary("train.seed", s)}
	})
}

// Languages returns n languages with a novel task: rank 8 to 48, sharpness 1 to 2.5, one to eight instances a batch, at widths 8, 16 and 32, all
// at the rate of the narrow ones in the preset language.
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
