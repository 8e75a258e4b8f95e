package spec

import (
	"cmp"
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

// decoder fills Go values from YAML strictly: unknown and repeated keys and wrong types are errors that name
// file, line, key, value and what is allowed. The yaml package's own strict mode names neither the full key
// nor what would be right.
type decoder struct {
	file  string
	lines map[string]int // line of each key that was set
}

func (d *decoder) errorf(line int, key, format string, args ...any) error {
	where := d.file
	if line > 0 {
		where = fmt.Sprintf("%s:%d", d.file, line)
	}
	return fmt.Errorf("%s: %s: %s", where, key, fmt.Sprintf(format, args...))
}

// at attaches the file and line to a *KeyError.
func (d *decoder) at(err error) error {
	var bad *KeyError
	if !errors.As(err, &bad) {
		return err
	}
	line := 0
	for key := bad.Key; key != "" && line == 0; key = key[:max(strings.LastIndex(key, "."), 0)] {
		line = d.lines[key]
	}
	return d.errorf(line, bad.Key, "%v: want %s", bad.Value, bad.Want)
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// fieldOf returns the field of struct v that the YAML key names.
func fieldOf(v reflect.Value, key string) (field reflect.Value, names []string) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if name == key {
			return v.Field(i), nil
		}
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return reflect.Value{}, names
}

// A chooser is a struct in which one key chooses what other keys there are.
type chooser interface {
	// choose is called when a key has been set.
	choose(key string) error
}

// choose gives a mixture the settings of its family, with their defaults where it had another's.
func (m *Mixture) choose(key string) error {
	if key != "family" {
		return nil
	}
	kind, ok := tasks.Named(m.Family)
	if !ok {
		return &KeyError{Key: "mixture.family", Value: m.Family, Want: strings.Join(tasks.Names(), " or ")}
	}
	if reflect.TypeOf(m.Settings) != reflect.TypeOf(kind.Defaults) {
		m.Settings = kind.Defaults
	}
	return nil
}

// choose gives a net the settings of its kind, with their defaults where it had another's.
func (n *Net) choose(key string) error {
	if key != "kind" {
		return nil
	}
	kind, ok := net.Named(n.Kind)
	if !ok {
		return &KeyError{Key: "net.kind", Value: n.Kind, Want: strings.Join(net.Names(), " or ")}
	}
	if reflect.TypeOf(n.Settings) != reflect.TypeOf(kind.Defaults) {
		n.Settings = kind.Defaults
	}
	return nil
}

// within calls change with the field of struct v that has a name, full its key: one of v's own, or of the settings that stand inline in it,
// which are values behind an interface and replaced by their changed copy.
func (d *decoder) within(v reflect.Value, name, full string, line int, change func(reflect.Value) error) error {
	field, names := fieldOf(v, name)
	if field.IsValid() {
		if err := change(field); err != nil {
			return err
		}
		if c, ok := v.Addr().Interface().(chooser); ok {
			return d.at(c.choose(name))
		}
		return nil
	}
	for i := range v.NumField() {
		inline := v.Field(i)
		if v.Type().Field(i).Tag.Get("yaml") != ",inline" || inline.IsNil() {
			continue
		}
		changed := reflect.New(inline.Elem().Type()).Elem()
		changed.Set(inline.Elem())
		field, more := fieldOf(changed, name)
		if field.IsValid() {
			err := change(field)
			inline.Set(changed)
			return err
		}
		names = append(names, more...)
	}
	slices.Sort(names)
	return d.errorf(line, full, "unknown key; allowed here: %s", strings.Join(names, ", "))
}

// decode fills v, the setting at key, from node.
func (d *decoder) decode(node *yaml.Node, v reflect.Value, key string) error {
	d.lines[key] = node.Line
	if v.Kind() != reflect.Struct {
		return d.scalar(node, v, key)
	}
	return d.pairs(node, key, func(name string, line int, value *yaml.Node) error {
		full := join(key, name)
		d.lines[full] = value.Line
		return d.within(v, name, full, line, func(field reflect.Value) error { return d.decode(value, field, full) })
	})
}

// pairs calls f for each key of a mapping: what chooses other keys comes before them, axes after all, wherever they stand.
func (d *decoder) pairs(node *yaml.Node, key string, f func(key string, line int, value *yaml.Node) error) error {
	if node.Kind != yaml.MappingNode {
		return d.errorf(node.Line, key, "%s: want keys and values", text(node))
	}
	type pair struct{ name, value *yaml.Node }
	var pairs []pair
	seen := map[string]bool{}
	for i := 0; i < len(node.Content); i += 2 {
		name := node.Content[i]
		if seen[name.Value] {
			return d.errorf(name.Line, join(key, name.Value), "given twice")
		}
		seen[name.Value] = true
		pairs = append(pairs, pair{name, node.Content[i+1]})
	}
	rank := func(p pair) int { return rank(join(key, p.name.Value)) }
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(rank(a), rank(b)) })
	for _, p := range pairs {
		if err := f(p.name.Value, p.name.Line, p.value); err != nil {
			return err
		}
	}
	return nil
}

