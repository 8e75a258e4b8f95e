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
	t := &ticker{w: w}
	return t.show, t.stop
}

func plainProgress(w io.Writer) lab.Progress {
	estimate := newEstimate()
	return func(e lab.Event) {
		switch {
		case !e.Done:
			fmt.Fprintf(w, "%s%s …\n", step(e), e.Text)
		case e.Total > 0:
			fmt.Fprintf(w, "%s%s: %s%s\n", step(e), e.Text, seconds(e.Seconds), estimate.after(e))
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

// estimate guesses the time left: as much per step as the steps so far took.
type estimate struct{ begin time.Time }

func newEstimate() estimate { return estimate{time.Now()} }

func (e estimate) after(event lab.Event) string {
	elapsed := time.Since(e.begin)
	left := elapsed / time.Duration(event.Step) * time.Duration(event.Total-event.Step)
	if elapsed < 2*time.Second || left == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s so far, about %s left)", elapsed.Round(time.Second), left.Round(time.Second))
}

// ticker shows the running step with its clock.
type ticker struct {
	w     io.Writer
	bar   *progressbar.ProgressBar
	total int
	done  chan struct{}
}

func (t *ticker) show(e lab.Event) {
	if e.Done {
		t.stop()
		line := e.Text
		if e.Total > 0 {
			line = fmt.Sprintf("%s%s  %s", step(e), e.Text, seconds(e.Seconds))
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
