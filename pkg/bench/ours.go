package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"raretask/pkg/backend"
	"raretask/pkg/spec"
	"raretask/pkg/theory"
	"raretask/pkg/train"
)

var now = time.Now

// initialFile is the file of a case's initial values, in the case's folder: every program starts from ours.
const initialFile = "initial"

// engine is our program for a case.
type engine struct {
	c       Case
	program *train.Program
}

// newOurs compiles our program and writes the initial values of all runs for the peers.
func newOurs(ctx context.Context, b *backend.Backend, c Case, folder string, p *Program) (trainer, error) {
	stacks := spec.Stacks(c.Runs)
	program, err := train.New(b, stacks[0], train.Options{Metrics: []string{}})
	if err != nil {
		return nil, err
	}
	e := &engine{c, program}
	initial := make([][][]float32, len(c.Runs))
	for _, stack := range stacks {
		err := program.Run(ctx, stack, train.Training{Steps: []int{0, 1}, Observe: func(s train.Snapshot) error {
			for i, state := range s.Runs {
				if s.Step == 0 {
					initial[e.index(stack[i])] = state.Weights
				}
			}
			return nil
		}})
		if err != nil {
			return nil, err
		}
	}
	p.Version, p.Compile = b.Identity.Name, program.Compile.Seconds()
	return e, writeWeights(filepath.Join(folder, initialFile), initial)
}

// index returns the place of a stack's run among the case's runs.
func (e *engine) index(run spec.Run) int {
	return slices.IndexFunc(e.c.Runs, func(r spec.Run) bool { return r.Net.Width == run.Net.Width && r.Train.Seed == run.Train.Seed })
}

func (e *engine) train(ctx context.Context, round int) (outcome, error) {
	o := outcome{loss: make([]float64, len(e.c.Runs))}
	var wall, cpu time.Duration
	for _, stack := range spec.Stacks(e.c.at(round)) {
		var begin, end time.Time
		var cpuBegin, cpuEnd time.Duration
		err := e.program.Run(ctx, stack, train.Training{Steps: []int{e.c.Timed}, Observe: func(s train.Snapshot) error {
			for i, state := range s.Runs {
				var err error
				if o.loss[e.index(stack[i])], err = loss(stack[i], state.Weights, state.Loss); err != nil {
					return err
				}
			}
			return nil
		}, Progress: func(step int) {
			// From the end of the first dispatch on, which is one step: initial values and evaluations are no part of it.
			end, cpuEnd = now(), processorTime()
			if step == 1 {
				begin, cpuBegin = end, cpuEnd
			}
		}})
		if err != nil {
			return o, err
		}
		wall, cpu = wall+end.Sub(begin), cpu+cpuEnd-cpuBegin
	}
	o.step, o.cpu = milliseconds(wall)/float64(e.c.Timed-1), milliseconds(cpu)/float64(e.c.Timed-1)
	return o, nil
}

func (e *engine) close() { e.program.Finalize() }

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// measure names the loss by which trainings of a run are compared.
func measure(run spec.Run) string {
	if _, err := run.Mixture.Theory(); err != nil {
		return "training loss"
	}
	return "encoder loss"
}

// loss is the exact encoder loss Tr((I-P)M) = Tr M - Tr(U^T M U) after training, where the family has one, or else the mean
// training loss.
func loss(run spec.Run, weights [][]float32, training float64) (float64, error) {
	mixture, err := run.Mixture.Theory()
	if err != nil {
		return training, nil
	}
	dim := run.Mixture.Signature().Input.Size()
	space, err := theory.RowSpace(weights[0], run.Net.Width, dim)
	if err != nil {
		return 0, err
	}
	loss := mixture.Trace()
	for i, m := range mixture.Covariance(mixture.Others(-1), dim) {
		for _, u := range space.Basis[i*space.Rank : (i+1)*space.Rank] {
			loss -= m * u * u
		}
	}
	return loss, nil
}

// writeWeights writes the arrays of all runs as float32, run by run.
func writeWeights(path string, runs [][][]float32) error {
	data, err := binary.Append(nil, binary.LittleEndian, slices.Concat(slices.Concat(runs...)...))
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// readWeights reads what writeWeights writes; sizes are those of each run's arrays.
func readWeights(path string, sizes [][]int) ([][][]float32, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	reader := bytes.NewReader(data)
	runs := make([][][]float32, len(sizes))
	for i, arrays := range sizes {
		for _, n := range arrays {
			values := make([]float32, n)
			if err := binary.Read(reader, binary.LittleEndian, values); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			runs[i] = append(runs[i], values)
		}
	}
	if reader.Len() > 0 {
		return nil, fmt.Errorf("%s: %d bytes too many", path, reader.Len())
	}
	return runs, nil
}
