//go:build !unix

package push

// canTry: where a socket always blocks, waiting is reading.
const canTry = false

func tryRead(uintptr, []byte) (int, error) { panic("push: canTry is false") }
