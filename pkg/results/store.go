package results

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/backend"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// Store is a folder of results, and a folder of published ones to fall back to.
type Store struct {
	Dir string
	// Published holds results that came with the project, those of the paper's scale in a folder of their own in it, read where Dir has none.
	// They count whatever backend trained them. Empty: none.
	Published string
}

// Dir returns the folder of results: RARETASK_RESULTS, or results in the checkout.
func Dir() (string, error) {
	if dir := os.Getenv("RARETASK_RESULTS"); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := backend.Root()
	return filepath.Join(root, "results"), err
}

// Open returns the store of this checkout. Published results (notebooks/data) count unless RARETASK_PUBLISHED=0.
func Open() (*Store, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	s := &Store{Dir: filepath.Join(dir, "runs")}
	if os.Getenv("RARETASK_PUBLISHED") != "0" {
		s.Published, err = PublishedDir()
	}
	return s, err
}

// PublishedDir returns the folder of published results.
func PublishedDir() (string, error) {
	root, err := backend.Root()
	return filepath.Join(root, "notebooks", "data"), err
}

// PublishedAt returns the folder in one of published results that those of a scale are in.
func PublishedAt(dir, scale string) string {
	if scale == "paper" {
		return filepath.Join(dir, scale)
	}
	return dir
}

// Path returns the file of a stack's results on a backend.
func (s *Store) Path(stack spec.Stack, id backend.Identity) string {
	return s.path(stack.Hash(), id.Key())
}

func (s *Store) path(hash, key string) string { return filepath.Join(s.Dir, hash+"-"+key+".parquet") }

// ErrMissing says that a stack has no results yet.
var ErrMissing = errors.New("no results yet")

// Want is what a sweep asks of a stack's results. The zero value asks for nothing but that they are there.
type Want struct {
	Columns []string // by name
	Steps   []int    // at which they are known
	Glances []int    // further steps, at which those are known that are known often
	Keep    []int    // steps after which weights are kept
	// Named says that metrics or weights were asked for by name, by somebody else than a preset. Published results, of which notebooks have
	// left what they don't draw, do where none were.
	Named bool
}

// An IncompleteError says that results are there, but not all that is asked of them.
type IncompleteError struct {
	File    *File
	Columns []string // that are missing
	Steps   []int    // at which nothing is known
	Keep    []int    // whose weights are missing
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("results: %s lacks columns %v, steps %v, weights after %v", e.File.Path, e.Columns, e.Steps, e.Keep)
}

// Backends returns the keys of all backends that have results, ascending.
func (s *Store) Backends() ([]string, error) {
	keys, err := named(s.Dir, ".parquet")
	for i, name := range keys {
		_, keys[i], _ = strings.Cut(name, "-")
	}
	slices.Sort(keys)
	return slices.Compact(keys), err
}

// named returns the names, less the ending, of the files in a folder that end so. (No pattern: the folder's name may have characters that
// mean something in one.)
func named(dir, ending string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !notThere(err) {
		return nil, fmt.Errorf("results: %w", err)
	}
	for _, e := range entries {
		if name, found := strings.CutSuffix(e.Name(), ending); found {
			names = append(names, name)
		}
	}
	return names, nil
}

// Older returns one of the store's files that another version of raretask wrote under a name that no stack has any more; empty: none.
// known reports whether one of the stacks that are looked for has a hash.
func (s *Store) Older(known func(hash string) bool) string {
	all, _ := named(s.Dir, ".parquet")
	for _, name := range all {
		hash, _, _ := strings.Cut(name, "-")
		if path := filepath.Join(s.Dir, name+".parquet"); !known(hash) && outdated(path) {
			return path
		}
	}
	return ""
}

