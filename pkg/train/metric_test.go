package train

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
)

func init() {
	// Of the samples: the mean square of hidden neurons of a run, and the mean square of a task's predictions.
	Register(Metric{Name: "test_squares", Of: func(*backend.Backend, spec.Run) (*Gauge, error) {
		return &Gauge{Columns: []Column{{Name: "hidden_square"}, {Name: "prediction_square", PerTask: true}}, Graph: squares}, nil
	}})
	// Of the weights: their norm, and their number for each task.
	Register(Metric{Name: "test_norm", Of: func(_ *backend.Backend, run spec.Run) (*Gauge, error) {
		return &Gauge{Columns: []Column{{Name: "norm"}, {Name: "count", PerTask: true}}, Host: func(s RunState) ([][]float64, error) {
			sum, n := 0., 0
			for _, w := range s.Weights {
				for _, v := range w {
					sum += float64(v) * float64(v)
				}
				n += len(w)
			}
			return [][]float64{{math.Sqrt(sum)}, slices.Repeat([]float64{float64(n)}, run.Mixture.Tasks)}, nil
		}}, nil
	}})
	Register(Metric{Name: "test_nothing", Of: func(*backend.Backend, spec.Run) (*Gauge, error) { return nil, nil }})
}

func squares(p Piece) []*Node {
	named := map[string]*Node{}
	p.Net.Forward(p.Family, p.Weights, p.Batch, func(name string, v *Node) *Node { named[name] = v; return v })
	square := ReduceMean(Square(named["prediction"]), -1) // [S, B]
	perTask := DivScalar(Einsum("sb,bk->sk", square, p.Batch.Task), float64(p.Rows))
	return []*Node{ReduceMean(Square(named["hidden"]), 1, 2), perTask}
}

// near compares numbers that differ in the order of their sums alone.
func near(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) <= 1e-5*(1e-3+math.Abs(y)) })
}

// Of nets with a readout for each task and with one for all: what is measured in the graph is what a graph of its own gives on the same
// samples, at once and in pieces, and so are the losses.
func TestMetricsInPieces(t *testing.T) {
	names := []string{"test_norm", "test_squares", "test_nothing", "loss_sampled"}
	for family, change := range map[string]func(*spec.Run){"regression": nil, "parity": parity(4, 9, mlp(2))} {
		stack := tiny(t, change, 2, 5, 5)
		for i := range stack {
			data := uint32(3)
			stack[i].Train.Seed, stack[i].Train.Data = uint32(i), &data
		}
		backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
			var whole Snapshot
			references := make([]func(...any) [][]float32, len(stack))
			for i, run := range stack {
				references[i] = reference20(t, b, run)
			}
			for _, piece := range []int{4, 2, 1} {
				p := program(t, b, stack, Options{Metrics: names})
				if p.piece != 4 {
					t.Fatalf("four small tasks are evaluated %d at a time", p.piece)
				}
				p.piece = piece
				var s Snapshot
				if err := p.Run(t.Context(), stack, Training{Steps: []int{20}, Observe: func(at Snapshot) error { s = at; return nil }}); err != nil {
					t.Fatal(err)
				}
				if piece == 4 {
					whole = s
				}
				for i, run := range stack {
					if !near(s.Runs[i].Sampled, whole.Runs[i].Sampled) {
						t.Errorf("%s, run %d, %d tasks at a time: losses %v, at once %v", family, i, piece, s.Runs[i].Sampled, whole.Runs[i].Sampled)
					}
					checkMeasured(t, b, fmt.Sprintf("%s, run %d, %d tasks at a time", family, i, piece), run, s.Runs[i], names, references[i])
				}
			}
		})
	}
}

