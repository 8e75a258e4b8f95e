package train

import (
	"raretask/pkg/mixture"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
)

// FrequentShare is the share of the mixture that the most frequent tasks F must first reach together (Sec. 3).
const FrequentShare = .8

// Evaluation is what is recorded of one run at one step.
type Evaluation struct {
	Step      int
	TrainLoss float64   // mean training loss since the evaluation before; NaN at step 0
	Diverged  int       // step at which the run diverged; -1: never
	Sampled   []float64 // loss of each task on fresh samples, relative to predicting the mean [K]
	Exact     *Exact    // nil where the run has diverged or its net has no closed form
}

// Exact is what follows from the weights of a bottleneck alone, without sampling (theory.Population,
// theory.FullLoss).
type Exact struct {
	theory.Population
	theory.Loss
}

// Evaluator evaluates runs of one mixture.
type Evaluator struct {
	meanLoss []float64
	exact    bool // the mixture has closed forms
	mixture  theory.Mixture
	frequent []int
}

// NewEvaluator returns the evaluator of a mixture.
func NewEvaluator(m *mixture.Mixture) *Evaluator {
	e := &Evaluator{meanLoss: m.Family.MeanLoss()}
	if e.mixture, e.exact = m.Theory(); e.exact {
		e.frequent = e.mixture.Frequent(FrequentShare)
	}
	return e
}

// Evaluate returns what is recorded of a run in its state after a step.
func (e *Evaluator) Evaluate(run spec.Run, step int, state RunState) (Evaluation, error) {
	evaluation := Evaluation{Step: step, TrainLoss: state.Loss, Diverged: state.Diverged}
	for k, loss := range state.Sampled {
		evaluation.Sampled = append(evaluation.Sampled, loss/e.meanLoss[k])
	}
	if state.Diverged >= 0 || !e.exact || run.Net.Kind != "bottleneck" {
		return evaluation, nil
	}
	width, dim := run.Net.Width, run.Mixture.Dim
	space, err := theory.RowSpace(state.Weights[0], width, dim)
	if err != nil {
		return evaluation, err
	}
	exact := new(Exact)
	if exact.Population, err = e.mixture.Population(space, e.frequent); err != nil {
		return evaluation, err
	}
	exact.Loss, err = theory.FullLoss(e.mixture, state.Weights[0], scaled(state.Weights[1], run.Net.Shrink()), width, dim)
	evaluation.Exact = exact
	return evaluation, err
}

// scaled returns values times a factor.
func scaled(values []float32, factor float64) []float32 {
	if factor == 1 {
		return values
	}
	product := make([]float32, len(values))
	for i, v := range values {
		product[i] = v * float32(factor)
	}
	return product
}
