package figure

import (
	"math"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/chart"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/tasks"
)

var nan = math.NaN()

// every returns the steps from 0 to 100.
func every() (steps []int) {
	for s := range 101 {
		steps = append(steps, s)
	}
	return steps
}

// cycle is a signal that is at a peak from an injection on, and at half of it just before the next, from the second on.
func cycle(r spec.Run, step int, peak float64) float64 {
	gap := r.Train.Injection.Gap
	switch since := step % gap; {
	case step < gap:
		return 0
	case since == gap-1:
		return peak / 2
	}
	return peak
}

// cycling returns three seeds of runs of two widths and gaps whose peak is width/20.
func cycling() results.Runs {
	of := columns{
		"injected_signal": func(r spec.Run, step, _ int) float64 { return cycle(r, step, float64(r.Net.Width)/20) },
		"common_signal":   func(r spec.Run, step, _ int) float64 { return .9 - cycle(r, step, .1) },
		"injected_cosine": func(r spec.Run, step, _ int) float64 { // another one in the first half of training
			return -float64(1+step%r.Train.Injection.Gap) / 100 * map[bool]float64{true: 3, false: 1}[2*step <= r.Train.Steps]
		},
	}
	return seeded(each(widths(vast(), 4, 8), setGap, 10, 20), every(), of)
}

// vast returns settings with so many inputs that a random encoder holds next to nothing: signals are what they are normalised.
func vast() spec.Run {
	r := small(1)
	r.Mixture.Settings = tasks.RegressionSettings{Dim: 1 << 40, Block: 1, Alpha: [2]float64{2, 2}}
	return r
}

// decaying returns three seeds of runs that are known by samples: the learned share jumps to .05 (width 8) or .8 (64) at every injection
// and halves every 10 steps.
func decaying(gaps ...int) (runs results.Runs) {
	loss := func(r spec.Run, step, _ int) float64 {
		gap := r.Train.Injection.Gap
		if step < gap {
			return 1.3 // more than that of the mean is nothing learned
		}
		return 1 - map[int]float64{8: .05, 64: .8}[r.Net.Width]*math.Exp2(-float64(step%gap)/10)
	}
	for _, r := range each(widths(small(1), 8, 64), setGap, gaps...) {
		for seed := range 3 {
			r.Train.Seed = uint32(seed)
			runs = append(runs, made(r, every(), columns{"loss_sampled": loss}))
		}
	}
	return runs
}

func TestFig4a(t *testing.T) {
	f, err := Fig4a(cycling())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Panels) != 2 {
		t.Fatalf("%d panels, want one of each width", len(f.Panels))
	}
	p := panel(t, f, "N = 8, G = 20") // the injection at 100 has no next one
	signal := layer(t, p, chart.Line, "s̃_r")
	is(t, signal, []float64{19, 20, 39, 40, 59, 60, 79, 80}, []float64{0, .4, .2, .4, .2, .4, .2, .4})
	if band := layer(t, p, chart.Band, "s̃_r"); !near(band.Low[:2], []float64{0, .4 - .4*reach}) {
		t.Errorf("interval from %v", band.Low)
	}
	is(t, layer(t, p, chart.Line, "gain"), []float64{20, 40, 60, 80}, []float64{.4, .2, .2, .2})
	is(t, layer(t, p, chart.Line, "decay"), []float64{39, 59, 79, 99}, []float64{-.2, -.2, -.2, -.2})
	diverged := cycling()
	diverged[len(diverged)-1].Diverged = 50
	if f, err = Fig4a(diverged); err != nil {
		t.Fatal(err)
	}
	if failed := field(t, layer(t, f.Panels[1], chart.Line, "gain"), "failed"); !slices.Equal(failed, []float64{0, 0, 1, 1}) {
		t.Errorf("%v seeds failed, want the diverged one from the injection at 60 on", failed)
	}
	without := seeded(widths(small(1), 4), every(), columns{
		"injected_signal": func(spec.Run, int, int) float64 { return 0 }})
	if _, err := Fig4a(without); err == nil || !strings.Contains(err.Error(), "train.injection") {
		t.Errorf("without a schedule: %v", err)
	}
}

