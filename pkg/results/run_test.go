package results

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/train"
	"raretask/tasks"
)

// of returns results of runs in memory, with a loss at the end of each.
func of(runs ...spec.Run) Runs {
	var all Runs
	for i, run := range runs {
		all = append(all, NewRun(run, []int{0, run.Train.Steps}, map[string][]float64{"loss": {1, 1, .1 * float64(i), .2 * float64(i)}}))
	}
	return all
}

func with(change func(*spec.Run)) spec.Run {
	run := small()
	change(&run)
	return run
}

// Runs that differ in a setting that an analysis doesn't know of are an error that names it; seeds, and how often runs were looked at,
// may differ.
func TestDesignNamesWhatDiffers(t *testing.T) {
	data := uint32(7)
	for key, c := range map[string]struct {
		change  func(*spec.Run)
		refused bool
	}{
		"net.width":                  {func(r *spec.Run) { r.Net.Width = 3 }, true},
		"net.parameterization":       {func(r *spec.Run) { r.Net.Parameterization, r.Net.Base = "mup", 2 }, true},
		"train.batch":                {func(r *spec.Run) { r.Train.Batch = 8 }, true},
		"train.decay":                {func(r *spec.Run) { r.Train.Decay = .1 }, true},
		"train.clip":                 {func(r *spec.Run) { r.Train.Clip = 0 }, true},
		"train.warmup":               {func(r *spec.Run) { r.Train.Warmup = 7 }, true},
		"train.schedule":             {func(r *spec.Run) { r.Train.Schedule = "constant" }, true},
		"train.optimizer":            {func(r *spec.Run) { r.Train.Optimizer = "adam" }, true},
		"train.betas":                {func(r *spec.Run) { r.Train.Betas[1] = .99 }, true},
		"train.rate":                 {func(r *spec.Run) { r.Train.Rate = 1e-2 }, true},
		"train.injection.task":       {func(r *spec.Run) { r.Train.Injection.Task = 2 }, true},
		"mixture.frequency.exponent": {func(r *spec.Run) { r.Mixture.Frequency.Exponent = 2 }, true},
		"mixture.dim": {func(r *spec.Run) {
			r.Mixture.Settings = tasks.RegressionSettings{Dim: 8, Block: 2, Alpha: [2]float64{2, 2}}
		}, true},
		"train.seed":        {func(r *spec.Run) { r.Train.Seed = 1 }, false},
		"train.data":        {func(r *spec.Run) { r.Train.Data = &data }, false},
		"train.evaluations": {func(r *spec.Run) { r.Train.Evaluations, r.Train.Seed = 3, 1 }, false},
	} {
		runs := of(small(), with(c.change))
		err := runs.Need(Design{Columns: []string{"loss"}})
		if c.refused != (err != nil) || err != nil && !strings.Contains(err.Error(), "differ in "+key+" (") {
			t.Errorf("%s: error %v; want it refused: %t", key, err, c.refused)
		}
		group, _, _ := strings.Cut(key, ".")
		for _, vary := range [][]string{{key}, {group + ".*"}} {
			if key == "net.parameterization" {
				vary = append(vary, "net.base")
			}
			if err := runs.Need(Design{Vary: vary, Columns: []string{"loss"}}); err != nil {
				t.Errorf("%s may vary: %v", vary, err)
			}
		}
	}
	// The seed of what a family draws is a seed.
	parity := func(seed uint32) spec.Run {
		return with(func(r *spec.Run) {
			r.Mixture.Family, r.Mixture.Settings = "parity", tasks.ParitySettings{Bits: 8, Size: 3, Seed: seed}
			r.Net.Kind, r.Net.Settings = "mlp", net.MLPSettings{Depth: 1}
		})
	}
	if err := of(parity(0), parity(1)).Need(Design{Columns: []string{"loss"}}); err != nil {
		t.Errorf("mixture.seed: %v", err)
	}
	if err := of(small(), parity(0)).Need(Design{Vary: []string{"net.*"}}); err == nil || !strings.Contains(err.Error(), "mixture.family") {
		t.Errorf("two families: %v", err)
	}
}

// One run is one result: in two stacks it rounds otherwise (width 32, seed 24 of parity once counted twice).
func TestOneRunOneNumber(t *testing.T) {
	wide := with(func(r *spec.Run) { r.Net.Width, r.Train.Seed = 32, 24 })
	a, b := of(wide), of(wide)
	b[0].Stack = "another"
	for _, join := range []func() error{
		func() error { _, err := Join(a, b); return err },
		func() error { return slices.Concat(a, b).Need(Design{}) },
	} {
		err := join()
		if err == nil || !strings.Contains(err.Error(), "width 32, seed 24") || !strings.Contains(err.Error(), a[0].Stack) ||
			!strings.Contains(err.Error(), "another") {
			t.Errorf("error %v; want the run and both stacks", err)
		}
	}
	chosen := slices.Concat(a, b).Where(func(r *Run) bool { return r.Stack == a[0].Stack })
	if err := chosen.Need(Design{}); err != nil || len(chosen) != 1 {
		t.Errorf("one of the two, chosen by its stack: %d runs, %v", len(chosen), err)
	}
	if _, err := Join(a, a); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same twice: %v", err)
	}
}

