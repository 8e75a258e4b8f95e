package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/corpus"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// smallLanguage is a sweep of 2 widths and 3 seeds, of one head and of two, that trains in no time and to its end.
func smallLanguage(t *testing.T, shared bool, timed int) Case {
	t.Helper()
	changes := []spec.Axis{spec.Vary("net.width", 8, 32), spec.Vary("train.seed", 0, 1, 2), spec.Vary("train.steps", timed),
		spec.Vary("train.warmup", timed/5), spec.Vary("train.rate", 1e-2)}
	if shared {
		changes = append(changes, spec.Vary("train.data", 0))
	}
	sweep, err := spec.Load("fig5", "smoke")
	if err != nil {
		t.Fatal(err)
	}
	if sweep, err = spec.Of("small-language", sweep.Base, changes...); err != nil {
		t.Fatal(err)
	}
	runs, err := sweep.Runs()
	if err != nil {
		t.Fatal(err)
	}
	return newCase("small-language", "a test's", runs, timed)
}

// certain is a language of which nothing is left to chance: a token has one that follows it, and the novel task one instance.
type certain struct {
	corpus.LanguageSettings `yaml:",inline"`
}

func (c certain) Family(k int) (tasks.Family, error) {
	family, err := c.LanguageSettings.Family(k)
	if err != nil {
		return nil, err
	}
	l := family.(*corpus.Language)
	l.Stationary = make([]float64, l.Vocabulary)
	l.Stationary[5] = 1
	for i := range l.Next {
		l.Next[i] = make([]float64, l.Vocabulary)
		l.Next[i][(7*i+3)%l.Vocabulary] = 1
	}
	l.Injected.Train = l.Injected.Train[:1]
	return l, nil
}

// On data without chance every program has the same batches, so that clipping, optimizer, schedule and the steps that a mean is over may
// differ by no more than rounding.
func TestPeersTrainExactlyTheSame(t *testing.T) {
	settings := withPeers(t)
	for _, shared := range []bool{true, false} {
		c := smallLanguage(t, shared, 40)
		for i := range c.Runs {
			r := &c.Runs[i]
			r.Mixture.Settings = certain{r.Mixture.Settings.(corpus.LanguageSettings)}
			r.Train.Clip, r.Train.Rate = .3, 3e-3
		}
		settings.Cases, settings.Rounds, settings.Peers = []Case{c}, 2, []string{"jax", "torch"}
		report, err := Run(context.Background(), backendtest.XLA(t), settings)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range report.Cases[0].Programs {
			t.Logf("shared %v: %s: loss %.6f, off %.2g", shared, p.Name, p.Loss, p.Off)
			if p.Error != "" || p.Off > 1e-4 {
				t.Errorf("shared %v: %s: off by %.2g, %s: want the same numbers", shared, p.Name, p.Off, p.Error)
			}
		}
	}
}

// decoded is what a program makes of weights and windows: of one width.
type decoded struct {
	Logits, Losses []float64
	Gradients      map[string][]float64
}

// The peers' decoders are ours: logits, losses and gradients of given weights, some of whose queries, keys and values are clipped.
func TestPeersDecodersAreOurs(t *testing.T) {
	settings := withPeers(t)
	c, folder := smallLanguage(t, true, 10), t.TempDir()
	for i := range c.Runs {
		r := &c.Runs[i]
		s := r.Net.Settings.(net.TransformerSettings)
		s.Clip, s.Layers, s.Theta = 1, 3, 50
		r.Net.Settings = s
	}
	random := rand.New(rand.NewPCG(1, 2))
	weights := make([][][]float32, len(c.Runs))
	for i, run := range c.Runs {
		for _, w := range run.New().Weights() {
			values := make([]float32, w.Size())
			for j := range values {
				values[j] = float32(1.5 * random.NormFloat64() / math.Sqrt(float64(w.Dims[1])))
			}
			weights[i] = append(weights[i], values)
		}
	}
	if err := writeWeights(filepath.Join(folder, initialFile), weights); err != nil {
		t.Fatal(err)
	}
	w, err := newWork(c, folder, "unused")
	if err != nil {
		t.Fatal(err)
	}
	windows := make([][]int32, 4)
	for i := range windows {
		for range w.Language.Window {
			windows[i] = append(windows[i], random.Int32N(int32(len(w.Language.Cumulative)-1)))
		}
	}
	request, err := json.Marshal(map[string]any{"case": w, "windows": windows})
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	process := exec.Command(settings.Python, "-B", filepath.Join("testdata", "decoders.py"), "peers")
	process.Stdin, process.Stdout, process.Stderr, process.Env = bytes.NewReader(request), &stdout, &stderr, settings.Environment
	if err := process.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var peers map[string][]decoded
	if err := json.Unmarshal(stdout.Bytes(), &peers); err != nil || len(peers) != 2 {
		t.Fatal(len(peers), err)
	}
	for i := 0; i < len(c.Runs); i += w.Seeds {
		want := decode(t, c.Runs[i], weights[i:i+w.Seeds], windows)
		for name, of := range peers {
			got := of[i/w.Seeds]
			off := map[string]float64{"logits": farthest(got.Logits, want.Logits), "losses": farthest(got.Losses, want.Losses)}
			for weight, g := range want.Gradients {
				off["gradients"] = max(off["gradients"], farthest(got.Gradients[weight], g))
			}
			t.Logf("width %d: %s: off by %v of the largest", c.Runs[i].Net.Width, name, off)
			for what, v := range off {
				if !(v < 2e-5) {
					t.Errorf("width %d: %s: %s are off by %.2g of the largest: want the same", c.Runs[i].Net.Width, name, what, v)
				}
			}
		}
	}
}

