package sizing

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"raretask/pkg/spec"
	"raretask/pkg/theory"
)

// mixed returns a mixture of tasks of unlike complexity.
func mixed(t *testing.T, tasks int, beta, first, last float64) Mixture {
	t.Helper()
	m, err := theory.PowerLaw(tasks, 6, beta, first, last)
	if err != nil {
		t.Fatal(err)
	}
	return Mixture{m}
}

// What is said of a width agrees with theory's stairs, with and without ties.
func TestAt(t *testing.T) {
	for _, m := range []Mixture{mixed(t, 8, 1, 2, 2), mixed(t, 12, 1.37, 2.61, 1.43)} {
		for width := 1; width <= 30; width++ {
			for _, v := range m.At(width) {
				star := m.NStar(1)[v.Task]
				if v.Learned != (star.Every <= width) {
					t.Errorf("width %d, task %d: learned %t, N* is %v", width, v.Task+1, v.Learned, star)
				}
				if v.Tied() { // all ends of a tie are near one
					continue
				}
				if v.Learned != (v.Margin > 0) {
					t.Errorf("width %d, task %d: learned %t with a margin of %g", width, v.Task+1, v.Learned, v.Margin)
				}
			}
		}
	}
}

// The least width reaches a target and one less doesn't; the least frequency is where a width begins to.
func TestSmallest(t *testing.T) {
	m := mixed(t, 9, 1.3, 2.4, 1.7)
	for k := range m.Tasks() {
		for _, target := range []float64{.9, .5, .2, .05, 0} {
			width, features, err := m.SmallestWidth(k, target)
			if err != nil {
				t.Fatal(err)
			}
			if features == 0 {
				continue
			}
			if at, below := m.At(width)[k], m.At(width - 1)[k]; at.High > target+1e-9 || width > 1 && below.High <= target {
				t.Errorf("task %d to %g by width %d: %g there, %g at one less", k+1, target, width, at.High, below.High)
			}
			for _, w := range []int{features, features + 3, 20} {
				p := m.SmallestFrequency(k, w, features)
				if p == 0 {
					continue
				}
				if above, under := m.With(k, p*1.001).At(w)[k], m.With(k, p*.999).At(w)[k]; above.Features < features || under.Features >= features {
					t.Errorf("task %d, width %d, %d features: %d just above frequency %g, %d just below", k+1, w, features, above.Features, p,
						under.Features)
				}
			}
		}
	}
	if p := m.SmallestFrequency(3, 2, 3); !math.IsNaN(p) {
		t.Errorf("three features in a width of two at frequency %g", p)
	}
	none := Mixture{theory.Mixture{Frequency: []float64{1, 0}, Spectrum: m.Spectrum[:2]}}
	for want, err := range map[string]error{
		"floor":       second(m.SmallestWidth(0, -.1)),
		"frequency 0": second(none.SmallestWidth(1, .5)),
		"want 1 … 9":  second(m.SmallestWidth(9, .5)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func second(_, _ int, err error) error { return err }

// A recommended mixture reaches its targets at its width, no mixture does at less, and tasks without a target are in no one's way.
func TestRecommend(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	for range 50 {
		m := mixed(t, 4+random.IntN(8), .5+1.5*random.Float64(), 1.5+1.5*random.Float64(), 1.5+1.5*random.Float64())
		targets := make([]float64, m.Tasks())
		for k := range targets {
			if targets[k] = math.NaN(); random.IntN(2) == 0 || k == 0 {
				targets[k] = .05 + .9*random.Float64()
			}
		}
		r, err := m.Recommend(targets)
		if err != nil {
			if strings.Contains(err.Error(), "no target") {
				continue
			}
			t.Fatal(err)
		}
		sum := 0.
		for k, v := range r.At(r.Width) {
			sum += v.Frequency
			if want := targets[k]; !math.IsNaN(want) && v.High > want+1e-9 {
				t.Errorf("task %d ends at %g, target %g", k+1, v.High, want)
			}
			if math.IsNaN(targets[k]) && v.Learned {
				t.Errorf("task %d, without a target, takes a neuron", k+1)
			}
		}
		if math.Abs(sum-1) > 1e-12 || r.Margin <= NearTie {
			t.Errorf("frequencies sum to %g, margin %g", sum, r.Margin)
		}
		least := 0
		for k, target := range targets {
			if !math.IsNaN(target) {
				n, _ := m.needs(k, target)
				least += n
			}
		}
		if r.Width != least {
			t.Errorf("width %d: the targets take %d features", r.Width, least)
		}
	}
	m := mixed(t, 3, 1, 2, 2)
	for want, targets := range map[string][]float64{"want one each": {.5}, "no target": {math.NaN(), math.NaN(), 1}, "floor": {-1, .5, .5}} {
		if _, err := m.Recommend(targets); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// In the last fifth of training a task is five times as frequent, and the others the rarer; what it costs them is counted once.
func TestLateAndCost(t *testing.T) {
	m := mixed(t, 8, 1.5, 2, 2)
	late, err := m.Late(7, 9, .2)
	if err != nil {
		t.Fatal(err)
	}
	other := m.With(7, 5*m.Frequency[7])
	if late != other.At(9)[7] || math.Abs(late.Frequency-5*m.Frequency[7]) > 1e-15 {
		t.Errorf("%+v", late)
	}
	if !late.Learned || m.At(9)[7].Learned {
		t.Errorf("late %t, constant %t: want a width at which it makes the difference", late.Learned, m.At(9)[7].Learned)
	}
	cost := m.CostOf(other, 9)
	if !(cost.Common > 0) || cost.After[7] >= cost.Before[7] {
		t.Errorf("%+v", cost)
	}
	if _, err := m.Late(0, 9, .1); err == nil || !strings.Contains(err.Error(), "above its frequency") {
		t.Error(err)
	}
}

// Trials are valid, unlike, and the same each time.
func TestTrials(t *testing.T) {
	for name, of := range map[string]func(string, uint64, int) (sweeps []string){
		"bottlenecks": hashes(t, Bottlenecks), "parities": hashes(t, Parities), "languages": hashes(t, Languages)} {
		fit, test, again := of("quick", FitSeed, 12), of("quick", TestSeed, 20), of("quick", TestSeed, 20)
		seen := map[string]bool{}
		for i, h := range append(fit, test...) {
			if seen[h] {
				t.Errorf("%s: trial %d is there twice", name, i)
			}
			seen[h] = true
		}
		if strings.Join(test, " ") != strings.Join(again, " ") {
			t.Errorf("%s: other trials the second time", name)
		}
	}
}

// hashes returns what names the runs of trials, one for each trial.
func hashes(t *testing.T, of func(string, uint64, int) ([]*spec.Sweep, error)) func(string, uint64, int) []string {
	return func(scale string, seed uint64, n int) (all []string) {
		t.Helper()
		sweeps, err := of(scale, seed, n)
		if err != nil || len(sweeps) != n {
			t.Fatal(len(sweeps), err)
		}
		for _, s := range sweeps {
			runs, err := s.Runs()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, spec.Stack(runs).Hash())
		}
		return all
	}
}