func TestNeedRefuses(t *testing.T) {
	early := of(small())
	early[0].Steps = []int{0, 5}
	at := func(width int, seed uint32) spec.Run {
		return with(func(r *spec.Run) { r.Net.Width, r.Train.Seed = width, seed })
	}
	uneven := of(at(2, 0), at(2, 1), at(3, 0))
	if err := uneven.Need(Design{Vary: []string{"net.width"}, Absent: true}); err != nil {
		t.Errorf("for a design that counts what is missing: %v", err)
	}
	for want, c := range map[string]struct {
		runs Runs
		of   Design
	}{
		"no runs":                   {nil, Design{}},
		"not evaluated at its last": {early, Design{}},
		"1 seeds of runs like " + uneven[2].ID + " (width 3, seed 0) where others have 2": {uneven, Design{Vary: []string{"net.width"}}},
		"residual of run":             {of(small()), Design{Columns: []string{"residual"}}},
		"differ in net.width (2 and ": {of(small(), with(func(r *spec.Run) { r.Net.Width = 3 })), Design{Vary: []string{"train.*"}}},
		"want runs that differ in net.width, seeds alone": {of(small(), with(func(r *spec.Run) { r.Train.Batch = 3 })),
			Design{Vary: []string{"net.width"}}},
	} {
		if err := c.runs.Need(c.of); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %q", err, want)
		}
	}
}

func TestValues(t *testing.T) {
	run := with(func(r *spec.Run) { r.Train.Steps = 4 })
	r := NewRun(run, []int{0, 2, 4}, map[string][]float64{"own": {1, 2, 3}, "each": {1, 2, 3, 4, 5, math.NaN()},
		"none": {math.NaN(), math.NaN(), math.NaN()}})
	for _, c := range []struct {
		column  string
		i, task int
		want    float64
	}{{"own", 1, 1, 2}, {"own", 1, 2, 2}, {"each", 0, 2, 2}, {"each", 2, 1, 5}} {
		if got := r.Value(c.column, c.i, c.task); got != c.want {
			t.Errorf("%s at %d, task %d: %g; want %g", c.column, c.i, c.task, got, c.want)
		}
	}
	if !math.IsNaN(r.Final("each", 2)) || !math.IsNaN(r.Final("absent", 1)) || r.Final("own", 2) != 3 {
		t.Errorf("final values %g, %g, %g", r.Final("each", 2), r.Final("absent", 1), r.Final("own", 2))
	}
	if !r.Has("own") || r.Has("none") || r.Has("absent") {
		t.Error("Has is wrong")
	}
	if got := r.Series("each", 1); !slices.Equal(got, []float64{1, 3, 5}) {
		t.Errorf("series %v", got)
	}
	if i, found := r.Index(2); i != 1 || !found {
		t.Errorf("index %d, %t", i, found)
	}
	runs := of(with(func(r *spec.Run) { r.Net.Width = 8 }), small(), with(func(r *spec.Run) { r.Train.Seed = 3 }))
	if widths, by := By(runs, Width); !slices.Equal(widths, []int{2, 8}) || len(by[2]) != 2 || by[8][0] != runs[0] {
		t.Errorf("by width: %v, %v", widths, by)
	}
}

// OnNeed is told of each file once, and an error of it stops.
func TestOnNeed(t *testing.T) {
	f := written(t, &Store{Dir: t.TempDir()})
	defer func() { OnNeed = nil }()
	type need struct {
		path    string
		columns string
		final   bool
	}
	var got []need
	OnNeed = func(f *File, columns []string, final bool) error {
		got = append(got, need{f.Path, strings.Join(columns, " "), final})
		return nil
	}
	design := Design{Vary: []string{"net.width"}, Columns: []string{"train_loss"}, Final: true}
	if err := f.Runs().Need(design); err != nil || !slices.Equal(got, []need{{f.Path, "train_loss", true}}) {
		t.Errorf("told of %v, %v", got, err)
	}
	full := errors.New("no space")
	OnNeed = func(*File, []string, bool) error { return full }
	if err := f.Runs().Need(design); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	OnNeed = nil
	if err := f.Runs().Load([]train.Column{{Name: "cosine"}}); err == nil {
		t.Error("a column that is not there was loaded")
	}
}
