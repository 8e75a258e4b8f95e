package main

import (
	"strings"
	"testing"
)

func TestBenchRefusesWrongUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"bench", "fig99"}, "fig2-streams"},
		{[]string{"bench", "--rounds", "1"}, "at least 2"},
		{[]string{"bench", "--steps", "1"}, "at least 2"},
		{[]string{"bench", "--only", "jax"}, "--peers"},
		{[]string{"bench", "--peers", "--only", "mxnet"}, "torch-compile"},
	} {
		status, stdout, stderr := execute(t, nil, c.args...)
		if status != 2 || !strings.Contains(stderr, c.says) || stdout != "" {
			t.Errorf("%q: exit %d, %q on standard error and %q on standard output; want 2 and what is right (%q)",
				c.args, status, stderr, stdout, c.says)
		}
	}
}
