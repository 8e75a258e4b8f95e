package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/net"
)

// tinyOLMo returns a small decoder with weights that are all different, of a kind of blocks.
func tinyOLMo(block string, tied bool) Model {
	s := net.TransformerSettings{Layers: 2, Head: 4, Group: 2, MLP: 12, Block: block, Theta: 500, Epsilon: 1e-6, Tied: tied}
	if block == net.OLMo {
		s.Clip, s.Epsilon = 2.5, 1e-5
	}
	m := Model{Preset: net.Preset{About: block, Width: 16, Window: 9, TransformerSettings: s, Vocabulary: 11}}
	at := 0
	for _, w := range m.Net().Weights() {
		values := make([]float32, w.Size())
		for i := range values {
			at++
			values[i] = float32(math.Sin(float64(at)))
		}
		m.Weights = append(m.Weights, values)
	}
	return m
}

// A round trip loses no bit; in bfloat16 it rounds once, to the nearest, and a second one loses no bit.
func TestOLMoRoundTrip(t *testing.T) {
	for _, block := range []string{net.OLMo, net.OLMo2} {
		for _, tied := range []bool{false, true} {
			m := tinyOLMo(block, tied)
			dir := t.TempDir()
			if err := WriteOLMo(dir, m, false); err != nil {
				t.Fatal(err)
			}
			got, err := ReadOLMo(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got.Preset != m.Preset || !slices.EqualFunc(got.Weights, m.Weights, slices.Equal) {
				t.Errorf("%s, tied %t: %+v, want %+v", block, tied, got.Preset, m.Preset)
			}
			if err := WriteOLMo(dir, m, true); err != nil {
				t.Fatal(err)
			}
			rounded, err := ReadOLMo(dir)
			if err != nil {
				t.Fatal(err)
			}
			for i, w := range rounded.Weights {
				for j, v := range w {
					if want := m.Weights[i][j]; math.Abs(float64(v-want)) > math.Abs(float64(want))/256 || math.Float32bits(v)&0xffff != 0 {
						t.Fatalf("%s: %g in bfloat16 is %g", block, want, v)
					}
				}
			}
			if err := WriteOLMo(dir, rounded, true); err != nil {
				t.Fatal(err)
			}
			if again, err := ReadOLMo(dir); err != nil || !slices.EqualFunc(again.Weights, rounded.Weights, slices.Equal) {
				t.Errorf("%s: a second round trip in bfloat16 changes weights (%v)", block, err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}
	}
}

// A model in several files is the same as in one.
func TestShards(t *testing.T) {
	m, dir := tinyOLMo(net.OLMo2, false), t.TempDir()
	if err := WriteOLMo(dir, m, false); err != nil {
		t.Fatal(err)
	}
	whole, err := Open(filepath.Join(dir, Single))
	if err != nil {
		t.Fatal(err)
	}
	index := map[string]string{}
	shards := map[string][]Array{}
	i := 0
	for name, a := range whole.arrays {
		file := []string{"model-1.safetensors", "model-2.safetensors", "model-3.safetensors"}[i%3]
		a.Data = slices.Clone(a.Data)
		index[name], shards[file] = file, append(shards[file], a)
		i++
	}
	whole.Close()
	os.Remove(filepath.Join(dir, Single))
	files := map[string][][]byte{}
	for file, arrays := range shards {
		if files[file], err = encode(arrays, nil); err != nil {
			t.Fatal(err)
		}
	}
	text, _ := json.Marshal(map[string]any{"weight_map": index})
	files[Index] = [][]byte{text}
	if err := place(dir, files); err != nil {
		t.Fatal(err)
	}
	got, err := ReadOLMo(dir)
	if err != nil || !slices.EqualFunc(got.Weights, m.Weights, slices.Equal) {
		t.Errorf("from three files other weights than from one (%v)", err)
	}
	os.Remove(filepath.Join(dir, "model-2.safetensors"))
	if _, err := ReadOLMo(dir); err == nil || !strings.Contains(err.Error(), "model-2.safetensors") {
		t.Errorf("without a shard: %v", err)
	}
}

// What is wrong is said with file, tensor or key, and what was expected.
func TestOLMoErrors(t *testing.T) {
	single := func(change func(header map[string]any) map[string]any) func([]byte) []byte {
		return func(file []byte) []byte {
			length := binary.LittleEndian.Uint64(file)
			var header map[string]any
			json.Unmarshal(file[8:8+length], &header)
			text, _ := json.Marshal(change(header))
			return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), file[8+length:]...)
		}
	}
	tensor := func(name, key string, value any) func([]byte) []byte {
		return single(func(h map[string]any) map[string]any { h[name].(map[string]any)[key] = value; return h })
	}
	config := func(old, new string) func([]byte) []byte {
		return func(text []byte) []byte { return []byte(strings.Replace(string(text), old, new, 1)) }
	}
	const embedding = "model.embed_tokens.weight"
	for name, c := range map[string]struct {
		file   string
		change func([]byte) []byte
		want   []string
	}{
		"vocabulary":    {"config.json", config(`"vocab_size": 11`, `"vocab_size": 13`), []string{Single, embedding, "[11 16]", "want [13 16]"}},
		"another model": {"config.json", config(`"olmo2"`, `"llama"`), []string{"model_type", "llama", "olmo or olmo2"}},
		"heads":         {"config.json", config(`_heads": 4`, `_heads": 5`), []string{"num_attention_heads", "5", "divisor of hidden_size (16)"}},
		"bias":          {"config.json", config(`"attention_bias": false`, `"attention_bias": true`), []string{"attention_bias"}},
		"more layers":   {"config.json", config(`layers": 2`, `layers": 3`), []string{"model.layers.2.self_attn.q_proj.weight", "want one of"}},
		"fewer layers":  {"config.json", config(`layers": 2`, `layers": 1`), []string{Single, "model.layers.1."}},
		"no JSON":       {"config.json", func([]byte) []byte { return []byte("{") }, []string{"config.json"}},
		"cut off":       {Single, func(b []byte) []byte { return b[:len(b)-4] }, []string{Single, "cut off"}},
		"empty":         {Single, func(b []byte) []byte { return nil }, []string{Single, "0 bytes"}},
		"absurd header": {Single, func(b []byte) []byte { return append(slices.Repeat([]byte{255}, 8), b[8:]...) },
			[]string{Single, "header"}},
		"header too long": {Single, func(b []byte) []byte { b[3] = 1; return b }, []string{Single, "header"}},
		"no header":       {Single, func(b []byte) []byte { b[8] = '['; return b }, []string{Single, "JSON object"}},
		"type":            {Single, tensor(embedding, "dtype", "F64"), []string{Single, embedding, "704 bytes for F64", "want 1408"}},
		"unknown type":    {Single, tensor(embedding, "dtype", "F7"), []string{Single, embedding, "F7"}},
		"negative size":   {Single, tensor(embedding, "shape", []int{-11, -16}), []string{Single, embedding, "-11"}},
		"outside":         {Single, tensor(embedding, "data_offsets", []int{0, 1 << 40}), []string{Single, embedding, "within the file"}},
		"backwards":       {Single, tensor(embedding, "data_offsets", []int{704, 0}), []string{Single, embedding, "beginning and an end"}},
		"overlap":         {Single, tensor(embedding, "data_offsets", []int{64, 768}), []string{Single, "begins at byte"}},
		"more data":       {Single, func(b []byte) []byte { return append(b, 0) }, []string{Single, "1 bytes after the last tensor"}},
		"twice": {Single, func(b []byte) []byte {
			length := binary.LittleEndian.Uint64(b)
			text := strings.Replace(string(b[8:8+length]), "lm_head.weight", embedding, 1)
			return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), b[8+length:]...)
		}, []string{Single, embedding, "twice"}},
		"missing": {Single, func(b []byte) []byte { return []byte(strings.Replace(string(b), "lm_head", "lm_hat_", 1)) },
			[]string{"lm_head.weight", "want one of [11 16]"}},
	} {
		dir := t.TempDir()
		if err := WriteOLMo(dir, tinyOLMo(net.OLMo2, false), false); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, c.file)
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, c.change(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = ReadOLMo(dir)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v: want an error that says %q", name, err, want)
			}
		}
	}
}
