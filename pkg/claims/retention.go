package claims

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/interference"
	"raretask/pkg/results"
)

// Kept is what nets have of the injected task: a column and how it is read.
type Kept struct {
	Column string
	Exact  bool // the signal of the representation; else the share that is gone of the loss of the best constant, by fresh samples
}

// KeptOf returns what there is of runs: the signal where all have it, else the learned share.
func KeptOf(runs results.Runs) Kept {
	if slices.ContainsFunc(runs, func(r *results.Run) bool { return !r.Measured(Injected) }) {
		return Kept{"loss_sampled", false}
	}
	return Kept{Injected, true}
}

// At returns what a run has of the injected task at the i-th of its steps: the signal s_r, of the normalised one that is known, or the
// learned share, which is at least 0.
func (k Kept) At(r *results.Run, i int) float64 {
	v := Value(r, k.Column, i, r.Train.Injection.Task)
	if !k.Exact {
		return max(0, 1-v)
	}
	chance := float64(r.Net.Width) / float64(r.Mixture.Signature().Input.Size())
	return v*(1-chance) + chance
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
	values := xslices.Map(xslices.Iota(0, len(r.Steps)), func(i int) float64 { return k.At(r, i) })
	cycles, err := interference.Cycles(r.Steps, values, injection.From, injection.Gap, injection.Steps(), present)
	if err != nil {
		return nil, fmt.Errorf("claims: width %d, gap %d: %w", r.Net.Width, injection.Gap, err)
	}
	return cycles, nil
}

// Swing is what one injection adds to what a run has of the injected task, and what the gap until the next takes: its normalised signal, or
// its learned share where there is no exact signal.
type Swing struct {
	Begin, End, Next    int // steps done before the injection, after it, and before the next
	Before, After, Left float64
}

// Gain is what the steps of the injection add, and Decay what the gap adds, below zero where it takes. What the optimizer's momentum adds
// in the steps after an injection counts to the gap.
func (s Swing) Gain() float64  { return s.After - s.Before }
func (s Swing) Decay() float64 { return s.Left - s.After }

// Swings returns those of a run that were seen, of what is known exactly every injection's. By samples After is the peak, which the
// optimizer's momentum may carry some steps beyond the injection.
func (k Kept) Swings(r *results.Run) ([]Swing, error) {
	if !k.Exact {
		cycles, err := k.Cycles(r)
		return xslices.Map(cycles, func(c interference.Cycle) Swing {
			return Swing{c.Begin, c.End, c.NextBegin, c.Before, c.Peak, c.Next}
		}), err
	}
	i := r.Train.Injection
	steps, signal := often(r, Injected)
	cycles, err := interference.Cycles(steps, signal, i.From, i.Gap, i.Steps(), Present)
	at := func(step int) float64 {
		n, _ := slices.BinarySearch(steps, step)
		return signal[n]
	}
	return xslices.Map(cycles, func(c interference.Cycle) Swing {
		return Swing{c.Begin, c.End, c.NextBegin, c.Before, at(c.End), c.Next}
	}), err
}

// Columns that are known often, of linear nets (see package exact).
const (
	Injected       = "injected_signal"
	Common         = "common_signal"
	InjectedCosine = "injected_cosine"
)

// often returns a column that is known often, and when; NaN once the run has diverged.
func often(r *results.Run, column string) (steps []int, values []float64) {
	steps, values = r.Often(column)
	for i := range values {
		if r.Diverged >= 0 && steps[i] >= r.Diverged {
			values[i] = math.NaN()
		}
	}
	return steps, values
}

// Retention is what became of the injected task at one width and gap, by seed.
type Retention struct {
	Width, Gap int
	// What there is just before an injection, averaged over Ends of them in the last tenth of training: normalised signals of the injected
	// task and of the frequent ones, and the cosine of their gradients; where there is no exact signal the learned share alone.
	Final, Common, Cosine BySeed
	Ends                  int
	// Of Swing, averaged over Swings of them in the last two thirds of training.
	Gain, Decay BySeed
	Swings      int
	// interference.Cycle's of the signal s_r or the learned share: mean, and median of what may be infinite, over the Closely seen ones in
	// the last two thirds, as far as the task was there.
	Retained, HalfLife BySeed
	Closely            int
}

