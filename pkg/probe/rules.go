package probe

import (
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/corpus"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

func init() { train.Register(train.Metric{Name: "rules", Of: ofRules}) }

// Columns of the metric "rules": natural tasks beside the injected one, as the paper's R_cmp and R_add are (App. B.3).
const (
	CommonRule = "rule_common_loss"
	RareRule   = "rule_rare_loss"
)

const (
	ruleContexts = 64 // windows that a rule is asked after,
	ruleTokens   = 8  // of so many tokens
)

// ofRules returns the gauge of how well a decoder knows two rules of its language: what follows a common token, that of rank V/16, and what
// follows the rarest; nil for other nets, and for text whose rules nobody knows.
func ofRules(b *backend.Backend, run spec.Run) (*train.Gauge, error) {
	n, _, ok := decoderOf(run)
	if _, known := run.Mixture.Settings.(corpus.LanguageSettings); !ok || !known {
		return nil, nil
	}
	columns := []train.Column{{Name: CommonRule, About: "excess cross-entropy of what follows the language's token of rank V/16; nats"},
		{Name: RareRule, About: "excess cross-entropy of what follows the language's rarest token; nats"}}
	return hosted(b, run, n, columns, func(m *Model, family corpus.Family, _ int) (losses []float64, err error) {
		language := family.(interface{ Bigrams() *corpus.Language }).Bigrams()
		for _, token := range Rules(language) {
			loss, err := m.Excess(language, token)
			if err != nil {
				return nil, err
			}
			losses = append(losses, loss)
		}
		return losses, nil
	}), nil
}

// Rules returns the tokens whose rules are asked after: that of rank V/16 in frequency, and the rarest, of those that are none of the novel
// task's.
func Rules(l *corpus.Language) (tokens [2]int) {
	task := l.Injected
	var plain []int
	for token := range l.Vocabulary {
		t := int32(token)
		if !slices.Contains(task.Symbols, t) && !slices.Contains(task.Labels[:], t) && t != task.End {
			plain = append(plain, token)
		}
	}
	slices.SortFunc(plain, func(a, b int) int {
		if l.Stationary[a] > l.Stationary[b] {
			return -1
		}
		return 1
	})
	return [2]int{plain[len(plain)/16], plain[len(plain)-1]}
}

// Excess returns by how much the cross-entropy of what follows a token exceeds its entropy, in nats: the divergence of P(·|token) from what
// the model says after windows of the language that end with the token, the mean over some.
func (m *Model) Excess(l *corpus.Language, token int) (float64, error) {
	random := rand.New(rand.NewPCG(uint64(l.Seed), 13))
	tokens := make([][]int32, ruleContexts)
	for i := range tokens {
		tokens[i] = append(l.Sample(random, min(ruleTokens, l.Window-1)-1), int32(token))
	}
	next := make([]float32, l.Vocabulary)
	for j, p := range l.Next[token] {
		next[j] = float32(p)
	}
	last := len(tokens[0]) - 1
	out, err := m.Call("excess", []any{tokens, next}, func(in, weights []*Node) []*Node {
		logits := LogSoftmax(at(m.Net.Logits(weights, in[0], nil), last), -1)
		p := InsertAxes(in[1], 0)
		return []*Node{ReduceAllMean(ReduceSum(Mul(p, Sub(Log(p), logits)), -1))}
	})
	if err != nil {
		return 0, err
	}
	return float64(out[0][0]), nil
}
