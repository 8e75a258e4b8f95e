package scaling

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestPowerLawIsExact(t *testing.T) {
	x := []float64{1, 2, 8, 32}
	var y []float64
	for _, v := range x {
		y = append(y, 3*math.Pow(v, -.7))
	}
	l, err := PowerLaw(x, y)
	if err != nil || math.Abs(l.Slope+.7) > 1e-12 || math.Abs(l.At(1)-3) > 1e-12 || l.Scatter > 1e-12 {
		t.Errorf("%+v, %v: want 3 x^-.7", l, err)
	}
}

// sample draws times that are a power law of frequency with scatter, and cuts them at a limit.
func sample(random *rand.Rand, n int, limit float64) (x, y []float64, censored []bool) {
	for i := range n {
		p := math.Pow(float64(i%24+1), -1.4)
		v := 50 * math.Pow(p, -.9) * math.Exp(.3*random.NormFloat64())
		x, y, censored = append(x, p), append(y, min(v, limit)), append(censored, v > limit)
	}
	return x, y, censored
}

// The censored fit must find the slope that least squares over what was learned misses, and be least squares where nothing is
// censored.
func TestCensoredIsUnbiased(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	x, y, censored := sample(random, 6000, 1000)
	l, err := Censored(x, y, censored)
	if err != nil || math.Abs(l.Slope+.9) > .015 || math.Abs(l.Scatter-.3) > .01 {
		t.Errorf("%+v, %v: want slope -.9, scatter .3", l, err)
	}
	var lx, ly []float64
	for i := range x {
		if !censored[i] {
			lx, ly = append(lx, x[i]), append(ly, y[i])
		}
	}
	dropped, _ := PowerLaw(lx, ly)
	if dropped.Slope < -.87 {
		t.Errorf("dropping the censored gives slope %g: this sample tests nothing", dropped.Slope)
	}
	x, y, censored = sample(random, 200, math.Inf(1))
	l, _ = Censored(x, y, censored)
	if want, _ := PowerLaw(x, y); l != want {
		t.Errorf("nothing censored: %+v, want %+v", l, want)
	}
}

// The gradient vanishes at the maximum, also where a point is hopelessly far beyond its limit.
func TestCensoredMaximisesTheLikelihood(t *testing.T) {
	x, y, censored := sample(rand.New(rand.NewPCG(3, 4)), 60, 300)
	x, y, censored = append(x, 1), append(y, 1e4), append(censored, true)
	l, err := Censored(x, y, censored)
	if err != nil {
		t.Fatal(err)
	}
	lx, ly, _ := logarithms(x, y)
	at := [3]float64{l.Intercept / l.Scatter, l.Slope / l.Scatter, 1 / l.Scatter}
	best, gradient, _ := likelihood(at, lx, ly, censored)
	for i := range at {
		if g := gradient.AtVec(i); math.Abs(g) > 1e-4*float64(len(x)) {
			t.Errorf("gradient %d is %g at the maximum", i, g)
		}
		for _, step := range []float64{-.01, .01} {
			moved := at
			moved[i] *= 1 + step
			if v, _, _ := likelihood(moved, lx, ly, censored); v > best {
				t.Errorf("moving parameter %d by %g raises the likelihood from %g to %g", i, step, best, v)
			}
		}
	}
}

func TestLogCDFJoins(t *testing.T) {
	if a, b := logCDF(-20), logCDF(-20+1e-9); math.Abs(a-b) > 1e-4 {
		t.Errorf("log of the normal distribution jumps from %g to %g at -20", a, b)
	}
	if got := logCDF(0); math.Abs(got+math.Ln2) > 1e-15 {
		t.Errorf("logCDF(0) = %g, want -ln 2", got)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		x, y     []float64
		censored []bool
		want     string
	}{
		{[]float64{1}, []float64{1}, []bool{false}, "two different x"},
		{[]float64{1, 1}, []float64{1, 2}, []bool{false, false}, "two different x"},
		{[]float64{1, 2}, []float64{1, 0}, []bool{false, false}, "point 2"},
		{[]float64{1, 2}, []float64{1}, []bool{false, false}, "equally many"},
		{[]float64{1, 2}, []float64{1, 2}, []bool{false}, "want one each"},
		{[]float64{1, 2}, []float64{1, 2}, []bool{false, true}, "not censored"},
	} {
		if _, err := Censored(c.x, c.y, c.censored); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", c, err, c.want)
		}
	}
}

// The bootstrap's interval of a mean is near the normal one, and of a statistic that always fails, nothing.
func TestBootstrap(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const n = 400
	values := make([]float64, n)
	mean := 0.
	for i := range values {
		values[i] = random.NormFloat64()
		mean += values[i] / n
	}
	low, high := Bootstrap(n, 2000, random, func(seeds []int) (float64, error) {
		sum := 0.
		for _, s := range seeds {
			sum += values[s] / n
		}
		return sum, nil
	})
	half := 1.96 / math.Sqrt(n)
	if math.Abs(low-(mean-half)) > .2*half || math.Abs(high-(mean+half)) > .2*half {
		t.Errorf("interval %g … %g, want about %g ± %g", low, high, mean, half)
	}
	low, _ = Bootstrap(3, 10, random, func([]int) (float64, error) { return 0, errors.New("no") })
	if !math.IsNaN(low) {
		t.Errorf("interval of failures starts at %g, want NaN", low)
	}
}
