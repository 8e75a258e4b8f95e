package lab_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raretask/pkg/lab"
)

// complaints are the errors in the browser's console since it was last asked.
func (b browser) complaints() []string {
	b.t.Helper()
	var entries []struct{ Level, Message string }
	if err := b.call(http.MethodPost, "/se/log", map[string]any{"type": "browser"}, &entries); err != nil {
		b.t.Fatal(err)
	}
	var said []string
	for _, e := range entries {
		if e.Level == "SEVERE" {
			said = append(said, e.Message)
		}
	}
	return said
}

// Opened from disk, the gallery of the committed notebooks draws every chart, each answers to the mouse, formulas are formulas, nothing is
// fetched and the console says no error.
func TestGalleryFromDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a browser")
	}
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Setup(t.Context(), nil, lab.Gopls); err != nil {
		t.Fatal(err)
	}
	paths, err := l.Notebooks()
	if err != nil {
		t.Fatal(err)
	}
	job := lab.Job{Notebooks: paths, Scale: "quick", Out: t.TempDir()}
	if err := os.Mkdir(filepath.Join(job.Out, "figures"), 0o755); err != nil {
		t.Fatal(err)
	}
	charts := map[string]int{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(job.Out, filepath.Base(path)), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		charts[filepath.Base(path)] = strings.Count(string(content), `"application/vnd.vegalite.v5+json": {`)
	}
	index, err := l.WriteGallery(t.Context(), job, nil, lab.Colophon{Version: "raretask", Date: "today",
		Verdicts: []lab.Verdict{{Statement: "All holds", Source: "Sec. 1", Verdict: "supported"}}})
	if err != nil {
		t.Fatal(err)
	}
	b := openBrowser(t)
	show := func(address string) {
		if err := b.call(http.MethodPost, "/url", map[string]any{"url": address}, nil); err != nil {
			t.Fatal(err)
		}
	}
	quiet := func() {
		b.t.Helper()
		if said := b.complaints(); len(said) > 0 {
			b.t.Errorf("the console says %q", said)
		}
		fetched := b.script(`return performance.getEntriesByType("resource").map(e => e.name).filter(n => !/^(file|data):/.test(n)).join(" ")`)
		if fetched != "" {
			b.t.Errorf("fetched: %s", fetched)
		}
	}
	show("file://" + index)
	if text := b.script("return document.body.innerText"); !strings.Contains(text, "All holds") || !strings.Contains(text, "today") {
		t.Errorf("the first page lacks the claims or the date:\n%s", text)
	}
	quiet()
	for name, want := range charts {
		t.Run(name, func(t *testing.T) {
			b.t = t
			show("file://" + filepath.Join(job.Out, strings.TrimSuffix(name, ".ipynb")+".html"))
			b.until("drawn charts", `[...document.querySelectorAll(".chart")].every(e => e.querySelector("canvas"))`)
			if got := b.script(`return document.querySelectorAll(".chart canvas").length`); got != fmt.Sprint(want) {
				t.Errorf("%s charts; the notebook has %d", got, want)
			}
			for i := range want {
				if told := b.script("return " + told(fmt.Sprintf(`document.querySelectorAll(".chart canvas")[%d]`, i), `/(\S)/`)); told == "" {
					t.Errorf("chart %d doesn't answer to the mouse", i)
				}
			}
			raw := `return (document.body.innerText.match(/\$[^$\n]*[\\^_][^$\n]*\$/) || [""])[0]` // formulas as text
			if formula := b.script(raw); formula != "" {
				t.Errorf("the page shows %s", formula)
			}
			quiet()
			b.picture("gallery-" + name)
		})
	}
}
