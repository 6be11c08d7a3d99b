package world

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/fds-sdk/fds-go/fds"
)

// MaxTags bounds the tags of an owner.
const MaxTags = 1000

var (
	// ErrTag says that there is no such tag.
	ErrTag = errors.New("no such tag")
	// ErrTagExists says that the ID of a new tag is taken.
	ErrTagExists = errors.New("there is such a tag")
	// ErrTooManyTags says that an owner has MaxTags tags.
	ErrTooManyTags = errors.New("too many tags")
	// ErrEntity says that what is to be tagged is no device or space of the
	// owners.
	ErrEntity = errors.New("no such device or space")
)

// tag keeps what the consumer sent: the item with its tag_id, and the array of
// its entities.
type tag struct {
	id       string
	item     []byte
	entities json.RawMessage
}

// raw returns the item with the entities as its last member.
func (t *tag) raw() json.RawMessage {
	head := bytes.TrimRight(t.item, " \t\r\n")
	head = head[:len(head)-1] // the closing brace; tag_id is before it
	out := make([]byte, 0, len(head)+len(t.entities)+len(`,"entities":}`))
	out = append(out, head...)
	out = append(out, `,"entities":`...)
	out = append(out, t.entities...)
	return append(out, '}')
}

func (o *owner) tagEntries() []entry {
	entries := make([]entry, len(o.tags))
	for i, t := range o.tags {
		entries[i] = entry{id: t.id, raw: t.raw()}
	}
	return entries
}

// TagOwner tells whose a new tag is: that of the owners whom its
// Config.SubscriptionMember names, or without one the first. The error matches
// ErrOwner.
func (w *World) TagOwner(owners []fds.SubscriptionID, raw []byte) (fds.SubscriptionID, error) {
	fail := fmt.Errorf("world: add tag: %w", ErrOwner)
	if len(owners) == 0 {
		return fds.SubscriptionID{}, fail
	}
	if _, err := readHead(raw); w.cfg.SubscriptionMember == "" || err != nil {
		return owners[0], nil // AddTag refuses what is no object
	}
	at, ok := find(raw, w.cfg.SubscriptionMember)
	if !ok || at.missing != nil {
		return owners[0], nil
	}
	var named fds.SubscriptionID
	if json.Unmarshal(raw[at.from:at.to], &named) != nil || !slices.Contains(owners, named) {
		return fds.SubscriptionID{}, fail
	}
	return named, nil
}

// AddTag creates a tag and returns it as it is then served. The item must have a
// generic object and no entities, which SetEntities sets; without a tag_id it
// gets one as its first member, and without its owner's subscription ID that, where
// Config.SubscriptionMember names a member; all else stays as it was sent. Errors match
// ErrOwner, ErrItem, ErrTagExists or ErrTooManyTags.
func (w *World) AddTag(id fds.SubscriptionID, raw []byte) (tagID string, item json.RawMessage, err error) {
	fail := func(err error) (string, json.RawMessage, error) {
		return "", nil, fmt.Errorf("world: add tag: %w", err)
	}
	h, err := readHead(raw)
	if err != nil {
		return fail(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return fail(fmt.Errorf("%w: %w", ErrItem, err))
	}
	if generic := members["generic"]; len(generic) == 0 || generic[0] != '{' {
		return fail(fmt.Errorf("%w: it has no generic object", ErrItem))
	}
	if _, has := members["entities"]; has {
		return fail(fmt.Errorf("%w: the entities of a tag are set by a request of their own", ErrItem))
	}
	if _, has := members["tag_id"]; has && h.TagID == "" {
		return fail(fmt.Errorf("%w: its tag_id is no text or empty", ErrItem))
	}

	defer func() {
		if err == nil {
			w.cfg.Kept(id)
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.owners[id]
	if o == nil {
		return fail(fmt.Errorf("%w: %s", ErrOwner, id))
	}
	o.settle()
	if len(o.tags) >= MaxTags {
		return fail(fmt.Errorf("%w: %d is the most", ErrTooManyTags, MaxTags))
	}
	t := &tag{id: h.TagID, item: bytes.Clone(raw), entities: json.RawMessage("[]")}
	if t.id == "" {
		t.id = newUUID(o.names)
		at := bytes.IndexByte(t.item, '{') + 1
		t.item = slices.Insert(t.item, at, []byte(`"tag_id":"`+t.id+`",`)...)
	}
	if o.tag(t.id) != nil {
		return fail(ErrTagExists)
	}
	t.item = o.named(t.item)
	o.tags = append(o.tags, t)
	return t.id, w.cfg.Alter(t.raw()), nil
}

func (o *owner) tag(id string) *tag {
	for _, t := range o.tags {
		if t.id == id {
			return t
		}
	}
	return nil
}

// DeleteTag deletes a tag of one of the owners. The error matches ErrTag.
func (w *World) DeleteTag(owners []fds.SubscriptionID, tagID string) error {
	var of *owner
	defer func() {
		if of != nil {
			w.cfg.Kept(of.id)
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.known(owners) {
		if t := o.tag(tagID); t != nil {
			o.tags = slices.DeleteFunc(o.tags, func(have *tag) bool { return have == t })
			of = o
			return nil
		}
	}
	return fmt.Errorf("world: delete tag: %w", ErrTag)
}

// SetEntities sets the entities of a tag of one of the owners and returns the tag
// as it is then served. The entities are a JSON array of IDs of the owners'
// devices and spaces, or of objects with a device_id or space_id. Errors match
// ErrTag, ErrItem or ErrEntity.
func (w *World) SetEntities(owners []fds.SubscriptionID, tagID string, entities []byte) (json.RawMessage, error) {
	fail := func(err error) (json.RawMessage, error) {
		return nil, fmt.Errorf("world: set entities: %w", err)
	}
	ids, err := entityIDs(entities)
	if err != nil {
		return fail(err)
	}
	var of *owner
	defer func() {
		if of != nil {
			w.cfg.Kept(of.id)
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.known(owners)
	var whose *owner
	var t *tag
	have := make(map[string]bool)
	for _, o := range known {
		if t == nil {
			t, whose = o.tag(tagID), o
		}
		for _, dev := range o.devices {
			have[dev.id] = true
		}
		for _, s := range o.spaces {
			have[s.id] = true
		}
	}
	if t == nil {
		return fail(ErrTag)
	}
	for _, id := range ids {
		if !have[id] {
			return fail(fmt.Errorf("%w: %.64q", ErrEntity, id))
		}
	}
	t.entities = bytes.Clone(entities)
	of = whose
	return w.cfg.Alter(t.raw()), nil
}

func entityIDs(raw []byte) ([]string, error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil || elements == nil {
		return nil, fmt.Errorf("%w: it is not a JSON array", ErrItem)
	}
	ids := make([]string, 0, len(elements))
	for i, element := range elements {
		var own ident
		_ = own.UnmarshalJSON(element) // which never fails
		id := string(own)
		if id == "" {
			h, _ := readHead(element) // an element that is no object has no ID either
			id = firstOf(h.DeviceID, h.SpaceID)
		}
		if id == "" {
			return nil, fmt.Errorf("%w: element %d has no ID", ErrItem, i)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
