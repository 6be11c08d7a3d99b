package textfile

import (
	"bytes"
	"errors"
)

// Mark is the byte order mark, which some editors begin a file with.
const Mark = '\ufeff'

// ErrUTF16 is returned for a text that is not in UTF-8.
var ErrUTF16 = errors.New("it is in UTF-16; save it as UTF-8")

// Text returns a text in UTF-8 without the byte order mark in front.
func Text(data []byte) ([]byte, error) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return nil, ErrUTF16
	}
	return bytes.TrimPrefix(data, []byte(string(Mark))), nil
}
