// Package checkpoint reads and writes arrays as safetensors files, which Python's safetensors opens as they are. Training keeps
// its state in them, so that it goes on after a kill to the same bytes.
package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"
)

// Array is a named array of numbers: row-major, little-endian.
type Array struct {
	Name  string
	DType string // F32, F64, I32, I64, U8, U32, …
	Dims  []int  // none: a scalar
	Data  []byte
}

// itemSize is the bytes of a number of each type that Array may have.
var itemSize = map[string]int{
	"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}

// entry is an array in the header of a file. Offsets count from the end of the header.
type entry struct {
	DType   string    `json:"dtype"`
	Shape   []int     `json:"shape"`
	Offsets [2]uint64 `json:"data_offsets"`
}

// metadataKey stands for a map of texts among the arrays of a header.
const metadataKey = "__metadata__"

// largestHeader is the most that readers of the format accept.
const largestHeader = 100_000_000

// size returns the bytes of an array of a type and shape; false where there is no such array.
func size(dtype string, dims []int) (uint64, bool) {
	n := uint64(itemSize[dtype])
	for _, d := range dims {
		high, low := bits.Mul64(n, uint64(d))
		if d < 0 || high != 0 {
			return 0, false
		}
		n = low
	}
	return n, itemSize[dtype] != 0
}

// Write writes arrays and texts in the format of safetensors: the length of a JSON header (8 bytes, little-endian), the header, padded by
// spaces so that the data starts at a multiple of 8, and the data. The arrays stand in the order given. It returns an error for a name
// given twice and for data that is not of its array's size. Source: the format's description at github.com/huggingface/safetensors.
func Write(to io.Writer, arrays []Array, metadata map[string]string) error {
	header := map[string]any{}
	if len(metadata) > 0 {
		header[metadataKey] = metadata
	}
	end := uint64(0)
	for _, a := range arrays {
		want, ok := size(a.DType, a.Dims)
		switch _, twice := header[a.Name]; {
		case twice || a.Name == metadataKey:
			return fmt.Errorf("checkpoint: array %q: want a name of its own", a.Name)
		case !ok || uint64(len(a.Data)) != want:
			return fmt.Errorf("checkpoint: array %q: %d bytes for %s %v: want %d", a.Name, len(a.Data), a.DType, a.Dims, want)
		}
		header[a.Name] = entry{a.DType, append([]int{}, a.Dims...), [2]uint64{end, end + want}}
		end += want
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	text = append(text, bytes.Repeat([]byte(" "), -len(text)&7)...)
	w := bufio.NewWriter(to)
	w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))
	w.Write(text)
	for _, a := range arrays {
		w.Write(a.Data)
	}
	return w.Flush() // a buffered writer keeps its first error
}

// Read reads the arrays, in the order of their data, and the texts of a safetensors file. A file that is cut off or says
// something else than it holds is an error.
func Read(path string) (arrays []Array, metadata map[string]string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint: %w", err)
	}
	if arrays, metadata, err = decode(data); err != nil {
		return nil, nil, fmt.Errorf("checkpoint: %s is no whole safetensors file: %w", path, err)
	}
	return arrays, metadata, nil
}

// ReadMetadata reads only the texts of a safetensors file.
func ReadMetadata(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	defer f.Close()
	var length uint64
	var header struct {
		Metadata map[string]string `json:"__metadata__"`
	}
	if err = binary.Read(f, binary.LittleEndian, &length); err == nil {
		err = json.NewDecoder(io.LimitReader(f, int64(min(length, largestHeader)))).Decode(&header)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %s is no whole safetensors file: %w", path, err)
	}
	return header.Metadata, nil
}

func decode(data []byte) (arrays []Array, metadata map[string]string, err error) {
	if len(data) < 8 {
		return nil, nil, fmt.Errorf("%d bytes: want at least 8", len(data))
	}
	length, body := binary.LittleEndian.Uint64(data), data[8:]
	if length > largestHeader || length > uint64(len(body)) {
		return nil, nil, fmt.Errorf("header of %d bytes in a file of %d", length, len(data))
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(body[:length], &header); err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	if text, found := header[metadataKey]; found {
		delete(header, metadataKey)
		if err := json.Unmarshal(text, &metadata); err != nil {
			return nil, nil, fmt.Errorf("header: %s: %w", metadataKey, err)
		}
	}
	begins := map[string]uint64{}
	for name, text := range header {
		var e entry
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, nil, fmt.Errorf("header: %q: %w", name, err)
		}
		a := Array{Name: name, DType: e.DType, Dims: e.Shape}
		if a.Data, err = e.of(body[length:]); err != nil {
			return nil, nil, fmt.Errorf("array %q: %w", name, err)
		}
		begins[name] = e.Offsets[0]
		arrays = append(arrays, a)
	}
	slices.SortFunc(arrays, func(a, b Array) int {
		if begins[a.Name] != begins[b.Name] {
			return int(int64(begins[a.Name]) - int64(begins[b.Name]))
		}
		return len(a.Data) - len(b.Data)
	})
	return arrays, metadata, covers(arrays, begins, uint64(len(body))-length)
}

// of returns the array's part of the data.
func (e entry) of(data []byte) ([]byte, error) {
	begin, end := e.Offsets[0], e.Offsets[1]
	if begin > end || end > uint64(len(data)) {
		return nil, fmt.Errorf("bytes %d … %d of %d", begin, end, len(data))
	}
	if want, ok := size(e.DType, e.Shape); !ok || want != end-begin {
		return nil, fmt.Errorf("%d bytes for %s %v", end-begin, e.DType, e.Shape)
	}
	return data[begin:end], nil
}

// covers reports whether arrays in the order of their data leave no byte out and share none.
func covers(arrays []Array, begins map[string]uint64, total uint64) error {
	end := uint64(0)
	for _, a := range arrays {
		if begins[a.Name] != end {
			return fmt.Errorf("array %q begins at byte %d: want %d", a.Name, begins[a.Name], end)
		}
		end += uint64(len(a.Data))
	}
	if end != total {
		return errors.New("bytes after the last array")
	}
	return nil
}
