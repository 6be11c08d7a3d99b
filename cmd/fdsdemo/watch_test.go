package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

func (s *setup) publish(o fdstest.Owner, payload string, levels ...string) {
	s.t.Helper()
	if err := s.box.Publish(context.Background(), o, levels, []byte(payload), 1, false); err != nil {
		s.t.Fatal(err)
	}
}

// watch starts the program and waits until its owners are connected or polled.
func (s *setup) watch(args ...string) *process {
	s.t.Helper()
	p := s.start(append([]string{"watch"}, args...)...)
	up := "Connected: "
	if s.polls {
		up = "Polled: "
	}
	p.await(p.err, up)
	return p
}

// end sends SIGTERM, after which watch ends well and says nothing more.
func (p *process) end() result {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	return p.wait().expect(statusDone)
}

var receivedAt = regexp.MustCompile(`"received_at":"([^"]*)"`)

func TestWatchJSONIsTheContractByteForByte(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.south) // whose ID the provider spells with capitals
	p := s.watch("--json")
	base64Of := func(text string) string {
		return `"payload_base64":"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"`
	}
	for i, c := range []struct {
		payload string
		levels  []string
		want    string // of the levels and the payload
	}{
		{odd, []string{"devices", "d1", "status"}, `"payload":` + oddCompact},
		{` [ 1.0 , -0, 1e400, "\u0000" ] `, []string{"a"}, `"payload":[1.0,-0,1e400,"\u0000"]`},
		{"null", []string{"a"}, `"payload":null`},
		{`"a b"`, []string{`q"<&> \`, "ü"}, `"payload":"a b"`},
		{`{"a":1,"a":2}`, []string{"a"}, `"payload":{"a":1,"a":2}`},
		{"", []string{"a"}, `"payload_base64":""`},
		{"hello", []string{"a"}, base64Of("hello")},
		{"\x00\xff", []string{"a"}, base64Of("\x00\xff")},
		{"{\"a\":\"\xff\"}", []string{"a"}, base64Of("{\"a\":\"\xff\"}")},
		{"\ufeff{}", []string{"a"}, base64Of("\ufeff{}")},
		{`{"a":1} {}`, []string{"a"}, base64Of(`{"a":1} {}`)},
	} {
		s.publish(s.south, c.payload, c.levels...)
		line := p.awaitNth(p.out, "{", i+1)
		at := receivedAt.FindStringSubmatch(line)
		if at == nil {
			t.Fatalf("no received_at in %s", line)
		}
		if when, err := time.Parse(time.RFC3339, at[1]); err != nil || time.Since(when) > deadline || time.Since(when) < 0 {
			t.Errorf("received_at is %s", at[1])
		}
		topic, levels := "fds/v2/"+south.Spelling, ""
		for i, l := range c.levels {
			topic += "/" + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(l)
			if i > 0 {
				levels += ","
			}
			levels += `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(l) + `"`
		}
		want := fmt.Sprintf(`{"owner":"%s","issuer":"%s","topic":"%s","levels":[%s],"qos":1,"retained":false,"duplicate":false,"source":"push",%s,%s}`,
			strings.ToLower(south.Spelling), s.box.Issuer(), topic, levels, at[0], c.want)
		if line != want {
			t.Errorf("the line is\n%s\nwant\n%s", line, want)
		}
	}
	if r := p.end(); len(r.lines()) != 11 {
		t.Errorf("%d lines for 11 messages:\n%s", len(r.lines()), r.out)
	}
}

func TestQualityRetainedAndDuplicateAreTold(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	if err := s.box.Publish(t.Context(), s.north, []string{"r"}, []byte("1"), 1, true); err != nil {
		t.Fatal(err)
	}
	p := s.watch("--json")
	if line := p.await(p.out, `/r"`); !strings.Contains(line, `"qos":1,"retained":true,"duplicate":false`) {
		t.Errorf("a retained message: %s", line)
	}
	if err := s.box.Publish(t.Context(), s.north, []string{"z"}, []byte("2"), 0, false); err != nil {
		t.Fatal(err)
	}
	if line := p.await(p.out, `/z"`); !strings.Contains(line, `"qos":0,"retained":false,"duplicate":false`) {
		t.Errorf("quality of service 0: %s", line)
	}
	p.end()
}

