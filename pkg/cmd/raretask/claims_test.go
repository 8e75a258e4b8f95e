package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"raretask/pkg/claims"
)

// README shows the verdicts of the runs that came with the project.
func TestReadmeShowsClaims(t *testing.T) {
	t.Setenv("RARETASK_RESULTS", t.TempDir())
	var got struct{ Claims []claims.Judged }
	executeJSON(t, nil, &got, "claims", "--scale", "quick")
	if len(got.Claims) != len(claims.Statements()) {
		t.Fatalf("%d verdicts of %d statements", len(got.Claims), len(claims.Statements()))
	}
	table := "| the paper | source | verdict | parts |\n|---|---|---|---|\n"
	for _, j := range got.Claims {
		mark := map[bool]string{true: "\\*"}[j.Late && j.Verdict != claims.NotRun]
		table += fmt.Sprintf("| %s | %s | %s%s | %s |\n", j.Text, j.Source, j.Verdict, mark, partsOf(j))
		if j.Verdict == claims.NotRun && j.Sentence == "" {
			t.Errorf("%s: not run, without a reason", j.ID)
		}
	}
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), table) {
		t.Errorf("want this table in README.md:\n%s", table)
	}
}

func TestClaimsSaysWhichThereAre(t *testing.T) {
	if status, _, errors := execute(t, nil, "claims", "nonsense"); status != 2 || !strings.Contains(errors, "language") {
		t.Errorf("exit %d: %s", status, errors)
	}
	status, out, _ := execute(t, []string{"RARETASK_RESULTS=" + t.TempDir()}, "claims", "losses", "--scale", "quick")
	if status != 0 || !strings.Contains(out, "rule: ") || !strings.Contains(out, "95% interval") {
		t.Errorf("exit %d:\n%s", status, out)
	}
}
