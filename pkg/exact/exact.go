// Package exact measures linear nets on families with closed forms without drawing a sample: losses, signals, residual, gradients and their
// interference follow from the weights alone (Sec. 3 and Theorem 4 of arXiv 2605.29548; package theory has the formulas). Importing it
// registers the metric "exact".
package exact

import (
	"raretask/pkg/backend"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/pkg/train"
)

func init() { train.Register(train.Metric{Name: "exact", Default: true, Of: of}) }

// columns are what the metric gives, in the order of values.
var columns = []train.Column{
	{Name: "encoder_loss",
		About: "Tr((I-P)M), loss of the mixture with the best decoders for this encoder; squared error summed over outputs"},
	{Name: "full_loss", About: "loss of the mixture with the learned decoders; squared error summed over outputs"},
	{Name: "residual", About: "delta_F = Tr((I-P)M_F), what the frequent tasks have not yet learned"},
	{Name: "frequent_gradient", About: "norm of the frequent tasks' population gradient on the sphere of subspaces, ||G_F||"},
	{Name: "bound", About: "2 sqrt(lambda_1(M_F) delta_F), which bounds frequent_gradient (Theorem 4)"},
	{Name: "loss", About: "loss of task k with the learned decoder, relative to predicting the mean", PerTask: true},
	{Name: "signal", About: "s_k = Tr(P C_k)/Tr C_k, share of the task's covariance that the encoder keeps", PerTask: true},
	{Name: "signal_normalized", About: "(s_k - N/D)/(1 - N/D): 0 for a random encoder", PerTask: true},
	{Name: "task_gradient", About: "norm of task k's population gradient ||G_k||", PerTask: true},
	{Name: "interference", About: "<G_k, G_F without k>, never positive", PerTask: true},
	{Name: "cosine", About: "cosine of G_k and G_F without k; missing where one is zero", PerTask: true},
}

// of returns the gauge of a run; nil where its net is not linear or its family has no closed forms. A diverged run has no values.
func of(_ *backend.Backend, run spec.Run) (*train.Gauge, error) {
	linear, ok := run.New().(net.Linear)
	m, err := run.Mixture.Theory()
	if !ok || err != nil { // whoever trains the mixture is told where it is none
		return nil, nil
	}
	frequent := m.Frequent(theory.FrequentShare)
	width, dim := run.Net.Width, run.Mixture.Signature().Input.Size()
	return &train.Gauge{Columns: columns, Host: func(s train.RunState) ([][]float64, error) {
		if s.Diverged >= 0 {
			return make([][]float64, len(columns)), nil
		}
		encoder, decoders := linear.Linear(s.Weights)
		space, err := theory.RowSpace(encoder, width, dim)
		if err != nil {
			return nil, err
		}
		p, err := m.Population(space, frequent)
		if err != nil {
			return nil, err
		}
		loss, err := theory.FullLoss(m, encoder, decoders, width, dim)
		return [][]float64{{p.EncoderLoss}, {loss.Mixture}, {p.Residual}, {p.FrequentGradient}, {p.Bound},
			loss.Normalized, p.Signal, p.Normalized, p.TaskGradient, p.Interference, p.Cosine}, err
	}}, nil
}
