package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"raretask/pkg/spec"
)

// Report is what a benchmark found.
type Report struct {
	Machine Machine  `json:"machine"`
	Rounds  int      `json:"rounds"`
	Cases   []Result `json:"cases"`
}

// Result is what a benchmark found in one case. Rates are model-steps (a step of one run) per second over the whole sweep,
// compile time included: runs·steps / (compile + steps·median time of a step).
type Result struct {
	Name      string             `json:"name"`
	About     string             `json:"about"`
	Runs      int                `json:"runs"`
	Steps     int                `json:"steps"`       // of the sweep
	Timed     int                `json:"timed_steps"` // of a round
	Ours      float64            `json:"ours"`
	Peers     map[string]float64 `json:"peers"`
	Ratio     *float64           `json:"ratio"`            // ours to the fastest peer's, without JAX given our algorithm; null without peers
	PeakShare float64            `json:"peak_share"`       // useful products a second, compile apart, relative to Machine.Peak
	Tokens    int                `json:"tokens,omitempty"` // that a step of all runs reads; 0: of no language
	Products  float64            `json:"gflop"`            // operations that a step of all runs needs, 1e9: products, own decoders
	Traffic   float64            `json:"traffic_mb"`       // estimate of what a step of all runs reads and writes, 1e6 bytes
	Floor     float64            `json:"floor_ms"`         // a step's products at Machine.Peak and then its traffic at Machine.Bandwidth
	Measure   string             `json:"compared_by"`      // the loss by which trainings are compared
	Programs  []Program          `json:"programs"`         // ours first
}

// Program is one of the programs that trained a case.
type Program struct {
	Name    string     `json:"name"`
	Version string     `json:"version"`
	Error   string     `json:"error,omitempty"` // why it has no numbers
	Compile float64    `json:"compile_s"`       // seconds, once
	Step    float64    `json:"step_ms"`         // median over rounds, of a step of all runs
	Range   [2]float64 `json:"step_range_ms"`   // least and most
	CPU     float64    `json:"processor_ms"`    // median processor time of a step, which neighbours on the machine disturb less
	Loss    float64    `json:"loss"`            // mean over runs and rounds
	Off     float64    `json:"off"`             // largest relative difference of a width's loss from ours
	Noise   float64    `json:"off_noise"`       // that difference in its standard errors, those of the data's randomness
}

func newResult(c Case, contenders []*contender) *Result {
	r := &Result{Name: c.Name, About: c.About, Runs: len(c.Runs), Steps: c.Runs[0].Train.Steps, Timed: c.Timed, Peers: map[string]float64{},
		Measure: measure(c.Runs[0])}
	for _, t := range contenders {
		var steps, cpu []float64
		for _, o := range t.outcomes {
			steps, cpu = append(steps, o.step), append(cpu, o.cpu)
		}
		p := t.Program
		if p.Error == "" {
			p.Step, p.CPU = median(steps), median(cpu)
			p.Range = [2]float64{slices.Min(steps), slices.Max(steps)}
			p.Loss, p.Off, p.Noise = compare(c, contenders[0].outcomes, t.outcomes)
		}
		r.Programs = append(r.Programs, p)
	}
	r.Products, r.Traffic = cost(c)
	if c.language() {
		r.Tokens = len(c.Runs) * tokens(c.Runs[0])
	}
	return r
}

// finish fills in what follows from the other numbers.
func (r *Result) finish(m Machine) {
	rate := func(p Program) float64 { return float64(r.Runs*r.Steps) / (p.Compile + float64(r.Steps)*p.Step/1e3) }
	best := 0.
	for _, p := range r.Programs {
		switch {
		case p.Error != "":
		case p.Name == ours:
			r.Ours = rate(p)
			r.PeakShare = r.Products / (p.Step / 1e3) / m.Peak
		default:
			r.Peers[p.Name] = rate(p)
			if p.Name != tiles {
				best = max(best, rate(p))
			}
		}
	}
	r.Floor = r.Products/m.Peak*1e3 + r.Traffic/m.Bandwidth
	if best > 0 {
		ratio := r.Ours / best
		r.Ratio = &ratio
	}
}

// compare returns the mean loss of theirs and, of the width where it differs most, the relative difference from ours and that in
// standard errors. Runs of one width and seed start from the same values, so only the data's randomness separates them:
// its variance is that over rounds.
func compare(c Case, ours, theirs []outcome) (mean, off, noise float64) {
	seeds, rounds := c.seeds(), len(theirs)
	widths := len(c.Runs) / seeds
	independent := float64(rounds)
	if !c.Shared {
		independent *= float64(seeds)
	}
	for w := range widths {
		a, va := moments(ours, w*seeds, seeds)
		b, vb := moments(theirs, w*seeds, seeds)
		mean += b / float64(widths)
		if relative := math.Abs(b-a) / a; relative > off {
			off = relative
			if va+vb > 0 {
				noise = math.Abs(b-a) / math.Sqrt((va+vb)/independent)
			}
		}
	}
	return mean, off, noise
}

// moments returns the mean loss of runs from first on, over rounds, and the variance over rounds of one run's.
func moments(outcomes []outcome, first, runs int) (mean, variance float64) {
	rounds := float64(len(outcomes))
	for i := first; i < first+runs; i++ {
		sum, squares := 0., 0.
		for _, o := range outcomes {
			sum += o.loss[i]
		}
		for _, o := range outcomes {
			squares += (o.loss[i] - sum/rounds) * (o.loss[i] - sum/rounds)
		}
		mean += sum / rounds / float64(runs)
		variance += squares / (rounds - 1) / float64(runs)
	}
	return mean, variance
}

