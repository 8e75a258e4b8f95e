package interference

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"raretask/pkg/backend"
	"raretask/pkg/corpus"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

func init() { train.Register(train.Metric{Name: "collisions", Of: ofCollisions}) }

// Gradients that are held against the reference, that of the label's loss over all instances of the novel task.
const (
	Whole  = "whole"  // of a batch g = g_t + g_nt
	Own    = "task"   // of the tokens of injected instances g_t
	Others = "others" // of all other tokens g_nt
	Null   = "null"   // g_nt against the reference of shuffled labels
)

// Shares are the shares of an MLP's neurons, those with the largest reference gradients, that gradients are compared on: the paper doesn't
// say how many.
var Shares = []float64{1. / 16, 1. / 4, 1}

// CollisionBatches is how many batches a cosine is the mean of, and its spread the standard deviation over.
const CollisionBatches = 16

// CosineOf and SpreadOf name the columns of a gradient's cosine with the reference, on the weights of the neurons of the MLP of a layer
// (from 1), a share of them: mean and standard deviation over batches.
func CosineOf(gradient string, layer int, share float64) string {
	return fmt.Sprintf("cosine_%s_mlp%d_top%.0f", gradient, layer, 100*share)
}
func SpreadOf(gradient string, layer int, share float64) string {
	return fmt.Sprintf("spread_%s_mlp%d_top%.0f", gradient, layer, 100*share)
}

// ofCollisions returns the gauge of how gradients of batches meet that of the novel task (Sec. 4.4 of arXiv 2605.29548); nil for other
// nets than transformers, and other families than language.
func ofCollisions(b *backend.Backend, run spec.Run) (*train.Gauge, error) {
	_, language := run.Mixture.Settings.(corpus.Injecting)
	n, ok := run.New().(*net.Transformer)
	if !ok || !language {
		return nil, nil
	}
	var columns []train.Column
	for l := 1; l <= n.Layers; l++ {
		for _, share := range Shares {
			for _, gradient := range []string{Whole, Own, Others, Null} {
				about := fmt.Sprintf(" over %d batches of the cosine of the gradient (%s) with the novel task's, MLP %d, top %.3g of its neurons",
					CollisionBatches, gradient, l, share)
				columns = append(columns, train.Column{Name: CosineOf(gradient, l, share), About: "mean" + about},
					train.Column{Name: SpreadOf(gradient, l, share), About: "standard deviation" + about})
			}
		}
	}
	if b == nil {
		return &train.Gauge{Columns: columns, Host: func(train.RunState) ([][]float64, error) { return nil, nil }}, nil
	}
	c := &Collider{Applied: net.NewApplied(b, n, nil), net: n}
	host := func(s train.RunState) ([][]float64, error) {
		if s.Diverged >= 0 {
			return make([][]float64, len(columns)), nil
		}
		if c.family == nil {
			family, err := run.Mixture.Settings.Family(run.Mixture.Tasks)
			if err != nil {
				return nil, err
			}
			c.family = family.(corpus.Family)
		}
		c.Weights = s.Weights
		return c.measure(run.Train, s.Step)
	}
	return &train.Gauge{Columns: columns, Host: host, Close: c.Close}, nil
}

// Collider takes gradients of the weights of a transformer's MLPs.
type Collider struct {
	*net.Applied
	net    *net.Transformer
	family corpus.Family
}

// NewCollider returns the collider of a transformer with weights.
func NewCollider(b *backend.Backend, n *net.Transformer, family corpus.Family, weights [][]float32) *Collider {
	return &Collider{net.NewApplied(b, n, weights), n, family}
}

// measure returns the columns' numbers of the batches that may follow a step.
func (c *Collider) measure(t spec.Train, step int) ([][]float64, error) {
	random := rand.New(rand.NewPCG(uint64(t.DataSeed()), uint64(step)))
	task := c.family.Novel()
	instances := slices.Concat(task.Train, task.Test)
	reference, err := c.Reference(instances)
	if err != nil {
		return nil, err
	}
	shuffled, order := make([][]int32, len(instances)), random.Perm(len(instances))
	for i, row := range instances {
		shuffled[i] = slices.Clone(row)
		shuffled[i][2] = instances[order[i]][2]
	}
	null, err := c.Reference(shuffled)
	if err != nil {
		return nil, err
	}
	carried := 0
	if schedule := mixture.NewSchedule(t.Injection, t.Batch, make([]float64, 2)); schedule != nil {
		carried = schedule.Carries(step)
	}
	cosines := map[string][]float64{}
	for range CollisionBatches {
		own, others, err := c.Batch(c.family.Windows(random, t.Batch), instancesOf(task.Train, carried, random))
		if err != nil {
			return nil, err
		}
		for l := range c.net.Layers {
			for _, share := range Shares {
				note := func(gradient string, g, reference ByNeuron) {
					name := CosineOf(gradient, l+1, share)
					cosines[name] = append(cosines[name], g.Cosine(reference, share))
				}
				note(Others, others[l], reference[l])
				note(Null, others[l], null[l])
				if carried > 0 {
					note(Own, own[l], reference[l])
					note(Whole, own[l].plus(others[l]), reference[l])
				} else {
					note(Whole, others[l], reference[l])
				}
			}
		}
	}
	var values [][]float64
	for l := 1; l <= c.net.Layers; l++ {
		for _, share := range Shares {
			for _, gradient := range []string{Whole, Own, Others, Null} {
				mean, spread := stat.MeanStdDev(cosines[CosineOf(gradient, l, share)], nil)
				values = append(values, []float64{mean}, []float64{spread})
			}
		}
	}
	return values, nil
}

