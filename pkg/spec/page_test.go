package spec

import (
	"slices"
	"strings"
	"testing"
)

// A sweep written out in full has the same stacks, whatever it started from.
func TestYAMLSaysEverything(t *testing.T) {
	for _, name := range Presets() {
		for _, scale := range Scales {
			s, err := Load(name, scale)
			if err != nil {
				t.Fatal(err)
			}
			text, err := s.YAML()
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse("again.yaml", text, "smoke")
			if err != nil {
				t.Errorf("%s at %s: %v in\n%s", name, scale, err, text)
				continue
			}
			before, _ := s.Runs()
			after, _ := again.Runs()
			if Stack(before).Hash() != Stack(after).Hash() || s.Memory != again.Memory || !slices.Equal(s.Metrics, again.Metrics) ||
				!slices.Equal(s.Keep, again.Keep) {
				t.Errorf("%s at %s is another sweep as\n%s", name, scale, text)
			}
		}
	}
}

// Every setting is documented once for each kind that has it, with what is allowed where something isn't.
func TestKeys(t *testing.T) {
	keys := Keys()
	seen := map[string]bool{}
	for _, k := range keys {
		id := k.Name + " of " + k.Of
		if seen[id] || k.Type == "" || k.About == "" {
			t.Errorf("%+v: want it once, with a type and what it is", k)
		}
		seen[id] = true
	}
	for name, want := range map[string]string{"train.rate": "a number > 0", "net.width": "1 …", "mixture.frequency.law": "power",
		"train.schedule": "cosine"} {
		i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name && k.Of == "" })
		if i < 0 || !strings.Contains(keys[i].Allowed, want) {
			t.Errorf("%s: %+v, want %q allowed", name, keys[max(i, 0)], want)
		}
	}
	for _, id := range []string{"mixture.alpha of family regression", "mixture.bits of family parity", "net.depth of kind mlp",
		"net.layers of kind transformer"} {
		if !seen[id] {
			t.Errorf("%s is missing", id)
		}
	}
}
