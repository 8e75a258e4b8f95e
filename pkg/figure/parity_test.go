package figure

import (
	"math"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/chart"
	"raretask/pkg/net"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/tasks"
)

const bitTasks, bitSteps = 200, 2048

// coded returns settings of parities for an MLP.
func coded(tasksOf int) spec.Run {
	r := spec.Default()
	r.Mixture = spec.Mixture{Family: "parity", Tasks: tasksOf, Settings: tasks.ParitySettings{Bits: 32, Size: 3},
		Frequency: spec.Frequency{Law: "power", Exponent: 1.4}}
	r.Net.Kind, r.Net.Settings = "mlp", net.MLPSettings{Depth: 1}
	return r
}

// quantized returns runs that follow the quantization model exactly: a net of width N learns the N most frequent tasks, task k at once
// at the first evaluated step from 10·k on.
func quantized(sizes []int, seeds int) (runs results.Runs) {
	base := coded(bitTasks)
	base.Train.Steps = bitSteps
	var steps []int
	for at := 1; at <= bitSteps; at *= 2 {
		steps = append(steps, at)
	}
	for _, r := range widths(base, sizes...) {
		for seed := range seeds {
			r.Train.Seed = uint32(seed + 1)
			runs = append(runs, made(r, steps, columns{"loss_sampled": func(r spec.Run, step, k int) float64 {
				if k <= r.Net.Width && step >= 10*k {
					return 0
				}
				return 1
			}}))
		}
	}
	return runs
}

// beyond is the sum of k^-1.4 over the tasks after the n-th, of those that there are.
func beyond(n int) float64 {
	sum := 0.
	for k := n + 1; k <= bitTasks; k++ {
		sum += math.Pow(float64(k), -1.4)
	}
	return sum
}

func TestParityOrder(t *testing.T) {
	f, err := ParityOrder(quantized([]int{4, 32}, 2))
	if err != nil {
		t.Fatal(err)
	}
	over := panel(t, f, "over training, width 32")
	steps := []float64{16, 32, 64, 128, 256, 512, 1024, 2048} // 11 and later: half a percent of training
	is(t, layer(t, over, chart.Line, "task 5"), steps, []float64{1, 1, 0, 0, 0, 0, 0, 0})
	is(t, layer(t, over, chart.Line, "task 50"), steps, []float64{1, 1, 1, 1, 1, 1, 1, 1})
	is(t, layer(t, over, chart.Rule, "learned"), nil, []float64{.1})
	heat := layer(t, panel(t, f, "at the end, by width"), chart.Heat, "")
	if over.Y.Label != "loss of the task (bits)" || heat.ValueLabel != "loss (bits)" || len(heat.X) != 2*bitTasks {
		t.Errorf("%q and %q of %d cells: want bits of all tasks at two widths", over.Y.Label, heat.ValueLabel, len(heat.X))
	}
	for i, v := range heat.Value {
		if learned := heat.Y[i] <= heat.X[i]; learned != (v == 0) || !learned != (v == 1) {
			t.Errorf("task %g at width %g: %g bits", heat.Y[i], heat.X[i], v)
		}
	}
	if _, err := ParityOrder(perfect(t, small(1), 1, 2)); err == nil {
		t.Error("runs without sampled bits: no error")
	}
}

func TestParityTimes(t *testing.T) {
	runs := quantized([]int{4, 32}, 3)
	runs[0].Diverged = 2000 // width 4, seed 1
	f, err := ParityTimes(runs)
	if err != nil {
		t.Fatal(err)
	}
	left := panel(t, f, "width 32")
	learned, missed := layer(t, left, chart.Points, "learned"), layer(t, left, chart.Points, "not learned by the end")
	if len(learned.X) != 3*32 || len(missed.X) != 3*(bitTasks-32) {
		t.Errorf("%d times and %d tasks not learned, want 3 seeds of 32 and %d", len(learned.X), len(missed.X), bitTasks-32)
	}
	pi := coded(bitTasks).Mixture.Frequencies()
	for i, k := range field(t, learned, "task") {
		if want := math.Exp2(math.Ceil(math.Log2(10 * k))); learned.Y[i] != want || learned.X[i] != pi[int(k)-1] {
			t.Errorf("task %g of frequency %g is learned at %g, want %g at %g", k, learned.X[i], learned.Y[i], pi[int(k)-1], want)
		}
	}
	if slices.Min(missed.Y) != bitSteps || slices.Max(missed.Y) != bitSteps {
		t.Errorf("tasks that are not learned stand at %g … %g, want the last step", slices.Min(missed.Y), slices.Max(missed.Y))
	}
	held := layer(t, panel(t, f, "every width"), chart.Points, "learned")
	is(t, held, []float64{4, 32}, []float64{4, 32})
	if failed := field(t, held, "failed"); !slices.Equal(failed, []float64{1, 0}) {
		t.Errorf("failed %v: want the run that diverged", failed)
	}
}

