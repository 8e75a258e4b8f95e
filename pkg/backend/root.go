package backend

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
)

// Root returns the absolute path of the checkout of raretask that this program belongs to.
//
// It is, in this order: RARETASK_ROOT; the nearest folder at or above the working directory whose go.mod
// names the module raretask; the checkout the program was compiled from, if that is still there. So
// commands and notebook cells find the same state from any working directory.
func Root() (string, error) {
	if dir := os.Getenv("RARETASK_ROOT"); dir != "" {
		if !isRoot(dir) {
			return "", fmt.Errorf("backend: RARETASK_ROOT=%q holds no go.mod of module raretask; "+
				"point it at a clone of the project or unset it", dir)
		}
		return filepath.Abs(dir)
	}
	if dir, err := os.Getwd(); err == nil {
		for ; ; dir = filepath.Dir(dir) {
			if isRoot(dir) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		if dir := filepath.Dir(filepath.Dir(filepath.Dir(file))); isRoot(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("backend: no clone of raretask at or above the working directory; change into one or set RARETASK_ROOT")
}

// StateDir returns the folder of everything that set-up installs (.raretask in the checkout).
func StateDir() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".raretask"), nil
}

var ourModule = regexp.MustCompile(`(?m)^\s*module\s+raretask\s*$`)

func isRoot(dir string) bool {
	mod, _ := os.ReadFile(filepath.Join(dir, "go.mod"))
	return ourModule.Match(mod)
}
