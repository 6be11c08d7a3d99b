package conformance

import (
	"context"
	"fmt"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// ownConnectionChecks are those of M3: a connection for each owner.
func ownConnectionChecks() []*check {
	return []*check{
		{
			id: "M3-certificates", requirement: "M3", duty: OfBroker, needs: []need{needBroker, needOwner},
			rule:       "Each owner's certificate has a name and a key of its own.",
			remedy:     "Have the broker's administrator issue a certificate for each owner: brokers that go by its name throw off one of two that have the same.",
			weaknesses: []string{"CWE-286", "CWE-287"},
			probe:      (*run).probeOwnCertificates,
		},
		{
			id: "M3-at-once", requirement: "M3", duty: OfBroker, needs: []need{needBroker, needSpares(2)},
			rule:       "Two owners are connected at once, each by a connection of its own.",
			remedy:     "Have the broker allow as many connections as there are owners, also from one address, and tell clients apart by the subscription ID.",
			weaknesses: []string{"CWE-287"},
			probe:      (*run).probeAtOnce,
		},
	}
}

// mostCertificates bounds how many owners' certificates are compared.
const mostCertificates = 1000

func (r *run) probeOwnCertificates(ctx context.Context, t *trial) {
	owners, err := r.client.Owners(ctx)
	if err != nil {
		t.error("the stored owners cannot be read: %v", tlspolicy.Shown(err))
		return
	}
	names, keys := make(map[string]string), make(map[string]string)
	for _, owner := range owners[:min(len(owners), mostCertificates)] {
		id := owner.Root().ClientID()
		certificate, err := r.certificate(ctx, owner.Key())
		if err != nil {
			continue // the doctor has told
		}
		leaf, err := leafOf(certificate)
		if err != nil {
			continue
		}
		name, key := string(leaf.RawSubject), string(leaf.RawSubjectPublicKeyInfo)
		if other, there := names[name]; there {
			t.fail("the certificates of %s and %s have the same name, %q", other, id, cut(leaf.Subject.String()))
		}
		if other, there := keys[key]; there {
			t.fail("the certificates of %s and %s have the same key", other, id)
		}
		names[name], keys[key] = id, id
	}
	t.saw("compare the certificates of the stored owners", "%d names and %d keys", len(names), len(keys))
	if len(names) < 2 && t.outcome == "" {
		t.untestable("it takes two owners who have signed in and have certificates")
		return
	}
	t.pass()
}

func (r *run) probeAtOnce(ctx context.Context, t *trial) {
	conns, end, ok := r.owners(ctx, t, 2)
	if !ok {
		return
	}
	defer end()
	for i, c := range conns {
		id := r.spares[i].Root().ClientID()
		err := c.ping(ctx)
		switch {
		case err == nil:
			t.saw("ping as "+id+" while the other is connected", "an answer")
			t.pass()
			continue
		case isRefusal(err):
			t.fail("%s was thrown off when another owner connected", id)
		default:
			t.error("the broker does not answer %s: %v", id, tlspolicy.Shown(err))
		}
		t.saw("ping as "+id+" while the other is connected", "%v", tlspolicy.Shown(err))
	}
}

// clientIDChecks are those of M4: who a client is follows from its certificate.
func clientIDChecks() []*check {
	const bind = "Have the broker take the client ID from the certificate (Mosquitto: use_identity_as_username true with use_username_as_clientid true), or refuse any other."
	rows := []*check{
		{
			id: "M4-own-client-id", needs: []need{needBroker, needSpares(1)}, controls: []string{"M2-certificate"},
			rule:   "An owner connects with its certificate and its subscription ID as the client ID.",
			remedy: "Have the broker's administrator allow this subscription ID, spelt as in the topics, with this certificate.",
			probe:  (*run).probeOwnClientID,
		},
		{
			id: "M4-other-client-id", needs: []need{needBroker, needSpares(1)}, negative: true,
			rule: "With an owner's certificate nobody is connected under another client ID.", remedy: bind,
			probe: (*run).probeOtherClientID,
		},
		{
			id: "M4-thrown-off", needs: []need{needBroker, needSpares(2)}, negative: true,
			rule: "One owner's certificate does not throw another owner off, by its client ID.", remedy: bind,
			probe: (*run).probeThrownOff,
		},
		{
			id: "M4-theft", needs: []need{needBroker, needSpares(2)}, negative: true,
			rule: "One owner's certificate does not get another owner's messages, by its client ID.", remedy: bind,
			probe: (*run).probeTheft,
		},
	}
	for _, c := range rows {
		c.requirement, c.duty, c.weaknesses = "M4", OfBroker, []string{"CWE-287", "CWE-639", "API1:2023", "API2:2023"}
		if c.negative {
			c.controls = []string{"M4-own-client-id"}
		}
	}
	return rows
}

// accepted is the broker's yes in words.
func accepted(c *brokerConn) string {
	text := "CONNACK 0x00"
	if c.connack.SessionPresent {
		text += ", a session was there"
	}
	if c.connack.AssignedClientID != "" {
		text += fmt.Sprintf(", it assigned the client ID %q", cut(c.connack.AssignedClientID))
	}
	return text
}

func (r *run) probeOwnClientID(ctx context.Context, t *trial) {
	owner := r.spares[0]
	tried := "connect as " + owner.Root().ClientID()
	c, err := r.connectAs(ctx, owner)
	switch {
	case err == nil:
		defer r.leave(c, owner)
		t.saw(tried, "%s", accepted(c))
		if assigned := c.connack.AssignedClientID; assigned != "" && assigned != owner.Root().ClientID() {
			t.fail("the broker assigned another client ID than the subscription ID")
			return
		}
		t.pass()
	case isRefusal(err):
		t.saw(tried, "%v", tlspolicy.Shown(err))
		t.fail("the broker refuses %s with its own certificate: %v", owner.Root().ClientID(), tlspolicy.Shown(err))
	default:
		t.saw(tried, "%v", tlspolicy.Shown(err))
		t.error("the broker cannot be reached: %v", tlspolicy.Shown(err))
	}
}

// intrude connects with an owner's certificate under a client ID that is not its own, and reports
// whether the broker let that pass; otherwise t has the rest.
func (r *run) intrude(ctx context.Context, t *trial, with *fdsclient.Owner, clientID string) (*brokerConn, bool) {
	tried := fmt.Sprintf("connect with the certificate of %s and the client ID %s", with.Root().ClientID(), clientID)
	certificate, err := r.certificate(ctx, with.Key())
	if err != nil {
		t.error("the certificate of %s cannot be used: %v", with.Root().ClientID(), tlspolicy.Shown(err))
		return nil, false
	}
	c, err := r.connect(ctx, certificate, clientID, false, with.Root())
	switch {
	case err == nil:
		t.saw(tried, "%s", accepted(c))
		return c, true
	case isRefusal(err):
		t.saw(tried, "%v", tlspolicy.Shown(err))
		if isWordless(err) && !r.stillConnects(ctx, t, with) {
			break
		}
		t.pass()
	default:
		t.saw(tried, "%v", tlspolicy.Shown(err))
		t.error("CONNECT came to no end: %v", tlspolicy.Shown(err))
	}
	return nil, false
}

// stillConnects reports whether an owner can connect as before, in the place of its connection,
// after the broker has closed another one without a word; if not, t says so.
func (r *run) stillConnects(ctx context.Context, t *trial, owner *fdsclient.Owner) bool {
	c, err := r.connectAs(ctx, owner)
	tried := "connect as " + owner.Root().ClientID() + " again"
	if err != nil {
		t.saw(tried, "%v", tlspolicy.Shown(err))
		t.error("the broker does not let %s in any more, so that its refusal means nothing: %v", owner.Root().ClientID(), tlspolicy.Shown(err))
		return false
	}
	t.saw(tried, "%s", accepted(c))
	r.leave(c, owner)
	return true
}

// present asks a connection whether it is still there, and notes the answer; false: t says that
// there was none, and it is not known.
func present(ctx context.Context, t *trial, c *brokerConn, id string) (there, known bool) {
	there, err := c.lives(ctx)
	tried := "ping on the first connection of " + id
	switch {
	case err != nil:
		t.saw(tried, "%v", tlspolicy.Shown(err))
		t.error("the broker does not answer %s: %v", id, tlspolicy.Shown(err))
	case there:
		t.saw(tried, "an answer")
	default:
		t.saw(tried, "it is gone: %v", tlspolicy.Shown(c.Err()))
	}
	return there, err == nil
}

func (r *run) probeOtherClientID(ctx context.Context, t *trial) {
	conns, end, ok := r.owners(ctx, t, 1)
	if !ok {
		return
	}
	defer end()
	owner, stranger := r.spares[0], fds.NewSubscriptionID().String()
	c, in := r.intrude(ctx, t, owner, stranger)
	if !in {
		return
	}
	there, known := present(ctx, t, conns[0], owner.Root().ClientID())
	switch {
	case !known:
		c.Close(false)
	case !there, c.connack.AssignedClientID == owner.Root().ClientID():
		// It has become the owner, as its certificate says.
		r.leave(c, owner)
		t.pass()
	default:
		c.Close(!c.connack.SessionPresent)
		t.fail("the broker takes any client ID with the certificate of %s", owner.Root().ClientID())
	}
}

// probeThrownOff connects with the certificate of the second owner under the client ID of the
// first.
func (r *run) probeThrownOff(ctx context.Context, t *trial) {
	conns, end, ok := r.owners(ctx, t, 2)
	if !ok {
		return
	}
	defer end()
	victim, attacker := r.spares[0], r.spares[1]
	c, in := r.intrude(ctx, t, attacker, victim.Root().ClientID())
	there, known := present(ctx, t, conns[0], victim.Root().ClientID())
	switch {
	case !known:
	case !there:
		t.fail("whoever has the certificate of one owner throws the others off")
	default:
		t.pass()
	}
	if !in {
		return
	}
	switch alone, known := present(ctx, t, conns[1], attacker.Root().ClientID()); {
	case !known:
		c.Close(false)
	case !there:
		r.leave(c, victim)
	case !alone: // it has become itself
		r.leave(c, attacker)
	default:
		c.Close(!c.connack.SessionPresent)
	}
}

// probeTheft does it again, and watches for messages of the first owner's.
func (r *run) probeTheft(ctx context.Context, t *trial) {
	conns, end, ok := r.owners(ctx, t, 2)
	if !ok {
		return
	}
	defer end()
	victim, attacker := r.spares[0], r.spares[1]
	publisher, ok := r.publisher(ctx, t)
	if !ok {
		return
	}
	if publisher != nil {
		defer publisher.Close(true)
	}
	theirs, own := throwAway(victim), throwAway(attacker)
	if err := r.subscribe(ctx, conns[0], theirs, victim); err != nil {
		t.saw("subscribe to "+theirs+" as its owner", "%v", tlspolicy.Shown(err))
		t.error("its owner cannot subscribe to %s: %v", theirs, tlspolicy.Shown(err))
		return
	}
	if publisher != nil {
		if reached, _ := r.reaches(ctx, t, publisher, conns[0], theirs); !reached {
			t.error("what is published to %s does not reach its owner, so that nothing could be stolen", theirs)
			return
		}
	}
	c, in := r.intrude(ctx, t, attacker, victim.Root().ClientID())
	if !in {
		return
	}
	// Whose session it has is not known: the filters are unsubscribed in both.
	both := []*fdsclient.Owner{victim, attacker}
	for _, filter := range []string{theirs, own} {
		if err := r.subscribe(ctx, c, filter, both...); err != nil {
			t.saw("subscribe to "+filter+" there", "%v", tlspolicy.Shown(err))
		}
	}
	stolen := newProbe()
	if publisher != nil {
		control := newProbe()
		for _, one := range []struct{ topic, probe string }{{theirs, stolen}, {own, control}} {
			if err := publisher.publish(ctx, one.topic, one.probe, 0); err != nil {
				t.error("the publisher cannot publish: %v", tlspolicy.Shown(err))
			}
		}
		c.await(ctx, arrival, stolen, control)
	}
	c.await(ctx, quiet, stolen)
	outside, _ := c.strangers()
	there, known := present(ctx, t, conns[0], victim.Root().ClientID())
	alone, knownToo := present(ctx, t, conns[1], attacker.Root().ClientID())
	isVictim, isSelf := !there, !alone
	switch {
	case c.saw(stolen) || outside > 0:
		t.saw("publish to "+theirs, "it comes to the one with the certificate of %s", attacker.Root().ClientID())
		t.fail("whoever has the certificate of one owner gets the messages of the others")
	case publisher == nil && isVictim:
		t.untestable("it takes the owner's place, and whether it gets its messages takes one that is published (Config.Publisher)")
	case publisher == nil && !isSelf:
		t.untestable("it is let in, and whether it gets the owner's messages takes one that is published (Config.Publisher)")
	default:
		t.saw("watch what comes there", "nothing of %s", victim.Root().ClientID())
		t.pass()
	}
	switch {
	case !known || !knownToo:
		c.Close(false)
	case isVictim:
		r.sweep(ctx, c, victim)
		r.leave(c, victim)
	case isSelf:
		r.sweep(ctx, c, attacker)
		r.leave(c, attacker)
	default:
		c.Close(!c.connack.SessionPresent)
	}
}
