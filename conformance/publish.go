package conformance

import (
	"context"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// publishChecks are those of M6 and M7: who publishes.
func publishChecks() []*check {
	const limit = "Have the broker's access rules let owners write nowhere (Mosquitto: no topic write and no topic readwrite for them)."
	const provider = "Have the broker's access rules let a provider's certificate write below the roots of its own owners, and read nothing (Mosquitto: user <its name>, and topic write fds/v2/<subscription ID>/# for each)."
	weak := []string{"CWE-862", "CWE-863", "API5:2023"}
	return []*check{
		{
			id: "M6-provider-publishes", requirement: "M6", duty: OfBroker, weaknesses: weak, remedy: provider,
			needs: []need{needBroker, needSpares(1), needPublisher}, controls: []string{"M4-own-client-id"},
			rule:  "A provider publishes below an owner's root, and the broker acknowledges it.",
			probe: (*run).probeProviderPublishes,
		},
		{
			id: "M6-provider-subscribes", requirement: "M6", duty: OfBroker, weaknesses: weak, remedy: provider, negative: true,
			needs: []need{needBroker, needSpares(1), needPublisher}, controls: []string{"M6-provider-publishes"},
			rule:  "A provider's connection publishes only: it gets no owner's messages.",
			probe: (*run).probeProviderSubscribes,
		},
		{
			id: "M7-own-root", requirement: "M7", duty: OfBroker, weaknesses: weak, remedy: limit, negative: true,
			needs: []need{needBroker, needSpares(1)}, controls: []string{"M5-own-root"},
			rule:  "What an owner's connection publishes below its own root reaches nobody.",
			probe: func(r *run, ctx context.Context, t *trial) { r.probePublish(ctx, t, throwAway(r.spares[0]), 0, 1) },
		},
		{
			id: "M7-other-root", requirement: "M7", duty: OfBroker, weaknesses: append(weak, "API1:2023"), remedy: limit, negative: true,
			needs: []need{needBroker, needSpares(2)}, controls: []string{"M5-own-root"},
			rule:  "What an owner's connection publishes below another owner's root reaches nobody.",
			probe: func(r *run, ctx context.Context, t *trial) { r.probePublish(ctx, t, throwAway(r.spares[1]), 1, 1) },
		},
		{
			id: "M7-qos-0", requirement: "M7", duty: OfBroker, weaknesses: weak, remedy: limit, negative: true,
			needs: []need{needBroker, needSpares(1)}, controls: []string{"M5-own-root"},
			rule:  "What an owner's connection publishes with quality of service 0, which nobody acknowledges, reaches nobody.",
			probe: func(r *run, ctx context.Context, t *trial) { r.probePublish(ctx, t, throwAway(r.spares[0]), 0, 0) },
		},
	}
}

func (r *run) probeProviderPublishes(ctx context.Context, t *trial) {
	conns, end, ok := r.owners(ctx, t, 1)
	if !ok {
		return
	}
	defer end()
	topic := throwAway(r.spares[0])
	if err := r.subscribe(ctx, conns[0], topic, r.spares[0]); err != nil {
		t.error("%s cannot subscribe to %s: %v", r.spares[0].Root().ClientID(), topic, tlspolicy.Shown(err))
		return
	}
	publisher, err := r.connectPublisher(ctx)
	switch {
	case err == nil:
	case isRefusal(err):
		t.saw("connect as the publisher", "%v", tlspolicy.Shown(err))
		t.fail("the broker refuses the certificate of Config.Publisher: %v", tlspolicy.Shown(err))
		return
	default:
		t.saw("connect as the publisher", "%v", tlspolicy.Shown(err))
		t.error("the publisher cannot connect (Config.Publisher): %v", tlspolicy.Shown(err))
		return
	}
	defer publisher.Close(true)
	switch reached, err := r.reaches(ctx, t, publisher, conns[0], topic); {
	case reached:
		t.pass()
	case err != nil && !isRefusal(err):
		t.error("PUBLISH came to no end: %v", tlspolicy.Shown(err))
	default:
		t.fail("what is published with the certificate of Config.Publisher does not reach the owner")
	}
}

// probeProviderSubscribes subscribes to what an owner gets, as the publisher.
func (r *run) probeProviderSubscribes(ctx context.Context, t *trial) {
	conns, end, ok := r.owners(ctx, t, 1)
	if !ok {
		return
	}
	defer end()
	publisher, ok := r.publisher(ctx, t)
	if !ok {
		return
	}
	defer publisher.Close(true)
	topic := throwAway(r.spares[0])
	if err := r.subscribe(ctx, conns[0], topic, r.spares[0]); err != nil {
		t.error("%s cannot subscribe to %s: %v", r.spares[0].Root().ClientID(), topic, tlspolicy.Shown(err))
		return
	}
	err := r.subscribe(ctx, publisher, topic)
	tried := "subscribe to " + topic + " as the publisher"
	switch {
	case err == nil:
		t.saw(tried, "granted")
	case isRefusal(err):
		t.saw(tried, "%v", tlspolicy.Shown(err))
		t.pass()
		return
	default:
		t.saw(tried, "%v", tlspolicy.Shown(err))
		t.error("SUBSCRIBE came to no end: %v", tlspolicy.Shown(err))
		return
	}
	probe := newProbe()
	if err := publisher.publish(ctx, topic, probe, 1); err != nil {
		t.error("the publisher cannot publish: %v", tlspolicy.Shown(err))
		return
	}
	switch reached := conns[0].await(ctx, arrival, probe); {
	case publisher.await(ctx, quiet, probe) != "":
		t.saw("publish to "+topic, "it comes to the publisher")
		t.fail("a provider's connection reads what is an owner's")
	case reached == "":
		t.error("what is published to %s does not reach its owner", topic)
	default:
		t.saw("publish to "+topic, "it comes to the owner, and not to the publisher")
		t.pass()
	}
}

// probePublish publishes to a topic as the first spare owner. Who watches the topic is the spare
// owner of that number.
func (r *run) probePublish(ctx context.Context, t *trial, topic string, watcher int, qos byte) {
	conns, end, ok := r.owners(ctx, t, watcher+1)
	if !ok {
		return
	}
	defer end()
	publisher, ok := r.publisher(ctx, t)
	if !ok {
		return
	}
	if publisher != nil {
		defer publisher.Close(true)
	}
	watch := conns[watcher]
	if err := r.subscribe(ctx, watch, topic, r.spares[watcher]); err != nil {
		t.error("the topic cannot be watched: %v", tlspolicy.Shown(err))
		return
	}
	probe, tried := newProbe(), "publish to "+topic+" as "+r.spares[0].Root().ClientID()
	err := conns[0].publish(ctx, topic, probe, qos)
	if err == nil && qos == 0 {
		err = conns[0].ping(ctx) // what comes after it was answered
	}
	refused := err != nil && isRefusal(err)
	switch {
	case refused:
		t.saw(tried, "%v", tlspolicy.Shown(err))
	case err != nil:
		t.saw(tried, "%v", tlspolicy.Shown(err))
		t.error("PUBLISH came to no end: %v", tlspolicy.Shown(err))
		return
	case qos == 0:
		t.saw(tried, "no answer, as there is none")
	default:
		t.saw(tried, "the broker acknowledges it")
	}
	control := newProbe()
	if publisher != nil && !refused {
		if err := publisher.publish(ctx, topic, control, 0); err != nil {
			t.error("the publisher cannot publish: %v", tlspolicy.Shown(err))
			return
		}
		watch.await(ctx, arrival, control)
	}
	switch came := watch.await(ctx, quiet, probe); {
	case came != "":
		t.saw("watch "+topic, "it is delivered")
		t.fail("what an owner's connection publishes is delivered")
	case refused:
		t.pass()
	case publisher == nil:
		t.untestable("the broker does not refuse it, nothing was delivered, and whether anything would be takes a message that is published (Config.Publisher)")
	case !watch.saw(control):
		t.error("what the publisher publishes does not come to the owner whose it is")
	default:
		t.saw("watch "+topic, "it is not delivered, while what the publisher publishes there is")
		t.pass()
	}
}
