package tokenstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/fds-sdk/fds-go/fds"
)

const indexName = "index"

// index lists the grants of a keyring's service.
type index struct {
	entries []indexEntry
}

type indexEntry struct {
	Entry
	// unsettled: a Save or Delete of the grant is under way, or was cut short.
	// Whether the grant exists, and for which subscriptions, its record says.
	unsettled bool
}

// indexRecord is an index as it is written.
type indexRecord struct {
	Version int                `json:"version"`
	Grants  []indexEntryRecord `json:"grants"`
}

type indexEntryRecord struct {
	Issuer        string   `json:"issuer"`
	ClientID      string   `json:"client_id"`
	GrantID       string   `json:"grant_id"`
	Subscriptions []string `json:"subscriptions,omitempty"`
	Unsettled     bool     `json:"unsettled,omitempty"`
}

func (i *index) find(key Key) (place int, ok bool) {
	place = slices.IndexFunc(i.entries, func(e indexEntry) bool { return e.Key == key })
	return place, place >= 0
}

func (i *index) encode() ([]byte, error) {
	r := indexRecord{Version: formatVersion}
	for _, e := range i.entries {
		r.Grants = append(r.Grants, indexEntryRecord{e.Issuer, e.ClientID, e.GrantID, e.Subscriptions, e.unsettled})
	}
	return marshal(r)
}

func decodeIndex(data []byte) (index, error) {
	fail := func(class, err error) (index, error) {
		return index{}, &Error{Op: "read index of grants", Class: class, Err: err}
	}
	var r indexRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return fail(fds.ErrCorrupt, jsonCause(err))
	}
	switch {
	case r.Version > formatVersion:
		return fail(fds.ErrNewerFormat, fmt.Errorf("the index has version %d, this program knows %d", r.Version, formatVersion))
	case r.Version < 1:
		return fail(fds.ErrCorrupt, errors.New("the index has no version number"))
	}
	var i index
	seen := map[Key]bool{}
	for _, g := range r.Grants {
		e := indexEntry{Entry: Entry{Key: Key{g.Issuer, g.ClientID, g.GrantID}, Subscriptions: g.Subscriptions}, unsettled: g.Unsettled}
		if err := e.Key.check(); err != nil {
			return fail(fds.ErrCorrupt, err)
		}
		if seen[e.Key] {
			return fail(fds.ErrCorrupt, errors.New("a grant is in the index twice"))
		}
		seen[e.Key] = true
		i.entries = append(i.entries, e)
	}
	return i, nil
}

// readIndex returns the empty index where there is none.
func (k *Keyring) readIndex(ctx context.Context, read readFunc) (index, error) {
	data, err := read(ctx, indexName)
	switch {
	case errors.Is(err, errNoItem):
		return index{}, nil
	case err != nil:
		return index{}, recordError("read index of grants", Key{}, err)
	}
	return decodeIndex([]byte(data.Reveal()))
}

// writeIndex removes an index that has become empty.
func (k *Keyring) writeIndex(ctx context.Context, i index) error {
	if len(i.entries) == 0 {
		return k.records.remove(ctx, indexName)
	}
	data, err := i.encode()
	if err != nil {
		return err
	}
	return k.records.put(ctx, indexName, fds.NewSecret(string(data)))
}
