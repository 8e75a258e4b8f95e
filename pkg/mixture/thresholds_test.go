package mixture

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
)

// ends returns how many of the 2^63 numbers of 64 bits, the lowest of which is 0, are below each threshold.
func ends(words [][]uint32) []uint64 {
	all := make([]uint64, len(words[0]))
	for k := range all {
		threshold := uint64(words[0][k])<<32 | uint64(words[1][k])
		all[k] = threshold/2 + threshold%2
	}
	return all
}

// The probability of each task is the share of numbers between two thresholds, in integers. It is the task's frequency to
// within one of 2^63 cells, whatever the law: float32 sums drew each of the rarest 1,000 of 10,000 tasks 13% off.
func TestProbabilitiesAreTheFrequencies(t *testing.T) {
	for _, c := range []struct {
		tasks    int
		exponent float64
		limit    float64 // of the relative error
	}{
		{1, 0, 0}, {2, 0, 0}, {16, 0, 0}, {16, 1, 1e-15}, {7, 0, 2e-16}, {16, 12, 1e-3},
		{500, 1.5, 1e-14}, {10_000, 0, 1e-14}, {10_000, 1.5, 1e-12},
		{100_000, 0, 1e-13}, {100_000, 1, 1e-12}, {100_000, 2, 1e-8}, {100_000, 3, 2e-4},
	} {
		frequency := law(c.tasks, c.exponent)
		words, err := thresholds(frequency)
		if err != nil {
			t.Errorf("%d tasks, exponent %g: %v", c.tasks, c.exponent, err)
			continue
		}
		total := new(big.Float).SetPrec(500) // exact: the largest is 2^50 times the rarest at most
		for _, pi := range frequency {
			total.Add(total, big.NewFloat(pi))
		}
		sum, _ := total.Float64()
		begin := uint64(0)
		for k, end := range ends(words) {
			got, want := float64(end-begin)/cells, frequency[k]/sum
			if worst := math.Abs(got - want); worst > 1./cells+4e-16*want || worst > c.limit*want {
				t.Fatalf("%d tasks, exponent %g: task %d has probability %g, frequency %g: off by %.2g of it",
					c.tasks, c.exponent, k+1, got, want, worst/want)
			}
			begin = end
		}
		if begin != 1<<63 {
			t.Errorf("%d tasks, exponent %g: %d of 2^63 numbers are below the last threshold", c.tasks, c.exponent, begin)
		}
	}
}

func TestFrequenciesThatCannotBeDrawnAreRefused(t *testing.T) {
	for _, c := range []struct {
		frequency []float64
		want      string // "" for none
	}{
		{[]float64{1, 0, 1e-15}, ""},
		{[]float64{1, 0, 1e-18}, "task 3: frequency 1e-18 would be drawn as 9.75781955236954e-19"}, // 9.22 cells: 9
		{[]float64{1, 1e-30, 0}, "task 2: frequency 1e-30 would be drawn as 0"},
		{[]float64{1e-20, 1}, "task 1: frequency 1e-20 would be drawn as 0"},
		{[]float64{.5, -.1, .5}, "task 2: frequency -0.1: want a finite number"},
		{[]float64{.5, math.NaN()}, "task 2: frequency NaN: want a finite number"},
		{[]float64{math.Inf(1)}, "task 1: frequency +Inf: want a finite number"},
		{[]float64{0, 0}, "2 tasks, none"},
	} {
		_, err := thresholds(c.frequency)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), "mixture: "+c.want) {
			t.Errorf("%v: %v, want %q", c.frequency, err, c.want)
		}
	}
	if _, err := New(reduced(t).Family, law(16, 20)); err == nil || !strings.Contains(err.Error(), "task ") {
		t.Errorf("16 tasks, exponent 20: %v, want an error that names a task", err)
	}
}

// plain is threefry in plain Go.
func plain(key, counter [2]uint32) [2]uint32 {
	keys := [3]uint32{key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA}
	x := [2]uint32{counter[0] + key[0], counter[1] + key[1]}
	for round := range 20 {
		x[0] += x[1]
		x[1] = bits.RotateLeft32(x[1], []int{13, 15, 26, 6, 17, 29, 16, 24}[round%8]) ^ x[0]
		if group := round/4 + 1; round%4 == 3 {
			x[0] += keys[group%3]
			x[1] += keys[(group+1)%3] + uint32(group)
		}
	}
	return x
}