func TestASignalEndsWatchWith0AndTheBrokerKeepsTheSession(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	for i, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		p := s.watch("--json")
		p.signal(signal)
		p.wait().expect(statusDone)
		if sub := s.box.Subscriber(s.north); !sub.Session {
			t.Fatalf("%v: the session is gone: %+v", signal, sub)
		}
		var want []string
		for n := range 3 {
			want = append(want, fmt.Sprintf(`"payload":"%d.%d"`, i, n))
			s.publish(s.north, fmt.Sprintf(`"%d.%d"`, i, n), "queued")
		}
		p = s.watch("--json")
		p.await(p.out, want[2])
		if r := p.end(); len(r.lines()) != 3 || !strings.Contains(r.lines()[0], want[0]) || !strings.Contains(r.lines()[1], want[1]) {
			t.Errorf("%v: after the restart came\n%s", signal, r.out)
		}
	}
}

func TestAMessageIsAcknowledgedOnlyWhenItsLineIsWritten(t *testing.T) {
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
	write.Close() // here; the process has its own
	p.await(p.err, "Connected: ")
	s.publish(s.north, `"`+strings.Repeat("x", 500_000)+`"`, "large") // more than a pipe holds
	r := bufio.NewReader(read)
	if _, err := r.Peek(1); err != nil {
		t.Fatal(err)
	}
	for range 20 { // the line is being written, and cannot be done
		if sub := s.box.Subscriber(s.north); sub.Acknowledged != 0 {
			t.Fatalf("acknowledged before it was written: %+v", sub)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if line, err := r.ReadString('\n'); err != nil || len(line) < 500_000 {
		t.Fatalf("%d bytes, %v", len(line), err)
	}
	s.eventually("the message is acknowledged", func() bool { return s.box.Subscriber(s.north).Acknowledged == 1 })
	p.end()
}

func TestAReaderThatHasGoneEndsWatchAndLosesNothing(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := s.command("watch", "--json")
	c.Stdout = write
	p := start(t, c)
	write.Close()
	p.await(p.err, "Connected: ")
	read.Close()
	s.publish(s.north, `"kept"`, "a")
	p.wait().expect(statusFailed).quiet()
	if sub := s.box.Subscriber(s.north); sub.Acknowledged != 0 {
		t.Fatalf("acknowledged though nobody has it: %+v", sub)
	}
	again := s.watch("--json")
	again.await(again.out, `"payload":"kept"`)
	again.end()
}

func TestAReaderThatDoesNotReadCannotKeepWatchFromEnding(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	for _, twice := range []bool{false, true} {
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
		s.publish(s.north, `"`+strings.Repeat("x", 500_000)+`"`, "large")
		if _, err := read.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGTERM)
		if !twice {
			p.wait().expect(statusDone)
			continue
		}
		began := time.Now()
		s.eventually("a second signal ends it at once", func() bool {
			_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
			select {
			case <-p.ended:
				return true
			default:
				return false
			}
		})
		if took := time.Since(began); took > 5*time.Second || p.cmd.ProcessState.ExitCode() == statusDone {
			t.Errorf("after %v: %v", took, p.cmd.ProcessState)
		}
	}
}

func TestWatchFollowsTheNamedOwnersAlone(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, []string{north.Spelling, south.Spelling}},
		{[]string{"--owner", strings.ToLower(south.Spelling)}, []string{south.Spelling}},
		{[]string{"--owner", south.Spelling, "--owner", strings.ToUpper(north.Spelling), "--owner", north.Spelling}, []string{north.Spelling, south.Spelling}},
	} {
		p := s.watch(c.args...)
		if got := s.box.Connections(); !slices.Equal(got, c.want) {
			t.Errorf("%v connects %v, want %v", c.args, got, c.want)
		}
		p.end()
	}
	s.run("watch", "--owner", "3c802e30-7dbf-4e75-8d20-4b1f3e9c5a03").expect(statusSignIn).says("3c802e30", "fdsdemo login")
}

