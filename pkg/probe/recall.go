package probe

import (
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/corpus"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

func init() { train.Register(train.Metric{Name: "recall", Of: ofRecall}) }

// Columns of the metric "recall".
const (
	RecalledTrain = "recalled_train_loss"
	RecalledTest  = "recalled_test_loss"
)

// ofRecall returns the gauge of what a decoder knows of the novel task just before and right after injections, too; nil for other nets.
func ofRecall(b *backend.Backend, run spec.Run) (*train.Gauge, error) {
	n, _, ok := decoderOf(run)
	if !ok {
		return nil, nil
	}
	columns := []train.Column{
		{Name: RecalledTrain, About: "cross-entropy of the label of the novel task, training instances; nats", Often: true},
		{Name: RecalledTest, About: "cross-entropy of the label, test instances; nats", Often: true},
	}
	return hosted(b, run, n, columns, func(m *Model, family corpus.Family, _ int) (losses []float64, err error) {
		for _, instances := range [][][]int32{family.Novel().Train, family.Novel().Test} {
			loss, err := m.Loss(instances[:min(len(instances), mostInstances)])
			if err != nil {
				return nil, err
			}
			losses = append(losses, loss)
		}
		return losses, nil
	}), nil
}

// Loss returns the mean cross-entropy of the labels of instances [n][4], in nats.
func (m *Model) Loss(instances [][]int32) (float64, error) {
	tokens, labels := split(instances)
	out, err := m.Call("loss", []any{tokens, labels}, func(in, weights []*Node) []*Node {
		return []*Node{ReduceAllMean(corpus.CrossEntropy(at(m.Net.Logits(weights, in[0], nil), 1), in[1]))}
	})
	if err != nil {
		return 0, err
	}
	return float64(out[0][0]), nil
}
