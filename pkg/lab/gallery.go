package lab

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed gallery.py
var galleryPy string

//go:embed gallery.html
var galleryHTML string

var galleryPages = template.Must(template.New("").Funcs(template.FuncMap{"kind": kindOf, "image": imageOf}).Parse(galleryHTML))

// Colophon is what a gallery says of itself beside its figures.
type Colophon struct {
	Version string // of the program and the backend
	Date    string
	Seconds float64 // that executing took
	// Verdicts on the paper's statements, or none.
	Verdicts []Verdict
}

// A Verdict is a row of the gallery's table of claims.
type Verdict struct {
	Statement, Source, Verdict, Parts, Sentence string
	Late                                        bool // its rule was written when its runs had been seen
}

// page is a notebook in the gallery.
type page struct {
	Notebook, Name, Title string
	Body                  template.HTML
}

// shown is a figure in the gallery.
type shown struct {
	Figure
	Caption string
	Page    string // where it is interactive
}

// WriteGallery writes a folder that is a web site as it is, without a network too: a page for each executed notebook, with its charts
// interactive, and a first page (whose path it returns) of a job's figures, beside those that earlier jobs left in the same folder.
func (l *Lab) WriteGallery(ctx context.Context, job Job, drawn []Figure, about Colophon) (string, error) {
	notebooks, err := readNotebooks(job.Notebooks)
	if err != nil {
		return "", err
	}
	paths := job.Notebooks
	if !job.InPlace {
		names, _ := fs.Glob(os.DirFS(job.Out), "*.ipynb") // earlier jobs' too
		paths = nil
		for _, name := range names {
			paths = append(paths, filepath.Join(job.Out, name))
		}
	}
	pages, styles, err := l.pages(ctx, job.Out, paths)
	if err != nil {
		return "", err
	}
	figures, err := inFolder(job.Out, drawn, notebooks)
	if err != nil {
		return "", err
	}
	gallery := struct {
		Colophon
		Scale     string
		Published bool
		Own       bool // of notebooks that aren't the project's
		Figures   []shown
		Pages     []page
	}{about, job.Scale, job.Published, l.own(job.Notebooks), nil, pages}
	for _, f := range figures {
		gallery.Figures = append(gallery.Figures, shown{f, caption(job.Out, f.Name), pageOf(f.Name, pages, notebooks)})
	}
	for i, p := range pages {
		at := struct {
			page
			Before, After *page
			Styles        map[string]template.CSS
		}{page: p, Styles: styles}
		if i > 0 {
			at.Before = &pages[i-1]
		}
		if i+1 < len(pages) {
			at.After = &pages[i+1]
		}
		if _, err := writePage(filepath.Join(job.Out, p.Name), "notebook", at); err != nil {
			return "", err
		}
	}
	return writePage(filepath.Join(job.Out, "index.html"), "index", gallery)
}

// own reports whether all notebooks lie elsewhere than the project's.
func (l *Lab) own(notebooks []string) bool {
	return !slices.ContainsFunc(notebooks, func(path string) bool { return filepath.Dir(path) == filepath.Join(l.root, "notebooks") })
}

func writePage(path, kind string, content any) (string, error) {
	var html bytes.Buffer
	if err := galleryPages.ExecuteTemplate(&html, kind, content); err != nil {
		return "", fmt.Errorf("lab: gallery: %w", err)
	}
	return path, replace(path, html.Bytes())
}

// pages converts notebooks, and writes what draws their charts beside them.
func (l *Lab) pages(ctx context.Context, out string, notebooks []string) ([]page, map[string]template.CSS, error) {
	cmd, err := l.command(ctx, append([]string{"-c", galleryPy, filepath.Join(out, "vega.js")}, notebooks...)...)
	if err != nil {
		return nil, nil, err
	}
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("lab: cannot convert the notebooks into pages: %w", err)
	}
	lines := json.NewDecoder(bytes.NewReader(output))
	var styles map[string]template.CSS
	if err := lines.Decode(&styles); err != nil {
		return nil, nil, fmt.Errorf("lab: gallery: %w", err)
	}
	var pages []page
	for lines.More() {
		var p page
		if err := lines.Decode(&p); err != nil {
			return nil, nil, fmt.Errorf("lab: gallery: %w", err)
		}
		p.Name = strings.TrimSuffix(p.Notebook, ".ipynb") + ".html"
		pages = append(pages, p)
	}
	return pages, styles, nil
}

// inFolder lists every figure in the folder: what was drawn now, and the earlier ones by their files.
func inFolder(out string, drawn []Figure, notebooks []notebook) ([]Figure, error) {
	files, err := os.ReadDir(filepath.Join(out, "figures"))
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	all := slices.Clone(drawn)
	for _, file := range files {
		name, _, _ := strings.Cut(file.Name(), ".")
		if slices.ContainsFunc(drawn, func(f Figure) bool { return f.Name == name }) {
			continue
		}
		i := slices.IndexFunc(all, func(f Figure) bool { return f.Name == name })
		if i < 0 {
			i = len(all)
			all = append(all, Figure{Name: name, Title: title(name, notebooks)})
		}
		all[i].Files = append(all[i].Files, filepath.Join("figures", file.Name()))
	}
	slices.SortFunc(all, func(a, b Figure) int { return byNumber(a.Name, b.Name) })
	return all, nil
}

// title is the heading above the cell that draws a figure.
func title(figure string, notebooks []notebook) string {
	for _, n := range notebooks {
		for _, c := range n.cells {
			if slices.Contains(c.tags, figure) {
				return c.heading
			}
		}
	}
	return figure
}

// caption is a figure in words, as its chart has them; empty where there is no chart.
func caption(out, figure string) string {
	text, err := os.ReadFile(filepath.Join(out, "figures", figure+".vl.json"))
	var chart struct{ Description string }
	if err != nil || json.Unmarshal(text, &chart) != nil {
		return ""
	}
	return chart.Description
}

// pageOf is the address of the chart in a page that shows it, that of the notebook whose cell is tagged with it before others.
func pageOf(figure string, pages []page, notebooks []notebook) (address string) {
	for _, p := range pages {
		if !strings.Contains(string(p.Body), fmt.Sprintf("id=%q", template.HTMLEscapeString(figure))) {
			continue
		}
		address = p.Name + "#" + figure
		if slices.ContainsFunc(notebooks, func(n notebook) bool {
			return filepath.Base(n.path) == p.Notebook && slices.ContainsFunc(n.cells, func(c cell) bool { return slices.Contains(c.tags, figure) })
		}) {
			break
		}
	}
	return address
}

// kindOf is what a figure's file is, by its ending: SVG, PNG, CSV.
func kindOf(file string) string {
	_, extension, _ := strings.Cut(filepath.Base(file), ".")
	if extension == "vl.json" {
		return "Vega-Lite"
	}
	return strings.ToUpper(extension)
}

// imageOf is the file that the page shows: SVG, or else PNG; empty where there is neither.
func imageOf(files []string) string {
	for _, kind := range []string{"SVG", "PNG"} {
		if i := slices.IndexFunc(files, func(file string) bool { return kindOf(file) == kind }); i >= 0 {
			return files[i]
		}
	}
	return ""
}
