package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/corpus"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/train"
	"raretask/tasks"
)

// peer is a Python process that trains a case on request (peers/peer.py).
type peer struct {
	c        Case
	final    string
	process  *exec.Cmd
	requests io.WriteCloser
	answers  *bufio.Reader
	stderr   *bytes.Buffer
}

// array is a weight of a net, as peers are told of it.
type array struct {
	Name string `json:"name"`
	Dims []int  `json:"dims"`
}

// work is a case as peers are told of it.
type work struct {
	spec.Train             // of the first run
	Steps      int         `json:"steps"`     // of a round
	All        int         `json:"all_steps"` // of the whole training, with which a cosine ends
	Since      int         `json:"since"`     // steps done where the mean training loss of a round begins
	Family     string      `json:"family"`    // of layouts
	Dim        int         `json:"dim"`
	Amplitude  [][]float32 `json:"amplitude"` // regression: K x d_T square roots of each task's eigenvalues
	Subsets    [][]int     `json:"subsets"`   // parity: K x k bits
	Language   *language   `json:"language"`  // language
	Frequency  []float64   `json:"frequency"`
	Nets       [][]array   `json:"nets"` // of each width
	Seeds      int         `json:"seeds"`
	Shared     bool        `json:"shared"`
	Threads    int         `json:"threads"`
	Initial    string      `json:"initial_file"`
	Final      string      `json:"final_file"`
}

// language is what peers must know of decoders beside their weights, and of the windows that these learn.
type language struct {
	net.TransformerSettings             // a width below Head has one head of its size
	Window                  int         `json:"window"`
	Cumulative              [][]float32 `json:"cumulative"` // of the next token [V+1, V]; the last row is of a window's first one
	Instances               [][]int32   `json:"instances"`  // of the novel task, for training [n, 4]
	Injected                int         `json:"injected"`   // windows of every batch that begin with one of them
}

// newPeer starts a peer and waits until it has compiled.
func newPeer(ctx context.Context, s Settings, c Case, folder string, p *Program) (trainer, error) {
	w, err := newWork(c, folder, p.Name)
	if err != nil {
		return nil, err
	}
	w.Threads = cmp.Or(s.Threads, runtime.NumCPU())
	root, err := backend.Root()
	if err != nil {
		return nil, err
	}
	r := &peer{c: c, final: w.Final, stderr: new(bytes.Buffer)}
	r.process = exec.CommandContext(ctx, s.Python, "-I", "-B", filepath.Join(root, "pkg", "bench", "peers", "peer.py"), p.Name)
	r.process.Dir = folder
	r.process.Env = append(slices.Clip(s.Environment), "TORCHINDUCTOR_CACHE_DIR="+filepath.Join(folder, "inductor"))
	r.process.Stderr = r.stderr
	r.process.WaitDelay = 5 * time.Second
	answers, err := r.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.answers = bufio.NewReader(answers)
	if r.requests, err = r.process.StdinPipe(); err != nil {
		return nil, err
	}
	if err := r.process.Start(); err != nil {
		return nil, err
	}
	var ready struct {
		Compile float64 `json:"compile"`
		Version string  `json:"version"`
	}
	if err := r.ask(w, &ready); err != nil {
		r.close()
		return nil, err
	}
	p.Compile, p.Version = ready.Compile, ready.Version
	return r, nil
}

// layouts returns the weights of the nets that the peers have programs for, by family; layers is how many a decoder has.
func layouts(family string, layers int) []string {
	switch family {
	case "regression":
		return []string{"encoder", "decoder"}
	case "parity":
		return []string{"weight1", "bias1", "code", "readout", "readout_bias"}
	case "language":
		names := []string{"embedding"}
		for l := range layers {
			for _, of := range []string{"qkv", "out", "up_gate", "down"} {
				names = append(names, fmt.Sprint(of, l+1))
			}
		}
		return append(names, "readout")
	}
	return nil
}

// trainable says what the peers have no program for.
func trainable(run spec.Run) error {
	names, layers, grouped := []string{}, 0, false
	for _, a := range arraysOf(run) {
		names = append(names, a.Name)
	}
	injection := spec.Injection{}
	if t, ok := run.New().(*net.Transformer); ok {
		layers, grouped = t.Layers, t.Group > 1
		injection = spec.Injection{Task: corpus.Novel + 1, Gap: 1, Samples: max(1, run.Train.Injection.Samples)}
	}
	if !slices.Equal(names, layouts(run.Mixture.Family, layers)) || grouped || run.Net.Parameterization == "mup" {
		return fmt.Errorf("the peers train a linear bottleneck on regression, an mlp of one hidden layer on parity and OLMo's decoder "+
			"on a language, not %s on %s", run.Net.Kind, run.Mixture.Family)
	}
	if run.Train.Injection != injection {
		return fmt.Errorf("the peers know no injection schedule but one: some windows of a language in every batch (gap: 1), not %+v",
			run.Train.Injection)
	}
	return nil
}

