package sizing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var domains = []string{"web", "code", "books", "math"}

// dirichlet returns ratios that sum to 1.
func dirichlet(random *rand.Rand, n int) []float64 {
	all, sum := make([]float64, n), 0.
	for i := range all {
		all[i] = random.ExpFloat64()
		sum += all[i]
	}
	for i := range all {
		all[i] /= sum
	}
	return all
}

// truths are metrics of mixtures.
var truths = map[string]func(r []float64) float64{
	"linear":      func(r []float64) float64 { return 3 - r[0] + 2*r[1] - .5*r[2] + .1*r[3] },
	"logarithm":   func(r []float64) float64 { return 3 - .2*math.Log(r[0]+.01) - .1*math.Log(r[3]+.01) },
	"quadratic":   func(r []float64) float64 { return 2 + 3*(r[0]-.4)*(r[0]-.4) + r[1]*r[2] },
	"exponential": func(r []float64) float64 { return 1.5 + math.Exp(.5-3*r[0]+1*r[1]) },
}

// Of known surfaces new mixtures are told, by intervals that hold as often as they say, and what a change buys is found.
func TestSurface(t *testing.T) {
	const noise = .02
	for name, truth := range truths {
		held, outcomes, effects, changes := 0, 0, 0, 0
		for draw := range 30 {
			random := rand.New(rand.NewPCG(6, uint64(draw)))
			var ratios [][]float64
			var metric []float64
			for range 60 {
				r := dirichlet(random, 4)
				ratios, metric = append(ratios, r), append(metric, truth(r)+noise*random.NormFloat64())
			}
			runs, err := NewRuns(domains, ratios)
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewSurface(runs, metric)
			if err != nil || s.Flat || s.R2 < .8 {
				t.Fatal(name, s, err)
			}
			for range 20 {
				r := dirichlet(random, 4)
				at, kind, err := s.Predict(r)
				if err != nil {
					t.Fatal(err)
				}
				if v := truth(r) + noise*random.NormFloat64(); kind == "prediction" {
					if outcomes++; at.Low <= v && v <= at.High {
						held++
					}
				}
			}
			mean := runs.Mean()
			for i := range domains {
				e, err := s.Effect(mean, i, .1)
				if err != nil {
					t.Fatal(err)
				}
				moved, _ := runs.Moved(mean, i, .1)
				want := truth(moved) - truth(mean)
				if changes++; e.Low-.01 <= want && want <= e.High+.01 {
					effects++
				}
			}
		}
		if t.Logf("%s: %d of %d outcomes, %d of %d changes", name, held, outcomes, effects, changes); held < 90*outcomes/100 || outcomes < 400 {
			t.Errorf("%s: %d of %d outcomes within their intervals", name, held, outcomes)
		}
		if effects < 90*changes/100 {
			t.Errorf("%s: %d of %d changes within their intervals", name, effects, changes)
		}
	}
}

