package cell

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"raretask/pkg/backend"
	"raretask/pkg/lab"
)

func openLab(t *testing.T) (*lab.Lab, []string) {
	t.Helper()
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	notebooks, err := l.Notebooks()
	if err != nil {
		t.Fatal(err)
	}
	if len(notebooks) == 0 {
		t.Fatal("no notebooks")
	}
	return l, notebooks
}

// Every notebook runs from its first cell to its last at the smallest scale, in the real kernel, training what it needs,
// and every figure its tags promise is drawn, each as a picture in two forms, a table and a chart.
func TestNotebooksRun(t *testing.T) {
	if testing.Short() {
		t.Skip("executes every notebook")
	}
	l, notebooks := openLab(t)
	if err := l.Setup(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RARETASK_RESULTS", t.TempDir())
	for _, path := range notebooks {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel() // a kernel compiles on one core
			runs(t, l, path)
		})
	}
}

func runs(t *testing.T, l *lab.Lab, path string) {
	out := t.TempDir()
	figures, err := l.Execute(context.Background(), lab.Job{Notebooks: []string{path}, Scale: "smoke", Out: out}, func(e lab.Event) {
		if e.Done {
			t.Logf("%s: %.1f s", e.Text, e.Seconds)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]bool{}
	for _, f := range figures {
		drawn[f.Name] = true
		for _, suffix := range []string{".png", ".svg", ".csv", ".vl.json"} {
			if info, err := os.Stat(filepath.Join(out, "figures", f.Name+suffix)); err != nil || info.Size() == 0 {
				t.Errorf("%s%s: %v", f.Name, suffix, err)
			}
		}
	}
	n := read(t, filepath.Join(out, filepath.Base(path)))
	checkCharts(t, path, n)
	for _, c := range n.Cells {
		for _, tag := range c.Metadata.Tags {
			if tag != "setup" && !drawn[tag] {
				t.Errorf("%s promises %s, which was not drawn", filepath.Base(path), tag)
			}
		}
	}
}

type notebook struct {
	Cells []struct {
		Type     string `json:"cell_type"`
		Source   []string
		Metadata struct{ Tags []string }
		Outputs  []struct {
			Type string `json:"output_type"`
			Data map[string]any
		}
	}
}

// checkCharts checks that each cell shows as many charts as its code has figures; GoNB has dropped large ones.
func checkCharts(t *testing.T, path string, n notebook) {
	t.Helper()
	for i, c := range n.Cells {
		charts := 0
		for _, o := range c.Outputs {
			if o.Data["application/vnd.vegalite.v5+json"] != nil {
				charts++
			}
		}
		source := strings.Join(c.Source, "")
		if want := strings.Count(source, "cell.Show(") + strings.Count(source, "cell.PaperScale("); c.Type == "code" && charts != want {
			t.Errorf("%s, cell %d shows %d charts; its code %d", filepath.Base(path), i, charts, want)
		}
	}
}

func read(t *testing.T, path string) notebook {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var n notebook
	if err := json.Unmarshal(text, &n); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return n
}

// What is committed stays small, as every refresh adds to the history: no notebook above 1.5 MB, all of notebooks at most 12 MB.
func TestNotebooksFit(t *testing.T) {
	_, notebooks := openLab(t)
	root, err := backend.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range notebooks {
		if info, err := os.Stat(path); err != nil || info.Size() > 1.5e6 {
			t.Errorf("%s: %d bytes: want at most 1,500,000 (%v)", filepath.Base(path), info.Size(), err)
		}
	}
	listed, err := exec.Command("git", "-C", root, "ls-files", "-z", "notebooks").Output()
	if err != nil {
		t.Skipf("not in a clone: %v", err)
	}
	total := int64(0)
	for name := range strings.SplitSeq(strings.Trim(string(listed), "\x00"), "\x00") {
		if info, err := os.Stat(filepath.Join(root, name)); err == nil {
			total += info.Size()
		}
	}
	if total == 0 || total > 12e6 {
		t.Errorf("notebooks holds %d bytes: want at most 12,000,000, of what figures and tables need", total)
	}
}

// What is committed shows pictures and interactive charts, no errors, and nothing of the machine it ran on.
func TestCommittedNotebooks(t *testing.T) {
	_, notebooks := openLab(t)
	// A path of a machine: a folder that only absolute paths have, after a quote, a space or an opening bracket.
	private := regexp.MustCompile(`["' (\\](/home/|/root/|/Users/|/work/|/tmp/|C:\\)[^"' ]*`)
	for _, path := range notebooks {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if found := private.Find(text); found != nil {
			t.Errorf("%s holds a path of one machine: %s", filepath.Base(path), found)
		}
		n := read(t, path)
		checkCharts(t, path, n)
		pictures := 0
		for i, c := range n.Cells {
			for _, o := range c.Outputs {
				if o.Type == "error" {
					t.Errorf("%s: cell %d ended in an error", filepath.Base(path), i)
				}
				if o.Data["image/png"] != nil {
					pictures++
					if o.Data["application/vnd.vegalite.v5+json"] == nil {
						t.Errorf("%s: cell %d has a picture and no chart", filepath.Base(path), i)
					}
				}
			}
		}
		if pictures == 0 {
			t.Errorf("%s shows no picture", filepath.Base(path))
		}
	}
}
