// Package spec says what a run is: typed settings, their strict YAML form, presets for every figure, grids of settings, and the hash that
// is a run's identity. A sweep's runs, and the stacks in which they train together, are a function of the spec alone. Families of tasks and
// kinds of nets bring their own settings (packages tasks and net); no name of one stands here.
package spec

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/support/xslices"

	_ "raretask/pkg/corpus" // a spec may name its family
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/theory"
	"raretask/tasks"
)

// Run is everything that decides one training run, save the backend it runs on.
//
// Fields have the tags of Settings: vary:"run" for what may differ among runs that train side by side, vary:"input" for what stacks of one
// compiled program may differ in, hash:"-" for what doesn't change the path of the weights, and role:"seed" for seeds.
type Run struct {
	Mixture Mixture `yaml:"mixture" json:"mixture"`
	Net     Net     `yaml:"net" json:"net"`
	Train   Train   `yaml:"train" json:"train"`
}

// Mixture is which tasks there are and how often each is drawn (Sec. 3, App. B.1).
type Mixture struct {
	Family    string         `yaml:"family" json:"family" about:"kind of tasks"`
	Tasks     int            `yaml:"tasks" json:"tasks" about:"number of tasks K"`
	Settings  tasks.Settings `yaml:",inline" json:"-"` // of the family
	Frequency Frequency      `yaml:"frequency" json:"frequency"`
}

// Frequency is a law for the tasks' frequencies.
type Frequency struct {
	Law      string  `yaml:"law" json:"law" vary:"input" about:"power: pi_k proportional to k^-exponent; given: to the k-th of shares"`
	Exponent float64 `yaml:"exponent" json:"exponent" vary:"input" about:"power: beta; alpha + 1 of multitask sparse parity"`
	Shares   string  `yaml:"shares" json:"shares,omitzero" vary:"input" hash:"added" about:"given: K numbers between spaces, as in 12 5 1 1"`
}

// Net is the network that is trained.
type Net struct {
	Kind     string       `yaml:"kind" json:"kind" about:"kind of network"`
	Width    int          `yaml:"width" json:"width" vary:"run" about:"neurons of a hidden layer N"`
	Settings net.Settings `yaml:",inline" json:"-"` // of the kind
	// Parameterization is how initial values and learning rates change with width: standard, or mup (Yang & Hu,
	// arXiv 2203.03466, for Adam), under which the best rate of one width is about that of all.
	Parameterization string `yaml:"parameterization" json:"parameterization" about:"standard, or mup (Yang & Hu, arXiv 2203.03466)"`
	Base             int    `yaml:"base" json:"base" about:"mup: the width at which rates are those of standard"`
}

// NewNet returns a net of a kind, with the kind's default settings.
func NewNet(kind string, width int) Net {
	k, _ := net.Named(kind) // an unknown one has no settings, which Validate says
	return Net{Kind: kind, Width: width, Settings: k.Defaults, Parameterization: "standard"}
}

// Shrink returns base/width under mup, the factor of the readout's output and of the learning rate of weights between
// hidden layers; 1 under the standard parameterization.
func (n Net) Shrink() float64 {
	if n.Parameterization != "mup" {
		return 1
	}
	return float64(n.Base) / float64(n.Width)
}

