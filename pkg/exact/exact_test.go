package exact_test

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	_ "raretask/pkg/exact"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/pkg/train"
	"raretask/tasks"
)

// tiny returns a stack of small runs.
func tiny(t *testing.T, change func(*spec.Run), widths ...int) spec.Stack {
	t.Helper()
	base := spec.Default()
	base.Mixture.Tasks, base.Mixture.Settings = 4, tasks.RegressionSettings{Dim: 14, Block: 3, Alpha: [2]float64{2, 2}}
	base.Train.Batch, base.Train.Steps, base.Train.Warmup = 40, 100, 20
	if change != nil {
		change(&base)
	}
	var stack spec.Stack
	for _, w := range widths {
		run := base
		run.Net.Width = w
		if err := run.Validate(); err != nil {
			t.Fatal(err)
		}
		stack = append(stack, run)
	}
	return stack
}

// trained returns the snapshots of a stack at steps.
func trained(t *testing.T, b *backend.Backend, stack spec.Stack, steps ...int) []train.Snapshot {
	t.Helper()
	p, err := train.New(b, stack, train.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Finalize()
	var all []train.Snapshot
	err = p.Run(t.Context(), stack, train.Training{Steps: steps, Observe: func(s train.Snapshot) error { all = append(all, s); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// measured returns the columns of a run's default metrics.
func measured(t *testing.T, run spec.Run, s train.RunState) map[string][]float64 {
	t.Helper()
	m, err := train.NewMeasurer(nil, run, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	values, err := m.Measure(s)
	if err != nil {
		t.Fatal(err)
	}
	columns := map[string][]float64{}
	for i, c := range m.Columns {
		columns[c.Name] = values[i]
	}
	return columns
}

func theoryOf(t *testing.T, run spec.Run) theory.Mixture {
	t.Helper()
	m, err := run.Mixture.Theory()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The loss on fresh samples estimates the exact one: within five standard errors of a mean of squares.
func TestSampledAgainstExact(t *testing.T) {
	stack := tiny(t, nil, 3)
	for _, s := range trained(t, backendtest.XLA(t), stack, 0, 100) {
		e := measured(t, stack[0], s.Runs[0])
		for k, exact := range e["loss"] {
			if sampled := e["loss_sampled"][k]; !(math.Abs(sampled/exact-1) <= 5*math.Sqrt(2./256)) {
				t.Errorf("step %d, task %d: sampled loss %g, exact %g", s.Step, k+1, sampled, exact)
			}
		}
	}
}

// Under muP the readout has a factor, which what is computed from the weights must count: the exact loss of each task is that of
// fresh samples.
func TestExactLossUnderMup(t *testing.T) {
	stack := tiny(t, func(r *spec.Run) { r.Net.Parameterization, r.Net.Base = "mup", 24 }, 6)
	for _, s := range trained(t, backendtest.XLA(t), stack, 0, 100) {
		e := measured(t, stack[0], s.Runs[0])
		for k, exact := range e["loss"] {
			if d := math.Abs(exact-e["loss_sampled"][k]) / exact; !(d <= .25) { // 256 samples; without the factor of 4 it is off by far more
				t.Errorf("step %d, task %d: exact loss %.3f, sampled %.3f", s.Step, k+1, exact, e["loss_sampled"][k])
			}
		}
		if s.Step == 0 && e["loss"][0] != 1 {
			t.Errorf("zero readouts lose %g of predicting the mean, want 1", e["loss"][0])
		}
	}
}

// Runs that diverged, and those of nets and families without closed forms, have no values and are no error.
func TestWithoutClosedForms(t *testing.T) {
	stack := tiny(t, func(r *spec.Run) { r.Train.Clip = 0 }, 5)
	stack[0].Train.Rate = 1e30
	state := trained(t, backendtest.XLA(t), stack, 100)[0].Runs[0]
	if state.Diverged < 0 {
		t.Fatal("rate 1e30 didn't diverge")
	}
	if e := measured(t, stack[0], state); e["full_loss"] != nil || e["signal"] != nil {
		t.Errorf("a diverged run has closed forms: %v", e)
	}
	relu := tiny(t, func(r *spec.Run) { r.Net = spec.NewNet("mlp", 1) }, 5)[0]
	parity := relu
	parity.Mixture.Family, parity.Mixture.Settings = "parity", tasks.ParitySettings{Bits: 9, Size: 3}
	for _, run := range []spec.Run{relu, parity} {
		m, err := train.NewMeasurer(nil, run, nil)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range m.Columns {
			names = append(names, c.Name)
		}
		if !slices.Equal(names, []string{"loss_sampled", "train_loss"}) {
			t.Errorf("%s: columns %v", run.Mixture.Family, names)
		}
	}
}

// Of an injected task the metric has what all tasks' has, and the norm of the rows that hold it; without an injection there is nothing.
func TestInjection(t *testing.T) {
	stack := tiny(t, func(r *spec.Run) { r.Train.Injection = spec.Injection{Task: 2, Gap: 3} }, 3, 6) // a frequent one
	form := theoryOf(t, stack[0])
	for _, s := range trained(t, backendtest.XLA(t), stack, 0, 100) {
		for i, run := range stack {
			e := measured(t, run, s.Runs[i])
			common, others := 0., 0.
			for _, k := range form.Frequent(theory.FrequentShare) {
				if k != 1 {
					common, others = common+e["signal_normalized"][k], others+1
				}
			}
			for name, want := range map[string]float64{"injected_signal": e["signal_normalized"][1], "common_signal": common / others,
				"injected_cosine": e["cosine"][1], "injected_feature": holds(t, s.Runs[i].Weights[0], run.Net.Width, 14, 3)} {
				if got := e[name][0]; math.Abs(got-want) > 1e-12 {
					t.Errorf("width %d, step %d: %s %g, want %g", run.Net.Width, s.Step, name, got, want)
				}
			}
			if c := e["injected_norm"][0]; s.Step == 0 && math.Abs(c-1) > 1e-5 { // rows are orthonormal
				t.Errorf("width %d: norm %g before training, want 1", run.Net.Width, c)
			}
		}
	}
	never := tiny(t, nil, 3)[0]
	if m, err := train.NewMeasurer(nil, never, []string{"injection"}); err != nil || len(m.Columns) > 0 {
		t.Errorf("columns %v without an injection (%v)", m.Columns, err)
	}
}

// holds returns P_ii of an encoder's row space by least squares: how much of a coordinate combinations of its rows reach.
func holds(t *testing.T, encoder []float32, width, dim, i int) float64 {
	t.Helper()
	rows := mat.NewDense(dim, width, nil)
	rows.Apply(func(d, n int, _ float64) float64 { return float64(encoder[n*dim+d]) }, rows)
	unit := mat.NewVecDense(dim, nil)
	unit.SetVec(i, 1)
	var x, reached mat.VecDense
	if err := x.SolveVec(rows, unit); err != nil {
		t.Fatal(err)
	}
	reached.MulVec(rows, &x)
	return reached.AtVec(i)
}

// Of a net whose width has changed, the neurons that take part are what is measured.
func TestMeasuresNeuronsThatTakePart(t *testing.T) {
	b := backendtest.XLA(t)
	resized := func(r *spec.Run) { r.Train.Intervention = spec.Intervention{Kind: "shrink", Neurons: 2, Step: 20} }
	stack := tiny(t, resized, 4)
	m := theoryOf(t, stack[0])
	for i, s := range trained(t, b, stack, 10, 20, 60) {
		neurons := []int{4, 2, 2}[i]
		space, err := theory.RowSpace(s.Runs[0].Weights[0][:neurons*14], neurons, 14)
		if err != nil {
			t.Fatal(err)
		}
		p, err := m.Population(space, m.Frequent(theory.FrequentShare))
		if err != nil {
			t.Fatal(err)
		}
		got := measured(t, stack[0], s.Runs[0])
		if got["encoder_loss"][0] != p.EncoderLoss || !slices.Equal(got["signal_normalized"], p.Normalized) {
			t.Errorf("step %d: encoder loss %g, want %g of %d neurons", s.Step, got["encoder_loss"][0], p.EncoderLoss, neurons)
		}
		if full := got["full_loss"][0]; full < p.EncoderLoss || math.Abs(full-sampledMixture(m, s.Runs[0], stack[0])) > .2*full {
			t.Errorf("step %d: full loss %g, encoder loss %g, sampled %g", s.Step, full, p.EncoderLoss, sampledMixture(m, s.Runs[0], stack[0]))
		}
	}
}

// sampledMixture is the mixture's loss on fresh samples, summed over outputs.
func sampledMixture(m theory.Mixture, s train.RunState, run spec.Run) float64 {
	sum := 0.
	for k, pi := range m.Frequency {
		sum += pi * s.Sampled[k] * float64(run.Mixture.Signature().Outputs)
	}
	return sum
}