// reference20 returns what squares makes of a run's weights at step 20, as a function of them.
func reference20(t *testing.T, b *backend.Backend, run spec.Run) func(weights ...any) [][]float32 {
	mix := mixtureOf(t, run)
	k := run.Mixture.Tasks
	return backendtest.Compile(t, b, func(in []*Node) []*Node {
		g := in[0].Graph()
		end := make([]float32, k)
		for i := range end {
			end[i] = float32((i + 1) * evaluationRows)
		}
		random := mixture.NewRandom(Const(g, []uint32{run.Train.DataSeed(), 0}), Const(g, int32(20)), evaluationSamples)
		batch := mixture.Arrange(mix.Family, random, Const(g, end), k*evaluationRows)
		return squares(Piece{Family: mix.Family, Net: run.New(), Weights: in, Batch: batch, Rows: evaluationRows})
	})
}

func checkMeasured(
	t *testing.T, b *backend.Backend, what string, run spec.Run, s RunState, names []string, reference func(...any) [][]float32,
) {
	t.Helper()
	m, err := NewMeasurer(b, run, names)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	values, err := m.Measure(s)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]float64{}
	for i, c := range m.Columns {
		got[c.Name] = values[i]
	}
	mix := mixtureOf(t, run)
	k := run.Mixture.Tasks
	var weights []any
	for i, w := range run.New().Weights() {
		weights = append(weights, interleave([][]float32{s.Weights[i]}, w))
	}
	out := reference(weights...)
	norm := 0.
	for _, w := range s.Weights {
		for _, v := range w {
			norm += float64(v) * float64(v)
		}
	}
	relative := make([]float64, k)
	for task, loss := range s.Sampled {
		relative[task] = loss / mix.Family.Baseline()[task]
	}
	for name, want := range map[string][]float64{
		"hidden_square": float64s(out[0]), "prediction_square": float64s(out[1]), "norm": {math.Sqrt(norm)},
		"count": slices.Repeat([]float64{float64(run.Parameters())}, k), "loss_sampled": relative,
	} {
		if !near(got[name], want) {
			t.Errorf("%s: %s is %v, want %v", what, name, got[name], want)
		}
	}
	if len(got) != 5 {
		t.Errorf("%s: columns %v", what, m.Columns)
	}
}

// However many tasks fit, they come in pieces of one size.
func TestPiecesDivideTheTasks(t *testing.T) {
	for _, k := range []int{1, 4, 97, 100, 360, 5000} {
		stack := tiny(t, func(r *spec.Run) { parity(k, 100, mlp(3))(r) }, 200, 500)
		n := pieceOf(stack)
		if n < 1 || k%n != 0 || n > 1 && n*evaluationRows*CostOf(stack).sample > pieceBytes {
			t.Errorf("%d tasks in pieces of %d, which take %d bytes of %d", k, n, n*evaluationRows*CostOf(stack).sample, pieceBytes)
		}
	}
}

// The training loss at a step is a function of the step alone.
func TestLossIsOfTheStep(t *testing.T) {
	b := backendtest.XLA(t)
	stack := tiny(t, nil, 2, 5)
	seen := map[int]Snapshot{}
	for _, steps := range [][]int{{0, 1, 2, 3, 17, 50, 51, 99, 100}, {50, 100}, {2, 51, 60, 61, 62, 63, 64, 99}, {17},
		EvaluationSteps(100, 5)} {
		for _, s := range trained(t, b, stack, steps...) {
			before, found := seen[s.Step]
			seen[s.Step] = s
			for i := range s.Runs {
				if loss := s.Runs[i].Loss; found && s.Step > 0 && loss != before.Runs[i].Loss || math.IsNaN(loss) != (s.Step == 0) {
					t.Errorf("run %d, step %d: loss %g, where observed otherwise %g", i, s.Step, loss, before.Runs[i].Loss)
				}
			}
		}
	}
	// It is the mean since the last step at which it began anew.
	every := make([]int, 101)
	for i := range every {
		every[i] = i
	}
	all := trained(t, b, stack, every...)
	losses := LossSteps(100)
	at := slices.Index(losses, 100)
	if at < 1 || losses[at-1] > 98 {
		t.Fatalf("the loss begins anew at %v: want the last mean to be of several steps", losses)
	}
	alone := func(step int) float64 { // the loss of the step after step-1, from means
		begin := losses[slices.IndexFunc(losses, func(s int) bool { return s >= step })-1]
		mean := all[step].Runs[1].Loss * float64(step-begin)
		if step-1 > begin {
			mean -= all[step-1].Runs[1].Loss * float64(step-1-begin)
		}
		return mean
	}
	sum := 0.
	for step := losses[at-1] + 1; step <= 100; step++ {
		sum += alone(step)
	}
	if want := sum / float64(100-losses[at-1]); math.Abs(all[100].Runs[1].Loss-want) > 1e-6 {
		t.Errorf("loss %g, mean of its steps' %g", all[100].Runs[1].Loss, want)
	}
}

