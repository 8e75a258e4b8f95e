package tasks_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"raretask/tasks"
)

func TestRegistry(t *testing.T) {
	if names := tasks.Names(); !slices.Equal(names, []string{"parity", "regression"}) {
		t.Errorf("families %v", names)
	}
	for _, name := range tasks.Names() {
		kind, ok := tasks.Named(name)
		if !ok || kind.Name != name || kind.About == "" || kind.Engine < 1 {
			t.Errorf("%s: %+v, %t", name, kind, ok)
		}
	}
	if kind, ok := tasks.Named("raregression"); ok || kind.Defaults != nil {
		t.Errorf("an unknown family is %+v", kind)
	}
	known, _ := tasks.Named("parity")
	for what, bad := range map[string]tasks.Kind{
		"a taken name":     known,
		"no name":          {Engine: 1, Defaults: known.Defaults},
		"no engine number": {Name: "toy", Defaults: known.Defaults},
		"no defaults":      {Name: "toy", Engine: 1},
	} {
		func() {
			defer func() {
				if said := fmt.Sprint(recover()); !strings.Contains(said, "want a new name") {
					t.Errorf("%s: %s: want a panic that says what is right", what, said)
				}
			}()
			tasks.Register(bad)
		}()
	}
	if _, ok := tasks.Named("toy"); ok {
		t.Error("a bad kind was registered")
	}
}

// Every impossible setting is answered with its key, its value and what is possible; none draws anything or overflows.
func TestCheck(t *testing.T) {
	const huge = 1 << 53
	regression := func(dim, block int, alpha ...float64) tasks.Settings {
		return tasks.RegressionSettings{Dim: dim, Block: block, Alpha: [2]float64(append(alpha, 2, 2)[:2])}
	}
	parity := func(bits, size int) tasks.Settings { return tasks.ParitySettings{Bits: bits, Size: size} }
	for _, c := range []struct {
		tasks     int
		s         tasks.Settings
		key, want string // no key: possible
	}{
		{16, regression(128, 8), "", ""},
		{1 << 20, regression(1<<20, 1), "", ""},
		{16, regression(0, 8), "dim", "1 … 1048576"},
		{16, regression(huge, 8), "dim", "1 … 1048576"},
		{16, regression(128, 0), "block", "1 … mixture.dim (128)"},
		{16, regression(128, -3), "block", "1 … mixture.dim (128)"},
		{16, regression(128, huge), "block", "1 … mixture.dim (128)"},
		{17, regression(128, 8), "dim", "17·8 = 136"},
		{huge, regression(4096, 2048), "dim", "9007199254740992·2048 = 18446744073709551616"},
		{2, regression(8, 2, -1), "alpha", "0 … 100"},
		{2, regression(8, 2, 1, 101), "alpha", "0 … 100"},
		{2, regression(8, 2, math.NaN()), "alpha", "0 … 100"},
		{2, regression(8, 2, 1, math.Inf(1)), "alpha", "0 … 100"},
		{24, parity(32, 3), "", ""},
		{184_756, parity(20, 10), "", ""},
		{184_757, parity(20, 10), "tasks", "at most 184756, the subsets of 10 of 20 bits"},
		{16, parity(1<<20, 1<<19), "", ""},
		{1 << 20, parity(16, 8), "tasks", "at most 12870"},
		{1 << 20, parity(1<<20, 1<<19), "tasks", "at most 16 with 1048576 bits"},
		{1, parity(1<<20, 1<<20), "", ""},
		{2, parity(1<<20, 1<<20), "tasks", "at most 1,"},
		{16, parity(1<<20, 1<<20-1), "", ""},
		{24, parity(0, 3), "bits", "1 … 1048576"},
		{24, parity(huge, 3), "bits", "1 … 1048576"},
		{24, parity(32, 0), "size", "1 … mixture.bits (32)"},
		{24, parity(32, huge), "size", "1 … mixture.bits (32)"},
	} {
		begin := time.Now()
		err := c.s.Check(c.tasks)
		var bad *tasks.KeyError
		if c.key == "" && err != nil || c.key != "" && (!errors.As(err, &bad) || bad.Key != c.key || !strings.Contains(bad.Want, c.want)) {
			t.Errorf("%d tasks, %+v: error %v: want one about %q with %q", c.tasks, c.s, err, c.key, c.want)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%d tasks, %+v: checked in %v", c.tasks, c.s, took)
		}
	}
}

// Where all subsets are tasks, drawing finds the last ones hardly ever.
func TestAllSubsets(t *testing.T) {
	begin := time.Now()
	family, err := tasks.ParitySettings{Bits: 16, Size: 8}.Family(12_870)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("drawn in %v: want seconds", took)
	}
	seen := map[int]bool{}
	for k := range 12_870 {
		bits := 0
		for _, bit := range family.Relevant(k) {
			bits |= 1 << bit
		}
		seen[bits] = true
	}
	if len(seen) != 12_870 {
		t.Errorf("%d different subsets of 12,870", len(seen))
	}
}

func TestRegressionErrors(t *testing.T) {
	for _, c := range []struct {
		alpha      []float64
		block, dim int
		want       string
	}{
		{nil, 1, 1, "no tasks"}, {[]float64{1}, 0, 4, "block 0"}, {[]float64{1, 1}, 3, 5, "2 tasks x block 3 = 6 directions do not fit in dim 5"},
		{[]float64{1, 1, 1, 1}, 1 << 62, 8, "18446744073709551616 directions"}, {[]float64{1, -1}, 1, 2, "task 2"},
		{[]float64{math.NaN()}, 1, 2, "alpha NaN"},
	} {
		if _, err := tasks.NewRegression(c.alpha, c.block, c.dim); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v: want one with %q", c, err, c.want)
		}
	}
}

func TestRelevant(t *testing.T) {
	r, err := tasks.NewRegression([]float64{1, 1, 1}, 2, 7)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range [][]int{{0, 1}, {2, 3}, {4, 5}} {
		if got := r.Relevant(k); !slices.Equal(got, want) {
			t.Errorf("regression, task %d: inputs %v, want %v", k+1, got, want)
		}
	}
	p, err := tasks.NewParity(5, 9, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range p.Subsets {
		if got := p.Relevant(k); !slices.Equal(got, want) || len(got) != 3 || !slices.IsSorted(got) {
			t.Errorf("parity, task %d: inputs %v, want %v", k+1, got, want)
		}
	}
}

func TestAlphas(t *testing.T) {
	for k, a := range (tasks.RegressionSettings{Alpha: [2]float64{3, 1}}).Alphas(5) {
		if want := 3 - float64(k)/2; a != want {
			t.Errorf("alpha_%d = %g, want %g", k+1, a, want)
		}
	}
}
