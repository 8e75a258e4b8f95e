package spec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"raretask/pkg/net"
	"raretask/tasks"
)

// YAML returns the sweep as a document that says everything, defaults included. Parsed at any scale it has the same runs.
func (s *Sweep) YAML() ([]byte, error) {
	document := mapping()
	for _, setting := range s.Base.Settings() {
		if setting.Key == "train.data" && s.Base.Train.Data == nil {
			continue // as seed
		}
		value := new(yaml.Node)
		if err := value.Encode(setting.Value); err != nil {
			return nil, fmt.Errorf("spec: %s: %w", setting.Key, err)
		}
		value.Style = yaml.FlowStyle
		parts := strings.Split(setting.Key, ".")
		at := document
		for _, name := range parts[:len(parts)-1] {
			at = below(at, name)
		}
		at.Content = append(at.Content, scalar(parts[len(parts)-1]), value)
	}
	for _, part := range []struct {
		name string
		axes []Axis
	}{{"grid", s.Grid}, {"zip", s.Zip}} {
		for _, a := range part.axes {
			list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Content: a.values}
			at := below(document, part.name)
			at.Content = append(at.Content, scalar(a.Key), list)
		}
	}
	add := func(name string, value any) error {
		node := new(yaml.Node)
		if err := node.Encode(value); err != nil {
			return err
		}
		node.Style = yaml.FlowStyle
		document.Content = append(document.Content, scalar(name), node)
		return nil
	}
	if s.Metrics != nil {
		if err := add("metrics", s.Metrics); err != nil {
			return nil, err
		}
	}
	if s.Keep != nil {
		if err := add("keep", s.Keep); err != nil {
			return nil, err
		}
	}
	if err := add("memory", s.Memory); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := yaml.NewEncoder(&out)
	w.SetIndent(2)
	if err := w.Encode(document); err != nil {
		return nil, err
	}
	return out.Bytes(), w.Close()
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

func scalar(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// below returns the mapping of a key of a mapping, which it makes if need be.
func below(at *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(at.Content); i += 2 {
		if at.Content[i].Value == name {
			return at.Content[i+1]
		}
	}
	own := mapping()
	at.Content = append(at.Content, scalar(name), own)
	return own
}

// Key is a setting that a spec may have.
type Key struct {
	Name    string `json:"name"` // as in "train.rate"
	Of      string `json:"of"`   // family of tasks or kind of net whose setting it is; empty: all have it
	Type    string `json:"type"`
	Default string `json:"default"`
	Allowed string `json:"allowed"` // what its error says is wanted; empty where nothing of its type was refused
	About   string `json:"about"`
}

// Keys returns every setting, those of each family and kind of net included, with what the code itself says of them.
func Keys() (all []Key) {
	runs := map[string]Run{"": Default()}
	order := []string{""}
	add := func(of string, r Run) { runs[of], order = r, append(order, of) }
	for _, name := range tasks.Names() {
		add("family "+name, of(name, Default()))
	}
	for _, name := range net.Names() {
		r := Default()
		r.Net = NewNet(name, 32)
		for _, family := range tasks.Names() { // one that the kind can learn
			if fits := of(family, r); r.Validate() != nil && fits.Validate() == nil {
				r = fits
			}
		}
		add("kind "+name, r)
	}
	own := map[string]bool{}
	for _, setting := range ownSettings(Default()) {
		own[setting] = true
	}
	for _, of := range order {
		for _, s := range runs[of].Settings() {
			inline := slices.Contains(ownSettings(runs[of]), s.Key)
			if of == "" && own[s.Key] || of != "" && !inline || of != "" && strings.HasPrefix(of, "family ") != strings.HasPrefix(s.Key,
				"mixture.") {
				continue
			}
			all = append(all, Key{s.Key, of, wanted(reflect.TypeOf(s.Value)), fmt.Sprint(s.Value), allowed(runs[of], s), s.About})
		}
	}
	return all
}

// of returns a run on another family's tasks, as many as the family has by default.
func of(family string, r Run) Run {
	kind, _ := tasks.Named(family)
	r.Mixture.Family, r.Mixture.Settings = family, kind.Defaults
	for _, k := range []int{r.Mixture.Tasks, 2} {
		if r.Mixture.Tasks = k; kind.Defaults.Check(k) == nil {
			break
		}
	}
	return r
}

// ownSettings returns the keys that a run's family and kind of net bring.
func ownSettings(r Run) (keys []string) {
	for prefix, settings := range map[string]any{"mixture": r.Mixture.Settings, "net": r.Net.Settings} {
		for _, s := range collect(nil, prefix, reflect.ValueOf(settings)) {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// allowed returns what the error of an absurd value of a setting says is wanted.
func allowed(r Run, s Setting) string {
	var absurd []any
	switch s.Value.(type) {
	case string:
		absurd = []any{"nonsense"}
	case int:
		absurd = []any{-1, math.MaxInt32, 0}
	case float64:
		absurd = []any{-1., 1e300, math.NaN(), 0.}
	case [2]float64:
		absurd = []any{[2]float64{-1, -1}, [2]float64{1e300, 1e300}}
	}
	for _, v := range absurd {
		changed := r
		d := &decoder{lines: map[string]int{}}
		if err := d.set(&changed, s.Key, Vary(s.Key, v).values[0]); err != nil {
			_, want, _ := strings.Cut(err.Error(), ": want ")
			return want
		}
		var bad *KeyError
		if errors.As(changed.Validate(), &bad) && bad.Key == s.Key {
			return bad.Want
		}
	}
	return ""
}
