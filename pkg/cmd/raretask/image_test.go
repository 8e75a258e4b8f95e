package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/backend"
)

// imageFile reads a file of the checkout.
func imageFile(t *testing.T, name string) (root, text string) {
	t.Helper()
	root, err := backend.Root()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return root, string(content)
}

// The files that the Dockerfile copies before the rest are a command that can set up.
func TestImageSetsUpFromFewFiles(t *testing.T) {
	root, dockerfile := imageFile(t, "Dockerfile")
	first, _, found := strings.Cut(dockerfile, "\nCOPY . .\n")
	if !found {
		t.Fatal("the Dockerfile copies the rest of the code nowhere")
	}
	image := t.TempDir()
	for line := range strings.Lines(first) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "COPY" || strings.HasPrefix(words[1], "--from=") {
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

// Binder builds from its own folder alone. It wants bases with a tag, and a user of the name and number that it gives.
func TestImageForBinder(t *testing.T) {
	_, dockerfile := imageFile(t, "Dockerfile")
	if _, binder := imageFile(t, ".binder/Dockerfile"); binder != dockerfile {
		t.Error("not the image that Binder builds: cp Dockerfile .binder/")
	}
	bases := regexp.MustCompile(`(?m)^FROM (\S+)(?: AS (\S+))?$`).FindAllStringSubmatch(dockerfile, -1)
	stages, tagged := map[string]bool{}, regexp.MustCompile(`^[a-z]+:\d+\.\d+(\.\d+)?-[a-z]+(@sha256:[0-9a-f]{64})?$`)
	for _, base := range bases {
		if !stages[base[1]] && !tagged.MatchString(base[1]) {
			t.Errorf("FROM %s: want a full version tag", base[1])
		}
		stages[base[2]] = true
	}
	for _, want := range []string{"\nARG NB_USER=jovyan\n", "\nARG NB_UID=1000\n", "\nUSER $NB_UID\n"} {
		if strings.Count(dockerfile, want) != 1 {
			t.Errorf("want %q once", want)
		}
	}
}

// A dev container is the image with the checkout in the place of its own copy; only what the specification knows is set.
func TestImageForDevContainers(t *testing.T) {
	root, text := imageFile(t, ".devcontainer/devcontainer.json")
	var config struct {
		Name  string
		Build struct{ Dockerfile, Context string }

		WorkspaceMount, WorkspaceFolder, RemoteUser string

		Mounts          []struct{ Type, Source, Target string }
		ContainerEnv    map[string]string
		ForwardPorts    []int
		PortsAttributes map[string]struct{ Label string }
		Features        map[string]any
		Customizations  map[string]any
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, ".devcontainer")
	if got := filepath.Join(folder, config.Build.Dockerfile); got != filepath.Join(root, "Dockerfile") {
		t.Errorf("builds %s", got)
	}
	if got := filepath.Join(folder, config.Build.Context); got != root {
		t.Errorf("builds from %s", got)
	}
	_, dockerfile := imageFile(t, "Dockerfile")
	for _, want := range []string{"RARETASK_ROOT=" + config.WorkspaceFolder + " ", "NB_USER=" + config.RemoteUser + "\n", "EXPOSE 8888\n"} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile says no %q", want)
		}
	}
	if !slices.Equal(config.ForwardPorts, []int{8888}) {
		t.Errorf("ports %v", config.ForwardPorts)
	}
	if len(config.Mounts) != 1 || config.Mounts[0].Target != config.WorkspaceFolder+"/.raretask" { // else the checkout hides what is set up
		t.Errorf("mounts %v", config.Mounts)
	}
}
