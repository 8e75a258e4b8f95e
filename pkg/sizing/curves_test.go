package sizing

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// drawn is a curve of 24 amounts of data from 1e6 to some, of a law with noise.
func drawn(random *rand.Rand, size, frequency, to, noise float64, of func(data float64) float64) Curve {
	c := Curve{Task: "task", Size: size, Frequency: frequency}
	for i := range 24 {
		d := 1e6 * math.Pow(to/1e6, float64(i)/23)
		c.Data, c.Y = append(c.Data, d), append(c.Y, max(0, of(d)+noise*random.NormFloat64()))
	}
	return c
}

// world draws curves of which the answer for the smaller size is known.
type madeUp func(random *rand.Rand) []Curve

func between(random *rand.Rand, low, high float64) float64 { return low + (high-low)*random.Float64() }

// powers is a law that falls from 1e6 on.
func powers(floor, height, b float64) func(float64) float64 {
	return func(d float64) float64 { return floor + height*math.Pow(d/1e6, -b) }
}

func late(chance, low, at, width float64) func(float64) float64 {
	return func(d float64) float64 { return low + (chance-low)/(1+math.Pow(d/at, 1/width)) }
}

var madeUps = map[string]struct {
	answer string
	of     madeUp
}{
	"size": {LargerModel, func(r *rand.Rand) []Curve {
		b, e := between(r, .35, .7), between(r, 1, 2.5)
		return []Curve{drawn(r, 1e7, 0, 1e9, .01, powers(e+between(r, .3, 1), 2, b)), drawn(r, 1e9, 0, 1e9, .01, powers(e, 2, b))}
	}},
	"data": {MoreData, func(r *rand.Rand) []Curve {
		b, e := between(r, .25, .4), between(r, .2, 2)
		slow := between(r, 1.6, 2.2) // times what is left, of which some 10 times the data make up
		return []Curve{drawn(r, 1e7, 0, 1e9, .005, powers(e, 2*slow, b)), drawn(r, 1e9, 0, 1e9, .005, powers(e, 2, b))}
	}},
	"frequency": {HigherFrequency, func(r *rand.Rand) []Curve {
		b, e := between(r, .35, .7), between(r, .2, 1)
		good, bad := powers(e, 2, b), powers(e+between(r, .5, 1), 2, b)
		return []Curve{drawn(r, 1e7, 1e-4, 1e9, .01, bad), drawn(r, 1e9, 1e-4, 1e9, .01, good), drawn(r, 1e7, 1e-3, 1e9, .01, good)}
	}},
	"floor": {Neither, func(r *rand.Rand) []Curve {
		e := between(r, .5, 2)
		return []Curve{drawn(r, 1e7, 0, 1e9, .01, powers(e, 2, between(r, .7, 1))), drawn(r, 1e9, 0, 1e9, .01, powers(e, 2, between(r, .9, 1.3)))}
	}},
	"chance": {Neither, func(r *rand.Rand) []Curve {
		e := between(r, .5, 5)
		same := func(float64) float64 { return e }
		return []Curve{drawn(r, 1e7, 0, 1e9, .01, same), drawn(r, 1e8, 0, 1e9, .01, same), drawn(r, 1e9, 0, 1e9, .01, same)}
	}},
	"worse": {LargerModel, func(r *rand.Rand) []Curve {
		b, e, up := between(r, .35, .7), between(r, 1, 2), between(r, .1, .2)
		rises := func(d float64) float64 { return powers(e+.2, 2, b)(d) + up*max(0, math.Log(d/1e7)) }
		return []Curve{drawn(r, 1e7, 0, 1e9, .01, rises), drawn(r, 1e9, 0, 1e9, .01, powers(e, 2, b))}
	}},
	"outlasted": {LargerModel, func(r *rand.Rand) []Curve {
		same := func(float64) float64 { return .69 }
		return []Curve{drawn(r, 1e7, 0, 1e9, .005, same), drawn(r, 1e9, 0, 1e9, .005, late(.69, .05, math.Pow(10, between(r, 6.8, 7.6)), .2))}
	}},
	"sudden and late": {CantTell, func(r *rand.Rand) []Curve {
		same := func(float64) float64 { return .69 }
		return []Curve{drawn(r, 1e7, 0, 1e9, .005, same), drawn(r, 1e9, 0, 1e9, .005, late(.69, .05, math.Pow(10, between(r, 8.3, 8.6)), .1))}
	}},
	"too short": {CantTell, func(r *rand.Rand) []Curve {
		e := between(r, .5, 1)
		return []Curve{drawn(r, 1e7, 0, 3e6, .06, powers(e, 2, .4)), drawn(r, 1e9, 0, 3e6, .06, powers(e, 1, .9))}
	}},
}

// Made-up worlds with known answers get them in at least 95% of 200 noisy draws.
func TestDiagnoseMadeUpWorlds(t *testing.T) {
	const draws = 200
	for name, w := range madeUps {
		right, others := 0, map[string]int{}
		example := ""
		for i := range draws {
			curves := w.of(rand.New(rand.NewPCG(2026, uint64(i))))
			all, err := Diagnose(curves, math.NaN())
			if err != nil {
				t.Fatal(err)
			}
			if all[0].Answer == w.answer {
				right++
			} else {
				others[all[0].Answer]++
				example = all[0].Why
			}
		}
		if t.Logf("%s: %d of %d", name, right, draws); right < 95*draws/100 {
			t.Errorf("%s: %d of %d %q: %v, such as %s", name, right, draws, w.answer, others, example)
		}
	}
}

