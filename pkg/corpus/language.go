// Package corpus holds families of tasks whose samples are windows of tokens: a language in the background, and a novel task whose
// instances stand in for the first four tokens of a window (Sec. 4, App. B.2 of arXiv 2605.29548). Importing it registers the family
// "language".
//
// Letters in names and shape comments: B batch, L tokens of a window, V vocabulary, S symbols of the task.
package corpus

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/floats"

	"raretask/tasks"
)

func init() {
	tasks.Register(tasks.Kind{Name: "language", About: "a language, and a novel task injected into it", Engine: 2, Defaults: LanguageSettings{
		Vocabulary: 256, Window: 16, Rank: 24, Sharpness: 2, Task: Comparison, Symbols: 32}})
}

// Background and Novel are the tasks of the family: plain windows, and windows that begin with an instance of the novel task.
const Background, Novel = 0, 1

// LanguageSettings are those of Language.
type LanguageSettings struct {
	Vocabulary int     `yaml:"vocabulary" json:"vocabulary" about:"tokens V"`
	Window     int     `yaml:"window" json:"window" about:"tokens of a sample L"`
	Rank       int     `yaml:"rank" json:"rank" about:"rank of the bigrams' logits"`
	Sharpness  float64 `yaml:"sharpness" json:"sharpness" about:"how much a token says about the next; 0: nothing"`
	Task       string  `yaml:"task" json:"task" about:"compare (T_CMP) or add (T_ADD)"`
	Symbols    int     `yaml:"symbols" json:"symbols" about:"tokens that stand for the numbers 0 … S-1 in the novel task"`
	Seed       uint32  `yaml:"seed" json:"seed" vary:"input" role:"seed" about:"of the language, and of the symbols and the split of the task"`
}

const (
	largestVocabulary = 1 << 11 // a table of bigrams has as many rows
	largestRank       = 1 << 8  // and each of its numbers takes so many products
	largestWindow     = 1 << 10 // tokens are drawn one after the other
	largestSymbols    = 1 << 9
)

// Check implements tasks.Settings.
func (s LanguageSettings) Check(k int) error {
	return cmp.Or(
		tasks.Want(k == 2, "tasks", k, "2: the language, and the task that is injected into it"),
		tasks.Want(s.Vocabulary >= 8 && s.Vocabulary <= largestVocabulary, "vocabulary", s.Vocabulary, fmt.Sprintf("8 … %d", largestVocabulary)),
		tasks.Want(s.Window >= instance && s.Window <= largestWindow, "window", s.Window,
			fmt.Sprintf("%d (an instance of the task) … %d", instance, largestWindow)),
		tasks.Want(s.Rank >= 1 && s.Rank <= largestRank, "rank", s.Rank, fmt.Sprintf("1 … %d", largestRank)),
		tasks.Want(s.Sharpness >= 0 && s.Sharpness <= 10, "sharpness", s.Sharpness, "0 … 10"),
		tasks.Want(s.Task == Comparison || s.Task == Addition, "task", s.Task, Comparison+" or "+Addition),
		tasks.Want(s.Symbols >= 2 && s.Symbols <= min(largestSymbols, s.Vocabulary-3), "symbols", s.Symbols,
			fmt.Sprintf("2 … %d: with two labels and an end they are tokens of mixture.vocabulary (%d)", min(largestSymbols, s.Vocabulary-3),
				s.Vocabulary)),
	)
}

// Signature implements tasks.Settings: the first L-1 tokens, and what follows each of them.
func (s LanguageSettings) Signature(k int) tasks.Signature {
	tokens := tasks.Array{Dims: []int{s.Window - 1}, Type: dtypes.Int32}
	return tasks.Signature{Tasks: k, Input: tokens, Target: tokens, Outputs: s.Vocabulary, Coded: true, Unit: "nats"}
}

// Injects implements Injecting.
func (s LanguageSettings) Injects() (kind string, symbols int) { return s.Task, s.Symbols }

// Family implements tasks.Settings.
func (s LanguageSettings) Family(int) (tasks.Family, error) {
	if s.Window > longest {
		return NewLong(s)
	}
	return NewLanguage(s)
}

// Language is a bigram language of limited rank, and a novel task:
//
//	P(j|i) ∝ p_j exp(sharpness a_i·b_j/√rank),   a, b standard normal,   p_j ∝ 1/(rank of j + 10), tokens in random order
//
// A window starts with a token of the stationary distribution. In windows of the novel task an instance takes the place of the first four
// tokens; the others stay those of the window. The stated entropy rate is what no model can go below on plain windows, past their first
// token.
type Language struct {
	LanguageSettings
	Injected   Task
	Stationary []float64   // of each token [V]
	Next       [][]float64 // P(j|i) [V, V]

	cumulative, train, test *Node // of a graph, in place of Constants
}

// NewLanguage returns the language and task of settings that have passed Check.
func NewLanguage(s LanguageSettings) (*Language, error) {
	random := rand.New(rand.NewPCG(uint64(s.Seed), 7))
	n := s.Vocabulary
	l := &Language{LanguageSettings: s, Next: make([][]float64, n)}
	order := random.Perm(n)
	normal := func() [][]float64 {
		rows := make([][]float64, n)
		for i := range rows {
			rows[i] = make([]float64, s.Rank)
			for r := range rows[i] {
				rows[i][r] = random.NormFloat64()
			}
		}
		return rows
	}
	a, b := normal(), normal()
	for i := range n {
		l.Next[i] = make([]float64, n)
		for j := range n {
			l.Next[i][j] = math.Exp(s.Sharpness*floats.Dot(a[i], b[j])/math.Sqrt(float64(s.Rank))) / float64(order[j]+1+10)
		}
		floats.Scale(1/floats.Sum(l.Next[i]), l.Next[i])
	}
	l.Stationary = stationary(l.Next)
	l.Injected = newTask(s.Task, int32s(n), s.Symbols, random)
	return l, nil
}

