package figure

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func choosing() Figure {
	line := func(option int, y float64) Layer {
		return Layer{Kind: Line, Name: "signal", X: []float64{0, 1}, Y: []float64{y, y}, Chosen: []int{option}}
	}
	return Figure{Name: "choice", Title: "Signal", Choices: []Choice{{Name: "width", Options: []string{"8", `1"6`}, Start: 1}},
		Panels: []Panel{{X: Axis{Label: "step"}, Y: Axis{Label: "signal", Min: 0, Max: 1}, Layers: []Layer{line(0, .2), line(1, .8)}}}}
}

// The picture shows the choice it starts with; the chart holds every option and filters by it; the table holds all.
func TestChoices(t *testing.T) {
	f := choosing()
	shown, err := f.PNG()
	if err != nil {
		t.Fatal(err)
	}
	f.Panels[0].Layers[0].Y = []float64{.3, .3}
	if again, err := f.PNG(); err != nil || !bytes.Equal(shown, again) {
		t.Errorf("a layer of another option changes the picture (%v)", err)
	}
	f.Panels[0].Layers[1].Y = []float64{.7, .7}
	if again, err := f.PNG(); err != nil || bytes.Equal(shown, again) {
		t.Errorf("the layer of the option at the start doesn't show (%v)", err)
	}
	chart, err := f.VegaLite()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(chart)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"input":"select"`, `"options":["8","1\"6"]`, `choice0 === [\"8\"][0]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the chart lacks %s", want)
		}
	}
	table, err := f.CSV()
	if err != nil || strings.Count(string(table), "\n") != 5 {
		t.Errorf("table %q, %v: want a header and 4 rows", table, err)
	}
}

func TestBadChoices(t *testing.T) {
	for want, change := range map[string]func(*Figure){
		"1 choices":   func(f *Figure) { f.Panels[0].Layers[0].Chosen = []int{0, 1} },
		"option 2":    func(f *Figure) { f.Panels[0].Layers[0].Chosen = []int{2} },
		"starting at": func(f *Figure) { f.Choices[0].Start = 2 },
	} {
		f := choosing()
		change(&f)
		if _, err := f.PNG(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}
