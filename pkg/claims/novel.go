package claims

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/stat"

	"raretask/pkg/interference"
	"raretask/pkg/probe"
	"raretask/pkg/results"
)

// What is judged of language models beside what they end with: the order and the course of learning, and what they represent. Runs are of
// several widths, each with a rate of its own, and of two frequencies of the novel task, in instances a batch.

// NatsEffect is the least difference in loss, in nats, that counts.
const NatsEffect = .1

// sizes are the settings in which language models of several sizes differ.
var sizes = []string{"net.width", "net.layers", "net.head", "train.rate", "train.accumulate"}

// speaking checks and loads such runs and returns their widths, and how many instances come at the lower and at the higher frequency.
func speaking(runs results.Runs, final bool, columns ...string) (widths []int, few, many int, err error) {
	design := results.Design{Vary: append([]string{"train.injection.samples"}, sizes...), Columns: columns, Final: final}
	if err := runs.Need(design); err != nil {
		return nil, 0, 0, err
	}
	widths, _ = results.By(runs, results.Width)
	counts, _ := results.By(runs, samplesOf)
	if len(widths) < 2 || len(counts) != 2 {
		return nil, 0, 0, fmt.Errorf("claims: %d widths and %d frequencies: want two widths at least and two frequencies",
			len(widths), len(counts))
	}
	return widths, counts[0], counts[1], nil
}

func samplesOf(r *results.Run) int { return r.Train.Injection.Samples }

// speakers returns the runs of a width and frequency.
func speakers(runs results.Runs, width, samples int) results.Runs {
	return runs.Where(func(r *results.Run) bool { return r.Net.Width == width && samplesOf(r) == samples })
}

// sooner are, for each width, how much lower the loss of the novel task's training instances is over training at the higher frequency
// (Fig 6a).
func sooner(_ string, runs results.Runs) (list []Claim, err error) {
	widths, few, many, err := speaking(runs, false, probe.TrainLoss)
	if err != nil {
		return nil, err
	}
	for _, w := range widths {
		over := func(samples int) BySeed {
			return eachSeed(speakers(runs, w, samples), func(runs results.Runs) float64 {
				return stat.Mean(runs[0].Series(probe.TrainLoss, 1)[1:], nil)
			})
		}
		list = append(list, Claim{"sooner", fmt.Sprintf("N = %d: loss over training, once a batch less %d times (nats)", w, many),
			Paired(over(few), over(many)), NatsEffect})
	}
	return list, nil
}

// course is a run after its first step: its compute, 6 parameters tokens in FLOPs, the loss of its language relative to the best constant,
// and the novel task's, in nats.
type course struct{ compute, language, novel []float64 }

func courseOf(r *results.Run) (c course) {
	tokens := float64(r.Train.Batch * (r.Mixture.Signature().Input.Size() + 1))
	for i, step := range r.Steps {
		if step > 0 {
			c.compute = append(c.compute, 6*float64(r.Run.Parameters())*tokens*float64(step))
			c.language = append(c.language, Value(r, "loss_sampled", i, 1))
			c.novel = append(c.novel, Value(r, probe.TestLoss, i, 1))
		}
	}
	return c
}

// when returns the novel task's loss where another number first falls to some value, linear between evaluations; NaN where it never does.
func (c course) when(other []float64, value float64) float64 {
	for i := range other {
		switch {
		case other[i] > value:
		case i == 0: // it has been there before the first evaluation
			return math.NaN()
		default:
			at := (other[i-1] - value) / (other[i-1] - other[i])
			return c.novel[i-1] + at*(c.novel[i]-c.novel[i-1])
		}
	}
	return math.NaN()
}

