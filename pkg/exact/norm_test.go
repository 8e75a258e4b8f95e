package exact

import (
	"math"
	"testing"

	"raretask/pkg/theory"
)

func TestRowsThatHoldAnInput(t *testing.T) {
	encoder := []float32{3, 0, 4, 0, 0, 0, 0, 2}
	for input, want := range map[int]float64{0: 5, 2: 5, 3: 2} {
		if c := rowNorm(encoder, direction(encoder, 2, 4, input)); c != want {
			t.Errorf("input %d is held by rows of norm %g, want %g", input, c, want)
		}
	}
	if c := rowNorm(encoder, direction(encoder, 2, 4, 1)); !math.IsNaN(c) {
		t.Errorf("rows of norm %g hold an input that none sees", c)
	}
}

func TestForce(t *testing.T) {
	m := theory.Mixture{Frequency: []float64{.5, .3, .2}, Spectrum: [][]float64{{1, 1}, {1, 1}, {1, 1}}}
	decoders := []float32{1, 0, 0, 1, 2, 0, 0, 0, 9, 9, 9, 9} // of three tasks, two outputs and two neurons
	for _, c := range []struct {
		held []float64
		want float64
	}{{[]float64{1, 0}, (.5*1 + .3*4) / .8}, {[]float64{0, 1}, .5 / .8}, {[]float64{.6, .8}, (.5 + .3*1.44) / .8}} {
		if got := force(m, decoders, c.held, 2); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("force %g along %v, want %g", got, c.held, c.want)
		}
	}
}
