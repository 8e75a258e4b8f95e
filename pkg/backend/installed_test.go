package backend_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"raretask/pkg/backend"
	"raretask/pkg/backend/backendtest"
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

// Parts are opened once, are what they are parts of, and leave the environment as it was.
func TestSplit(t *testing.T) {
	b := backendtest.XLA(t)
	before, set := os.LookupEnv("PJRT_NPROC")
	parts, err := b.Split(3)
	if err != nil {
		t.Fatal(err)
	}
	if after, still := os.LookupEnv("PJRT_NPROC"); after != before || still != set {
		t.Errorf("PJRT_NPROC is %q, was %q", after, before)
	}
	again, err := b.Split(3)
	if err != nil || len(parts) != 3 || !slices.Equal(parts, again) {
		t.Errorf("%d parts, then others; %v", len(parts), err)
	}
	for _, part := range parts {
		if part.Identity != b.Identity {
			t.Errorf("a part of %v is %v", b.Identity, part.Identity)
		}
	}
	if whole, err := b.Split(1); err != nil || whole[0] != b {
		t.Errorf("one part is not the whole: %v", err)
	}
	other := backendtest.Go(t)
	if two, err := other.Split(2); err != nil || two[0] != other || two[1] != other {
		t.Errorf("the Go backend was divided: %v", err)
	}
}
