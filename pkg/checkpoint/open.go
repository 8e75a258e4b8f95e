package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Mapped is a safetensors file of any writer, mapped into memory: its arrays are read as they are asked for.
type Mapped struct {
	Path   string
	arrays map[string]Array
	file   []byte
}

// mostHeader is the largest header that safetensors knows.
const mostHeader = 100_000_000

// Open maps a safetensors file. It returns an error that names the file for one that is cut off, whose header is none, or whose arrays
// overlap, leave gaps or bear one name twice.
func Open(path string) (*Mapped, error) {
	m := &Mapped{Path: path, arrays: map[string]Array{}}
	if err := m.open(); err != nil {
		m.Close()
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	return m, nil
}

func (m *Mapped) open() error {
	if err := regular(m.Path); err != nil {
		return err
	}
	f, err := os.Open(m.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if size < 8 || size > math.MaxInt {
		return fmt.Errorf("%d bytes: want a safetensors file, which begins with 8 bytes for the length of its header", size)
	}
	if m.file, err = syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED); err != nil {
		return err
	}
	length := binary.LittleEndian.Uint64(m.file)
	if length > mostHeader || length > uint64(size)-8 {
		return fmt.Errorf("a header of %d bytes in a file of %d: want at most %d, and no more than there is", length, size, mostHeader)
	}
	return m.parse(m.file[8:8+length], m.file[8+length:])
}

// parse reads the header of a file and checks that its arrays fill the data.
func (m *Mapped) parse(header, data []byte) error {
	d := json.NewDecoder(bytes.NewReader(header))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return fmt.Errorf("header: want a JSON object")
	}
	type span struct {
		begin, end uint64
		name       string
	}
	var spans []span
	for d.More() {
		token, err := d.Token()
		name, _ := token.(string)
		if err != nil {
			return fmt.Errorf("header: %w", err)
		}
		if name == metadataKey {
			var texts map[string]string
			if err := d.Decode(&texts); err != nil {
				return fmt.Errorf("header: %s: want texts: %w", metadataKey, err)
			}
			continue
		}
		var e entry
		if err := d.Decode(&e); err != nil {
			return fmt.Errorf("header: tensor %.100q: %w", name, err)
		}
		want, known := size(e.DType, e.Shape)
		_, twice := m.arrays[name]
		switch {
		case twice:
			return fmt.Errorf("tensor %.100q twice: want each name once", name)
		case !known:
			return fmt.Errorf("tensor %.100q: %.20q %v: want a type of safetensors and sizes from 0 on", name, e.DType, e.Shape)
		case len(e.Offsets) != 2 || e.Offsets[0] > e.Offsets[1] || e.Offsets[1] > uint64(len(data)):
			return fmt.Errorf("tensor %.100q: bytes %v of %d: want a beginning and an end within the file; is it cut off?", name, e.Offsets,
				len(data))
		case e.Offsets[1]-e.Offsets[0] != want:
			return fmt.Errorf("tensor %.100q: %d bytes for %s %v: want %d", name, e.Offsets[1]-e.Offsets[0], e.DType, e.Shape, want)
		}
		m.arrays[name] = Array{name, e.DType, e.Shape, data[e.Offsets[0]:e.Offsets[1]:e.Offsets[1]]}
		spans = append(spans, span{e.Offsets[0], e.Offsets[1], name})
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	slices.SortFunc(spans, func(a, b span) int { return int(min(1, max(-1, int64(a.begin)-int64(b.begin)))) })
	at := uint64(0)
	for _, s := range spans {
		if s.begin != at {
			return fmt.Errorf("tensor %.100q begins at byte %d of the data: want %d, where the one before ends", s.name, s.begin, at)
		}
		at = s.end
	}
	if at != uint64(len(data)) {
		return fmt.Errorf("%d bytes after the last tensor: want none", uint64(len(data))-at)
	}
	return nil
}

// Close unmaps the file; its arrays' bytes are gone then.
func (m *Mapped) Close() {
	if m.file != nil {
		syscall.Munmap(m.file)
		m.file, m.arrays = nil, nil
	}
}

// Shards are the safetensors files of one model.
type Shards struct {
	Dir   string
	files []*Mapped
	of    map[string]*Mapped // which of them has an array
}

// Index and Single are the names of a model's files: one that says which shard has which array, or the only one.
const (
	Index  = "model.safetensors.index.json"
	Single = "model.safetensors"
)

// OpenShards maps the files of the model in a folder: those that its Index names, or Single.
func OpenShards(dir string) (*Shards, error) {
	s := &Shards{Dir: dir, of: map[string]*Mapped{}}
	err := s.open()
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Shards) open() error {
	text, err := os.ReadFile(filepath.Join(s.Dir, Index))
	if os.IsNotExist(err) {
		m, err := Open(filepath.Join(s.Dir, Single))
		if err != nil {
			return err
		}
		s.files = []*Mapped{m}
		for name := range m.arrays {
			s.of[name] = m
		}
		return nil
	} else if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	path := filepath.Join(s.Dir, Index)
	var index struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil || len(index.Files) == 0 {
		return fmt.Errorf("checkpoint: %s: %v: want weight_map, which file has which tensor", path, err)
	}
	opened := map[string]*Mapped{}
	for name, file := range index.Files {
		if file != filepath.Base(file) || strings.HasPrefix(file, ".") {
			return fmt.Errorf("checkpoint: %s: tensor %.100q in %.100q: want a file beside it", path, name, file)
		}
		m := opened[file]
		if m == nil {
			if m, err = Open(filepath.Join(s.Dir, file)); err != nil {
				return err
			}
			opened[file], s.files = m, append(s.files, m)
		}
		if _, there := m.arrays[name]; !there {
			return fmt.Errorf("checkpoint: %s has no tensor %.100q: want it, as %s says", m.Path, name, Index)
		}
		s.of[name] = m
	}
	for _, m := range s.files {
		for name := range m.arrays {
			if s.of[name] != m {
				return fmt.Errorf("checkpoint: tensor %.100q in %s: want it where %s says, and nowhere else", name, m.Path, Index)
			}
		}
	}
	return nil
}

// Close unmaps all files.
func (s *Shards) Close() {
	for _, m := range s.files {
		m.Close()
	}
}

// Floats appends the numbers of an array of some dimensions, of type F32 or BF16; an error that names file, tensor and expectation where
// there is none such.
func (s *Shards) Floats(to []float32, name string, dims ...int) ([]float32, error) {
	m := s.of[name]
	if m == nil {
		return nil, fmt.Errorf("checkpoint: %s: no tensor %q: want one of %v", s.Dir, name, dims)
	}
	a := m.arrays[name]
	if !slices.Equal(a.Dims, dims) {
		return nil, fmt.Errorf("checkpoint: %s: tensor %q is %v: want %v", m.Path, name, a.Dims, dims)
	}
	switch a.DType {
	case "F32":
		for i := 0; i < len(a.Data); i += 4 {
			to = append(to, math.Float32frombits(binary.LittleEndian.Uint32(a.Data[i:])))
		}
	case "BF16":
		for i := 0; i < len(a.Data); i += 2 {
			to = append(to, math.Float32frombits(uint32(binary.LittleEndian.Uint16(a.Data[i:]))<<16))
		}
	default:
		return nil, fmt.Errorf("checkpoint: %s: tensor %q is of type %s: want F32 or BF16", m.Path, name, a.DType)
	}
	return to, nil
}
