package tasks_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/tasks"
)

func TestParitySubsets(t *testing.T) {
	p, err := tasks.NewParity(9, 5, 3, 4) // nine of all ten
	if err != nil {
		t.Fatal(err)
	}
	for k, s := range p.Subsets {
		if len(s) != 3 || !slices.IsSorted(s) || s[0] == s[1] || s[1] == s[2] || s[0] < 0 || s[2] > 4 {
			t.Errorf("task %d: bits %v: want three of 0 … 4, ascending", k+1, s)
		}
		for j, other := range p.Subsets[:k] {
			if slices.Equal(s, other) {
				t.Errorf("tasks %d and %d share %v", j+1, k+1, s)
			}
		}
	}
	again, _ := tasks.NewParity(9, 5, 3, 4)
	other, _ := tasks.NewParity(9, 5, 3, 5)
	if !slices.EqualFunc(p.Subsets, again.Subsets, slices.Equal) || slices.EqualFunc(p.Subsets, other.Subsets, slices.Equal) {
		t.Error("subsets must be a function of the seed")
	}
}

func TestParityErrors(t *testing.T) {
	for _, c := range []struct {
		tasks, bits, size int
		want              string
	}{{0, 5, 3, "0 tasks"}, {1, 5, 0, "1 … 5"}, {1, 5, 6, "1 … 5"}, {11, 5, 3, "only 10 subsets"}} {
		if _, err := tasks.NewParity(c.tasks, c.bits, c.size, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v: want one with %q", c, err, c.want)
		}
	}
}

// Labels by counting; bits and labels balanced within 4 standard errors.
func TestParityDraws(t *testing.T) {
	const bits, k, rows = 33, 6, 6000 // 33: rows don't end where words do
	p, err := tasks.NewParity(k, bits, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	var drawn [][]float32
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		out := backendtest.Run(t, b, []any{[]uint32{1, 0}, int32(3)}, func(in []*Node) []*Node {
			end := Const(in[0].Graph(), []float32{1000, 2000, 3000, 4000, 5000, 6000})
			batch := mixture.Arrange(p, mixture.NewRandom(in[0], in[1], 0), end, rows)
			return []*Node{batch.X, batch.Y}
		})
		ones, labels := make([]float64, bits), make([]float64, k)
		for row := range rows {
			x, y := out[0][row*bits:(row+1)*bits], out[1][row*2:row*2+2]
			for i, v := range x {
				if v != 0 && v != 1 {
					t.Fatalf("row %d, bit %d is %g", row, i, v)
				}
				ones[i] += float64(v)
			}
			parity := 0
			for _, i := range p.Subsets[row/1000] {
				parity ^= int(x[i])
			}
			if y[parity] != 1 || y[1-parity] != 0 {
				t.Fatalf("row %d: target %v: want label %d", row, y, parity)
			}
			labels[row/1000] += float64(parity)
		}
		for i, n := range ones {
			if math.Abs(n-rows/2) > 4*math.Sqrt(rows)/2 {
				t.Errorf("bit %d is set in %g of %d rows", i, n, rows)
			}
		}
		for i, n := range labels {
			if math.Abs(n-500) > 4*math.Sqrt(1000)/2 {
				t.Errorf("task %d: %g of 1000 labels are 1", i+1, n)
			}
		}
		if drawn != nil && !slices.EqualFunc(drawn, out, slices.Equal) {
			t.Error("backends draw different batches")
		}
		drawn = out
	})
}

func TestParityLossInBits(t *testing.T) {
	p, _ := tasks.NewParity(1, 3, 3, 0)
	log3 := float32(math.Log(3))
	logits := [][]float32{{0, 0}, {0, log3}, {0, log3}, {7, 7 + log3}, {1000, -1000}, {1000, -1000}}
	labels := [][]float32{{1, 0}, {0, 1}, {1, 0}, {0, 1}, {1, 0}, {0, 1}}
	want := []float64{1, -math.Log2(.75), 2, -math.Log2(.75), 0, 2000 / math.Ln2}
	out := backendtest.Run(t, backendtest.Go(t), []any{logits, labels}, func(in []*Node) []*Node {
		loss, weight := p.Score(in[0], in[1])
		if weight != nil {
			t.Error("a sample of parity counts once: want no weight")
		}
		return []*Node{loss, Gradient(ReduceAllSum(loss), in[0])[0]}
	})
	for i, w := range want {
		if got := float64(out[0][i]); !(math.Abs(got-w) <= 1e-6*(1+w)) {
			t.Errorf("logits %v, label %v: loss %g bits, want %g", logits[i], labels[i], got, w)
		}
	}
	// softmax - label, in bits: equal logits, where networks with zero readouts start, are no corner.
	for i, w := range []float64{-.5, .5, .25, -.25, -.75, .75} {
		if got := float64(out[1][i]); math.Abs(got-w/math.Ln2) > 1e-6 {
			t.Errorf("gradient %d: %g, want %g", i, got, w/math.Ln2)
		}
	}
}
