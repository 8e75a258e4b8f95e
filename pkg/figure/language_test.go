package figure

import (
	"math"
	"testing"

	"raretask/pkg/chart"
	"raretask/pkg/corpus"
	"raretask/pkg/probe"
	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// spoken returns two seeds of language models of two widths and frequencies, each width with a rate of its own, whose losses fall by steps
// and width.
func spoken() (runs results.Runs) {
	base := spec.Default()
	base.Mixture.Family, base.Mixture.Tasks = "language", 2
	base.Mixture.Settings = corpus.LanguageSettings{Vocabulary: 20, Window: 10, Rank: 3, Sharpness: 2, Task: corpus.Comparison, Symbols: 5}
	base.Net = spec.NewNet("transformer", 8)
	base.Train.Batch, base.Train.Steps = 4, 100
	steps := []int{0, 1, 10, 100}
	for _, samples := range []int{1, 4} {
		for _, width := range []int{8, 16} {
			for seed := range 2 {
				r := base
				r.Net.Width, r.Train.Rate, r.Train.Seed = width, .1/float64(width), uint32(seed)
				r.Train.Injection = spec.Injection{Task: 2, Gap: 2, Samples: samples}
				values := map[string][]float64{}
				for _, step := range steps {
					loss := 8 / float64(width) / (1 + float64(step)*float64(samples)/10)
					values[probe.TrainLoss] = append(values[probe.TrainLoss], loss)
					values[probe.TestLoss] = append(values[probe.TestLoss], 2*loss)
					values[probe.TestAccuracy] = append(values[probe.TestAccuracy], 1-loss/2)
					values["loss_sampled"] = append(values["loss_sampled"], loss, loss/2)
				}
				runs = append(runs, results.NewRun(r, steps, values))
			}
		}
	}
	return runs
}

func TestFig5(t *testing.T) {
	f, err := Fig5(spoken())
	if err != nil {
		t.Fatal(err)
	}
	heat := layer(t, panel(t, f, "train loss"), chart.Heat, "")
	if len(heat.X) != 4 {
		t.Fatalf("%d cells, want those of two widths and frequencies", len(heat.X))
	}
	for i, x := range heat.X {
		samples := heat.Y[i] * 2 * 4 * 10 // an instance every second batch of four windows of ten tokens
		want := 8 / x / (1 + 10*math.Round(samples))
		if math.Abs(heat.Value[i]-want) > 1e-9 || math.Abs(samples-math.Round(samples)) > .05*samples {
			t.Errorf("width %g at %g instances per token: %g, want %g", x, heat.Y[i], heat.Value[i], want)
		}
	}
	if _, err := f.VegaLite(); err != nil {
		t.Error(err)
	}
}

func TestLanguageCurves(t *testing.T) {
	runs := spoken()
	l, err := corpus.NewLanguage(runs[0].Mixture.Settings.(corpus.LanguageSettings))
	if err != nil {
		t.Fatal(err)
	}
	single, _ := l.Entropies()
	f, err := Fig22(runs)
	if err != nil || len(f.Panels) != 2 {
		t.Fatal(len(f.Panels), err)
	}
	for _, line := range f.Panels[1].Layers {
		for i, x := range line.X {
			if math.Abs(line.Y[i]-2*x/single) > 1e-9 {
				t.Errorf("%s: task %g at language %g: want twice the loss that the language has relative to %g", line.Name, line.Y[i], x, single)
			}
		}
	}
	if f, err = Fig23(runs); err != nil || len(f.Panels) != 2 {
		t.Fatal(len(f.Panels), err)
	}
	narrow := layer(t, f.Panels[0], chart.Line, "N = 8")
	if want := 6 * float64(runs[0].Run.Parameters()) * 40 * 100; narrow.X[len(narrow.X)-1] != want {
		t.Errorf("compute %g, want %g", narrow.X[len(narrow.X)-1], want)
	}
	best := layer(t, f.Panels[0], chart.Line, "best of all sizes")
	for i := range best.X[1:] {
		if best.X[i] > best.X[i+1] || best.Y[i] <= best.Y[i+1] {
			t.Errorf("the frontier doesn't fall: %v, %v", best.X, best.Y)
		}
	}
	if f, err = TaskCurves(runs); err != nil || len(f.Panels) != 2 {
		t.Fatal(len(f.Panels), err)
	}
	is(t, layer(t, f.Panels[0], chart.Line, "N = 16"), []float64{1, 10, 100}, []float64{1 - .25/1.1, 1 - .25/2, 1 - .25/11})
}
