package train

import (
	"math"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/floats"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// reference trains one net with a readout for each task, a bottleneck or a ReLU net of one hidden layer, in plain float64 Go on the batches
// that the program draws: the independent computation that the stacked, tiled, packed program is held against.
type reference struct {
	run           spec.Run
	n, d, k, o    int
	weights, m, v [][]float64 // encoder [N, D], in a ReLU net bias [N], decoder [K, O, N]; and Adam's moments
	gradients     [][]float64
	own, others   [][]float64 // the gradients of an intervention's task, and of all others
	means         [2][][]float64

	inputs, targets    []float64
	tasks              []int
	loss, gradientNorm float64
}

func (r *reference) step(t int) {
	b := r.run.Train.Batch
	r.own, r.others = zeros(r.weights), zeros(r.weights)
	relu, last := len(r.weights) == 3, len(r.weights)-1
	r.loss = 0
	for row := range b {
		x, y := r.inputs[row*r.d:(row+1)*r.d], r.targets[row*r.o:(row+1)*r.o]
		decoder := r.tasks[row] * r.o * r.n
		into := r.others
		if r.tasks[row] == r.run.Train.Intervention.Task-1 {
			into = r.own
		}
		h := make([]float64, r.n)
		for i := range h {
			for j, v := range x {
				h[i] += r.weights[0][i*r.d+j] * v
			}
			if relu {
				h[i] = max(0, h[i]+r.weights[1][i])
			}
		}
		dh := make([]float64, r.n)
		for j := range r.o {
			e := -y[j]
			for i := range h {
				e += r.weights[last][decoder+j*r.n+i] * h[i]
			}
			r.loss += e * e / float64(r.o*b)
			for i := range h {
				into[last][decoder+j*r.n+i] += 2 * e * h[i] / float64(r.o*b)
				dh[i] += 2 * e * r.weights[last][decoder+j*r.n+i] / float64(r.o*b)
			}
		}
		for i := range dh {
			if relu {
				if h[i] == 0 {
					continue
				}
				into[1][i] += dh[i]
			}
			for j, v := range x {
				into[0][i*r.d+j] += dh[i] * v
			}
		}
	}
	r.update(float64(t))
}

// rate returns the learning rate of step t = 1, 2, …
func (r *reference) rate(t float64) float64 {
	s := r.run.Train
	warmup := float64(s.Warmup)
	switch {
	case t <= warmup:
		return s.Rate * t / warmup
	case s.Schedule == "constant":
		return s.Rate
	case s.Schedule == "cosine":
		return s.Rate * (s.Floor + (1-s.Floor)*(1+math.Cos(math.Pi*(t-warmup)/(float64(s.Steps)-warmup)))/2)
	}
	return s.Rate * math.Sqrt(warmup/t)
}

// zeros returns zeros like arrays.
func zeros(like [][]float64) (all [][]float64) {
	for _, v := range like {
		all = append(all, make([]float64, len(v)))
	}
	return all
}

// each sets the numbers of arrays.
func each(arrays [][]float64, number func(i, j int) float64) [][]float64 {
	for i := range arrays {
		for j := range arrays[i] {
			arrays[i][j] = number(i, j)
		}
	}
	return arrays
}

func dots(a, b [][]float64) (sum float64) {
	for i := range a {
		sum += floats.Dot(a[i], b[i])
	}
	return sum
}

// apart returns the sum of a and b, each less its part along what stands for the other where the two conflict.
func apart(a, b, forA, forB [][]float64) [][]float64 {
	ofA, ofB := min(0, dots(a, forB))/max(1e-30, dots(forB, forB)), min(0, dots(b, forA))/max(1e-30, dots(forA, forA))
	return each(zeros(a), func(i, j int) float64 { return a[i][j] - ofA*forB[i][j] + b[i][j] - ofB*forA[i][j] })
}

// remember renews the running means of the gradients of the task and of the others, scaled.
func (r *reference) remember(memory, scale float64) {
	if r.means[0] == nil {
		r.means = [2][][]float64{zeros(r.weights), zeros(r.weights)}
	}
	for n, gradient := range [][][]float64{r.own, r.others} {
		mean := r.means[n]
		each(mean, func(i, j int) float64 { return memory*mean[i][j] + (1-memory)*scale*gradient[i][j] })
	}
}

// intervene sets the gradients that the intervention makes of the task's and the others', and returns those that the optimizer sees.
func (r *reference) intervene() (seen [][]float64) {
	i := r.run.Train.Intervention
	sum := each(zeros(r.own), func(i, j int) float64 { return r.own[i][j] + r.others[i][j] })
	r.gradients = sum
	switch {
	case i.Kind == "alone":
		r.gradients = r.own
	case i.Masks():
		m := r.run.Mixture.Settings.(tasks.RegressionSettings)
		r.gradients = each(zeros(sum), func(n, j int) float64 {
			if input := j % m.Dim; n == 0 && input >= (i.Task-1)*m.Block && input < i.Task*m.Block {
				return r.own[n][j]
			}
			return sum[n][j]
		})
	case i.Kind == "surgery" && i.Memory > 0:
		r.remember(i.Memory, 1)
		r.gradients = apart(r.own, r.others, r.means[0], r.means[1])
	case i.Kind == "surgery":
		r.gradients = apart(r.own, r.others, r.own, r.others)
	}
	if i.Kind == "mask-matched" {
		return sum
	}
	return r.gradients
}

func (r *reference) update(t float64) {
	s := r.run.Train
	seen := r.intervene()
	r.gradientNorm = math.Sqrt(dots(seen, seen))
	scale := 1.
	if s.Clip > 0 {
		scale = min(1, s.Clip/(r.gradientNorm+1e-6))
	}
	beta1, beta2 := s.Betas[0], s.Betas[1]
	preconditioned := func(m [][]float64) [][]float64 {
		return each(zeros(m), func(i, j int) float64 {
			return m[i][j] / (1 - math.Pow(beta1, t)) / (math.Sqrt(r.v[i][j]/(1-math.Pow(beta2, t))) + s.Epsilon)
		})
	}
	moves := each(zeros(seen), func(i, j int) float64 { return scale * r.gradients[i][j] })
	if s.Optimizer != "sgd" {
		each(r.m, func(i, j int) float64 { return beta1*r.m[i][j] + (1-beta1)*moves[i][j] })
		each(r.v, func(i, j int) float64 { return beta2*r.v[i][j] + (1-beta2)*scale*scale*seen[i][j]*seen[i][j] })
		moves = preconditioned(r.m)
	}
	if s.Intervention.Kind == "surgery-update" {
		r.remember(beta1, scale)
		own, others := preconditioned(r.means[0]), preconditioned(r.means[1])
		moves = apart(own, others, own, others)
	}
	each(r.weights, func(i, j int) float64 {
		decay := s.Decay
		if bias := len(r.weights) == 3 && i == 1; bias && s.Decays == "matrices" {
			decay = 0
		}
		return r.weights[i][j] - r.rate(t)*(moves[i][j]+decay*r.weights[i][j])
	})
}

func TestTrainingAgainstPlainGo(t *testing.T) {
	b := backendtest.XLA(t)
	usual := tiny(t, nil, 2)[0]
	family := mixtureOf(t, usual).Family
	draw := backendtest.Compile(t, b, func(in []*Node) []*Node {
		batch := mixture.Draw(family, mixture.NewRandom(in[0], in[1], trainingSamples), in[2], in[3], usual.Train.Batch)
		return []*Node{batch.X, batch.Y, batch.Task}
	})
	fast := func(s *spec.Stack) { (*s)[0].Train.Rate = 2e-2 }
	for name, c := range map[string]struct {
		steps  int
		change func(r *spec.Run)
		stack  func(*spec.Stack)
	}{
		"adamw": {60, func(r *spec.Run) { r.Train.Clip, r.Train.Decay, r.Train.Warmup = .8, .1, 30 }, fast},
		"betas and epsilon": {60, func(r *spec.Run) {
			r.Train.Betas, r.Train.Epsilon, r.Train.Clip = [2]float64{.5, .9}, 1e-2, .8
		}, fast},
		"decays of matrices": {60, func(r *spec.Run) {
			r.Net, r.Train.Decay, r.Train.Decays, r.Train.Clip, r.Train.Schedule = mlp(1), 2, "matrices", .6, "constant"
		}, nil},
		"decays of all": {60, func(r *spec.Run) {
			r.Net, r.Train.Decay, r.Train.Clip, r.Train.Schedule = mlp(1), 2, .6, "constant"
		}, nil},
		"sgd, one step": {1, func(r *spec.Run) {
			r.Train.Optimizer, r.Train.Decay, r.Train.Warmup, r.Train.Rate, r.Train.Clip = "sgd", 0, 1, .3, 0
		}, nil},
		"sgd": {60, func(r *spec.Run) {
			r.Net, r.Train.Optimizer, r.Train.Decay, r.Train.Rate, r.Train.Clip = mlp(1), "sgd", 0, .3, .6
		}, fast},
		"surgery": {60, intervene(spec.Intervention{Kind: "surgery", Task: 2}), fast},
		"surgery with a memory, of ReLU nets": {60, func(r *spec.Run) {
			r.Net = mlp(1)
			intervene(spec.Intervention{Kind: "surgery", Task: 2, Memory: .9})(r)
			r.Train.Clip = .3
		}, fast},
		"surgery on the update": {60, intervene(spec.Intervention{Kind: "surgery-update", Task: 2}), fast},
		"alone":                 {60, intervene(spec.Intervention{Kind: "alone", Task: 2}), fast},
		"mask":                  {60, intervene(spec.Intervention{Kind: "mask", Task: 4}), fast},
		"mask, matched":         {60, intervene(spec.Intervention{Kind: "mask-matched", Task: 4}), fast},
		"cosine": {60, func(r *spec.Run) {
			r.Train.Optimizer, r.Train.Decay, r.Train.Schedule, r.Train.Floor, r.Train.Steps, r.Train.Clip = "adam", 0, "cosine", .3, 60, .8
		}, fast},
	} {
		t.Run(name, func(t *testing.T) {
			stack := tiny(t, c.change, 2, 5, 6)
			if c.stack != nil {
				c.stack(&stack)
			}
			againstPlainGo(t, b, stack, c.steps, draw)
		})
	}
}

// intervene sets an intervention, and the rest so that some steps are clipped.
func intervene(i spec.Intervention) func(*spec.Run) {
	return func(r *spec.Run) { r.Train.Intervention, r.Train.Clip, r.Train.Warmup = i, .8, 30 }
}

// againstPlainGo compares a training with one of the batches that draw returns.
func againstPlainGo(t *testing.T, b *backend.Backend, stack spec.Stack, steps int, draw func(...any) [][]float32) {
	t.Helper()
	snapshots := trained(t, b, stack, 0, steps)
	m := mixtureOf(t, stack[0])
	of := m.Family.Signature()
	clipped := 0
	for i, run := range stack {
		r := &reference{run: run, n: run.Net.Width, d: of.Input.Size(), k: of.Tasks, o: of.Outputs}
		for _, values := range snapshots[0].Runs[i].Weights {
			r.weights = append(r.weights, float64s(values))
			r.m, r.v = append(r.m, make([]float64, len(values))), append(r.v, make([]float64, len(values)))
		}
		for step := range steps {
			out := draw([]uint32{run.Train.DataSeed(), 0}, int32(step), m.Thresholds(), make([]float32, of.Tasks))
			r.inputs, r.targets = float64s(out[0]), float64s(out[1])
			r.tasks = r.tasks[:0]
			oneHot := out[2]
			for row := range run.Train.Batch {
				r.tasks = append(r.tasks, slices.Index(oneHot[row*of.Tasks:(row+1)*of.Tasks], 1))
			}
			r.step(step + 1)
			if r.gradientNorm > run.Train.Clip {
				clipped++
			}
		}
		for w, values := range snapshots[1].Runs[i].Weights {
			for j, v := range values {
				if math.Abs(float64(v)-r.weights[w][j]) > 2e-5 {
					t.Fatalf("width %d, array %d, weight %d: %g, plain Go %g", run.Net.Width, w, j, v, r.weights[w][j])
				}
			}
		}
	}
	if stack[0].Train.Clip > 0 && (clipped == 0 || clipped == steps*len(stack)) {
		t.Errorf("gradients were clipped in %d of %d steps: the test should see both", clipped, steps*len(stack))
	}
}

// Of the cosine with a floor: its rise, its peak, its middle and its end.
func TestCosine(t *testing.T) {
	stack := tiny(t, func(r *spec.Run) {
		r.Train.Schedule, r.Train.Floor, r.Train.Warmup, r.Train.Steps = "cosine", .2, 10, 110
	}, 2)
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		p := program(t, b, stack, Options{})
		schedule := func(in []*Node) []*Node { return []*Node{p.schedules(in[0])} }
		got := backendtest.Run(t, b, []any{[]float32{1, 5, 10, 35, 60, 85, 110}}, schedule)[0]
		for i, want := range []float64{.1, .5, 1, .2 + .4*(1+math.Sqrt2/2), .6, .2 + .4*(1-math.Sqrt2/2), .2} {
			if math.Abs(float64(got[i])-want) > 1e-6 {
				t.Errorf("value %d: %g, want %g", i, got[i], want)
			}
		}
	})
}