// newWork describes a case to a peer.
func newWork(c Case, folder, program string) (work, error) {
	run := c.Runs[0]
	if err := trainable(run); err != nil {
		return work{}, err
	}
	m, err := run.Mixture.Mixture()
	if err != nil {
		return work{}, err
	}
	w := work{Train: run.Train, Steps: c.Timed, All: run.Train.Steps, Since: since(run.Train.Steps, c.Timed), Family: run.Mixture.Family,
		Dim: m.Family.Signature().Input.Size(), Frequency: m.Frequency, Seeds: c.seeds(), Shared: c.Shared,
		Initial: filepath.Join(folder, initialFile), Final: filepath.Join(folder, program)}
	switch family := m.Family.(type) {
	case tasks.Spectral:
		for _, spectrum := range family.Spectra() {
			w.Amplitude = append(w.Amplitude, amplitudes(spectrum))
		}
	case interface{ Bigrams() *corpus.Language }:
		bigrams := family.Bigrams()
		w.Language = &language{TransformerSettings: run.Net.Settings.(net.TransformerSettings), Window: bigrams.Window,
			Cumulative: bigrams.Constants()[0].([][]float32), Instances: bigrams.Injected.Train, Injected: run.Train.Injection.Samples}
	default:
		for k := range m.Tasks() {
			w.Subsets = append(w.Subsets, m.Family.Relevant(k))
		}
	}
	for i := 0; i < len(c.Runs); i += w.Seeds {
		w.Nets = append(w.Nets, arraysOf(c.Runs[i]))
	}
	return w, nil
}

// since returns how many steps are done where the mean training loss begins that our program reports after some of all steps.
func since(steps, after int) int {
	begins := train.LossSteps(steps)
	at, _ := slices.BinarySearch(begins, after)
	return begins[max(0, at-1)]
}

// amplitudes returns the square roots of a task's eigenvalues.
func amplitudes(spectrum []float64) []float32 {
	var roots []float32
	for _, lambda := range spectrum {
		roots = append(roots, float32(math.Sqrt(lambda)))
	}
	return roots
}

func arraysOf(run spec.Run) []array {
	var arrays []array
	for _, weight := range run.New().Weights() {
		arrays = append(arrays, array{weight.Name, weight.Dims})
	}
	return arrays
}

// ask sends a line and reads the answer.
func (r *peer) ask(request, answer any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	_, err = r.requests.Write(append(line, '\n'))
	if err == nil {
		line, err = r.answers.ReadBytes('\n')
	}
	if err == nil {
		return json.Unmarshal(line, answer)
	}
	r.process.Wait() // so that all it said is here
	lines := strings.Split(strings.TrimSpace(r.stderr.String()), "\n")
	return errors.New(strings.Join(lines[max(0, len(lines)-3):], "\n"))
}

func (r *peer) train(_ context.Context, round int) (outcome, error) {
	var answer struct {
		Seconds float64   `json:"seconds"`
		CPU     float64   `json:"cpu"`
		Loss    []float64 `json:"loss"`
	}
	if err := r.ask(map[string]int{"round": round}, &answer); err != nil {
		return outcome{}, err
	}
	o := outcome{step: answer.Seconds * 1e3 / float64(r.c.Timed), cpu: answer.CPU * 1e3 / float64(r.c.Timed)}
	weights, err := readWeights(r.final, sizes(r.c))
	if err != nil {
		return o, err
	}
	if len(answer.Loss) != len(r.c.Runs) {
		return o, fmt.Errorf("%d losses for %d runs", len(answer.Loss), len(r.c.Runs))
	}
	for i, run := range r.c.Runs {
		loss, err := loss(run, weights[i], answer.Loss[i])
		if err != nil {
			return o, err
		}
		o.loss = append(o.loss, loss)
	}
	return o, nil
}

// sizes returns how many numbers each array of each run has.
func sizes(c Case) [][]int {
	sizes := make([][]int, len(c.Runs))
	for i, run := range c.Runs {
		for _, weight := range run.New().Weights() {
			sizes[i] = append(sizes[i], weight.Size())
		}
	}
	return sizes
}

// close ends the process: it stops when there are no more requests.
func (r *peer) close() {
	r.requests.Close()
	r.process.Wait()
}
