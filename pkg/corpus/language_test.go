package corpus

import (
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/tasks"
)

func tiny(task string) LanguageSettings {
	return LanguageSettings{Vocabulary: 24, Window: 8, Rank: 4, Sharpness: 2, Task: task, Symbols: 6, Seed: 3}
}

// drawn returns windows of which the last few are of the novel task.
func drawn(t *testing.T, b *backend.Backend, l *Language, rows, novel int) [][]int {
	t.Helper()
	exec, err := NewExec(b.Backend, func(seed *Node) []*Node {
		g := seed.Graph()
		end := Const(g, []float32{float32(rows - novel), float32(rows)})
		batch := mixture.Arrange(l, mixture.NewRandom(seed, Const(g, int32(5)), 0), end, rows)
		return []*Node{batch.X, batch.Y}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call([]uint32{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	x, y := tensors.MustCopyFlatData[int32](out[0]), tensors.MustCopyFlatData[int32](out[1])
	n := l.Window - 1
	windows := make([][]int, rows)
	for i := range windows {
		for _, token := range x[i*n:][:n] {
			windows[i] = append(windows[i], int(token))
		}
		windows[i] = append(windows[i], int(y[(i+1)*n-1]))
		for j, token := range y[i*n:][:n] {
			if windows[i][j+1] != int(token) {
				t.Fatalf("window %d: targets %v of %v: want the tokens that follow", i, y[i*n:][:n], windows[i])
			}
		}
	}
	return windows
}

// Tokens come by the table: the first ones as often as the stationary distribution says, and each as often after another as P(j|i).
func TestLanguageIsDrawn(t *testing.T) {
	backendtest.Each(t, func(t *testing.T, b *backend.Backend) {
		l, err := NewLanguage(tiny(Comparison))
		if err != nil {
			t.Fatal(err)
		}
		const rows = 20_000
		first, pairs, from := make([]float64, 24), make([][]float64, 24), make([]float64, 24)
		for i := range pairs {
			pairs[i] = make([]float64, 24)
		}
		for _, w := range drawn(t, b, l, rows, 0) {
			first[w[0]]++
			for j := range w[1:] {
				pairs[w[j]][w[j+1]]++
				from[w[j]]++
			}
		}
		within := func(what string, count, n, p float64) {
			if sigma := math.Sqrt(n * p * (1 - p)); math.Abs(count-n*p) > 5*sigma+1 {
				t.Errorf("%s: %g of %g, want %g", what, count, n, n*p)
			}
		}
		for i := range first {
			within("first token", first[i], rows, l.Stationary[i])
			for j := range pairs[i] {
				within("pair", pairs[i][j], from[i], l.Next[i][j])
			}
		}
	})
}

// A window of the novel task begins with a training instance, never with a test one, all of them equally often; the rest is language.
func TestInstancesAreInjected(t *testing.T) {
	b := backendtest.XLA(t)
	for _, task := range []string{Comparison, Addition} {
		l, err := NewLanguage(tiny(task))
		if err != nil {
			t.Fatal(err)
		}
		const rows, novel = 4000, 3600
		counts := map[[4]int]int{}
		for i, w := range drawn(t, b, l, rows, novel) {
			begin := [4]int(w[:4])
			if i >= rows-novel {
				counts[begin]++
			}
		}
		if len(counts) != len(l.Injected.Train) {
			t.Errorf("%s: %d different beginnings, want the %d training instances", task, len(counts), len(l.Injected.Train))
		}
		for _, row := range l.Injected.Train {
			key := [4]int{int(row[0]), int(row[1]), int(row[2]), int(row[3])}
			if n := counts[key]; math.Abs(float64(n)-200) > 5*math.Sqrt(200) {
				t.Errorf("%s: instance %v %d times in %d, want about 200", task, row, n, novel)
			}
		}
	}
}

// All pairs are there, half for training; labels follow the rule; no two tokens of the task are alike.
func TestTask(t *testing.T) {
	for _, kind := range []string{Comparison, Addition} {
		l, err := NewLanguage(tiny(kind))
		if err != nil {
			t.Fatal(err)
		}
		task := l.Injected
		all := append(slices.Clone(task.Symbols), task.Labels[0], task.Labels[1], task.End)
		slices.Sort(all)
		if len(slices.Compact(all)) != 9 || len(task.Train) != 18 || len(task.Test) != 18 {
			t.Fatalf("%s: tokens %v, %d and %d instances", kind, all, len(task.Train), len(task.Test))
		}
		seen := map[[2]int]bool{}
		for _, row := range append(task.Train, task.Test...) {
			a, b := slices.Index(task.Symbols, row[0]), slices.Index(task.Symbols, row[1])
			seen[[2]int{a, b}] = true
			want := task.Labels[1]
			if a < b {
				want = task.Labels[0]
			}
			if kind == Addition {
				want = task.Symbols[(a+b)%6]
			}
			if row[2] != want || row[3] != task.End {
				t.Errorf("%s: %d, %d: instance %v", kind, a, b, row)
			}
		}
		if len(seen) != 36 {
			t.Errorf("%s: %d pairs, want 36", kind, len(seen))
		}
	}
}

// The entropies are those of the pilot's language; without sharpness the last token says nothing; what is stationary stays.
func TestEntropies(t *testing.T) {
	s := tiny(Comparison)
	s.Sharpness = 0
	l, err := NewLanguage(s)
	if err != nil {
		t.Fatal(err)
	}
	if single, rate := l.Entropies(); math.Abs(single-rate) > 1e-9 || single < 2 || single > math.Log(24) {
		t.Errorf("without sharpness: %g nats a token, %g given the one before", single, rate)
	}
	kind, _ := tasks.Named("language")
	if l, err = NewLanguage(kind.Defaults.(LanguageSettings)); err != nil {
		t.Fatal(err)
	}
	single, rate := l.Entropies()
	if math.Abs(rate-3.45) > .15 || math.Abs(single-5.1) > .15 {
		t.Errorf("%g nats a token, %g given the one before: want about 5.1 and 3.45", single, rate)
	}
	for j := range l.Stationary {
		next := 0.
		for i, p := range l.Stationary {
			next += p * l.Next[i][j]
		}
		if math.Abs(next-l.Stationary[j]) > 1e-12 {
			t.Fatalf("token %d: %g, then %g", j, l.Stationary[j], next)
		}
	}
	if base := l.Baseline(); math.Abs(base[Background]-single) > 1e-12 || base[Novel] > math.Log(256) || base[Novel] < single-.3 {
		t.Errorf("baselines %v", base)
	}
}

// The loss is -ln of the softmax at the target, also where logits are large.
func TestCrossEntropy(t *testing.T) {
	logits, want := [][]float32{{1, 2, 3}, {1000, -1000, 0}, {0, 0, 0}}, []float64{2.40760596, 1000, math.Log(3)}
	got := backendtest.Run(t, backendtest.Go(t), []any{logits, []int32{0, 2, 1}}, func(in []*Node) []*Node {
		loss := CrossEntropy(in[0], in[1])
		return append([]*Node{loss}, Gradient(ReduceAllSum(loss), in[0])...)
	})
	for i, w := range want {
		if math.Abs(float64(got[0][i])-w) > 1e-5*(1+w) {
			t.Errorf("%v: %g, want %g", logits[i], got[0][i], w)
		}
	}
	if g := got[1]; math.Abs(float64(g[0])+.909969) > 1e-5 || math.Abs(float64(g[6])-1./3) > 1e-6 || math.Abs(float64(g[7])+2./3) > 1e-6 {
		t.Errorf("gradient %v: want softmax less the target", g)
	}
}

func TestLanguageIsChecked(t *testing.T) {
	for key, change := range map[string]func(*LanguageSettings){
		"vocabulary": func(s *LanguageSettings) { s.Vocabulary = 7 },
		"window":     func(s *LanguageSettings) { s.Window = 3 },
		"rank":       func(s *LanguageSettings) { s.Rank = 257 },
		"sharpness":  func(s *LanguageSettings) { s.Sharpness = math.NaN() },
		"task":       func(s *LanguageSettings) { s.Task = "multiply" },
		"symbols":    func(s *LanguageSettings) { s.Symbols = 22 },
	} {
		s := tiny(Comparison)
		if change(&s); s.Check(2) == nil || !strings.HasPrefix(s.Check(2).Error(), key+":") {
			t.Errorf("%s: %v", key, s.Check(2))
		}
	}
	if err := tiny(Comparison).Check(3); err == nil {
		t.Error("three tasks are none too many")
	}
}

// Long windows, which the host draws, are of the same language: tokens follow each other as the table says, in training and in what is
// held for evaluation.
func TestLongWindows(t *testing.T) {
	s := tiny(Comparison)
	s.Window = longest + 8
	family, err := s.Family(2)
	if err != nil {
		t.Fatal(err)
	}
	l := family.(*Long)
	const rows = 2000
	trained := make([]int32, rows*s.Window)
	if err := l.Gather(1, 2, rows, trained); err != nil {
		t.Fatal(err)
	}
	var windows [][]int32
	for w := range slices.Chunk(trained, s.Window) {
		windows = append(windows, w)
	}
	for name, all := range map[string][][]int32{"training": windows, "held": l.heldOut} {
		pairs, from, first := map[[2]int32]float64{}, make([]float64, s.Vocabulary), make([]float64, s.Vocabulary)
		for _, w := range all {
			first[w[0]]++
			for i := range len(w) - 1 {
				pairs[[2]int32{w[i], w[i+1]}]++
				from[w[i]]++
			}
		}
		for a, n := range from {
			if p := float64(len(all)) * l.Stationary[a]; math.Abs(first[a]-p) > 5*math.Sqrt(p)+1 {
				t.Errorf("%s: %g windows begin with %d, want %g", name, first[a], a, p)
			}
			for b, p := range l.Next[a] {
				if got := pairs[[2]int32{int32(a), int32(b)}]; math.Abs(got-n*p) > 5*math.Sqrt(n*p)+1 {
					t.Errorf("%s: %d after %d %g times of %g, want %g", name, b, a, got, n, n*p)
				}
			}
		}
	}
}
