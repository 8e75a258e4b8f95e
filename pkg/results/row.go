// Package results keeps what training measured: one Parquet file for each stack of runs, named by its content, renamed into
// place, and readable by pandas, polars and DuckDB as it is. A stack whose file exists is never trained again.
package results

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"

	"raretask/pkg/spec"
	"raretask/pkg/train"
)

// Row is one task of one run at one step. The tag `about` documents the column; it is stored in the file, under the
// metadata key "columns". Values that don't exist for a run (closed forms of a net that has none, anything after
// divergence) are null.
type Row struct {
	Run       string   `parquet:"run,dict" about:"hash of the run's settings"`
	Family    string   `parquet:"family,dict" about:"task family"`
	Tasks     int32    `parquet:"tasks,dict" about:"number of tasks K"`
	Dim       int32    `parquet:"dim,dict" about:"input dimensions D; parity: random bits n"`
	Block     int32    `parquet:"block,dict" about:"directions of a task d_T; parity: bits of a task k"`
	AlphaHead float64  `parquet:"alpha_first,dict" about:"spectrum exponent of the most frequent task; NaN for a family without spectrum"`
	AlphaTail float64  `parquet:"alpha_last,dict" about:"spectrum exponent of the rarest task; NaN for a family without spectrum"`
	Beta      float64  `parquet:"beta,dict" about:"frequency exponent: pi_k proportional to k^-beta"`
	Net       string   `parquet:"net,dict" about:"kind of network"`
	Width     int32    `parquet:"width,dict" about:"neurons of a hidden layer N"`
	Depth     int32    `parquet:"depth,optional,dict" about:"hidden layers; null: 1"`
	Param     string   `parquet:"parameterization,optional,dict" about:"mup; null: standard"`
	Base      int32    `parquet:"base_width,optional,dict" about:"width at which mup has the rates of standard; null: standard"`
	Batch     int32    `parquet:"batch,dict" about:"samples in a step B"`
	Steps     int32    `parquet:"steps,dict" about:"steps of the whole run"`
	Rate      float64  `parquet:"rate,dict" about:"peak learning rate"`
	Seed      int64    `parquet:"seed,dict" about:"seed of the initial values, and of the data unless data_seed differs"`
	DataSeed  int64    `parquet:"data_seed,dict" about:"seed of the data stream"`
	Injected  int32    `parquet:"injected_task,dict" about:"task that an injection schedule withholds and injects, 1 = most frequent; 0: no schedule"`
	Gap       int32    `parquet:"injection_gap,dict" about:"steps from one injection to the next G"`
	Burst     int32    `parquet:"injection_length,dict" about:"steps of an injection"`
	Samples   int32    `parquet:"injection_samples,dict" about:"samples of an injection; 0: as many as the gap would have held"`
	From      int32    `parquet:"injection_from,dict" about:"steps done when the schedule begins"`
	Until     int32    `parquet:"injection_until,dict" about:"steps done when the schedule ends; 0: never"`
	Intervene string   `parquet:"intervention,dict" about:"how the gradient of intervention_task meets the others': weight, surgery or mask; empty: as it is"`
	Target    int32    `parquet:"intervention_task,dict" about:"task of the intervention, 1 = most frequent"`
	Factor    float64  `parquet:"intervention_factor,dict" about:"factor of that task's loss; 0: none"`
	Diverged  *int32   `parquet:"diverged,optional" about:"step at which the run diverged (training loss not finite or 1000 times that of predicting the mean); null: never"`
	Step      int32    `parquet:"step,delta" about:"steps done"`
	TrainLoss *float32 `parquet:"train_loss,optional" about:"mean training loss since the step before: squared error averaged over batch and outputs"`
	Encoder   *float32 `parquet:"encoder_loss,optional" about:"Tr((I-P)M), loss of the mixture with the best decoders for this encoder; squared error summed over outputs, exact"`
	Full      *float32 `parquet:"full_loss,optional" about:"loss of the mixture with the learned decoders; squared error summed over outputs, exact"`
	Residual  *float32 `parquet:"residual,optional" about:"delta_F = Tr((I-P)M_F), what the frequent tasks have not yet learned"`
	Gradient  *float32 `parquet:"frequent_gradient,optional" about:"norm of the frequent tasks' population gradient on the sphere of subspaces, ||G_F||"`
	Bound     *float32 `parquet:"bound,optional" about:"2 sqrt(lambda_1(M_F) delta_F), which bounds frequent_gradient (Theorem 4)"`
	Task      int32    `parquet:"task,delta" about:"task k, 1 = most frequent"`
	Frequency float64  `parquet:"frequency,dict" about:"share of task k in the mixture pi_k"`
	Loss      *float32 `parquet:"loss,optional" about:"loss of task k with the learned decoder relative to predicting the mean, exact"`
	Sampled   *float32 `parquet:"loss_sampled,optional" about:"the same on 256 fresh samples; for parity, where predicting the mean costs one bit, the cross-entropy in bits"`
	Signal    *float32 `parquet:"signal,optional" about:"s_k = Tr(P C_k)/Tr C_k, share of the task's covariance that the encoder keeps"`
	Normal    *float32 `parquet:"signal_normalized,optional" about:"(s_k - N/D)/(1 - N/D): 0 for a random encoder"`
	TaskGrad  *float32 `parquet:"task_gradient,optional" about:"norm of task k's population gradient ||G_k||"`
	Overlap   *float32 `parquet:"interference,optional" about:"<G_k, G_F without k>, never positive"`
	Cosine    *float32 `parquet:"cosine,optional" about:"cosine of G_k and G_F without k; null where one is zero"`
}

