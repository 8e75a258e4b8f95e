package theory

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

func gaussian(rng *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = rng.NormFloat64()
	}
	return v
}

func rowSpace(t testing.TB, w []float64, width, dim int) Subspace {
	t.Helper()
	s, err := RowSpace(w, width, dim)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func population(t testing.TB, m Mixture, s Subspace, frequent []int) Population {
	t.Helper()
	p, err := m.Population(s, frequent)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// dense returns P, formed as a whole by definition from the basis.
func dense(s Subspace) *mat.Dense {
	var p mat.Dense
	u := mat.NewDense(s.Dim, s.Rank, s.Basis)
	p.Mul(u, u.T())
	return &p
}

// encoders are random, nearly optimal, rank-deficient and wide ones in 30 inputs of which 24 carry tasks.
func encoders(rng *rand.Rand) map[string]Subspace {
	spaces := map[string]Subspace{}
	for width := 1; width <= 30; width += 4 {
		w := gaussian(rng, width*30)
		s, _ := RowSpace(w, width, 30)
		spaces[fmt.Sprint("random ", width)] = s
		for n := range width {
			for i := range 30 {
				w[n*30+i] *= 1e-6
			}
			w[n*30+n] += 1
		}
		s, _ = RowSpace(w, width, 30)
		spaces[fmt.Sprint("near coordinates ", width)] = s
		copy(w, w[(width-1)*30:])
		s, _ = RowSpace(w, width, 30)
		spaces[fmt.Sprint("repeated row ", width)] = s
	}
	return spaces
}

// The closed forms agree with the matrices they stand for, formed in full.
func TestPopulationAgainstMatrices(t *testing.T) {
	m := powerLaw(t, 6, 4, 1, 2.5, 1.5)
	frequent := m.Frequent(.8)
	for name, s := range encoders(rand.New(rand.NewPCG(7, 1))) {
		p, P := population(t, m, s, frequent), dense(s)
		one := func(c []float64) (loss float64) {
			for i, x := range c {
				loss += x * (1 - P.At(i, i))
			}
			return loss
		}
		gradientOf := func(c []float64) *mat.VecDense {
			g := gradient(s, c)
			return mat.NewVecDense(len(g), g)
		}
		all := m.Others(-1)
		near(t, name+": encoder loss", p.EncoderLoss, one(m.Covariance(all, 30)), 1e-12)
		near(t, name+": residual", p.Residual, one(m.Covariance(frequent, 30)), 1e-12)
		near(t, name+": ||G_F||", p.FrequentGradient, mat.Norm(gradientOf(m.Covariance(frequent, 30)), 2), 1e-12)
		for k := range all {
			ck := gradientOf(m.Covariance([]int{k}, 30))
			ck.ScaleVec(1/m.Frequency[k], ck)
			near(t, name+": ||G_k||", p.TaskGradient[k], mat.Norm(ck, 2), 1e-12)
			rest := slices.DeleteFunc(slices.Clone(frequent), func(f int) bool { return f == k })
			gF := gradientOf(m.Covariance(rest, 30))
			near(t, name+": <G_k,G_F>", p.Interference[k], mat.Dot(ck, gF), 1e-12)
			if norm := mat.Norm(gF, 2) * mat.Norm(ck, 2); norm > 1e-6 {
				near(t, name+": cosine", p.Cosine[k], mat.Dot(ck, gF)/norm, 1e-6)
			}
		}
	}
}

// Theorem 4 and the sign identity hold for every encoder, to the last bit.
// Of some tasks Population says the same as of all, and of others nothing.
func TestPopulationOfSomeTasks(t *testing.T) {
	m := powerLaw(t, 6, 4, 1, 2.5, 1.5)
	frequent := m.Frequent(.6)
	for name, s := range encoders(rand.New(rand.NewPCG(7, 2))) {
		all := population(t, m, s, frequent)
		some, err := m.PopulationOf(s, frequent, []int{5})
		if err != nil {
			t.Fatal(err)
		}
		if !math.IsNaN(some.EncoderLoss) || !math.IsNaN(some.FrequentGradient) || some.Residual != all.Residual || some.Bound != all.Bound {
			t.Errorf("%s: sums over all tasks %g, %g; over F %g, %g, want %g, %g", name, some.EncoderLoss, some.FrequentGradient,
				some.Residual, some.Bound, all.Residual, all.Bound)
		}
		same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
		for k := range 6 {
			of := func(p Population) []float64 {
				return []float64{p.Signal[k], p.Normalized[k], p.TaskGradient[k], p.Interference[k], p.Cosine[k]}
			}
			want := slices.Repeat([]float64{math.NaN()}, 5)
			if k == 5 || slices.Contains(frequent, k) {
				want = of(all)
			}
			if got := of(some); !slices.EqualFunc(got, want, same) {
				t.Errorf("%s, task %d: %v; want %v", name, k+1, got, want)
			}
		}
	}
}

func TestBoundAndSigns(t *testing.T) {
	m := powerLaw(t, 6, 4, 1, 2, 2)
	for seed := range uint64(20) {
		for name, s := range encoders(rand.New(rand.NewPCG(3, seed))) {
			for _, frequent := range [][]int{m.Frequent(.8), m.Others(-1), {5}} {
				p := population(t, m, s, frequent)
				if p.FrequentGradient > p.Bound*(1+1e-12) {
					t.Errorf("%s: ||G_F|| = %g above its bound %g", name, p.FrequentGradient, p.Bound)
				}
				for k := range p.Gram {
					if p.Interference[k] > 0 || p.Cosine[k] > 0 || p.Cosine[k] < -1 {
						t.Errorf("%s, task %d: <G_r,G_F> = %g, cosine %g: want <= 0", name, k, p.Interference[k], p.Cosine[k])
					}
					for l := range p.Gram {
						if k != l && p.Gram[k][l] > 0 {
							t.Errorf("%s: <G_%d,G_%d> = %g: want <= 0", name, k, l, p.Gram[k][l])
						}
					}
				}
			}
		}
	}
}

// gradient returns G = 2 (I-P) C U, D x Rank, for C with the diagonal c.
func gradient(s Subspace, c []float64) []float64 {
	g := mat.NewDense(s.Dim, max(1, s.Rank), nil)
	if s.Rank > 0 {
		u := mat.NewDense(s.Dim, s.Rank, s.Basis)
		g.Apply(func(i, _ int, v float64) float64 { return 2 * c[i] * v }, u)
		var inside, projected mat.Dense
		inside.Mul(u.T(), g)
		projected.Mul(u, &inside)
		g.Sub(g, &projected)
	}
	return g.RawMatrix().Data
}

// G is minus the derivative of the encoder loss along every tangent direction of the Grassmannian.
func TestGradientIsFiniteDifference(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 2))
	const dim, width, step = 12, 4, 1e-5
	m := powerLaw(t, 4, 3, 1, 2, 2)
	c := m.Covariance(m.Others(-1), dim)
	s := rowSpace(t, gaussian(rng, width*dim), width, dim)
	g := gradient(s, c)
	lossAt := func(h []float64, step float64) float64 {
		w := make([]float64, width*dim) // transposed U + step H
		for i := range dim {
			for n := range width {
				w[n*dim+i] = s.Basis[i*width+n] + step*h[i*width+n]
			}
		}
		return population(t, m, rowSpace(t, w, width, dim), nil).EncoderLoss
	}
	for range 20 {
		// Moving within the subspace changes nothing, so directions need not be projected to the tangent space.
		h := gaussian(rng, dim*width)
		numeric := (lossAt(h, step) - lossAt(h, -step)) / (2 * step)
		near(t, "dL/dt", numeric, -floats.Dot(g, h), 1e-8)
	}
}

