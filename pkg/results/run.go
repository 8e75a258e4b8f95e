// Package results keeps what training measured: one Parquet file for each stack of runs, named by its content, sealed by a digest,
// renamed into place, and readable by pandas, polars and DuckDB as it is; and the weights that were kept, as safetensors. A stack whose
// file exists and holds what is asked is never trained again.
package results

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// Run is one run with its settings and what was measured of it.
type Run struct {
	spec.Run
	ID    string // hash of the settings, spec.Run.Hash
	Stack string // hash of the stack it trained in: another stack rounds otherwise, so the two together identify a result
	// Diverged is the step at which the run diverged (training loss not finite or 1000 times that of the best constant); -1: never.
	Diverged int
	Steps    []int // at which it was evaluated, ascending

	values map[string][]float64 // of each column, [step] or [step][task], of a run in memory
	file   *File                // that the others' columns are loaded from
	at     int                  // index among the file's runs
}

// NewRun returns a run with values in memory, a slice for each column: one number for each step, or K of each.
func NewRun(run spec.Run, steps []int, values map[string][]float64) *Run {
	return &Run{Run: run, ID: run.Hash(), Stack: spec.Stack{run}.Hash(), Diverged: -1, Steps: steps, values: values}
}

// column returns a column as it is loaded, [step] or [step][task].
func (r *Run) column(name string) []float64 {
	if r.file == nil {
		return r.values[name]
	}
	values := r.file.values[name]
	n := len(values) / len(r.file.Stack)
	return values[r.at*n:][:n]
}

// Value returns a column at the i-th of Steps, for a task counted from 1 (of a column of the run's own: for whatever task); NaN where it is
// missing. Columns must have been loaded by Runs.Need.
func (r *Run) Value(column string, i, task int) float64 {
	values := r.column(column)
	switch len(values) {
	case 0:
		return math.NaN()
	case len(r.Steps):
		return values[i]
	}
	return values[i*r.Mixture.Tasks+task-1]
}

// Has reports whether a column is loaded and has a number somewhere.
func (r *Run) Has(column string) bool {
	return slices.ContainsFunc(r.column(column), func(v float64) bool { return !math.IsNaN(v) })
}

// Measured reports whether a column was measured, be it loaded or not.
func (r *Run) Measured(column string) bool {
	if r.file != nil {
		return slices.ContainsFunc(r.file.Columns, func(c train.Column) bool { return c.Name == column })
	}
	_, there := r.values[column]
	return there
}

// Last returns the index of the last of Steps, which is that of the end of training for runs that Need has seen.
func (r *Run) Last() int { return len(r.Steps) - 1 }

// Final returns a column at the end of training.
func (r *Run) Final(column string, task int) float64 { return r.Value(column, r.Last(), task) }

// Index returns where a step stands in Steps.
func (r *Run) Index(step int) (i int, found bool) { return slices.BinarySearch(r.Steps, step) }

// Samples returns how many samples the run has seen after a step.
func (r *Run) Samples(step int) float64 { return float64(step) * float64(r.Train.Batch) }

// Runs are the results of some runs.
type Runs []*Run

// By splits runs by a key and returns the keys in ascending order.
func By[K int | uint32 | float64 | string](runs Runs, key func(*Run) K) ([]K, map[K]Runs) {
	by := map[K]Runs{}
	for _, r := range runs {
		by[key(r)] = append(by[key(r)], r)
	}
	return slices.Sorted(maps.Keys(by)), by
}

// Where returns the runs that pass a test.
func (rs Runs) Where(test func(*Run) bool) Runs {
	return slices.DeleteFunc(slices.Clone(rs), func(r *Run) bool { return !test(r) })
}

// Width, Seed, Rate, Gap and Beta are keys for By.
func Width(r *Run) int      { return r.Net.Width }
func Seed(r *Run) uint32    { return r.Train.Seed }
func Rate(r *Run) float64   { return r.Train.Rate }
func Gap(r *Run) int        { return r.Train.Injection.Gap }
func Beta(r *Run) float64   { return r.Mixture.Frequency.Exponent }
func Parameters(r *Run) int { return r.Run.Parameters() }

// Load loads columns without a design: of runs that are not analysed together.
func (rs Runs) Load(columns []train.Column) error {
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	for _, r := range rs {
		if err := r.load(names); err != nil {
			return err
		}
	}
	return nil
}

// Series returns a column of a task over all Steps.
func (r *Run) Series(column string, task int) []float64 {
	v := make([]float64, len(r.Steps))
	for i := range v {
		v[i] = r.Value(column, i, task)
	}
	return v
}

// Join returns the runs of several sets. It returns an error where a run stands in two stacks: replicates of one run that rounded otherwise
// would count twice.
func Join(sets ...Runs) (Runs, error) {
	all := slices.Concat(sets...)
	return all, unique(all)
}

func unique(runs Runs) error {
	stacks := map[string]string{}
	for _, r := range runs {
		before, found := stacks[r.ID]
		switch {
		case !found:
			stacks[r.ID] = r.Stack
		case before == r.Stack:
			return fmt.Errorf("results: run %s (width %d, seed %d) twice: want each once", r.ID, r.Net.Width, r.Train.Seed)
		default:
			return fmt.Errorf("results: run %s (width %d, seed %d) of stacks %s and %s, which round otherwise: "+
				"want one of the two, chosen by its stack", r.ID, r.Net.Width, r.Train.Seed, before, r.Stack)
		}
	}
	return nil
}
