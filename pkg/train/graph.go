package train

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// purposes of a stream: training and evaluation samples of one (seed, step) are independent.
const (
	trainingSamples uint32 = iota
	evaluationSamples
)

// Positions of a program's state; the weights, the optimizer's moments and an intervention's means follow, each in the order of p.weights.
const (
	stateStep     = iota // int32: steps done
	stateEnd             // int32: step to stop at
	stateLossSum         // [runs] sum of the training losses since the last of LossSteps before
	stateDiverged        // int32 [runs]: step at which a run diverged, -1 for none
	stateWeights
)

// Positions of a program's inputs, which no step changes; the family's constants, the numbers of an injection schedule and a tap's arrays
// follow.
const (
	inputSeed       = iota // uint32 [2]: of the data
	inputThresholds        // uint32 [2, K]: of the draws
	inputForced            // [K] samples that each task gets for certain in every batch
	inputRate              // [runs] peak learning rates
	inputLosses            // int32: LossSteps
	inputConstants
)

// stateSize is how many arrays the state has.
func (p *Program) stateSize() int { return stateWeights + (1+p.moments+p.means)*len(p.weights) }

// meansIn returns the running means in a state: of the task of the intervention, and of the others.
func (p *Program) meansIn(state []*Node) (task, others []*Node) {
	all := state[stateWeights+(1+p.moments)*len(p.weights):]
	return all[:len(p.weights)], all[len(p.weights):][:len(p.weights)]
}

// trainGraph returns the state after steps up to state[stateEnd], given state and inputs: all of them in one While, so that one dispatch
// runs many steps. Inputs are part of the loop's state, as the body of a While sees nothing else, but not of what it returns.
func (p *Program) trainGraph(arrays []*Node) []*Node {
	g := arrays[0].Graph()
	parameters := func(g *Graph) []*Node {
		nodes := make([]*Node, len(arrays))
		for i, s := range arrays {
			nodes[i] = Parameter(g, fmt.Sprintf("state%d", i), s.Shape())
		}
		return nodes
	}
	unfinished := NewClosure(g, func(g *Graph) []*Node {
		s := parameters(g)
		return []*Node{LessThan(s[stateStep], s[stateEnd])}
	})
	step := NewClosure(g, func(g *Graph) []*Node {
		nodes := parameters(g)
		return append(p.stepGraph(nodes), nodes[p.stateSize():]...)
	})
	return While(unfinished, step, arrays...)[:p.stateSize()]
}

// stepGraph is one training step of all runs: the new state, given state and inputs.
func (p *Program) stepGraph(arrays []*Node) []*Node {
	state, inputs := arrays[:p.stateSize()], arrays[p.stateSize():]
	batch := p.draw(state[stateStep], inputs)
	_, _, _, tap := p.split(state[stateStep], inputs)
	next := slices.Clone(state)
	loss, gradients := p.differentiate(next, batch, tap)
	p.advanced(next, inputs, loss, gradients)
	return next
}

// draw draws the batch of a step.
func (p *Program) draw(step *Node, inputs []*Node) *mixture.Batch {
	random := mixture.NewRandom(inputs[inputSeed], step, trainingSamples)
	constants, schedule, stream, _ := p.split(step, inputs)
	thresholds, forced := inputs[inputThresholds], inputs[inputForced]
	if p.schedule > 0 {
		thresholds, forced = mixture.Draws(step, thresholds, schedule)
	}
	family := p.fed(tasks.Bind(p.mixture.Family, constants), step, stream)
	return mixture.Draw(family, random, thresholds, forced, p.shared.Train.Batch)
}

// differentiate returns the training loss of a batch [runs] and what follows of its gradients. Running means of an intervention are
// renewed in next.
func (p *Program) differentiate(next []*Node, batch *mixture.Batch, tap net.Tap) (loss *Node, g gradients) {
	weights := next[stateWeights:][:len(p.weights)]
	// The runs don't interact, so the gradient of the sum of their losses holds each run's own gradient.
	losses, total := p.losses(weights, batch, tap)
	loss = Div(ReduceSum(losses, 1), total)
	if i := p.shared.Train.Intervention; i.Kind != "" && !i.Resizes() {
		return loss, p.intervene(next, losses, total, weights)
	}
	return loss, gradients{sum: Gradient(ReduceAllSum(loss), weights...)}
}

