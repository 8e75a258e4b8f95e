package lab

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"

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
		err := part.check()
		d.add(part.name, part.version(), err)
		d.OK = d.OK && (err == nil || slices.Contains(optional, part.name))
	}
	identity, err := tryBackend()
	d.Backend = identity
	d.OK = d.OK && err == nil
	version := ""
	if identity.Name != "" {
		version = identity.String()
	}
	d.add("backend", version, err)
	return d
}

func (d *Diagnosis) add(name, version string, problem error) {
	part := Part{Name: name, Version: version, OK: problem == nil}
	if problem != nil {
		part.Remedy = problem.Error()
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
	sum, err := twoPlusThree(b.Backend)
	if err == nil && sum != 5 {
		err = fmt.Errorf("computed 2 + 3 = %v", sum)
	}
	if err != nil {
		return b.Identity, fmt.Errorf("%s opened but cannot compute: %w; run `%s`, or set GOMLX_BACKEND=go", b.Identity.Name, err, backend.Setup)
	}
	return b.Identity, nil
}

func twoPlusThree(engine compute.Backend) (float32, error) {
	builder := engine.Builder("doctor")
	f := builder.Main()
	two, err := f.Constant([]float32{2})
	if err != nil {
		return 0, err
	}
	three, err := f.Constant([]float32{3})
	if err != nil {
		return 0, err
	}
	sum, err := f.Add(two, three)
	if err != nil {
		return 0, err
	}
	if err := f.Return([]compute.Value{sum}, nil); err != nil {
		return 0, err
	}
	program, err := builder.Compile()
	if err != nil {
		return 0, err
	}
	defer program.Finalize()
	results, err := program.Execute(nil, nil, 0)
	if err != nil {
		return 0, err
	}
	defer results[0].Finalize()
	value := make([]float32, 1)
	err = results[0].ToFlatData(value)
	return value[0], err
}