// numbers returns the 64-bit numbers that rows of a step are drawn by, for seed 1 and purpose 0.
func numbers(step, rows int) []uint64 {
	key := plain([2]uint32{1, 0}, [2]uint32{uint32(step), 0})
	all := make([]uint64, rows)
	for row := range all {
		word := plain(key, [2]uint32{uint32(row), 0})
		all[row] = (uint64(word[0])<<32 | uint64(word[1])) &^ 1
	}
	return all
}

// On both backends a batch holds the tasks that plain Go makes of the generator's words and the thresholds, also where they
// decide by the low word alone and where tasks have frequency 0.
func TestBatchesAreThoseOfPlainGo(t *testing.T) {
	m := power(t, slices.Repeat([]float64{2}, 40), 1, 40, 1.5)
	const rows, steps = 4096, 3
	gaps := slices.Clone(m.Frequency)
	for _, k := range []int{0, 1, 7, 20, 21, 38, 39} {
		gaps[k] = 0
	}
	withGaps, err := thresholds(gaps)
	if err != nil {
		t.Fatal(err)
	}
	forced := make([]float32, 40)
	forced[7], forced[39] = 100, 3
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		draw := backendtest.Compile(t, b, func(in []*Node) []*Node {
			return []*Node{Draw(m.Family, NewRandom(in[0], in[1], 0), in[2], in[3], rows).Counts}
		})
		for step := range steps {
			drawn := numbers(step, rows)
			for name, words := range map[string][][]uint32{"usual": m.Thresholds(), "gaps": withGaps, "touching": touching(drawn)} {
				for _, forced := range [][]float32{make([]float32, 40), forced} {
					want := slices.Clone(forced)
					free := rows
					for _, n := range forced {
						free -= int(n)
					}
					all := ends(words)
					for _, u := range drawn[:free] {
						want[slices.IndexFunc(all, func(end uint64) bool { return u/2 < end })]++
					}
					if got := draw([]uint32{1, 0}, int32(step), words, forced)[0]; !slices.Equal(got, want) {
						t.Fatalf("step %d, thresholds %s: counts %v, want %v", step, name, got, want)
					}
					for k, n := range want {
						if name == "gaps" && gaps[k] == 0 && n != forced[k] {
							t.Fatalf("step %d: %g samples of task %d of frequency 0, %g forced", step, n, k+1, forced[k])
						}
					}
				}
			}
		}
	})
}

// touching returns 40 thresholds that are numbers drawn, or just above them.
func touching(drawn []uint64) [][]uint32 {
	sorted := slices.Sorted(slices.Values(drawn))
	words := [][]uint32{make([]uint32, 40), make([]uint32, 40)}
	for k := range 40 {
		threshold := sorted[100*(k+1)] + uint64(k%2)
		if k == 39 {
			threshold = math.MaxUint64
		}
		words[0][k], words[1][k] = uint32(threshold>>32), uint32(threshold)
	}
	return words
}

// What is drawable has thresholds, also while any of its tasks is withheld.
func TestDrawableHasThresholds(t *testing.T) {
	edge := 1e3 / cells
	for _, c := range []struct {
		frequency []float64
		want      bool
	}{
		{[]float64{1}, true}, {[]float64{1 - edge, edge}, true}, {[]float64{1, math.Nextafter(edge, 0)}, false},
		{[]float64{1, 0}, false}, {[]float64{.5, math.NaN()}, false}, {[]float64{1.5, -.5}, false},
	} {
		if got := Drawable(c.frequency); got != c.want {
			t.Errorf("%v is drawable: %t, want %t", c.frequency, got, c.want)
		}
	}
	for _, tasks := range []int{2, 3, 16, 500, 20_000} {
		low, high := 0., 100. // exponents that are and aren't drawable
		for range 50 {
			if middle := (low + high) / 2; Drawable(law(tasks, middle)) {
				low = middle
			} else {
				high = middle
			}
		}
		frequency := law(tasks, low)
		if _, err := thresholds(frequency); err != nil {
			t.Errorf("%d tasks, exponent %g: %v", tasks, low, err)
		}
		for _, withheld := range []int{1, 2, tasks} {
			if _, err := NewSchedule(Injection{Task: withheld, Gap: 1, Samples: 1}, batch, frequency).Inputs(); err != nil {
				t.Errorf("%d tasks, exponent %g: %v", tasks, low, err)
			}
		}
	}
}
