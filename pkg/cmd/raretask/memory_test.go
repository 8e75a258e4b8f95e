package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"raretask/pkg/backend/backendtest"
)

// unlike are specs of one stack that take more than 1 GiB, each for a reason of its own, and a few steps.
var unlike = []struct{ name, spec string }{
	{"parity", `
mixture: {family: parity, tasks: 100, bits: 64, size: 3}
net: {kind: mlp}
train: {batch: 16384, steps: 8, warmup: 1, evaluations: 4}
grid: {net.width: [512, 2048], train.seed: [0, 1], train.data: [0]}
`},
	{"deep mlp", `
mixture: {family: parity, tasks: 20, bits: 64, size: 3}
net: {kind: mlp, depth: 6}
train: {batch: 2048, steps: 8, warmup: 1, evaluations: 4}
grid: {net.width: [512, 2048]}
`},
	{"bottleneck", `
mixture: {tasks: 64, dim: 4096, block: 32}
train: {batch: 2048, steps: 8, warmup: 1, evaluations: 4}
grid: {net.width: [256, 512, 1024]}
`},
	{"many tasks", `
metrics: [loss_sampled]
mixture: {tasks: 1000, dim: 4000, block: 4}
train: {batch: 16384, steps: 2, warmup: 1, evaluations: 1}
grid: {net.width: [8, 64, 512]}
`},
	{"wide inputs", `
mixture: {tasks: 10, dim: 4000, block: 4}
train: {batch: 16384, steps: 2, warmup: 1, evaluations: 1}
grid: {net.width: [64]}
`},
	{"many widths", `
mixture: {tasks: 32, dim: 1024, block: 16}
train: {batch: 1024, steps: 8, warmup: 1, evaluations: 4}
grid: {net.width: [` + multiples(8, 40) + `]}
`},
	{"bfloat16", `
mixture: {tasks: 16, dim: 8192, block: 512}
train: {batch: 8192, steps: 6, warmup: 1, products: bfloat16, evaluations: 3}
grid: {net.width: [64]}
`},
}

// multiples returns the first n multiples of a number, as a list has them.
func multiples(of, n int) string {
	var all []string
	for i := range n {
		all = append(all, strconv.Itoa(of*(i+1)))
	}
	return strings.Join(all, ", ")
}

// peak runs the command and returns the GiB that it held at most.
func peak(t *testing.T, env []string, args ...string) float64 {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Env = append(os.Environ(), env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, output)
	}
	return float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / (1 << 20)
}

// What a plan says that a stack takes is never less than what training it takes and, above 1 GiB, at most a quarter more: of one spec, or
// of all with RARETASK_MEMORY=all.
func TestPlanKnowsMemory(t *testing.T) {
	backendtest.XLA(t)
	some := unlike[:1]
	if os.Getenv("RARETASK_MEMORY") == "all" {
		some = unlike
	}
	for _, c := range some {
		path := write(t, "unlike.yaml", c.spec)
		_, env := place(t)
		var plan struct {
			Stacks int     `json:"stacks"`
			Memory float64 `json:"memory_gib"`
		}
		executeJSON(t, env, &plan, "sweep", "plan", path)
		took := peak(t, env, "sweep", "run", path)
		t.Logf("%-11s planned %.2f GiB, took %.2f: %.2f times", c.name, plan.Memory, took, plan.Memory/took)
		if plan.Stacks != 1 || took < 1 || plan.Memory < took || plan.Memory > 1.25*took {
			t.Errorf("%s: planned %.2f GiB for each of %d stacks; training took %.2f", c.name, plan.Memory, plan.Stacks, took)
		}
	}
}

// memory: bounds what training takes: what would be a stack of more is several.
func TestMemoryIsABound(t *testing.T) {
	backendtest.XLA(t)
	path := write(t, "bound.yaml", "memory: 1.2\n"+unlike[0].spec)
	_, env := place(t)
	var plan struct {
		Stacks int `json:"stacks"`
	}
	executeJSON(t, env, &plan, "sweep", "plan", path)
	if plan.Stacks < 2 {
		t.Errorf("%d stacks: the test tests nothing", plan.Stacks)
	}
	if took := peak(t, env, "sweep", "run", path); took > 1.2 {
		t.Errorf("took %.2f GiB; memory: 1.2 allows no more", took)
	}
}
