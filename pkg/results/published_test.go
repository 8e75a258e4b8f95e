package results

import (
	"path/filepath"
	"strings"
	"testing"

	"raretask/pkg/backend"
	"raretask/pkg/spec"
)

// Every evaluation of every published run obeys what holds for every encoder: Theorem 4's bound, and tasks that never
// help each other's gradients; and each file is named by the stack it holds.
func TestPublishedResultsObeyTheory(t *testing.T) {
	root, err := backend.Root()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(root, "notebooks", "data", "*.parquet"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no published results: %v", err)
	}
	checked := 0
	for _, path := range paths {
		file, closer, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		stack, _ := file.Lookup("stack")
		closer.Close()
		if name := strings.TrimSuffix(filepath.Base(path), ".parquet"); name != stack {
			t.Errorf("%s holds stack %s", name, stack)
		}
		rows, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Gradient == nil {
				continue
			}
			checked++
			// Both are rounded to single precision from numbers that may differ by rounding in double precision.
			if *r.Gradient > *r.Bound*(1+1e-6) {
				t.Errorf("%s, width %d, step %d: ||G_F|| = %g above its bound %g", path, r.Width, r.Step, *r.Gradient, *r.Bound)
			}
			if *r.Overlap > 0 {
				t.Errorf("%s, width %d, step %d, task %d: <G_k, G_F> = %g > 0", path, r.Width, r.Step, r.Task, *r.Overlap)
			}
		}
	}
	t.Logf("%d rows of %d stacks", checked, len(paths))
}

// Published results are those of the presets that the notebooks draw: after a change of a preset or of the engine they
// must be made again (.ci/refresh).
func TestPublishedCoverFig2(t *testing.T) {
	s, err := spec.Load("fig2", "quick")
	if err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs()
	if err != nil {
		t.Fatal(err)
	}
	root, err := backend.Root()
	if err != nil {
		t.Fatal(err)
	}
	store := Store{Dir: t.TempDir(), Published: filepath.Join(root, "notebooks", "data")}
	for _, stack := range spec.Stacks(runs) {
		if _, err := store.Find(stack, id); err != nil {
			t.Errorf("fig2, seed %d: %v; run .ci/refresh", stack[0].Train.Seed, err)
		}
	}
}
