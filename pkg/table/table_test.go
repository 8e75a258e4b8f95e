package table_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"raretask/pkg/table"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadsTextAndParquetAlike(t *testing.T) {
	type row struct {
		N    int64    `parquet:"N"`
		Task string   `parquet:"task"`
		Loss *float64 `parquet:"loss,optional"`
	}
	half := .5
	path := filepath.Join(t.TempDir(), "x.parquet")
	if err := parquet.WriteFile(path, []row{{7, "a", &half}, {8, "b, c", nil}}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		path,
		write(t, "x.csv", "\ufeffN,task,loss\r\n7,a,0.5\r\n\r\n8,\"b, c\",\r\n"),
		write(t, "x.tsv", "N\ttask\tloss\n7\ta\t0.5\n8\tb, c\t\n"),
	} {
		got, err := table.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Columns, []string{"N", "task", "loss"}) || got.Rows != 2 {
			t.Errorf("%s: columns %q, %d rows", path, got.Columns, got.Rows)
		}
		n, err := got.Numbers("N")
		if err != nil || !slices.Equal(n, []float64{7, 8}) {
			t.Errorf("%s: N %v, %v", path, n, err)
		}
		if tasks, _ := got.Text("task"); !slices.Equal(tasks, []string{"a", "b, c"}) {
			t.Errorf("%s: tasks %q", path, tasks)
		}
		if _, err := got.Numbers("loss"); err == nil || !strings.Contains(err.Error(), got.Where(1)) || !strings.Contains(err.Error(), `""`) {
			t.Errorf("%s: a number that is missing: %v", path, err)
		}
		groups, err := got.Groups([]string{"task"})
		if err != nil || len(groups) != 2 || !slices.Equal(groups[1].Rows, []int{1}) || groups[1].Cells[0] != "b, c" {
			t.Errorf("%s: groups %+v, %v", path, groups, err)
		}
	}
}

func TestSaysWhatIsWrong(t *testing.T) {
	cut, err := os.ReadFile(write(t, "cut.parquet", "PAR1\x00\x01\x02"))
	if err != nil {
		t.Fatal(err)
	}
	for want, path := range map[string]string{
		"empty":                     write(t, "a.csv", ""),
		`two columns are named "N"`: write(t, "b.csv", "N,N\n1,2\n"),
		"column 2 of the header":    write(t, "c.csv", "N,,loss\n1,2,3\n"),
		"line 3":                    write(t, "d.csv", "N,loss\n1,2\n1,2,3\n"),
		"quote":                     write(t, "e.csv", "N,loss\n1,\"2\n"),
		"no such file":              filepath.Join(t.TempDir(), "nothing.csv"),
		"cut.parquet":               write(t, "cut.parquet", string(cut)),
	} {
		if _, err := table.Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	ok, err := table.Read(write(t, "f.csv", "N,loss\n\n1,2\n\n2,inf\n3,x\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ok.Numbers("loss"); err == nil || !strings.Contains(err.Error(), "line 5") {
		t.Errorf("an infinite loss: %v", err)
	}
	if _, err := ok.Numbers("tokens"); err == nil || !strings.Contains(err.Error(), "there are N, loss") {
		t.Errorf("no such column: %v", err)
	}
}
