package spec

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Scales are the sizes at which every preset is defined: smoke runs in seconds, quick in minutes on two cores,
// paper is the paper's own settings.
var Scales = []string{"smoke", "quick", "paper"}

// Axis is a setting and the values it takes.
type Axis struct {
	Key    string
	values []*yaml.Node
}

// Vary returns the axis on which the setting at key, as in "net.width", takes the values.
func Vary[T any](key string, values ...T) Axis {
	axis := Axis{Key: key}
	for _, v := range values {
		node := new(yaml.Node)
		if err := node.Encode(v); err != nil {
			node = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: fmt.Sprint(v)} // refused by the strict decoder, by name
		}
		axis.values = append(axis.values, node)
	}
	return axis
}

// DefaultMemory is a Sweep's memory where the spec doesn't say: no preset needs as much for a stack.
const DefaultMemory = 8

// Sweep is a base run and the grid of settings to run it at.
type Sweep struct {
	Name  string
	About string
	Scale string // at which it was loaded; empty where it was made in code
	Base  Run
	Grid  []Axis // every combination
	Zip   []Axis // taken in step: the i-th value of each; combined with the grid
	// Metrics are the registered names of what is measured; nil: all that its runs have by default.
	Metrics []string
	// Keep is after which steps weights are kept; nil: after the last.
	Keep []int
	own  []string // Metrics as they stand in a preset
	// Memory is how many GiB training may take: runs that would take more are split into several stacks, and no more of these train at a time.
	Memory float64

	decoder *decoder
}

//go:embed presets/*.yaml
var presets embed.FS

// Presets returns the names of the presets.
func Presets() []string {
	files, _ := fs.Glob(presets, "presets/*.yaml")
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	return files
}

// Load returns the sweep of a preset's name or a YAML file, at a scale. All errors but those of reading a file are the
// spec's fault.
func Load(name, scale string) (*Sweep, error) {
	if data, err := presets.ReadFile("presets/" + name + ".yaml"); err == nil {
		s, err := Parse(name+".yaml", data, scale)
		if err == nil {
			s.own = s.Metrics
		}
		return s, err
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("spec: no preset and no file is named %q; presets: %s", name, strings.Join(Presets(), ", "))
	} else if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	return Parse(name, data, scale)
}

