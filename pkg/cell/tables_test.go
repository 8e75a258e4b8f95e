package cell

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"raretask/pkg/claims"
	"raretask/pkg/results"
)

// What is missing is said beside what is there, and so is that a better rate may lie beyond.
func TestNumbersSayWhatIsMissing(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct{ got, want string }{
		{Interval(claims.BySeed{1: 1, 2: 2, 3: 3}), "2.000 ± 2.484"},
		{Interval(claims.BySeed{1: 1, 2: nan, 3: 2, 4: 3}), "2.000 ± 2.484 (1 of 4 missing)"},
		{Interval(claims.BySeed{1: nan, 2: 1}), "1.000 (1 of 2 missing)"},
		{Interval(claims.BySeed{1: nan}), "missing"},
		{halfLife(claims.BySeed{1: inf, 2: 7, 3: 9, 4: nan}, 100), "9 (1 of 4 missing)"},
		{halfLife(claims.BySeed{1: inf, 2: inf}, 100), "> 100"},
		{halfLife(claims.BySeed{1: nan}, 100), "missing"},
		{best(claims.Best{Rate: .1, Lowest: .1, Highest: .1, Seeds: claims.BySeed{1: 1}}), "1.000"},
		{best(claims.Best{Rate: .1, Lowest: .1, Highest: .3, Seeds: claims.BySeed{1: 1}}), "1.000 (rate ≤ 0.1)"},
		{best(claims.Best{Rate: .2, Lowest: .1, Highest: .3, Seeds: claims.BySeed{1: 1}}), "1.000 (rate 0.2)"},
		{best(claims.Best{Rate: .3, Lowest: .1, Highest: .3, Seeds: claims.BySeed{1: 1}}), "1.000 (rate ≥ 0.3)"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// What is published is the columns that analyses read, of the steps that they look at, and nothing before one does.
func TestPublishedIsWhatAnalysesNeed(t *testing.T) {
	published := t.TempDir()
	for key, value := range map[string]string{"RARETASK_RESULTS": t.TempDir(), "RARETASK_PUBLISHED": "0", "RARETASK_PUBLISH": published,
		"RARETASK_SCALE": "smoke", "GOMLX_BACKEND": "go"} {
		t.Setenv(key, value)
	}
	t.Cleanup(func() { results.OnNeed = nil })
	runs := Run(Spec("fig3"))
	check := func(columns []string, steps int) {
		t.Helper()
		files, err := os.ReadDir(published)
		if err != nil || len(columns) == 0 && len(files) > 0 || len(columns) > 0 && len(files) == 0 {
			t.Fatalf("%d files (%v) for columns %v", len(files), err, columns)
		}
		for _, entry := range files {
			f, err := results.OpenFile(filepath.Join(published, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Columns) != len(columns) || len(f.Steps) != steps {
				t.Errorf("columns %v at %d steps: want %v at %d", f.Columns, len(f.Steps), columns, steps)
			}
			for _, c := range columns {
				if err := f.Runs().Need(results.Design{Vary: []string{"net.width"}, Columns: []string{c}, Final: true}); err != nil {
					t.Errorf("%s: %v", c, err)
				}
			}
		}
	}
	check(nil, 0)
	Losses(runs)
	check([]string{"encoder_loss", "full_loss"}, 1)
	if _, err := claims.FirstHeld(runs, func(int, float64) bool { return true }); err != nil {
		t.Fatal(err)
	}
	check([]string{"encoder_loss", "full_loss", "signal"}, 1)
	if err := runs.Need(results.Design{Vary: []string{"net.width"}, Columns: []string{"residual"}}); err != nil {
		t.Fatal(err)
	}
	check([]string{"encoder_loss", "full_loss", "signal", "residual"}, len(runs[0].Steps))
}