// Retentions returns the measures of a sweep with injection schedules, by width and gap.
func Retentions(runs results.Runs) ([]Retention, error) {
	kept := KeptOf(runs)
	columns := []string{kept.Column}
	if kept.Exact {
		columns = append(columns, Common, InjectedCosine)
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
	closely, swings := map[*results.Run][]interference.Cycle{}, map[*results.Run][]Swing{}
	for _, r := range runs {
		seen, err := k.Cycles(r)
		if err != nil {
			return all, err
		}
		closely[r] = slices.DeleteFunc(seen, func(c interference.Cycle) bool { return 3*c.End < r.Train.Steps })
		if swings[r], err = k.Swings(r); err != nil {
			return all, err
		}
		swings[r] = slices.DeleteFunc(swings[r], func(s Swing) bool { return 3*s.End < r.Train.Steps })
	}
	all.Closely, all.Swings, all.Ends = len(closely[runs[0]]), len(swings[runs[0]]), len(k.ends(runs[0]))
	cycle := func(of func(interference.Cycle) float64) measure {
		return func(r *results.Run) float64 { return Interval(xslices.Map(closely[r], of)).Mean }
	}
	swing := func(of func(Swing) float64) measure {
		return func(r *results.Run) float64 { return Interval(xslices.Map(swings[r], of)).Mean }
	}
	measures := map[*BySeed]measure{
		&all.Final: k.final, &all.Gain: swing(Swing.Gain), &all.Decay: swing(Swing.Decay),
		&all.Retained: cycle(func(c interference.Cycle) float64 { return c.Retained }),
		&all.HalfLife: func(r *results.Run) float64 {
			return Median(xslices.Map(closely[r], func(c interference.Cycle) float64 { return c.HalfLife }))
		},
	}
	if k.Exact {
		measures[&all.Common] = func(r *results.Run) float64 { return k.before(r, Common) }
		measures[&all.Cosine] = func(r *results.Run) float64 { return k.before(r, InjectedCosine) }
	}
	for to, of := range measures {
		var err error
		*to, err = perSeed(runs, runs, func(r *results.Run) float64 {
			if r.Diverged >= 0 {
				return math.NaN()
			}
			return of(r)
		})
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// measure is a number of a run.
type measure func(*results.Run) float64

// ends returns the steps just before the injections that were seen in the last tenth of training, at least before the last one.
func (k Kept) ends(r *results.Run) (steps []int) {
	seen := r.Steps
	if k.Exact {
		seen, _ = often(r, Injected)
	}
	i := r.Train.Injection
	for at := len(seen) - 1; at >= 0; at-- {
		if end := seen[at] + i.Steps(); end <= i.From || (end-i.From)%i.Gap != 0 || end > r.Train.Steps {
			continue
		}
		if len(steps) > 0 && 10*seen[at] < 9*r.Train.Steps {
			break
		}
		steps = append(steps, seen[at])
	}
	return steps
}

// final returns what a run has of the injected task at the ends.
func (k Kept) final(r *results.Run) float64 {
	if k.Exact {
		return k.before(r, Injected)
	}
	return Interval(xslices.Map(k.ends(r), func(step int) float64 {
		i, _ := r.Index(step)
		return k.At(r, i)
	})).Mean
}

// before returns the mean of a column that is known often at the ends.
func (k Kept) before(r *results.Run, column string) float64 {
	steps, values := often(r, column)
	return Interval(xslices.Map(k.ends(r), func(step int) float64 {
		i, _ := slices.BinarySearch(steps, step)
		return values[i]
	})).Mean
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