// Parse returns the sweep of a YAML document at a scale; file is the document's name in errors. The document's settings start from Default,
// or from those of the preset that its key `base` names; its part `scales` holds, for each scale, settings that replace those of the
// document ("train.steps: 100", "grid.net.width: [2, 4]").
func Parse(file string, data []byte, scale string) (*Sweep, error) {
	if !slices.Contains(Scales, scale) {
		return nil, fmt.Errorf("spec: scale %q: want %s", scale, strings.Join(Scales, ", "))
	}
	var document, second yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(data))
	if err := documents.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := documents.Decode(&second); err == nil {
		return nil, fmt.Errorf("%s:%d: a second document: want one", file, second.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d := &decoder{file: file, lines: map[string]int{}}
	s := &Sweep{Name: strings.TrimSuffix(path.Base(file), path.Ext(file)), Scale: scale, Base: Default(), Memory: DefaultMemory,
		decoder: d}
	if len(document.Content) == 0 {
		return nil, fmt.Errorf("%s: empty; want at least one of mixture, net, train", file)
	}
	resolve(&document)
	var scaled *yaml.Node
	err := d.pairs(document.Content[0], "", func(key string, line int, value *yaml.Node) error {
		switch key {
		case "base":
			return s.start(value, scale)
		case "about":
			return d.scalar(value, reflect.ValueOf(&s.About).Elem(), key)
		case "mixture", "net", "train", "memory", "metrics", "keep":
			return s.apply(key, value)
		case "grid", "zip":
			return d.pairs(value, key, func(setting string, _ int, values *yaml.Node) error { return s.apply(key+"."+setting, values) })
		case "scales":
			scaled = value
		default:
			return d.errorf(line, key, "unknown key; allowed here: about, base, grid, keep, memory, metrics, mixture, net, scales, train, zip")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if scaled != nil {
		if err := s.scale(scaled, scale); err != nil {
			return nil, err
		}
	}
	_, err = s.Runs()
	return s, err
}

// start takes over what the preset that a document names as its base is at a scale.
func (s *Sweep) start(name *yaml.Node, scale string) error {
	if name.Kind != yaml.ScalarNode || !slices.Contains(Presets(), name.Value) {
		return s.decoder.errorf(name.Line, "base", "%s: want a preset to start from: %s", text(name), strings.Join(Presets(), ", "))
	}
	base, err := Load(name.Value, scale)
	if err == nil {
		s.Base, s.Grid, s.Zip, s.Metrics, s.Keep, s.Memory = base.Base, base.Grid, base.Zip, base.Metrics, base.Keep, base.Memory
	}
	return err
}

// scale applies the settings of one scale; those of the others are checked too.
func (s *Sweep) scale(node *yaml.Node, scale string) error {
	base := s.Base
	return s.decoder.pairs(node, "scales", func(name string, line int, settings *yaml.Node) error {
		if !slices.Contains(Scales, name) {
			return s.decoder.errorf(line, "scales."+name, "unknown scale; allowed: %s", strings.Join(Scales, ", "))
		}
		target := s
		if name != scale {
			target = &Sweep{Base: base, decoder: &decoder{file: s.decoder.file, lines: map[string]int{}}}
		}
		return s.decoder.pairs(settings, "scales."+name, func(key string, _ int, value *yaml.Node) error { return target.apply(key, value) })
	})
}

// apply gives a setting of the base a value, or replaces an axis ("grid.net.width").
func (s *Sweep) apply(key string, value *yaml.Node) error {
	switch key {
	case "metrics":
		s.decoder.lines[key] = value.Line
		return s.decoder.list(value, key, "a list of names", "!!str", &s.Metrics)
	case "keep":
		s.decoder.lines[key] = value.Line
		return s.decoder.list(value, key, "a list of steps", "!!int", &s.Keep)
	case "memory":
		if err := s.decoder.scalar(value, reflect.ValueOf(&s.Memory).Elem(), key); err != nil {
			return err
		}
		if !(s.Memory > 0 && s.Memory <= largestMemory) {
			return s.decoder.errorf(value.Line, key, "%s: want a number of GiB > 0, at most %d", text(value), largestMemory)
		}
		return nil
	}
	for prefix, axes := range map[string]*[]Axis{"grid.": &s.Grid, "zip.": &s.Zip} {
		setting, found := strings.CutPrefix(key, prefix)
		if !found {
			continue
		}
		if value.Kind != yaml.SequenceNode || len(value.Content) == 0 {
			return s.decoder.errorf(value.Line, key, "%s: want a list of at least one value", text(value))
		}
		*axes = replace(*axes, Axis{setting, value.Content})
		probe := s.Base
		return s.decoder.set(&probe, setting, value.Content[0])
	}
	return s.decoder.set(&s.Base, key, value)
}

// list fills a list of scalars with a tag of YAML.
func (d *decoder) list(node *yaml.Node, key, want, tag string, to any) error {
	bad := node.Kind != yaml.SequenceNode
	for _, item := range node.Content {
		bad = bad || item.Tag != tag
	}
	if bad || node.Decode(to) != nil {
		return d.errorf(node.Line, key, "%s: want %s", text(node), want)
	}
	return nil
}

func replace(axes []Axis, axis Axis) []Axis {
	at := slices.IndexFunc(axes, func(a Axis) bool { return a.Key == axis.Key })
	if at < 0 {
		return append(axes, axis)
	}
	axes = slices.Clone(axes)
	axes[at] = axis
	return axes
}

// With returns a copy of the sweep in which settings take other values: one value replaces the setting of the base (and
// an axis on it), several become an axis of the grid.
func (s *Sweep) With(axes ...Axis) (*Sweep, error) {
	changed := *s
	changed.decoder = &decoder{file: s.Name, lines: map[string]int{}}
	for i, axis := range axes {
		if slices.ContainsFunc(axes[:i], func(a Axis) bool { return a.Key == axis.Key }) {
			return nil, changed.decoder.errorf(0, axis.Key, "given twice: want all of its values at once")
		}
		if slices.ContainsFunc(s.Zip, func(a Axis) bool { return a.Key == axis.Key }) {
			return nil, changed.decoder.errorf(0, axis.Key, "it varies with other settings in the spec's zip: want a spec without that")
		}
		if len(axis.values) > 1 {
			changed.Grid = replace(changed.Grid, axis)
			continue
		}
		changed.Grid = slices.DeleteFunc(slices.Clone(changed.Grid), func(a Axis) bool { return a.Key == axis.Key })
		for _, value := range axis.values {
			if err := changed.decoder.set(&changed.Base, axis.Key, value); err != nil {
				return nil, err
			}
		}
	}
	_, err := changed.Runs()
	return &changed, err
}

// Of returns the sweep of a base run and a grid.
func Of(name string, base Run, grid ...Axis) (*Sweep, error) {
	s := &Sweep{Name: name, Base: base, Memory: DefaultMemory, decoder: &decoder{file: name, lines: map[string]int{}}}
	return s.With(grid...)
}

// Runs returns every combination of the grid, the last axis varying fastest, each combination with every step of the
// zip; all are valid, and no two are equal.
func (s *Sweep) Runs() ([]Run, error) {
	first := func(a, b Axis) int { return cmp.Compare(rank(a.Key), rank(b.Key)) } // what chooses other settings comes before them
	var together [][]Axis                                                         // the axes that are taken in step
	if len(s.Zip) > 0 {
		together = append(together, slices.SortedStableFunc(slices.Values(s.Zip), first))
	}
	for _, axis := range s.Grid {
		if slices.ContainsFunc(s.Zip, func(a Axis) bool { return a.Key == axis.Key }) {
			return nil, s.decoder.errorf(axis.values[0].Line, axis.Key, "it varies in grid and in zip: want one of them")
		}
		together = append(together, []Axis{axis})
	}
	slices.SortStableFunc(together, func(a, b []Axis) int { return first(a[0], b[0]) })
	count := 1.
	for _, axes := range together {
		count *= float64(len(axes[0].values))
	}
	if count > mostRuns {
		return nil, fmt.Errorf("%s: grid: %.0f runs: want at most %d; split it into several specs", s.decoder.file, count, mostRuns)
	}
	runs := []Run{s.Base}
	for _, axes := range together {
		var next []Run
		for _, run := range runs {
			for i := range axes[0].values {
				for _, axis := range axes {
					if len(axis.values) != len(axes[0].values) {
						return nil, s.decoder.errorf(axis.values[0].Line, "zip."+axis.Key, "%d values beside %d of %s: want equally many",
							len(axis.values), len(axes[0].values), axes[0].Key)
					}
					if err := s.decoder.set(&run, axis.Key, axis.values[i]); err != nil {
						return nil, err
					}
				}
				next = append(next, run)
			}
		}
		runs = next
	}
	seen, steps, numbers := map[string]bool{}, 0, 0
	for i, run := range runs {
		if err := run.Validate(); err != nil {
			return nil, s.decoder.at(err)
		}
		if numbers += run.Mixture.Tasks + run.Mixture.Signature().Input.Size() + run.Train.Evaluations; numbers > mostNumbers {
			return nil, fmt.Errorf("%s: grid: %d runs with %d tasks, inputs and evaluations in the first %d of them: want at most %d; "+
				"split it into several specs",
				s.decoder.file, len(runs), numbers, i+1, mostNumbers)
		}
		if run.Train.Data != nil && *run.Train.Data == run.Train.Seed { // one form for each meaning
			runs[i].Train.Data = nil
		}
		if hash := run.Hash(); seen[hash] {
			return nil, fmt.Errorf("%s: the grid names the run width %d, seed %d twice: want different values on every axis",
				s.decoder.file, run.Net.Width, run.Train.Seed)
		} else {
			seen[hash] = true
		}
		steps = max(steps, run.Train.Steps)
	}
	if len(s.Keep) > mostKept {
		return nil, s.At(&KeyError{Key: "keep", Value: fmt.Sprint(len(s.Keep), " steps"), Want: fmt.Sprintf("at most %d", mostKept)})
	}
	for _, step := range s.Keep {
		if step < 0 || step > steps {
			return nil, s.At(&KeyError{Key: "keep", Value: step, Want: fmt.Sprintf("steps 0 … train.steps (%d)", steps)})
		}
	}
	return runs, nil
}

// Asks reports whether the spec asks for metrics by name that no preset of it names.
func (s *Sweep) Asks() bool { return s.Metrics != nil && !slices.Equal(s.Metrics, s.own) }

// At attaches the spec's file and line to a *KeyError.
func (s *Sweep) At(err error) error { return s.decoder.at(err) }

// Bounds of a sweep, all of whose runs are expanded, hashed and planned at once: that takes seconds, and less than 1 GiB.
const (
	mostRuns      = 10_000
	mostNumbers   = 1 << 23 // tasks, inputs and evaluations of all runs
	mostKept      = 1000    // steps
	largestMemory = 4096    // GiB
)
