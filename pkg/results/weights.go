package results

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gomlx/compute/dtypes"

	"raretask/pkg/backend"
	"raretask/pkg/checkpoint"
	"raretask/pkg/seal"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// weightsPath returns the file of the weights after a step that belong to a result file.
func (s *Store) weightsPath(results string, step int) string {
	name := strings.TrimSuffix(filepath.Base(results), ".parquet")
	return filepath.Join(s.Dir, "weights", fmt.Sprintf("%s-%d.safetensors", name, step))
}

// WriteWeights keeps the weights of a stack's runs after a step: a sealed safetensors file with an array RUN.NAME for each weight of each
// run, RUN the hash of its settings.
func (s *Store) WriteWeights(stack spec.Stack, id backend.Identity, w train.Weights) error {
	var arrays []checkpoint.Array
	for i, run := range stack {
		hash := run.Hash()
		for j, weight := range run.New().Weights() {
			data := dtypes.UnsafeByteSlice(w.Runs[i][j]) // no copy: a stack's weights may be much of what memory holds
			arrays = append(arrays, checkpoint.Array{Name: hash + "." + weight.Name, DType: "F32", Dims: weight.Dims, Data: data})
		}
	}
	metadata := map[string]string{"stack": stack.Hash(), "backend": id.Key(), "step": strconv.Itoa(w.Step)}
	path := s.weightsPath(s.Path(stack, id), w.Step)
	return writeFile(path, s.Unfinished(stack, id), func(f *os.File) error { return checkpoint.WriteSealed(f, arrays, metadata) })
}

// Weights returns the weights that were kept of a file's runs after a step.
func (s *Store) Weights(f *File, step int) (train.Weights, error) {
	w := train.Weights{Step: step}
	path := s.weightsPath(f.Path, step)
	arrays, metadata, err := checkpoint.ReadSealed(path)
	if errors.Is(err, seal.ErrDamaged) {
		return w, fmt.Errorf("%w; running the sweep again with keep: [%d] in its spec replaces it", err, step)
	}
	if err != nil {
		return w, err
	}
	if metadata["stack"] != f.Hash || metadata["backend"] != f.Backend.Key() || metadata["step"] != strconv.Itoa(step) {
		return w, fmt.Errorf("results: %s holds step %s of stack %s on %s: want step %d of %s on %s",
			path, metadata["step"], metadata["stack"], metadata["backend"], step, f.Hash, f.Backend.Key())
	}
	at := 0
	for _, run := range f.Stack {
		var own [][]float32
		for _, weight := range run.New().Weights() {
			if at == len(arrays) || arrays[at].Name != run.Hash()+"."+weight.Name || len(arrays[at].Data) != 4*weight.Size() {
				return w, fmt.Errorf("results: %s: array %d is not %s of run %s", path, at, weight.Name, run.Hash())
			}
			values := make([]float32, weight.Size())
			binary.Decode(arrays[at].Data, binary.LittleEndian, values) // as many bytes as values
			own, at = append(own, values), at+1
		}
		w.Runs = append(w.Runs, own)
	}
	return w, nil
}

// RemoveWeights removes what was kept of stacks on all backends, and returns how many bytes that was.
func (s *Store) RemoveWeights(stacks []spec.Stack) (int64, error) {
	ours := map[string]bool{}
	for _, stack := range stacks {
		ours[stack.Hash()] = true
	}
	bytes := int64(0)
	files, err := named(filepath.Join(s.Dir, "weights"), ".safetensors")
	for _, name := range files {
		hash, _, _ := strings.Cut(name, "-")
		path := filepath.Join(s.Dir, "weights", name+".safetensors")
		info, err := os.Stat(path)
		if !ours[hash] || notThere(err) {
			continue
		}
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil && !notThere(err) {
			return bytes, fmt.Errorf("results: %w", err)
		}
		bytes += info.Size()
	}
	return bytes, err
}
