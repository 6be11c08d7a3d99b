package handoff

import (
	"bytes"
	"errors"
	"hash/maphash"
	"sync"
)

// ErrChanged: the handler changed the payload and failed, and how it came is not known any
// more.
var ErrChanged = errors.New("the handler changed the payload of a message, which it must not")

// kept is a payload as it came. The handler has the bytes themselves, and should it change
// them and fail, they could not be handed over again.
type kept struct {
	whole []byte // empty: it is too long
	hash  uint64
}

// most is what a payload may have that is copied: a handler that blocks holds it twice.
const most = 4 << 10

var (
	keptOnes = sync.Pool{New: func() any { return new(kept) }}
	seed     = maphash.MakeSeed()
)

// keep notes a payload, to be dropped.
func keep(payload []byte) *kept {
	k := keptOnes.Get().(*kept)
	if k.whole = k.whole[:0]; len(payload) > most {
		k.hash = maphash.Bytes(seed, payload)
	} else {
		k.whole = append(k.whole, payload...)
	}
	return k
}

// again returns the payload as it came, where that is what it is now, or was copied.
func (k *kept) again(payload []byte) (same []byte, err error) {
	switch {
	case len(payload) > most && maphash.Bytes(seed, payload) == k.hash, bytes.Equal(payload, k.whole):
		return payload, nil
	case len(payload) > most:
		return nil, ErrChanged
	}
	return bytes.Clone(k.whole), nil
}

func (k *kept) drop() { keptOnes.Put(k) }
