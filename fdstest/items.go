package fdstest

import (
	"fmt"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

// Publication is a message that the provider has pushed.
type Publication struct {
	Owner   Owner
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
}

// Tick moves one device of one owner, taking the owners in turn, and returns
// what was published: its status, and events that came of it.
func (p *Provider) Tick() []Publication { return p.publications(p.world.Tick()) }

// Step lets all devices live through d, at most 30 days, and returns what was
// published.
func (p *Provider) Step(d time.Duration) []Publication { return p.publications(p.world.Step(d)) }

func (p *Provider) publications(from []world.Publication) []Publication {
	out := make([]Publication, 0, len(from))
	for _, w := range from {
		if o, ok := p.owner(w.Owner); ok {
			out = append(out, Publication{Owner: o, Topic: o.Topic(w.Levels...), Payload: w.Payload, QoS: w.QoS, Retain: w.Retain})
		}
	}
	return out
}

// AddDevice adds the specification of a device, or replaces it; its ID is the
// member device_id. Like all items given by hand it is served exactly as given, but
// for its owner (see WebAPI.SubscriptionMember), and nothing happens to it by itself.
// It publishes nothing.
func (p *Provider) AddDevice(o Owner, item []byte) error {
	return byHand("add device", p.world.AddDevice(o.SubscriptionID, item))
}

// SetStatus sets the status of a device that is there, and publishes it.
func (p *Provider) SetStatus(o Owner, item []byte) error {
	return byHand("set status", p.world.SetStatus(o.SubscriptionID, item))
}

// SetStatistic sets the statistic of a device that is there.
func (p *Provider) SetStatistic(o Owner, item []byte) error {
	return byHand("set statistic", p.world.SetStatistic(o.SubscriptionID, item))
}

// SetDiagnostic sets the diagnostic of a device that is there.
func (p *Provider) SetDiagnostic(o Owner, item []byte) error {
	return byHand("set diagnostic", p.world.SetDiagnostic(o.SubscriptionID, item))
}

// AddSpace adds a space, or replaces it; its ID is the member space_id.
func (p *Provider) AddSpace(o Owner, item []byte) error {
	return byHand("add space", p.world.AddSpace(o.SubscriptionID, item))
}

// AddEvent adds an event message, and publishes it on the topic below the owner's root
// devices/<device_id>/events, where device_id stands in generic or at the root. An event
// without one goes to spaces/<space_id>/events, and one without either to events.
func (p *Provider) AddEvent(o Owner, item []byte) error {
	return byHand("add event", p.world.AddEvent(o.SubscriptionID, item))
}

// AddEventSpecification adds the specification of an event's code, for all
// owners.
func (p *Provider) AddEventSpecification(item []byte) error {
	err := p.world.AddEventSpecification(item)
	if err == nil {
		err = p.keepProvider()
	}
	return byHand("add event specification", err)
}

func byHand(what string, err error) error {
	if err != nil {
		return fmt.Errorf("fdstest: %s: %w", what, err)
	}
	return nil
}

func (p *Provider) spellingOf(id fds.SubscriptionID) string {
	o, _ := p.owner(id)
	return o.Spelling
}

func (p *Provider) owner(id fds.SubscriptionID) (Owner, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.ownerByID[id]
	return o, ok
}
