package following

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/statestore"
)

// stateName is the record of an owner in which all is, but for lists that are too long.
const stateName = "state"

// record is the content of that record, in JSON.
type record struct {
	// Filters are the topic filters that the broker's session may hold.
	Filters []string `json:"filters,omitempty"`
	// Position: all that was published before was handled. It is in the provider's time as
	// far as that is known, and a lower bound.
	Position time.Time `json:"position,omitzero"`
	// Ahead is what the provider's clock was ahead of this machine's when Position was set,
	// negative when it was behind; 0 where its time is not known.
	Ahead time.Duration `json:"ahead,omitempty"`
	// Gap is what may have been lost and was not fetched yet. What it points to is not
	// changed.
	Gap *Gap `json:"gap,omitempty"`
	// Polled is what polling has handed over. What it points to is not changed.
	Polled *polledRecord `json:"polled,omitempty"`
	// Recent are digests of what was handled last, 8 bytes each.
	Recent []byte `json:"recent,omitempty"`
}

// polledRecord is what polling remembers of an owner.
type polledRecord struct {
	Events   listRecord `json:"events"`
	Statuses listRecord `json:"statuses"`
	// Begun is when the first read was tried, by this machine's clock, while none has
	// succeeded: what is dated before was for nobody.
	Begun time.Time `json:"begun,omitzero"`
}

// listRecord is what was read of one collection.
type listRecord struct {
	// From is the date of the last item, or else the provider's time, of the last read
	// that held something new.
	From time.Time `json:"from,omitzero"`
	// Seen are digests of what was handled, 8 bytes each.
	Seen []byte `json:"seen,omitempty"`
	// Handed are pairs of digests of what was handed over since, in a read that did not
	// come to its end: whose it is, a device's or an event's, and what.
	Handed []byte `json:"handed,omitempty"`
	// Part: Seen lacks what is dated before From, less the margin.
	Part bool `json:"part,omitempty"`
	// SeenIn and HandedIn name the records that hold them, where they are too long.
	SeenIn   string `json:"seen_in,omitempty"`
	HandedIn string `json:"handed_in,omitempty"`
}

// long returns the parts of the record that may be too long, each with its place and the
// names that its own record takes in turn.
func (r *polledRecord) long() []longPart {
	return []longPart{
		{"polled.events.seen", &r.Events.Seen, &r.Events.SeenIn}, {"polled.events.handed", &r.Events.Handed, &r.Events.HandedIn},
		{"polled.statuses.seen", &r.Statuses.Seen, &r.Statuses.SeenIn}, {"polled.statuses.handed", &r.Statuses.Handed, &r.Statuses.HandedIn},
	}
}

// nowhere has no part in a record of its own.
func (r *polledRecord) nowhere() {
	for _, part := range r.long() {
		*part.in = ""
	}
}

type longPart struct {
	name string
	data *[]byte
	in   *string
}

// partNames are those of the records that take a part in turn.
func partNames(part string) [2]string { return [2]string{part + ".a", part + ".b"} }

// storedState is what the store has of an owner.
type storedState struct {
	stored   record // but for the position
	revision string
	unread   error // why it is not what the store has
	deleted  bool  // never to be stored again
	unsaved  bool  // the last position could not be stored
}

// load reads what is stored. While that fails, nothing is known of the owner.
func (f *Follower) load(ctx context.Context) error {
	stored, revision, err := f.shared.read(ctx, f.owner.Key)
	f.stored, f.revision, f.unread = stored, revision, err
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen.restore(stored.Recent)
	if !f.shared.GapsOff {
		f.gap.earlier = stored.Gap
	}
	f.position.at, f.position.ahead = stored.Position, stored.Ahead
	f.position.newcomer = err == nil && stored.Position.IsZero() && stored.Gap == nil && len(stored.Filters) == 0 && (stored.Polled == nil || !stored.Polled.Begun.IsZero())
	return err
}

// read reads the record of an owner, the zero one where there is none.
func (a *Followers) read(ctx context.Context, owner fds.OwnerKey) (record, string, error) {
	var stored record
	loaded, err := a.Store.Load(ctx, a.key(owner, stateName))
	if err != nil {
		return record{}, loaded.Revision, err
	}
	if loaded.Revision == "" {
		return record{}, "", nil
	}
	if err := json.Unmarshal(loaded.Data, &stored); err != nil {
		return record{}, loaded.Revision, fmt.Errorf("fdsclient: the state of %s: %w", owner, fds.ErrCorrupt)
	}
	if stored.Polled != nil {
		for _, part := range stored.Polled.long() {
			if *part.in == "" {
				continue
			}
			if names := partNames(part.name); !slices.Contains(names[:], *part.in) {
				return record{}, loaded.Revision, fmt.Errorf("fdsclient: the state of %s: %w", owner, fds.ErrCorrupt)
			}
			long, err := a.Store.Load(ctx, a.key(owner, *part.in))
			if err != nil {
				return record{}, loaded.Revision, err
			}
			*part.data = long.Data
		}
	}
	return stored, loaded.Revision, nil
}

