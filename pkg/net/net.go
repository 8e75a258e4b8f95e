// Package net holds the networks that are trained, each as stacked runs: a leading or inner axis S on every weight carries S independent
// models of one shape, which one forward pass evaluates side by side. A kind of net is one file that calls Register: nothing else knows
// kinds by name.
//
// Weights, not parameters, is what they are called here: a Parameter of a GoMLX graph is any input.
//
// Letters in names and shape comments: S stacked runs, N width, B batch, K tasks, D input coordinates, O outputs of a
// task, R rows of a tile, P pairs of a tile and a task in it (see package mixture).
package net

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/mixture"
	"raretask/tasks"
)

// Kind is a kind of net as a spec names it.
type Kind struct {
	Name     string
	About    string // one line for people
	Defaults Settings
	Mup      bool // nets heed Shape.Mup and Shrink
}

// Settings are the sizes of a kind of net beside its width: a struct, passed by value, whose fields have the tags yaml and json of their
// keys below a spec's net, and about for people.
type Settings interface {
	// Check returns a *tasks.KeyError for the first size that can't be, with a width and a family.
	Check(width int, of tasks.Signature) error
	// Net returns the net. Settings must have passed Check.
	Net(of tasks.Signature, s Shape) Net
}

// Shape is what all kinds of nets have.
type Shape struct {
	Width int // N
	// Mup says that the net is parameterized by muP for Adam (Yang & Hu, arXiv 2203.03466, Table 8), at a width whose Shrink is base/width:
	// the factor of the readout's output and of the learning rate of weights between hidden layers; 1 under the standard parameterization.
	Mup    bool
	Shrink float64
	// Products is the type in which matrix products are taken; weights, moments, losses and everything else stay float32.
	Products dtypes.DType
}

// Weight is one array of a network's weights.
type Weight struct {
	Name    string
	Dims    []int   // of one run
	RunAxis int     // where the axis S of a stack stands among Dims
	Rate    float64 // factor of the learning rate
	Matrix  bool    // neither a bias nor a gain: what weight decay is for where not all weights decay
	// Initial returns the initial values of one run, row-major.
	Initial func(random *rand.Rand) []float32
}

// Stacked returns the dimensions of the weight for s runs.
func (w Weight) Stacked(s int) []int { return slices.Insert(slices.Clone(w.Dims), w.RunAxis, s) }

// Size returns how many numbers a run has of the weight.
func (w Weight) Size() int { return tasks.Size(w.Dims) }

// Tap sees a named activation of a forward pass, its runs leading [S, B, ...], and returns what takes its place: the same node, or another
// of its shape. Every net names "hidden", the last hidden layer [S, B, N], and "prediction" [S, B, O].
type Tap func(name string, activation *Node) *Node

// Net is a network of one shape.
type Net interface {
	Weights() []Weight
	// Forward evaluates S stacked runs, given their weights, on a batch that they share. It returns the sum of the losses of each task's
	// scored positions [S, K], and how much each task's positions count together [K], nil where that is the batch's Counts. tap may be nil.
	Forward(family tasks.Family, weights []*Node, batch *mixture.Batch, tap Tap) (loss, count *Node)
	// Cost returns how many weights a sample uses, and how many numbers the net holds for it in a forward pass, OwnReadout's aside.
	Cost() (used, activations int)
}

// Linear is a Net that is one linear encoder and one linear decoder for each task, for which package theory has closed forms.
type Linear interface {
	Net
	// Linear returns the encoder (N x D) and the decoders (K x O x N), row-major, that the weights of one run amount to.
	Linear(weights [][]float32) (encoder, decoders []float32)
}

// Shallow is a Net whose "hidden" may be its one hidden layer.
type Shallow interface {
	Net
	// Incoming returns which of Weights is the one by which neurons of "hidden" see a sample's inputs [N, D]; -1 where other layers lie
	// between.
	Incoming() int
}

// Receptive is a Net that says which of Weights see a sample's inputs, on their last axis [..., D].
type Receptive interface {
	Net
	Receptive() []int
}

// Decoder is a Net of sequences of tokens that predicts the token after each.
type Decoder interface {
	Net
	// Depth returns how many layers there are: in names of activations they count from 1.
	Depth() int
	// Parts returns into how many parts all layers' attention is cut: a program grows with them.
	Parts() int
	// Passing returns how many numbers the net holds for a sample in a forward pass that nothing is to be differentiated after; Cost says how
	// many where something is.
	Passing() int
	// Logits returns those of the token after each of tokens [B, L] (int32), of windows of any length: [S, B, L, V].
	Logits(weights []*Node, tokens *Node, tap Tap) *Node
}

// DefaultKind is the kind that a spec starts from.
const DefaultKind = "bottleneck"

var kinds = map[string]Kind{}

// Register makes a kind of net known to specs. It panics for a name that is taken.
func Register(k Kind) {
	if _, taken := kinds[k.Name]; taken || k.Name == "" || k.Defaults == nil {
		panic(fmt.Sprintf("net: kind %q: want a new name and default settings", k.Name))
	}
	kinds[k.Name] = k
}

// Named returns the kind of a name.
func Named(name string) (k Kind, ok bool) {
	k, ok = kinds[name]
	return k, ok
}

// Names returns the names of all kinds.
func Names() []string { return slices.Sorted(maps.Keys(kinds)) }

// Tapped shows a tap an activation whose runs are axis 1 [B, S, ...], and returns what takes its place.
func Tapped(tap Tap, name string, v *Node) *Node {
	if tap == nil {
		return v
	}
	lead := Transpose(v, 0, 1)
	next := tap(name, lead)
	if next == lead {
		return v
	}
	next.AssertDims(lead.Shape().Dimensions...)
	return Transpose(next, 0, 1)
}

// Product is an Einsum of two operands in the type of the net's products.
func (s Shape) Product(equation string, a, b *Node) *Node {
	if s.Products == dtypes.InvalidDType || s.Products == a.DType() {
		return Einsum(equation, a, b)
	}
	return ConvertDType(Einsum(equation, ConvertDType(a, s.Products), ConvertDType(b, s.Products)), a.DType())
}
