package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
)

func TestAnOwnerIsWatchedByOneProcessOfAStateFolder(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	first := s.watch("--owner", north.Spelling, "--json")
	pid := fmt.Sprint("process ", first.cmd.Process.Pid, " watches subscription "+north.Spelling)
	r := s.run("watch", "--owner", north.Spelling, "--json").expect(statusHeld).says(pid, "with the state folder "+s.folder, "end that one first")
	if r.out != "" || strings.Count(r.err, pid) != 1 {
		t.Errorf("stdout %s, stderr %s", r.out, r.err)
	}
	s.publish(s.north, `"kept"`, "a") // by the first, which was not thrown off
	first.await(first.out, `"kept"`)
	s.eventually("it is acknowledged", func() bool { return s.box.Subscriber(s.north).Acknowledged == 1 })

	// Other owners and other commands are not hindered.
	others := s.start("watch", "--json")
	if line := others.await(others.err, pid); !strings.HasPrefix(line, "fdsdemo: warning: ") {
		t.Errorf("stderr %s", others.err)
	}
	s.eventually("the other owner is subscribed", func() bool { return len(s.box.Subscriber(s.south).Subscriptions) > 0 })
	s.publish(s.south, `"others"`, "a")
	others.await(others.out, `"others"`)
	s.run("get", "statuses").expect(statusDone)
	s.run("owners").expect(statusDone)

	// An owner is taken up once the other process has ended, however it did.
	first.signal(os.Kill)
	<-first.ended
	others.await(others.err, "Connected: 2 owners.")
	s.publish(s.north, `"taken up"`, "a")
	others.await(others.out, `"taken up"`)
	s.run("logout", south.Spelling).expect(statusDone)
	others.end()
	again := s.watch("--owner", north.Spelling)
	again.end()
}

func TestAPolledOwnerIsReadByOneProcessOfAStateFolder(t *testing.T) {
	s := newSetup(t)
	s.poll("{time_member: generic.date_time}")
	s.signIn(s.north)
	first := s.watch("--json")
	s.run("watch").expect(statusHeld).says(fmt.Sprint("process ", first.cmd.Process.Pid, " watches subscription "+north.Spelling))
	first.end()
}

func TestTheEndOfAGrantEndsItsConnectionAndSaysWhy(t *testing.T) {
	s := newSetup(t)
	s.dialect("{subscription_parameter: owner}")
	s.box.SetTokenLifetimes(5*time.Second, 0)
	s.signIn(s.north, s.south)
	p := s.watch("--json")
	s.box.Withdraw(s.north)
	if line := p.await(p.err, "took subscription "+north.Spelling+" out of the grant"); !strings.Contains(line, "sign in again") {
		t.Errorf("the line is %s", line)
	}
	s.eventually("the connection ends", func() bool { return len(s.box.Connections()) == 1 })
	s.publish(s.south, `"on"`, "a")
	p.await(p.out, `"on"`)
	p.end()
}

func TestALapsedGrantEndsWatchWithStatus3AndSaysWhy(t *testing.T) {
	s := newSetup(t)
	s.lapse(s.north)
	s.run("watch").expect(statusSignIn).says("sign in again", north.Spelling, "fdsdemo login")
}

func TestAReaderThatDoesNotReadIsSeenInTheStatus(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	c := s.command("watch", "--json")
	c.Stdout = write
	p := start(t, c)
	write.Close()
	p.await(p.err, "Connected: ")
	for range 3 {
		s.publish(s.north, `"`+strings.Repeat("x", 200_000)+`"`, "large") // more than a pipe holds
	}
	p.await(p.err, "Status: 2 messages are not written yet.")
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			if _, err := read.Read(buffer); err != nil {
				return
			}
		}
	}()
	p.await(p.err, "Status: all is well again.")
	p.end()
}

