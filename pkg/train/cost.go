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

	sample, unused int // bytes by which samples are evaluated piece by piece, and of what takes as much for any number of them
	passing        int // bytes that a sample takes that is evaluated
	inputs, batch  int // bytes of the inputs of a batch that is trained on, and of all else that is held for it
	state          int // bytes of the weights and moments of all runs
	width, widest  int // bytes that a step holds for the last width, inputs aside, and for the one of the most
	last           spec.Net
	arrays         int // of weights of all widths
	decoding       int // bytes that compiling the decoders of all widths takes beyond what other nets with as many weights take
}

// Garbage is how many bytes of Go's heap may wait to be collected while stacks train.
const Garbage = 48 << 20

// What the process takes on XLA's CPU plugin, with 8% for other machines.
const (
	process  = 240 << 20 // without a program: of XLA's code, its client, and of Go what is no garbage
	compiled = 9 << 20   // for each array of weights while a program is compiled, which is given back,
	loaded   = 13 << 18  // and afterwards: operations grow with weights
	waste    = 1.2       // times the arrays of a step, for what malloc can't use
	packed   = .4        // times those of the width that has most, for what products pack their operands into
	drawn    = 2.95      // times the inputs of a batch while it is drawn
	fused    = 7. / 8    // of what a decoder holds of a batch, the rest being fused away, and of what it holds
	merged   = 3. / 5    // of a sample that is evaluated
	between  = 8 << 20   // for each array of a decoder's weights while a program is compiled: there is more between two products, and
	attended = 14 << 20  // for each part of attention (see net.Decoder.Parts)
	summed   = 5         // times the gradients, where they are accumulated: of a part, sums before and after it, means; and as measured
	further  = 80 << 20  // for the programs that then draw a batch and take the optimizer's step
	probed   = 30 << 20  // for what metrics of a decoder compile
	sampled  = 1.4       // times those of a piece that is evaluated
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
//	+ compiled·arrays and what decoders add, or
//	+ loaded·arrays, and where gradients are accumulated further
//	+ waste·(state·2 (before and after a step) + weights (gradients; summed times where they are accumulated) + batch) + packed·widest
//	+ sampled·(samples of some tasks, of all runs)
//
// A batch is what it is drawn of, the bits of its inputs and what becomes of them, or later its inputs for products that read them row by
// row and column by column, and targets and activations of all runs. Host is a copy of all weights.
func (c Cost) With(run spec.Run) Cost {
	of, n, batch := run.Mixture.Signature(), run.New(), run.Train.Batch
	rows := rowsOf(of)
	used, activations := n.Cost()
	weights := run.Parameters()
	moments := 2
	if run.Train.Optimizer == "sgd" {
		moments = 0
	}
	moments += run.Train.Intervention.Means()
	if c.sample == 0 { // what runs share
		inputs := 3
		if run.Train.Products == "bfloat16" {
			inputs = 2
		}
		c.sample = 4 * (inputs*of.Input.Size() + 2*of.Tasks + 4*of.Target.Size())
		c.passing = c.sample
		c.inputs = 4 * batch * of.Input.Size()
		c.batch = c.inputs*22/10 + 4*batch*(of.Tasks+4*of.Target.Size())
	}
	first := run.Net != c.last
	if first {
		c.last, c.width = run.Net, 0
		c.arrays += len(n.Weights())
	}
	c.Parameters += weights
	c.FLOPs += 6 * float64(used) * float64(batch) * float64(run.Train.Steps)
	c.state += 4 * (1 + moments) * weights
	pieces := max(1, run.Train.Accumulate) // of a batch
	held, passing := 4*batch/pieces*activations, 4*activations
	if decoder, ok := n.(net.Decoder); ok {
		held, passing = int(fused*float64(held)), int(merged*float64(4*decoder.Passing()))
		if first {
			c.decoding += between*len(n.Weights()) + attended*decoder.Parts()
		}
		c.decoding += probed
	}
	c.sample += 4 * activations
	c.passing += passing
	if !of.Coded {
		held += 4 * net.ReadoutCost(of, run.Net.Width, batch)
		unused := net.ReadoutCost(of, run.Net.Width, 0) // of the pairs that every batch has beside one for each tile
		c.unused += 4 * unused
		own := 4 * (net.ReadoutCost(of, run.Net.Width, rows) - unused) / rows
		c.sample += own
		c.passing += own
	}
	c.batch += held
	c.width += 4*(2*(1+moments)+1)*weights + held
	c.widest = max(c.widest, c.width)
	evaluated := of.Tasks * rows
	if rows >= wordRows {
		evaluated = min(evaluated, max(rows, pieceBytes/c.sample))
	}
	piece := c.unused + evaluated*c.passing
	c.Host = 4 * c.Parameters
	gradients, programs := 4*c.Parameters, 0
	if pieces > 1 {
		gradients, programs = summed*gradients, further
	}
	step := waste*(float64(2*c.state+gradients)+max(drawn*float64(c.inputs), float64(c.batch))) + packed*float64(c.widest) +
		sampled*float64(piece)
	c.Memory = process + Garbage + c.Host*5/4 + max(compiled*c.arrays+c.decoding, loaded*c.arrays+programs+int(step))
	return c
}
