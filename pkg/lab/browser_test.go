package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/lab"
)

// browser speaks WebDriver (W3C) to chromedriver: a session in a headless Chromium.
type browser struct {
	t       *testing.T
	session string // its address
}

// call sends a WebDriver command and decodes the value of its answer into result, if that is not nil.
func (b browser) call(method, path string, body, result any) error {
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if method == http.MethodGet || method == http.MethodDelete {
		payload = nil
	}
	request, err := http.NewRequest(method, b.session+path, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s %s %w", method, path, response.Status, answer, err)
	}
	value := struct{ Value any }{result}
	return json.Unmarshal(answer, &value)
}

// script runs JavaScript in the page and returns what it returns, as text.
func (b browser) script(code string) string {
	b.t.Helper()
	var result any
	if err := b.call(http.MethodPost, "/execute/sync", map[string]any{"script": code, "args": []any{}}, &result); err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprint(result)
}

// patience is for a machine that other tests keep busy; waiting ends when what is waited for is there.
const patience = 3 * time.Minute

// until waits for JavaScript to return something true; the page has no event to wait for instead. What is to be done for that is done
// each second again: the mouse may miss what moves.
func (b browser) until(what, code string, do ...func()) string {
	b.t.Helper()
	var did time.Time
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		if time.Since(did) > time.Second {
			for _, do := range do {
				do()
			}
			did = time.Now()
		}
		if got := b.script("return " + code); got != "false" && got != "" && got != "<nil>" && got != "0" {
			return got
		}
	}
	b.picture("failed")
	b.t.Fatalf("no %s within %s", what, patience)
	return ""
}

// point moves the mouse to the middle of the element that a JavaScript expression names, offset by dx, dy pixels, and clicks there if
// asked to. It waits until the element is what a mouse would meet there: the page may still be scrolling, or covered.
func (b browser) point(element string, dx, dy int, click bool) {
	b.t.Helper()
	at := strings.Split(b.until("place to point at in "+element, fmt.Sprintf(`(() => {
		const e = %s;
		if (e == null) return "";
		e.scrollIntoView({block: "center"});
		const r = e.getBoundingClientRect(), x = Math.round(r.x + r.width/2) + %d, y = Math.round(r.y + r.height/2) + %d;
		return e.contains(document.elementFromPoint(x, y)) ? x + " " + y : "";
	})()`, element, dx, dy)), " ")
	move := func(back int) any {
		x, _ := strconv.Atoi(at[0])
		y, _ := strconv.Atoi(at[1])
		return map[string]any{"type": "pointerMove", "duration": 50, "x": x - back, "y": y, "origin": "viewport"}
	}
	actions := []any{move(3), move(0)}
	if click {
		actions = append(actions, map[string]any{"type": "pointerDown", "button": 0}, map[string]any{"type": "pointerUp", "button": 0})
	}
	sources := []any{map[string]any{"type": "pointer", "id": "mouse", "actions": actions}}
	if err := b.call(http.MethodPost, "/actions", map[string]any{"actions": sources}, nil); err != nil {
		b.t.Fatal(err)
	}
}

// keys types, as WebDriver has keys: letters, and names such as "\ue004" for Tab.
func (b browser) keys(text string) {
	b.t.Helper()
	var actions []any
	for _, key := range text {
		for _, kind := range []string{"keyDown", "keyUp"} {
			actions = append(actions, map[string]any{"type": kind, "value": string(key)})
		}
	}
	sources := []any{map[string]any{"type": "key", "id": "keyboard", "actions": actions}}
	if err := b.call(http.MethodPost, "/actions", map[string]any{"actions": sources}, nil); err != nil {
		b.t.Fatal(err)
	}
}

// menu chooses an entry of the menu Run.
func (b browser) menu(entry string) {
	b.t.Helper()
	b.point(byText(".lm-MenuBar-itemLabel", "Run"), 0, 0, true)
	b.point(byText(".lm-Menu-itemLabel", entry), 0, 0, true)
}

// byText is the first element of a CSS class with this text.
func byText(class, text string) string {
	return fmt.Sprintf("[...document.querySelectorAll(%q)].find(e => e.textContent.trim() == %q)", class, text)
}

