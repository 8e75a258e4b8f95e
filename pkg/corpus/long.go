package corpus

import (
	"math/rand/v2"
	"sort"

	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/floats"

	"raretask/tasks"
)

// longest is up to how many tokens of a Language the device draws, one after the other: programs of as many operations take long to
// compile, and GoMLX v0.28 has no loop within a loop.
const longest = 32

// Long is a Language of longer windows, which the host draws while steps are taken.
type Long struct {
	*Language
	cumulative [][]float64 // of the next token after each, and of the first one [V+1, V]
	streamed
}

// NewLong returns the language of settings that have passed Check, with windows from the host.
func NewLong(s LanguageSettings) (*Long, error) {
	language, err := NewLanguage(s)
	if err != nil {
		return nil, err
	}
	l := &Long{Language: language}
	for _, row := range append(language.Next[:s.Vocabulary:s.Vocabulary], language.Stationary) {
		l.cumulative = append(l.cumulative, floats.CumSum(make([]float64, s.Vocabulary), row))
	}
	l.streamed = newStreamed(language.Injected, l.Windows(rand.New(rand.NewPCG(uint64(s.Seed), 19)), heldRows(s.Window)))
	return l, nil
}

// Windows implements Family.
func (l *Long) Windows(random *rand.Rand, n int) [][]int32 {
	windows := make([][]int32, n)
	for i := range windows {
		windows[i] = make([]int32, l.Window)
		l.fill(random, windows[i])
	}
	return windows
}

// fill draws a window.
func (l *Long) fill(random *rand.Rand, window []int32) {
	from := l.Vocabulary
	for i := range window {
		sums := l.cumulative[from]
		from = min(sort.SearchFloat64s(sums, random.Float64()*sums[l.Vocabulary-1]), l.Vocabulary-1)
		window[i] = int32(from)
	}
}

// Supplies implements tasks.Streamed: there is no end to a language.
func (l *Long) Supplies(int, int) error { return nil }

// Gather implements tasks.Streamed.
func (l *Long) Gather(seed uint32, step, rows int, to []int32) error {
	random := rand.New(rand.NewPCG(uint64(seed)<<32|uint64(step), 17))
	for row := range rows {
		l.fill(random, to[row*l.Window:][:l.Window])
	}
	return nil
}

// With implements tasks.Streamed.
func (l *Long) With(rows *Node) tasks.Family {
	bound := *l
	bound.rows = rows
	return &bound
}

// Constants implements tasks.Parametric.
func (l *Long) Constants() []any { return l.streamed.Constants() }

// Bind implements tasks.Parametric.
func (l *Long) Bind(constants []*Node) tasks.Family {
	bound := *l
	bound.bind(constants)
	return &bound
}

// Instances implements Family.
func (l *Long) Instances() (train, test *Node) { return l.streamed.Instances() }

// Draw implements tasks.Family.
func (l *Long) Draw(random tasks.Random, taskBK *Node) (xBL, yBL *Node) {
	return l.streamed.Draw(random, taskBK)
}
