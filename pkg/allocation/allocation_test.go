package allocation

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12 {
		t.Errorf("%s: %g, want %g", what, got, want)
	}
}

// Neurons of their own, a shared one, and one without weights.
func TestCapture(t *testing.T) {
	covariances := [][]float64{{1, .25, 0}, {0, 0, 1}}
	kept, share, err := Capture([][]float64{{2, 0, 0}, {0, 0, 3}, {1, 0, 1}, {0, 0, 0}}, covariances)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "neuron 0 keeps of task 0", kept[0][0], .8)
	near(t, "neuron 0 keeps of task 1", kept[0][1], 0)
	near(t, "neuron 1 keeps of task 1", kept[1][1], 1)
	near(t, "neuron 2 keeps of task 0", kept[2][0], .4)
	near(t, "share of task 0 in neuron 2", share[2][0], .5)
	if !math.IsNaN(share[3][0]) || !math.IsNaN(kept[3][0]) {
		t.Errorf("a neuron without weights keeps %g, shares %g", kept[3][0], share[3][0])
	}
	if _, _, err := Capture([][]float64{{1}}, covariances); err == nil {
		t.Error("one weight for three inputs: no error")
	}
}

// With orthonormal rows that cover each task, what the neurons keep of it sums to 1.
func TestOrthonormalNeuronsShareATask(t *testing.T) {
	c, s := math.Cos(.7), math.Sin(.7)
	kept, _, err := Capture([][]float64{{c, s}, {-s, c}}, [][]float64{{1, .3}, {.2, .9}})
	if err != nil {
		t.Fatal(err)
	}
	for k := range 2 {
		near(t, "kept by both", kept[0][k]+kept[1][k], 1)
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
	held, nobody := Held(owners, 3)
	if !slices.Equal(held, []int{1, 2, 0}) || nobody != 1 {
		t.Errorf("held %v, nobody %d", held, nobody)
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
func TestCapacityAndDimensionality(t *testing.T) {
	for _, of := range []func([][]float64) []float64{Capacity, Dimensionality} {
		if got := of([][]float64{{1, 0, 0}, {0, 2, 0}}); math.Abs(got[0]-1) > 1e-12 || math.Abs(got[1]-1) > 1e-12 || got[2] != 0 {
			t.Errorf("two of three features: %v", got)
		}
		if got := of([][]float64{{1, -1}}); math.Abs(got[0]-.5) > 1e-12 {
			t.Errorf("head to head: %v", got)
		}
		pentagon := [][]float64{make([]float64, 5), make([]float64, 5)}
		for i := range 5 {
			pentagon[0][i], pentagon[1][i] = math.Cos(.4*math.Pi*float64(i)), math.Sin(.4*math.Pi*float64(i))
		}
		for _, c := range of(pentagon) {
			near(t, "pentagon", c, .4)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	encoder := make([][]float64, 3)
	for n := range encoder {
		for range 9 {
			encoder[n] = append(encoder[n], random.NormFloat64())
		}
	}
	sum := 0.
	for _, c := range Capacity(encoder) {
		sum += c
	}
	if sum > 3+1e-12 || sum <= 0 {
		t.Errorf("capacities of 9 features in 3 neurons sum to %g", sum)
	}
}
