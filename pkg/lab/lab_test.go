package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var setUpOnce = sync.OnceValues(func() (*Lab, error) {
	l, err := Open()
	if err != nil {
		return nil, err
	}
	return l, l.Setup(context.Background(), func(e Event) { fmt.Fprintln(os.Stderr, e.Text, e.Done) })
})

// ready returns the checkout's lab, set up.
func ready(t *testing.T) *Lab {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the lab set up, which may take minutes")
	}
	l, err := setUpOnce()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q doesn't say %q", err, part)
		}
	}
}

// code is a cell with tags; text one of Markdown.
func code(source string, tags ...string) map[string]any {
	return map[string]any{"cell_type": "code", "source": source, "metadata": map[string]any{"tags": append([]string{}, tags...)},
		"outputs": []any{}, "execution_count": nil}
}

func text(source string) map[string]any {
	return map[string]any{"cell_type": "markdown", "source": []string{source}, "metadata": map[string]any{}}
}

func writeNotebook(t *testing.T, cells ...map[string]any) string {
	t.Helper()
	for i, c := range cells {
		c["id"] = fmt.Sprintf("cell-%d", i)
	}
	content, err := json.Marshal(map[string]any{
		"cells": cells, "nbformat": 4, "nbformat_minor": 5,
		"metadata": map[string]any{"kernelspec": map[string]string{"name": "gonb", "display_name": "Go (gonb)", "language": "go"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "try.ipynb")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const draw = "%%\nos.WriteFile(filepath.Join(os.Getenv(\"RARETASK_FIGURES\"), \"NAME.svg\"), []byte(\"<svg/>\"), 0o644)"

func TestSetupTwiceDoesNothing(t *testing.T) {
	l := ready(t)
	err := l.Setup(t.Context(), func(e Event) { t.Errorf("a second set-up did something: %s", e.Text) })
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range l.Doctor().Parts {
		if !part.OK || part.Version == "" {
			t.Errorf("after set-up: %+v", part)
		}
	}
}

func TestChangedPinIsMissingAlone(t *testing.T) {
	l := pretended(t)
	if missing := names(missing(l.parts())); len(missing) != 0 {
		t.Fatalf("missing %v; want nothing", missing)
	}
	mod := filepath.Join(l.root, "go.mod")
	content, err := os.ReadFile(mod)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mod, []byte(strings.ReplaceAll(string(content), "gonb v0.11.5", "gonb v0.11.6")), 0o644); err != nil {
		t.Fatal(err)
	}
	if missing := names(missing(l.parts())); !slices.Equal(missing, []string{"gonb"}) {
		t.Errorf("another gonb in go.mod: missing %v; want gonb", missing)
	}
	if err := os.WriteFile(l.jupyter().requirements, []byte("jupyterlab==5.0.0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if missing := names(missing(l.parts())); !slices.Equal(missing, []string{"python environment", "gonb"}) {
		t.Errorf("other requirements: missing %v; want the environment too", missing)
	}
}

func TestSetupWaitsForAnother(t *testing.T) {
	l := &Lab{state: t.TempDir()}
	unlock, err := l.lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	unlockToo, err := l.lock(t.Context(), func(e Event) {
		told = append(told, e.Text)
		unlock() // once it has said that it waits
	})
	if err != nil {
		t.Fatal(err)
	}
	unlockToo()
	if len(told) != 2 || !strings.Contains(told[0], "waiting for another set-up") {
		t.Errorf("told %q", told)
	}
}

// Where the lab's state is not ours to change, as in an image, Jupyter keeps its own in the user's cache.
func TestJupyterHome(t *testing.T) {
	l, cache := &Lab{state: t.TempDir()}, t.TempDir()
	t.Setenv("HOME", cache)
	t.Setenv("XDG_CACHE_HOME", cache)
	if got, want := l.jupyterHome(), filepath.Join(l.state, "jupyter"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	l.state = filepath.Join(l.state, "file")
	if err := os.WriteFile(l.state, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := l.jupyterHome(); !strings.HasPrefix(got, cache) {
		t.Errorf("%s, want a folder below %s", got, cache)
	}
}

func TestSetupRefusesUnknownBackend(t *testing.T) {
	l := pretended(t)
	t.Setenv("GOMLX_BACKEND", "torch")
	wantError(t, l.Setup(t.Context(), nil), `GOMLX_BACKEND="torch"`, "want xla:cpu")
}

// A checkout's path is no pattern.
func TestNotebooksBelowBrackets(t *testing.T) {
	l := &Lab{root: filepath.Join(t.TempDir(), "a[b")}
	path := filepath.Join(l.root, "notebooks", "01.ipynb")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Notebooks(); err != nil || !slices.Equal(got, []string{path}) {
		t.Errorf("%q, %v; want %s", got, err, path)
	}
}

// A link that a killed set-up has left is no reason to keep pointing to an environment that is about to be removed.
func TestTurnIgnoresWhatAKillLeft(t *testing.T) {
	link := filepath.Join(t.TempDir(), "python")
	for from, to := range map[string]string{link: "old", link + ".new": "older"} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	if err := turn(link, "new"); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != "new" {
		t.Errorf("points to %q, %v; want the new one", to, err)
	}
}

// hostile is a folder with modules of names that Python and Jupyter import. One that runs leaves a file.
func hostile(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"random.py", "jupyterlab.py", "nbformat.py"} {
		source := fmt.Sprintf("open(%q, 'w')\nraise SystemExit('not the module you want')\n", filepath.Join(dir, "ran"))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
			t.Error("a module of the working folder was executed")
		}
	})
	return dir
}

func TestModulesOfTheWorkingFolderAreNotOurs(t *testing.T) {
	here, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	dir := hostile(t)
	t.Chdir(dir)
	t.Setenv("PYTHONPATH", dir)
	if _, _, err := findPython(); err != nil {
		t.Error(err)
	}
	if here.checkEnvironment(here.jupyter()) != nil {
		t.Skip("needs the lab set up")
	}
	for _, args := range [][]string{{"-m", "jupyterlab", "--version"}, {"-c", "import random, nbformat"}} {
		cmd, err := here.command(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", args, err, output)
		}
	}
}

// A script that writes what we don't understand, and goes on writing, is told to go rather than waited for.
func TestExecuteDoesNotHangOnAFullPipe(t *testing.T) {
	for name, script := range map[string]string{
		"no event":    "read job; echo what; head -c 1000000 /dev/zero; cat",
		"a long line": "read job; head -c 3000000 /dev/zero; cat",
	} {
		ended := make(chan error, 1)
		go func() { ended <- new(execution).follow(exec.Command("sh", "-c", script), plan{}) }()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: still waiting after half a minute", name)
		}
	}
}

func TestMovedCheckoutNeedsItsKernelAgain(t *testing.T) {
	l := pretended(t)
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(l.root, moved); err != nil {
		t.Fatal(err)
	}
	l = &Lab{moved, filepath.Join(moved, ".raretask")}
	if missing := names(missing(l.parts())); !slices.Equal(missing, []string{"kernel"}) {
		t.Errorf("moved: missing %v; want the kernel", missing)
	}
}

// pretended is a lab whose parts are empty files with the right stamps: enough for what checks look at.
func pretended(t *testing.T) *Lab {
	t.Helper()
	t.Setenv("GOMLX_BACKEND", "go")
	root := t.TempDir()
	l := &Lab{root, filepath.Join(root, ".raretask")}
	write := func(path, content string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(root, "go.mod"), "module raretask\n\ngo 1.26.5\n\nrequire (\n\tgithub.com/janpfeifer/gonb v0.11.5\n"+
		"\tgolang.org/x/tools v0.45.0\n\tgolang.org/x/tools/gopls v0.22.0\n)\n")
	write(l.jupyter().requirements, "jupyterlab==4.6.6\n")
	write(l.python(), "")
	pin, err := l.jupyter().pin()
	if err != nil {
		t.Fatal(err)
	}
	write(l.stamp("python environment"), pin)
	for _, tool := range tools {
		write(l.toolPath(tool), "")
		write(l.stamp(tool.name), l.toolPin(tool))
	}
	if err := l.installKernel(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func names(parts []part) []string {
	var names []string
	for _, part := range parts {
		names = append(names, part.name)
	}
	return names
}

func TestPythonMissingOrUnfit(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"missing": {"", "no python3 on PATH"},
		"no venv": {"#!/bin/sh\nexit 1\n", "has no venv"},
		"too old": {"#!/bin/sh\necho 3.8.1\nexit 1\n", "is Python 3.8.1"},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			if c.script != "" {
				if err := os.WriteFile(filepath.Join(bin, "python3"), []byte(c.script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", bin)
			_, _, err := findPython()
			wantError(t, err, c.want, "install Python 3.10 or newer")
		})
	}
}

func TestDraws(t *testing.T) {
	for _, c := range []struct {
		tag, figure string
		want        bool
	}{
		{"fig2", "fig2", true}, {"fig2a", "fig2", true}, {"fig2a", "fig2a", true},
		{"fig21", "fig2", false}, {"fig2", "fig2a", false}, {"setup", "set", false}, {"fig2a", "fig", false},
		{"parity-order", "parity-order", true}, {"parity-order", "parity", false}, {"setup", "setup", false}, {"fig2a", "", false},
	} {
		if got := draws(c.tag, c.figure); got != c.want {
			t.Errorf("draws(%q, %q) = %v; want %v", c.tag, c.figure, got, c.want)
		}
	}
}

func TestUnknownFigure(t *testing.T) {
	path := writeNotebook(t, code("%%", "setup"), code("%%", "parity-order"), code("%%", "fig17"), code("%%", "fig2b"), code("%%", "fig2a"))
	l := &Lab{t.TempDir(), t.TempDir()}
	_, err := l.Execute(t.Context(), Job{Notebooks: []string{path}, Figures: []string{"fig3"}, Out: t.TempDir()}, nil)
	wantError(t, err, `"fig3"`, "fig2a, fig2b, fig17, parity-order")
	var unknown *UnknownFigure
	if !errors.As(err, &unknown) {
		t.Errorf("error is a %T; want *UnknownFigure", err)
	}
}

// What gonb is patched for: cells fetch nothing, and what people who are new to cells do wrong is told with what to do about it.
func TestPatchedKernel(t *testing.T) {
	l := ready(t)
	for source, want := range map[string]string{
		"x := 1":                "stand below a line of %%: is it missing?",
		"%%\nfmt.Println(kept)": "Values don't stay between cells",
		"%%\nkept := 1":         "write _ = and its name",
		"%%\nfunc f() {}":       "stand above the line of %%",
		"%%\nx := strings.Cut(\"a\", \"b\")\n_ = x": "cell.Must(f())",
		"%%\nfmt.Println(1)\n%%\nfmt.Println(2)":    "a cell has one line of %%",
		// "go get" would have asked the network for it.
		"import \"example.com/none\"\n%%\nnone.Do()": "no required module provides package example.com/none",
	} {
		path := writeNotebook(t, text("# Wrong"), code(source))
		_, err := l.Execute(t.Context(), Job{Notebooks: []string{path}, Scale: "smoke", Out: t.TempDir()}, nil)
		wantError(t, err, want)
	}
}

func TestExecuteWholeNotebookWritesCopyAndFigures(t *testing.T) {
	l := ready(t)
	path := writeNotebook(t, text("# By the way"), code("import \"raretask/pkg/backend\"", "setup"),
		code("%%\nfmt.Println(backend.Setup, os.Getenv(\"RARETASK_SCALE\"), os.Getenv(\"RARETASK_PUBLISHED\"))"),
		code(strings.ReplaceAll(draw, "NAME", "fig2a")), text("# The first figure"),
		code(strings.ReplaceAll(draw, "NAME", "fig2a"), "fig2a"))
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	job := Job{Notebooks: []string{path}, Scale: "smoke", Out: t.TempDir()}
	var last Event
	figures, err := l.Execute(t.Context(), job, func(e Event) { last = e })
	if err != nil {
		t.Fatal(err)
	}
	if len(figures) != 1 || figures[0].Name != "fig2a" || figures[0].Title != "The first figure" || figures[0].Seconds <= 0 {
		t.Errorf("figures %+v", figures)
	}
	if !last.Done || last.Step != 4 || last.Total != 4 {
		t.Errorf("last event %+v; want the last of 4 cells done", last)
	}
	if svg, _ := os.ReadFile(filepath.Join(job.Out, "figures", "fig2a.svg")); string(svg) != "<svg/>" {
		t.Errorf("figure's file holds %q", svg)
	}
	if copied := read(t, filepath.Join(job.Out, "try.ipynb")); !strings.Contains(copied, "raretask setup smoke 0") {
		t.Errorf("executed copy lacks the cell's output:\n%s", copied)
	}
	if read(t, path) != string(before) {
		t.Error("the notebook itself was changed")
	}
	if left, _ := filepath.Glob(filepath.Join(job.Out, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	index, err := l.WriteGallery(t.Context(), job, figures, Colophon{Date: "today"})
	if err != nil {
		t.Fatal(err)
	}
	page := read(t, index)
	for _, want := range []string{`src="figures/fig2a.svg"`, `alt="The first figure"`, `href="try.ipynb"`, "smoke"} {
		if !strings.Contains(page, want) {
			t.Errorf("index page lacks %s", want)
		}
	}
}

// A figure that several pages show is linked to where its own cell is.
func TestGalleryLinksToTheFiguresCell(t *testing.T) {
	pages := []page{{Notebook: "a.ipynb", Name: "a.html", Body: `<figure id="fig1">`},
		{Notebook: "b.ipynb", Name: "b.html", Body: `<figure id="fig1">`},
		{Notebook: "c.ipynb", Name: "c.html", Body: `<figure id="fig1"><figure id="mine">`}}
	notebooks := []notebook{{path: "x/a.ipynb"}, {path: "x/b.ipynb", cells: []cell{{tags: []string{"fig1"}}}}, {path: "x/c.ipynb"}}
	for figure, want := range map[string]string{"fig1": "b.html#fig1", "mine": "c.html#mine", "fig2": ""} {
		if got := pageOf(figure, pages, notebooks); got != want {
			t.Errorf("%s is at %q, want %q", figure, got, want)
		}
	}
}

func TestExecuteFigureAlone(t *testing.T) {
	l := ready(t)
	path := writeNotebook(t, code("import \"fmt\"\nfunc shout(s string) { fmt.Println(strings.ToUpper(s)) }", "setup"),
		code("%%\npanic(\"not asked for\")", "fig21"), code("%%\npanic(\"nor this\")"),
		code("%%\nshout(\"wanted\")", "fig2b"))
	job := Job{Notebooks: []string{path}, Figures: []string{"fig2"}, Scale: "smoke", Out: t.TempDir()}
	if _, err := l.Execute(t.Context(), job, nil); err != nil {
		t.Fatal(err)
	}
	if copied := read(t, filepath.Join(job.Out, "try.ipynb")); !strings.Contains(copied, "WANTED") {
		t.Errorf("the wanted cell didn't run:\n%s", copied)
	}
}

func TestExecuteStopsAtFailingCell(t *testing.T) {
	l := ready(t)
	for name, c := range map[string]struct{ source, want string }{
		"panics":          {"%%\npanic(\"at the disco\")", "at the disco"},
		"doesn't compile": {"%%\nfmt.Println(nobodyKnows)", "nobodyKnows"},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeNotebook(t, text("## Where it fails"), code(c.source), code("%%\npanic(\"later\")"))
			job := Job{Notebooks: []string{path}, Scale: "smoke", Out: t.TempDir()}
			_, err := l.Execute(t.Context(), job, nil)
			wantError(t, err, "try.ipynb, cell 2 (Where it fails)", c.want)
			if strings.Contains(err.Error(), "later") {
				t.Errorf("went on after the failing cell: %v", err)
			}
			if _, err := os.Stat(filepath.Join(job.Out, "try.ipynb")); err == nil {
				t.Error("a notebook that failed was written")
			}
		})
	}
}

func TestExecuteInPlaceKeepsThisMachineOut(t *testing.T) {
	l := ready(t)
	path := writeNotebook(t, code("%%\nfmt.Println(\"in\", filepath.Join(os.Getenv(\"RARETASK_ROOT\"), \"pkg\"))"))
	if _, err := l.Execute(t.Context(), Job{Notebooks: []string{path}, Scale: "smoke", Out: t.TempDir(), InPlace: true}, nil); err != nil {
		t.Fatal(err)
	}
	executed := read(t, path)
	if !strings.Contains(executed, `in pkg\n`) || strings.Contains(executed, l.root) || strings.Contains(executed, "iopub") {
		t.Errorf("want the output without this machine's paths and times:\n%s", executed)
	}
}

// The cell tells us that it runs by connecting, and that it was ended by the connection's end.
func TestExecuteCancelledLeavesNothingRunning(t *testing.T) {
	l := ready(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	path := writeNotebook(t, code(fmt.Sprintf("%%%%\nconn, _ := net.Dial(\"tcp\", %q)\nconn.Read(make([]byte, 1))", listener.Addr())))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := l.Execute(ctx, Job{Notebooks: []string{path}, Scale: "smoke", Out: t.TempDir()}, nil)
		listener.Close() // nobody will connect any more
		done <- err
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatalf("the cell never ran: %v", <-done)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v; want context.Canceled", err)
	}
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the cell is still running (%v)", err)
	}
}

func TestExecuteUnwritableOut(t *testing.T) {
	path := writeNotebook(t, code("%%", "fig2"))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l := &Lab{t.TempDir(), t.TempDir()}
	_, err := l.Execute(t.Context(), Job{Notebooks: []string{path}, Out: filepath.Join(file, "out")}, nil)
	wantError(t, err, "cannot write results", "choose another folder")
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// The committed notebooks draw what is committed: at scale quick, without results of one's own, nothing is trained.
func TestNotebooksDrawWhatIsCommitted(t *testing.T) {
	if testing.Short() {
		t.Skip("executes all notebooks")
	}
	l := ready(t)
	dir := t.TempDir()
	t.Setenv("RARETASK_RESULTS", dir)
	paths, err := filepath.Glob(filepath.Join(l.root, "notebooks", "*.ipynb"))
	paths = slices.DeleteFunc(paths, func(path string) bool { return filepath.Base(path) == "10_your_own.ipynb" }) // trains, in a second
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d notebooks, %v", len(paths), err)
	}
	if _, err := l.Execute(t.Context(), Job{Notebooks: paths, Scale: "quick", Out: t.TempDir(), Published: true}, nil); err != nil {
		t.Fatal(err)
	}
	if trained, _ := filepath.Glob(filepath.Join(dir, "runs", "*.parquet")); len(trained) > 0 {
		t.Errorf("%d stacks were trained, such as %s: run .ci/refresh", len(trained), trained[0])
	}
}
