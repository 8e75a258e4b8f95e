package train

import "raretask/pkg/spec"

// Cost is what training a stack takes, estimated from its settings alone.
type Cost struct {
	Parameters int     // weights of all runs
	FLOPs      float64 // of the whole training: 6 for each sample and weight that it uses (Kaplan et al., arXiv 2001.08361, 2.1)
	Memory     int     // bytes, an upper estimate
	Kept       int     // bytes of the weights that a plan keeps

	sample int // bytes that a sample takes
	state  int // bytes of weights and what is computed of them
	batch  int // samples that are held at a time
}

// CostOf returns the cost of training a stack of valid runs.
func CostOf(stack spec.Stack) Cost {
	var c Cost
	for _, run := range stack {
		c = c.With(run)
	}
	return c
}

// With returns the cost of a stack with one more run.
func (c Cost) With(run spec.Run) Cost {
	n := run.New()
	used, activations := n.Cost()
	weights := run.Parameters()
	if c.sample == 0 { // what runs share
		of := run.Mixture.Signature()
		c.sample = 4 * (8*of.Input.Size() + 4*of.Target.Size() + 4*of.Tasks)
		c.batch = run.Train.Batch
	}
	c.Parameters += weights
	c.FLOPs += 6 * float64(used) * float64(run.Train.Batch) * float64(run.Train.Steps)
	// Weights and two moments before and after a step, gradients, and what the update holds; activations and their gradients.
	c.state += 4 * 10 * weights
	c.sample += 4 * 4 * activations
	evaluated := run.Mixture.Tasks * evaluationRows
	if evaluated*c.sample > pieceBytes {
		evaluated = max(evaluationRows, pieceBytes/c.sample)
	}
	c.Memory = c.state + max(c.batch, evaluated)*c.sample
	return c
}
