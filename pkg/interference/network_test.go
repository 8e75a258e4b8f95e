package interference

import (
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/corpus"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/train"
	"raretask/tasks"
)

// A net that is probed starts where the run of that seed starts, of each kind.
func TestNewNetStartsAsTheRun(t *testing.T) {
	for _, kind := range net.Names() {
		run := spec.Default()
		run.Mixture.Tasks, run.Mixture.Settings = 3, tasks.RegressionSettings{Dim: 12, Block: 3, Alpha: [2]float64{2, 2}}
		run.Net = spec.NewNet(kind, 5)
		run.Train.Seed = 11
		if kind == "transformer" {
			run.Mixture.Family, run.Mixture.Tasks, run.Net.Width = "language", 2, 6
			run.Mixture.Settings = corpus.LanguageSettings{Vocabulary: 12, Window: 5, Rank: 2, Sharpness: 1, Task: corpus.Comparison, Symbols: 4}
		}
		if err := run.Validate(); err != nil {
			t.Fatal(err)
		}
		m, err := NewNet(run, 8)
		if err != nil {
			t.Fatal(err)
		}
		b := backendtest.Go(t)
		p, err := train.New(b, spec.Stack{run}, train.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Finalize()
		start := func(s train.Snapshot) error {
			for i, w := range run.New().Weights() {
				probed := tensors.MustCopyFlatData[float32](m.Store.GetVariable("/" + w.Name).MustValue())
				if !slices.Equal(probed, s.Runs[0].Weights[i]) {
					t.Errorf("%s: %s of the probed net is not that of the run", kind, w.Name)
				}
			}
			return nil
		}
		if err := p.Run(t.Context(), spec.Stack{run}, train.Training{Steps: []int{0}, Observe: start}); err != nil {
			t.Fatal(err)
		}
		g, err := m.Gradients(b.Backend, Options{}, []uint32{1, 0}, int32(0))
		if err != nil || len(g.Loss) != run.Mixture.Tasks || g.Samples[1] == 0 {
			t.Errorf("%s: gradients %+v, %v", kind, g, err)
		}
	}
}
