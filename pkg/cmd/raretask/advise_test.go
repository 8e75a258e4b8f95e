package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"raretask/pkg/scaling"
	"raretask/pkg/sizing"
)

// Of a mixture of regressions theory says what widths learn, what a target needs, and which mixture reaches it.
func TestAdviseByTheory(t *testing.T) {
	spec := write(t, "mine.yaml", `
mixture: {family: regression, tasks: 6, dim: 48, block: 8, alpha: [2, 2], frequency: {law: power, exponent: 1.3}}
grid: {net.width: [4, 12]}
`)
	var got struct {
		Kind        string
		Widths      []int
		Tasks       []sizing.TaskAdvice
		Checked     string
		Recommended struct {
			Width, Instead int
			Frequencies    []float64
			Shares         string
			Margin, Cost   float64
		}
		Late []struct {
			Task, Width    int
			Constant, Late bool
		}
		Sentences []string
	}
	executeJSON(t, nil, &got, "advise", spec, "--target", "6=.5", "--target", "1=.2", "--late", ".3")
	if got.Kind != "mixture" || fmt.Sprint(got.Widths) != "[4 12]" || len(got.Tasks) != 6 || !strings.Contains(got.Checked,
		"outcomes of trained nets") {
		t.Fatalf("%+v", got)
	}
	last := got.Tasks[5]
	if narrow, wide := last.At[0], last.At[1]; narrow.Learned || narrow.Frequency == nil || *narrow.Frequency <= last.Frequency ||
		!wide.Learned ||
		wide.Loss.Low > wide.Loss.Estimate || wide.Loss.High < wide.Loss.Estimate || wide.Kind != "prediction" {
		t.Errorf("%+v", last)
	}
	if r := got.Recommended; r.Width != 3 || r.Instead <= 3 || len(r.Frequencies) != 6 || len(strings.Fields(r.Shares)) != 6 || !(r.Cost > 0) {
		t.Errorf("%+v", r)
	}
	if len(got.Late) == 0 || len(got.Sentences) < 4 {
		t.Errorf("%+v %q", got.Late, got.Sentences)
	}
	status, out, _ := execute(t, nil, "advise", spec, "--target", "6=.5")
	if status != 0 || !strings.Contains(out, "law: given, shares: ") {
		t.Fatalf("exit %d:\n%s", status, out)
	}
	// What is recommended is a spec.
	_, shares, _ := strings.Cut(out, "mixture.frequency: {law: given, shares: ")
	shares, _, _ = strings.Cut(shares, "}")
	mine := write(t, "recommended.yaml", `
mixture: {family: regression, tasks: 6, dim: 48, block: 8, alpha: [2, 2], frequency: {law: given, shares: `+shares+`}}
net: {width: 4}
`)
	if status, _, errors := execute(t, nil, "advise", mine); status != 0 {
		t.Errorf("exit %d: %s", status, errors)
	}
	for want, args := range map[string][]string{
		"want K=LOSS":      {spec, "--target", "7=.5"},
		"floor":            {spec, "--target", "6=-.5"},
		"no target":        {spec, "--target", "6=1"},
		"at least 1":       {spec, "--widths", "0"},
		"several mixtures": {"fig2"},
		"by theory":        {"parity", "--late", ".2"},
		"at most 1":        {spec, "--late", "2"},
		"of width 1 has":   {spec, "--parameters", "3"},
		"want a SPEC":      {spec, spec},
	} {
		if status, _, errors := execute(t, nil, append([]string{"advise"}, args...)...); status == 0 || !strings.Contains(errors, want) {
			t.Errorf("%q: exit %d: %s: want %q", args, status, errors, want)
		}
	}
}

// Sizes may be said in parameters, as engineers count: of each the widest net with no more.
func TestAdviseByParameters(t *testing.T) {
	type answer struct {
		Widths, Parameters []int
		Tasks              []sizing.TaskAdvice
	}
	var byWidth, byParameters answer
	executeJSON(t, nil, &byWidth, "advise", "fig3", "--scale", "quick", "--widths", "8,32")
	if p := byWidth.Parameters; len(p) != 2 || p[1] < 3*p[0] {
		t.Fatalf("widths %v have %v parameters", byWidth.Widths, p)
	}
	executeJSON(t, nil, &byParameters, "advise", "fig3", "--scale", "quick", "--parameters",
		fmt.Sprintf("%d,%d", byWidth.Parameters[0]+1, byWidth.Parameters[1]))
	if !reflect.DeepEqual(byParameters, byWidth) {
		t.Errorf("--parameters: %+v; --widths: %+v", byParameters, byWidth)
	}
}

