package results

import (
	"math"
	"strings"
	"testing"

	"raretask/pkg/spec"
)

// A task that is none, a step that isn't there: a panic that says what there is, and not another task's number.
func TestValueOfNoTask(t *testing.T) {
	run := spec.Default()
	loss := make([]float64, 2*run.Mixture.Tasks)
	r := NewRun(run, []int{0, 5}, map[string][]float64{"loss": loss, "norm": {1, 2}})
	for what, c := range map[string]struct {
		of   func() float64
		want string
	}{
		"task 0":         {func() float64 { return r.Final("loss", 0) }, "want 1 … "},
		"one task more":  {func() float64 { return r.Value("loss", 0, run.Mixture.Tasks+1) }, "want 1 … "},
		"one step more":  {func() float64 { return r.Value("loss", 2, 1) }, "want 0 … 1"},
		"before step 0":  {func() float64 { return r.Value("norm", -1, 1) }, "want 0 … 1"},
		"the last task":  {func() float64 { return r.Final("loss", run.Mixture.Tasks) }, ""},
		"the run's own":  {func() float64 { return r.Final("norm", 0) }, ""},
		"never measured": {func() float64 { return r.Final("other", 1) }, ""},
	} {
		func() {
			defer func() {
				said, _ := recover().(string)
				if (said == "") != (c.want == "") || !strings.Contains(said, c.want) {
					t.Errorf("%s: %q, want %q", what, said, c.want)
				}
			}()
			if v := c.of(); what == "never measured" && !math.IsNaN(v) {
				t.Errorf("%s is %g", what, v)
			}
		}()
	}
}
