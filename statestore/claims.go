package statestore

import (
	"crypto/sha256"
	"encoding/binary"
)

const recordBytes = int64(1) << 62 // and above: a byte each for records that are changed

func hashOf(texts ...string) uint64 {
	h := sha256.New()
	for _, text := range texts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		h.Write([]byte(text))
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// recordByte is the byte for the record of that name of an owner, whichever client's it is:
// clients may share a file.
func recordByte(key Key) int64 {
	return recordBytes | int64(hashOf(key.Owner.Issuer, key.Owner.SubscriptionID.String(), key.Name)>>2)
}
