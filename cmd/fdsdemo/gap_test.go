package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestWatchShowsWhatWasMissedWhileItWasNotRunning(t *testing.T) {
	s := newSetup(t)
	s.configure("  ca_file:", "  dialect: {from_parameter: from, to_parameter: to, time_member: generic.date_time}\n  ca_file:")
	s.signIn(s.north)
	event := func(id string) {
		t.Helper()
		at := time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")
		if err := s.box.AddEvent(s.north, fmt.Appendf(nil, `{"message_id":%q,"generic":{"date_time":%q,"device_id":"D"}}`, id, at)); err != nil {
			t.Fatal(err)
		}
	}
	p := s.watch("--json")
	event("live")
	p.await(p.out, `"live"`)
	p.end()
	s.box.Inject(fdstest.LoseSessions(s.north))
	event("missed")

	p = s.watch("--json")
	line := p.await(p.out, `"missed"`)
	var got struct {
		Topic, Source, Kind string
		Levels              []string
		QoS                 int
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil || got.Source != "backfill" || got.Kind != "event" || got.Topic != "" || got.QoS != 0 || !strings.Contains(line, `"levels":[]`) {
		t.Errorf("the line is %s, %v", line, err)
	}
	p.await(p.err, "messages may have been lost")
	p.end()

	s.box.Inject(fdstest.LoseSessions(s.north))
	event("missed too")
	p = s.watch()
	p.await(p.out, "(backfill")
	p.end()
}
