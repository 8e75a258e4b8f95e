package cell

import (
	"fmt"
	"slices"

	"raretask/pkg/allocation"
	"raretask/pkg/backend"
	"raretask/pkg/mixture"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/pkg/train"
)

// missed is the share of a task's own loss (of predicting the mean) that a neuron's ablation must cost it for the neuron to
// count as serving it.
const missed = .05

// Allocation trains one bottleneck, here in the cell, and displays for each task the share that the representation keeps, the
// capacity of its features, the neurons it holds at the end and at most, and the task that took most of those it lost.
func Allocation(run spec.Run) {
	Check(run.Validate())
	m := Must(mixture.New(run.Mixture))
	t, ok := m.Theory()
	if !ok || run.Net.Kind != "bottleneck" {
		Check(fmt.Errorf("cell: allocation of a %s on %s: want a bottleneck on regression, whose ablations are exact", run.Net.Kind, run.Mixture.Family))
	}
	ctx, done := backend.Interruptible()
	defer done()
	stack := spec.Stack{run}
	program := Must(train.New(Must(backend.Open()), stack))
	defer program.Finalize()
	line := newStatus()
	var owners [][]int
	var last train.RunState
	Check(program.Train(ctx, stack, train.EvaluationSteps(run.Train.Steps, 16), func(s train.Snapshot) error {
		last = s.Runs[0]
		effects, err := allocation.Ablation(run.Net.Width, func(without int) ([]float64, error) { return ablated(t, run, last.Weights, without) })
		owners = append(owners, allocation.Owners(effects, missed))
		return err
	}, func(step int) { line.show(fmt.Sprintf("step %d of %d", step, run.Train.Steps)) }))
	line.end(fmt.Sprintf("width %d, seed %d, %d steps", run.Net.Width, run.Train.Seed, run.Train.Steps))
	Table([]string{"task", "frequency", "kept by the representation", "capacity of its features", "neurons held", "most it ever held", "lost to (neurons)"}, allocated(t, run, last, owners))
}

// ablated returns the loss of each task relative to predicting the mean, with one neuron's weights at zero.
func ablated(t theory.Mixture, run spec.Run, weights [][]float32, without int) ([]float64, error) {
	encoder, dim := weights[0], run.Mixture.Dim
	if without >= 0 {
		encoder = slices.Clone(encoder)
		clear(encoder[without*dim : (without+1)*dim])
	}
	loss, err := theory.FullLoss(t, encoder, weights[1], run.Net.Width, dim)
	return loss.Normalized, err
}

func allocated(t theory.Mixture, run spec.Run, state train.RunState, owners [][]int) [][]any {
	width, dim, tasks := run.Net.Width, run.Mixture.Dim, t.Tasks()
	population := Must(t.Population(Must(theory.RowSpace(state.Weights[0], width, dim)), t.Frequent(train.FrequentShare)))
	encoder := make([][]float64, width)
	for n := range encoder {
		for _, w := range state.Weights[0][n*dim : (n+1)*dim] {
			encoder[n] = append(encoder[n], float64(w))
		}
	}
	capacity := allocation.Capacity(encoder)
	lost := Must(allocation.Losses(owners, tasks))
	most := make([]int, tasks)
	var held []int
	for _, o := range owners {
		held, _ = allocation.Held(o, tasks)
		for k, n := range held {
			most[k] = max(most[k], n)
		}
	}
	var rows [][]any
	for k := range tasks {
		own := 0.
		for j := range t.Block() {
			own += capacity[k*t.Block()+j]
		}
		taker := "–"
		if to := slices.Max(lost[k]); to > 0 {
			taker = fmt.Sprintf("task %d (%d)", slices.Index(lost[k], to)+1, to)
		}
		rows = append(rows, []any{k + 1, t.Frequency[k], population.Signal[k], own, held[k], most[k], taker})
	}
	return rows
}