// save changes what is stored, together with the position of this moment.
func (f *Follower) save(ctx context.Context, change func(*record)) error {
	if err := f.fenced(); err != nil {
		return err
	}
	if err := f.saving.lockWithin(ctx); err != nil {
		return err
	}
	defer f.saving.unlock()
	return f.saveLocked(ctx, change)
}

// fenced returns why this process may not go on with the owner; nil: it may. No lock is held.
func (f *Follower) fenced() error {
	if f.calling == nil {
		return nil
	}
	return handoff.Ask(f.calling.Fence, f.owner.Key)
}

// maxConflicts is how often a record that others change is read again.
const maxConflicts = 3

// saveLocked is save while f.saving is held.
func (f *Follower) saveLocked(ctx context.Context, change func(*record)) error {
	if f.deleted {
		return nil
	}
	for conflicts := 0; ; conflicts++ {
		next := f.stored
		f.mu.Lock()
		next.Position, next.Ahead, next.Recent = f.position.at, f.position.ahead, f.seen.bytes()
		unsaved := f.seen.unsaved
		f.seen.unsaved = false
		f.mu.Unlock()
		if change != nil {
			change(&next)
		}
		revision, err := f.shared.write(ctx, f.owner.Key, &next, f.stored.Polled, f.revision)
		if err == nil {
			f.stored, f.revision, f.unread = next, revision, nil
			f.stored.Recent = nil // of no use but in the store
			return nil
		}
		if unsaved {
			f.mu.Lock()
			f.seen.unsaved = true
			f.mu.Unlock()
		}
		if !errors.Is(err, fds.ErrConflict) || conflicts == maxConflicts {
			return err
		}
		theirs, revision, err := f.shared.read(ctx, f.owner.Key)
		if err != nil && !errors.Is(err, fds.ErrCorrupt) {
			return err
		}
		f.revision = revision
		f.join(theirs)
	}
}

// join takes what another process has stored meanwhile of the same owner: of the two, what
// forgets less.
func (f *Follower) join(theirs record) {
	for _, filter := range theirs.Filters {
		if !slices.Contains(f.stored.Filters, filter) {
			f.stored.Filters = append(slices.Clip(f.stored.Filters), filter)
		}
	}
	if f.stored.Polled == nil {
		f.stored.Polled = theirs.Polled
	} else if theirs.Polled != nil {
		polled := *f.stored.Polled
		for i, part := range theirs.Polled.long() {
			*polled.long()[i].in = *part.in // what is stored now is not to be touched
		}
		f.stored.Polled = &polled
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !theirs.Position.IsZero() && (f.position.at.IsZero() || theirs.Position.Before(f.position.at)) {
		f.position.at = theirs.Position
	}
	if theirs.Gap == nil {
		return
	}
	gap, open := *theirs.Gap, f.gap.open
	if ours := cmp.Or(open, f.stored.Gap); ours != nil && (ours.From.IsZero() || !gap.From.IsZero() && ours.From.Before(gap.From)) {
		gap.From = ours.From
	}
	f.stored.Gap = &gap
	if open == nil {
		return // the next connection opens it
	}
	f.gap.stored = true
	if !open.From.Equal(gap.From) { // the attempt under way asks for too little
		wider := *open
		wider.From, wider.To = gap.From, time.Time{}
		f.gap.open = &wider
		f.gap.number++
		if f.shared.HasAPI {
			f.shared.readers.add(f)
		}
	}
}

// write stores a record where revision is what is stored, and notes in it which records hold
// its long parts. Before is what is stored of polling.
func (a *Followers) write(ctx context.Context, owner fds.OwnerKey, next *record, before *polledRecord, revision string) (string, error) {
	if next.Polled != nil {
		polled := *next.Polled
		polled.nowhere()
		next.Polled = &polled
	}
	data, err := next.encode()
	if err != nil {
		return "", err
	}
	if len(data) > statestore.MaxBytes && next.Polled != nil {
		if data, err = a.writeLong(ctx, owner, *next, before, revision); err != nil {
			return "", err
		}
	}
	return a.Store.Save(ctx, a.key(owner, stateName), data, revision)
}

// writeLong stores the longest parts of a record in records of their own, until the rest
// fits. Each has two names, of which what is stored at this moment uses one.
func (a *Followers) writeLong(ctx context.Context, owner fds.OwnerKey, next record, before *polledRecord, revision string) ([]byte, error) {
	now, err := a.Store.Load(ctx, a.key(owner, stateName))
	switch {
	case err != nil && !errors.Is(err, fds.ErrCorrupt):
		return nil, err
	case now.Revision != revision: // before is not what is stored
		return nil, fmt.Errorf("fdsclient: the state of %s: %w", owner, fds.ErrConflict)
	}
	kept, polled := next.Polled, *next.Polled
	next.Polled = &polled
	if before == nil {
		before = new(polledRecord)
	}
	parts, names, used := polled.long(), kept.long(), before.long()
	for {
		data, err := next.encode()
		if err != nil || len(data) <= statestore.MaxBytes {
			return data, err
		}
		longest := 0
		for i, part := range parts {
			if len(*part.data) > len(*parts[longest].data) {
				longest = i
			}
		}
		part := parts[longest]
		if len(*part.data) == 0 {
			return nil, fmt.Errorf("fdsclient: the state of %s: %w", owner, fds.ErrTooLarge)
		}
		name := partNames(part.name)[0]
		if *used[longest].in == name {
			name = partNames(part.name)[1]
		}
		key := a.key(owner, name)
		there, err := a.Store.Load(ctx, key)
		if err != nil && !errors.Is(err, fds.ErrCorrupt) {
			return nil, err
		}
		if _, err := a.Store.Save(ctx, key, *part.data, there.Revision); err != nil {
			return nil, err
		}
		*part.in, *part.data, *names[longest].in = name, nil, name
	}
}

// SaveFilters is push.Config.SaveSubscribed. The position of an owner who was never
// subscribed begins here: before, there was nothing to receive.
func (f *Follower) SaveFilters(ctx context.Context, filters []string) error {
	f.mu.Lock()
	if f.position.newcomer && f.position.at.IsZero() && len(filters) > 0 {
		f.position.at = f.clock(time.Now())
	}
	f.mu.Unlock()
	if err := f.fenced(); err != nil {
		return err
	}
	if err := f.saving.lockWithin(ctx); err != nil {
		return err
	}
	defer f.saving.unlock()
	known := f.stored.Filters
	return f.saveLocked(ctx, func(r *record) {
		theirs := slices.DeleteFunc(slices.Clone(r.Filters), func(filter string) bool {
			return slices.Contains(known, filter) || slices.Contains(filters, filter)
		})
		r.Filters = append(slices.Clip(filters), theirs...)
	})
}

// Forget is for an owner who signs out: nothing is stored any more, but that the broker
// has a session, unless it was ended.
func (f *Follower) Forget(ctx context.Context, ended bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSaveTimeout) // ctx may have been used up
	defer cancel()
	if err := f.saving.lockWithin(ctx); err != nil {
		return err
	}
	defer f.saving.unlock()
	if !ended && len(f.stored.Filters) > 0 {
		// With its position, else who signs in next would be told of all there ever was.
		polled := f.stored.Polled != nil
		err := f.saveLocked(ctx, func(r *record) { r.Gap, r.Polled, r.Recent = nil, nil, nil })
		if err == nil && polled {
			f.shared.deleteLong(ctx, f.owner.Key)
		}
		f.deleted = true
		return err
	}
	f.deleted = true
	if !ended && f.unread != nil && !errors.Is(f.unread, fds.ErrCorrupt) {
		return nil // it may name a session
	}
	return f.shared.Delete(ctx, f.owner.Key)
}

