package train

import (
	"testing"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/spec"
)

// slow is how long the first measurement of a run takes, as where a metric compiles programs of its own.
const slow = 2 * time.Second

func init() {
	Register(Metric{Name: "test_slow", Of: func(*backend.Backend, spec.Run) (*Gauge, error) {
		first := true
		return &Gauge{Columns: []Column{{Name: "slow"}}, Host: func(RunState) ([][]float64, error) {
			if first {
				time.Sleep(slow)
			}
			first = false
			return [][]float64{{0}}, nil
		}}, nil
	}})
}

// What measuring takes at first is no step's and no evaluation's, which all that is left would be multiplied by.
func TestMeasureTellsCompilingFromSteps(t *testing.T) {
	stack := tiny(t, nil, 2, 3)
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		speed, err := Measure(t.Context(), b, stack, []string{"test_slow"}, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		total := time.Duration(len(stack)) * slow
		if speed.Metrics < total*3/4 || speed.Metrics > total*5/4 || speed.Step > slow/4 || speed.Evaluation > slow/2 {
			t.Errorf("%+v: want %v in metrics, and little in steps and evaluations", speed, total)
		}
	})
}