// picture saves the page as a PNG where RARETASK_SCREENSHOTS names a folder.
func (b browser) picture(name string) {
	dir := os.Getenv("RARETASK_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte // base64 in JSON, as Go has it
	if err := b.call(http.MethodGet, "/screenshot", nil, &png); err != nil {
		b.t.Error(err)
	} else if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Error(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func openBrowser(t *testing.T) browser {
	t.Helper()
	driver, err := exec.LookPath("chromedriver")
	if err != nil {
		t.Skip("no chromedriver here (Debian's packages chromium and chromium-driver)")
	}
	port := freePort(t)
	cmd := exec.Command(driver, fmt.Sprintf("--port=%d", port))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	b := browser{t, fmt.Sprintf("http://127.0.0.1:%d", port)}
	options := map[string]any{"args": []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1400,1000",
		"--user-data-dir=" + t.TempDir()}}
	capabilities := map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{"goog:chromeOptions": options,
		"goog:loggingPrefs": map[string]any{"browser": "ALL"}}}}
	var session struct{ SessionID string }
	for deadline := time.Now().Add(time.Minute); ; <-time.After(100 * time.Millisecond) {
		if err = b.call(http.MethodPost, "/session", capabilities, &session); err == nil {
			break
		} else if time.Now().After(deadline) || !strings.Contains(err.Error(), "refused") {
			t.Fatal(err)
		}
	}
	b.session += "/session/" + session.SessionID
	t.Cleanup(func() { b.call(http.MethodDelete, "", nil, nil) })
	return b
}