// farthest returns the largest difference relative to the largest of the numbers wanted.
func farthest(got, want []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	return floats.Distance(got, want, math.Inf(1)) / floats.Norm(want, math.Inf(1))
}

// decode returns what our decoder makes of weights of the runs of a width and of windows.
func decode(t *testing.T, run spec.Run, weights [][][]float32, windows [][]int32) decoded {
	t.Helper()
	n := run.New().(*net.Transformer)
	inputs := []any{windows}
	for i, w := range n.Weights() {
		var flat []float32
		for _, of := range weights {
			flat = append(flat, of[i]...)
		}
		inputs = append(inputs, tensors.FromFlatDataAndDimensions(flat, w.Stacked(len(weights))...))
	}
	out := backendtest.Run(t, backendtest.XLA(t), inputs, func(in []*Node) []*Node {
		tokens := func(from, to int) *Node { return Slice(in[0], AxisRange(), AxisRange(from, to)) }
		logits := n.Logits(in[1:], tokens(0, n.Window), nil)
		losses := ReduceMean(corpus.CrossEntropy(logits, InsertAxes(tokens(1, n.Window+1), 0)), 1, 2)
		return append([]*Node{logits, losses}, Gradient(ReduceAllSum(losses), in[1:]...)...)
	})
	d := decoded{double(out[0]), double(out[1]), map[string][]float64{}}
	for i, w := range n.Weights() {
		d.Gradients[w.Name] = double(out[2+i])
	}
	return d
}

func double(values []float32) (all []float64) {
	for _, v := range values {
		all = append(all, float64(v))
	}
	return all
}

// The peers know one schedule of the novel task, and one kind of blocks.
func TestPeersRefuseOtherLanguages(t *testing.T) {
	run := smallLanguage(t, true, 10).Runs[0]
	if err := trainable(run); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*spec.Run, *net.TransformerSettings){
		"a gap":          func(r *spec.Run, _ *net.TransformerSettings) { r.Train.Injection.Gap = 4 },
		"no schedule":    func(r *spec.Run, _ *net.TransformerSettings) { r.Train.Injection = spec.Injection{} },
		"another block":  func(_ *spec.Run, s *net.TransformerSettings) { s.Block, s.Clip = net.OLMo2, 0 },
		"a tied readout": func(_ *spec.Run, s *net.TransformerSettings) { s.Tied = true },
		"shared keys":    func(r *spec.Run, s *net.TransformerSettings) { r.Net.Width, s.Group = 32, 2 },
		"another family": func(r *spec.Run, _ *net.TransformerSettings) { r.Mixture.Family = "text" },
	} {
		other := run
		s := run.Net.Settings.(net.TransformerSettings)
		change(&other, &s)
		other.Net.Settings = s
		if trainable(other) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Two layers, width 8, window 8 of which 7 tokens are read, 32 tokens, batch 16, three seeds; of width 32 as many.
func TestCostCountsDecoders(t *testing.T) {
	c := smallLanguage(t, true, 10)
	products, traffic := cost(c)
	want := 0.
	for _, d := range []float64{8, 32} {
		used := 2*(4*d*d+12*d*d) + 32*d
		want += 3 * 6 * 16 * 7 * (used + 2*7*d) / 1e9
	}
	if math.Abs(products-want) > 1e-12 {
		t.Errorf("%g GFLOP, want %g", products, want)
	}
	_, streams := cost(smallLanguage(t, false, 10))
	if extra := 2 * 4 * 2 * 16 * 7 * 32 / 1e6; math.Abs(streams-traffic-extra) > 1e-9 {
		t.Errorf("%g MB with three streams and %g with one: want %g more", streams, traffic, extra)
	}
	if r := newResult(c, nil); r.Tokens != 6*16*7 {
		t.Errorf("%d tokens, want those of six runs", r.Tokens)
	}
}

// Our algorithm is one of tasks with readouts of their own.
func TestTilesTrainNoLanguage(t *testing.T) {
	if got := smallLanguage(t, true, 10).programs(Peers); !slices.Equal(got, []string{ours, "jax", "torch", "torch-compile"}) {
		t.Errorf("programs %q of a language", got)
	}
	if got := small(t, true, 10).programs(Peers); len(got) != 1+len(Peers) {
		t.Errorf("programs %q of regression: want all", got)
	}
}

func TestTokensAreReported(t *testing.T) {
	programs := []Program{{Name: ours, Step: 3}, {Name: "jax", Step: 200}, {Name: "torch", Error: "not here"}}
	report := Report{Cases: []Result{{Name: "language", Runs: 1, Tokens: 1500, Programs: programs}}}
	text := report.Markdown()
	for _, want := range []string{"One run of", " Thousands of tokens a second, compile apart: raretask 500, jax 7.5.\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
}

// A training's mean loss is that since the last of LossSteps: 12 and 14 of 1,000 steps, 81 and 105 of 24,000.
func TestMeanLossesAreOfTheSameSteps(t *testing.T) {
	for _, c := range []struct{ steps, after, want int }{{1000, 14, 12}, {24000, 105, 81}, {24000, 104, 81}, {10, 1, 0}} {
		if got := since(c.steps, c.after); got != c.want {
			t.Errorf("after %d of %d steps: since %d, want %d", c.after, c.steps, got, c.want)
		}
	}
}