func TestDiagnoseSaysWhatIsWrong(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	alone := drawn(random, 1e7, 0, 1e9, .01, powers(1, 2, .4))
	all, err := Diagnose([]Curve{alone}, math.NaN())
	if err != nil || len(all) != 1 || all[0].Answer != CantTell || !strings.Contains(all[0].Why, "one size") {
		t.Errorf("%+v %v", all, err)
	}
	back := alone
	back.Data = append([]float64{}, alone.Data...)
	back.Data[3] = 1
	bad := alone
	bad.Y = append([]float64{}, alone.Y...)
	bad.Y[2] = math.NaN()
	for want, c := range map[string]Curve{"ascend": back, "want a number": bad, "as many": {Task: "x", Data: []float64{1}, Y: []float64{1}}} {
		if _, err := Diagnose([]Curve{c, alone}, math.NaN()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := Diagnose(nil, math.NaN()); err == nil {
		t.Error("no curves, no error")
	}
}

// What strangers bring: curves from the first step on, a larger size that failed or was cut short, curves too slow to have left where they
// began, a task that was learned and lost, and one that was known from the start.
func TestDiagnoseOthersCurves(t *testing.T) {
	noise := rand.New(rand.NewPCG(11, 1))
	along := func(size float64, data []float64, of func(d float64) float64) Curve {
		c := Curve{Task: "task", Size: size, Data: data}
		for _, d := range data {
			c.Y = append(c.Y, max(0, of(d)+.005*noise.NormFloat64()))
		}
		return c
	}
	pythia := []float64{0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512}
	for step := 1000.; step <= 143000; step += 4000 {
		pythia = append(pythia, step)
	}
	model := func(floor float64) func(float64) float64 {
		return func(step float64) float64 { return floor + (10.8-floor)/math.Pow(1+step/30, .8) }
	}
	var late []float64
	for i := range 30 {
		late = append(late, 1e9*math.Pow(30, float64(i)/29))
	}
	slow := func(times float64) func(float64) float64 {
		return func(d float64) float64 { return times * math.Pow(d/1e9, -.005) }
	}
	lost := func(d float64) float64 {
		if d > 3e9 && d < 1e10 {
			return .1
		}
		return .69
	}
	same := func(v float64) func(float64) float64 { return func(float64) float64 { return v } }
	zero := Curve{Task: "task", Size: 1e7, Data: late, Y: make([]float64, len(late))}
	large := zero
	large.Size = 1e9
	for name, c := range map[string]struct {
		curves []Curve
		answer string
		why    string
	}{
		"from step 0":      {[]Curve{along(4e8, pythia, model(2.55)), along(7e9, pythia, model(2.2))}, LargerModel, "levels off"},
		"too slow to tell": {[]Curve{along(1e8, late, slow(2.5)), along(1e9, late, slow(2.42))}, LargerModel, "too slow"},
		"cut short":        {[]Curve{along(1e8, late, slow(1.6)), along(1e9, late[:8], slow(2.3))}, CantTell, "not trained as far"},
		"learned and lost": {[]Curve{along(1e8, late, same(.69)), along(1e9, late, lost)}, CantTell, "lost it again"},
		"known":            {[]Curve{zero, large}, Neither, "where it began"},
	} {
		all, err := Diagnose(c.curves, math.NaN())
		if err != nil || all[0].Answer != c.answer || !strings.Contains(all[0].Why, c.why) {
			t.Errorf("%s: %+v %v, want %q: %q", name, all[0], err, c.answer, c.why)
		}
	}
	failed := []Curve{along(1e8, late, late1(.69, .14, 3e9)), along(1e9, late, same(.688)), along(1e7, late, same(.69))}
	all, err := Diagnose(failed, .69)
	if err != nil || all[0].Answer == Neither || all[0].Largest != 1e8 || all[1].Answer != CantTell {
		t.Errorf("%+v %v", all, err)
	}
}

func late1(chance, low, at float64) func(float64) float64 { return late(chance, low, at, .1) }

// The set of laws that points don't tell apart holds the true floor, and the data that a loss needs, as often as it says.
func TestTailCovers(t *testing.T) {
	const draws = 300
	for _, noise := range []float64{.005, .03} {
		for _, to := range []float64{6e6, 1e9} {
			floors, needs := 0, 0
			for i := range draws {
				r := rand.New(rand.NewPCG(3, uint64(i)))
				e := between(r, .5, 1)
				of := powers(e, 2, .45)
				l, err := newLook(drawn(r, 1e7, 0, to, noise, of))
				if err != nil {
					t.Fatal(err)
				}
				f, ok := fitTail(l.falling())
				if !ok {
					t.Fatal("no fit")
				}
				if _, low, high := f.over(func(l law) float64 { return l.e }); low <= e && e <= high {
					floors++
				}
				if _, low, high := f.over(func(l law) float64 { return l.reaches(of(4 * to)) }); low <= 4*to && 4*to <= high {
					needs++
				}
			}
			if least, most := 90*draws/100, 99*draws/100; floors < least || floors > most || needs < least || needs > most {
				t.Errorf("noise %g to %g: of %d sets %d hold the floor, %d the data", noise, to, draws, floors, needs)
			}
		}
	}
}
