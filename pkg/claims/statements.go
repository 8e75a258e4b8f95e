package claims

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"raretask/pkg/results"
	"raretask/pkg/spec"
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
	// Sweeps returns those of a preset whose runs judge it in the preset's place; nil: the preset itself.
	Sweeps  func(preset *spec.Sweep) ([]*spec.Sweep, error) `json:"-"`
	Late    bool                                            `json:"rule_after_runs"`   // the rule was written when its runs had been seen
	Without string                                          `json:"not_run,omitempty"` // why there are no runs that could
	Judge   Judge                                           `json:"-"`
}

// Judge returns the claims that a statement amounts to, of the runs of its sweeps.
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

// On judges the statement by the runs of each of its sweeps; of none of some sweep, why says why.
func (s Statement) On(runs []results.Runs, why string) (Judged, error) {
	j := Judged{Statement: s, Verdict: NotRun, Sentence: s.Without}
	if s.Judge == nil {
		return j, nil
	}
	for _, rs := range runs {
		if len(rs) == 0 {
			j.Runs, j.Stacks, j.Sentence = 0, nil, why
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

// Statements returns what of the paper there is a judgement of, or is known to be without one, in the paper's order; then what others found
// that must agree, and what we add.
func Statements() []Statement {
	return []Statement{
		{ID: "neurons", Source: "Sec. 3.3, Fig 11", Text: "One neuron serves the frequent of two tasks; of two neurons each takes one.",
			Rule: "over the second half of training one neuron's alignment with the rare task is below .2, the better of two above .8, in 20 draws",
			Late: true, Judge: gatedClaims},
		{ID: "losses", Source: "Thm 3, Fig 2b", Text: "Trained nets have the losses of the encoder that keeps the largest utilities.",
			Rule:    "the mean distance of tasks' normalised losses from the prediction's range is below .02, at each exponent of frequencies",
			Presets: []string{"fig2"}, Late: true, Judge: perMixture(predictedClaim)},
		{ID: "stairs", Source: "Sec. 3.1, Fig 2a, 17", Text: "The region of learned tasks follows the least width at which theory keeps them.",
			Rule: "at least .9 of the tasks are first held at the predicted width, as near as the grid has it, at each exponent of frequencies; " +
				"held is a signal of more than half of the first direction's share",
			Presets: []string{"fig17"}, Late: true, Judge: perMixture(staircaseClaim)},
		{ID: "utility", Source: "App. D, Fig 13, 14",
			Text: "Where tasks are unlike in complexity, losses follow the order of utility, which is that of frequency no more.",
			Rule: "the mean distance of tasks' normalised losses from the prediction's range is below .02, for each range of spectra and exponent " +
				"of frequencies",
			Presets: []string{"fig14"}, Late: true, Judge: perMixture(predictedClaim)},
		{ID: "staircase", Source: "Sec. 3.1, Fig 18", Text: "Of rank-one tasks the k-th appears at width k.",
			Rule:    "at least .9 of the tasks are first held at the predicted width, as near as the grid has it",
			Presets: []string{"fig18"}, Late: true, Judge: one(staircaseClaim)},
		{ID: "persistence", Source: "Sec. 3.1, Fig 21", Text: "Ten times the steps don't teach a net the tasks that its width doesn't hold.",
			Rule:    "between a tenth of the steps and the end fewer than .05 of all tasks and widths change between held and not held",
			Presets: []string{"fig21"}, Late: true, Judge: one(persistenceClaim)},
		{ID: "residual", Source: "Thm 4, Sec. 3.2", Text: "The common tasks' gradient and residual late in training fall with width.",
			Rule:    "each falls as a power of N of more than .1, at each exponent of frequencies",
			Presets: []string{"fig19"}, Judge: perMixture(GradientClaims)},
		{ID: "threshold", Source: "Prop. 6, Fig 3, 19",
			Text:    "The rarest task is held where the common tasks' residual is below that of the width at which it withstands them.",
			Rule:    "at least .9 of the widths are on the right side, at each exponent of frequencies",
			Presets: []string{"fig19"}, Late: true, Judge: perMixture(thresholdClaim)},
		{ID: "complex-threshold", Source: "App. D, Fig 15", Text: "That threshold holds where tasks are unlike in complexity, too.",
			Rule:    "at least .9 of the widths are on the right side, for each range of spectra and exponent of frequencies",
			Presets: []string{"fig15"}, Late: true, Judge: perMixture(thresholdClaim)},
		{ID: "retention", Source: "Sec. 3.3, Fig 4, 20", Text: "At equal frequency larger gaps cost more, narrow nets most; wide ones retain.",
			Rule: "the widest net retains and learns .1 more than a narrow one; from the shortest to the longest gap .02 of what is retained is " +
				"lost and .05 of what is learned, at each width",
			Presets: []string{"fig4"}, Judge: one(RetentionClaims)},
		{ID: "lowest", Source: "App. D, Fig 16",
			Text: "Of the task of the lowest utility a narrow net learns nothing, a middling one only at small gaps, a wide one at any.",
			Rule: "what there is of it before an injection is below .1 in the narrowest net and above .1 in the widest, at the shortest gap and " +
				"the longest, and .1 lower at the longest in one of those between",
			Presets: []string{"fig16"}, Late: true, Judge: one(lowestClaims)},
		{ID: "expressivity", Source: "Sec. 6; controls",
			Text: "Every net can learn each task alone, and its learning rate is not to blame that it doesn't in the mixture.",
			Rule: "alone each width has .8 of the rarest task; in the mixture the narrowest has .2 less of it than the widest, each at the best " +
				"of three rates; of bottlenecks, of ReLU nets, and of ReLU nets on parities",
			Presets: []string{"controls", "controls-mlp", "controls-parity"}, Sweeps: expressivitySweeps, Late: true, Judge: expressivityClaims},
		{ID: "language", Source: "Sec. 4.1, 4.2, Fig 5a, in miniature",
			Text: "Small decoders fail at a novel task that larger ones learn at the same frequency; more rescues them, and they can express it.",
			Rule: "each narrow width tells .2 less of unseen instances than the widest, also at its best rate, under muP and after four times the " +
				"steps; is .2 better at eight times the frequency and beside no structure; and reaches .8 alone and with instances in every window",
			Presets: []string{"language", "language-controls"},
			Judge:   novel},
		{ID: "text", Source: "Sec. 4.1, 4.2, Fig 5a, in miniature",
			Text: "Beside real text, too, small decoders fail at a novel task that larger ones learn; more rescues them, and they can express it.",
			Rule: "each narrow width tells .2 less of unseen instances than the widest, also at its best rate, under muP and after four times the " +
				"steps; is .2 better at eight times the frequency; and reaches .8 alone and with instances in every window",
			Presets: []string{"text", "text-controls"}, Judge: novel},
		{ID: "depth", Source: "Sec. 4.1, 4.2, Fig 5a, in miniature",
			Text: "In four layers, too, small decoders fail at a novel task that larger ones learn; more rescues them, and they can express it.",
			Rule: "each narrow width tells .2 less of unseen instances than the widest, also at its best rate; is .2 better at eight times the " +
				"frequency; and reaches .8 alone and with instances in every window",
			Presets: []string{"language-depth", "language-depth-controls"}, Judge: novel},
		{ID: "backgrounds", Source: "Sec. 4.1, 4.2, Fig 5a, in miniature",
			Text:    "In other languages, too, small decoders fail at a novel task that larger ones learn, and more rescues them.",
			Rule:    "over five languages each narrower width tells .2 less than the widest, and is .2 better at eight times the frequency",
			Presets: []string{"language-backgrounds"},
			Judge:   one(func(_ string, runs results.Runs) ([]Claim, error) { return SizeClaims(runs) })},
		{ID: "width", Source: "Sec. 4.1, 4.2, Fig 5a, in miniature",
			Text:    "A decoder twice as wide as the widest learns what small ones fail at, and as much of it as that one.",
			Rule:    "at an instance a batch it tells .2 more than each narrow width, and not so much as .1 less than the widest of the others",
			Presets: []string{"language", "language-controls", "language-width"},
			Judge:   func(runs []results.Runs) ([]Claim, error) { return LargerClaims(runs[0], runs[1], runs[2]) }},
		{ID: "sooner", Source: "Sec. 4.2, Fig 6a, in miniature", Text: "The novel task is learned sooner where it is more frequent.",
			Rule:    "at each width the loss of its training instances is .1 nats lower over training at eight times the frequency",
			Presets: []string{"language"}, Late: true, Judge: one(sooner)},
		{ID: "gaps", Source: "Sec. 4.2, Fig 6b, in miniature", Text: "At equal frequency larger gaps leave a higher loss.",
			Rule:    "at each width the loss before a burst of 160 every 160 batches is .1 nats above that with one in each, late in training",
			Presets: []string{"language", "language-gaps"}, Judge: gapHurts},
		{ID: "represents", Source: "Sec. 4.3, Fig 7a, in miniature",
			Text: "What decoders represent of the order of symbols grows with size, as their accuracy does, along one causal direction.",
			Rule: "R² of the numbers is .1 higher in the widest than in the narrowest, at an instance a batch; its rank correlation with accuracy " +
				"is above .5; an interchange along the direction moves .2 more of the labels than along a random one",
			Presets: []string{"language"}, Judge: one(represents)},
		{ID: "represents-text", Source: "Sec. 4.3, Fig 7a, in miniature",
			Text: "Beside real text, too, the widest decoder represents more of the order of symbols than the narrowest, along a causal direction.",
			Rule: "as of `represents`: R² .1 higher, its rank correlation with accuracy above .5, an interchange moves .2 more labels than along " +
				"a random direction",
			Presets: []string{"text"}, Late: true, Judge: one(represents)},
		{ID: "keeps", Source: "Sec. 4.4, Fig 8, in miniature", Text: "Larger decoders gain more of a burst and retain more of it until the next.",
			Rule:    "of what bursts give, gaps take .05 more back in each narrow width than in the widest, which gains .05 nats more of a burst",
			Presets: []string{"language-gaps"}, Judge: one(keepsMore)},
		{ID: "collisions", Source: "Sec. 4.4, Fig 9, in miniature",
			Text:    "Gradients of the language run into the novel task's by chance, in smaller decoders more.",
			Rule:    "the spread of their cosine is .02 wider in each narrow width than in the widest",
			Presets: []string{"language-gaps"}, Judge: one(collides)},
		{ID: "first-mlp", Source: "Sec. 4.4, Fig 10, in miniature", Text: "The first MLP matters most to the novel task's label.",
			Rule:    "at each width nulling the first, by zero, costs the label .1 nats more than nulling the second, at eight instances a batch",
			Presets: []string{"language"}, Judge: one(firstMLP)},
		{ID: "trajectory", Source: "App. E, Fig 22, in miniature",
			Text: "At a high frequency all sizes share one course of task against language loss; at a low one small ones leave it.",
			Rule: "when the widest net has the loss of language that a narrower one ends with, their losses of the task differ by less than .1 " +
				"nats at eight instances a batch, and the narrow one's is .1 nats higher at one",
			Presets: []string{"language"}, Late: true, Judge: one(trajectory)},
		{ID: "frontier", Source: "App. E, Fig 23, in miniature", Text: "At equal compute larger decoders have the lower loss of a rare task.",
			Rule:    "each width but the widest ends .1 nats above what the next wider one has at the same compute, at an instance a batch",
			Presets: []string{"language"}, Late: true, Judge: one(behind)},
		{ID: "olmo", Source: "Sec. 4, Fig 5-10, 22, 23", Text: "OLMo models of 4M to 4B parameters learn rarer tasks the larger they are.",
			Without: "the presets are there at the paper's scale; no accelerators for 210e9 tokens"},
		{ID: "addition", Source: "Sec. 4.1, Fig 5b, in miniature",
			Text: "Larger decoders generalise modular addition injected into language, at higher frequencies alone.",
			Rule: "with an instance in every window the widest tells more than .55 of unseen sums (memory and a + b = b + a give .50), .2 more " +
				"than each narrower one, and .2 more than with one in four windows",
			Presets: []string{"addition"}, Judge: one(adds)},
		{ID: "quanta", Source: "arXiv 2303.13506",
			Text: "Sparse parities are learned in the order of their frequency, more of them the wider the net.",
			Rule: "of pairs of tasks that the widest net learned at unlike steps, .8 more came in the order of frequency than in the other; it " +
				"learns .2 more of all tasks than the narrowest",
			Presets: []string{"parity"}, Late: true, Judge: one(orderClaims)},
		{ID: "forgetting", Source: "ours: restoring force",
			Text: "How fast a withheld feature is lost follows from the utility of the weakest common one, and nothing fitted.",
			Rule: "under gradient descent the rates differ from theory's by less than .1 in their logarithm, on average over the widths at which " +
				"it was held and lost, at each exponent of frequencies",
			Presets: []string{"forgetting"}, Late: true, Judge: forgettingClaim},
	}
}

// novel judges NovelClaims.
func novel(runs []results.Runs) ([]Claim, error) { return NovelClaims(runs[0], runs[1]) }