func TestWatchWithNobodySignedInIsStatus3(t *testing.T) {
	s := newSetup(t)
	s.run("watch").expect(statusSignIn).says("nobody has signed in", "fdsdemo login")
}

func TestALapsedOwnerIsWarnedAboutAndTheOthersGoOn(t *testing.T) {
	s := newSetup(t)
	s.lapse(s.north)
	s.signIn(s.south)
	p := s.watch("--json")
	if line := p.await(p.err, "sign in again"); !strings.Contains(line, "warning") || !strings.Contains(line, north.Spelling) {
		t.Errorf("the warning is %q", line)
	}
	s.publish(s.south, `"on"`, "a")
	p.await(p.out, `"payload":"on"`)
	p.end()
}

func TestWatchTakesUpAConnectionThatWasLost(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	p := s.watch("--json")
	s.box.Inject(fdstest.DropConnections())
	p.awaitNth(p.err, "Connected: ", 2)
	s.publish(s.north, `"after"`, "a")
	p.await(p.out, `"payload":"after"`)
	p.end()
}

func TestACertificateThatCannotServeEndsWatchAtOnce(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	now := time.Now()
	cn := north.Spelling
	own := "owners/" + cn + ".pem"
	for _, c := range []struct {
		name string
		put  func()
		says string
	}{
		{"expired", func() {
			s.certificate(s.north, fdstest.CertificateRequest{CommonName: cn, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)})
		}, "expired"},
		{"not yet valid", func() {
			s.certificate(s.north, fdstest.CertificateRequest{CommonName: cn, NotBefore: now.Add(time.Hour)})
		}, "valid only from"},
		{"for servers", func() {
			s.certificate(s.north, fdstest.CertificateRequest{CommonName: cn, Usages: serverUsage})
		}, "client"},
		{"of another authority", func() {
			s.certificate(s.north, fdstest.CertificateRequest{CommonName: cn, ForeignCA: true})
		}, "certificate"},
		{"of another owner", func() {
			s.certificate(s.north, fdstest.CertificateRequest{CommonName: south.Spelling})
		}, "0x8"},
		{"with another key", func() {
			a, errA := s.box.OwnerCertificate(s.north)
			b, errB := s.box.OwnerCertificate(s.north)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			s.write(own, string(a.ChainPEM)+string(b.KeyPEM))
		}, "do not belong together"},
		{"not a certificate", func() { s.write(own, "nothing") }, "no certificate in PEM form"},
		{"missing", func() {
			if err := os.Remove(s.folder + "/" + own); err != nil {
				t.Fatal(err)
			}
		}, "holds neither"},
	} {
		c.put()
		began := time.Now()
		r := s.run("watch").expect(statusFailed).says(c.says)
		if took := time.Since(began); took > giveUpAfter/2 {
			t.Errorf("%s: it took %v; stderr: %s", c.name, took, r.err)
		}
	}
	// One owner that cannot connect does not end the others.
	s.signIn(s.south)
	p := s.start("watch", "--json")
	p.await(p.err, "holds neither")
	s.eventually("the other is subscribed", func() bool { return len(s.box.Subscriber(s.south).Subscriptions) > 0 })
	s.publish(s.south, `"on"`, "a")
	p.await(p.out, `"payload":"on"`)
	p.end()
}

func TestABrokerThatDeniesEndsWatchAtOnce(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.AnswerConnect(fdstest.Connack{Code: 0x87, Reason: "not\x1b[2J you"}))
	r := s.run("watch").expect(statusFailed).says("0x87", "not authorized")
	if strings.ContainsRune(r.err, 0x1b) {
		t.Errorf("the broker controls the terminal: %q", r.err)
	}
}

