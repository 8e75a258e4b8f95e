package backend_test

import (
	"fmt"
	"os"
	"testing"

	"raretask/pkg/backend"
	"raretask/pkg/lab"
)

// TestInstalledXLA sets the checkout up as a user would and opens what that installed.
func TestInstalledXLA(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the lab set up, which may take minutes")
	}
	t.Setenv("GOMLX_BACKEND", "xla:cpu")
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Setup(t.Context(), func(e lab.Event) { fmt.Fprintln(os.Stderr, e.Text, e.Done) }); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for range 2 {
		b, err := backend.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Finalize()
		if b.Identity.Name != "xla:cpu" || b.Identity.Devices != 1 || b.Notice != "" {
			t.Errorf("opened %v with notice %q; want xla:cpu with one device", b.Identity, b.Notice)
		}
		keys = append(keys, b.Identity.Key())
	}
	if keys[0] != keys[1] {
		t.Errorf("keys %v of one backend differ", keys)
	}
}
