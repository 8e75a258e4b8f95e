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
	metrics   []string
	measurers []*train.Measurer // of each run
	columns   []train.Column    // of all runs
	steps     []int             // at which to measure
	keep      []int             // steps after which to keep weights
	seen      int               // how many of steps have been measured
	diverged  []int             // of each run
	values    [][][]float64     // [run][column], step after step; [step·K + task] for a column of tasks
}

// newObserver returns the observer of what is asked of a stack and of what partial results, if there are some, have beyond that.
func (w *work) newObserver(i int, on *backend.Backend, partial *results.IncompleteError) (*observer, error) {
	o := &observer{stack: w.Stacks[i], metrics: w.asked, steps: w.want(i).Steps, keep: w.kept(i)}
	if partial != nil {
		o.steps = union(o.steps, partial.File.Steps)
		o.keep = union(o.keep, partial.File.Kept)
		known := slices.DeleteFunc(slices.Clone(partial.File.Metrics), func(name string) bool { return train.CheckMetrics([]string{name}) != nil })
		o.metrics = union(o.metrics, known)
	}
	for _, run := range o.stack {
		m, err := train.NewMeasurer(on, run, o.metrics)
		if err != nil {
			o.close()
			return nil, err
		}
		o.measurers = append(o.measurers, m)
		for _, c := range m.Columns {
			if !slices.Contains(o.columns, c) {
				o.columns = append(o.columns, c)
			}
		}
	}
	o.reset()
	return o, nil
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
	o.seen = 0
	o.diverged = slices.Repeat([]int{-1}, len(o.stack))
	o.values = make([][][]float64, len(o.stack))
	for i := range o.values {
		o.values[i] = make([][]float64, len(o.columns))
		for c, column := range o.columns {
			o.values[i][c] = slices.Repeat([]float64{math.NaN()}, len(o.steps)*o.numbers(column))
		}
	}
}

// numbers returns how many numbers a column has at a step.
func (o *observer) numbers(c train.Column) int {
	if c.PerTask {
		return o.stack[0].Mixture.Tasks
	}
	return 1
}

// observe measures a snapshot, the next of the steps.
func (o *observer) observe(s train.Snapshot) error {
	for i, state := range s.Runs {
		if o.diverged[i] < 0 && state.Diverged >= 0 {
			run := o.stack[i]
			slog.Warn("run diverged", "width", run.Net.Width, "rate", run.Train.Rate, "seed", run.Train.Seed, "step", state.Diverged)
		}
		o.diverged[i] = state.Diverged
	}
	if err := o.measure(o.seen, s.Runs, nil); err != nil {
		return err
	}
	o.seen++
	return nil
}

