package sweep

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// machineMemory returns the bytes of memory that this process may use: the machine's, or what its control group allows;
// 0 where the system doesn't say.
func machineMemory() int {
	total := 0
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, _ := strconv.Atoi(fields[1])
			total = kib << 10
		}
	}
	text, _ = os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		_, group, found := strings.Cut(strings.TrimSpace(line), "::") // version 2
		if !found {
			continue
		}
		for dir := group; ; dir = filepath.Dir(dir) {
			limit, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", dir, "memory.max"))
			if n, bad := strconv.Atoi(strings.TrimSpace(string(limit))); err == nil && bad == nil && (total == 0 || n < total) {
				total = n
			}
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	return total
}

// workersFor returns how many stacks of a size train at a time, up to most, in the memory that a machine has (0:
// unknown), or a *MemoryError where not even one fits.
func workersFor(stack, machine, most int) (int, error) {
	if machine == 0 || stack == 0 {
		return most, nil
	}
	if stack > machine {
		return 0, &MemoryError{stack, machine}
	}
	return min(most, machine/stack), nil
}

// A MemoryError says that a machine has not the bytes of memory that a stack takes.
type MemoryError struct{ Stack, Machine int }

func (e *MemoryError) Error() string {
	return fmt.Sprintf("sweep: a stack takes about %.2g GiB to train and this machine has %.2g GiB: use a larger machine, "+
		"or set memory: %.2g in the spec, which splits it into smaller stacks", gib(e.Stack), gib(e.Machine), gib(e.Machine)*.8)
}
