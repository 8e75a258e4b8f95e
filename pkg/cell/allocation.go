package cell

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"raretask/pkg/allocation"
	"raretask/pkg/backend"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/pkg/train"
	"raretask/tasks"
)

// missed is the share of a task's own loss (of predicting the mean) that a neuron's ablation must cost it for the neuron to
// count as serving it.
const missed = .05

// had is the share of its own loss that a task must have learned to have something to miss: silencing a neuron also changes what a net
// wrongly believes about a task that it has not learned.
const had = .1

// Allocation trains one net with one hidden layer, here in the cell, and displays for each task what the net has of it, the neurons it
// holds at the end and at most, and the task that took most of those it lost. For a bottleneck all of that is exact; for an MLP
// losses, with each neuron silenced in turn, are of 256 fresh samples of each task.
func Allocation(run spec.Run) {
	Check(run.Validate())
	if run.Net.Layers() > 1 {
		Check(fmt.Errorf("cell: allocation of a net of %d hidden layers: want 1, whose neurons are silenced one by one", run.Net.Layers()))
	}
	m := Must(mixture.New(run.Mixture))
	b := Must(backend.Open())
	ctx, done := backend.Interruptible()
	defer done()
	stack := spec.Stack{run}
	program := Must(train.New(b, stack))
	defer program.Finalize()
	line := newStatus()
	copies := Must(train.New(b, slices.Repeat(spec.Stack{run}, run.Net.Width+1))) // compiled where it is used
	defer copies.Finalize()
	ablate := func(step int, weights [][]float32) ([][]float64, error) {
		return sampledAblation(copies, run, step, weights)
	}
	theory, exact := m.Theory()
	if exact = exact && run.Net.Kind == "bottleneck" && run.Net.Shrink() == 1; exact {
		ablate = func(_ int, weights [][]float32) ([][]float64, error) { return exactAblation(theory, run, weights) }
	}
	var owners [][]int
	var effects [][]float64
	var last train.RunState
	Check(program.Train(ctx, stack, train.EvaluationSteps(run.Train.Steps, 16), func(s train.Snapshot) (err error) {
		last = s.Runs[0]
		effects, err = ablate(s.Step, last.Weights)
		owners = append(owners, allocation.Owners(effects, missed))
		return err
	}, func(step int) { line.show(fmt.Sprintf("step %d of %d", step, run.Train.Steps)) }))
	line.end(fmt.Sprintf("width %d, seed %d, %d steps", run.Net.Width, run.Train.Seed, run.Train.Steps))
	headers, rows := []string{"task", "frequency"}, make([][]any, m.Family.Tasks())
	for k := range rows {
		rows[k] = []any{k + 1, m.Frequency[k]}
	}
	column := func(header string, of func(task int) any) {
		headers = append(headers, header)
		for k := range rows {
			rows[k] = append(rows[k], of(k))
		}
	}
	if exact {
		bottleneckColumns(theory, run, last, column)
	} else {
		sampledColumns(m.Family, last, effects, column)
	}
	heldColumns(owners, len(rows), column)
	Table(headers, rows)
}

// exactAblation returns what each neuron of a bottleneck is worth to each task.
func exactAblation(t theory.Mixture, run spec.Run, weights [][]float32) ([][]float64, error) {
	dim := run.Mixture.Dim
	return allocation.Ablation(run.Net.Width, func(without int) ([]float64, error) {
		encoder := slices.Clone(weights[0])
		if without >= 0 {
			clear(encoder[without*dim : (without+1)*dim])
		}
		loss, err := theory.FullLoss(t, encoder, weights[1], run.Net.Width, dim)
		return loss.Normalized, err
	})
}

// sampledAblation returns what each neuron of a net with one hidden layer is worth to each task, on the samples of a step: the net
// and its ablations are evaluated side by side by a program of width+1 copies of the run. It is NaN for a task that the net doesn't have.
func sampledAblation(copies *train.Program, run spec.Run, step int, weights [][]float32) ([][]float64, error) {
	m, err := mixture.New(run.Mixture)
	if err != nil {
		return nil, err
	}
	n, err := net.New(run.Net, m.Family)
	if err != nil {
		return nil, err
	}
	nets := [][][]float32{weights}
	for neuron := range run.Net.Width {
		nets = append(nets, silenced(n.Weights(), weights, run.Net.Width, neuron))
	}
	losses, err := copies.Losses(run, step, nets)
	if err != nil {
		return nil, err
	}
	for k, loss := range losses[0] {
		if loss > 1-had {
			losses[0][k] = math.NaN()
		}
	}
	return allocation.Ablation(run.Net.Width, func(without int) ([]float64, error) { return losses[without+1], nil })
}

