package lab_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
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

// As they are committed the notebooks fit a window of 1280 by 800: every chart is drawn and within its cell, no line of code scrolls
// sideways, no output is an error or a warning.
func TestNotebooksFitTheWindow(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a browser")
	}
	b := openBrowser(t)
	if err := b.call(http.MethodPost, "/window/rect", map[string]any{"width": 1280, "height": 800}, nil); err != nil {
		t.Fatal(err)
	}
	open, names := notebooks(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			b.t = t
			open(b, name)
			seen := map[string]bool{}
			for at, step := 0, 0; ; step++ {
				b.until("drawn charts", `[...`+page+`.querySelectorAll(".jp-RenderedVegaCommon5")].every(e => e.querySelector("canvas, svg"))`)
				for _, fault := range strings.Split(b.script(faults), "\n") {
					if fault != "" && !seen[fault] {
						seen[fault] = true
						t.Error(fault)
					}
				}
				if step%4 == 0 {
					b.picture(fmt.Sprintf("%s-%02d", strings.TrimSuffix(name, ".ipynb"), step))
				}
				var to int
				fmt.Sscan(b.script(`const page = `+page+`; page.scrollBy(0, 600); return Math.round(page.scrollTop)`), &to)
				if to <= at {
					break
				}
				at = to
			}
		})
	}
}
