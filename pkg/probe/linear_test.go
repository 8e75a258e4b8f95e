package probe

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func gaussian(random *rand.Rand, n, d int) [][]float64 {
	rows := make([][]float64, n)
	for i := range rows {
		rows[i] = make([]float64, d)
		for j := range rows[i] {
			rows[i][j] = random.NormFloat64()
		}
	}
	return rows
}

// A direction that is planted among the large ones is found, in a small one it isn't, and of noise the components explain their share.
func TestExplained(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	const n, d, k = 400, 30, 10
	points, values := gaussian(random, n, d), make([]float64, n)
	for i, p := range points {
		values[i] = random.NormFloat64()
		p[3], p[20] = 5*values[i], p[20]/1000
	}
	if got, err := Explained(points, values, k); err != nil || got < .999 {
		t.Errorf("planted in the largest direction: %g (%v)", got, err)
	}
	for i, p := range points {
		p[3], p[20] = random.NormFloat64(), values[i]/1000
	}
	if got, err := Explained(points, values, k); err != nil || got > .1 {
		t.Errorf("in the smallest: %g (%v)", got, err)
	}
	if got, err := Explained(points, values, d); err != nil || got < .999 {
		t.Errorf("of all components: %g (%v)", got, err)
	}
	mean := 0.
	for range 50 {
		for i := range values {
			values[i] = random.NormFloat64()
		}
		got, err := Explained(points, values, k)
		if err != nil {
			t.Fatal(err)
		}
		mean += got / 50
	}
	if want := float64(k) / (n - 1); math.Abs(mean-want) > .006 {
		t.Errorf("of noise %g, want %g", mean, want)
	}
	for what, f := range map[string]func() (float64, error){
		"more points": func() (float64, error) { return Explained(points[:5], values[:5], 5) },
		"vary":        func() (float64, error) { return Explained(points, make([]float64, n), 5) },
		"as many":     func() (float64, error) { return Explained(points, values[:5], 5) },
		"equal":       func() (float64, error) { return Explained(make([][]float64, 0), values, 5) },
	} {
		if _, err := f(); err == nil || what != "equal" && !strings.Contains(err.Error(), what) {
			t.Errorf("%v: want an error that says %q", err, what)
		}
	}
}

// Labels that are linear in features are told, and the control task, whose kinds of input have no order, is not; where features are a code
// of the kind, the control is told as well: such a probe is not selective.
func TestSelectivity(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 1))
	const n, kinds = 600, 40
	points := gaussian(random, n, 5)
	code := make([][]float64, n)
	labels, kind, train := make([]int, n), make([]int, n), make([]bool, n)
	for i := range points {
		kind[i] = i % kinds
		train[i] = i < n/2
		points[i][2] = float64(kind[i]) - kinds/2 + .1*random.NormFloat64()
		if labels[i] = 0; kind[i] >= kinds/2 {
			labels[i] = 1
		}
		code[i] = make([]float64, kinds)
		code[i][kind[i]] = 1
	}
	s, err := Linear(points, labels, kind, train, 1e-3, random)
	if err != nil || s.Task < .95 || s.Control > .75 || s.Selective() < .2 {
		t.Errorf("%+v, %v: want the task told and not the control", s, err)
	}
	if s, err = Linear(code, labels, kind, train, 1e-3, random); err != nil || s.Task < .99 || s.Control < .99 {
		t.Errorf("%+v, %v: want both told by a code of the kind", s, err)
	}
	none := make([]bool, n)
	for _, f := range []func() (Selectivity, error){
		func() (Selectivity, error) { return Linear(points, labels, kind, none, 1e-3, random) },
		func() (Selectivity, error) { return Linear(points, make([]int, n), kind, train, 1e-3, random) },
		func() (Selectivity, error) { return Linear(points, labels, kind, train, 0, random) },
	} {
		if _, err := f(); err == nil {
			t.Error("want an error")
		}
	}
}

// Frequencies that are planted are counted, and none in noise, of even and odd numbers of classes.
func TestModes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	for _, p := range []int{20, 21, 100} {
		for _, planted := range [][]int{{}, {1}, {2, 5, 9}, {p / 2}} {
			means := gaussian(random, p, 200)
			for i, k := range planted {
				for c := range means {
					angle := 2 * math.Pi * float64(k*c) / float64(p)
					means[c][2*i] += 60 * math.Cos(angle)
					means[c][2*i+1] += 60 * math.Sin(angle)
				}
			}
			shares, err := Spectrum(means)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.
			for _, s := range shares {
				sum += s
			}
			if math.Abs(sum-1) > 1e-9 || len(shares) != p/2 {
				t.Errorf("%d classes: %d shares that sum to %g", p, len(shares), sum)
			}
			if got, err := Modes(means, 2); err != nil || got != len(planted) {
				t.Errorf("%d classes: %d modes (%v), planted %v; shares %v", p, got, err, planted, shares)
			}
		}
	}
	if _, err := Spectrum(make([][]float64, 2)); err == nil {
		t.Error("two classes have no frequencies")
	}
	same := make([][]float64, 16) // but for rounding
	for c := range same {
		for j := range 8 {
			same[c] = append(same[c], float64(j)+1e-8*random.NormFloat64())
		}
	}
	if n, err := Modes(same, 2); !errors.Is(err, ErrEqual) {
		t.Errorf("%d modes of rounding: %v", n, err)
	}
}
