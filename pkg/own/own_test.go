// Package own_test is a family of tasks, a net, a metric and a figure of one's own, in the four files beside this one and nowhere else:
// what README shows, tried here.
package own_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/sweep"
	"raretask/pkg/train"
)

const mine = `
mixture: {family: products, tasks: 3, dim: 8, frequency: {law: power, exponent: 1}}
net: {kind: gated}
train: {batch: 64, steps: 400, rate: 1e-2, warmup: 20, evaluations: 8}
metrics: [loss_sampled, weight_norm]
grid: {net.width: [2, 8], train.seed: [0, 1]}
`

// The four of them work together: two sizes are swept, the metric is read back, a figure is drawn, and an activation is patched.
func TestOwn(t *testing.T) {
	parse := func(text string) (*spec.Sweep, error) { return spec.Parse("mine.yaml", []byte(text), "quick") }
	s, err := parse(mine)
	if err != nil {
		t.Fatal(err)
	}
	b := backendtest.Go(t)
	store := &results.Store{Dir: t.TempDir()}
	runs, err := sweep.Run(t.Context(), s, b, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := runs.Need(results.Design{Vary: []string{"net.width"}, Columns: []string{"loss_sampled", "weight_norm"}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		if got := r.Final("weight_norm", 0); !(got > 0) {
			t.Errorf("width %d: norm %g", r.Net.Width, got)
		}
		// A neuron holds a product: eight have room for all three, two for the frequent ones.
		if loss := r.Final("loss_sampled", 3); r.Net.Width == 8 && loss > .1 || r.Net.Width == 2 && loss < .5 {
			t.Errorf("width %d, seed %d: loss of the rarest task %g", r.Net.Width, r.Train.Seed, loss)
		}
	}
	for spec, want := range map[string]string{
		strings.Replace(mine, "kind: gated", "kind: gated, parameterization: mup, base: 2", 1):            "net.parameterization",
		strings.Replace(mine, "evaluations: 8", "evaluations: 8, intervention: {kind: mask, task: 3}", 1): "net.Receptive",
	} {
		if _, err := parse(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want one of %s, which this net can't do", err, want)
		}
	}
	chart, err := Norms(runs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chart.VegaLite(); err != nil {
		t.Error(err)
	}
	if table, err := chart.CSV(); err != nil || bytes.Count(table, []byte("\n")) != 1+4*len(runs[0].Steps) {
		t.Errorf("table %s: %v", table, err)
	}
	patched(t, b, store, s)
}

// patched evaluates kept weights with the gate shut: nothing is predicted, and a product's variance, 1, is lost.
func patched(t *testing.T, b *backend.Backend, store *results.Store, s *spec.Sweep) {
	t.Helper()
	plan, err := sweep.NewPlan(s, store, &b.Identity)
	if err != nil {
		t.Fatal(err)
	}
	stack := plan.Stacks[0]
	kept, err := store.Weights(plan.Done[0], 400)
	if err != nil {
		t.Fatal(err)
	}
	program, err := train.New(b, stack, train.Options{Metrics: []string{}, Tap: &train.Tap{Key: "gate", Inputs: []any{float32(1)},
		Build: func(name string, activation *Node, inputs []*Node) *Node {
			if name != "gate" {
				return activation
			}
			return Mul(activation, inputs[0])
		}}})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Finalize()
	runs := plan.Results()
	if err := runs.Need(results.Design{Columns: []string{"loss_sampled"}, Final: true, Vary: []string{"net.width"}}); err != nil {
		t.Fatal(err)
	}
	for open, want := range map[float32]float64{1: runs[1].Final("loss_sampled", 1), 0: 1} {
		states, err := program.Evaluate(stack, 400, kept.Runs, open)
		if err != nil {
			t.Fatal(err)
		}
		if got := states[1].Sampled[0]; open == 0 && math.Abs(got-want) > .5 || open == 1 && got != want {
			t.Errorf("gate times %g: loss of task 1 is %g; want %g", open, got, want)
		}
	}
}

// What README shows is what is tried here, to the letter, and short.
func TestReadmeShowsThese(t *testing.T) {
	root, err := backend.Root()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"task", "net", "metric", "figure"} {
		code, err := os.ReadFile(name + "_test.go")
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(code), "\n)\n\n") // after the imports
		if n := strings.Count(body, "\n"); n >= 40 {
			t.Errorf("%s: %d lines: want under 40", name, n)
		}
		if !bytes.Contains(readme, []byte("```go\n"+body+"```")) {
			t.Errorf("README does not show %s_test.go as it is", name)
		}
	}
}
