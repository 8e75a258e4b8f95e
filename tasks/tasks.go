// Package tasks holds the families of tasks that mixtures are made of, one family in each file, all behind one small interface, and the
// registry by which a spec finds them. A family says what a sample of each of its K tasks looks like and how a prediction is scored (the
// tasks of Sec. 3, App. B.1 and App. D of arXiv 2605.29548, and neighbours); how often each task is drawn is the mixture's business, and
// how a sample is predicted is the network's. A family of one's own is one file that calls Register: nothing else knows families by name.
//
// Letters in names and shape comments: B batch, K tasks, D input coordinates, O outputs of a task.
package tasks

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
)

// Kind is a kind of family as a spec names it.
type Kind struct {
	Name  string
	About string // one line for people
	// Engine is part of every run's identity: it changes when the same settings would train to other numbers.
	Engine   int
	Defaults Settings
}

// Settings are those of one kind of family, beside the number of its tasks: a struct, passed by value, whose fields have the tags yaml
// and json of their keys below a spec's mixture, about for people, vary:"input" where families that differ in it share one
// compiled program (by Constants), and role:"seed" for the seed of what a family draws.
type Settings interface {
	// Check returns a *KeyError for the first setting that can't be, with K tasks. It is cheap: nothing is drawn.
	Check(tasks int) error
	// Signature says what samples look like. Settings must have passed Check.
	Signature(tasks int) Signature
	// Family returns the family. Settings must have passed Check.
	Family(tasks int) (Family, error)
}

// Signature is what a sample of a family looks like, as far as networks and plans need to know.
type Signature struct {
	Tasks  int   // K
	Input  Array // x of one sample
	Target Array // y of one sample
	// Outputs is how many numbers O a network predicts for a sample, or for each position of one.
	Outputs int
	// Coded says how a network learns which task a sample is of: by a code of the task among its inputs, with one readout for all
	// tasks (true), or by choosing the task's own readout (false).
	Coded bool
	// Disjoint says that no input matters to two tasks.
	Disjoint bool
	// Unit is that of the loss: "squared error", "bits", …
	Unit string
}

// Array is the shape of an array of one sample.
type Array struct {
	Dims []int
	Type dtypes.DType
}

// Vector returns the shape of n numbers (float32).
func Vector(n int) Array { return Array{[]int{n}, dtypes.Float32} }

// Size returns how many numbers an array has.
func (a Array) Size() int { return Size(a.Dims) }

// Size returns how many numbers an array of some dimensions has.
func Size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// Family is K tasks over one input space. Methods that take graph nodes build a graph: they panic on wrong shapes, as graph builders of
// GoMLX do.
type Family interface {
	Signature() Signature
	// Draw returns inputs x [B, Input...] and targets y [B, Target...] of a batch, given the task of each sample as one-hot rows [B, K].
	Draw(random Random, taskBK *graph.Node) (x, y *graph.Node)
	// Score returns the loss of predictions [..., positions, O] against targets of the same leading axes: a number for each scored position,
	// averaged over the outputs; and how much each position counts, of the same shape or one that broadcasts to it; nil: all count once.
	Score(prediction, target *graph.Node) (loss, weight *graph.Node)
	// Baseline returns, for each task, the expected loss of the best constant prediction; losses are reported relative to it.
	Baseline() []float64
	// Relevant returns the inputs that the target of a task (from 0) depends on, ascending.
	Relevant(task int) []int
}

// Parametric is a Family that differs from others of equal sizes in arrays of numbers alone, so that one compiled program serves them
// all: it takes the arrays as inputs.
type Parametric interface {
	Family
	// Constants returns the arrays (slices).
	Constants() []any
	// Bind returns the family with graph nodes in place of its Constants, for Draw.
	Bind(constants []*graph.Node) Family
}

// Streamed is a Family whose training samples the host gathers, from files that are too large for a device: a step's rows are among what
// its program takes. Samples for evaluation are drawn of what the family is bound to.
type Streamed interface {
	Family
	// Row is what the host gathers for a sample (int32).
	Row() Array
	// Supplies returns an error where there is not as much as so many steps of so many rows take.
	Supplies(steps, rows int) error
	// Gather fills in the rows of the step that follows so many steps: a function of seed and step alone. It may be called concurrently.
	Gather(seed uint32, step, rows int, to []int32) error
	// With returns the family whose Draw makes samples of rows [B, Row...].
	With(rows *graph.Node) Family
}

// Identified is Settings that refer to something outside of a spec, such as files, whose content is part of a run's identity.
type Identified interface {
	Settings
	// Identity returns a digest of the content. Of content that everybody has in a version of their own, published results are of any.
	Identity() (digest string, everybodys bool)
}

// Spectral is a Family of linear regressions on orthogonal blocks, for which package theory has closed forms.
type Spectral interface {
	Family
	// Spectra returns the eigenvalues of each task's covariance [K][d_T], descending; task k owns inputs k·d_T … (k+1)·d_T-1.
	Spectra() [][]float64
}

// Constants returns the arrays of a parametric family; none of others.
func Constants(f Family) []any {
	if p, ok := f.(Parametric); ok {
		return p.Constants()
	}
	return nil
}

// Bind returns a parametric family with nodes in place of its constants, and others as they are.
func Bind(f Family, constants []*graph.Node) Family {
	if p, ok := f.(Parametric); ok {
		return p.Bind(constants)
	}
	return f
}

// Random is a source of random numbers inside a graph. Each call returns fresh numbers.
type Random interface {
	// Normal returns independent standard normal numbers (float32).
	Normal(dims ...int) *graph.Node
	// Uniform returns independent numbers, uniform in [0, 1) (float32).
	Uniform(dims ...int) *graph.Node
	// Bits returns independent fair bits, 0 or 1 (float32).
	Bits(dims ...int) *graph.Node
}

// DefaultKind is the kind that a spec starts from.
const DefaultKind = "regression"

var kinds = map[string]Kind{}

// Register makes a kind of family known to specs. It panics for a name that is taken and for an engine number below 1.
func Register(k Kind) {
	if _, taken := kinds[k.Name]; taken || k.Name == "" || k.Engine < 1 || k.Defaults == nil {
		panic(fmt.Sprintf("tasks: kind %q, engine %d: want a new name, an engine number from 1 on, and default settings", k.Name, k.Engine))
	}
	kinds[k.Name] = k
}

// Named returns the kind of a name.
func Named(name string) (k Kind, ok bool) {
	k, ok = kinds[name]
	return k, ok
}

// Names returns the names of all kinds.
func Names() []string { return slices.Sorted(maps.Keys(kinds)) }

// KeyError says which setting of a spec has an impossible value, and which values are possible.
type KeyError struct {
	Key   string // dotted, as in "mixture.frequency.exponent"; those of Settings count from the settings on
	Value any
	Want  string
}

func (e *KeyError) Error() string { return fmt.Sprintf("%s: %v: want %s", e.Key, e.Value, e.Want) }

// Want returns a *KeyError where a condition on a setting doesn't hold, nil where it does.
func Want(ok bool, key string, value any, want string) error {
	if ok {
		return nil
	}
	return &KeyError{key, value, want}
}
