package allocation_test

import (
	"reflect"
	"testing"

	"raretask/pkg/allocation"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/sweep"
)

// Tables are drawn of what a sweep stored, or of what was published of it for them: a second look, and one at published results alone,
// train nothing and show the same.
func TestStored(t *testing.T) {
	b := backendtest.XLA(t)
	own, published := t.TempDir(), t.TempDir()
	for _, name := range []string{"allocation", "allocation-parity"} {
		s, err := spec.Load(name, "smoke")
		if err != nil {
			t.Fatal(err)
		}
		look := func(store *results.Store) (tables [][]any, worked bool) {
			t.Helper()
			runs, err := sweep.Run(t.Context(), s, b, store, func(sweep.Progress) { worked = true })
			if err != nil || len(runs) != 2 {
				t.Fatalf("%s: %d runs, %v", name, len(runs), err)
			}
			if worked {
				if err := runs.Publish(published); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range runs {
				_, rows, err := allocation.Table(r)
				if err != nil {
					t.Fatal(err)
				}
				tables = append(tables, rows...)
			}
			return tables, worked
		}
		first, worked := look(&results.Store{Dir: own})
		if !worked {
			t.Fatalf("%s was not trained", name)
		}
		for where, store := range map[string]*results.Store{"own": {Dir: own}, "published": {Dir: t.TempDir(), Published: published}} {
			if again, worked := look(store); worked || !reflect.DeepEqual(again, first) {
				t.Errorf("%s of %s results: trained %t, %v, was %v", name, where, worked, again, first)
			}
		}
	}
}
