package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"raretask/pkg/lab"
)

var setUpOnce = sync.OnceValue(func() error {
	path, err := buildBinary()
	if err != nil {
		return err
	}
	output, err := exec.Command(path, "setup").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
})

func ready(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the lab set up, which may take minutes")
	}
	if err := setUpOnce(); err != nil {
		t.Fatal(err)
	}
}

// fromJSON reads the one object that a command printed.
func fromJSON[T any](t *testing.T, stdout string) (value T) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("standard output is not the JSON wanted: %v\n%s", err, stdout)
	}
	if decoder.More() {
		t.Fatalf("more than one value on standard output:\n%s", stdout)
	}
	return value
}

func TestWrongUsageExits2(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"nonsense", `unknown command "nonsense"`},
		{"setup --frobnicate", "--frobnicate"},
		{"setup extra", `"extra"`},
		{"reproduce fig999", `unknown figure "fig999"; `},
		{"reproduce fig999 --json", `unknown figure "fig999"; `},
		{"--json reproduce fig999", `unknown figure "fig999"; `},
		{"reproduce --scale huge", `unknown scale "huge"; want smoke, quick, paper`},
		{"reproduce --notebook nowhere.ipynb", "nowhere.ipynb"},
		{"lab --port 99999", "want 1 to 65535"},
	} {
		status, stdout, stderr := execute(t, nil, strings.Fields(c.args)...)
		if status != 2 || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%s: exit %d, %q, %q; want exit 2, %q on standard error alone", c.args, status, stdout, stderr, c.want)
		}
	}
}

// What would overwrite a notebook, lose one of two outputs or start everything by mistake is wrong usage, and changes nothing.
func TestReproduceRefusesToOverwrite(t *testing.T) {
	dir := t.TempDir()
	const text = `{"cells": [{"cell_type": "code", "source": "%%", "metadata": {"tags": ["mine"]}}]}`
	paths := []string{filepath.Join(dir, "mine.ipynb"), filepath.Join(dir, "other", "mine.ipynb")}
	if err := os.Mkdir(filepath.Join(dir, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"mine", "--notebook", paths[0], "--out", dir}, paths[0]},
		{[]string{"--notebook", paths[0], "--out", link}, paths[0]},
		{[]string{"--notebook", paths[0], "--notebook", paths[1], "--out", t.TempDir()}, paths[1]},
		{[]string{"", "--notebook", paths[0]}, `unknown figure ""; want one of mine`},
	} {
		status, _, stderr := execute(t, nil, append([]string{"reproduce"}, c.args...)...)
		if status != 2 || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, %q; want exit 2 and %q", c.args, status, stderr, c.want)
		}
	}
	if now, err := os.ReadFile(paths[0]); err != nil || string(now) != text {
		t.Errorf("the notebook is now %q, %v", now, err)
	}
}

// What can't be printed is not done: every verb says so.
func TestFullStandardOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	_, env := place(t, onGo)
	spec := write(t, "small.yaml", small)
	for _, args := range [][]string{{"sweep", "status", spec}, {"sweep", "status", spec, "--json"}, {"sweep", "plan", spec},
		{"sweep", "run", spec}, {"theory", spec}, {"doctor"}, {"-h"}} {
		cmd := exec.Command(binary(t), args...)
		var stderr strings.Builder
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), full, &stderr
		cmd.Run()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%q to a full device: exit %d, %s", args, cmd.ProcessState.ExitCode(), stderr.String())
		}
	}
}

func TestScaleFromEnvironment(t *testing.T) {
	status, _, stderr := execute(t, []string{"RARETASK_SCALE=vast"}, "reproduce")
	if status != 2 || !strings.Contains(stderr, `RARETASK_SCALE: unknown scale "vast"`) {
		t.Errorf("exit %d, %q", status, stderr)
	}
}

func TestEveryVerbTeaches(t *testing.T) {
	for _, verb := range newRootCommand().Commands() {
		if verb.Short == "" || (verb.HasExample() == false && !verb.HasSubCommands() && verb.Name() != "help" && verb.Name() != "completion") {
			t.Errorf("%s -h has no examples", verb.Name())
		}
	}
	status, stdout, _ := execute(t, nil, "reproduce", "-h")
	if status != 0 || !strings.Contains(stdout, "raretask reproduce fig2") {
		t.Errorf("reproduce -h: exit %d\n%s", status, stdout)
	}
}

