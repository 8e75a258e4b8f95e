package spec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"raretask/tasks"
)

// full returns a valid run of each family, and of another intervention, in which no setting is zero that may be anything else.
func full(t *testing.T) map[string]Run {
	t.Helper()
	regression := Default()
	regression.Mixture.Settings = tasks.RegressionSettings{Dim: 200, Block: 7, Alpha: [2]float64{2, 1}}
	data := uint32(9)
	regression.Train.Seed, regression.Train.Data, regression.Train.Schedule, regression.Train.Floor = 3, &data, "cosine", .1
	regression.Train.Injection = Injection{Task: 4, Gap: 10, Length: 2, Samples: 5, From: 7, Until: 1000}
	regression.Train.Intervention = Intervention{Kind: "weight", Task: 3, Factor: 2}
	parity := regression
	parity.Mixture = Mixture{Family: "parity", Tasks: 12, Settings: tasks.ParitySettings{Bits: 20, Size: 4, Seed: 5},
		Frequency: Frequency{"power", 1.4, ""}}
	parity.Net = NewNet("mlp", 24)
	parity.Net.Parameterization, parity.Net.Base = "mup", 8
	surgery := regression
	surgery.Train.Intervention = Intervention{Kind: "surgery", Task: 3, Memory: .5}
	runs := map[string]Run{"regression": regression, "parity": parity, "surgery": surgery}
	for name, run := range runs {
		if err := run.Validate(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return runs
}

// set returns the run with another value at key.
func set(t *testing.T, run Run, key string, value any) Run {
	t.Helper()
	node := new(yaml.Node)
	if err := node.Encode(value); err != nil {
		t.Fatal(err)
	}
	d := &decoder{file: "x", lines: map[string]int{}}
	if err := d.set(&run, key, node); err != nil {
		t.Fatal(err)
	}
	return run
}

// other returns a value that a setting hasn't.
func other(s Setting) any {
	switch s.Key {
	case "mixture.family":
		return map[any]string{"regression": "parity", "parity": "regression"}[s.Value]
	case "net.kind":
		return map[any]string{"bottleneck": "mlp", "mlp": "bottleneck"}[s.Value]
	}
	switch v := s.Value.(type) {
	case int:
		return v + 1
	case uint32:
		return v + 1
	case float64:
		return v + .25
	case string:
		return v + "-not"
	case [2]float64:
		return [2]float64{v[0], v[1] / 2}
	}
	panic(fmt.Sprintf("%s: %T", s.Key, s.Value))
}

func TestJSON(t *testing.T) {
	runs := full(t)
	runs["default"] = Default()
	for name, run := range runs {
		text, err := json.Marshal(run)
		if err != nil {
			t.Fatal(err)
		}
		var back Run
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(run, back) || run.Hash() != back.Hash() {
			t.Errorf("%s: %s reads as %+v, was %+v", name, text, back, run)
		}
	}
	for _, text := range []string{`{"mixture": {"family": "images"}}`, `{"mixture": {"family": "parity"}, "net": {"kind": "rnn"}}`} {
		if err := json.Unmarshal([]byte(text), new(Run)); err == nil || !strings.Contains(err.Error(), ": want ") {
			t.Errorf("%s: error %v", text, err)
		}
	}
}

// Settings are every number and word of a run's JSON, once, whose keys are those of its YAML.
func TestSettingsAreAll(t *testing.T) {
	for name, run := range full(t) {
		text, err := json.Marshal(run)
		if err != nil {
			t.Fatal(err)
		}
		var tree map[string]any
		if err := json.Unmarshal(text, &tree); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{}
		var walk func(prefix string, v any)
		walk = func(prefix string, v any) {
			branch, ok := v.(map[string]any)
			if !ok {
				want[prefix] = v
			}
			for key, below := range branch {
				walk(join(prefix, key), below)
			}
		}
		walk("", tree)
		seen := map[string]bool{}
		for _, s := range run.Settings() {
			if _, there := want[s.Key]; !there && reflect.ValueOf(s.Value).IsZero() {
				want[s.Key] = s.Value // zeros may be left out
			}
			value, _ := json.Marshal(s.Value)
			expected, _ := json.Marshal(want[s.Key])
			if seen[s.Key] || string(value) != string(expected) || s.About == "" {
				t.Errorf("%s: %s is %s (%q), want %s, explained, once", name, s.Key, value, s.About, expected)
			}
			seen[s.Key] = true
			if s.Seed != slices.Contains([]string{"train.seed", "train.data", "mixture.seed"}, s.Key) {
				t.Errorf("%s: %s: a seed: %t", name, s.Key, s.Seed)
			}
			set(t, run, s.Key, other(s)) // it is a key of YAML
		}
		if len(seen) != len(want) {
			t.Errorf("%s: %d settings of %d: %v, want %v", name, len(seen), len(want), seen, want)
		}
	}
}

// Every setting is part of a run's identity but how often it is looked at, and a data seed that says what goes without saying.
func TestHashOfEverySetting(t *testing.T) {
	for name, run := range full(t) {
		hashes := map[string]string{run.Hash(): "nothing"}
		for _, s := range run.Settings() {
			hash := set(t, run, s.Key, other(s)).Hash()
			before, same := hashes[hash]
			if same != (s.Key == "train.evaluations") {
				t.Errorf("%s: a change of %s gives the hash that a change of %q does", name, s.Key, before)
			}
			hashes[hash] = s.Key
		}
		run.Train.Data = nil
		if run.Hash() != set(t, run, "train.data", run.Train.Seed).Hash() {
			t.Errorf("%s: data as seed is another run than no data", name)
		}
	}
}

// Programs take as inputs what stacks may differ in.
func TestPrograms(t *testing.T) {
	shared := []string{"mixture.frequency.law", "mixture.frequency.exponent", "mixture.frequency.shares", "mixture.seed", "train.rate",
		"train.seed", "train.data",
		"train.evaluations", "train.injection.task", "train.injection.gap", "train.injection.length", "train.injection.samples",
		"train.injection.from", "train.injection.until"}
	for name, run := range full(t) {
		for _, s := range run.Settings() {
			same := Stack{run}.Program() == Stack{set(t, run, s.Key, other(s))}.Program()
			if want := slices.Contains(shared, s.Key); same != want {
				t.Errorf("%s: runs that differ in %s share a program: %t, want %t", name, s.Key, same, want)
			}
		}
		constant := set(t, set(t, run, "train.schedule", "constant"), "train.floor", 0)
		if (Stack{constant}).Program() != (Stack{set(t, constant, "train.steps", 77)}).Program() {
			t.Errorf("%s: a constant rate needs a program for each number of steps", name)
		}
		none := run
		none.Train.Injection = Injection{}
		if (Stack{run}).Program() == (Stack{none}).Program() {
			t.Errorf("%s: with and without a schedule of injections are one program", name)
		}
		wider := set(t, run, "net.width", 25)
		if (Stack{run}).Program() == (Stack{run, run}).Program() || (Stack{run, wider}).Program() == (Stack{run, run}).Program() {
			t.Errorf("%s: stacks of other shapes share a program", name)
		}
	}
}

// What chooses keys is read before them, wherever it stands, and another choice begins with its own defaults.
func TestChoices(t *testing.T) {
	for name, text := range map[string]string{
		"after its keys": "mixture: {bits: 20, size: 4, tasks: 3, family: parity}\nnet: {depth: 3, kind: mlp}\n",
		"after a grid": "grid: {mixture.bits: [20], net.depth: [3]}\n" +
			"mixture: {family: parity, size: 4, tasks: 3}\nnet: {kind: mlp}\n",
		"on a scale, after its keys": "scales: {smoke: {mixture.bits: 20, mixture.size: 4, mixture.tasks: 3, " +
			"mixture.family: parity, net.depth: 3, net.kind: mlp}}\n",
		"on a scale, after a grid": "net: {kind: mlp, depth: 3}\n" +
			"scales: {smoke: {grid.mixture.bits: [20], mixture: {size: 4, tasks: 3, family: parity}}}\n",
		"on a scale, beside another one": "net: {kind: mlp, depth: 3}\n" +
			"scales: {smoke: {mixture: {bits: 20, size: 4, tasks: 3, family: parity}}, paper: {mixture.block: 2}}\n",
		"on another scale": "mixture: {family: parity, bits: 20, size: 4, tasks: 3}\n" +
			"net: {kind: mlp, depth: 3}\nscales: {paper: {mixture.family: regression, mixture.block: 2}}\n",
	} {
		s, err := Parse("x.yaml", []byte(text), "smoke")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		runs, err := s.Runs()
		if err != nil || len(runs) != 1 {
			t.Fatalf("%s: %d runs, %v", name, len(runs), err)
		}
		want := Default().Mixture
		want.Family, want.Tasks, want.Settings = "parity", 3, tasks.ParitySettings{Bits: 20, Size: 4}
		if runs[0].Mixture != want || fmt.Sprintf("%+v", runs[0].Net.Settings) != "{Depth:3}" {
			t.Errorf("%s: %+v, %+v", name, runs[0].Mixture, runs[0].Net)
		}
	}
	s, err := Parse("x.yaml", []byte("mixture: {family: parity, bits: 20}\nnet: {kind: mlp}\n"+
		"scales: {smoke: {mixture: {family: regression, tasks: 2}}}\n"), "smoke")
	if err != nil {
		t.Fatal(err)
	}
	if kind, _ := tasks.Named("regression"); s.Base.Mixture.Settings != kind.Defaults {
		t.Errorf("another family has the settings %+v", s.Base.Mixture.Settings)
	}
	// The same choice again leaves what was set.
	s, err = Parse("x.yaml", []byte("mixture: {family: regression, block: 3}\nscales: {smoke: {mixture: {family: regression}}}\n"), "smoke")
	if err != nil || s.Base.Mixture.Settings.(tasks.RegressionSettings).Block != 3 {
		t.Errorf("the same family again: %+v, %v", s.Base.Mixture.Settings, err)
	}
	both, err := Of("x", set(t, Default(), "net.kind", "mlp"), Vary("mixture.family", "regression", "parity"), Vary("mixture.tasks", 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	if runs, _ := both.Runs(); len(runs) != 4 || runs[0].Mixture.Family != "regression" || runs[3].Mixture.Family != "parity" {
		t.Errorf("two families on an axis: %+v", runs)
	}
}

// A grid that is too large is refused before it is expanded.
func TestGridsBeyondExpansion(t *testing.T) {
	var values []string
	for i := range 1000 {
		values = append(values, fmt.Sprint(i+1))
	}
	axis := "[" + strings.Join(values, ",") + "]"
	for runs, grid := range map[string]string{
		"1000000 runs":    "grid: {net.width: " + axis + ", train.seed: " + axis + "}\n",
		"1000000000 runs": "grid: {net.width: " + axis + ", train.seed: " + axis + ", train.warmup: " + axis + "}\n",
		"2000000 runs":    "grid: {net.width: " + axis + ", train.seed: " + axis + "}\nzip: {train.warmup: [1, 2]}\n",
	} {
		begin := time.Now()
		_, err := Parse("x.yaml", []byte(grid), "smoke")
		if err == nil || !strings.Contains(err.Error(), runs) || !strings.Contains(err.Error(), "want at most 10000") {
			t.Errorf("%s: error %v", runs, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s: refused in %v", runs, took)
		}
	}
}
