package checkpoint

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"raretask/pkg/net"
)

// config is what Hugging Face's config.json says of OLMo (OlmoConfig) and OLMo 2 (Olmo2Config). Newer files have the base of the rotary
// embedding among rope_parameters.
type config struct {
	Architectures []string        `json:"architectures"`
	Type          string          `json:"model_type"`
	Vocabulary    int             `json:"vocab_size"`
	Width         int             `json:"hidden_size"`
	MLP           int             `json:"intermediate_size"`
	Layers        int             `json:"num_hidden_layers"`
	Heads         int             `json:"num_attention_heads"`
	Keys          *int            `json:"num_key_value_heads,omitempty"`
	Window        int             `json:"max_position_embeddings"`
	Theta         *float64        `json:"rope_theta,omitempty"`
	Rotary        map[string]any  `json:"rope_parameters,omitempty"`
	Scaling       json.RawMessage `json:"rope_scaling,omitempty"`
	Clip          *float64        `json:"clip_qkv,omitempty"`
	Epsilon       *float64        `json:"rms_norm_eps,omitempty"`
	Bias          bool            `json:"attention_bias"`
	Activation    string          `json:"hidden_act"`
	Tied          bool            `json:"tie_word_embeddings"`
	Type32        string          `json:"torch_dtype"`
	Padding       *int            `json:"pad_token_id"`
}

// Model is a decoder with its weights, each as net.Transformer.Weights names it, row-major.
type Model struct {
	net.Preset
	Weights [][]float32
}

// part is a tensor of Hugging Face's that is some rows of one of our weights.
type part struct {
	name string
	rows int
}

// partsOf returns the tensors that a weight of a decoder is of.
func partsOf(n *net.Transformer, w net.Weight) []part {
	keys := n.Width / n.Group
	switch w.Name {
	case "embedding":
		return []part{{"model.embed_tokens.weight", n.Vocabulary}}
	case "readout":
		return []part{{"lm_head.weight", n.Vocabulary}}
	case "norm":
		return []part{{"model.norm.weight", n.Width}}
	}
	var kind string
	var layer int
	for i, r := range w.Name {
		if r >= '0' && r <= '9' {
			kind = w.Name[:i]
			fmt.Sscan(w.Name[i:], &layer)
			break
		}
	}
	at := fmt.Sprintf("model.layers.%d.", layer-1)
	switch kind {
	case "qkv":
		return []part{{at + "self_attn.q_proj.weight", n.Width}, {at + "self_attn.k_proj.weight", keys}, {at + "self_attn.v_proj.weight", keys}}
	case "out":
		return []part{{at + "self_attn.o_proj.weight", n.Width}}
	case "up_gate":
		return []part{{at + "mlp.up_proj.weight", n.MLP / 2}, {at + "mlp.gate_proj.weight", n.MLP / 2}}
	case "down":
		return []part{{at + "mlp.down_proj.weight", n.Width}}
	case "query_norm":
		return []part{{at + "self_attn.q_norm.weight", n.Width}}
	case "key_norm":
		return []part{{at + "self_attn.k_norm.weight", keys}}
	case "attention_norm":
		return []part{{at + "post_attention_layernorm.weight", n.Width}}
	case "mlp_norm":
		return []part{{at + "post_feedforward_layernorm.weight", n.Width}}
	}
	panic("checkpoint: no tensor is known for weight " + w.Name)
}

