package claims

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"

	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/tasks"
)

// judging returns claims of runs of one mixture; about says of which.
type judging func(about string, runs results.Runs) ([]Claim, error)

// one judges by the runs of one preset.
func one(of judging) Judge {
	return func(runs []results.Runs) ([]Claim, error) { return of("", runs[0]) }
}

// perMixture judges by the runs of one preset, for each exponent of frequencies and range of spectra that there is.
func perMixture(of judging) Judge {
	return func(runs []results.Runs) (all []Claim, err error) {
		spectra, bySpectrum := results.By(runs[0], spectrumOf)
		for _, spectrum := range spectra {
			betas, byBeta := results.By(bySpectrum[spectrum], results.Beta)
			for _, beta := range betas {
				about := fmt.Sprintf("β = %g: ", beta)
				if len(spectra) > 1 {
					about = fmt.Sprintf("α = %s, %s", spectrum, about)
				}
				list, err := of(about, byBeta[beta])
				if err != nil {
					return nil, err
				}
				all = append(all, list...)
			}
		}
		return all, nil
	}
}

// spectrumOf says what the spectra of a run's tasks are, from the most frequent task's to the rarest's; empty where they have none.
func spectrumOf(r *results.Run) string {
	s, ok := r.Mixture.Settings.(tasks.RegressionSettings)
	switch {
	case !ok:
		return ""
	case s.Alpha[0] == s.Alpha[1]:
		return fmt.Sprint(s.Alpha[0])
	}
	return fmt.Sprintf("%g … %g", s.Alpha[0], s.Alpha[1])
}

// eachSeed returns a number of the runs of each seed.
func eachSeed(runs results.Runs, of func(runs results.Runs) float64) BySeed {
	values := BySeed{}
	seeds, bySeed := results.By(runs, results.Seed)
	for _, s := range seeds {
		values[s] = of(bySeed[s])
	}
	return values
}

// predictedClaim is how far tasks' losses are from the range of the best encoders'.
func predictedClaim(about string, runs results.Runs) ([]Claim, error) {
	m, err := Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"loss"}, Final: true})
	if err != nil {
		return nil, err
	}
	off := eachSeed(runs, func(runs results.Runs) float64 {
		var all []float64
		for _, r := range runs {
			low, high := m.TaskLoss(r.Net.Width)
			for k := range low {
				loss := Final(r, "loss", k+1)
				all = append(all, max(low[k]/m.TaskTrace(k)-loss, loss-high[k]/m.TaskTrace(k), 0)) // NaN where loss is
			}
		}
		return -stat.Mean(all, nil)
	})
	return []Claim{{"predicted", about + "minus the mean distance of normalised losses from the prediction", off, -.02}}, nil
}

// hasTask reports whether a net of regression tasks has the first direction of a task, from 1, at one of its steps; known is whether it
// can be told.
func hasTask(m theory.Mixture, r *results.Run, task, i int) (held, known bool) {
	s := Value(r, "signal", i, task)
	return m.HeldFeatures(task-1, s, HeldTolerance) > 0, !math.IsNaN(s)
}

// staircaseClaim is which share of tasks is first held at the predicted width, as near as the grid has it, of those whose width is within
// it. A task is held where the signal is more than half of its first direction's share: s_k > .5 of a rank-one task (Fig 18).
func staircaseClaim(about string, runs results.Runs) ([]Claim, error) {
	m, err := Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"signal"}, Final: true})
	if err != nil {
		return nil, err
	}
	share := eachSeed(runs, func(runs results.Runs) float64 {
		widths, byWidth := results.By(runs, results.Width)
		right, all := 0., 0.
		for k, star := range m.NStar(1) {
			first := m.Spectrum[k][0] / m.TaskTrace(k)
			from := slices.IndexFunc(widths, func(w int) bool { return w >= star.Some })
			to := slices.IndexFunc(widths, func(w int) bool { return w >= star.Every })
			if from < 0 || to < 0 {
				continue // wider than any net here
			}
			at := slices.IndexFunc(widths, func(w int) bool { return Final(byWidth[w][0], "signal", k+1) > Learned*first })
			if all++; at >= from && at <= to {
				right++
			}
		}
		return right / all
	})
	return []Claim{{"staircase", about + "share of tasks first held at the predicted width", share, .9}}, nil
}

// thresholdClaim is at which share of widths the rarest task is held exactly where the frequent tasks' residual is below its least at the
// width from which the rarest task withstands them.
func thresholdClaim(about string, runs results.Runs) ([]Claim, error) {
	m, err := Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"signal", "residual"}, Final: true})
	if err != nil {
		return nil, err
	}
	line, _ := m.FrequentFloor()
	rarest := m.Rarest() + 1
	share := eachSeed(runs, func(runs results.Runs) float64 {
		right := 0.
		for _, r := range runs {
			has, known := hasTask(m, r, rarest, r.Last())
			if residual := Final(r, "residual", 1); !known || math.IsNaN(residual) {
				return math.NaN()
			} else if has == (residual < line) {
				right++
			}
		}
		return right / float64(len(runs))
	})
	return []Claim{{"threshold", about + "share of widths on the right side of the line", share, .9}}, nil
}

