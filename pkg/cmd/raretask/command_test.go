package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

var binaryDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "raretask-test-")
	if err != nil {
		panic(err)
	}
	binaryDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var buildBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "raretask")
	if output, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", errors.New(string(output))
	}
	return path, nil
})

// binary returns the path of the command, built from this checkout.
func binary(t testing.TB) string {
	t.Helper()
	path, err := buildBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// execute runs the command and returns its exit status and what it printed.
func execute(t testing.TB, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Env = append(os.Environ(), env...)
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), notes.String()
}

// executeJSON runs a command that must succeed and decodes the one object that it prints.
func executeJSON(t testing.TB, env []string, into any, args ...string) {
	t.Helper()
	status, stdout, stderr := execute(t, env, append(args, "--json")...)
	if status != 0 {
		t.Fatalf("%q: exit %d:\n%s", args, status, stderr)
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(stdout)))
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%q: %v in\n%s", args, err, stdout)
	}
	if decoder.More() {
		t.Fatalf("%q: more than one object on standard output:\n%s", args, stdout)
	}
}

// count returns how often a test should do something: what a variable of the environment says, or few times.
func count(variable string, few int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return few
}

// write writes a file into a fresh folder and returns its path.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
