package sweep

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"raretask/pkg/backend"
	"raretask/pkg/checkpoint"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// trainStack trains stack i on a backend, from where it was left, and writes its results; of results that only lack metrics it measures
// the weights that were kept. It returns false where another process is at it.
func (w *work) trainStack(ctx context.Context, i int, on *backend.Backend) (done bool, err error) {
	stack := w.Stacks[i]
	lock, err := tryLock(w.store.Lock(stack))
	if lock == nil || err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	// Another process may have finished it since the plan was made.
	known, err := w.backends()
	if err == nil {
		err = w.lookUp(i, known)
	}
	if err != nil {
		return false, err
	}
	trained := false
	if w.Done[i] == nil {
		if w.Done[i], trained, err = w.results(ctx, i, on); err != nil {
			return false, err
		}
	}
	prefix := filepath.Base(w.store.Unfinished(stack, w.identity)) + "."
	if w.on == nil {
		prefix = stack.Hash() + "-" // nobody will go on from the states of other backends
	}
	clean(w.store, prefix)
	w.finished(i, trained)
	return true, nil
}

// results returns the results of a stack that has none yet, or not all that is asked, and whether it was trained for them.
func (w *work) results(ctx context.Context, i int, on *backend.Backend) (file *results.File, trained bool, err error) {
	if partial := w.partial[i]; partial != nil {
		file, err := w.measureKept(i, on, partial)
		if file != nil || err != nil {
			return file, false, err
		}
		slog.Warn("results lack something that is asked of them, and no weights are kept of which it could be measured; they are trained again",
			"file", partial.File.Path)
	}
	o, err := w.newObserver(i, on, w.partial[i])
	if err != nil {
		return nil, false, err
	}
	defer o.close()
	file, err = w.trained(ctx, i, on, o)
	return file, err == nil, err
}

// Kept returns the step at which the state of a stack was kept last, on whatever backend; 0 where none is that can be believed.
func Kept(store *results.Store, stack spec.Stack) int {
	kept := 0
	for _, path := range unfinished(store, stack.Hash()+"-") {
		if !strings.HasSuffix(path, stateEnding) {
			continue
		}
		if _, metadata, err := checkpoint.ReadSealed(path); err == nil {
			step, _ := strconv.Atoi(metadata["step"])
			kept = max(kept, step)
		}
	}
	return kept
}

// stackOf returns the hash of the stack that an unfinished file is of.
func stackOf(path string) string {
	hash, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), "."), "-")
	return hash
}

// unfinished returns the files of trainings whose names begin so, hidden ones included: those that a killed process was writing.
func unfinished(store *results.Store, prefix string) []string {
	dir := store.UnfinishedDir()
	entries, _ := os.ReadDir(dir)
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(strings.TrimPrefix(e.Name(), "."), prefix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// clean removes what trainings have left. What can't be removed, on a folder that may only be read, does no harm.
func clean(store *results.Store, prefix string) {
	for _, path := range unfinished(store, prefix) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			slog.Debug("a state of a finished training could not be removed", "error", err)
		}
	}
}

// cleanDone cleans after stacks whose process was killed between writing their results and cleaning up itself.
func (p *Plan) cleanDone() error {
	left := map[string]bool{}
	for _, path := range unfinished(p.store, "") {
		left[stackOf(path)] = true
	}
	for i, stack := range p.Stacks {
		if p.Done[i] == nil || len(left) == 0 || !left[stack.Hash()] {
			continue
		}
		lock, err := tryLock(p.store.Lock(stack))
		if err != nil || lock == nil { // else another process is at it, or the folder may only be read
			continue
		}
		clean(p.store, stack.Hash()+"-")
		if err := lock.release(); err != nil {
			return err
		}
	}
	return nil
}

// trained trains a stack and returns its results.
func (w *work) trained(ctx context.Context, i int, on *backend.Backend, o *observer) (*results.File, error) {
	stack := w.Stacks[i]
	program, err := w.programOf(i, on, o)
	if err != nil {
		return nil, err
	}
	path := w.store.Unfinished(stack, w.identity) + stateEnding
	at := 0
	training := train.Training{
		Steps:   o.steps,
		Glances: o.glances,
		Observe: o.observe,
		Keep:    o.keep,
		Kept:    func(weights train.Weights) error { return w.store.WriteWeights(stack, w.identity, weights) },
		Progress: func(step int) {
			w.advanced(i, step-at, on)
			at = step
		},
		Every: w.options.Checkpoint,
		Save: func(s train.State) error {
			if err := o.save(path, s); err != nil {
				slog.Warn("the state of a training could not be kept; a kill would cost what was trained so far", "error", err)
			}
			return nil
		},
	}
	if training.From, err = o.load(path); err != nil {
		slog.Warn("the state of an interrupted training can't be believed; it starts again", "error", err)
	} else if training.From != nil {
		at = training.From.Step
		w.advanced(i, at, nil)
	}
	err = program.Run(ctx, stack, training)
	if errors.Is(err, train.ErrState) {
		slog.Warn("the state of an interrupted training is another program's; it starts again", "error", err)
		w.advanced(i, -at, nil)
		at, training.From = 0, nil
		o.reset()
		err = program.Run(ctx, stack, training)
	}
	if err != nil {
		return nil, err
	}
	return w.store.Write(o.file(w.identity), o.runs())
}

// measureKept adds to results the columns that they lack, measured of the weights that were kept; nil where those don't tell: more is
// lacking, the last step's are gone, or what is asked is of the training rather than of weights.
func (w *work) measureKept(i int, on *backend.Backend, partial *results.IncompleteError) (*results.File, error) {
	file, last := partial.File, w.Stacks[i][0].Train.Steps
	if len(partial.Steps)+len(partial.Keep) > 0 || file.Backend != w.identity || !slices.Contains(file.Kept, last) {
		return nil, nil
	}
	o, err := w.newObserver(i, on, partial)
	if err != nil {
		return nil, err
	}
	defer o.close()
	if slices.ContainsFunc(o.columns, func(c train.Column) bool { return o.often(c) > 0 && slices.Contains(partial.Columns, c.Name) }) {
		return nil, nil
	}
	program, err := w.programOf(i, on, o)
	if err != nil {
		return nil, err
	}
	if err := o.take(file); err != nil {
		return nil, err
	}
	for _, step := range file.Kept {
		weights, err := w.store.Weights(file, step)
		if err != nil {
			slog.Warn("weights that were kept can't be read", "error", err)
			return nil, nil
		}
		at, known := slices.BinarySearch(o.steps, step)
		if !known {
			continue
		}
		states, err := program.Evaluate(w.Stacks[i], step, weights.Runs)
		for r := range states {
			states[r].Diverged = file.Diverged[r]
		}
		if err == nil {
			err = o.measure(o.values, at, states, partial.Columns)
		}
		if err != nil {
			return nil, err
		}
	}
	runs := o.runs()
	for _, c := range partial.Columns {
		if !slices.ContainsFunc(runs, func(r *results.Run) bool { return r.Has(c) }) {
			return nil, nil
		}
	}
	slog.Info("measured of kept weights, without training", "columns", partial.Columns, "steps", file.Kept)
	return w.store.Write(o.file(w.identity), runs)
}