// persistenceClaim is which share of all tasks and widths changes between held and not held after a tenth of the steps.
func persistenceClaim(about string, runs results.Runs) ([]Claim, error) {
	m, err := Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"signal"}})
	if err != nil {
		return nil, err
	}
	share := eachSeed(runs, func(runs results.Runs) float64 {
		changed, all := 0., 0.
		for _, r := range runs {
			i := slices.IndexFunc(r.Steps, func(step int) bool { return 10*step >= r.Train.Steps })
			for k := 1; k <= m.Tasks(); k++ {
				before, known := hasTask(m, r, k, i)
				after, still := hasTask(m, r, k, r.Last())
				if !known || !still {
					return math.NaN()
				}
				if all++; before != after {
					changed++
				}
			}
		}
		return -changed / all
	})
	return []Claim{{"persistence", about + "minus the share of tasks and widths that change", share, -.05}}, nil
}

// lowestClaims are what becomes of an injected task in the narrowest net and the widest, at the shortest gap and the longest, and how much
// more one between has of it at the shortest.
func lowestClaims(_ string, runs results.Runs) ([]Claim, error) {
	all, err := Retentions(runs)
	if err != nil {
		return nil, err
	}
	widths, _ := results.By(runs, results.Width)
	gaps, _ := results.By(runs, results.Gap)
	if len(widths) < 3 || len(gaps) < 2 {
		return nil, fmt.Errorf("claims: %d widths and %d gaps: want three widths and two gaps at least", len(widths), len(gaps))
	}
	narrow, wide, short, long := widths[0], widths[len(widths)-1], gaps[0], gaps[len(gaps)-1]
	final := func(width, gap int) BySeed { return RetentionAt(all, width, gap).Final }
	var list []Claim
	for _, g := range []int{short, long} {
		list = append(list, Claim{"narrow", fmt.Sprintf("N = %d learns nothing at gap %d (minus the signal)", narrow, g),
			negative(final(narrow, g)), -Audible}, Claim{"wide", fmt.Sprintf("N = %d learns at gap %d", wide, g), final(wide, g), Audible})
	}
	most := Paired(final(widths[1], short), final(widths[1], long))
	for _, w := range widths[2 : len(widths)-1] {
		for seed, less := range Paired(final(w, short), final(w, long)) {
			most[seed] = max(most[seed], less) // NaN where one is
		}
	}
	name := fmt.Sprintf("the most that a width between loses from gap %d to %d", short, long)
	return append(list, Claim{"middling", name, most, Audible}), nil
}

// negative returns minus each number.
func negative(s BySeed) BySeed {
	return s.each(func(v float64) float64 { return -v })
}

// each returns a function of each number.
func (s BySeed) each(of func(float64) float64) BySeed {
	all := BySeed{}
	for seed, v := range s {
		all[seed] = of(v)
	}
	return all
}

// forgettingClaim is how far measured rates of forgetting are from those of theory with a newcomer whose decoder has to grow, at each
// exponent of frequencies, over the widths at which the feature was held and lost.
func forgettingClaim(runs []results.Runs) ([]Claim, error) {
	all, err := Forgettings(runs[0])
	if err != nil {
		return nil, err
	}
	off := map[float64]map[uint32][]float64{}
	for _, f := range all {
		if off[f.Beta] == nil {
			off[f.Beta] = map[uint32][]float64{}
		}
		for seed, v := range f.Measured {
			if !math.IsNaN(v) { // else it was never held there, or not lost
				off[f.Beta][seed] = append(off[f.Beta][seed], math.Abs(math.Log(v/f.Lagged[seed])))
			}
		}
	}
	var list []Claim
	for _, beta := range slices.Sorted(maps.Keys(off)) {
		effect := BySeed{}
		for seed, values := range off[beta] {
			effect[seed] = -stat.Mean(values, nil)
		}
		list = append(list, Claim{fmt.Sprint(beta), fmt.Sprintf("β = %g: minus |ln measured/predicted rate|, mean over widths", beta),
			effect, -.1})
	}
	return list, nil
}

// Two tasks of frequencies .9 and .1 and neurons of which a softmax gate picks for each task by how well they serve it (Fig 11; the gate's
// definition, the rate and the start are ours).
const (
	GatedFrequency = .9
	GatedRate      = .05
	GatedSharpness = 8
	GatedSteps     = 200
)

// GatedStart returns the angles at which one neuron starts, or two, between the frequent task's feature and the rare one's.
func GatedStart(neurons int) []float64 { return []float64{.8, .7}[:neurons] }