// notebooks serves copies of the notebooks in JupyterLab, from a folder that stands for the checkout, with or without their outputs, and
// returns how to open one, and what was committed by name.
func notebooks(t *testing.T, scale string, bare bool) (open func(b browser, name string), committed map[string]string) {
	t.Helper()
	checkout, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkout.Setup(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	here, err := backend.Root()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, name := range []string{"go.mod", ".raretask"} {
		if err := os.Symlink(filepath.Join(here, name), filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := checkout.Notebooks()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "notebooks"), 0o755); err != nil {
		t.Fatal(err)
	}
	committed = map[string]string{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		committed[filepath.Base(path)] = string(content)
		if bare {
			content = cleared(t, content)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(root, "notebooks", filepath.Base(path)), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("RARETASK_ROOT", root)
	t.Setenv("RARETASK_RESULTS", t.TempDir())
	t.Setenv("RARETASK_SCALE", scale)
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	address, served := make(chan string, 1), make(chan error, 1)
	go func() { served <- l.Serve(ctx, freePort(t), false, func(url string) { address <- url }) }()
	var url string
	select {
	case url = <-address:
	case err := <-served:
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-served })
	return func(b browser, name string) {
		b.t.Helper()
		at := strings.Replace(url, "/lab/tree/00_quickstart.ipynb?", "/lab/tree/"+name+"?reset&", 1)
		if err := b.call(http.MethodPost, "/url", map[string]any{"url": at}, nil); err != nil {
			b.t.Fatal(err)
		}
		// The notebook's own indicator says idle before there is a kernel, and running a cell then asks for one. GoNB tells nothing of
		// itself before it has run a cell.
		b.until("kernel that is ready in "+name, "/gonb. \\| (Unknown|Idle)/.test(document.querySelector('#jp-main-statusbar')?.textContent)")
		if asked := b.script("return document.querySelectorAll('.jp-Dialog, .Toastify__toast').length"); asked != "0" {
			b.picture("failed")
			b.t.Errorf("JupyterLab greets with %s dialogs", asked)
		}
	}, committed
}

// cleared is a notebook without outputs.
func cleared(t *testing.T, content []byte) []byte {
	t.Helper()
	var notebook map[string]any
	if err := json.Unmarshal(content, &notebook); err != nil {
		t.Fatal(err)
	}
	for _, c := range notebook["cells"].([]any) {
		if cell := c.(map[string]any); cell["cell_type"] == "code" {
			cell["outputs"], cell["execution_count"] = []any{}, nil
		}
	}
	text, err := json.Marshal(notebook)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// completes types into the first cell of the open notebook and has it completed, by the kernel's first Tab.
func (b browser) completes() {
	b.t.Helper()
	const cell = "document.querySelector('.jp-CodeCell .cm-content')"
	b.until("editor", cell+"?.contains(document.activeElement)", func() { b.point(cell, 0, 0, true) })
	const end, tab = "\ue00f\ue010", "\ue004" // Page Down, End
	b.keys(end + "\nfunc scale() string { return cell.Sca")
	b.keys(tab)
	b.until("completion", "[...document.querySelectorAll('.jp-Completer-item')].some(e => e.textContent.trim().startsWith('Scale')) || "+
		cell+".textContent.includes('return cell.Scale')")
}

// runAll runs the open notebook from the menu and waits for its end.
func (b browser) runAll() {
	b.t.Helper()
	const status = "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status"
	b.menu("Run All Cells")
	b.until("busy kernel", status+" == 'busy'")
	b.until("end of execution", status+" == 'idle'")
}

// tooltip is the text of the tooltip that shows; empty for none.
const tooltip = "[...document.querySelectorAll('#vg-tooltip-element.visible')].map(e => e.innerText).join()"

// told is what a chart tells when the mouse is on one of its darker pixels, as far as the groups of a pattern match it: the first of the
// canvas for which they do; empty for none.
func told(canvas, pattern string) string {
	return `(() => {
		document.querySelectorAll("#vg-tooltip-element").forEach(e => e.classList.remove("visible")); // of an earlier look
		const canvas = ` + canvas + `, r = canvas.getBoundingClientRect(), scale = canvas.width / r.width;
		const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
		for (let y = 0; y < r.height; y += 2) for (let x = 0; x < r.width; x += 2) {
			const at = 4 * (Math.floor(y*scale)*canvas.width + Math.floor(x*scale)), color = pixels.slice(at, at + 3);
			if (Math.min(...color) > 170) continue; // paper and its grid
			for (const type of ["pointermove", "mousemove"]) canvas.dispatchEvent(
				new PointerEvent(type, {clientX: r.x + x, clientY: r.y + y, bubbles: true}));
			const told = ` + pattern + `.exec(` + tooltip + `);
			if (told) return told.slice(1).join(" ");
		}
		return "";
	})()`
}

// In JupyterLab, in a real browser: the quickstart runs from the menu and its chart answers to the mouse; in the chart of
// retention, what the reader chooses is what is shown.
func TestInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a browser")
	}
	b := openBrowser(t)
	open, _ := notebooks(t, "smoke", false)
	t.Run("quickstart", func(t *testing.T) {
		b.t = t
		open(b, "00_quickstart.ipynb")
		files := b.until("list of files", "[...document.querySelectorAll('.jp-DirListing-itemText')].map(e => e.textContent).join(' ')")
		if !strings.Contains(files, "02_mixture") || strings.Contains(files, "requirements") || strings.Contains(files, "data") {
			t.Errorf("files %s: want notebooks alone", files)
		}
		b.script("document.querySelectorAll('.jp-InputPrompt').forEach(p => p.textContent = '')")
		b.menu("Run All Cells")
		b.until("executed cells", "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"+
			".filter(p => /\\d/.test(p.textContent)).length >= 5 && "+
			"document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=idle]') != null")
		failed := b.script("return document.querySelectorAll('" +
			".jp-RenderedText[data-mime-type=\"application/vnd.jupyter.stderr\"], .jp-mod-error').length")
		if failed != "0" {
			b.picture("failed")
			t.Errorf("%s outputs are errors", failed)
		}
		const chart = "document.querySelector('.jp-CodeCell .jp-RenderedVegaCommon5 canvas')"
		tip := b.until("tooltip", tooltip, func() { b.point(chart, -40, 60, false) })
		for _, word := range []string{"task", "width", "predicted"} {
			if !strings.Contains(tip, word) {
				t.Errorf("the tooltip says no %s: %q", word, tip)
			}
		}
		b.picture("quickstart")
	})
	t.Run("completion", func(t *testing.T) { // at the first Tab of a kernel
		b.t = t
		open(b, "05_parity.ipynb")
		b.completes()
		b.picture("completion")
	})
	t.Run("retention", func(t *testing.T) {
		b.t = t
		open(b, "04_retention.ipynb")
		for _, source := range []string{"import (", "figure.RetentionChart("} {
			cell := fmt.Sprintf("[...document.querySelectorAll('.jp-CodeCell')]"+
				".find(c => c.querySelector('.jp-InputArea-editor')?.textContent.includes(%q))", source)
			b.until("cell with "+source, `(() => { // JupyterLab holds only the cells that are in view
				if (`+cell+`) return true;
				document.querySelector(".jp-WindowedPanel-outer").scrollBy(0, 300);
			})()`)
			b.until("selected cell with "+source, cell+"?.classList.contains('jp-mod-active')",
				func() { b.point(cell+"?.querySelector('.jp-InputArea-editor')", 0, 0, true) })
			b.script(cell + ".querySelector('.jp-InputPrompt').textContent = ''")
			b.menu("Run Selected Cell")
			b.until("executed cell with "+source, "/\\d/.test("+cell+"?.querySelector('.jp-InputPrompt').textContent)")
		}
		b.until("lists to choose from", "document.querySelectorAll('.vega-bindings select').length == 2")
		// shown is the width and gap that the chart's tooltip tells.
		shown := told(`document.querySelector(".vega-bindings select").closest(".vega-embed").querySelector("canvas")`,
			`/width\D+(\d+)\s+gap\D+(\d+)/`)
		chosen := func() string {
			return b.script("return [...document.querySelectorAll('.vega-bindings select')]" +
				".map(s => s.selectedOptions[0].textContent.trim()).join(' ')")
		}
		start := chosen()
		if got := b.until("mark in the chart", shown); got != start {
			t.Errorf("the chart begins with width and gap %s; the lists say %s", got, start)
		}
		for list := range 2 {
			before := chosen()
			b.script(fmt.Sprintf(`const s = document.querySelectorAll(".vega-bindings select")[%d];
				s.selectedIndex = (s.selectedIndex + 1) %% s.options.length;
				for (const type of ["input", "change"]) s.dispatchEvent(new Event(type, {bubbles: true}))`, list))
			want := chosen()
			if want == before {
				t.Fatalf("list %d offers nothing but %s", list, before)
			}
			b.until("chart of width and gap "+want, shown+" == '"+want+"'")
		}
		b.picture("retention")
	})
}