// advanced makes of the state before a step that after it, given the loss of its batch and what follows of its gradients.
func (p *Program) advanced(next, inputs []*Node, loss *Node, gradients gradients) {
	g := loss.Graph()
	anew := ReduceLogicalOr(Equal(inputs[inputLosses], next[stateStep]))
	next[stateStep] = Add(next[stateStep], Const(g, int32(1)))
	next[stateLossSum] = Add(Where(anew, ZerosLike(loss), next[stateLossSum]), loss)
	// A NaN fails every comparison, so "not below the limit" also catches it.
	fine := LessThan(loss, Scalar(g, loss.DType(), divergedAt*p.baseline))
	first := LogicalAnd(LogicalNot(fine), Equal(next[stateDiverged], Const(g, int32(-1))))
	next[stateDiverged] = Where(first, BroadcastToShape(next[stateStep], first.Shape()), next[stateDiverged])
	p.update(next, gradients, inputs[inputRate])
}

// split returns the inputs that follow the named ones, and what sees every activation once so many steps are done: an intervention on the
// width, then the tap that its own inputs make.
func (p *Program) split(step *Node, inputs []*Node) (constants, schedule, stream []*Node, tap net.Tap) {
	left := inputs[inputConstants:]
	take := func(n int) (taken []*Node) {
		taken, left = left[:n], left[n:]
		return taken
	}
	constants, schedule, stream = take(p.constants), take(p.schedule), take(p.stream)
	if i := p.shared.Train.Intervention; i.Resizes() {
		tap = func(name string, activation *Node) *Node {
			if strings.HasPrefix(name, "hidden") {
				return Mul(activation, active(i, step, activation.Shape().Dim(-1)))
			}
			return activation
		}
	}
	if p.tap == nil {
		return constants, schedule, stream, tap
	}
	own, resize := left, tap
	return constants, schedule, stream, func(name string, activation *Node) *Node {
		if resize != nil {
			activation = resize(name, activation)
		}
		return p.tap.Build(name, activation, own)
	}
}

// fed returns a family with the rows of a step, of the block of them that stream has; one that needs none as it is.
func (p *Program) fed(family tasks.Family, step *Node, stream []*Node) tasks.Family {
	streamed, ok := family.(tasks.Streamed)
	if !ok {
		return family
	}
	at := Reshape(Sub(step, stream[1]), 1)
	return streamed.With(Gather(stream[0], at, false)) // compute v0.1.5's Go backend has no DynamicSlice
}

// active returns 1 for each of the neurons of a layer that take part once so many steps are done, 0 for the others.
func active(i spec.Intervention, step *Node, width int) *Node {
	g := step.Graph()
	ends := []*Node{Const(g, float32(i.Active(0, width))), Const(g, float32(i.Active(i.Step, width)))}
	end := Where(LessThan(step, Const(g, int32(i.Step))), ends[0], ends[1])
	return ConvertDType(LessThan(Iota(g, shapes.Make(dtypes.Float32, 1, 1, width), 2), end), dtypes.Float32)
}

// losses returns the sum of the losses of each task's samples [runs, K], over all groups, and how much all samples count together, a
// scalar.
func (p *Program) losses(weights []*Node, batch *mixture.Batch, tap net.Tap) (losses, total *Node) {
	var all []*Node
	at := 0
	total = Scalar(weights[0].Graph(), dtypes.Float32, batch.Task.Shape().Dim(0))
	for _, g := range p.groups {
		n := len(g.weights)
		loss, count := g.net.Forward(p.mixture.Family, weights[at:at+n], batch, tap)
		if count != nil {
			total = ReduceAllSum(count)
		}
		all = append(all, loss)
		at += n
	}
	return Concatenate(all, 0), total
}

