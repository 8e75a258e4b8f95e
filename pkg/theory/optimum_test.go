package theory

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

func powerLaw(t testing.TB, tasks, block int, beta, alphaFirst, alphaLast float64) Mixture {
	t.Helper()
	m, err := PowerLaw(tasks, block, beta, alphaFirst, alphaLast)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// near compares to the digits of a published number: want .0588 means within half a unit of its last digit.
func near(t *testing.T, what string, got, want, half float64) {
	t.Helper()
	if !(math.Abs(got-want) <= half) {
		t.Errorf("%s = %.6g, want %g ± %g", what, got, want, half)
	}
}

func TestPublishedOptimalLosses(t *testing.T) {
	near(t, "Tr M", powerLaw(t, 32, 32, 1, 2, 2).Trace(), 1.6142, 5e-5)
	for beta, want := range map[float64][4]float64{1: {.9137, .4867, .1383, .0588}, 2: {.4311, .1778, .0403, .0126}} {
		m := powerLaw(t, 32, 32, beta, 2, 2)
		for i, width := range []int{8, 32, 128, 256} {
			near(t, fmt.Sprintf("beta %g: L*(%d)", beta, width), m.OptimalLoss(width), want[i], 5e-5)
		}
	}
	reduced := powerLaw(t, 16, 8, 1, 2, 2)
	for width, want := range map[int]float64{8: .6865, 16: .4411, 32: .2102, 48: .1171} {
		near(t, fmt.Sprintf("reduced L*(%d)", width), reduced.OptimalLoss(width), want, 5e-5)
	}
}

func TestPublishedThresholds(t *testing.T) {
	for _, c := range []struct {
		beta             float64
		every            []int // N*(1) of tasks 1, 2, 4, 8, 16, 32
		someLast         int
		frequent, others int
	}{
		{1, []int{1, 2, 5, 10, 22, 46}, 44, 27, 44},
		{2, []int{1, 3, 8, 20, 50, 119}, 114, 57, 114},
	} {
		m := powerLaw(t, 32, 32, c.beta, 2, 2)
		stars := m.NStar(1)
		for i, k := range []int{1, 2, 4, 8, 16, 32} {
			if stars[k-1].Every != c.every[i] {
				t.Errorf("beta %g: N*(1) of task %d = %d, want %d", c.beta, k, stars[k-1].Every, c.every[i])
			}
		}
		if stars[31].Some != c.someLast {
			t.Errorf("beta %g: N*(1) of task 32 kept by some optimum = %d, want %d", c.beta, stars[31].Some, c.someLast)
		}
		frequent, others := m.NCrit()
		if frequent.Some != c.frequent || others.Some != c.others {
			t.Errorf("beta %g: N_crit = %d, %d, want %d, %d", c.beta, frequent.Some, others.Some, c.frequent, c.others)
		}
	}
	_, others := powerLaw(t, 16, 8, 2, 2, 2).NCrit()
	if others.Some != 39 {
		t.Errorf("reduced scale, beta 2: N_crit^all = %d, want 39", others.Some)
	}
}

func TestPublishedResidualFloors(t *testing.T) {
	for _, c := range []struct {
		beta           float64
		frequent       int
		floor, earlier float64
	}{{.5, 22, .453, .471}, {1, 14, .249, .257}, {1.5, 6, .0712, .0736}, {2, 3, .00966, .0103}} {
		m := powerLaw(t, 32, 32, c.beta, 2, 2)
		set := m.Frequent(.8)
		if len(set) != c.frequent {
			t.Errorf("beta %g: |F| = %d, want %d", c.beta, len(set), c.frequent)
		}
		critical, others := m.NCrit()
		unit := math.Pow(10, math.Floor(math.Log10(c.floor))-2) / 2
		near(t, fmt.Sprintf("beta %g: delta*_F(N_crit^F)", c.beta), m.ResidualFloor(set, critical.Some), c.floor, unit)
		near(t, fmt.Sprintf("beta %g: one feature earlier", c.beta), m.ResidualFloor(set, critical.Some-1), c.earlier, max(unit, c.earlier*5e-3))
		if got := m.ResidualFloor(set, others.Some); c.beta == 2 && got != 0 {
			t.Errorf("beta 2: delta*_F(N_crit^all) = %g, want 0", got)
		}
	}
}

func TestRankOneTasksAppearAtTheirRank(t *testing.T) {
	m := powerLaw(t, 16, 1, 1, 2, 2)
	for k, star := range m.NStar(1) {
		if star != (Widths{k + 1, k + 1}) {
			t.Errorf("N*(1) of task %d = %+v, want %d", k+1, star, k+1)
		}
	}
	if stars := m.NStar(2); stars[0] != (Widths{}) {
		t.Errorf("N*(2) of rank-one tasks = %+v, want none", stars[0])
	}
}

func TestTiesAtTheReducedScale(t *testing.T) {
	// At width 32 the utilities of (task, j) = (1,6), (4,3) and (9,2) are 1/36 each.
	fewest, most := powerLaw(t, 16, 8, 1, 2, 2).Retained(32)
	for _, k := range []int{0, 3, 8} {
		if fewest[k]+1 != most[k] {
			t.Errorf("task %d at a tie: retained %d to %d, want one apart", k+1, fewest[k], most[k])
		}
	}
	fewest, most = powerLaw(t, 16, 8, 1, 2.2, 2.2).Retained(32)
	if !slices.Equal(fewest, most) {
		t.Errorf("alpha 2.2 has no tie at 32, got retained %v to %v", fewest, most)
	}
}

// Every choice of at most N coordinates is tried: none beats L*, and the best ones keep exactly what Retained, TaskLoss and NStar say.
func TestBruteForceOverCoordinates(t *testing.T) {
	for name, m := range map[string]Mixture{
		"power law with ties": powerLaw(t, 4, 3, 1, 2, 2),
		"flat spectra":        {Frequency: []float64{.5, .25, .25}, Spectrum: [][]float64{{1, 1, .5}, {2, 1, 1}, {1, 0, 0}}},
		"uniform":             powerLaw(t, 3, 3, 0, 1, 2),
	} {
		K, d := m.Tasks(), m.Block()
		for width := 1; width < K*d; width++ {
			best := math.MaxFloat64
			fewest, most := make([]int, K), make([]int, K)
			for subset := range 1 << (K * d) {
				if bits.OnesCount(uint(subset)) > width {
					continue
				}
				kept, loss := make([]int, K), 0.0
				for i := range K * d {
					if subset>>i&1 == 1 {
						kept[i/d]++
					} else {
						loss += m.Frequency[i/d] * m.Spectrum[i/d][i%d]
					}
				}
				if loss < best-1e-12 {
					best = loss
					copy(fewest, kept)
					copy(most, kept)
				}
				if math.Abs(loss-best) < 1e-12 {
					for k := range K {
						fewest[k], most[k] = min(fewest[k], kept[k]), max(most[k], kept[k])
					}
				}
			}
			near(t, fmt.Sprintf("%s: L*(%d)", name, width), m.OptimalLoss(width), best, 1e-12)
			gotFewest, gotMost := m.Retained(width)
			if !slices.Equal(gotFewest, fewest) || !slices.Equal(gotMost, most) {
				t.Errorf("%s: Retained(%d) = %v, %v, want %v, %v", name, width, gotFewest, gotMost, fewest, most)
			}
			lowest, _ := m.TaskLoss(width)
			near(t, name+": task loss", lowest[0], sum(m.Spectrum[0][most[0]:]), 0)
			for j := 1; j <= d; j++ {
				for k, star := range m.NStar(j) {
					if (star.Every != 0 && star.Every <= width) != (fewest[k] >= j) || (star.Some <= width) != (most[k] >= j) {
						t.Errorf("%s: N*_%d(%d) = %+v but %d to %d are kept at width %d", name, k, j, star, fewest[k], most[k], width)
					}
				}
			}
		}
	}
}

// With distinct utilities the order of learning is that of utilities, whatever the order of frequencies.
func TestFeaturesFallInUtility(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := powerLaw(t, 8, 6, .1, 3, .5)
	rng.Shuffle(8, func(i, j int) {
		m.Frequency[i], m.Frequency[j] = m.Frequency[j], m.Frequency[i]
	})
	features := m.Features()
	for i, f := range features[1:] {
		if f.Utility > features[i].Utility*(1+tieTolerance) {
			t.Errorf("feature %d has utility %g after %g", i+1, f.Utility, features[i].Utility)
		}
	}
	if features[len(features)-1].Above+features[len(features)-1].Tied != 48 {
		t.Errorf("last of 48 features: %+v", features[len(features)-1])
	}
}

func TestFrequentAtExactShare(t *testing.T) {
	m := powerLaw(t, 5, 1, 0, 2, 2)
	if set := m.Frequent(.8); !slices.Equal(set, []int{0, 1, 2, 3}) {
		t.Errorf("four of five equal tasks make 0.8, got %v", set)
	}
	if r := m.Rarest(); r != 4 {
		t.Errorf("rarest of equal tasks = %d, want the last", r)
	}
}

func TestHeldFeatures(t *testing.T) {
	m := powerLaw(t, 2, 3, 1, 2, 2) // shares 36/49, 45/49, 1
	for signal, want := range map[float64]int{0: 0, .68: 0, .69: 1, .86: 1, .87: 2, .96: 3, 1: 3, math.NaN(): 0} {
		if got := m.HeldFeatures(0, signal, .05); got != want {
			t.Errorf("signal %g: %d features held, want %d", signal, got, want)
		}
	}
}

func TestInvalidPowerLaws(t *testing.T) {
	if _, err := PowerLaw(0, 3, 1, 2, 2); err == nil {
		t.Error("no tasks: want an error")
	}
	if _, err := PowerLaw(2, 3, math.NaN(), 2, 2); err == nil {
		t.Error("NaN exponent: want an error")
	}
}

func ExampleMixture_NStar() {
	m, _ := PowerLaw(32, 32, 1, 2, 2)
	stars := m.NStar(1)
	for _, k := range []int{1, 2, 4, 8, 16, 32} {
		fmt.Println(k, stars[k-1].Every)
	}
	// Output:
	// 1 1
	// 2 2
	// 4 5
	// 8 10
	// 16 22
	// 32 46
}

func ExampleMixture_NCrit() {
	m, _ := PowerLaw(32, 32, 2, 2, 2)
	frequent, others := m.NCrit()
	fmt.Println(frequent.Some, others.Some)
	// Output: 57 114
}
