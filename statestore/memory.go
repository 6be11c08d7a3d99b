package statestore

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
)

// Memory keeps records and claims until the process ends, for tests and tours. The zero value
// is ready.
type Memory struct {
	mu      sync.Mutex
	records map[Key]memoryRecord
	saved   int                     // saves so far, which are the revisions
	claimed map[fds.OwnerKey]uint64 // by the number of the claim
	claims  uint64                  // so far
}

// memoryRecord is a record whose data is shared with no caller.
type memoryRecord struct {
	data  []byte
	saved int // 0: there is none
}

func (r memoryRecord) revision() string {
	if r.saved == 0 {
		return ""
	}
	return strconv.Itoa(r.saved)
}

var (
	_ Store   = (*Memory)(nil)
	_ Claimer = (*Memory)(nil)
)

// Load implements [Store].
func (m *Memory) Load(ctx context.Context, key Key) (Record, error) {
	if err := key.check(ctx); err != nil {
		return Record{}, key.wrap("load", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	record, ok := m.records[key]
	if !ok {
		return Record{}, nil
	}
	return Record{Data: bytes.Clone(record.data), Revision: record.revision()}, nil
}

// Save implements [Store].
func (m *Memory) Save(ctx context.Context, key Key, data []byte, revision string) (newRevision string, err error) {
	if err = key.check(ctx); err == nil {
		err = checkSize(data)
	}
	if err != nil {
		return "", key.wrap("save", err)
	}
	data = append([]byte{}, data...)
	m.mu.Lock()
	defer m.mu.Unlock()
	if stored := m.records[key].revision(); stored != revision {
		return "", key.wrap("save", conflict(stored, revision))
	}
	if m.records == nil {
		m.records = map[Key]memoryRecord{}
	}
	m.saved++
	record := memoryRecord{data, m.saved}
	m.records[key] = record
	return record.revision(), nil
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, key Key, revision string) error {
	if err := key.check(ctx); err != nil {
		return key.wrap("delete", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if stored := m.records[key].revision(); stored != revision {
		return key.wrap("delete", conflict(stored, revision))
	}
	delete(m.records, key)
	return nil
}

// Claim implements [Claimer].
func (m *Memory) Claim(ctx context.Context, owner fds.OwnerKey) (release func(), err error) {
	if err := checkOwner(ctx, owner); err != nil {
		return nil, fmt.Errorf("statestore: claim %s: %w", shownOwner(owner), err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claimed[owner] != 0 {
		return nil, &ClaimedError{Owner: owner, PID: os.Getpid()}
	}
	if m.claimed == nil {
		m.claimed = map[fds.OwnerKey]uint64{}
	}
	m.claims++
	m.claimed[owner] = m.claims
	claim := m.claims
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.claimed[owner] == claim { // and not one that was made since
			delete(m.claimed, owner)
		}
	}, nil
}
