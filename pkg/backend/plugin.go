package backend

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// A Plugin is a PJRT plugin on disk.
type Plugin struct {
	Kind string // cpu, cuda, tpu, …
	Path string
}

// PluginDir is where Install puts plugins, and the first place that is searched.
func PluginDir() (string, error) {
	state, err := StateDir()
	return filepath.Join(state, "plugin"), err
}

// PluginDirs lists the folders searched for plugins: ours, PJRT_PLUGIN_LIBRARY_PATH, and go-xla's usual places.
func PluginDirs() []string {
	var dirs []string
	if own, err := PluginDir(); err == nil {
		dirs = append(dirs, own, filepath.Join(own, "go-xla"), filepath.Join(own, "go-xla", "nvidia"))
	}
	dirs = append(dirs, filepath.SplitList(os.Getenv("PJRT_PLUGIN_LIBRARY_PATH"))...)
	if home, err := os.UserHomeDir(); err == nil {
		for _, lib := range []string{".local/lib", "Library/Application Support"} {
			dirs = append(dirs, filepath.Join(home, lib, "go-xla"), filepath.Join(home, lib, "go-xla", "nvidia"))
		}
	}
	dirs = append(dirs, "/usr/local/lib/go-xla", "/usr/local/lib/go-xla/nvidia")
	dirs = append(dirs, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	return slices.DeleteFunc(dirs, func(dir string) bool { return !filepath.IsAbs(dir) })
}

var pluginName = regexp.MustCompile(
	`^(?:pjrt_c_api_(\w+?)(?:_v[\w.]+)?_plugin|pjrt[-_]plugin[-_](\w+?)(?:_v[\w.]+)?|xla_(\w+?)_plugin)\.(?:so|dylib|dll)$`)

// Find returns the first plugin of a kind (cpu, cuda, tpu) in PluginDirs.
func Find(kind string) (Plugin, bool) {
	for _, dir := range PluginDirs() {
		files, _ := os.ReadDir(dir)
		for _, file := range files {
			if kindOf(file.Name()) == kind {
				return Plugin{kind, filepath.Join(dir, file.Name())}, true
			}
		}
	}
	return Plugin{}, false
}

// kindOf is what the plugin in a file computes on, by the names that XLA's and JAX's builds give; empty for another file.
func kindOf(file string) string {
	if match := pluginName.FindStringSubmatch(filepath.Base(file)); match != nil {
		return match[1] + match[2] + match[3]
	}
	return ""
}

// Version says which build of the plugin it is: what Install recorded, or else a digest of the file.
func (p Plugin) Version() (string, error) {
	if text, err := os.ReadFile(p.Path + ".version"); err == nil {
		return string(bytes.TrimSpace(text)), nil
	}
	f, err := os.Open(p.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, f); err != nil {
		return "", err
	}
	return filepath.Base(p.Path) + " " + hex.EncodeToString(digest.Sum(nil)[:6]), nil
}

// Check reports whether this machine can load the plugin, before the loader tries: it is whole, for this platform and exports
// PJRT. The loader's own messages name a symptom, and a truncated file may kill the process.
func (p Plugin) Check() error {
	if info, err := os.Stat(p.Path); err != nil {
		return fmt.Errorf("no plugin at %s; correct the path or run `%s`", p.Path, Setup)
	} else if info.IsDir() {
		return fmt.Errorf("%s is a folder; want the plugin's .so file in it", p.Path)
	}
	if runtime.GOOS != "linux" {
		return nil
	}
	file, err := elf.Open(p.Path)
	if err != nil {
		return fmt.Errorf("%s is not a whole shared library (%v); remove it and run `%s`", p.Path, err, Setup)
	}
	defer file.Close()
	if want := machines[runtime.GOARCH]; want != 0 && file.Machine != want {
		return fmt.Errorf("%s is for %s; this machine is linux/%s: remove it and run `%s`",
			p.Path, strings.TrimPrefix(file.Machine.String(), "EM_"), runtime.GOARCH, Setup)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil || !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == "GetPjrtApi" }) {
		return fmt.Errorf("%s is a shared library but no PJRT plugin (it doesn't export GetPjrtApi); remove it and run `%s`", p.Path, Setup)
	}
	return nil
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
