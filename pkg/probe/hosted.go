package probe

import (
	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/backend"
	"raretask/pkg/corpus"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// decoderOf returns the decoder of a run of language into which a novel task is injected; of others there is none.
func decoderOf(run spec.Run) (n net.Decoder, task corpus.Injecting, ok bool) {
	if task, ok = run.Mixture.Settings.(corpus.Injecting); ok {
		n, ok = run.New().(net.Decoder)
	}
	return n, task, ok
}

// hosted returns a gauge that measures a decoder by a model of a run's weights: a number for each column, a function of
// the run and the step alone. A diverged run has none.
func hosted(
	b *backend.Backend, run spec.Run, n net.Decoder, columns []train.Column,
	measure func(m *Model, family corpus.Family, step int) ([]float64, error),
) *train.Gauge {
	if b == nil { // only its columns are asked for
		return &train.Gauge{Columns: columns, Host: func(train.RunState) ([][]float64, error) { return nil, nil }}
	}
	m := NewModel(b, n, nil)
	var family corpus.Family // drawn once something is measured, as that may take long
	host := func(s train.RunState) ([][]float64, error) {
		if s.Diverged >= 0 {
			return make([][]float64, len(columns)), nil
		}
		if family == nil {
			drawn, err := run.Mixture.Settings.Family(run.Mixture.Tasks)
			if err != nil {
				return nil, err
			}
			family = drawn.(corpus.Family)
		}
		m.Weights = s.Weights
		values, err := measure(m, family, s.Step)
		return xslices.Map(values, func(v float64) []float64 { return []float64{v} }), err
	}
	return &train.Gauge{Columns: columns, Host: host, Close: m.Close}
}
