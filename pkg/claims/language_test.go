package claims

import (
	"strings"
	"testing"

	"raretask/pkg/corpus"
	"raretask/pkg/probe"
	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// novices returns five seeds of language models of each width and setting with accuracies of their own.
func novices(accuracy func(width int, s NovelSetting) float64, settings []NovelSetting, widths ...int) (runs results.Runs) {
	base := spec.Default()
	base.Mixture.Family, base.Mixture.Tasks = "language", 2
	base.Net = spec.NewNet("transformer", 8)
	for _, w := range widths {
		for _, s := range settings {
			for seed := range uint32(5) {
				r := base
				r.Mixture.Settings = corpus.LanguageSettings{Vocabulary: 20, Window: 6, Rank: 3, Sharpness: s.Sharpness, Task: corpus.Comparison,
					Symbols: 5}
				r.Net.Width, r.Train.Seed, r.Train.Rate, r.Train.Steps = w, seed, s.Rate, s.Steps
				r.Train.Injection = spec.Injection{Task: 2, Gap: 1, Samples: s.Samples}
				if s.Alone {
					r.Train.Intervention = spec.Intervention{Kind: "alone", Task: 2}
				}
				if s.Mup {
					r.Net.Parameterization, r.Net.Base = "mup", 16
				}
				value := accuracy(w, s) + .01*float64(seed)
				runs = append(runs, results.NewRun(r, []int{s.Steps}, map[string][]float64{probe.TestAccuracy: {value}}))
			}
		}
	}
	return runs
}

// initials are those of the claims' verdicts.
func initials(all []Claim) (text string) {
	for _, claim := range all {
		text += strings.ToUpper(claim.Verdict()[:1])
	}
	return text
}

// Verdicts follow the world: one in which narrow nets lack capacity, one in which their rate was wrong, one in which nothing is learned.
func TestNovelClaims(t *testing.T) {
	plain := NovelSetting{Samples: 1, Steps: 100, Rate: .1, Sharpness: 2}
	more, dense, loose, long, alone, fast, mup := plain, plain, plain, plain, plain, plain, plain
	more.Samples, dense.Samples, loose.Sharpness, long.Steps, alone.Alone, fast.Rate, mup.Mup = 8, 16, 0, 400, true, .3, true
	for name, c := range map[string]struct {
		accuracy func(width int, s NovelSetting) float64
		want     string // verdicts of size, frequency, expressed, structure, time, alone, mup, rate: Supported, Not
	}{
		"capacity": {func(width int, s NovelSetting) float64 {
			if width == 64 || s.Samples > 1 || s.Sharpness == 0 || s.Alone {
				return .9
			}
			return .3
		}, "SSSSSSSS"},
		"rate": {func(width int, s NovelSetting) float64 {
			if width == 64 || s.Samples > 1 || s.Rate == .3 || s.Mup {
				return .9
			}
			return .3
		}, "SSSNSNNN"},
		"nothing": {func(int, NovelSetting) float64 { return .1 }, "NNNNNNNN"},
	} {
		main := novices(c.accuracy, []NovelSetting{plain, more}, 8, 64)
		controls := novices(c.accuracy, []NovelSetting{dense, loose, long, alone, fast}, 8)
		controls = append(controls, novices(c.accuracy, []NovelSetting{mup}, 8, 64)...)
		all, err := NovelClaims(main, controls)
		if err != nil {
			t.Fatal(err)
		}
		if got := initials(all); got != c.want {
			t.Errorf("%s: verdicts %s, want %s", name, got, c.want)
		}
	}
	if _, err := NovelClaims(novices(func(int, NovelSetting) float64 { return 0 }, []NovelSetting{plain}, 8, 64), nil); err == nil {
		t.Error("one frequency and no controls: want an error")
	}
}

// Of real text the same is judged, but for a language without structure.
func TestNovelClaimsOfText(t *testing.T) {
	plain := NovelSetting{Samples: 1, Steps: 100, Rate: .1}
	more, alone := plain, plain
	more.Samples, alone.Alone = 8, true
	capacity := func(width int, s NovelSetting) float64 {
		if width == 64 || s.Samples > 1 || s.Alone {
			return .9
		}
		return .3
	}
	text := func(settings []NovelSetting, widths ...int) results.Runs {
		runs := novices(capacity, settings, widths...)
		for _, r := range runs {
			r.Mixture.Family = "text"
			r.Mixture.Settings = corpus.TextSettings{Source: corpus.GoTree, Type: "bytes", Vocabulary: 256, Window: 6, Order: corpus.Shuffled,
				Held: .02, Task: corpus.Comparison, Symbols: 5}
		}
		return runs
	}
	all, err := NovelClaims(text([]NovelSetting{plain, more}, 8, 64), text([]NovelSetting{alone}, 8))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, claim := range all {
		got = append(got, claim.ID+" "+claim.Verdict())
	}
	want := "size-8 supported, frequency-8 supported, alone-8 supported"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s; want %s", strings.Join(got, ", "), want)
	}
	if all, err := SizeClaims(text([]NovelSetting{plain, more}, 8, 16, 64)); err != nil || len(all) != 4 {
		t.Errorf("%d claims on two narrow widths without controls, %v: want size and frequency of each", len(all), err)
	}
	regression := novices(capacity, []NovelSetting{plain, more}, 8, 64)
	for _, r := range regression {
		r.Mixture = spec.Default().Mixture
	}
	if _, err := NovelClaims(regression, nil); err == nil {
		t.Error("a mixture without a novel task: want an error")
	}
}

