package checkpoint_test

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/checkpoint"
	"raretask/pkg/net"
)

// A file written here loads in Hugging Face's transformers and says the same there; what that saves, in several files, loads here to the
// same bits. It needs a Python with torch and transformers, which RARETASK_TRANSFORMERS names.
func TestTransformersAgree(t *testing.T) {
	python := os.Getenv("RARETASK_TRANSFORMERS")
	if python == "" {
		t.Skip("RARETASK_TRANSFORMERS names no Python with torch and transformers")
	}
	for name, s := range map[string]net.TransformerSettings{
		"olmo":  {Layers: 2, Head: 4, Group: 1, MLP: 24, Block: net.OLMo, Theta: 500, Clip: .5, Epsilon: 1e-5},
		"tied":  {Layers: 1, Head: 8, Group: 2, MLP: 24, Block: net.OLMo, Theta: 10000, Epsilon: 1e-5, Tied: true},
		"olmo2": {Layers: 2, Head: 4, Group: 2, MLP: 24, Block: net.OLMo2, Theta: 500, Epsilon: 1e-6},
	} {
		m := checkpoint.Model{Preset: net.Preset{Width: 16, Window: 9, TransformerSettings: s, Vocabulary: 13}}
		at := 0
		var arrays []any
		for _, w := range m.Net().Weights() {
			values := make([]float32, w.Size())
			for i := range values {
				at++
				values[i] = float32(math.Sin(float64(at * at)))
			}
			m.Weights = append(m.Weights, values)
			arrays = append(arrays, tensors.FromFlatDataAndDimensions(values, w.Stacked(1)...))
		}
		in, out := t.TempDir(), filepath.Join(t.TempDir(), "saved")
		if err := checkpoint.WriteOLMo(in, m, false); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(python, "testdata/agree.py", in, out)
		cmd.Stderr = os.Stderr
		text, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var want []float64
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		got := backendtest.Run(t, backendtest.Go(t), append([]any{[][]int32{{0, 1, 2, 3, 4, 5, 6, 7, 8}}}, arrays...), func(in []*Node) []*Node {
			return []*Node{m.Net().Logits(in[1:], in[0], nil)}
		})[0]
		for i, w := range want {
			if math.Abs(float64(got[i])-w) > 1e-4 {
				t.Fatalf("%s: logit %d is %g, transformers' %g", name, i, got[i], w)
			}
		}
		again, err := checkpoint.ReadOLMo(out)
		if err != nil {
			t.Fatal(name, err)
		}
		if again.TransformerSettings != m.TransformerSettings || !slices.EqualFunc(again.Weights, m.Weights, slices.Equal) {
			t.Errorf("%s: %+v came back as %+v, or with other weights", name, m.Preset, again.Preset)
		}
		if files, _ := filepath.Glob(filepath.Join(out, "*.safetensors")); len(files) < 2 {
			t.Errorf("%s: saved as %v: want several files", name, files)
		}
	}
}
