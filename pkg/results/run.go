// Package results keeps what training measured: one Parquet file for each stack of runs, named by its content, sealed by a digest,
// renamed into place, and readable by pandas, polars and DuckDB as it is; and the weights that were kept, as safetensors. A stack whose
// file exists and holds what is asked is never trained again.
package results

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// Run is one run with its settings and what was measured of it.
type Run struct {
	spec.Run
	ID    string // hash of the settings, spec.Run.Hash
	Stack string // hash of the stack it trained in: another stack rounds otherwise, so the two together identify a result
	Scale string // of the sweep that asked for it, for people; may be empty
	// Diverged is the step at which the run diverged (training loss not finite or 1000 times that of the best constant); -1: never.
	Diverged int
	Steps    []int // at which it was evaluated, ascending
	Glances  []int // further steps, ascending, at which what is known often was measured: see Often

	values map[string][]float64 // of each column, [step] or [step][task], of a run in memory
	seen   map[string][]float64 // of each column that is known often, [glance], of a run in memory
	file   *File                // that the others' columns are loaded from
	at     int                  // index among the file's runs
}

// NewRun returns a run with values in memory, a slice for each column: one number for each step, or K of each.
func NewRun(run spec.Run, steps []int, values map[string][]float64) *Run {
	return &Run{Run: run, ID: run.Hash(), Stack: spec.Stack{run}.Hash(), Diverged: -1, Steps: steps, values: values}
}

// WithGlances returns the run with values of columns that are known often, a number for each of further steps.
func (r *Run) WithGlances(steps []int, values map[string][]float64) *Run {
	r.Glances, r.seen = steps, values
	return r
}

// glanced returns a column at Glances; empty where it isn't known often.
func (r *Run) glanced(name string) []float64 {
	if r.file == nil {
		return r.seen[name]
	}
	return r.own(r.file.seen[name])
}

// own returns the run's part of what its file has of all runs.
func (r *Run) own(values []float64) []float64 {
	n := len(values) / len(r.file.Stack)
	return values[r.at*n:][:n]
}

// glance returns a column at the i-th of Glances; nil where it isn't known often.
func (r *Run) glance(column string, i int) any {
	if values := r.glanced(column); len(values) > 0 {
		return values[i]
	}
	return nil
}

// Often returns a column of the run's own at all steps at which it is known, ascending, and these: Steps, and for what is known often
// Glances, too.
func (r *Run) Often(column string) (steps []int, values []float64) {
	seen := r.glanced(column)
	for i, step := range r.Steps {
		for n := len(steps) - i; n < len(seen) && r.Glances[n] < step; n++ {
			steps, values = append(steps, r.Glances[n]), append(values, seen[n])
		}
		steps, values = append(steps, step), append(values, r.Value(column, i, 1))
	}
	return steps, values
}

// column returns a column as it is loaded, [step] or [step][task].
func (r *Run) column(name string) []float64 {
	if r.file == nil {
		return r.values[name]
	}
	return r.own(r.file.values[name])
}

