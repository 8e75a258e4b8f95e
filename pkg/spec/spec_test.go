package spec

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"raretask/pkg/mixture"
	"raretask/tasks"
)

func TestFrequencies(t *testing.T) {
	m := Default().Mixture
	m.Tasks, m.Frequency.Exponent = 3, 1
	got := m.Frequencies()
	for k, want := range []float64{6. / 11, 3. / 11, 2. / 11} {
		if math.Abs(got[k]-want) > 1e-15 {
			t.Errorf("pi_%d = %g, want %g", k+1, got[k], want)
		}
	}
}

// Given frequencies are what stands there, to any scale; runs of a power law keep their identity.
func TestGivenFrequencies(t *testing.T) {
	s, err := Parse("x.yaml", []byte("net: {width: 8}\nmixture: {tasks: 3, dim: 24, frequency: {law: given, shares: 1 6 3}}\n"), "quick")
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range []float64{.1, .6, .3} {
		if got := s.Base.Mixture.Frequencies()[k]; math.Abs(got-want) > 1e-15 {
			t.Errorf("pi_%d = %g, want %g", k+1, got, want)
		}
	}
	again := s.Base
	again.Mixture.Frequency.Shares = Shares(s.Base.Mixture.Frequencies())
	if err := again.Validate(); err != nil || again.Mixture.Frequency.Shares == "" {
		t.Error(again.Mixture.Frequency, err)
	}
	other := s.Base
	other.Mixture.Frequency.Shares = "1 5 3"
	if other.Hash() == s.Base.Hash() || len(Stacks([]Run{other, s.Base})) != 2 {
		t.Error("other shares are no other run")
	}
}

