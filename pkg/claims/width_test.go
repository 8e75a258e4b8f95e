package claims

import (
	"math"
	"testing"

	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// rankOne is a mixture of tasks of one direction each.
func rankOne() spec.Run {
	base := spec.Default()
	base.Mixture.Tasks, base.Mixture.Settings = 6, tasks.RegressionSettings{Dim: 12, Block: 1, Alpha: [2]float64{2, 2}}
	return base
}

// perfect returns runs that end exactly at the optimum.
func perfect(t *testing.T, base spec.Run, widths []int, seeds int) results.Runs {
	t.Helper()
	m, err := base.Mixture.Theory()
	if err != nil {
		t.Fatal(err)
	}
	return runsOf(base, widths, seeds, func(run spec.Run) map[string][]float64 {
		loss := []float64{m.OptimalLoss(run.Net.Width)}
		columns := map[string][]float64{"encoder_loss": loss, "full_loss": loss}
		_, losses := m.TaskLoss(run.Net.Width)
		for k, l := range losses {
			columns["signal"] = append(columns["signal"], 1-l/m.TaskTrace(k))
		}
		return columns
	})
}

// A seed that failed stands beside the mean of the others.
func TestLosses(t *testing.T) {
	runs := perfect(t, rankOne(), []int{2, 4}, 3)
	runs[4].Diverged = 7
	losses, err := Losses(runs)
	if err != nil || len(losses) != 2 {
		t.Fatal(losses, err)
	}
	for i, l := range losses {
		if l.Width != 2+2*i || l.Full.N != 3-i || l.Full.Failed != i || math.Abs(l.Encoder.Mean/l.Optimum-1) > 1e-6 {
			t.Errorf("%+v: want %d seeds at the optimum, %d failed", l, 3-i, i)
		}
	}
}

// One seed at three rates is no three seeds, and two mixtures have no one theory.
func TestDifferentRunsAreRefused(t *testing.T) {
	var rates, mixtures results.Runs
	for i := range 3 {
		base := rankOne()
		base.Train.Rate *= float64(i + 1)
		rates = append(rates, perfect(t, base, []int{2, 4}, 1)...)
		base = rankOne()
		base.Mixture.Frequency.Exponent += float64(i)
		mixtures = append(mixtures, perfect(t, base, []int{2, 4}, 1)...)
	}
	_, err := Losses(rates)
	refused(t, "losses of three rates", err, "train.rate")
	_, err = FirstHeld(rates, func(int, float64) bool { return true })
	refused(t, "first widths of three rates", err, "train.rate")
	_, err = SlopesOnWidth(rates, "full_loss")
	refused(t, "slopes of three rates", err, "train.rate")
	design := results.Design{Vary: []string{"net.width", "train.rate"}, Columns: []string{"full_loss"}, Final: true}
	if _, err := Theory(rates, design); err != nil {
		t.Errorf("one mixture at three rates: %v", err)
	}
	_, err = Theory(mixtures, design)
	refused(t, "theory of three mixtures", err, "mixture.frequency.exponent")
	_, err = Losses(nil)
	refused(t, "losses of nothing", err, "no runs")
}

// With one direction for each task, task k is held from width k on; not where a seed of that width or a larger one failed, whatever the
// others hold.
func TestFirstHeld(t *testing.T) {
	learned := func(_ int, s float64) bool { return s > Learned }
	first, err := FirstHeld(perfect(t, rankOne(), []int{1, 2, 3, 4, 5}, 2), learned)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range first {
		if k := float64(i + 1); k <= 5 && w != k || k == 6 && !math.IsNaN(w) {
			t.Errorf("task %g is held from width %g on", k, w)
		}
	}
	runs := perfect(t, rankOne(), []int{1, 2, 3}, 2)
	runs[3].Diverged = 1 // of width 2
	if first, err = FirstHeld(runs, learned); err != nil || first[0] != 3 {
		t.Errorf("task 1 is held from width %g on (%v), want 3: at 2 a seed failed", first[0], err)
	}
}

// A column that falls as a power of width has that slope for every seed; a seed of which a width failed, or was not run, has none.
func TestSlopesOnWidth(t *testing.T) {
	fall := func(run spec.Run) map[string][]float64 {
		return map[string][]float64{"residual": {math.Pow(float64(run.Net.Width), -1-.1*float64(run.Train.Seed))}, "frequent_gradient": {.5}}
	}
	runs := runsOf(rankOne(), []int{2, 4, 8}, 4, fall)
	runs[2].Diverged = 1 // width 2, seed 2
	runs = append(runs[:7:7], runs[8:]...)
	slopes, err := SlopesOnWidth(runs, "residual")
	if err != nil || len(slopes) != 4 {
		t.Fatal(slopes, err)
	}
	for seed, slope := range slopes {
		if want := -1 - .1*float64(seed); seed < 2 && math.Abs(slope-want) > 1e-9 || seed >= 2 && !math.IsNaN(slope) {
			t.Errorf("seed %d: slope %g", seed, slope)
		}
	}
	list, err := GradientClaims("these: ", runsOf(rankOne(), []int{2, 4, 8}, 5, fall))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"frequent_gradient": "not supported", "residual": "supported"}
	for _, c := range list {
		if c.Verdict() != want[c.ID] {
			t.Errorf("%s: %v is %s, want %s", c.ID, c.Effect, c.Verdict(), want[c.ID])
		}
	}
	again := runs[0].Run
	again.Train.Data = new(uint32)
	*again.Train.Data = 77
	_, err = SlopesOnWidth(append(runs, results.NewRun(again, runs[0].Steps, fall(again))), "residual")
	refused(t, "two data streams of one seed", err, "train.data")
}