// A width above all others is held against each narrow one and the widest: in a world of capacity, in one where it has got worse, and in
// one where width does nothing.
func TestLargerClaims(t *testing.T) {
	plain := NovelSetting{Samples: 1, Steps: 100, Rate: .1, Sharpness: 2}
	more, alone := plain, plain
	more.Samples, alone.Alone = 8, true
	for name, c := range map[string]struct {
		at   map[int]float64 // accuracy by width
		want string          // verdicts against 8, 16, 64
	}{
		"capacity": {map[int]float64{8: .2, 16: .5, 64: .9, 128: .9}, "SSS"},
		"worse":    {map[int]float64{8: .2, 16: .5, 64: .9, 128: .6}, "SNN"},
		"nothing":  {map[int]float64{8: .5, 16: .5, 64: .5, 128: .5}, "NNS"},
	} {
		of := func(width int, s NovelSetting) float64 { return c.at[width] }
		main := novices(of, []NovelSetting{plain, more}, 8, 16, 32, 64)
		controls := novices(of, []NovelSetting{alone}, 8, 16)
		list, err := LargerClaims(main, controls, novices(of, []NovelSetting{plain, more}, 128))
		if err != nil {
			t.Fatal(err)
		}
		if got := initials(list); got != c.want {
			t.Errorf("%s: verdicts %s, want %s", name, got, c.want)
		}
		for wrong, of := range map[string]results.Runs{"a smaller width": main[:1], "another frequency": novices(of, []NovelSetting{more}, 128)} {
			if _, err := LargerClaims(main, controls, of); err == nil {
				t.Errorf("%s: want an error", wrong)
			}
		}
	}
}

func TestNovelSettingsSayWhatIsChanged(t *testing.T) {
	base := NovelSetting{Samples: 1, Steps: 100, Rate: .01, Sharpness: 2}
	for _, c := range []struct {
		change func(*NovelSetting)
		want   string
	}{
		{func(*NovelSetting) {}, "1 instance a batch"},
		{func(s *NovelSetting) { s.Samples = 8 }, "8 instances a batch"},
		{func(s *NovelSetting) { s.Steps = 400 }, "4 times the steps"},
		{func(s *NovelSetting) { s.Rate = .003 }, "0.3 times the rate"},
		{func(s *NovelSetting) { s.Rate = .1 }, "10 times the rate"},
		{func(s *NovelSetting) { s.Sharpness = 1 }, "sharpness 1 of the language"},
		{func(s *NovelSetting) { s.Sharpness, s.Steps = 0, 50 }, "no structure in the language, 0.5 times the steps"},
		{func(s *NovelSetting) { s.Mup, s.Rate = true, .005 }, "muP"},
		{func(s *NovelSetting) { s.Alone = true }, "the task alone"},
	} {
		s := base
		if c.change(&s); s.Beside(base) != c.want {
			t.Errorf("%+v is %q, want %q", s, s.Beside(base), c.want)
		}
	}
}