// Columns returns the documentation of every column.
func Columns() map[string]string {
	docs := map[string]string{}
	for field := range reflect.TypeFor[Row]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("parquet"), ",")
		docs[name] = field.Tag.Get("about")
	}
	return docs
}

// ColumnNames returns the columns in the order of Row's fields.
func ColumnNames() []string {
	var names []string
	for field := range reflect.TypeFor[Row]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("parquet"), ",")
		names = append(names, name)
	}
	return names
}

// number returns v for a nullable column; NaN is null.
func number(v float64) *float32 {
	if math.IsNaN(v) {
		return nil
	}
	f := float32(v)
	return &f
}

// Value returns the number of a nullable column; null is NaN.
func Value(v *float32) float64 {
	if v == nil {
		return math.NaN()
	}
	return float64(*v)
}

// Rows returns the rows of one evaluation of a run, one for each task.
func Rows(run spec.Run, e train.Evaluation) []Row {
	m, t := run.Mixture, run.Train
	shared := Row{
		Run: run.Hash(), Family: m.Family, Tasks: int32(m.Tasks), Dim: int32(m.Dim), Block: int32(m.Block),
		AlphaHead: m.Alpha[0], AlphaTail: m.Alpha[1], Beta: m.Frequency.Exponent,
		Net: run.Net.Kind, Width: int32(run.Net.Width), Depth: int32(run.Net.Depth), Param: run.Net.Parameterization, Base: int32(run.Net.Base),
		Batch: int32(t.Batch), Steps: int32(t.Steps), Rate: t.Rate, Seed: int64(t.Seed), DataSeed: int64(t.DataSeed()),
		Step: int32(e.Step), TrainLoss: number(e.TrainLoss),
	}
	if i := t.Injection; i.Task > 0 {
		shared.Injected, shared.Gap, shared.Burst, shared.Samples = int32(i.Task), int32(i.Gap), int32(i.Steps()), int32(i.Samples)
		shared.From, shared.Until = int32(i.From), int32(i.Until)
	}
	if m.Family == "parity" {
		shared.AlphaHead, shared.AlphaTail = math.NaN(), math.NaN()
	}
	shared.Intervene, shared.Target, shared.Factor = t.Intervention.Kind, int32(t.Intervention.Task), t.Intervention.Factor
	if e.Diverged >= 0 {
		step := int32(e.Diverged)
		shared.Diverged = &step
	}
	if x := e.Exact; x != nil {
		shared.Encoder, shared.Full, shared.Residual = number(x.EncoderLoss), number(x.Loss.Mixture), number(x.Residual)
		shared.Gradient, shared.Bound = number(x.FrequentGradient), number(x.Bound)
	}
	frequencies := m.Frequencies()
	rows := make([]Row, m.Tasks)
	for k := range rows {
		row := &rows[k]
		*row = shared
		row.Task, row.Frequency, row.Sampled = int32(k+1), frequencies[k], number(e.Sampled[k])
		if x := e.Exact; x != nil {
			row.Loss, row.Signal, row.Normal = number(x.Loss.Normalized[k]), number(x.Signal[k]), number(x.Population.Normalized[k])
			row.TaskGrad, row.Overlap, row.Cosine = number(x.TaskGradient[k]), number(x.Interference[k]), number(x.Cosine[k])
		}
	}
	return rows
}

func columnsJSON() string {
	text, err := json.Marshal(Columns())
	if err != nil {
		panic(err) // a map of strings always has a JSON form
	}
	return string(text)
}
