package train

import (
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
)

// Cost is what training a stack takes, estimated from its settings alone.
type Cost struct {
	Parameters int     // weights of all runs
	FLOPs      float64 // of the whole training: 6 for each sample and weight that it uses (Kaplan et al., arXiv 2001.08361, 2.1)
	Memory     int     // bytes, an upper estimate
}

// CostOf returns the cost of training a stack.
func CostOf(stack spec.Stack) (Cost, error) {
	m, err := mixture.New(stack[0].Mixture)
	if err != nil {
		return Cost{}, err
	}
	// A step holds the batch a few times: random words, inputs, the inputs by pairs.
	floats := 8 * stack[0].Train.Batch * m.Family.Inputs()
	var c Cost
	for _, run := range stack {
		n, err := net.New(run.Net, m.Family)
		if err != nil {
			return c, err
		}
		weights, activations := 0, 0
		for _, w := range n.Weights() {
			size, largest := 1, 1
			for _, d := range w.Dims {
				size, largest = size*d, max(largest, d)
			}
			weights += size
			activations += largest // no layer gives more numbers a sample than its largest dimension
		}
		used := weights
		switch n := n.(type) { // a sample uses its own task's weights alone
		case *net.Bottleneck:
			used = n.Width * (n.Inputs + n.Outputs)
			activations += n.Width * n.Outputs / 8 // the decoders picked for each pair: one pair for at least 8 samples
		case *net.MLP:
			own := n.Width // of the code
			if !n.Coded {
				own *= n.Outputs // of the decoders
			}
			used -= (n.Tasks - 1) * own
		}
		c.Parameters += weights
		c.FLOPs += 6 * float64(used) * float64(run.Train.Batch) * float64(run.Train.Steps)
		// Weights and two moments before and after a step, gradients, and what the update holds; activations and
		// their gradients.
		floats += 10*weights + 4*run.Train.Batch*activations
	}
	c.Memory = 4 * floats
	return c, nil
}
