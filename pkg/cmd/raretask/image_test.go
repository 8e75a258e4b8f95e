package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"raretask/pkg/backend"
)

// The files that the Dockerfile copies before the rest are a command that can set up.
func TestImageSetsUpFromFewFiles(t *testing.T) {
	root, err := backend.Root()
	if err != nil {
		t.Fatal(err)
	}
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, found := strings.Cut(string(dockerfile), "\nCOPY . .\n")
	if !found {
		t.Fatal("the Dockerfile copies the rest of the code nowhere")
	}
	image := t.TempDir()
	for line := range strings.Lines(first) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "COPY" {
			continue
		}
		from, to := words[1:len(words)-1], filepath.Join(image, words[len(words)-1])
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(words[len(words)-1], "/") {
			if err := os.MkdirAll(to, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cp := exec.Command("cp", append(append([]string{"-r"}, from...), to)...)
		cp.Dir = root
		if output, err := cp.CombinedOutput(); err != nil {
			t.Fatalf("%s%v: %s", line, err, output)
		}
	}
	build := exec.Command("go", "build", "-o", filepath.Join(image, "raretask"), "./pkg/cmd/raretask")
	build.Dir = image
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: the Dockerfile must copy more before set-up\n%s", err, output)
	}
	if output, err := exec.Command(filepath.Join(image, "raretask"), "setup", "-h").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}
