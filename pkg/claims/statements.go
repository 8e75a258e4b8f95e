package claims

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"

	"raretask/pkg/results"
	"raretask/pkg/theory"
)

// Verdicts on a statement.
const (
	Supported    = "supported"
	Contradicted = "contradicted"
	Inconclusive = "inconclusive"
	NotRun       = "not run"
)

// Statement is something that the paper says (arXiv 2605.29548), in our words, and the rule by which runs judge it.
type Statement struct {
	ID      string   `json:"id"`
	Source  string   `json:"source"` // section and figure
	Text    string   `json:"statement"`
	Rule    string   `json:"rule"`
	Presets []string `json:"presets,omitempty"` // whose runs judge it
	Late    bool     `json:"rule_after_runs"`   // the rule was written when its runs had been seen
	Without string   `json:"not_run,omitempty"` // why there are no runs that could
	Judge   Judge    `json:"-"`
}

// Judge returns the claims that a statement amounts to, of the runs of its presets.
type Judge func(runs []results.Runs) ([]Claim, error)

// Judged is a statement with its verdict.
type Judged struct {
	Statement
	Verdict  string   `json:"verdict"`
	Parts    []Part   `json:"parts"`
	Sentence string   `json:"sentence"`
	Runs     int      `json:"runs"`
	Stacks   []string `json:"stacks,omitempty"` // of the runs
}

// Part is a claim with what was measured of it.
type Part struct {
	Name     string  `json:"name"`
	Estimate float64 `json:"estimate"` // mean over seeds
	Low      float64 `json:"low"`      // 95% interval over seeds
	High     float64 `json:"high"`
	Minimum  float64 `json:"minimum"` // that the whole interval must exceed
	Seeds    int     `json:"seeds"`
	Failed   int     `json:"failed"`
	Verdict  string  `json:"verdict"`
}

// On judges the statement by the runs of each of its presets; of none of some preset, why says why.
func (s Statement) On(runs []results.Runs, why string) (Judged, error) {
	j := Judged{Statement: s, Verdict: NotRun, Sentence: s.Without}
	if s.Judge == nil {
		return j, nil
	}
	for _, rs := range runs {
		if len(rs) == 0 {
			j.Sentence = why
			return j, nil
		}
		for _, r := range rs {
			j.Runs++
			if !slices.Contains(j.Stacks, r.Stack) {
				j.Stacks = append(j.Stacks, r.Stack)
			}
		}
	}
	list, err := s.Judge(runs)
	var lacking *results.UnmeasuredError
	if errors.As(err, &lacking) { // published runs have what notebooks draw
		j.Runs, j.Stacks = 0, nil
		j.Sentence = fmt.Sprintf("the runs that are there lack %s; `raretask sweep run %s` has it", lacking.Column,
			strings.Join(s.Presets, "` and `"))
		return j, nil
	}
	if err != nil {
		return j, fmt.Errorf("claims: %s: %w", s.ID, err)
	}
	count := map[string]int{}
	for _, c := range list {
		e := c.Effect.Interval()
		finite := func(v float64) float64 { // JSON has no NaN
			if math.IsNaN(v) {
				return 0
			}
			return v
		}
		p := Part{c.Name, finite(e.Mean), finite(e.Low), finite(e.High), c.Minimum, e.N, e.Failed, c.Verdict()}
		if p.Verdict == "not supported" {
			p.Verdict = Contradicted
		}
		count[p.Verdict]++
		j.Parts = append(j.Parts, p)
	}
	switch {
	case count[Contradicted] > 0:
		j.Verdict = Contradicted
	case count[Supported] == len(list):
		j.Verdict = Supported
	default:
		j.Verdict = Inconclusive
	}
	j.Sentence = j.sentence(count)
	return j, nil
}

// sentence says in one what was found: of a single part its numbers, of several how many hold and the first that decides otherwise.
func (j Judged) sentence(count map[string]int) string {
	numbers := func(p Part) string {
		text := fmt.Sprintf("%s: %.3g (%.3g to %.3g), wanted above %.3g", p.Name, p.Estimate, p.Low, p.High, p.Minimum)
		if p.Seeds+p.Failed < FewestSeeds || p.Failed > 0 {
			text += fmt.Sprintf("; %d seeds, %d failed", p.Seeds, p.Failed)
		}
		return text
	}
	at := slices.IndexFunc(j.Parts, func(p Part) bool { return p.Verdict == j.Verdict })
	if len(j.Parts) == 1 {
		return numbers(j.Parts[0])
	}
	return fmt.Sprintf("%d of %d parts supported, %d contradicted; %s", count[Supported], len(j.Parts), count[Contradicted],
		numbers(j.Parts[at]))
}