// Every mistake must be answered with the file, the line, the key and what is allowed.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"unknown key", "mixture:\n  frquency: {exponent: 1}\n", []string{"x.yaml:2", "mixture.frquency", "unknown key", "frequency"}},
		{"unknown part", "train: {}\nmodel: {}\n", []string{"x.yaml:2", "model", "unknown key", "mixture"}},
		{"negative frequency exponent", "mixture:\n  frequency: {law: power, exponent: -1}\n",
			[]string{"x.yaml:2", "mixture.frequency.exponent", "-1", "0 … 100"}},
		{"shares of a power law", "mixture:\n  frequency: {shares: 1 2}\n", []string{"x.yaml:2", "mixture.frequency.shares", "1 2",
			"law: given"}},
		{"too few shares", "mixture: {tasks: 3, dim: 24,\n  frequency: {law: given, shares: 1 2}}\n",
			[]string{"x.yaml:2", "mixture.frequency.shares", "3 numbers > 0"}},
		{"a share of nothing", "mixture: {tasks: 2, dim: 16,\n  frequency: {law: given, shares: 1 0}}\n",
			[]string{"x.yaml:2", "mixture.frequency.shares", "2 numbers > 0"}},
		{"a share in words", "mixture: {tasks: 2, dim: 16,\n  frequency: {law: given, shares: 1 half}}\n",
			[]string{"x.yaml:2", "mixture.frequency.shares", "2 numbers > 0"}},
		{"a share too small to draw", "mixture: {tasks: 2, dim: 16,\n  frequency: {law: given, shares: 1 1e-30}}\n",
			[]string{"x.yaml:2", "mixture.frequency.shares", "less unlike"}},
		{"heads of nothing", "base: fig5\nnet: {head: 0}\n", []string{"x.yaml:2", "net.head", "0", "an even number"}},
		{"blocks that don't fit", "mixture: {tasks: 8, block: 4,\n  dim: 16}\n", []string{"x.yaml:2", "mixture.dim", "16", "32"}},
		{"width 0", "net:\n  width: 0\n", []string{"x.yaml:2", "net.width", "0", "1 …"}},
		{"width 0 in a grid", "grid:\n  net.width: [4,\n    0]\n", []string{"x.yaml:3", "net.width", "0"}},
		{"rate NaN", "train: {rate: .nan}\n", []string{"x.yaml:1", "train.rate", "NaN", "want a number > 0"}},
		{"a rate of 0 in float32", "train: {rate: 1e-60}\n", []string{"x.yaml:1", "train.rate", "1e-60", "of float32"}},
		{"a beta of 1 in float32", "train: {betas: [.9, 0.999999999999]}\n", []string{"x.yaml:1", "train.betas", "of float32"}},
		{"a decay beyond float32", "train: {decay: 1e60}\n", []string{"x.yaml:1", "train.decay", "1e+60", "of float32"}},
		{"a limit of 0 in float32", "train: {clip: 1e-50}\n", []string{"x.yaml:1", "train.clip", "of float32"}},
		{"an epsilon of 0 in float32", "train: {epsilon: 1e-60}\n", []string{"x.yaml:1", "train.epsilon", "of float32"}},
		{"a width that changes for a task", "train: {intervention: {kind: grow, task: 2, neurons: 4, step: 9}}\n",
			[]string{"x.yaml:1", "train.intervention.task", "grow is of the whole net"}},
		{"a width that never changes", "train: {intervention: {kind: shrink, neurons: 4}}\n",
			[]string{"x.yaml:1", "train.intervention.step", "1 … 2147483647 steps"}},
		{"neurons of a weight", "train: {intervention: {kind: weight, task: 1, factor: 2, neurons: 4}}\n",
			[]string{"x.yaml:1", "train.intervention.neurons", "only grow and shrink"}},
		{"a factor beyond float32", "train: {intervention: {kind: weight, task: 1, factor: 1e39}}\n",
			[]string{"x.yaml:1", "train.intervention.factor", "of float32"}},
		{"a number in base 8", "net: {width: 010}\n", []string{"x.yaml:1", "net.width", `"010"`, "without zeros before it"}},
		{"a list for words", "about: [a, b]\n", []string{"x.yaml:1", "about", "a list of 2", "a word"}},
		{"an axis in grid and zip", "zip: {net.width: [2, 3], train.seed: [0, 1]}\ngrid:\n  net.width: [4]\n",
			[]string{"x.yaml:3", "net.width", "grid and in zip"}},
		{"a depth on an axis before a kind without", "net: {kind: mlp}\ngrid: {net.depth: [2], net.kind: [bottleneck]}\n",
			[]string{"x.yaml:2", "net.depth", "unknown key"}},
		{"rate is a word", "train: {rate: fast}\n", []string{"x.yaml:1", "train.rate", `"fast"`, "a number"}},
		{"steps with a fraction", "train: {steps: 1.5}\n", []string{"train.steps", `"1.5"`, "a whole number"}},
		{"a seed with a fraction", "train: {seed: 1.5}\n", []string{"train.seed", `"1.5"`, "a whole number"}},
		{"null", "train: {steps: }\n", []string{"train.steps", "a whole number"}},
		{"negative seed", "train: {seed: -1}\n", []string{"train.seed", "-1", "0 …"}},
		{"a number for a word", "net: {kind: 3}\n", []string{"net.kind", `"3"`, "a word"}},
		{"an unknown kind", "net: {kind: rnn}\n", []string{"net.kind", "rnn", "bottleneck"}},
		{"a scalar for a part", "net: 3\n", []string{"net", "keys and values"}},
		{"given twice", "train: {steps: 1, steps: 2}\n", []string{"train.steps", "twice"}},
		{"alpha of three", "mixture: {alpha: [1, 2, 3]}\n", []string{"mixture.alpha", "2 numbers"}},
		{"an empty axis", "grid: {net.width: []}\n", []string{"grid.net.width", "at least one"}},
		{"an axis of nothing", "grid: {net.hight: [1]}\n", []string{"net.hight", "unknown key", "width"}},
		{"zip of unequal lengths", "zip: {net.width: [1, 2], train.rate: [1e-3]}\n", []string{"zip.", "want equally many"}},
		{"the same run twice", "grid: {net.width: [4, 4]}\n", []string{"width 4", "twice"}},
		{"an unknown scale", "scales: {large: {}}\n", []string{"scales.large", "smoke, quick, paper"}},
		{"a mistake in another scale", "scales: {paper: {train.stps: 3}}\n", []string{"train.stps", "unknown key"}},
		{"a bottleneck for parity", "mixture: {family: parity, bits: 32, size: 3}\n",
			[]string{"x.yaml", "net.kind", "bottleneck", "want another kind"}},
		{"a subset larger than its set", "mixture: {family: parity, bits: 8, size: 9}\nnet: {kind: mlp}\n",
			[]string{"x.yaml:1", "mixture.size", "9", "1 … mixture.bits (8)"}},
		{"more tasks than subsets", "mixture: {family: parity, tasks: 11, bits: 5, size: 3}\nnet: {kind: mlp}\n",
			[]string{"x.yaml:1", "mixture.tasks", "11", "at most 10"}},
		{"a spectrum for parity", "mixture: {family: parity, bits: 32, size: 3, alpha: [1, 1]}\nnet: {kind: mlp}\n",
			[]string{"x.yaml:1", "mixture.alpha", "unknown key; allowed here: bits, family, frequency, seed, size, tasks"}},
		{"subsets for regression", "mixture: {seed: 1}\n",
			[]string{"x.yaml:1", "mixture.seed", "unknown key; allowed here: alpha, block, dim, family, frequency, tasks"}},
		{"a deep bottleneck", "net: {depth: 2}\n",
			[]string{"x.yaml:1", "net.depth", "unknown key; allowed here: base, kind, parameterization, width"}},
		{"a negative depth", "net: {kind: mlp, depth: -1}\n", []string{"net.depth", "-1", "1 … 100 hidden"}},
		{"an unknown parameterization", "net: {parameterization: ntk}\n", []string{"net.parameterization", "ntk", "standard or mup"}},
		{"mup without its base", "net: {parameterization: mup}\n", []string{"net.base", "0", "at least 1", "width"}},
		{"a base without mup", "net: {base: 8}\n", []string{"x.yaml:1", "net.base", "8", "mup"}},
		{"adam with decay", "train: {optimizer: adam}\n", []string{"x.yaml", "train.decay", "0.01", "0 for adam"}},
		{"an unknown optimizer", "train: {optimizer: lion}\n", []string{"train.optimizer", "lion", "adamw, adam or sgd"}},
		{"masked inputs that tasks share", "mixture: {family: parity, tasks: 4, bits: 8, size: 3}\nnet: {kind: mlp}\n" +
			"train: {intervention: {kind: mask, task: 4}}\n",
			[]string{"train.intervention.kind", "mask", "weight or surgery", "parity share their inputs"}},
		{"a net's key in a mixture", "mixture: {family: parity, bits: 8, depth: 2}\n",
			[]string{"x.yaml:1", "mixture.depth", "allowed here: bits,"}},
		{"another family's key", "mixture:\n  block: 3\n  family: parity\n",
			[]string{"x.yaml:2", "mixture.block", "unknown key; allowed here: bits,"}},
		{"another family's key on an axis", "mixture: {family: parity}\ngrid:\n  mixture.block: [3]\n",
			[]string{"x.yaml:3", "mixture.block", "allowed here: bits,"}},
		{"an unknown family", "mixture:\n  tasks: 3\n  family: images\n",
			[]string{"x.yaml:3", "mixture.family", "images", "want language or parity or regression"}},
		{"an unknown family on an axis", "grid: {mixture.family: [regression,\n  images]}\n",
			[]string{"x.yaml:2", "mixture.family", "images", "parity or regression"}},
		{"an unknown kind on an axis", "grid: {net.kind: [rnn]}\n", []string{"x.yaml:1", "net.kind", "rnn", "bottleneck or mlp"}},
		{"a second document", "train: {steps: 9}\n---\ntrain: {steps: 8}\n", []string{"x.yaml:2", "second document", "want one"}},
		{"a broken second document", "train: {steps: 9}\n---\ntrain: [\n", []string{"x.yaml"}},
		{"nothing in a list", "mixture: {alpha: [null, 2]}\n",
			[]string{"x.yaml:1", "mixture.alpha", `"null"`, "in a list", "a list of 2 numbers"}},
		{"a list in a list", "mixture: {alpha: [[1], 2]}\n", []string{"mixture.alpha", "in a list", "a list of 2 numbers"}},
		{"a word in a list", "mixture: {alpha: [steep, 2]}\n", []string{"mixture.alpha", "a list of 2 numbers"}},
		{"tasks beyond counting", "mixture: {tasks: 9007199254740992, block: 2048}\n",
			[]string{"x.yaml:1", "mixture.tasks", "9007199254740992", "1 … 1048576"}},
		{"more directions than inputs", "mixture: {tasks: 1048576, block: 1048576, dim: 1048576}\n",
			[]string{"x.yaml:1", "mixture.dim", "= 1099511627776"}},
		{"a batch beyond counting", "train: {batch: 9007199254740992}\n", []string{"x.yaml:1", "train.batch", "1 … 16777216"}},
		{"steps beyond an int32", "train: {steps: 2147483648}\n", []string{"x.yaml:1", "train.steps", "1 … 2147483647"}},
		{"a number beyond 2^53", "train: {steps: 9007199254740993e3}\n", []string{"x.yaml:1", "train.steps", "whole number"}},
		{"a gap beyond counting", "train: {injection: {task: 2,\n gap: 9007199254740992}}\n",
			[]string{"x.yaml:2", "train.injection.gap", "1 … 2147483647"}},
		{"a start beyond an int32", "train: {injection: {task: 2, gap: 1,\n from: 4294967296}}\n",
			[]string{"x.yaml:2", "train.injection.from", "4294967296", "0 … 2147483647"}},
		{"a milliard evaluations", "train:\n  evaluations: 1e9\n", []string{"x.yaml:2", "train.evaluations", "1 … 10000"}},
		{"a metric that is no word", "metrics: [loss_sampled, 3]\n", []string{"x.yaml:1", "metrics", "a list of names"}},
		{"metrics that are no list", "about: x\nmetrics: exact\n", []string{"x.yaml:2", "metrics", `"exact"`, "a list of names"}},
		{"a step that is no whole number", "keep: [1.5]\n", []string{"x.yaml:1", "keep", "a list of steps"}},
		{"a step after the last", "train: {steps: 100}\nkeep: [5, 101]\n", []string{"x.yaml:2", "keep", "101", "0 … train.steps (100)"}},
		{"a step before the first", "keep: [-1]\n", []string{"x.yaml:1", "keep", "-1", "0 … train.steps"}},
		{"memory beyond counting", "memory: 1e300\n", []string{"x.yaml:1", "memory", "1e300", "at most 4096"}},
		{"steps beyond keeping", "keep: [" + strings.Repeat("1, ", 1000) + "1]\n", []string{"x.yaml:1", "keep", "1001 steps", "at most 1000"}},
		{"zero and minus zero", "grid: {train.decay: [0, -0.0]}\n", []string{"x.yaml", "twice"}},
		{"zero and minus zero in a list", "grid: {mixture.alpha: [[0, 2], [-0.0, 2]]}\n", []string{"x.yaml", "twice"}},
		{"nothing by another name", "mixture: {frequency: {exponent: &a null}}\ntrain: {decay: *a}\n",
			[]string{"x.yaml:1", "mixture.frequency.exponent", `"null"`}},
		{"no memory", "memory: 0\n", []string{"x.yaml:1", "memory", "GiB > 0"}},
		{"betas of one", "train: {betas: [.9]}\n", []string{"x.yaml:1", "train.betas", "a list of 2 numbers"}},
		{"a beta of one", "train: {betas: [.9, 1]}\n", []string{"x.yaml:1", "train.betas", "below 1"}},
		{"an epsilon of zero", "train: {epsilon: 0}\n", []string{"x.yaml:1", "train.epsilon", "> 0"}},
		{"biases alone", "train: {decays: biases}\n", []string{"x.yaml:1", "train.decays", "all or matrices"}},
		{"products of bytes", "train: {products: int8}\n", []string{"x.yaml:1", "train.products", "float32 or bfloat16"}},
		{"a floor of a constant", "train: {floor: .1}\n", []string{"x.yaml:1", "train.floor", "only cosine"}},
		{"a cosine without a fall", "train: {schedule: cosine, steps: 50, warmup: 50}\n",
			[]string{"x.yaml:1", "train.warmup", "less than train.steps (50)"}},
		{"a rate that decays without adamw", "train: {optimizer: sgd}\n", []string{"x.yaml:1", "train.decay", "0 for sgd"}},
		{"not YAML", "mixture: [\n", []string{"x.yaml"}},
		{"empty", "", []string{"x.yaml", "empty"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("x.yaml", []byte(c.text), "smoke")
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q doesn't say %q", err, part)
				}
			}
		})
	}
}

