package train

import (
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/spec"
)

// Losses returns the loss of each task relative to predicting the mean [runs][K], all on the same fresh samples of a step, for
// weights that need not have been trained by this program: one set for each of its runs, as in RunState. With copies of one run as
// its stack, a program compares changes to one net.
func (p *Program) Losses(run spec.Run, step int, weights [][][]float32) ([][]float64, error) {
	if len(weights) != p.runs {
		return nil, fmt.Errorf("train: %d sets of weights for a program of %d runs: want as many", len(weights), p.runs)
	}
	args := []any{tensors.FromValue([]uint32{run.Train.DataSeed(), 0}), tensors.FromScalar(int32(step))}
	for _, g := range p.groups {
		for i, w := range g.weights {
			var values [][]float32
			for _, set := range weights[g.first : g.first+g.runs] {
				values = append(values, set[i])
			}
			args = append(args, interleave(values, w))
		}
	}
	defer func() {
		for _, a := range args {
			free([]*tensors.Tensor{a.(*tensors.Tensor)})
		}
	}()
	out, err := p.evaluate.Call(args...)
	if err != nil {
		return nil, fmt.Errorf("train: evaluation at step %d: %w", step, err)
	}
	defer free(out)
	mean := p.mixture.Family.MeanLoss()
	flat := tensors.MustCopyFlatData[float32](out[0])
	losses := make([][]float64, p.runs)
	for r := range losses {
		for k, m := range mean {
			losses[r] = append(losses[r], float64(flat[r*len(mean)+k])/m)
		}
	}
	return losses, nil
}