// trajectory are, for each narrow width, how the loss of the novel task compares with the widest net's when that has the loss of language
// that the narrow one ends with: alike at the higher frequency, above it at the lower (Fig 22).
func trajectory(_ string, runs results.Runs) (list []Claim, err error) {
	widths, few, many, err := speaking(runs, false, probe.TestLoss, "loss_sampled")
	if err != nil {
		return nil, err
	}
	wide := widths[len(widths)-1]
	for _, w := range widths[:len(widths)-1] {
		above := func(samples int) BySeed {
			ahead := map[uint32]course{}
			for _, r := range speakers(runs, wide, samples) {
				ahead[r.Train.Seed] = courseOf(r)
			}
			return eachSeed(speakers(runs, w, samples), func(runs results.Runs) float64 {
				own, of := courseOf(runs[0]), ahead[runs[0].Train.Seed]
				last := len(own.novel) - 1
				return own.novel[last] - of.when(of.language, own.language[last])
			})
		}
		list = append(list,
			Claim{"same", fmt.Sprintf("N = %d and %d at %d a batch: minus the distance at equal loss of language (nats)", w, wide, many),
				above(many).each(func(v float64) float64 { return -math.Abs(v) }), -NatsEffect},
			Claim{"apart", fmt.Sprintf("N = %d is above N = %d at %d a batch, at equal loss of language (nats)", w, wide, few),
				above(few), NatsEffect})
	}
	return list, nil
}

// behind are, for each width but the widest, how far it ends above the next wider one at equal compute, at the lower frequency (Fig 23).
func behind(_ string, runs results.Runs) (list []Claim, err error) {
	widths, few, _, err := speaking(runs, false, probe.TestLoss, "loss_sampled")
	if err != nil {
		return nil, err
	}
	for i, w := range widths[:len(widths)-1] {
		next := map[uint32]course{}
		for _, r := range speakers(runs, widths[i+1], few) {
			next[r.Train.Seed] = courseOf(r)
		}
		above := eachSeed(speakers(runs, w, few), func(runs results.Runs) float64 {
			own, of := courseOf(runs[0]), next[runs[0].Train.Seed]
			last := len(own.novel) - 1
			minus := xslices.Map(of.compute, func(c float64) float64 { return -math.Log(c) }) // falls
			return own.novel[last] - of.when(minus, -math.Log(own.compute[last]))
		})
		list = append(list, Claim{"behind", fmt.Sprintf("N = %d ends above N = %d at equal compute (nats)", w, widths[i+1]), above, NatsEffect})
	}
	return list, nil
}

// represents are what nets hold of the order of symbols after their first layer: more of it where they are wider, as they tell more of
// unseen instances, and along a direction that moves the label (Fig 7a).
func represents(_ string, runs results.Runs) ([]Claim, error) {
	widths, few, _, err := speaking(runs, true, probe.ValueR2, probe.TestAccuracy, probe.Interchange, probe.Interchanged)
	if err != nil {
		return nil, err
	}
	narrow, wide := widths[0], widths[len(widths)-1]
	final := func(width int, column string) BySeed {
		return eachSeed(speakers(runs, width, few), func(runs results.Runs) float64 { return Final(runs[0], column, 1) })
	}
	tracks := eachSeed(runs, func(runs results.Runs) float64 {
		at := func(column string) []float64 {
			return ranks(xslices.Map(runs, func(r *results.Run) float64 { return Final(r, column, 1) }))
		}
		return stat.Correlation(at(probe.ValueR2), at(probe.TestAccuracy), nil)
	})
	return []Claim{
		{"wider", fmt.Sprintf("R² of the symbols' numbers, N = %d less N = %d, rare", wide, narrow),
			Paired(final(wide, probe.ValueR2), final(narrow, probe.ValueR2)), .1},
		{"tracks", "rank correlation of R² with accuracy on unseen instances, over widths and frequencies", tracks, .5},
		{"moves", fmt.Sprintf("N = %d: pairs that follow an interchange along one direction, less those along a random one", wide),
			Paired(final(wide, probe.Interchange), final(wide, probe.Interchanged)), .2},
	}, nil
}

// ranks returns the rank of each value, equal ones sharing theirs; NaN for all where one is.
func ranks(values []float64) []float64 {
	return xslices.Map(values, func(v float64) float64 {
		rank := 0.
		for _, other := range values {
			switch {
			case math.IsNaN(other) || math.IsNaN(v):
				return math.NaN()
			case other < v:
				rank++
			case other == v:
				rank += .5
			}
		}
		return rank
	})
}

