package interference

import (
	"math"
	"testing"
)

// A signal that jumps at every injection and decays by halves in between.
func TestCyclesOfAKnownDecay(t *testing.T) {
	const gap, half = 20, 8.
	var steps []int
	var signal []float64
	for s := range 61 {
		steps = append(steps, s)
		since := float64(s % gap)
		value := .5 * math.Exp2(-since/half)
		if s < gap {
			value = 0
		}
		signal = append(signal, value)
	}
	cycles, err := Cycles(steps, signal, 0, gap, 1, .01)
	if err != nil {
		t.Fatal(err)
	}
	if len(cycles) != 2 {
		t.Fatalf("%d cycles, want 2: %+v", len(cycles), cycles)
	}
	kept := math.Exp2(-19 / half)
	for i, c := range cycles {
		if c.End != 20*(i+1) || c.NextBegin != c.End+19 || c.PeakStep != c.End || c.Peak != .5 {
			t.Errorf("cycle %d: %+v", i, c)
		}
		if !close(c.HalfLife, half, 1e-9) || !close(c.Retained, kept, 1e-9) || !close(c.Decay, .5*(1-kept), 1e-9) {
			t.Errorf("cycle %d: half-life %g, retained %g, decay %g, want %g, %g, %g", i, c.HalfLife, c.Retained, c.Decay, half, kept, .5*(1-kept))
		}
	}
	if cycles[0].Gain != .5 || !close(cycles[1].Gain, .5*(1-kept), 1e-9) {
		t.Errorf("gains %g and %g", cycles[0].Gain, cycles[1].Gain)
	}
}

// Where there was nothing to retain nothing is said, and a signal that stays has no half-life.
func TestCyclesWithoutDecay(t *testing.T) {
	steps := []int{3, 4, 5, 7, 8, 11}
	absent, err := Cycles(steps, []float64{0, .001, 0, 0, .001, 0}, 0, 4, 1, .01)
	if err != nil || len(absent) != 2 || !math.IsNaN(absent[0].Retained) || !math.IsNaN(absent[0].HalfLife) {
		t.Errorf("absent: %+v, %v", absent, err)
	}
	stays, err := Cycles(steps, []float64{.8, .8, .8, .8, .8, .8}, 0, 4, 1, .01)
	if err != nil || len(stays) != 2 || !math.IsInf(stays[0].HalfLife, 1) || stays[0].Retained != 1 || stays[0].Gain != 0 {
		t.Errorf("stays: %+v, %v", stays, err)
	}
	for _, bad := range []struct {
		steps       []int
		gap, length int
	}{{[]int{1}, 4, 1}, {steps, 0, 1}, {steps, 4, 5}, {[]int{3, 3, 5, 7, 8, 11}, 4, 1}} {
		if _, err := Cycles(bad.steps, make([]float64, 6), 0, bad.gap, bad.length, .01); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}
