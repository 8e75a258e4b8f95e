package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"raretask/pkg/sweep"
)

// showSteps shows how far a sweep is: on a terminal one bar with rate and time left, elsewhere a line now and then. Call stop before
// printing anything else.
func showSteps(w *os.File) (show func(sweep.Progress), stop func()) {
	l := &sweepLine{w: w, terminal: term.IsTerminal(int(w.Fd())), begin: time.Now()}
	return func(p sweep.Progress) { l.show(p, rateAndTime(p)) }, l.stop
}

// showTasks is showSteps for job arrays.
func showTasks(w *os.File) (show func(sweep.Progress, []sweep.SlurmTasks), stop func()) {
	l := &sweepLine{w: w, terminal: term.IsTerminal(int(w.Fd())), begin: time.Now()}
	return func(p sweep.Progress, tasks []sweep.SlurmTasks) {
		var texts []string
		for _, t := range tasks {
			texts = append(texts, t.String())
		}
		if left := p.Left(); left > 0 {
			texts = append(texts, left.Round(time.Second).String()+" left")
		}
		l.show(p, strings.Join(texts, ", "))
	}, l.stop
}

func rateAndTime(p sweep.Progress) string {
	text := "compiling"
	if trained := p.Elapsed - p.Compile; p.DoneSteps > 0 && trained > 100*time.Millisecond {
		text = fmt.Sprintf("%.0f model-steps/s", float64(p.DoneSteps)/trained.Seconds())
	}
	if left := p.Left(); left > 0 {
		text += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return text
}

// sweepLine is the one line of a sweep.
type sweepLine struct {
	w        io.Writer
	terminal bool
	begin    time.Time
	bar      *progressbar.ProgressBar
	last     time.Time
	printed  string
}

// Plain lines come after two seconds, then every ten.
const (
	firstLine = 2 * time.Second
	nextLine  = 10 * time.Second
)

func (l *sweepLine) show(p sweep.Progress, text string) {
	text = fmt.Sprintf("stack %d of %d, %s", min(p.DoneStacks+1, p.Stacks), p.Stacks, text)
	now := time.Now()
	if !l.terminal {
		share := 100.
		if p.Steps > 0 {
			share = 100 * float64(p.DoneSteps) / float64(p.Steps)
		}
		if line := fmt.Sprintf("%.0f%%: %s", share, text); now.Sub(l.begin) > firstLine && now.Sub(l.last) > nextLine && line != l.printed {
			l.last, l.printed = now, line
			fmt.Fprintln(l.w, line)
		}
		return
	}
	if now.Sub(l.last) < 100*time.Millisecond && p.DoneSteps < p.Steps {
		return
	}
	l.last = now
	if l.bar == nil {
		l.bar = progressbar.NewOptions64(max(1, p.Steps), progressbar.OptionSetWriter(l.w), progressbar.OptionSetWidth(24),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false), progressbar.OptionClearOnFinish())
	}
	l.bar.ChangeMax64(max(1, p.Steps, p.DoneSteps+1)) // a bar that is full ends
	l.bar.Describe(text)
	l.bar.Set64(p.DoneSteps)
}

func (l *sweepLine) stop() {
	if l.bar != nil {
		l.bar.Finish()
		l.bar = nil
	}
}
