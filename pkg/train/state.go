package train

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/checkpoint"
	"raretask/pkg/spec"
)

// State is what a training goes on from to the same bytes.
type State struct {
	Step   int                // steps done; what Training does up to here has been done
	Arrays []checkpoint.Array // of the program's state, in its order
}

// ErrState says that a saved state is not of the program that was to go on from it.
var ErrState = errors.New("train: the saved state is another program's")

// safetensorsType is the name that safetensors files give the types of a program's state.
var safetensorsType = map[dtypes.DType]string{dtypes.Float32: "F32", dtypes.Int32: "I32", dtypes.Uint32: "U32"}

// stateNames returns the name of each array of the state.
func (p *Program) stateNames() []string {
	names := []string{stateStep: "step", stateEnd: "end", stateLossSum: "loss_sum", stateDiverged: "diverged"}
	prefixes := []string{"", "first_moment.", "second_moment."}[:1+p.moments]
	for _, prefix := range append(prefixes, []string{"task_mean.", "others_mean."}[:p.means]...) {
		for _, w := range p.weights {
			names = append(names, fmt.Sprintf("%sgroup%d.%s", prefix, w.group, w.Name))
		}
	}
	return names
}

// save returns the state after step steps. Its arrays are the program's own, which hold until the next step.
func (p *Program) save(state []*tensors.Tensor, step int) (State, error) {
	s := State{Step: step}
	for i, name := range p.stateNames() {
		a := checkpoint.Array{Name: name, DType: safetensorsType[state[i].DType()], Dims: state[i].Shape().Dimensions}
		if err := state[i].ConstBytes(func(data []byte) { a.Data = data }); err != nil {
			return s, fmt.Errorf("train: state %s: %w", name, err)
		}
		s.Arrays = append(s.Arrays, a)
	}
	return s, nil
}

// restore returns the state to go on from, the one saved, whose arrays it takes, or the one before the first step where there is none, and
// the inputs.
func (p *Program) restore(stack spec.Stack, from *State) (state, inputs []*tensors.Tensor, err error) {
	state, inputs, err = p.initial(stack)
	if err != nil || from == nil {
		return state, inputs, err
	}
	names := p.stateNames()
	if len(from.Arrays) != len(names) {
		err = fmt.Errorf("%w: %d arrays: want %d", ErrState, len(from.Arrays), len(names))
	}
	for i := 0; err == nil && i < len(names); i++ {
		a, t := from.Arrays[i], state[i]
		if a.Name != names[i] || a.DType != safetensorsType[t.DType()] || !slices.Equal(a.Dims, t.Shape().Dimensions) {
			err = fmt.Errorf("%w: %s (%s %v): want %s (%s %v)", ErrState, a.Name, a.DType, a.Dims,
				names[i], safetensorsType[t.DType()], t.Shape().Dimensions)
			break
		}
		if err = t.MutableBytes(func(data []byte) { copy(data, a.Data) }); err == nil {
			err = t.ToDevice(p.on.Backend, 0)
		}
	}
	if step := int(tensors.ToScalar[int32](state[stateStep])); err == nil && step != from.Step {
		err = fmt.Errorf("%w: it says step %d and holds step %d", ErrState, from.Step, step)
	}
	if err != nil {
		free(state)
		free(inputs)
		return nil, nil, err
	}
	from.Arrays = nil
	return state, inputs, nil
}
