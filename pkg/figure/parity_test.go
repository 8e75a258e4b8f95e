package figure

import (
	"math"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/results"
)

const parityTasks, paritySteps = 200, 2048

// parityRows are the rows of nets that follow the quantization model exactly: a net of width N learns the N most frequent tasks,
// task k at once at the first evaluated step from 10·k on.
func parityRows(widths, seeds []int) []results.Row {
	sum := 0.
	for k := range parityTasks {
		sum += math.Pow(float64(k+1), -1.4)
	}
	var rows []results.Row
	for _, w := range widths {
		for _, s := range seeds {
			for at := 1; at <= paritySteps; at *= 2 {
				for k := 1; k <= parityTasks; k++ {
					loss := float32(1)
					if k <= w && at >= 10*k {
						loss = 0
					}
					rows = append(rows, results.Row{Family: "parity", Tasks: parityTasks, Beta: 1.4, Width: int32(w), Seed: int64(s), Step: int32(at),
						Steps: paritySteps, Task: int32(k), Frequency: math.Pow(float64(k), -1.4) / sum, Sampled: &loss, Rate: 1e-3})
				}
			}
		}
	}
	return rows
}

func TestLearningTimes(t *testing.T) {
	times, err := LearningTimes(parityRows([]int{4, 16}, []int{1, 2}))
	if err != nil {
		t.Fatal(err)
	}
	if len(times) != 4*parityTasks {
		t.Fatalf("%d times, want one for each of %d tasks of 4 runs: those not learned count too", len(times), parityTasks)
	}
	for _, got := range times {
		want := LearningTime{got.Width, got.Task, got.Seed, got.Frequency, paritySteps, true}
		if got.Task <= got.Width {
			want.Step, want.Censored = math.Exp2(math.Ceil(math.Log2(float64(10*got.Task)))), false
		}
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// Learning n tasks leaves the tail of the frequencies, sum of k^-1.4 from n+1 on, near n^-.4 / .4: counted without end, the loss must
// fall with exponent -.4 in width, and over training, in which task k comes at step 10 k, with -.4 again.
func TestParityExponents(t *testing.T) {
	exponents, err := ParityExponents(parityRows([]int{8, 16, 32, 64, 128, parityTasks}, []int{1, 2, 3}))
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
	if ended := byName["loss against width"]; ended.Estimate > endless.Estimate-.1 {
		t.Errorf("%d tasks: slope %.3f: want steeper than %.3f, as the last tasks are learned", parityTasks, ended.Estimate, endless.Estimate)
	}
	if training := byName["loss over training, tasks beyond the last one counted as not learned"]; math.Abs(training.Estimate+.4) > .05 {
		t.Errorf("over training: slope %.3f, want -.4", training.Estimate)
	}
	// Task k of frequency ~ k^-1.4 is learned at 10 k, rounded up to a power of two: time ~ frequency^(-1/1.4).
	if slope := byName["time to learn against frequency"]; math.Abs(slope.Estimate+1/1.4) > .04 {
		t.Errorf("time against frequency: slope %.3f: want -1/1.4", slope.Estimate)
	}
}

func TestParityFigures(t *testing.T) {
	rows := parityRows([]int{4, 32}, []int{1, 2})
	for _, draw := range []func([]results.Row) (Figure, error){ParityOrder, ParityTimes, ParityLoss} {
		f, err := draw(rows)
		if err != nil {
			t.Fatal(err)
		}
		first, err := f.SVG()
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		again, _ := draw(slices.Clone(rows))
		if second, _ := again.SVG(); !slices.Equal(first, second) {
			t.Errorf("%s is not a function of its rows", f.Name)
		}
		if _, err := draw(nil); err == nil {
			t.Errorf("%s of nothing: no error", f.Name)
		}
		other := slices.Clone(rows)
		other[0].Rate = 3e-3
		if _, err := draw(other); err == nil || !strings.Contains(err.Error(), "several parity sweeps") {
			t.Errorf("%s of two rates: %v", f.Name, err)
		}
		other[0].Family = "regression"
		if _, err := draw(other); err == nil || !strings.Contains(err.Error(), "want parity") {
			t.Errorf("%s of regression: %v", f.Name, err)
		}
	}
}

// rateRows are final rows in which each width's best rate is known: best[width], or for seed 2 the next larger.
func rateRows() []results.Row {
	var rows []results.Row
	for _, param := range []string{"", "mup"} {
		for i, w := range []int32{8, 16, 32} {
			for j, rate := range []float64{1e-3, 3e-3, 1e-2, 3e-2} {
				for s := range int64(3) {
					best := i
					if param == "mup" {
						best = 1
					}
					if s == 2 {
						best++
					}
					for k := range int32(2) {
						loss := float32(.1 + .2*math.Abs(float64(j-best)))
						row := results.Row{Family: "parity", Param: param, Width: w, Rate: rate, Seed: s, Step: 5, Steps: 5, Task: k + 1, Frequency: .5, Sampled: &loss}
						if w == 32 && j == 3 {
							at := int32(3)
							row.Diverged, row.Sampled = &at, nil
						}
						rows = append(rows, row)
					}
				}
			}
		}
	}
	return rows
}

func TestBestRates(t *testing.T) {
	best, err := BestRates(rateRows())
	if err != nil {
		t.Fatal(err)
	}
	type short struct {
		param string
		width int
		rate  float64
		edge  bool
	}
	var got []short
	for _, b := range best {
		got = append(got, short{b.Parameterization, b.Width, b.Rate, b.Edge})
		if math.Abs(b.Loss-math.Pow(.1*.1*.3, 1./3)) > 1e-6 || !(b.Low < b.Loss) || !(b.High > b.Loss) {
			t.Errorf("width %d: loss %g, interval %g … %g: want the geometric mean of .1, .1 and .3 within", b.Width, b.Loss, b.Low, b.High)
		}
		if len(b.Seeds) != 3 || b.Seeds[0] != b.Rate {
			t.Errorf("width %d: best rates of seeds %v", b.Width, b.Seeds)
		}
	}
	want := []short{{"standard", 8, 1e-3, true}, {"standard", 16, 3e-3, false}, {"standard", 32, 1e-2, false}, {"mup", 8, 3e-3, false}, {"mup", 16, 3e-3, false}, {"mup", 32, 3e-3, false}}
	if !slices.Equal(got, want) {
		t.Errorf("best rates %v, want %v", got, want)
	}
	f, err := Rates(rateRows())
	if err != nil || len(f.Panels) != 2 {
		t.Fatalf("Rates: %d panels, %v", len(f.Panels), err)
	}
	if _, err := f.SVG(); err != nil {
		t.Error(err)
	}
	var one []results.Row
	for _, r := range rateRows() {
		if r.Rate == 1e-3 {
			one = append(one, r)
		}
	}
	if _, err := BestRates(one); err == nil || !strings.Contains(err.Error(), "train.rate") {
		t.Errorf("one rate: %v", err)
	}
}
