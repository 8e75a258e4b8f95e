package cell

import (
	"fmt"
	"math"
	"slices"

	"raretask/pkg/figure"
	"raretask/pkg/results"
)

// RetentionTable displays what becomes of the injected task by width and gap: means and half widths of 95% intervals over seeds.
func RetentionTable(rows []results.Row) {
	var table [][]any
	for _, r := range Must(figure.Retentions(rows)) {
		table = append(table, []any{r.Width, r.Gap, Interval(r.Final), Interval(r.Gain), Interval(r.Decay), Interval(r.Retained), Median(r.HalfLife)})
	}
	Table([]string{"width", "gap", "at the end", "gain", "decay", "retained share", "half-life (steps, median)"}, table)
}

// RetentionClaims returns the claims that retention grows with width and falls with the gap, with effects of at least .1 and .02 of the
// retained share, and the same of what is learned in the end, with .1 and .05. A net in which some seed never had the task retains
// nothing that could be compared, so the widest net's share is held against that of the narrowest in which every seed had it. about
// says of which runs.
func RetentionClaims(about string, rows []results.Row) []Claim {
	all := Must(figure.Retentions(rows))
	first, last := all[0], all[len(all)-1] // narrowest at the shortest gap, widest at the longest
	narrowest := figure.RetentionAt(all, first.Width, last.Gap)
	had := narrowest
	for _, r := range all {
		if r.Gap == last.Gap && !slices.ContainsFunc(r.Retained, math.IsNaN) {
			had = r
			break
		}
	}
	claims := []Claim{
		{fmt.Sprintf("%sretained share at the longest gap is larger in the widest net than at N = %d", about, had.Width), figure.Differences(last.Retained, had.Retained), .1},
		{fmt.Sprintf("%swhat is learned at the longest gap is more in the widest net than at N = %d", about, narrowest.Width), figure.Differences(last.Final, narrowest.Final), .1},
	}
	for _, r := range all {
		if r.Gap == first.Gap {
			long := figure.RetentionAt(all, r.Width, last.Gap)
			claims = append(claims,
				Claim{fmt.Sprintf("%sretained share falls from the shortest to the longest gap, N = %d", about, r.Width), figure.Differences(r.Retained, long.Retained), .02},
				Claim{fmt.Sprintf("%swhat is learned falls from the shortest to the longest gap, N = %d", about, r.Width), figure.Differences(r.Final, long.Final), .05})
		}
	}
	return claims
}
