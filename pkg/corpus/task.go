package corpus

import (
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/tasks"
)

// Injecting is what settings of families are into which a novel task is injected.
type Injecting interface {
	tasks.Settings
	// Injects says which kind of task that is, and how many symbols it has.
	Injects() (kind string, symbols int)
}

// Family is a family of two tasks: windows of a language, and windows that begin with an instance of a novel task.
type Family interface {
	tasks.Family
	Novel() Task
	// Instances returns those of the novel task [n, 4] (int32), in a graph in which the family is bound.
	Instances() (train, test *Node)
	// Windows draws windows of the language without the task on the host, such as nothing is trained on: [n][L].
	Windows(random *rand.Rand, n int) [][]int32
}

// Novel tasks.
const (
	Comparison = "compare" // T_CMP: is the first number below the second?
	Addition   = "add"     // T_ADD: their sum modulo S
)

// instance is how many tokens an instance has: two symbols, the label, and the end.
const instance = 4

// Task is a novel task on S tokens that stand for the numbers 0 … S-1, unknown to who learns it: all S² pairs, half of them for training.
//
//	TOK1 TOK2 LABEL END
//
// LABEL of Comparison is one of two tokens for val(TOK1) < val(TOK2) and for the rest, of Addition the token of val(TOK1) + val(TOK2) mod
// S. All are ordinary tokens of the vocabulary, no two alike. Source: App. B.2.
type Task struct {
	Kind        string
	Symbols     []int32 // the token of each number
	Labels      [2]int32
	End         int32
	Train, Test [][]int32 // instances [n, 4]
}

// newTask draws a task whose tokens are among some.
func newTask(kind string, among []int32, symbols int, random *rand.Rand) Task {
	t := Task{Kind: kind}
	drawn := random.Perm(len(among))
	for _, i := range drawn[:symbols] {
		t.Symbols = append(t.Symbols, among[i])
	}
	t.Labels, t.End = [2]int32{among[drawn[symbols]], among[drawn[symbols+1]]}, among[drawn[symbols+2]]
	all := random.Perm(symbols * symbols)
	for i, pair := range all {
		a, b := pair/symbols, pair%symbols
		row := []int32{t.Symbols[a], t.Symbols[b], t.label(a, b), t.End}
		if i < len(all)/2 {
			t.Train = append(t.Train, row)
		} else {
			t.Test = append(t.Test, row)
		}
	}
	return t
}

// int32s returns 0 … n-1.
func int32s(n int) []int32 {
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// label returns the token that follows two numbers.
func (t Task) label(a, b int) int32 {
	switch {
	case t.Kind == Addition:
		return t.Symbols[(a+b)%len(t.Symbols)]
	case a < b:
		return t.Labels[0]
	}
	return t.Labels[1]
}

// Counterfactual is a pair of windows of two symbols of which one takes over the first symbol of the other: where what the net knows of it
// is put in the place of the base's own, the label must be that of the source's first symbol and the base's second.
type Counterfactual struct {
	Base, Source []int32
	Label        int32
}

// Counterfactuals draws pairs whose bases are of some instances, half of which change the label, as far as labels can change.
func (t Task) Counterfactuals(instances [][]int32, count int, random *rand.Rand) []Counterfactual {
	value := func(token int32) int { return slices.Index(t.Symbols, token) }
	var pairs []Counterfactual
	for tries := 0; len(pairs) < count && tries < 100*count; tries++ {
		base := instances[random.IntN(len(instances))]
		other := random.IntN(len(t.Symbols))
		label := t.label(other, value(base[1]))
		if changes := label != base[2]; changes == (len(pairs)%2 == 0) {
			pairs = append(pairs, Counterfactual{base[:2], []int32{t.Symbols[other], base[1]}, label})
		}
	}
	return pairs
}
