package scaling

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// A law is found again: exactly from points without noise, also where there is no floor, and by its intervals from noisy ones.
func TestFitFloor(t *testing.T) {
	x := []float64{1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9}
	for _, want := range []FloorLaw{{1.7, 400, .34}, {.2, 5, .1}, {0, 30, .5}, {3, 1e5, 1.2}} {
		var y []float64
		for _, v := range x {
			y = append(y, want.At(v))
		}
		got, err := FitFloor(x, y)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range []float64{got.E - want.E, got.A/want.A - 1, got.Alpha/want.Alpha - 1} {
			if math.Abs(v) > 1e-4 {
				t.Errorf("%+v: %+v (%d)", want, got, i)
			}
		}
	}
}

func TestReportFloorCovers(t *testing.T) {
	want, covered, draws := FloorLaw{1.7, 400, .34}, [3]int{}, 60
	for seed := range draws {
		random := rand.New(rand.NewPCG(3, uint64(seed)))
		var x, y []float64
		for range 60 {
			v := 1e6 * math.Pow(1e4, random.Float64())
			x, y = append(x, v), append(y, want.At(v)*math.Exp(.01*random.NormFloat64()))
		}
		f, err := ReportFloor(t.Context(), x, y, nil, 200, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, in := range []Interval{f.E, f.A, f.Alpha} {
			if v := []float64{want.E, want.A, want.Alpha}[i]; in.Low <= v && v <= in.High {
				covered[i]++
			}
		}
	}
	for i, n := range covered { // 95% of 60 is 57; below 51 has a chance of 1e-2
		if n < 51 {
			t.Errorf("parameter %d: %d of %d intervals hold it", i, n, draws)
		}
	}
}

// Points of one training are drawn together: of ten that lie far from the others by one error the interval is wider than of ten alone.
func TestResamplesOfTrainings(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 1))
	law := FloorLaw{1, 50, .3}
	var x, y []float64
	var runs []int
	for run := range 12 {
		off := math.Exp(.03 * random.NormFloat64())
		for range 10 {
			v := 1e4 * math.Pow(1e4, random.Float64())
			x, y, runs = append(x, v), append(y, law.At(v)*off), append(runs, run)
		}
	}
	together, err := ReportFloor(t.Context(), x, y, runs, 300, nil)
	if err != nil {
		t.Fatal(err)
	}
	apart, err := ReportFloor(t.Context(), x, y, nil, 300, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := 3e6
	if w, a := together.Predict(at), apart.Predict(at); w.High-w.Low < 1.5*(a.High-a.Low) {
		t.Errorf("bands of %g by trainings and %g by points: want the first much wider", w.High-w.Low, a.High-a.Low)
	}
}

func TestFloorSaysWhatIsWrong(t *testing.T) {
	x := []float64{1, 2, 4, 8, 16, 32}
	for want, y := range map[string][]float64{
		"rises by": {1, 1.1, 1.2, 1.3, 1.4, 1.5}, "losses are": {2, 2, 2, 2, 2, 2}, "positive": {1, 2, 3, -1, 2, 3},
		"changes by": {1, 1.01, .99, 1.01, .99, 1.001},
	} {
		_, err := ReportFloor(t.Context(), x, y, nil, 100, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		var trouble *Trouble
		if is := want == "rises by" || want == "changes by"; errors.As(err, &trouble) != is {
			t.Errorf("%v: a trouble %t, want %t", err, !is, is)
		}
	}
	if _, err := FitFloor(x, x[:3]); err == nil || !strings.Contains(err.Error(), "as many") {
		t.Error(err)
	}
	if _, err := FitFloor(x[:3], x[:3]); err == nil || !strings.Contains(err.Error(), "at least 4") {
		t.Error(err)
	}
}
