package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// patch is a change to one file of a tool's module, made while the tool is built and nowhere else.
type patch struct{ file, old, new string }

// hints are what to do about errors of cells that stop people who are new to them, by words in the error.
var hints = [][2]string{
	{"expected declaration", "A cell's statements stand below a line of %%: is it missing? Above it, or without it, are imports and " +
		"definitions alone."},
	{"undefined: ", "Values don't stay between cells, functions and types do: put what a cell computes into a function that others call."},
	{"declared and not used", "Go wants every variable used: write _ = and its name where it is not."},
	{"expected '(', found ", "Functions with a name, and imports, stand above the line of %%."},
	{"assignment mismatch", "Of a call that may fail, cell.Must(f()) is the value, or ends the cell with the error."},
}

const (
	explained = "	nbErr := newGonbErrors(s, fileToCellIdAndLine, errorMsg, err)\n"
	mainLine  = "			w.Write(\"func main() {\\n\\tflag.Parse()\\n\")\n			needsClosingMain = true\n"
)

// patches are what no flag of gonb v0.11.5 changes.
var patches = map[string][]patch{"gonb": {
	// It waits 12 s before it first asks whether gopls, which answers in .2 s, is there: a kernel's first Tab would take as long.
	{"internal/goexec/goplsclient/exec.go", "time.After(ConnectTimeout)", "time.After(100 * time.Millisecond)"},
	// "go get" before each cell takes its time, may ask the network, and fails where neither that nor go.mod has a package.
	{"internal/goexec/goexec.go", "AutoGet:         true", "AutoGet:         false"},
	// Errors are the compiler's alone: statements without %% are "expected declaration, found fmt".
	{"internal/goexec/errorpublish.go", "	\"bytes\"\n", "	\"bytes\"\n	\"strings\"\n"},
	{"internal/goexec/errorpublish.go", explained, hinted() + explained},
	// A second %% in a cell is an index out of range that takes the kernel down.
	{"internal/goexec/composer.go", mainLine, "			if needsClosingMain {\n				err = errors.Errorf(\"a cell has one line of %%%%: " +
		"write what stands below the second one below the first\")\n				return\n			}\n" + mainLine},
}}

// hinted is Go that adds to errorMsg what to do about it.
func hinted() string {
	var code strings.Builder
	for _, h := range hints {
		fmt.Fprintf(&code, "	if strings.Contains(errorMsg, %q) {\n		errorMsg += %q\n	}\n", h[0], "\n"+h[1])
	}
	return code.String()
}

// patchPin is a digest of a tool's patches; empty for none.
func patchPin(t tool) string {
	if len(patches[t.name]) == 0 {
		return ""
	}
	sum := sha256.Sum256(fmt.Append(nil, patches[t.name]))
	return " patched " + hex.EncodeToString(sum[:6])
}

// patched writes a tool's module with its patches to a folder, and beside it a go.mod that has it in place of the published one. It returns
// the flag by which the go command builds with that; none where there is nothing to patch.
func (l *Lab) patched(ctx context.Context, t tool, to string) ([]string, error) {
	if len(patches[t.name]) == 0 {
		return nil, nil
	}
	from, err := l.output(ctx, "go", "list", "-f", "{{.Module.Dir}}", t.pkg)
	if err != nil {
		return nil, err
	}
	module := filepath.Join(to, t.name)
	if err := os.CopyFS(module, os.DirFS(strings.TrimSpace(from))); err != nil {
		return nil, err
	}
	for _, p := range patches[t.name] {
		path := filepath.Join(module, p.file)
		text, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(text), p.old) {
			err = fmt.Errorf("%s has no %q to be patched; adapt pkg/lab/patch.go to %s", p.file, p.old, l.toolPin(t))
		}
		if err == nil {
			err = os.WriteFile(path, []byte(strings.ReplaceAll(string(text), p.old, p.new)), 0o644)
		}
		if err != nil {
			return nil, err
		}
	}
	mod := filepath.Join(to, "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(l.root, name))
		if name == "go.mod" {
			text = fmt.Appendf(text, "\nreplace %s => %s\n", t.module, module)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), text, 0o644)
		}
		if err != nil {
			return nil, err
		}
	}
	return []string{"-modfile", mod}, nil
}
