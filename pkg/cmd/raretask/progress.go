package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"raretask/pkg/lab"
)

// showProgress tells a person what happens: on a terminal a line that moves, elsewhere a line per step.
// Call stop before printing anything else.
func showProgress(w *os.File) (progress lab.Progress, stop func()) {
	if !term.IsTerminal(int(w.Fd())) {
		return plainProgress(w), func() {}
	}
	t := &ticker{w: w, begin: time.Now()}
	return t.show, t.stop
}

func plainProgress(w io.Writer) lab.Progress {
	begin := time.Now()
	return func(e lab.Event) {
		switch {
		case !e.Done:
			fmt.Fprintf(w, "%s%s …\n", step(e), e.Text)
		case e.Total > 0:
			fmt.Fprintf(w, "%s%s: %s%s\n", step(e), e.Text, seconds(e.Seconds), soFar(begin, e.Left))
		default:
			fmt.Fprintln(w, e.Text)
		}
	}
}

func step(e lab.Event) string {
	if e.Total == 0 {
		return ""
	}
	return fmt.Sprintf("[%d/%d] ", e.Step, e.Total)
}

func seconds(s float64) string {
	if s < 60 {
		return fmt.Sprintf("%.1f s", s)
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// soFar says how long everything has taken and how long it may still take, once that is worth saying.
func soFar(begin time.Time, left time.Duration) string {
	if elapsed := time.Since(begin); left > 0 && elapsed > 2*time.Second {
		return fmt.Sprintf(" (%s so far, about %s left)", elapsed.Round(time.Second), left.Round(time.Second))
	}
	return ""
}

// ticker shows the running step with its clock.
type ticker struct {
	w     io.Writer
	begin time.Time
	bar   *progressbar.ProgressBar
	done  chan struct{}
}

func (t *ticker) show(e lab.Event) {
	if e.Done {
		t.stop()
		line := e.Text
		if e.Total > 0 {
			line = fmt.Sprintf("%s%s  %s%s", step(e), e.Text, seconds(e.Seconds), soFar(t.begin, e.Left))
		}
		fmt.Fprintln(t.w, line)
		return
	}
	t.stop()
	t.bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(t.w), progressbar.OptionSpinnerType(14),
		progressbar.OptionSetDescription(step(e)+strings.TrimSpace(e.Text)), progressbar.OptionSetElapsedTime(true),
		progressbar.OptionClearOnFinish())
	t.done = make(chan struct{})
	go tick(t.bar, t.done)
}

func tick(bar *progressbar.ProgressBar, done chan struct{}) {
	clock := time.NewTicker(200 * time.Millisecond)
	defer clock.Stop()
	for {
		select {
		case <-done:
			return
		case <-clock.C:
			bar.Add(1)
		}
	}
}

func (t *ticker) stop() {
	if t.bar == nil {
		return
	}
	close(t.done)
	t.bar.Finish()
	t.bar = nil
}
