// Package damage makes damaged copies of files for tests of what reads them: flipped bits, cuts, zeroed pages, swapped halves.
package damage

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
)

// Count returns how many copies a test should try: RARETASK_MUTATIONS, or few where that is not set.
func Count(few int) int {
	if n, err := strconv.Atoi(os.Getenv("RARETASK_MUTATIONS")); err == nil {
		return n
	}
	return few
}

// Repaired reports whether the i-th of n copies is one of those, about 270 of 10,000 and of every kind, of which a test also tries what
// takes longer: that they are replaced.
func Repaired(i, n int) bool {
	every := max(11, n/250)
	for every%2 == 0 || every%3 == 0 { // which the number of kinds has as factors
		every--
	}
	return i%every == 0
}

// kinds change a copy of a file (never empty); other is another file of its kind. What they return may be the same bytes as before.
var kinds = []struct {
	name   string
	change func(r *rand.Rand, file, other []byte) []byte
}{
	{"flip", func(r *rand.Rand, file, _ []byte) []byte {
		file[r.IntN(len(file))] ^= 1 << r.IntN(8)
		return file
	}},
	{"flips", func(r *rand.Rand, file, _ []byte) []byte {
		for range 2 + r.IntN(30) {
			file[r.IntN(len(file))] ^= 1 << r.IntN(8)
		}
		return file
	}},
	{"cut", func(r *rand.Rand, file, _ []byte) []byte { return file[:r.IntN(len(file))] }},
	{"cut front", func(r *rand.Rand, file, _ []byte) []byte { return file[1+r.IntN(len(file)):] }},
	{"cut middle", func(r *rand.Rand, file, _ []byte) []byte {
		begin, end := span(r, len(file))
		return append(file[:begin], file[end:]...)
	}},
	{"repeat", func(r *rand.Rand, file, _ []byte) []byte {
		begin, end := span(r, len(file))
		return append(file[:end:end], file[begin:]...)
	}},
	{"zero", func(r *rand.Rand, file, _ []byte) []byte {
		begin, end := span(r, len(file))
		clear(file[begin:end])
		return file
	}},
	{"zero page", func(r *rand.Rand, file, _ []byte) []byte {
		const page = 512
		begin := r.IntN(len(file)) / page * page
		clear(file[begin:min(begin+page, len(file))])
		return file
	}},
	{"number", func(r *rand.Rand, file, _ []byte) []byte { // of 4 or 8 bytes, most often near the ends, where lengths stand
		numbers := []uint64{0, 1, uint64(len(file)), 1<<31 - 1, 1 << 31, 1<<32 - 1, 1<<63 - 1, 1 << 63, 1<<64 - 1, r.Uint64()}
		number := binary.LittleEndian.AppendUint64(nil, numbers[r.IntN(len(numbers))])
		at := []int{0, max(0, len(file)-8), r.IntN(len(file))}[r.IntN(3)]
		copy(file[at:], number[:4+4*r.IntN(2)])
		return file
	}},
	{"halves", func(r *rand.Rand, file, _ []byte) []byte {
		at := r.IntN(len(file))
		return append(file[at:len(file):len(file)], file[:at]...)
	}},
	{"half of another", func(r *rand.Rand, file, other []byte) []byte {
		at := r.IntN(min(len(file), len(other)))
		return append(file[:at], other[at:]...)
	}},
	{"span of another", func(r *rand.Rand, file, other []byte) []byte {
		begin, end := span(r, min(len(file), len(other)))
		copy(file[begin:end], other[begin:end])
		return file
	}},
}

// span returns a range of 1 to n bytes, short ones as often as long ones.
func span(r *rand.Rand, n int) (begin, end int) {
	begin = r.IntN(n)
	return begin, begin + 1 + r.IntN(min(n-begin, 1<<r.IntN(20)))
}

// Mutants yields n damaged copies of a file, the same ones each time, and what was done to each. Other is another file of the same kind,
// pieces of which get into some copies. A few copies are file or other, whole.
func Mutants(n int, file, other []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for i := range n {
			r := rand.New(rand.NewPCG(uint64(i), uint64(len(file))))
			kind := kinds[i%len(kinds)]
			copied := append(make([]byte, 0, len(file)), file...)
			if !yield(fmt.Sprintf("mutant %d (%s)", i, kind.name), kind.change(r, copied, other)) {
				return
			}
		}
	}
}
