package backend

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// grace is how long an interrupted process has to keep what it has done. What is dispatched can't be interrupted, and
// the largest computation takes seconds.
var grace = 30 * time.Second

// Interruptible returns a context that Ctrl-C and SIGTERM end, and a function that frees it when the work is done. Work that has not
// ended half a minute later, or at a second signal, ends with the process: a computation that hangs can't be stopped otherwise.
func Interruptible() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals, finished := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-finished:
			return
		case <-signals:
		}
		signal.Stop(signals) // before anybody knows of the first signal: the next one ends the process
		cancel()
		select {
		case <-finished:
		case <-time.After(grace):
			fmt.Fprintf(os.Stderr, "raretask: a computation has not ended %v after the interruption; giving it up. "+
				"What was kept before is there: run again to go on from it\n", grace)
			os.Exit(1)
		}
	}()
	return ctx, func() {
		close(finished)
		signal.Stop(signals)
		cancel()
	}
}
