package backend

import (
	"archive/zip"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gomlx/go-xla/installer"
)

// The CPU plugin for linux/amd64 is a wheel, so that pip's mirrors, proxies and caches work for it too.
const (
	wheel       = "lammps-jax-pjrt-cpu==0.11.2"
	wheelSHA256 = "1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1"
)

// Pin names what Install installs for a kind on this machine; it changes when a new installation is due.
func Pin(kind string) string {
	if kind == "cpu" && runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		return wheel + " sha256:" + wheelSHA256
	}
	return kind + " by go-xla " + moduleVersion("github.com/gomlx/go-xla")
}

// unverifiedVar says yes to a plugin whose download nobody has published a digest for.
const unverifiedVar = "RARETASK_UNVERIFIED"

// unverified is the error for a plugin that Install would fetch without a digest to check it by; nil where there is one, or where the
// user has said yes. go-xla's installer checks cuda and tpu by the package index, and has no digests of the others.
func unverified(kind, pin string) error {
	if strings.HasPrefix(pin, wheel) || kind == "cuda" || kind == "tpu" || os.Getenv(unverifiedVar) == "1" {
		return nil
	}
	return fmt.Errorf("backend: nobody publishes a digest of the %s plugin for %s/%s, so that it can't be verified; if you trust go-xla's "+
		"releases and the network, `%s=1 %s` fetches it all the same", kind, runtime.GOOS, runtime.GOARCH, unverifiedVar, Setup)
}

// Install puts the plugin of a kind (cpu, cuda, tpu) into PluginDir. It reaches the network; nothing else in this package does.
// The python interpreter is for its pip.
func Install(ctx context.Context, kind, python string) error {
	if err := unverified(kind, Pin(kind)); err != nil {
		return err
	}
	dir, err := PluginDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	if strings.HasPrefix(Pin(kind), wheel) {
		return installWheel(ctx, dir, python)
	}
	return installByGoXLA(ctx, kind, dir)
}

func installWheel(ctx context.Context, dir, python string) error {
	tmp, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	defer os.RemoveAll(tmp)
	pins := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(pins, []byte(wheel+" --hash=sha256:"+wheelSHA256+"\n"), 0o644); err != nil {
		return err
	}
	pip := exec.CommandContext(ctx, python, "-I", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries=2",
		"--no-deps", "--only-binary=:all:", "--require-hashes", "-r", pins, "-d", tmp)
	pip.Dir = tmp
	if output, err := pip.CombinedOutput(); err != nil {
		return fmt.Errorf("backend: pip could not download %s (%w):\n%s\n"+
			"check the network, or name a mirror by PIP_INDEX_URL, and run `%s` again",
			wheel, cmp.Or(ctx.Err(), err), lastLines(output, 4), Setup)
	}
	wheels, _ := fs.Glob(os.DirFS(tmp), "*.whl")
	if len(wheels) != 1 {
		return fmt.Errorf("backend: pip downloaded %d wheels for %s; want 1", len(wheels), wheel)
	}
	return unpack(filepath.Join(tmp, wheels[0]), tmp, dir)
}

// unpack moves the plugin and its licences from a wheel into dir, the plugin last: it is found only when all is there.
func unpack(path, tmp, dir string) error {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("backend: %s: %w", path, err)
	}
	defer archive.Close()
	unpacked := filepath.Join(tmp, "unpacked")
	if err := os.CopyFS(unpacked, archive); err != nil {
		return fmt.Errorf("backend: %s: %w", path, err)
	}
	plugin := ""
	for _, file := range archive.File {
		from := filepath.Join(unpacked, file.Name)
		if kindOf(from) != "" {
			plugin = from
		} else if strings.Contains(file.Name, "/licenses/") {
			if err := os.Rename(from, filepath.Join(dir, filepath.Base(from))); err != nil {
				return err
			}
		}
	}
	if plugin == "" {
		return fmt.Errorf("backend: %s holds no PJRT plugin", filepath.Base(path))
	}
	if err := (Plugin{Path: plugin}).Check(); err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	to, version := filepath.Join(dir, filepath.Base(plugin)), strings.Replace(wheel, "==", " ", 1)+"\n"
	if err := os.WriteFile(to+".version", []byte(version), 0o644); err != nil {
		return err
	}
	return os.Rename(plugin, to)
}

// installByGoXLA uses go-xla's installer, which cannot be cancelled: on cancellation it is left behind to the process's end.
func installByGoXLA(ctx context.Context, kind, dir string) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if cause := recover(); cause != nil {
				done <- fmt.Errorf("installer panicked: %v", cause)
			}
		}()
		done <- installer.AutoInstallPlugin(kind, dir, true, installer.Quiet)
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		if err != nil {
			return fmt.Errorf("backend: go-xla could not install the %s plugin for %s/%s (%w); check the network and run `%s` again",
				kind, runtime.GOOS, runtime.GOARCH, err, Setup)
		}
	}
	if plugin, found := Find(kind); !found || !strings.HasPrefix(plugin.Path, dir) {
		return fmt.Errorf("backend: go-xla has no %s plugin for this machine (%s/%s, or the device is missing); use GOMLX_BACKEND=xla:cpu or go",
			kind, runtime.GOOS, runtime.GOARCH)
	}
	return nil
}

func lastLines(text []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