func TestAttackAnUntrustedBrokerEndsWatchAtOnce(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	for says, request := range map[string]fdstest.CertificateRequest{
		"authority that is not trusted": {Hosts: []string{"127.0.0.1"}, ForeignCA: true, Usages: serverUsage},
		"certificate is not for":        {Hosts: []string{"other.example"}, Usages: serverUsage},
	} {
		s.configure(s.box.BrokerURL(), "mqtts://"+s.handshakes(request))
		began := time.Now()
		s.run("watch").expect(statusFailed).says(says)
		if took := time.Since(began); took > giveUpAfter/2 {
			t.Errorf("it took %v, which is a try again", took)
		}
	}
}

func TestAnUnreachableBrokerEndsWatchAfter30Seconds(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.configure(s.box.BrokerURL(), "mqtts://"+unusedAddress)
	began := time.Now()
	s.run("watch").expect(statusFailed).says("no connection within 30s", "nothing listens there")
	if took := time.Since(began); took < giveUpAfter || took > giveUpAfter+5*time.Second {
		t.Errorf("it tried for %v, want %v", took, giveUpAfter)
	}
}

func TestATakeOverEndsWatchWithStatus1(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	p := s.watch()
	s.box.Inject(fdstest.Disconnect(0x8E, "", ""))
	p.wait().expect(statusFailed)
	if !strings.Contains(p.err.String(), "taken over by another process") {
		t.Errorf("stderr %s", p.err)
	}
}

func TestWatchNeedsABrokerAndCertificates(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.configure("  broker_url: "+s.box.BrokerURL()+"\n", "")
	s.run("watch").expect(statusUsage).says("provider.broker_url is missing; for a provider without a broker set poll.interval")
	s.configure("  certificates: owners/\n", "")
	s.run("watch").expect(statusUsage).says("push.certificates is missing")
}

func TestAttackWatchForEyesObeysNoControlSequence(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	p := s.watch()
	s.publish(s.north, `{"device_id":"d","generic":{"device_type":"x\u001b[2J"},"device_type_specific":{"fill_level":42,"a":"\u009b\u202e"}}`, "devices", "d\u202e", "status")
	line := p.await(p.out, "fill_level")
	for _, c := range line {
		if c < ' ' || c >= 0x7f && c <= 0xa0 || c == 0x202e {
			t.Errorf("%U is on the terminal: %q", c, line)
		}
	}
	for _, part := range []string{north.Spelling[:8], `devices/d\u202e/status`, `x\u001b[2J`, "fill_level 42 ##..."} {
		if !strings.Contains(line, part) {
			t.Errorf("the line does not have %q: %s", part, line)
		}
	}
	s.publish(s.north, "\x1b[2J", "a")
	p.await(p.out, "4 bytes that are no FDS item")
	p.end()
}

func TestEveryLineOfWatchJSONParses(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	p := s.watch("--json")
	const each = 200
	for n := range each {
		s.publish(s.north, fmt.Sprintf(`{"n":%d}`, n), "a")
		s.publish(s.south, fmt.Sprintf(`{"n":%d}`, n), "a")
	}
	p.awaitNth(p.out, "{", 2*each)
	next := make(map[string]int) // owners write at once, each in its order
	for _, line := range p.end().lines() {
		var m struct {
			Owner   string
			Payload struct{ N int }
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if m.Payload.N != next[m.Owner] {
			t.Errorf("message %d of %s came in place of %d", m.Payload.N, m.Owner, next[m.Owner])
		}
		next[m.Owner]++
	}
}

func TestACertificateNamedForAnotherOwnerIsWarnedAboutOnce(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.certificate(s.north, fdstest.CertificateRequest{CommonName: south.Spelling})
	r := s.run("watch").expect(statusFailed) // the box refuses it; Mosquitto takes it for the other owner's
	if n := strings.Count(r.err, "named for another subscription, "+strings.ToLower(south.Spelling)); n != 1 || !strings.Contains(r.err, "push.certificates (subscription "+north.Spelling+")") {
		t.Errorf("stderr %s", r.err)
	}
	for _, name := range []string{strings.ToUpper(north.Spelling), "fleet app"} {
		s.certificate(s.north, fdstest.CertificateRequest{CommonName: name})
		if r := s.run("owners").expect(statusDone); r.err != "" {
			t.Errorf("a certificate named %s: %s", name, r.err)
		}
	}
}
