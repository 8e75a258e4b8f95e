package train

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/floats"

	"raretask/pkg/backend"
	"raretask/pkg/mixture"
	"raretask/pkg/net"
	"raretask/pkg/spec"
	"raretask/tasks"
)

// Metric is what is measured of runs: one column of results or several that are computed together. A metric of one's own is registered from
// any package; a spec names metrics under its key metrics.
type Metric struct {
	Name    string
	Default bool // measured where a spec names no metrics
	// Of returns how runs of these settings are measured; nil where they have nothing to measure. The gauge may compile programs on b when it
	// measures; b is nil where only its columns are asked for.
	Of func(b *backend.Backend, run spec.Run) (*Gauge, error)
}

// Column is one number that a metric gives: of a run, or of each of its tasks.
type Column struct {
	Name    string `json:"name"`
	About   string `json:"about"` // what it is, with its unit
	PerTask bool   `json:"per_task,omitempty"`
	// Often says that it is known just before and after injections, too (see Glances): a number of a run that follows from its weights alone.
	Often bool `json:"often,omitempty"`
}

// Gauge measures runs of one group of settings, in one of two ways. A column without a value is nil, a missing number NaN. All of its
// columns are known often, or none.
type Gauge struct {
	Columns []Column
	// Host computes the columns from the state of a run: one number each, or one for each task.
	Host func(s RunState) ([][]float64, error)
	// Graph computes the columns in the graph of the evaluation, for S stacked runs: [S], averaged over pieces, or [S, K] of means over a
	// task's samples. What it builds may depend only on what runs of one compiled program share (see spec.Stack.Program).
	Graph func(p Piece) []*graph.Node
	// Close frees what the gauge holds; may be nil.
	Close func()
}

// Piece is a batch of fresh samples, Rows of each of some of the tasks and none of the others, on which S stacked runs of one net are
// evaluated.
type Piece struct {
	Family  tasks.Family
	Net     net.Net
	Weights []*graph.Node
	Batch   *mixture.Batch
	Rows    int
	Tap     net.Tap
}

var metrics = map[string]Metric{}

// Register makes a metric known to specs. It panics for a name that is taken.
func Register(m Metric) {
	if _, taken := metrics[m.Name]; taken || m.Name == "" || m.Of == nil {
		panic(fmt.Sprintf("train: metric %q: want a new name and a function", m.Name))
	}
	metrics[m.Name] = m
}

// MetricNames returns the names of all metrics.
func MetricNames() []string { return slices.Sorted(maps.Keys(metrics)) }

// DefaultMetrics returns the names of the metrics that are measured where a spec names none.
func DefaultMetrics() []string {
	return slices.DeleteFunc(MetricNames(), func(name string) bool { return !metrics[name].Default })
}

// CheckMetrics returns an error for a name that no metric has, or that is there twice.
func CheckMetrics(names []string) error {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return &spec.KeyError{Key: "metrics", Value: name, Want: "each name once"}
		}
		if _, ok := metrics[name]; !ok {
			return &spec.KeyError{Key: "metrics", Value: name, Want: strings.Join(MetricNames(), ", ")}
		}
	}
	return nil
}

// Measurer is the gauges of a run's metrics.
type Measurer struct {
	Columns []Column // of all gauges
	gauges  []*Gauge
}

// NewMeasurer returns what measures a run by the metrics of these names; nil: the default ones.
func NewMeasurer(b *backend.Backend, run spec.Run, names []string) (*Measurer, error) {
	if names == nil {
		names = DefaultMetrics()
	}
	if err := CheckMetrics(names); err != nil {
		return nil, err
	}
	m := new(Measurer)
	for _, name := range names {
		g, err := metrics[name].Of(b, run)
		if err != nil {
			m.Close()
			return nil, fmt.Errorf("train: metric %s: %w", name, err)
		}
		if g != nil {
			m.gauges, m.Columns = append(m.gauges, g), append(m.Columns, g.Columns...)
		}
	}
	return m, nil
}

// Close frees what the gauges hold.
func (m *Measurer) Close() {
	for _, g := range m.gauges {
		if g.Close != nil {
			g.Close()
		}
	}
}

// Measure returns the columns of a run's state in the order of Columns: those that came with it from the graph, and those that the host
// computes; at a glance those alone that are known often.
func (m *Measurer) Measure(s RunState) ([][]float64, error) {
	var values [][]float64
	inGraph := s.Graph
	for _, g := range m.gauges {
		n := len(g.Columns)
		if s.Glance && !g.often() {
			values = append(values, make([][]float64, n)...)
			continue
		}
		if g.Graph != nil {
			values, inGraph = append(values, inGraph[:n]...), inGraph[n:]
			continue
		}
		v, err := g.Host(s)
		if err != nil {
			return nil, err
		}
		values = append(values, v...)
	}
	return values, nil
}

func (g *Gauge) often() bool { return len(g.Columns) > 0 && g.Columns[0].Often }

// Often reports whether any column is known often.
func Often(columns []Column) bool {
	return slices.ContainsFunc(columns, func(c Column) bool { return c.Often })
}

// graphs returns the gauges that measure in the graph.
func (m *Measurer) graphs() []*Gauge {
	return slices.DeleteFunc(slices.Clone(m.gauges), func(g *Gauge) bool { return g.Graph == nil })
}

func init() {
	about := "mean training loss since the last of about 40 log-spaced steps before, in the unit of the family's loss"
	Register(Metric{Name: "train_loss", Default: true, Of: func(*backend.Backend, spec.Run) (*Gauge, error) {
		host := func(s RunState) ([][]float64, error) { return [][]float64{{s.Loss}}, nil }
		return &Gauge{Columns: []Column{{Name: "train_loss", About: about}}, Host: host}, nil
	}})
	Register(Metric{Name: "loss_sampled", Default: true, Of: func(_ *backend.Backend, run spec.Run) (*Gauge, error) {
		baseline := sync.OnceValues(func() ([]float64, error) { // not while planning, as families may take long to draw
			family, err := run.Mixture.Settings.Family(run.Mixture.Tasks)
			if err != nil {
				return nil, err
			}
			return family.Baseline(), nil
		})
		about := fmt.Sprintf("loss of task k (%s) on %d fresh samples, relative to that of the best constant prediction",
			run.Mixture.Signature().Unit, rowsOf(run.Mixture.Signature()))
		return &Gauge{Columns: []Column{{Name: "loss_sampled", About: about, PerTask: true}}, Host: func(s RunState) ([][]float64, error) {
			baseline, err := baseline()
			if err != nil {
				return nil, err
			}
			return [][]float64{floats.DivTo(make([]float64, len(baseline)), s.Sampled, baseline)}, nil
		}}, nil
	}})
}