// instancesOf draws instances, any as often as it comes.
func instancesOf(all [][]int32, n int, random *rand.Rand) [][]int32 {
	drawn := make([][]int32, n)
	for i := range drawn {
		drawn[i] = all[random.IntN(len(all))]
	}
	return drawn
}

// ByNeuron is the gradient of a loss by the neurons of an MLP: of each what it is fed by, up and gate, and what it feeds [n][3d].
type ByNeuron [][]float64

func (g ByNeuron) plus(other ByNeuron) ByNeuron {
	sum := make(ByNeuron, len(g))
	for i := range g {
		sum[i] = floats.AddTo(make([]float64, len(g[i])), g[i], other[i])
	}
	return sum
}

// Cosine returns that of two gradients on a share of the neurons, those with the largest ones in the reference; NaN where one is zero
// there.
func (g ByNeuron) Cosine(reference ByNeuron, share float64) float64 {
	order := xslices.Iota(0, len(reference))
	norms := xslices.Map(reference, func(row []float64) float64 { return floats.Dot(row, row) })
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(norms[b], norms[a]) })
	var product, own, other float64
	for _, i := range order[:max(1, int(math.Round(share*float64(len(order)))))] {
		product += floats.Dot(g[i], reference[i])
		own += floats.Dot(g[i], g[i])
		other += norms[i]
	}
	return product / math.Sqrt(own*other)
}

// Reference returns g_r of each layer's MLP: the gradient of the mean loss of the labels of instances.
func (c *Collider) Reference(instances [][]int32) ([]ByNeuron, error) {
	var tokens, targets [][]int32
	mask := make([][]float32, len(instances))
	for i, row := range instances {
		tokens, targets = append(tokens, row[:2]), append(targets, row[1:3])
		mask[i] = []float32{0, 1}
	}
	return c.gradients(tokens, targets, mask, len(instances))
}

// Batch returns the two parts of the gradient of the mean loss of a batch's tokens, by each layer's MLP: of the tokens of instances, which
// take the place of the first tokens of its last windows, and of all others.
func (c *Collider) Batch(windows, instances [][]int32) (own, others []ByNeuron, err error) {
	injected := len(windows) - len(instances)
	var tokens, targets [][]int32
	var masks [2][][]float32 // of instances' tokens, of others
	for i, window := range windows {
		window = slices.Clone(window)
		ofTask := 0 // targets that are of an instance: it begins with the window, whose first token is no target
		if i >= injected {
			ofTask = copy(window, instances[i-injected]) - 1
		}
		last := len(window) - 1
		tokens, targets = append(tokens, window[:last]), append(targets, window[1:])
		masks[0] = append(masks[0], slices.Concat(slices.Repeat([]float32{1}, ofTask), make([]float32, last-ofTask)))
		masks[1] = append(masks[1], slices.Concat(make([]float32, ofTask), slices.Repeat([]float32{1}, last-ofTask)))
	}
	count := len(windows) * len(targets[0])
	if len(instances) > 0 {
		if own, err = c.gradients(tokens, targets, masks[0], count); err != nil {
			return nil, nil, err
		}
	}
	others, err = c.gradients(tokens, targets, masks[1], count)
	return own, others, err
}

// gradients returns the gradients of the sum of the losses of targets where mask is 1, over count.
func (c *Collider) gradients(tokens, targets [][]int32, mask [][]float32, count int) ([]ByNeuron, error) {
	var at []int // the weights of MLPs: what feeds them, and what they feed
	for l := 1; l <= c.net.Layers; l++ {
		for _, name := range []string{"up_gate", "down"} {
			name := fmt.Sprint(name, l)
			at = append(at, slices.IndexFunc(c.net.Weights(), func(w net.Weight) bool { return w.Name == name }))
		}
	}
	out, err := c.Call("gradients", []any{tokens, targets, mask, float32(count)}, func(in, weights []*graph.Node) []*graph.Node {
		loss := corpus.CrossEntropy(c.net.Logits(weights, in[0], nil), graph.InsertAxes(in[1], 0))
		loss = graph.Div(graph.ReduceAllSum(graph.Mul(loss, graph.InsertAxes(in[2], 0))), in[3])
		return graph.Gradient(loss, xslices.Map(at, func(i int) *graph.Node { return weights[i] })...)
	})
	if err != nil {
		return nil, err
	}
	d, n := c.net.Width, c.net.MLP/2
	layers := make([]ByNeuron, c.net.Layers)
	for l := range layers {
		upGate, down := out[2*l], out[2*l+1] // [2n, d] and [d, n]
		for i := range n {
			row := make([]float64, 3*d)
			for j := range d {
				row[j], row[d+j], row[2*d+j] = float64(upGate[i*d+j]), float64(upGate[(n+i)*d+j]), float64(down[j*n+i])
			}
			layers[l] = append(layers[l], row)
		}
	}
	return layers, nil
}
