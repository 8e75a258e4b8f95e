package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"raretask/pkg/backend"
)

// tool is a program that the kernel needs, pinned by go.mod.
type tool struct{ name, module, pkg string }

var tools = []tool{
	{"gonb", "github.com/janpfeifer/gonb", "github.com/janpfeifer/gonb"},
	{"goimports", "golang.org/x/tools", "golang.org/x/tools/cmd/goimports"},
	{Gopls, "golang.org/x/tools/gopls", "golang.org/x/tools/gopls"},
}

// goEnv asks the go command for a setting; asking costs a process, so once.
var goEnv = sync.OnceValue(func() map[string]string {
	output, err := exec.Command("go", "env", "-json", "GOVERSION", "CC").Output()
	settings := map[string]string{}
	if err != nil || json.Unmarshal(output, &settings) != nil {
		return nil
	}
	return settings
})

func (l *Lab) checkGo() (have string, err error) {
	have, want := goEnv()["GOVERSION"], "go"+l.pin(`go`)
	const site = "see go.dev/doc/install"
	switch {
	case have == "":
		err = fmt.Errorf("no go command on PATH; install %s or newer, %s", want, site)
	case version.Compare(have, want) < 0:
		err = fmt.Errorf("%s is too old; install %s or newer, %s", have, want, site)
	}
	return have, err
}

func checkCompiler() (version string, err error) {
	compiler, _, _ := strings.Cut(goEnv()["CC"], " ")
	if _, err := exec.LookPath(compiler); err != nil {
		return "", fmt.Errorf("no C compiler (%s) on PATH; install one (Debian: apt install gcc libc6-dev; macOS: xcode-select --install)",
			compiler)
	}
	output, _ := exec.Command(compiler, "--version").Output()
	version, _, _ = strings.Cut(string(output), "\n")
	return version, nil
}

// pin reads from go.mod the version behind a word: a module's path, or `go`.
func (l *Lab) pin(word string) string {
	return found(filepath.Join(l.root, "go.mod"), `(?m)^\s*(?:require )?`+regexp.QuoteMeta(word)+` (\S+)`)
}

// found returns what a pattern's group matches first in a file; empty where it matches nothing.
func found(path, pattern string) string {
	text, _ := os.ReadFile(path)
	if match := regexp.MustCompile(pattern).FindSubmatch(text); match != nil {
		return string(match[1])
	}
	return ""
}

func (l *Lab) toolPath(t tool) string { return filepath.Join(l.state, "bin", t.name) }

// toolPin also names the Go release: gopls must not be older than the code it reads.
func (l *Lab) toolPin(t tool) string {
	return l.pin(t.module) + " " + goEnv()["GOVERSION"] + patchPin(t)
}

func (l *Lab) checkTool(t tool) error { return l.checkStamp(t.name, l.toolPath(t), l.toolPin(t)) }

func (l *Lab) installTool(ctx context.Context, t tool) error {
	if _, err := l.checkGo(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(l.state, "patched-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	with, err := l.patched(ctx, t, dir)
	if err != nil {
		return err
	}
	tmp := l.toolPath(t) + ".new"
	if err := l.run(ctx, "go", slices.Concat([]string{"build", "-o", tmp}, with, []string{t.pkg})...); err != nil {
		return err
	}
	if err := os.Rename(tmp, l.toolPath(t)); err != nil {
		return err
	}
	return l.writeStamp(t.name, l.toolPin(t))
}

// kernelFiles are the files, by path, that make JupyterLab find our kernel and keep quiet. They hold the checkout's path, so a checkout
// that moved gets new ones.
func (l *Lab) kernelFiles() map[string][]byte {
	bin := filepath.Join(l.state, "bin")
	plugin := filepath.Join(l.state, "plugin")
	const list = string(filepath.ListSeparator)
	kernel := map[string]any{
		"argv": []string{filepath.Join(bin, "gonb"), "--kernel", "{connection_file}", "-go_work=" + l.root,
			"-legacy_stderr_threshold_behavior=false", "-stderrthreshold=FATAL"}, // a cell shows its own errors
		"display_name":   "Go (gonb)",
		"language":       "go",
		"interrupt_mode": "message",
		"env": map[string]string{
			"PATH":                     bin + list + "${PATH}",
			"GOFLAGS":                  "'-ldflags=-s -w'", // halves the time from Run to output: most of it is linking
			"RARETASK_ROOT":            l.root,
			"GOMLX_NO_AUTO_INSTALL":    "1",
			"PJRT_PLUGIN_LIBRARY_PATH": plugin + list + filepath.Join(plugin, "go-xla", "nvidia") + list + "${PJRT_PLUGIN_LIBRARY_PATH}",
		},
	}
	overrides := map[string]any{
		"@jupyterlab/apputils-extension:notification": map[string]any{"fetchNews": "false", "checkForUpdates": false},
		"@jupyterlab/apputils-extension:themes":       map[string]any{"adaptive-theme": true},
		"@jupyterlab/notebook-extension:tracker":      map[string]any{"codeCellConfig": map[string]any{"lineWrap": true}},
		// gopls takes some seconds to load packages for the first Tab on a new machine, and an answer after 1 s would be dropped.
		"@jupyterlab/completer-extension:manager": map[string]any{"providerTimeout": 30_000},
	}
	share := filepath.Join(l.state, "python", "share", "jupyter")
	return map[string][]byte{
		filepath.Join(share, "kernels", "gonb", "kernel.json"):    indented(kernel),
		filepath.Join(share, "lab", "settings", "overrides.json"): indented(overrides),
	}
}

func indented(value any) []byte {
	text, _ := json.MarshalIndent(value, "", "  ") // strings and maps of strings: no error can happen
	return append(text, '\n')
}

func (l *Lab) checkKernel() error {
	for path, want := range l.kernelFiles() {
		if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
			return fmt.Errorf("not installed for this checkout; run `%s`", backend.Setup)
		}
	}
	return nil
}

func (l *Lab) installKernel(context.Context) error {
	for path, content := range l.kernelFiles() {
		if err := replace(path, content); err != nil {
			return err
		}
	}
	return nil
}
