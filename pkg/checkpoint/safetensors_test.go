package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"raretask/pkg/seal"
	"raretask/pkg/seal/damage"
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

// The layout that other readers rely on, byte by byte.
func TestLayout(t *testing.T) {
	var file bytes.Buffer
	if err := WriteSealed(&file, []Array{{"a", "U8", []int{3}, []byte{1, 2, 3}}}, nil); err != nil {
		t.Fatal(err)
	}
	got := file.String()
	digits := got[strings.Index(got, ":\"sealed-sha256:")+len(":\"sealed-sha256:"):][:64]
	header := `{"__metadata__":{"seal":"sealed-sha256:` + digits + `"},"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}`
	header += strings.Repeat(" ", -len(header)&7)
	if want := string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header + "\x01\x02\x03"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

// sealed returns two sealed files of some pages, alike but for their numbers.
func sealed(t *testing.T) (file, other []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for _, into := range []*[]byte{&file, &other} {
		data := make([]byte, 4*2000+4*3+501)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		var to bytes.Buffer
		if err := WriteSealed(&to, []Array{
			{"weights", "F32", []int{100, 20}, data[:8000]},
			{"step", "I32", nil, data[8000:8004]},
			{"moments", "F64", []int{1}, data[8004:8012]},
			{"rows", "U8", []int{501}, data[8012:]},
		}, map[string]string{"stack": "abc", "step": "7"}); err != nil {
			t.Fatal(err)
		}
		*into = to.Bytes()
	}
	return file, other
}

func TestSealedRoundTrip(t *testing.T) {
	arrays, metadata := sample()
	var file bytes.Buffer
	if err := WriteSealed(&file, arrays, metadata); err != nil {
		t.Fatal(err)
	}
	path := save(t, file.Bytes())
	got, texts, err := ReadSealed(path)
	if err != nil {
		t.Fatal(err)
	}
	arrays[2].Dims = []int{}
	if !reflect.DeepEqual(got, arrays) || !reflect.DeepEqual(texts, metadata) {
		t.Errorf("read %v %v, want %v %v", got, texts, arrays, metadata)
	}
	file.Bytes()[file.Len()-1] ^= 1
	if _, _, err := ReadSealed(save(t, file.Bytes())); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("error %v for a flipped bit, want ErrDamaged", err)
	}
	if _, _, err := ReadSealed(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, seal.ErrDamaged) {
		t.Errorf("error %v for no file, want ErrNotExist alone", err)
	}
}

// A reader by the format's description that shares no code with ours finds the arrays and agrees about the digest.
func TestPythonReadsSealed(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	file, _ := sealed(t)
	out, err := exec.Command(python, "-I", "-c", `
import hashlib, json, sys
data = open(sys.argv[1], "rb").read()
end = 8 + int.from_bytes(data[:8], "little")
header = json.loads(data[8:end])
marker, digits = header.pop("__metadata__")["seal"].split(":")
assert marker == "sealed-sha256" and hashlib.sha256(data.replace(digits.encode(), b"0" * 64)).hexdigest() == digits
for name, a in header.items():
    begin, stop = a["data_offsets"]
    print(name, a["dtype"], a["shape"], hashlib.sha256(data[end + begin:end + stop]).hexdigest())
`, save(t, file)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	arrays, _, err := decode(file)
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, a := range arrays {
		want += fmt.Sprintf("%s %s %s %x\n", a.Name, a.DType, strings.ReplaceAll(fmt.Sprint(a.Dims), " ", ", "), sha256.Sum256(a.Data))
	}
	if string(out) != want {
		t.Errorf("Python read\n%s, want\n%s", out, want)
	}
}

// checked decodes a file that may be damaged, and fails the test where what it returns could hurt: arrays that are shorter than they say,
// much more memory than the file takes.
func checked(t *testing.T, name string, file []byte) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	arrays, _, err := decode(file)
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(16*len(file)+16<<10); got > limit {
		t.Errorf("%s: allocated %d bytes for a file of %d: want at most %d", name, got, len(file), limit)
	}
	if err != nil && !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("%s: error %v, want an ErrDamaged", name, err)
	}
	for _, a := range arrays {
		if n, ok := size(a.DType, a.Dims); !ok || uint64(len(a.Data)) != n {
			t.Errorf("%s: %d bytes for %s %v", name, len(a.Data), a.DType, a.Dims)
		}
	}
	return err
}

// Of 10,000 copies (RARETASK_MUTATIONS=10000) none hurts the reader, and none passes for what was written.
func TestMutantsAreRefused(t *testing.T) {
	file, other := sealed(t)
	if err := checked(t, "as written", file); err != nil {
		t.Fatal(err)
	}
	var small bytes.Buffer // little but header
	arrays, metadata := sample()
	if err := WriteSealed(&small, arrays, metadata); err != nil {
		t.Fatal(err)
	}
	n := damage.Count(1000)
	for _, f := range [][2][]byte{{file, other}, {small.Bytes(), file}} {
		whole := 0
		for name, mutant := range damage.Mutants(n, f[0], f[1]) {
			checked(t, name, mutant)
			same := bytes.Equal(mutant, f[0]) || bytes.Equal(mutant, f[1])
			if same {
				whole++
			}
			if err := seal.Check(mutant); (err == nil) != same || err != nil && !errors.Is(err, seal.ErrDamaged) {
				t.Errorf("%s: error %v of the seal, the same bytes: %t", name, err, same)
			}
		}
		t.Logf("%d of %d copies of %d bytes were the bytes as written", whole, n, len(f[0]))
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	file, _ := sealed(t)
	for n := range len(file) {
		if _, _, err := decode(file[:n]); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%d of %d bytes: error %v, want an ErrDamaged", n, len(file), err)
		}
	}
	if _, _, err := decode(append(file, 0)); err == nil {
		t.Error("a byte too many was read as a whole file")
	}
}

