package fdstest

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

// NamelessItems has items name nobody, in the Web API and in messages: those that wanted
// chooses, all if it is nil. It must be quick, say the same of an item each time, and
// call no method of the Provider.
// The provider's items must name their owner in WebAPI.SubscriptionMember: Inject panics
// if they do not. Fault.Times counts items and messages.
func NamelessItems(wanted func(item []byte) bool) Fault {
	return inItems("NamelessItems", wanted, nil)
}

// ItemSubscription is NamelessItems for items that name their owner by another value: null,
// a number, no UUID, another owner's.
func ItemSubscription(value any, wanted func(item []byte) bool) Fault {
	text, err := json.Marshal(value)
	if err != nil {
		return Fault{name: "ItemSubscription", install: func(*Provider, func() bool) (func(), error) { return nil, err }}
	}
	return inItems("ItemSubscription", wanted, text)
}

func inItems(name string, wanted func(item []byte) bool, value json.RawMessage) Fault {
	return Fault{name: name, install: func(p *Provider, take func() bool) (func(), error) {
		if p.dialect.SubscriptionMember == "" {
			return nil, errors.New("no item of this provider names its owner; set Options.WebAPI.SubscriptionMember")
		}
		return p.items.add(&itemFault{wanted: wanted, take: take, rewrite: func(item json.RawMessage) json.RawMessage {
			return world.ReplaceMember(item, p.dialect.SubscriptionMember, value)
		}}), nil
	}}
}

// itemFaults are the faults of items that are switched on.
type itemFaults struct {
	mu     sync.Mutex
	active []*itemFault
}

type itemFault struct {
	wanted  func(item []byte) bool // nil: each is
	take    func() bool
	rewrite func(item json.RawMessage) json.RawMessage // returns another slice, or the same unchanged
}

func (f *itemFaults) add(fault *itemFault) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = append(f.active, fault)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.active = slices.DeleteFunc(f.active, func(other *itemFault) bool { return other == fault })
	}
}

// alter returns an item as it is read and published now.
func (f *itemFaults) alter(item json.RawMessage) json.RawMessage {
	f.mu.Lock()
	active := slices.Clone(f.active)
	f.mu.Unlock()
	for _, fault := range active {
		if (fault.wanted == nil || fault.wanted(slices.Clone(item))) && fault.take() {
			item = fault.rewrite(item)
		}
	}
	return item
}
