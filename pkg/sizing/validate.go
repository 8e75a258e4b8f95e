package sizing

import (
	"math"

	"raretask/pkg/claims"
	"raretask/pkg/results"
)

// Pair is a prediction and its outcome: one task at one width.
type Pair struct {
	Mixture  int // which of those that were tried, from 0
	Verdict      // predicted
	Observed bool
	Loss     float64 // observed, relative to nothing learned
	From, To float64 // of which 95% of losses were predicted to lie within
}

// Right reports whether the task was learned as predicted.
func (p Pair) Right() bool { return p.Learned == p.Observed }

// Covered reports whether the loss lies within its interval.
func (p Pair) Covered() bool { return p.Loss >= p.From && p.Loss <= p.To }

// LearnedShare is the share of a task's first direction, or of what there is above chance, from which it counts as learned.
const LearnedShare = .5

// Try returns what theory predicted of runs of mixtures of regressions, a set for each mixture, and what became of it. A run that diverged
// has learned nothing, and a loss that no interval covers.
func Try(c *Calibration, sets []results.Runs) (pairs []Pair, err error) {
	for i, runs := range sets {
		m, err := claims.Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"signal", "loss"}, Final: true})
		if err != nil {
			return nil, err
		}
		mix := Mixture{m}
		for _, r := range runs {
			for _, v := range mix.At(r.Net.Width) {
				first := m.Spectrum[v.Task][0] / m.TaskTrace(v.Task)
				p := Pair{Mixture: i, Verdict: v, Loss: claims.Final(r, "loss", v.Task+1),
					Observed: claims.Final(r, "signal", v.Task+1) > LearnedShare*first}
				p.From, p.To = c.Interval(mix, v)
				pairs = append(pairs, p)
			}
		}
	}
	return pairs, nil
}

// Score counts pairs.
type Score struct {
	Pairs, Tied    int // all, and those of them on a tie
	Right          int // of those that are not
	Covered        int // of all
	RightTied      int
	Learned, Known int // how many were learned, and how many of all are no tie
}

// Count counts pairs.
func Count(pairs []Pair) (s Score) {
	for _, p := range pairs {
		s.Pairs++
		if p.Covered() {
			s.Covered++
		}
		if p.Observed {
			s.Learned++
		}
		switch {
		case p.Tied():
			s.Tied++
			if p.Right() {
				s.RightTied++
			}
		case p.Right():
			s.Right++
		}
	}
	s.Known = s.Pairs - s.Tied
	return s
}

// Accuracy is the share of pairs away from ties that were told right.
func (s Score) Accuracy() float64 { return share(s.Right, s.Known) }

// Coverage is the share of losses within their interval.
func (s Score) Coverage() float64 { return share(s.Covered, s.Pairs) }

func share(part, all int) float64 {
	if all == 0 {
		return math.NaN()
	}
	return float64(part) / float64(all)
}

// Kept is what became of a promise.
type Kept struct {
	Loss     []float64 // of each task, relative to nothing learned
	Reached  []bool    // of tasks with a target: it was, or the loss lies within 95% of what theory said
	Promised float64   // the cost: sum of pi_k (loss after - before) of the tasks that lose, by the frequencies of the mixture before
	Most     float64   // the same with losses at the upper ends of their intervals
	Cost     float64   // observed
}

// Keep returns what became of a promise, from its run.
func (p Promise) Keep(c *Calibration, r *results.Run) (k Kept) {
	verdicts := p.Recommended.At(p.Recommended.Width)
	k.Promised = p.Cost.Common
	for task, v := range verdicts {
		loss := claims.Final(r, "loss", task+1)
		_, high := c.Interval(p.Recommended.Mixture, v)
		pi := p.Of.Frequency[task]
		k.Loss = append(k.Loss, loss)
		k.Reached = append(k.Reached, !math.IsNaN(p.Targets[task]) && loss <= max(p.Targets[task], high))
		k.Cost += pi * max(0, loss-p.Cost.Before[task])
		k.Most += pi * max(0, high-p.Cost.Before[task])
	}
	return k
}