// No encoder beats L*, and the one made of the best features reaches it.
func TestNoEncoderBeatsTheOptimum(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 4))
	m := powerLaw(t, 6, 4, 1, 2, 2)
	for width := 1; width <= 24; width++ {
		w := make([]float64, width*30)
		for n, f := range m.Features()[:width] {
			w[n*30+f.Task*4+f.Index] = 1
		}
		near(t, "loss of the best features", population(t, m, rowSpace(t, w, width, 30), nil).EncoderLoss, m.OptimalLoss(width), 1e-14)
		for i := range w {
			w[i] += .1 * rng.NormFloat64()
		}
		if p := population(t, m, rowSpace(t, w, width, 30), nil); p.EncoderLoss < m.OptimalLoss(width)-1e-14 {
			t.Errorf("width %d: loss %g below the optimum %g", width, p.EncoderLoss, m.OptimalLoss(width))
		}
	}
}

func TestSignalsOfRandomAndFullEncoders(t *testing.T) {
	m := powerLaw(t, 6, 4, 1, 2, 2)
	full := population(t, m, rowSpace(t, gaussian(rand.New(rand.NewPCG(1, 1)), 24*24), 24, 24), []int{0})
	for k, s := range full.Signal {
		near(t, "signal at N = D", s, 1, 1e-12)
		if !math.IsNaN(full.Normalized[k]) {
			t.Errorf("normalised signal at N = D is %g, want NaN", full.Normalized[k])
		}
	}
	var mean float64
	for seed := range uint64(200) {
		p := population(t, m, rowSpace(t, gaussian(rand.New(rand.NewPCG(2, seed)), 6*24), 6, 24), nil)
		mean += p.Normalized[0] / 200
	}
	near(t, "mean normalised signal of random encoders", mean, 0, .03)
}

