package interference

import (
	"math"
	"testing"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/theory"

	"github.com/gomlx/gomlx/core/tensors"
)

// With orthonormal rows and each task's best decoder, minus the encoder's gradient of task k is G_k = 2 (I-P) C_k U divided
// by d_T, over which the loss averages; samples approach it at the rate 1/sqrt(B).
func TestSampledGradientsApproachThePopulation(t *testing.T) {
	b := backendtest.Go(t)
	const k, block, dim, width = 3, 4, 14, 5
	m, err := theory.PowerLaw(k, block, 1, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	var space theory.Subspace
	distance := func(rows, seed int) (squared, size float64) {
		model := bottleneck(t, k, block, dim, width, rows)
		encoder := tensors.MustCopyFlatData[float32](model.Store.GetVariable("/encoder").MustValue())
		if space, err = theory.RowSpace(encoder, width, dim); err != nil {
			t.Fatal(err)
		}
		decoder := make([]float32, k*block*width)
		for task := range k {
			for j, lambda := range m.Spectrum[task] {
				for n := range width {
					decoder[(task*block+j)*width+n] = float32(math.Sqrt(lambda)) * encoder[n*dim+task*block+j]
				}
			}
		}
		v := model.Store.GetVariable("/decoder")
		if err := v.SetValue(tensors.FromFlatDataAndDimensions(decoder, v.Shape().Dimensions...)); err != nil {
			t.Fatal(err)
		}
		vectors, err := model.Vectors(b.Backend, []Part{{Path: "encoder"}}, []uint32{uint32(seed), 0}, int32(0))
		if err != nil {
			t.Fatal(err)
		}
		for task := range k {
			c := make([]float64, dim)
			copy(c[task*block:], m.Spectrum[task])
			u, err := space.Gradient(c) // dim x rank in the basis U; times Uᵀ it no longer depends on the basis
			if err != nil {
				t.Fatal(err)
			}
			for i := range dim {
				for j := range dim {
					var want, got float64
					for n := range width {
						want += u[i*space.Rank+n] / block * space.Basis[j*space.Rank+n]
						got -= vectors[task][n*dim+i] * float64(encoder[n*dim+j])
					}
					squared, size = squared+(got-want)*(got-want), size+want*want
				}
			}
		}
		return squared, size
	}
	var errors []float64
	for _, rows := range []int{64, 1024, 16384} {
		var squared, size float64
		for seed := range 4 {
			s, n := distance(rows, seed)
			squared, size = squared+s, size+n
		}
		errors = append(errors, math.Sqrt(squared/size))
	}
	t.Logf("relative error at 64, 1024, 16384 samples: %.4f", errors)
	for i := range 2 {
		if fall := errors[i] / errors[i+1]; fall < 2.8 || fall > 5.7 {
			t.Errorf("16 times the samples divide the error by %.2f, want about 4 (errors %v)", fall, errors)
		}
	}
	if errors[2] > .05 {
		t.Errorf("relative error %g with 16384 samples", errors[2])
	}
}