func TestDoctorNamesWhatIsMissing(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{"go.mod": "module raretask\n\ngo 1.26.5\n", "notebooks/requirements.txt": ""} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	status, stdout, stderr := execute(t, []string{"RARETASK_ROOT=" + root, "HOME=" + root, "CC=no-such-compiler",
		"GOMLX_BACKEND=xla:cpu", "PJRT_PLUGIN_LIBRARY_PATH=", "GOFLAGS=-mod=mod"}, "doctor", "--json")
	d := fromJSON[lab.Diagnosis](t, stdout)
	if status != 1 || d.OK || !strings.Contains(stderr, "remedies") {
		t.Errorf("exit %d, ok %v, %q; want 1 and not ok", status, d.OK, stderr)
	}
	for name, remedy := range map[string]string{
		"C compiler": "apt install gcc", "python environment": "raretask setup", "gonb": "raretask setup", "gopls": "raretask setup",
		"goimports": "raretask setup", "kernel": "raretask setup", "plugin": "no C compiler", "backend": "raretask setup",
	} {
		i := slices.IndexFunc(d.Parts, func(p lab.Part) bool { return p.Name == name })
		if i < 0 || d.Parts[i].OK || !strings.Contains(d.Parts[i].Remedy, remedy) {
			t.Errorf("%s: want it missing, with remedy %q, in %+v", name, remedy, d.Parts)
		}
	}
	if left, err := os.ReadDir(filepath.Join(root, ".raretask")); err == nil {
		t.Errorf("doctor made %v", left)
	}
}

