// Package spec says what a run is: typed settings, their strict YAML form, presets for every figure, grids of
// settings, and the hash that is a run's identity. A sweep's runs, and the stacks in which they train together,
// are a function of the spec alone.
package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"raretask/tasks"
)

// Run is everything that decides one training run, save the backend it runs on.
type Run struct {
	Mixture Mixture `yaml:"mixture" json:"mixture"`
	Net     Net     `yaml:"net" json:"net"`
	Train   Train   `yaml:"train" json:"train"`
}

// Mixture is which tasks there are and how often each is drawn (Sec. 3, App. B.1).
type Mixture struct {
	Family    string     `yaml:"family" json:"family"`       // regression | parity
	Tasks     int        `yaml:"tasks" json:"tasks"`         // K
	Dim       int        `yaml:"dim" json:"dim"`             // regression: D, input dimensions; parity: n, random bits
	Block     int        `yaml:"block" json:"block"`         // regression: d_T, directions of a task; parity: k, bits of a task
	Alpha     [2]float64 `yaml:"alpha,flow" json:"alpha"`    // regression: spectrum exponent of the most frequent … the rarest task, on a uniform grid
	Frequency Frequency  `yaml:"frequency" json:"frequency"` // pi_k
	Seed      uint32     `yaml:"seed" json:"seed,omitempty"` // parity: which subsets of the bits are the tasks'
}

// Frequency is a law for the tasks' frequencies.
type Frequency struct {
	Law      string  `yaml:"law" json:"law"`           // power: pi_k proportional to k^-exponent
	Exponent float64 `yaml:"exponent" json:"exponent"` // beta; alpha + 1 of multitask sparse parity
}

// Net is the network that is trained.
type Net struct {
	Kind  string `yaml:"kind" json:"kind"`             // bottleneck (linear) | mlp (ReLU)
	Width int    `yaml:"width" json:"width"`           // N, neurons of a hidden layer
	Depth int    `yaml:"depth" json:"depth,omitempty"` // hidden layers; absent or 0: 1
	// Parameterization is how initial values and learning rates change with width: standard, or mup (Yang & Hu,
	// arXiv 2203.03466, for Adam), under which the best rate of one width is about that of all.
	Parameterization string `yaml:"parameterization" json:"parameterization,omitempty"` // absent: standard
	Base             int    `yaml:"base" json:"base,omitempty"`                         // mup: the width at which rates are those of standard
}

// Layers returns the number of hidden layers.
func (n Net) Layers() int { return max(1, n.Depth) }

// Shrink returns base/width under mup, the factor of the readout's output and of the learning rate of weights between
// hidden layers; 1 under the standard parameterization.
func (n Net) Shrink() float64 {
	if n.Parameterization != "mup" {
		return 1
	}
	return float64(n.Base) / float64(n.Width)
}

// canonical returns the net with one form for each meaning, so that equal runs have equal hashes.
func (n Net) canonical() Net {
	if n.Depth == 1 {
		n.Depth = 0
	}
	if n.Parameterization == "standard" {
		n.Parameterization = ""
	}
	return n
}

// Train is how the network is trained.
type Train struct {
	Batch       int     `yaml:"batch" json:"batch"`             // B, samples in a step
	Steps       int     `yaml:"steps" json:"steps"`             // optimizer steps
	Optimizer   string  `yaml:"optimizer" json:"optimizer"`     // adamw, or adam (without decay); betas .9 and .999, epsilon 1e-8
	Rate        float64 `yaml:"rate" json:"rate"`               // peak learning rate
	Schedule    string  `yaml:"schedule" json:"schedule"`       // constant | inverse-sqrt: rate·min(t/warmup, sqrt(warmup/t))
	Warmup      int     `yaml:"warmup" json:"warmup"`           // steps
	Decay       float64 `yaml:"decay" json:"decay"`             // decoupled weight decay
	Clip        float64 `yaml:"clip" json:"clip"`               // largest gradient norm of a run; 0 = no clipping
	Seed        uint32  `yaml:"seed" json:"seed"`               // of the data and the initial values
	Data        *uint32 `yaml:"data" json:"data,omitempty"`     // seed of the data alone; as seed where absent
	Evaluations int     `yaml:"evaluations" json:"evaluations"` // about this many, at log-spaced steps, the last one included

	Injection    Injection    `yaml:"injection" json:"injection,omitzero"`       // none unless it names a task
	Intervention Intervention `yaml:"intervention" json:"intervention,omitzero"` // none unless it has a kind
}

