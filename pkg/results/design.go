package results

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"raretask/pkg/spec"
)

// Design is what an analysis takes its runs for: any difference between them that it doesn't know of is an error, not a spread.
type Design struct {
	Vary    []string // keys of the settings in which runs may differ, as in "net.width"; "mixture.*": all below; seeds may always differ
	Columns []string // that it reads
	Final   bool     // it reads them at the end of training alone
}

// allows reports whether runs may differ in a setting.
func (d Design) allows(s spec.Setting) bool {
	return s.Seed || !s.Path || slices.ContainsFunc(d.Vary, func(v string) bool {
		prefix, all := strings.CutSuffix(v, "*")
		return v == s.Key || all && strings.HasPrefix(s.Key, prefix)
	})
}

// Need loads the columns of a design and checks the runs against it. It returns an error that names the setting in which runs differ
// though they must not, a run that stands there twice, a column that a run has not, with the command that measures it, and a run that did
// not train to its end.
func (rs Runs) Need(d Design) error {
	if len(rs) == 0 {
		return fmt.Errorf("results: no runs: want those of a sweep that ran to its end")
	}
	if err := cmp.Or(unique(rs), rs.alike(d)); err != nil {
		return err
	}
	for _, r := range rs {
		if len(r.Steps) == 0 || r.Steps[r.Last()] != r.Train.Steps {
			return fmt.Errorf("results: run %s (width %d, seed %d) was not evaluated at its last step, %d: want runs that ran to their end",
				r.ID, r.Net.Width, r.Train.Seed, r.Train.Steps)
		}
		if err := r.load(d.Columns); err != nil {
			return err
		}
	}
	return rs.needed(d)
}

// alike returns an error for the first setting in which runs differ though the design doesn't know.
func (rs Runs) alike(d Design) error {
	values := map[string]string{}
	for _, r := range rs {
		for _, s := range r.Settings() {
			if d.allows(s) {
				continue
			}
			value := fmt.Sprint(s.Value)
			before, found := values[s.Key]
			if found && before != value {
				return fmt.Errorf("results: runs differ in %s (%s and %s): want runs that differ in %s alone; select first",
					s.Key, before, value, strings.Join(append(slices.Clone(d.Vary), "seeds"), ", "))
			}
			values[s.Key] = value
		}
	}
	return nil
}

// OnNeed, if set, is told which columns of which files are needed, and whether at the end of training alone.
var OnNeed func(f *File, columns []string, final bool) error

func (rs Runs) needed(d Design) error {
	if OnNeed == nil {
		return nil
	}
	seen := map[*File]bool{}
	for _, r := range rs {
		if r.file == nil || seen[r.file] {
			continue
		}
		seen[r.file] = true
		if err := OnNeed(r.file, d.Columns, d.Final); err != nil {
			return err
		}
	}
	return nil
}
