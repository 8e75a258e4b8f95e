package figure

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"raretask/pkg/results"
)

// BestRate is the learning rate of a sweep at which one width ends with the lowest loss.
type BestRate struct {
	Parameterization string // standard or mup
	Depth, Width     int
	Rate             float64
	Loss, Low, High  float64   // at that rate, geometric mean over seeds and its 95% interval
	Seeds            []float64 // each seed's own best rate, ascending
	Edge             bool      // the best rate is the smallest or largest tried: the best may lie beyond
}

// parameterization returns the word that a spec has for it.
func parameterization(r results.Row) string {
	if r.Param == "" {
		return "standard"
	}
	return r.Param
}

// rateKey is what learning rates are compared at.
type rateKey struct {
	parameterization string
	depth, width     int32
}

// finalLosses returns the final loss of each run, by net, rate and seed: exact, of the mixture, where there is a closed form, else
// the tasks' sampled losses weighted by frequency. A diverged run's loss is infinite.
func finalLosses(rows []results.Row) map[rateKey]map[float64]map[int64]float64 {
	losses := map[rateKey]map[float64]map[int64]float64{}
	for _, r := range rows {
		key := rateKey{parameterization(r), max(1, r.Depth), r.Width}
		if losses[key] == nil {
			losses[key] = map[float64]map[int64]float64{}
		}
		if losses[key][r.Rate] == nil {
			losses[key][r.Rate] = map[int64]float64{}
		}
		bySeed := losses[key][r.Rate]
		switch {
		case r.Diverged != nil:
			bySeed[r.Seed] = math.Inf(1)
		case r.Full != nil:
			bySeed[r.Seed] = results.Value(r.Full)
		default:
			bySeed[r.Seed] += r.Frequency * bits(r)
		}
	}
	return losses
}

// overSeeds returns the geometric mean of losses over seeds and its interval; infinite where a seed diverged.
func overSeeds(losses map[int64]float64) (mean, low, high float64) {
	var values []float64
	for _, s := range slices.Sorted(maps.Keys(losses)) {
		if math.IsInf(losses[s], 1) {
			return math.Inf(1), math.NaN(), math.NaN()
		}
		values = append(values, losses[s])
	}
	return geometric(values)
}

// BestRates returns the best learning rate of every width of a sweep over net.width and train.rate, so that no width is judged by a
// rate that suits another. It works for any family and net.
func BestRates(rows []results.Row) ([]BestRate, error) {
	rows, err := final(rows)
	if err != nil {
		return nil, err
	}
	var best []BestRate
	for key, byRate := range finalLosses(rows) {
		rates := slices.Sorted(maps.Keys(byRate))
		if len(rates) < 2 {
			return nil, fmt.Errorf("figure: width %d has one learning rate, %g: want a sweep with several of train.rate", key.width, rates[0])
		}
		b := BestRate{Parameterization: key.parameterization, Depth: int(key.depth), Width: int(key.width), Loss: math.Inf(1)}
		for _, rate := range rates {
			if mean, low, high := overSeeds(byRate[rate]); mean < b.Loss {
				b.Rate, b.Loss, b.Low, b.High = rate, mean, low, high
			}
		}
		for _, s := range slices.Sorted(maps.Keys(byRate[rates[0]])) {
			b.Seeds = append(b.Seeds, slices.MinFunc(rates, func(x, y float64) int { return cmp.Compare(byRate[x][s], byRate[y][s]) }))
		}
		slices.Sort(b.Seeds)
		b.Edge = b.Rate == rates[0] || b.Rate == rates[len(rates)-1]
		best = append(best, b)
	}
	slices.SortFunc(best, func(a, b BestRate) int {
		if a.Parameterization != b.Parameterization {
			return cmp.Compare(b.Parameterization, a.Parameterization) // standard first
		}
		return cmp.Or(cmp.Compare(a.Depth, b.Depth), cmp.Compare(a.Width, b.Width))
	})
	return best, nil
}

// Rates draws the final loss against the learning rate by width, one panel for each parameterization, with 95% intervals over
// seeds. Where a best rate belongs to the net and not to its width, the valleys stand one above the other.
func Rates(rows []results.Row) (Figure, error) {
	best, err := BestRates(rows)
	if err != nil {
		return Figure{}, err
	}
	rows, _ = final(rows)
	losses := finalLosses(rows)
	names := map[string]string{"standard": "standard parameterization", "mup": "muP"}
	label := "loss of the mixture (squared error)"
	if rows[0].Family == "parity" {
		label = "loss of the mixture (bits)"
	}
	f := Figure{Name: rows[0].Family + "-rates", Title: "Which learning rate suits which width",
		Caption: "Final loss, geometric mean over seeds with 95% intervals. A small net must be judged by its own best rate."}
	widths, _ := groups(rows, width)
	at := map[string]int{}
	for _, b := range best {
		title := names[b.Parameterization]
		if _, known := at[title]; !known {
			at[title] = len(f.Panels)
			f.Panels = append(f.Panels, Panel{Title: title, X: Axis{Label: "learning rate", Log: true}, Y: Axis{Label: label, Log: true}})
		}
		line := Layer{Kind: Line, Name: fmt.Sprintf("N = %d", b.Width), Color: Ordered(slices.Index(widths, int32(b.Width)), len(widths))}
		byRate := losses[rateKey{b.Parameterization, int32(b.Depth), int32(b.Width)}]
		points := line
		points.Kind = Points
		for _, rate := range slices.Sorted(maps.Keys(byRate)) {
			mean, low, high := overSeeds(byRate[rate])
			line.X, line.Y = append(line.X, rate), append(line.Y, mean)
			points.Low, points.High = append(points.Low, low), append(points.High, high)
		}
		points.X, points.Y = line.X, line.Y
		panel := &f.Panels[at[title]]
		panel.Layers = append(panel.Layers, line, points)
	}
	f.Columns = len(f.Panels)
	return f, nil
}
