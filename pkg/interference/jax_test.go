package interference

import (
	_ "embed"
	"encoding/json"
	"math"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
)

//go:embed testdata/gradients.json
var recorded []byte

func TestGradientsAreThoseOfJAX(t *testing.T) {
	var want struct{ Gram, Cosine [][]float64 }
	if err := json.Unmarshal(recorded, &want); err != nil {
		t.Fatal(err)
	}
	sines := func(rows, columns int, phase float64) []float64 {
		v := make([]float64, rows*columns)
		for i := range v {
			v[i] = math.Sin(phase + 1.7*float64(i))
		}
		return v
	}
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		toy := newToy(all)
		for path, v := range map[string]*tensors.Tensor{
			"/hidden/weights":  tensors.FromFlatDataAndDimensions(sines(5, 4, .3), 5, 4),
			"/readout/weights": tensors.FromFlatDataAndDimensions(sines(4, 3, .4), 4, 3),
		} {
			if err := toy.Store.GetVariable(path).SetValue(v); err != nil {
				t.Fatal(err)
			}
		}
		x, y := tensors.FromFlatDataAndDimensions(sines(12, 5, .1), 12, 5), tensors.FromFlatDataAndDimensions(sines(12, 3, .2), 12, 3)
		got, err := toy.Gradients(b.Backend, Options{}, x, y, toy.present)
		if err != nil {
			t.Fatal(err)
		}
		cosine := Cosine(got.Gram)
		for i := range want.Gram {
			for j := range want.Gram {
				if !close(got.Gram[i][j], want.Gram[i][j], 1e-4) || !close(cosine[i][j], want.Cosine[i][j], 1e-4) {
					t.Errorf("tasks %d, %d: product %g, cosine %g; JAX has %g, %g", i, j, got.Gram[i][j], cosine[i][j], want.Gram[i][j], want.Cosine[i][j])
				}
			}
		}
	})
}