// Train is how the network is trained.
type Train struct {
	Batch       int        `yaml:"batch" json:"batch" about:"samples in a step B"`
	Accumulate  int        `yaml:"accumulate" json:"accumulate,omitzero" hash:"added" about:"parts of a batch, one after the other; 0: whole"`
	Steps       int        `yaml:"steps" json:"steps" vary:"input" about:"optimizer steps of the whole run"`
	Optimizer   string     `yaml:"optimizer" json:"optimizer" about:"adamw, adam (without decay) or sgd (neither moments nor decay)"`
	Rate        float64    `yaml:"rate" json:"rate" vary:"run" about:"peak learning rate"`
	Schedule    string     `yaml:"schedule" json:"schedule" about:"after warm-up: constant, inverse-sqrt (sqrt(warmup/t)), cosine (to floor)"`
	Warmup      int        `yaml:"warmup" json:"warmup" about:"steps until the peak rate"`
	Floor       float64    `yaml:"floor" json:"floor" about:"cosine: share of the peak rate at the last step"`
	Horizon     int        `yaml:"horizon" json:"horizon,omitzero" hash:"added" about:"cosine: steps until the floor; 0: the last"`
	Betas       [2]float64 `yaml:"betas,flow" json:"betas" about:"adam: how much of the first and the second moment a step keeps"`
	Epsilon     float64    `yaml:"epsilon" json:"epsilon" about:"adam: added to the root of the second moment"`
	Decay       float64    `yaml:"decay" json:"decay" about:"decoupled weight decay"`
	Decays      string     `yaml:"decays" json:"decays" about:"which weights decay: all, or matrices (no biases and gains)"`
	Clip        float64    `yaml:"clip" json:"clip" about:"largest gradient norm of a run; 0: no clipping"`
	Products    string     `yaml:"products" json:"products" about:"type of matrix products: float32 or bfloat16; all else is float32"`
	Seed        uint32     `yaml:"seed" json:"seed" vary:"run" role:"seed" about:"of the initial values, and of the data unless data differs"`
	Data        *uint32    `yaml:"data" json:"data,omitempty" vary:"input" role:"seed" about:"seed of the data stream; as seed where absent"`
	Evaluations int        `yaml:"evaluations" json:"evaluations" vary:"input" hash:"-" about:"about this many, log-spaced, with the last"`

	Injection    Injection    `yaml:"injection" json:"injection,omitzero"`       // none unless it names a task
	Intervention Intervention `yaml:"intervention" json:"intervention,omitzero"` // none unless it has a kind
}

// Injection is a schedule by which one task enters training.
type Injection = mixture.Injection

// Intervention changes how one task's gradient meets that of all others, to test whether the others overwrite it, or how wide a net is.
//
//	{kind: weight, task: 16, factor: 8}  the task's loss counts 8 times
//	{kind: alone, task: 16}              the task's samples are those of the mixture, and no other task's count
//	{kind: surgery, task: 16}            where the two gradients of a step conflict, each is projected onto the plane normal to
//	                                     the other (PCGrad, arXiv 2001.06782, with two tasks: this one and the rest)
//	{kind: surgery, task: 16, memory: .99}  the same, with running means of the two in place of the other
//	{kind: surgery-update, task: 16}     the same with the two parts of the optimizer's update in place of gradients
//	{kind: mask, task: 16}               the others' gradient doesn't touch the first layer's weights from the task's own inputs
//	{kind: mask-matched, task: 16}       the same, but clipping and the optimizer's second moment see the gradient without the mask, so
//	                                     that the task's own effective rate stays what it was
//	{kind: grow, neurons: 32, step: 6000}    until so many steps are done only the first 32 neurons of a hidden layer take part
//	{kind: shrink, neurons: 32, step: 6000}  from then on only they do
type Intervention struct {
	Kind    string  `yaml:"kind" json:"kind" about:"weight, alone, surgery[-update], mask[-matched] of a task; grow, shrink: of the width"`
	Task    int     `yaml:"task" json:"task" about:"task of the intervention, 1 = most frequent; none of grow and shrink"`
	Factor  float64 `yaml:"factor" json:"factor,omitzero" about:"weight: factor of that task's loss"`
	Memory  float64 `yaml:"memory" json:"memory,omitzero" hash:"added" about:"surgery: decay of gradients' running means; 0: the step's own"`
	Neurons int     `yaml:"neurons" json:"neurons,omitzero" hash:"added" about:"grow, shrink: neurons of each hidden layer that stay"`
	Step    int     `yaml:"step" json:"step,omitzero" hash:"added" about:"grow, shrink: steps done when the width changes"`
}

// Resizes reports whether the width changes in mid-training.
func (i Intervention) Resizes() bool { return i.Kind == "grow" || i.Kind == "shrink" }

