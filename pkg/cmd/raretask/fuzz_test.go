package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"raretask/pkg/net"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/sweep"
	"raretask/tasks"
)

// FuzzSpec does with any text what commands do with a spec before anything is trained. Its corpus holds what once broke:
//
//	go test ./pkg/cmd/raretask -run - -fuzz FuzzSpec
func FuzzSpec(f *testing.F) {
	for text := range presetTexts(f) {
		f.Add(text, uint8(0))
	}
	store := &results.Store{Dir: f.TempDir()}
	f.Fuzz(func(t *testing.T, text string, scale uint8) {
		consider(t, store, text, spec.Scales[int(scale)%len(spec.Scales)])
	})
}

// Presets with a few settings, keys and lists changed, most of which are wrong: 500 of them, or RARETASK_SPECS, from the
// RARETASK_FIRST_SPEC-th on.
func TestMutatedSpecs(t *testing.T) {
	first, count := count("RARETASK_FIRST_SPEC", 0), count("RARETASK_SPECS", 500)
	texts := slices.Sorted(maps.Keys(presetTexts(t)))
	for _, text := range slices.Clone(texts) { // those with closed forms come four times: of most mutants nothing is left but a refusal
		if s, err := spec.Parse("x.yaml", []byte(text), "quick"); err == nil {
			if _, err := s.Base.Mixture.Theory(); err == nil {
				texts = append(texts, text, text, text)
			}
		}
	}
	store := &results.Store{Dir: t.TempDir()}
	begin, came := processor(), map[string]int{}
	for i := range count {
		m := mutator{rand.New(rand.NewPCG(uint64(first+i), 1))}
		text := m.spec(t, texts[m.IntN(len(texts))])
		came[consider(t, store, text, spec.Scales[m.IntN(len(spec.Scales))])]++
		if t.Failed() {
			t.Fatalf("spec %d", first+i)
		}
		if (i+1)%10_000 == 0 {
			t.Logf("%d specs: %v", i+1, came)
		}
	}
	t.Logf("%d specs, %.0f for each second of the processor: %v", count, float64(count)/(processor()-begin).Seconds(), came)
	if count >= 500 && (came["refused"] < count/10 || came["with closed forms"] < count/10) {
		t.Errorf("of %d specs: %v; want many of each", count, came)
	}
}

// presetTexts returns the texts of all presets.
func presetTexts(tb testing.TB) map[string]bool {
	texts := map[string]bool{}
	for _, name := range spec.Presets() {
		text, err := os.ReadFile("../../spec/presets/" + name + ".yaml")
		if err != nil {
			tb.Fatal(err)
		}
		texts[string(text)] = true
	}
	return texts
}

// consider parses and plans a spec, and computes and prints its closed forms, and says how far it came. What is wrong must be an error
// that names the document, what is right must keep its meaning in a result file, and neither may take long or much memory.
func consider(t testing.TB, store *results.Store, text, scale string) string {
	watch()
	watched.Store(&spell{text: text, begin: processor()})
	defer watched.Store(nil)
	s, err := spec.Parse("x.yaml", []byte(text), scale)
	if err != nil {
		if !strings.HasPrefix(err.Error(), "x.yaml") {
			t.Errorf("%q doesn't name the document of\n%.2000s", err, text)
		}
		return "refused"
	}
	runs, err := s.Runs()
	if err != nil {
		t.Errorf("%v, after it was parsed:\n%.2000s", err, text)
	}
	for _, run := range []spec.Run{runs[0], runs[len(runs)-1]} {
		var again spec.Run
		written, err := json.Marshal(run)
		if err == nil {
			err = json.Unmarshal(written, &again)
		}
		if err != nil || again.Hash() != run.Hash() {
			t.Errorf("a run came back from JSON as %+v, %v:\n%.2000s", again, err, text)
		}
	}
	p, err := sweep.NewPlan(s, store, nil)
	if err != nil {
		return "can't be planned"
	}
	all, left := p.Cost()
	if all != left || all.Parameters < 1 || all.Memory < 1 || !(all.FLOPs > 0) || all.Kept < 0 || p.Programs() < 1 {
		t.Errorf("cost %+v, %d programs of\n%.2000s", all, p.Programs(), text)
	}
	forms, err := closedForms(s, nil)
	if err != nil {
		return "without closed forms"
	}
	for _, form := range forms {
		form.print(io.Discard)
	}
	return "with closed forms"
}

// spell is the time that a spec is considered.
type spell struct {
	text  string
	begin time.Duration
}

var watched atomic.Pointer[spell] // the one that goes on

// processor returns how long this process has computed: others may keep the machine busy.
func processor() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// longest is how long a spec may take; the race detector is some ten times as slow.
var longest = 5 * time.Second

// watch ends the process when a spec takes longer, or more than 1 GiB.
var watch = sync.OnceFunc(func() {
	go func() {
		heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for range time.Tick(20 * time.Millisecond) {
			w := watched.Load()
			if w == nil {
				continue
			}
			metrics.Read(heap)
			if took := processor() - w.begin; took > longest || heap[0].Value.Uint64() > 1<<30 {
				panic(fmt.Sprintf("%v and %d MiB for\n%.3000s", took, heap[0].Value.Uint64()>>20, w.text))
			}
		}
	}()
})

// mutator changes specs.
type mutator struct{ *rand.Rand }

// spec returns the text of a spec in which up to three things are changed.
func (m mutator) spec(t *testing.T, text string) string {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	for range 1 + m.IntN(1+m.IntN(3)) {
		var all []*yaml.Node
		collectNodes(&document, &all)
		m.change(document.Content[0], all[1+m.IntN(len(all)-1)], all[m.IntN(len(all))])
	}
	changed, err := yaml.Marshal(&document)
	if err != nil {
		t.Fatal(err)
	}
	return string(changed)
}

