package theory

// ResidualFloor returns delta*_F(N), the least that any encoder of that width can leave of the tasks in F.
//
//	delta*_F(N) = sum_{i > N} mu^F_i,   mu^F_1 >= mu^F_2 >= …  the eigenvalues of M_F = sum_{k in F} pi_k C_k
//
// frequent holds the task indices of F. Source: Sec. 3, Theorem 4 and what follows it.
func (m Mixture) ResidualFloor(frequent []int, width int) float64 {
	return tail(m.featuresOf(frequent), width)
}

// CriticalWidth returns the least width at which the first feature of task rare survives the gradients of the tasks in F.
//
//	N_crit = min { N : mu^F_N <= pi_r lambda_{r,1} },   mu^F_N = 0 beyond the rank of M_F
//
// Some reads <= with ties, as the paper does; Every is the same with <. A task in F that is rare itself is left out of
// F. Source: Sec. 3 (local stability of a rare rank-one feature).
func (m Mixture) CriticalWidth(rare int, frequent []int) Widths {
	u := m.Frequency[rare] * m.Spectrum[rare][0]
	w := Widths{Every: 1, Some: 1}
	for _, f := range m.featuresOf(frequent) {
		if f.Task == rare {
			continue
		}
		switch {
		case tied(f.Utility, u):
			w.Every++
		case f.Utility > u:
			w.Every++
			w.Some++
		}
	}
	return w
}

// NCrit returns the critical width of the rarest task in both readings of F: the frequent set at share 0.8 (the residual
// lines of Fig. 3, 15 and 19 are delta*_F at that width) and all other tasks (the width at which the rarest task appears).
func (m Mixture) NCrit() (frequent, others Widths) {
	rare := m.Rarest()
	return m.CriticalWidth(rare, m.Frequent(FrequentShare)), m.CriticalWidth(rare, m.Others(rare))
}