// Active returns how many neurons of a hidden layer of some width take part once so many steps are done.
func (i Intervention) Active(step, width int) int {
	if i.Kind == "grow" && step < i.Step || i.Kind == "shrink" && step >= i.Step {
		return min(i.Neurons, width)
	}
	return width
}

// Masks reports whether the others' gradient is masked on the task's own inputs.
func (i Intervention) Masks() bool { return i.Kind == "mask" || i.Kind == "mask-matched" }

// Means returns how many running means of a weight's gradient the intervention keeps.
func (i Intervention) Means() int {
	if i.Memory > 0 || i.Kind == "surgery-update" {
		return 2
	}
	return 0
}

// Default returns the settings that a spec starts from: the reduced scale at which the theory shows on two cores.
func Default() Run {
	family, _ := tasks.Named(tasks.DefaultKind)
	return Run{
		Mixture: Mixture{Family: family.Name, Tasks: 16, Settings: family.Defaults, Frequency: Frequency{Law: "power", Exponent: 1}},
		Net:     NewNet(net.DefaultKind, 32),
		Train: Train{Batch: 256, Steps: 20000, Optimizer: "adamw", Rate: 3e-3, Schedule: "inverse-sqrt", Warmup: 500, Betas: [2]float64{.9, .999},
			Epsilon: 1e-8, Decay: .01, Decays: "all", Clip: 1, Products: "float32", Evaluations: 40},
	}
}

// DataSeed returns the seed of the data stream.
func (t Train) DataSeed() uint32 {
	if t.Data != nil {
		return *t.Data
	}
	return t.Seed
}

// Shares returns the setting mixture.frequency.shares of frequencies.
func Shares(frequencies []float64) string {
	return strings.Join(xslices.Map(frequencies, func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }), " ")
}

// numbers returns the shares; nil where they are no numbers.
func (f Frequency) numbers() (all []float64) {
	for _, text := range strings.Fields(f.Shares) {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil
		}
		all = append(all, v)
	}
	return all
}

// Frequencies returns pi_k, most frequent first under a power law; they sum to one.
func (m Mixture) Frequencies() []float64 {
	pi := make([]float64, m.Tasks)
	given := m.Frequency.numbers()
	sum := 0.
	for k := range pi {
		if m.Frequency.Law == "given" {
			pi[k] = given[k]
		} else {
			pi[k] = math.Pow(float64(k+1), -m.Frequency.Exponent)
		}
		sum += pi[k]
	}
	for k := range pi {
		pi[k] /= sum
	}
	return pi
}

// Signature returns what samples of the mixture look like.
func (m Mixture) Signature() tasks.Signature { return m.Settings.Signature(m.Tasks) }

// Mixture returns the mixture that batches are drawn of.
func (m Mixture) Mixture() (*mixture.Mixture, error) {
	family, err := m.Settings.Family(m.Tasks)
	if err != nil {
		return nil, err
	}
	return mixture.New(family, m.Frequencies())
}

// Theory returns the mixture as package theory takes it; an error where the family has no closed forms.
func (m Mixture) Theory() (theory.Mixture, error) {
	if m.Signature().Disjoint { // else there are none, and what others draw may take long
		family, err := m.Settings.Family(m.Tasks)
		if err != nil {
			return theory.Mixture{}, err
		}
		if spectral, ok := family.(tasks.Spectral); ok {
			return theory.Mixture{Frequency: m.Frequencies(), Spectrum: spectral.Spectra()}, nil
		}
	}
	const want = "a family with closed forms: regression, or one of yours that implements tasks.Spectral"
	return theory.Mixture{}, &KeyError{Key: "mixture.family", Value: m.Family, Want: want}
}

// New returns the run's net.
func (r Run) New() net.Net {
	n := r.Net
	shape := net.Shape{Width: n.Width, Mup: n.Parameterization == "mup", Shrink: n.Shrink(), Products: dtypes.Float32}
	if r.Train.Products == "bfloat16" {
		shape.Products = dtypes.BFloat16
	}
	return n.Settings.Net(r.Mixture.Signature(), shape)
}

