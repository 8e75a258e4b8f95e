package claims

import (
	"fmt"

	"raretask/pkg/results"
)

// Start is what nets of one width had of the rare task once they had been trained on it alone for Until steps, and what they ended with in
// the mixture: the signal of the representation or the learned share (see Kept), by seed. Where what they end with follows from what
// they had, they keep; where it doesn't, they find or lose.
type Start struct {
	Width, Until int
	Had, Ends    BySeed
}

// Starts returns those of runs that begin with a curriculum of the rare task of several lengths, by width and length.
func Starts(runs results.Runs) ([]Start, error) {
	kept := KeptOf(runs)
	if err := runs.Need(results.Design{Vary: []string{"net.width", "train.injection.until"}, Columns: []string{kept.Column}}); err != nil {
		return nil, err
	}
	if i := runs[0].Train.Injection; i.Task == 0 || i.Steps() != i.Gap || i.Until == 0 {
		return nil, fmt.Errorf("claims: run %s: injection %+v: want a task alone until some step", runs[0].ID, i)
	}
	var all []Start
	widths, byWidth := results.By(runs, results.Width)
	for _, w := range widths {
		lengths, byLength := results.By(byWidth[w], func(r *results.Run) int { return r.Train.Injection.Until })
		for _, until := range lengths {
			s := Start{Width: w, Until: until}
			var err error
			if s.Had, err = perSeed(runs, byLength[until], func(r *results.Run) float64 { return kept.At(r, before(r, until)) }); err != nil {
				return nil, err
			}
			if s.Ends, err = perSeed(runs, byLength[until], func(r *results.Run) float64 { return kept.At(r, r.Last()) }); err != nil {
				return nil, err
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// before returns the index of the last evaluation of a run up to a step.
func before(r *results.Run, step int) int {
	i := r.Last()
	for i > 0 && r.Steps[i] > step {
		i--
	}
	return i
}
