package train

import (
	"math"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// weighted is a toy family whose samples count differently: each task's target is a number, and beside it how much the sample counts.
type weighted struct{ k int }

// weightedSettings has nothing to set.
type weightedSettings struct{}

func (weightedSettings) Check(int) error                    { return nil }
func (weightedSettings) Signature(k int) tasks.Signature    { return weighted{k}.Signature() }
func (weightedSettings) Family(k int) (tasks.Family, error) { return weighted{k}, nil }
func (w weighted) Baseline() []float64                      { return slices.Repeat([]float64{1}, w.k) }
func (weighted) Relevant(int) []int                         { return []int{0, 1, 2} }
func (w weighted) Signature() tasks.Signature {
	return tasks.Signature{Tasks: w.k, Input: tasks.Vector(3), Target: tasks.Vector(2), Outputs: 1, Coded: true, Unit: "squared error"}
}

func (weighted) Draw(random tasks.Random, taskBK *Node) (x, y *Node) {
	rows := taskBK.Shape().Dim(0)
	x = random.Normal(rows, 3)
	// Every fourth sample or so doesn't count at all.
	counts := MaxScalar(AddScalar(MulScalar(random.Uniform(rows, 1), 4), -1), 0.)
	return x, Concatenate([]*Node{ReduceAndKeep(x, ReduceSum, -1), counts}, -1)
}

func (weighted) Score(prediction, target *Node) (loss, weight *Node) {
	part := func(v *Node, i int) *Node { return ReduceSum(Slice(v, AxisRange().Spacer(), AxisElem(i)), -1) }
	return Square(Sub(part(prediction, 0), part(target, 0))), part(target, 1)
}

// A family that weighs its samples trains on their weighted mean: one step of each of two widths by hand, gradients by finite differences.
// Its sampled losses are the weighted means of each task's samples.
func TestWeightedScores(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		stack := tiny(t, nil, 2, 5)
		for i := range stack {
			r := &stack[i]
			r.Mixture = spec.Mixture{Family: "weighted", Tasks: 3, Settings: weightedSettings{},
				Frequency: spec.Frequency{Law: "power", Exponent: 1}}
			width := r.Net.Width
			r.Net = mlp(1)
			r.Net.Width = width
			r.Train.Optimizer, r.Train.Decay, r.Train.Clip, r.Train.Warmup, r.Train.Rate, r.Train.Schedule = "sgd", 0, 0, 1, .5, "constant"
		}
		all := trained(t, b, stack, 0, 1)
		m := mixtureOf(t, stack[0])
		samples := func(step int32, purpose uint32, end []float32) (x, y, task []float64) {
			out := backendtest.Run(t, b, []any{[]uint32{0, 0}, step, m.Thresholds(), make([]float32, 3)}, func(in []*Node) []*Node {
				random := mixture.NewRandom(in[0], in[1], purpose)
				batch := mixture.Draw(m.Family, random, in[2], in[3], stack[0].Train.Batch)
				if end != nil {
					batch = mixture.Arrange(m.Family, mixture.NewRandom(in[0], in[1], purpose), Const(in[0].Graph(), end), int(end[2]))
				}
				return []*Node{batch.X, batch.Y, batch.Task}
			})
			return float64s(out[0]), float64s(out[1]), float64s(out[2])
		}
		x, y, task := samples(0, trainingSamples, nil)
		const rows = evaluationRows
		ex, ey, etask := samples(1, evaluationSamples, []float32{rows, 2 * rows, 3 * rows})
		for i, run := range stack {
			var before [][]float64
			for _, w := range all[0].Runs[i].Weights {
				before = append(before, float64s(w))
			}
			of := func() float64 { loss, _ := weightedLoss(before, run.Net.Width, x, y, task); return loss }
			if want := of(); math.Abs(all[1].Runs[i].Loss-want) > 1e-5*want {
				t.Errorf("run %d: training loss %g, want %g", i, all[1].Runs[i].Loss, want)
			}
			for w := range before {
				for j := range before[w] {
					const h = 1e-5
					was := before[w][j]
					before[w][j] = was + h
					up := of()
					before[w][j] = was - h
					down := of()
					before[w][j] = was
					want := was - run.Train.Rate*(up-down)/(2*h)
					if got := float64(all[1].Runs[i].Weights[w][j]); math.Abs(got-want) > 1e-5 {
						t.Fatalf("run %d, array %d, weight %d: %g after a step, want %g", i, w, j, got, want)
					}
				}
			}
			var after [][]float64
			for _, w := range all[1].Runs[i].Weights {
				after = append(after, float64s(w))
			}
			if _, byTask := weightedLoss(after, run.Net.Width, ex, ey, etask); !near(all[1].Runs[i].Sampled, byTask) {
				t.Errorf("run %d: sampled losses %v, want %v", i, all[1].Runs[i].Sampled, byTask)
			}
		}
	})
}

// weightedLoss returns the weighted mean of a ReLU net's squared errors, over all samples and over those of each of three tasks. Weights
// are weight1 [N, 3], bias1 [N], code [3, N], readout [1, N], readout_bias [1].
func weightedLoss(weights [][]float64, n int, x, y, task []float64) (mean float64, byTask []float64) {
	sums, counts := make([]float64, 3), make([]float64, 3)
	for row := range len(y) / 2 {
		k := slices.Index(task[row*3:row*3+3], 1)
		prediction := weights[4][0]
		for i := range n {
			h := weights[1][i] + weights[2][k*n+i]
			for j := range 3 {
				h += weights[0][i*3+j] * x[row*3+j]
			}
			prediction += weights[3][i] * max(0, h)
		}
		off := prediction - y[row*2]
		sums[k] += y[row*2+1] * off * off
		counts[k] += y[row*2+1]
	}
	for k := range sums {
		byTask = append(byTask, sums[k]/counts[k])
	}
	return (sums[0] + sums[1] + sums[2]) / (counts[0] + counts[1] + counts[2]), byTask
}
