package fdstest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestAMessageExpiresInTheQueueAndTellsWhatIsLeftOfItsTime(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1})
	owner := p.Owners()[0]
	s, _ := mustConnect(t, p, owner)
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}
	publish := func(payload string, retain bool, after time.Duration) {
		t.Helper()
		if err := p.PublishExpiring(t.Context(), owner, []string{payload}, []byte(payload), 1, retain, after); err != nil {
			t.Fatal(err)
		}
	}
	publish("now", false, 90*time.Second)
	if m := s.receive(t); m.Properties.MessageExpiry == nil || *m.Properties.MessageExpiry != 90 {
		t.Errorf("its expiry is %v", m.Properties.MessageExpiry)
	}
	eventually(t, "it is acknowledged", func() bool { return p.Subscriber(owner).Unacknowledged == 0 })
	p.Inject(fdstest.DropConnections())
	eventually(t, "it is away", func() bool { return !p.Subscriber(owner).Connected })
	began := time.Now()
	publish("short", false, time.Second)
	publish("shown", true, time.Second)
	publish("long", false, time.Hour)
	publish("for ever", false, 0)
	eventually(t, "a second has passed", func() bool { return time.Since(began) > 1100*time.Millisecond })
	s, ack := mustConnect(t, p, owner)
	if !ack.SessionPresent {
		t.Fatal("the session is gone")
	}
	if m := s.receive(t); string(m.Payload) != "long" || m.Properties.MessageExpiry == nil || *m.Properties.MessageExpiry >= 3600 || *m.Properties.MessageExpiry < 3590 {
		t.Errorf("%q, expiry %v", m.Payload, m.Properties.MessageExpiry)
	}
	if m := s.receive(t); string(m.Payload) != "for ever" || m.Properties.MessageExpiry != nil {
		t.Errorf("%q, expiry %v", m.Payload, m.Properties.MessageExpiry)
	}
	if err := s.subscribe(t, owner.Topic("shown")); err != nil {
		t.Fatal(err)
	}
	publish("after", false, 0)
	if m := s.receive(t); string(m.Payload) != "after" {
		t.Errorf("%q was retained beyond its time", m.Payload)
	}
	if err := p.PublishExpiring(t.Context(), owner, []string{"x"}, nil, 1, false, -time.Second); err == nil {
		t.Error("a message is published that has expired")
	}
}

func TestAnEventIsPublishedWhateverItIsAbout(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1})
	owner := p.Owners()[0]
	s, _ := mustConnect(t, p, owner)
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}
	for item, topic := range map[string]string{
		`{"message_id":"1","generic":{"device_id":"d/1"}}`:                  "devices/d%2F1/events",
		`{"message_id":"2","device_id":"d1","generic":{"space_id":"hall"}}`: "devices/d1/events",
		`{"message_id":"3","generic":{"space_id":"hall"}}`:                  "spaces/hall/events",
		`{"message_id":"4","space_id":"hall"}`:                              "spaces/hall/events",
		`{"message_id":"5"}`:                                                "events",
	} {
		if err := p.AddEvent(owner, []byte(item)); err != nil {
			t.Fatal(err)
		}
		if m := s.receive(t); m.Topic != owner.Topic(topic) || !strings.Contains(string(m.Payload), item[1:]) {
			t.Errorf("%s comes on %s: %s", item, m.Topic, m.Payload)
		}
	}
}