// Parameters returns how many numbers the run trains.
func (r Run) Parameters() int {
	n := 0
	for _, w := range r.New().Weights() {
		n += w.Size()
	}
	return n
}

// KeyError says which setting has an impossible value, and which values are possible.
type KeyError = tasks.KeyError

// under puts a prefix before the key of a *KeyError.
func under(prefix string, err error) error {
	if bad, ok := err.(*KeyError); ok {
		return &KeyError{Key: prefix + "." + bad.Key, Value: bad.Value, Want: bad.Want}
	}
	return err
}

// Bounds of settings. They keep every product of sizes a whole number, counts of samples exact in float32, and steps in an int32.
const (
	largestCount = 1 << 20 // tasks, widths
	largestBatch = 1 << 24 // float32 counts no further
	largestEvals = 10_000
	largestShare = 1e100
)

// Validate returns a *KeyError for the first impossible setting.
func (r Run) Validate() error {
	m := r.Mixture
	if err := cmp.Or(
		tasks.Want(m.Settings != nil, "mixture.family", m.Family, strings.Join(tasks.Names(), " or ")),
		tasks.Want(m.Tasks >= 1 && m.Tasks <= largestCount, "mixture.tasks", m.Tasks, fmt.Sprintf("1 … %d", largestCount)),
		oneOf("mixture.frequency.law", m.Frequency.Law, "power", "given"),
		tasks.Want(m.Frequency.Law == "given" || m.Frequency.Shares == "", "mixture.frequency.shares", m.Frequency.Shares,
			"them left out, or mixture.frequency.law: given"),
		tasks.Want(m.Frequency.Exponent >= 0 && m.Frequency.Exponent <= 100, "mixture.frequency.exponent", m.Frequency.Exponent, "0 … 100"),
		tasks.Want(r.Net.Settings != nil, "net.kind", r.Net.Kind, strings.Join(net.Names(), " or ")),
	); err != nil {
		return err
	}
	if err := m.Settings.Check(m.Tasks); err != nil {
		return under("mixture", err)
	}
	if shares := m.Frequency.numbers(); m.Frequency.Law == "given" && (len(shares) != m.Tasks || !(slices.Min(shares) > 0) ||
		slices.ContainsFunc(shares, func(v float64) bool { return !(v <= largestShare) })) {
		return tasks.Want(false, "mixture.frequency.shares", m.Frequency.Shares, fmt.Sprintf("%d numbers > 0 between spaces", m.Tasks))
	}
	frequencies := m.Frequencies()
	if !mixture.Drawable(frequencies) {
		const want = "frequencies less unlike, or fewer tasks: the rarest could not be drawn at its frequency"
		return cmp.Or(tasks.Want(m.Frequency.Law == "power", "mixture.frequency.shares", m.Frequency.Shares, want),
			tasks.Want(false, "mixture.frequency.exponent", m.Frequency.Exponent, want))
	}
	if err := cmp.Or(
		r.Net.validate(m.Signature()), r.Train.validate(),
		under("train.injection", r.Train.Injection.Check(r.Train.Batch, frequencies)),
		under("train.intervention", r.Train.Intervention.check(m)),
		tasks.Want(r.Train.Intervention.Kind != "surgery-update" || r.Train.Optimizer != "sgd", "train.intervention.kind", "surgery-update",
			"surgery for sgd, whose update is the gradient"),
	); err != nil || r.Train.Intervention == (Intervention{}) {
		return err
	}
	i, n := r.Train.Intervention, r.New()
	_, receptive := n.(net.Receptive)
	_, shallow := n.(net.Shallow)
	return cmp.Or(
		tasks.Want(receptive || !i.Masks(), "train.intervention.kind", i.Kind,
			fmt.Sprintf("weight or surgery: %s doesn't say which of its weights see the inputs (net.Receptive)", r.Net.Kind)),
		tasks.Want(shallow || !i.Resizes(), "train.intervention.kind", i.Kind,
			fmt.Sprintf("weight or surgery: %s has no hidden layers of neurons (net.Shallow)", r.Net.Kind)),
	)
}

