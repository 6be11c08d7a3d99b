package textfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf16"
)

// Mark is the byte order mark, which some editors begin a file with.
const Mark = '\ufeff'

// ErrUTF16 is returned for a text that is not in UTF-8.
var ErrUTF16 = errors.New("it is in UTF-16; save it as UTF-8")

// Text returns a text in UTF-8 without the byte order mark in front.
func Text(data []byte) ([]byte, error) {
	if _, marked := utf16Order(data); marked {
		return nil, ErrUTF16
	}
	return bytes.TrimPrefix(data, []byte(string(Mark))), nil
}

// anyText is Text that decodes UTF-16 too, which Windows calls Unicode and its shell
// writes.
func anyText(data []byte) ([]byte, error) {
	order, marked := utf16Order(data)
	if order == nil {
		return Text(data)
	}
	if marked {
		data = data[2:]
	}
	if len(data)%2 != 0 {
		return nil, ErrUTF16
	}
	units := make([]uint16, len(data)/2)
	for n := range units {
		units[n] = order.Uint16(data[2*n:])
	}
	return []byte(string(utf16.Decode(units))), nil
}

// utf16Order returns the order of bytes of a text in UTF-16, as its mark says or, where
// an editor wrote none, its first characters: no text in UTF-8 has a byte 0.
func utf16Order(data []byte) (order binary.ByteOrder, marked bool) {
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		return binary.LittleEndian, true
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return binary.BigEndian, true
	case len(data) < 4 || len(data)%2 != 0:
		return nil, false
	}
	zero := [4]bool{}
	for n := range zero {
		zero[n] = data[n] == 0
	}
	switch zero {
	case [4]bool{false, true, false, true}:
		return binary.LittleEndian, false
	case [4]bool{true, false, true, false}:
		return binary.BigEndian, false
	}
	return nil, false
}
