//go:build !cgo

package backend

import "errors"

func openXLA(string) (*Backend, error) {
	return nil, errors.New("this program was built without cgo, which XLA needs; " +
		"install a C compiler (Debian: apt install gcc; macOS: xcode-select --install)")
}
