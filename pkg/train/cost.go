package train

import (
	"raretask/pkg/net"
	"raretask/pkg/spec"
)

// Cost is what training a stack takes, estimated from its settings alone.
type Cost struct {
	Parameters int     // weights of all runs
	FLOPs      float64 // of the whole training: 6 for each sample and weight that it uses (Kaplan et al., arXiv 2001.08361, 2.1)
	Memory     int     // bytes that the process holds at most, its own included; see With
	Host       int     // bytes of Memory that are copies of weights in Go's heap
	Kept       int     // bytes of the weights that a plan keeps

	sample, unused  int // bytes of a sample that is evaluated, and of what takes as much for any number of samples
	trained         int // bytes of a batch that is trained on
	state           int // bytes of the weights and moments of all runs
	widths, largest int // widths, and the weights of the last one and of the one that has most
	last            spec.Net
	arrays          int // of weights of all widths
}

// Garbage is how many bytes of Go's heap may wait to be collected while stacks train.
const Garbage = 48 << 20

// What the process takes on XLA's CPU plugin, with 8% for other machines.
const (
	process  = 230 << 20 // without a program: of XLA's code, its client, and of Go what is no garbage
	compiled = 9 << 20   // for each array of weights while a program is compiled, which is given back,
	loaded   = 4 << 20   // and afterwards: operations grow with weights
	scratch  = 1.55      // times the arrays of a step, for what products pack their operands into and what malloc can't use
	pieces   = 1.4       // times those of a piece that is evaluated
)

// CostOf returns the cost of training a stack of valid runs.
func CostOf(stack spec.Stack) Cost {
	var c Cost
	for _, run := range stack {
		c = c.With(run)
	}
	return c
}

// With returns the cost of a stack with one more run. Memory is the larger one of what compiling and what training takes:
//
//	process + Garbage + Host + Host/4 (see package sweep)
//	+ compiled·arrays, or
//	+ loaded·arrays
//	+ scratch·(state·2 (before and after a step) + weights (gradients) + batch (inputs, targets and activations of all runs))
//	+ pieces·(samples of some tasks, of all runs)
//
// An input is counted three times: the bits it is drawn of, and itself for products that read it row by row and column by column; in
// bfloat16 these are of half the size. Host is a copy of all weights, or of those of a width twice while they are drawn.
func (c Cost) With(run spec.Run) Cost {
	of, n, batch := run.Mixture.Signature(), run.New(), run.Train.Batch
	used, activations := n.Cost()
	weights := run.Parameters()
	moments := 2
	if run.Train.Optimizer == "sgd" {
		moments = 0
	}
	if c.sample == 0 { // what runs share
		inputs := 3
		if run.Train.Products == "bfloat16" {
			inputs = 2
		}
		c.sample = 4 * (inputs*of.Input.Size() + 2*of.Tasks + 4*of.Target.Size())
		c.trained = batch * c.sample
	}
	if run.Net != c.last {
		c.last, c.widths = run.Net, 0
		c.arrays += len(n.Weights())
	}
	c.widths += weights
	c.largest = max(c.largest, c.widths)
	c.Parameters += weights
	c.FLOPs += 6 * float64(used) * float64(batch) * float64(run.Train.Steps)
	c.state += 4 * (1 + moments) * weights
	c.trained += 4 * batch * activations
	c.sample += 4 * activations
	if !of.Coded {
		c.trained += 4 * net.ReadoutCost(of, run.Net.Width, batch)
		unused := net.ReadoutCost(of, run.Net.Width, 0) // of the pairs that every batch has beside one for each tile
		c.unused += 4 * unused
		c.sample += 4 * (net.ReadoutCost(of, run.Net.Width, evaluationRows) - unused) / evaluationRows
	}
	piece := c.unused + min(of.Tasks*evaluationRows*c.sample, max(pieceBytes, evaluationRows*c.sample))
	c.Host = 4 * max(c.Parameters, 2*c.largest)
	step := scratch*float64(2*c.state+4*c.Parameters+c.trained) + pieces*float64(piece)
	c.Memory = process + Garbage + c.Host*5/4 + max(compiled*c.arrays, loaded*c.arrays+int(step))
	return c
}