// Statements returns what of the paper there is a judgement of, or is known to be without one, in the paper's order.
func Statements() []Statement {
	return []Statement{
		{ID: "losses", Source: "Thm 3, Fig 2b", Text: "Trained nets have the losses of the encoder that keeps the largest utilities.",
			Rule:    "the mean distance of tasks' normalised losses from the prediction's range is below .02, at each exponent of frequencies",
			Presets: []string{"fig2"}, Late: true, Judge: perBeta(predictedClaim)},
		{ID: "staircase", Source: "Sec. 3.1, Fig 18", Text: "Of rank-one tasks the k-th appears at width k.",
			Rule:    "at least .9 of the tasks are first held at the predicted width, as near as the grid has it",
			Presets: []string{"fig18"}, Late: true, Judge: one(staircaseClaim)},
		{ID: "residual", Source: "Thm 4, Sec. 3.2", Text: "The common tasks' gradient and residual late in training fall with width.",
			Rule:    "each falls as a power of N of more than .1, at each exponent of frequencies",
			Presets: []string{"fig19"}, Judge: perBeta(GradientClaims)},
		{ID: "threshold", Source: "Prop. 6, Fig 3, 19",
			Text:    "The rarest task is held where the common tasks' residual is below that of the width at which it withstands them.",
			Rule:    "at least .9 of the widths are on the right side, at each exponent of frequencies",
			Presets: []string{"fig19"}, Late: true, Judge: perBeta(thresholdClaim)},
		{ID: "persistence", Source: "Sec. 3.1, Fig 21", Text: "Ten times the steps don't teach a net the tasks that its width doesn't hold.",
			Rule:    "between a tenth of the steps and the end fewer than .05 of all tasks and widths change between held and not held",
			Presets: []string{"fig21"}, Late: true, Judge: one(persistenceClaim)},
		{ID: "retention", Source: "Sec. 3.3, Fig 4, 20", Text: "At equal frequency larger gaps cost more, narrow nets most; wide ones retain.",
			Rule: "the widest net retains and learns .1 more than a narrow one; from the shortest to the longest gap .02 of what is retained is " +
				"lost and .05 of what is learned, at each width",
			Presets: []string{"fig4"}, Judge: one(RetentionClaims)},
		{ID: "language", Source: "Sec. 4.1, 4.2, Fig 5a, in miniature",
			Text: "Small decoders fail at a novel task that larger ones learn at the same frequency; more rescues them, and they can express it.",
			Rule: "each narrow width tells .2 less of unseen instances than the widest, also at its best rate, under muP and after four times the " +
				"steps; is .2 better at eight times the frequency and beside no structure; and reaches .8 alone and with instances in every window",
			Presets: []string{"language", "language-controls"},
			Judge:   func(runs []results.Runs) ([]Claim, error) { return NovelClaims(runs[0], runs[1]) }},
		{ID: "olmo", Source: "Sec. 4, Fig 5-10, 22, 23", Text: "OLMo models of 4M to 4B parameters learn rarer tasks the larger they are.",
			Without: "the presets are there at the paper's scale; no accelerators for 210e9 tokens"},
		{ID: "addition", Source: "Sec. 4.1, Fig 5b, 7b",
			Text:    "Larger models generalise modular addition injected into language, at higher frequencies.",
			Without: "a pilot of one seed alone: 16 symbols, decay 1, an instance in every window, 60,000 steps (notebook 06, last table)"},
	}
}

// judging returns claims of runs of one mixture; about says of which.
type judging func(about string, runs results.Runs) ([]Claim, error)

// one judges by the runs of one preset.
func one(of judging) Judge {
	return func(runs []results.Runs) ([]Claim, error) { return of("", runs[0]) }
}

// perBeta judges by the runs of one preset, for each exponent of frequencies.
func perBeta(of judging) Judge {
	return func(runs []results.Runs) (all []Claim, err error) {
		betas, byBeta := results.By(runs[0], results.Beta)
		for _, beta := range betas {
			list, err := of(fmt.Sprintf("β = %g: ", beta), byBeta[beta])
			if err != nil {
				return nil, err
			}
			all = append(all, list...)
		}
		return all, nil
	}
}

