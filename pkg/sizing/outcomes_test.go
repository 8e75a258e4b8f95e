package sizing

import (
	"math"
	"math/rand/v2"
	"testing"

	"raretask/pkg/corpus"
	"raretask/pkg/probe"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// learners returns sets of runs of parity mixtures, at three widths and two seeds, in a world in which a task is learned where width^1.3
// times its frequency is above a limit.
func learners(random *rand.Rand, mixtures int) (sets []results.Runs) {
	for range mixtures {
		base := spec.Default()
		base.Mixture.Family, base.Mixture.Tasks, base.Mixture.Settings = "parity", 6+random.IntN(8), tasks.ParitySettings{Bits: 24, Size: 3}
		base.Mixture.Frequency.Exponent = 1 + random.Float64()
		base.Train.Steps = 10
		var runs results.Runs
		for _, w := range []int{8, 32, 128} {
			for seed := range uint32(2) {
				r := base
				r.Net.Width, r.Train.Seed = w, seed
				var losses []float64
				for _, pi := range r.Mixture.Frequencies() {
					loss := 1.
					if math.Pow(float64(w), 1.3)*pi > 4 {
						loss = .05
					}
					losses = append(losses, loss)
				}
				runs = append(runs, results.NewRun(r, []int{10}, map[string][]float64{"loss_sampled": losses}))
			}
		}
		sets = append(sets, runs)
	}
	return sets
}

// In a world of thresholds the model tells nearly all of what it has not seen, and more than each simple rule.
func TestCompare(t *testing.T) {
	random := rand.New(rand.NewPCG(12, 1))
	fit, err := Places(learners(random, 6))
	if err != nil {
		t.Fatal(err)
	}
	test, err := Places(learners(random, 10))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range test {
		if beside := !math.IsNaN(p.X[Proxy]); beside != (p.Width > 8) {
			t.Errorf("width %d has a smaller size beside it: %t", p.Width, beside)
		}
	}
	rules := Compare(fit, test)
	if len(rules) != 5 {
		t.Fatalf("%+v", rules)
	}
	for _, r := range rules[:3] {
		if r.Accuracy() >= rules[3].Accuracy() {
			t.Errorf("%+v is no worse than %+v", r, rules[3])
		}
	}
	if m := rules[3]; m.Accuracy() < .95 || m.Asks != len(test) || rules[2].Asks != 0 || rules[2].Told != m.Told {
		t.Errorf("%+v", rules)
	}
	l, err := LearnFrom(learners(random, 1)[0], 200)
	if err != nil {
		t.Fatal(err)
	}
	if e := l.Exponent(1, 0); e.Estimate > -.9 || e.Estimate < -1.9 {
		t.Errorf("exponent %+v, want about -1.3", e)
	}
	for _, task := range l.Tasks {
		if len(task.Shown) != 3 || task.Shown[0].Runs != 2 || task.Shown[0].Width != 8 {
			t.Errorf("%+v", task)
		}
	}
}

// Of a novel task half of what there is above chance counts as learned: .75 of two labels, .53 of sixteen.
func TestPlacesOfInjectedTasks(t *testing.T) {
	for kind, want := range map[string]bool{corpus.Comparison: false, corpus.Addition: true} {
		r := spec.Default()
		r.Mixture.Family, r.Mixture.Tasks, r.Train.Steps = "language", 2, 10
		r.Mixture.Settings = corpus.LanguageSettings{Vocabulary: 40, Window: 6, Rank: 3, Sharpness: 2, Task: kind, Symbols: 16}
		r.Net = spec.NewNet("transformer", 8)
		r.Train.Injection = spec.Injection{Task: 2, Gap: 4, Samples: 2}
		places, err := Places([]results.Runs{{results.NewRun(r, []int{10}, map[string][]float64{probe.TestAccuracy: {.6}})}})
		if err != nil || len(places) != 1 || places[0].Learned != want || places[0].X[Frequency] != .5 {
			t.Errorf("%s: %+v %v", kind, places, err)
		}
	}
}
