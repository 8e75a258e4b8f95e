package lab

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"raretask/pkg/backend"
)

// part is a piece of the lab: how to tell that it is there, and how to make it so.
type part struct {
	name    string
	check   func() (version string, err error) // an error says what is wrong and the remedy
	install func(ctx context.Context) error    // nil for what the user must install
}

// parts lists the lab's pieces; each may need those above it.
func (l *Lab) parts() []part {
	parts := []part{
		{"go", l.checkGo, nil},
		{compilerPart, checkCompiler, nil},
		{"python", func() (string, error) { _, version, err := findPython(); return version, err }, nil},
		{l.jupyter().name, func() (string, error) { return l.jupyterVersion(), l.checkEnvironment(l.jupyter()) },
			func(ctx context.Context) error { return l.installEnvironment(ctx, l.jupyter()) }},
	}
	for _, tool := range tools {
		parts = append(parts, part{tool.name, func() (string, error) { return l.pin(tool.module), l.checkTool(tool) },
			func(ctx context.Context) error { return l.installTool(ctx, tool) }})
	}
	return append(parts,
		part{"kernel", func() (string, error) { return "gonb", l.checkKernel() }, l.installKernel},
		part{pluginPart, l.checkPlugin, l.installPlugin},
	)
}

// Gopls is the part that helps a person who types and nobody else; it takes the longest to build.
const Gopls = "gopls"

const (
	compilerPart = "C compiler"
	pluginPart   = "plugin"
)

// optional parts: without a compiler or plugin the pure Go backend stands in, and without gopls nobody's typing is completed.
var optional = []string{compilerPart, pluginPart, Gopls}

// Setup installs what is missing or was made from other pins, and leaves the rest alone, also the parts named in without. Another
// set-up of the same checkout is waited for. Only when XLA was asked for by GOMLX_BACKEND is it an error that its plugin cannot be had.
func (l *Lab) Setup(ctx context.Context, progress Progress, without ...string) error {
	if _, _, err := backend.Asked(); err != nil {
		return err
	}
	parts := slices.DeleteFunc(l.parts(), func(p part) bool { return slices.Contains(without, p.name) })
	return l.installMissing(ctx, parts, progress)
}

// installMissing installs those of the parts that are missing, alone in this checkout.
func (l *Lab) installMissing(ctx context.Context, parts []part, progress Progress) error {
	if len(missing(parts)) == 0 {
		return nil
	}
	if err := os.MkdirAll(l.state, 0o755); err != nil {
		return fmt.Errorf("lab: cannot write in %s: %w; make the checkout writable", l.root, err)
	}
	unlock, err := l.lock(ctx, progress)
	if err != nil {
		return err
	}
	defer unlock()
	total, step := len(missing(parts)), 0 // another set-up may have made it meanwhile
	for _, part := range parts {
		if !part.missing() { // asked again: a new Python environment lacks the kernel that the old one had
			continue
		}
		step++
		if err := l.install(ctx, part, Event{Text: "installing " + part.name, Step: step, Total: max(total, step)}, progress); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) install(ctx context.Context, part part, event Event, progress Progress) error {
	progress.tell(event)
	begin := time.Now()
	err := part.install(ctx)
	event.Done, event.Seconds = true, time.Since(begin).Seconds()
	engine, _, _ := backend.Asked()
	if err != nil && part.name == pluginPart && engine == "" && ctx.Err() == nil {
		event.Step, event.Total = 0, 0
		event.Text = fmt.Sprintf("no XLA plugin: %v\nThe pure Go backend will be used; it is 6-8x slower on our models.", err)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("lab: %s: %w", part.name, err)
	}
	progress.tell(event)
	return nil
}

// missing lists the parts that set-up must install.
func missing(parts []part) []part {
	return slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return !p.missing() })
}

func (p part) missing() bool {
	if p.install == nil {
		return false
	}
	_, err := p.check()
	return err != nil
}

// lock keeps set-ups of one checkout apart.
func (l *Lab) lock(ctx context.Context, progress Progress) (unlock func(), err error) {
	lock := flock.New(filepath.Join(l.state, "lock"))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		progress.tell(Event{Text: "waiting for another set-up of this checkout"})
		_, err = lock.TryLockContext(ctx, 200*time.Millisecond)
		progress.tell(Event{Text: "the other set-up has ended", Done: true})
	}
	if err != nil {
		return nil, fmt.Errorf("lab: cannot lock %s: %w", lock.Path(), err)
	}
	return func() { lock.Unlock() }, nil
}

// kind is the plugin that GOMLX_BACKEND needs: cpu unless it names another; none for the Go backend or a plugin's path.
func kind() string {
	engine, config, _ := backend.Asked()
	name, _, _ := strings.Cut(config, ",")
	if engine == "go" || filepath.IsAbs(name) {
		return ""
	}
	return cmp.Or(name, "cpu")
}

// checkPlugin accepts a plugin that was installed elsewhere, by an image or a cluster's admin, as it is.
func (l *Lab) checkPlugin() (version string, err error) {
	if kind() == "" {
		return "none needed", nil
	}
	plugin, found := backend.Find(kind())
	if found {
		version, _ = plugin.Version()
	}
	if _, err := checkCompiler(); err != nil { // without one go builds programs that cannot load a plugin
		return version, err
	}
	if !found {
		return version, errNotInstalled
	}
	if err = plugin.Check(); err == nil && strings.HasPrefix(plugin.Path, l.state) {
		err = l.checkStamp(pluginPart+" "+kind(), plugin.Path, backend.Pin(kind()))
	}
	return version, err
}

func (l *Lab) installPlugin(ctx context.Context) error {
	if _, err := checkCompiler(); err != nil {
		return fmt.Errorf("XLA needs a C compiler: %w", err)
	}
	if err := backend.Install(ctx, kind(), l.python()); err != nil {
		return err
	}
	return l.writeStamp(pluginPart+" "+kind(), backend.Pin(kind()))
}
