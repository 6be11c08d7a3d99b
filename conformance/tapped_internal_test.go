package conformance

import (
	"bytes"
	"testing"
)

func TestPacketsAreSeenWholeHoweverTheyCome(t *testing.T) {
	long := append([]byte{0x30, 0x81, 0x01}, bytes.Repeat([]byte("x"), 129)...)
	packets := [][]byte{{0xc0, 0}, {0x20, 3, 0, 0, 0}, long, {0xd0, 0}}
	all := bytes.Join(packets, nil)
	for _, piece := range []int{1, 2, 3, 7, len(all)} {
		var seen [][]byte
		s := splitter{tell: func(p []byte) { seen = append(seen, bytes.Clone(p)) }}
		for rest := all; len(rest) > 0; {
			n := min(piece, len(rest))
			s.add(rest[:n])
			rest = rest[n:]
		}
		if !bytes.Equal(bytes.Join(seen, []byte("|")), bytes.Join(packets, []byte("|"))) {
			t.Errorf("in pieces of %d: %q", piece, seen)
		}
	}
	for _, hostile := range [][]byte{{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f}, {0x30, 0xff, 0xff, 0xff, 0x7f}} {
		s := splitter{tell: func(p []byte) { t.Errorf("%q is a packet", p) }}
		s.add(hostile)
		s.add(make([]byte, 2*mostTapped))
		if len(s.held) > len(hostile) {
			t.Errorf("%d bytes are kept", len(s.held))
		}
	}
}
