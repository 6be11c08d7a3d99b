package conformance

import (
	"context"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// arrival is what a message has to get from a publisher to a subscriber.
const arrival = 5 * time.Second

// throwAway returns a topic below an owner's root that nobody uses. It is a filter as well.
func throwAway(owner *fdsclient.Owner) string {
	return owner.Root().String() + "conformance/" + newNonce()
}

// subscribeChecks are those of M5: what a subscriber sees.
func subscribeChecks() []*check {
	const limit = "Have the broker's access rules let an owner read below fds/v2/<its subscription ID>/ and nowhere else (Mosquitto: pattern read fds/v2/%u/#)."
	rows := []*check{
		{
			id: "M5-own-root", rule: "An owner subscribes below its own root, and gets what the publisher that was supplied sends there.",
			remedy: limit, probe: (*run).probeOwnRoot,
		},
		{
			id: "M5-other-root", rule: "An owner gets nothing from below another owner's root.", negative: true,
			probe: func(r *run, ctx context.Context, t *trial) {
				r.probeFilters(ctx, t, func(other fds.Root) []string { return []string{other.String() + "#"} })
			},
		},
		{
			id: "M5-above-root", rule: "An owner gets nothing by wildcards above its root.", negative: true,
			probe: func(r *run, ctx context.Context, t *trial) {
				r.probeFilters(ctx, t, func(fds.Root) []string { return []string{"#", "+/#", "fds/#", "fds/v2/+/#"} })
			},
		},
		{
			id: "M5-shared", rule: "An owner gets nothing from outside of its root by shared subscriptions.", negative: true,
			probe: func(r *run, ctx context.Context, t *trial) {
				group := "$share/conformance-" + newNonce() + "/" // of which nobody is a member
				r.probeFilters(ctx, t, func(other fds.Root) []string { return []string{group + other.String() + "#", group + "#"} })
			},
		},
		{
			id: "M5-sys", rule: "An owner does not read what the broker says of itself and of its clients.", negative: true,
			probe: func(r *run, ctx context.Context, t *trial) {
				r.probeFilters(ctx, t, func(fds.Root) []string { return []string{"$SYS/#"} })
			},
		},
	}
	for _, c := range rows {
		c.requirement, c.duty, c.needs, c.remedy = "M5", OfBroker, []need{needBroker, needSpares(1)}, limit
		c.weaknesses = []string{"CWE-862", "CWE-863", "API1:2023"}
		c.controls = []string{"M4-own-client-id"}
		if c.negative {
			c.controls = []string{"M5-own-root"}
		}
	}
	return rows
}

// reaches publishes a probe and reports whether it comes to a connection that has subscribed. The
// error is why it could not be published.
func (r *run) reaches(ctx context.Context, t *trial, publisher, to *brokerConn, topic string) (bool, error) {
	tried := "publish to " + topic + " as the publisher"
	probe := newProbe()
	if err := publisher.publish(ctx, topic, probe, 1); err != nil {
		t.saw(tried, "%v", tlspolicy.Shown(err))
		return false, err
	}
	if to.await(ctx, arrival, probe) == "" {
		t.saw(tried, "it does not come to its subscriber")
		return false, nil
	}
	t.saw(tried, "it comes to its subscriber")
	return true, nil
}

func (r *run) probeOwnRoot(ctx context.Context, t *trial) {
	conns, end, ok := r.owners(ctx, t, 1)
	if !ok {
		return
	}
	defer end()
	owner, topic := r.spares[0], throwAway(r.spares[0])
	err := r.subscribe(ctx, conns[0], topic, owner)
	switch {
	case err == nil:
		t.saw("subscribe to "+topic, "granted")
	case isRefusal(err):
		t.saw("subscribe to "+topic, "%v", tlspolicy.Shown(err))
		t.fail("the broker refuses %s a subscription below its own root: %v", owner.Root().ClientID(), tlspolicy.Shown(err))
		return
	default:
		t.saw("subscribe to "+topic, "%v", tlspolicy.Shown(err))
		t.error("SUBSCRIBE came to no end: %v", tlspolicy.Shown(err))
		return
	}
	publisher, ok := r.publisher(ctx, t)
	if !ok {
		return
	}
	if publisher == nil {
		t.pass()
		return
	}
	defer publisher.Close(true)
	switch reached, err := r.reaches(ctx, t, publisher, conns[0], topic); {
	case reached:
		t.pass()
	case err != nil:
		t.error("the publisher cannot publish below the root of %s, of which M6-provider-publishes tells (Config.Publisher): %v", owner.Root().ClientID(), tlspolicy.Shown(err))
	default:
		t.fail("what is published below the root of %s does not reach it", owner.Root().ClientID())
	}
}

// filterProbe is an attempt to see what is another owner's.
type filterProbe struct {
	*run
	t *trial

	owner     *fdsclient.Owner // who attempts it
	conn      *brokerConn      // nil: it was refused by the end of the connection
	own       string           // the topic of the control
	other     *fdsclient.Owner // a spare one, or nil
	receiver  *brokerConn      // other's
	theirs    string           // other's topic
	publisher *brokerConn      // nil: there is none
	foreign   []string         // the probes of other's that were published
}

// probeFilters subscribes to filters of what is not the owner's, one after the other, and watches
// what comes: that a filter is granted means little, Mosquitto grants what its rules deny.
func (r *run) probeFilters(ctx context.Context, t *trial, filters func(other fds.Root) []string) {
	n := min(len(r.spares), 2)
	conns, end, ok := r.owners(ctx, t, n)
	if !ok {
		return
	}
	defer end()
	p := &filterProbe{run: r, t: t, owner: r.spares[0], conn: conns[0], own: throwAway(r.spares[0])}
	root := fds.NewSubscriptionID().Root()
	switch {
	case n == 2:
		p.other, p.receiver, p.theirs = r.spares[1], conns[1], throwAway(r.spares[1])
		root = p.other.Root()
	case r.owner != nil && r.owner != p.owner:
		root = r.owner.Root()
	}
	if p.publisher, ok = r.publisher(ctx, t); !ok {
		return
	}
	if p.publisher != nil {
		defer p.publisher.Close(true)
	}
	err := r.subscribe(ctx, p.conn, p.own, p.owner)
	if err == nil && p.other != nil {
		err = r.subscribe(ctx, p.receiver, p.theirs, p.other)
	}
	if err != nil {
		t.error("an owner cannot subscribe below its own root any more: %v", tlspolicy.Shown(err))
		return
	}
	for _, filter := range filters(root) {
		if p.attempt(ctx, filter); t.outcome == Error || ctx.Err() != nil {
			break
		}
	}
	if p.conn == nil {
		return
	}
	known, _ := p.conn.strangers()
	p.conn.await(ctx, quiet)
	if all, _ := p.conn.strangers(); t.outcome != Fail && (all > known || slices.ContainsFunc(p.foreign, p.conn.saw)) {
		t.saw("wait for what comes late", "a message from outside of its root")
		t.fail("%s gets what is not its own", p.owner.Root().ClientID())
	}
	if p.conn != conns[0] { // it was made anew
		r.sweep(ctx, p.conn, p.owner)
		r.leave(p.conn, p.owner)
	}
}

// attempt tries one filter.
func (p *filterProbe) attempt(ctx context.Context, filter string) {
	if p.conn == nil && !p.again(ctx) {
		return
	}
	before, old := p.conn.strangers()
	tried := "subscribe to " + filter
	err := p.subscribe(ctx, p.conn, filter, p.owner)
	switch {
	case err == nil:
	case isRefusal(err):
		p.t.saw(tried, "%v", tlspolicy.Shown(err))
		p.t.pass()
		if p.conn.Err() != nil {
			p.leave(p.conn, p.owner)
			p.conn = nil
		}
		return
	default:
		p.t.saw(tried, "%v", tlspolicy.Shown(err))
		p.t.error("SUBSCRIBE came to no end: %v", tlspolicy.Shown(err))
		return
	}
	came := p.watch(ctx)
	all, retained := p.conn.strangers()
	switch {
	case came || all > before:
		p.t.saw(tried, "granted; %d messages from outside of its root came, %d of them retained", all-before, retained-old)
		p.t.fail("%s gets what is not its own by the filter %s", p.owner.Root().ClientID(), filter)
	case p.t.outcome == Error:
	case p.publisher == nil:
		p.t.saw(tried, "granted; nothing came, and it may be that nothing was published")
		p.t.untestable("the broker grants %s, and whether anything comes by it takes a message that is published (Config.Publisher)", filter)
	case p.other == nil:
		p.t.saw(tried, "granted; nothing came")
		p.t.untestable("the broker grants %s, and whether another owner's messages come by it takes a second spare owner (Config.SpareOwners)", filter)
	default:
		p.t.saw(tried, "granted; nothing came by it, while what was published to another owner and to itself came to both")
		p.t.pass()
	}
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	_ = p.conn.Unsubscribe(ctx, filter) // all are unsubscribed in the end once more
}

// watch reports whether what is published to the other owner comes to this one. The control comes
// to this one after it: both are published on one connection.
func (p *filterProbe) watch(ctx context.Context) bool {
	if p.publisher == nil || p.other == nil {
		p.conn.await(ctx, longQuiet)
		return false
	}
	foreign, control := newProbe(), newProbe()
	p.foreign = append(p.foreign, foreign)
	for _, one := range []struct{ topic, probe string }{{p.theirs, foreign}, {p.own, control}} {
		if err := p.publisher.publish(ctx, one.topic, one.probe, 0); err != nil {
			p.t.error("the publisher cannot publish: %v", tlspolicy.Shown(err))
			return false
		}
	}
	if p.receiver.await(ctx, arrival, foreign) == "" || p.conn.await(ctx, arrival, control) == "" {
		if !p.conn.saw(foreign) {
			p.t.error("what the publisher publishes does not come to the owners whose it is; what waits in a session may be in its way")
		}
	}
	return p.conn.saw(foreign)
}

// again connects after the broker has ended the connection for a filter.
func (p *filterProbe) again(ctx context.Context) bool {
	c, err := p.connectAs(ctx, p.owner)
	if err == nil {
		if err = p.subscribe(ctx, c, p.own, p.owner); err != nil {
			p.leave(c, p.owner)
		}
	}
	if err != nil {
		p.t.error("%s cannot connect again: %v", p.owner.Root().ClientID(), tlspolicy.Shown(err))
		return false
	}
	p.conn = c
	return true
}
