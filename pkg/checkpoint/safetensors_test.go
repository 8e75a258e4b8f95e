package checkpoint

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func sample() ([]Array, map[string]string) {
	return []Array{
		{"weights", "F32", []int{2, 1}, []byte{0, 0, 128, 63, 0, 0, 0, 192}},
		{"empty", "U8", []int{0}, []byte{}},
		{"step", "I32", nil, []byte{7, 0, 0, 0}},
	}, map[string]string{"stack": "abc"}
}

func save(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRoundTrip(t *testing.T) {
	arrays, metadata := sample()
	var file bytes.Buffer
	if err := Write(&file, arrays, metadata); err != nil {
		t.Fatal(err)
	}
	got, texts, err := Read(save(t, file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	arrays[2].Dims = []int{} // JSON has a scalar's shape as an empty list
	if !reflect.DeepEqual(got, arrays) || !reflect.DeepEqual(texts, metadata) {
		t.Errorf("read %v %v, want %v %v", got, texts, arrays, metadata)
	}
}

// The layout that other readers rely on, byte by byte.
func TestLayout(t *testing.T) {
	var file bytes.Buffer
	if err := Write(&file, []Array{{"a", "U8", []int{3}, []byte{1, 2, 3}}}, nil); err != nil {
		t.Fatal(err)
	}
	header := `{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}   `
	want := string(binary.LittleEndian.AppendUint64(nil, 56)) + header + "\x01\x02\x03"
	if file.String() != want {
		t.Errorf("wrote %q, want %q", file.String(), want)
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	arrays, metadata := sample()
	var file bytes.Buffer
	if err := Write(&file, arrays, metadata); err != nil {
		t.Fatal(err)
	}
	for n := range file.Len() {
		if _, _, err := decode(file.Bytes()[:n]); err == nil {
			t.Errorf("%d of %d bytes were read as a whole file", n, file.Len())
		}
	}
	if _, _, err := decode(append(file.Bytes(), 0)); err == nil {
		t.Error("a byte too many was read as a whole file")
	}
}

func TestContradictionsAreErrors(t *testing.T) {
	for _, header := range []string{
		`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`,
		`{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}`,
		`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`,
		`{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}`,
		`{"a":{"dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,4]}}`,
		`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}`,
		`{"__metadata__":3}`,
	} {
		data := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+"abcd"...)
		if _, _, err := decode(data); err == nil {
			t.Errorf("%s was read", header)
		}
	}
	if _, _, err := decode(binary.LittleEndian.AppendUint64(nil, 1<<60)); err == nil {
		t.Error("a header longer than the file was read")
	}
}

func TestWriteRefuses(t *testing.T) {
	for want, arrays := range map[string][]Array{
		"a name of its own": {{"a", "U8", []int{0}, nil}, {"a", "U8", []int{0}, nil}},
		"want 8":            {{"a", "F32", []int{2}, make([]byte, 7)}},
	} {
		if err := Write(new(bytes.Buffer), arrays, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
