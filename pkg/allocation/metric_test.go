package allocation

import (
	"errors"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/net"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
	"raretask/tasks"
)

// nets are those with one hidden layer.
var nets = map[string]net.Settings{"bottleneck": net.BottleneckSettings{}, "mlp": net.MLPSettings{Depth: 1}}

// small returns a run of 4 regressions and 6 neurons.
func small(t *testing.T, kind string) spec.Run {
	t.Helper()
	run := spec.Default()
	run.Mixture.Tasks, run.Mixture.Settings = 4, tasks.RegressionSettings{Dim: 14, Block: 3, Alpha: [2]float64{2, 2}}
	run.Net.Kind, run.Net.Settings, run.Net.Width = kind, nets[kind], 6
	run.Train.Batch, run.Train.Steps, run.Train.Warmup = 64, 300, 20
	if err := run.Validate(); err != nil {
		t.Fatal(err)
	}
	return run
}

// trained returns the state of a run at the end of its training.
func trained(t *testing.T, b *backend.Backend, run spec.Run) train.RunState {
	t.Helper()
	p, err := train.New(b, spec.Stack{run}, train.Options{Metrics: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Finalize()
	var state train.RunState
	observe := func(s train.Snapshot) error { state = s.Runs[0]; return nil }
	if err := p.Run(t.Context(), spec.Stack{run}, train.Training{Steps: []int{run.Train.Steps}, Observe: observe}); err != nil {
		t.Fatal(err)
	}
	return state
}

// silenced returns weights without what leads from a neuron to the predictions.
func silenced(run spec.Run, weights [][]float32, neuron int) [][]float32 {
	silent := slices.Clone(weights)
	for i, w := range run.New().Weights() {
		if w.Name == "decoder" || w.Name == "readout" { // neurons are the last axis
			silent[i] = slices.Clone(weights[i])
			for at := neuron; at < len(silent[i]); at += run.Net.Width {
				silent[i][at] = 0
			}
		}
	}
	return silent
}

// Silencing a neuron by the tap is what zeroing its readout by hand is, on the samples of the state's step, on both backends; a neuron that
// leads nowhere is worth nothing; and by samples a neuron of a bottleneck is worth what it is exactly, up to their error.
func TestSampledAblation(t *testing.T) {
	for kind := range nets {
		run := small(t, kind)
		state := trained(t, backendtest.Go(t), run)
		for name, open := range map[string]func(testing.TB) *backend.Backend{"go": backendtest.Go, "xla": backendtest.XLA} {
			t.Run(kind+" on "+name, func(t *testing.T) { ablate(t, open(t), run, state) })
		}
	}
}

func ablate(t *testing.T, b *backend.Backend, run spec.Run, state train.RunState) {
	m, err := run.Mixture.Mixture()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := train.New(b, spec.Stack{run}, train.Options{Metrics: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Finalize()
	sampler := &sampler{b: b, run: run, baseline: m.Family.Baseline()}
	defer sampler.close()
	whole, err := sampler.losses(state, -1)
	if err != nil {
		t.Fatal(err)
	}
	for k, loss := range whole { // of the samples on which the run was evaluated
		of := state.Sampled[k] / sampler.baseline[k]
		if math.IsNaN(loss) != (of > 1-Had) || math.Abs(loss-of) > 1e-4 {
			t.Errorf("task %d: loss %g with all neurons, %g when it was trained", k+1, loss, of)
		}
	}
	without, err := sampler.losses(state, 2)
	later, err2 := sampler.losses(train.RunState{Step: state.Step + 1, Weights: state.Weights}, 2)
	if err := errors.Join(err, err2); err != nil || slices.Equal(without, later) {
		t.Errorf("other samples give the same losses, %v, %v", later, err)
	}
	for n := range run.Net.Width {
		byTap, err := sampler.losses(state, n)
		if err != nil {
			t.Fatal(err)
		}
		byHand, err := plain.Evaluate(spec.Stack{run}, state.Step, [][][]float32{silenced(run, state.Weights, n)})
		if err != nil {
			t.Fatal(err)
		}
		for k, loss := range byHand[0].Sampled {
			if want := loss / sampler.baseline[k]; math.Abs(byTap[k]-want) > 1e-6 {
				t.Errorf("without neuron %d task %d loses %g by tap, %g with a readout of zeros", n, k+1, byTap[k], want)
			}
		}
	}
	state.Weights = silenced(run, state.Weights, 2)
	sampled, err := Ablation(run.Net.Width, func(without int) ([]float64, error) { return sampler.losses(state, without) })
	if err != nil {
		t.Fatal(err)
	}
	most := 0.
	for n, effects := range sampled {
		for k, effect := range effects {
			if n == 2 && effect != 0 && !math.IsNaN(effect) {
				t.Errorf("a silent neuron is worth %g to task %d", effect, k+1)
			}
			if !math.IsNaN(effect) {
				most = max(most, math.Abs(effect))
			}
		}
	}
	if most < .1 {
		t.Errorf("no neuron is worth more than %g to any task, or this test shows nothing", most)
	}
	if linear, ok := run.New().(net.Linear); ok {
		againstExact(t, run, linear, state, sampled)
	}
}

// againstExact compares what neurons are worth by samples and in closed form.
func againstExact(t *testing.T, run spec.Run, linear net.Linear, state train.RunState, sampled [][]float64) {
	form, err := run.Mixture.Theory()
	if err != nil {
		t.Fatal(err)
	}
	losses := exactly(form, linear, run)
	whole, err := losses(state, -1)
	if err != nil {
		t.Fatal(err)
	}
	exact, err := Ablation(run.Net.Width, func(without int) ([]float64, error) { return losses(state, without) })
	if err != nil {
		t.Fatal(err)
	}
	for n := range exact {
		for k, want := range exact[n] {
			got := sampled[n][k]
			if math.IsNaN(got) && whole[k] > .8 { // the net doesn't have the task
				continue
			}
			if math.IsNaN(got) || math.Abs(got-want) > .05+.25*math.Abs(want) {
				t.Errorf("neuron %d is worth %g to task %d by samples, %g exactly", n, got, k+1, want)
			}
		}
	}
}

// The metric gives as many numbers as it names, a task for each neuron that a task would miss, and nothing of diverged runs; nets of more
// hidden layers have none of it.
func TestMetric(t *testing.T) {
	b := backendtest.Go(t)
	for kind := range nets {
		run := small(t, kind)
		m, err := train.NewMeasurer(b, run, []string{"allocation"})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		state := trained(t, b, run)
		got, err := m.Measure(state)
		if err != nil || len(got) != len(m.Columns) {
			t.Fatalf("%s: %d columns, %v: want %d", kind, len(got), err, len(m.Columns))
		}
		held := map[int]float64{}
		for i, c := range m.Columns {
			if want := map[bool]int{true: 4, false: 1}[c.PerTask]; len(got[i]) != want {
				t.Errorf("%s: %d numbers of %s: want %d", kind, len(got[i]), c.Name, want)
			}
			if !c.PerTask {
				held[int(got[i][0])]++
			}
		}
		for k, n := range got[0] {
			if n != held[k+1] || n > got[1][k] || got[2][k] > got[1][k] {
				t.Errorf("%s: task %d holds %g neurons, owns %g, would miss %g, shares %g", kind, k+1, n, held[k+1], got[1][k], got[2][k])
			}
		}
		if got[0][0] == 0 {
			t.Errorf("%s: the most frequent task holds no neuron after training", kind)
		}
		state.Diverged = 5
		some := func(v []float64) bool { return v != nil }
		if got, err = m.Measure(state); err != nil || len(got) != len(m.Columns) || slices.ContainsFunc(got, some) {
			t.Errorf("%s: a diverged run has %v, %v", kind, got, err)
		}
	}
	deep := small(t, "mlp")
	deep.Net.Settings = net.MLPSettings{Depth: 2}
	if g, err := of(b, deep); g != nil || err != nil {
		t.Errorf("two hidden layers have a gauge %v, %v", g, err)
	}
	if _, _, err := Table(results.NewRun(deep, []int{300}, nil)); err == nil {
		t.Error("two hidden layers have a table")
	}
}

// What neurons look at is held against the inputs that a task's target depends on: blocks, or subsets of shared bits.
func TestOwnInputs(t *testing.T) {
	for kind, settings := range map[string]tasks.Settings{
		"regression": tasks.RegressionSettings{Dim: 14, Block: 3, Alpha: [2]float64{2, 2}},
		"parity":     tasks.ParitySettings{Bits: 14, Size: 3, Seed: 1},
	} {
		family, err := settings.Family(4)
		if err != nil {
			t.Fatal(err)
		}
		// Neuron 1 sees task 2's inputs, neuron 2 all of them and one other as strongly, neuron 3 that one.
		encoder, other := mat.NewDense(3, 14, nil), 0
		for slices.Contains(family.Relevant(1), other) {
			other++
		}
		for _, d := range family.Relevant(1) {
			encoder.Set(0, d, -2)
			encoder.Set(1, d, 1)
		}
		encoder.Set(1, other, 1)
		encoder.Set(2, other, 1)
		got := values(family, [][]float64{{0, .5, 0, 0}, {.06, Missed, 0, 0}, {0, math.NaN(), -1, 0}}, encoder, true)
		for i, want := range [][]float64{{1, 1, 0, 0}, {1, 2, 0, 0}, {1, 1, 0, 0}} {
			if !slices.Equal(got[i], want) {
				t.Errorf("%s: %s %v, want %v", kind, tasksColumns[i].Name, got[i], want)
			}
		}
		near(t, kind+": input weight on the own inputs", got[3][1], (1+.75)/2)
		if !math.IsNaN(got[3][2]) {
			t.Errorf("%s: neurons that nobody misses have %g of their weight on task 3's inputs", kind, got[3][2])
		}
		for n, want := range []float64{2, 1, 0} {
			if owner := got[5+n][0]; owner != want {
				t.Errorf("%s: neuron %d serves task %g, want %g", kind, n+1, owner, want)
			}
		}
	}
}

// A table says what a task holds at the end and held at most, and who took most of what it lost.
func TestTable(t *testing.T) {
	run := small(t, "mlp")
	run.Net.Width = 3
	nan := math.NaN()
	columns := map[string][]float64{
		"loss_sampled":   {1, 1, 1, 1, .5, .9, 1, 1, .1, .2, .3, 1},
		"neurons_held":   {0, 0, 0, 0, 1, 2, 0, 0, 2, 0, 1, 0},
		"neurons_missed": {0, 0, 0, 0, 1, 2, 0, 0, 3, 0, 1, 0}, "neurons_shared": {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0},
		"own_input_weight": {nan, nan, nan, nan, .4, .5, nan, nan, .75, nan, .5, nan},
		"owner_1":          {0, 1, 1}, "owner_2": {0, 2, 3}, "owner_3": {0, 2, 1},
	}
	headers, rows, err := Table(results.NewRun(run, []int{0, 10, 300}, columns))
	if err != nil {
		t.Fatal(err)
	}
	pi := run.Mixture.Frequencies()
	for k, want := range [][]any{
		{1, pi[0], .1, 3, 1, .75, 2, 2, "–"},
		{2, pi[1], .2, 0, 0, "–", 0, 2, "task 1 (1)"},
		{3, pi[2], .3, 1, 1, .5, 1, 1, "–"},
		{4, pi[3], 1., 0, 0, "–", 0, 0, "–"},
	} {
		if !slices.Equal(rows[k], want) || len(headers) != len(want) {
			t.Errorf("row %v under %v: want %v", rows[k], headers, want)
		}
	}
	delete(columns, "owner_3")
	if _, _, err := Table(results.NewRun(run, []int{0, 10, 300}, columns)); err == nil {
		t.Error("a table without a neuron's owner")
	}
}
