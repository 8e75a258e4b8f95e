package figure

import (
	"math"
	"slices"
	"testing"

	"raretask/pkg/chart"
	"raretask/pkg/scaling"
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
