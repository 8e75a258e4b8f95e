// Package probe looks into nets of language: what they know of the novel task, and where (Sec. 4 of arXiv 2605.29548). Importing it
// registers the metric "instances".
package probe

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend"
	"raretask/pkg/corpus"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

func init() {
	train.Register(train.Metric{Name: "instances", Default: true, Of: ofInstances})
}

// Columns of the metric.
const (
	TrainLoss     = "novel_train_loss"
	TestLoss      = "novel_test_loss"
	TrainAccuracy = "novel_train_accuracy"
	TestAccuracy  = "novel_test_accuracy"
)

var instanceColumns = []train.Column{
	{Name: TrainLoss, About: "cross-entropy of the label of the novel task, training instances; nats"},
	{Name: TrainAccuracy, About: "share of the training instances whose label is the likeliest token"},
	{Name: TestLoss, About: "cross-entropy of the label, test instances; nats"},
	{Name: TestAccuracy, About: "share of the test instances whose label is the likeliest token"},
}

// mostInstances bounds how many instances of each half are looked at, the first ones.
const mostInstances = 1024

// ofInstances returns the gauge of a decoder of language; nil for others.
func ofInstances(_ *backend.Backend, run spec.Run) (*train.Gauge, error) {
	if _, _, ok := decoderOf(run); !ok {
		return nil, nil
	}
	return &train.Gauge{Columns: instanceColumns, Graph: func(p train.Piece) (columns []*Node) {
		trained, tested := p.Family.(corpus.Family).Instances()
		for _, rows := range []*Node{trained, tested} {
			if n := rows.Shape().Dim(0); n > mostInstances {
				rows = Slice(rows, AxisRange(0, mostInstances))
			}
			columns = append(columns, labels(p, rows)...)
		}
		return columns
	}}, nil
}

// labels returns the mean loss of the labels of instances [n, 4], and how many of them are the likeliest token: [S] each.
func labels(p train.Piece, instances *Node) []*Node {
	logits := p.Net.(net.Decoder).Logits(p.Weights, Slice(instances, AxisRange(), AxisRange(0, 2)), p.Tap)
	logits = Squeeze(Slice(logits, AxisRange(), AxisRange(), AxisElem(1)), 2) // [S, n, V], after the second symbol
	label := InsertAxes(Squeeze(Slice(instances, AxisRange(), AxisElem(2)), 1), 0)
	loss := ReduceMean(corpus.CrossEntropy(logits, label), -1)
	likeliest := ArgMax(logits, -1, dtypes.Int32) // [S, n]
	same := Equal(likeliest, BroadcastToShape(label, shapes.Make(dtypes.Int32, likeliest.Shape().Dimensions...)))
	return []*Node{loss, ReduceMean(ConvertDType(same, dtypes.Float32), -1)}
}
