package theory

import (
	"math"
	"testing"
)

func TestOneGatedNeuronDrifts(t *testing.T) {
	for _, theta := range []float64{-.3, .05, .8, 1.4} {
		got := Gated([]float64{theta}, .9, .1, .01, 8)[0] - theta
		if want := Drift(theta, .9, .1, .01); math.Abs(got-want) > 1e-15 {
			t.Errorf("angle %g: step %g, want %g", theta, got, want)
		}
	}
}

// The step is eta times the derivative of the expected signal.
func TestGatedStepIsTheGradient(t *testing.T) {
	theta := []float64{.8, .3, -.5}
	const p, q, eta, sharpness, h = .9, .1, .01, 5, 1e-6
	value := func(n int, by float64) float64 {
		moved := append([]float64{}, theta...)
		moved[n] += by
		common, rare := GatedSignals(moved, sharpness)
		return p*common + q*rare
	}
	for n, next := range Gated(theta, p, q, eta, sharpness) {
		want := eta * (value(n, h) - value(n, -h)) / (2 * h)
		if math.Abs(next-theta[n]-want) > 1e-9 {
			t.Errorf("neuron %d: step %g, want %g", n, next-theta[n], want)
		}
	}
}

// One neuron leaves the rare task, two share the tasks.
func TestSecondNeuronKeepsTheRareTask(t *testing.T) {
	one, two := []float64{.8}, []float64{.8, .7}
	for range 2000 {
		one, two = Gated(one, .9, .1, .05, 8), Gated(two, .9, .1, .05, 8)
	}
	if _, rare := GatedSignals(one, 8); rare > .01 {
		t.Errorf("one neuron: rare signal %g", rare)
	}
	if common, rare := GatedSignals(two, 8); common < .99 || rare < .99 {
		t.Errorf("two neurons: signals %g, %g", common, rare)
	}
}
