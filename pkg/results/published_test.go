package results_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/backend"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"

	_ "raretask/pkg/exact"
)

// published returns the results that the notebooks draw. Tests of them are skipped only while every file there is of the format before
// this one, which .ci/refresh renews all at once; from the first new one on, an old one is an error.
func published(t *testing.T) (dir string, files []*results.File) {
	t.Helper()
	root, err := backend.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(root, "notebooks", "data")
	quick, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	paper, err2 := filepath.Glob(filepath.Join(dir, "paper", "*.parquet"))
	if err != nil || err2 != nil || len(quick) == 0 || len(paper) == 0 {
		t.Fatalf("%d published results, %d at the paper's scale", len(quick), len(paper))
	}
	var old []string
	for _, path := range append(quick, paper...) {
		file, err := results.OpenFile(path)
		var older *results.OlderError
		switch {
		case errors.As(err, &older):
			old = append(old, path)
		case err != nil:
			t.Error(err)
		default:
			files = append(files, file)
		}
	}
	for _, name := range old {
		t.Errorf("%s is of the format before this one: run .ci/refresh", name)
	}
	return dir, files
}

// Every evaluation of every published run obeys what holds for every encoder: Theorem 4's bound, and tasks that never help each other's
// gradients; and each file is named by the stack it holds, of this engine.
func TestPublishedResultsObeyTheory(t *testing.T) {
	_, files := published(t)
	gradients, interferences := 0, 0
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f.Path), ".parquet"); name != f.Hash || f.Hash != f.Stack.Published() {
			t.Errorf("%s holds stack %s, whose runs hash to %s", name, f.Hash, f.Stack.Published())
		}
		runs := f.Runs()
		if err := runs.Load(f.Columns); err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			for i, step := range r.Steps {
				// Both are rounded to single precision from numbers that may differ by rounding in double precision.
				if norm, bound := r.Value("frequent_gradient", i, 1), r.Value("bound", i, 1); !math.IsNaN(norm + bound) {
					gradients++
					if norm > bound*(1+1e-6) {
						t.Errorf("%s, width %d, step %d: ||G_F|| = %g above its bound %g", f.Path, r.Net.Width, step, norm, bound)
					}
				}
				for k := 1; k <= r.Mixture.Tasks; k++ {
					if v := r.Value("interference", i, k); !math.IsNaN(v) {
						interferences++
						if v > 0 {
							t.Errorf("%s, width %d, step %d, task %d: <G_k, G_F> = %g > 0", f.Path, r.Net.Width, step, k, v)
						}
					}
				}
			}
		}
	}
	if gradients == 0 || interferences == 0 {
		t.Errorf("checked %d gradients and %d interferences of %d files: want some of both", gradients, interferences, len(files))
	}
}

// Published results are those of the presets that the notebooks name: after a change of a preset or of the engine they must be made again.
func TestPublishedCoverNotebooks(t *testing.T) {
	dir, _ := published(t)
	names := presetsOfNotebooks(t, filepath.Dir(dir))
	if len(names) == 0 {
		t.Fatal("the notebooks name no preset: the test has tested nothing")
	}
	store := results.Store{Dir: t.TempDir(), Published: dir}
	for _, name := range names {
		for _, stack := range stacksOf(t, name, "quick") {
			if _, err := store.Find(stack, nil, results.Want{Steps: train.Steps(stack[0].Train)}); err != nil {
				t.Errorf("%s, seed %d: %v; run .ci/refresh", name, stack[0].Train.Seed, err)
			}
		}
	}
}

// What is published at the paper's scale is what presets say at that scale.
func TestPublishedAtPaperScale(t *testing.T) {
	_, files := published(t)
	presets := map[string]string{} // of each stack
	for _, name := range spec.Presets() {
		for _, stack := range stacksOf(t, name, "paper") {
			presets[stack.Published()] = name
		}
	}
	for _, f := range files {
		if filepath.Base(filepath.Dir(f.Path)) == "paper" && presets[f.Hash] == "" {
			t.Errorf("%s holds a stack of no preset at the paper's scale", f.Path)
		}
	}
}

// stacksOf returns the stacks of a preset at a scale.
func stacksOf(t *testing.T, preset, scale string) []spec.Stack {
	t.Helper()
	s, err := spec.Load(preset, scale)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs()
	if err != nil {
		t.Fatal(err)
	}
	return spec.Stacks(runs)
}

var quoted = regexp.MustCompile(`"[^"\\\n]*"`)

// presetsOfNotebooks returns the presets whose names stand as texts in the code of notebooks.
func presetsOfNotebooks(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.ipynb"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no notebooks: %v", err)
	}
	named := map[string]bool{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var notebook struct {
			Cells []struct {
				Type   string `json:"cell_type"`
				Source any
			}
		}
		if err := json.Unmarshal(text, &notebook); err != nil {
			t.Fatal(err)
		}
		for _, cell := range notebook.Cells {
			lines, _ := cell.Source.([]any)
			for _, line := range append(lines, cell.Source) {
				source, _ := line.(string)
				for _, text := range quoted.FindAllString(source, -1) {
					named[strings.Trim(text, `"`)] = cell.Type == "code" || named[strings.Trim(text, `"`)]
				}
			}
		}
	}
	return slices.DeleteFunc(spec.Presets(), func(name string) bool { return !named[name] })
}
