package main

import (
	"strings"
	"testing"
	"time"

	"raretask/pkg/lab"
)

// The time left follows the rate of late: forty slow seconds at the start count no more once there is a later half.
func TestPaceOfLate(t *testing.T) {
	var p pace
	begin := time.Unix(0, 0)
	at := begin
	for done := int64(0); done <= 950; done++ {
		p.add(mark{at, done}, 1000)
		if done < 100 {
			at = at.Add(4 * time.Second)
		} else {
			at = at.Add(80 * time.Millisecond)
		}
	}
	if left := p.left(at, 1000); left < 3*time.Second || left > 5*time.Second {
		t.Errorf("%v left, want 4s", left)
	}
	if later := p.left(at.Add(time.Hour), 1000); later != 0 {
		t.Errorf("%v left long after the guess has run out", later)
	}
	if len(p.marks) > 110 {
		t.Errorf("keeps %d marks", len(p.marks))
	}
	p.add(mark{at, 0}, 10)
	if left := p.left(at, 10); left != 0 {
		t.Errorf("%v left of what has just begun", left)
	}
}

func TestProgressLines(t *testing.T) {
	var b strings.Builder
	begin := time.Now().Add(-time.Minute)
	p := newProgress(&b, begin)
	p.set("[1/3] reading", 0, 3)
	p.draw(begin.Add(time.Second))
	if b.Len() > 0 {
		t.Errorf("printed %q within a second", b.String())
	}
	p.draw(begin.Add(3 * time.Second))
	p.draw(begin.Add(4 * time.Second))
	p.print("done", begin.Add(5*time.Second))
	p.draw(begin.Add(time.Hour))
	if got, want := b.String(), "[1/3] reading (3s so far)\ndone (5s so far)\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}

	b.Reset()
	p = newProgress(&b, begin)
	p.width = func() int { return 12 }
	p.set("[1/3] reading", 0, 3)
	p.draw(begin.Add(3 * time.Second))
	p.event(lab.Event{Text: "reading", Step: 1, Total: 3, Done: true, Seconds: 3})
	if got, want := b.String(), "\r\x1b[K[1/3] readi\r\x1b[K[1/3] reading: 3.0 s (1m"; !strings.HasPrefix(got, want) {
		t.Errorf("printed %q, want %q…", got, want)
	}
}