// firstMLP are, for each width at the higher frequency, how much more nulling the first layer's MLP costs the label than nulling the
// second's (Fig 10).
func firstMLP(_ string, runs results.Runs) (list []Claim, err error) {
	widths, _, many, err := speaking(runs, true, probe.NullOf(1, false), probe.NullOf(2, false))
	if err != nil {
		return nil, err
	}
	for _, w := range widths {
		more := eachSeed(speakers(runs, w, many), func(runs results.Runs) float64 {
			return Final(runs[0], probe.NullOf(1, false), 1) - Final(runs[0], probe.NullOf(2, false), 1)
		})
		list = append(list, Claim{"first", fmt.Sprintf("N = %d: rise of the loss, MLP 1 less MLP 2 (nats)", w), more, NatsEffect})
	}
	return list, nil
}

// Runs with bursts of instances, a burst for each of so many batches, beside those of speaking, which have them at the same rate in every
// batch.

// burst is the loss of the novel task's test instances just before an injection, right after it, and just before the next.
type burst struct{ before, after, next float64 }

// burstsOf returns those of a run's injections from a step on that were seen.
func burstsOf(r *results.Run, from int) (all []burst) {
	steps, losses := often(r, probe.RecalledTest)
	at := func(step int) float64 {
		if i, there := slices.BinarySearch(steps, step); there {
			return losses[i]
		}
		return math.NaN()
	}
	i := r.Train.Injection
	for end, next := range gaps(r) {
		b := burst{at(end - i.Steps()), at(end), at(next)}
		if end >= from && !math.IsNaN(b.before+b.after+b.next) {
			all = append(all, b)
		}
	}
	return all
}

// bursting checks and loads runs of one schedule of bursts and returns them by width.
func bursting(runs results.Runs, columns ...string) (widths []int, byWidth map[int]results.Runs, err error) {
	if err := runs.Need(results.Design{Vary: []string{"net.width", "train.rate"}, Columns: columns}); err != nil {
		return nil, nil, err
	}
	if widths, byWidth = results.By(runs, results.Width); len(widths) < 2 || results.Gap(runs[0]) < 2 {
		return nil, nil, fmt.Errorf("claims: %d widths, gap %d: want two widths at least, and bursts", len(widths), results.Gap(runs[0]))
	}
	return widths, byWidth, nil
}

// gapHurts are, for each width, how much higher the loss is just before a burst than where instances come at the same rate in every batch,
// in the second half of training (Fig 6b). Runs are those of speaking, then those with bursts.
func gapHurts(runs []results.Runs) (list []Claim, err error) {
	_, few, _, err := speaking(runs[0], false, probe.TestLoss)
	if err != nil {
		return nil, err
	}
	widths, byWidth, err := bursting(runs[1], probe.RecalledTest)
	if err != nil {
		return nil, err
	}
	for _, w := range widths {
		steady := eachSeed(speakers(runs[0], w, few), func(runs results.Runs) float64 {
			r := runs[0]
			half, _ := slices.BinarySearch(r.Steps, r.Train.Steps/2)
			return stat.Mean(r.Series(probe.TestLoss, 1)[half:], nil)
		})
		bursts := eachSeed(byWidth[w], func(runs results.Runs) float64 {
			return stat.Mean(xslices.Map(burstsOf(runs[0], runs[0].Train.Steps/2), func(b burst) float64 { return b.before }), nil)
		})
		list = append(list, Claim{"gap", fmt.Sprintf("N = %d: loss before a burst every %d batches, less that without (nats)", w,
			results.Gap(byWidth[w][0])), Paired(bursts, steady), NatsEffect})
	}
	return list, nil
}

