package probe

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Explained returns the share of the variance of values [n] that a linear function of the first so many principal components of features
// [n][d] explains, by least squares on the points themselves:
//
//	R² = 1 - |y - ŷ|² / |y - mean y|²
//
// Where features have fewer directions than components, all of them count. It returns an error for fewer points than components and for
// values that don't vary. Source: Sec. 4.3 of arXiv 2605.29548 (50 components, val of the symbols).
func Explained(features [][]float64, values []float64, components int) (float64, error) {
	scores, err := principal(features, components)
	if err != nil {
		return 0, err
	}
	if len(values) != len(features) {
		return 0, fmt.Errorf("probe: %d values for %d points: want as many", len(values), len(features))
	}
	mean := stat.Mean(values, nil)
	total, rest := 0., slices.Clone(values)
	floats.AddConst(-mean, rest)
	if total = floats.Dot(rest, rest); total == 0 {
		return 0, fmt.Errorf("probe: %d equal values: want some that vary", len(values))
	}
	_, k := scores.Dims()
	for j := range k { // components are orthogonal
		c := mat.Col(nil, j, scores)
		floats.AddScaled(rest, -floats.Dot(c, rest)/floats.Dot(c, c), c)
	}
	return 1 - floats.Dot(rest, rest)/total, nil
}

// principal returns the scores of points on their first principal components [n, k], those without variance left out.
func principal(features [][]float64, components int) (*mat.Dense, error) {
	if n := len(features); n < 2 || components < 1 || n <= components {
		return nil, fmt.Errorf("probe: %d points for %d components: want more points", n, components)
	}
	centred := matrix(features)
	n, d := centred.Dims()
	for j := range d {
		column := mat.Col(nil, j, centred)
		floats.AddConst(-stat.Mean(column, nil), column)
		centred.SetCol(j, column)
	}
	var svd mat.SVD
	if !svd.Factorize(centred, mat.SVDThin) {
		return nil, fmt.Errorf("probe: %d points of %d numbers have no singular values: want finite numbers", n, d)
	}
	s := svd.Values(nil)
	k := 0
	for k < min(components, len(s)) && s[k] > 1e-10*s[0] && s[k] > 0 {
		k++
	}
	if k == 0 {
		return nil, fmt.Errorf("probe: %d equal points: want some that vary", n)
	}
	var u mat.Dense
	svd.UTo(&u)
	scores := mat.NewDense(n, k, nil)
	for j := range k {
		column := mat.Col(nil, j, &u)
		floats.Scale(s[j], column)
		scores.SetCol(j, column)
	}
	return scores, nil
}

func matrix(rows [][]float64) *mat.Dense {
	m := mat.NewDense(len(rows), len(rows[0]), nil)
	for i, row := range rows {
		m.SetRow(i, row)
	}
	return m
}

// Selectivity is how well a linear probe tells labels from features on points that it was not fitted on, and how well it tells those of a
// control task, in which every kind of input has a random label of its own (Hewitt & Liang, arXiv 1909.03368).
type Selectivity struct {
	Task, Control float64 // accuracies
}

// Selective reports by how much the task is told better than the control.
func (s Selectivity) Selective() float64 { return s.Task - s.Control }

// Linear fits a probe, least squares with a ridge on one-hot labels, to features [n][d] of the points in train and tests it on the others.
// kinds [n] says of which kind each input is: the control task gives each kind a label, drawn as often as the labels come. It returns an
// error where either part is empty, or where there is one label alone.
func Linear(features [][]float64, labels, kinds []int, train []bool, ridge float64, random *rand.Rand) (Selectivity, error) {
	n := len(features)
	if n == 0 || len(labels) != n || len(kinds) != n || len(train) != n || !(ridge > 0) {
		return Selectivity{}, fmt.Errorf("probe: %d points, %d labels, %d kinds, %d marks, ridge %g: want as many of each, and a ridge above 0",
			n, len(labels), len(kinds), len(train), ridge)
	}
	if first := slices.Index(train, true); first < 0 || !slices.Contains(train, false) {
		return Selectivity{}, fmt.Errorf("probe: %d points, none to fit or none to test: want some of each", n)
	}
	if slices.Min(labels) == slices.Max(labels) || slices.Min(labels) < 0 {
		return Selectivity{}, fmt.Errorf("probe: labels from %d to %d: want at least two, from 0 on", slices.Min(labels), slices.Max(labels))
	}
	control, given := make([]int, n), map[int]int{}
	for i, kind := range kinds {
		if _, there := given[kind]; !there {
			given[kind] = labels[random.IntN(n)]
		}
		control[i] = given[kind]
	}
	task, err := told(features, labels, train, ridge)
	if err != nil {
		return Selectivity{}, err
	}
	chance, err := told(features, control, train, ridge)
	return Selectivity{task, chance}, err
}

