package probe

import (
	"fmt"
	"math/rand/v2"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/xslices"

	"raretask/pkg/backend"
	"raretask/pkg/corpus"
	"raretask/pkg/spec"
	"raretask/pkg/train"
)

func init() { train.Register(train.Metric{Name: "domains", Default: true, Of: ofDomains}) }

const (
	mostDomains   = 32  // files of a text that have a column, the first ones
	domainWindows = 256 // of what is held out of each, the same at every step
)

// DomainOf names the column of the loss on what is held out of a file.
func DomainOf(name string) string {
	return "held_out_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

// ofDomains returns the gauge of a decoder's loss on what is held out of each file of a text; nil for other runs.
func ofDomains(b *backend.Backend, run spec.Run) (*train.Gauge, error) {
	n, _, ok := decoderOf(run)
	settings, text := run.Mixture.Settings.(corpus.TextSettings)
	if !ok || !text {
		return nil, nil
	}
	source, err := corpus.OpenSource(settings.Source, settings.Type)
	if err != nil {
		return nil, nil // where runs are planned away from their data, without which none is trained
	}
	domains := source.Domains[:min(mostDomains, len(source.Domains))]
	columns := xslices.Map(domains, func(d corpus.Domain) train.Column {
		return train.Column{Name: DomainOf(d.Name), About: fmt.Sprintf("cross-entropy of a token of %s that is held out; nats", d.Name)}
	})
	return hosted(b, run, n, columns, func(m *Model, family corpus.Family, _ int) (losses []float64, err error) {
		text := family.(*corpus.Text)
		for i := range domains {
			windows := text.HeldOut(rand.New(rand.NewPCG(uint64(text.Seed), uint64(i))), i, domainWindows)
			loss, err := m.Language(windows)
			if err != nil {
				return nil, err
			}
			losses = append(losses, loss)
		}
		return losses, nil
	}), nil
}

// Language returns the mean cross-entropy of all tokens of windows [n][L] but the first, in nats.
func (m *Model) Language(windows [][]int32) (float64, error) {
	last := len(windows[0]) - 1
	out, err := m.Call("language", []any{windows}, func(in, weights []*Node) []*Node {
		x, y := Slice(in[0], AxisRange(), AxisRange(0, last)), Slice(in[0], AxisRange(), AxisRange(1))
		return []*Node{ReduceAllMean(corpus.CrossEntropy(m.Net.Logits(weights, x, nil), InsertAxes(y, 0)))}
	})
	if err != nil {
		return 0, err
	}
	return float64(out[0][0]), nil
}