// Value returns a column at the i-th of Steps, for a task counted from 1 (of a column of the run's own: for whatever task); NaN where it is
// missing. It panics, as an index out of range does, for a task that is none, a step that isn't there, and a column that was measured and
// not loaded, by Runs.Need.
func (r *Run) Value(column string, i, task int) float64 {
	values := r.column(column)
	switch {
	case i < 0 || i >= len(r.Steps):
		panic(fmt.Sprintf("results: step %d of %s: want 0 … %d, as Last and Index return them", i, column, len(r.Steps)-1))
	case len(values) == 0 && r.file != nil && r.Measured(column):
		panic(fmt.Sprintf("results: %s is not loaded: cell.Check(runs.Need(results.Design{Columns: []string{%q}})) loads it, and says in what "+
			"runs may differ", column, column))
	case len(values) == 0:
		return math.NaN()
	case len(values) == len(r.Steps):
		return values[i]
	case task < 1 || task > r.Mixture.Tasks:
		panic(fmt.Sprintf("results: task %d of %s: want 1 … %d", task, column, r.Mixture.Tasks))
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

// Final returns a column at the end of training, for a task counted from 1.
func (r *Run) Final(column string, task int) float64 { return r.Value(column, r.Last(), task) }

// Index returns where a step stands in Steps.
func (r *Run) Index(step int) (i int, found bool) { return slices.BinarySearch(r.Steps, step) }

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
	for _, r := range rs {
		if err := r.load(names(columns)); err != nil {
			return err
		}
	}
	return nil
}

// names returns those of columns.
func names(columns []train.Column) []string {
	return xslices.Map(columns, func(c train.Column) string { return c.Name })
}

// files returns the files that runs are of, each once.
func (rs Runs) files() (files []*File) {
	for _, r := range rs {
		if r.file != nil && !slices.Contains(files, r.file) {
			files = append(files, r.file)
		}
	}
	return files
}

// Series returns a column of a task over all Steps.
func (r *Run) Series(column string, task int) []float64 {
	return xslices.Map(xslices.Iota(0, len(r.Steps)), func(i int) float64 { return r.Value(column, i, task) })
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

// Design is what an analysis takes its runs for: any difference between them that it doesn't know of is an error, not a spread.
type Design struct {
	Vary    []string // keys of the settings in which runs may differ, as in "net.width"; "mixture.*": all below; seeds may always differ
	Columns []string // that it reads
	Final   bool     // it reads them at the end of training alone
	Absent  bool     // it counts runs that are missing as failures; else they are an error
}

// allows reports whether runs may differ in a setting.
func (d Design) allows(s spec.Setting) bool {
	return s.Seed || !s.Path || slices.ContainsFunc(d.Vary, func(v string) bool {
		prefix, all := strings.CutSuffix(v, "*")
		return v == s.Key || all && strings.HasPrefix(s.Key, prefix)
	})
}

// Need loads the columns of a design and checks the runs against it. It returns an error that names the setting in which runs differ
// though they must not, a run that stands there twice, a column that a run has not, with the command that measures it, a column
// that is known at the end alone where it is read at all steps, settings with fewer seeds than others, and a run that did not train to its
// end.
func (rs Runs) Need(d Design) error {
	if len(rs) == 0 {
		return fmt.Errorf("results: no runs: want those of a sweep that ran to its end")
	}
	if err := cmp.Or(unique(rs), rs.alike(d), rs.even(d)); err != nil {
		return err
	}
	for _, r := range rs {
		if len(r.Steps) == 0 || r.Steps[r.Last()] != r.Train.Steps {
			return fmt.Errorf("results: run %s (width %d, seed %d) was not evaluated at its last step, %d: want runs that ran to their end",
				r.ID, r.Net.Width, r.Train.Seed, r.Train.Steps)
		}
		if err := r.load(d.Columns); err != nil {
			return err
		}
		if d.Final {
			continue
		}
		if c := slices.IndexFunc(d.Columns, r.lately); c >= 0 {
			return fmt.Errorf("results: %s of run %s (width %d, seed %d) is known after its last step alone, of weights that were kept: "+
				"want it at all of its steps; delete %s, and `raretask sweep run` trains it again",
				d.Columns[c], r.ID, r.Net.Width, r.Train.Seed, r.file.Path)
		}
	}
	if OnNeed == nil {
		return nil
	}
	for _, f := range rs.files() {
		if err := OnNeed(f, d.Columns, d.Final); err != nil {
			return err
		}
	}
	return nil
}

// lately reports whether a column is known at the last of several steps and at no other (before the first there is no training loss).
func (r *Run) lately(column string) bool {
	last := r.Last()
	known := func(i int) bool {
		for task := range r.Mixture.Tasks {
			if !math.IsNaN(r.Value(column, i, task+1)) {
				return true
			}
		}
		return false
	}
	trained := slices.IndexFunc(r.Steps, func(step int) bool { return step > 0 })
	if r.file == nil || trained < 0 || trained == last || !known(last) {
		return false
	}
	for i := range last {
		if known(i) {
			return false
		}
	}
	return true
}

// alike returns an error for the first setting in which runs differ though the design doesn't know.
func (rs Runs) alike(d Design) error {
	values := map[string]string{}
	for _, r := range rs {
		for _, s := range r.Settings() {
			if d.allows(s) {
				continue
			}
			value := fmt.Sprint(s.Value)
			before, found := values[s.Key]
			if found && before != value {
				return fmt.Errorf("results: runs differ in %s (%s and %s): want runs that differ in %s alone; select some first, by "+
					"Where(func(r *results.Run) bool { … }), or let figure.Loss draw all",
					s.Key, before, value, strings.Join(append(slices.Clone(d.Vary), "seeds"), ", "))
			}
			values[s.Key] = value
		}
	}
	return nil
}

// even returns an error where settings have fewer seeds than others: a run that is missing would be averaged away.
func (rs Runs) even(d Design) error {
	if d.Absent {
		return nil
	}
	settings, seeds := xslices.Map(rs, (*Run).without), map[string]int{}
	for _, s := range settings {
		seeds[s]++
	}
	most := slices.Max(slices.Collect(maps.Values(seeds)))
	for i, r := range rs {
		if n := seeds[settings[i]]; n < most {
			return fmt.Errorf("results: %d seeds of runs like %s (width %d, seed %d) where others have %d: a run is missing",
				n, r.ID, r.Net.Width, r.Train.Seed, most)
		}
	}
	return nil
}

// without returns the run's settings but for its seeds, as a text.
func (r *Run) without() string {
	var all []any
	for _, s := range r.Settings() {
		if !s.Seed && s.Path {
			all = append(all, s.Value)
		}
	}
	return fmt.Sprintln(all...)
}

// OnNeed, if set, is told which columns of which files are needed, and whether at the end of training alone.
var OnNeed func(f *File, columns []string, final bool) error