// tokens returns how many tokens a step of a run of a language reads.
func tokens(run spec.Run) int { return run.Train.Batch * run.Mixture.Signature().Input.Size() }

// cost returns what a step of all runs needs: products in 1e9 floating-point operations, traffic in 1e6 bytes.
//
//	products  first layer, forward and its gradient: 2 · 2BDN for each run, D without the code of the task; own decoder or
//	          readout, forward and two gradients: 3 · 2BON
//	traffic   of the optimizer, ten passes over each weight: read forward, gradient written and read for the norm and the step, and
//	          both moments and the weight read and written; of the hidden layer, eight passes over B x N, as rows and as pairs of
//	          tile and task, forward and backward; of the inputs, four passes over B x D for each stream: random words,
//	          normals, and the reading of these by two products
//
// Traffic that stays in the caches counts too, so it is an estimate from above. Of decoders see languageCost.
func cost(c Case) (products, traffic float64) {
	if c.language() {
		return languageCost(c)
	}
	run := c.Runs[0]
	of := run.Mixture.Signature()
	batch, dim, outputs := float64(run.Train.Batch), float64(of.Input.Size()), float64(of.Outputs)
	for _, r := range c.Runs {
		width := float64(r.Net.Width)
		products += batch * width * (4*dim + 6*outputs)
		traffic += 4 * 8 * batch * width
		for _, weight := range r.New().Weights() {
			traffic += 4 * 10 * float64(weight.Size())
		}
	}
	traffic += float64(len(spec.Stacks(c.Runs))) * 4 * 4 * batch * dim
	return products / 1e9, traffic / 1e6
}

// languageCost is cost of a case that trains decoders.
//
//	products  forward and two gradients: 6 for each token and weight that it uses, and in each layer, for scores and sums of attention,
//	          12N for each pair of tokens of which one sees the other (Cost of net.Net)
//	traffic   of the optimizer as in cost; of the activations, five passes: written and read forward, read backward, gradients written
//	          and read; of the drawing, two passes over the distribution of each token, picked and compared, for each stream
func languageCost(c Case) (products, traffic float64) {
	for _, r := range c.Runs {
		used, activations := r.New().Cost()
		batch := float64(r.Train.Batch)
		products += 6 * batch * float64(used)
		traffic += 4 * (5*batch*float64(activations) + 10*float64(r.Parameters()))
	}
	run := c.Runs[0]
	traffic += float64(len(spec.Stacks(c.Runs))) * 4 * 2 * float64(tokens(run)*run.Mixture.Signature().Outputs)
	return products / 1e9, traffic / 1e6
}

// Markdown returns the report as tables.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores; %s.\nMatrix product of this backend %.0f GFLOP/s, adding arrays %.1f GB/s (medians over the run).\n",
		r.Machine.CPU, r.Machine.Cores, r.Machine.Backend, r.Machine.Peak, r.Machine.Bandwidth)
	for _, c := range r.Cases {
		runs := fmt.Sprintf("%d runs", c.Runs)
		if c.Runs == 1 {
			runs = "One run"
		}
		fmt.Fprintf(&b, "\n**%s**: %s. %s of %d steps; medians over %d rounds of %d steps.\n\n",
			c.Name, c.About, runs, c.Steps, r.Rounds, c.Timed)
		b.WriteString("| program | compile, s | step of all runs, ms (range) | processor, ms | model-steps/s, compile apart | … included | " +
			"off ours in " + c.Measure + " |\n|---|---|---|---|---|---|---|\n")
		for _, p := range c.Programs {
			if p.Error != "" {
				fmt.Fprintf(&b, "| %s | does not work here: %s | | | | | |\n", p.Name, strings.ReplaceAll(p.Error, "\n", " "))
				continue
			}
			rate, off := c.Peers[p.Name], fmt.Sprintf("%.2g%% (%.1f s.e.)", 100*p.Off, p.Noise)
			if p.Name == ours {
				rate, off = c.Ours, ""
			}
			fmt.Fprintf(&b, "| %s | %.1f | %.3g (%.3g–%.3g) | %.3g | %s | %s | %s |\n",
				p.Name, p.Compile, p.Step, p.Range[0], p.Range[1], p.CPU, digits(float64(c.Runs)/p.Step*1e3), digits(rate), off)
		}
		fmt.Fprintf(&b, "\nA step needs %.3g GFLOP of products and moves about %.0f MB: %.3g ms at the measured rates; "+
			"we reach %.0f%% of the product peak.", c.Products, c.Traffic, c.Floor, 100*c.PeakShare)
		if c.Ratio != nil {
			fmt.Fprintf(&b, " Against the fastest peer, compile included: %.1fx.", *c.Ratio)
		}
		if c.Tokens > 0 {
			fmt.Fprintf(&b, " %s.", c.throughput())
		}
		b.WriteString("\n")
	}
	return b.String()
}

// digits returns a rate as a whole number, one below 10 with two digits.
func digits(rate float64) string {
	if rate < 10 {
		return fmt.Sprintf("%.1f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

// throughput says how many tokens a second each program reads, compile apart.
func (r *Result) throughput() string {
	var all []string
	for _, p := range r.Programs {
		if p.Error == "" {
			all = append(all, p.Name+" "+digits(float64(r.Tokens)/p.Step))
		}
	}
	return "Thousands of tokens a second, compile apart: " + strings.Join(all, ", ")
}
