package own_test

import (
	"cmp"
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"

	"raretask/tasks"
)

// Products are K tasks on Gaussian inputs: the target of task k is the product of two inputs of its own.
type Products struct {
	Dim int `yaml:"dim" json:"dim" about:"inputs D"`
}

func init() {
	tasks.Register(tasks.Kind{Name: "products", About: "products of two inputs", Engine: 1, Defaults: Products{Dim: 8}})
}

func (p Products) Check(k int) error {
	return cmp.Or(tasks.Want(p.Dim >= 2*k, "dim", p.Dim, fmt.Sprintf("at least 2·tasks = %d", 2*k)))
}

func (p Products) Signature(k int) tasks.Signature {
	return tasks.Signature{Tasks: k, Input: tasks.Vector(p.Dim), Target: tasks.Vector(1), Outputs: 1, Disjoint: true, Unit: "squared error"}
}

func (p Products) Family(k int) (tasks.Family, error) { return products{p.Signature(k)}, nil }

type products struct{ of tasks.Signature }

func (p products) Signature() tasks.Signature { return p.of }
func (p products) Relevant(task int) []int    { return []int{2 * task, 2*task + 1} }
func (p products) Baseline() []float64        { return slices.Repeat([]float64{1}, p.of.Tasks) } // E (ab)² = 1

func (p products) Draw(random tasks.Random, taskBK *Node) (x, y *Node) {
	rows, k := taskBK.Shape().Dim(0), p.of.Tasks
	x = random.Normal(rows, p.of.Input.Size())
	pairs := Reshape(Slice(x, AxisRange(), AxisRange(0, 2*k)), rows, k, 2)
	return x, ReduceAndKeep(Mul(taskBK, ReduceMultiply(pairs, -1)), ReduceSum, -1)
}

func (p products) Score(prediction, target *Node) (loss, weight *Node) {
	return ReduceMean(Square(Sub(prediction, target)), -1), nil
}
