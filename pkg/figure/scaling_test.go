package figure

import (
	"math"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/chart"
	"raretask/pkg/claims"
	"raretask/pkg/scaling"
	"raretask/pkg/spec"
)

// Of two sizes there is something for larger models alone exactly where their ratio is above the law's boundary.
func TestFig1HasTheThirdRegionAboveTheBoundary(t *testing.T) {
	small := []float64{1e9}
	large := []float64{6.8e9, 6.9e9}
	c, err := Fig1(scaling.Besiroglu, "x", small, large, []float64{1e21})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Save(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	regions := map[int][]string{}
	for _, l := range c.Panels[0].Layers {
		if l.Kind == chart.Band {
			regions[l.Chosen[1]] = append(regions[l.Chosen[1]], l.Name)
			if !(l.Low[0] < l.High[0]) || !slices.Equal(l.X, []float64{1e9, large[l.Chosen[1]]}) {
				t.Errorf("region %+v", l)
			}
		}
		if l.Kind == chart.Points && math.Abs(l.Y[0]-scaling.Besiroglu.Loss(l.X[0], 1e21/6/l.X[0])) > 1e-12 {
			t.Errorf("budget spent: %+v", l)
		}
	}
	if len(regions[0]) != 2 || len(regions[1]) != 3 {
		t.Errorf("regions %v: want two at 6.8 times the size, three at 6.9 times", regions)
	}
}

// Of nets without a closed form there is no limit to draw: the end of training stands for it, here what the tasks weigh that a width
// doesn't learn.
func TestCapacityWithoutALimit(t *testing.T) {
	runs := quantized([]int{2, 4, 8}, 3)
	c, err := Capacity(runs)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "parity-capacity" || strings.Contains(c.Caption, "Dashed") {
		t.Errorf("%s: %s", c.Name, c.Caption)
	}
	seen := false
	for _, l := range c.Panels[1].Layers {
		if l.Kind == chart.Line {
			t.Errorf("a line %q among the limits", l.Name)
		}
		if l.Name != "end of training" || len(l.Y) == 0 {
			continue
		}
		seen = true
		for i, n := range []int{2, 4, 8} {
			want := 0.
			for k, pi := range runs[0].Mixture.Frequencies() {
				if k >= n {
					want += pi
				}
			}
			if len(l.Y) != 3 || math.Abs(l.Y[i]-want) > 1e-12 {
				t.Errorf("N = %d ends at %v, want %g", n, l.Y, want)
			}
		}
	}
	if !seen {
		t.Error("no end of training")
	}
	two := slices.Clone(runs)
	for _, r := range runs {
		if r.Net.Width == 2 {
			other := r.Run
			other.Train.Rate *= 2
			two = append(two, made(other, r.Steps, columns{"loss_sampled": func(spec.Run, int, int) float64 { return 1 }}))
		}
	}
	if _, err := Capacity(two); err == nil || !strings.Contains(err.Error(), "select one") {
		t.Errorf("two rates of a width: %v", err)
	}
}

// Of two widths the regions join: from the top to L_C(N_s), from there to the narrower one's end, and from that to L_C(N_l), where it is
// lower.
func TestCapacityCompares(t *testing.T) {
	runs := quantized([]int{2, 4, 8, 16}, 3)
	c, err := Capacity(runs)
	if err != nil {
		t.Fatal(err)
	}
	reigns, err := claims.Reigns(runs)
	if err != nil {
		t.Fatal(err)
	}
	reigns = slices.DeleteFunc(reigns, func(r claims.Reign) bool { return r.Open })
	if len(c.Choices) != 3 || c.Choices[0].Name != "N_s" || len(c.Choices[0].Options) < 2 {
		t.Fatalf("choices %+v of %d reigns", c.Choices, len(reigns))
	}
	seen := 0
	for _, l := range c.Panels[1].Layers {
		if l.Kind != chart.Band || l.Name != soFar[1] && l.Name != soFar[2] {
			continue
		}
		seen++
		if len(reigns) != len(c.Choices[0].Options) {
			t.Fatalf("%d reigns, %d widths to choose from", len(reigns), len(c.Choices[0].Options))
		}
		small, large := reigns[l.Chosen[0]], reigns[l.Chosen[1]]
		if small.Width >= large.Width {
			t.Errorf("from N = %d to %d", small.Width, large.Width)
		}
		if l.Name == soFar[1] && l.High[0] != small.Loss || l.Name == soFar[2] && l.Low[0] != large.Loss {
			t.Errorf("%s, N = %d to %d: %g to %g, L_C %g and %g", l.Name, small.Width, large.Width, l.Low[0], l.High[0], small.Loss, large.Loss)
		}
	}
	if seen == 0 {
		t.Error("no regions")
	}
}
