package corpus

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"math/rand/v2"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/backend/backendtest"
	"raretask/pkg/mixture"
	"raretask/tasks"
)

// shards writes two files of tokens in which every token says where it stands: 0 … 299 and 300 … 599.
func shards(t *testing.T, kind string) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 2 {
		var data []byte
		for token := 300 * i; token < 300*(i+1); token++ {
			if kind == "uint16" {
				data = binary.LittleEndian.AppendUint16(data, uint16(token))
			} else {
				data = binary.LittleEndian.AppendUint32(data, uint32(token))
			}
		}
		if err := os.WriteFile(filepath.Join(dir, []string{"a.npy", "b.npy"}[i]), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "*.npy")
}

func counting(t *testing.T, kind string) TextSettings {
	return TextSettings{Source: shards(t, kind), Type: kind, Vocabulary: 600, Window: 7, Order: Shuffled, Held: .1, Task: Comparison,
		Symbols: 10, Seed: 1}
}

// Windows for training are whole pieces of one file, all of them, none of what is held out; those for evaluation are of that alone. A
// step's are a function of the seed and the step.
func TestTextIsSplit(t *testing.T) {
	for _, kind := range []string{"uint16", "uint32"} {
		s := counting(t, kind)
		if err := s.Check(2); err != nil {
			t.Fatal(err)
		}
		text, err := NewText(s)
		if err != nil {
			t.Fatal(err)
		}
		held := func(token int32) bool { return token%300 >= 270 }
		seen, rows := map[int32]bool{}, make([]int32, 8*7)
		for step := range 500 {
			if err := text.Gather(3, step, 8, rows); err != nil {
				t.Fatal(err)
			}
			for row := range slices.Chunk(rows, 7) {
				seen[row[0]] = true
				for i, token := range row {
					if token != row[0]+int32(i) || held(token) || token/300 != row[0]/300 {
						t.Fatalf("step %d: a window %v", step, row)
					}
				}
			}
		}
		if len(seen) != 2*(270-7+1) {
			t.Errorf("%d different windows, want all %d", len(seen), 2*264)
		}
		again := make([]int32, len(rows))
		if text.Gather(3, 499, 8, again); !slices.Equal(rows, again) {
			t.Error("a step has other windows the second time")
		}
		if text.Gather(4, 499, 8, again); slices.Equal(rows, again) {
			t.Error("another seed has the same windows")
		}
		for _, w := range slices.Concat(text.Windows(rand.New(rand.NewPCG(1, 1)), 100), text.HeldOut(rand.New(rand.NewPCG(1, 1)), 1, 100)) {
			for i, token := range w {
				if !held(token) || token != w[0]+int32(i) {
					t.Fatalf("held out: %v", w)
				}
			}
		}
	}
}

// In the given order windows follow one another, file by file, again and again for as many epochs as are allowed.
func TestGivenOrder(t *testing.T) {
	s := counting(t, "uint16")
	s.Order, s.Epochs = Given, 2
	text, err := NewText(s)
	if err != nil {
		t.Fatal(err)
	}
	var got []int32
	rows := make([]int32, 4*7)
	for step := range 40 {
		if err := text.Gather(uint32(step), step, 4, rows); err != nil {
			t.Fatal(err)
		}
		for row := range slices.Chunk(rows, 7) {
			got = append(got, row[0])
		}
	}
	for i, first := range got { // 38 whole windows of each file
		at := i % 76
		if want := int32(at/38*300 + at%38*7); first != want {
			t.Fatalf("window %d begins with %d, want %d", i, first, want)
		}
	}
	if err := text.Supplies(38, 4); err != nil {
		t.Error(err)
	}
	if err := text.Supplies(39, 4); err == nil || !strings.Contains(err.Error(), "152") {
		t.Errorf("error %v of more than two epochs", err)
	}
}

