package corpus

import (
	"cmp"
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/tasks"
)

func init() {
	tasks.Register(tasks.Kind{Name: "text", About: "real text, and a novel task injected into it", Engine: 2, Defaults: TextSettings{
		Source: GoTree, Type: "bytes", Vocabulary: 256, Window: 16, Order: Shuffled, Held: .02, Task: Comparison, Symbols: 32, Common: 2e-4}})
}

// Orders in which windows of a text are trained on.
const (
	Shuffled = "shuffled" // any window of the text, drawn independently
	Given    = "given"    // one window after the other, file by file, as tokenised shards come in a training's order
)

// TextSettings are those of Text.
type TextSettings struct {
	Source     string  `yaml:"source" json:"source" about:"go: comments and a book of Go's own source; or a pattern of files of tokens"`
	Type       string  `yaml:"type" json:"type" about:"of tokens in files: bytes, uint16 or uint32, little-endian as OLMo's shards"`
	Vocabulary int     `yaml:"vocabulary" json:"vocabulary" about:"tokens V; those of files are below it"`
	Window     int     `yaml:"window" json:"window" about:"tokens of a sample L"`
	Order      string  `yaml:"order" json:"order" about:"shuffled: any window of the text; given: one after the other"`
	Epochs     int     `yaml:"epochs" json:"epochs" about:"given: how often the text may be gone through; 0: as often as steps need"`
	Held       float64 `yaml:"held" json:"held" about:"share at the end of each file that is never trained on: losses are of it"`
	Task       string  `yaml:"task" json:"task" about:"compare (T_CMP) or add (T_ADD)"`
	Symbols    int     `yaml:"symbols" json:"symbols" about:"tokens that stand for the numbers 0 … S-1 in the novel task"`
	Common     float64 `yaml:"common" json:"common" about:"least frequency of the tokens that the novel task takes"`
	Seed       uint32  `yaml:"seed" json:"seed" role:"seed" vary:"input" about:"of the symbols and the split of the task"`
}

const (
	largestTokens     = 1 << 18 // of a vocabulary that is only counted
	largestTextWindow = 1 << 15
)

// Check implements tasks.Settings. Files that are there must be whole numbers of tokens; where there are none a run can be planned, as on a
// machine that hasn't the data, and not trained.
func (s TextSettings) Check(k int) error {
	err := cmp.Or(
		tasks.Want(k == 2, "tasks", k, "2: the text, and the task that is injected into it"),
		tasks.Want(tokenSizes[s.Type] > 0, "type", s.Type, "bytes, uint16 or uint32"),
		tasks.Want(s.Source != GoTree || s.Type == "bytes", "type", s.Type, "bytes, which those of source: go are"),
		tasks.Want(s.Vocabulary >= 8 && s.Vocabulary <= largestTokens, "vocabulary", s.Vocabulary, fmt.Sprintf("8 … %d", largestTokens)),
		tasks.Want(s.Window >= instance && s.Window <= largestTextWindow, "window", s.Window,
			fmt.Sprintf("%d (an instance of the task) … %d", instance, largestTextWindow)),
		tasks.Want(s.Order == Shuffled || s.Order == Given, "order", s.Order, Shuffled+" or "+Given),
		tasks.Want(s.Epochs >= 0 && s.Epochs <= 1<<20, "epochs", s.Epochs, "0 (as often as steps need) … 1048576"),
		tasks.Want(s.Epochs == 0 || s.Order == Given, "epochs", s.Epochs, "0, or order: given"),
		tasks.Want(s.Held > 0 && s.Held <= .5, "held", s.Held, "a share above 0, at most .5"),
		tasks.Want(s.Task == Comparison || s.Task == Addition, "task", s.Task, Comparison+" or "+Addition),
		tasks.Want(s.Symbols >= 2 && s.Symbols <= min(largestSymbols, s.Vocabulary-3), "symbols", s.Symbols,
			fmt.Sprintf("2 … %d: with two labels and an end they are tokens of mixture.vocabulary (%d)", min(largestSymbols, s.Vocabulary-3),
				s.Vocabulary)),
		tasks.Want(s.Common >= 0 && s.Common < 1, "common", s.Common, "a share, at least 0 and below 1"),
	)
	if err != nil || s.Source == GoTree {
		return err
	}
	paths, _ := files(s.Source)
	for _, path := range paths {
		if _, err := fits(path, tokenSizes[s.Type]); err != nil {
			return tasks.Want(false, "source", s.Source, "files of tokens: "+err.Error())
		}
	}
	return nil
}

