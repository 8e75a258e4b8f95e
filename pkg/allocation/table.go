package allocation

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/results"
	"raretask/pkg/train"
)

// Metrics are what a sweep must measure for Table, where its runs have it.
var Metrics = []string{"allocation", "exact", "loss_sampled"}

// shown are the columns of a table at the end of training, in this order, where a run has them; counts are whole numbers.
var shown = []struct {
	column, header string
	count          bool
}{
	{"signal", "kept by the representation", false},
	{"capacity", "capacity of its features", false},
	{"loss", "loss (1: nothing learned)", false},
	{"loss_sampled", "loss (1: nothing learned)", false},
	{"neurons_missed", "neurons it would miss", true},
	{"neurons_shared", "of them missed by others too", true},
	{"own_input_weight", "their input weight on its own inputs", false},
	{"neurons_held", "neurons held", true},
}

// Table returns, in a row for each task, what a run's net has of it at the end of training, the neurons it holds then and held at most,
// and the task that took most of those it lost; "–" where there is nothing to show. What runs must have measured is Metrics.
func Table(r *results.Run) (headers []string, rows [][]any, err error) {
	gauge, err := of(nil, r.Run)
	if err == nil && gauge == nil {
		err = fmt.Errorf("allocation: a net %s: want one with one hidden layer, whose neurons are silenced one by one", r.Net.Kind)
	}
	if err != nil {
		return nil, nil, err
	}
	columns := xslices.Map(gauge.Columns, func(c train.Column) string { return c.Name })
	if slices.Contains(columns, "capacity") {
		columns = append(columns, "signal", "loss")
	} else {
		columns = append(columns, "loss_sampled")
	}
	if err := (results.Runs{r}).Need(results.Design{Columns: columns}); err != nil {
		return nil, nil, err
	}
	most, lost, err := held(r)
	if err != nil {
		return nil, nil, err
	}
	headers = []string{"task", "frequency"}
	for k, frequency := range r.Mixture.Frequencies() {
		row := []any{k + 1, frequency}
		for _, s := range shown {
			if !slices.Contains(columns, s.column) {
				continue
			}
			if k == 0 {
				headers = append(headers, s.header)
			}
			row = append(row, cell(r.Final(s.column, k+1), s.count))
		}
		to := "–"
		if n := slices.Max(lost[k]); n > 0 {
			to = fmt.Sprintf("task %d (%d)", slices.Index(lost[k], n)+1, n)
		}
		rows = append(rows, append(row, most[k], to))
	}
	return append(headers, "most it ever held", "lost to (neurons)"), rows, nil
}

// cell returns how a number is shown.
func cell(v float64, count bool) any {
	switch {
	case math.IsNaN(v):
		return "–"
	case count:
		return int(v)
	}
	return v
}

// held returns how many neurons each task of a run held at most [K], and how many it lost to each other one [K][K].
func held(r *results.Run) (most []int, lost [][]int, err error) {
	most = make([]int, r.Mixture.Tasks)
	snapshots := make([][]int, len(r.Steps))
	for i := range r.Steps {
		snapshots[i] = slices.Repeat([]int{Nobody}, r.Net.Width)
		for n := range r.Net.Width {
			if v := r.Value(owner(n), i, 1); v > 0 { // not where the run had diverged
				snapshots[i][n] = int(v) - 1
			}
		}
		for k, n := range Held(snapshots[i], len(most)) {
			most[k] = max(most[k], n)
		}
	}
	lost, err = Losses(snapshots, len(most))
	return most, lost, err
}