// Weights are those of the steps after which they are kept, also where nobody looks; evaluated again they give what training saw.
func TestKeptWeights(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		stack := tiny(t, nil, 2, 5, 5)
		stack[2].Train.Rate = 1e-3
		names := []string{"loss_sampled", "test_squares"}
		p := program(t, b, stack, Options{Metrics: names})
		observed := map[int]Snapshot{}
		look := func(s Snapshot) error { observed[s.Step] = s; return nil }
		if err := p.Run(t.Context(), stack, Training{Steps: []int{0, 7, 33, 40}, Observe: look}); err != nil {
			t.Fatal(err)
		}
		var kept []Weights
		keep := Training{
			Steps: []int{0, 33, 40}, Observe: func(Snapshot) error { return nil }, Keep: []int{0, 7, 33, 40},
			Kept: func(w Weights) error { kept = append(kept, w); return nil },
		}
		if err := p.Run(t.Context(), stack, keep); err != nil {
			t.Fatal(err)
		}
		if len(kept) != 4 {
			t.Fatalf("kept %d times, want 4", len(kept))
		}
		fresh := program(t, b, stack, Options{Metrics: names}) // which never trained
		for i, w := range kept {
			if w.Step != keep.Keep[i] {
				t.Errorf("kept after step %d, want %d", w.Step, keep.Keep[i])
			}
			again, err := fresh.Evaluate(stack, w.Step, w.Runs)
			if err != nil {
				t.Fatal(err)
			}
			for r, want := range observed[w.Step].Runs {
				if !slices.EqualFunc(w.Runs[r], want.Weights, slices.Equal) || !slices.EqualFunc(again[r].Weights, want.Weights, slices.Equal) {
					t.Errorf("step %d, run %d: other weights than were observed", w.Step, r)
				}
				if !slices.Equal(again[r].Sampled, want.Sampled) || !slices.EqualFunc(again[r].Graph, want.Graph, slices.Equal) ||
					again[r].Diverged != -1 {
					t.Errorf("step %d, run %d: evaluated again %v, %v, was %v, %v", w.Step, r, again[r].Sampled, again[r].Graph, want.Sampled, want.Graph)
				}
			}
		}
		runs := kept[0].Runs
		for what, weights := range map[string][][][]float32{
			"two sets for three runs": runs[:2], "another width's": {runs[1], runs[0], runs[2]}, "an array too few": {runs[0], runs[1][:1], runs[2]},
		} {
			if _, err := p.Evaluate(stack, 7, weights); err == nil || !strings.Contains(err.Error(), "want") {
				t.Errorf("%s: error %v", what, err)
			}
		}
		if _, err := p.Evaluate(stack, 7, runs, float32(0)); err == nil || !strings.Contains(err.Error(), "tap") {
			t.Errorf("inputs of a tap that isn't there: error %v", err)
		}
	})
}

