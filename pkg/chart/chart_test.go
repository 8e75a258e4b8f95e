package chart

import (
	"bytes"
	"encoding/csv"
	"encoding/gob"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/support/xslices"
)

func table(t *testing.T, f Chart) [][]string {
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
	if got, want := strings.Join(rows[0], ","), "panel,series,rank,width N,task k,loss / Tr C"; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	points, empty := 0, 0
	for _, p := range f.Panels {
		for _, l := range p.Layers {
			points += l.rows()
		}
	}
	for _, r := range rows[1:] {
		if r[1] == "" && r[5] == "" {
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
		row := strings.Join(strings.Fields(strings.Join(r, " ")), " ")
		if strings.HasPrefix(row, "Named categories ReLU") && strings.Contains(row, "alone 0.9 0.85 0.95") {
			return
		}
	}
	t.Error("no row for ReLU, alone")
}

// panelRows returns a panel's data in the interactive chart as rows by column, with the series' name.
func panelRows(t *testing.T, f Chart, panel int) []map[string]string {
	t.Helper()
	spec, err := f.VegaLite()
	if err != nil {
		t.Fatal(err)
	}
	content := spec["concat"].([]any)[panel].(object)["data"].(object)["values"].(string)
	reader := csv.NewReader(strings.NewReader(content))
	reader.FieldsPerRecord = -1 // empty ones at the end are left out
	records, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, key := range records[0] {
			row[key] = append(record, make([]string, len(records[0]))...)[i]
		}
		l, err := strconv.Atoi(row["l"])
		if err != nil {
			t.Fatal(err)
		}
		row["series"] = f.Panels[panel].tracks()[l].Name
		rows = append(rows, row)
	}
	return rows
}

// The interactive chart and the table show the same numbers: every row of the table is in the panel's data, where layers share
// points, and every row of the data in the table.
func TestVegaDataIsTheTable(t *testing.T) {
	for _, f := range []Chart{sampleMap(), sampleLines(), sampleValues(), choosing()} {
		var listed []map[string]string
		records := table(t, f)
		for _, record := range records[1:] {
			row := map[string]string{}
			for i, key := range records[0] {
				row[key] = record[i]
			}
			listed = append(listed, row)
		}
		for i, p := range f.Panels {
			drawn := panelRows(t, f, i)
			for _, row := range drawn {
				for key, axis := range map[string]Axis{"x": p.X, "y": p.Y} {
					if at, err := strconv.Atoi(row[key]); err == nil && len(axis.Categories) > 0 {
						row[key] = axis.Categories[at]
					}
				}
			}
			agree := func(drawn, listed map[string]string) bool {
				if listed["panel"] != p.Title && listed["panel"] != strconv.Itoa(i+1) || drawn["series"] != listed["series"] {
					return false
				}
				y, value := p.Y.column("y"), "loss / Tr C"
				if drawn["series"] == "gain" {
					y = p.Right.column("y")
				}
				if p.Right.Label != "" {
					value = "task"
				}
				for key, name := range map[string]string{"x": p.X.column("x"), "y": y, "low": y + "_low", "high": y + "_high", "value": value} {
					if listed[name] != drawn[key] {
						return false
					}
				}
				return true
			}
			for _, row := range listed {
				here := row["panel"] == p.Title || row["panel"] == strconv.Itoa(i+1)
				if here && !slices.ContainsFunc(drawn, func(d map[string]string) bool { return agree(d, row) }) {
					t.Errorf("%s: the table's row %v isn't in the chart", f.Name, row)
				}
			}
			for _, row := range drawn {
				if !slices.ContainsFunc(listed, func(l map[string]string) bool { return agree(row, l) }) {
					t.Errorf("%s: the chart's row %v isn't in the table", f.Name, row)
				}
			}
		}
	}
}

// A line, its band and its points are one set of points, also where some are missing; another series is another.
func TestLayersShareTheirPoints(t *testing.T) {
	x, y, low := []float64{1, 2, 3}, []float64{1, math.NaN(), 3}, []float64{0, math.NaN(), 2}
	p := Panel{Layers: []Layer{
		{Kind: Band, Name: "a", X: x, Low: low, High: y},
		{Kind: Line, Name: "a", X: x, Y: y, Fields: []Field{{"seeds", []float64{5, 5, 4}}}},
		{Kind: Points, Name: "a", X: x, Y: y, Low: low, High: y, Fields: []Field{{"task", []float64{7, 8, 9}}}},
		{Kind: Line, Name: "b", X: x, Y: y},
		{Kind: Points, Name: "b", X: x, Y: []float64{1, 2, 3}},
	}}
	f := Chart{Name: "shared", Panels: []Panel{p}}
	rows := panelRows(t, f, 0)
	if len(rows) != 9 || rows[1]["y"] != "" || rows[2]["y"] != "3" || rows[2]["low"] != "2" || rows[2]["f0"] != "4" || rows[2]["f1"] != "9" {
		t.Errorf("data %v, want 3 rows of a, which has all numbers, and 6 of b", rows)
	}
}

