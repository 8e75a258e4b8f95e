package bench

import (
	"context"
	"encoding/json"
	"go/build"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/lab"
	"raretask/pkg/spec"
)

// small is a sweep of 2 widths and 3 seeds that trains in no time, with one data stream or one for each seed.
func small(t *testing.T, shared bool, timed int) Case {
	t.Helper()
	changes := []spec.Axis{spec.Vary("net.width", 4, 8), spec.Vary("train.seed", 0, 1, 2), spec.Vary("train.warmup", 20)}
	if shared {
		changes = append(changes, spec.Vary("train.data", 0))
	}
	sweep, err := spec.Load("fig2", "smoke")
	if err != nil {
		t.Fatal(err)
	}
	if sweep, err = spec.Of("small", sweep.Base, changes...); err != nil {
		t.Fatal(err)
	}
	runs, err := sweep.Runs()
	if err != nil {
		t.Fatal(err)
	}
	return newCase("small", "a test's", runs, timed)
}

// smallParity is as small, of the other family.
func smallParity(t *testing.T, shared bool, timed int) Case {
	t.Helper()
	changes := []spec.Axis{spec.Vary("net.width", 16, 32), spec.Vary("train.seed", 0, 1, 2), spec.Vary("mixture.tasks", 5),
		spec.Vary("mixture.bits", 8)}
	if shared {
		changes = append(changes, spec.Vary("train.data", 0))
	}
	sweep, err := spec.Load("parity", "smoke")
	if err != nil {
		t.Fatal(err)
	}
	if sweep, err = spec.Of("small-parity", sweep.Base, changes...); err != nil {
		t.Fatal(err)
	}
	runs, err := sweep.Runs()
	if err != nil {
		t.Fatal(err)
	}
	return newCase("small-parity", "a test's", runs, timed)
}

func TestReportHasItsKeysWithoutPeers(t *testing.T) {
	cases := []Case{small(t, true, 5), small(t, false, 5)}
	cases[1].Name = "small-streams"
	var begun, ended []int
	progress := func(_ string, step, total int) func() {
		if begun = append(begun, step); total != 2*3 {
			t.Errorf("step %d of %d; want 6: compiling and two rounds of each case", step, total)
		}
		return func() { ended = append(ended, step) }
	}
	report, err := Run(context.Background(), backendtest.XLA(t), Settings{Cases: cases, Rounds: 2, Progress: progress})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err) // also of a NaN, which JSON doesn't have
	}
	var decoded struct {
		Cases []struct {
			Name      string
			Ours      float64
			Peers     map[string]float64
			Ratio     *float64
			PeakShare float64 `json:"peak_share"`
		}
	}
	if err := json.Unmarshal(text, &decoded); err != nil {
		t.Fatal(err)
	}
	if len(decoded.Cases) != 2 {
		t.Fatalf("%d cases, want 2: %s", len(decoded.Cases), text)
	}
	for i, c := range decoded.Cases {
		if c.Name != cases[i].Name || c.Ours <= 0 || c.PeakShare <= 0 || c.Peers == nil || len(c.Peers) != 0 || c.Ratio != nil {
			t.Errorf("case %+v: want %s, positive rates, no peers and a null ratio", c, cases[i].Name)
		}
	}
	if want := []int{1, 2, 3, 4, 5, 6}; !slices.Equal(begun, want) || !slices.Equal(ended, want) {
		t.Errorf("steps %v begun, %v ended; want %v", begun, ended, want)
	}
	if table := report.Markdown(); !strings.Contains(table, "| raretask |") || !strings.Contains(table, "small-streams") {
		t.Errorf("no row of ours in\n%s", table)
	}
}

