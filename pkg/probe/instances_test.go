package probe_test

import (
	"math"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/corpus"
	"raretask/pkg/net"
	"raretask/pkg/probe"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// language returns a stack of small decoders on a small language, with an instance of the novel task in every batch.
func language(t *testing.T, change func(*spec.Run), widths ...int) spec.Stack {
	t.Helper()
	base := spec.Default()
	base.Mixture = spec.Mixture{Family: "language", Tasks: 2, Settings: corpus.LanguageSettings{Vocabulary: 20, Window: 6, Rank: 3,
		Sharpness: 2, Task: corpus.Comparison, Symbols: 5}, Frequency: base.Mixture.Frequency}
	base.Net = spec.NewNet("transformer", 8)
	base.Train.Batch, base.Train.Steps, base.Train.Warmup = 8, 60, 5
	base.Train.Injection = spec.Injection{Task: 2, Gap: 1, Samples: 2}
	if change != nil {
		change(&base)
	}
	var stack spec.Stack
	for _, w := range widths {
		run := base
		run.Net.Width = w
		if err := run.Validate(); err != nil {
			t.Fatal(err)
		}
		stack = append(stack, run)
	}
	return stack
}

// trained returns what the metric says of the runs of a stack at the end, and their weights.
func trained(t *testing.T, stack spec.Stack) (columns []map[string]float64, weights [][][]float32) {
	t.Helper()
	b := backendtest.XLA(t)
	p, err := train.New(b, stack, train.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Finalize()
	err = p.Run(t.Context(), stack, train.Training{Steps: []int{stack[0].Train.Steps}, Observe: func(s train.Snapshot) error {
		for i, run := range stack {
			m, err := train.NewMeasurer(b, run, nil)
			if err != nil {
				return err
			}
			defer m.Close()
			values, err := m.Measure(s.Runs[i])
			if err != nil {
				return err
			}
			own := map[string]float64{}
			for j, c := range m.Columns {
				if !c.PerTask {
					own[c.Name] = values[j][0]
				}
			}
			columns, weights = append(columns, own), append(weights, s.Runs[i].Weights)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return columns, weights
}

// The columns are what a forward pass of the weights says, instance by instance.
func TestInstances(t *testing.T) {
	stack := language(t, nil, 8, 16)
	columns, weights := trained(t, stack)
	family, err := stack[0].Mixture.Settings.Family(2)
	if err != nil {
		t.Fatal(err)
	}
	task := family.(*corpus.Language).Injected
	for i, run := range stack {
		n := run.New().(net.Decoder)
		for half, rows := range map[string][][]int32{"train": task.Train, "test": task.Test} {
			var loss, right float64
			var args []any
			tokens := make([][]int32, len(rows))
			for j, row := range rows {
				tokens[j] = row[:2]
			}
			args = append(args, tokens)
			for j, w := range n.Weights() {
				args = append(args, tensors.FromFlatDataAndDimensions(weights[i][j], w.Stacked(1)...))
			}
			logits := backendtest.Run(t, backendtest.Go(t), args, func(in []*Node) []*Node { return []*Node{n.Logits(in[1:], in[0], nil)} })[0]
			for j, row := range rows {
				own := logits[(2*j+1)*20:][:20] // after the second symbol
				sum := 0.
				for _, v := range own {
					sum += math.Exp(float64(v))
				}
				loss += (math.Log(sum) - float64(own[row[2]])) / float64(len(rows))
				if own[row[2]] == slices.Max(own) {
					right += 1 / float64(len(rows))
				}
			}
			want := map[string]float64{"novel_" + half + "_loss": loss, "novel_" + half + "_accuracy": right}
			for name, v := range want {
				if got, there := columns[i][name]; !there || math.Abs(got-v) > 1e-4 {
					t.Errorf("width %d: %s is %g (%t), want %g", run.Net.Width, name, got, there, v)
				}
			}
		}
	}
	if _, there := columns[0][probe.TestAccuracy]; !there {
		t.Error("no test accuracy")
	}
}

// A decoder that is shown the task alone learns its training instances, save those of one symbol twice: what it reads of two equal tokens
// at the beginning of a window is what it reads of one, since rotary embeddings tell distances, and so it can't say the label after the
// second and the second symbol after the first. One that is shown the language alone learns that, down to near its entropy rate.
func TestDecodersLearn(t *testing.T) {
	longer := func(samples int) func(*spec.Run) {
		return func(r *spec.Run) {
			r.Train.Steps, r.Train.Warmup, r.Train.Rate, r.Train.Schedule, r.Train.Batch = 1500, 20, 1e-2, "cosine", 32
			r.Train.Injection.Samples = samples
			if samples == 0 {
				r.Train.Injection = spec.Injection{Task: 2, Gap: 1_000_000, Samples: 1}
			}
		}
	}
	alone, _ := trained(t, language(t, longer(32), 16))
	t.Log(alone[0])
	family, err := language(t, nil, 16)[0].Mixture.Settings.Family(2)
	if err != nil {
		t.Fatal(err)
	}
	twice := 0.
	for _, row := range family.(*corpus.Language).Injected.Train {
		if row[0] == row[1] {
			twice += 1. / 12
		}
	}
	if got := alone[0][probe.TrainAccuracy]; twice == 0 || math.Abs(got-(1-twice)) > 1e-6 {
		t.Errorf("the task alone is learned for %g of its training instances, of which %g are of one symbol", got, twice)
	}
	without, _ := trained(t, language(t, longer(0), 16))
	_, rate := family.(*corpus.Language).Entropies()
	if got := without[0]["train_loss"]; got < rate-.05 || got > rate+.25 {
		t.Errorf("loss of the language %g, whose entropy rate is %g", got, rate)
	}
	if got := without[0][probe.TestAccuracy]; got > .5 {
		t.Errorf("a net that never saw the task has %g of its labels", got)
	}
}
