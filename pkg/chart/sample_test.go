package chart

import (
	"fmt"
	"math"
)

// sampleMap is a map with a staircase, a hole and another quantity beside it, as in Fig. 2a.
func sampleMap() Chart {
	heat := Layer{Kind: Heat, ValueLabel: "loss / Tr C"}
	rank := Field{Name: "rank"}
	for n := 1; n <= 8; n++ {
		for k := 1; k <= 16; k++ {
			v := 1 / (1 + math.Pow(2, float64(n))/float64(k*k))
			if n == 3 && k == 5 {
				v = math.NaN()
			}
			heat.X, heat.Y, heat.Value = append(heat.X, math.Pow(2, float64(n))), append(heat.Y, float64(k)), append(heat.Value, v)
			rank.Values = append(rank.Values, float64(k))
		}
	}
	heat.Fields = []Field{rank}
	stair := Layer{Kind: Step, Name: `N*(1), "theory" <'1'>`, Color: Black,
		X: []float64{2, 5, 10, 22, 46, 128}, Y: []float64{.5, 2.5, 4.5, 8.5, 12.5, 16.5}}
	white := Layer{Kind: Step, Name: "N*(2), theory", Color: 1, Dashed: true,
		X: []float64{4, 10, 20, 44, 128}, Y: []float64{.5, 2.5, 6.5, 8.5, 12.5}}
	x, y := Axis{Label: "width N (neurons)", Log: true}, Axis{Label: "task k (1 = most frequent)"}
	return Chart{Name: "map", Title: "Loss by task and width", Caption: "Rare tasks need width.", Panels: []Panel{
		{Title: "trained", X: x, Y: y, Layers: []Layer{stair, heat, white}},
		{Title: "theory", X: x, Y: y, Layers: []Layer{heat, stair}},
	}}
}

// sampleLines has every other kind of layer on linear, logarithmic and named axes.
func sampleLines() Chart {
	var widths []float64
	for w := 2.; w <= 256; w *= 2 {
		widths = append(widths, w)
	}
	var loss, low, high []float64
	for i, w := range widths {
		l := 2 / math.Pow(w, .6)
		loss, low, high = append(loss, l), append(low, l*(1-.08*float64(i))), append(high, l*(1+.08*float64(i)))
	}
	seeds := Field{Name: "runs", Values: []float64{3, 3, 3, 3, 3, 3, 3, 2}}
	first := Panel{Title: "Observed and predicted",
		X: Axis{Label: "width N (neurons)", Log: true}, Y: Axis{Label: "encoder loss (target units²)", Log: true},
		Layers: []Layer{
			{Kind: Band, Name: "β = 1", Color: 0, X: widths, Low: low, High: high},
			{Kind: Line, Name: "β = 1", Color: 0, X: widths, Y: loss, Fields: []Field{seeds}},
			{Kind: Points, Name: "β = 1", Color: 0, X: widths, Y: loss, Low: low, High: high},
			{Kind: Line, Name: "β = 2", Color: 1, X: widths, Y: []float64{.9, .4, .2, math.NaN(), .05, .03, .01, .004}},
			{Kind: Points, Name: "β = 2", Color: 1, X: widths, Y: []float64{.9, .4, .2, math.NaN(), .05, .03, .01, .004}},
			{Kind: Line, Name: "L*(N), theory", Color: Black, Dashed: true, X: widths, Y: loss},
			{Kind: Rule, Name: "N_crit", Color: 2, X: []float64{46}},
		}}
	second := Panel{Title: "Residual over training", X: Axis{Label: "step", Log: true}, Y: Axis{Label: "signal s_r (share of Tr C_r)"}}
	for i, w := range widths {
		var xs, ys []float64
		for s := 1.; s <= 1e6; s *= 1.3 {
			xs, ys = append(xs, s), append(ys, 1/(1+math.Exp(-(math.Log(s)-8+float64(i)/2)))*float64(i+1)/9)
		}
		second.Layers = append(second.Layers, Layer{Kind: Line, Name: fmt.Sprintf("N = %g", w), Color: Ordered(i, len(widths)), X: xs, Y: ys})
	}
	controls := Axis{Label: "control", Categories: []string{"alone", "uniform", "mixture", "surgery"}}
	third := Panel{Title: "Named categories", X: controls, Y: Axis{Label: "accuracy (share)", Min: 0, Max: 1}, Layers: []Layer{
		{Kind: Points, Name: "ReLU", Color: 2, X: []float64{0, 1, 2, 3}, Y: []float64{.9, .7, .2, .5},
			Low: []float64{.85, .6, .1, .3}, High: []float64{.95, .8, .3, .7}},
		{Kind: Points, Name: "linear", Color: 3, X: []float64{0, 1, 2, 3}, Y: []float64{.95, .93, .9, .91}},
		{Kind: Rule, Color: Black, Dashed: true, Y: []float64{.5}},
	}}
	fourth := Panel{Title: "Nothing measured", X: Axis{Label: "step"}, Y: Axis{Label: "loss (bits)"}, Layers: []Layer{
		{Kind: Line, Color: 0, X: []float64{0, 1}, Y: []float64{math.NaN(), math.NaN()}}}}
	return Chart{Name: "lines", Title: "Every kind of layer", Panels: []Panel{first, second, third, fourth}}
}

// sampleValues has lines and points that are coloured by value, and a second axis.
func sampleValues() Chart {
	x := []float64{1, 2, 4}
	same := func(v float64) []float64 { return []float64{v, v, v} }
	panel := func(title string) Panel {
		return Panel{Title: title, X: Axis{Label: "width N (neurons)", Name: "width", Log: true}, Y: Axis{Label: "signal", Reverse: true},
			Right: Axis{Label: "gain and decay", Name: "change"}, Facets: []Facet{{"beta", .5}},
			Layers: []Layer{
				{Kind: Line, Color: Black, X: x, Y: x, Value: same(1), ValueLabel: "task (rank)", ValueName: "task"},
				{Kind: Line, Color: Black, X: x, Y: same(2), Value: same(3), ValueLabel: "task (rank)", ValueName: "task"},
				{Kind: Line, Name: "gain", Color: 2, Dashed: true, Right: true, X: x, Y: []float64{10, 20, 30}},
			}}
	}
	points := panel("points")
	points.Layers = append(points.Layers[2:], Layer{Kind: Points, Name: "rare", Color: Black, Shape: 4, X: x, Y: x, Value: []float64{1, 2, 3},
		ValueLabel: "task (rank)", ValueName: "task"})
	return Chart{Name: "values", Title: "Colours by value", Subtitle: "of three seeds", Panels: []Panel{panel("lines"), points}}
}
