package seal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"raretask/pkg/checkpoint"
	"raretask/pkg/seal"
	"raretask/pkg/seal/damage"
)

type row struct {
	Name  string
	Value int64
}

// results returns a Parquet file with a placeholder. The names are in its data; the least and the greatest, as the column's bounds, in
// its footer, too.
func results(t *testing.T, names ...string) []byte {
	t.Helper()
	rows := make([]row, 300)
	for i := range rows {
		rows[i] = row{names[i%len(names)], int64(i * i)}
	}
	var file bytes.Buffer
	err := parquet.Write(&file, rows, parquet.KeyValueMetadata(seal.Key, seal.Placeholder), parquet.KeyValueMetadata("stack", "abc"))
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// state returns a sealed safetensors file with rows as its last array.
func state(t *testing.T, rows []byte) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := checkpoint.WriteSealed(&file, []checkpoint.Array{
		{Name: "weights", DType: "F32", Dims: []int{2}, Data: make([]byte, 8)},
		{Name: "rows", DType: "U8", Dims: []int{len(rows)}, Data: rows},
	}, nil); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func sealed(t *testing.T, file []byte) []byte {
	t.Helper()
	if err := seal.Seal(file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSealedParquet(t *testing.T) {
	file := results(t, "a")
	if err := seal.Check(file); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("error %v before it is sealed, want an ErrDamaged", err)
	}
	before := slices.Clone(file)
	sealed(t, file)
	if err := seal.Check(file); err != nil {
		t.Error(err)
	}
	same := 0
	for i := range file {
		if file[i] == before[i] {
			same++
		}
	}
	if len(file) != len(before) || same < len(file)-64 {
		t.Errorf("%d of %d bytes are as before, want all but 64", same, len(file))
	}
	if rows, err := parquet.Read[row](bytes.NewReader(file), int64(len(file))); err != nil || len(rows) != 300 || rows[299].Value != 299*299 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if err := seal.Seal(file); err == nil || !strings.Contains(err.Error(), "is set") {
		t.Errorf("error %v on sealing twice", err)
	}
}

// A file may be given in parts, so that large ones need no copy.
func TestParts(t *testing.T) {
	whole, parts := sealed(t, results(t, "a")), results(t, "a")
	at := bytes.Index(parts, []byte(seal.Placeholder)) - 500
	if err := seal.Seal(parts[:10], parts[10:at], parts[at:]); err != nil || !bytes.Equal(parts, whole) {
		t.Errorf("%v; the same bytes as in one part: %t", err, bytes.Equal(parts, whole))
	}
}

// Whatever bit changes and wherever a file is cut, it is noticed.
func TestEveryBitAndCut(t *testing.T) {
	for name, file := range map[string][]byte{"results": sealed(t, results(t, "a")), "state": state(t, []byte("rows"))} {
		for i := range file {
			if err := seal.Check(file[:i]); !errors.Is(err, seal.ErrDamaged) {
				t.Errorf("%s: error %v for %d of %d bytes", name, err, i, len(file))
			}
			for bit := range 8 {
				file[i] ^= 1 << bit
				if err := seal.Check(file); !errors.Is(err, seal.ErrDamaged) {
					t.Errorf("%s: error %v with bit %d of byte %d flipped", name, err, bit, i)
				}
				file[i] ^= 1 << bit
			}
		}
		if err := seal.Check(append(file, 0)); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%s: error %v with a byte more", name, err)
		}
	}
}

// Of 10,000 damaged result files (RARETASK_MUTATIONS=10000) none passes.
func TestMutantsAreNoticed(t *testing.T) {
	file, other := sealed(t, results(t, "a")), sealed(t, results(t, "b"))
	for name, mutant := range damage.Mutants(damage.Count(1000), file, other) {
		whole := bytes.Equal(mutant, file) || bytes.Equal(mutant, other)
		if err := seal.Check(mutant); (err == nil) != whole || err != nil && !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%s: error %v, the same bytes: %t", name, err, whole)
		}
	}
}

// Only a file's own seal counts: not those, set or not, of files in its data.
func TestFilesWithin(t *testing.T) {
	file := sealed(t, results(t, "a", seal.Placeholder, "z"))
	if n := bytes.Count(file, []byte(seal.Placeholder)); n == 0 {
		t.Fatal("want the text in the data")
	}
	if err := seal.Check(file); err != nil {
		t.Error(err)
	}
	for name, rows := range map[string][]byte{
		"sealed":             sealed(t, results(t, "a")),
		"with a placeholder": results(t, "a"),
		"a state":            state(t, state(t, nil)),
		"text":               []byte(seal.Placeholder),
	} {
		file := state(t, rows)
		if err := seal.Check(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.HasSuffix(file, rows) {
			t.Errorf("%s: the file within was changed", name)
		}
		file[len(file)-1] ^= 1
		if err := seal.Check(file); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%s: error %v for a flip in the file within", name, err)
		}
	}
}

func TestWhichSealCounts(t *testing.T) {
	header := func(text string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	}
	for _, c := range []struct {
		want     string
		unsealed bool
		file     []byte
	}{
		{"metadata has no seal", true, header(`{"__metadata__":{}}`)},
		{"2 seals", false, header(seal.Placeholder + seal.Placeholder)},
		{"seals in its metadata: want 1", false, results(t, seal.Placeholder)},
		{"cut off", false, header(seal.Placeholder[:len(seal.Placeholder)-1])},
		{"cut off", false, append(header(seal.Placeholder[:20]), make([]byte, 100)...)},
		{"0 bytes", false, nil},
		{"0 bytes", false, []byte{}},
		{"header of 99 bytes", false, append([]byte{99, 0, 0, 0, 0, 0, 0, 0}, seal.Placeholder...)},
		{"no end", false, []byte("PAR1" + seal.Placeholder)},
		{"no end", false, []byte("PAR1")},
		{"footer of 4294967295 bytes", false, []byte("PAR1" + seal.Placeholder + "\xff\xff\xff\xffPAR1")},
	} {
		for _, err := range []error{seal.Check(c.file), seal.Seal(c.file)} {
			if !errors.Is(err, seal.ErrDamaged) || errors.Is(err, seal.ErrUnsealed) != c.unsealed || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%.200q: error %v, want an ErrDamaged with %q; unsealed: %t", c.file, err, c.want, c.unsealed)
			}
		}
	}
	if err := seal.Seal(); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("error %v for no parts", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	var file bytes.Buffer
	a := checkpoint.Array{Name: "a", DType: "U8", Dims: []int{64 << 20}, Data: make([]byte, 64<<20)}
	if err := checkpoint.WriteSealed(&file, []checkpoint.Array{a}, nil); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		if err := seal.Check(file.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}