// oneOf returns a *KeyError where a setting is not one of the texts allowed.
func oneOf(key, value string, allowed ...string) error {
	last := len(allowed) - 1
	return tasks.Want(slices.Contains(allowed, value), key, value, strings.Join(allowed[:last], ", ")+" or "+allowed[last])
}

func (n Net) validate(of tasks.Signature) error {
	mup := n.Parameterization == "mup"
	kind, _ := net.Named(n.Kind)
	if err := cmp.Or(
		tasks.Want(n.Width >= 1 && n.Width <= largestCount, "net.width", n.Width, fmt.Sprintf("1 … %d", largestCount)),
		oneOf("net.parameterization", n.Parameterization, "standard", "mup"),
		tasks.Want(!mup || kind.Mup, "net.parameterization", n.Parameterization, "standard: "+n.Kind+" knows no other"),
		tasks.Want(!mup || n.Base >= 1 && n.Base <= largestCount, "net.base", n.Base,
			"at least 1 with mup: the width at which rates are those of standard"),
		tasks.Want(mup || n.Base == 0, "net.base", n.Base, "it left out, or net.parameterization: mup"),
	); err != nil {
		return err
	}
	return under("net", n.Settings.Check(n.Width, of))
}

// single reports whether a number > 0 is one to programs, too, which compute in float32.
func single(v float64) bool { return v >= 0x1p-126 && v <= math.MaxFloat32 }

const singles = " (1.2e-38 … 3.4e38, of float32)"

func (t Train) validate() error {
	steps := fmt.Sprintf("1 … %d steps", math.MaxInt32)
	share := func(v float64) bool { return v >= 0 && v < 1 }
	atLeast0 := func(v float64) bool { return v == 0 || single(v) }
	beta := func(v float64) bool { return atLeast0(v) && float32(v) < 1 }
	return cmp.Or(
		tasks.Want(t.Batch >= 1 && t.Batch <= largestBatch, "train.batch", t.Batch, fmt.Sprintf("1 … %d", largestBatch)),
		tasks.Want(t.Accumulate >= 0 && t.Batch%max(1, t.Accumulate) == 0, "train.accumulate", t.Accumulate,
			fmt.Sprintf("0, or parts of equal size of train.batch (%d)", t.Batch)),
		tasks.Want(t.Accumulate <= 1 || t.Intervention.Kind == "" || t.Intervention.Resizes(), "train.accumulate", t.Accumulate,
			"0 beside train.intervention.kind: "+t.Intervention.Kind),
		tasks.Want(t.Steps >= 1 && t.Steps <= math.MaxInt32, "train.steps", t.Steps, steps),
		oneOf("train.optimizer", t.Optimizer, "adamw", "adam", "sgd"),
		tasks.Want(single(t.Rate), "train.rate", t.Rate, "a number > 0"+singles),
		oneOf("train.schedule", t.Schedule, "inverse-sqrt", "constant", "cosine"),
		tasks.Want(t.Warmup >= 1 && t.Warmup <= math.MaxInt32, "train.warmup", t.Warmup, steps),
		tasks.Want(share(t.Floor), "train.floor", t.Floor, "0 … 1, below 1"),
		tasks.Want(t.Schedule == "cosine" || t.Floor == 0, "train.floor", t.Floor, "it left out: only cosine has a floor"),
		tasks.Want(t.Schedule != "cosine" || t.Warmup < t.Steps, "train.warmup", t.Warmup,
			fmt.Sprintf("less than train.steps (%d): cosine ends with the last step", t.Steps)),
		tasks.Want(t.Horizon == 0 || t.Horizon >= t.Steps && t.Horizon <= math.MaxInt32, "train.horizon", t.Horizon,
			fmt.Sprintf("0, or at least train.steps (%d)", t.Steps)),
		tasks.Want(t.Schedule == "cosine" || t.Horizon == 0, "train.horizon", t.Horizon, "it left out: only cosine has a horizon"),
		tasks.Want(beta(t.Betas[0]) && beta(t.Betas[1]), "train.betas", t.Betas, "two numbers 0 … 1, below 1"+singles),
		tasks.Want(single(t.Epsilon) && t.Epsilon <= 1, "train.epsilon", t.Epsilon, "a number > 0, at most 1"+singles),
		tasks.Want(atLeast0(t.Decay), "train.decay", t.Decay, "a number >= 0"+singles),
		tasks.Want(t.Optimizer == "adamw" || t.Decay == 0, "train.decay", t.Decay, fmt.Sprintf("0 for %s; adamw decays weights", t.Optimizer)),
		oneOf("train.decays", t.Decays, "all", "matrices"),
		tasks.Want(atLeast0(t.Clip), "train.clip", t.Clip, "a number >= 0 (0: no clipping)"+singles),
		oneOf("train.products", t.Products, "float32", "bfloat16"),
		tasks.Want(t.Evaluations >= 1 && t.Evaluations <= largestEvals, "train.evaluations", t.Evaluations, fmt.Sprintf("1 … %d", largestEvals)),
	)
}

