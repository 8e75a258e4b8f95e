package sweep

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"slices"
	"strconv"

	"raretask/pkg/backend"
	"raretask/pkg/checkpoint"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// observer measures the runs of a stack while they train.
type observer struct {
	stack     spec.Stack
	on        string // the backend's key
	metrics   []string
	measurers []*train.Measurer      // of each run
	columns   []train.Column         // of all runs
	steps     []int                  // at which to evaluate
	glances   []int                  // further steps, at which to measure what is known often
	keep      []int                  // steps after which to keep weights
	seen      int                    // how many of steps and glances have been measured
	diverged  []int32                // of each run
	numbers   []float64              // of values and glanced, run after run and in them column after column
	values    []map[string][]float64 // of each run by column: [step], or [step·K + task] for a column of tasks
	glanced   []map[string][]float64 // of each run by column that is known often: [glance]
}

// newObserver returns the observer of what is asked of a stack and of what partial results, if there are some, have beyond that.
func (w *work) newObserver(i int, on *backend.Backend, partial *results.IncompleteError) (*observer, error) {
	want := w.want(i)
	o := &observer{stack: w.Stacks[i], on: w.identity.Key(), metrics: w.asked, steps: want.Steps, glances: want.Glances, keep: w.kept(i)}
	if partial != nil {
		o.steps = union(o.steps, partial.File.Steps)
		o.glances = slices.DeleteFunc(union(o.glances, partial.File.Glances), func(step int) bool { return slices.Contains(o.steps, step) })
		o.keep = union(o.keep, partial.File.Kept)
		unknown := func(name string) bool { return train.CheckMetrics([]string{name}) != nil }
		o.metrics = union(o.metrics, slices.DeleteFunc(slices.Clone(partial.File.Metrics), unknown))
	}
	for _, run := range o.stack {
		m, err := train.NewMeasurer(on, run, o.metrics)
		if err != nil {
			o.close()
			return nil, err
		}
		o.measurers = append(o.measurers, m)
		o.columns = with(o.columns, m.Columns)
	}
	o.reset()
	return o, nil
}

// with returns columns and those of more of other names.
func with(columns, more []train.Column) []train.Column {
	known := map[string]bool{}
	for _, c := range columns {
		known[c.Name] = true
	}
	return append(columns, slices.DeleteFunc(slices.Clone(more), func(c train.Column) bool { return known[c.Name] })...)
}

