package lab

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed index.html
var indexHTML string

var indexPage = template.Must(template.New("index").Funcs(template.FuncMap{"kind": kindOf, "image": imageOf}).Parse(indexHTML))

// WriteIndex writes the page that shows a job's figures, beside those that earlier jobs left in the same folder, and returns its path.
func WriteIndex(job Job, drawn []Figure) (string, error) {
	notebooks, err := readNotebooks(job.Notebooks)
	if err != nil {
		return "", err
	}
	figures, err := inFolder(job.Out, drawn, notebooks)
	if err != nil {
		return "", err
	}
	page := struct {
		Scale     string
		Figures   []Figure
		Notebooks []string
	}{Scale: job.Scale, Figures: figures}
	page.Notebooks, _ = fs.Glob(os.DirFS(job.Out), "*.ipynb")
	var html bytes.Buffer
	if err := indexPage.Execute(&html, page); err != nil {
		return "", fmt.Errorf("lab: index page: %w", err)
	}
	path := filepath.Join(job.Out, "index.html")
	return path, replace(path, html.Bytes())
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

// kindOf is what a figure's file is, by its ending: SVG, PNG, CSV.
func kindOf(file string) string {
	_, extension, _ := strings.Cut(filepath.Base(file), ".")
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
