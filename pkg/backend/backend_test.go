package backend

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// alone hides every plugin of this machine from the test.
func alone(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("module raretask\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RARETASK_ROOT", root)
	t.Setenv("HOME", root)
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", "")
	t.Setenv("LD_LIBRARY_PATH", "")
	t.Setenv("GOMLX_BACKEND", "")
	return root
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q doesn't say %q", err, part)
		}
	}
}

func TestNothingAskedFallsBackWithNotice(t *testing.T) {
	alone(t)
	b, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	if b.Identity.Name != "go" || !strings.Contains(b.Notice, "slower") || !strings.Contains(b.Notice, Setup) {
		t.Errorf("opened %s with notice %q; want go and what it costs", b.Identity.Name, b.Notice)
	}
}

func TestGoAskedForHasNoNotice(t *testing.T) {
	alone(t)
	t.Setenv("GOMLX_BACKEND", "go")
	b, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	if b.Notice != "" {
		t.Errorf("notice %q; want none: go was asked for", b.Notice)
	}
	if b.Identity.Version == "" || b.Identity.Threads < 1 || b.Identity.Devices < 1 || !strings.Contains(b.Identity.CPU, runtime.GOARCH) {
		t.Errorf("identity %+v is not complete", b.Identity)
	}
}

func TestAskedForAndMissing(t *testing.T) {
	root := alone(t)
	for asked, parts := range map[string][]string{
		"xla":                          {"no XLA plugin", Setup},
		"xla:cpu":                      {`GOMLX_BACKEND="xla:cpu"`, "no XLA plugin for cpu", Setup},
		"xla:cuda":                     {"cuda", "GOMLX_BACKEND=xla:cuda " + Setup},
		"xla:abacus":                   {`"abacus"`, root, "want cpu, cuda, tpu"},
		"xla:" + root + "/nowhere.so":  {root + "/nowhere.so", "no plugin at"},
		"xla:" + root:                  {"is a folder"},
		"torch":                        {`"torch"`, "want xla:cpu"},
		"xla:cpu,shared_buffers=maybe": {"no XLA plugin"},
	} {
		t.Setenv("GOMLX_BACKEND", asked)
		_, err := Open()
		wantError(t, err, parts...)
	}
}

func TestBadPlugin(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("plugins are checked before loading on linux only")
	}
	root := alone(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(executable)
	if err != nil {
		t.Fatal(err)
	}
	foreign := append([]byte(nil), whole...)
	foreign[18] = 8 // e_machine: MIPS
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"text":      {[]byte("not a library"), "not a whole shared library"},
		"truncated": {whole[:len(whole)/2], "not a whole shared library"},
		"foreign":   {foreign, "is for MIPS"},
		"no plugin": {whole, "no PJRT plugin"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(root, "pjrt_c_api_cpu_plugin.so")
			if err := os.WriteFile(path, c.content, 0o644); err != nil {
				t.Fatal(err)
			}
			t.Setenv("GOMLX_BACKEND", "xla:"+path)
			_, err := Open()
			wantError(t, err, path, c.want, Setup)

			t.Setenv("GOMLX_BACKEND", "")
			t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", root)
			b, err := Open()
			if err != nil {
				t.Fatalf("nothing asked for: %v; want the Go backend", err)
			}
			defer b.Finalize()
			if !strings.Contains(b.Notice, c.want) {
				t.Errorf("notice %q doesn't say %q", b.Notice, c.want)
			}
		})
	}
}

func TestInstallWithoutNetworkSaysWhatToDo(t *testing.T) {
	alone(t)
	if !strings.HasPrefix(Pin("cpu"), wheel) {
		t.Skip("no wheel for this platform")
	}
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", "")
	err := Install(t.Context(), "cpu", "python3")
	wantError(t, err, wheel, "network", Setup)
	dir, err := PluginDir()
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a failed installation left %v behind", left)
	}
}

// What can't be checked is fetched by an explicit yes alone; the wheel, and what a package index vouches for, needs none.
func TestUnverifiedPluginNeedsAYes(t *testing.T) {
	for kind, pin := range map[string]string{"cpu": "cpu by go-xla v0.4.4", "rocm": "rocm by go-xla v0.4.4"} {
		t.Setenv(unverifiedVar, "")
		wantError(t, unverified(kind, pin), kind, "can't be verified", unverifiedVar+"=1 "+Setup)
		t.Setenv(unverifiedVar, "1")
		if err := unverified(kind, pin); err != nil {
			t.Errorf("after a yes: %v", err)
		}
	}
	t.Setenv(unverifiedVar, "")
	if err := errors.Join(unverified("cpu", wheel+" sha256:"+wheelSHA256), unverified("cuda", "cuda by go-xla v0.4.4")); err != nil {
		t.Error(err)
	}
}

func TestKindOf(t *testing.T) {
	for file, want := range map[string]string{
		"pjrt_c_api_cpu_plugin.so":         "cpu",
		"pjrt_c_api_cpu_v0.98.0_plugin.so": "cpu",
		"pjrt_c_api_cpu_plugin.so.version": "",
		"pjrt-plugin-tpu.so":               "tpu",
		"pjrt_c_api_cuda_plugin.dylib":     "cuda",
		"xla_cuda_plugin.so":               "cuda",
		"libc.so":                          "",
	} {
		if got := kindOf(file); got != want {
			t.Errorf("kindOf(%q) = %q; want %q", file, got, want)
		}
	}
}

// float32 products are of float32 on a GPU, too, and a program compiled again gives the same bits, unless somebody asks for speed.
func TestExactOnGPUs(t *testing.T) {
	for _, c := range []struct{ kind, options, flags, wantOptions, wantFlags string }{
		{"cuda", "", "", "tf32=false", "--xla_gpu_deterministic_ops=true"},
		{"cuda", "preallocate=false", "--other", "preallocate=false,tf32=false", "--other"},
		{"cuda", "tf32", "", "tf32", "--xla_gpu_deterministic_ops=true"},
		{"cpu", "", "", "", ""},
	} {
		t.Setenv("XLA_FLAGS", c.flags)
		if c.flags == "" {
			os.Unsetenv("XLA_FLAGS")
		}
		if got := exact(Plugin{Kind: c.kind}, c.options); got != c.wantOptions || os.Getenv("XLA_FLAGS") != c.wantFlags {
			t.Errorf("%+v: options %q, XLA_FLAGS %q", c, got, os.Getenv("XLA_FLAGS"))
		}
	}
}

func TestIdentityKey(t *testing.T) {
	id := Identity{Name: "xla:cpu", Version: "v", Devices: 1, CPU: "amd64 avx2", Threads: 2}
	if !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(id.Key()) {
		t.Errorf("key %q", id.Key())
	}
	other := id
	other.Threads = 4
	if id.Key() == other.Key() {
		t.Error("more threads, same key")
	}
}