// Find returns the results of a stack that hold what is wanted, on the first of the backends, given by their keys, that has such, or
// published ones. The error is ErrMissing where there are none; a *DamagedError, *OlderError or *IncompleteError where its own are not
// what they should be.
func (s *Store) Find(stack spec.Stack, on []string, want Want) (*File, error) {
	var wrong error
	hash := stack.Hash()
	for _, key := range on {
		path := s.path(hash, key)
		file, err := OpenFile(path)
		if err == nil && (file.Hash != hash || file.Backend.Key() != key) {
			err = &DamagedError{path, fmt.Errorf("it holds stack %s of %s", file.Hash, file.Backend)}
		}
		if err == nil {
			err = s.complete(file, want)
		}
		if err == nil {
			return file, nil
		}
		if !notThere(err) {
			wrong = err
		}
	}
	if s.Published == "" {
		return nil, cmp.Or(wrong, ErrMissing)
	}
	hash = stack.Published()
	for _, scale := range []string{"quick", "paper"} {
		file, err := OpenFile(publishedPath(PublishedAt(s.Published, scale), hash))
		var older *OlderError
		switch {
		case err == nil && file.Hash != hash:
			wrong = cmp.Or[error](wrong, &DamagedError{file.Path, fmt.Errorf("it holds stack %s", file.Hash)})
		case err == nil && (!want.Named && file.asOften(stack) || s.complete(file, want) == nil):
			return file, nil
		case err != nil && !notThere(err) && !errors.As(err, &older):
			wrong = cmp.Or(wrong, err)
		}
	}
	return nil, cmp.Or(wrong, ErrMissing)
}

// asOften reports whether the file's runs were looked at as often as those of a stack of its hash, which leaves that out.
func (f *File) asOften(stack spec.Stack) bool {
	return f.Stack[0].Train.Evaluations == stack[0].Train.Evaluations
}

// complete returns an *IncompleteError for what is wanted of a file and not there.
func (s *Store) complete(f *File, want Want) error {
	missing := &IncompleteError{File: f}
	for _, name := range want.Columns {
		if !slices.ContainsFunc(f.Columns, func(c train.Column) bool { return c.Name == name }) {
			missing.Columns = append(missing.Columns, name)
		}
	}
	lacks := func(steps []int, step int) bool { _, known := slices.BinarySearch(steps, step); return !known }
	for _, step := range want.Steps {
		if lacks(f.Steps, step) {
			missing.Steps = append(missing.Steps, step)
		}
	}
	for _, step := range want.Glances {
		if lacks(f.Steps, step) && lacks(f.Glances, step) {
			missing.Steps = append(missing.Steps, step)
		}
	}
	for _, step := range want.Keep {
		if _, err := s.Weights(f, step); errors.Is(err, fs.ErrPermission) {
			return err
		} else if err != nil { // not there, or damaged
			missing.Keep = append(missing.Keep, step)
		}
	}
	if len(missing.Columns)+len(missing.Steps)+len(missing.Keep) > 0 {
		return missing
	}
	return nil
}

// Publishing has what analyses need of results copied to the folder RARETASK_PUBLISH from now on, and returns the folder in it for those of
// a scale; empty: nobody asked for it.
func Publishing(scale string) (dir string) {
	if dir = os.Getenv("RARETASK_PUBLISH"); dir == "" {
		return ""
	}
	dir = PublishedAt(dir, scale)
	OnNeed = func(f *File, columns []string, final bool) error { return Publish(f, dir, columns, final) }
	return dir
}

