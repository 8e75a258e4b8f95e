package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/backend"
)

// readers returns a Python with pandas, DuckDB and safetensors at the versions of testdata/readers.txt, which it installs once.
func readers(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("installs Python packages, which may take a minute")
	}
	pins, err := os.ReadFile("testdata/readers.txt")
	if err != nil {
		t.Fatal(err)
	}
	state, err := backend.StateDir()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(pins)
	dir := filepath.Join(state, "readers-"+hex.EncodeToString(sum[:6]))
	python, ready := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "ready")
	if _, err := os.Stat(ready); err == nil {
		return python
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"python3", "-m", "venv", dir},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "-r", "testdata/readers.txt"},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("needs pandas, DuckDB and safetensors, which can't be installed here: %v\n%s", err, output)
		}
	}
	if err := os.WriteFile(ready, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return python
}

// Tables, result files, published ones and kept states open in pandas, DuckDB and safetensors with no code of ours.
func TestOthersReadWhatWeWrite(t *testing.T) {
	python := readers(t)
	dir, env := place(t, onGo)
	spec := write(t, "small.yaml", small)
	runSweep(t, env, spec)
	parquet, text := filepath.Join(dir, "table.parquet"), filepath.Join(dir, "table.csv")
	for _, out := range []string{parquet, text} {
		if status, _, stderr := execute(t, env, "sweep", "export", spec, "--out", out); status != 0 {
			t.Fatal(stderr)
		}
	}
	output, err := exec.Command(python, "testdata/readers.py", parquet, text, filepath.Join(dir, "runs"), keptState(t),
		"../../../notebooks/data").Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("%v\n%s", err, exit.Stderr)
	}
	var seen struct {
		Rows, Runs   int
		FilesRows    int `json:"files_rows"`
		FilesRuns    int `json:"files_runs"`
		Undocumented []string
		Null         bool `json:"first_train_loss_is_null"`
		Widths       []int
		Encoder      []int
		Step         int
	}
	if err := json.Unmarshal(output, &seen); err != nil {
		t.Fatalf("%v in %s", err, output)
	}
	if seen.Runs != 12 || seen.Rows == 0 || seen.FilesRows != seen.Rows || seen.FilesRuns != 12 || len(seen.Undocumented) > 0 || !seen.Null ||
		!slices.Equal(seen.Widths, []int{2, 3}) || !slices.Equal(seen.Encoder, []int{1, 3, 6}) || seen.Step == 0 {
		t.Errorf("they see %+v", seen)
	}
}

// keptState returns the file of a state that a killed sweep has left.
func keptState(t *testing.T) string {
	t.Helper()
	dir, env := place(t, onGo)
	long := strings.NewReplacer("steps: 200", "steps: 100000", "[2, 3]", "[3]", "[0, 1, 2, 3, 4, 5]", "[0]")
	spec := write(t, "long.yaml", long.Replace(small))
	cmd := exec.Command(binary(t), "sweep", "run", spec, "--checkpoint", "1ms")
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var states []string
	waitFor(t, "a state", func() bool {
		states, _ = filepath.Glob(filepath.Join(dir, "runs", "unfinished", "*.safetensors"))
		return len(states) > 0
	})
	return states[0]
}