// union returns what stands in a or b, each once, ascending; never nil.
func union[T cmp.Ordered](a, b []T) []T {
	all := append(append([]T{}, a...), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

func (o *observer) close() {
	for _, m := range o.measurers {
		m.Close()
	}
}

// reset forgets what was measured.
func (o *observer) reset() {
	o.seen, o.diverged = 0, slices.Repeat([]int32{-1}, len(o.stack))
	n := 0
	for _, c := range o.columns {
		n += len(o.steps)*o.wide(c) + o.often(c)
	}
	o.numbers = slices.Repeat([]float64{math.NaN()}, len(o.stack)*n)
	o.values, o.glanced = make([]map[string][]float64, len(o.stack)), make([]map[string][]float64, len(o.stack))
	left := o.numbers
	take := func(n int) (taken []float64) {
		taken, left = left[:n:n], left[n:]
		return taken
	}
	for i := range o.stack {
		o.values[i], o.glanced[i] = map[string][]float64{}, map[string][]float64{}
		for _, c := range o.columns {
			o.values[i][c.Name] = take(len(o.steps) * o.wide(c))
			if n := o.often(c); n > 0 {
				o.glanced[i][c.Name] = take(n)
			}
		}
	}
}

// often returns how many numbers a column has at glances.
func (o *observer) often(c train.Column) int {
	if c.Often {
		return len(o.glances)
	}
	return 0
}

// wide returns how many numbers a column has at a step.
func (o *observer) wide(c train.Column) int {
	if c.PerTask {
		return o.stack[0].Mixture.Tasks
	}
	return 1
}

// observe measures a snapshot, the next of the steps and glances.
func (o *observer) observe(s train.Snapshot) error {
	for i, state := range s.Runs {
		if o.diverged[i] < 0 && state.Diverged >= 0 {
			run := o.stack[i]
			slog.Warn("run diverged", "width", run.Net.Width, "rate", run.Train.Rate, "seed", run.Train.Seed, "step", state.Diverged)
		}
		o.diverged[i] = int32(state.Diverged)
	}
	at, evaluated := slices.BinarySearch(o.steps, s.Step)
	to := o.values
	if !evaluated {
		at, to = o.seen-at, o.glanced
	}
	if err := o.measure(to, at, s.Runs, nil); err != nil {
		return err
	}
	o.seen++
	return nil
}

// measure takes over the columns of these names (nil: all) to values, as the at-th of their steps.
func (o *observer) measure(to []map[string][]float64, at int, states []train.RunState, names []string) error {
	for i, state := range states {
		measured, err := o.measurers[i].Measure(state)
		if err != nil {
			run := o.stack[i]
			return fmt.Errorf("sweep: width %d, seed %d, step %d: %w", run.Net.Width, run.Train.Seed, state.Step, err)
		}
		for j, column := range o.measurers[i].Columns {
			if measured[j] == nil || names != nil && !slices.Contains(names, column.Name) {
				continue
			}
			n := o.wide(column)
			if len(measured[j]) != n {
				return fmt.Errorf("sweep: column %s has %d numbers: want %d", column.Name, len(measured[j]), n)
			}
			copy(to[i][column.Name][at*n:], measured[j])
		}
	}
	return nil
}

// take takes over what results of the same steps hold, also of metrics that are not known here.
func (o *observer) take(f *results.File) error {
	runs := f.Runs()
	if err := runs.Load(f.Columns); err != nil {
		return err
	}
	o.metrics = union(o.metrics, f.Metrics)
	o.columns = with(o.columns, f.Columns)
	o.reset()
	for i, r := range runs {
		o.diverged[i] = int32(r.Diverged)
		for _, column := range o.columns {
			n := o.wide(column)
			for s, step := range o.steps {
				at, known := r.Index(step)
				for k := 0; known && k < n; k++ {
					o.values[i][column.Name][s*n+k] = r.Value(column.Name, at, k+1)
				}
			}
			if o.often(column) == 0 {
				continue
			}
			steps, values := r.Often(column.Name)
			for g, step := range o.glances {
				if at, known := slices.BinarySearch(steps, step); known {
					o.glanced[i][column.Name][g] = values[at]
				}
			}
		}
	}
	o.seen = len(o.steps) + len(o.glances)
	return nil
}

// file returns what a result file says of the runs.
func (o *observer) file(id backend.Identity) *results.File {
	return &results.File{Stack: o.stack, Steps: o.steps, Glances: o.glances, Columns: o.columns, Metrics: o.metrics, Kept: o.keep, Backend: id}
}

// runs returns the runs with what was measured.
func (o *observer) runs() results.Runs {
	runs := make(results.Runs, len(o.stack))
	for i, run := range o.stack {
		runs[i] = results.NewRun(run, o.steps, o.values[i]).WithGlances(o.glances, o.glanced[i])
		runs[i].Stack, runs[i].Diverged = o.stack.Hash(), int(o.diverged[i])
	}
	return runs
}

// The state of an interrupted training: a sealed safetensors file with the arrays that training goes on from, what was measured so far, and
// how far it is as metadata.
const (
	stateEnding   = ".safetensors"
	measuredArray = "measured"
	divergedArray = "diverged_at"
)

// save keeps a state and what was measured so far; the file appears whole or not at all.
func (o *observer) save(path string, s train.State) error {
	numbers, _ := binary.Append(nil, binary.LittleEndian, o.numbers) // numbers always have a size
	diverged, _ := binary.Append(nil, binary.LittleEndian, o.diverged)
	arrays := append(s.Arrays[:len(s.Arrays):len(s.Arrays)],
		checkpoint.Array{Name: measuredArray, DType: "F64", Dims: []int{len(o.numbers)}, Data: numbers},
		checkpoint.Array{Name: divergedArray, DType: "I32", Dims: []int{len(o.diverged)}, Data: diverged})
	metadata := map[string]string{
		"stack": o.stack.Hash(), "backend": o.on, "asked": o.asked(), "step": strconv.Itoa(s.Step), "seen": strconv.Itoa(o.seen),
	}
	return results.WriteFile(path, func(f *os.File) error { return checkpoint.WriteSealed(f, arrays, metadata) })
}

// asked identifies what is measured and kept, which a state must have been asked, too.
func (o *observer) asked() string { return fmt.Sprint(o.steps, o.glances, o.keep, o.columns) }

// load returns the state that save kept, and takes over what was measured; nil where there is none.
func (o *observer) load(path string) (*train.State, error) {
	arrays, metadata, err := checkpoint.ReadSealed(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	step, err := strconv.Atoi(metadata["step"])
	seen, err2 := strconv.Atoi(metadata["seen"])
	if err := errors.Join(err, err2); err != nil {
		return nil, fmt.Errorf("sweep: %s: %w", path, err)
	}
	n := len(arrays) - 2
	if n < 0 || arrays[n].Name != measuredArray || arrays[n+1].Name != divergedArray ||
		metadata["stack"] != o.stack.Hash() || metadata["backend"] != o.on || metadata["asked"] != o.asked() {
		return nil, fmt.Errorf("sweep: %s holds no state of stack %s on backend %s, or of other questions", path, o.stack.Hash(), o.on)
	}
	numbers, diverged := arrays[n].Data, arrays[n+1].Data
	passed := 0
	for _, steps := range [][]int{o.steps, o.glances} {
		before, now := slices.BinarySearch(steps, step)
		if passed += before; now {
			passed++
		}
	}
	if len(numbers) != 8*len(o.numbers) || len(diverged) != 4*len(o.diverged) || seen != passed ||
		step < 0 || step >= o.steps[len(o.steps)-1] {
		return nil, fmt.Errorf("sweep: %s: %d numbers at step %d, %d evaluations seen: want %d and %d",
			path, len(numbers)/8, step, seen, len(o.numbers), passed)
	}
	binary.Decode(numbers, binary.LittleEndian, o.numbers)
	binary.Decode(diverged, binary.LittleEndian, o.diverged)
	o.seen = seen
	return &train.State{Step: step, Arrays: arrays[:n]}, nil
}
