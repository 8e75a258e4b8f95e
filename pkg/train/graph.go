package train

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/mixture"
	"raretask/tasks"
)

// purposes of a stream: training and evaluation samples of one (seed, step) are independent.
const (
	trainingSamples uint32 = iota
	evaluationSamples
)

// Positions of a step's state; the weights and the optimizer's two moments follow, each in the order of p.weights, then the family's
// constants and then the injection schedule of runs that have one.
const (
	stateStep       = iota // int32: steps done
	stateEnd               // int32: step to stop at
	stateSeed              // uint32 [2]: of the data
	stateCumulative        // [K] running sums of the frequencies
	stateForced            // [K] samples that each task gets for certain in every batch
	stateRate              // [runs] peak learning rates
	stateLossSum           // [runs] sum of the training losses since it was last reset
	stateDiverged          // int32 [runs]: step at which a run diverged, -1 for none
	stateWeights
)

// trainGraph returns the state after steps up to state[stateEnd]: all of them in one While, so that one dispatch
// runs many steps.
func (p *Program) trainGraph(state []*Node) []*Node {
	g := state[0].Graph()
	parameters := func(g *Graph) []*Node {
		nodes := make([]*Node, len(state))
		for i, s := range state {
			nodes[i] = Parameter(g, fmt.Sprintf("state%d", i), s.Shape())
		}
		return nodes
	}
	unfinished := NewClosure(g, func(g *Graph) []*Node {
		s := parameters(g)
		return []*Node{LessThan(s[stateStep], s[stateEnd])}
	})
	step := NewClosure(g, func(g *Graph) []*Node { return p.stepGraph(parameters(g)) })
	return While(unfinished, step, state...)
}

// stepGraph is one training step of all runs.
func (p *Program) stepGraph(state []*Node) []*Node {
	g := state[0].Graph()
	random := mixture.NewRandom(state[stateSeed], state[stateStep], trainingSamples)
	n := len(p.weights)
	constants := state[stateWeights+3*n:][:p.constants]
	cumulative, forced := state[stateCumulative], state[stateForced]
	if p.scheduled {
		cumulative, forced = mixture.Draws(state[stateStep], cumulative, state[stateWeights+3*n+p.constants:])
	}
	batch := mixture.Draw(p.mixture.Family.Bind(constants), random, cumulative, forced, p.shared.Train.Batch)
	weights := state[stateWeights : stateWeights+n]

	// The runs don't interact, so the gradient of the sum of their losses holds each run's own gradient.
	losses := p.losses(weights, batch)
	loss := DivScalar(ReduceSum(losses, 1), float64(p.shared.Train.Batch)) // [runs]
	var gradients []*Node
	if p.shared.Train.Intervention.Kind == "" {
		gradients = Gradient(ReduceAllSum(loss), weights...)
	} else {
		gradients = p.intervene(losses, weights)
	}

	next := append([]*Node{}, state...)
	next[stateStep] = Add(state[stateStep], Const(g, int32(1)))
	next[stateLossSum] = Add(state[stateLossSum], loss)
	// A NaN fails every comparison, so "not below the limit" also catches it.
	fine := LessThan(loss, Scalar(g, loss.DType(), divergedAt*p.meanLoss))
	first := LogicalAnd(LogicalNot(fine), Equal(state[stateDiverged], Const(g, int32(-1))))
	next[stateDiverged] = Where(first, BroadcastToShape(next[stateStep], first.Shape()), state[stateDiverged])
	p.adamW(next, gradients)
	return next
}

// losses returns the sum of the losses of each task's samples [runs, K], over all groups.
func (p *Program) losses(weights []*Node, batch *mixture.Batch) *Node {
	var all []*Node
	at := 0
	for _, g := range p.groups {
		n := len(g.weights)
		all = append(all, g.net.Forward(p.mixture.Family, weights[at:at+n], batch)["loss"])
		at += n
	}
	return Concatenate(all, 0)
}

// adamW updates the weights and moments in next, whose step is already counted:
//
//	w <- w - rate·decay·w - rate·c·m^/(sqrt(v^) + 1e-8),  betas .9 and .999, m^ and v^ corrected for their start at zero
//
// (Loshchilov & Hutter, arXiv 1711.05101, as PyTorch does it; c is the weight's own factor, 1 save under muP; Adam is
// the same without decay), after scaling each run's gradient to a norm of at most clip. GoMLX's optimizers keep their state in a Store, which the body of a While can't update, and know neither
// clipping nor a rate for each stacked run.
func (p *Program) adamW(next, gradients []*Node) {
	const beta1, beta2, epsilon = .9, .999, 1e-8
	g := next[0].Graph()
	t := ConvertDType(next[stateStep], dtypes.Float32)
	rate := Mul(next[stateRate], p.schedule(t)) // [runs]
	correct := func(beta float64) *Node { return OneMinus(Pow(Scalar(g, dtypes.Float32, beta), t)) }
	correct1, correct2 := correct(beta1), correct(beta2)
	scale := p.clip(gradients)
	n := len(p.weights)
	for i, w := range p.weights {
		gradient := gradients[i]
		if scale != nil {
			gradient = Mul(gradient, w.perRun(scale))
		}
		m := Add(MulScalar(next[stateWeights+n+i], beta1), MulScalar(gradient, 1-beta1))
		v := Add(MulScalar(next[stateWeights+2*n+i], beta2), MulScalar(Square(gradient), 1-beta2))
		move := Div(Div(m, correct1), AddScalar(Sqrt(Div(v, correct2)), epsilon))
		if w.rate != 1 {
			move = MulScalar(move, w.rate)
		}
		weight := next[stateWeights+i]
		if decay := p.shared.Train.Decay; decay != 0 {
			move = Add(move, MulScalar(weight, decay))
		}
		next[stateWeights+i] = Sub(weight, Mul(w.perRun(rate), move))
		next[stateWeights+n+i], next[stateWeights+2*n+i] = m, v
	}
}

