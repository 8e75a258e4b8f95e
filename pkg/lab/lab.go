// Package lab is the room that notebooks run in: a pinned Python environment with JupyterLab, the Go kernel (GoNB) and its
// tools, all inside the checkout's .raretask folder. It sets that room up, explains it, opens it in a browser, executes
// notebooks headless and draws their charts as pictures.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"raretask/pkg/backend"
)

// Lab is the laboratory of one checkout.
type Lab struct {
	root  string // the checkout
	state string // root/.raretask
}

// Open returns the laboratory of the checkout that this program belongs to. It sets nothing up; Setup does.
func Open() (*Lab, error) {
	root, err := backend.Root()
	if err != nil {
		return nil, err
	}
	state, err := backend.StateDir()
	return &Lab{root, state}, err
}

// Notebooks lists the checkout's notebooks in the order of their names.
func (l *Lab) Notebooks() ([]string, error) {
	dir := filepath.Join(l.root, "notebooks")
	paths, err := fs.Glob(os.DirFS(dir), "*.ipynb") // of names alone: a folder's may hold a [
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("lab: no notebooks in %s; is the clone complete?", dir)
	}
	for i := range paths {
		paths[i] = filepath.Join(dir, paths[i])
	}
	return paths, err
}

// An Event tells of something that takes time: it begins with Done false and ends with Done true.
type Event struct {
	Text    string
	Done    bool
	Step    int // which of Total steps this is, from 1
	Total   int // 0 when unknown
	Seconds float64
}

// Progress is told what happens. It may be nil.
type Progress func(Event)

func (p Progress) tell(e Event) {
	if p != nil {
		p(e)
	}
}

// jupyterHome is the folder of Jupyter's settings, history and connections: among the lab's state or, where that is not ours to
// change, as in an image, in the user's cache.
func (l *Lab) jupyterHome() string {
	dir := filepath.Join(l.state, "jupyter")
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = unix.Access(dir, unix.W_OK)
	}
	if cache, noCache := os.UserCacheDir(); err != nil && noCache == nil {
		return filepath.Join(cache, "raretask", "jupyter")
	}
	return dir
}

// environment is what every Python process of the lab runs in: nothing of the user's Python or Jupyter set-up gets in, and
// nothing is written to the user's home. Our own processes also run with -I, which Python 3.10 needs so as not to import modules
// from the working folder; PYTHONSAFEPATH is for those that they start.
func (l *Lab) environment() []string {
	jupyter := l.jupyterHome()
	hidden := []string{"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH"}
	theirs := slices.DeleteFunc(os.Environ(), func(setting string) bool {
		name, _, _ := strings.Cut(setting, "=")
		return slices.Contains(hidden, name)
	})
	return append(theirs, // of two settings of one name the later one counts
		"RARETASK_ROOT="+l.root,
		"PYTHONNOUSERSITE=1",
		"PYTHONSAFEPATH=1",
		"PIP_USER=0",
		"PIP_DISABLE_PIP_VERSION_CHECK=1",
		"JUPYTER_CONFIG_DIR="+filepath.Join(jupyter, "config"),
		"JUPYTER_DATA_DIR="+filepath.Join(jupyter, "data"),
		"JUPYTER_RUNTIME_DIR="+filepath.Join(jupyter, "runtime"),
		"JUPYTER_PREFER_ENV_PATH=1",
		"IPYTHONDIR="+filepath.Join(jupyter, "ipython"),
	)
}

// python is the interpreter of the lab's environment.
func (l *Lab) python() string { return l.jupyter().python() }

// command runs the lab's Python in a folder of ours and in a process group of its own, so that Ctrl-C reaches us alone: on
// cancellation it is asked to stop, and has its time to shut kernels down.
func (l *Lab) command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	home := l.jupyterHome()
	if err := os.MkdirAll(filepath.Join(home, "ipython"), 0o755); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	cmd := exec.CommandContext(ctx, l.python(), append([]string{"-I"}, args...)...)
	cmd.Dir, cmd.Env = home, l.environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	return cmd, nil
}

// stamp is the file that says what a part was made from.
func (l *Lab) stamp(part string) string {
	return filepath.Join(l.state, "stamps", strings.ReplaceAll(part, " ", "-"))
}

// checkStamp reports whether a part, of which there is a file at path, was made from what is wanted now.
func (l *Lab) checkStamp(part, path, want string) error {
	_, missing := os.Stat(path) // also when the interpreter behind an environment's was uninstalled
	got, err := os.ReadFile(l.stamp(part))
	if missing != nil || err != nil {
		return errNotInstalled
	}
	if string(got) != want {
		return fmt.Errorf("made from other pins; run `%s`", backend.Setup)
	}
	return nil
}

var errNotInstalled = fmt.Errorf("not installed; run `%s`", backend.Setup)

// writeStamp comes last in an installation, so that what was cut off is done again.
func (l *Lab) writeStamp(part, content string) error { return replace(l.stamp(part), []byte(content)) }

// replace writes a file, in a folder that need not be there, under a temporary name and renames it into place.
func replace(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