// ReadOLMo reads an OLMo or OLMo 2 in Hugging Face's form from a folder: config.json and safetensors, one or several, float32 or bfloat16.
// An error names file, tensor or key, and what was expected.
func ReadOLMo(dir string) (m Model, err error) {
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return m, fmt.Errorf("checkpoint: %w", err)
	}
	var c config
	if err := json.Unmarshal(text, &c); err != nil {
		return m, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	if m.Preset, err = c.preset(); err != nil {
		return m, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	shards, err := OpenShards(dir)
	if err != nil {
		return m, err
	}
	defer shards.Close()
	n := m.Net()
	for _, w := range n.Weights() {
		var values []float32
		for _, p := range partsOf(n, w) {
			dims := slices.Clone(w.Dims)
			dims[0] = p.rows
			if values, err = shards.Floats(values, p.name, dims...); err != nil {
				return m, err
			}
			delete(shards.of, p.name) // what is left in the end nobody asked for
		}
		m.Weights = append(m.Weights, values)
	}
	for name, file := range shards.of {
		return m, fmt.Errorf("checkpoint: %s: tensor %.100q: want none that config.json doesn't speak of", file.Path, name)
	}
	return m, nil
}

// preset returns the decoder that a config describes.
func (c config) preset() (p net.Preset, err error) {
	keys, theta, clip, epsilon := c.Heads, 10_000., 0., 1e-5
	for from, to := range map[*float64]*float64{c.Theta: &theta, c.Clip: &clip, c.Epsilon: &epsilon} {
		if from != nil {
			*to = *from
		}
	}
	if c.Keys != nil {
		keys = *c.Keys
	}
	if v, ok := c.Rotary["rope_theta"].(float64); ok {
		theta = v
	}
	kind, _ := c.Rotary["rope_type"].(string)
	want := func(ok bool, key string, value any, want string) {
		if !ok && err == nil {
			err = fmt.Errorf("%s: %v: want %s", key, value, want)
		}
	}
	want(c.Type == net.OLMo || c.Type == net.OLMo2, "model_type", c.Type, net.OLMo+" or "+net.OLMo2)
	want(c.Width > 0 && c.Heads > 0 && c.Width%max(1, c.Heads) == 0, "num_attention_heads", c.Heads,
		fmt.Sprintf("a divisor of hidden_size (%d)", c.Width))
	want(keys > 0 && c.Heads%max(1, keys) == 0, "num_key_value_heads", keys, fmt.Sprintf("a divisor of num_attention_heads (%d)", c.Heads))
	want(c.Vocabulary > 0 && c.Vocabulary <= 1<<24, "vocab_size", c.Vocabulary, "1 … 16777216")
	want(c.Window > 0, "max_position_embeddings", c.Window, "a number above 0")
	want(c.MLP > 0 && c.MLP <= 1<<20, "intermediate_size", c.MLP, "1 … 1048576")
	want(!c.Bias, "attention_bias", c.Bias, "false")
	want(c.Activation == "silu" || c.Activation == "", "hidden_act", c.Activation, "silu")
	plain := (kind == "" || kind == "default") && (len(c.Scaling) == 0 || string(c.Scaling) == "null")
	want(plain, "rope_scaling", string(c.Scaling)+kind, "none")
	if err != nil {
		return p, err
	}
	s := net.TransformerSettings{Layers: c.Layers, Head: c.Width / c.Heads, Group: c.Heads / keys, MLP: 2 * c.MLP, Block: c.Type, Theta: theta,
		Clip: clip, Epsilon: epsilon, Tied: c.Tied}
	p = net.Preset{About: c.Type, Width: c.Width, Window: c.Window, TransformerSettings: s, Vocabulary: c.Vocabulary}
	return p, s.Check(c.Width, p.Signature())
}

// WriteOLMo writes a decoder to a folder in Hugging Face's form, float32, or bfloat16, rounded to the nearest. Files are renamed into
// place.
func WriteOLMo(dir string, m Model, bfloat16 bool) error {
	n := m.Net()
	if err := m.TransformerSettings.Check(m.Width, m.Signature()); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	var arrays []Array
	for i, w := range n.Weights() {
		if i >= len(m.Weights) || len(m.Weights[i]) != w.Size() {
			return fmt.Errorf("checkpoint: weight %s: want its %d numbers", w.Name, w.Size())
		}
		at, row := 0, w.Size()/w.Dims[0]
		for _, p := range partsOf(n, w) {
			dims := slices.Clone(w.Dims)
			dims[0] = p.rows
			arrays = append(arrays, floats(p.name, dims, m.Weights[i][at:at+p.rows*row], bfloat16))
			at += p.rows * row
		}
	}
	keys := n.Heads / n.Group
	c := config{Type: m.Block, Vocabulary: m.Vocabulary, Width: m.Width, MLP: n.MLP / 2, Layers: m.Layers, Heads: n.Heads, Keys: &keys,
		Window: m.Window, Theta: &m.Theta, Activation: "silu", Tied: m.Tied, Type32: "float32",
		Architectures: []string{map[string]string{net.OLMo: "OlmoForCausalLM", net.OLMo2: "Olmo2ForCausalLM"}[m.Block]}}
	if m.Block == net.OLMo2 {
		c.Epsilon = &m.Epsilon
	} else if m.Clip > 0 {
		c.Clip = &m.Clip
	}
	if bfloat16 {
		c.Type32 = "bfloat16"
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	parts, err := encode(arrays, map[string]string{"format": "pt"})
	if err != nil {
		return err
	}
	return place(dir, map[string][][]byte{Single: parts, "config.json": {text}})
}

// floats returns an array of numbers.
func floats(name string, dims []int, values []float32, bfloat16 bool) Array {
	a := Array{Name: name, DType: "F32", Dims: dims}
	for _, v := range values {
		bits := math.Float32bits(v)
		if !bfloat16 {
			a.Data = binary.LittleEndian.AppendUint32(a.Data, bits)
			continue
		}
		if v == v { // to the nearest, ties to even; what is no number stays none
			bits += 0x7fff + bits>>16&1
		}
		a.Data = binary.LittleEndian.AppendUint16(a.Data, uint16(bits>>16))
	}
	if bfloat16 {
		a.DType = "BF16"
	}
	return a
}

// place writes files aside and renames them into a folder, which it makes if need be.
func place(dir string, files map[string][][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	for name, parts := range files {
		f, err := os.CreateTemp(dir, "."+name+"-*")
		if err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		w := bufio.NewWriter(f)
		for _, part := range parts {
			w.Write(part) // a buffered writer keeps its first error
		}
		err = cmp.Or(w.Flush(), f.Chmod(0o644), f.Sync(), f.Close()) // a full disk shows in Sync at the latest
		if err == nil {
			err = os.Rename(f.Name(), filepath.Join(dir, name))
		}
		if err != nil {
			os.Remove(f.Name())
			return fmt.Errorf("checkpoint: %s: %w", filepath.Join(dir, name), err)
		}
	}
	return nil
}
