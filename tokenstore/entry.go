package tokenstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

// entryRecord is an Entry as stores write it where it may be read without
// decrypting the grant.
type entryRecord struct {
	Version       int      `json:"version"`
	Issuer        string   `json:"issuer"`
	ClientID      string   `json:"client_id"`
	GrantID       string   `json:"grant_id"`
	Subscriptions []string `json:"subscriptions,omitempty"`
}

// encodeEntry writes e as one line of JSON, without the line's end.
func encodeEntry(e Entry) (data []byte, class, err error) {
	if err := e.Key.check(); err != nil {
		return nil, fds.ErrMalformed, err
	}
	for _, s := range e.Subscriptions {
		if !utf8.ValidString(s) {
			return nil, fds.ErrMalformed, errors.New("a subscription ID is not valid UTF-8")
		}
	}
	data, err = marshal(entryRecord{formatVersion, e.Issuer, e.ClientID, e.GrantID, e.Subscriptions})
	if err != nil {
		return nil, fds.ErrMalformed, jsonCause(err)
	}
	if len(data) > maxEntrySize {
		return nil, fds.ErrTooLarge, fmt.Errorf("key and subscription IDs have %d bytes, the bound is %d", len(data), maxEntrySize)
	}
	return data, nil, nil
}

// decodeEntry reads what encodeEntry wrote. With fds.ErrNewerFormat the entry is
// given as far as it can be read.
func decodeEntry(data []byte) (e Entry, class, err error) {
	if !utf8.Valid(data) {
		return Entry{}, fds.ErrCorrupt, errNotUTF8
	}
	var r entryRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return Entry{}, fds.ErrCorrupt, jsonCause(err)
	}
	e = Entry{Key: Key{r.Issuer, r.ClientID, r.GrantID}, Subscriptions: r.Subscriptions}
	if len(e.Subscriptions) == 0 {
		e.Subscriptions = nil
	}
	switch {
	case r.Version > formatVersion:
		return e, fds.ErrNewerFormat, fmt.Errorf("the record has version %d, this program knows %d", r.Version, formatVersion)
	case r.Version < 1:
		return Entry{}, fds.ErrCorrupt, errors.New("the record has no version number")
	}
	if err := e.Key.check(); err != nil {
		return Entry{}, fds.ErrCorrupt, err
	}
	return e, nil, nil
}
