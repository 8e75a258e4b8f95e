package claims

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/interference"
	"raretask/pkg/results"
)

// Kept is what nets have of a task: a column and how it is read.
type Kept struct {
	Column string
	Exact  bool // the signal of the representation; else the share that is gone of the loss of the best constant, by fresh samples
}

// KeptOf returns what there is of runs: the signal where all have it, else the learned share.
func KeptOf(runs results.Runs) Kept {
	if slices.ContainsFunc(runs, func(r *results.Run) bool { return !r.Measured("signal") }) {
		return Kept{"loss_sampled", false}
	}
	return Kept{"signal", true}
}

// At returns what a run has of a task at the i-th of its steps; a learned share is at least 0.
func (k Kept) At(r *results.Run, i, task int) float64 {
	v := Value(r, k.Column, i, task)
	if k.Exact {
		return v
	}
	return max(0, 1-v)
}

// NeedInjections checks and loads runs, which may differ in width and gap, for analyses of injections.
func NeedInjections(runs results.Runs, columns ...string) error {
	if err := runs.Need(results.Design{Vary: []string{"net.width", "train.injection.gap"}, Columns: columns}); err != nil {
		return err
	}
	if r := runs[0]; r.Train.Injection.Task == 0 {
		return fmt.Errorf("claims: run %s (width %d, seed %d) has no schedule of injections: want a sweep that sets train.injection",
			r.ID, r.Net.Width, r.Train.Seed)
	}
	return nil
}

// Cycles returns the cycles of a run's injections that were seen closely, of what is kept of the injected task.
func (k Kept) Cycles(r *results.Run) ([]interference.Cycle, error) {
	injection, present := r.Train.Injection, Audible
	if k.Exact {
		present = Present
	}
	values := xslices.Map(xslices.Iota(0, len(r.Steps)), func(i int) float64 { return k.At(r, i, injection.Task) })
	cycles, err := interference.Cycles(r.Steps, values, injection.From, injection.Gap, injection.Steps(), present)
	if err != nil {
		return nil, fmt.Errorf("claims: width %d, gap %d: %w", r.Net.Width, injection.Gap, err)
	}
	return cycles, nil
}

// Retention is what became of the injected task at one width and gap: means over the observed cycles of the last two thirds of training,
// of the signal, or of the learned share where there is no exact signal.
type Retention struct {
	Width, Gap                      int
	Final                           BySeed // normalised signal at the end, or learned share
	Gain, Decay, Retained, HalfLife BySeed // of interference.Cycle
}

// Retentions returns the measures of a sweep with injection schedules, by width and gap.
func Retentions(runs results.Runs) ([]Retention, error) {
	kept := KeptOf(runs)
	columns := []string{kept.Column}
	if kept.Exact {
		columns = append(columns, "signal_normalized")
	}
	if err := NeedInjections(runs, columns...); err != nil {
		return nil, err
	}
	var all []Retention
	widths, byWidth := results.By(runs, results.Width)
	for _, w := range widths {
		gaps, byGap := results.By(byWidth[w], results.Gap)
		for _, g := range gaps {
			r, err := kept.retention(w, g, byGap[g])
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
	}
	return all, nil
}

// RetentionAt returns the measures at a width and gap; without numbers where there are none.
func RetentionAt(all []Retention, width, gap int) Retention {
	for _, r := range all {
		if r.Width == width && r.Gap == gap {
			return r
		}
	}
	return Retention{Width: width, Gap: gap}
}

// retention returns the measures of runs of one width and gap.
func (k Kept) retention(width, gap int, runs results.Runs) (Retention, error) {
	all := Retention{Width: width, Gap: gap}
	cycles := map[*results.Run][]interference.Cycle{}
	for _, r := range runs {
		seen, err := k.Cycles(r)
		if err != nil {
			return all, err
		}
		cycles[r] = slices.DeleteFunc(seen, func(c interference.Cycle) bool { return 3*c.End < r.Train.Steps })
	}
	mean := func(of func(interference.Cycle) float64) func(*results.Run) float64 {
		return func(r *results.Run) float64 {
			if r.Diverged >= 0 {
				return math.NaN()
			}
			return Interval(xslices.Map(cycles[r], of)).Mean
		}
	}
	for _, m := range []struct {
		to *BySeed
		of func(*results.Run) float64
	}{
		{&all.Final, k.final},
		{&all.Gain, mean(func(c interference.Cycle) float64 { return c.Gain })},
		{&all.Decay, mean(func(c interference.Cycle) float64 { return c.Decay })},
		{&all.Retained, mean(func(c interference.Cycle) float64 { return c.Retained })},
		{&all.HalfLife, mean(func(c interference.Cycle) float64 { return c.HalfLife })},
	} {
		var err error
		if *m.to, err = perSeed(runs, runs, m.of); err != nil {
			return all, err
		}
	}
	return all, nil
}

// final returns what a run has of the injected task at the end, its signal normalised.
func (k Kept) final(r *results.Run) float64 {
	if k.Exact {
		return Final(r, "signal_normalized", r.Train.Injection.Task)
	}
	return k.At(r, r.Last(), r.Train.Injection.Task)
}

// RetentionClaims returns the claims that retention grows with width and falls with the gap, and the same of what is learned in the end.
// A net in which some seed never had the task retains nothing that could be compared, so the widest net's share is held against that of
// the narrowest in which every seed had it. about says of which runs. Claims of one width end their IDs with it, as in
// "retained-gap/N=8".
func RetentionClaims(about string, runs results.Runs) ([]Claim, error) {
	all, err := Retentions(runs)
	if err != nil {
		return nil, err
	}
	first, last := all[0], all[len(all)-1] // narrowest at the shortest gap, widest at the longest
	narrowest := RetentionAt(all, first.Width, last.Gap)
	had := narrowest
	for _, r := range all {
		if r.Gap == last.Gap && r.Retained.Interval().Failed == 0 {
			had = r
			break
		}
	}
	claims := []Claim{
		{"retained-width", fmt.Sprintf("%sretained share at the longest gap is larger in the widest net than at N = %d", about, had.Width),
			Paired(last.Retained, had.Retained), WidthEffect},
		{"learned-width", fmt.Sprintf("%swhat is learned at the longest gap is more in the widest net than at N = %d", about, narrowest.Width),
			Paired(last.Final, narrowest.Final), WidthEffect},
	}
	for _, r := range all {
		if r.Gap == first.Gap {
			long := RetentionAt(all, r.Width, last.Gap)
			at := fmt.Sprintf("N = %d", r.Width)
			claims = append(claims,
				Claim{fmt.Sprintf("retained-gap/N=%d", r.Width), about + "retained share falls from the shortest to the longest gap, " + at,
					Paired(r.Retained, long.Retained), RetainedEffect},
				Claim{fmt.Sprintf("learned-gap/N=%d", r.Width), about + "what is learned falls from the shortest to the longest gap, " + at,
					Paired(r.Final, long.Final), LearnedEffect})
		}
	}
	return claims, nil
}
