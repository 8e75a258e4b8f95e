package lab

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
)

func (l *Lab) peers() environment {
	return environment{"peers", filepath.Join(l.state, "peers"), filepath.Join(l.root, "pkg", "bench", "peers", "requirements.txt")}
}

// PeersPython returns the interpreter of the environment that the benchmark's peers run in; false where it is not installed,
// or from other pins.
func (l *Lab) PeersPython() (python string, ok bool) {
	e := l.peers()
	return e.python(), l.checkEnvironment(e) == nil
}

// SetupPeers installs JAX and PyTorch for the benchmark, apart from the notebooks' environment, where they are missing. On Linux that is
// about 3 GB to fetch and 6 GB on disk: the package index has PyTorch for Linux only with its CUDA libraries, which it does not start
// without.
func (l *Lab) SetupPeers(ctx context.Context, progress Progress) error {
	e := l.peers()
	return l.installMissing(ctx, []part{{
		name:    "JAX and PyTorch to compare with (once; on Linux about 3 GB to fetch)",
		check:   func() (string, error) { return "", l.checkEnvironment(e) },
		install: func(ctx context.Context) error { return l.installEnvironment(ctx, e) },
	}}, progress)
}

// PeersEnvironment is what the peers run in: like the rest of the lab, and without the XLA flags that are meant for our programs.
func (l *Lab) PeersEnvironment() []string {
	return slices.DeleteFunc(l.environment(), func(setting string) bool { return strings.HasPrefix(setting, "XLA_FLAGS=") })
}
