package corpus

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// GoTree is the source of text that everybody has: comment lines of the Go toolchain's own source, and the book that lies beside it.
const GoTree = "go"

// Types of tokens in files: bytes, or little-endian numbers as OLMo's tokenised shards are.
var tokenSizes = map[string]int{"bytes": 1, "uint16": 2, "uint32": 4}

// Source is tokens of text, read-only and mapped from files where it is of files.
type Source struct {
	Domains []Domain // a file each
	// Digest identifies the content: of files their names, sizes, and what stands at their beginning, middle and end; of the Go tree, which
	// changes with its version, all of it.
	Digest string

	mu      sync.Mutex
	counted map[int][]float64 // Frequencies by vocabulary: every metric of every run asks for them
}

// Domain is one file of a source.
type Domain struct {
	Name string
	data []byte
	size int // bytes of a token
}

// Len returns how many tokens there are.
func (d Domain) Len() int { return len(d.data) / d.size }

// Read copies tokens from one on.
func (d Domain) Read(from int, to []int32) {
	for i := range to {
		switch at := (from + i) * d.size; d.size {
		case 1:
			to[i] = int32(d.data[at])
		case 2:
			to[i] = int32(binary.LittleEndian.Uint16(d.data[at:]))
		default:
			to[i] = int32(binary.LittleEndian.Uint32(d.data[at:]))
		}
	}
}

type sourceKey struct{ name, kind string }

var (
	sources   = map[sourceKey]*Source{}
	sourcesMu sync.Mutex
)

// OpenSource returns the source of a name, GoTree or a pattern of files, of one of the types of tokens. Files stay mapped, and the Go
// tree's text in memory, as long as the process lives. It returns an error that names the file for one that isn't there or is no whole
// number of tokens.
func OpenSource(name, kind string) (*Source, error) {
	sourcesMu.Lock()
	defer sourcesMu.Unlock()
	key := sourceKey{name, kind}
	if s := sources[key]; s != nil {
		return s, nil
	}
	size, known := tokenSizes[kind]
	if !known {
		return nil, fmt.Errorf("corpus: tokens of type %q: want bytes, uint16 or uint32", kind)
	}
	open := openFiles
	if name == GoTree {
		open = openGoTree
	}
	s, err := open(name, size)
	if err != nil {
		return nil, fmt.Errorf("corpus: source %s: %w", name, err)
	}
	sources[key] = s
	return s, nil
}

// files returns those of a pattern, in the order of their names.
func files(pattern string) ([]string, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%w: want a pattern of files, as of a shell", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no file is named so: want %s, or a pattern of files as seen from where the command runs", GoTree)
	}
	return paths, nil
}

// fits returns an error for a file that is no whole number of tokens.
func fits(path string, size int) (os.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Size() == 0 || info.Size()%int64(size) != 0:
		return nil, fmt.Errorf("%s has %d bytes: want a multiple of the %d of a token, above 0", path, info.Size(), size)
	case info.Size()/int64(size) > math.MaxInt32:
		return nil, fmt.Errorf("%s has %d tokens: want at most %d in a file", path, info.Size()/int64(size), math.MaxInt32)
	}
	return info, nil
}

// openFiles maps the files of a pattern.
func openFiles(pattern string, size int) (*Source, error) {
	paths, err := files(pattern)
	if err != nil {
		return nil, err
	}
	s, sum := &Source{}, sha256.New()
	for _, path := range paths {
		data, err := mapped(path, size)
		if err != nil {
			return nil, err
		}
		s.Domains = append(s.Domains, Domain{filepath.Base(path), data, size})
		const piece = 1 << 16
		fmt.Fprintf(sum, "%s %d\n", filepath.Base(path), len(data))
		for _, at := range []int{0, len(data)/2 - piece/2, len(data) - piece} {
			at = max(0, at)
			sum.Write(data[at:min(len(data), at+piece)])
		}
	}
	s.Digest = hex.EncodeToString(sum.Sum(nil)[:8])
	return s, nil
}

// mapped maps a file into memory.
func mapped(path string, size int) ([]byte, error) {
	info, err := fits(path, size)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// goRoot returns where the toolchain's own source is.
var goRoot = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	root := filepath.Join(strings.TrimSpace(string(out)), "src")
	if err == nil {
		_, err = os.Stat(root)
	}
	if err != nil {
		return "", fmt.Errorf("%w: want the go command, and GOROOT/src that comes with it", err)
	}
	return root, nil
})

// openGoTree reads the comment lines of all .go files of the toolchain's source, in the order of their names, and the book among its test
// data, as bytes.
func openGoTree(_ string, size int) (*Source, error) {
	if size != 1 {
		return nil, fmt.Errorf("its tokens are bytes: want type: bytes")
	}
	root, err := goRoot()
	if err != nil {
		return nil, err
	}
	var comments bytes.Buffer
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, len(text)+1)
		for lines.Scan() {
			if line := bytes.TrimSpace(lines.Bytes()); bytes.HasPrefix(line, []byte("//")) {
				comments.Write(line)
				comments.WriteByte('\n')
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	book, err := os.ReadFile(filepath.Join(root, "testdata", "Isaac.Newton-Opticks.txt"))
	if err != nil {
		return nil, err
	}
	s := &Source{Domains: []Domain{{"comments", comments.Bytes(), 1}, {"book", book, 1}}}
	sum := sha256.New()
	for _, d := range s.Domains {
		sum.Write(d.data)
	}
	s.Digest = hex.EncodeToString(sum.Sum(nil)[:8])
	return s, nil
}

// Frequencies returns how often each token of a vocabulary comes, among the first tokens of each domain, mostCounted of them at most. A
// token beyond the vocabulary is an error that names the file. They are not to be changed.
func (s *Source) Frequencies(vocabulary int) ([]float64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.counted[vocabulary]; known != nil {
		return known, nil
	}
	counts, err := s.count(vocabulary)
	if err == nil {
		if s.counted == nil {
			s.counted = map[int][]float64{}
		}
		s.counted[vocabulary] = counts
	}
	return counts, err
}

// count counts what Frequencies returns.
func (s *Source) count(vocabulary int) ([]float64, error) {
	const mostCounted = 1 << 25
	counts, total := make([]float64, vocabulary), 0.
	each := mostCounted / len(s.Domains)
	buffer := make([]int32, 1<<12)
	for _, d := range s.Domains {
		for from := 0; from < min(d.Len(), each); from += len(buffer) {
			piece := buffer[:min(len(buffer), d.Len()-from)]
			d.Read(from, piece)
			if err := d.within(piece, from, vocabulary); err != nil {
				return nil, err
			}
			for _, token := range piece {
				counts[token]++
			}
			total += float64(len(piece))
		}
	}
	for i := range counts {
		counts[i] /= total
	}
	return counts, nil
}

// within returns an error for a token beyond a vocabulary.
func (d Domain) within(tokens []int32, from, vocabulary int) error {
	i := slices.IndexFunc(tokens, func(token int32) bool { return token < 0 || int(token) >= vocabulary })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("corpus: %s: token %d is %d: want tokens below mixture.vocabulary (%d); is mixture.type right?",
		d.Name, from+i, uint32(tokens[i]), vocabulary)
}
