//go:build cgo

package backend

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/installer"
	"github.com/gomlx/go-xla/pjrt"
)

func init() {
	xla.EnableAutoInstall(false) // a download is Install's business, never a training run's
}

// openXLA opens the plugin that config names: a kind or a path, then options of go-xla, separated by commas.
func openXLA(config string) (*Backend, error) {
	name, options, _ := strings.Cut(config, ",")
	plugin, err := choose(name)
	if err != nil {
		return nil, err
	}
	if err := plugin.Check(); err != nil {
		return nil, err
	}
	version, err := plugin.Version()
	if err != nil {
		return nil, fmt.Errorf("cannot read plugin: %w", err)
	}
	if n, err := strconv.Atoi(os.Getenv(threadsVar)); os.Getenv(threadsVar) != "" && (err != nil || n < 1 || n > 4096) {
		return nil, fmt.Errorf("%s=%q: want how many threads XLA is to have, 1 … 4096", threadsVar, os.Getenv(threadsVar))
	}
	options = exact(plugin, options)
	loaded, err := pjrt.GetPlugin(plugin.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot load %s: %w", plugin.Path, err)
	}
	engine, err := newClient(plugin, options)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", plugin.Path, err)
	}
	major, minor := loaded.Version()
	version = fmt.Sprintf("%s, PJRT %d.%d, go-xla %s", version, major, minor, moduleVersion("github.com/gomlx/go-xla"))
	if options != "" {
		version += ", options " + options
	}
	if flags := os.Getenv("XLA_FLAGS"); flags != "" {
		version += ", XLA_FLAGS " + flags
	}
	if match := deviceKind.FindStringSubmatch(engine.DeviceDescription(0)); match != nil && plugin.Kind != "cpu" {
		version += ", " + match[1]
	}
	return &Backend{Backend: engine, Identity: identify("xla:"+plugin.Kind, version, engine), config: config}, nil
}

// deviceKind finds what an accelerator is in the plugin's description of it.
var deviceKind = regexp.MustCompile(`device_kind=([^,)]+)`)

// exact has a GPU compute as a CPU does, unless options or XLA_FLAGS say otherwise: go-xla v0.4.4 rounds the factors of float32 products
// to 10 bits there (TF32), and XLA chooses kernels by timing them, so that a program compiled again may give other bits.
func exact(plugin Plugin, options string) string {
	if plugin.Kind != "cuda" {
		return options
	}
	if _, set := os.LookupEnv("XLA_FLAGS"); !set {
		os.Setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
	}
	if !strings.Contains(options, "tf32") {
		options = strings.TrimPrefix(options+",tf32=false", ",")
	}
	return options
}

// newClient starts a plugin. A CPU plugin may offer several devices by default, and then runs a thread per device
// rather than per core; one device is all we use, unless XLA_FLAGS asks for more.
func newClient(plugin Plugin, options string) (*xla.Backend, error) {
	config := plugin.Path
	if options != "" {
		config += "," + options
	}
	if plugin.Kind != "cpu" {
		if !strings.Contains(options, "shared_buffers") {
			config += ",shared_buffers=false" // go-xla guesses this from the path, where "cpu" may be a folder's name
		}
		return xla.NewWithOptions(config, nil)
	}
	if !strings.Contains(os.Getenv("XLA_FLAGS"), "device_count") {
		engine, err := xla.NewWithOptions(config, pjrt.NamedValuesMap{"cpu_device_count": int64(1)})
		if err == nil || !strings.Contains(err.Error(), "option name") {
			return engine, err
		}
	}
	return xla.NewWithOptions(config, nil)
}

// choose finds the plugin to open: at a path, of a kind, or the best there is.
func choose(name string) (Plugin, error) {
	if filepath.IsAbs(name) {
		kind := kindOf(name)
		if kind == "" {
			kind = filepath.Base(name)
		}
		return Plugin{kind, name}, nil
	}
	kinds := []string{name}
	if name == "" {
		kinds = []string{"cuda", "cpu"}
	}
	for _, kind := range kinds {
		plugin, found := Find(kind)
		if found && (name != "" || kind != "cuda" || installer.HasNvidiaGPU()) {
			return plugin, nil
		}
	}
	switch name {
	case "":
		return Plugin{}, fmt.Errorf("no XLA plugin is installed; `%s` installs one", Setup)
	case "cpu":
		return Plugin{}, fmt.Errorf("no XLA plugin for cpu is installed; `%s` installs it", Setup)
	case "cuda", "tpu":
		return Plugin{}, fmt.Errorf("no XLA plugin for %s is installed; `GOMLX_BACKEND=xla:%s %s` installs it", name, name, Setup)
	}
	return Plugin{}, fmt.Errorf("no XLA plugin %q in %s; want cpu, cuda, tpu or the absolute path of a plugin",
		name, strings.Join(PluginDirs(), ", "))
}