func TestRankDeficientEncoders(t *testing.T) {
	w := gaussian(rand.New(rand.NewPCG(4, 4)), 3*10)
	w = append(w, w[:10]...)
	s := rowSpace(t, w, 4, 10)
	if s.Rank != 3 || s.Width != 4 {
		t.Errorf("rank %d of width %d, want 3 of 4", s.Rank, s.Width)
	}
	var P, difference mat.Dense
	P.Mul(dense(s), mat.NewDense(4, 10, w).T())
	difference.Sub(&P, mat.NewDense(4, 10, w).T())
	near(t, "P W^T - W^T", mat.Norm(&difference, 2), 0, 1e-12)
	m := powerLaw(t, 2, 5, 1, 2, 2)
	zero := population(t, m, rowSpace(t, make([]float64, 20), 2, 10), []int{0})
	near(t, "loss of the zero encoder", zero.EncoderLoss, m.Trace(), 1e-15)
	if zero.Rank != 0 || zero.FrequentGradient != 0 || !math.IsNaN(zero.Cosine[1]) {
		t.Errorf("zero encoder: %+v", zero)
	}
}

func TestFullLossAgainstMatrices(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	const width, dim = 5, 14
	m := powerLaw(t, 3, 4, 1, 2, 2)
	w, decoders := gaussian(rng, width*dim), gaussian(rng, 3*4*width)
	loss, err := FullLoss(m, w, decoders, width, dim)
	if err != nil {
		t.Fatal(err)
	}
	for k := range 3 {
		var miss mat.Dense
		miss.Mul(mat.NewDense(4, width, decoders[k*4*width:(k+1)*4*width]), mat.NewDense(width, dim, w))
		for j, lambda := range m.Spectrum[k] {
			miss.Set(j, k*4+j, miss.At(j, k*4+j)-math.Sqrt(lambda))
		}
		want := mat.Norm(&miss, 2) * mat.Norm(&miss, 2)
		near(t, "l_k", loss.Task[k], want, 1e-10*want)
	}
	near(t, "mixture", loss.Mixture, floats.Dot(m.Frequency, loss.Task), 1e-10)
}

