package train

import (
	"math"
	"testing"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/spec"
)

// A batch in parts trains as it does whole, up to rounding: of tasks with readouts of their own, of losses that count positions, with
// clipping and injections.
func TestAccumulate(t *testing.T) {
	backendtest.Each(t, accumulates)
}

func accumulates(t *testing.T, b *backend.Backend) {
	decoder := reading(t)
	decoder[0].Train.Steps = 40
	regression := spec.Default()
	regression.Train.Batch, regression.Train.Steps, regression.Train.Clip = 64, 40, .1
	regression.Net.Width = 8
	for _, stack := range []spec.Stack{decoder, {regression}} {
		after := func(parts int) (values []float32, loss float64) {
			own := spec.Stack{stack[0]}
			own[0].Train.Accumulate = parts
			if err := own[0].Validate(); err != nil {
				t.Fatal(err)
			}
			p, err := New(b, own, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Finalize()
			err = p.Run(t.Context(), own, Training{Steps: []int{1, 40}, Observe: func(s Snapshot) error {
				if loss += s.Runs[0].Loss; s.Step == 40 {
					for _, w := range s.Runs[0].Weights {
						values = append(values, w...)
					}
				}
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			return values, loss
		}
		whole, loss := after(0)
		parts, same := after(4)
		if math.Abs(loss-same) > 1e-4*loss {
			t.Errorf("%s: training loss %g whole, %g in parts", stack[0].Mixture.Family, loss, same)
		}
		for i, v := range whole {
			if math.Abs(float64(v-parts[i])) > 2e-4 {
				t.Fatalf("%s: weight %d is %g, in parts %g", stack[0].Mixture.Family, i, v, parts[i])
			}
		}
	}
	bad := regression
	bad.Train.Accumulate = 3
	if bad.Validate() == nil {
		t.Error("64 samples in 3 parts: want an error")
	}
	bad.Train.Accumulate, bad.Train.Intervention = 4, spec.Intervention{Kind: "alone", Task: 2}
	if bad.Validate() == nil {
		t.Error("parts beside an intervention: want an error")
	}
}
