package main

import (
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

func TestWatchShowsWhatWasAskedForAndEndsAfterIt(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	p := s.watch("--json", "--topic", "devices/+/status", "--device", "d1", "-n", "2")
	s.publish(s.north, `{"device_id":"d1","n":0}`, "devices", "d1", "events")
	s.publish(s.north, `{"device_id":"d2","n":1}`, "devices", "d2", "status")
	s.publish(s.north, `{"device_id":"d1","n":2}`, "devices", "d1", "status")
	s.publish(s.north, `{"device_id":"d1","n":3}`, "devices", "d1", "status")
	for n := range 5 {
		s.publish(s.north, `{"device_id":"d1","n":`+string(rune('4'+n))+`}`, "devices", "d1", "status")
	}
	r := p.wait().expect(statusDone)
	if lines := r.lines(); len(lines) != 2 || !strings.Contains(lines[0], `"n":2}`) || !strings.Contains(lines[1], `"n":3}`) {
		t.Errorf("stdout %s", r.out)
	}
	if strings.Contains(r.err, "failed") {
		t.Errorf("what came after is told as a failure: %s", r.err)
	}
	// What came after stays with the broker.
	p = s.watch("--json")
	if line := p.await(p.out, "{"); !strings.Contains(line, `"n":4}`) {
		t.Errorf("the next is %s", line)
	}
	p.end()
}

func TestWatchEndsAfterATime(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	began := time.Now()
	s.run("watch", "--for", "2s").expect(statusDone)
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("after %v", took)
	}
	s.configure(s.box.BrokerURL(), "mqtts://"+unusedAddress)
	s.run("watch", "--for", "2s").expect(statusFailed).says("no connection within 2s: ", unusedAddress, "fdsdemo check")
}

func TestAWatchThatCouldShowNothingIsRefused(t *testing.T) {
	s := newSetup(t)
	for _, args := range [][]string{
		{"--topic", "fds/v2/x/#"}, {"--topic", ""}, {"--topic", "a/#/b"}, {"--topic", "a+"}, {"--device", ""}, {"--type", ""},
		{"-n", "0"}, {"-n", "-1"}, {"-n", "x"}, {"--for", "0s"}, {"--for", "-1s"}, {"--for", "soon"},
	} {
		s.run(append([]string{"watch"}, args...)...).expect(statusUsage)
	}
}

func TestATopicChoosesOfWhatIsPolledToo(t *testing.T) {
	s := newSetup(t)
	s.poll("{}")
	s.status(s.north, `{"device_id":"d1","generic":{"device_type":"dispenser"}}`)
	s.signIn(s.north)
	s.run("watch", "--topic", "devices/+/status").expect(statusUsage).says("provider.dialect.event_topic", "status_topic")
	s.poll("{event_topic: 'devices/{generic.device_id}/events', status_topic: 'devices/{device_id}/status'}")
	r := s.run("watch", "--json", "--topic", "devices/+/status", "-n", "1", "--for", "20s").expect(statusDone)
	if lines := r.lines(); len(lines) != 1 || !strings.Contains(lines[0], `"device_id":"d1"`) {
		t.Errorf("stdout %q", r.out)
	}
}

func TestATopicOfWhatWasFetchedIsThatOfTheDialect(t *testing.T) {
	m := func(kind delivery.Kind, payload string) delivery.Message {
		return delivery.Message{Owner: fds.OwnerKey{SubscriptionID: fds.NewSubscriptionID()}, Source: delivery.FromBackfill, Kind: kind, Payload: []byte(payload)}
	}
	both := fds.Dialect{EventTopic: "devices/{generic.device_id}/events", StatusTopic: "devices/{device_id}/status"}
	const event, status = `{"generic":{"device_id":"d1"}}`, `{"device_id":"d1"}`
	for _, c := range []struct {
		topic   string
		m       delivery.Message
		dialect fds.Dialect
		want    bool
	}{
		{"devices/+/events", m(delivery.KindEvent, event), both, true},
		{"devices/d1/events", m(delivery.KindEvent, event), both, true},
		{"devices/+/status", m(delivery.KindEvent, event), both, false},
		{"devices/d2/events", m(delivery.KindEvent, event), both, false},
		{"devices/+/status", m(delivery.KindStatus, status), both, true},
		{"devices/+/events", m(delivery.KindStatus, status), both, false},
		{"devices/+/events", m(delivery.KindEvent, `{}`), both, false}, // on which topic is not known
		{"devices/+/events", m(delivery.KindEvent, `no JSON`), both, false},
		{"devices/+/status", m(delivery.KindUnknown, status), both, false},
		{"devices/+/events", m(delivery.KindEvent, event), fds.Dialect{}, false},
	} {
		if got := (&watchFilter{topics: []string{c.topic}}).wants(c.m, c.dialect); got != c.want {
			t.Errorf("%s, %s %s: %v", c.topic, c.m.Kind, c.m.Payload, got)
		}
	}
}

func TestAMessageFitsTopicsTypesAndDevices(t *testing.T) {
	owner := fds.OwnerKey{SubscriptionID: fds.NewSubscriptionID()}
	m := func(payload string, levels ...string) delivery.Message {
		return delivery.Message{Owner: owner, Levels: levels, Payload: []byte(payload)}
	}
	item := `{"device_id":"d1","device_type":"soap_dispenser"}`
	for _, c := range []struct {
		show *watchFilter
		m    delivery.Message
		want bool
	}{
		{&watchFilter{}, m("no JSON"), true},
		{&watchFilter{topics: []string{"#"}}, m(item, "a", "b"), true},
		{&watchFilter{topics: []string{"#"}}, m(item), false}, // it came by no topic
		{&watchFilter{topics: []string{"a/+"}}, m(item, "a", "b"), true},
		{&watchFilter{topics: []string{"a/+"}}, m(item, "a"), false},
		{&watchFilter{topics: []string{"b", "a"}}, m(item, "a"), true},
		{&watchFilter{topics: []string{"#"}}, m(item, "$x"), true},
		{&watchFilter{devices: []string{"d1"}}, m(item), true},
		{&watchFilter{devices: []string{"d2", "d1"}}, m(item), true},
		{&watchFilter{devices: []string{"d"}}, m(item), false},
		{&watchFilter{devices: []string{"d1"}}, m("no JSON"), false},
		{&watchFilter{devices: []string{"d1"}, topics: []string{"b"}}, m(item, "a"), false},
	} {
		if got := c.show.wants(c.m, fds.Dialect{}); got != c.want {
			t.Errorf("%+v, %s on %v: %v", c.show.topics, c.m.Payload, c.m.Levels, got)
		}
	}
}
