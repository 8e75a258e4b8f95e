package sizing

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"raretask/pkg/results"
	"raretask/pkg/scaling"
)

// Advice is what theory says of a mixture of regressions on a bottleneck, task by task.
type Advice struct {
	Widths []int        `json:"widths"`
	Tasks  []TaskAdvice `json:"tasks"`
	// Checked says by how many trained nets intervals are, and how often those of the largest width lay within intervals of the others.
	Checked string `json:"checked"`
}

// TaskAdvice is what becomes of a task.
type TaskAdvice struct {
	Task      int           `json:"task"` // from 1
	Frequency float64       `json:"frequency"`
	Target    float64       `json:"target"` // loss relative to nothing learned that counts as learned
	Width     int           `json:"width"`  // the least that reaches it; 0: any
	Features  int           `json:"features"`
	At        []WidthAdvice `json:"at"`
}

// WidthAdvice is what becomes of a task at a width.
type WidthAdvice struct {
	Width   int              `json:"width"`
	Learned bool             `json:"learned"` // the target is reached
	Tie     bool             `json:"tie"`
	Loss    scaling.Interval `json:"loss"` // relative to nothing learned, and where 95% of nets end
	// Frequency is the least at which the width reaches the target, none where it does or where no frequency does; Cost what the other tasks
	// lose, by their frequencies, where it is a twentieth above that: at the least itself it is a tie.
	Frequency *float64 `json:"frequency,omitempty"`
	Cost      float64  `json:"cost,omitempty"`
	Kind      string   `json:"kind"` // prediction: within the widths that were tried; else projection
}

// Advise returns what becomes of each task at widths, by targets (NaN: the first direction, whatever that leaves).
func (m Mixture) Advise(c *Calibration, targets []float64, widths []int) (*Advice, error) {
	if len(widths) == 0 {
		return nil, fmt.Errorf("sizing: no widths to advise on")
	}
	a := &Advice{Widths: widths}
	if c != nil {
		a.Checked = c.checked()
	}
	features, verdicts := m.Features(), map[int][]Verdict{}
	for _, w := range widths {
		verdicts[w] = m.At(w)
	}
	for k := range m.Tasks() {
		t := TaskAdvice{Task: k + 1, Frequency: m.Frequency[k], Target: 1 - m.Spectrum[k][0]/m.TaskTrace(k)}
		if k < len(targets) && !math.IsNaN(targets[k]) {
			t.Target = targets[k]
		}
		var err error
		if t.Width, t.Features, err = m.SmallestWidth(k, t.Target); err != nil {
			return nil, err
		}
		for _, w := range widths {
			at := m.adviseAt(c, t, verdicts[w][k])
			at.Tie = at.Tie || t.Features > 0 && math.Abs(m.margin(features, k, t.Features-1, w)) < NearTie
			t.At = append(t.At, at)
		}
		a.Tasks = append(a.Tasks, t)
	}
	return a, nil
}

func (m Mixture) adviseAt(c *Calibration, t TaskAdvice, v Verdict) WidthAdvice {
	k, width := t.Task-1, v.Width
	w := WidthAdvice{Width: width, Learned: v.High <= t.Target*(1+1e-9), Tie: v.Low <= t.Target*(1+1e-9) && v.High > t.Target*(1+1e-9),
		Loss: scaling.Interval{Estimate: v.High, Low: v.Low, High: v.High}, Kind: projection}
	if c != nil {
		w.Loss.Low, w.Loss.High = c.Interval(m, v)
		if width <= c.Widest && m.Tasks()*m.Block() <= c.Features {
			w.Kind = prediction
		}
	}
	if w.Learned {
		return w
	}
	if p := m.SmallestFrequency(k, width, max(1, t.Features)); !math.IsNaN(p) {
		w.Frequency = &p
		w.Cost = m.CostOf(m.With(k, min(p*(1+NearTie), (1+p)/2)), width).Common
	}
	return w
}

// checked fits the intervals without the largest width and counts how often they hold there.
func (c *Calibration) checked() string {
	largest := slices.MaxFunc(c.residuals, func(a, b residual) int { return a.width - b.width }).width
	small := &Calibration{Edges: c.Edges}
	var large []residual
	for _, r := range c.residuals {
		if r.width < largest {
			small.residuals = append(small.residuals, r)
		} else {
			large = append(large, r)
		}
	}
	text := fmt.Sprintf("intervals by %d outcomes of trained nets of width up to %d", len(c.residuals), largest)
	if small.quantiles() != nil {
		return text
	}
	held := 0
	for _, r := range large {
		if i := small.class(r.distance); r.off >= small.Low[i] && r.off <= small.High[i] {
			held++
		}
	}
	return fmt.Sprintf("%s; those without that width hold %d of its %d outcomes", text, held, len(large))
}

// CalibrationPresets are those whose runs say how far trained nets end from theory.
var CalibrationPresets = []string{"fig2", "fig14"}

// Learning is the model of a sweep whose tasks have no closed form: by its own stored runs.
type Learning struct {
	*Threshold
	Places []Place
	Tasks  []LearningTask
}

// LearningTask is what the model says of one of the sweep's tasks, or frequencies of a novel task.
type LearningTask struct {
	Task      int              `json:"task"` // from 1
	Frequency float64          `json:"frequency"`
	Half      scaling.Interval `json:"half"`  // width that learns it in one of two trainings
	Sure      scaling.Interval `json:"sure"`  // in nine of ten
	Kind      string           `json:"kind"`  // of Sure: prediction or projection
	Shown     []Observed       `json:"shown"` // what the runs did
}

// Observed is how many trainings of a width learned a task.
type Observed struct {
	Width   int `json:"width"`
	Learned int `json:"learned"`
	Runs    int `json:"runs"`
}

// LearnFrom fits the threshold in width and frequency to runs of one sweep, and says what widths its tasks need.
func LearnFrom(runs results.Runs, resamples int) (*Learning, error) {
	places, err := Places([]results.Runs{runs})
	if err != nil {
		return nil, err
	}
	names, outcomes := Some(places, Size, Frequency)
	t, err := FitThreshold(names, outcomes, resamples)
	if err != nil {
		return nil, err
	}
	l := &Learning{Threshold: t, Places: places}
	type key struct {
		task      int
		frequency float64
	}
	seen := map[key]int{}
	slices.SortStableFunc(places, func(a, b Place) int {
		return cmp.Or(a.Task-b.Task, cmp.Compare(a.X[Frequency], b.X[Frequency]), a.Width-b.Width)
	})
	for _, p := range places {
		at := key{p.Task, p.X[Frequency]}
		i, known := seen[at]
		if !known {
			i = len(l.Tasks)
			seen[at] = i
			x := []float64{1, p.X[Frequency]}
			task := LearningTask{Task: p.Task + 1, Frequency: p.X[Frequency], Half: t.Needed(0, x, .5), Sure: t.Needed(0, x, .9)}
			x[0] = task.Sure.Estimate
			task.Kind = t.Kind(x)
			l.Tasks = append(l.Tasks, task)
		}
		shown := &l.Tasks[i].Shown
		if n := len(*shown); n == 0 || (*shown)[n-1].Width != p.Width {
			*shown = append(*shown, Observed{Width: p.Width})
		}
		o := &(*shown)[len(*shown)-1]
		if o.Runs++; p.Learned {
			o.Learned++
		}
	}
	return l, nil
}
