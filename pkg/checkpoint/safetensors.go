// Package checkpoint reads and writes arrays as safetensors files, which Python's safetensors opens as they are. Training keeps
// its state in them, so that it goes on after a kill to the same bytes.
package checkpoint

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"
	"unicode/utf8"
	"unsafe"

	"raretask/pkg/seal"
)

// Array is a named array of numbers: row-major, little-endian.
type Array struct {
	Name  string
	DType string // F32, F64, I32, I64, U8, U32, …
	Dims  []int  // none: a scalar
	Data  []byte // as many as type and shape say; read ones start where a slice of their numbers may
}

// Header is what a file says before its data.
type Header struct {
	Arrays   []Info // in the order of their data, which leave out no byte and share none
	Metadata map[string]string
	Size     int64 // bytes before the data
}

// Info is an array in a Header.
type Info struct {
	Name       string
	DType      string
	Dims       []int
	Begin, End int64 // of its bytes, as many as type and shape say, in the data: Header.Size bytes later in the file
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

const (
	largestHeader = 100_000_000 // bytes, the most that readers of the format accept
	largestEntry  = 4096        // bytes in the header about one array
)

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
	parts, err := encode(arrays, metadata)
	if err != nil {
		return err
	}
	return writeAll(to, parts)
}

// WriteSealed is Write with a seal among the texts, which ReadSealed checks.
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
	return writeAll(to, parts)
}

func writeAll(to io.Writer, parts [][]byte) error {
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
	if len(metadata) > 0 {
		add(metadataKey, metadata)
	}
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

// Read reads the arrays, in the order of their data, and the texts of a safetensors file. A file that is cut off or says something else
// than it holds is a seal.ErrDamaged; what it holds is believed.
func Read(path string) ([]Array, map[string]string, error) {
	return read(path, func([]byte) error { return nil })
}

// ReadSealed is Read of what WriteSealed wrote, to the byte; anything else is a seal.ErrDamaged.
func ReadSealed(path string) ([]Array, map[string]string, error) {
	arrays, metadata, err := read(path, seal.Check)
	delete(metadata, seal.Key)
	return arrays, metadata, err
}

func read(path string, check func([]byte) error) (arrays []Array, metadata map[string]string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint: %w", err)
	}
	if err = check(data); err == nil {
		arrays, metadata, err = decode(data)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	return arrays, metadata, nil
}

// ReadMetadata reads only the texts of a safetensors file, among them a seal, which is not checked.
func ReadMetadata(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	header, err := ReadHeader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	return header.Metadata, nil
}

// decode returns the arrays in a file's bytes, which they share.
func decode(data []byte) ([]Array, map[string]string, error) {
	header, err := ReadHeader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, nil, err
	}
	var arrays []Array
	for _, info := range header.Arrays {
		begin, end := header.Size+info.Begin, header.Size+info.End
		a := Array{info.Name, info.DType, info.Dims, data[begin:end:end]}
		if uintptr(unsafe.Pointer(unsafe.SliceData(a.Data)))%uintptr(itemSize[a.DType]) != 0 {
			a.Data = bytes.Clone(a.Data)
		}
		arrays = append(arrays, a)
	}
	return arrays, header.Metadata, nil
}

// ReadHeader reads the header of a safetensors file of a size in bytes, and no more of it. Every array that it returns lies within the
// file. A header that contradicts itself or the size is a seal.ErrDamaged.
func ReadHeader(from io.Reader, size int64) (*Header, error) {
	var length uint64
	if size < 8 {
		return nil, fmt.Errorf("%w: %d bytes: want at least 8", seal.ErrDamaged, size)
	}
	if err := binary.Read(from, binary.LittleEndian, &length); err != nil {
		return nil, err
	}
	if length > min(largestHeader, uint64(size)-8) {
		return nil, fmt.Errorf("%w: header of %d bytes in a file of %d: want at most %d", seal.ErrDamaged, length, size, largestHeader)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(from, text); err != nil {
		return nil, err
	}
	h := &Header{Size: 8 + int64(length)}
	err := h.parse(text)
	if err == nil {
		err = h.covers(size - h.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: header: %.300s", seal.ErrDamaged, err) // names and numbers in it may be of any length
	}
	return h, nil
}

func (h *Header) parse(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("no UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	err := object(d, func(name string) error {
		if name == metadataKey {
			h.Metadata = map[string]string{}
			return object(d, func(key string) error {
				var value string
				err := d.Decode(&value)
				h.Metadata[key] = value
				return err
			})
		}
		var text json.RawMessage
		if err := d.Decode(&text); err != nil {
			return err
		}
		var e entry
		if len(text) > largestEntry { // which becomes more than ten times as many bytes of numbers
			return fmt.Errorf("%d bytes about an array: want at most %d", len(text), largestEntry)
		} else if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		info, err := e.info(name)
		h.Arrays = append(h.Arrays, info)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than an object")
	}
	slices.SortStableFunc(h.Arrays, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End))
	})
	return nil
}

// object reads a JSON object in which no name comes twice; value reads what follows a name.
func object(d *json.Decoder, value func(name string) error) error {
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return cmp.Or(err, fmt.Errorf("%v: want an object", token))
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok || seen[name] {
			return fmt.Errorf("%v: want a name of its own", token)
		}
		seen[name] = true
		if err := value(name); err != nil {
			return fmt.Errorf("%.99q: %w", name, err)
		}
	}
	_, err := d.Token()
	return err
}

// info returns the array that an entry describes.
func (e entry) info(name string) (Info, error) {
	if e.Shape == nil || len(e.Offsets) != 2 {
		return Info{}, errors.New("want a shape and two data_offsets")
	}
	begin, end := e.Offsets[0], e.Offsets[1]
	want, ok := size(e.DType, e.Shape)
	if !ok || begin > end || end > math.MaxInt64 || end-begin != want {
		return Info{}, fmt.Errorf("%s %v in bytes %d … %d: want %d", e.DType, e.Shape, begin, end, want)
	}
	return Info{name, e.DType, e.Shape, int64(begin), int64(end)}, nil
}

// covers reports whether the arrays leave no byte of the data out and share none.
func (h *Header) covers(total int64) error {
	end := int64(0)
	for _, a := range h.Arrays {
		if a.Begin != end {
			return fmt.Errorf("%.99q begins at byte %d: want %d", a.Name, a.Begin, end)
		}
		end = a.End
	}
	if end != total {
		return fmt.Errorf("arrays of %d bytes: want the file's %d", end, total)
	}
	return nil
}