// told returns the accuracy of a probe on the points that it was not fitted on.
func told(features [][]float64, labels []int, train []bool, ridge float64) (float64, error) {
	d, classes := len(features[0])+1, slices.Max(labels)+1
	gram, moment := mat.NewSymDense(d, nil), mat.NewDense(d, classes, nil)
	point := func(i int) []float64 { return append(slices.Clone(features[i]), 1) }
	for i, fit := range train {
		if !fit {
			continue
		}
		x := mat.NewVecDense(d, point(i))
		gram.SymRankOne(gram, 1, x)
		for j := range d {
			moment.Set(j, labels[i], moment.At(j, labels[i])+x.AtVec(j))
		}
	}
	for j := range d {
		gram.SetSym(j, j, gram.At(j, j)+ridge)
	}
	var factor mat.Cholesky
	var w mat.Dense
	if !factor.Factorize(gram) {
		return 0, fmt.Errorf("probe: the features' second moments can't be inverted: want finite numbers or a larger ridge")
	}
	if err := factor.SolveTo(&w, moment); err != nil {
		return 0, fmt.Errorf("probe: %w", err)
	}
	right, tested := 0., 0.
	for i, fit := range train {
		if fit {
			continue
		}
		var scores mat.VecDense
		scores.MulVec(w.T(), mat.NewVecDense(d, point(i)))
		if tested++; floats.MaxIdx(scores.RawVector().Data) == labels[i] {
			right++
		}
	}
	return right / tested, nil
}

// Spectrum returns the shares P_k of the variance of class means [P][d] over the classes that lie along cosine and sine of frequency
// k = 1 … P/2 of the class:
//
//	P_k = sum_j (<cos_k, V_j>² + <sin_k, V_j>²) / sum_j |V_j - mean|²
//
// They sum to 1. At k = P/2 of an even P there is no sine. Source: Sec. 4.3 of arXiv 2605.29548.
func Spectrum(means [][]float64) ([]float64, error) {
	p := len(means)
	if p < 3 {
		return nil, fmt.Errorf("probe: %d classes: want at least 3", p)
	}
	v := matrix(means)
	_, d := v.Dims()
	shares, total, raw := make([]float64, p/2), 0., 0.
	for j := range d {
		column := mat.Col(nil, j, v)
		raw += floats.Dot(column, column)
		floats.AddConst(-stat.Mean(column, nil), column)
		total += floats.Dot(column, column)
		for k := 1; k <= p/2; k++ {
			var cosine, sine, norm float64
			for c, value := range column {
				angle := 2 * math.Pi * float64(k*c%p) / float64(p)
				cosine += math.Cos(angle) * value
				sine += math.Sin(angle) * value
				norm += math.Cos(angle) * math.Cos(angle)
			}
			shares[k-1] += cosine * cosine / norm
			if 2*k != p {
				shares[k-1] += sine * sine / (float64(p) - norm)
			}
		}
	}
	if total <= rounding*raw {
		return nil, fmt.Errorf("probe: %d class means: %w", p, ErrEqual)
	}
	floats.Scale(1/total, shares)
	return shares, nil
}

// ErrEqual says that class means don't vary, but for rounding, the share of their squares that float32 may leave.
var ErrEqual = errors.New("they are equal: want some that vary")

const rounding = 1e-11

// Modes returns how many frequencies hold more than theta times what they would of noise, 2/(P-1) of the variance (half of it at P/2 of an
// even P). Source: Sec. 4.3 of arXiv 2605.29548, theta 2.
func Modes(means [][]float64, theta float64) (int, error) {
	shares, err := Spectrum(means)
	count, p := 0, len(means)
	for i, share := range shares {
		null := 2 / float64(p-1)
		if 2*(i+1) == p {
			null /= 2
		}
		if share > theta*null {
			count++
		}
	}
	return count, err
}