// What the peers are compared on is the same training: same initial values, optimizer, clipping, schedule and mixture. On a small
// sweep a decay, rate or clip that differs moves the loss by more than its noise.
func TestPeersTrainTheSame(t *testing.T) {
	settings := withPeers(t)
	for _, c := range []Case{small(t, false, 100), smallParity(t, true, 100), smallLanguage(t, false, 100)} {
		settings.Cases, settings.Rounds, settings.Peers = []Case{c}, 4, []string{"jax", "jax-tiles", "torch"}
		report, err := Run(context.Background(), backendtest.XLA(t), settings)
		if err != nil {
			t.Fatal(err)
		}
		r := report.Cases[0]
		for _, p := range r.Programs {
			t.Logf("%s, shared %v: %s: %s %.4f, off %.2g, %.1f standard errors", c.Name, c.Shared, p.Name, r.Measure, p.Loss, p.Off, p.Noise)
			if p.Error != "" {
				t.Errorf("%s: %s", p.Name, p.Error)
			}
			if p.Noise > 4.5 || p.Off > .03 {
				t.Errorf("%s, shared %v: %s: off by %.2g, %.1f standard errors: want the same training", c.Name, c.Shared, p.Name, p.Off, p.Noise)
			}
		}
		if r.Ratio == nil || len(r.Peers) != len(c.programs(settings.Peers))-1 {
			t.Errorf("ratio %v of peers %v: want all", r.Ratio, r.Peers)
		}
	}
}

// withPeers returns settings in which the peers run, each on one core. A test is skipped where they are not installed or time is short.
func withPeers(t *testing.T) Settings {
	t.Helper()
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	python, ok := l.PeersPython()
	if !ok {
		t.Skip("the peers' environment is not installed; `go run ./pkg/cmd/raretask bench --peers` installs it")
	}
	if testing.Short() {
		t.Skip("starts Python processes that compile")
	}
	return Settings{Threads: 1, Python: python, Environment: l.PeersEnvironment()}
}

func TestPeerThatDoesNotStartIsRecorded(t *testing.T) {
	settings := Settings{Cases: []Case{small(t, true, 3)}, Rounds: 2, Python: filepath.Join(t.TempDir(), "python"), Peers: []string{"jax"}}
	report, err := Run(context.Background(), backendtest.XLA(t), settings)
	if err != nil {
		t.Fatal(err)
	}
	c := report.Cases[0]
	if c.Programs[1].Error == "" || c.Ratio != nil || c.Ours <= 0 {
		t.Errorf("%+v: want the error of jax, no ratio, and our own numbers", c)
	}
}

