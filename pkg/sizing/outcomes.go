package sizing

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/claims"
	"raretask/pkg/corpus"
	"raretask/pkg/probe"
	"raretask/pkg/results"
)

// Variables of outcomes: the width, the share of samples that are of the task (of an injected one: instances a batch), its rank by
// frequency in its mixture, and, for a net that has a smaller one beside it, how much that one has left to learn: 1 is all.
const (
	Size = iota
	Frequency
	Rank
	Proxy
)

// Names are those of the variables.
var Names = []string{"size", "frequency", "place", "the smaller size"}

// Place is an outcome of one task in one training, with all variables; Proxy is NaN where there is no smaller size.
type Place struct {
	Outcome
	Mixture, Task, Width int
	Seed                 uint32
	Smaller              bool // whether the next smaller size learned it; false where there is none
	Share                float64
}

// leastLeft keeps the logarithm of what is left finite.
const leastLeft = .01

// Places returns the outcomes of runs, a set for each mixture: of tasks whose loss is measured by samples, relative to the best constant,
// or of a novel task injected into a language, of which the accuracy on unseen instances counts. Learned is half of what there is. A run
// that diverged has learned nothing.
func Places(sets []results.Runs) (all []Place, err error) {
	for i, runs := range sets {
		injected := slices.ContainsFunc(runs, func(r *results.Run) bool { return r.Measured(probe.TestAccuracy) })
		column := "loss_sampled"
		if injected {
			column = probe.TestAccuracy
		}
		if err := runs.Need(results.Design{Vary: []string{"net.width", "train.rate", "train.injection.*"}, Columns: []string{column},
			Final: true}); err != nil {
			return nil, err
		}
		var own []Place
		for n, r := range runs {
			if injected {
				own = append(own, injectedPlace(r, i, n))
				continue
			}
			frequencies := r.Mixture.Frequencies()
			for k, pi := range frequencies {
				rank := 0.
				for _, other := range frequencies {
					if other >= pi {
						rank++
					}
				}
				p := Place{Mixture: i, Task: k, Width: r.Net.Width, Seed: r.Train.Seed, Share: 1 - claims.Final(r, column, k+1)}
				p.X, p.Run = []float64{float64(r.Net.Width), pi, rank, math.NaN()}, i<<16|n
				own = append(own, p)
			}
		}
		all = append(all, besides(own)...)
	}
	return all, nil
}

// injectedPlace is that of the novel task of a run: of L labels one of L is right by chance, two of a comparison, as many as symbols of a
// sum.
func injectedPlace(r *results.Run, mixture, n int) Place {
	i, labels := r.Train.Injection, 2.
	if injecting, ok := r.Mixture.Settings.(corpus.Injecting); ok {
		if kind, symbols := injecting.Injects(); kind == corpus.Addition {
			labels = float64(symbols)
		}
	}
	p := Place{Mixture: mixture, Task: i.Task - 1, Width: r.Net.Width, Seed: r.Train.Seed}
	p.Share = (claims.Final(r, probe.TestAccuracy, 1) - 1/labels) / (1 - 1/labels)
	perBatch := i.PerStep(r.Train.Batch, r.Mixture.Frequencies()[i.Task-1]) * float64(i.Steps()) / float64(i.Gap)
	p.X, p.Run = []float64{float64(r.Net.Width), perBatch, 1, math.NaN()}, mixture<<16|n
	return p
}

// besides fills in what the next smaller size of the same seed has left, and whether each is learned.
func besides(own []Place) []Place {
	slices.SortStableFunc(own, func(a, b Place) int {
		return cmp.Or(a.Task-b.Task, cmp.Compare(a.X[Frequency], b.X[Frequency]), cmp.Compare(a.Seed, b.Seed), a.Width-b.Width)
	})
	for i := range own {
		p := &own[i]
		p.Learned = p.Share > LearnedShare // not where it is NaN
		if i == 0 {
			continue
		}
		smaller := own[i-1]
		if smaller.Task == p.Task && smaller.X[Frequency] == p.X[Frequency] && smaller.Seed == p.Seed && smaller.Width < p.Width {
			p.X[Proxy], p.Smaller = min(1, max(leastLeft, 1-smaller.Share)), smaller.Learned
			if math.IsNaN(smaller.Share) {
				p.X[Proxy] = 1
			}
		}
	}
	return own
}

// Some returns the outcomes of places by some variables; those that lack one are left out.
func Some(places []Place, variables ...int) (names []string, outcomes []Outcome) {
	for _, v := range variables {
		names = append(names, Names[v])
	}
	for _, p := range places {
		o := Outcome{Learned: p.Learned, Run: p.Run}
		for _, v := range variables {
			o.X = append(o.X, p.X[v])
		}
		if !slices.ContainsFunc(o.X, math.IsNaN) {
			outcomes = append(outcomes, o)
		}
	}
	return names, outcomes
}

