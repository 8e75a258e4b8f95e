package mixture

// Active reports, in plain Go, whether the schedule is in force in the step after done steps: the task is then withheld from the draws.
func (s *Schedule) Active(done int) bool { return done >= s.From && done < s.Until }

// Count returns, in plain Go, how many samples of the task the step after done steps carries for certain.
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