// Leave has nothing more stored of an owner to whose state another process sees.
func (f *Follower) Leave(ctx context.Context) error {
	if err := f.saving.lockWithin(ctx); err != nil {
		return err
	}
	defer f.saving.unlock()
	f.deleted = true
	return nil
}

// Stored returns the filters that the broker's session of an owner may hold, for one who is
// not followed.
func (a *Followers) Stored(ctx context.Context, owner fds.OwnerKey) (filters []string, err error) {
	stored, _, err := a.read(ctx, owner)
	return stored.Filters, err
}

// StoredGap returns the gap that is stored of an owner; nil: none is.
func (a *Followers) StoredGap(ctx context.Context, owner fds.OwnerKey) (*Gap, error) {
	stored, _, err := a.read(ctx, owner)
	return stored.Gap, err
}

// Delete removes all that is stored of an owner. Another process may store its last while its
// connection ends.
func (a *Followers) Delete(ctx context.Context, owner fds.OwnerKey) error {
	for conflicts := 0; ; conflicts++ {
		stored, revision, err := a.read(ctx, owner)
		if err != nil && !errors.Is(err, fds.ErrCorrupt) {
			return err
		}
		if stored.Polled != nil || err != nil {
			a.deleteLong(ctx, owner)
		}
		err = a.Store.Delete(ctx, a.key(owner, stateName), revision)
		if !errors.Is(err, fds.ErrConflict) || conflicts == maxConflicts {
			return err
		}
	}
}

// deleteLong removes the parts of a record that are, or were, in records of their own. What
// stays behind does no harm: it is no longer named.
func (a *Followers) deleteLong(ctx context.Context, owner fds.OwnerKey) {
	for _, part := range new(polledRecord).long() {
		for _, name := range partNames(part.name) {
			key := a.key(owner, name)
			there, err := a.Store.Load(ctx, key)
			if there.Revision != "" && (err == nil || errors.Is(err, fds.ErrCorrupt)) {
				err = a.Store.Delete(ctx, key, there.Revision)
			}
			if err != nil {
				a.Log.LogAttrs(ctx, slog.LevelWarn, "a part of an owner's state was not deleted", ownerAttr(owner), slog.String("part", name), slog.Any("error", err))
			}
		}
	}
}
