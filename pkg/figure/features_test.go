package figure

import (
	"math"
	"testing"

	"raretask/pkg/chart"
	"raretask/pkg/corpus"
	"raretask/pkg/interference"
	"raretask/pkg/probe"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// probed returns spoken runs with what their insides were probed for.
func probed() results.Runs {
	runs := spoken()
	for i, r := range runs {
		values := map[string][]float64{}
		each := func(column string, of func(step float64) float64) {
			for _, step := range r.Steps {
				values[column] = append(values[column], of(float64(step)))
			}
		}
		for _, column := range []string{probe.TrainLoss, probe.TestLoss} {
			each(column, func(step float64) float64 { return 5 / (1 + step) })
		}
		each(probe.CommonRule, func(step float64) float64 { return 2 / (1 + step) })
		each(probe.RareRule, func(float64) float64 { return 1 })
		each(probe.ValueR2, func(step float64) float64 { return step / 100 })
		each(probe.Interchange, func(step float64) float64 { return step / 200 })
		each(probe.Interchanged, func(float64) float64 { return .25 })
		for v := range 5 {
			each(probe.OrderOf(v), func(float64) float64 { return 3 * float64(v-2) })
		}
		for l := 1; l <= 2; l++ {
			each(probe.NullOf(l, false), func(float64) float64 { return float64(3 - l) })
			each(probe.NullOf(l, true), func(float64) float64 { return float64(3-l) / 2 })
		}
		runs[i] = results.NewRun(r.Run, r.Steps, values)
	}
	return runs
}

func TestFeatureFigures(t *testing.T) {
	runs := probed()
	rules, err := Fig6a(runs)
	if err != nil || len(rules.Panels) != 2 {
		t.Fatalf("%d panels (%v)", len(rules.Panels), err)
	}
	if l := layer(t, rules.Panels[0], chart.Line, "common rule"); l.Y[0] != 1 || l.X[0] != 1 {
		t.Errorf("common rule %v at %v", l.Y, l.X)
	}
	order, err := Fig7a(runs)
	if err != nil {
		t.Fatal(err)
	}
	places := layer(t, panel(t, order, "geometry"), chart.Points, "N = 16")
	for v, y := range places.Y {
		if want := float64(v-2) / math.Sqrt(2); math.Abs(y-want) > 1e-12 || len(places.Y) != 5 {
			t.Errorf("place %d of %d: %g, want %g", v, len(places.Y), y, want)
		}
	}
	null := layer(t, order.Panels[2], chart.Rule, "no meaning")
	if null.Y[0] != .25 { // one component of five symbols
		t.Errorf("R² without meaning %v", null.Y)
	}
	moved, err := Interchanges(runs)
	if err != nil || layer(t, moved.Panels[0], chart.Line, "random direction").Y[0] != .25 {
		t.Errorf("%v", err)
	}
	parts, err := Fig10(runs)
	if err != nil {
		t.Fatal(err)
	}
	if l := layer(t, panel(t, parts, "by zero"), chart.Line, "N = 8"); len(l.Y) != 2 || l.Y[0] != 2 || l.Y[1] != 1 {
		t.Errorf("nulls %v", l.Y)
	}
	for _, c := range []chart.Chart{rules, order, moved, parts} {
		if _, err := c.VegaLite(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Fig10(spoken()); err == nil {
		t.Error("runs without features: want an error")
	}
}

// injected returns two seeds of two widths with 20 instances every 20 steps over two of them, followed closely, whose loss falls by their
// width at an injection and comes back.
func injected(t *testing.T) (runs results.Runs) {
	t.Helper()
	run := spoken()[0].Run
	run.Train.Steps, run.Train.Evaluations = 400, 6
	run.Train.Injection = spec.Injection{Task: 2, Gap: 20, Samples: 8, Length: 2}
	run.Mixture.Settings = corpus.LanguageSettings{Vocabulary: 20, Window: 10, Rank: 3, Sharpness: 2, Task: corpus.Comparison, Symbols: 5}
	steps, glances := train.Steps(run.Train), train.Glances(run.Train)
	loss := func(step, width int) float64 {
		if since := step % 20; step >= 20 {
			return 5 - float64(width)/8*float64(20-since)/20
		}
		return 5
	}
	for _, width := range []int{8, 16} {
		for seed := range uint32(2) {
			r := run
			r.Net.Width, r.Train.Rate, r.Train.Seed = width, .1/float64(width), seed
			values, seen := map[string][]float64{}, map[string][]float64{}
			for _, step := range steps {
				for _, column := range []string{probe.TestLoss, probe.RecalledTest} {
					values[column] = append(values[column], loss(step, width))
				}
				for _, kind := range []string{interference.Whole, interference.Own, interference.Others, interference.Null} {
					for _, s := range interference.Shares {
						cosine := 1 / float64(width)
						if kind == interference.Own && step%20 != 18 {
							cosine = math.NaN()
						}
						values[interference.CosineOf(kind, 1, s)] = append(values[interference.CosineOf(kind, 1, s)], cosine)
						values[interference.SpreadOf(kind, 1, s)] = append(values[interference.SpreadOf(kind, 1, s)], cosine/2)
					}
				}
			}
			for _, step := range glances {
				seen[probe.RecalledTest] = append(seen[probe.RecalledTest], loss(step, width))
			}
			runs = append(runs, results.NewRun(r, steps, values).WithGlances(glances, seen))
		}
	}
	return runs
}

func TestInjectionFigures(t *testing.T) {
	runs := injected(t)
	swings, err := Fig6b(runs)
	if err != nil {
		t.Fatal(err)
	}
	band := layer(t, panel(t, swings, "N = 16"), chart.Band, "8 every 20")
	for i := range band.X[1:] {
		if math.Abs(band.Low[1+i]-3) > 1e-9 || math.Abs(band.High[1+i]-4.8) > 1e-9 {
			t.Errorf("step %g: from %g to %g, want 3 right after injections and 4.8 before", band.X[1+i], band.Low[1+i], band.High[1+i])
		}
	}
	left, err := Fig8(runs)
	if err != nil {
		t.Fatal(err)
	}
	p := left.Panels[len(left.Panels)-1]
	l := layer(t, p, chart.Line, "N = 8")
	if l.X[0] != 0 || l.Y[0] != 0 || l.X[len(l.X)-1] != 20 || math.Abs(l.Y[len(l.Y)-1]) > 1e-9 {
		t.Errorf("from %g at %g to %g at %g", l.Y[0], l.X[0], l.Y[len(l.Y)-1], l.X[len(l.X)-1])
	}
	for i, x := range l.X {
		if x == 2 && math.Abs(l.Y[i]+.9) > 1e-9 {
			t.Errorf("right after the injection %g, want -.9", l.Y[i])
		}
	}
	gradients, err := Fig9(runs, 1)
	if err != nil {
		t.Fatal(err)
	}
	if own := layer(t, panel(t, gradients, "tokens of the task"), chart.Points, "N = 8"); own.X[0] != 0 || own.Y[0] != .125 {
		t.Errorf("the task's own tokens: %v at %v", own.Y, own.X)
	}
	if others := layer(t, panel(t, gradients, "all other tokens"), chart.Band, "N = 16"); math.Abs(others.High[0]-3./32) > 1e-12 {
		t.Errorf("band up to %g", others.High[0])
	}
	collisions, err := Collisions(runs, 1)
	if err != nil {
		t.Fatal(err)
	}
	random := layer(t, collisions.Panels[2], chart.Line, "random directions")
	if want := 1 / math.Sqrt(32*3*8); math.Abs(random.Y[0]-want) > 1e-12 { // 32 neurons of width 8
		t.Errorf("random directions spread %g, want %g", random.Y[0], want)
	}
	for _, c := range []chart.Chart{swings, left, gradients, collisions} {
		if _, err := c.VegaLite(); err != nil {
			t.Error(err)
		}
	}
}