// measure takes over the columns of these names (nil: all) at the at-th step.
func (o *observer) measure(at int, states []train.RunState, names []string) error {
	for i, state := range states {
		measured, err := o.measurers[i].Measure(state)
		if err != nil {
			run := o.stack[i]
			return fmt.Errorf("sweep: width %d, seed %d, step %d: %w", run.Net.Width, run.Train.Seed, o.steps[at], err)
		}
		for j, column := range o.measurers[i].Columns {
			if measured[j] == nil || names != nil && !slices.Contains(names, column.Name) {
				continue
			}
			n := o.numbers(column)
			if len(measured[j]) != n {
				return fmt.Errorf("sweep: column %s has %d numbers: want %d", column.Name, len(measured[j]), n)
			}
			copy(o.values[i][slices.Index(o.columns, column)][at*n:], measured[j])
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
	for _, c := range f.Columns {
		if !slices.Contains(o.columns, c) {
			o.columns = append(o.columns, c)
		}
	}
	o.reset()
	for i, r := range runs {
		o.diverged[i] = r.Diverged
		for c, column := range o.columns {
			n := o.numbers(column)
			for s, step := range o.steps {
				at, known := r.Index(step)
				for k := 0; known && k < n; k++ {
					o.values[i][c][s*n+k] = r.Value(column.Name, at, k+1)
				}
			}
		}
	}
	o.seen = len(o.steps)
	return nil
}

// file returns what a result file says of the runs.
func (o *observer) file(id backend.Identity) *results.File {
	return &results.File{Stack: o.stack, Steps: o.steps, Columns: o.columns, Metrics: o.metrics, Kept: o.keep, Backend: id}
}

// runs returns the runs with what was measured.
func (o *observer) runs() results.Runs {
	runs := make(results.Runs, len(o.stack))
	for i, run := range o.stack {
		values := map[string][]float64{}
		for c, column := range o.columns {
			values[column.Name] = o.values[i][c]
		}
		runs[i] = results.NewRun(run, o.steps, values)
		runs[i].Stack, runs[i].Diverged = o.stack.Hash(), o.diverged[i]
	}
	return runs
}

// The state of an interrupted training: a sealed safetensors file with the arrays that training goes on from, what was measured so far, and how far
// it is as metadata.
const (
	stateEnding   = ".safetensors"
	measuredArray = "measured"
	divergedArray = "diverged_at"
)

// save keeps a state and what was measured so far; the file appears whole or not at all.
func (o *observer) save(path string, s train.State) error {
	var numbers []byte
	for _, run := range o.values {
		for _, column := range run {
			for _, v := range column {
				numbers = binary.LittleEndian.AppendUint64(numbers, math.Float64bits(v))
			}
		}
	}
	var diverged []byte
	for _, step := range o.diverged {
		diverged = binary.LittleEndian.AppendUint32(diverged, uint32(int32(step)))
	}
	arrays := append(s.Arrays[:len(s.Arrays):len(s.Arrays)],
		checkpoint.Array{Name: measuredArray, DType: "F64", Dims: []int{len(numbers) / 8}, Data: numbers},
		checkpoint.Array{Name: divergedArray, DType: "I32", Dims: []int{len(o.diverged)}, Data: diverged})
	metadata := map[string]string{"stack": o.stack.Hash(), "asked": o.asked(), "step": strconv.Itoa(s.Step), "seen": strconv.Itoa(o.seen)}
	return results.WriteFile(path, func(f *os.File) error { return checkpoint.WriteSealed(f, arrays, metadata) })
}

// asked identifies what is measured and kept, which a state must have been asked, too.
func (o *observer) asked() string { return fmt.Sprint(o.steps, o.keep, o.columns) }

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
	if n < 0 || arrays[n].Name != measuredArray || arrays[n+1].Name != divergedArray || metadata["stack"] != o.stack.Hash() || metadata["asked"] != o.asked() {
		return nil, fmt.Errorf("sweep: %s holds no state of stack %s, or of other questions", path, o.stack.Hash())
	}
	numbers, diverged := arrays[n].Data, arrays[n+1].Data
	size := 0
	for _, run := range o.values {
		for _, column := range run {
			size += len(column)
		}
	}
	passed, now := slices.BinarySearch(o.steps, step)
	if now {
		passed++
	}
	if len(numbers) != 8*size || len(diverged) != 4*len(o.diverged) || seen != passed || step < 0 || step >= o.steps[len(o.steps)-1] {
		return nil, fmt.Errorf("sweep: %s: %d numbers at step %d, %d evaluations seen: want %d and %d", path, len(numbers)/8, step, seen, size, passed)
	}
	for _, run := range o.values {
		for _, column := range run {
			for i := range column {
				column[i], numbers = math.Float64frombits(binary.LittleEndian.Uint64(numbers)), numbers[8:]
			}
		}
	}
	for i := range o.diverged {
		o.diverged[i] = int(int32(binary.LittleEndian.Uint32(diverged[4*i:])))
	}
	o.seen = seen
	return &train.State{Step: step, Arrays: arrays[:n]}, nil
}
