package probe

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/support/xslices"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"raretask/pkg/backend"
	"raretask/pkg/corpus"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

func init() { train.Register(train.Metric{Name: "features", Of: ofFeatures}) }

// Columns of the metric "features".
const (
	ValueR2      = "value_r2"
	Interchange  = "interchange_accuracy"
	Interchanged = "interchange_random"
	LabelProbe   = "label_probe"
	LabelControl = "label_control"
	FourierModes = "fourier_modes"
)

// OrderOf names the column of a symbol's place, by its number from 0, on the order direction; PlaneOf that of a sum's on the first or
// second principal component.
func OrderOf(value int) string          { return fmt.Sprintf("order_%d", value) }
func PlaneOf(component, sum int) string { return fmt.Sprintf("plane%d_%d", component, sum) }

// NullOf names the column of the loss that nulling the MLP of a layer, from 1, costs: by zero or by the mean.
func NullOf(layer int, mean bool) string {
	return fmt.Sprintf("null_%s_%d", map[bool]string{false: "zero", true: "mean"}[mean], layer)
}

const (
	// Components is of how many principal components the paper's R² is, where there are enough symbols: of fewer a quarter of them, as the R²
	// of numbers without any meaning is the share of components to symbols less one.
	Components = 50

	theta          = 2 // of modes
	pairsOfEach    = 500
	alignmentSteps = 100
	labelRidge     = 1e-2
)

// ComponentsOf returns of how many components an R² over so many symbols is.
func ComponentsOf(symbols int) int { return min(Components, max(1, symbols/4)) }

// ofFeatures returns the gauge of what a decoder represents of the novel task, after its first layer where the paper looks (Sec. 4.3); nil
// for other nets.
func ofFeatures(b *backend.Backend, run spec.Run) (*train.Gauge, error) {
	n, settings, ok := decoderOf(run)
	if !ok {
		return nil, nil
	}
	kind, symbols := settings.Injects()
	f := &features{kind: kind, symbols: symbols, layers: n.Depth(), seed: uint64(run.Train.Seed)}
	return hosted(b, run, n, f.columns(), f.measure), nil
}

// features measures runs of one decoder.
type features struct {
	kind            string
	symbols, layers int
	seed            uint64

	*Model
	task   corpus.Task
	random *rand.Rand // of a step
}

func (f *features) columns() (all []train.Column) {
	add := func(name, about string) { all = append(all, train.Column{Name: name, About: about}) }
	add(LabelProbe, "accuracy of a linear probe of the label after the last layer, fitted on training instances, on test instances")
	add(LabelControl, "the same of a control task, in which each first symbol has a random label (Hewitt & Liang, arXiv 1909.03368)")
	for _, mean := range []bool{false, true} {
		for l := 1; l <= f.layers; l++ {
			add(NullOf(l, mean), fmt.Sprintf("rise of the label's loss where what MLP %d gives back is nulled, over all instances; nats", l))
		}
	}
	if f.kind == corpus.Addition {
		add(FourierModes, "modes of the sum that hold over twice their share of noise, over all layers' streams at the second symbol")
		for c := range f.symbols {
			for component := 1; component <= 2; component++ {
				add(PlaneOf(component, c), fmt.Sprintf("mean of instances of sum %d on principal component %d of the last layer", c, component))
			}
		}
		return all
	}
	add(ValueR2, fmt.Sprintf("R² of the symbols' numbers on %d principal components of their streams after the first layer",
		ComponentsOf(f.symbols)))
	add(Interchange, "share of test pairs that follow an interchange along one direction of the first symbol's stream after layer 1")
	add(Interchanged, "the same along a random direction")
	for v := range f.symbols {
		add(OrderOf(v), fmt.Sprintf("place of the symbol of number %d on that direction", v))
	}
	return all
}

// measure returns the columns' numbers.
func (f *features) measure(m *Model, family corpus.Family, step int) (values []float64, err error) {
	f.Model, f.task, f.random = m, family.Novel(), rand.New(rand.NewPCG(f.seed, uint64(step)))
	for _, part := range []func() ([]float64, error){f.label, f.nulls, f.own} {
		own, err := part()
		if err != nil {
			return nil, err
		}
		values = append(values, own...)
	}
	return values, nil
}

