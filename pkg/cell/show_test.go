package cell

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/chart"
	"raretask/pkg/lab"
)

// shown is a cell that shows a chart with a map, a series and typeset mathematics, and one that is no chart of ours.
const shown = `%%
f := chart.Chart{Name: "sample", Title: "δ_F, s̃_r, ‖G_F‖", Caption: "What is drawn.", Panels: []chart.Panel{
	{Title: "λ and π_k", X: chart.Axis{Label: "width N", Log: true, Ticks: []float64{8, 24}}, Y: chart.Axis{Label: "N*(m)"},
		Layers: []chart.Layer{
		{Kind: chart.Heat, X: []float64{8, 24}, Y: []float64{1, 1}, Value: []float64{.1, math.NaN()}, ValueLabel: "loss"}}},
	{X: chart.Axis{Label: "step"}, Y: chart.Axis{Label: "s_k"}, Layers: []chart.Layer{
		{Kind: chart.Line, Name: "β = 1", X: []float64{1, 2, 3, 4}, Y: []float64{.1, .5, math.NaN(), .2}},
		{Kind: chart.Points, Name: "β = 1", X: []float64{1, 2}, Y: []float64{.1, .5}, Low: []float64{0, .4}, High: []float64{.2, .6}}}}}}
cell.Show(f, nil)
cell.Vega(` + "`" + `{"data": {"values": [{"a": 1, "b": null}, {"a": 2}]}, "mark": "bar", "title": {"text": "Mine"},
	"encoding": {"x": {"field": "a", "type": "quantitative", "axis": null, "scale": {"domain": [null, 5]}}}}` + "`" + `)`

// A shown chart comes out of an executed notebook interactive, as a picture with a description, and as files of every kind.
func TestShownChartsAreDrawn(t *testing.T) {
	if testing.Short() {
		t.Skip("executes a notebook")
	}
	l, _ := openLab(t)
	if err := l.Setup(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	cells := []any{}
	const imports = "import (\n\"math\"\n\"raretask/pkg/cell\"\n\"raretask/pkg/chart\"\n)"
	for i, source := range []string{imports, shown} {
		cells = append(cells, map[string]any{"id": []string{"a", "b"}[i], "cell_type": "code", "source": strings.SplitAfter(source, "\n"),
			"outputs": []any{}, "metadata": map[string]any{}, "execution_count": nil})
	}
	content, err := json.Marshal(map[string]any{"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	path, out := filepath.Join(t.TempDir(), "try.ipynb"), t.TempDir()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	figures, err := l.Execute(t.Context(), lab.Job{Notebooks: []string{path}, Scale: "smoke", Out: out}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"figures/sample.csv", "figures/sample.png", "figures/sample.svg", "figures/sample.vl.json"}
	if len(figures) != 1 || figures[0].Name != "sample" || !slices.Equal(slices.Sorted(slices.Values(figures[0].Files)), want) {
		t.Fatalf("figures %+v, want sample alone with %v", figures, want)
	}
	picture, err := os.ReadFile(filepath.Join(out, "figures", "sample.png"))
	if err != nil {
		t.Fatal(err)
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(picture))
	if _, decoded := png.Decode(bytes.NewReader(picture)); err != nil || decoded != nil || format != "png" {
		t.Fatalf("the picture is a %s: %v", format, err)
	}
	if config.Width < chart.Width || config.Width > 2*chart.Width+20 || config.Height < 400 || len(picture) > 80_000 {
		t.Errorf("%d x %d pixels in %d bytes, want at most %d wide and 80 KB", config.Width, config.Height, len(picture), 2*chart.Width)
	}
	vector, err := os.ReadFile(filepath.Join(out, "figures", "sample.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"δ_F, s̃_r, ‖G_F‖", "λ and π_k", "width N", "N*(m)", "β = 1", "24", "no data", "loss"} {
		if !strings.Contains(string(vector), ">"+text+"<") {
			t.Errorf("the SVG doesn't say %q", text)
		}
	}
	var found []map[string]any
	for _, c := range read(t, filepath.Join(out, "try.ipynb")).Cells {
		for _, o := range c.Outputs {
			if o.Data[chart.MIME] != nil {
				found = append(found, o.Data)
			}
		}
	}
	if len(found) != 2 || found[1]["image/png"] == nil {
		t.Fatalf("%d charts in the executed notebook, want 2 with pictures", len(found))
	}
	x := found[1][chart.MIME].(map[string]any)["encoding"].(map[string]any)["x"].(map[string]any)
	if axis, told := x["axis"]; !told || axis != nil || fmt.Sprint(x["scale"]) != "map[domain:[<nil> 5]]" {
		t.Errorf("what is null doesn't arrive as null: %v", x)
	}
	inline, _ := found[0]["image/png"].(string)
	if same, err := base64.StdEncoding.DecodeString(strings.TrimSpace(inline)); err != nil || !bytes.Equal(same, picture) {
		t.Errorf("the notebook's picture isn't the file's (%v)", err)
	}
	if description := found[0][chart.MIME].(map[string]any)["description"]; description != "δ_F, s̃_r, ‖G_F‖. What is drawn." {
		t.Errorf("the chart's description is %q", description)
	}
}
