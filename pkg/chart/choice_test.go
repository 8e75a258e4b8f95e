package chart

import (
	"strings"
	"testing"
)

func choosing() Chart {
	line := func(option int, y float64) Layer {
		return Layer{Kind: Line, Name: "signal", X: []float64{0, 1}, Y: []float64{y, y}, Chosen: []int{option}}
	}
	return Chart{Name: "choice", Title: "Signal", Choices: []Choice{{Name: "width", Options: []string{"8", `1"6`}, Start: 1}},
		Panels: []Panel{{X: Axis{Label: "step"}, Y: Axis{Label: "signal", Min: 0, Max: 1}, Layers: []Layer{line(0, .2), line(1, .8)}}}}
}

// The chart holds every option, filters by it and says it in the title; the table holds all.
func TestChoices(t *testing.T) {
	f := choosing()
	text := vegaText(t, f)
	for _, want := range []string{`"input":"select"`, `"options":["8","1\"6"]`, `"value":"1\"6"`,
		`"expr":"\"Signal: \" + \"width \" + choice0"`,
		`"filter":"[0,1][datum.l] < 0 || [0,1][datum.l] === indexof([\"8\",\"1\\\"6\"], choice0)"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the chart lacks %s:\n%s", want, text)
		}
	}
	table, err := f.CSV()
	if err != nil || strings.Count(string(table), "\n") != 5 {
		t.Errorf("table %q, %v: want a header and 4 rows", table, err)
	}
}

func TestBadChoices(t *testing.T) {
	for want, change := range map[string]func(*Chart){
		"1 choices":   func(f *Chart) { f.Panels[0].Layers[0].Chosen = []int{0, 1} },
		"option 2":    func(f *Chart) { f.Panels[0].Layers[0].Chosen = []int{2} },
		"starting at": func(f *Chart) { f.Choices[0].Start = 2 },
	} {
		f := choosing()
		change(&f)
		if _, err := f.VegaLite(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}
