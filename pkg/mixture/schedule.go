package mixture

import (
	"math"

	"raretask/pkg/spec"
)

// Schedule is an injection schedule (spec.Injection) in the numbers that a program computes with. A step that is part
// of an injection, the i-th such step from 1 on, carries
//
//	m_i = floor(i·m) - floor((i-1)·m) = Whole + [i·Fraction mod 2^32 < Fraction],   m = Whole + Fraction/2^32
//
// samples of the task, so that what one injection can't carry waits for the next, and the count is a function of
// the step alone: i·m is never off by more than i·2^-32.
type Schedule struct {
	Task      int // from 0
	From      int
	Until     int // math.MaxInt32: never
	Gap       int
	Length    int
	Whole     int
	Fraction  uint32
	Frequency []float64 // of the other tasks while this one is withheld; sums to 1
}

// NewSchedule returns the schedule of a valid spec, nil where it has none.
func NewSchedule(train spec.Train, frequency []float64) *Schedule {
	i := train.Injection
	if i == (spec.Injection{}) {
		return nil
	}
	s := &Schedule{Task: i.Task - 1, From: i.From, Until: i.Until, Gap: i.Gap, Length: i.Steps()}
	if i.Until == 0 {
		s.Until = math.MaxInt32
	}
	whole, fraction := math.Modf(i.PerStep(train.Batch, frequency[s.Task]))
	// Rounded up, so that three samples in seven steps are three after the seventh; the thousandth of a unit is what
	// float64 may be off.
	units := math.Ceil(fraction*(1<<32) - 1e-3)
	s.Whole = int(whole)
	if units == 1<<32 {
		s.Whole, units = s.Whole+1, 0
	}
	s.Fraction = uint32(units)
	for k, pi := range frequency {
		if k == s.Task {
			pi = 0
		}
		s.Frequency = append(s.Frequency, pi/(1-frequency[s.Task]))
	}
	return s
}

// Active reports whether the schedule is in force in the step after done steps: the task is then withheld from
// the draws.
func (s *Schedule) Active(done int) bool { return done >= s.From && done < s.Until }

// Count returns how many samples of the task the step after done steps carries for certain.
func (s *Schedule) Count(done int) int {
	if !s.Active(done) {
		return 0
	}
	periods, at := (done-s.From)/s.Gap, (done-s.From)%s.Gap
	if at < s.Gap-s.Length {
		return 0
	}
	i := uint32(periods*s.Length + at - (s.Gap - s.Length) + 1)
	if i*s.Fraction < s.Fraction {
		return s.Whole + 1
	}
	return s.Whole
}

// Injections returns, for each injection that ends within steps, how many steps are done when it begins and when it ends.
func (s *Schedule) Injections(steps int) (begin, end []int) {
	for e := s.From + s.Gap; e <= min(steps, s.Until); e += s.Gap {
		begin, end = append(begin, e-s.Length), append(end, e)
	}
	return begin, end
}

// Inputs returns what Draws takes beside the step: int32 [5] from, until, gap, length, whole; uint32 fraction; the task
// one-hot [K]; the cumulative frequencies of the others [K].
func (s *Schedule) Inputs() []any {
	task := make([]float32, len(s.Frequency))
	task[s.Task] = 1
	return []any{
		[]int32{int32(s.From), int32(s.Until), int32(s.Gap), int32(s.Length), int32(s.Whole)}, s.Fraction, task, cumulative(s.Frequency),
	}
}
