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
	"strings"
	"testing"
	"time"

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

// until waits for JavaScript to return something true; the page has no event to wait for instead.
func (b browser) until(what, code string) string {
	b.t.Helper()
	const patience = 2 * time.Minute
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(250 * time.Millisecond) {
		if got := b.script("return " + code); got != "false" && got != "" && got != "<nil>" && got != "0" {
			return got
		}
	}
	b.picture("failed")
	b.t.Fatalf("no %s within %s", what, patience)
	return ""
}

// point moves the mouse to the middle of the first element that JavaScript's expression names, offset by dx, dy pixels,
// and clicks there if asked to.
func (b browser) point(element string, dx, dy int, click bool) {
	b.t.Helper()
	var at []int
	code := "const e = " + element + "; e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();" +
		"return [Math.round(r.x + r.width/2), Math.round(r.y + r.height/2)]"
	if err := b.call(http.MethodPost, "/execute/sync", map[string]any{"script": code, "args": []any{}}, &at); err != nil {
		b.t.Fatal(err)
	}
	move := func(x, y int) any {
		return map[string]any{"type": "pointerMove", "duration": 100, "x": x, "y": y, "origin": "viewport"}
	}
	actions := []any{move(at[0]+dx-3, at[1]+dy), move(at[0]+dx, at[1]+dy)}
	if click {
		actions = append(actions, map[string]any{"type": "pointerDown", "button": 0}, map[string]any{"type": "pointerUp", "button": 0})
	}
	sources := []any{map[string]any{"type": "pointer", "id": "mouse", "actions": actions}}
	if err := b.call(http.MethodPost, "/actions", map[string]any{"actions": sources}, nil); err != nil {
		b.t.Fatal(err)
	}
}

// choose clicks the first element of a CSS class whose text this is, once it is there.
func (b browser) choose(class, text string) {
	b.t.Helper()
	element := fmt.Sprintf("[...document.querySelectorAll(%q)].find(e => e.textContent.trim() == %q)", class, text)
	b.until(text+" in a menu", element+" != null")
	b.point(element, 0, 0, true)
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
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1400,1000", "--user-data-dir=" + t.TempDir()}}
	capabilities := map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{"goog:chromeOptions": options}}}
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

// The quickstart runs from JupyterLab's menu in a real browser, and its chart answers to the mouse.
func TestQuickstartInBrowser(t *testing.T) {
	if os.Getenv("RARETASK_BROWSER") != "1" {
		t.Skip("opens a browser, whose timing on a machine that runs other tests too is unreliable: RARETASK_BROWSER=1 runs it")
	}
	b := openBrowser(t)
	t.Setenv("RARETASK_SCALE", "quick") // at which published results are there, so that nothing is trained
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(l.Root(), "notebooks", "00_quickstart.ipynb")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := l.Setup(ctx, nil); err != nil {
		t.Fatal(err)
	}
	address, served := make(chan string, 1), make(chan error, 1)
	go func() { served <- l.Serve(ctx, freePort(t), false, func(url string) { address <- url }) }()
	defer func() {
		cancel()
		<-served
		if err := os.WriteFile(file, before, 0o644); err != nil { // JupyterLab may have saved its outputs
			t.Error(err)
		}
	}()
	var url string
	select {
	case url = <-address:
	case err := <-served:
		t.Fatal(err)
	}
	notebook := strings.Replace(url, "/lab?", "/lab/tree/00_quickstart.ipynb?", 1)
	if err := b.call(http.MethodPost, "/url", map[string]any{"url": notebook}, nil); err != nil {
		t.Fatal(err)
	}
	b.until("idle kernel", "document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=idle]') != null")
	b.script("document.querySelectorAll('.jp-Dialog button.jp-mod-reject').forEach(x => x.click())")
	if asked := b.script("return document.querySelectorAll('.jp-Dialog, .Toastify__toast').length"); asked != "0" {
		t.Errorf("JupyterLab greets with %s dialogs", asked)
	}
	b.script("document.querySelectorAll('.jp-InputPrompt').forEach(p => p.textContent = '')")
	b.choose(".lm-MenuBar-itemLabel", "Run")
	b.choose(".lm-Menu-itemLabel", "Run All Cells")
	b.until("executed cells", "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].filter(p => /\\d/.test(p.textContent)).length >= 5 && document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=idle]') != null")
	if failed := b.script("return document.querySelectorAll('.jp-RenderedText[data-mime-type=\"application/vnd.jupyter.stderr\"], .jp-mod-error').length"); failed != "0" {
		b.picture("failed")
		t.Errorf("%s outputs are errors", failed)
	}
	const chart = ".jp-RenderedVegaCommon5 canvas, .jp-RenderedVegaCommon5 svg"
	b.script("document.querySelectorAll('.jp-CodeCell')[2].scrollIntoView()")
	b.until("interactive chart", "document.querySelector(`"+chart+"`) != null")
	tip, tries := "", 0
	for ; tip == "" && tries < 60; tries++ { // a chart that is drawn again under a resting mouse waits for it to move
		b.point("document.querySelector(`"+chart+"`)", -40, 60-tries%2, false)
		<-time.After(500 * time.Millisecond)
		tip = b.script("const e = document.querySelector('#vg-tooltip-element'); return e != null && e.classList.contains('visible') ? e.innerText : ''")
	}
	for _, word := range []string{"task", "width", "predicted"} {
		if !strings.Contains(tip, word) {
			t.Errorf("the tooltip says no %s: %q", word, tip)
		}
	}
	b.picture("quickstart")
}
