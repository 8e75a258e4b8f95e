package claims

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"raretask/pkg/corpus"
	"raretask/pkg/probe"
	"raretask/pkg/results"
)

const (
	// AccuracyEffect is the least difference in accuracy on unseen instances of a novel task that counts.
	AccuracyEffect = .2
	// Expressed is the accuracy above which a net counts as able to express the novel task.
	Expressed = .8
)

// Novel is how much nets tell of the unseen instances of a novel task, by width, and what was changed for it.
type Novel struct {
	Width    int
	Setting  NovelSetting
	Accuracy BySeed // share of the test instances whose label is the likeliest token, at the end of training
}

// NovelSetting is what conditions of runs on a language or text with a novel task differ in beside width.
type NovelSetting struct {
	Samples   int // instances in every batch
	Steps     int
	Rate      float64
	Sharpness float64 // of a synthetic language: 0 is none to learn
	Alone     bool    // only windows of the task are learned from, and they hold nothing else
	Mup       bool
}

// Beside says in what a setting differs from another one of the same width; where it doesn't, how often instances come.
func (s NovelSetting) Beside(base NovelSetting) string {
	var all []string
	say := func(differs bool, format string, values ...any) {
		if differs {
			all = append(all, fmt.Sprintf(format, values...))
		}
	}
	say(s.Alone, "the task alone")
	say(s.Mup, "muP")
	say(s.Samples != base.Samples, "%d instances a batch", s.Samples)
	say(s.Sharpness != base.Sharpness && s.Sharpness == 0, "no structure in the language")
	say(s.Sharpness != base.Sharpness && s.Sharpness != 0, "sharpness %g of the language", s.Sharpness)
	say(s.Steps != base.Steps, "%g times the steps", float64(s.Steps)/float64(base.Steps))
	say(s.Rate != base.Rate && !s.Mup, "%.2g times the rate", s.Rate/base.Rate)
	say(len(all) == 0 && s.Samples == 1, "1 instance a batch")
	say(len(all) == 0, "%d instances a batch", s.Samples)
	return strings.Join(all, ", ")
}

// Novels returns the accuracies of runs, by width and setting.
func Novels(runs results.Runs) ([]Novel, error) {
	vary := slices.Concat(sizes, []string{"net.parameterization", "net.base", "train.steps", "train.warmup", "train.injection.samples",
		"train.intervention.kind", "train.intervention.task", "mixture.sharpness", "mixture.window"})
	if err := runs.Need(results.Design{Vary: vary, Columns: []string{probe.TestAccuracy}, Final: true, Absent: true}); err != nil {
		return nil, err
	}
	var all []Novel
	widths, byWidth := results.By(runs, results.Width)
	for _, w := range widths {
		settings := map[NovelSetting]results.Runs{}
		var order []NovelSetting
		for _, r := range byWidth[w] {
			if _, ok := r.Mixture.Settings.(corpus.Injecting); !ok || r.Train.Injection.Gap != 1 {
				return nil, fmt.Errorf("claims: run %s: want a language or text with instances of the novel task in every batch", r.ID)
			}
			language, _ := r.Mixture.Settings.(corpus.LanguageSettings) // of text it is 0
			s := NovelSetting{r.Train.Injection.Samples, r.Train.Steps, r.Train.Rate, language.Sharpness,
				r.Train.Intervention.Kind == "alone" && r.Train.Intervention.Task == r.Train.Injection.Task, r.Net.Parameterization == "mup"}
			if settings[s] == nil {
				order = append(order, s)
			}
			settings[s] = append(settings[s], r)
		}
		for _, s := range order {
			accuracy, err := perSeed(runs, settings[s], func(r *results.Run) float64 { return Final(r, probe.TestAccuracy, 1) })
			if err != nil {
				return nil, err
			}
			all = append(all, Novel{w, s, accuracy})
		}
	}
	return all, nil
}

// NovelClaims returns what the paper claims of a novel task in a language or text, for each narrow width beside the largest one: that it
// fails at a frequency at which the largest one learns, also under muP, that more of the task rescues it, that it could express the task
// and alone does, and that neither rates nor time nor anything but a language to learn are to blame. main are two frequencies at all
// widths; controls change one thing of the rarer one at the narrow widths, muP at the largest one, too. Source: Sec. 4.1-4.2 of arXiv
// 2605.29548, and controls that it lacks.
func NovelClaims(main, controls results.Runs) (all []Claim, err error) {
	base, err := Novels(main)
	if err != nil {
		return nil, err
	}
	changed, err := Novels(controls)
	if err != nil {
		return nil, err
	}
	for _, w := range controlled(changed) {
		own, large, rare, err := sizeClaims(base, w)
		if err != nil {
			return nil, err
		}
		all = append(append(all, own...), controlClaims(large, rare, changed)...)
	}
	return all, nil
}

