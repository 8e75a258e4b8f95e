package allocation

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12 {
		t.Errorf("%s: %g, want %g", what, got, want)
	}
}

// A neuron of the inputs alone, one that sees half of them, and one without weights.
func TestInputWeight(t *testing.T) {
	got := InputWeight(mat.NewDense(3, 3, []float64{2, 1, 0, 3, 0, 3, 0, 0, 0}), []int{0, 1})
	near(t, "neuron 0", got[0], 1)
	near(t, "neuron 1", got[1], .5)
	if !math.IsNaN(got[2]) {
		t.Errorf("a neuron without weights has %g of them", got[2])
	}
}

func TestAblation(t *testing.T) {
	effects, err := Ablation(2, func(without int) ([]float64, error) {
		return [][]float64{{1, 2}, {1.5, 2}, {1, 5}}[without+1], nil
	})
	if err != nil || !reflect.DeepEqual(effects, [][]float64{{.5, 0}, {0, 3}}) {
		t.Errorf("effects %v, %v", effects, err)
	}
	broken := errors.New("broken")
	if _, err := Ablation(1, func(int) ([]float64, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestOwnersAndLosses(t *testing.T) {
	owners := Owners([][]float64{{.5, .1}, {.1, .2}, {.01, .02}, {math.NaN(), .3}}, .05)
	if !slices.Equal(owners, []int{0, 1, Nobody, 1}) {
		t.Errorf("owners %v", owners)
	}
	if held := Held(owners, 3); !slices.Equal(held, []int{1, 2, 0}) {
		t.Errorf("held %v", held)
	}
	lost, err := Losses([][]int{{2, 1, Nobody}, {0, Nobody, 2}, {0, 0, 2}, {0, 0, 0}}, 3)
	if err != nil || !reflect.DeepEqual(lost, [][]int{{0, 0, 0}, {1, 0, 0}, {2, 0, 0}}) {
		t.Errorf("lost %v, %v", lost, err)
	}
	if _, err := Losses([][]int{{0}, {0, 1}}, 2); err == nil {
		t.Error("snapshots of different size: no error")
	}
}

// An orthonormal basis gives every feature 1; five features as a pentagon in two dimensions have 2/5 each; capacity never sums to
// more than the neurons.
func TestCapacity(t *testing.T) {
	got := Capacity(mat.NewDense(2, 3, []float64{1, 0, 0, 0, 2, 0}))
	if math.Abs(got[0]-1) > 1e-12 || math.Abs(got[1]-1) > 1e-12 || got[2] != 0 {
		t.Errorf("two of three features: %v", got)
	}
	if got := Capacity(mat.NewDense(1, 2, []float64{1, -1})); math.Abs(got[0]-.5) > 1e-12 {
		t.Errorf("head to head: %v", got)
	}
	pentagon := mat.NewDense(2, 5, nil)
	pentagon.Apply(func(n, i int, _ float64) float64 { return math.Sin(.4*math.Pi*float64(i) + .5*math.Pi*float64(n)) }, pentagon)
	for _, c := range Capacity(pentagon) {
		near(t, "pentagon", c, .4)
	}
	random := rand.New(rand.NewPCG(1, 1))
	encoder := mat.NewDense(3, 9, nil)
	encoder.Apply(func(int, int, float64) float64 { return random.NormFloat64() }, encoder)
	if sum := floats.Sum(Capacity(encoder)); sum > 3+1e-12 || sum <= 0 {
		t.Errorf("capacities of 9 features in 3 neurons sum to %g", sum)
	}
}
