package probe_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/corpus"
	"raretask/pkg/net"
	"raretask/pkg/probe"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// measured returns what a metric says of a run with weights.
func measured(t *testing.T, run spec.Run, weights [][]float32, metric string, step int) map[string]float64 {
	t.Helper()
	m, err := train.NewMeasurer(backendtest.XLA(t), run, []string{metric})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	values, err := m.Measure(train.RunState{Step: step, Weights: weights, Diverged: -1})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for i, c := range m.Columns {
		all[c.Name] = values[i][0]
	}
	return all
}

// A decoder that has learned to compare has an order that an interchange along one direction moves, along a random one less; one that
// has not been trained has none. All is a function of the weights and the step.
func TestFeatures(t *testing.T) {
	stack := language(t, func(r *spec.Run) {
		s := r.Mixture.Settings.(corpus.LanguageSettings)
		s.Symbols, s.Vocabulary = 24, 40
		r.Mixture.Settings = s
		r.Train.Steps, r.Train.Warmup, r.Train.Rate, r.Train.Schedule, r.Train.Batch = 2500, 20, 1e-2, "cosine", 32
		r.Train.Decay, r.Train.Injection.Samples = .1, 32
	}, 16)
	run := stack[0]
	columns, weights := trained(t, stack)
	got := measured(t, run, weights[0], "features", 7)
	accuracy, along, random := columns[0][probe.TestAccuracy], got[probe.Interchange], got[probe.Interchanged]
	if accuracy < .75 || along < accuracy-.15 || along < random+.15 {
		t.Errorf("test accuracy %g; interchange %g along the order, %g along a random direction", accuracy, along, random)
	}
	low, high := 0., 0.
	for v := range 12 {
		low, high = low+got[probe.OrderOf(v)], high+got[probe.OrderOf(12+v)]
	}
	if !(low < high) || got[probe.LabelProbe] < got[probe.LabelControl] || !(got[probe.ValueR2] > .5) {
		t.Errorf("places %g and %g of the lower and the higher numbers; probe %g, control %g; R² %g", low, high, got[probe.LabelProbe],
			got[probe.LabelControl], got[probe.ValueR2])
	}
	for name, v := range measured(t, run, weights[0], "features", 7) {
		if v != got[name] {
			t.Errorf("%s: %g, then %g", name, got[name], v)
		}
	}
	fresh := measured(t, run, net.Initial(run.New(), 16, 3), "features", 7)
	if fresh[probe.Interchange] > .7 || fresh[probe.ValueR2] > .75 {
		t.Errorf("without training: interchange %g, R² %g", fresh[probe.Interchange], fresh[probe.ValueR2])
	}
	mean, zero := got[probe.NullOf(1, true)]+got[probe.NullOf(2, true)], got[probe.NullOf(1, false)]+got[probe.NullOf(2, false)]
	if !(mean > .1) || !(zero > .1) {
		t.Errorf("nulling MLPs costs %g (mean) and %g (zero) nats", mean, zero)
	}
}

// Addition has modes of the sum in place of an order.
func TestFeaturesOfAddition(t *testing.T) {
	stack := language(t, func(r *spec.Run) {
		s := r.Mixture.Settings.(corpus.LanguageSettings)
		s.Task, s.Symbols = corpus.Addition, 7
		r.Mixture.Settings = s
	}, 16)
	got := measured(t, stack[0], net.Initial(stack[0].New(), 16, 3), "features", 0)
	modes, there := got[probe.FourierModes]
	if !there || modes < 0 || modes > 6 || math.IsNaN(got[probe.PlaneOf(1, 6)]) { // the embedding knows nothing of the first symbol
		t.Errorf("%g modes (%t) of two layers of three", modes, there)
	}
	if _, there := got[probe.ValueR2]; there {
		t.Error("addition has no order")
	}
}