// Learning n tasks leaves the tail of the frequencies, sum of k^-1.4 from n+1 on, near n^-.4 / .4 if tasks went on without end.
func TestParityLoss(t *testing.T) {
	f, err := ParityLoss(quantized([]int{8, 32, 128}, 2))
	if err != nil {
		t.Fatal(err)
	}
	against, all := panel(t, f, "at the end"), beyond(0)
	x := []float64{8, 32, 128}
	is(t, layer(t, against, chart.Points, "200 tasks"), x, []float64{beyond(8) / all, beyond(32) / all, beyond(128) / all})
	const zeta = 3.1055472779775810 // sum of k^-1.4 without end
	endless := layer(t, against, chart.Points, "endless tasks")
	for i, n := range []int{8, 32, 128} {
		if want := 1 - (beyond(0)-beyond(n))/zeta; math.Abs(endless.Y[i]/want-1) > 1e-6 {
			t.Errorf("endless tasks, width %d: %g bits, want %g", n, endless.Y[i], want)
		}
	}
	layer(t, against, chart.Line, "endless tasks: ∝ N^-0.39") // as a power law with -.4 does between 8.5 and 128.5
	if against.Y.Label != "loss of the mixture (bits)" {
		t.Errorf("label %q, want bits", against.Y.Label)
	}
	line := layer(t, panel(t, f, "over training"), chart.Line, "N = 8")
	want := func(n int) float64 { return beyond(n) / all } // learned by steps 16, 32, 64, 128 …
	is(t, line, []float64{16, 32, 64, 128, 256, 512, 1024, 2048},
		[]float64{want(1), want(3), want(6), want(8), want(8), want(8), want(8), want(8)})
	var regression []*results.Run
	for _, r := range perfect(t, small(1), 1, 2) {
		regression = append(regression, made(r.Run, r.Steps, columns{"loss_sampled": func(spec.Run, int, int) float64 { return 1 }}))
	}
	if _, err := ParityLoss(regression); err == nil || !strings.Contains(err.Error(), "bit") {
		t.Errorf("runs whose loss is not of bits: %v", err)
	}
}

// rated returns runs in which each width's best rate is known, but for the third seed, whose best is the next larger; width 32 diverges at
// the largest.
func rated() (runs results.Runs) {
	base := coded(2)
	base.Mixture.Frequency.Exponent, base.Train.Steps = 0, 5
	for _, mup := range []bool{false, true} {
		for i, w := range []int{8, 16, 32} {
			for j, rate := range []float64{1e-3, 3e-3, 1e-2, 3e-2} {
				for seed := range 3 {
					r, best := base, i
					r.Net.Width, r.Train.Rate, r.Train.Seed = w, rate, uint32(seed)
					if mup {
						r.Net.Parameterization, r.Net.Base, best = "mup", 16, 1
					}
					if seed == 2 {
						best++
					}
					run := made(r, []int{5}, columns{"loss_sampled": func(spec.Run, int, int) float64 { return .1 + .2*math.Abs(float64(j-best)) }})
					if w == 32 && j == 3 && seed == 1 {
						run.Diverged = 3
					}
					runs = append(runs, run)
				}
			}
		}
	}
	return runs
}

func TestRates(t *testing.T) {
	f, err := Rates(rated())
	if err != nil || len(f.Panels) != 2 {
		t.Fatalf("%d panels, want one for each parameterization: %v", len(f.Panels), err)
	}
	mean := func(a, b float64) float64 { return math.Cbrt(a * a * b) } // two seeds alike and the third
	x := []float64{1e-3, 3e-3, 1e-2, 3e-2}
	p := panel(t, f, "standard parameterization")
	is(t, layer(t, p, chart.Points, "N = 8"), x, []float64{mean(.1, .3), mean(.3, .1), mean(.5, .3), mean(.7, .5)})
	wide := layer(t, p, chart.Line, "N = 32")
	is(t, wide, x, []float64{mean(.5, .7), mean(.3, .5), mean(.1, .3), nan}) // the other seeds don't stand for the one that failed
	if failed := field(t, wide, "failed"); !slices.Equal(failed, []float64{0, 0, 0, 1}) {
		t.Errorf("failed %v: want one at the largest rate", failed)
	}
	mup := layer(t, panel(t, f, "muP, base width 16"), chart.Points, "N = 16")
	is(t, mup, x, []float64{mean(.3, .5), mean(.1, .3), mean(.3, .1), mean(.5, .3)})
	if f.Panels[0].Y.Label != "loss of the mixture (bits)" {
		t.Errorf("label %q, want bits", f.Panels[0].Y.Label)
	}
	two := coded(2)
	two.Net.Settings = net.MLPSettings{Depth: 2}
	two.Mixture.Frequency.Exponent, two.Train.Steps, two.Train.Rate = 0, 5, 1e-3
	deep := append(rated(), made(two, []int{5}, columns{"loss_sampled": func(spec.Run, int, int) float64 { return 1 }}))
	if _, err := Rates(deep); err == nil || !strings.Contains(err.Error(), "net.depth") {
		t.Errorf("two depths: %v", err)
	}
}