func vegaText(t *testing.T, f Chart) string {
	t.Helper()
	spec, err := f.VegaLite()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(spec); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// An interval that reaches below a logarithmic axis ends at its lower edge, and its numbers stay what they are.
func TestIntervalBelowALogarithmicAxis(t *testing.T) {
	f := Chart{Name: "log", Panels: []Panel{{Y: Axis{Log: true, Min: .01, Max: 1}, Layers: []Layer{
		{Kind: Points, X: []float64{1, 2}, Y: []float64{.1, .2}, Low: []float64{-.1, math.NaN()}, High: []float64{.3, math.NaN()}}}}}}
	text := vegaText(t, f)
	for _, want := range []string{`isValid(datum.low) ? max(datum.low, 0.01) : null`, `"field":"from"`, `0,1,0.1,-0.1,0.3\n0,2,0.2\n`} {
		if !strings.Contains(text, want) {
			t.Errorf("the chart lacks %s:\n%s", want, text)
		}
	}
	f.Panels[0].Y.Log, f.Panels[0].Y.Min = false, -1
	if text := vegaText(t, f); strings.Contains(text, "from") {
		t.Errorf("an interval on a linear axis is cut: %s", text)
	}
}

// Colour bars are labelled with as many decimals as their ticks have.
func TestColourBarLabels(t *testing.T) {
	heat := Layer{Kind: Heat, X: []float64{0, 1}, Y: []float64{0, 0}, Value: []float64{-.35, -.05}}
	want := `["-0.35","-0.30","-0.25","-0.20","-0.15","-0.10","-0.05"]`
	text := vegaText(t, Chart{Name: "bar", Panels: []Panel{{Layers: []Layer{heat}}}})
	if !strings.Contains(text, strings.ReplaceAll(want, `"`, `\"`)) {
		t.Errorf("the colour bar isn't labelled %s:\n%s", want, text)
	}
}

// What is coloured by value has one bar for all panels, the legend names the other series, and what stands on the right axis has one of
// its own and its own words.
func TestValuesAndASecondAxis(t *testing.T) {
	f := sampleValues()
	text := vegaText(t, f)
	for _, want := range []string{`"fill":"shared","stroke":"shared"`, `"domain":[1,3]`, `"subtitle":"of three seeds"`, `"reverse":true`,
		`"orient":"right"`, `"resolve":{"scale":{"y":"independent"}}`, `"domain":["gain","rare"]`, `"shape":"diamond"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the chart lacks %s:\n%s", want, text)
		}
	}
	for _, want := range []string{`isValid(datum.y) && indexof([2], datum.l) >= 0 ? {"gain and decay": datum.y}`,
		`isValid(datum.y) && !(indexof([2], datum.l) >= 0) ? {"signal": datum.y}`} {
		if tip := tooltip(f.Panels[0], f.Panels[0].tracks()); !strings.Contains(tip, want) {
			t.Errorf("the tooltip lacks %s:\n%s", want, tip)
		}
	}
	rows := table(t, f)
	if got, want := strings.Join(rows[0], ","), "panel,beta,series,width,signal,task,change"; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	f.Panels = f.Panels[:1]
	if text := vegaText(t, f); !strings.Contains(text, `"stroke":"independent"`) {
		t.Errorf("one panel shares its bar:\n%s", text)
	}
	f.Panels[0].Layers[0].Kind = Step
	if _, err := f.VegaLite(); err == nil || !strings.Contains(err.Error(), "values of a step: want a map, points or a line") {
		t.Errorf("a step by value: %v", err)
	}
}

func TestVegaTravelsByGobAndJSON(t *testing.T) {
	gob.Register(map[string]any{})
	gob.Register([]any{})
	for _, f := range []Chart{sampleMap(), sampleLines(), sampleValues()} {
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

// A missing cell has an entry in the legend and a grey of its own; a missing point breaks the line, since its row stays.
func TestMissingValuesShow(t *testing.T) {
	heat := Layer{Kind: Heat, X: []float64{0, 1}, Y: []float64{0, 0}, Value: []float64{1, math.NaN()}}
	f := Chart{Name: "gap", Panels: []Panel{{Layers: []Layer{heat}}}}
	if e := f.entries(); len(e) != 1 || e[0].name != missingName {
		t.Errorf("legend %v, want an entry for missing cells", e)
	}
	for _, want := range []string{"!isValid(datum.value)", `"params":[{"bind":"legend","name":"chosen"`} {
		if text := vegaText(t, f); !strings.Contains(text, want) {
			t.Errorf("no mark for missing cells, or none that the legend brings out: no %s in %s", want, text)
		}
	}
	f.Panels[0].Layers[0].Value[1] = 2
	if text := vegaText(t, f); strings.Contains(text, missingName+`"`+"]") || strings.Contains(text, "!isValid") {
		t.Errorf("a mark for missing cells where none are: %s", text)
	}
	f.Panels[0].Layers = []Layer{{Kind: Line, X: []float64{1, 2, 3}, Y: []float64{1, math.Inf(1), 3}}}
	if rows := panelRows(t, f, 0); len(rows) != 3 || rows[1]["y"] != "" {
		t.Errorf("a line's points %v, want a gap in the middle", rows)
	}
	f.Panels[0].Layers[0].Y = []float64{math.NaN(), math.NaN(), math.NaN()}
	if text := vegaText(t, f); !strings.Contains(text, `"text":"no data"`) {
		t.Errorf("a panel without numbers doesn't say so: %s", text)
	}
}

func TestBadChartsAreNamed(t *testing.T) {
	two := []float64{1, 2}
	for want, l := range map[string]Layer{
		`(line): y has 1 values: want 2, as many as the layer has points`:     {X: two, Y: two[:1]},
		`(points): low has 0 values: want 2, as many as the layer has points`: {Kind: Points, X: two, Y: two, High: two},
		`(band): high has 1 values: want 2, as many as the layer has points`:  {Kind: Band, X: two, Low: two, High: two[:1]},
		`(heat): value has 0 values: want 2, as many as the layer has points`: {Kind: Heat, X: two, Y: two},
		`(heat): cell 1 at x 1, y 2: want finite coordinates, each pair once`: {
			Kind: Heat, X: []float64{1, 1}, Y: []float64{2, 2}, Value: two},
		`(rule): a rule with 2 x and 2 y: want one of them alone`:                    {Kind: Rule, X: two, Y: two},
		`(line): field "seed" has 1 values: want 2, as many as the layer has points`: {X: two, Y: two, Fields: []Field{{"seed", two[:1]}}},
		`(line): field "series": want a name that no other column has`:               {X: two, Y: two, Fields: []Field{{"series", two}}},
		`(line): x[0] = 0 on a logarithmic axis: want more than 0, or NaN for a gap`: {X: []float64{0, 1}, Y: two},
		`(line): y[1] = 2 on an axis of 2 categories: want 0 … 1`:                    {X: two, Y: two},
		`(kind 9): unknown kind: want one of line, points, step, band, rule, heat`:   {Kind: 9},
		`(line): colour 7: want 0 … 6, what Ordered returns, or Black`:               {Color: 7},
		`(step): an interval on a step: want a band of its own below it`:             {Kind: Step, X: two, Y: two, Low: two, High: two},
	} {
		right := Panel{Title: "right", X: Axis{Log: true}, Y: Axis{Categories: []string{"a", "b"}}, Layers: []Layer{{Kind: Rule, X: two}, l}}
		f := Chart{Name: "fig9", Panels: []Panel{{}, right}}
		if !strings.Contains(want, "categories") {
			f.Panels[1].Y = Axis{}
		}
		want = `chart: fig9, panel 2 "right", layer 2 "" ` + want
		_, noTable := f.CSV()
		_, noChart := f.VegaLite()
		for _, err := range []error{noTable, noChart} {
			if err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
	}
	if _, err := (Chart{Name: "fig9"}).VegaLite(); err == nil || err.Error() != "chart: fig9 has no panels: want at least one" {
		t.Errorf("no panels: %v", err)
	}
	f := Chart{Name: "fig9", Panels: []Panel{{Layers: []Layer{{Name: "a", Color: 1}, {Name: "a", Color: 2}}}}}
	if _, err := f.VegaLite(); err == nil || !strings.Contains(err.Error(), `layer 2 "a" (line): colour 2 after colour 1: want one per name`) {
		t.Errorf("two colours of one name: %v", err)
	}
	f = Chart{Name: "fig9", Panels: []Panel{{X: Axis{Log: true, Ticks: []float64{1, 0}}}}}
	want := `chart: fig9, panel 1 "": x axis ticks[1] = 0: want finite numbers, above 0 on a logarithmic axis`
	if _, err := f.VegaLite(); err == nil || err.Error() != want {
		t.Errorf("a tick at 0: %v", err)
	}
	f = Chart{Name: "fig9", Panels: []Panel{{Y: Axis{Log: true, Min: 0, Max: 1}}}}
	want = `chart: fig9, panel 1 "": y axis is logarithmic from 0: want a lower limit above 0`
	if _, err := f.VegaLite(); err == nil || err.Error() != want {
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
	if len(paths) != 2 || len(files) != 2 || filepath.Base(paths[0]) != "map.vl.json" || filepath.Base(paths[1]) != "map.csv" {
		t.Errorf("paths %v, %d files, want map.vl.json and map.csv alone", paths, len(files))
	}
	if _, err := (Chart{Name: "../x"}).Save(dir); err == nil {
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
		"8 24 46":                 Axis{Log: true, Ticks: []float64{4, 8, 24, 46, 1000}}.scale([]float64{8, 46}, nil, nil),
		"one two":                 Axis{Categories: []string{"one", "two"}}.scale([]float64{0}, nil, nil),
	} {
		if got := strings.Join(s.labels, " "); got != want {
			t.Errorf("ticks %s, want %s", got, want)
		}
	}
}

// A bare axis has neither label nor numbers, and leaves its room to the panels.
func TestBareAxis(t *testing.T) {
	draw := func(bare bool) object {
		panel := Panel{X: Axis{Label: "x"}, Y: Axis{Label: "y"}, Layers: []Layer{{Kind: Line, X: []float64{1, 2}, Y: []float64{1000, 2000}}}}
		beside := panel
		beside.Y.Bare = bare
		drawn, err := Chart{Name: "c", Panels: []Panel{panel, beside}, Columns: 2}.VegaLite()
		if err != nil {
			t.Fatal(err)
		}
		return drawn
	}
	bare, full := draw(true), draw(false)
	axis := func(o object) object { return o["encoding"].(object)["y"].(object)["axis"].(object) }
	second := func(o object) object { return o["concat"].([]any)[1].(object) }
	if a := axis(second(bare)); a["title"] != nil || a["labels"] != false {
		t.Errorf("a bare axis %v", a)
	}
	if a := axis(second(full)); a["title"] != "y" {
		t.Errorf("an axis %v", a)
	}
	if b, f := second(bare)["width"].(float64), second(full)["width"].(float64); b <= f {
		t.Errorf("panels %g wide beside a bare axis, %g else", b, f)
	}
}

// Series keep their colours and their one legend where the first panel has none, only points coloured by value; a bar of whole numbers
// begins at 0.
func TestSeriesAfterAPanelOfValues(t *testing.T) {
	f := Chart{Name: "x", Title: "x", Panels: []Panel{
		{X: Axis{Label: "x"}, Y: Axis{Label: "y"}, Layers: []Layer{{Kind: Points, X: []float64{1, 2, 3}, Y: []float64{1, 2, 3},
			Value: []float64{0, 7, 15}, ValueLabel: "sum", ValueName: "sum"}}},
		{X: Axis{Label: "x"}, Y: Axis{Label: "y"}, Layers: []Layer{{Kind: Line, Name: "a", Color: 2, X: []float64{1, 2}, Y: []float64{1, 2}},
			{Kind: Line, Name: "b", Color: 3, X: []float64{1, 2}, Y: []float64{2, 1}}}},
	}}
	spec, err := f.VegaLite()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(text), `"resolve"`)
	if strings.Contains(first, `"field":"series"`) || !strings.Contains(rest, `"domain":["a","b"]`) || strings.Contains(first, `"-0"`) {
		t.Errorf("%s", text)
	}
}

// A title that would reach out of its panel is broken between words, and says the same.
func TestLongTitlesBreak(t *testing.T) {
	long := "2 … 12 directions, β = 1.5"
	for _, c := range []struct {
		title string
		width float64
		lines int
	}{{long, 93, 2}, {long, 300, 1}, {"short", 93, 1}, {"novel task, frequency 0.25: a higher frequency is cheaper", 182, 2}} {
		lines, isBroken := titleLines(c.title, c.width).([]any)
		if !isBroken {
			lines = []any{titleLines(c.title, c.width)}
		}
		words := xslices.Map(lines, func(l any) string { return l.(string) })
		if len(lines) != c.lines || strings.Join(words, " ") != c.title || strings.HasPrefix(words[len(words)-1], "=") {
			t.Errorf("%q in %g pixels: %q; want %d lines", c.title, c.width, words, c.lines)
		}
	}
}

// Charts are on white, so they say that text is black: where JupyterLab is dark it would be white.
func TestTextIsBlackOnWhite(t *testing.T) {
	spec, err := sampleLines().VegaLite()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Background string
		Config     struct {
			Title struct{ Color string }
			Style map[string]struct{ Fill string }
		}
	}
	text, err := json.Marshal(spec)
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if c := got.Config; err != nil || got.Background != "white" || c.Title.Color != "black" || c.Style["guide-label"].Fill != "black" ||
		c.Style["guide-title"].Fill != "black" {
		t.Errorf("%+v, %v", got, err)
	}
}
