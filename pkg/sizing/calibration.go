package sizing

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"raretask/pkg/claims"
	"raretask/pkg/results"
)

// Calibration is how far trained bottlenecks end from theory's losses, by how near to a tie what decides a task's loss is: with it a
// prediction has an interval.
type Calibration struct {
	Edges     []float64 // of the classes of distance, ascending; the last class has none
	Low, High []float64 // 2.5% and 97.5% quantiles of observed loss beyond the predicted range, in each class; 0 within the range
	Counts    []int     // outcomes in each class
	Widest    int       // width that was trained
	Features  int       // most features of a mixture that was trained
	residuals []residual
}

// residual is how far outside of its predicted range a loss ended, and how near to a tie that was.
type residual struct {
	width         int
	distance, off float64
}

// distanceEdges are the classes of distance: within a tenth, a third and once e.
var distanceEdges = []float64{.1, .3, 1}

// distance is how near to a tie what decides task k's loss at a width is: the least |ln| of one of its utilities over the geometric mean of
// the last that is kept and the first that is not.
func (m Mixture) distance(k, width int) float64 {
	features := m.Features()
	if width >= len(features) {
		return math.Inf(1)
	}
	edge := math.Sqrt(features[width-1].Utility * features[width].Utility)
	nearest := math.Inf(1)
	for _, lambda := range m.Spectrum[k] {
		if u := m.Frequency[k] * lambda; u > 0 {
			nearest = min(nearest, math.Abs(math.Log(u/edge)))
		}
	}
	return nearest
}

// beyond returns how far a loss lies outside of a range, below 0 where it lies under it.
func beyond(loss, low, high float64) float64 {
	switch {
	case loss < low:
		return loss - low
	case loss > high:
		return loss - high
	}
	return 0
}

// Calibrate returns the calibration by runs of mixtures of regressions, which may differ in their mixture and in width.
func Calibrate(sets ...results.Runs) (*Calibration, error) {
	c := &Calibration{Edges: distanceEdges}
	for _, runs := range sets {
		if err := runs.Need(results.Design{Vary: []string{"mixture.*", "net.width"}, Columns: []string{"loss"}, Final: true}); err != nil {
			return nil, err
		}
		for _, r := range runs {
			m, err := r.Mixture.Theory()
			if err != nil {
				return nil, err
			}
			for _, v := range (Mixture{m}).At(r.Net.Width) {
				loss := claims.Final(r, "loss", v.Task+1)
				if math.IsNaN(loss) {
					return nil, fmt.Errorf("sizing: run %s (width %d, seed %d) diverged: it says nothing of how far from theory nets end",
						r.ID, r.Net.Width, r.Train.Seed)
				}
				c.residuals = append(c.residuals, residual{r.Net.Width, (Mixture{m}).distance(v.Task, r.Net.Width), beyond(loss, v.Low, v.High)})
			}
			c.Widest, c.Features = max(c.Widest, r.Net.Width), max(c.Features, m.Tasks()*m.Block())
		}
	}
	if err := c.quantiles(); err != nil {
		return nil, err
	}
	return c, nil
}

// quantiles fills in those of each class.
func (c *Calibration) quantiles() error {
	classes := make([][]float64, len(c.Edges)+1)
	for _, r := range c.residuals {
		i := c.class(r.distance)
		classes[i] = append(classes[i], r.off)
	}
	for i, residuals := range classes {
		for near := i - 1; near >= 0 && len(residuals) < fewestResiduals; near-- { // those nearer to a tie end no nearer to theory
			residuals = append(residuals, classes[near]...)
		}
		if len(residuals) < fewestResiduals {
			return fmt.Errorf("sizing: %d outcomes: want %d at least to tell how far nets end from theory", len(residuals), fewestResiduals)
		}
		slices.Sort(residuals)
		c.Low = append(c.Low, min(0, stat.Quantile(.025, stat.LinInterp, residuals, nil)))
		c.High = append(c.High, max(0, stat.Quantile(.975, stat.LinInterp, residuals, nil)))
		c.Counts = append(c.Counts, len(residuals))
	}
	return nil
}

// fewestResiduals are what quantiles of a class need.
const fewestResiduals = 40

func (c *Calibration) class(distance float64) int {
	i, _ := slices.BinarySearch(c.Edges, distance)
	return i
}

// Interval returns where 95% of nets are expected to end of a verdict's task, as a loss relative to nothing learned.
func (c *Calibration) Interval(m Mixture, v Verdict) (low, high float64) {
	i := c.class(m.distance(v.Task, v.Width))
	return max(0, v.Low+c.Low[i]), v.High + c.High[i]
}
