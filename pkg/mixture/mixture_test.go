package mixture

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/tasks"
)

// The vectors are those of Random123 (Salmon et al. 2011), file kat_vectors, threefry2x32 with 20 rounds.
func TestThreefryKnownAnswers(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		exec, err := NewExec(b.Backend, func(in []*Node) []*Node {
			part := func(n *Node, i int) *Node { return Reshape(Slice(n, AxisElem(i))) }
			x0, x1 := threefry(part(in[0], 0), part(in[0], 1), part(in[1], 0), part(in[1], 1))
			return []*Node{x0, x1}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer exec.Finalize()
		const ones = 0xffffffff
		for _, c := range []struct{ key, counter, want []uint32 }{
			{[]uint32{0, 0}, []uint32{0, 0}, []uint32{0x6b200159, 0x99ba4efe}},
			{[]uint32{ones, ones}, []uint32{ones, ones}, []uint32{0x1cb996fc, 0xbb002be7}},
			{[]uint32{0x13198a2e, 0x03707344}, []uint32{0x243f6a88, 0x85a308d3}, []uint32{0xc4923a9c, 0x483df7a0}},
		} {
			out, err := exec.Call(c.key, c.counter)
			if err != nil {
				t.Fatal(err)
			}
			got := []uint32{tensors.ToScalar[uint32](out[0]), tensors.ToScalar[uint32](out[1])}
			if !slices.Equal(got, c.want) {
				t.Errorf("key %x, counter %x: %x, want %x", c.key, c.counter, got, c.want)
			}
		}
	})
}

func TestNormalIsNormal(t *testing.T) {
	const n = 200_000
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		out := backendtest.Run(t, b, []any{[]uint32{3, 0}, int32(5)}, func(in []*Node) []*Node {
			r := NewRandom(in[0], in[1], 0)
			return []*Node{r.Normal(n), r.Normal(n)}
		})
		x, y := float64s(out[0]), float64s(out[1])
		slices.Sort(x)
		worst := 0. // Kolmogorov and Smirnov's distance; 1.95/sqrt(n) is passed once in a thousand times
		for i, v := range x {
			worst = max(worst, math.Abs(distuv.UnitNormal.CDF(v)-(float64(i)+.5)/n))
		}
		if limit := 1.95 / math.Sqrt(n); worst > limit {
			t.Errorf("distance from the normal distribution %g > %g", worst, limit)
		}
		if mean, sd := stat.MeanStdDev(y, nil); math.Abs(mean) > 4/math.Sqrt(n) || math.Abs(sd-1) > 4/math.Sqrt(2*n) {
			t.Errorf("second draw: mean %g, standard deviation %g", mean, sd)
		}
		if c := stat.Correlation(float64s(out[0]), y, nil); math.Abs(c) > 4/math.Sqrt(n) {
			t.Errorf("two draws correlate: %g", c)
		}
	})
}

// All backends must draw the same batch, or their trainings couldn't be compared.
func TestBackendsDrawTheSame(t *testing.T) {
	draw := func(b *backend.Backend) [][]float32 {
		return backendtest.Run(t, b, []any{[]uint32{9, 0}, int32(7)}, func(in []*Node) []*Node {
			r := NewRandom(in[0], in[1], 1)
			return []*Node{r.Uniform(1000), r.Normal(30, 31)}
		})
	}
	a, b := draw(backendtest.Go(t)), draw(backendtest.XLA(t))
	if !slices.Equal(a[0], b[0]) {
		t.Error("uniform numbers differ")
	}
	for i := range a[1] {
		if math.Abs(float64(a[1][i]-b[1][i])) > 2e-6*(1+math.Abs(float64(a[1][i]))) {
			t.Fatalf("normal number %d: %g and %g", i, a[1][i], b[1][i])
		}
	}
}

func small(t *testing.T) *Mixture {
	t.Helper()
	return power(t, []float64{2, 2, 2, 2, 2}, 3, 17, 1)
}