// keepsMore are what gaps take back of what bursts give, over all of training, in narrow nets less in the widest; and how much more a burst
// gives in the widest (Fig 8).
func keepsMore(_ string, runs results.Runs) (list []Claim, err error) {
	widths, byWidth, err := bursting(runs, probe.RecalledTest)
	if err != nil {
		return nil, err
	}
	taken, given := map[int]BySeed{}, map[int]BySeed{}
	for _, w := range widths {
		sums := func(of func(gave, took, bursts float64) float64) BySeed {
			return eachSeed(byWidth[w], func(runs results.Runs) float64 {
				gave, took, all := 0., 0., burstsOf(runs[0], 0)
				for _, b := range all {
					gave, took = gave+b.before-b.after, took+b.next-b.after
				}
				return of(gave, took, float64(len(all)))
			})
		}
		taken[w] = sums(func(gave, took, _ float64) float64 {
			if gave <= 0 {
				return math.NaN() // nothing that could be taken back
			}
			return took / gave
		})
		given[w] = sums(func(gave, _, bursts float64) float64 { return gave / bursts })
	}
	wide := widths[len(widths)-1]
	for _, w := range widths[:len(widths)-1] {
		list = append(list,
			Claim{"keeps", fmt.Sprintf("share of what bursts give that gaps take back, N = %d less N = %d", w, wide),
				Paired(taken[w], taken[wide]), .05},
			Claim{"gains", fmt.Sprintf("what a burst gives, N = %d less N = %d (nats)", wide, w), Paired(given[wide], given[w]), .05})
	}
	return list, nil
}

// topNeurons is on which share of an MLP's neurons gradients are compared.
const topNeurons = 1. / 4

// collides are how much more widely the cosines of the language's gradients with the novel task's spread over batches in narrow nets than
// in the widest, on the first MLP's neurons of the largest gradients, in the second half of training (Fig 9).
func collides(_ string, runs results.Runs) (list []Claim, err error) {
	column := interference.SpreadOf(interference.Others, 1, topNeurons)
	widths, byWidth, err := bursting(runs, column)
	if err != nil {
		return nil, err
	}
	spread := map[int]BySeed{}
	for _, w := range widths {
		spread[w] = eachSeed(byWidth[w], func(runs results.Runs) float64 {
			r := runs[0]
			half, _ := slices.BinarySearch(r.Steps, r.Train.Steps/2)
			return stat.Mean(r.Series(column, 1)[half:], nil)
		})
	}
	wide := widths[len(widths)-1]
	for _, w := range widths[:len(widths)-1] {
		list = append(list, Claim{"spread", fmt.Sprintf("standard deviation of the cosine, N = %d less N = %d", w, wide),
			Paired(spread[w], spread[wide]), .02})
	}
	return list, nil
}

// BySymmetry is more than the accuracy on unseen sums of 16 symbols that memory gives with the rule a + b = b + a alone, .50: of 240 in 256
// pairs there is another order, which was seen in 128 of 255 cases, and of the rest one in 16 is right by chance.
const BySymmetry = .55

// adds are what nets tell of unseen sums: the widest at the higher frequency more than symmetry has it, more than each narrower one, and
// more than at the lower frequency (Fig 5b).
func adds(_ string, runs results.Runs) ([]Claim, error) {
	widths, few, many, err := speaking(runs, true, probe.TestAccuracy)
	if err != nil {
		return nil, err
	}
	final := func(width, samples int) BySeed {
		return eachSeed(speakers(runs, width, samples), func(runs results.Runs) float64 { return Final(runs[0], probe.TestAccuracy, 1) })
	}
	wide := widths[len(widths)-1]
	list := []Claim{{"adds", fmt.Sprintf("N = %d tells unseen sums, %d a batch", wide, many), final(wide, many), BySymmetry},
		{"frequency", fmt.Sprintf("N = %d tells more at %d a batch than at %d", wide, many, few), Paired(final(wide, many), final(wide, few)),
			AccuracyEffect}}
	for _, w := range widths[:len(widths)-1] {
		list = append(list, Claim{"size", fmt.Sprintf("N = %d tells more than N = %d, %d a batch", wide, w, many),
			Paired(final(wide, many), final(w, many)), AccuracyEffect})
	}
	return list, nil
}
