// Package backend finds, installs and opens what computes: XLA through a PJRT plugin, or GoMLX's pure Go backend.
// GOMLX_BACKEND chooses (xla:cpu, xla:cuda, xla:tpu, xla:/path/to/plugin.so, go); without it the best one found is taken.
package backend

import (
	"fmt"
	"os"
	"slices"
	"strconv"
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

	config string // what it was opened with
	mu     sync.Mutex
	parts  map[int][]*Backend // of each Split
}

// Parts returns into how many backends this one can be divided.
func (b *Backend) Parts() int {
	if b.Identity.Name != "xla:cpu" {
		return 1
	}
	return b.Identity.Threads
}

// Split returns n backends among which the machine's cores are divided, for programs that run side by side; their numbers are the same
// to the last bit. Only XLA on a CPU can be divided: others are returned n times.
//
// A client of XLA's CPU plugin runs all programs on one pool of threads and cuts every operation into as many pieces as the pool has
// threads, so that small programs side by side wait for each other at every operation: two clients of one thread each train small
// nets 1.2 to 2.2 times as fast as one of two does. Clients stay open, as arrays on them may outlive their use.
func (b *Backend) Split(n int) ([]*Backend, error) {
	if n < 2 || b.Parts() == 1 {
		return slices.Repeat([]*Backend{b}, n), nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parts == nil {
		b.parts = map[int][]*Backend{}
	}
	for len(b.parts[n]) < n {
		part, err := openThreads(b.config, max(1, b.Identity.Threads/n))
		if err != nil {
			return nil, fmt.Errorf("backend: client %d of %d: %w", len(b.parts[n])+1, n, err)
		}
		part.Identity = b.Identity
		b.parts[n] = append(b.parts[n], part)
	}
	return b.parts[n], nil
}

// openThreads opens XLA with a pool of as many threads, which its CPU plugin takes from the environment alone.
func openThreads(config string, threads int) (*Backend, error) {
	was, set := os.LookupEnv(threadsVar)
	if err := os.Setenv(threadsVar, strconv.Itoa(threads)); err != nil {
		return nil, err
	}
	defer func() {
		if set {
			os.Setenv(threadsVar, was)
		} else {
			os.Unsetenv(threadsVar)
		}
	}()
	return openXLA(config)
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
	b.Notice = fmt.Sprintf("raretask: using the pure Go backend, 6-8x slower on our models: %v (%s=go hides this notice)",
		cause, compute.ConfigEnvVar)
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
