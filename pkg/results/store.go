package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"raretask/pkg/backend"
	"raretask/pkg/spec"
)

// Store is a folder of results, and a folder of published ones to fall back to.
type Store struct {
	Dir string
	// Published holds results that came with the project, read where Dir has none. They count whatever backend
	// trained them. Empty: none.
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
		root, err := backend.Root()
		if err != nil {
			return nil, err
		}
		s.Published = filepath.Join(root, "notebooks", "data")
	}
	return s, nil
}

// Path returns the file of a stack's results on a backend.
func (s *Store) Path(stack spec.Stack, id backend.Identity) string {
	return filepath.Join(s.Dir, stack.Hash()+"-"+id.Key()+".parquet")
}

// ErrMissing says that a stack has no results yet.
var ErrMissing = errors.New("no results yet")

// DamagedError says that a result file can't be read.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("results: %s is damaged (%v); it will be trained again, or delete it", e.Path, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Find returns the file of a stack's results: its own, or a published one. The error is ErrMissing where there is
// none, and a *DamagedError where its own is damaged.
func (s *Store) Find(stack spec.Stack, id backend.Identity) (string, error) {
	paths := []string{s.Path(stack, id)}
	if s.Published != "" {
		paths = append(paths, publishedPath(s.Published, stack))
	}
	return find(stack, paths)
}

// FindAnywhere is Find where results of whatever backend count.
func (s *Store) FindAnywhere(stack spec.Stack) (string, error) {
	paths, err := filepath.Glob(filepath.Join(s.Dir, stack.Hash()+"-*.parquet"))
	if err != nil {
		return "", err
	}
	if s.Published != "" {
		paths = append(paths, publishedPath(s.Published, stack))
	}
	return find(stack, paths)
}

// find returns the first of the paths that holds a stack's results.
func find(stack spec.Stack, paths []string) (string, error) {
	var damaged error
	for _, path := range paths {
		file, closer, err := open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			damaged = &DamagedError{path, err}
			continue
		}
		hash, _ := file.Lookup("stack")
		closer.Close()
		if hash == stack.Hash() {
			return path, nil
		}
		damaged = &DamagedError{path, fmt.Errorf("it holds stack %q", hash)}
	}
	if damaged != nil {
		return "", damaged
	}
	return "", ErrMissing
}

// Publish copies the results of a stack to dir under the name that published results have, for authors of notebooks to
// commit.
func (s *Store) Publish(stack spec.Stack, id backend.Identity, dir string) error {
	from, err := os.Open(s.Path(stack, id))
	if err != nil {
		return fmt.Errorf("results: nothing to publish: %w", err)
	}
	defer from.Close()
	return WriteFile(publishedPath(dir, stack), func(to *os.File) error {
		_, err := io.Copy(to, from)
		return err
	})
}

func publishedPath(dir string, stack spec.Stack) string {
	return filepath.Join(dir, stack.Hash()+".parquet")
}

func open(path string) (*parquet.File, *os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil {
		var file *parquet.File
		if file, err = parquet.OpenFile(f, info.Size()); err == nil {
			return file, f, nil
		}
	}
	f.Close()
	return nil, nil, err
}

// Read returns the rows of a result file.
func Read(path string) ([]Row, error) {
	rows, err := parquet.ReadFile[Row](path)
	if err != nil {
		return nil, &DamagedError{path, err}
	}
	return rows, nil
}

// Unfinished returns the path, without an ending, of what is kept of a stack on a backend while it trains.
func (s *Store) Unfinished(stack spec.Stack, id backend.Identity) string {
	return s.Lock(stack) + "-" + id.Key()
}

// Lock returns the path of a stack's lock. All backends share it.
func (s *Store) Lock(stack spec.Stack) string {
	return filepath.Join(s.Dir, "unfinished", stack.Hash())
}

// Write stores the rows of a stack and returns their file, which appears whole or not at all.
func (s *Store) Write(stack spec.Stack, id backend.Identity, rows []Row) (string, error) {
	settings, err := json.Marshal(stack)
	if err != nil {
		return "", err
	}
	identity, err := json.Marshal(id)
	if err != nil {
		return "", err
	}
	versions, err := json.Marshal(moduleVersions())
	if err != nil {
		return "", err
	}
	path := s.Path(stack, id)
	return path, writeFile(path, s.Unfinished(stack, id), func(f *os.File) error {
		return parquet.Write(f, rows, append(options(),
			parquet.KeyValueMetadata("stack", stack.Hash()),
			parquet.KeyValueMetadata("spec", string(settings)),
			parquet.KeyValueMetadata("backend", string(identity)),
			parquet.KeyValueMetadata("versions", string(versions)))...)
	})
}

// compression is shared by all files: a codec of its own would allocate and clear 8 MB for each file, which for a thousand small ones is
// a tenth of the time of training them.
var compression = &zstd.Codec{Level: zstd.SpeedBetterCompression}

// options are those of every Parquet file of rows.
func options() []parquet.WriterOption {
	return []parquet.WriterOption{
		parquet.Compression(compression),
		parquet.CreatedBy("raretask", "1", ""),
		parquet.KeyValueMetadata("columns", columnsJSON()),
	}
}

// NewWriter returns a writer of rows as Parquet; Close ends the file.
func NewWriter(w io.Writer) *parquet.GenericWriter[Row] {
	return parquet.NewGenericWriter[Row](w, options()...)
}

// Decode returns the rows of a Parquet file in memory.
func Decode(file []byte) ([]Row, error) {
	return parquet.Read[Row](bytes.NewReader(file), int64(len(file)))
}

// WriteFile writes a file under a temporary name beside path and renames it into place; on any error nothing remains.
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
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil { // a full disk shows here at the latest
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Unwritable says what to do about a folder of results that can't be written to.
func Unwritable(err error) error {
	return fmt.Errorf("results: %w; choose a writable folder with RARETASK_RESULTS", err)
}

// moduleVersions returns the versions of what computes.
func moduleVersions() map[string]string {
	versions := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	versions["go"] = info.GoVersion
	for _, dep := range info.Deps {
		switch dep.Path {
		case "github.com/gomlx/gomlx", "github.com/gomlx/go-xla", "github.com/gomlx/compute":
			versions[dep.Path] = dep.Version
		}
	}
	return versions
}