// The benchmark measures what trains and knows nothing of the room for notebooks.
func TestDoesntImportTheLab(t *testing.T) {
	own, err := build.ImportDir(".", 0)
	if err != nil || slices.Contains(own.Imports, "raretask/pkg/lab") || len(own.Imports) == 0 {
		t.Errorf("imports %q, %v", own.Imports, err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	_, err := Run(ctx, backendtest.XLA(t), Settings{Cases: []Case{small(t, true, 3)}, Rounds: 2})
	if err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestCasesAreTheIssues(t *testing.T) {
	cases, err := Cases(7)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		runs, seeds int
		shared      bool
	}{"fig2": {32, 4, true}, "fig2-streams": {32, 4, false}, "fig2-quick": {24, 3, false},
		"parity": {24, 4, true}, "parity-streams": {24, 4, false}, "language": {20, 5, true}, "decoder": {1, 1, true}}
	for _, c := range cases {
		w, ok := want[c.Name]
		if !ok {
			continue
		}
		delete(want, c.Name)
		if len(c.Runs) != w.runs || c.seeds() != w.seeds || c.Shared != w.shared || c.Timed != 7 {
			t.Errorf("%s: %d runs, %d seeds, shared %v, %d steps; want %+v, 7", c.Name, len(c.Runs), c.seeds(), c.Shared, c.Timed, w)
		}
		if err := trainable(c.Runs[0]); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		first, second := c.at(0), c.at(1)
		for i := range first {
			if first[i].Train.DataSeed() == second[i].Train.DataSeed() || first[i].Train.Seed != c.Runs[i].Train.Seed {
				t.Errorf("%s: run %d: want fresh data in every round and the same initial values", c.Name, i)
			}
		}
		if n := len(spec.Stacks(first)); n != len(spec.Stacks(c.Runs)) {
			t.Errorf("%s: %d stacks in a round; want those of the sweep", c.Name, n)
		}
	}
	if len(want) > 0 {
		t.Errorf("no case %v", want)
	}
}

// One run of width N needs 4BDN + 6BON operations; B = 64, D = 16, O = 4, N = 4 and 8, three of each.
func TestCostCountsProducts(t *testing.T) {
	products, traffic := cost(small(t, true, 2))
	want := 3 * 64 * (4 + 8) * (4*16 + 6*4) / 1e9
	if math.Abs(products-want) > 1e-12 {
		t.Errorf("%g GFLOP, want %g", products, want)
	}
	_, streams := cost(small(t, false, 2))
	if extra := 2 * 4 * 4 * 64 * 16 / 1e6; math.Abs(streams-traffic-extra) > 1e-12 {
		t.Errorf("%g MB with three streams and %g with one: want %g more", streams, traffic, extra)
	}
}

// Two widths and two seeds. At width two theirs is off by .1 of 1; a run's loss varies over rounds by ±.01, a variance of .0002.
func TestCompareInStandardErrors(t *testing.T) {
	runs := []spec.Run{spec.Default(), spec.Default(), spec.Default(), spec.Default()}
	runs[0].Net.Width, runs[1].Net.Width = 2, 2
	mine := []outcome{{loss: []float64{2, 3, 1.01, 1.01}}, {loss: []float64{2, 3, .99, .99}}}
	theirs := []outcome{{loss: []float64{2, 3, 1.11, 1.11}}, {loss: []float64{2, 3, 1.09, 1.09}}}
	for shared, independent := range map[bool]float64{true: 2, false: 4} {
		mean, off, noise := compare(Case{Runs: runs, Shared: shared}, mine, theirs)
		want := .1 / math.Sqrt(2*.0002/independent)
		if math.Abs(mean-1.8) > 1e-12 || math.Abs(off-.1) > 1e-12 || math.Abs(noise-want) > 1e-9 {
			t.Errorf("shared %v: mean %g, off %g, %g standard errors; want 1.8, .1, %g", shared, mean, off, noise, want)
		}
	}
}

func TestWeightsThroughFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights")
	want := [][][]float32{{{1, 2, 3}, {4}}, {{5, 6}, {float32(math.Inf(1))}}}
	if err := writeWeights(path, want); err != nil {
		t.Fatal(err)
	}
	sizes := [][]int{{3, 1}, {2, 1}}
	got, err := readWeights(path, sizes)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for _, wrong := range [][][]int{{{3, 1}, {2, 2}}, {{3, 1}, {2}}} {
		if _, err := readWeights(path, wrong); err == nil {
			t.Errorf("sizes %v: no error for a file of another size", wrong)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct{ values, want []float64 }{{[]float64{3, 1, 2}, []float64{2}}, {[]float64{4, 1, 2, 3}, []float64{2.5}}} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want[0] || !slices.Equal(before, c.values) {
			t.Errorf("median %v = %g, want %g", before, got, c.want[0])
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

// The committed pins name no index and pin every package by hash.
func TestPinsHaveHashes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("peers", "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	pins := 0
	for entry := range strings.SplitSeq(strings.ReplaceAll(string(text), "\\\n", " "), "\n") {
		if strings.HasPrefix(entry, "#") || entry == "" {
			continue
		}
		pins++
		if !strings.Contains(entry, "==") || !strings.Contains(entry, "--hash=sha256:") || strings.Contains(entry, "://") {
			t.Errorf("%.80q: want name==version and its hashes", entry)
		}
	}
	if pins == 0 {
		t.Error("no pins")
	}
}

// The tables in the README are those of the records.
func TestReadmeShowsTheRecords(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	records, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(records) == 0 {
		t.Fatalf("no records: %v", err)
	}
	for _, path := range records {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var record Report
		if err := json.Unmarshal(text, &record); err != nil {
			t.Fatal(err)
		}
		if len(record.Cases) == 0 || !strings.Contains(string(readme), record.Markdown()) {
			t.Errorf("%s: want these tables in README.md:\n%s", path, record.Markdown())
		}
	}
}
