package figure

import (
	"math"
	"strings"
	"testing"

	"raretask/pkg/chart"
	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// lost returns three seeds of runs that lose the feature of the rarest of six tasks at twice the rate that the restoring force says, for
// two exponents and widths.
func lost(injection spec.Injection) (runs results.Runs) {
	base := small(2)
	base.Train.Optimizer, base.Train.Rate, base.Train.Schedule, base.Train.Warmup, base.Train.Steps = "sgd", .5, "constant", 1, 600
	base.Train.Clip, base.Train.Decay, base.Train.Injection = 0, 0, injection
	for _, r := range each(widths(base, 6, 8), setBeta, .5, .75) {
		m, _ := r.Mixture.Theory()
		without := m.Without(5)
		rate := 2 * 4 * .5 / 2 * without.Restoring(r.Net.Width, without.Others(5))
		held := func(step int) float64 {
			since := max(0, step-injection.From)
			if injection.From+injection.Gap < 600 {
				since %= injection.Gap
			}
			return 1 / (1 + math.Exp(rate*float64(since)-9))
		}
		for seed := range 3 {
			r.Train.Seed = uint32(seed)
			own := results.NewRun(r, []int{0, 600}, map[string][]float64{"injected_feature": {held(0), held(600)}, "injected_norm": {1, 1}})
			var glances []int
			seen := map[string][]float64{}
			for step := 1; step < 600; step++ {
				glances, seen["injected_feature"] = append(glances, step), append(seen["injected_feature"], held(step))
				seen["injected_norm"] = append(seen["injected_norm"], 1)
			}
			runs = append(runs, own.WithGlances(glances, seen))
		}
	}
	return runs
}

func TestForgetting(t *testing.T) {
	runs := lost(spec.Injection{Task: 6, Gap: 580, From: 20, Samples: 1})
	f, err := Forgetting(runs, runs)
	if err != nil || len(f.Panels) != 5 {
		t.Fatal(len(f.Panels), err)
	}
	for i, begin := range []string{"flow: 1.00", "SGD: 2.00 ×/÷ 1.00", "SGD: ", "SGD: 2.00 ×/÷", "SGD: "} {
		if !strings.HasPrefix(f.Panels[i].Title, begin) {
			t.Errorf("panel %d is %q, want %q", i, f.Panels[i].Title, begin)
		}
	}
	panel := f.Panels[1]
	points, equal := layer(t, panel, chart.Points, "β = 0.5"), layer(t, panel, chart.Line, "as predicted")
	for i, x := range points.X {
		if math.Abs(points.Y[i]/x-2) > .01 || x < equal.X[0] || x > equal.X[1] {
			t.Errorf("%g measured for %g, on a line from %g to %g", points.Y[i], x, equal.X[0], equal.X[1])
		}
	}
	if _, err := f.VegaLite(); err != nil {
		t.Error(err)
	}
	if _, err := Forgetting(longestGap(cycling())); err == nil || !strings.Contains(err.Error(), "injected_feature") {
		t.Errorf("runs without the column: %v", err)
	}
}

func TestRetainedShare(t *testing.T) {
	f, err := RetainedShare(lost(spec.Injection{Task: 6, Gap: 10}))
	if err != nil || len(f.Panels) != 2 || !strings.HasPrefix(f.Panels[1].Title, "SGD, from N_crit on: 2.00 ") {
		t.Fatal(f.Panels[1].Title, err)
	}
	l := layer(t, f.Panels[1], chart.Points, "β = 0.75")
	m, err := lost(spec.Injection{Task: 6, Gap: 10})[6].Mixture.Theory()
	if err != nil {
		t.Fatal(err)
	}
	without := m.Without(5)
	for i, w := range field(t, l, "width") {
		want := 4 * .5 / 2 * without.Restoring(int(w), without.Others(5)) * 9
		if math.Abs(l.X[i]/want-1) > 1e-9 || math.Abs(l.Y[i]/want-2) > .01 {
			t.Errorf("width %g: %g, predicted %g, want twice %g", w, l.Y[i], l.X[i], want)
		}
	}
}

func TestFoundOrKept(t *testing.T) {
	signal := columns{"injected_signal": func(r spec.Run, step, _ int) float64 {
		if had := math.Min(.8, float64(r.Train.Injection.Until)/50); step < 100 || r.Net.Width == 8 {
			return had
		}
		return 0
	}}
	runs := each(widths(vast(), 4, 8), func(r *spec.Run, until int) {
		r.Train.Injection = spec.Injection{Task: 6, Gap: 1, Samples: 256, Until: until}
	}, 1, 20, 60)
	f, err := FoundOrKept(seeded(runs, every(), signal))
	if err != nil {
		t.Fatal(err)
	}
	narrow, wide := layer(t, f.Panels[0], chart.Points, "N = 4"), layer(t, f.Panels[0], chart.Points, "N = 8")
	for i, had := range []float64{.02, .4, .8} {
		if math.Abs(narrow.X[i]-had) > 1e-6 || narrow.Y[i] > 1e-6 || math.Abs(wide.Y[i]-had) > 1e-6 {
			t.Errorf("from %g: %g and %g at N = 4, %g at N = 8", had, narrow.X[i], narrow.Y[i], wide.Y[i])
		}
	}
	if got := field(t, wide, "steps alone"); got[2] != 60 {
		t.Errorf("steps alone %v", got)
	}
}

func TestResized(t *testing.T) {
	runs := widths(small(1), 4, 8)
	for _, kind := range []string{"grow", "shrink"} {
		r := runs[1]
		r.Train.Intervention = spec.Intervention{Kind: kind, Neurons: 4, Step: 50}
		runs = append(runs, r)
	}
	f, err := Resized(seeded(runs, every(), columns{"signal": func(r spec.Run, step, _ int) float64 {
		return float64(r.Train.Intervention.Active(step, r.Net.Width)) / 10
	}}))
	if err != nil {
		t.Fatal(err)
	}
	for name, ends := range map[string][2]float64{"N = 4": {.4, .4}, "N = 8": {.8, .8}, "N = 4, then 8": {.4, .8}, "N = 8, then 4": {.8, .4}} {
		l := layer(t, f.Panels[0], chart.Line, name)
		if math.Abs(l.Y[0]-ends[0]) > 1e-9 || math.Abs(l.Y[len(l.Y)-1]-ends[1]) > 1e-9 {
			t.Errorf("%s: from %g to %g", name, l.Y[0], l.Y[len(l.Y)-1])
		}
	}
	if change := layer(t, f.Panels[0], chart.Rule, "the width changes"); change.X[0] != 50 {
		t.Errorf("changes at %v", change.X)
	}
}