// With the least-squares decoders D_k = Lambda^{1/2} B_k^T W^+, the full loss is the encoder loss.
func TestBestDecodersReachTheEncoderLoss(t *testing.T) {
	const width, dim = 5, 14
	m := powerLaw(t, 3, 4, 1, 2, 2)
	w := gaussian(rand.New(rand.NewPCG(6, 6)), width*dim)
	W := mat.NewDense(width, dim, w)
	var gram, inverse, best mat.Dense
	gram.Mul(W, W.T())
	if err := inverse.Inverse(&gram); err != nil {
		t.Fatal(err)
	}
	best.Mul(W.T(), &inverse) // dim x width: row i decodes coordinate i
	decoders := make([]float32, 3*4*width)
	for i := range 12 {
		for n := range width {
			decoders[i*width+n] = float32(math.Sqrt(m.Spectrum[i/4][i%4]) * best.At(i, n))
		}
	}
	w32 := make([]float32, len(w))
	for i, x := range w {
		w32[i] = float32(x)
	}
	loss, err := FullLoss(m, w32, decoders, width, dim)
	if err != nil {
		t.Fatal(err)
	}
	p := population(t, m, rowSpace(t, w, width, dim), nil)
	near(t, "full loss", loss.Mixture, p.EncoderLoss, 1e-6)
	for k := range 3 {
		near(t, "task loss", loss.Normalized[k], 1-p.Signal[k], 1e-6)
	}
}

func TestOneNeuron(t *testing.T) {
	theta := .05
	for step := 1; step <= 200; step++ {
		theta += Drift(theta, 1, 0, .002)
		near(t, fmt.Sprintf("angle after %d steps", step), Decay(.05, .002, step)/theta, 1, .02)
	}
	theta = .3
	for range 200 {
		theta += Drift(theta, 1, 0, .01)
	}
	near(t, "miss at theta_0 .3, eta .01", 1-Decay(.3, .01, 200)/theta, .032, .001)
}

func TestBadEncodersAreNamed(t *testing.T) {
	m := powerLaw(t, 2, 3, 1, 2, 2)
	w := gaussian(rand.New(rand.NewPCG(1, 5)), 12)
	small := rowSpace(t, w, 3, 4)
	w[7] = math.NaN()
	_, notFinite := RowSpace(w, 2, 6)
	_, noWidth := RowSpace(w, 0, 6)
	_, tooSmall := m.Population(small, nil)
	_, noDecoders := FullLoss(m, w, w, 2, 6)
	for want, err := range map[string]error{
		"theory: encoder row 1, column 1 is NaN: want finite numbers":                      notFinite,
		"theory: encoder of 12 numbers as 0 x 6: want width >= 1, dim >= 1 and 0 numbers":  noWidth,
		"theory: encoder of 4 inputs for 2 tasks of 3 coordinates: want at least 6 inputs": tooSmall,
	} {
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	loss, err := FullLoss(m, w, slices.Clone(w), 2, 6)
	if noDecoders != nil || err != nil || !math.IsNaN(loss.Mixture) {
		t.Errorf("a diverged run has no loss: got %g, %v", loss.Mixture, err)
	}
}

func BenchmarkPopulation(b *testing.B) {
	m := powerLaw(b, 32, 32, 1, 2, 2)
	for _, width := range []int{2, 32, 256} {
		w := gaussian(rand.New(rand.NewPCG(1, 1)), width*1024)
		b.Run(fmt.Sprint("N=", width), func(b *testing.B) {
			for b.Loop() {
				population(b, m, rowSpace(b, w, width, 1024), m.Frequent(.8))
			}
		})
	}
}

func ExampleMixture_Population() {
	m, _ := PowerLaw(2, 2, 1, 2, 2)
	s, _ := RowSpace([]float32{1, 0, 1, 0}, 1, 4) // one neuron halfway between both tasks' first features
	p, _ := m.Population(s, []int{0})
	fmt.Printf("signals %.2f, <G_r,G_F> %.3f, ||G_F|| %.3f <= %.3f\n", p.Signal, p.Interference[1], p.FrequentGradient, p.Bound)
	// Output: signals [0.40 0.40], <G_r,G_F> -0.667, ||G_F|| 0.667 <= 1.155
}
