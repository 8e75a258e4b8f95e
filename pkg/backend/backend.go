// Package backend finds, installs and opens what computes: XLA through a PJRT plugin, or GoMLX's pure Go backend.
// GOMLX_BACKEND chooses (xla:cpu, xla:cuda, xla:tpu, xla:/path/to/plugin.so, go); without it the best one found is taken.
package backend

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/gobackend"
)

// Setup is the command that installs what is missing; error messages name it.
const Setup = "go run ./pkg/cmd/raretask setup"

// Backend is an open compute backend and what it is. Hand the embedded compute.Backend to GoMLX, which compares
// backends by identity.
type Backend struct {
	compute.Backend
	Identity Identity
	Notice   string // why this is not XLA although nothing else was asked for; empty otherwise
}

var noticeOnce sync.Once

// Open opens the backend that GOMLX_BACKEND names, or the best one there is.
//
// A backend that was asked for and cannot be opened is an error. With nothing asked for and no usable XLA plugin it is
// the pure Go backend, and a notice on standard error, once per process, says what that costs. Open never downloads.
func Open() (b *Backend, err error) {
	engine, config, err := Asked()
	if err != nil {
		return nil, err
	}
	defer func() {
		if cause := recover(); cause != nil {
			b, err = nil, fmt.Errorf("panicked while opening: %v", cause)
		}
		if err != nil {
			err = fmt.Errorf("backend: %s=%q: %w", compute.ConfigEnvVar, os.Getenv(compute.ConfigEnvVar), err)
		}
	}()
	if engine == "go" {
		return openGo(config)
	}
	b, err = openXLA(config)
	if err != nil && engine == "" {
		return openFallback(err)
	}
	return b, err
}

// Asked returns what GOMLX_BACKEND asks for: the engine (xla, go or, when nothing is asked for, neither) and its configuration.
func Asked() (engine, config string, err error) {
	asked := os.Getenv(compute.ConfigEnvVar)
	engine, config, _ = strings.Cut(asked, ":")
	if engine != "" && engine != "xla" && engine != "go" {
		err = fmt.Errorf("backend: %s=%q: want xla:cpu, xla:cuda, xla:tpu, xla:/path/to/plugin.so or go", compute.ConfigEnvVar, asked)
	}
	return engine, config, err
}

func openFallback(cause error) (*Backend, error) {
	b, err := openGo("")
	if err != nil {
		return nil, err
	}
	b.Notice = fmt.Sprintf("raretask: using the pure Go backend, 6-8x slower on our models: %v (%s=go hides this notice)", cause, compute.ConfigEnvVar)
	noticeOnce.Do(func() { fmt.Fprintln(os.Stderr, b.Notice) })
	return b, nil
}

func openGo(config string) (*Backend, error) {
	// One operation at a time, each on all cores: side by side, as is the default of compute v0.1.5, matrix products that wait for a
	// free worker hold the workers they wait for, and with a handful of them nothing ever moves again.
	engine, err := gobackend.New("ops_sequential," + config)
	if err != nil {
		return nil, err
	}
	version := "compute " + moduleVersion("github.com/gomlx/compute")
	if config != "" {
		version += ", options " + config
	}
	return &Backend{Backend: engine, Identity: identify("go", version, engine)}, nil
}
