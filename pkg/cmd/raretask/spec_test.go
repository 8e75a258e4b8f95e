package main

import (
	"strings"
	"testing"

	"raretask/pkg/spec"
)

// Settings and presets are told by the code itself, in help and for machines.
func TestSettingsAreTold(t *testing.T) {
	var got struct{ Keys []spec.Key }
	executeJSON(t, nil, &got, "spec")
	if len(got.Keys) < 60 {
		t.Errorf("%d settings", len(got.Keys))
	}
	for _, args := range [][]string{{"spec"}, {"spec", "-h"}} {
		if status, out, _ := execute(t, nil, args...); status != 0 || !strings.Contains(out, "train.injection.gap") || !strings.Contains(out,
			"kind mlp") {
			t.Errorf("%q: exit %d:\n%s", args, status, out)
		}
	}
	var presets struct {
		Presets []struct {
			Name, About string
			Runs        int
		}
	}
	executeJSON(t, nil, &presets, "sweep", "presets", "--scale", "quick")
	if len(presets.Presets) != len(spec.Presets()) {
		t.Errorf("%d presets, want %d", len(presets.Presets), len(spec.Presets()))
	}
	for _, p := range presets.Presets {
		if p.About == "" || p.Runs == 0 {
			t.Errorf("%+v", p)
		}
	}
	if _, out, _ := execute(t, nil, "sweep", "-h"); !strings.Contains(out, "language-controls") {
		t.Errorf("sweep -h names no presets:\n%s", out)
	}
}

func TestVersion(t *testing.T) {
	status, out, _ := execute(t, nil, "--version")
	if status != 0 || !strings.Contains(out, "of commit ") || !strings.Contains(out, "backend: ") {
		t.Errorf("exit %d: %s", status, out)
	}
	var got struct{ Version string }
	executeJSON(t, nil, &got, "--version")
	if !strings.Contains(got.Version, "backend: ") {
		t.Errorf("%+v", got)
	}
}
