// Package checkpoint reads and writes arrays as safetensors files, which Python's safetensors opens as they are. Training keeps
// its state in them, so that it goes on after a kill to the same bytes.
package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"

	"raretask/pkg/seal"
)

// Array is a named array of numbers: row-major, little-endian.
type Array struct {
	Name  string
	DType string // F32, F64, I32, I64, U8, U32, …
	Dims  []int  // none: a scalar
	Data  []byte // as many as type and shape say
}

// itemSize is the bytes of a number of each type that Array may have.
var itemSize = map[string]int{
	"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}

// entry is an array in the header of a file. Offsets count from the end of the header.
type entry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets []uint64 `json:"data_offsets"`
}

// metadataKey stands for a map of texts among the arrays of a header.
const metadataKey = "__metadata__"

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

// WriteSealed writes arrays and texts in the format of safetensors: the length of a JSON header (8 bytes, little-endian), the header,
// padded by spaces so that the data starts at a multiple of 8, and the data. The arrays stand in the order given; among the texts stands a
// seal, which ReadSealed checks. It returns an error for a name given twice and for data that is not of its array's size. Source: the
// format's description at github.com/huggingface/safetensors.
func WriteSealed(to io.Writer, arrays []Array, metadata map[string]string) error {
	texts := map[string]string{seal.Key: seal.Placeholder}
	for key, text := range metadata {
		if key == seal.Key {
			return fmt.Errorf("checkpoint: metadata %q: want another key than the seal's", key)
		}
		texts[key] = text
	}
	parts, err := encode(arrays, texts)
	if err != nil {
		return err
	}
	if err := seal.Seal(parts...); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	w := bufio.NewWriter(to)
	for _, part := range parts {
		w.Write(part)
	}
	return w.Flush() // a buffered writer keeps its first error
}

// encode returns the parts of a file: what comes before the data, and the data of each array.
func encode(arrays []Array, metadata map[string]string) ([][]byte, error) {
	text, end := []byte("{"), uint64(0)
	add := func(name string, value any) {
		object, _ := json.Marshal(map[string]any{name: value}) // texts and numbers always have a JSON form
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(text, object[1:len(object)-1]...)
	}
	add(metadataKey, metadata)
	names, parts := map[string]bool{metadataKey: true}, [][]byte{nil}
	for _, a := range arrays {
		want, ok := size(a.DType, a.Dims)
		switch {
		case names[a.Name]:
			return nil, fmt.Errorf("checkpoint: array %q: want a name of its own", a.Name)
		case !ok || uint64(len(a.Data)) != want:
			return nil, fmt.Errorf("checkpoint: array %q: %d bytes for %s %v: want %d", a.Name, len(a.Data), a.DType, a.Dims, want)
		}
		names[a.Name] = true
		add(a.Name, entry{a.DType, append([]int{}, a.Dims...), []uint64{end, end + want}})
		end += want
		parts = append(parts, a.Data)
	}
	text = append(text, '}')
	text = append(text, bytes.Repeat([]byte(" "), -len(text)&7)...)
	parts[0] = append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	return parts, nil
}

// ReadSealed reads the arrays, in their order, and the texts of what WriteSealed wrote, to the byte; anything else is a seal.ErrDamaged.
func ReadSealed(path string) ([]Array, map[string]string, error) {
	err := regular(path)
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint: %w", err)
	}
	arrays, metadata, err := decode(data)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	return arrays, metadata, nil
}

// regular returns an error for what is there and no file: reading a pipe would wait for ever.
func regular(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file: move it away", path)
	}
	return nil
}

// decode returns the arrays in a file's bytes, which they share, and its texts but the seal. What the seal vouches for is as encode wrote
// it; that arrays lie one after the other in the file is checked all the same.
func decode(file []byte) (arrays []Array, metadata map[string]string, err error) {
	if err := seal.Check(file); err != nil {
		return nil, nil, err
	}
	length := binary.LittleEndian.Uint64(file)
	if length > uint64(len(file))-8 { // a sealed file of another format
		return nil, nil, fmt.Errorf("%w: header of %d bytes in a file of %d", seal.ErrDamaged, length, len(file))
	}
	data, d := file[8+length:], json.NewDecoder(bytes.NewReader(file[8:8+length]))
	for _, err = d.Token(); err == nil && d.More(); {
		name, _ := d.Token()
		if name == metadataKey {
			err = d.Decode(&metadata)
			continue
		}
		var e entry
		if err = d.Decode(&e); err != nil {
			continue
		}
		n, ok := size(e.DType, e.Shape)
		begin := uint64(len(file)-len(data)) - 8 - length
		if !ok || n > uint64(len(data)) || !slices.Equal(e.Offsets, []uint64{begin, begin + n}) {
			err = fmt.Errorf("array %v: %s %v at %d of the data: want bytes %d in a file of %d", name, e.DType, e.Shape, begin, e.Offsets, len(file))
			continue
		}
		arrays, data = append(arrays, Array{fmt.Sprint(name), e.DType, e.Shape, data[:n:n]}), data[n:]
	}
	if err == nil {
		_, err = d.Token()
	}
	if err == nil && len(data) > 0 {
		err = fmt.Errorf("%d bytes after the arrays", len(data))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: header: %.300s", seal.ErrDamaged, err) // names and numbers in it may be of any length
	}
	delete(metadata, seal.Key)
	return arrays, metadata, nil
}