func rank(key string) int {
	parts := strings.Split(key, ".")
	switch last := parts[len(parts)-1]; {
	case slices.Contains(parts, "grid") || slices.Contains(parts, "zip"):
		return 2
	case last == "family" || last == "kind":
		return 0
	}
	return 1
}

// scalar fills a number, a text, or a short list of numbers.
func (d *decoder) scalar(node *yaml.Node, v reflect.Value, key string) error {
	// The yaml package cuts 1.5 down to an int, doesn't read 1e5 as one, takes any scalar for a string, and null for zero.
	want := wanted(v.Type())
	if v.Kind() == reflect.Array && (node.Kind != yaml.SequenceNode || len(node.Content) != v.Len()) {
		return d.errorf(node.Line, key, "%s: want %s", text(node), want)
	}
	for _, item := range node.Content {
		if item.Tag == "!!null" || item.Kind != yaml.ScalarNode {
			return d.errorf(item.Line, key, "%s in a list: want %s", text(item), want)
		}
	}
	if node.Tag == "!!null" || v.Kind() == reflect.String && node.Tag != "!!str" {
		return d.errorf(node.Line, key, "%s: want %s", text(node), want)
	}
	fresh := reflect.New(v.Type())
	if v.Kind() == reflect.Int {
		var f float64
		if node.Decode(&f) != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return d.errorf(node.Line, key, "%s: want %s", text(node), want)
		}
		fresh.Elem().SetInt(int64(f))
	} else if err := node.Decode(fresh.Interface()); err != nil || node.Tag == "!!float" && strings.Contains(want, "whole") {
		return d.errorf(node.Line, key, "%s: want %s", text(node), want)
	}
	v.Set(fresh.Elem())
	return nil
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "a word"
	case reflect.Int:
		return "a whole number"
	case reflect.Uint32:
		return "a whole number 0 … 4294967295"
	case reflect.Float64:
		return "a number"
	case reflect.Array, reflect.Slice:
		return fmt.Sprintf("a list of %d numbers", t.Len())
	}
	return t.String()
}

// text shows a node in an error.
func text(node *yaml.Node) string {
	if node.Kind == yaml.ScalarNode {
		return fmt.Sprintf("%q", node.Value)
	}
	if node.Kind == yaml.SequenceNode {
		return fmt.Sprintf("a list of %d", len(node.Content))
	}
	return "a mapping"
}

// set gives the setting at key of run the value of node.
func (d *decoder) set(run *Run, key string, node *yaml.Node) error {
	return d.descend(reflect.ValueOf(run).Elem(), "", key, node)
}

func (d *decoder) descend(v reflect.Value, prefix, key string, node *yaml.Node) error {
	if v.Kind() != reflect.Struct {
		return d.errorf(node.Line, join(prefix, key), "unknown key; %s has no parts", prefix)
	}
	name, rest, nested := strings.Cut(key, ".")
	full := join(prefix, name)
	d.lines[full] = node.Line
	return d.within(v, name, full, node.Line, func(field reflect.Value) error {
		if nested {
			return d.descend(field, full, rest, node)
		}
		return d.decode(node, field, full)
	})
}