// Signature implements tasks.Settings: the first L-1 tokens, and what follows each of them.
func (s TextSettings) Signature(k int) tasks.Signature {
	tokens := tasks.Array{Dims: []int{s.Window - 1}, Type: dtypes.Int32}
	return tasks.Signature{Tasks: k, Input: tokens, Target: tokens, Outputs: s.Vocabulary, Coded: true, Unit: "nats"}
}

// Injects implements Injecting.
func (s TextSettings) Injects() (kind string, symbols int) { return s.Task, s.Symbols }

// Identity implements tasks.Identified: the digest of the text, of which the Go tree's is everybody's.
func (s TextSettings) Identity() (digest string, everybodys bool) {
	everybodys = s.Source == GoTree
	if source, err := OpenSource(s.Source, s.Type); err == nil {
		return source.Digest, everybodys
	}
	return "", everybodys // nothing can be trained on it
}

// Family implements tasks.Settings.
func (s TextSettings) Family(int) (tasks.Family, error) { return NewText(s) }

// Text is windows of real text, and a novel task as in Language. The last part of each file is held out: windows for evaluation are of it
// alone, those for training of all else.
type Text struct {
	TextSettings
	Injected  Task
	Source    *Source
	Frequency []float64 // of each token [V]

	trained []int // of each domain, how many tokens training sees; the rest is held out
	streamed
}

// NewText returns the text and task of settings that have passed Check. It returns an error for tokens beyond the vocabulary, a window
// longer than what a file has for training or for evaluation, and fewer frequent tokens than the task takes.
func NewText(s TextSettings) (*Text, error) {
	source, err := OpenSource(s.Source, s.Type)
	if err != nil {
		return nil, err
	}
	t := &Text{TextSettings: s, Source: source}
	if t.Frequency, err = source.Frequencies(s.Vocabulary); err != nil {
		return nil, err
	}
	for _, d := range source.Domains {
		trained := d.Len() - int(s.Held*float64(d.Len()))
		if trained < s.Window || d.Len()-trained < s.Window {
			return nil, fmt.Errorf("corpus: %s has %d tokens for training and %d held out: want at least mixture.window (%d) of each",
				d.Name, trained, d.Len()-trained, s.Window)
		}
		t.trained = append(t.trained, trained)
	}
	var candidates []int32
	for token, f := range t.Frequency {
		if f >= s.Common {
			candidates = append(candidates, int32(token))
		}
	}
	if len(candidates) < s.Symbols+3 {
		return nil, fmt.Errorf("corpus: %d tokens are at least as frequent as mixture.common (%g): want the %d of the novel task",
			len(candidates), s.Common, s.Symbols+3)
	}
	random := rand.New(rand.NewPCG(uint64(s.Seed), 7))
	t.Injected = newTask(s.Task, candidates, s.Symbols, random)
	t.streamed = newStreamed(t.Injected, t.Windows(random, heldRows(s.Window)))
	return t, nil
}

// Novel implements Family.
func (t *Text) Novel() Task { return t.Injected }

// Windows implements Family: of what is held out, any file's in proportion to its length.
func (t *Text) Windows(random *rand.Rand, n int) [][]int32 {
	windows := make([][]int32, n)
	for i := range windows {
		windows[i] = make([]int32, t.Window)
		t.draw(random, windows[i], func(d int) (from, to int) { return t.trained[d], t.Source.Domains[d].Len() })
	}
	return windows
}