// Ratios that tell nothing make no surface, far mixtures are projections, and ratios that runs don't tell apart are named.
func TestSurfaceSaysWhatItDoesNotKnow(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 1))
	var ratios [][]float64
	var metric []float64
	for range 40 {
		r := dirichlet(random, 2)
		ratios = append(ratios, []float64{.6 * r[0], .6 * r[1], .3 * r[0], .1 + .3*r[1]}) // books as code is, math constant but for web
		metric = append(metric, 2+.1*random.NormFloat64())
	}
	runs, err := NewRuns(domains, ratios)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSurface(runs, metric)
	if err != nil || !s.Flat {
		t.Errorf("%+v %v: want a surface that is none", s, err)
	}
	if notes := strings.Join(runs.Confounded(), "\n"); !strings.Contains(notes, "web and books move together") ||
		!strings.Contains(notes, "web and code move against each other") {
		t.Errorf("%s", notes)
	}
	if _, kind, err := s.Predict([]float64{0, 0, 0, 1}); err != nil || kind != "projection" {
		t.Error(kind, err)
	}
	for want, err := range map[string]error{
		"sum to 0.7":  first(NewRuns(domains, append([][]float64{{.1, .2, .3, .1}}, ratios...))),
		"ratio -0.1":  first(NewRuns(domains, append([][]float64{{-.1, .5, .3, .3}}, ratios...))),
		"4 runs":      first(NewRuns(domains, ratios[:4])),
		"there is n":  first(NewSurface(runs, make([]float64, 40))),
		"as many":     first(NewSurface(runs, metric[:3])),
		"want a numb": first(NewSurface(runs, append([]float64{math.NaN()}, metric[1:]...))),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func first[T any](_ T, err error) error { return err }

func TestRepeats(t *testing.T) {
	runs, err := NewRuns(domains, [][]float64{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}, {.5, .5, 0, 0}, {0, 0, .5, .5}})
	if err != nil {
		t.Fatal(err)
	}
	notes, err := runs.Repeats([]float64{.7, .1, .1, .1}, []float64{1e12, 1e9, 1e11, 3e10}, 1e12, 1e10)
	text := strings.Join(notes, "\n")
	if err != nil || len(notes) != 3 || !strings.Contains(text, "code would be seen 100 times") || !strings.Contains(text,
		"math is seen 3.33 times in "+
			"the target and 0.0333 in the proxy: cut the proxy's data of it to 3e+08 tokens") {
		t.Errorf("%s %v", text, err)
	}
	if _, err := runs.Repeats([]float64{.7, .1, .1, .1}, []float64{0, 1, 1, 1}, 1, 0); err == nil {
		t.Error("no unique tokens, no error")
	}
}

// A metric that ratios don't tell is taken for one they do in hardly more than one of twenty cases, however few runs there are.
func TestNoiseIsNoSurface(t *testing.T) {
	for _, n := range []int{8, 14, 40} {
		told, draws := 0, 60
		for draw := range draws {
			random := rand.New(rand.NewPCG(9, uint64(draw)))
			var ratios [][]float64
			var metric []float64
			for range n {
				ratios, metric = append(ratios, dirichlet(random, 4)), append(metric, 2+random.NormFloat64()*.1)
			}
			runs, err := NewRuns(domains, ratios)
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewSurface(runs, metric)
			if err != nil {
				t.Fatal(err)
			}
			if !s.Flat {
				told++
			}
		}
		if told > 8 { // 5% of 60 is 3; more than 8 have a chance of 1e-3
			t.Errorf("%d runs: %d of %d metrics of noise have a surface", n, told, draws)
		}
	}
}

// Two domains have a quadratic form, too, and hundreds take no longer than one can wait.
func TestSurfaceOfFewAndManyDomains(t *testing.T) {
	random := rand.New(rand.NewPCG(10, 1))
	var ratios [][]float64
	var metric []float64
	for i := range 60 {
		r := float64(i) / 59
		ratios, metric = append(ratios, []float64{r, 1 - r}), append(metric, 2+3*(r-.4)*(r-.4)+.01*random.NormFloat64())
	}
	two, err := NewRuns(domains[:2], ratios)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSurface(two, metric)
	if err != nil || s.Left > .02 {
		t.Fatal(s.Form, s.Left, err)
	}
	if e, err := s.Effect([]float64{.6, .4}, 0, .05); err != nil || math.Abs(e.Estimate-(.1875-.12)) > .01 {
		t.Errorf("%+v %v, want %g", e, err, .1875-.12)
	}
	var names []string
	ratios, metric = nil, nil
	for i := range 150 {
		names = append(names, fmt.Sprint("d", i))
	}
	for range 200 {
		r := dirichlet(random, len(names))
		ratios, metric = append(ratios, r), append(metric, 2-20*r[0]+.001*random.NormFloat64())
	}
	many, err := NewRuns(names, ratios)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err = NewSurface(many, metric); err != nil || time.Since(begin) > time.Minute {
		t.Error(err, time.Since(begin))
	}
}
