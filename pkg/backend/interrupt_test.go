package backend

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHungProcess is no test but the process that TestInterruptible interrupts: it hangs as a computation might.
func TestHungProcess(t *testing.T) {
	patience, err := time.ParseDuration(os.Getenv("RARETASK_TEST_GRACE"))
	if err != nil {
		t.Skip("runs as a process of TestInterruptible")
	}
	grace = patience
	ctx, done := Interruptible()
	defer done()
	os.Stdout.WriteString("started\n")
	<-ctx.Done()
	os.Stdout.WriteString("interrupted\n")
	select {}
}

// A computation that doesn't end is given up when its time is over, with a sentence, or at the second signal.
func TestInterruptible(t *testing.T) {
	for _, c := range []struct {
		grace   string
		signals int
		ended   string // what Wait says
	}{{"50ms", 1, "exit status 1"}, {"1h", 2, "signal: terminated"}} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHungProcess$")
		cmd.Env = append(os.Environ(), "RARETASK_TEST_GRACE="+c.grace)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range c.signals {
			if !lines.Scan() {
				t.Fatalf("the process ended early: %s", said.String())
			}
			cmd.Process.Signal(syscall.SIGTERM)
		}
		if err := cmd.Wait(); err == nil || err.Error() != c.ended {
			t.Errorf("grace %s, %d signals: %v, want %s", c.grace, c.signals, err, c.ended)
		}
		if gaveUp := strings.Contains(said.String(), "run again"); gaveUp != (c.signals == 1) {
			t.Errorf("grace %s, %d signals: it said %q", c.grace, c.signals, said.String())
		}
	}
}
