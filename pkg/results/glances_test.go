package results

import (
	"errors"
	"math"
	"os"
	"slices"
	"testing"

	"raretask/pkg/train"
)

// glanced is results with a column that is known often, at two further steps.
func glanced(t *testing.T, store *Store) *File {
	t.Helper()
	f, runs := example()
	f.Glances = []int{4, 5}
	f.Columns = append(f.Columns, train.Column{Name: "often", About: "of the run", Often: true})
	for i, r := range runs {
		r.values["often"] = []float64{math.NaN(), 10 + float64(i)}
		r.WithGlances(f.Glances, map[string][]float64{"often": {4 + float64(i), 5 + float64(i)}})
	}
	f, err := store.Write(f, runs)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestGlances(t *testing.T) {
	store := &Store{Dir: t.TempDir(), Published: t.TempDir()}
	f := glanced(t, store)
	often := Want{Columns: []string{"often", "train_loss"}, Steps: []int{0, 10}, Glances: []int{4, 10}}
	found, err := store.Find(f.Stack, []string{id.Key()}, often)
	if err != nil {
		t.Fatal(err)
	}
	runs := found.Runs()
	if err := runs.Need(Design{Vary: []string{"net.width"}, Columns: []string{"often", "train_loss", "loss_sampled"}}); err != nil {
		t.Fatal(err)
	}
	steps, values := runs[1].Often("often")
	if !slices.Equal(steps, []int{0, 4, 5, 10}) || !math.IsNaN(values[0]) || !slices.Equal(values[1:], []float64{5, 6, 11}) {
		t.Errorf("%v at %v; want NaN, 5, 6, 11 at 0, 4, 5, 10", values, steps)
	}
	if steps, values := runs[1].Often("train_loss"); !slices.Equal(steps, []int{0, 10}) || values[1] != 1.25 {
		t.Errorf("training loss %v at %v", values, steps)
	}
	if runs[1].Final("loss_sampled", 1) != .125 || runs[1].Final("often", 1) != 11 {
		t.Error("glances move other numbers")
	}
	var incomplete *IncompleteError
	for _, step := range []int{4, 6} {
		want := Want{Steps: []int{4}, Glances: []int{step}}
		if _, err := store.Find(f.Stack, []string{id.Key()}, want); !errors.As(err, &incomplete) || !slices.Contains(incomplete.Steps, step) {
			t.Errorf("error %v of what is known at a glance alone, or not at all", err)
		}
	}

	// Exports have a row for each glance, without a task; in the long form of what is known there.
	text, table, _ := exported(t, false, []*File{f})
	same(t, text, table)
	columns := []string{"net.width", "step", "samples", "task", "train_loss", "often"}
	for line, want := range map[int]string{
		2: `["2" "0" "0" "2" "" ""]`, 3: `["2" "4" "1024" "" "" "4"]`, 4: `["2" "5" "1280" "" "" "5"]`, 5: `["2" "10" "2560" "1" "0.25" "10"]`,
	} {
		if got := at(t, text, line, columns...); got != want || len(text) != 1+2*(2*2+2) {
			t.Errorf("line %d of %d: %s; want %s", line, len(text), got, want)
		}
	}
	text, table, _ = exported(t, true, []*File{f})
	same(t, text, table)
	if got := at(t, text, 5, "step", "task", "metric", "value"); got != `["4" "" "often" "4"]` || len(text) != 1+2*(2*(2+2)+2) {
		t.Errorf("%d lines, the fifth %s", len(text), got)
	}

	// Published is what is drawn.
	for _, c := range []struct {
		columns []string
		glances int
	}{{[]string{"train_loss"}, 0}, {[]string{"often"}, 2}, {[]string{"train_loss"}, 2}} {
		if err := Publish(f, store.Published, c.columns, false); err != nil {
			t.Fatal(err)
		}
		published, err := OpenFile(publishedPath(store.Published, f.Hash))
		if err != nil || len(published.Glances) != c.glances {
			t.Errorf("published %v: glances at %v, %v", c.columns, published.Glances, err)
		}
	}

	// A file with another number of rows than it says is damaged.
	data, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Path, resealed(t, data, []byte(`"glances":[4,5]`), []byte(`"glances":[ 4 ]`)), 0o644); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := OpenFile(f.Path); !errors.As(err, &damaged) {
		t.Errorf("error %v of a file with a row too many", err)
	}
}

// Of a column that is read at the end alone the last number is published, beside others at all steps, until somebody reads it at all.
func TestPublishedAtTheEndAlone(t *testing.T) {
	store := &Store{Dir: t.TempDir(), Published: t.TempDir()}
	f, made := example()
	f.Steps = []int{0, 5, 10}
	for _, r := range made {
		r.Steps = f.Steps
		r.values = map[string][]float64{"train_loss": {math.NaN(), .3, .25}, "loss_sampled": {.5, 1, .25, 1, .125, 1}}
	}
	f, err := store.Write(f, made)
	if err != nil {
		t.Fatal(err)
	}
	published := func(final bool, columns ...string) Runs {
		if err := Publish(f, store.Published, columns, final); err != nil {
			t.Fatal(err)
		}
		file, err := OpenFile(publishedPath(store.Published, f.Hash))
		if err != nil {
			t.Fatal(err)
		}
		runs := file.Runs()
		if err := runs.Load(file.Columns); err != nil {
			t.Fatal(err)
		}
		return runs
	}
	published(false, "train_loss")
	for range 2 {
		runs := published(true, "loss_sampled")
		if r := runs[0]; len(r.Steps) != 3 || !math.IsNaN(r.Value("loss_sampled", 0, 1)) || r.Final("loss_sampled", 1) != .125 {
			t.Errorf("loss %v at %v: want that of the last step alone", r.Series("loss_sampled", 1), r.Steps)
		}
		design := Design{Vary: []string{"net.width"}, Columns: []string{"loss_sampled"}}
		if err := runs.Need(design); err == nil {
			t.Error("read at all steps: want an error")
		}
		if design.Final = true; runs.Need(design) != nil {
			t.Errorf("read at the end: %v", runs.Need(design))
		}
	}
	if r := published(false, "loss_sampled")[0]; r.Value("loss_sampled", 0, 1) != .5 || r.Final("loss_sampled", 1) != .125 {
		t.Errorf("loss %v: want all of it", r.Series("loss_sampled", 1))
	}
}