// eachSeed returns a number of the runs of each seed.
func eachSeed(runs results.Runs, of func(runs results.Runs) float64) BySeed {
	values := BySeed{}
	seeds, bySeed := results.By(runs, results.Seed)
	for _, s := range seeds {
		values[s] = of(bySeed[s])
	}
	return values
}

// predictedClaim is how far tasks' losses are from the range of the best encoders'.
func predictedClaim(about string, runs results.Runs) ([]Claim, error) {
	m, err := Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"loss"}, Final: true})
	if err != nil {
		return nil, err
	}
	off := eachSeed(runs, func(runs results.Runs) float64 {
		var all []float64
		for _, r := range runs {
			low, high := m.TaskLoss(r.Net.Width)
			for k := range low {
				loss := Final(r, "loss", k+1)
				all = append(all, max(low[k]/m.TaskTrace(k)-loss, loss-high[k]/m.TaskTrace(k), 0)) // NaN where loss is
			}
		}
		return -stat.Mean(all, nil)
	})
	return []Claim{{"predicted", about + "minus the mean distance of normalised losses from the prediction", off, -.02}}, nil
}

// hasTask reports whether a net of regression tasks has the first direction of a task, from 1, at one of its steps; known is whether it
// can be told.
func hasTask(m theory.Mixture, r *results.Run, task, i int) (held, known bool) {
	s := Value(r, "signal", i, task)
	return m.HeldFeatures(task-1, s, HeldTolerance) > 0, !math.IsNaN(s)
}

// staircaseClaim is which share of rank-one tasks is first held at the predicted width, of those in the grid.
func staircaseClaim(about string, runs results.Runs) ([]Claim, error) {
	m, err := Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"signal"}, Final: true})
	if err != nil {
		return nil, err
	}
	share := eachSeed(runs, func(runs results.Runs) float64 {
		widths, byWidth := results.By(runs, results.Width)
		right, all := 0., 0.
		for k, star := range m.NStar(1) {
			at := slices.IndexFunc(widths, func(w int) bool { return w >= star.Some })
			if at < 0 {
				continue // wider than any net here
			}
			first := slices.IndexFunc(widths, func(w int) bool { return Final(byWidth[w][0], "signal", k+1) > Learned })
			if all++; first == at {
				right++
			}
		}
		return right / all
	})
	return []Claim{{"staircase", about + "share of tasks first held at the predicted width", share, .9}}, nil
}

// thresholdClaim is at which share of widths the rarest task is held exactly where the frequent tasks' residual is below its least at the
// width from which the rarest task withstands them.
func thresholdClaim(about string, runs results.Runs) ([]Claim, error) {
	m, err := Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"signal", "residual"}, Final: true})
	if err != nil {
		return nil, err
	}
	line, _ := m.FrequentFloor()
	rarest := m.Rarest() + 1
	share := eachSeed(runs, func(runs results.Runs) float64 {
		right := 0.
		for _, r := range runs {
			has, known := hasTask(m, r, rarest, r.Last())
			if residual := Final(r, "residual", 1); !known || math.IsNaN(residual) {
				return math.NaN()
			} else if has == (residual < line) {
				right++
			}
		}
		return right / float64(len(runs))
	})
	return []Claim{{"threshold", about + "share of widths on the right side of the line", share, .9}}, nil
}

// persistenceClaim is which share of all tasks and widths changes between held and not held after a tenth of the steps.
func persistenceClaim(about string, runs results.Runs) ([]Claim, error) {
	m, err := Theory(runs, results.Design{Vary: []string{"net.width"}, Columns: []string{"signal"}})
	if err != nil {
		return nil, err
	}
	share := eachSeed(runs, func(runs results.Runs) float64 {
		changed, all := 0., 0.
		for _, r := range runs {
			i := slices.IndexFunc(r.Steps, func(step int) bool { return 10*step >= r.Train.Steps })
			for k := 1; k <= m.Tasks(); k++ {
				before, known := hasTask(m, r, k, i)
				after, still := hasTask(m, r, k, r.Last())
				if !known || !still {
					return math.NaN()
				}
				if all++; before != after {
					changed++
				}
			}
		}
		return -changed / all
	})
	return []Claim{{"persistence", about + "minus the share of tasks and widths that change", share, -.05}}, nil
}
