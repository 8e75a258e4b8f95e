// Package backendtest opens backends for tests. On a fresh machine it first sets up what is missing, so that `go test
// ./...` needs nothing before it; a machine that can't have the XLA plugin skips the tests that need it, by name.
package backendtest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend"
	"raretask/pkg/lab"
)

var setUp = sync.OnceValue(func() error {
	l, err := lab.Open()
	if err != nil {
		return err
	}
	return l.Setup(context.Background(), nil)
})

var openXLA = sync.OnceValues(func() (*backend.Backend, error) {
	if _, plugin, _ := backend.Asked(); filepath.IsAbs(plugin) { // somebody's own, say an accelerator's: nothing to set up
		return backend.Open()
	}
	if err := setUp(); err != nil {
		return nil, err
	}
	return backend.Open()
})

// XLA opens XLA, or what GOMLX_BACKEND asks for. One backend serves all tests of a package.
func XLA(tb testing.TB) *backend.Backend {
	tb.Helper()
	b, err := openXLA()
	if err != nil {
		tb.Fatal(err)
	}
	if !strings.HasPrefix(b.Identity.Name, "xla") {
		tb.Skipf("no XLA here: %s", b.Notice)
	}
	return b
}

var openGo = sync.OnceValues(func() (*backend.Backend, error) {
	asked, was := os.LookupEnv(compute.ConfigEnvVar)
	os.Setenv(compute.ConfigEnvVar, "go")
	defer func() {
		if was {
			os.Setenv(compute.ConfigEnvVar, asked)
		} else {
			os.Unsetenv(compute.ConfigEnvVar)
		}
	}()
	return backend.Open()
})

// Go opens the pure Go backend, which every machine has.
func Go(tb testing.TB) *backend.Backend {
	tb.Helper()
	b, err := openGo()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Each runs a test on the pure Go backend and on XLA.
func Each(t *testing.T, test func(t *testing.T, b *backend.Backend)) {
	t.Run("go", func(t *testing.T) { test(t, Go(t)) })
	t.Run("xla", func(t *testing.T) { test(t, XLA(t)) })
}

// Compile returns a graph as a function of its inputs that returns the numbers of its outputs. It compiles once for inputs of
// the same shapes, which takes far longer than most tests' calls.
func Compile(tb testing.TB, b *backend.Backend, build func(inputs []*graph.Node) []*graph.Node) func(inputs ...any) [][]float32 {
	tb.Helper()
	exec, err := graph.NewExec(b.Backend, build)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(exec.Finalize)
	return func(inputs ...any) [][]float32 {
		tb.Helper()
		out, err := exec.Call(inputs...)
		if err != nil {
			tb.Fatal(err)
		}
		numbers := make([][]float32, len(out))
		for i, o := range out {
			numbers[i] = tensors.MustCopyFlatData[float32](o)
		}
		return numbers
	}
}

// Run executes a graph once and returns the numbers of its outputs.
func Run(tb testing.TB, b *backend.Backend, inputs []any, build func(inputs []*graph.Node) []*graph.Node) [][]float32 {
	tb.Helper()
	return Compile(tb, b, build)(inputs...)
}
