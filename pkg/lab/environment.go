package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const pythonRemedy = "install Python 3.10 or newer with venv (Debian: apt install python3 python3-venv; macOS: brew install python)"

// findPython returns the first usable interpreter on PATH and its version.
func findPython() (path, version string, err error) {
	const ask = "import sys, venv, ensurepip; print('.'.join(map(str, sys.version_info[:3]))); sys.exit(sys.version_info < (3, 10))"
	problem := "no python3 on PATH"
	for _, name := range []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		output, err := exec.Command(path, "-I", "-c", ask).Output() // -I: no module of the working folder's
		version := strings.TrimSpace(string(output))
		if err == nil {
			return path, version, nil
		}
		if strings.HasPrefix(problem, "no python3") {
			problem = fmt.Sprintf("%s has no venv", path)
			if version != "" {
				problem = fmt.Sprintf("%s is Python %s", path, version)
			}
		}
	}
	return "", "", fmt.Errorf("%s; %s", problem, pythonRemedy)
}

// environment is a Python environment of pinned packages below the lab's state. link is turned to it when it is complete.
type environment struct{ name, link, requirements string }

func (l *Lab) jupyter() environment {
	return environment{"python environment", filepath.Join(l.state, "python"), filepath.Join(l.root, "notebooks", "requirements.txt")}
}

func (e environment) python() string { return filepath.Join(e.link, "bin", "python") }

// pin is a digest of the pinned packages.
func (e environment) pin() (string, error) {
	pins, err := os.ReadFile(e.requirements)
	if err != nil {
		return "", fmt.Errorf("lab: %w; is the clone complete?", err)
	}
	sum := sha256.Sum256(pins)
	return hex.EncodeToString(sum[:6]), nil
}

func (l *Lab) checkEnvironment(e environment) error {
	pin, err := e.pin()
	if err != nil {
		return err
	}
	return l.checkStamp(e.name, e.python(), pin)
}

func (l *Lab) jupyterVersion() string {
	return strings.Replace(found(l.jupyter().requirements, `(?m)^(jupyterlab==\S+)`), "==", " ", 1)
}

// installEnvironment makes the environment in a folder of its own and turns the link to it when it is complete: the scripts
// of an environment hold its path, so it cannot be renamed into place.
func (l *Lab) installEnvironment(ctx context.Context, e environment) error {
	base, _, err := findPython()
	if err != nil {
		return err
	}
	pin, err := e.pin()
	if err != nil {
		return err
	}
	replaced, _ := os.Readlink(e.link) // kept, because somebody may be working in it
	old, _ := fs.Glob(os.DirFS(l.state), filepath.Base(e.link)+"-*")
	dir, err := os.MkdirTemp(l.state, filepath.Base(e.link)+"-"+pin+"-")
	if err != nil {
		return err
	}
	err = os.Chmod(dir, 0o755) // for everybody who may read the checkout
	if err == nil {
		err = l.fillEnvironment(ctx, e, base, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := turn(e.link, filepath.Base(dir)); err != nil {
		return err
	}
	for _, name := range old {
		if name != replaced {
			os.RemoveAll(filepath.Join(l.state, name))
		}
	}
	return l.writeStamp(e.name, pin)
}

// turn makes a link point to target, whatever it pointed to and whatever an earlier turn that was killed has left.
func turn(link, target string) error {
	if err := os.Remove(link + ".new"); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Symlink(target, link+".new"); err != nil {
		return err
	}
	return os.Rename(link+".new", link)
}

func (l *Lab) fillEnvironment(ctx context.Context, e environment, base, dir string) error {
	if err := l.run(ctx, base, "-I", "-m", "venv", dir); err != nil {
		return fmt.Errorf("%w\n%s", err, pythonRemedy)
	}
	err := l.run(ctx, filepath.Join(dir, "bin", "python"), "-I", "-m", "pip", "install", "--quiet", "--require-hashes",
		"--only-binary=:all:", "-r", e.requirements)
	if err != nil {
		return fmt.Errorf("%w\ncheck the network, or name a mirror by PIP_INDEX_URL, and run it again", err)
	}
	return nil
}

// run runs a command of the set-up; its output matters only when it fails.
func (l *Lab) run(ctx context.Context, name string, args ...string) error {
	_, err := l.output(ctx, name, args...)
	return err
}

// output runs a command of the set-up and returns what it writes to standard output.
func (l *Lab) output(ctx context.Context, name string, args ...string) (string, error) {
	var output, all bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = l.root, l.environment()
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&output, &all), &all
	err := cmd.Run()
	if err == nil {
		return output.String(), nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	lines := strings.Split(strings.TrimSpace(all.String()), "\n")
	return "", fmt.Errorf("%s failed (%w):\n%s", strings.Join(cmd.Args, " "), err, strings.Join(lines[max(0, len(lines)-12):], "\n"))
}

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
