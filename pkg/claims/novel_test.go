package claims

import (
	"math"
	"testing"

	"raretask/pkg/corpus"
	"raretask/pkg/interference"
	"raretask/pkg/probe"
	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// mind is what a language model of a made-up world has at a step; far counts widths from the widest down: 0, 1, 2.
type mind func(far, samples, step int) map[string]float64

// minds returns five seeds of decoders of three widths, at one instance a batch and at eight, or with a burst of 16 every 16 batches.
func minds(of mind, burst bool) (runs results.Runs) {
	const steps = 160
	counts := []int{1, 8}
	if burst {
		counts = []int{16}
	}
	for _, samples := range counts {
		for far, width := range []int{64, 32, 8} {
			for seed := range uint32(5) {
				r := spec.Default()
				r.Mixture.Family, r.Mixture.Tasks = "language", 2
				r.Mixture.Settings = corpus.LanguageSettings{Vocabulary: 20, Window: 6, Rank: 3, Sharpness: 2, Task: corpus.Comparison, Symbols: 5}
				r.Net = spec.NewNet("transformer", width)
				r.Train.Seed, r.Train.Steps, r.Train.Rate = seed, steps, .1/float64(width)
				r.Train.Injection = spec.Injection{Task: 2, Gap: 1, Samples: samples}
				if burst {
					r.Train.Injection = spec.Injection{Task: 2, Gap: 16, Samples: 16, Length: 2}
				}
				var at []int
				values := map[string][]float64{}
				for step := 0; step <= steps; step += 2 {
					at = append(at, step)
					for name, v := range of(far, samples, step) {
						if v += 1e-3 * float64(seed); name == "loss_sampled" {
							values[name] = append(values[name], v, v)
						} else {
							values[name] = append(values[name], v)
						}
					}
				}
				runs = append(runs, results.NewRun(r, at, values))
			}
		}
	}
	return runs
}

func TestLanguageStatementsFollowTheWorld(t *testing.T) {
	column := interference.SpreadOf(interference.Others, 1, topNeurons)
	// Narrow nets leave the common course where the task is rare; of a burst they gain less, and keep less of it.
	asPaper := func(far, samples, step int) map[string]float64 {
		f, s, above := float64(far), float64(samples), 0.
		if samples == 1 {
			above = f
		}
		language := math.Exp(-float64(step) / 40 / (1 + f))
		loss := 1 + above + language
		bursts, gain, keeps, saw := float64(step/16), 1.5-.3*f, .5-.2*f, 30.
		if bursts > 0 {
			saw -= (bursts-1)*gain*keeps + gain*(1-(1-keeps)*float64(step%16)/14)
		}
		return map[string]float64{
			"loss_sampled": language, probe.TrainLoss: 3 - s/8, probe.TestLoss: loss, probe.TestAccuracy: .9 - .25*f - .3/s,
			probe.ValueR2: .8 - .2*f + s/200, probe.Interchange: .9, probe.Interchanged: .5,
			probe.NullOf(1, false): 2, probe.NullOf(2, false): .5, probe.RecalledTest: saw, column: .05 + .05*f,
		}
	}
	// Nothing depends on size, frequency or gap.
	flat := func(far, samples, step int) map[string]float64 {
		return map[string]float64{
			"loss_sampled": 1 - float64(step)/1000, probe.TrainLoss: 3, probe.TestLoss: 3 - float64(step)/1000,
			probe.TestAccuracy: .5 + float64(far*samples%5)/100,
			probe.ValueR2:      .3 - float64(far*samples%5)/100, probe.Interchange: .5, probe.Interchanged: .5,
			probe.NullOf(1, false): 1, probe.NullOf(2, false): 1, probe.RecalledTest: 3 - float64(step%16)/1e4 - float64(step)/1000, column: .1,
		}
	}
	for _, s := range Statements() {
		var runs []results.Runs
		worlds := map[string]mind{Supported: asPaper, Contradicted: flat}
		for verdict, world := range worlds {
			switch s.ID {
			case "sooner", "represents", "first-mlp", "trajectory", "frontier", "addition":
				runs = []results.Runs{minds(world, false)}
			case "keeps", "collisions":
				runs = []results.Runs{minds(world, true)}
			case "gaps":
				runs = []results.Runs{minds(world, false), minds(world, true)}
			default:
				continue
			}
			j, err := s.On(runs, "")
			if err != nil || j.Verdict != verdict {
				t.Errorf("%s: %s, want %s: %s %v", s.ID, j.Verdict, verdict, j.Sentence, err)
				for _, p := range j.Parts {
					t.Logf("%+v", p)
				}
			}
		}
	}
}
