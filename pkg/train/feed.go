package train

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/spec"
	"raretask/tasks"
)

// Blocks of steps whose rows a program takes at a time, of a family that the host gathers them for. They begin at multiples of their
// length, whatever is done in a dispatch.
const (
	blockBytes   = 8 << 20 // of the rows of a block, where a step's are fewer
	longestBlock = 512     // steps
)

// blockOf returns the shape of the rows of a block [steps, B, Row...].
func blockOf(family tasks.Streamed, batch int) shapes.Shape {
	row := family.Row()
	steps := max(1, min(longestBlock, blockBytes/(4*batch*row.Size())))
	return shapes.Make(dtypes.Int32, append([]int{steps, batch}, row.Dims...)...)
}

// feed keeps rows among a program's inputs, and prepares those of the next block while steps are taken.
type feed struct {
	family tasks.Streamed
	seed   uint32
	block  shapes.Shape
	last   int // steps of the whole training
	inputs []*tensors.Tensor
	held   int           // which block the inputs hold; -1: none
	next   chan gathered // the one after it, where it is being prepared
}

type gathered struct {
	block int
	rows  *tensors.Tensor
	err   error
}

// feed returns what keeps the rows among inputs up to date for a training of a stack; nil where the family needs none.
func (p *Program) feed(stack spec.Stack, inputs []*tensors.Tensor) (*feed, error) {
	if p.stream == 0 {
		return nil, nil
	}
	family, err := stack[0].Mixture.Settings.Family(stack[0].Mixture.Tasks)
	if err != nil {
		return nil, err
	}
	streamed := family.(tasks.Streamed)
	t := stack[0].Train
	return &feed{family: streamed, seed: t.DataSeed(), block: blockOf(streamed, t.Batch), last: t.Steps,
		inputs: inputs[inputConstants+p.constants+p.schedule:], held: -1, next: make(chan gathered, 1)}, streamed.Supplies(t.Steps, t.Batch)
}

// load has the inputs hold the block of a step, and returns where that ends.
func (f *feed) load(step int) (end int, err error) {
	steps := f.block.Dim(0)
	block := step / steps
	if block != f.held {
		g := gathered{block: -1}
		if f.held >= 0 && block == f.held+1 {
			g = <-f.next
		}
		if g.block != block {
			g = f.gather(block)
		}
		if g.err != nil {
			return 0, g.err
		}
		replace(f.inputs, 0, g.rows)
		replace(f.inputs, 1, tensors.FromScalar(int32(block*steps)))
		if f.held = block; (block+1)*steps < f.last {
			go func() { f.next <- f.gather(block + 1) }()
		}
	}
	return (block + 1) * steps, nil
}

// gather gathers a block.
func (f *feed) gather(block int) gathered {
	rows := tensors.FromShape(f.block)
	steps, batch, err := f.block.Dim(0), f.block.Dim(1), error(nil)
	size := f.block.Size() / steps
	tensors.MustMutableFlatData(rows, func(flat []int32) {
		for i := range steps {
			if step := block*steps + i; step < f.last && err == nil {
				err = f.family.Gather(f.seed, step, batch, flat[i*size:][:size])
			}
		}
	})
	return gathered{block, rows, err}
}