// Intervention changes how one task's gradient meets that of all others, to test whether the others overwrite it.
//
//	{kind: weight, task: 16, factor: 8}  the task's loss counts 8 times
//	{kind: surgery, task: 16}            where the two gradients of a step conflict, each is projected onto the plane normal to
//	                                     the other (PCGrad, arXiv 2001.06782, with two tasks: this one and the rest)
//	{kind: mask, task: 16}               the others' gradient doesn't touch the first layer's weights from the task's own inputs
type Intervention struct {
	Kind   string  `yaml:"kind" json:"kind"`
	Task   int     `yaml:"task" json:"task"`              // 1 = most frequent
	Factor float64 `yaml:"factor" json:"factor,omitzero"` // weight alone
}

// validate returns a *KeyError for the first impossible setting of an intervention in a run.
func (i Intervention) validate(r Run) error {
	if i == (Intervention{}) {
		return nil
	}
	for _, c := range []struct {
		ok    bool
		key   string
		value any
		want  string
	}{
		{slices.Contains([]string{"weight", "surgery", "mask"}, i.Kind), "kind", i.Kind, "weight, surgery or mask"},
		{i.Task >= 1 && i.Task <= r.Mixture.Tasks, "task", i.Task, fmt.Sprintf("1 … mixture.tasks (%d)", r.Mixture.Tasks)},
		{i.Kind != "weight" || i.Factor > 0 && !math.IsInf(i.Factor, 1), "factor", i.Factor, "a finite number > 0"},
		{i.Kind == "weight" || i.Factor == 0, "factor", i.Factor, "it left out: only weight has a factor"},
		{i.Kind != "mask" || r.Mixture.Family == "regression", "kind", i.Kind,
			fmt.Sprintf("weight or surgery: tasks of %s share their inputs, and only regression has inputs that are one task's alone", r.Mixture.Family)},
	} {
		if !c.ok {
			return &KeyError{"train.intervention." + c.key, c.value, c.want}
		}
	}
	return nil
}

// Injection is a schedule by which one task enters training. From step from until step until the task is withheld
// from the draws, and the last length steps of every gap steps carry a stated number of its samples instead (Sec. 3,
// Fig 4: the same number of samples as without a schedule, but in bulk). Outside those steps the draws are as ever.
//
//	{task: 16, gap: 384}                          withheld, then the samples of 384 steps at once
//	{task: 16, gap: 384, length: 32}              the same in bursts of 32 steps
//	{task: 16, gap: 100, samples: 10}             10 samples take the place of others every 100 steps
//	{task: 16, gap: 1, samples: 256, until: 2000} a curriculum: first 2000 steps of the task alone (batch 256)
//	{task: 16, gap: 1000, from: 9000}             as ever, then withheld, then back in bulk
type Injection struct {
	Task    int `yaml:"task" json:"task"`                // 1 = most frequent; 0: no schedule
	Gap     int `yaml:"gap" json:"gap"`                  // G, steps
	Length  int `yaml:"length" json:"length,omitzero"`   // steps of an injection; 0 counts as 1
	Samples int `yaml:"samples" json:"samples,omitzero"` // of an injection; 0: G·B·pi_r, which matches the frequency
	From    int `yaml:"from" json:"from,omitzero"`       // steps done when the schedule begins
	Until   int `yaml:"until" json:"until,omitzero"`     // steps done when it ends; 0: never
}

