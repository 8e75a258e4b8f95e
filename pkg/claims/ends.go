package claims

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/results"
)

// End is what nets that differ in their seeds alone end with.
type End struct {
	Width, Parameters int
	Others            string   // settings beside width in which the sweep's runs differ, as in "train.rate 0.003"; empty: none
	Loss              Estimate // of the mixture, of which 1 is that of the best constant of each task
}

// Ends returns what runs of any family and any settings end with, by width and then by whatever else they differ in: the tasks' losses by
// samples, or exact ones where those were not measured, weighted by frequency.
func Ends(runs results.Runs) ([]End, error) {
	column := "loss_sampled"
	if slices.ContainsFunc(runs, func(r *results.Run) bool { return !r.Measured(column) }) {
		column = "loss"
	}
	design := results.Design{Vary: []string{"*"}, Columns: []string{column}, Final: true, Absent: true}
	if err := runs.Need(design); err != nil {
		return nil, err
	}
	others := differing(runs)
	widths, byWidth := results.By(runs, results.Width)
	var all []End
	for _, w := range widths {
		names, byOthers := results.By(byWidth[w], func(r *results.Run) string { return others[r] })
		for _, name := range names {
			own := byOthers[name]
			all = append(all, End{w, own[0].Run.Parameters(), name, Over(own, func(r *results.Run) float64 {
				sum := 0.
				for k, pi := range r.Mixture.Frequencies() {
					sum += pi * Final(r, column, k+1)
				}
				return sum
			})})
		}
	}
	return all, nil
}

// differing names the settings of each run in which not all are alike, but for width and seeds.
func differing(runs results.Runs) map[*results.Run]string {
	values := map[string]map[string]bool{}
	for _, r := range runs {
		for _, s := range r.Settings() {
			if values[s.Key] == nil {
				values[s.Key] = map[string]bool{}
			}
			values[s.Key][fmt.Sprint(s.Value)] = true
		}
	}
	names := map[*results.Run]string{}
	for _, r := range runs {
		var parts []string
		for _, s := range r.Settings() {
			if len(values[s.Key]) > 1 && !s.Seed && s.Path && s.Key != "net.width" {
				parts = append(parts, fmt.Sprintf("%s %v", s.Key, s.Value))
			}
		}
		names[r] = strings.Join(parts, ", ")
	}
	return names
}

// Others returns the different values of Others, in their order.
func Others(ends []End) []string {
	all := xslices.Map(ends, func(e End) string { return e.Others })
	slices.Sort(all)
	return slices.Compact(all)
}
