package train

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/mixture"
	"raretask/pkg/spec"
)

// Losses returns the loss of each task relative to predicting the mean [runs][K], all on the same fresh samples of a step, for
// weights that need not have been trained by this program: one set for each of its runs, as in RunState. With copies of one run as
// its stack, a program compares changes to one net.
func (p *Program) Losses(run spec.Run, step int, weights [][][]float32) ([][]float64, error) {
	if len(weights) != p.runs {
		return nil, fmt.Errorf("train: %d sets of weights for a program of %d runs: want as many", len(weights), p.runs)
	}
	mix, err := mixture.New(run.Mixture)
	if err != nil {
		return nil, err
	}
	constants, err := upload(mix.Family.Constants())
	if err != nil {
		return nil, err
	}
	defer free(constants)
	seed := tensors.FromValue([]uint32{run.Train.DataSeed(), 0})
	var stacked []*tensors.Tensor
	for _, g := range p.groups {
		for i, w := range g.weights {
			var values [][]float32
			for _, set := range weights[g.first : g.first+g.runs] {
				values = append(values, set[i])
			}
			stacked = append(stacked, interleave(values, w))
		}
	}
	defer free(append(stacked, seed))
	losses, err := p.sampled(seed, step, constants, stacked)
	for _, of := range losses {
		for k, mean := range p.mixture.Family.MeanLoss() {
			of[k] /= mean
		}
	}
	return losses, err
}

// sampled returns the loss of each task [runs][K] on the fresh samples of a step, of the family with these constants.
func (p *Program) sampled(seed *tensors.Tensor, step int, constants, weights []*tensors.Tensor) ([][]float64, error) {
	now := tensors.FromScalar(int32(step))
	defer free([]*tensors.Tensor{now})
	args := []any{seed, now}
	for _, t := range slices.Concat(constants, weights) {
		args = append(args, t)
	}
	out, err := p.evaluate.Call(args...)
	if err != nil {
		return nil, fmt.Errorf("train: evaluation at step %d: %w", step, err)
	}
	defer free(out)
	losses := make([][]float64, p.runs)
	for i, l := range tensors.MustCopyFlatData[float32](out[0]) {
		run := i / p.mixture.Family.Tasks()
		losses[run] = append(losses[run], float64(l))
	}
	return losses, nil
}
