package spec

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
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

// resolve puts what aliases stand for in their place.
func resolve(node *yaml.Node) {
	for i, c := range node.Content {
		if c.Kind == yaml.AliasNode {
			node.Content[i] = c.Alias
		} else {
			resolve(c)
		}
	}
}

// A chooser is a struct in which one key chooses what other keys there are.
type chooser interface {
	// choose is called when a key has been set. It returns a *KeyError where there is no such choice.
	choose() error
}

// choose gives a mixture the settings of its family, with their defaults where it had another's.
func (m *Mixture) choose() error {
	kind, ok := tasks.Named(m.Family)
	if ok && reflect.TypeOf(m.Settings) != reflect.TypeOf(kind.Defaults) {
		m.Settings = kind.Defaults
	}
	return tasks.Want(ok, "mixture.family", m.Family, strings.Join(tasks.Names(), " or "))
}

// choose gives a net the settings of its kind, with their defaults where it had another's.
func (n *Net) choose() error {
	kind, ok := net.Named(n.Kind)
	if ok && reflect.TypeOf(n.Settings) != reflect.TypeOf(kind.Defaults) {
		n.Settings = kind.Defaults
	}
	return tasks.Want(ok, "net.kind", n.Kind, strings.Join(net.Names(), " or "))
}

// within calls change with the field of struct v that has a name: one of v's own, or of the settings that stand inline in it, which are
// values behind an interface and replaced by their changed copy. Where there is none it returns the names that there are.
func within(v reflect.Value, name string, change func(reflect.Value) error) (found bool, names []string, err error) {
	for i := range v.NumField() {
		field := v.Field(i)
		own, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case options == "inline" && field.IsNil():
		case options == "inline":
			changed := reflect.New(field.Elem().Type()).Elem()
			changed.Set(field.Elem())
			found, more, err := within(changed, name, change)
			if found {
				field.Set(changed)
				return true, nil, err
			}
			names = append(names, more...)
		case own == name:
			return true, nil, change(field)
		default:
			names = append(names, own)
		}
	}
	return false, names, nil
}

// decode fills v, the setting at key, from node.
func (d *decoder) decode(node *yaml.Node, v reflect.Value, key string) error {
	d.lines[key] = node.Line
	if v.Kind() != reflect.Struct {
		return d.scalar(node, v, key)
	}
	return d.pairs(node, key, func(name string, line int, value *yaml.Node) error {
		full := join(key, name)
		found, names, err := within(v, name, func(field reflect.Value) error { return d.decode(value, field, full) })
		if !found {
			return d.errorf(line, full, "unknown key; allowed here: %s", strings.Join(slices.Sorted(slices.Values(names)), ", "))
		}
		if c, ok := v.Addr().Interface().(chooser); ok && err == nil {
			err = d.at(c.choose())
		}
		return err
	})
}

// set gives the setting at key of run the value of node.
func (d *decoder) set(run *Run, key string, node *yaml.Node) error {
	for _, part := range slices.Backward(strings.Split(key, ".")) {
		name := &yaml.Node{Kind: yaml.ScalarNode, Value: part, Line: node.Line}
		node = &yaml.Node{Kind: yaml.MappingNode, Line: node.Line, Content: []*yaml.Node{name, node}}
	}
	return d.decode(node, reflect.ValueOf(run).Elem(), "")
}

// pairs calls f for each key of a mapping: what a document starts from comes first, what chooses other keys before them, axes after all,
// wherever they stand.
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
	case key == "base":
		return -1
	case slices.Contains(parts, "grid") || slices.Contains(parts, "zip"):
		return 2
	case last == "family" || last == "kind":
		return 0
	}
	return 1
}

// octal is a number that YAML 1.1 reads in base 8, and few mean so.
var octal = regexp.MustCompile(`^[-+]?0[0-9_]`)

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
	if octal.MatchString(node.Value) {
		return d.errorf(node.Line, key, "%s: want %s without zeros before it, or 0o for base 8", text(node), want)
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
	switch value := fresh.Interface().(type) { // -0 is 0 by another hash
	case *float64:
		*value += 0
	case *[2]float64:
		value[0], value[1] = value[0]+0, value[1]+0
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
