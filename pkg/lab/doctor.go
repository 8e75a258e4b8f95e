package lab

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"raretask/pkg/backend"
)

// A Diagnosis says what there is of the lab.
type Diagnosis struct {
	OK      bool             `json:"ok"` // notebooks can run
	Backend backend.Identity `json:"backend"`
	Parts   []Part           `json:"parts"`
}

// A Part is one piece of the lab and its state.
type Part struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	OK      bool   `json:"ok"`
	Remedy  string `json:"remedy"` // what is wrong and what to do; empty when all is well
}

// Doctor looks at every part and lets the backend compute. A missing optional part doesn't keep notebooks from running, unless XLA
// was asked for: then the backend fails.
func (l *Lab) Doctor() Diagnosis {
	d := Diagnosis{OK: true}
	for _, part := range l.parts() {
		version, err := part.check()
		d.add(part.name, version, err)
	}
	var err error
	version := ""
	if d.Backend, err = tryBackend(); d.Backend.Name != "" {
		version = d.Backend.String()
	}
	d.add("backend", version, err)
	return d
}

func (d *Diagnosis) add(name, version string, problem error) {
	part := Part{Name: name, Version: version, OK: problem == nil}
	if problem != nil {
		part.Remedy = problem.Error()
		d.OK = d.OK && slices.Contains(optional, name)
	}
	d.Parts = append(d.Parts, part)
}

// tryBackend opens the backend and has it add two numbers.
func tryBackend() (id backend.Identity, err error) {
	b, err := backend.Open()
	if err != nil {
		return id, err
	}
	defer b.Finalize()
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%s opened but panicked at 2 + 3: %v", b.Identity.Name, cause)
		}
	}()
	sum, err := graph.CallOnce(b.Backend, func(x *graph.Node) *graph.Node { return graph.AddScalar(x, 3) }, float32(2))
	if err == nil {
		if value := tensors.ToScalar[float32](sum); value != 5 {
			err = fmt.Errorf("computed 2 + 3 = %v", value)
		}
		sum.MustFinalizeAll()
	}
	if err != nil {
		return b.Identity, fmt.Errorf("%s opened but cannot compute: %w; run `%s`, or set GOMLX_BACKEND=go", b.Identity.Name, err, backend.Setup)
	}
	return b.Identity, nil
}