// A rule that a model knows has no excess, and what it knows nothing of has the divergence from what it says: here from the uniform
// distribution, which equal logits are.
func TestRules(t *testing.T) {
	run := language(t, nil, 8)[0]
	family, err := run.Mixture.Settings.Family(2)
	if err != nil {
		t.Fatal(err)
	}
	l := family.(*corpus.Language)
	weights := net.Initial(run.New(), 8, 1)
	clear(weights[len(weights)-1]) // the readout
	got := measured(t, run, weights, "rules", 0)
	for i, name := range []string{probe.CommonRule, probe.RareRule} {
		token, want := probe.Rules(l)[i], math.Log(20)
		for _, p := range l.Next[token] {
			want += p * math.Log(p)
		}
		if math.Abs(got[name]-want) > 1e-4 {
			t.Errorf("%s of token %d: %g, want %g", name, token, got[name], want)
		}
	}
	if r := probe.Rules(l); !(l.Stationary[r[0]] > 2*l.Stationary[r[1]]) {
		t.Errorf("tokens %v of frequencies %g and %g", r, l.Stationary[r[0]], l.Stationary[r[1]])
	}
}

// What is recalled is the loss that the evaluation has of the same instances.
func TestRecall(t *testing.T) {
	stack := language(t, nil, 8)
	columns, weights := trained(t, stack)
	got := measured(t, stack[0], weights[0], "recall", 60)
	for name, want := range map[string]string{probe.RecalledTrain: probe.TrainLoss, probe.RecalledTest: probe.TestLoss} {
		if math.Abs(got[name]-columns[0][want]) > 1e-4 {
			t.Errorf("%s: %g, want %g", name, got[name], columns[0][want])
		}
	}
}

// Windows on the host are those of the language: tokens follow each other as the table says.
func TestWindows(t *testing.T) {
	family, err := language(t, nil, 8)[0].Mixture.Settings.Family(2)
	if err != nil {
		t.Fatal(err)
	}
	l := family.(*corpus.Language)
	const n = 20_000
	counts := map[[2]int32]float64{}
	for _, w := range l.Windows(rand.New(rand.NewPCG(2, 2)), n) {
		counts[[2]int32{w[0], w[1]}]++
	}
	for a := range l.Vocabulary {
		for b := range l.Vocabulary {
			p := l.Stationary[a] * l.Next[a][b]
			if got := counts[[2]int32{int32(a), int32(b)}]; math.Abs(got-n*p) > 5*math.Sqrt(n*p)+1 {
				t.Errorf("%d after %d: %g of %d, want %g", b, a, got, n, n*p)
			}
		}
	}
}

// Losses by domain are of what is held out of each file: of one whose tokens never change and one whose are random, equal logits have the
// same, and a decoder that was trained on both tells them apart.
func TestDomains(t *testing.T) {
	dir, random := t.TempDir(), rand.New(rand.NewPCG(3, 3))
	for _, name := range []string{"plain.txt", "random.txt"} {
		text := make([]byte, 4000)
		for i := range text {
			text[i] = byte(i % 2)
			if name == "random.txt" {
				text[i] = byte(random.IntN(16))
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stack := language(t, func(r *spec.Run) {
		r.Mixture.Family = "text"
		r.Mixture.Settings = corpus.TextSettings{Source: filepath.Join(dir, "*.txt"), Type: "bytes", Vocabulary: 16, Window: 8,
			Order: corpus.Shuffled, Held: .2, Task: corpus.Comparison, Symbols: 4}
		r.Train.Steps, r.Train.Rate = 300, 1e-2
	}, 8)
	columns, _ := trained(t, stack)
	plain, noise := columns[0][probe.DomainOf("plain.txt")], columns[0][probe.DomainOf("random.txt")]
	if plain > .5 || noise < 2.5 || noise > 3.2 {
		t.Errorf("%g nats of what repeats, %g of what is random: want about 0 and ln 16", plain, noise)
	}
	weights := net.Initial(stack[0].New(), 8, 1)
	clear(weights[len(weights)-1])
	for name, v := range measured(t, stack[0], weights, "domains", 0) {
		if math.Abs(v-math.Log(16)) > 1e-4 {
			t.Errorf("equal logits: %s %g", name, v)
		}
	}
}