// Steps returns the number of steps of an injection.
func (i Injection) Steps() int { return max(1, i.Length) }

// PerStep returns how many samples of the task a step of an injection carries on average.
func (i Injection) PerStep(batch int, frequency float64) float64 {
	samples := float64(i.Samples)
	if i.Samples == 0 {
		samples = float64(i.Gap) * float64(batch) * frequency
	}
	return samples / float64(i.Steps())
}

// validate returns a *KeyError for the first impossible setting of a schedule for a run.
func (i Injection) validate(r Run) error {
	if i == (Injection{}) {
		return nil
	}
	key := func(name string, value any, want string) error {
		return &KeyError{"train.injection." + name, value, want}
	}
	switch {
	case i.Task < 1 || i.Task > r.Mixture.Tasks:
		return key("task", i.Task, fmt.Sprintf("1 … mixture.tasks (%d)", r.Mixture.Tasks))
	case r.Mixture.Tasks < 2:
		return key("task", i.Task, "a mixture of at least 2 tasks, so that others remain when it is withheld")
	case i.Gap < 1:
		return key("gap", i.Gap, "at least 1 step")
	case i.Length < 0 || i.Length > i.Gap:
		return key("length", i.Length, fmt.Sprintf("0 … gap (%d)", i.Gap))
	case i.Samples < 0:
		return key("samples", i.Samples, "at least 0 (0: gap·batch·frequency)")
	case i.From < 0:
		return key("from", i.From, "at least 0 steps")
	case i.Until != 0 && i.Until <= i.From:
		return key("until", i.Until, fmt.Sprintf("0 (never) or more than from (%d)", i.From))
	}
	frequency := r.Mixture.Frequencies()[i.Task-1]
	if m := i.PerStep(r.Train.Batch, frequency); m > float64(r.Train.Batch) {
		name, value := "gap", i.Gap
		want := fmt.Sprintf("at most %d, or a longer injection", int(float64(i.Steps())/frequency))
		if i.Samples > 0 {
			name, value, want = "samples", i.Samples, fmt.Sprintf("at most batch·length = %d", r.Train.Batch*i.Steps())
		}
		return key(name, value, fmt.Sprintf("%s: a step would carry %.4g samples of task %d in a batch of %d", want, m, i.Task, r.Train.Batch))
	}
	return nil
}

// DataSeed returns the seed of the data stream.
func (t Train) DataSeed() uint32 {
	if t.Data != nil {
		return *t.Data
	}
	return t.Seed
}

// Default returns the settings that a spec starts from: the reduced scale at which the theory shows on two cores.
func Default() Run {
	return Run{
		Mixture: Mixture{Family: "regression", Tasks: 16, Dim: 128, Block: 8, Alpha: [2]float64{2, 2},
			Frequency: Frequency{Law: "power", Exponent: 1}},
		Net: Net{Kind: "bottleneck", Width: 32},
		Train: Train{Batch: 256, Steps: 20000, Optimizer: "adamw", Rate: 3e-3, Schedule: "inverse-sqrt", Warmup: 500,
			Decay: .01, Clip: 1, Evaluations: 40},
	}
}

// Alphas returns the spectrum exponent of each task, most frequent first: a uniform grid between the ends of Alpha.
func (m Mixture) Alphas() []float64 {
	alphas := make([]float64, m.Tasks)
	for k := range alphas {
		at := 0.
		if m.Tasks > 1 {
			at = float64(k) / float64(m.Tasks-1)
		}
		alphas[k] = m.Alpha[0] + at*(m.Alpha[1]-m.Alpha[0])
	}
	return alphas
}

// Frequencies returns pi_k, most frequent first; they sum to one.
func (m Mixture) Frequencies() []float64 {
	pi := make([]float64, m.Tasks)
	sum := 0.
	for k := range pi {
		pi[k] = math.Pow(float64(k+1), -m.Frequency.Exponent)
		sum += pi[k]
	}
	for k := range pi {
		pi[k] /= sum
	}
	return pi
}

