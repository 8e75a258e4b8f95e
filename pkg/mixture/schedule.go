package mixture

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"raretask/tasks"
)

// Injection is a schedule by which one task enters training. From step from until step until the task is withheld
// from the draws, and the last length steps of every gap steps carry a stated number of its samples instead (Sec. 3,
// Fig 4: the same number of samples as without a schedule, but in bulk). Outside those steps the draws are as ever.
//
//	{task: 16, gap: 384}                          withheld, then the samples of 384 steps at once
//	{task: 16, gap: 384, length: 32}              the same in bursts of 32 steps
//	{task: 16, gap: 100, samples: 10}             10 samples take the place of others every 100 steps
//	{task: 16, gap: 1, samples: 256, until: 2000} a curriculum: first 2000 steps of the task alone (batch 256)
//	{task: 16, gap: 1000, from: 9000}             as ever, then withheld, then back in bulk
type Injection struct {
	Task    int `yaml:"task" json:"task" vary:"input" about:"1 = most frequent; 0: no schedule"`
	Gap     int `yaml:"gap" json:"gap" vary:"input" about:"steps from one injection to the next G"`
	Length  int `yaml:"length" json:"length" vary:"input" about:"steps of an injection; 0 counts as 1"`
	Samples int `yaml:"samples" json:"samples" vary:"input" about:"samples of an injection; 0: G·B·pi_r, which matches the frequency"`
	From    int `yaml:"from" json:"from" vary:"input" about:"steps done when the schedule begins"`
	Until   int `yaml:"until" json:"until" vary:"input" about:"steps done when it ends; 0: never"`
}

// Steps returns the number of steps of an injection.
func (i Injection) Steps() int { return max(1, i.Length) }

// PerStep returns how many samples of the task a step of an injection carries on average.
func (i Injection) PerStep(batch int, frequency float64) float64 {
	samples := float64(i.Samples)
	if i.Samples == 0 {
		samples = float64(i.Gap) * float64(batch) * frequency
	}
	return samples / float64(i.Steps())
}

// Check returns a *tasks.KeyError for the first impossible setting of a schedule in a mixture of these frequencies.
func (i Injection) Check(batch int, frequency []float64) error {
	if i == (Injection{}) {
		return nil
	}
	steps := func(v int) bool { return v >= 0 && v <= math.MaxInt32 }
	want := fmt.Sprintf("0 … %d", math.MaxInt32)
	if err := cmp.Or(
		tasks.Want(i.Task >= 1 && i.Task <= len(frequency), "task", i.Task, fmt.Sprintf("1 … mixture.tasks (%d)", len(frequency))),
		tasks.Want(i.Gap >= 1 && steps(i.Gap), "gap", i.Gap, fmt.Sprintf("1 … %d steps", math.MaxInt32)),
		tasks.Want(i.Length >= 0 && i.Length <= i.Gap, "length", i.Length, fmt.Sprintf("0 … gap (%d)", i.Gap)),
		tasks.Want(steps(i.Samples), "samples", i.Samples, want+" (0: gap·batch·frequency)"),
		tasks.Want(steps(i.From), "from", i.From, want+" steps"),
		tasks.Want(steps(i.Until) && (i.Until == 0 || i.Until > i.From), "until", i.Until,
			fmt.Sprintf("0 (never) or more than from (%d), at most %d", i.From, math.MaxInt32)),
	); err != nil {
		return err
	}
	if frequency[i.Task-1] == 1 { // alone, or so frequent that the others' share is lost to rounding
		return &tasks.KeyError{Key: "task", Value: i.Task, Want: "a task of frequency below 1, so that others are drawn when it is withheld"}
	}
	m := i.PerStep(batch, frequency[i.Task-1])
	if m <= float64(batch) {
		return nil
	}
	crowd := fmt.Sprintf(": a step would carry %.4g samples of task %d in a batch of %d", m, i.Task, batch)
	if i.Samples > 0 {
		return &tasks.KeyError{Key: "samples", Value: i.Samples, Want: fmt.Sprintf("at most batch·length = %d%s", batch*i.Steps(), crowd)}
	}
	return &tasks.KeyError{Key: "gap", Value: i.Gap,
		Want: fmt.Sprintf("at most %d, or a longer injection%s", int(float64(i.Steps())/frequency[i.Task-1]), crowd)}
}

// Schedule is an Injection in the numbers that a program computes with. A step that is part
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
	Frequency []float64 // of the tasks' draws while this one is withheld: 0 for it, and in proportion for the others
}

// NewSchedule returns the schedule of an injection that has passed Check, nil where there is none.
func NewSchedule(i Injection, batch int, frequency []float64) *Schedule {
	if i == (Injection{}) {
		return nil
	}
	s := &Schedule{Task: i.Task - 1, From: i.From, Until: i.Until, Gap: i.Gap, Length: i.Steps()}
	if i.Until == 0 {
		s.Until = math.MaxInt32
	}
	whole, fraction := math.Modf(i.PerStep(batch, frequency[s.Task]))
	// Rounded up, so that three samples in seven steps are three after the seventh; the thousandth of a unit is what
	// float64 may be off.
	units := math.Ceil(fraction*(1<<32) - 1e-3)
	s.Whole = int(whole)
	if units == 1<<32 {
		s.Whole, units = s.Whole+1, 0
	}
	s.Fraction = uint32(units)
	s.Frequency = slices.Clone(frequency)
	s.Frequency[s.Task] = 0
	return s
}

// Injections returns how many injections end within steps.
func (s *Schedule) Injections(steps int) int { return max(0, min(steps, s.Until)-s.From) / s.Gap }

// Injection returns how many steps are done when the i-th injection, from 0, begins and when it ends.
func (s *Schedule) Injection(i int) (begin, end int) {
	end = s.From + (i+1)*s.Gap
	return end - s.Length, end
}

// Carries returns how many samples of the task the step carries that follows so many steps.
func (s *Schedule) Carries(step int) int {
	since := step - s.From
	if since < 0 || step >= s.Until || since%s.Gap < s.Gap-s.Length {
		return 0
	}
	i := uint32(since/s.Gap*s.Length + since%s.Gap - (s.Gap - s.Length) + 1)
	if i*s.Fraction < s.Fraction {
		return s.Whole + 1
	}
	return s.Whole
}

// ScheduleInputs is how many arrays Inputs returns.
const ScheduleInputs = 4

// Inputs returns what Draws takes beside the step: int32 [5] from, until, gap, length, whole; uint32 fraction; the task
// one-hot [K]; the thresholds without it [2, K]. Others that can't be drawn at their frequencies are an error.
func (s *Schedule) Inputs() ([]any, error) {
	task := make([]float32, len(s.Frequency))
	task[s.Task] = 1
	withheld, err := thresholds(s.Frequency)
	if err != nil {
		return nil, fmt.Errorf("%w, while task %d is withheld", err, s.Task+1)
	}
	return []any{
		[]int32{int32(s.From), int32(s.Until), int32(s.Gap), int32(s.Length), int32(s.Whole)}, s.Fraction, task, withheld,
	}, nil
}