// own measures what is known of one kind of task alone.
func (f *features) own() ([]float64, error) {
	if f.kind == corpus.Addition {
		return f.sums()
	}
	return f.order()
}

// instances returns those for training, then those for tests.
func (f *features) instances() [][]int32 { return slices.Concat(f.task.Train, f.task.Test) }

// label measures how well a linear probe tells the label after the last layer.
func (f *features) label() ([]float64, error) {
	all := f.instances()
	tokens, answers := split(all)
	rows, err := f.Activations(tokens, 1, fmt.Sprintf("residual%d", f.layers))
	if err != nil {
		return nil, err
	}
	classes := map[int32]int{}
	labels, kinds, train := make([]int, len(all)), make([]int, len(all)), make([]bool, len(all))
	for i, answer := range answers {
		if _, known := classes[answer]; !known {
			classes[answer] = len(classes)
		}
		labels[i], kinds[i], train[i] = classes[answer], int(all[i][0]), i < len(f.task.Train)
	}
	told, err := Linear(rows[0], labels, kinds, train, labelRidge, f.random)
	return []float64{told.Task, told.Control}, err
}

// nulls measures what each layer's MLP is worth to the label.
func (f *features) nulls() (all []float64, err error) {
	for _, mean := range []bool{false, true} {
		_, rises, err := f.NullEffects("mlp", f.layers, f.instances(), mean)
		if err != nil {
			return nil, err
		}
		all = append(all, rises...)
	}
	return all, nil
}

// order measures how the numbers of symbols are represented after the first layer.
func (f *features) order() ([]float64, error) {
	tokens := xslices.Map(f.task.Symbols, func(symbol int32) []int32 { return []int32{symbol} })
	rows, err := f.Activations(tokens, 0, "residual1")
	if err != nil {
		return nil, err
	}
	numbers := xslices.Map(xslices.Iota(0, f.symbols), func(v int) float64 { return float64(v) })
	r2, err := Explained(rows[0], numbers, ComponentsOf(f.symbols))
	if err != nil {
		return nil, err
	}
	pairs := func(of [][]int32) []corpus.Counterfactual { return f.task.Counterfactuals(of, pairsOfEach, f.random) }
	d, err := f.Align("residual1", 0, pairs(f.task.Train), pairs(f.task.Test), alignmentSteps, f.random)
	if err != nil {
		return nil, err
	}
	places := xslices.Map(rows[0], func(row []float64) float64 { return floats.Dot(row, d.Vector) })
	floats.AddConst(-stat.Mean(places, nil), places)
	if stat.Correlation(numbers, places, nil) < 0 {
		floats.Scale(-1, places)
	}
	return append([]float64{r2, d.Test, d.Random}, places...), nil
}

// sums measures how sums are represented at the second symbol.
func (f *features) sums() ([]float64, error) {
	all := f.instances()
	tokens, answers := split(all)
	names := xslices.Map(xslices.Iota(0, f.layers+1), func(l int) string { return fmt.Sprintf("residual%d", l) })
	layers, err := f.Activations(tokens, 1, names...)
	if err != nil {
		return nil, err
	}
	modes := 0
	var last [][]float64
	for _, rows := range layers {
		last = xslices.SliceWithValue[[]float64](f.symbols, nil)
		counts := make([]float64, f.symbols)
		for i, answer := range answers {
			c := slices.Index(f.task.Symbols, answer)
			if last[c] == nil {
				last[c] = make([]float64, len(rows[i]))
			}
			counts[c]++
			floats.Add(last[c], rows[i])
		}
		for c := range last {
			floats.Scale(1/counts[c], last[c])
		}
		n, err := Modes(last, theta)
		if errors.Is(err, ErrEqual) {
			continue // before attention has mixed in the first symbol, all sums have the same mean: each has every second symbol once
		} else if err != nil {
			return nil, err
		}
		modes += n
	}
	scores, err := principal(last, 2)
	if err != nil {
		return nil, err
	}
	values := []float64{float64(modes)}
	_, k := scores.Dims()
	for c := range f.symbols {
		for j := range 2 {
			place := math.NaN()
			if j < k {
				place = scores.At(c, j)
			}
			values = append(values, place)
		}
	}
	return values, nil
}