// KeyError says which setting has an impossible value, and which values are possible.
type KeyError struct {
	Key   string // dotted, as in "mixture.frequency.exponent"
	Value any
	Want  string
}

func (e *KeyError) Error() string { return fmt.Sprintf("%s: %v: want %s", e.Key, e.Value, e.Want) }

// Validate returns a *KeyError for the first impossible setting.
func (r Run) Validate() error {
	m, n, t := r.Mixture, r.Net, r.Train
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	oneOf := func(v string, allowed ...string) bool { return slices.Contains(allowed, v) }
	type check struct {
		ok    bool
		key   string
		value any
		want  string
	}
	checks := []check{
		{oneOf(m.Family, "regression", "parity"), "mixture.family", m.Family, "regression or parity"},
		{m.Tasks >= 1, "mixture.tasks", m.Tasks, "at least 1"},
	}
	if m.Family == "parity" {
		checks = append(checks, []check{
			{m.Block >= 1 && m.Block <= m.Dim, "mixture.block", m.Block, fmt.Sprintf("1 … mixture.dim (%d) bits for each task", m.Dim)},
			{float64(m.Tasks) <= tasks.Subsets(m.Dim, m.Block), "mixture.tasks", m.Tasks,
				fmt.Sprintf("at most %.0f, the subsets of %d of %d bits: no two tasks are alike", tasks.Subsets(m.Dim, m.Block), m.Block, m.Dim)},
			{m.Alpha == Default().Mixture.Alpha, "mixture.alpha", m.Alpha, "it left out: parity has no spectrum; alpha of its frequencies is mixture.frequency.exponent - 1"},
			{n.Kind != "bottleneck", "net.kind", n.Kind, "mlp: a linear net can't learn parity"},
		}...)
	} else {
		checks = append(checks, []check{
			{m.Block >= 1, "mixture.block", m.Block, "at least 1 direction for each task"},
			{m.Dim >= m.Tasks*m.Block, "mixture.dim", m.Dim,
				fmt.Sprintf("at least tasks·block = %d·%d = %d, so that every task has directions of its own", m.Tasks, m.Block, m.Tasks*m.Block)},
			{finite(m.Alpha[0]) && m.Alpha[0] >= 0 && finite(m.Alpha[1]) && m.Alpha[1] >= 0, "mixture.alpha", m.Alpha, "two finite numbers >= 0"},
			{m.Seed == 0, "mixture.seed", m.Seed, "it left out: only parity draws its tasks; data and initial values follow train.seed"},
		}...)
	}
	checks = append(checks, []check{
		{oneOf(m.Frequency.Law, "power"), "mixture.frequency.law", m.Frequency.Law, "power"},
		{finite(m.Frequency.Exponent) && m.Frequency.Exponent >= 0, "mixture.frequency.exponent", m.Frequency.Exponent, "a finite number >= 0"},
		{oneOf(n.Kind, "bottleneck", "mlp"), "net.kind", n.Kind, "bottleneck or mlp"},
		{n.Kind != "bottleneck" || n.Width >= 1 && n.Width <= m.Dim, "net.width", n.Width, fmt.Sprintf("1 … mixture.dim (%d)", m.Dim)},
		{n.Width >= 1, "net.width", n.Width, "at least 1"},
		{n.Depth >= 0, "net.depth", n.Depth, "at least 1 hidden layer"},
		{n.Kind != "bottleneck" || n.Depth <= 1, "net.depth", n.Depth, "1 for a bottleneck: more linear layers of one width compute nothing else; mlp has any depth"},
		{oneOf(n.Parameterization, "", "standard", "mup"), "net.parameterization", n.Parameterization, "standard or mup"},
		{n.Parameterization != "mup" || n.Base >= 1, "net.base", n.Base, "at least 1 with mup: the width at which rates are those of standard"},
		{n.Parameterization == "mup" || n.Base == 0, "net.base", n.Base, "it left out, or net.parameterization: mup"},
		{t.Batch >= 1, "train.batch", t.Batch, "at least 1"},
		{t.Steps >= 1 && t.Steps <= math.MaxInt32, "train.steps", t.Steps, "at least 1"},
		{oneOf(t.Optimizer, "adamw", "adam"), "train.optimizer", t.Optimizer, "adamw or adam"},
		{finite(t.Rate) && t.Rate > 0, "train.rate", t.Rate, "a finite number > 0"},
		{oneOf(t.Schedule, "inverse-sqrt", "constant"), "train.schedule", t.Schedule, "inverse-sqrt or constant"},
		{t.Warmup >= 1, "train.warmup", t.Warmup, "at least 1 step"},
		{finite(t.Decay) && t.Decay >= 0, "train.decay", t.Decay, "a finite number >= 0"},
		{t.Optimizer != "adam" || t.Decay == 0, "train.decay", t.Decay, "0 for adam; adamw decays weights"},
		{finite(t.Clip) && t.Clip >= 0, "train.clip", t.Clip, "a finite number >= 0 (0: no clipping)"},
		{t.Evaluations >= 1, "train.evaluations", t.Evaluations, "at least 1"},
	}...)
	for _, c := range checks {
		if !c.ok {
			return &KeyError{c.key, c.value, c.want}
		}
	}
	if err := t.Injection.validate(r); err != nil {
		return err
	}
	return t.Intervention.validate(r)
}

