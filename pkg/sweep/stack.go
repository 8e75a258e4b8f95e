package sweep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"raretask/pkg/backend"
	"raretask/pkg/checkpoint"
	"raretask/pkg/mixture"
	"raretask/pkg/results"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// trainStack trains stack i on a backend, from where it was left, and writes its results. It returns false where another process is at it.
func (w *work) trainStack(ctx context.Context, i int, on *backend.Backend) (done bool, err error) {
	stack := w.Stacks[i]
	base := w.store.Unfinished(stack, w.identity)
	lock, err := tryLock(w.store.Lock(stack))
	if lock == nil || err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	// Another process may have finished it since the plan was made.
	path, err := w.find(stack)
	if err != nil {
		return false, err
	}
	here := path == ""
	if here {
		rows, err := w.rows(ctx, i, on, base)
		if err != nil {
			return false, err
		}
		if path, err = w.store.Write(stack, w.identity, rows); err != nil {
			return false, err
		}
	}
	if w.options.Anywhere {
		base = w.store.Lock(stack) + "-*" // nobody will go on from the states of other backends
	}
	if err := clean(base); err != nil {
		return false, err
	}
	w.finished(i, path, here)
	return true, nil
}

// Kept returns the step at which the state of an unfinished stack was kept last, on whatever backend; 0 where there is none.
func Kept(store *results.Store, stack spec.Stack) int {
	paths, _ := filepath.Glob(store.Lock(stack) + "-*" + stateEnding)
	most := 0
	for _, path := range paths {
		if metadata, err := checkpoint.ReadMetadata(path); err == nil {
			step, _ := strconv.Atoi(metadata["step"])
			most = max(most, step)
		}
	}
	return most
}

// clean removes what trainings of a stack have left: its state, and what a killed process was writing, results as well as
// states (whose unfinished files are hidden).
func clean(base string) error {
	left, err := filepath.Glob(base + ".*")
	hidden, err2 := filepath.Glob(filepath.Join(filepath.Dir(base), "."+filepath.Base(base)+".*"))
	err = errors.Join(err, err2)
	for _, path := range append(left, hidden...) {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// cleanDone cleans after stacks whose process was killed between writing their results and cleaning up itself.
func (p *Plan) cleanDone(store *results.Store) error {
	for i, stack := range p.Stacks {
		if p.Done[i] == "" {
			continue
		}
		base := store.Lock(stack)
		left, err := filepath.Glob(base + "*")
		hidden, err2 := filepath.Glob(filepath.Join(filepath.Dir(base), "."+filepath.Base(base)+"*"))
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if len(left)+len(hidden) == 0 {
			continue
		}
		lock, err := tryLock(base)
		if err != nil {
			return err
		}
		if lock != nil { // else another process is at it
			if err := errors.Join(clean(base+"-*"), lock.release()); err != nil {
				return err
			}
		}
	}
	return nil
}

// rows trains a stack and returns its rows, ordered by run, step and task.
func (w *work) rows(ctx context.Context, i int, on *backend.Backend, base string) ([]results.Row, error) {
	stack := w.Stacks[i]
	program, err := w.programOf(i, on)
	if err != nil {
		return nil, err
	}
	m, err := mixture.New(stack[0].Mixture)
	if err != nil {
		return nil, err
	}
	o := &observer{stack: stack, evaluator: train.NewEvaluator(m), rows: make([][]results.Row, len(stack))}
	at := 0
	training := train.Training{
		Steps:   train.Steps(stack[0].Train),
		Observe: o.observe,
		Progress: func(step int) {
			w.trained(i, step-at, on)
			at = step
		},
		Every: w.options.Checkpoint,
		Save: func(s train.State) error {
			if err := o.save(base+stateEnding, s); err != nil {
				slog.Warn("the state of a training could not be kept; a kill would cost what was trained so far", "error", err)
			}
			return nil
		},
	}
	if training.From, err = o.load(base + stateEnding); err != nil {
		slog.Warn("the state of an interrupted training can't be read; it starts again", "error", err)
	} else if training.From != nil {
		at = training.From.Step
		w.trained(i, at, nil)
	}
	err = program.Run(ctx, stack, training)
	if errors.Is(err, train.ErrState) {
		slog.Warn("the state of an interrupted training is another program's; it starts again", "error", err)
		w.trained(i, -at, nil)
		at, training.From, o.rows = 0, nil, make([][]results.Row, len(stack))
		err = program.Run(ctx, stack, training)
	}
	return o.all(), err
}

// observer makes rows of snapshots.
type observer struct {
	stack     spec.Stack
	evaluator *train.Evaluator
	rows      [][]results.Row // of each run
}

func (o *observer) observe(s train.Snapshot) error {
	for i, state := range s.Runs {
		run := o.stack[i]
		evaluation, err := o.evaluator.Evaluate(run, s.Step, state)
		if err != nil {
			return fmt.Errorf("sweep: width %d, seed %d, step %d: %w", run.Net.Width, run.Train.Seed, s.Step, err)
		}
		if state.Diverged >= 0 && state.Diverged <= s.Step {
			slog.Warn("run diverged", "width", run.Net.Width, "rate", run.Train.Rate, "seed", run.Train.Seed, "step", state.Diverged)
		}
		o.rows[i] = append(o.rows[i], results.Rows(run, evaluation)...)
	}
	return nil
}

func (o *observer) all() []results.Row {
	var rows []results.Row
	for _, r := range o.rows {
		rows = append(rows, r...)
	}
	return rows
}

// The state of an interrupted training: a safetensors file with the arrays that training goes on from, the rows measured so far as
// an array of bytes (Parquet), and how far it is as metadata.
const (
	stateEnding = ".safetensors"
	rowsArray   = "rows"
)

// save keeps a state and the rows so far; the file appears whole or not at all.
func (o *observer) save(path string, s train.State) error {
	var rows bytes.Buffer
	writer := results.NewWriter(&rows)
	if _, err := writer.Write(o.all()); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	arrays := append(s.Arrays[:len(s.Arrays):len(s.Arrays)], checkpoint.Array{Name: rowsArray, DType: "U8", Dims: []int{rows.Len()}, Data: rows.Bytes()})
	metadata := map[string]string{"stack": o.stack.Hash(), "step": strconv.Itoa(s.Step), "observed": strconv.Itoa(s.Observed)}
	return results.WriteFile(path, func(f *os.File) error { return checkpoint.Write(f, arrays, metadata) })
}

// load returns the state that save kept, and takes over its rows; nil where there is none.
func (o *observer) load(path string) (*train.State, error) {
	arrays, metadata, err := checkpoint.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	step, err := strconv.Atoi(metadata["step"])
	observed, err2 := strconv.Atoi(metadata["observed"])
	if err := errors.Join(err, err2); err != nil {
		return nil, fmt.Errorf("sweep: %s: %w", path, err)
	}
	last := len(arrays) - 1
	if last < 0 || arrays[last].Name != rowsArray || metadata["stack"] != o.stack.Hash() {
		return nil, fmt.Errorf("sweep: %s holds no state of stack %s", path, o.stack.Hash())
	}
	rows, err := results.Decode(arrays[last].Data)
	if err != nil {
		return nil, fmt.Errorf("sweep: %s: %w", path, err)
	}
	run := 0 // of the row; rows stand by run, each with as many
	for i, row := range rows {
		run = i * len(o.stack) / len(rows)
		o.rows[run] = append(o.rows[run], row)
	}
	return &train.State{Step: step, Observed: observed, Arrays: arrays[:last]}, nil
}