// GatedRun trains neurons on tasks drawn by a seed, the same ones for any number of neurons, and returns the rare task's alignment before
// each step and in the end, and where the neurons end.
func GatedRun(neurons int, seed uint64) (rare, ends []float64) {
	random, ends := rand.New(rand.NewPCG(seed, 0)), GatedStart(neurons)
	for step := 0; ; step++ {
		_, own := theory.GatedSignals(ends, GatedSharpness)
		if rare = append(rare, own); step == GatedSteps {
			return rare, ends
		}
		frequent := 0.
		if random.Float64() < GatedFrequency {
			frequent = 1
		}
		ends = theory.Gated(ends, frequent, 1-frequent, GatedRate, GatedSharpness)
	}
}

// gatedClaims are how well neurons are aligned with the rare task over the second half of training.
func gatedClaims([]results.Runs) ([]Claim, error) {
	late := func(neurons int) BySeed {
		all := BySeed{}
		for seed := range uint32(20) {
			rare, _ := GatedRun(neurons, uint64(seed))
			all[seed] = stat.Mean(rare[GatedSteps/2:], nil)
		}
		return all
	}
	return []Claim{{"one", "one neuron gives the rare task up (minus its alignment)", negative(late(1)), -.2},
		{"two", "of two neurons one serves the rare task", late(2), .8}}, nil
}

// expressivitySweeps are those controls of a mixture that tell whether nets can express its rarest task and whether the rate is to blame:
// the task alone, the mixture, and the mixture at two more rates.
func expressivitySweeps(s *spec.Sweep) ([]*spec.Sweep, error) {
	all, err := Controls(s)
	if err != nil {
		return nil, err
	}
	return slices.Concat(all[0].Sweeps, all[4].Sweeps), nil
}

// expressivityClaims are, of the runs of expressivitySweeps of several mixtures, that a net of any width learns the rarest task alone, and
// that in the mixture the narrowest has less of it than the widest, each at the best of three rates.
func expressivityClaims(runs []results.Runs) (list []Claim, err error) {
	for own := range slices.Chunk(runs, 3) {
		m := RareSignal
		if !own[0][0].Measured(m.Column) {
			m = RareLoss
		}
		has := func(b Best) BySeed {
			return b.Seeds.each(func(v float64) float64 {
				if m.Lower {
					return 1 - v
				}
				return v
			})
		}
		first := own[0][0]
		about := fmt.Sprintf("%s, %s: ", first.Mixture.Family, first.Net.Kind)
		alone, err := bestOf(own[0], m, first.Train.Injection.Until)
		if err != nil {
			return nil, err
		}
		for _, b := range alone {
			list = append(list, Claim{"alone", fmt.Sprintf("%sN = %d learns the rarest task alone", about, b.Width), has(b), Expressed})
		}
		mixed, err := results.Join(own[1:]...)
		if err != nil {
			return nil, err
		}
		best, err := bestOf(mixed, m, 0)
		if err != nil {
			return nil, err
		}
		narrow, wide := best[0], best[len(best)-1]
		list = append(list, Claim{"mixture", fmt.Sprintf("%sin the mixture N = %d has less of it than N = %d", about, narrow.Width, wide.Width),
			Paired(has(wide), has(narrow)), AccuracyEffect})
	}
	return list, nil
}

// orderClaims are that tasks of one bit are learned in the order of their frequency, in the widest net, and more of them than in the
// narrowest.
func orderClaims(_ string, runs results.Runs) ([]Claim, error) {
	times, err := LearningTimes(runs)
	if err != nil {
		return nil, err
	}
	widths, _ := results.By(runs, results.Width)
	narrow, wide := widths[0], widths[len(widths)-1]
	rank, learned := BySeed{}, map[int]BySeed{narrow: {}, wide: {}}
	bySeed := map[uint32][]LearningTime{}
	for _, t := range times {
		if own := learned[t.Width]; own != nil && !t.Censored {
			own[t.Seed]++
		}
		if t.Width == wide {
			bySeed[t.Seed] = append(bySeed[t.Seed], t)
		}
	}
	for seed, own := range bySeed {
		learned[narrow][seed] += 0
		learned[wide][seed] += 0
		rank[seed] = concordance(own)
	}
	tasks := float64(runs[0].Mixture.Tasks)
	share := Paired(learned[wide], learned[narrow]).each(func(v float64) float64 { return v / tasks })
	return []Claim{{"order", fmt.Sprintf("N = %d: pairs of tasks learned in the order of frequency, less those in the other", wide), rank, .8},
		{"more", fmt.Sprintf("N = %d learns more of the tasks than N = %d (share of all)", wide, narrow), share, .2}}, nil
}

// concordance is the share of pairs of tasks, of unlike frequencies and at unlike steps, of which the more frequent was learned first, less
// that of the others (Goodman and Kruskal's gamma). Of two that were not learned nothing is known.
func concordance(times []LearningTime) float64 {
	same, other := 0., 0.
	for i, a := range times {
		for _, b := range times[:i] { // the earlier one is the more frequent
			switch {
			case a.Frequency == b.Frequency || a.Step == b.Step || b.Censored && a.Censored:
			case b.Step < a.Step:
				same++
			default:
				other++
			}
		}
	}
	return (same - other) / (same + other)
}
