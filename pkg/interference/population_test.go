package interference

import (
	"math"
	"testing"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/theory"

	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/mat"
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
		vectors := model.rows(t, b, []Part{{Path: "encoder"}}, []uint32{uint32(seed), 0}, int32(0))
		basis := mat.NewDense(dim, space.Rank, space.Basis)
		for task := range k {
			c := make([]float64, dim)
			copy(c[task*block:], m.Spectrum[task])
			var gradient, inside, projected mat.Dense // 2 (I-P) C_k U, dim x rank; times Uᵀ it no longer depends on the basis
			gradient.Apply(func(i, _ int, v float64) float64 { return 2 * c[i] * v }, basis)
			inside.Mul(basis.T(), &gradient)
			projected.Mul(basis, &inside)
			gradient.Sub(&gradient, &projected)
			for i := range dim {
				for j := range dim {
					var want, got float64
					for n := range width {
						want += gradient.At(i, n) / block * space.Basis[j*space.Rank+n]
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
