package theory

import (
	"math"
	"math/rand/v2"
	"testing"
)

// In a plane the angle has a closed form, however long the flow.
func TestFlowOfAPlane(t *testing.T) {
	for _, c := range [][2]float64{{.7, .1}, {.1, 0}, {.3, .3}, {.1, .2}} {
		for _, time := range []float64{0, .01, 1, 20, 100} {
			s := rowSpace(t, []float64{math.Cos(.3), math.Sin(.3), 0}, 1, 3)
			s = s.Flow([]float64{c[0], c[1], 0}, time)
			got, want := math.Abs(s.Basis[1]/s.Basis[0]), math.Tan(.3)*math.Exp(-2*(c[0]-c[1])*time)
			if math.Abs(got/want-1) > 1e-9*max(1, want) {
				t.Errorf("%v after %g: tangent %g, want %g", c, time, got, want)
			}
		}
	}
}

// A short flow is a step along the gradient, and a long one of a random encoder ends at the optimum.
func TestFlowFollowsTheGradient(t *testing.T) {
	m := powerLaw(t, 4, 3, 1, 2.2, 1.7)
	covariance := m.Covariance(m.Others(-1), 14)
	rng := rand.New(rand.NewPCG(3, 1))
	s := rowSpace(t, gaussian(rng, 5*14), 5, 14)
	const h = 1e-6
	loss := func(s Subspace) float64 { return population(t, m, s, []int{0, 1, 2, 3}).EncoderLoss }
	gradient := population(t, m, s, []int{0, 1, 2, 3}).FrequentGradient // of all tasks: the loss falls by its square
	if fall := (loss(s) - loss(s.Flow(covariance, h))) / h; math.Abs(fall/(gradient*gradient)-1) > 1e-4 {
		t.Errorf("the loss falls by %g, want %g", fall, gradient*gradient)
	}
	one, two := s.Flow(covariance, 30), s.Flow(covariance, 10).Flow(covariance, 20)
	if a, b := loss(one), loss(two); math.Abs(a-b) > 1e-10 {
		t.Errorf("losses %g at once, %g in two parts", a, b)
	}
	if end := loss(s.Flow(covariance, 3000)); math.Abs(end-m.OptimalLoss(5)) > 1e-9 || s.Flow(covariance, 3000).Width != 5 {
		t.Errorf("the flow ends at %g, want %g", end, m.OptimalLoss(5))
	}
}

// What is held of a withheld task goes at the rate that the weakest kept feature of the others has, whatever their number; where there is
// room for all of them nothing goes.
func TestRestoringForce(t *testing.T) {
	m := powerLaw(t, 4, 3, 1, 2, 2)
	others := m.Others(3)
	covariance := m.Covariance(others, 14)
	for width := 1; width <= 10; width++ {
		// The best encoder of the others, its weakest direction tilted by a little towards the withheld task's first feature.
		w := make([]float64, width*14)
		features := m.featuresOf(others)
		for n := range min(width, len(features)) {
			w[n*14+features[n].Task*3+features[n].Index] = 1
		}
		if width > len(features) {
			w[(width-1)*14+13] = 1 // a coordinate of no task
		}
		w[(width-1)*14+9] = 1e-3
		s := rowSpace(t, w, width, 14)
		signal := func(s Subspace) float64 { return population(t, m, s, others).Signal[3] }
		const time = 5.
		mu := m.Restoring(width, others)
		if want := 4 * mu * time; math.Abs(math.Log(signal(s)/signal(s.Flow(covariance, time)))-want) > 1e-5*(1+want) {
			t.Errorf("width %d: signal falls from %g to %g, want by exp(-%g)", width, signal(s), signal(s.Flow(covariance, time)), want)
		}
		if (mu == 0) != (width > 9) {
			t.Errorf("width %d: force %g", width, mu)
		}
	}
	if m.Restoring(0, others) != 0 {
		t.Error("a force without a net")
	}
}

// Gradient descent on one neuron that holds a withheld feature, and on the decoder of a newcomer: while the newcomer is small it grows at
// the rate that the closed form gives; where its variance is small beside the norm, at that of the best decoder.
func TestTakeover(t *testing.T) {
	for _, c := range []struct{ lambda, norm float64 }{{1, 1}, {.25, 1}, {.01, 1}, {.5, .6}, {.04, 1.5}} {
		m := Mixture{Frequency: []float64{.7, .3}, Spectrum: [][]float64{{c.lambda}, {1}}}.Without(1)
		pi := m.Frequency[0]
		tilt, decoder := 1e-9, 0.
		const h = 1e-3
		var early float64
		steps := int(16 / (2 * m.Takeover(1, 1, c.norm)) / h) // growth by e^16 in all
		for i := range steps {
			if i == steps/2 {
				early = tilt
			}
			left := math.Sqrt(c.lambda) - decoder*tilt
			tilt, decoder = tilt+2*h*pi*left*decoder, decoder+2*h*pi*(left*tilt-decoder*c.norm*c.norm)
		}
		got := math.Log(tilt/early) / (2 * h * float64(steps-steps/2))
		if want := m.Takeover(1, 1, c.norm); math.Abs(got/want-1) > .01 {
			t.Errorf("lambda %g, norm %g: grows at %g, want %g", c.lambda, c.norm, got, want)
		}
	}
	m := powerLaw(t, 4, 3, 1, 2, 2).Without(3)
	for width := 1; width <= 9; width++ { // wide rows: mu_N of the others
		if got, want := m.Takeover(width, 3, 100)*1e4, m.Restoring(width, m.Others(3)); math.Abs(got/want-1) > 1e-3 {
			t.Errorf("width %d: %g, want %g", width, got, want)
		}
	}
	if total := sum(m.Frequency); math.Abs(total-1) > 1e-12 || m.Takeover(10, 3, 1) != 0 {
		t.Errorf("frequencies sum to %g, and where there is room for all others the takeover is at %g", total, m.Takeover(10, 3, 1))
	}
}

// A best encoder that is off by nothing has the least loss.
func TestBestEncoder(t *testing.T) {
	m := powerLaw(t, 4, 3, 1, 2.2, 1.7)
	for width := 1; width <= 12; width++ {
		s, err := m.BestEncoder(width, func() float64 { return 0 })
		if err != nil {
			t.Fatal(err)
		}
		if loss := population(t, m, s, []int{0, 1, 2, 3}).EncoderLoss; math.Abs(loss-m.OptimalLoss(width)) > 1e-12 {
			t.Errorf("width %d: loss %g, want %g", width, loss, m.OptimalLoss(width))
		}
	}
}
