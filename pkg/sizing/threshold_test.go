package sizing

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// thresholded are outcomes of a world in which a task of frequency p is learned by a size n with probability 1/(1+exp(-k ln(p n^s / c))).
func thresholded(random *rand.Rand, runs int, s, c, k float64) (all []Outcome) {
	for run := range runs {
		n := 8 * math.Pow(32, random.Float64())
		for range 12 {
			p := math.Pow(10, -4*random.Float64())
			all = append(all, Outcome{[]float64{n, p}, random.Float64() < sigmoid(k*math.Log(p*math.Pow(n, s)/c)), run})
		}
	}
	return all
}

// The exponent of the threshold is found, by intervals that hold it as often as they say, and so is the size that a frequency needs.
func TestThreshold(t *testing.T) {
	const s, c, k = 1.4, .8, 2.5
	covered, needed, draws := 0, 0, 80
	for i := range draws {
		f, err := FitThreshold([]string{"size", "frequency"}, thresholded(rand.New(rand.NewPCG(8, uint64(i))), 40, s, c, k), 200)
		if err != nil {
			t.Fatal(err)
		}
		if e := f.Exponent(1, 0); e.Low <= -s && -s <= e.High {
			covered++
		}
		want := math.Pow(c/.01, 1/s)
		if n := f.Needed(0, []float64{0, .01}, .5); n.Low <= want && want <= n.High {
			needed++
		}
	}
	if covered < 68 || needed < 68 { // 95% of 80 is 76; below 68 has a chance of 1e-3
		t.Errorf("of %d intervals %d hold the exponent, %d the size", draws, covered, needed)
	}
	f, err := FitThreshold([]string{"size", "frequency"}, thresholded(rand.New(rand.NewPCG(9, 1)), 100, s, c, k), 100)
	if err != nil {
		t.Fatal(err)
	}
	if p := f.Probability([]float64{256, .5}); p.Estimate < .95 || !f.Inside([]float64{100, .01}) || f.Inside([]float64{1000, .01}) {
		t.Errorf("%+v", p)
	}
	if l := f.Left; l == nil || l.Outcomes != 12 || l.Right < 9 {
		t.Errorf("%+v", l)
	}
	if up, down := f.Needed(0, []float64{0, .01}, .9), f.Needed(0, []float64{0, .01}, .1); up.Estimate <= down.Estimate {
		t.Errorf("%g for nine in ten, %g for one", up.Estimate, down.Estimate)
	}
}

func TestThresholdSaysWhatIsMissing(t *testing.T) {
	at := func(n, p float64, learned bool) Outcome { return Outcome{X: []float64{n, p}, Learned: learned} }
	var none, one []Outcome
	for i := range 20 {
		none = append(none, at(float64(i+1), .1/float64(i+1), false))
		one = append(one, at(8, .1/float64(i+1), i%2 == 0))
	}
	for want, outcomes := range map[string][]Outcome{
		"are learned": none, "one size": one, "at least 12": none[:5], "positive": append([]Outcome{at(-1, 1, true)}, none...),
	} {
		if _, err := FitThreshold([]string{"size", "frequency"}, outcomes, 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