// check returns a *KeyError for the first impossible setting of an intervention in a mixture.
func (i Intervention) check(m Mixture) error {
	if i == (Intervention{}) {
		return nil
	}
	return cmp.Or(
		oneOf("kind", i.Kind, "weight", "alone", "surgery", "surgery-update", "mask", "mask-matched", "grow", "shrink"),
		tasks.Want(i.Resizes() || i.Task >= 1 && i.Task <= m.Tasks, "task", i.Task, fmt.Sprintf("1 … mixture.tasks (%d)", m.Tasks)),
		tasks.Want(!i.Resizes() || i.Task == 0, "task", i.Task, "it left out: "+i.Kind+" is of the whole net"),
		tasks.Want(!i.Resizes() || i.Neurons >= 1 && i.Neurons <= largestCount, "neurons", i.Neurons, fmt.Sprintf("1 … %d", largestCount)),
		tasks.Want(!i.Resizes() || i.Step >= 1 && i.Step <= math.MaxInt32, "step", i.Step, fmt.Sprintf("1 … %d steps", math.MaxInt32)),
		tasks.Want(i.Resizes() || i.Neurons == 0, "neurons", i.Neurons, "it left out: only grow and shrink have it"),
		tasks.Want(i.Resizes() || i.Step == 0, "step", i.Step, "it left out: only grow and shrink have it"),
		tasks.Want(i.Kind != "weight" || single(i.Factor), "factor", i.Factor, "a number > 0"+singles),
		tasks.Want(i.Kind == "weight" || i.Factor == 0, "factor", i.Factor, "it left out: only weight has a factor"),
		tasks.Want(i.Memory >= 0 && i.Memory < 1, "memory", i.Memory, "a number from 0 to below 1"),
		tasks.Want(i.Kind == "surgery" || i.Memory == 0, "memory", i.Memory, "it left out: only surgery has a memory"),
		tasks.Want(!i.Masks() || m.Signature().Disjoint, "kind", i.Kind,
			fmt.Sprintf("weight or surgery: tasks of %s share their inputs, so that none can be masked", m.Family)),
	)
}

// MarshalJSON writes the family's settings beside the mixture's own.
func (m Mixture) MarshalJSON() ([]byte, error) {
	type plain Mixture
	return beside(plain(m), m.Settings)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Mixture) UnmarshalJSON(text []byte) error {
	type plain Mixture
	return read(text, (*plain)(m), m.choose, &m.Settings)
}

// MarshalJSON writes the kind's settings beside the net's own.
func (n Net) MarshalJSON() ([]byte, error) {
	type plain Net
	return beside(plain(n), n.Settings)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Net) UnmarshalJSON(text []byte) error {
	type plain Net
	return read(text, (*plain)(n), n.choose, &n.Settings)
}