// engines is part of every hash, for each family: a number changes when the same spec of that family would train to other numbers.
var engines = map[string]int{"regression": 2, "parity": 1}

// Hash returns 16 hexadecimal digits that identify the settings.
func (r Run) Hash() string { return r.hash(r) }

// hash identifies v, which is made of runs of r's family.
func (r Run) hash(v any) string {
	text, err := json.Marshal(struct {
		Engine int
		Spec   any
	}{engines[r.Mixture.Family], v})
	if err != nil {
		panic(fmt.Sprintf("spec: a run has no JSON form: %v", err)) // all fields are plain numbers and strings
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Stack is runs that train side by side in one program, on one data stream. They share everything but
// width, rate and the seed of the initial values.
type Stack []Run

// Hash returns 16 hexadecimal digits that identify the stack: its runs in their order.
func (s Stack) Hash() string { return s[0].hash(s) }

// Program returns the part of the stack that needs its own compilation; stacks with equal programs differ only
// in what a compiled program takes as input (frequencies, seeds, rates, a family's constants, an injection's numbers).
func (s Stack) Program() string {
	var widths []string
	for _, r := range s {
		widths = append(widths, fmt.Sprint(r.Net.Width))
	}
	shape := s[0]
	shape.Net.Width, shape.Mixture.Frequency, shape.Mixture.Seed = 0, Frequency{}, 0
	shape.Train.Rate, shape.Train.Seed, shape.Train.Data, shape.Train.Steps, shape.Train.Evaluations = 0, 0, nil, 0, 0
	if shape.Train.Injection != (Injection{}) {
		shape.Train.Injection = Injection{Task: 1} // that there is one
	}
	return shape.hash(struct {
		Shape  Run
		Widths string
	}{shape, strings.Join(widths, ",")})
}

// Stacks splits runs into stacks: one for each mixture, training set-up and data stream, its runs ordered by
// width. The order of stacks is that of their first runs.
func Stacks(runs []Run) []Stack {
	index := map[string]int{}
	var stacks []Stack
	for _, r := range runs {
		shared := r
		data := r.Train.DataSeed()
		shared.Net.Width, shared.Train.Rate, shared.Train.Seed, shared.Train.Data = 0, 0, 0, &data
		key := r.hash(shared)
		at, found := index[key]
		if !found {
			at = len(stacks)
			index[key] = at
			stacks = append(stacks, nil)
		}
		stacks[at] = append(stacks[at], r)
	}
	for _, s := range stacks {
		slices.SortStableFunc(s, func(a, b Run) int { return a.Net.Width - b.Net.Width })
	}
	return stacks
}
