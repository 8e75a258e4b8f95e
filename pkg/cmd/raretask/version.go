package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"raretask/pkg/backend"
)

func init() { extras = append(extras, addVersion) }

// version says what this is: the commit, the Go that built it, and the backend that it opens. Only --version asks: opening takes a second.
func version() string {
	b, err := backend.Open()
	on := ""
	if err == nil {
		on = b.Identity.String()
	} else {
		on = "none: " + err.Error()
	}
	return fmt.Sprintf("raretask %s\n%s\nbackend: %s\n", commit(), runtime.Version(), on)
}

// commit returns that of the sources: what was stamped into the binary, or with go run, which stamps nothing, what the checkout says.
func commit() string {
	revision, changed := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = ", with changes"
			}
		}
	}
	if root, err := backend.Root(); revision == "" && err == nil {
		if out, err := exec.Command("git", "-C", root, "describe", "--always", "--dirty", "--abbrev=40").Output(); err == nil {
			revision, _ = strings.CutSuffix(strings.TrimSpace(string(out)), "-dirty")
			if strings.HasSuffix(strings.TrimSpace(string(out)), "-dirty") {
				changed = ", with changes"
			}
		}
	}
	return "of commit " + cmp.Or(revision, "unknown") + changed
}

// addVersion adds the flag --version, for which cobra fills a template: a text made before it is asked for would have every verb wait.
func addVersion(root *cobra.Command) {
	cobra.AddTemplateFunc("about", func(cmd *cobra.Command) (string, error) {
		if !wantsJSON(cmd) {
			return version(), nil
		}
		text, err := json.Marshal(map[string]string{"version": version()})
		return string(text) + "\n", err
	})
	root.Version = "of this checkout"
	root.SetVersionTemplate("{{about .}}")
}
