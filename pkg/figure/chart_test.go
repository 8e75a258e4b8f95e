package figure

import (
	"bytes"
	"encoding/csv"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func table(t *testing.T, f Figure) [][]string {
	t.Helper()
	content, err := f.CSV()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestCSVHoldsEveryPoint(t *testing.T) {
	f := sampleMap()
	rows := table(t, f)
	if got, want := strings.Join(rows[0], ","), "panel,layer,kind,x,y,low,high,value,task"; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	points, empty := 0, 0
	for _, p := range f.Panels {
		for _, l := range p.Layers {
			points += l.rows()
		}
	}
	for _, r := range rows[1:] {
		if r[2] == "heat" && r[7] == "" {
			empty++
			if r[3] != "8" || r[4] != "5" {
				t.Errorf("missing value at %s, %s, want 8, 5", r[3], r[4])
			}
		}
	}
	if len(rows)-1 != points || empty != 2 {
		t.Errorf("%d rows with %d missing values, want %d with 2", len(rows)-1, empty, points)
	}
}

func TestCSVNamesCategories(t *testing.T) {
	for _, r := range table(t, sampleLines()) {
		if r[0] == "Named categories" && r[1] == "ReLU" && r[3] == "alone" && r[4] == "0.9" && r[5] == "0.85" {
			return
		}
	}
	t.Error("no row for ReLU, alone")
}

// vegaRows collects the data of every layer of a chart, in the order of the panels.
func vegaRows(t *testing.T, f Figure) []map[string]any {
	t.Helper()
	spec, err := f.VegaLite()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	for _, p := range spec["concat"].([]any) {
		for _, l := range p.(object)["layer"].([]any) {
			for _, row := range l.(object)["data"].(object)["values"].([]any) {
				if len(row.(object)) > 0 {
					rows = append(rows, row.(object))
				}
			}
		}
	}
	return rows
}

// The interactive chart and the table show the same numbers (the chart in the order of drawing).
func TestVegaDataIsTheTable(t *testing.T) {
	for _, f := range []Figure{sampleMap(), sampleLines()} {
		number := func(v any) string {
			if x, ok := v.(float64); ok {
				return strconv.FormatFloat(x, 'g', -1, 64)
			}
			return ""
		}
		position := func(r map[string]any, key string) any {
			if name, ok := r[key+"name"]; ok {
				return name
			}
			return number(r[key])
		}
		var drawn, listed []string
		for _, r := range vegaRows(t, f) {
			drawn = append(drawn, fmt.Sprint(position(r, "x"), "|", position(r, "y"), "|", number(r["low"]), "|", number(r["high"]), "|", number(r["value"])))
		}
		for _, r := range table(t, f)[1:] {
			listed = append(listed, strings.Join(r[3:8], "|"))
		}
		slices.Sort(drawn)
		slices.Sort(listed)
		if !slices.Equal(drawn, listed) {
			t.Errorf("%s: chart and table differ: %d and %d rows", f.Name, len(drawn), len(listed))
		}
	}
}

func TestVegaTravelsByGobAndJSON(t *testing.T) {
	gob.Register(map[string]any{})
	gob.Register([]any{})
	for _, f := range []Figure{sampleMap(), sampleLines()} {
		spec, err := f.VegaLite()
		if err != nil {
			t.Fatal(err)
		}
		if err := gob.NewEncoder(io.Discard).Encode(spec); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		content, err := json.Marshal(spec)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		// The schema's name is the only address.
		if n := bytes.Count(content, []byte("://")); n != 1 {
			t.Errorf("%s: %d addresses in the chart, want 1", f.Name, n)
		}
	}
}

func TestPicturesDecode(t *testing.T) {
	for _, f := range []Figure{sampleMap(), sampleLines()} {
		picture, err := f.PNG()
		if err != nil {
			t.Fatal(err)
		}
		again, _ := f.PNG()
		if !bytes.Equal(picture, again) {
			t.Errorf("%s: two pictures of one figure differ", f.Name)
		}
		config, err := png.DecodeConfig(bytes.NewReader(picture))
		if err != nil || config.Width != Width*Density || config.Height < 300*Density {
			t.Errorf("%s: %d x %d, %v, want %d wide", f.Name, config.Width, config.Height, err, Width*Density)
		}
		vector, err := f.SVG()
		if err != nil {
			t.Fatal(err)
		}
		for decoder := xml.NewDecoder(bytes.NewReader(vector)); ; {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s.svg: %v", f.Name, err)
			}
		}
		if !bytes.Contains(vector, []byte(">"+f.Title+"<")) {
			t.Errorf("%s.svg holds no title", f.Name)
		}
	}
}

// A missing cell is neither left white nor given a colour of the map; a missing point breaks the line.
func TestMissingValuesShow(t *testing.T) {
	heat := Layer{Kind: Heat, X: []float64{0, 1}, Y: []float64{0, 0}, Value: []float64{1, math.NaN()}}
	l := Figure{Panels: []Panel{{Layers: []Layer{heat}}}}.layout()
	if len(l.legend) != 1 || l.legend[0][0].name != missingName {
		t.Errorf("legend %v, want an entry for missing cells", l.legend)
	}
	line := Layer{Kind: Line, X: []float64{1, 2, 3, 4, 5}, Y: []float64{1, 2, math.Inf(1), 4, 5}}
	l = Figure{Panels: []Panel{{Layers: []Layer{line}}}}.layout()
	if pieces := l.axes[0].path(line); len(pieces) != 2 || len(pieces[0]) != 2 || len(pieces[1]) != 2 {
		t.Errorf("line with a hole in pieces %v, want two of two points", pieces)
	}
	step := Layer{Kind: Step, X: []float64{1, 2, 3}, Y: []float64{1, 2, 3}}
	if pieces := l.axes[0].path(step); len(pieces[0]) != 5 || pieces[0][1].Y != pieces[0][0].Y || pieces[0][1].X != pieces[0][2].X {
		t.Errorf("staircase %v, want along x first", pieces)
	}
}

func TestBadFiguresAreNamed(t *testing.T) {
	two := []float64{1, 2}
	for want, l := range map[string]Layer{
		`(line): y has 1 values: want 2, as many as the layer has points`:            {X: two, Y: two[:1]},
		`(points): low has 0 values: want 2, as many as the layer has points`:        {Kind: Points, X: two, Y: two, High: two},
		`(band): high has 1 values: want 2, as many as the layer has points`:         {Kind: Band, X: two, Low: two, High: two[:1]},
		`(heat): value has 0 values: want 2, as many as the layer has points`:        {Kind: Heat, X: two, Y: two},
		`(heat): cell 1 at x 1, y 2: want finite coordinates, each pair once`:        {Kind: Heat, X: []float64{1, 1}, Y: []float64{2, 2}, Value: two},
		`(rule): a rule with 2 x and 2 y: want one of them alone`:                    {Kind: Rule, X: two, Y: two},
		`(line): field "seed" has 1 values: want 2, as many as the layer has points`: {X: two, Y: two, Fields: []Field{{"seed", []string{"a"}}}},
		`(line): field "seed" of []int: want a new name and []float64 or []string`:   {X: two, Y: two, Fields: []Field{{"seed", []int{1, 2}}}},
		`(line): x[0] = 0 on a logarithmic axis: want more than 0, or NaN for a gap`: {X: []float64{0, 1}, Y: two},
		`(line): y[1] = 2 on an axis of 2 categories: want 0 … 1`:                    {X: two, Y: two},
		`(kind 9): unknown kind: want one of line, points, step, band, rule, heat`:   {Kind: 9},
		`(line): colour 7: want 0 … 6, what Ordered returns, or Black`:               {Color: 7},
		`(step): an interval on a step: want a band of its own below it`:             {Kind: Step, X: two, Y: two, Low: two, High: two},
	} {
		f := Figure{Name: "fig9", Panels: []Panel{{}, {Title: "right", X: Axis{Log: true}, Y: Axis{Categories: []string{"a", "b"}}, Layers: []Layer{{Kind: Rule, X: two}, l}}}}
		if !strings.Contains(want, "categories") {
			f.Panels[1].Y = Axis{}
		}
		want = `figure: fig9, panel 2 "right", layer 2 "" ` + want
		for _, output := range []func() ([]byte, error){f.PNG, f.SVG, f.CSV, f.vegaJSON} {
			if _, err := output(); err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
	}
	if _, err := (Figure{Name: "fig9"}).PNG(); err == nil || err.Error() != "figure: fig9 has no panels: want at least one" {
		t.Errorf("no panels: %v", err)
	}
	f := Figure{Name: "fig9", Panels: []Panel{{Layers: []Layer{{Name: "a", Color: 1}, {Name: "a", Color: 2}}}}}
	if _, err := f.PNG(); err == nil || !strings.Contains(err.Error(), `layer 2 "a" (line): colour 2 after colour 1: want one per name`) {
		t.Errorf("two colours of one name: %v", err)
	}
	f = Figure{Name: "fig9", Panels: []Panel{{Y: Axis{Log: true, Min: 0, Max: 1}}}}
	if _, err := f.PNG(); err == nil || err.Error() != `figure: fig9, panel 1 "": y axis is logarithmic from 0: want a lower limit above 0` {
		t.Errorf("logarithmic from 0: %v", err)
	}
}

func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "figures")
	paths, err := sampleMap().Save(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := os.ReadDir(dir)
	if len(paths) != 4 || len(files) != 4 || filepath.Base(paths[3]) != "map.vl.json" {
		t.Errorf("paths %v, %d files, want map.png, .svg, .csv, .vl.json alone", paths, len(files))
	}
	if _, err := (Figure{Name: "../x"}).Save(dir); err == nil {
		t.Error("a name that leaves the folder: want an error")
	}
}

func TestTicks(t *testing.T) {
	for want, s := range map[string]scale{
		"8 16 32 64":              Axis{Log: true}.scale([]float64{8, 16, 64}, []float64{46}, nil),
		"0.001 0.01 0.1 1":        Axis{Log: true}.scale([]float64{.001, 1}, nil, nil),
		"1 10 100 1000 10000":     Axis{Log: true}.scale([]float64{1, 20000}, nil, nil),
		"2 5 10 20":               Axis{Log: true}.scale([]float64{2, 3, 20}, nil, nil),
		"0.0 0.2 0.4 0.6 0.8 1.0": Axis{Min: 0, Max: 1}.scale(nil, nil, nil),
		"-2 -1 0 1 2":             Axis{}.scale([]float64{-2, 2}, nil, nil),
		"1e-6 1e-5 0.0001":        Axis{Log: true}.scale([]float64{1e-6, 1e-4}, nil, nil),
		"one two":                 Axis{Categories: []string{"one", "two"}}.scale([]float64{0}, nil, nil),
	} {
		if got := strings.Join(s.labels, " "); got != want {
			t.Errorf("ticks %s, want %s", got, want)
		}
	}
}
