package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"raretask/pkg/scaling"
)

// runsOf returns the text of a table of 60 runs of each law.
func runsOf(laws map[string]scaling.Law) string {
	random := rand.New(rand.NewPCG(1, 2))
	text := "params,flops,task,loss\n"
	for name, law := range laws {
		for range 60 {
			n, d := 5e7*math.Pow(300, random.Float64()), 1e9*math.Pow(500, random.Float64())
			text += fmt.Sprintf("%g,%g,%s,%g\n", n, 6*n*d, name, law.Loss(n, d)*math.Exp(.003*random.NormFloat64()))
		}
	}
	return text
}

func TestScalingFit(t *testing.T) {
	path := write(t, "runs.csv", runsOf(map[string]scaling.Law{"web": scaling.Besiroglu, "code": scaling.Hoffmann}))
	type fit struct {
		Group       map[string]string
		E, A, B     scaling.Interval
		Alpha       scaling.Interval `json:"a"`
		Boundary    scaling.Interval
		Split       scaling.Split
		Predictions []struct{ Loss scaling.Interval }
		Budgets     []struct{ N, D scaling.Interval }
		Error       string
		Points      int
	}
	var got struct {
		fit
		Fits []fit
	}
	executeJSON(t, nil, &got, "scaling", "fit", path, "--resamples", "100", "--predict", "7e10,1.4e12", "--budget", "1e21",
		"--split", "1e9,7e10")
	if len(got.Fits) != 2 || got.Points != 60 || got.E != got.Fits[0].E {
		t.Fatalf("%+v", got)
	}
	for _, f := range got.Fits {
		law := map[string]scaling.Law{"web": scaling.Besiroglu, "code": scaling.Hoffmann}[f.Group["task"]]
		near := func(name string, i scaling.Interval, want, tolerance float64) {
			if math.Abs(i.Estimate-want) > tolerance*want || !(i.Low < i.Estimate && i.Estimate < i.High) {
				t.Errorf("%s: %s %+v, want %g", f.Group["task"], name, i, want)
			}
		}
		near("a", f.Alpha, law.Alpha, .1)
		near("E", f.E, law.E, .05)
		near("prediction", f.Predictions[0].Loss, law.Loss(7e10, 1.4e12), .02)
		n, d := law.Optimum(1e21)
		near("best N", f.Budgets[0].N, n, .2)
		near("best D", f.Budgets[0].D, d, .2)
		if model := law.Asymptotic(1e9) - law.ComputeOptimal(7e10); math.Abs(f.Split.Model-model) > .02 {
			t.Errorf("%s: split %+v, want %g by model scaling", f.Group["task"], f.Split, model)
		}
	}
	status, out, _ := execute(t, nil, "scaling", "fit", path, "--by", "", "--resamples", "100")
	if status != 0 || !strings.Contains(out, "120 points") || !strings.Contains(out, "boundary") {
		t.Errorf("exit %d:\n%s", status, out)
	}
}

// Of a table with sizes alone, or data alone, a law of one variable is fitted; trainings are resampled whole where a column names them.
func TestScalingFitOfOneVariable(t *testing.T) {
	law := scaling.FloorLaw{E: 1.5, A: 80, Alpha: .4}
	for _, name := range []string{"N", "D"} {
		text := name + ",loss,seed\n"
		for i, x := range []float64{1e3, 3e3, 1e4, 3e4, 1e5, 3e5} {
			text += fmt.Sprintf("%g,%g,%d\n", x, law.At(x), i%3)
		}
		path := write(t, "one.csv", text)
		var got struct {
			One struct {
				Of    string
				E, A  scaling.Interval
				Alpha scaling.Interval `json:"a"`
			} `json:"one_variable"`
		}
		executeJSON(t, nil, &got, "scaling", "fit", path, "--run", "seed", "--resamples", "100")
		if o := got.One; o.Of != name || math.Abs(o.Alpha.Estimate-.4) > 1e-3 || math.Abs(o.E.Estimate-1.5) > 1e-3 {
			t.Errorf("%s: %+v", name, o)
		}
		if status, out, _ := execute(t, nil, "scaling", "fit", path, "--by", "", "--resamples", "100"); status != 0 ||
			!strings.Contains(out, "L("+name+") = E + A/") {
			t.Errorf("exit %d:\n%s", status, out)
		}
		if status, _, errors := execute(t, nil, "scaling", "fit", path, "--by", "", "--budget", "1e9"); status != 2 ||
			!strings.Contains(errors, "alone") {
			t.Errorf("exit %d: %s", status, errors)
		}
	}
}

func TestScalingFitSaysWhatIsWrong(t *testing.T) {
	table := func(change func(n, d, loss float64) (string, string, string)) string {
		text := "N,D,loss\n"
		for n := 1e7; n < 1e9; n *= 3 {
			for d := 1e8; d < 1e10; d *= 3 {
				a, b, c := change(n, d, scaling.Besiroglu.Loss(n, d))
				text += a + "," + b + "," + c + "\n"
			}
		}
		return write(t, "x.csv", text)
	}
	g := func(v float64) string { return fmt.Sprint(v) }
	for want, path := range map[string]string{
		"no column N":    write(t, "x.csv", "size,tokenz,loss\n1,2,3\n"),
		"no column loss": write(t, "x.csv", "N,D\n1,2\n"),
		"3 points":       write(t, "x.csv", "N,loss\n1,5\n2,4\n3,3\n"),
		"no rows":        write(t, "x.csv", "N,D,loss\n"),
		"--by":           write(t, "x.csv", "N,D,loss,run\n1,2,3,a\n4,5,6,b\n"),
		"line 2":         table(func(n, d, _ float64) (string, string, string) { return g(n), g(d), "-1" }),
		"want a number":  table(func(n, d, _ float64) (string, string, string) { return g(n), g(d), "inf" }),
		"1 sizes":        table(func(_, d, loss float64) (string, string, string) { return "1e8", g(d), g(loss) }),
		"losses are 3":   table(func(n, d, _ float64) (string, string, string) { return g(n), g(d), "3" }),
		"rises by":       table(func(n, d, loss float64) (string, string, string) { return g(n), g(d), g(loss + d/1e10) }),
	} {
		status, out, errors := execute(t, nil, "scaling", "fit", path)
		if status != 1 || !strings.Contains(out+errors, want) {
			t.Errorf("exit %d, %q%q: want 1 and %q", status, out, errors, want)
		}
	}
	for _, args := range [][]string{
		{"--resamples", "1"}, {"--predict", "7"}, {"--split", "1"}, {"--split", "2,1"}, {"--budget", "-1"}, {"--d", "D", "--c", "D"},
	} {
		path := table(func(n, d, loss float64) (string, string, string) { return g(n), g(d), g(loss) })
		if status, _, errors := execute(t, nil, append([]string{"scaling", "fit", path}, args...)...); status != 2 {
			t.Errorf("%q: exit %d, want 2: %s", args, status, errors)
		}
	}
}