// Publish writes what notebooks need of a file's runs to dir, under the name that published results have, for authors of notebooks to
// commit: columns, and of the steps all or the last alone. What is published there already stays.
func Publish(f *File, dir string, columns []string, final bool) error {
	part := *f
	part.Kept, part.packed, part.Hash = nil, true, f.Stack.Published()
	path := publishedPath(dir, part.Hash)
	last := map[string]bool{} // columns of which the last step alone is needed
	for _, c := range columns {
		last[c] = final
	}
	if before, err := OpenFile(path); err == nil && before.Hash == part.Hash {
		if err := before.Runs().Load(before.Columns); err != nil {
			return err
		}
		for _, c := range names(before.Columns) {
			asked := slices.Contains(columns, c)
			last[c] = (!asked || last[c]) && (len(before.Steps) == 1 || before.Runs()[0].lately(c))
			columns = append(columns, c)
		}
	}
	part.Columns = slices.DeleteFunc(slices.Clone(f.Columns), func(c train.Column) bool { return !slices.Contains(columns, c.Name) })
	if !slices.ContainsFunc(part.Columns, func(c train.Column) bool { return !last[c.Name] }) {
		part.Steps = f.Steps[len(f.Steps)-1:]
	}
	if len(part.Steps) == 1 || !train.Often(part.Columns) {
		part.Glances = nil
	}
	runs := f.Runs()
	if err := runs[0].load(columns); err != nil { // and with it all others
		return err
	}
	data, err := part.encode(runs, last)
	if err != nil {
		return err
	}
	return WriteFile(path, func(to *os.File) error { _, err := to.Write(data); return err })
}

// Publish writes all that is known of the runs to dir, as published results. Those of a sweep that names its metrics must be whole: that is
// what such a sweep asks of published results.
func (rs Runs) Publish(dir string) error {
	for _, f := range rs.files() {
		if err := Publish(f, dir, names(f.Columns), false); err != nil {
			return err
		}
	}
	return nil
}

func publishedPath(dir, hash string) string { return filepath.Join(dir, hash+".parquet") }

// Unfinished returns the path, without an ending, of what is kept of a stack on a backend while it trains.
func (s *Store) Unfinished(stack spec.Stack, id backend.Identity) string {
	return s.Lock(stack) + "-" + id.Key()
}

// Lock returns the path of a stack's lock, in the folder of what is unfinished. All backends share it.
func (s *Store) Lock(stack spec.Stack) string { return filepath.Join(s.UnfinishedDir(), stack.Hash()) }

// UnfinishedDir returns the folder of locks and of what is kept of stacks while they train.
func (s *Store) UnfinishedDir() string { return filepath.Join(s.Dir, "unfinished") }

// Write stores the results of a stack, given what a file of them holds and runs with its columns, and returns the file, which appears
// whole or not at all.
func (s *Store) Write(f *File, runs Runs) (*File, error) {
	stack, id := f.Stack, f.Backend
	f.Path, f.Hash = s.Path(stack, id), stack.Hash()
	f.Diverged = xslices.Map(runs, func(r *Run) int { return r.Diverged })
	data, err := f.encode(runs, nil)
	if err != nil {
		return nil, err
	}
	f.values = nil // after encoding: the runs may be the file's own
	return f, writeFile(f.Path, s.Unfinished(stack, id), func(to *os.File) error { _, err := to.Write(data); return err })
}

// WriteFile writes a file under a temporary name beside path and renames it into place; on any error nothing remains. Everybody may
// read it unless write changes its mode.
func WriteFile(path string, write func(*os.File) error) error {
	return writeFile(path, filepath.Join(filepath.Dir(path), "."+filepath.Base(path)), write)
}

// writeFile is WriteFile with a temporary name that begins with prefix.
func writeFile(path, prefix string, write func(*os.File) error) (err error) {
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(prefix)} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return Unwritable(err)
		}
	}
	f, err := os.CreateTemp(filepath.Dir(prefix), filepath.Base(prefix)+".*.new")
	if err != nil {
		return Unwritable(err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("results: %s: %w", path, err)
		}
	}()
	if err := cmp.Or(f.Chmod(0o644), write(f), f.Sync(), f.Close()); err != nil { // a full disk shows in Sync at the latest
		return err
	}
	return os.Rename(f.Name(), path)
}

// Unwritable says what to do about a folder of results that can't be written to.
func Unwritable(err error) error {
	return fmt.Errorf("results: %w; choose a writable folder with RARETASK_RESULTS", err)
}
