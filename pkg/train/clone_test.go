package train

import "slices"

// clone returns a state that outlives Training.Save.
func (s State) clone() *State {
	c := State{Step: s.Step}
	for _, a := range s.Arrays {
		a.Data = slices.Clone(a.Data)
		c.Arrays = append(c.Arrays, a)
	}
	return &c
}
