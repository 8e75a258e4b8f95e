//go:build !cgo || !linux

package backend

// Trim does nothing here.
func Trim() {}