// silenced returns the weights with all that a neuron of the last hidden layer leads to at zero.
func silenced(layers []net.Weight, weights [][]float32, width, neuron int) [][]float32 {
	silent := slices.Clone(weights)
	for i, w := range layers {
		if w.Name == "decoder" || w.Name == "readout" { // neurons are the last axis
			silent[i] = slices.Clone(weights[i])
			for at := neuron; at < len(silent[i]); at += width {
				silent[i][at] = 0
			}
		}
	}
	return silent
}

// bottleneckColumns shows what the representation keeps of each task and how much of it the task has for itself.
func bottleneckColumns(t theory.Mixture, run spec.Run, state train.RunState, column func(string, func(int) any)) {
	population := Must(t.Population(Must(theory.RowSpace(state.Weights[0], run.Net.Width, run.Mixture.Dim)), t.Frequent(train.FrequentShare)))
	capacity := allocation.Capacity(rowsOf(state.Weights[0], run.Mixture.Dim))
	column("kept by the representation", func(k int) any { return population.Signal[k] })
	column("capacity of its features", func(k int) any {
		own := 0.
		for j := range t.Block() {
			own += capacity[k*t.Block()+j]
		}
		return own
	})
}

// sampledColumns shows each task's loss, how many neurons it would miss and how many of those another task would miss too, and what
// they look at.
func sampledColumns(family tasks.Family, state train.RunState, effects [][]float64, column func(string, func(int) any)) {
	counts := func(neuron, task int) bool { return effects[neuron][task] >= missed }
	needed := func(task int) (neurons []int) {
		for n := range effects {
			if counts(n, task) {
				neurons = append(neurons, n)
			}
		}
		return neurons
	}
	own := ownInputs(family)
	kept, _, err := allocation.Capture(rowsOf(state.Weights[0], family.Inputs()), own)
	Check(err)
	column("loss (1: nothing learned)", func(k int) any { return state.Sampled[k] / family.MeanLoss()[k] })
	column("neurons it would miss", func(k int) any { return len(needed(k)) })
	column("of them missed by others too", func(k int) any {
		shared := 0
		for _, n := range needed(k) {
			for other := range family.Tasks() {
				if other != k && counts(n, other) {
					shared++
					break
				}
			}
		}
		return shared
	})
	column("their input weight on its own inputs", func(k int) any {
		neurons := needed(k)
		if len(neurons) == 0 {
			return "–"
		}
		mean := 0.
		for _, n := range neurons {
			mean += kept[n][k] * floats.Sum(own[k]) / float64(len(neurons))
		}
		return mean
	})
}

// ownInputs returns which inputs each task depends on, 1 or 0.
func ownInputs(family tasks.Family) [][]float64 {
	own := make([][]float64, family.Tasks())
	for k := range own {
		own[k] = make([]float64, family.Inputs())
		switch f := family.(type) {
		case *tasks.Parity:
			for _, bit := range f.Subsets[k] {
				own[k][bit] = 1
			}
		case *tasks.Regression:
			first, end := f.Coordinates(k)
			for i := first; i < end; i++ {
				own[k][i] = 1
			}
		}
	}
	return own
}

// heldColumns shows how many neurons each task holds and held, and who took them.
func heldColumns(owners [][]int, tasks int, column func(string, func(int) any)) {
	lost := Must(allocation.Losses(owners, tasks))
	most := make([]int, tasks)
	var held []int
	for _, o := range owners {
		held, _ = allocation.Held(o, tasks)
		for k, n := range held {
			most[k] = max(most[k], n)
		}
	}
	column("neurons held", func(k int) any { return held[k] })
	column("most it ever held", func(k int) any { return most[k] })
	column("lost to (neurons)", func(k int) any {
		if to := slices.Max(lost[k]); to > 0 {
			return fmt.Sprintf("task %d (%d)", slices.Index(lost[k], to)+1, to)
		}
		return "–"
	})
}

// rowsOf returns a row-major array of rows of d numbers.
func rowsOf(flat []float32, d int) [][]float64 {
	var rows [][]float64
	for i, v := range flat {
		if i%d == 0 {
			rows = append(rows, make([]float64, d))
		}
		rows[len(rows)-1][i%d] = float64(v)
	}
	return rows
}
