package results

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/parquet-go/parquet-go"

	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/pkg/train"
	"raretask/tasks"
)

// families is results of two families in two files.
func families(t *testing.T) []*File {
	store := &Store{Dir: t.TempDir()}
	a := written(t, store)
	run := small()
	run.Mixture.Family, run.Mixture.Tasks, run.Mixture.Settings = "parity", 3, tasks.ParitySettings{Bits: 8, Size: 3, Seed: 4e9}
	run.Net.Kind, run.Net.Settings = "mlp", net.MLPSettings{Depth: 2}
	run.Train.Rate = 0.30000000000000004
	b := &File{Stack: spec.Stack{run}, Steps: []int{10}, Backend: id, Columns: []train.Column{
		{Name: "loss_sampled", About: "of a task", PerTask: true}, {Name: "cosine", About: "another", PerTask: true}}}
	r := NewRun(run, b.Steps, map[string][]float64{"loss_sampled": {.1, 1e-30, math.NaN()}, "cosine": {-1, 0, 1. / 3}})
	b, err := store.Write(b, Runs{r})
	if err != nil {
		t.Fatal(err)
	}
	return []*File{a, b}
}

// exported returns an export as CSV, and as Parquet in the same form.
func exported(t *testing.T, long bool, files []*File) (text, table [][]string, schema *parquet.Schema) {
	t.Helper()
	var asText, asParquet bytes.Buffer
	rows, err := Export(&asText, "x", false, long, files)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = csv.NewReader(&asText).ReadAll(); err != nil || len(text) != rows+1 {
		t.Fatalf("%d lines for %d rows: %v", len(text), rows, err)
	}
	if again, err := Export(&asParquet, "x", true, long, files); err != nil || again != rows {
		t.Fatalf("%d rows of Parquet for %d of CSV: %v", again, rows, err)
	}
	file, err := openParquet(asParquet.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range file.Schema().Columns() {
		names = append(names, c[0])
	}
	table = [][]string{names}
	reader := parquet.NewReader(file)
	buffer := make([]parquet.Row, 1)
	for {
		n, err := reader.ReadRows(buffer)
		if n == 0 {
			break
		}
		line := make([]string, len(names))
		for _, v := range buffer[0] {
			line[v.Column()] = map[bool]string{false: v.String()}[v.IsNull()]
			if v.Kind() == parquet.Float && !v.IsNull() {
				line[v.Column()] = strconv.FormatFloat(float64(v.Float()), 'g', -1, 32)
			} else if v.Kind() == parquet.Double && !v.IsNull() {
				line[v.Column()] = strconv.FormatFloat(v.Double(), 'g', -1, 64)
			}
		}
		table = append(table, line)
		if err != nil {
			break
		}
	}
	return text, table, file.Schema()
}

func same(t *testing.T, text, table [][]string) {
	t.Helper()
	if len(text) != len(table) {
		t.Fatalf("%d lines of CSV, %d of Parquet", len(text), len(table))
	}
	for i := range text {
		if !slices.Equal(text[i], table[i]) {
			t.Fatalf("line %d: CSV\n%q, Parquet\n%q", i, text[i], table[i])
		}
	}
}

// at returns the numbers of a line by column.
func at(t *testing.T, table [][]string, line int, columns ...string) string {
	t.Helper()
	var values []string
	for _, c := range columns {
		i := slices.Index(table[0], c)
		if i < 0 {
			t.Fatalf("no column %s in %q", c, table[0])
		}
		values = append(values, table[line][i])
	}
	return fmt.Sprintf("%q", values)
}

func TestExportWide(t *testing.T) {
	files := families(t)
	text, table, schema := exported(t, false, files)
	same(t, text, table)
	if len(text) != 1+2*2*2+3 {
		t.Errorf("%d lines", len(text))
	}
	// Every setting of every family has a column under its key; of an array each number one.
	for _, f := range files {
		for _, s := range f.Stack[0].Settings() {
			for _, p := range parts(s) {
				if !slices.Contains(text[0], p.key) {
					t.Errorf("no column %s", p.key)
				}
			}
		}
	}
	for column, want := range map[string]parquet.Kind{
		"run": parquet.ByteArray, "net.width": parquet.Int64, "train.rate": parquet.Double, "train.betas.2": parquet.Double,
		"mixture.alpha.1": parquet.Double, "mixture.family": parquet.ByteArray, "train.seed": parquet.Int64, "mixture.seed": parquet.Int64,
		"diverged": parquet.Int64, "loss_sampled": parquet.Float, "samples": parquet.Int64, "frequency": parquet.Double,
	} {
		if leaf, ok := schema.Lookup(column); !ok || leaf.Node.Type().Kind() != want {
			t.Errorf("column %s: there %t; want %s", column, ok, want)
		}
	}
	for _, c := range []struct {
		line    int
		want    string
		columns []string
	}{
		{1, `["regression" "4" "2" "" "" "" "0" "1" "" "0.5" ""]`,
			[]string{"mixture.family", "mixture.dim", "mixture.alpha.2", "mixture.bits", "mixture.seed", "diverged",
				"step", "task", "train_loss", "loss_sampled", "cosine"}},
		{2, `["" "+Inf" "0.9" "0.999"]`, []string{"train_loss", "loss_sampled", "train.betas.1", "train.betas.2"}},
		{3, `["10" "2560" "0.25" "0.125"]`, []string{"step", "samples", "train_loss", "loss_sampled"}},
		{4, `["0.25" ""]`, []string{"train_loss", "loss_sampled"}},
		{5, `["3" "7"]`, []string{"net.width", "diverged"}},
		{9, `["parity" "" "" "8" "4000000000" "2" "0.30000000000000004" "" "0.1" "-1"]`,
			[]string{"mixture.family", "mixture.dim", "mixture.alpha.1", "mixture.bits", "mixture.seed", "net.depth",
				"train.rate", "train_loss", "loss_sampled", "cosine"}},
		{11, `["3" "" "0.33333334"]`, []string{"task", "loss_sampled", "cosine"}},
	} {
		if got := at(t, text, c.line, c.columns...); got != c.want {
			t.Errorf("line %d, %q: %s; want %s", c.line, c.columns, got, c.want)
		}
	}
}

// Long has a row for each metric; one of the run's own stands once for each step, without a task.
func TestExportLong(t *testing.T) {
	text, table, _ := exported(t, true, families(t))
	same(t, text, table)
	if len(text) != 1+2*2*(1+2)+2*3 {
		t.Errorf("%d lines", len(text))
	}
	columns := []string{"net.width", "step", "task", "metric", "value"}
	for line, want := range map[int]string{
		1: `["2" "0" "" "train_loss" ""]`, 2: `["2" "0" "1" "loss_sampled" "0.5"]`, 3: `["2" "0" "2" "loss_sampled" "+Inf"]`,
		4: `["2" "10" "" "train_loss" "0.25"]`, 10: `["3" "10" "" "train_loss" "1.25"]`, 14: `["2" "10" "1" "cosine" "-1"]`,
	} {
		if got := at(t, text, line, columns...); got != want {
			t.Errorf("line %d: %s; want %s", line, got, want)
		}
	}
	if got := at(t, text, 1, "frequency"); got != `[""]` {
		t.Errorf("a metric of the run has the frequency %s", got)
	}
}

type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func TestExportSaysWhatFailed(t *testing.T) {
	files := families(t)
	for _, asParquet := range []bool{false, true} {
		if _, err := Export(&broken{100}, "x", asParquet, false, files); err == nil {
			t.Errorf("Parquet %t: nothing said of a full disk", asParquet)
		}
	}
}
