// Package exact measures linear nets on families with closed forms without drawing a sample: losses, signals, residual, gradients and their
// interference follow from the weights alone (Sec. 3 and Theorem 4 of arXiv 2605.29548; package theory has the formulas). Importing it
// registers the metrics "exact" and, for what becomes of an injected task, "injection".
package exact

import (
	"slices"

	"gonum.org/v1/gonum/floats"

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

// of returns the gauge of a run; nil where its net is not linear or its family has no closed forms.
func of(_ *backend.Backend, run spec.Run) (*train.Gauge, error) {
	f, ok := closed(run)
	if !ok {
		return nil, nil
	}
	return f.gauge(columns, func(f form, space theory.Subspace, encoder, decoders []float32) ([][]float64, error) {
		p, err := f.Population(space, f.frequent)
		if err != nil {
			return nil, err
		}
		loss, err := theory.FullLoss(f.Mixture, encoder, decoders, f.width, f.dim)
		return [][]float64{{p.EncoderLoss}, {loss.Mixture}, {p.Residual}, {p.FrequentGradient}, {p.Bound},
			loss.Normalized, p.Signal, p.Normalized, p.TaskGradient, p.Interference, p.Cosine}, err
	}), nil
}

// form is a linear net and its mixture.
type form struct {
	net.Linear
	theory.Mixture
	frequent     []int
	width, dim   int // of the neurons that take part
	intervention spec.Intervention
}

// closed returns a run's net and mixture where both have closed forms.
func closed(run spec.Run) (f form, ok bool) {
	linear, ok := run.New().(net.Linear)
	m, err := run.Mixture.Theory()
	if !ok || err != nil { // whoever trains the mixture is told where it is none
		return form{}, false
	}
	return form{linear, m, m.Frequent(theory.FrequentShare), run.Net.Width, run.Mixture.Signature().Input.Size(), run.Train.Intervention}, true
}

// active returns the form, encoder and decoders of the neurons that take part once so many steps are done.
func (f form) active(step int, encoder, decoders []float32) (form, []float32, []float32) {
	n := f.intervention.Active(step, f.width)
	if n == f.width {
		return f, encoder, decoders
	}
	var own []float32
	for row := range slices.Chunk(decoders, f.width) {
		own = append(own, row[:n]...)
	}
	f.width = n
	return f, encoder[:n*f.dim], own
}

// measure computes columns of a net's row space and weights.
type measure func(f form, s theory.Subspace, encoder, decoders []float32) ([][]float64, error)

// gauge returns what measures columns of the net. A diverged run has no values.
func (f form) gauge(columns []train.Column, values measure) *train.Gauge {
	return &train.Gauge{Columns: columns, Host: func(s train.RunState) ([][]float64, error) {
		if s.Diverged >= 0 {
			return make([][]float64, len(columns)), nil
		}
		encoder, decoders := f.Linear.Linear(s.Weights)
		f, encoder, decoders := f.active(s.Step, encoder, decoders)
		space, err := theory.RowSpace(encoder, f.width, f.dim)
		if err != nil {
			return nil, err
		}
		return values(f, space, encoder, decoders)
	}}
}

// injectionColumns are what is measured of an injected task r, often.
var injectionColumns = []train.Column{
	{Name: "injected_signal", About: "normalised signal of the injected task, (s_r - N/D)/(1 - N/D)", Often: true},
	{Name: "common_signal", About: "mean normalised signal of the frequent tasks, without the injected one", Often: true},
	{Name: "injected_cosine", About: "cosine of G_r and G_F without r; missing where one is zero", Often: true},
	{Name: "injected_feature", About: "share of r's first feature b that the encoder holds, |Pb|²", Often: true},
	{Name: "injected_norm", About: "norm c of the encoder's rows along the direction g = Wb/|Wb| that holds it, |W'g|", Often: true},
	{Name: "injected_force", Often: true,
		About: "sum over the other tasks of pi_k |D_k g|², pi_k as while r is withheld: the curvature that takes r's feature back"},
}

// ofInjection returns the gauge of a run in which a task is injected; nil for others.
func ofInjection(_ *backend.Backend, run spec.Run) (*train.Gauge, error) {
	f, ok := closed(run)
	task := run.Train.Injection.Task - 1
	if !ok || task < 0 {
		return nil, nil
	}
	return f.gauge(injectionColumns, func(f form, space theory.Subspace, encoder, decoders []float32) ([][]float64, error) {
		p, err := f.PopulationOf(space, f.frequent, []int{task})
		if err != nil {
			return nil, err
		}
		others, common := 0., 0.
		for _, k := range f.frequent {
			if k != task {
				others, common = others+1, common+p.Normalized[k]
			}
		}
		feature := task * f.Block()
		held := direction(encoder, f.width, f.dim, feature)
		return [][]float64{{p.Normalized[task]}, {common / others}, {p.Cosine[task]},
			{space.Holds(feature)}, {rowNorm(encoder, held)}, {force(f.Mixture, decoders, held, task)}}, nil
	}), nil
}

// direction returns the unit vector of the representation in which an encoder [N, D] holds an input; not a number where it doesn't.
func direction(encoder []float32, width, dim, input int) []float64 {
	held := make([]float64, width)
	for n := range held {
		held[n] = float64(encoder[n*dim+input])
	}
	floats.Scale(1/floats.Norm(held, 2), held)
	return held
}

// rowNorm returns the norm of the rows of an encoder along a direction of its representation.
func rowNorm(encoder []float32, held []float64) float64 {
	dim := len(encoder) / len(held)
	back := make([]float64, dim)
	for n, h := range held {
		for d, v := range encoder[n*dim:][:dim] {
			back[d] += h * float64(v)
		}
	}
	return floats.Norm(back, 2)
}

// force returns the curvature along a direction of the representation of the mean loss of all tasks but one, each with its decoder [O, N],
// by their frequencies while that one is withheld, summed over outputs and halved.
func force(m theory.Mixture, decoders []float32, held []float64, withheld int) float64 {
	width, sum := len(held), 0.
	outputs := len(decoders) / (m.Tasks() * width)
	for k, pi := range m.Frequency {
		for o := range outputs {
			if k == withheld {
				continue
			}
			out := 0.
			for n, h := range held {
				out += h * float64(decoders[(k*outputs+o)*width+n])
			}
			sum += pi * out * out
		}
	}
	return sum / (1 - m.Frequency[withheld])
}
