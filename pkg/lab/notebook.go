package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// setupTag marks the cells that the others need: imports and definitions.
const setupTag = "setup"

// notebook is what selecting cells needs to know of one.
type notebook struct {
	path  string
	cells []cell // the code cells
}

type cell struct {
	index   int
	tags    []string
	heading string // of the text above it
}

var headingLine = regexp.MustCompile(`(?m)^#+\s+(.+?)\s*$`)

func readNotebook(path string) (notebook, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return notebook{}, fmt.Errorf("lab: %w", err)
	}
	var file struct {
		Cells []struct {
			Type     string          `json:"cell_type"`
			Source   json.RawMessage `json:"source"`
			Metadata struct {
				Tags []string `json:"tags"`
			} `json:"metadata"`
		} `json:"cells"`
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return notebook{}, fmt.Errorf("lab: %s is not a notebook: %w", path, err)
	}
	n := notebook{path: path}
	heading := strings.TrimSuffix(filepath.Base(path), ".ipynb")
	for i, c := range file.Cells {
		switch source := joined(c.Source); {
		case c.Type == "code" && strings.TrimSpace(source) != "":
			n.cells = append(n.cells, cell{i, c.Metadata.Tags, heading})
		case c.Type == "markdown":
			if lines := headingLine.FindAllStringSubmatch(source, -1); lines != nil {
				heading = lines[len(lines)-1][1]
			}
		}
	}
	return n, nil
}

// joined is a cell's source, which the format keeps as a string or a list of lines.
func joined(source json.RawMessage) string {
	var text string
	if json.Unmarshal(source, &text) == nil {
		return text
	}
	var lines []string
	json.Unmarshal(source, &lines)
	return strings.Join(lines, "")
}

// readNotebooks returns an UnknownFigure error for the first of the figures that no cell draws.
func readNotebooks(paths []string, wanted ...string) ([]notebook, error) {
	var notebooks []notebook
	for _, path := range paths {
		n, err := readNotebook(path)
		if err != nil {
			return nil, err
		}
		notebooks = append(notebooks, n)
	}
	known := figures(notebooks)
	for _, name := range wanted {
		if !slices.ContainsFunc(known, func(tag string) bool { return draws(tag, name) }) {
			return nil, &UnknownFigure{name, known}
		}
	}
	return notebooks, nil
}

var panelTag = regexp.MustCompile(`^(fig\d+)[a-z]+$`)

// draws reports whether a cell with this tag belongs to a figure. Every tag but setup is a figure's name, and fig2a and the other
// panels belong to fig2 too.
func draws(tag, figure string) bool {
	panel := panelTag.FindStringSubmatch(tag)
	return tag != setupTag && (tag == figure || panel != nil && panel[1] == figure)
}

// only keeps the cells of the wanted figures and the setup cells of their notebooks; with nothing wanted it keeps all.
func (n notebook) only(figures []string) []cell {
	if len(figures) == 0 {
		return n.cells
	}
	var chosen []cell
	drawn := false
	for _, c := range n.cells {
		wanted := slices.ContainsFunc(c.tags, func(tag string) bool {
			return slices.ContainsFunc(figures, func(figure string) bool { return draws(tag, figure) })
		})
		drawn = drawn || wanted
		if wanted || slices.Contains(c.tags, setupTag) {
			chosen = append(chosen, c)
		}
	}
	if !drawn {
		return nil
	}
	return chosen
}

// figures lists the figures that the notebooks' tags name, the paper's in its order and then the others.
func figures(notebooks []notebook) []string {
	var names []string
	for _, n := range notebooks {
		for _, c := range n.cells {
			for _, tag := range c.tags {
				if tag != setupTag && !slices.Contains(names, tag) {
					names = append(names, tag)
				}
			}
		}
	}
	slices.SortFunc(names, byNumber)
	return names
}

func byNumber(a, b string) int {
	number := func(name string) int {
		n, err := strconv.Atoi(strings.TrimRight(strings.TrimPrefix(name, "fig"), "abcdefghijklmnopqrstuvwxyz"))
		if err != nil || !strings.HasPrefix(name, "fig") {
			return math.MaxInt
		}
		return n
	}
	return cmp.Or(cmp.Compare(number(a), number(b)), cmp.Compare(a, b))
}

// UnknownFigure is the error for a figure that no notebook draws.
type UnknownFigure struct {
	Name  string
	Known []string
}

func (e *UnknownFigure) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("unknown figure %q: no notebook has cells tagged with a figure", e.Name)
	}
	return fmt.Sprintf("unknown figure %q; want one of %s, or a whole one (fig2 for fig2a, fig2b, …)", e.Name, strings.Join(e.Known, ", "))
}

// CheckFigures returns an UnknownFigure error for the first name that no cell of the notebooks draws.
func CheckFigures(names, paths []string) error {
	_, err := readNotebooks(paths, names...)
	return err
}