// Fig 20 has a row for each gap; of many injections some are drawn, each of them whole.
func TestFig20(t *testing.T) {
	runs := seeded(each(widths(vast(), 4, 8), setGap, 1, 20), every(), columns{
		"injected_signal": func(r spec.Run, step, _ int) float64 { return float64(step) },
	})
	for _, r := range runs {
		r.Train.Injection.Gap = max(2, r.Train.Injection.Gap) // 49 injections with a next one, and 4
	}
	f, err := Fig20(runs)
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, p := range f.Panels {
		titles = append(titles, p.Title)
	}
	if want := []string{"N = 4, G = 2", "N = 8, G = 2", "N = 4, G = 20", "N = 8, G = 20"}; !slices.Equal(titles, want) || f.Columns != 2 {
		t.Errorf("panels %v in %d columns, want %v in 2", titles, f.Columns, want)
	}
	panel, each, err := swingPanel(runs.Where(func(r *results.Run) bool { return results.Gap(r) == 2 && r.Net.Width == 4 }), 10)
	if err != nil || each != 5 {
		t.Fatalf("one injection in %d, want 5 (%v)", each, err)
	}
	signal := layer(t, panel, chart.Line, "s̃_r")
	is(t, signal, []float64{1, 2, 11, 12, 21, 22, 31, 32, 41, 42, 51, 52, 61, 62, 71, 72, 81, 82, 91, 92}, signal.X)
	is(t, layer(t, panel, chart.Line, "gain"), []float64{2, 12, 22, 32, 42, 52, 62, 72, 82, 92}, slices.Repeat([]float64{1}, 10))
}

func TestFig4bAndCycles(t *testing.T) {
	f, err := Fig4b(cycling())
	if err != nil {
		t.Fatal(err)
	}
	gaps := []float64{10, 20} // the last tenth has the injections at 100, and at 10 that at 90 is not in it, beginning at 89
	isMean(t, panel(t, f, "injected task"), chart.Points, "N = 8", gaps, []float64{.2, .2})
	isMean(t, panel(t, f, "frequent tasks"), chart.Points, "N = 8", gaps, []float64{.85, .85})
	isMean(t, panel(t, f, "gradients"), chart.Points, "N = 8", gaps, []float64{-.1, -.2})
	if !strings.Contains(f.Caption, "1 at G = 10, 1 at G = 20") {
		t.Errorf("caption %q doesn't say over how many cycles", f.Caption)
	}
	if f, err = Fig16b(cycling()); err != nil || len(f.Panels) != 2 {
		t.Errorf("%d panels, want the injected task's signal and the frequent ones' (%v)", len(f.Panels), err)
	}
	if f, err = Cycles(cycling()); err != nil {
		t.Fatal(err)
	}
	isMean(t, panel(t, f, "gain"), chart.Points, "N = 8", gaps, []float64{.2, .2})
	isMean(t, panel(t, f, "decay"), chart.Points, "N = 8", gaps, []float64{-.2, -.2})
	share := layer(t, panel(t, f, "left at the next"), chart.Points, "N = 4")
	is(t, share, gaps, []float64{.5, .5}) // of every seed alike
	if !near(share.Low, share.Y) || !near(share.High, share.Y) {
		t.Errorf("interval %v … %v of seeds that are alike", share.Low, share.High)
	}
	if _, err := Fig4b(decaying(20, 50)); err == nil || !strings.Contains(err.Error(), "linear") {
		t.Errorf("nets without exact signals: %v", err)
	}
}

func TestAroundInjections(t *testing.T) {
	f, err := AroundInjections(cycling())
	if err != nil {
		t.Fatal(err)
	}
	p := panel(t, f, "G = 10")
	if want := []string{"before", "0", "1", "2", "4", "8"}; !slices.Equal(p.X.Categories, want) {
		t.Errorf("moments %v, want %v", p.X.Categories, want)
	}
	isMean(t, p, chart.Line, "N = 4", []float64{0, 1, 2, 3, 4, 5}, []float64{-.1, -.01, -.02, -.03, -.05, -.09})
	runs := cycling()
	if f, err = AroundInjections(results.Runs{runs[0], runs[2]}); err != nil { // the interval of two seeds reaches 6.35 times their distance
		t.Fatal(err)
	}
	if band := layer(t, f.Panels[0], chart.Band, "N = 4"); !near(band.Low[:1], []float64{-.1 - 6.35310*.02}) || slices.Max(band.High) != 0 {
		t.Errorf("interval from %v to %v: want 6.35 times .02 down from -.1, and up to 0, above which no cosine is", band.Low, band.High)
	}
}