func TestSetupSaysWhichPythonIsMissing(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(filepath.Join("..", "..", "..", "notebooks"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("module raretask\n\ngo 1.26.5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "notebooks"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "requirements.txt"), filepath.Join(root, "notebooks", "requirements.txt")); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := execute(t, []string{"RARETASK_ROOT=" + root, "PATH=" + t.TempDir()}, "setup")
	if status != 1 || !strings.Contains(stderr, "no python3 on PATH; install Python 3.10") {
		t.Errorf("exit %d, %q", status, stderr)
	}
}

func TestSetupThenDoctor(t *testing.T) {
	ready(t)
	status, stdout, stderr := execute(t, nil, "setup", "--json")
	if d := fromJSON[lab.Diagnosis](t, stdout); status != 0 || !d.OK || stderr != "" {
		t.Errorf("second set-up: exit %d, ok %v, %q; want it to do nothing", status, d.OK, stderr)
	}
	status, stdout, _ = execute(t, nil, "doctor", "--json")
	d := fromJSON[lab.Diagnosis](t, stdout)
	if status != 0 || !d.OK || d.Backend.Name == "" || d.Backend.Version == "" || d.Backend.Devices < 1 {
		t.Errorf("doctor: exit %d, %+v", status, d)
	}
}

func TestReproduceJSON(t *testing.T) {
	ready(t)
	notebook := `{"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "gonb", "display_name": "Go", "language": "go"}},
"cells": [{"id": "a", "cell_type": "code", "execution_count": null, "outputs": [], "metadata": {"tags": ["fig5a"]},
"source": "%%\nos.WriteFile(os.Getenv(\"RARETASK_FIGURES\")+\"/fig5a.csv\", nil, 0o644)"}]}`
	path := filepath.Join(t.TempDir(), "mine.ipynb")
	if err := os.WriteFile(path, []byte(notebook), 0o644); err != nil {
		t.Fatal(err)
	}
	results := t.TempDir()
	env := []string{"RARETASK_RESULTS=" + results}
	status, stdout, stderr := execute(t, env, "reproduce", "fig5", "--json", "--scale", "smoke", "--notebook", path)
	if status != 0 {
		t.Fatalf("exit %d: %s", status, stderr)
	}
	r := fromJSON[reproduction](t, stdout)
	if len(r.Figures) != 1 || r.Figures[0].Name != "fig5a" || !slices.Equal(r.Figures[0].Files, []string{"figures/fig5a.csv"}) {
		t.Errorf("figures %+v", r.Figures)
	}
	if _, err := os.Stat(filepath.Join(results, "reproduce", "smoke", "index.html")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(stderr, "[1/1] mine cell 1 fig5a") {
		t.Errorf("progress %q doesn't name the cell", stderr)
	}
}

func TestLabServesUntilInterrupted(t *testing.T) {
	ready(t)
	cmd := exec.Command(binary(t), "lab", "--no-browser", "--json", "--port", "18881")
	cmd.Env = append(os.Environ(), "RARETASK_LISTEN=") // which the image alone sets
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // a failed test leaves no server behind
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	var server struct{ URL string }
	if err := json.NewDecoder(stdout).Decode(&server); err != nil {
		t.Fatalf("no address: %v", err)
	}
	base, page, _ := strings.Cut(server.URL, "lab/tree/")
	_, token, _ := strings.Cut(page, "?")
	if !strings.HasPrefix(base, "http://127.0.0.1:") || len(token) < len("token=")+20 {
		t.Fatalf("address %s; want loopback, a page and a token", server.URL)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(base, "http://"), ":")
	if conn, err := net.Dial("tcp", "127.0.0.2:"+strings.TrimSuffix(port, "/")); err == nil {
		conn.Close()
		t.Error("it listens on more than 127.0.0.1")
	}
	for query, want := range map[string]int{"?" + token: http.StatusOK, "": http.StatusForbidden} {
		response, err := http.Get(base + "api/kernelspecs" + query)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("kernelspecs with query %q: %s; want %d", query, response.Status, want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted: %v; want a clean exit", err)
	}
	if _, err := http.Get(base); err == nil {
		t.Error("the server is still there")
	}
}

// A panic inside a verb is a failure that asks to be reported: Go's own exit status for it is that of wrong usage.
func TestPanicExits1(t *testing.T) {
	if os.Getenv("RARETASK_TEST_PANIC") != "" {
		verbs = append(verbs, func() *cobra.Command {
			return &cobra.Command{Use: "stumble", Run: func(*cobra.Command, []string) { panic("over my own feet") }}
		})
		os.Exit(run(t.Context(), []string{"stumble", "--json"}))
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPanicExits1$")
	cmd.Env = append(os.Environ(), "RARETASK_TEST_PANIC=1")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Run()
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if cmd.ProcessState.ExitCode() != 1 || stdout.String() != "" || lines[0] != "raretask: over my own feet" ||
		!strings.Contains(lines[len(lines)-1], "please report it") || !strings.Contains(stderr.String(), "main_test.go") {
		t.Errorf("exit %d, %q, %s; want 1, where it was, and to report it", cmd.ProcessState.ExitCode(), stdout.String(), stderr.String())
	}
}

// Code is read in windows of 140 columns.
func TestLinesFit(t *testing.T) {
	err := filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 {
			return cmp.Or(err, fs.SkipDir)
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		for i, line := range strings.Split(string(text), "\n") {
			if n := utf8.RuneCountInString(line); n > 140 {
				t.Errorf("%s:%d: %d columns", path, i+1, n)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Every figure that README says how to reproduce is one that a notebook's cell is tagged with.
func TestReadmeFiguresAreThere(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("../../../notebooks/*.ipynb")
	if err != nil || len(paths) < 8 {
		t.Fatal(paths, err)
	}
	seen := 0
	for _, m := range regexp.MustCompile("`reproduce ([a-z0-9 -]+)`").FindAllStringSubmatch(string(readme), -1) {
		if strings.Contains(m[1], "--") {
			continue
		}
		seen++
		if err := lab.CheckFigures(strings.Fields(m[1]), paths); err != nil {
			t.Errorf("reproduce %s: %v", m[1], err)
		}
	}
	if seen < 8 {
		t.Errorf("%d commands in README", seen)
	}
}

// No flag's help says that its default is nothing.
func TestHelpShowsNoEmptyDefaults(t *testing.T) {
	for _, verb := range [][]string{{"scaling", "fit"}, {"advise"}, {"theory"}, {"sweep", "run"}, {"reproduce"}} {
		status, out, _ := execute(t, nil, append(verb, "-h")...)
		for _, empty := range []string{"(default )", "(default [])", "(default NaN)"} {
			if status != 0 || strings.Contains(out, empty) {
				t.Errorf("%v -h: exit %d, %s", verb, status, empty)
			}
		}
	}
}
