package scaling

import (
	_ "embed"
	"encoding/csv"
	"strconv"
	"strings"
)

//go:embed chinchilla.csv
var chinchillaCSV string

// Chinchilla returns the final losses of 245 of Hoffmann et al.'s language models (arXiv 2203.15556), as Besiroglu et al.
// (arXiv 2404.10102) read them off the vector graphics of Figure 4 there; D follows from C = 6ND. They left five outliers out, the points
// of the highest loss: the others, to which they fitted Besiroglu, come first.
func Chinchilla() (fitted, outliers []Point) {
	rows, err := csv.NewReader(strings.NewReader(chinchillaCSV)).ReadAll()
	if err != nil {
		panic(err) // ours
	}
	var points []Point
	for _, row := range rows[1:] {
		var v [3]float64
		for i, cell := range row {
			if v[i], err = strconv.ParseFloat(cell, 64); err != nil {
				panic(err)
			}
		}
		points = append(points, Point{N: v[0], D: v[1] / 6 / v[0], Loss: v[2]})
	}
	return points[:240], points[240:]
}
