package own_test

import (
	"gonum.org/v1/gonum/floats"

	"raretask/pkg/backend"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// "weight_norm" is the Euclidean norm of all weights of a run.
func init() {
	train.Register(train.Metric{Name: "weight_norm", Of: func(*backend.Backend, spec.Run) (*train.Gauge, error) {
		return &train.Gauge{
			Columns: []train.Column{{Name: "weight_norm", About: "Euclidean norm of all weights"}},
			Host: func(s train.RunState) ([][]float64, error) {
				var all []float64
				for _, array := range s.Weights {
					for _, v := range array {
						all = append(all, float64(v))
					}
				}
				return [][]float64{{floats.Norm(all, 2)}}, nil
			},
		}, nil
	}})
}