// clip returns the factor [runs] that brings the norm of each run's whole gradient down to the limit, or nil
// without a limit.
func (p *Program) clip(gradients []*Node) *Node {
	limit := p.shared.Train.Clip
	if limit == 0 {
		return nil
	}
	norm := Sqrt(p.products(gradients, gradients))
	return MinScalar(Div(Scalar(norm.Graph(), norm.DType(), limit), AddScalar(norm, 1e-6)), 1.)
}

// products returns the inner products [runs] of each run's whole gradients a and b.
func (p *Program) products(a, b []*Node) *Node {
	var sums []*Node // one vector for each group
	group := -1
	for i, w := range p.weights {
		var others []int
		for axis := range w.dims {
			if axis != w.axis {
				others = append(others, axis)
			}
		}
		product := Square(a[i])
		if a[i] != b[i] {
			product = Mul(a[i], b[i])
		}
		sum := ReduceSum(product, others...)
		if w.group != group {
			sums, group = append(sums, sum), w.group
		} else {
			sums[group] = Add(sums[group], sum)
		}
	}
	return Concatenate(sums, 0)
}

// perRun returns the part of v [runs] that is of this weight's group, shaped to multiply the weight.
func (w weight) perRun(v *Node) *Node {
	dims := make([]int, len(w.dims))
	for axis := range dims {
		dims[axis] = 1
	}
	dims[w.axis] = w.dims[w.axis]
	return Reshape(Slice(v, AxisRange(w.first, w.first+w.dims[w.axis])), dims...)
}

// intervene returns the gradients that the run's intervention makes of the losses [runs, K] (sums over a task's samples).
func (p *Program) intervene(losses *Node, weights []*Node) []*Node {
	i := p.shared.Train.Intervention
	batch := float64(p.shared.Train.Batch)
	own := Slice(losses, AxisRange(), AxisElem(i.Task-1))
	all := DivScalar(ReduceAllSum(losses), batch)
	alone := DivScalar(ReduceAllSum(own), batch)
	if i.Kind == "weight" {
		return Gradient(Add(all, MulScalar(alone, i.Factor-1)), weights...)
	}
	task, others := Gradient(alone, weights...), Gradient(Sub(all, alone), weights...)
	if i.Kind == "mask" {
		p.mask(others, i.Task-1)
	} else {
		p.project(task, others)
	}
	for n := range task {
		task[n] = Add(task[n], others[n])
	}
	return task
}

// mask takes the columns of a task's own inputs out of the gradient of every first layer.
func (p *Program) mask(gradients []*Node, task int) {
	first, end := p.mixture.Family.(*tasks.Regression).Coordinates(task)
	for i, w := range p.weights {
		if i > 0 && w.group == p.weights[i-1].group {
			continue // the first layer is a group's first weight
		}
		keep := make([]float32, w.dims[len(w.dims)-1])
		for d := range keep {
			if d < first || d >= end {
				keep[d] = 1
			}
		}
		gradients[i] = Mul(gradients[i], Reshape(Const(gradients[i].Graph(), keep), 1, 1, len(keep)))
	}
}

// project makes each of two gradients normal to the other one, run by run, where the two conflict.
func (p *Program) project(a, b []*Node) {
	dot := MinScalar(p.products(a, b), 0.)
	// Without samples of the task its gradient is zero, and so is the product.
	onto := func(v []*Node) *Node { return Div(dot, MaxScalar(p.products(v, v), 1e-30)) }
	shareOfA, shareOfB := onto(a), onto(b)
	for i, w := range p.weights {
		a[i], b[i] = Sub(a[i], Mul(w.perRun(shareOfB), b[i])), Sub(b[i], Mul(w.perRun(shareOfA), a[i]))
	}
}

// schedule returns the factor of the peak rate at step t = 1, 2, …
func (p *Program) schedule(t *Node) *Node {
	warmup := float64(p.shared.Train.Warmup)
	rise := DivScalar(t, warmup)
	if p.shared.Train.Schedule == "constant" {
		return MinScalar(rise, 1.)
	}
	return Min(rise, Sqrt(Div(Scalar(t.Graph(), t.DType(), warmup), t)))
}

// evaluateGraph returns the mean loss of each task [runs, K] on evaluationRows fresh samples of each, with the
// family's constants and the weights that follow seed [2] and step.
func (p *Program) evaluateGraph(inputs []*Node) *Node {
	seed, step, constants, weights := inputs[0], inputs[1], inputs[2:][:p.constants], inputs[2+p.constants:]
	g := seed.Graph()
	k := p.mixture.Family.Tasks()
	end := MulScalar(AddScalar(Iota(g, shapes.Make(dtypes.Float32, k), 0), 1), evaluationRows)
	random := mixture.NewRandom(seed, step, evaluationSamples)
	batch := mixture.Arrange(p.mixture.Family.Bind(constants), random, end, k*evaluationRows)
	return DivScalar(p.losses(weights, batch), evaluationRows)
}
