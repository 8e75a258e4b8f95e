package spec

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
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
		names = append(names, name)
	}
	slices.Sort(names)
	return reflect.Value{}, names
}

// decode fills v, the setting at key, from node.
func (d *decoder) decode(node *yaml.Node, v reflect.Value, key string) error {
	d.lines[key] = node.Line
	if v.Kind() != reflect.Struct {
		return d.scalar(node, v, key)
	}
	if node.Kind != yaml.MappingNode {
		return d.errorf(node.Line, key, "%s: want keys and values", text(node))
	}
	seen := map[string]bool{}
	for i := 0; i < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		full := join(key, name.Value)
		field, names := fieldOf(v, name.Value)
		switch {
		case !field.IsValid():
			return d.errorf(name.Line, full, "unknown key; allowed here: %s", strings.Join(names, ", "))
		case seen[name.Value]:
			return d.errorf(name.Line, full, "given twice")
		}
		seen[name.Value] = true
		if err := d.decode(value, field, full); err != nil {
			return err
		}
	}
	return nil
}

// scalar fills a number, a text, or a short list of numbers.
func (d *decoder) scalar(node *yaml.Node, v reflect.Value, key string) error {
	// The yaml package cuts 1.5 down to an int, doesn't read 1e5 as one, takes any scalar for a string, and null for zero.
	want := wanted(v.Type())
	if v.Kind() == reflect.Array && (node.Kind != yaml.SequenceNode || len(node.Content) != v.Len()) {
		return d.errorf(node.Line, key, "%s: want %s", text(node), want)
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
	v, prefix := reflect.ValueOf(run).Elem(), ""
	for name := range strings.SplitSeq(key, ".") {
		if v.Kind() != reflect.Struct {
			return d.errorf(node.Line, key, "unknown key; %s has no parts", prefix)
		}
		field, names := fieldOf(v, name)
		if !field.IsValid() {
			return d.errorf(node.Line, key, "unknown key; allowed under %q: %s", prefix, strings.Join(names, ", "))
		}
		v, prefix = field, join(prefix, name)
	}
	return d.decode(node, v, key)
}
