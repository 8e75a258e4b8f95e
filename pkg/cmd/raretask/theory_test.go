package main

import (
	"math"
	"slices"
	"strings"
	"testing"
)

const publishedMixtures = `
mixture: {family: regression, tasks: 32, dim: 1024, block: 32, alpha: [2, 2], frequency: {law: power}}
grid: {mixture.frequency.exponent: [1, 2], net.width: [8, 32, 128, 256]}
`

// The published closed forms for K = 32, d_T = 32, lambda = j^-2, by the command as others call it.
func TestTheoryReproducesPublishedTable(t *testing.T) {
	var answer struct {
		Trace    float64
		Frequent []int
		Mixtures []struct {
			Trace    float64
			Frequent []int
			Widths   []struct {
				Width    int
				Loss     float64
				TaskLoss []float64 `json:"task_loss"`
				Retained []int
			}
			NStar     map[string][]int               `json:"n_star"`
			NStarSome map[string][]int               `json:"n_star_some"`
			NCrit     struct{ Frequent, Others int } `json:"n_crit"`
			NCritAll  struct{ Frequent, Others int } `json:"n_crit_every"`
		}
	}
	executeJSON(t, nil, &answer, "theory", write(t, "published.yaml", publishedMixtures))
	if len(answer.Mixtures) != 2 || answer.Trace != answer.Mixtures[0].Trace || len(answer.Frequent) != 14 {
		t.Fatalf("%d mixtures, top-level trace %g and %d frequent tasks: want 2, and the first mixture's",
			len(answer.Mixtures), answer.Trace, len(answer.Frequent))
	}
	for i, want := range []struct {
		losses                             [4]float64
		every                              [6]int // N*(1) of tasks 1, 2, 4, 8, 16, 32
		frequent, critFrequent, critOthers int
	}{
		{[4]float64{.9137, .4867, .1383, .0588}, [6]int{1, 2, 5, 10, 22, 46}, 14, 27, 44},
		{[4]float64{.4311, .1778, .0403, .0126}, [6]int{1, 3, 8, 20, 50, 119}, 3, 57, 114},
	} {
		got := answer.Mixtures[i]
		if math.Abs(got.Trace-1.6142) > 5e-5 {
			t.Errorf("mixture %d: trace %g, want 1.6142", i, got.Trace)
		}
		if len(got.Frequent) != want.frequent || got.NCrit.Frequent != want.critFrequent || got.NCrit.Others != want.critOthers {
			t.Errorf("mixture %d: |F| %d, N_crit %v; want %d, %d, %d",
				i, len(got.Frequent), got.NCrit, want.frequent, want.critFrequent, want.critOthers)
		}
		for at, width := range []int{8, 32, 128, 256} {
			w := got.Widths[at]
			if w.Width != width || math.Abs(w.Loss-want.losses[at]) > 5e-5 {
				t.Errorf("mixture %d: L*(%d) = %g, want L*(%d) = %g", i, w.Width, w.Loss, width, want.losses[at])
			}
			kept, loss, total := 0, 0., 0.
			for k := range w.Retained {
				pi := math.Pow(float64(k+1), -float64(i+1))
				kept, loss, total = kept+w.Retained[k], loss+pi*w.TaskLoss[k], total+pi
			}
			if kept != width || math.Abs(loss/total-w.Loss) > 1e-12 {
				t.Errorf("mixture %d, width %d: tasks keep %d features and lose %g; want %d and %g", i, width, kept, loss/total, width, w.Loss)
			}
		}
		for at, k := range []int{1, 2, 4, 8, 16, 32} {
			if got.NStar["1"][k-1] != want.every[at] {
				t.Errorf("mixture %d: N*(1) of task %d = %d, want %d", i, k, got.NStar["1"][k-1], want.every[at])
			}
		}
		// The rarest task is the last to be ordered by ties: the ends of N*(1) are those of N_crit.
		if got.NStarSome["1"][31] != want.critOthers || got.NCritAll.Others != want.every[5] {
			t.Errorf("mixture %d: other ends of N*(1), N_crit = %d, %d, want %d, %d",
				i, got.NStarSome["1"][31], got.NCritAll.Others, want.critOthers, want.every[5])
		}
	}
}

func TestTheoryShowsBothEnds(t *testing.T) {
	status, stdout, stderr := execute(t, nil, "theory", "fig2", "--scale", "paper", "--widths", "8,128")
	if status != 0 || !strings.Contains(stdout, "114-119 against all others") || !strings.Contains(stdout, "0.43107") {
		t.Errorf("exit %d, %s%s", status, stdout, stderr)
	}
}

func TestTheoryRefusesWhatIsNoSpec(t *testing.T) {
	for _, args := range [][]string{
		{"theory"},
		{"theory", "fig99"},
		{"theory", "fig2", "--widths", "0"},
		{"theory", "fig2", "--scale", "huge"},
		{"theory", write(t, "bad.yaml", "mixture: {frequency: {exponent: -1}}")},
		{"theory", write(t, "unknown.yaml", "mixture: {tasksies: 3}")},
	} {
		status, stdout, stderr := execute(t, nil, args...)
		says := func(word string) bool { return strings.Contains(stderr, word) }
		if status != 2 || stdout != "" || !slices.ContainsFunc([]string{"want", "allowed", "presets:", "accepts"}, says) {
			t.Errorf("%q: exit %d, stdout %q, stderr %q; want exit 2 and what would be right", args, status, stdout, stderr)
		}
	}
}
