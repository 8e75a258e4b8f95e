package own_test

import (
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/tasks"
)

// Gated is a net whose hidden layer is the product of two linear ones, of which "gate" can be tapped beside "hidden".
type Gated struct{}

func init() {
	net.Register(net.Kind{Name: "gated", About: "a product of two linear layers", Defaults: Gated{}})
}

func (Gated) Check(width int, of tasks.Signature) error { return nil }

func (Gated) Net(of tasks.Signature, s net.Shape) net.Net { return &gated{s, of} }

type gated struct {
	net.Shape
	of tasks.Signature
}

func (g *gated) Weights() []net.Weight {
	d, n := g.of.Input.Size(), g.Width
	layer := func(name string) net.Weight {
		return net.Weight{Name: name, Dims: []int{n, d}, Rate: 1, Matrix: true, Initial: net.Uniform(d, n*d)}
	}
	decoder := net.Weight{Name: "decoder", Dims: []int{g.of.Tasks, g.of.Outputs, n}, RunAxis: 1, Rate: 1, Matrix: true}
	decoder.Initial = net.Uniform(n, g.of.Tasks*g.of.Outputs*n)
	return []net.Weight{layer("value"), layer("gate"), decoder}
}

func (g *gated) Forward(f tasks.Family, weights []*Node, batch *mixture.Batch, tap net.Tap) (loss, count *Node) {
	gate := net.Tapped(tap, "gate", g.Product("bd,snd->bsn", batch.X, weights[1]))
	hidden := net.Tapped(tap, "hidden", Mul(g.Product("bd,snd->bsn", batch.X, weights[0]), gate))
	return g.OwnReadout(f, batch, hidden, weights[2], tap), nil
}

func (g *gated) Cost() (used, activations int) { return 2 * g.Width * g.of.Input.Size(), 4 * g.Width }