func TestWatchSaysWhatItHasFetched(t *testing.T) {
	s := newSetup(t)
	s.configure("  ca_file:", "  dialect: {from_parameter: from, to_parameter: to, time_member: generic.date_time}\n  ca_file:")
	s.signIn(s.north)
	s.watch().end()
	s.box.Inject(fdstest.LoseSessions(s.north))
	if err := s.box.AddEvent(s.north, fmt.Appendf(nil, `{"message_id":"missed","generic":{"date_time":%q,"device_id":"D"}}`, time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"))); err != nil {
		t.Fatal(err)
	}
	p := s.watch("--json")
	p.await(p.err, "messages may have been lost")
	p.await(p.err, "What 1 owner missed is fetched: 1 message.")
	p.end()
}

func TestWhatTheTopicsDoNotNameIsNotFetched(t *testing.T) {
	s := newSetup(t)
	const settings = "from_parameter: from, to_parameter: to, time_member: generic.date_time"
	limited := func(dialect string, more ...string) {
		s.configure(append([]string{"  ca_file:", "  dialect: {" + dialect + "}\n  ca_file:"}, more...)...)
	}
	event := func(id string) {
		t.Helper()
		at := time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")
		for _, device := range []string{"D", "E"} {
			if err := s.box.AddEvent(s.north, fmt.Appendf(nil, `{"message_id":"%s%s","generic":{"date_time":%q,"device_id":%[2]q}}`, id, device, at)); err != nil {
				t.Fatal(err)
			}
		}
	}
	topics := []string{"owners/", "owners/\n  topics: [devices/D/events]"}
	limited(settings+", event_topic: 'devices/{generic.device_id}/events', status_topic: 'devices/{device_id}/status'", topics...)
	s.signIn(s.north)
	s.watch().end()
	s.box.Inject(fdstest.LoseSessions(s.north))
	event("missed")
	p := s.watch("--json")
	p.await(p.out, `"missedD"`)
	p.await(p.err, "What 1 owner missed is fetched")
	if r := p.end(); strings.Contains(r.out, `"missedE"`) {
		t.Errorf("stdout %s", r.out)
	}

	// Where that cannot be told, the gap stays open with what to set; or nobody asks.
	limited(settings, topics...)
	s.box.Inject(fdstest.LoseSessions(s.north))
	event("again")
	p = s.watch("--json")
	if line := p.await(p.err, "provider.dialect.event_topic"); !strings.Contains(line, "push.gaps: off") || strings.Contains(line, "Push.") || strings.Contains(line, "EventTopic") {
		t.Errorf("the line is %s", line)
	}
	p.await(p.err, "Status: what 1 owner may have missed is not fetched yet, since ")
	if r := p.end(); r.out != "" || strings.Contains(r.err, "Push.Topics") || strings.Count(r.err, "cannot be told: a gap stays open") != 1 {
		t.Errorf("stdout %s, stderr %s", r.out, r.err)
	}
	if r := s.run("owners", "--json").expect(statusDone); !strings.Contains(r.out, `"gap":{"from":`) {
		t.Errorf("stdout %s", r.out)
	}
	if r := s.run("owners").expect(statusDone); !strings.Contains(r.out, "gap since ") {
		t.Errorf("stdout %s", r.out)
	}
	limited(settings, topics[0], topics[1]+"\n  gaps: off")
	s.box.Inject(fdstest.LoseSessions(s.north))
	p = s.watch("--json")
	s.publish(s.north, `"live"`, "devices", "D", "events")
	p.await(p.out, `"live"`)
	if r := p.end(); len(r.lines()) != 1 || strings.Contains(r.err, "lost") {
		t.Errorf("stdout %s, stderr %s", r.out, r.err)
	}
}

func TestTheStatusNamesWhatIsAmiss(t *testing.T) {
	now := time.Date(2026, 11, 28, 10, 0, 0, 0, time.Local)
	key := func(n byte) fds.OwnerKey {
		id, err := fds.ParseSubscriptionID(fmt.Sprintf("1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e%02d", n))
		if err != nil {
			t.Fatal(err)
		}
		return fds.OwnerKey{SubscriptionID: id}
	}
	failing := &delivery.Failing{Attempts: 3, Err: errors.New("full")}
	for _, c := range []struct {
		conditions []fdsclient.Condition
		want       string
	}{
		{nil, ""},
		{[]fdsclient.Condition{{}, {Waiting: 5, Last: now.Add(-time.Second)}, {Waiting: 5, Connection: push.State{Since: now.Add(-time.Second)}}}, ""},
		{[]fdsclient.Condition{{Waiting: 5, Last: now.Add(-time.Minute)}, {Waiting: 1, Last: now}}, "6 messages are not written yet"},
		{[]fdsclient.Condition{{Waiting: 1}}, "1 message is not written yet"},
		{[]fdsclient.Condition{{Gap: &fdsclient.Gap{Since: now.Add(-time.Minute)}}, {Gap: &fdsclient.Gap{Since: now.Add(-time.Hour)}}}, "what 2 owners may have missed is not fetched yet, since 2026-11-28 09:00:00"},
		{[]fdsclient.Condition{{Failing: failing, Gap: &fdsclient.Gap{Since: now}}}, "what 1 owner may have missed is not fetched yet, since 2026-11-28 10:00:00; a message of 1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e00 failed 3 times: full"},
	} {
		conditions := make(map[fds.OwnerKey]fdsclient.Condition)
		for i, condition := range c.conditions {
			conditions[key(byte(i))] = condition
		}
		if got := statusOfOwners(conditions, now); got != c.want {
			t.Errorf("%+v: %q, want %q", c.conditions, got, c.want)
		}
	}
	many := map[fds.OwnerKey]fdsclient.Condition{key(1): {Failing: failing}, key(2): {Failing: failing}, key(3): {Failing: failing}}
	if got := statusOfOwners(many, now); !strings.HasSuffix(got, " failed 3 times: full, and one of 2 owners more") {
		t.Errorf("%q", got)
	}

	var line statusLine
	for i, c := range []struct {
		after        time.Duration
		status, want string
	}{
		{0, "", ""},
		{5 * time.Second, "5 waiting", "Status: 5 waiting."},
		{10 * time.Second, "7 waiting", ""}, // which only its number tells from the one before
		{15 * time.Second, "a gap", "Status: a gap."},
		{20 * time.Second, "", "Status: all is well again."},
		{25 * time.Second, "", ""},
		{30 * time.Second, "8 waiting", "Status: 8 waiting."},
		{90 * time.Second, "9 waiting", "Status: 9 waiting."},
	} {
		if got := line.next(c.status, now.Add(c.after)); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}
