// Package converged holds finished trainings against theory: whole runs at the reduced scale, all seeds, minutes long. It is
// apart from package train so that neither's tests come near go test's time limit on a slow machine.
package converged