// HeldOut draws windows of what is held out of one domain.
func (t *Text) HeldOut(random *rand.Rand, domain, n int) [][]int32 {
	windows := make([][]int32, n)
	from, to := t.trained[domain], t.Source.Domains[domain].Len()
	for i := range windows {
		windows[i] = make([]int32, t.Window)
		t.Source.Domains[domain].Read(from+random.IntN(to-from-t.Window+1), windows[i])
	}
	return windows
}

// draw draws a window of a part of each domain, each beginning equally likely.
func (t *Text) draw(random *rand.Rand, window []int32, part func(domain int) (from, to int)) {
	beginnings := func(d int) int { from, to := part(d); return to - from - t.Window + 1 }
	total := 0
	for d := range t.Source.Domains {
		total += beginnings(d)
	}
	d, at := t.locate(random.IntN(total), beginnings)
	from, _ := part(d)
	t.Source.Domains[d].Read(from+at, window)
}

// locate returns in which domain the i-th of some things is, of which each domain has so many, and the how manieth of that it is.
func (t *Text) locate(i int, count func(domain int) int) (domain, at int) {
	for ; i >= count(domain); domain++ {
		i -= count(domain)
	}
	return domain, i
}

// windows returns how many whole windows the text has for training, one after the other.
func (t *Text) windows() (n int) {
	for _, trained := range t.trained {
		n += trained / t.Window
	}
	return n
}

// Supplies implements tasks.Streamed.
func (t *Text) Supplies(steps, rows int) error {
	have := t.Epochs * t.windows()
	if t.Order == Shuffled || t.Epochs == 0 || steps*rows <= have {
		return nil
	}
	return fmt.Errorf("corpus: %d steps of %d windows: want at most the %d windows that mixture.epochs (%d) of the text have, or more epochs",
		steps, rows, have, t.Epochs)
}

// Gather implements tasks.Streamed.
func (t *Text) Gather(seed uint32, step, rows int, to []int32) error {
	random := rand.New(rand.NewPCG(uint64(seed)<<32|uint64(step), 17))
	for row := range rows {
		window := to[row*t.Window:][:t.Window]
		if t.Order == Given {
			t.read((step*rows+row)%t.windows(), window)
		} else {
			t.draw(random, window, func(d int) (from, to int) { return 0, t.trained[d] })
		}
		for i, token := range window {
			if int(token) >= t.Vocabulary || token < 0 {
				return fmt.Errorf("corpus: source %s: a token is %d: want those below mixture.vocabulary (%d)", t.TextSettings.Source,
					uint32(window[i]), t.Vocabulary)
			}
		}
	}
	return nil
}

// read reads the i-th whole window for training.
func (t *Text) read(i int, window []int32) {
	d, at := t.locate(i, func(d int) int { return t.trained[d] / t.Window })
	t.Source.Domains[d].Read(at*t.Window, window)
}

// With implements tasks.Streamed.
func (t *Text) With(rows *Node) tasks.Family {
	bound := *t
	bound.rows = rows
	return &bound
}

// Signature implements tasks.Family.
func (t *Text) Signature() tasks.Signature { return t.TextSettings.Signature(2) }

// Relevant implements tasks.Family: any token may matter.
func (t *Text) Relevant(int) []int { return every(t.Window - 1) }

// Baseline implements tasks.Family: of what is predicted in windows of each task, the entropy of a token at an unknown place.
func (t *Text) Baseline() []float64 { return t.Injected.baseline(t.Frequency, t.Window) }

// Bind implements tasks.Parametric.
func (t *Text) Bind(constants []*Node) tasks.Family {
	bound := *t
	bound.bind(constants)
	return &bound
}

// Score implements tasks.Family: the cross-entropy of logits [..., V] with the token that follows, in nats.
func (t *Text) Score(logits, target *Node) (loss, weight *Node) {
	return CrossEntropy(logits, target), nil
}
