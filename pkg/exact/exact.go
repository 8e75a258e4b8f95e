// Package exact measures linear nets on families with closed forms without drawing a sample: losses, signals, residual, gradients and their
// interference follow from the weights alone (Sec. 3 and Theorem 4 of arXiv 2605.29548; package theory has the formulas). Importing it
// registers the metrics "exact" and, for what becomes of an injected task, "injection".
package exact

import (
	"raretask/pkg/backend"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/pkg/train"
)

func init() {
	train.Register(train.Metric{Name: "exact", Default: true, Of: of})
	train.Register(train.Metric{Name: "injection", Default: true, Of: ofInjection})
}

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
	linear, m, ok := closed(run)
	if !ok {
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

// closed returns a run's net and mixture where both have closed forms.
func closed(run spec.Run) (linear net.Linear, m theory.Mixture, ok bool) {
	linear, ok = run.New().(net.Linear)
	m, err := run.Mixture.Theory()
	return linear, m, ok && err == nil // whoever trains the mixture is told where it is none
}

// injectionColumns are what is measured of an injected task r, often.
var injectionColumns = []train.Column{
	{Name: "injected_signal", About: "normalised signal of the injected task, (s_r - N/D)/(1 - N/D)", Often: true},
	{Name: "common_signal", About: "mean normalised signal of the frequent tasks, without the injected one", Often: true},
	{Name: "injected_cosine", About: "cosine of G_r and G_F without r; missing where one is zero", Often: true},
}

// ofInjection returns the gauge of a run in which a task is injected; nil for others.
func ofInjection(_ *backend.Backend, run spec.Run) (*train.Gauge, error) {
	linear, m, ok := closed(run)
	task := run.Train.Injection.Task - 1
	if !ok || task < 0 {
		return nil, nil
	}
	frequent := m.Frequent(theory.FrequentShare)
	width, dim := run.Net.Width, run.Mixture.Signature().Input.Size()
	return &train.Gauge{Columns: injectionColumns, Host: func(s train.RunState) ([][]float64, error) {
		if s.Diverged >= 0 {
			return make([][]float64, len(injectionColumns)), nil
		}
		encoder, _ := linear.Linear(s.Weights)
		space, err := theory.RowSpace(encoder, width, dim)
		if err != nil {
			return nil, err
		}
		p, err := m.PopulationOf(space, frequent, []int{task})
		if err != nil {
			return nil, err
		}
		others, common := 0., 0.
		for _, k := range frequent {
			if k != task {
				others, common = others+1, common+p.Normalized[k]
			}
		}
		return [][]float64{{p.Normalized[task]}, {common / others}, {p.Cosine[task]}}, nil
	}}, nil
}
