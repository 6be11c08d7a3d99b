package main

import (
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestWatchPollsAProviderWithoutABroker(t *testing.T) {
	s := newSetup(t)
	s.configure("  broker_url: "+s.box.BrokerURL()+"\n", "", "push:\n  certificates: owners/\n", "poll:\n  interval: 1s\npush:\n")
	s.device(s.north, `{"device_id":"d1","generic":{"device_type":"dispenser"}}`)
	s.signIn(s.north)
	event := func(id string) {
		if err := s.box.AddEvent(s.north, []byte(`{"message_id":"`+id+`","generic":{"date_time":"2026-01-01T00:00:00Z"}}`)); err != nil {
			t.Fatal(err)
		}
	}
	event("before")
	for _, id := range []string{"first", "second"} { // each is shown by one run alone
		p := s.watch("--json")
		event(id)
		p.await(p.out, `"`+id+`"`)
		r := p.end()
		for _, line := range r.lines() {
			if strings.Contains(line, `"event"`) != strings.Contains(line, `"message_id":"`+id+`"`) || !strings.Contains(line, `"topic":"","levels":[],"qos":0,`) || !strings.Contains(line, `"source":"poll"`) {
				t.Errorf("watching for %s: %s", id, line)
			}
		}
	}
}

func TestWatchOfAProviderThatCannotBePolledFails(t *testing.T) {
	s := newSetup(t)
	s.configure("  broker_url: "+s.box.BrokerURL()+"\n", "", "push:\n  certificates: owners/\n", "poll:\n  interval: 1s\npush:\n")
	s.signIn(s.north)
	s.box.Inject(fdstest.DropBeforeWork(fdstest.APIEndpoint))
	s.run("watch").expect(statusFailed).says("no connection within 30s")
}