func TestLoadUnknown(t *testing.T) {
	if _, err := Load("fig99", "quick"); err == nil || !strings.Contains(err.Error(), `named "fig99"; presets: `) ||
		!strings.Contains(err.Error(), "fig2") {
		t.Errorf("Load(fig99) = %v, want an error that lists the presets", err)
	}
	if _, err := Load("fig2", "huge"); err == nil || !strings.Contains(err.Error(), "want smoke, quick, paper") {
		t.Errorf("Load at scale huge = %v, want an error that lists the scales", err)
	}
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte("train: {steps: 1e3}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Load(file, "quick")
	if err != nil || s.Name != "mine" || s.Base.Train.Steps != 1000 {
		t.Errorf("Load(%s) = %+v, %v; want name mine, 1000 steps", file, s, err)
	}
}

func TestPresetsAtEveryScale(t *testing.T) {
	for _, name := range Presets() {
		for _, scale := range Scales {
			s, err := Load(name, scale)
			if err != nil {
				t.Errorf("%s at %s: %v", name, scale, err)
				continue
			}
			if s.About == "" {
				t.Errorf("%s says nothing about itself", name)
			}
		}
	}
}

func TestGridZipAndScales(t *testing.T) {
	s, err := Parse("x.yaml", []byte(`
mixture: {tasks: 2, block: 2, dim: 8}
train: {steps: 10}
grid: {net.width: [1, 2], train.seed: [0, 1, 2]}
zip: {train.rate: [1e-3, 2e-3], train.warmup: [5, 6]}
scales: {paper: {train.steps: 20, grid.net.width: [3]}}
`), "paper")
	if err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs()
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 6 {
		t.Fatalf("%d runs, want 1 width x 3 seeds x 2 of the zip", len(runs))
	}
	for _, r := range runs {
		if r.Train.Steps != 20 || r.Net.Width != 3 || (r.Train.Rate == 1e-3) != (r.Train.Warmup == 5) {
			t.Errorf("run %+v: want 20 steps, width 3, warmup in step with rate", r)
		}
	}
}

// A spec that names a base starts from that preset at its scale, wherever the key stands, and says only what differs.
func TestBase(t *testing.T) {
	text := "grid: {net.width: [8]}\ntrain: {steps: 500}\nbase: fig3\nscales: {smoke: {train.warmup: 7}}\n"
	s, err := Parse("mine.yaml", []byte(text), "smoke")
	if err != nil {
		t.Fatal(err)
	}
	runs, _ := s.Runs()
	if s.Name != "mine" || s.About != "" || s.Scale != "smoke" || len(runs) != 2 {
		t.Errorf("%s, about %q, at %s: %d runs; want one width of two seeds", s.Name, s.About, s.Scale, len(runs))
	}
	for _, r := range runs {
		if r.Mixture.Tasks != 4 || r.Mixture.Frequency.Exponent != 2 || r.Net.Width != 8 || r.Train.Steps != 500 || r.Train.Warmup != 7 {
			t.Errorf("run %+v: want fig3 at smoke with what differs", r)
		}
	}
	for text, want := range map[string]string{
		"net: {width: 3}\nbase: nosuch\n": `x.yaml:2: base: "nosuch": want a preset to start from: addition, `,
		"base: [fig3]\n":                  `x.yaml:1: base: a list of 1: want a preset to start from`,
		"scales: {smoke: {base: fig3}}\n": `x.yaml:1: base: unknown key`,
	} {
		if _, err := Parse("x.yaml", []byte(text), "smoke"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}

func TestWith(t *testing.T) {
	s, err := Load("fig2", "smoke")
	if err != nil {
		t.Fatal(err)
	}
	changed, err := s.With(Vary("net.width", 3), Vary("mixture.frequency.exponent", 2), Vary("train.rate", 1e-3, 2e-3))
	if err != nil {
		t.Fatal(err)
	}
	runs, _ := changed.Runs()
	if len(runs) != 4 { // 2 seeds x 2 rates
		t.Fatalf("%d runs, want 4", len(runs))
	}
	if before, _ := s.Runs(); len(before) != 24 {
		t.Errorf("With changed the sweep it was called on: %d runs", len(before))
	}
	if _, err := s.With(Vary("net.width", "wide")); err == nil || !strings.Contains(err.Error(), "whole number") {
		t.Errorf("a word for a width: %v", err)
	}
	zipped, err := Load("retention-laws", "smoke")
	if err != nil || len(zipped.Zip) == 0 {
		t.Fatalf("%v, zip %v", err, zipped.Zip)
	}
	if _, err := zipped.With(Vary(zipped.Zip[0].Key, 3)); err == nil || !strings.Contains(err.Error(), "spec's zip") {
		t.Errorf("a value for what varies with others: %v", err)
	}
	if _, err := s.With(Vary("net.widht", 3)); err == nil || !strings.Contains(err.Error(), "unknown key") {
		t.Errorf("an unknown key: %v", err)
	}
}

// The split into stacks is a function of the runs alone: widths, rates and initial seeds of one data stream
// share a stack, all else separates.
func TestStacks(t *testing.T) {
	s, err := Of("x", Default(), Vary("train.seed", 0, 1), Vary("net.width", 8, 2), Vary("train.rate", 1e-3, 2e-3))
	if err != nil {
		t.Fatal(err)
	}
	runs, _ := s.Runs()
	stacks := Stacks(runs)
	if len(stacks) != 2 || len(stacks[0]) != 4 {
		t.Fatalf("%d stacks, first of %d runs; want one stack of 4 for each seed", len(stacks), len(stacks[0]))
	}
	if stacks[0][0].Net.Width != 2 || stacks[0][3].Net.Width != 8 {
		t.Errorf("widths of a stack don't ascend: %+v", stacks[0])
	}
	if stacks[0].Program() != stacks[1].Program() {
		t.Error("stacks that differ in their seed alone need two programs")
	}
	if stacks[0].Hash() == stacks[1].Hash() {
		t.Error("stacks of different seeds have one hash")
	}
	shared, _ := s.With(Vary("train.data", 7))
	runs, _ = shared.Runs()
	if n := len(Stacks(runs)); n != 1 {
		t.Errorf("two initial seeds on one data stream make %d stacks, want 1", n)
	}
	steeper, _ := s.With(Vary("mixture.frequency.exponent", .5))
	runs, _ = steeper.Runs()
	if Stacks(runs)[0].Program() != stacks[0].Program() {
		t.Error("another frequency exponent needs another program")
	}
}

// A law whose rarest task can't be drawn at its frequency is refused; any other has a mixture, and batches while a task is withheld.
func TestLawsThatCannotBeDrawn(t *testing.T) {
	for _, c := range []struct {
		tasks    int
		exponent float64
		ok       bool
	}{
		{1, 0, true}, {1, 100, true},
		{2, 53, true}, {2, 53.1, false}, {2, 100, false}, // a rarest task of 1e3/2^63 = 1.08e-16 or more
		{16, 13.2, true}, {16, 13.3, false},
		{1 << 20, 0, true}, {1 << 20, 2.6, true}, {1 << 20, 2.7, false}, {1 << 20, 100, false},
		{10, 15.9, true}, {11, 15.9, false}, // the number of tasks at the edge of an exponent
	} {
		r := Default()
		r.Mixture.Tasks, r.Mixture.Frequency.Exponent = c.tasks, c.exponent
		r.Mixture.Settings = tasks.RegressionSettings{Dim: c.tasks, Block: 1}
		r.Net.Width = 1
		err := r.Validate()
		var bad *KeyError
		if c.ok && err != nil || !c.ok && (!errors.As(err, &bad) || bad.Key != "mixture.frequency.exponent" || bad.Value != c.exponent) {
			t.Errorf("%d tasks, exponent %g: %v, want drawable: %t", c.tasks, c.exponent, err, c.ok)
		}
		m := r.Mixture
		if m.Tasks = min(m.Tasks, 1000); !c.ok || m.Tasks == 1 {
			continue
		}
		mix, err := m.Mixture()
		if err != nil {
			t.Fatalf("%d tasks, exponent %g: %v", m.Tasks, c.exponent, err)
		}
		if _, err := mixture.NewSchedule(Injection{Task: 1, Gap: 1, Samples: 1}, 256, mix.Frequency).Inputs(); err != nil {
			t.Errorf("%d tasks, exponent %g: %v", m.Tasks, c.exponent, err)
		}
	}
}

// Settings that are far too large are refused before anything of their size is allocated.
func TestAbsurdSettingsAllocateNothing(t *testing.T) {
	for name, run := range full(t) {
		for _, s := range run.Settings() {
			if _, whole := s.Value.(int); !whole {
				continue
			}
			for _, v := range []int{math.MinInt64 / 1024, 9e15, 1 << 40} {
				absurd := set(t, run, s.Key, v)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := absurd.Validate()
				runtime.ReadMemStats(&after)
				var bad *KeyError
				if !errors.As(err, &bad) {
					t.Errorf("%s, %s %d: %v, want a *KeyError", name, s.Key, v, err)
				}
				if n := after.TotalAlloc - before.TotalAlloc; n > 1<<16 {
					t.Errorf("%s, %s %d: %d bytes were allocated to refuse it", name, s.Key, v, n)
				}
			}
		}
	}
}

// A hash names results on disk: it may change only together with the engine's number.
func TestHashIsStable(t *testing.T) {
	if got, want := Default().Hash(), "0478774379d9a9a4"; got != want {
		t.Errorf("hash of the default run is %s, was %s: results trained before would be lost", got, want)
	}
}

// A setting that is added leaves the identity of runs that don't set it alone, and is part of that of others.
func TestAddedSettings(t *testing.T) {
	run := Default()
	run.Train.Intervention = Intervention{Kind: "surgery", Task: 2}
	if got, want := run.Hash(), "dbfb6150d238289c"; got != want {
		t.Errorf("hash %s, was %s before there was a memory", got, want)
	}
	remembers := run
	remembers.Train.Intervention.Memory = .9
	if remembers.Hash() == run.Hash() || (Stack{remembers}).Program() == (Stack{run}).Program() {
		t.Error("a memory is no part of the identity")
	}
}

// Equal runs have equal hashes, however they are written, and what they differ in makes other stacks and programs.
func TestNetsOfAStack(t *testing.T) {
	base := Default()
	base.Net = NewNet("mlp", 4)
	s, err := Of("x", base, Vary("net.depth", 1, 2), Vary("net.width", 4, 8))
	if err != nil {
		t.Fatal(err)
	}
	runs, _ := s.Runs()
	explicit, err := s.With(Vary("net.depth", 1, 2), Vary("net.parameterization", "standard"), Vary("train.data", 0))
	if err != nil {
		t.Fatal(err)
	}
	same, _ := explicit.Runs()
	for i := range runs {
		if runs[i].Hash() != same[i].Hash() {
			t.Errorf("run %d: %+v and %+v have different hashes", i, runs[i].Net, same[i].Net)
		}
	}
	if stacks := Stacks(runs); len(stacks) != 2 || stacks[0].Program() == stacks[1].Program() {
		t.Errorf("two depths make %d stacks; want two, of different programs", len(stacks))
	}
	mup, err := s.With(Vary("net.parameterization", "mup"), Vary("net.base", 4))
	if err != nil {
		t.Fatal(err)
	}
	scaled, _ := mup.Runs()
	if scaled[0].Hash() == runs[0].Hash() || Stacks(scaled)[0].Program() == Stacks(runs)[0].Program() {
		t.Error("mup shares a hash or a program with standard")
	}
	if _, err := s.With(Vary("net.depth", 1, 1)); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("depth 1 twice is one run: %v", err)
	}
	if _, err := s.With(Vary("net.depth", 0)); err == nil || !strings.Contains(err.Error(), "1 … 100 hidden") {
		t.Errorf("a net without a hidden layer: %v", err)
	}
	parity := base
	parity.Mixture.Family, parity.Mixture.Settings = "parity", tasks.ParitySettings{Bits: 32, Size: 3}
	two, err := Of("x", parity, Vary("mixture.seed", 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	runs, _ = two.Runs()
	if stacks := Stacks(runs); len(stacks) != 2 || stacks[0].Program() != stacks[1].Program() {
		t.Error("other subsets of the bits are another stack of the same program")
	}
}

func TestWithTheSameKeyTwice(t *testing.T) {
	s, err := Load("fig3", "smoke")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.With(Vary("net.width", 8), Vary("train.steps", 20), Vary("net.width", 16)); err == nil ||
		!strings.Contains(err.Error(), "net.width") || !strings.Contains(err.Error(), "given twice") {
		t.Errorf("%v: want an error that names net.width", err)
	}
}
