//go:build race

package sweep

func init() { racing = true }
