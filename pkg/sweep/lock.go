package sweep

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"raretask/pkg/results"
	"raretask/pkg/spec"
)

// lock is an exclusive lock between processes, also on different machines that share the folder. The system lets go of it when its
// process ends, however that happens.
type lock struct{ *flock.Flock }

// tryLock returns nil where another process has the lock.
func tryLock(path string) (*lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, results.Unwritable(err)
	}
	l := flock.New(path, flock.SetPermissions(0o666))
	locked, err := l.TryLock()
	if err != nil {
		return nil, results.Unwritable(err)
	}
	if !locked {
		return nil, l.Close()
	}
	// Who had the lock before may have removed its file between our opening and locking it: then this is a lock on nothing.
	ours, err := l.Stat()
	if err == nil {
		var named fs.FileInfo
		if named, err = os.Stat(path); err == nil && os.SameFile(ours, named) {
			return &lock{l}, nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, l.Close())
	}
	return nil, l.Close()
}

// release removes the file while it is locked, so that no folder fills with them, and lets go. That it can't be removed, by another user or
// on a folder that may only be read, does no harm.
func (l *lock) release() error {
	os.Remove(l.Path())
	return l.Close()
}

// Locked tells whether a process is training a stack.
func Locked(store *results.Store, stack spec.Stack) bool {
	l := flock.New(store.Lock(stack), flock.SetFlag(os.O_RDONLY))
	free, err := l.TryRLock()
	if err != nil {
		return false // no file: no process
	}
	l.Close()
	return !free
}
