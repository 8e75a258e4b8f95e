package spec_test

import (
	"strings"
	"testing"

	_ "raretask/pkg/exact"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/sweep"
)

// presets are the numbers of runs and of stacks at every scale: results that were trained are found by them.
var presets = map[string][3][2]int{
	"allocation": {{2, 1}, {2, 1}, {2, 1}}, "allocation-parity": {{2, 1}, {2, 1}, {2, 1}},
	"controls": {{4, 2}, {25, 5}, {20, 5}}, "controls-mlp": {{2, 2}, {15, 5}, {20, 5}}, "controls-parity": {{2, 2}, {20, 5}, {20, 5}},
	"fig2": {{24, 8}, {160, 20}, {40, 4}}, "fig3": {{6, 2}, {40, 5}, {10, 1}}, "fig4": {{12, 4}, {80, 20}, {30, 6}},
	"fig12": {{18, 6}, {90, 15}, {30, 3}}, "fig13": {{18, 6}, {90, 15}, {30, 3}}, "fig14": {{72, 24}, {360, 60}, {120, 12}},
	"fig15": {{72, 24}, {360, 60}, {120, 12}}, "fig16": {{12, 4}, {60, 15}, {24, 6}}, "fig17": {{24, 8}, {160, 20}, {40, 4}},
	"fig18": {{8, 2}, {85, 5}, {17, 1}}, "fig19": {{24, 8}, {160, 20}, {40, 4}}, "fig20": {{12, 4}, {80, 20}, {30, 6}},
	"fig21": {{6, 2}, {30, 5}, {6, 1}}, "parity": {{6, 2}, {30, 5}, {30, 5}}, "parity-rates": {{16, 4}, {200, 10}, {240, 10}},
	"fig5": {{2, 1}, {24, 6}, {2, 1}}, "fig8": {{2, 1}, {16, 4}, {2, 1}}, "text": {{4, 2}, {40, 10}, {6, 6}},
	"language": {{4, 2}, {40, 10}, {4, 2}}, "addition": {{2, 2}, {30, 10}, {2, 2}}, "language-gaps": {{2, 1}, {20, 5}, {2, 1}},
	"language-controls": {{5, 5}, {80, 30}, {5, 4}}, "language-depth": {{4, 2}, {40, 10}, {4, 2}},
	"language-depth-controls": {{3, 3}, {40, 15}, {4, 3}}, "language-width": {{1, 1}, {5, 5}, {1, 1}},
	"language-backgrounds": {{8, 4}, {30, 10}, {4, 2}},
	"text-controls":        {{4, 4}, {70, 25}, {3, 2}},
	"forgetting":           {{8, 4}, {80, 20}, {4, 2}}, "restoring": {{12, 4}, {96, 24}, {56, 8}}, "growth": {{8, 6}, {20, 15}, {4, 3}},
	"start": {{8, 4}, {150, 25}, {25, 5}}, "start-parity": {{4, 4}, {100, 25}, {45, 15}}, "threshold": {{6, 2}, {40, 5}, {8, 1}},
	"retention-laws": {{16, 8}, {120, 30}, {120, 30}}, "retention-parity": {{8, 4}, {60, 15}, {45, 15}},
}

func TestPresetsPlan(t *testing.T) {
	store := &results.Store{Dir: t.TempDir()}
	for _, name := range spec.Presets() {
		for i, scale := range spec.Scales {
			s, err := spec.Load(name, scale)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := sweep.NewPlan(s, store, nil)
			if err != nil {
				t.Errorf("%s at %s: %v", name, scale, err)
				continue
			}
			runs, done := plan.Runs()
			if want := presets[name][i]; runs != want[0] || len(plan.Stacks) != want[1] || done != 0 {
				t.Errorf("%s at %s: %d runs in %d stacks, %d done: want %v", name, scale, runs, len(plan.Stacks), done, want)
			}
		}
	}
	if len(presets) != len(spec.Presets()) {
		t.Errorf("%d presets, want %d", len(spec.Presets()), len(presets))
	}
}

// Names of metrics are known where measuring is, which answers with the spec's line.
func TestMetrics(t *testing.T) {
	for text, want := range map[string]string{
		"train: {steps: 5}\nmetrics: [exact]\n": "",
		"train: {steps: 5}\nmetrics: []\n":      "",
		"train: {steps: 5}\nmetrics: [exact, norm_of_weights]\n": "" +
			"x.yaml:2: metrics: norm_of_weights: want allocation, collisions, domains, exact, features, injection, instances, loss_sampled, " +
			"recall, rules, train_loss",
		"metrics: [exact, exact]\n":              "x.yaml:1: metrics: exact: want each name once",
		"scales: {smoke: {metrics: [\nnone]}}\n": "x.yaml:1: metrics: none: want allocation, collisions, domains, exact",
	} {
		s, err := spec.Parse("x.yaml", []byte(text), "smoke")
		if err != nil {
			t.Fatal(err)
		}
		_, err = sweep.Stacks(s)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}