// What --out draws is a chart and the table of what is plotted; what has nothing to draw draws nothing.
func TestAdviseDraws(t *testing.T) {
	three := "size,tokens,loss\n" // ends at 4, 2 and .9 of which a power through the first two would have 1
	for _, size := range []float64{1, 2, 4} {
		for i := range 16 {
			three += fmt.Sprintf("%g,%g,%g\n", size, math.Pow(2, float64(i)), map[float64]float64{1: 4, 2: 2, 4: .9}[size]*(1+math.Pow(2,
				-float64(i))))
		}
	}
	ratios, metrics := "run,web,code\n", "run,loss\n"
	for i := range 12 {
		ratios += fmt.Sprintf("r%d,%g,%g\n", i, float64(i+1)/16, 1-float64(i+1)/16)
		metrics += fmt.Sprintf("r%d,%g\n", i, 3-float64(i)/16+.001*float64(i%3))
	}
	curves := write(t, "three.csv", three)
	for name, args := range map[string][]string{
		"iso-learning": {"fig3"}, "threshold-model": {"parity", "--scale", "quick"}, "size-or-data": {curves},
		"effects": {write(t, "ratios.csv", ratios), write(t, "metrics.csv", metrics)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "drawn")
			var got struct {
				Files   []string
				LeftOut []sizing.SizeLeftOut `json:"left_out"`
			}
			if name == "threshold-model" { // its left_out is of another kind
				status, out, errors := execute(t, nil, append([]string{"advise", "--out", dir}, args...)...)
				if status != 0 || !strings.Contains(out, "drawn: ") {
					t.Errorf("exit %d:\n%s%s", status, out, errors)
				}
			} else if executeJSON(t, nil, &got, append([]string{"advise", "--out", dir}, args...)...); len(got.Files) < 2 {
				t.Errorf("%+v", got)
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) < 2 {
				t.Fatalf("%v, %v", files, err)
			}
			for _, f := range files {
				content, err := os.ReadFile(filepath.Join(dir, f.Name()))
				if err != nil || len(content) < 100 || !strings.HasPrefix(f.Name(), name) {
					t.Errorf("%s: %d bytes, %v", f.Name(), len(content), err)
				}
			}
			if name == "size-or-data" {
				if l := got.LeftOut; len(l) != 1 || l[0].Size != 4 || math.Abs(l[0].Predicted-1) > .01 || math.Abs(l[0].Ends-.9) > .01 {
					t.Errorf("left out: %+v", l)
				}
			}
		})
	}
}

// Of parities, which have no closed form, the runs that there are say what a task needs; without runs that is said.
func TestAdviseByRuns(t *testing.T) {
	var got struct {
		Kind     string
		Exponent scaling.Interval
		Left     sizing.LeftOut `json:"left_out"`
		Tasks    []sizing.LearningTask
	}
	executeJSON(t, nil, &got, "advise", "parity", "--scale", "quick")
	if e := got.Exponent; got.Kind != "threshold" || len(got.Tasks) != 24 || !(e.Low < e.Estimate && e.Estimate < e.High && e.High < -.5) ||
		got.Left.Right*10 < got.Left.Outcomes*8 {
		t.Errorf("%+v", got)
	}
	for i, task := range got.Tasks[1:] {
		if task.Sure.Estimate <= got.Tasks[i].Sure.Estimate || task.Half.Estimate >= task.Sure.Estimate {
			t.Errorf("task %d needs %+v, the one before %+v", task.Task, task, got.Tasks[i])
		}
	}
	spec := write(t, "mine.yaml", "base: parity\ntrain: {steps: 77}\n")
	if status, _, errors := execute(t, nil, "advise", spec, "--scale", "quick"); status != 1 || !strings.Contains(errors, "sweep run") {
		t.Errorf("exit %d: %s", status, errors)
	}
}

// curvesOf is the text of a table of learning curves of a small size that levels off and a large one, of a task in losses, or of two tasks
// side by side in accuracies.
func curvesOf(wide bool) string {
	random := rand.New(rand.NewPCG(3, 1))
	text := "model,size,tokens,loss,task,seed\n"
	if wide {
		text = "size,tokens,add,sort\n"
	}
	for _, size := range []float64{1e7, 1e9} {
		for i := range 24 {
			d := 1e6 * math.Pow(1000, float64(i)/23)
			fall := 2 * math.Pow(d/1e6, -.5)
			floor := map[float64]float64{1e7: .8, 1e9: .2}[size]
			if wide {
				noise := func() float64 { return .002 * random.NormFloat64() }
				text += fmt.Sprintf("%g,%g,%g,%g\n", size, d, .9-.4*(floor+fall/8)+noise(), .25+noise())
				continue
			}
			for seed := range 2 {
				text += fmt.Sprintf("m,%g,%g,%g,translate,%d\n", size, d, floor+fall+.01*random.NormFloat64(), seed)
			}
		}
	}
	return text
}

