package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

// poll configures a provider without a broker, and no certificates.
func (s *setup) poll(dialect string) {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.folder, "owners")); err != nil {
		s.t.Fatal(err)
	}
	s.configure("  broker_url: "+s.box.BrokerURL()+"\n", "", "  ca_file:", "  dialect: "+dialect+"\n  ca_file:",
		"push:\n  certificates: owners/\n", "poll:\n  interval: 1s\npush:\n")
	s.polls = true
}

// status adds a device and its status.
func (s *setup) status(o fdstest.Owner, item string) {
	s.t.Helper()
	s.device(o, item)
	if err := s.box.SetStatus(o, []byte(item)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *setup) event(o fdstest.Owner, id string) {
	s.t.Helper()
	s.eventAt(o, id, time.Now())
}

func (s *setup) eventAt(o fdstest.Owner, id string, at time.Time) {
	s.t.Helper()
	item := fmt.Sprintf(`{"message_id":%q,"generic":{"date_time":%q}}`, id, at.UTC().Format(time.RFC3339))
	if err := s.box.AddEvent(o, []byte(item)); err != nil {
		s.t.Fatal(err)
	}
}

func TestWatchPollsInEveryDialect(t *testing.T) {
	t.Parallel()
	for _, c := range webAPIs {
		t.Run(c.name, func(t *testing.T) {
			s := newSetupOf(t, c.web)
			s.poll(strings.Replace(c.settings, "{", "{time_member: generic.date_time, ", 1))
			const status = `{"device_id":"d1","generic":{"device_type":"dispenser"},"device_type_specific":{"fill_level":42}}`
			s.status(s.north, status)
			s.signIn(s.north)
			for i := range 5 {
				s.eventAt(s.north, fmt.Sprint("before", i), time.Now().Add(-time.Hour))
			}
			statuses := 1 // at the first read alone
			for _, id := range []string{"first", "second"} {
				p := s.watch("--json")
				s.event(s.north, id)
				p.await(p.out, `"`+id+`"`)
				for _, line := range p.end().lines() {
					var m struct {
						Owner, Issuer, Topic, Source, Kind string
						Levels                             []string
						QoS                                int
						Payload                            json.RawMessage
					}
					if err := json.Unmarshal([]byte(line), &m); err != nil {
						t.Fatal(err)
					}
					if m.Owner != north.Spelling || m.Issuer != s.box.Issuer() || m.Topic != "" || m.Levels == nil || len(m.Levels) > 0 || m.QoS != 0 || m.Source != "poll" {
						t.Errorf("the line is %s", line)
					}
					switch {
					case m.Kind == "status" && string(m.Payload) == status:
						statuses--
					case m.Kind == "event" && strings.HasPrefix(string(m.Payload), `{"message_id":"`+id+`"`):
					default:
						t.Errorf("watching for %s: %s", id, line)
					}
				}
			}
			if statuses != 0 {
				t.Errorf("%d statuses did not come", statuses)
			}
		})
	}
}

func TestWatchOfPolledOwnersForEyesNamesTheDevice(t *testing.T) {
	s := newSetup(t)
	s.poll("{device_id: id}")
	s.status(s.north, `{"device_id":"x","id":"d\u202e1","generic":{"device_type":"dispenser"},"device_type_specific":{"fill_level":42}}`)
	s.signIn(s.north)
	p := s.watch()
	if line := p.await(p.out, "fill_level"); !strings.Contains(line, north.Spelling[:8]+`  status d\u202e1  (poll) dispenser: fill_level 42 ##...`) {
		t.Errorf("the line is %q", line)
	}
	if !strings.Contains(p.err.String(), "Watching 1 owner, asking the Web API about every 1s.") {
		t.Errorf("stderr %s", p.err)
	}
	p.end()
}

func TestWatchThatHasShownEnoughTriesNothingAgain(t *testing.T) {
	s := newSetup(t)
	s.poll("{subscription_member: subscription_id}")
	for _, owner := range []fdstest.Owner{s.north, s.south} {
		s.signIn(owner)
		for n := range 10 {
			s.status(owner, fmt.Sprintf(`{"subscription_id":%q,"device_id":"%s-%d"}`, owner.Spelling, owner.Spelling[:8], n))
		}
	}
	for range 3 { // whose handler waits when the other one's message is shown is chance
		r := s.run("watch", "--poll", "--json", "-n", "1").expect(statusDone)
		if len(r.lines()) != 1 || strings.Contains(r.err, "trying again") {
			t.Fatalf("stdout %s, stderr %s", r.out, r.err)
		}
	}
}

func TestAProviderThatCannotBePolledFor30SecondsEndsWatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault fdstest.Fault
		says  string
	}{
		"breaks_off": {fdstest.DropBeforeWork(fdstest.APIEndpoint), "nothing could be read within 30s: "},
		"is_silent":  {fdstest.Slow(fdstest.APIEndpoint, time.Hour), "nothing could be read within 30s"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			s.poll("{}")
			s.signIn(s.north)
			s.box.Inject(c.fault)
			began := time.Now()
			s.run("watch").expect(statusFailed).says(c.says)
			if took := time.Since(began); took < giveUpAfter || took > giveUpAfter+5*time.Second {
				t.Errorf("it tried for %v, want %v", took, giveUpAfter)
			}
		})
	}
}