func collectNodes(node *yaml.Node, all *[]*yaml.Node) {
	*all = append(*all, node)
	for _, c := range node.Content {
		collectNodes(c, all)
	}
}

// change makes one change: half of the time of a setting or an axis by its key, else of a node, to which another may lend something.
func (m mutator) change(root, node, other *yaml.Node) {
	key := keys[m.IntN(len(keys))]
	switch m.IntN(10) {
	case 0, 1:
		put(root, strings.Split(key, "."), m.valueOf(key))
	case 2, 3:
		put(root, []string{[]string{"grid", "grid", "zip"}[m.IntN(3)], key}, m.list(key))
	case 4:
		put(root, []string{"scales", spec.Scales[m.IntN(3)], key}, m.valueOf(key))
	case 5:
		top := []string{"memory", "keep", "metrics", "about", "scales", "grid", "zip", "net", "train", "mixture", "none", ""}
		put(root, []string{top[m.IntN(len(top))]}, []*yaml.Node{m.value(), m.list(key)}[m.IntN(2)])
	case 6, 7:
		*node = *m.value()
	case 8:
		if node.Kind == yaml.SequenceNode || len(node.Content) == 0 {
			*node = *m.list(key)
			break
		}
		at := m.IntN(len(node.Content)/2) * 2 // a pair is left out, or stands twice
		pair := slices.Clone(node.Content[at : at+2])
		if m.IntN(2) == 0 {
			node.Content = slices.Delete(node.Content, at, at+2)
		} else {
			node.Content = append(node.Content, pair...)
		}
	case 9:
		if other.Kind == yaml.ScalarNode && node != other {
			other.Anchor = "a" + strconv.Itoa(m.IntN(1000))
			*node = yaml.Node{Kind: yaml.AliasNode, Alias: other, Value: other.Anchor}
		}
	}
}

// put gives the key at a path below a mapping a value.
func put(node *yaml.Node, path []string, value *yaml.Node) {
	for i, name := range path {
		if node.Kind != yaml.MappingNode {
			return
		}
		at := 0
		for at < len(node.Content) && node.Content[at].Value != name {
			at += 2
		}
		if at == len(node.Content) {
			node.Content = append(node.Content, scalar(name), &yaml.Node{Kind: yaml.MappingNode})
		}
		if i == len(path)-1 {
			node.Content[at+1] = value
			return
		}
		node = node.Content[at+1]
	}
}

func scalar(value string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: value} }

// settings are those of all families and kinds of nets, with values that they may have.
var settings = func() map[string]any {
	all := map[string]any{}
	for _, family := range tasks.Names() {
		for _, kind := range net.Names() {
			run := spec.Default()
			k, _ := tasks.Named(family)
			run.Mixture.Family, run.Mixture.Settings, run.Net = family, k.Defaults, spec.NewNet(kind, 4)
			for _, s := range run.Settings() {
				all[s.Key] = s.Value
			}
		}
	}
	return all
}()

var keys = slices.Sorted(maps.Keys(settings))

var values = []string{
	"", "~", "null", "0", "1", "2", "3", "4", "8", "16", "20", "64", "100", "128", "1000", "1024", "10000", "65536", "1048576", "1048577",
	"16777216",
	"16777217", "184756", "2147483647", "2147483648", "4294967295", "4294967296", "4294967306", "9007199254740992", "9007199254740993",
	"9223372036854775807", "9223372036854775808", "18446744073709551616", "1e3", "1e9", "1e300", "1e400", "1e39", "1e-39", "5e-324",
	".999999999999", "010", "1e-16", ".1", ".5", ".999", "1.5",
	"2.5", "50", "-0.0", "-1", "-9223372036854775808", "-1e300", ".nan", ".inf", "-.inf", "0x10", "0o17", "0b1", "1_000", "true", "no",
	"2001-01-01",
	"power", "parity", "regression", "mlp", "bottleneck", "mup", "standard", "adam", "adamw", "sgd", "constant", "cosine", "inverse-sqrt",
	"all",
	"matrices", "float32", "bfloat16", "weight", "surgery", "mask", "exact", "loss_sampled", "allocation", "smoke", "<<", "a\x00b", "\xff",
	"é",
	"a: b",
}

// valueOf returns a value for a setting, often one that it may have.
func (m mutator) valueOf(key string) *yaml.Node {
	if m.IntN(2) == 0 {
		return m.value()
	}
	switch v := settings[key].(type) {
	case int:
		return scalar(strconv.Itoa(max(1, v) << m.IntN(4) >> m.IntN(4)))
	case uint32:
		return scalar(strconv.Itoa(m.IntN(100)))
	case float64:
		return scalar(strconv.FormatFloat(v*m.ExpFloat64(), 'g', 3, 64))
	case string:
		return scalar(v)
	}
	return &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Content: []*yaml.Node{scalar("0.5"), scalar(".9")}}
}

// value returns a scalar or, rarely, a list or a mapping.
func (m mutator) value() *yaml.Node {
	switch m.IntN(12) {
	case 0:
		return m.list("")
	case 1:
		return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("task"), m.value()}}
	case 2, 3, 4:
		return scalar(strconv.Itoa(1 << m.IntN(12)))
	}
	return scalar(values[m.IntN(len(values))])
}

// list returns a list of a few values for a setting or, rarely, of many numbers.
func (m mutator) list(key string) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	if m.IntN(8) == 0 {
		for i := range 1 << m.IntN(12) {
			list.Content = append(list.Content, scalar(strconv.Itoa(1+i)))
		}
		return list
	}
	for range m.IntN(4) {
		list.Content = append(list.Content, m.valueOf(key))
	}
	return list
}
