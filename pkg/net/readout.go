package net

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"raretask/pkg/mixture"
	"raretask/tasks"
)

// vector reports whether an array is a vector of numbers, rather than of tokens, say.
func vector(a tasks.Array) bool { return len(a.Dims) == 1 && a.Type == dtypes.Float32 }

// Scored returns the sums of losses of each task's samples [S, K], of predictions [B, S, ..., O] of one readout for all tasks, and how much
// each task's positions count [K], nil where each sample counts once.
func Scored(family tasks.Family, batch *mixture.Batch, yBSO *Node) (lossSK, countK *Node) {
	lossBS, weight := family.Score(yBSO, InsertAxes(batch.Y, 1))
	if weight == nil && lossBS.Rank() == 2 {
		return Einsum("bs,bk->sk", lossBS, batch.Task), nil
	}
	if weight == nil {
		weight = OnesLike(lossBS)
	}
	weight = BroadcastToShape(weight, lossBS.Shape())
	lossBS, weight = Mul(lossBS, weight), Slice(weight, AxisRange(), AxisElem(0))
	for lossBS.Rank() > 2 { // positions of a sample
		lossBS, weight = ReduceSum(lossBS, -1), ReduceSum(weight, -1)
	}
	return Einsum("bs,bk->sk", lossBS, batch.Task), ReduceSum(Mul(Reshape(weight, -1, 1), batch.Task), 0)
}

// ScoredRuns is Scored for predictions whose runs lead: [S, B, ..., O].
func ScoredRuns(family tasks.Family, batch *mixture.Batch, ySBO *Node) (lossSK, countK *Node) {
	lossSB, weight := family.Score(ySBO, InsertAxes(batch.Y, 0))
	if weight == nil {
		weight = OnesLike(lossSB)
	}
	weight = BroadcastToShape(weight, lossSB.Shape())
	lossSB, weight = Mul(lossSB, weight), Reshape(Slice(weight, AxisElem(0)), lossSB.Shape().Dimensions[1:]...)
	for lossSB.Rank() > 2 { // positions of a sample
		lossSB, weight = ReduceSum(lossSB, -1), ReduceSum(weight, -1)
	}
	return Einsum("sb,bk->sk", lossSB, batch.Task), Einsum("b,bk->k", weight, batch.Task)
}

// OwnReadout reads the hidden layer by each task's own linear decoder D_k [O, N]: predictions shrink·D_k h, and the sum of the losses of
// each task's samples [S, K].
func (s Shape) OwnReadout(family tasks.Family, batch *mixture.Batch, hBSN, decoderKSON *Node, tap Tap) (lossSK *Node) {
	tiles := batch.Tiles()
	yPSRO := s.Product("prsn,pson->psro", tiles.Pair(hBSN), tiles.Own(decoderKSON))
	if s.Shrink != 0 && s.Shrink != 1 {
		yPSRO = MulScalar(yPSRO, s.Shrink)
	}
	if tap != nil {
		yBSO := tiles.Rows(Transpose(yPSRO, 1, 2))
		if next := Tapped(tap, "prediction", yBSO); next != yBSO {
			yPSRO = Transpose(tiles.Pair(next), 1, 2)
		}
	}
	lossPSR, weight := family.Score(yPSRO, InsertAxes(tiles.Target, 1))
	if weight != nil {
		panic("net: a family that weighs its samples: want one readout for all tasks (Signature.Coded)")
	}
	lossPS := ReduceSum(Mul(lossPSR, InsertAxes(tiles.Mask, 1)), -1)
	return Einsum("ps,pk->sk", lossPS, tiles.PairTask)
}

// ReadoutCost returns how many numbers OwnReadout holds for a batch of so many samples: of each pair the hidden layer and the predictions
// of its rows, and its task's decoder.
func ReadoutCost(of tasks.Signature, width, batch int) int {
	pairs, rows := mixture.Pairs(batch, of.Tasks)
	return pairs * (rows*(width+of.Outputs) + width*of.Outputs)
}
