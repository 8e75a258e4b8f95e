package spec

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/tasks"
)

// Setting is one setting of a run.
type Setting struct {
	Key   string // as in "mixture.frequency.exponent"
	Value any    // int, uint32, float64, string, or an array of them
	About string
	Seed  bool   // runs that differ in such settings alone are replicates
	Path  bool   // it changes the path of the weights
	vary  string // the tag vary
	added bool   // the tag hash says "added": its zero value, as settings have that were made before it was, is no part of an identity
}

// Settings returns every setting of a run in the order of a spec, those of its family and its kind of net included.
func (r Run) Settings() []Setting {
	data := r.Train.DataSeed()
	r.Train.Data = &data
	return collect(nil, "", reflect.ValueOf(r))
}

func collect(settings []Setting, prefix string, v reflect.Value) []Setting {
	for i, field := range fieldsOf(v.Type(), prefix) {
		value := v.Field(i)
		for value.Kind() == reflect.Interface || value.Kind() == reflect.Pointer {
			value = value.Elem()
		}
		if value.Kind() == reflect.Struct {
			settings = collect(settings, field.Key, value)
			continue
		}
		field.Value = value.Interface()
		settings = append(settings, field)
	}
	return settings
}

// fieldsOf returns what the tags of a struct say of its fields, which it reads once: a grid has thousands of runs.
func fieldsOf(of reflect.Type, prefix string) []Setting {
	key := [2]any{of, prefix}
	if known, found := fields.Load(key); found {
		return known.([]Setting)
	}
	all := make([]Setting, of.NumField())
	for i := range all {
		tag := of.Field(i).Tag
		name, options, _ := strings.Cut(tag.Get("yaml"), ",")
		if all[i] = (Setting{Key: join(prefix, name), About: tag.Get("about"), Seed: tag.Get("role") == "seed", Path: tag.Get("hash") != "-",
			vary: tag.Get("vary"), added: tag.Get("hash") == "added"}); options == "inline" {
			all[i].Key = prefix
		}
	}
	fields.Store(key, all)
	return all
}

var fields sync.Map

// digest returns 16 hexadecimal digits that identify texts.
func digest(texts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\n")))
	return hex.EncodeToString(sum[:8])
}

// identify returns the digest of the settings that are chosen, and of content outside of the spec; published: but for everybody's.
func (r Run) identify(published bool, chosen func(Setting) bool) string {
	family, _ := tasks.Named(r.Mixture.Family)
	texts := []string{fmt.Sprintf("engine %d", family.Engine)}
	for _, s := range r.Settings() {
		if chosen(s) && !(s.added && reflect.ValueOf(s.Value).IsZero()) {
			texts = append(texts, fmt.Sprintf("%s %v", s.Key, s.Value))
		}
	}
	if outside, ok := r.Mixture.Settings.(tasks.Identified); ok {
		content, everybodys := outside.Identity()
		if published && everybodys {
			content = "everybody's"
		}
		texts = append(texts, "content "+content)
	}
	return digest(texts...)
}

// Hash returns 16 hexadecimal digits that identify what decides the path of the run's weights: every setting but how often it is
// looked at.
func (r Run) Hash() string { return r.identify(false, onPath) }

func onPath(s Setting) bool { return s.Path }

// Stack is runs that train side by side in one program, on one data stream. They share everything but width, rate and the seed of the
// initial values.
type Stack []Run

// Hash returns 16 hexadecimal digits that identify the stack: its runs in their order.
func (s Stack) Hash() string {
	return digest(xslices.Map(s, Run.Hash)...)
}

// Published returns the name of the stack's published results: a hash as Hash is, but for content that everybody has in a version of their
// own (see tasks.Identified). Without such content it is Hash.
func (s Stack) Published() string {
	return digest(xslices.Map(s, func(r Run) string { return r.identify(true, onPath) })...)
}

// Program returns the part of the stack that needs its own compilation; stacks with equal programs differ only
// in what a compiled program takes as input (frequencies, seeds, rates, a family's constants, an injection's numbers).
func (s Stack) Program() string {
	texts := xslices.Map(s, func(r Run) string { return fmt.Sprint(r.Net.Width) })
	if s[0].Train.Injection != (Injection{}) {
		texts = append(texts, "injection")
	}
	if s[0].Train.Schedule == "cosine" { // which ends with the steps
		texts = append(texts, fmt.Sprint(s[0].Train.Steps))
	}
	return digest(append(texts, s[0].identify(false, func(s Setting) bool { return s.vary == "" }))...)
}

// Stacks splits runs into stacks: one for each mixture, training set-up and data stream, its runs ordered by
// width. The order of stacks is that of their first runs.
func Stacks(runs []Run) []Stack {
	index := map[string]int{}
	var stacks []Stack
	for _, r := range runs {
		key := r.identify(false, func(s Setting) bool { return s.vary != "run" })
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

// beside returns the JSON of two structs as one object.
func beside(a, b any) ([]byte, error) {
	first, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	second, err := json.Marshal(b)
	if err != nil || len(second) == 2 {
		return first, err
	}
	return append(append(first[:len(first)-1], ','), second[1:]...), nil
}

// read reads what beside has written: a struct, which then chooses the type of its settings, and those.
func read[T any](text []byte, own any, choose func() error, settings *T) error {
	if err := cmp.Or(json.Unmarshal(text, own), choose()); err != nil {
		return err
	}
	v := reflect.New(reflect.TypeOf(*settings))
	v.Elem().Set(reflect.ValueOf(*settings))
	err := json.Unmarshal(text, v.Interface())
	*settings = v.Elem().Interface().(T)
	return err
}
