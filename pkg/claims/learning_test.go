package claims

import (
	"math"
	"strings"
	"testing"

	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// bitTasks is a mixture of coded tasks of one bit each, alpha being .4.
func bitTasks(k, steps int) spec.Run {
	base := spec.Default()
	base.Mixture.Family, base.Mixture.Tasks, base.Mixture.Settings = "parity", k, tasks.ParitySettings{Bits: 24, Size: 3}
	base.Mixture.Frequency.Exponent = 1.4
	base.Train.Steps = steps
	return base
}

const ladderTasks, ladderSteps = 200, 2048

// ladder are runs of nets that follow the quantization model exactly: a net of width N learns the N most frequent tasks,
// task k at once at the first evaluated step from 10·k on.
func ladder(widths []int, seeds int) results.Runs {
	var runs results.Runs
	for _, w := range widths {
		for seed := range seeds {
			run := bitTasks(ladderTasks, ladderSteps)
			run.Net.Width, run.Train.Seed = w, uint32(seed)
			var steps []int
			var losses []float64
			for at := 1; at <= ladderSteps; at *= 2 {
				steps = append(steps, at)
				for k := 1; k <= ladderTasks; k++ {
					loss := 1.
					if k <= w && at >= 10*k {
						loss = 0
					}
					losses = append(losses, loss)
				}
			}
			runs = append(runs, results.NewRun(run, steps, map[string][]float64{"loss_sampled": losses}))
		}
	}
	return runs
}

func TestLearningTimes(t *testing.T) {
	runs := ladder([]int{4, 16}, 2)
	runs[3].Diverged = 100 // width 16, seed 1
	times, err := LearningTimes(runs)
	if err != nil {
		t.Fatal(err)
	}
	if len(times) != 4*ladderTasks {
		t.Fatalf("%d times, want one for each of %d tasks of 4 runs: those not learned count too", len(times), ladderTasks)
	}
	for _, got := range times {
		want := LearningTime{got.Width, got.Task, got.Seed, got.Frequency, ladderSteps, true}
		at := math.Exp2(math.Ceil(math.Log2(float64(10 * got.Task))))
		if got.Task <= got.Width && (got.Width != 16 || got.Seed != 1 || at < 100) {
			want.Step, want.Censored = at, false
		}
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// Learning n tasks leaves the tail of the frequencies, sum of k^-1.4 from n+1 on, near n^-.4 / .4: counted without end, the loss must
// fall with exponent -.4 in width, and over training, in which task k comes at step 10 k, with -.4 again.
func TestExponents(t *testing.T) {
	runs := ladder([]int{8, 16, 32, 64, 128, ladderTasks}, 3)
	exponents, err := Exponents(runs)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Exponent{}
	for _, e := range exponents {
		byName[e.Name] = e
	}
	endless := byName["loss against width, tasks beyond the last one counted as not learned"]
	if math.Abs(endless.Estimate+.4) > .02 || endless.Low != endless.High || endless.Theory > -.399 {
		t.Errorf("endless tasks: %+v: want -.4, without spread as all seeds are equal", endless)
	}
	if line, err := WidthLine(runs, EndlessBits); err != nil || line.Slope != endless.Estimate {
		t.Errorf("the line of endless tasks has slope %g (%v), want that of the exponent, %g", line.Slope, err, endless.Estimate)
	}
	if ended := byName["loss against width"]; ended.Estimate > endless.Estimate-.1 {
		t.Errorf("%d tasks: slope %.3f: want steeper than %.3f, as the last tasks are learned", ladderTasks, ended.Estimate, endless.Estimate)
	}
	if training := byName["loss over training, tasks beyond the last one counted as not learned"]; math.Abs(training.Estimate+.4) > .05 {
		t.Errorf("over training: slope %.3f, want -.4", training.Estimate)
	}
	// Task k of frequency ~ k^-1.4 is learned at 10 k, rounded up to a power of two: time ~ frequency^(-1/1.4).
	if slope := byName["time to learn against frequency"]; math.Abs(slope.Estimate+1/1.4) > .04 {
		t.Errorf("time against frequency: slope %.3f: want -1/1.4", slope.Estimate)
	}
}

// A run that failed leaves no exponent of what it is part of, rather than one of the others.
func TestExponentsOfFailedRuns(t *testing.T) {
	runs := ladder([]int{8, 64}, 3)
	runs[0].Diverged = 1000 // width 8
	exponents, err := Exponents(runs)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range exponents {
		width := strings.HasPrefix(e.Name, "loss against width")
		if math.IsNaN(e.Estimate) != width || strings.Contains(e.About, "not fitted") != width {
			t.Errorf("%s: %g, %s", e.Name, e.Estimate, e.About)
		}
	}
	_, err = Exponents(runs[:5]) // of the widest, seed 2 is missing
	refused(t, "a missing run", err, "2 seeds of runs like", "width 64", "others have 3")
}

// What is not of coded tasks of one bit, or of runs that differ in more than width, has none of these measures.
func TestBitsAreRefused(t *testing.T) {
	of := func(base spec.Run) results.Runs {
		return runsOf(base, []int{4, 8}, 2, same(map[string][]float64{"loss_sampled": make([]float64, base.Mixture.Tasks)}))
	}
	faster, longer := bitTasks(3, 8), bitTasks(3, 9)
	faster.Train.Rate *= 2
	for what, c := range map[string]struct {
		runs results.Runs
		want string
	}{
		"nothing":      {nil, "no runs"},
		"squares":      {of(rankOne()), "squared error"},
		"two rates":    {append(of(bitTasks(3, 8)), of(faster)...), "train.rate"},
		"two lengths":  {append(of(bitTasks(3, 8)), of(longer)...), "train.steps"},
		"two mixtures": {append(of(bitTasks(3, 8)), of(bitTasks(4, 8))...), "mixture.tasks"},
	} {
		_, err := LearningTimes(c.runs)
		refused(t, "times of "+what, err, c.want)
		_, err = Exponents(c.runs)
		refused(t, "exponents of "+what, err, c.want)
	}
}
