package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"raretask/pkg/lab"
)

// progress tells a person what goes on, and how long still once that is worth saying: on a terminal by one line that moves, elsewhere
// by a line now and then. What has ended stays as a line of its own.
type progress struct {
	w     io.Writer
	width func() int // of the terminal; nil where there is none
	stop  func()     // ends it; to be called before anything else is printed

	mu    sync.Mutex
	begin time.Time
	next  time.Time // of a line where there is no terminal
	text  string    // what goes on; empty: nothing
	total int64
	pace  pace
}

func showProgress(w *os.File) *progress {
	p := newProgress(w, time.Now())
	if fd := int(w.Fd()); term.IsTerminal(fd) {
		p.width = func() int { width, _, _ := term.GetSize(fd); return cmp.Or(width, 80) }
	}
	ticker := time.NewTicker(200 * time.Millisecond)
	p.stop = func() { ticker.Stop(); p.print("", time.Now()) }
	go func() {
		for now := range ticker.C {
			p.draw(now)
		}
	}()
	return p
}

func newProgress(w io.Writer, begin time.Time) *progress {
	return &progress{w: w, begin: begin, next: begin.Add(soon)}
}

// soon is how long things may take without a word.
const soon = 2 * time.Second

// set says what goes on and how much of total is done.
func (p *progress) set(text string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text, p.total = text, total
	p.pace.add(mark{time.Now(), done}, total)
}

// draw shows what goes on.
func (p *progress) draw(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.text == "":
	case p.width != nil:
		fmt.Fprintf(p.w, "\r\x1b[K%.*s", p.width()-1, p.text+p.clock(now))
	case now.After(p.next):
		fmt.Fprintln(p.w, p.text+p.clock(now))
		p.next = now.Add(max(10*time.Second, now.Sub(p.begin)/20))
	}
}

// print ends what went on, with a line that stays unless it is empty.
func (p *progress) print(line string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.width != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	if line != "" {
		fmt.Fprintln(p.w, line+p.clock(now))
	}
	p.text, p.next = "", now.Add(soon)
}

// clock says how long everything has taken and how long it may still take, once that is worth saying.
func (p *progress) clock(now time.Time) string {
	elapsed, left := now.Sub(p.begin), p.pace.left(now, p.total)
	switch {
	case elapsed < soon:
		return ""
	case left < time.Second:
		return fmt.Sprintf(" (%s so far)", elapsed.Round(time.Second))
	}
	return fmt.Sprintf(" (%s so far, about %s left)", elapsed.Round(time.Second), left.Round(time.Second))
}

// event shows an event of the lab.
func (p *progress) event(e lab.Event) {
	if e.Total > 0 {
		e.Text = fmt.Sprintf("[%d/%d] %s", e.Step, e.Total, e.Text)
	}
	if !e.Done {
		p.set(e.Text, int64(max(0, e.Step-1)), int64(e.Total))
		return
	}
	p.set("", int64(e.Step), int64(e.Total))
	if e.Total > 0 {
		e.Text += ": " + seconds(e.Seconds)
	}
	p.print(e.Text, time.Now())
}

func seconds(s float64) string {
	if s < 60 {
		return fmt.Sprintf("%.1f s", s)
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// pace guesses how long the rest takes from how long the later half of what is done took: the earlier one may have been another kind of
// work, compiling for one.
type pace struct{ marks []mark }

// mark is how much was done at a time.
type mark struct {
	at   time.Time
	done int64
}

func (p *pace) add(m mark, total int64) {
	n := len(p.marks)
	if n > 0 && m.done < p.marks[n-1].done { // something else has begun
		p.marks, n = nil, 0
	}
	if n == 0 || m.done-p.marks[n-1].done >= max(1, total/100) { // a hundred are enough
		p.marks = append(p.marks, m)
	}
	for len(p.marks) > 3 && p.marks[1].done <= m.done/2 {
		p.marks = p.marks[1:]
	}
}

// left returns 0 where it can't tell: of one step, which may be unlike the others, it concludes nothing.
func (p *pace) left(now time.Time, total int64) time.Duration {
	n := len(p.marks)
	if n < 3 {
		return 0
	}
	first, last := p.marks[0], p.marks[n-1]
	rest := float64(last.at.Sub(first.at)) * float64(total-last.done) / float64(last.done-first.done)
	return max(0, time.Duration(rest)-now.Sub(last.at))
}