// stationary returns the distribution that a chain with these transitions keeps.
func stationary(next [][]float64) []float64 {
	n := len(next)
	p := make([]float64, n)
	for i := range p {
		p[i] = 1 / float64(n)
	}
	for range 10_000 {
		q := make([]float64, n)
		for i, row := range next {
			floats.AddScaled(q, p[i], row)
		}
		floats.Scale(1/floats.Sum(q), q)
		change := floats.Distance(p, q, 1)
		if p = q; change < 1e-14 {
			break
		}
	}
	return p
}

// Entropies returns the entropy of single tokens, and that of a token given the one before: the loss of the best model of plain windows, in
// nats a token.
func (l *Language) Entropies() (single, rate float64) {
	for i, row := range l.Next {
		rate += l.Stationary[i] * entropy(row)
	}
	return entropy(l.Stationary), rate
}

func entropy(p []float64) (h float64) {
	for _, v := range p {
		if v > 0 {
			h -= v * math.Log(v)
		}
	}
	return h
}

// Sample draws a window of so many tokens on the host.
func (l *Language) Sample(random *rand.Rand, length int) []int32 {
	window, from := make([]int32, length), l.Stationary
	for i := range window {
		u, token := random.Float64(), 0
		for u -= from[0]; u >= 0 && token < l.Vocabulary-1; u -= from[token] {
			token++
		}
		window[i], from = int32(token), l.Next[token]
	}
	return window
}

// Windows implements Family.
func (l *Language) Windows(random *rand.Rand, n int) [][]int32 {
	windows := make([][]int32, n)
	for i := range windows {
		windows[i] = l.Sample(random, l.Window)
	}
	return windows
}

// Signature implements tasks.Family.
func (l *Language) Signature() tasks.Signature { return l.LanguageSettings.Signature(2) }

// Relevant implements tasks.Family: any token may matter.
func (l *Language) Relevant(int) []int { return every(l.Window - 1) }

// Baseline implements tasks.Family: of what is predicted in windows of each task, the entropy of a token at an unknown place.
func (l *Language) Baseline() []float64 { return l.Injected.baseline(l.Stationary, l.Window) }

// Constants implements tasks.Parametric: the cumulative distributions of the next token [V+1, V], the last row for the first token, and the
// training and test instances [n, 4].
func (l *Language) Constants() []any {
	table := make([][]float32, l.Vocabulary+1)
	for i, row := range append(l.Next[:l.Vocabulary:l.Vocabulary], l.Stationary) {
		sums := floats.CumSum(make([]float64, l.Vocabulary), row)
		table[i] = make([]float32, l.Vocabulary)
		for j, v := range sums {
			table[i][j] = float32(v / sums[l.Vocabulary-1])
		}
		table[i][l.Vocabulary-1] = 2 // above every number that is drawn
	}
	return []any{table, l.Injected.Train, l.Injected.Test}
}

// Bind implements tasks.Parametric.
func (l *Language) Bind(constants []*Node) tasks.Family {
	bound := *l
	bound.cumulative, bound.train, bound.test = constants[0], constants[1], constants[2]
	return &bound
}

// Bigrams returns the language itself, of families that are one.
func (l *Language) Bigrams() *Language { return l }

// Novel implements Family.
func (l *Language) Novel() Task { return l.Injected }

// Instances implements Family.
func (l *Language) Instances() (train, test *Node) { return l.train, l.test }

// Draw implements tasks.Family. Targets are the tokens that follow.
func (l *Language) Draw(random tasks.Random, taskBK *Node) (xBL, yBL *Node) {
	g, rows := taskBK.Graph(), taskBK.Shape().Dim(0)
	cumulative, train := l.cumulative, l.train
	if cumulative == nil {
		constants := l.Constants()
		cumulative, train = Const(g, constants[0]), Const(g, constants[1])
	}
	uniform := random.Uniform(rows, l.Window+1) // of each token, and of the instance
	column := func(i int) *Node { return Slice(uniform, AxisRange(), AxisElem(i)) }
	token := BroadcastToDims(Const(g, int32(l.Vocabulary)), rows, 1)
	var tokens []*Node
	for i := range l.Window {
		below := GreaterOrEqual(column(i), Gather(cumulative, token, false)) // [B, V]
		token = ConvertDType(ReduceAndKeep(ConvertDType(below, dtypes.Float32), ReduceSum, -1), dtypes.Int32)
		tokens = append(tokens, token)
	}
	return inject(Concatenate(tokens, 1), pickRows(train, uniform, l.Window), taskBK)
}

// Score implements tasks.Family: the cross-entropy of logits [..., V] with the token that follows, in nats.
func (l *Language) Score(logits, target *Node) (loss, weight *Node) {
	return CrossEntropy(logits, target), nil
}

// CrossEntropy returns -ln softmax(logits)_target, of logits [..., V] and tokens [...] (int32), whose axes may be 1 where those of logits
// aren't.
func CrossEntropy(logits, target *Node) *Node {
	shape := logits.Shape()
	token := Iota(logits.Graph(), shapes.Make(dtypes.Int32, shape.Dimensions...), -1)
	own := Equal(token, BroadcastToShape(InsertAxes(target, -1), shapes.Make(dtypes.Int32, shape.Dimensions...)))
	largest := StopGradient(ReduceAndKeep(logits, ReduceMax, -1))
	logits = Sub(logits, largest)
	return Sub(Log(ReduceSum(Exp(logits), -1)), ReduceSum(Where(own, logits, ZerosLike(logits)), -1))
}