func TestAdviseOnCurves(t *testing.T) {
	var got struct {
		Kind    string
		Answers []sizing.Diagnosis
	}
	executeJSON(t, nil, &got, "advise", write(t, "long.csv", curvesOf(false)))
	if len(got.Answers) != 1 || got.Answers[0].Answer != sizing.LargerModel || got.Answers[0].Task != "translate" ||
		got.Answers[0].Floor == nil {
		t.Errorf("%+v", got)
	}
	executeJSON(t, nil, &got, "advise", write(t, "wide.csv", curvesOf(true)), "--higher", "--chance", ".25")
	if len(got.Answers) != 2 || got.Answers[0].Answer != sizing.LargerModel || got.Answers[1].Answer != sizing.Neither {
		t.Errorf("%+v", got)
	}
	status, out, _ := execute(t, nil, "advise", write(t, "wide.csv", curvesOf(true)), "--higher", "--chance", ".25")
	if status != 0 || !strings.Contains(out, "add, size 1e+07: only a larger model would") || !strings.Contains(out, "better than chance") {
		t.Errorf("exit %d:\n%s", status, out)
	}
	// Accuracies by their names, a column of words, seeds of which one was cut short, rows of two splits.
	accuracies := strings.NewReplacer("size,tokens,add,sort", "model,size,tokens,add_acc,sort_score", "\n1e",
		"\ngpt,1e").Replace(curvesOf(true))
	executeJSON(t, nil, &got, "advise", write(t, "named.csv", accuracies))
	if len(got.Answers) != 2 || got.Answers[0].Answer != sizing.LargerModel {
		t.Errorf("%+v", got)
	}
	rows := strings.Split(strings.TrimSpace(curvesOf(false)), "\n")
	cut := slices.DeleteFunc(slices.Clone(rows), func(row string) bool {
		return strings.HasSuffix(row, ",1") && strings.HasPrefix(row, "m,1e+07,") && strings.Contains(row, "e+08")
	})
	status, out, errors := execute(t, nil, "advise", write(t, "cut.csv", strings.Join(cut, "\n")+"\n"))
	if status != 0 || !strings.Contains(out, "that not all seeds have are left out") || !strings.Contains(out, "translate, size 1e+07") {
		t.Errorf("exit %d:\n%s%s", status, out, errors)
	}
	split := rows[0] + ",split\n" + strings.Join(rows[1:], ",train\n") + ",train\n" + strings.Join(rows[1:], ",valid\n") + ",valid\n"
	if _, out, _ = execute(t, nil, "advise", write(t, "split.csv", split)); !strings.Contains(out, "differ in split are averaged") {
		t.Errorf("%s", out)
	}
	for want, text := range map[string]string{
		"say --higher":   "size,tokens,quality\n1,1,.2\n1,2,.3\n1,3,.4\n1,4,.5\n2,1,.2\n2,2,.4\n2,3,.5\n2,4,.6\n",
		"divided by 100": "size,tokens,acc\n1,1,20\n1,2,30\n2,1,20\n2,2,40\n",
		"no column size": "tokens,loss\n1,2\n", "no column tokens": "size,loss\n1,2\n", "no column of losses": "size,tokens\n1,2\n",
		"want a number": "size,tokens,loss\n1,2,x\n", "two at least": "size,tokens,loss\n1,2,3\n",
	} {
		if status, _, errors := execute(t, nil, "advise", write(t, "x.csv", text)); status != 1 || !strings.Contains(errors, want) {
			t.Errorf("exit %d: %s: want %q", status, errors, want)
		}
	}
}

