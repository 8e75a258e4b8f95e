package backend

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
	"golang.org/x/sys/cpu"
)

// Identity is everything about a backend that may change the bits of a result. Runs with the same spec, seed and
// identity give the same bytes; across identities only the numbers agree.
type Identity struct {
	Name    string `json:"name"`    // xla:cpu, xla:cuda, go, …
	Version string `json:"version"` // plugin, PJRT API and go-xla; or the pure Go backend's module
	Devices int    `json:"devices"` // how many devices the backend offers
	CPU     string `json:"cpu"`     // architecture and the features that code generation looks at
	Threads int    `json:"threads"` // worker threads of one operation
}

// Key is a short name of the identity: equal keys mean that results are comparable byte by byte.
func (id Identity) Key() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %q %d", id.Name, id.Version, id.Devices, id.CPU, id.Threads))
	return hex.EncodeToString(sum[:6])
}

func (id Identity) String() string {
	return fmt.Sprintf("%s (%s; %d device(s), %d thread(s), %s)", id.Name, id.Version, id.Devices, id.Threads, id.CPU)
}

func identify(name, version string, engine compute.Backend) Identity {
	return Identity{Name: name, Version: version, Devices: engine.NumDevices(), CPU: cpuFeatures(), Threads: threads(name)}
}

// threadsVar is where XLA's CPU plugin looks for the size of its pool of threads.
const threadsVar = "PJRT_NPROC"

// threads is what each engine reads when it sizes its pool: XLA the schedulable cores or PJRT_NPROC, Go its own limit.
func threads(name string) int {
	if !strings.HasPrefix(name, "xla") {
		return runtime.GOMAXPROCS(0)
	}
	if n, err := strconv.Atoi(os.Getenv(threadsVar)); err == nil && n > 0 {
		return n
	}
	return runtime.NumCPU()
}

func cpuFeatures() string {
	text := runtime.GOARCH
	for _, feature := range []struct {
		name string
		has  bool
	}{
		{"sse4.1", cpu.X86.HasSSE41}, {"sse4.2", cpu.X86.HasSSE42}, {"avx", cpu.X86.HasAVX}, {"fma", cpu.X86.HasFMA},
		{"avx2", cpu.X86.HasAVX2}, {"bmi2", cpu.X86.HasBMI2}, {"avx512f", cpu.X86.HasAVX512F},
		{"avx512bw", cpu.X86.HasAVX512BW}, {"avx512dq", cpu.X86.HasAVX512DQ}, {"avx512vl", cpu.X86.HasAVX512VL},
		{"avx512vnni", cpu.X86.HasAVX512VNNI}, {"avx512bf16", cpu.X86.HasAVX512BF16},
		{"amx", cpu.X86.HasAMXTile}, {"amx-bf16", cpu.X86.HasAMXBF16},
		{"asimd", cpu.ARM64.HasASIMD}, {"asimddp", cpu.ARM64.HasASIMDDP}, {"asimdhp", cpu.ARM64.HasASIMDHP},
		{"asimdfhm", cpu.ARM64.HasASIMDFHM}, {"sve", cpu.ARM64.HasSVE}, {"sve2", cpu.ARM64.HasSVE2},
	} {
		if feature.has {
			text += " " + feature.name
		}
	}
	return text
}

// moduleVersion reads the version of a dependency from the running binary.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == path {
				return module.Version
			}
		}
	}
	return "unknown"
}