// In a graph windows are the rows that were gathered, with training instances at the beginning of those of the novel task; without rows
// they are held out.
func TestTextIsDrawn(t *testing.T) {
	b := backendtest.XLA(t)
	text, err := NewText(counting(t, "uint32"))
	if err != nil {
		t.Fatal(err)
	}
	const rows = 64
	windows := make([]int32, rows*7)
	if err := text.Gather(1, 1, rows, windows); err != nil {
		t.Fatal(err)
	}
	var table [][]int32
	for row := range slices.Chunk(windows, 7) {
		table = append(table, row)
	}
	out := backendtest.Run(t, b, []any{[]uint32{1, 0}, table}, func(in []*Node) (out []*Node) {
		for _, f := range []tasks.Family{text.With(in[1]), text} {
			end := Const(in[0].Graph(), []float32{48, rows})
			batch := mixture.Arrange(f, mixture.NewRandom(in[0], Const(in[0].Graph(), int32(2)), 0), end, rows)
			out = append(out, ConvertDType(batch.X, dtypes.Float32), ConvertDType(batch.Y, dtypes.Float32))
		}
		return out
	})
	for i := range rows {
		var window []int32
		for _, v := range append(slices.Clone(out[0][i*6:][:6]), out[1][i*6+5]) {
			window = append(window, int32(v))
		}
		for j, y := range out[1][i*6:][:6] {
			if int32(y) != window[j+1] {
				t.Fatalf("row %d: targets are not what follows", i)
			}
		}
		from := 0
		if i >= 48 {
			if from = 4; !slices.ContainsFunc(text.Injected.Train, func(row []int32) bool { return slices.Equal(row, window[:4]) }) {
				t.Errorf("row %d begins with %v, no training instance", i, window[:4])
			}
		}
		if !slices.Equal(window[from:], table[i][from:]) {
			t.Errorf("row %d: %v of %v", i, window, table[i])
		}
		if v := int32(out[2][i*6+5]); v%300 < 270 && i < 48 {
			t.Errorf("without rows: token %d was trained on", v)
		}
	}
}

// The Go tree has some ten million bytes of comments and a book of which one knows how it begins; letters of its text are the task's.
func TestGoTree(t *testing.T) {
	kind, _ := tasks.Named("text")
	text, err := NewText(kind.Defaults.(TextSettings))
	if err != nil {
		t.Fatal(err)
	}
	if d := text.Source.Domains; d[0].Len() < 5e6 || d[1].Len() < 4e5 || text.Source.Digest == "" {
		t.Errorf("%d bytes of comments, %d of a book, digest %q", d[0].Len(), d[1].Len(), text.Source.Digest)
	}
	begin := make([]int32, 2000)
	text.Source.Domains[1].Read(0, begin)
	var letters []byte
	for _, c := range begin {
		letters = append(letters, byte(c))
	}
	if !strings.Contains(string(letters), "OPTICKS") {
		t.Errorf("the book begins with %q", letters[:200])
	}
	if h := text.Baseline()[0]; math.Abs(h-3.5) > .3 {
		t.Errorf("%g nats a byte: want about 3.5", h)
	}
	for _, token := range append(slices.Clone(text.Injected.Symbols), text.Injected.End) {
		if text.Frequency[token] < 2e-4 {
			t.Errorf("token %d of the task comes at %g", token, text.Frequency[token])
		}
	}
}

func TestTextErrors(t *testing.T) {
	good := counting(t, "uint16")
	odd := filepath.Join(t.TempDir(), "odd.npy")
	if err := os.WriteFile(odd, make([]byte, 77), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*TextSettings){
		"no file is named so":           func(s *TextSettings) { s.Source = filepath.Join(t.TempDir(), "none*") },
		"odd.npy has 77 bytes":          func(s *TextSettings) { s.Source = odd },
		"type: int8":                    func(s *TextSettings) { s.Type = "int8" },
		"type: uint16: want bytes":      func(s *TextSettings) { s.Source = GoTree },
		"order":                         func(s *TextSettings) { s.Order = "random" },
		"epochs":                        func(s *TextSettings) { s.Epochs = 2 },
		"held":                          func(s *TextSettings) { s.Held = 0 },
		"symbols":                       func(s *TextSettings) { s.Symbols = 598 },
		"window: 3":                     func(s *TextSettings) { s.Window = 3 },
		"common":                        func(s *TextSettings) { s.Common = -1 },
		"below mixture.vocabulary (99)": func(s *TextSettings) { s.Vocabulary = 99 },
		"at least mixture.window (31)":  func(s *TextSettings) { s.Window = 31 },
		"mixture.common":                func(s *TextSettings) { s.Common = .5 },
	} {
		s := good
		change(&s)
		err := s.Check(2)
		if err == nil {
			_, err = NewText(s)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want %q", err, want)
		}
	}
	if good.Check(3) == nil {
		t.Error("three tasks are none too many")
	}
}
