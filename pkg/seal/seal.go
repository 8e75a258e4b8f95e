// Package seal keeps the SHA-256 digest of a whole file inside the file, so that one rename moves both and any damage is noticed. The
// digest stands as a text among the file's metadata (Parquet: key-value metadata in the footer; safetensors: __metadata__ in the header)
// and is taken with its own 64 digits as zeros.
package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

const (
	// Key is the name that a file's metadata give its seal.
	Key = "seal"
	// Placeholder is the seal's text until Seal knows the digits.
	Placeholder = marker + zeros

	marker = "sealed-sha256:"
	zeros  = "0000000000000000000000000000000000000000000000000000000000000000"
)

var (
	// ErrDamaged says that a file is not what was written.
	ErrDamaged = errors.New("the file is damaged")
	// ErrUnsealed is the ErrDamaged of a whole file without a seal, such as one from before there were seals.
	ErrUnsealed = fmt.Errorf("%w: its metadata has no seal", ErrDamaged)
)

// Seal replaces the Placeholder in a file by the digest. The file is the parts one after another: the header of a safetensors file lies
// in the first of them, the footer of a Parquet file in the last. Any but one seal there, and one that is set, are errors.
func Seal(parts ...[]byte) error {
	part, at, err := find(parts)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	digits := parts[part][at : at+len(zeros)]
	if string(digits) != zeros {
		return fmt.Errorf("seal: %s%s is set: want %s", marker, digits, Placeholder)
	}
	copy(digits, digest(parts, part, at))
	return nil
}

// Check returns an ErrDamaged that says what was found unless a file is, to the byte, what was sealed. It reads every byte once and
// changes none.
func Check(file []byte) error {
	parts := [][]byte{file}
	_, at, err := find(parts)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if want, got := file[at:at+len(zeros)], digest(parts, 0, at); got != string(want) {
		return fmt.Errorf("seal: %w: the digest of its %d bytes is %s: want %q", ErrDamaged, len(file), got, want)
	}
	return nil
}

// find returns the part and the offset in it of the digits of a file's seal. Only the file's own metadata counts, as a sealed file
// may lie in the data of another one.
func find(parts [][]byte) (part, at int, err error) {
	part, begin, end, err := metadata(parts)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	texts := parts[part][begin:end]
	switch n := bytes.Count(texts, []byte(marker)); n {
	case 0:
		return 0, 0, ErrUnsealed
	case 1:
	default:
		return 0, 0, fmt.Errorf("%w: %d seals in its metadata: want 1", ErrDamaged, n)
	}
	at = begin + bytes.Index(texts, []byte(marker)) + len(marker)
	if at+len(zeros) > end {
		return 0, 0, fmt.Errorf("%w: its seal is cut off", ErrDamaged)
	}
	return part, at, nil
}

// metadata returns the part and the range of bytes in it that hold a file's metadata. Parquet begins with PAR1 and ends with the
// footer, the footer's length in 4 bytes and PAR1; safetensors begins with the header's length in 8 bytes and the header. PAR1 would be
// the length of a header above what that format allows.
func metadata(parts [][]byte) (part, begin, end int, err error) {
	if len(parts) == 0 {
		return 0, 0, 0, errors.New("no bytes")
	}
	const magic, tail = "PAR1", 8
	head, last := parts[0], parts[len(parts)-1]
	if !bytes.HasPrefix(head, []byte(magic)) {
		if len(head) < 8 {
			return 0, 0, 0, fmt.Errorf("%d bytes: want a safetensors or Parquet file", len(head))
		}
		length := binary.LittleEndian.Uint64(head)
		if length > uint64(len(head)-8) {
			return 0, 0, 0, fmt.Errorf("header of %d bytes in %d", length, len(head))
		}
		return 0, 8, 8 + int(length), nil
	}
	if len(last) < len(magic)+tail || !bytes.HasSuffix(last, []byte(magic)) {
		return 0, 0, 0, errors.New("no end of a Parquet file")
	}
	end = len(last) - tail
	length := binary.LittleEndian.Uint32(last[end:])
	if uint64(length) > uint64(end) {
		return 0, 0, 0, fmt.Errorf("footer of %d bytes in %d", length, len(last))
	}
	return len(parts) - 1, end - int(length), end, nil
}

// digest returns the digits of the SHA-256 of a file whose own digits count as zeros.
func digest(parts [][]byte, part, at int) string {
	h := sha256.New()
	for i, p := range parts {
		if i == part {
			h.Write(p[:at])
			h.Write([]byte(zeros))
			p = p[at+len(zeros):]
		}
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
