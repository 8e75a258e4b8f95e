package net

import (
	"maps"
	"slices"

	"github.com/gomlx/compute/dtypes"

	"raretask/tasks"
)

// Preset is a net of a published size.
type Preset struct {
	About  string
	Width  int
	Window int // tokens of a context
	TransformerSettings
	Vocabulary int
}

// olmo returns one of the paper's sizes (Table 1 of arXiv 2605.29548): the first OLMo, of the recipe of its 7B model of July 2024.
func olmo(layers, width, heads int) Preset {
	return Preset{"OLMo, Table 1", width, 4096, TransformerSettings{Layers: layers, Head: width / heads, Group: 1, MLP: 8 * width, Block: OLMo,
		Theta: 10_000, Clip: 8, Epsilon: 1e-5}, 50304}
}

var presets = map[string]Preset{
	"olmo-4m":   olmo(8, 64, 8),
	"olmo-20m":  olmo(16, 192, 8),
	"olmo-300m": olmo(16, 1024, 16),
	"olmo-1b":   olmo(16, 2048, 16),
	"olmo-4b":   olmo(16, 4096, 32),
}

// Presets returns the names of published sizes.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// PresetOf returns the published size of a name.
func PresetOf(name string) (p Preset, ok bool) {
	p, ok = presets[name]
	return p, ok
}

// Signature returns what a decoder of that vocabulary and window reads.
func (p Preset) Signature() tasks.Signature {
	tokens := tasks.Array{Dims: []int{p.Window}, Type: dtypes.Int32}
	return tasks.Signature{Tasks: 1, Input: tokens, Target: tokens, Outputs: p.Vocabulary, Coded: true, Unit: "nats"}
}

// Net returns the net, without weights.
func (p Preset) Net() *Transformer {
	return p.TransformerSettings.Net(p.Signature(), Shape{Width: p.Width}).(*Transformer)
}

// Parameters returns how many numbers a net has in its weights.
func Parameters(n Net) (count int) {
	for _, w := range n.Weights() {
		count += w.Size()
	}
	return count
}