// update takes the optimizer's step in next, whose step is already counted, after scaling each run's gradient to a norm of at most clip:
//
//	adam   w <- w - rate·c·m^/(sqrt(v^) + epsilon) - rate·decay·w,   m^ and v^ the moments, corrected for their start at zero
//	sgd    w <- w - rate·c·g
//
// (Loshchilov & Hutter, arXiv 1711.05101, as PyTorch does it; c is the weight's own factor, 1 save under muP; Adam is the same without
// decay.) GoMLX's optimizers keep their state in a Store, which the body of a While can't update, and know neither clipping nor a
// rate for each stacked run.
func (p *Program) update(next []*Node, gradients gradients, peak *Node) {
	settings := p.shared.Train
	g := next[0].Graph()
	t := ConvertDType(next[stateStep], dtypes.Float32)
	rate := Mul(peak, p.schedules(t)) // [runs]
	correct := func(beta float64) *Node { return OneMinus(Pow(Scalar(g, dtypes.Float32, beta), t)) }
	beta1, beta2 := settings.Betas[0], settings.Betas[1]
	correct1, correct2 := correct(beta1), correct(beta2)
	scale := p.clip(gradients.seen())
	n := len(p.weights)
	moves, unit := make([]*Node, n), make([]*Node, n) // unit: by what the optimizer divides a first moment
	for i, w := range p.weights {
		scaled := func(gradient *Node) *Node {
			if scale == nil {
				return gradient
			}
			return Mul(gradient, w.perRun(scale))
		}
		moves[i] = scaled(gradients.sum[i])
		if p.moments > 0 {
			seen := moves[i]
			if gradients.full != nil {
				seen = scaled(gradients.full[i])
			}
			m := Add(MulScalar(next[stateWeights+n+i], beta1), MulScalar(moves[i], 1-beta1))
			v := Add(MulScalar(next[stateWeights+2*n+i], beta2), MulScalar(Square(seen), 1-beta2))
			unit[i] = AddScalar(Sqrt(Div(v, correct2)), settings.Epsilon)
			moves[i] = Div(Div(m, correct1), unit[i])
			next[stateWeights+n+i], next[stateWeights+2*n+i] = m, v
		}
		if gradients.task != nil {
			gradients.task[i], gradients.others[i] = scaled(gradients.task[i]), scaled(gradients.others[i])
		}
	}
	if gradients.task != nil {
		moves = p.apart(next, gradients, beta1, func(i int, m *Node) *Node { return Div(Div(m, correct1), unit[i]) })
	}
	for i, w := range p.weights {
		move := moves[i]
		if w.Rate != 1 {
			move = MulScalar(move, w.Rate)
		}
		weight := next[stateWeights+i]
		if settings.Decay != 0 && (w.Matrix || settings.Decays == "all") {
			move = Add(move, MulScalar(weight, settings.Decay))
		}
		next[stateWeights+i] = Sub(weight, Mul(w.perRun(rate), move))
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
			if axis != w.RunAxis {
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
	dims, runs := slices.Repeat([]int{1}, len(w.dims)), w.dims[w.RunAxis]
	dims[w.RunAxis] = runs
	return Reshape(Slice(v, AxisRange(w.first, w.first+runs)), dims...)
}

// gradients are those of a step, of all weights.
type gradients struct {
	sum          []*Node // what the optimizer follows
	full         []*Node // what clipping and its second moment see; nil: sum
	task, others []*Node // the two parts of sum whose updates are kept apart; nil: there are none
}

func (g gradients) seen() []*Node {
	if g.full != nil {
		return g.full
	}
	return g.sum
}

// add returns the sums of two gradients.
func add(a, b []*Node) []*Node {
	sum := make([]*Node, len(a))
	for i := range sum {
		sum[i] = Add(a[i], b[i])
	}
	return sum
}

// intervene returns the gradients that the run's intervention makes of the losses [runs, K] (sums over a task's samples, which count total
// together). Running means are renewed in next.
func (p *Program) intervene(next []*Node, losses, total *Node, weights []*Node) gradients {
	i := p.shared.Train.Intervention
	own := Slice(losses, AxisRange(), AxisElem(i.Task-1))
	all := Div(ReduceAllSum(losses), total)
	alone := Div(ReduceAllSum(own), total)
	switch i.Kind {
	case "weight":
		return gradients{sum: Gradient(Add(all, MulScalar(alone, i.Factor-1)), weights...)}
	case "alone":
		return gradients{sum: Gradient(alone, weights...)}
	}
	task, others := Gradient(alone, weights...), Gradient(Sub(all, alone), weights...)
	switch i.Kind {
	case "mask":
		p.mask(others, i.Task-1)
	case "mask-matched":
		full := add(task, others)
		p.mask(others, i.Task-1)
		return gradients{sum: add(task, others), full: full}
	case "surgery-update":
		return gradients{sum: add(task, others), task: task, others: others}
	case "surgery":
		if i.Memory == 0 {
			p.project(task, others, task, others)
			break
		}
		taskMean, othersMean := p.remember(next, task, others, i.Memory)
		p.project(task, others, taskMean, othersMean)
	}
	return gradients{sum: add(task, others)}
}

// remember renews the running means of a task's gradients and the others' in next, and returns them.
func (p *Program) remember(next, task, others []*Node, memory float64) (taskMean, othersMean []*Node) {
	taskMean, othersMean = p.meansIn(next)
	for i := range p.weights {
		taskMean[i] = Add(MulScalar(taskMean[i], memory), MulScalar(task[i], 1-memory))
		othersMean[i] = Add(MulScalar(othersMean[i], memory), MulScalar(others[i], 1-memory))
	}
	return slices.Clone(taskMean), slices.Clone(othersMean)
}

// apart returns the optimizer's moves, whose first moment is renewed in next in the two parts that gradients have: each is projected onto
// the plane normal to the other where the two conflict. move makes a move of a first moment.
func (p *Program) apart(next []*Node, gradients gradients, beta1 float64, move func(i int, m *Node) *Node) []*Node {
	task, others := p.remember(next, gradients.task, gradients.others, beta1)
	for i := range p.weights {
		task[i], others[i] = move(i, task[i]), move(i, others[i])
	}
	p.project(task, others, task, others)
	return add(task, others)
}

// mask takes the columns of a task's own inputs out of the gradient of every weight that sees inputs.
func (p *Program) mask(gradients []*Node, task int) {
	own := p.mixture.Family.Relevant(task)
	at := 0
	for _, g := range p.groups {
		for _, i := range g.net.(net.Receptive).Receptive() {
			v := gradients[at+i]
			keep := slices.Repeat([]float32{1}, v.Shape().Dim(-1))
			for _, d := range own {
				keep[d] = 0
			}
			dims := slices.Repeat([]int{1}, v.Rank())
			dims[v.Rank()-1] = len(keep)
			gradients[at+i] = Mul(v, Reshape(Const(v.Graph(), keep), dims...))
		}
		at += len(g.weights)
	}
}

// project makes each of two gradients normal to what stands for the other one, run by run, where it conflicts with that.
func (p *Program) project(a, b, forA, forB []*Node) {
	// Without samples of the task its gradient is zero, and so is the product.
	share := func(v, onto []*Node) *Node {
		return Div(MinScalar(p.products(v, onto), 0.), MaxScalar(p.products(onto, onto), 1e-30))
	}
	ofA, ofB := share(a, forB), share(b, forA)
	for i, w := range p.weights {
		a[i], b[i] = Sub(a[i], Mul(w.perRun(ofA), forB[i])), Sub(b[i], Mul(w.perRun(ofB), forA[i]))
	}
}

// schedules returns the factor of the peak rate at step t = 1, 2, …
func (p *Program) schedules(t *Node) *Node {
	settings := p.shared.Train
	warmup := float64(settings.Warmup)
	rise := DivScalar(t, warmup)
	switch settings.Schedule {
	case "constant":
		return MinScalar(rise, 1.)
	case "cosine":
		progress := DivScalar(AddScalar(t, -warmup), float64(cmp.Or(settings.Horizon, settings.Steps))-warmup)
		fall := MulScalar(OnePlus(Cos(MulScalar(progress, math.Pi))), .5)
		return Where(LessThan(rise, ScalarOne(t.Graph(), t.DType())), rise, AddScalar(MulScalar(fall, 1-settings.Floor), settings.Floor))
	}
	return Min(rise, Sqrt(Div(Scalar(t.Graph(), t.DType(), warmup), t)))
}
