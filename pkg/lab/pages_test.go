package lab_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// page is the open notebook's part that scrolls.
const page = `document.querySelector(".jp-MainAreaWidget:not(.lm-mod-hidden) .jp-WindowedPanel-outer")`

// faults are what doesn't fit of what is in view, a line each.
const faults = `
	const page = ` + page + `, faults = [];
	const of = e => " in cell " + e.closest(".jp-Cell").querySelector(".jp-InputPrompt").textContent;
	for (const e of page.querySelectorAll(".jp-RenderedVegaCommon5 canvas")) {
		const more = e.getBoundingClientRect().right - e.closest(".jp-Cell").getBoundingClientRect().right;
		if (more > 1) faults.push("a chart " + Math.round(more) + " pixels too wide" + of(e));
	}
	for (const e of page.querySelectorAll(".jp-CodeCell .cm-scroller")) {
		const more = e.scrollWidth - e.clientWidth;
		if (more > 1) faults.push("code " + more + " pixels too wide" + of(e));
	}
	for (const e of page.querySelectorAll('.jp-mod-error, [data-mime-type="application/vnd.jupyter.stderr"]'))
		faults.push("an error" + of(e) + ": " + e.textContent.slice(0, 80));
	return faults.join("\n")`

// charts names the charts in view that were not seen before, by numbers that it gives them.
const charts = `
	window.looks ??= 0;
	return [...` + page + `.querySelectorAll(".jp-RenderedVegaCommon5:not([data-look])")].map(e => e.dataset.look = ++window.looks).join(" ")`

// walk looks at the whole open notebook, a window after the other: everything fits and nothing is an error. It returns the number of
// charts, each of which is drawn and answers to the mouse. JupyterLab makes cells when they come into view, so the end is where there are
// as many as wanted, or there have been no more for a while.
func (b browser) walk(name string, want int) (drawn int) {
	b.t.Helper()
	b.script(`window.looks = 0; document.querySelectorAll("[data-look]").forEach(e => delete e.dataset.look); ` + page + `.scrollTo(0, 0)`)
	seen := map[string]bool{}
	moved := time.Now()
	for at, step := 0, 0; ; step++ {
		b.until("drawn charts", `[...`+page+`.querySelectorAll(".jp-RenderedVegaCommon5")].every(e => e.querySelector("canvas"))`)
		for _, fault := range strings.Split(b.script(faults), "\n") {
			if fault != "" && !seen[fault] {
				seen[fault] = true
				b.t.Error(fault)
			}
		}
		for _, look := range strings.Fields(b.script(charts)) {
			drawn++
			if b.script("return "+told(`document.querySelector("[data-look='`+look+`'] canvas")`, `/(\S)/`)) == "" {
				b.t.Errorf("chart %s doesn't answer to the mouse", look)
			}
		}
		if step%4 == 0 {
			b.picture(fmt.Sprintf("%s-%02d", name, step))
		}
		var to int
		fmt.Sscan(b.script(`const page = `+page+`; page.scrollBy(0, 600); return Math.round(page.scrollTop)`), &to)
		switch {
		case to > at:
			at, moved = to, time.Now()
		case drawn >= want || time.Since(moved) > 10*time.Second:
			return drawn
		default:
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// resize makes the window as large as asked, on a system that is light or dark.
func (b browser) resize(width, height int, theme string) {
	b.t.Helper()
	err := b.call(http.MethodPost, "/window/rect", map[string]any{"width": width, "height": height}, nil)
	if err == nil {
		scheme := []any{map[string]any{"name": "prefers-color-scheme", "value": theme}}
		err = b.call(http.MethodPost, "/goog/cdp/execute",
			map[string]any{"cmd": "Emulation.setEmulatedMedia", "params": map[string]any{"features": scheme}}, nil)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// Every notebook fits windows of 1280 by 800 in the light and 1440 by 900 in the dark: each chart is drawn within its cell and answers to
// the mouse, no line of code scrolls sideways, no output is an error or a warning. With RARETASK_RUN_ALL set they are opened without their
// outputs; the first Tab completes, and Run All Cells brings the charts back from the points that came with the project.
func TestNotebooksInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a browser")
	}
	runs := os.Getenv("RARETASK_RUN_ALL") != ""
	b := openBrowser(t)
	open, committed := notebooks(t, "quick", runs)
	for _, name := range slices.Sorted(maps.Keys(committed)) {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.resize(1280, 800, "light")
			open(b, name)
			if runs {
				b.completes()
				open(b, name) // without what was typed
				b.runAll()
			}
			want := strings.Count(committed[name], `"application/vnd.vegalite.v5+json": {`)
			for _, theme := range []string{"light", "dark"} {
				if theme == "dark" {
					b.resize(1440, 900, theme)
					b.until("dark theme", `document.body.dataset.jpThemeLight == "false"`)
				}
				if got := b.walk(strings.TrimSuffix(name, ".ipynb")+"-"+theme, want); got != want {
					t.Errorf("%d charts in the %s; committed are %d", got, theme, want)
				}
			}
		})
	}
}
