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