// power returns a mixture of regressions whose frequencies fall with the power exponent.
func power(t *testing.T, alpha []float64, block, dim int, exponent float64) *Mixture {
	t.Helper()
	family, err := tasks.NewRegression(alpha, block, dim)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(family, law(len(alpha), exponent))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// law returns frequencies that fall with the power exponent.
func law(tasks int, exponent float64) []float64 {
	pi := make([]float64, tasks)
	for k := range pi {
		pi[k] = math.Pow(float64(k+1), -exponent)
	}
	floats.Scale(1/floats.Sum(pi), pi)
	return pi
}

func TestImpossibleFrequencies(t *testing.T) {
	family := small(t).Family
	for what, frequency := range map[string][]float64{
		"too few": {.5, .5}, "too much": {.3, .3, .3, .3, .3}, "below 0": {.5, .5, .5, -.5, 0}, "no number": {math.NaN(), .25, .25, .25, .25},
	} {
		if _, err := New(family, frequency); err == nil || !strings.Contains(err.Error(), ": want ") {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

// batches returns a function that draws the batch of a step and returns what it holds, in the order x, y, task, pairTile, pairTask, mask,
// pairTarget, counts.
func batches(t *testing.T, b *backend.Backend, m *Mixture, rows int) func(step int, thresholds [][]uint32, forced []float32) [][]float32 {
	draw := backendtest.Compile(t, b, func(in []*Node) []*Node {
		batch := Draw(m.Family, NewRandom(in[0], in[1], 0), in[2], in[3], rows)
		tiles := batch.Tiles()
		return []*Node{batch.X, batch.Y, batch.Task, tiles.PairTile, tiles.PairTask, tiles.Mask, tiles.Target, batch.Counts}
	})
	return func(step int, thresholds [][]uint32, forced []float32) [][]float32 {
		return draw([]uint32{1, 0}, int32(step), thresholds, forced)
	}
}

// Every row must appear in exactly one pair, that of its own tile and task, whatever the counts: also where tasks are
// absent, share tiles or span many.
func TestPairsCoverRows(t *testing.T) {
	m := small(t)
	k, o := m.Tasks(), m.Family.Signature().Outputs
	for _, rows := range []int{48, 20, 7} {
		r := tileRows(rows)
		tiles := rows / r
		pairs := tiles + k - 1
		draw := batches(t, backendtest.Go(t), m, rows)
		for step, forced := range [][]float32{{0, 0, 0, 0, 0}, {0, 0, 0, 0, 7}, {0, 3, 0, 1, 2}} {
			out := draw(step, m.Thresholds(), forced)
			y, task, pairTile, pairTask, mask, pairTarget, counts := out[1], out[2], out[3], out[4], out[5], out[6], out[7]
			seen := make([]int, rows)
			for p := range pairs {
				tile, ofTask := one(t, pairTile[p*tiles:(p+1)*tiles]), one(t, pairTask[p*k:(p+1)*k])
				for i := range r {
					if mask[p*r+i] == 0 {
						continue
					}
					row := tile*r + i
					seen[row]++
					if task[row*k+ofTask] != 1 {
						t.Errorf("%d rows, step %d: pair %d claims row %d for task %d", rows, step, p, row, ofTask)
					}
					for j := range o {
						if pairTarget[(p*r+i)*o+j] != y[row*o+j] {
							t.Errorf("%d rows, step %d: row %d has another target in pair %d", rows, step, row, p)
						}
					}
				}
			}
			total := float32(0)
			for row, n := range seen {
				if n != 1 {
					t.Errorf("%d rows, step %d: row %d is in %d pairs", rows, step, row, n)
				}
			}
			for i, c := range counts {
				if total += c; c < forced[i] {
					t.Errorf("%d rows, step %d: task %d has %g samples, forced %g", rows, step, i, c, forced[i])
				}
			}
			if total != float32(rows) {
				t.Errorf("%d rows, step %d: counts sum to %g", rows, step, total)
			}
		}
	}
}

// one returns the position of the single 1 in v, or -1 where all are 0.
func one(t *testing.T, v []float32) int {
	at := -1
	for i, x := range v {
		if x == 1 && at < 0 {
			at = i
		} else if x != 0 {
			t.Fatalf("not one-hot: %v", v)
		}
	}
	return at
}

// Targets are sqrt(lambda) times the task's own block of the input.
func TestRegressionTargets(t *testing.T) {
	m := small(t)
	const rows = 32
	k, o, d := m.Tasks(), m.Family.Signature().Outputs, m.Family.Signature().Input.Size()
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		out := batches(t, b, m, rows)(3, m.Thresholds(), make([]float32, k))
		for row := range rows {
			task := one(t, out[2][row*k:(row+1)*k])
			for j := range o {
				want := out[0][row*d+task*o+j] * float32(math.Sqrt(math.Pow(float64(j+1), -2)))
				if got := out[1][row*o+j]; math.Abs(float64(got-want)) > 1e-6 {
					t.Errorf("row %d of task %d, output %d: %g, want %g", row, task, j, got, want)
				}
			}
		}
	})
}

// Over many batches tasks come up as often as their frequencies say, and as variably: counts are multinomial.
func TestCountsAreMultinomial(t *testing.T) {
	m := small(t)
	const rows, draws = 64, 400
	k := m.Tasks()
	sums, squares := make([]float64, k), make([]float64, k)
	draw := backendtest.Compile(t, backendtest.Go(t), func(in []*Node) []*Node {
		return []*Node{Draw(m.Family, NewRandom(in[0], in[1], 0), in[2], in[3], rows).Counts}
	})
	for step := range draws {
		for i, c := range draw([]uint32{1, 0}, int32(step), m.Thresholds(), make([]float32, k))[0] {
			sums[i] += float64(c)
			squares[i] += float64(c) * float64(c)
		}
	}
	for i, pi := range m.Frequency {
		mean := sums[i] / draws
		variance := squares[i]/draws - mean*mean
		want := rows * pi * (1 - pi)
		if math.Abs(mean-rows*pi) > 4*math.Sqrt(want/draws) {
			t.Errorf("task %d: mean count %g, want %g", i+1, mean, rows*pi)
		}
		if math.Abs(variance/want-1) > 4*math.Sqrt(2./draws) {
			t.Errorf("task %d: variance of its count %g, want %g", i+1, variance, want)
		}
	}
}

// A task of frequency 0 never comes up by itself; forced, it comes up exactly as often as said.
func TestForcedCountsAreExact(t *testing.T) {
	m := small(t)
	withheld, err := thresholds([]float64{.4, .3, .2, .1, 0})
	if err != nil {
		t.Fatal(err)
	}
	draw := batches(t, backendtest.Go(t), m, 48)
	for step := range 20 {
		m8 := []float32{0, 0, 0, 0, float32(step % 9)}
		out := draw(step, withheld, m8)
		if got := out[7][4]; got != m8[4] {
			t.Errorf("step %d: %g samples of the withheld task, want %g", step, got, m8[4])
		}
	}
}

func float64s(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// Rows of a draw are the same however many are drawn at a time, also where a row's numbers end within a word.
func TestRowsInPieces(t *testing.T) {
	const rows, piece = 192, 64
	numbers := func(r tasks.Random, rows int) []*Node {
		return []*Node{r.Normal(rows, 7), r.Uniform(rows), r.Bits(rows, 9), r.Bits(rows), r.Normal(rows, 2, 3), r.Uniform(rows, 1)}
	}
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		whole := backendtest.Run(t, b, []any{[]uint32{4, 0}, int32(2)}, func(in []*Node) []*Node {
			return numbers(NewRandom(in[0], in[1], 1), rows)
		})
		pieces := backendtest.Compile(t, b, func(in []*Node) []*Node { return numbers(NewRandom(in[0], in[1], 1).From(in[2]), piece) })
		// Pieces of 64 rows from any multiple of 32 on: they may overlap.
		for _, first := range []int{0, 32, 64, 128} {
			for i, part := range pieces([]uint32{4, 0}, int32(2), int32(first)) {
				per := len(part) / piece
				if want := whole[i][first*per : (first+piece)*per]; !slices.Equal(part, want) {
					t.Errorf("draw %d: rows from %d on differ from those of all rows", i, first)
				}
			}
		}
	})
}

// ordinals is a source of numbers that are all different. They compile far faster than random ones.
type ordinals struct{ g *Graph }

func (o ordinals) Normal(dims ...int) *Node {
	return Reshape(Iota(o.g, shapes.Make(dtypes.Float32, tasks.Size(dims)), 0), dims...)
}
func (o ordinals) Uniform(...int) *Node { panic("regressions draw normal numbers alone") }
func (o ordinals) Bits(...int) *Node    { panic("regressions draw normal numbers alone") }

// Rows puts back what Pair cuts: every row, of any rank, and nothing of what is masked; gradients come back the same way. Tasks are
// absent, share tiles or span many.
func TestRowsInvertPair(t *testing.T) {
	m := small(t)
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, rows := range []int{48, 20, 7} {
			draw := backendtest.Compile(t, b, func(in []*Node) []*Node {
				batch := Arrange(m.Family, ordinals{in[0].Graph()}, in[0], rows)
				tiles := batch.Tiles()
				deep := Reshape(Slice(batch.X, AxisRange(), AxisRange(0, 12)), rows, 2, 3, 2)
				// What a net makes of masked rows must not come back, whatever it is.
				dirty := Add(tiles.Pair(batch.X), MulScalar(OneMinus(InsertAxes(tiles.Mask, -1)), 1e6))
				gradient := Gradient(ReduceAllSum(MulScalar(Square(tiles.Rows(tiles.Pair(batch.X))), .5)), batch.X)[0]
				return []*Node{batch.X, tiles.Rows(dirty), gradient, deep, tiles.Rows(tiles.Pair(deep))}
			})
			all := float32(rows)
			for _, end := range [][]float32{
				{all - 5, all - 3, all - 2, all - 1, all}, {0, 1, 2, 6, all}, {3, 3, all - 3, all - 3, all}, {0, 0, all, all, all},
				{all, all, all, all, all},
			} {
				out := draw(end)
				same := func(i, j int) bool { return slices.Equal(out[i], out[j]) }
				if !same(0, 1) || !same(3, 4) {
					t.Errorf("%d rows that end at %v: rows of pairs are not the batch's", rows, end)
				}
				if !same(0, 2) {
					t.Errorf("%d rows that end at %v: the gradient of half the square of the rows is not the rows", rows, end)
				}
			}
		}
	})
}