// Without an exact signal retention is that of the learned share; what is below the noise of samples is not there to be retained.
func TestSampledRetention(t *testing.T) {
	f, err := SampledRetention(decaying(20, 30, 50))
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, p := range f.Panels {
		titles = append(titles, p.Title)
	}
	if want := []string{"G = 20", "G = 50", "at the end", "left at the next injection"}; !slices.Equal(titles, want) {
		t.Errorf("panels %v, want %v", titles, want)
	}
	line := layer(t, f.Panels[0], chart.Line, "N = 64")
	if !near([]float64{line.Y[18], line.Y[19], line.Y[29]}, []float64{0, .8, .4}) { // steps 19, 20 and 30
		t.Errorf("learned share %g before, %g at and %g after the first injection: want 0, .8, .4", line.Y[18], line.Y[19], line.Y[29])
	}
	left, gaps := f.Panels[3], []float64{20, 30, 50}
	is(t, layer(t, left, chart.Points, "N = 64"), gaps, []float64{math.Exp2(-1.9), math.Exp2(-2.9), math.Exp2(-4.9)})
	narrow := layer(t, left, chart.Points, "N = 8")
	is(t, narrow, gaps, []float64{nan, nan, nan})
	if failed := field(t, narrow, "failed"); !slices.Equal(failed, []float64{3, 3, 3}) {
		t.Errorf("%v seeds have nothing to retain, want all 3", failed)
	}
	is(t, layer(t, f.Panels[2], chart.Points, "N = 64"), gaps, []float64{.8 * math.Exp2(-1.9), .8 * math.Exp2(-2.9), .8 * math.Exp2(-4.9)})
	if f, err = SampledRetention(decaying(20)); err != nil || len(f.Panels) != 3 {
		t.Errorf("%d panels of one gap, want 3 (%v)", len(f.Panels), err)
	}
}

func TestRetentionChart(t *testing.T) {
	f, err := RetentionChart(cycling())
	if err != nil {
		t.Fatal(err)
	}
	want := []chart.Choice{{Name: "width N", Options: []string{"4", "8"}}, {Name: "gap G", Options: []string{"10", "20"}, Start: 1}}
	for i, c := range f.Choices {
		if c.Name != want[i].Name || c.Start != want[i].Start || !slices.Equal(c.Options, want[i].Options) {
			t.Errorf("choice %+v, want %+v", c, want[i])
		}
	}
	for _, l := range f.Panels[0].Layers {
		if l.Kind != chart.Points || l.Name != "seed 1" || !slices.Equal(l.Chosen, []int{1, 1}) {
			continue
		}
		is(t, l, []float64{19, 39, 59, 79}, []float64{8. / (1 << 40), .2, .2, .2}) // of the injection at 100 nothing is seen
		for name, v := range map[string][]float64{"rise to the peak": {.4, .2, .2, .2}, "fall from it": {.2, .2, .2, .2},
			"retained": {.5, .5, .5, .5}, "width": {8, 8, 8, 8}, "gap": {20, 20, 20, 20}} {
			if got := field(t, l, name); !near(got, v) {
				t.Errorf("%s %v, want %v", name, got, v)
			}
		}
		return
	}
	t.Error("no points of seed 1 at width 8 and gap 20")
}

// The exact recursion starts where the closed form does and follows it; of two gated neurons one keeps the rare task, one alone loses it.
func TestOneNeuron(t *testing.T) {
	f, err := OneNeuron()
	if err != nil {
		t.Fatal(err)
	}
	closed := layer(t, f.Panels[0], chart.Points, "(1 - 2η)^G θ_0")
	for i, eta := range []float64{.001, .002, .004} {
		exact := layer(t, f.Panels[0], chart.Line, []string{"η = 0.001", "η = 0.002", "η = 0.004"}[i])
		for j := range 11 {
			at := 11*i + j
			if g := closed.X[at]; g != float64(30*j) || closed.Y[at] != theory.Decay(.05, eta, 30*j) || math.Abs(exact.Y[6*j]/closed.Y[at]-1) > .01 {
				t.Errorf("η = %g, G = %g: closed form %g, recursion %g", eta, g, closed.Y[at], exact.Y[6*j])
			}
		}
	}
}

// Of two neurons each ends on the feature of one task, and one alone on the frequent one's; a drawn rare task is a step up.
func TestFig11(t *testing.T) {
	f, err := Fig11()
	if err != nil {
		t.Fatal(err)
	}
	one, two := layer(t, f.Panels[2], chart.Line, "N = 1"), layer(t, f.Panels[2], chart.Line, "N = 2")
	if last := len(one.Y) - 1; one.X[last] != 200 || one.Y[last] > .01 || two.Y[last] < .95 {
		t.Errorf("at step %g one neuron has %g of the rare task, two %g: want at most .01 and at least .95",
			one.X[last], one.Y[last], two.Y[last])
	}
	up := 0
	for i := range one.Y[1:] {
		if one.Y[i+1] > one.Y[i] {
			up++
		}
	}
	if up < 8 || up > 35 { // of 200 draws at .1, mean 20, five sigma 21
		t.Errorf("%d steps up of 200, want about 20", up)
	}
	is(t, layer(t, f.Panels[0], chart.Points, "N = 1"), []float64{1}, layer(t, f.Panels[0], chart.Points, "N = 1").Y)
	if tips := layer(t, f.Panels[1], chart.Points, "N = 2"); tips.X[0]*tips.Y[1]+tips.X[1]*tips.Y[0] < .95 {
		t.Errorf("two neurons end at %v, %v: want one on each feature", tips.X, tips.Y)
	}
}