// headed returns a file of a header, given as the arrays in it, and 4 bytes; its seal is sound, whatever the header says.
func headed(t *testing.T, arrays string) []byte {
	t.Helper()
	header := `{"__metadata__":{"seal":"` + seal.Placeholder + `"}` + arrays
	file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+"abcd"...)
	if err := seal.Seal(file); err != nil {
		t.Fatal(err)
	}
	return file
}

// The seal vouches for what stands in a file, not for its sense.
func TestContradictionsAreErrors(t *testing.T) {
	a := `,"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}`
	if err := checked(t, "the sound one", headed(t, a+"}")); err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{
		`}`, a, `,}`, `,3:4}`, `,"a":null}`, `,"a":[]}`,
		`,"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`,
		`,"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}`,
		`,"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`,
		`,"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}`,
		`,"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}`,
		`,"a":{"dtype":"F32","shape":[18446744073709551617],"data_offsets":[0,4]}}`,
		`,"a":{"dtype":"U8","shape":[4],"data_offsets":[0]}}`,
		`,"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4,4]}}`,
		`,"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}`,
		`,"a":{"dtype":"U8","shape":[4],"data_offsets":[-4,0]}}`,
		`,"a":{"dtype":"U8","shape":[4],"data_offsets":[18446744073709551612,18446744073709551616]}}`,
		`,"a":{"dtype":"U8","shape":[4],"data_offsets":[9223372036854775804,9223372036854775808]}}`,
		`,"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}`,
		`,"a":{"dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,4]}}`,
		`,"a":{"dtype":"U8","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}}`,
		`,"a":{"dtype":"U8","shape":[5,3689348814741910324],"data_offsets":[0,4]}}`, // 1<<64 + 4
		`,"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}`,
		`,"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}`,
		`,"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`,
		`,"a":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + `}`,
		`,"a":{"x":` + strings.Repeat(`{"x":`, 1_000_000),
		`,"` + strings.Repeat("long", 100_000) + `":3}`,
		`,"` + strings.Repeat("long", 100_000) + `":` + a[len(`"a":`):] + `,"` + strings.Repeat("long", 100_000) + `":3}`,
		`,"a":{"dtype":"` + strings.Repeat("long", 1_000) + `","shape":[4],"data_offsets":[0,4]}}`,
	} {
		name := header[:min(len(header), 100)]
		err := checked(t, name, headed(t, header))
		if err == nil {
			t.Errorf("%s was read", name)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	for _, length := range []uint64{5, 100_000_001, 1 << 60, 1 << 63, 1<<64 - 8, 1<<64 - 1} {
		data := append(binary.LittleEndian.AppendUint64(nil, length), "{}  "...)
		if err := checked(t, fmt.Sprint("header of ", length), data); err == nil {
			t.Errorf("a header of %d bytes was read from a file of %d", length, len(data))
		}
	}
}

// A result file that stands where a state should is sealed, and no state.
func TestAnotherFormatIsDamage(t *testing.T) {
	footer := `"seal":"` + seal.Placeholder + `"`
	file := append([]byte("PAR1"+footer), binary.LittleEndian.AppendUint32(nil, uint32(len(footer)))...)
	file = append(file, "PAR1"...)
	if err := seal.Seal(file); err != nil {
		t.Fatal(err)
	}
	if err := checked(t, "Parquet", file); err == nil {
		t.Error("a Parquet file was read")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadSealed(pipe); err == nil || !strings.Contains(err.Error(), "no file") { // and doesn't wait for somebody to write
		t.Errorf("error %v of a pipe", err)
	}
}

// Arrays without bytes stand where they stood among the others.
func TestOrder(t *testing.T) {
	var arrays []Array
	for i := range 40 {
		arrays = append(arrays, Array{fmt.Sprint(100 - i), "U8", []int{i % 20 / 19}, make([]byte, i%20/19)})
	}
	var file bytes.Buffer
	if err := WriteSealed(&file, arrays, nil); err != nil {
		t.Fatal(err)
	}
	if got, _, err := decode(file.Bytes()); err != nil || !reflect.DeepEqual(got, arrays) {
		t.Errorf("read %v, %v, want %v", got, err, arrays)
	}
}

func TestWriteRefuses(t *testing.T) {
	for want, arrays := range map[string][]Array{
		"a name of its own": {{"a", "U8", []int{0}, nil}, {"a", "U8", []int{0}, nil}},
		"want 8":            {{"a", "F32", []int{2}, make([]byte, 7)}},
	} {
		if err := WriteSealed(new(bytes.Buffer), arrays, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	if err := WriteSealed(new(bytes.Buffer), nil, map[string]string{"seal": ""}); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("error %v for a second seal, want one with %q", err, "another key")
	}
}