// A tap's arrays are inputs: others at an evaluation take their place. What it replaces is what is trained.
func TestTapInTraining(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		stack := tiny(t, nil, 3, 5)
		scale := func(by float32) *Tap {
			return &Tap{Key: "scale", Inputs: []any{by}, Build: func(name string, v *Node, inputs []*Node) *Node {
				if name != "hidden" {
					return v
				}
				return Mul(v, inputs[0])
			}}
		}
		snapshot := func(o Options) (p *Program, s Snapshot) {
			p = program(t, b, stack, o)
			if err := p.Run(t.Context(), stack, Training{Steps: []int{30}, Observe: func(at Snapshot) error { s = at; return nil }}); err != nil {
				t.Fatal(err)
			}
			return p, s
		}
		_, plain := snapshot(Options{})
		tapped, same := snapshot(Options{Tap: scale(1)})
		_, silent := snapshot(Options{Tap: scale(0)})
		baseline := mixtureOf(t, stack[0]).Family.Baseline()
		for i := range stack {
			if !near(same.Runs[i].Sampled, plain.Runs[i].Sampled) {
				t.Errorf("run %d: losses %v, without the identity %v", i, same.Runs[i].Sampled, plain.Runs[i].Sampled)
			}
			out, err := tapped.Evaluate(stack, 30, [][][]float32{plain.Runs[0].Weights, plain.Runs[1].Weights}, float32(0))
			if err != nil {
				t.Fatal(err)
			}
			for k, loss := range out[i].Sampled { // 256 samples of 3 squares: six standard errors
				if math.Abs(loss/baseline[k]-1) > 6*math.Sqrt(2./evaluationRows) || math.Abs(loss-silent.Runs[i].Sampled[k]) > 1e-6 {
					t.Errorf("run %d, task %d: without a hidden layer it loses %g, trained so %g: want about %g", i, k+1, loss, silent.Runs[i].Sampled[k],
						baseline[k])
				}
			}
		}
	})
}

func TestMetricNames(t *testing.T) {
	if err := CheckMetrics([]string{"loss_sampled", "test_norm"}); err != nil {
		t.Error(err)
	}
	for _, names := range [][]string{{"loss"}, {"train_loss", "train_loss"}} {
		if err := CheckMetrics(names); err == nil {
			t.Errorf("metrics %v: no error", names)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a metric was registered twice")
		}
	}()
	Register(Metric{Name: "test_nothing", Of: metrics["test_nothing"].Of})
}

// The net starts from the initial values of its seed, however it is stacked; master weights are float32 also under products in bfloat16.
func TestStartsFromInitial(t *testing.T) {
	for _, products := range []string{"float32", "bfloat16"} {
		stack := tiny(t, func(r *spec.Run) { r.Train.Products = products; parity(4, 9, mlp(2))(r) }, 3, 5, 5)
		stack[1].Train.Seed = 7
		backendtest.Each(t, func(t *testing.T, b *backend.Backend) { startsFromInitial(t, b, stack) })
	}
}

func startsFromInitial(t *testing.T, b *backend.Backend, stack spec.Stack) {
	all := trained(t, b, stack, 0, 50)
	for i, run := range stack {
		moved := 0.
		for w, want := range net.Initial(run.New(), run.Net.Width, run.Train.Seed) {
			if !slices.Equal(all[0].Runs[i].Weights[w], want) {
				t.Errorf("run %d, array %d: does not start from its initial values", i, w)
			}
			// Numbers of 8 bits would be seen at once: their last 16 bits are zero.
			for j, v := range all[1].Runs[i].Weights[w] {
				moved += math.Abs(float64(v - want[j]))
			}
			if len(want) > 10 && !slices.ContainsFunc(all[1].Runs[i].Weights[w], func(v float32) bool { return math.Float32bits(v)&0xffff != 0 }) {
				t.Errorf("run %d, array %d: weights are bfloat16", i, w)
			}
		}
		if moved == 0 {
			t.Errorf("run %d: nothing moved", i)
		}
	}
}

// Products in bfloat16 train to about the same losses.
func TestTrainingInBFloat16(t *testing.T) {
	b := backendtest.XLA(t)
	exact := last(trained(t, b, tiny(t, nil, 5), 60)).Runs[0]
	rounded := last(trained(t, b, tiny(t, func(r *spec.Run) { r.Train.Products = "bfloat16" }, 5), 60)).Runs[0]
	if slices.Equal(exact.Sampled, rounded.Sampled) {
		t.Error("products in bfloat16 change nothing")
	}
	for k, want := range exact.Sampled {
		if math.Abs(rounded.Sampled[k]-want) > 1e-2*want {
			t.Errorf("task %d: loss %g, in bfloat16 %g", k+1, want, rounded.Sampled[k])
		}
	}
}