// SizeClaims are those of NovelClaims that take no controls, for all widths but the largest one.
func SizeClaims(main results.Runs) (all []Claim, err error) {
	base, err := Novels(main)
	if err != nil {
		return nil, err
	}
	widths, _ := results.By(main, results.Width)
	for _, w := range widths[:len(widths)-1] {
		own, _, _, err := sizeClaims(base, w)
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	return all, nil
}

// sizeClaims are those of SizeClaims on a width, and what it and the largest one have of the rarer task.
func sizeClaims(base []Novel, width int) (list []Claim, large, rare Novel, err error) {
	var found [2][]Novel
	wide := base[len(base)-1].Width
	for i, w := range []int{wide, width} {
		if found[i] = byFrequency(base, w); len(found[i]) != 2 {
			return nil, large, rare, fmt.Errorf("claims: %d settings of width %d: want two frequencies", len(found[i]), w)
		}
	}
	large, rare = found[0][0], found[1][0]
	return []Claim{
		{fmt.Sprint("size-", width), fmt.Sprintf("N = %d tells less of the rare task than N = %d", width, wide),
			Paired(large.Accuracy, rare.Accuracy), AccuracyEffect},
		{fmt.Sprint("frequency-", width), fmt.Sprintf("N = %d is rescued by a higher frequency", width),
			Paired(found[1][1].Accuracy, rare.Accuracy), AccuracyEffect},
	}, large, rare, nil
}

// controlClaims are those of NovelClaims on the controls of a narrow width, given what it and the largest one have of the rarer task.
func controlClaims(large, rare Novel, changed []Novel) (all []Claim) {
	add := func(id, name string, effect BySeed, minimum float64) {
		all = append(all, Claim{fmt.Sprintf("%s-%d", id, rare.Width), fmt.Sprintf("N = %d %s", rare.Width, name), effect, minimum})
	}
	best, rates := rare, 1
	mup := map[int]BySeed{}
	for _, c := range changed {
		plain := c.Setting
		plain.Rate = rare.Setting.Rate
		switch {
		case c.Setting.Mup:
			mup[c.Width] = c.Accuracy
		case c.Width != rare.Width:
		case c.Setting.Alone:
			add("alone", "learns the task alone, as seldom", c.Accuracy, Expressed)
		case c.Setting.Samples != rare.Setting.Samples:
			add("expressed", "can express the task: it learns it with an instance in every window", c.Accuracy, Expressed)
		case c.Setting.Sharpness != rare.Setting.Sharpness:
			add("structure", "learns it beside a language without structure", Paired(c.Accuracy, rare.Accuracy), AccuracyEffect)
		case c.Setting.Steps != rare.Setting.Steps:
			add("time", fmt.Sprintf("tells less than N = %d even after %g times the steps", large.Width,
				float64(c.Setting.Steps)/float64(rare.Setting.Steps)), Paired(large.Accuracy, c.Accuracy), AccuracyEffect)
		case plain == rare.Setting:
			if rates++; c.Accuracy.Interval().better(best.Accuracy.Interval(), false) {
				best = c
			}
		}
	}
	if len(mup[rare.Width]) > 0 {
		add("mup", fmt.Sprintf("tells less than N = %d under muP, at one rate", large.Width), Paired(mup[large.Width], mup[rare.Width]),
			AccuracyEffect)
	}
	if rates > 1 {
		add("rate", fmt.Sprintf("tells less than N = %d at the best of its rates", large.Width), Paired(large.Accuracy, best.Accuracy),
			AccuracyEffect)
	}
	return all
}

// byFrequency returns what nets of a width have, the lowest frequency first.
func byFrequency(all []Novel, width int) []Novel {
	own := slices.DeleteFunc(slices.Clone(all), func(n Novel) bool { return n.Width != width })
	slices.SortFunc(own, func(a, b Novel) int { return a.Setting.Samples - b.Setting.Samples })
	return own
}

// controlled returns the narrow widths: those of which there is another control than muP.
func controlled(controls []Novel) []int {
	widths := map[int]bool{}
	for _, c := range controls {
		if !c.Setting.Mup {
			widths[c.Width] = true
		}
	}
	return slices.Sorted(maps.Keys(widths))
}

// LargerClaims returns, for runs of a width above all of main: how much more it tells of the rare task than each of the narrow ones, which
// are those of controls (see NovelClaims), and that it tells no less than the widest of main.
func LargerClaims(main, controls, larger results.Runs) (list []Claim, err error) {
	var all [3][]Novel
	for i, runs := range []results.Runs{main, controls, larger} {
		if all[i], err = Novels(runs); err != nil {
			return nil, err
		}
	}
	widest, top := all[0][len(all[0])-1].Width, all[2][0].Width
	if top <= widest {
		return nil, fmt.Errorf("claims: runs of width %d beside those of %d: want a larger one", top, widest)
	}
	large := byFrequency(all[2], top)[0]
	for _, w := range append(controlled(all[1]), widest) {
		own := byFrequency(all[0], w)
		if len(own) == 0 || own[0].Setting.Samples != large.Setting.Samples {
			return nil, fmt.Errorf("claims: width %d has no runs of %d instances a batch: want those of width %d", w, large.Setting.Samples, top)
		}
		claim := Claim{fmt.Sprintf("larger-%d", w), fmt.Sprintf("N = %d tells more of the rare task than N = %d", top, w),
			Paired(large.Accuracy, own[0].Accuracy), AccuracyEffect}
		if w == widest {
			claim.Name, claim.Minimum = fmt.Sprintf("N = %d tells no less of it than N = %d", top, w), -AccuracyEffect/2
		}
		list = append(list, claim)
	}
	return list, nil
}