// Rule is a way to tell whether a task will be learned, and how often it is right.
type Rule struct {
	Name           string
	Right, Told    int // of places that have a smaller size beside them
	AllRight, Asks int // of all; 0 of a rule that needs a smaller size
}

// Accuracy is the share that is told right, of places that have a smaller size beside them.
func (r Rule) Accuracy() float64 { return share(r.Right, r.Told) }

// Compare fits the threshold model and simple rules to places of some mixtures and counts how often each is right on those of others: of
// places that have a smaller size beside them, as the rule and the model that look at it need one, and of all. The rules are the best
// threshold on frequency alone, on size alone, and what the next smaller size of the same mixture did.
func Compare(fit, test []Place) (rules []Rule) {
	count := func(name string, needs bool, tell func(p Place) bool) {
		r := Rule{Name: name}
		for _, p := range test {
			beside := !math.IsNaN(p.X[Proxy])
			if needs && !beside {
				continue
			}
			right := 0
			if tell(p) == p.Learned {
				right = 1
			}
			if beside {
				r.Right, r.Told = r.Right+right, r.Told+1
			}
			if !needs {
				r.AllRight, r.Asks = r.AllRight+right, r.Asks+1
			}
		}
		rules = append(rules, r)
	}
	for _, one := range []struct {
		variable int
		name     string
	}{{Frequency, "frequency alone"}, {Size, "size alone"}} {
		limit, above := bestLimit(fit, one.variable)
		count(one.name, false, func(p Place) bool { return (p.X[one.variable] >= limit) == above })
	}
	count("the next smaller size", true, func(p Place) bool { return p.Smaller })
	for _, variables := range [][]int{{Size, Frequency, Rank}, {Size, Frequency, Rank, Proxy}} {
		variables = slices.DeleteFunc(variables, func(v int) bool { // what is alike everywhere tells nothing
			return !slices.ContainsFunc(fit, func(p Place) bool { return p.X[v] != fit[0].X[v] && !math.IsNaN(p.X[v]) })
		})
		names := xslices.Map(variables, func(v int) string { return Names[v] })
		count(strings.Join(names, ", "), slices.Contains(variables, Proxy), teller(fit, variables))
	}
	return rules
}

// teller returns what the threshold model says, fitted to places by some variables; where nothing was learned, or all, what most did.
func teller(fit []Place, variables []int) func(p Place) bool {
	names, outcomes := Some(fit, variables...)
	t, err := FitThreshold(names, outcomes, 0)
	if err != nil {
		learned := 0
		for _, o := range outcomes {
			if o.Learned {
				learned++
			}
		}
		return func(Place) bool { return 2*learned > len(outcomes) }
	}
	return func(p Place) bool {
		_, one := Some([]Place{p}, variables...)
		return t.Probability(one[0].X).Estimate > .5
	}
}

// bestLimit returns the limit on a variable that tells places best, and whether those above it are learned.
func bestLimit(places []Place, variable int) (limit float64, above bool) {
	best := -1
	for _, p := range places {
		at, right := p.X[variable], 0
		for _, q := range places {
			if (q.X[variable] >= at) == q.Learned {
				right++
			}
		}
		if right > best {
			best, limit, above = right, at, true
		}
		if wrong := len(places) - right; wrong > best {
			best, limit, above = wrong, at, false
		}
	}
	return limit, above
}

// CurvesOf returns the learning curves of language models on a novel task: the share of unseen instances that are told wrong by tokens
// seen, a curve for each size, in parameters, and frequency, in instances a batch; means over seeds.
func CurvesOf(runs results.Runs) (curves []Curve, err error) {
	vary := []string{"net.width", "train.rate", "train.injection.*"}
	if err := runs.Need(results.Design{Vary: vary, Columns: []string{probe.TestAccuracy}}); err != nil {
		return nil, err
	}
	rate := func(r *results.Run) float64 { return injectedPlace(r, 0, 0).X[Frequency] }
	frequencies, byFrequency := results.By(runs, rate)
	for _, f := range frequencies {
		widths, byWidth := results.By(byFrequency[f], results.Width)
		for _, w := range widths {
			own := byWidth[w]
			c := Curve{Task: "novel task", Size: float64(own[0].Run.Parameters()), Frequency: f}
			tokens := float64(own[0].Train.Batch * (own[0].Mixture.Signature().Input.Size() + 1))
			for _, step := range claims.CommonSteps(own) {
				if step == 0 {
					continue
				}
				e := claims.Over(own, func(r *results.Run) float64 {
					i, _ := r.Index(step)
					return 1 - claims.Value(r, probe.TestAccuracy, i, 1)
				})
				if e.Failed > 0 {
					return nil, fmt.Errorf("sizing: %d of %d runs of width %d diverged: a curve of the others would say too much", e.Failed, len(own), w)
				}
				c.Data, c.Y = append(c.Data, tokens*float64(step)), append(c.Y, e.Mean)
			}
			curves = append(curves, c)
		}
	}
	return curves, nil
}