func TestAdviseOnMixtures(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 1))
	ratios, metrics := "run,web,code,books\n", "run,loss,flat\n"
	for i := range 40 {
		a, b, c := random.ExpFloat64(), random.ExpFloat64(), random.ExpFloat64()
		sum := a + b + c
		ratios += fmt.Sprintf("r%d,%g,%g,%g\n", i, a/sum, b/sum, c/sum)
		metrics = fmt.Sprintf("%sr%d,%g,%g\n", metrics, i, 3-a/sum+.5*b/sum+.01*random.NormFloat64(), 1+.1*random.NormFloat64())
	}
	r, m := write(t, "ratios.csv", ratios), write(t, "metrics.csv", metrics)
	var got struct {
		Kind    string
		Metrics []struct {
			Metric, Kind string
			Flat         bool
			At           *scaling.Interval
			Effects      []struct {
				Domain string
				Change scaling.Interval
			}
		}
		Confounded, Repeats []string
	}
	executeJSON(t, nil, &got, "advise", r, m, "--at", "web=.5,code=.3,books=.2", "--unique",
		write(t, "unique.csv", "domain,tokens\nweb,1e12\ncode,1e9\nbooks,1e10\n"), "--tokens", "1e11", "--proxy", "1e9")
	if got.Kind != "surface" || len(got.Metrics) != 2 || !got.Metrics[1].Flat || got.Metrics[1].At != nil || len(got.Repeats) != 2 {
		t.Fatalf("%+v", got)
	}
	one := got.Metrics[0]
	if want := 3 - .5 + .5*.3; math.Abs(one.At.Estimate-want) > .02 || one.Kind != "prediction" || len(one.Effects) != 3 ||
		one.Effects[0].Change.High >= 0 {
		t.Errorf("%+v", one)
	}
	// Losses by domain are named as the ratios are; a metric that is the same in all runs, or lacks a number, is told and left out.
	byDomain := "run,web,code,stuck,holes\n"
	for i := range 40 {
		hole := map[bool]string{true: "", false: "1.5"}[i == 7]
		byDomain += fmt.Sprintf("r%d,%g,%g,0,%s\n", 39-i, 2+.01*float64((39-i)%7), 1.5+.02*float64((39-i)%5), hole)
	}
	status, out, errors := execute(t, nil, "advise", r, write(t, "domains.csv", byDomain))
	if status != 0 || !strings.Contains(out, "stuck: sizing: the metric is 0 in all") || !strings.Contains(out, "left out: domains.csv: "+
		"line 9") {
		t.Errorf("exit %d:\n%s%s", status, out, errors)
	}
	status, out, _ = execute(t, nil, "advise", r, m)
	if status != 0 || !strings.Contains(out, "+0.05 of web") || !strings.Contains(out, "--unique") || !strings.Contains(out,
		"ratios don't tell it") {
		t.Errorf("exit %d:\n%s", status, out)
	}
	for want, args := range map[string][]string{
		"want DOMAIN=RATIO": {r, m, "--at", "web=.5,cod=.5"}, "sum to 0.5": {r, m, "--at", "web=.5"}, "--step 5": {r, m, "--step", "5"},
		"need --unique":  {r, m, "--tokens", "1"},
		"no row of":      {r, write(t, "short.csv", "run,loss\nr0,1\n")},
		"sum to":         {write(t, "bad.csv", strings.Replace(ratios, "r0,", "r0,9", 1)), m},
		"is 1 in all":    {r, write(t, "same.csv", "run,loss\n"+strings.Join(rows(40, "r%d,1"), "\n")+"\n")},
		"is there twice": {r, write(t, "twice.csv", metrics+"r1,2,2\n")},
	} {
		if status, _, errors := execute(t, nil, append([]string{"advise"}, args...)...); status == 0 || !strings.Contains(errors, want) {
			t.Errorf("%q: exit %d: %s: want %q", args, status, errors, want)
		}
	}
}

func rows(n int, format string) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

// Of this program's own export chance is known, though curves begin far above it; tasks come in the order of their numbers.
func TestAdviseKnowsOwnExport(t *testing.T) {
	var csv strings.Builder
	csv.WriteString("stack,mixture.family,net.width,task,step,loss\n")
	for _, task := range []int{10, 2} {
		for _, width := range []int{8, 16, 32} {
			for step := 1; step <= 20; step++ {
				fmt.Fprintf(&csv, "s%d,regression,%d,%d,%d,%g\n", width, width, task, step, 6./float64(step*step)+4/float64(width))
			}
		}
	}
	status, out, errors := execute(t, nil, "advise", write(t, "export.csv", csv.String()))
	if status != 0 || !strings.Contains(out, "which is 1") || strings.Contains(out, "stack are averaged") ||
		strings.Index(out, "\n2 ") > strings.Index(out, "\n10 ") {
		t.Errorf("exit %d: %s%s", status, out, errors)
	}
}