func TestWatchEndsAtOnceWhenPollingCannotHelp(t *testing.T) {
	s := newSetup(t)
	s.poll("{}")
	s.signIn(s.north)
	began := time.Now()
	off := s.box.Inject(fdstest.Answer(fdstest.APIEndpoint, 404, "application/json", "{}"))
	s.run("watch").expect(statusFailed).says("does not know this address")
	off()
	off = s.box.Inject(fdstest.Answer(fdstest.APIEndpoint, 200, "application/json", "{}"))
	s.run("watch").expect(statusFailed).says("name it in provider.dialect.list_member")
	off()
	if took := time.Since(began); took > giveUpAfter/2 {
		t.Errorf("it took %v", took)
	}
}

func TestWatchWaitsForASecondLookAtAnOwnerWhoIsPolled(t *testing.T) {
	s := newSetup(t)
	s.poll("{}")
	s.lapse(s.north)
	began := time.Now()
	s.run("watch").expect(statusSignIn).says("sign in again", "fdsdemo login")
	if took := time.Since(began); took < giveUpAfter || took > giveUpAfter+giveUpAfter/2 {
		t.Errorf("it took %v, want a little more than %v", took, giveUpAfter)
	}
}

func TestALapsedOwnerThatIsPolledIsWarnedAboutAndTheOthersGoOn(t *testing.T) {
	s := newSetup(t)
	s.poll("{}")
	s.lapse(s.north)
	s.signIn(s.south)
	p := s.start("watch", "--json")
	if line := p.await(p.err, "sign in again"); !strings.Contains(line, "warning") || !strings.Contains(line, north.Spelling) {
		t.Errorf("the warning is %q", line)
	}
	s.status(s.south, `{"device_id":"d1","generic":{}}`)
	p.await(p.out, `"d1"`)
	if r := p.end(); strings.Count(r.err, "warning: grant lapsed") != 1 || strings.Count(r.err, "login") != 1 {
		t.Errorf("stderr %s", r.err)
	}
}

func TestWatchOutlivesAnOutageOfThePolledProvider(t *testing.T) {
	s := newSetup(t)
	s.poll("{}")
	s.signIn(s.north)
	p := s.watch("--json")
	off := s.box.Inject(fdstest.Unavailable(fdstest.APIEndpoint, ""))
	p.await(p.err, "warning: an owner's lists cannot be polled")
	s.event(s.north, "during")
	off()
	p.await(p.out, `"during"`)
	p.awaitNth(p.err, "Polled: 1 owner.", 2)
	p.end()
}

func TestAReaderThatHasGoneEndsAPollToo(t *testing.T) {
	s := newSetup(t)
	s.poll("{}")
	s.status(s.north, odd)
	s.signIn(s.north)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	c := s.command("watch", "--json")
	c.Stdout = write
	p := start(t, c)
	write.Close()
	p.wait().expect(statusFailed).quiet()
	again := s.watch("--json")
	again.await(again.out, `"payload":`+oddCompact)
	again.end()
}
