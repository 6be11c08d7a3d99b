package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

// odd is an item whose spelling a careless program would change: member order,
// numbers, escapes, duplicates, characters that HTML encoders escape.
const (
	odd        = "{ \"device_id\" : \"d1\",\n\t\"generic\": {\"device_type\":\"dispenser\"}, \"z\":1.0, \"a\": 1E+2, \"big\": 12345678901234567890123, \"neg\":-0, \"t\": \"<\\u00e9\\/\\ud83d\\ude00&> \\u2028 ü\", \"z\" : [ ] }"
	oddCompact = "{\"device_id\":\"d1\",\"generic\":{\"device_type\":\"dispenser\"},\"z\":1.0,\"a\":1E+2,\"big\":12345678901234567890123,\"neg\":-0,\"t\":\"<\\u00e9\\/\\ud83d\\ude00&> \\u2028 ü\",\"z\":[]}"
)

func (s *setup) device(o fdstest.Owner, item string) {
	s.t.Helper()
	if err := s.box.AddDevice(o, []byte(item)); err != nil {
		s.t.Fatal(err)
	}
}

func TestGetJSONIsWhatTheProviderSentByteForByte(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, odd)
	s.signIn(s.north)
	if r := s.run("get", "specifications", "--json").expect(statusDone); r.out != oddCompact+"\n" || r.err != "" {
		t.Errorf("stdout\n%s\nwant\n%s\nstderr %q", r.out, oddCompact, r.err)
	}
}

// lapse signs an owner in whose access token has expired and whose grant the
// provider has ended.
func (s *setup) lapse(o fdstest.Owner) {
	s.t.Helper()
	s.expire(func() { s.signIn(o) })
	if n := s.box.RevokeGrants(o); n != 1 {
		s.t.Fatalf("%d grants were revoked, want 1", n)
	}
}

// expire waits until an access token has expired that was issued during signIn.
func (s *setup) expire(signIn func()) {
	s.t.Helper()
	s.box.SetTokenLifetimes(2*time.Second, 0) // within which an ID token is looked at
	signIn()
	s.box.SetTokenLifetimes(10*time.Minute, 0)
	s.eventually("the access token expires", func() bool {
		return strings.Contains(s.run("owners", "--json").expect(statusDone).out, `"token":"renewable"`)
	})
}

func TestEveryKindIsRead(t *testing.T) {
	s := newSetup(t)
	item := `{"device_id":"d1","generic":{"device_type":"robot"},"of":"`
	s.device(s.north, item+`specifications"}`)
	for _, err := range []error{
		s.box.SetStatus(s.north, []byte(item+`statuses"}`)),
		s.box.SetStatistic(s.north, []byte(item+`statistics"}`)),
		s.box.SetDiagnostic(s.north, []byte(item+`diagnostics"}`)),
		s.box.AddSpace(s.north, []byte(`{"space_id":"s1","generic":{"space_type":"site"},"of":"spaces"}`)),
		s.box.AddEvent(s.north, []byte(`{"message_id":"m1","generic":{"device_id":"d1"},"of":"events"}`)),
		s.box.AddEventSpecification([]byte(`{"code":"c1","generic":{},"of":"event-specifications"}`)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.signIn(s.north)
	for _, kind := range kindNames() {
		if r := s.run("get", kind, "--json").expect(statusDone); strings.Count(r.out, `"of":"`+kind+`"`) != 1 {
			t.Errorf("get %s: %s", kind, r.out)
		}
		if r := s.run("get", kind).expect(statusDone); !strings.Contains(r.out, kind) {
			t.Errorf("get %s: %s", kind, r.out)
		}
	}
}

func TestGetOfAllOwnersOrOneOrSomeDevices(t *testing.T) {
	s := newSetup(t)
	for _, id := range []string{"n1", "n2", "n3"} {
		s.device(s.north, `{"device_id":"`+id+`","generic":{}}`)
	}
	s.device(s.south, `{"device_id":"s1","generic":{}}`)
	s.signIn(s.north)
	s.signIn(s.south)
	for _, c := range []struct {
		args string
		want string
	}{
		{"", "n1 n2 n3 s1"},
		{"--owner " + north.Spelling, "n1 n2 n3"},
		{"--owner " + strings.ToLower(south.Spelling), "s1"},
		{"--owner " + strings.ToUpper(north.Spelling) + " --ids n3,n1", "n1 n3"},
		{"--ids n2,s1", "n2 s1"},
		{"--ids nothing", ""},
	} {
		var got []string
		r := s.run(append([]string{"get", "specifications", "--json"}, strings.Fields(c.args)...)...).expect(statusDone)
		for _, id := range []string{"n1", "n2", "n3", "s1"} {
			if strings.Contains(r.out, `"device_id":"`+id+`"`) {
				got = append(got, id)
			}
		}
		if strings.Join(got, " ") != c.want || len(r.lines()) != len(strings.Fields(c.want)) {
			t.Errorf("get %s gives\n%s\nwant %s", c.args, r.out, c.want)
		}
	}
	for _, shown := range []string{"Owner " + north.Spelling, "Owner " + strings.ToLower(south.Spelling)} {
		if r := s.run("get", "specifications").expect(statusDone); !strings.Contains(r.out, shown) {
			t.Errorf("the tables do not say %q:\n%s", shown, r.out)
		}
	}
}

func TestGetWithoutTheOwnerIsStatus3(t *testing.T) {
	s := newSetup(t)
	s.run("get", "statuses").expect(statusSignIn).says("nobody has signed in", "fdsdemo login")
	s.signIn(s.north)
	s.run("get", "statuses", "--owner", south.Spelling).expect(statusSignIn).says(strings.ToLower(south.Spelling), "not signed in", "fdsdemo login")
}

func TestAStoredAccessTokenIsUsedAgain(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	before := s.box.Requests(fdstest.TokenEndpoint)
	for range 3 {
		s.run("get", "statuses", "--json").expect(statusDone)
	}
	if spent := s.box.Requests(fdstest.TokenEndpoint) - before; spent != 0 {
		t.Errorf("%d renewals for a token that is fresh", spent)
	}
}

func TestALapsedGrantIsStatus3(t *testing.T) {
	s := newSetup(t)
	s.lapse(s.north)
	r := s.run("get", "statuses").expect(statusSignIn).says(north.Spelling, "sign in again", "fdsdemo login")
	if strings.Count(r.err, "\n") != 2 || !strings.HasPrefix(r.err, "fdsdemo: asking the provider again in ") {
		t.Errorf("stderr %s", r.err)
	}
	if again := s.run("get", "statuses").expect(statusSignIn); strings.Count(again.err, "\n") != 1 {
		t.Errorf("more than a sentence: %s", again.err)
	}
	s.device(s.north, odd)
	s.signIn(s.north)
	s.run("get", "specifications").expect(statusDone)
}

func TestOneFailingOwnerDoesNotHideTheOthers(t *testing.T) {
	s := newSetup(t)
	s.device(s.south, odd)
	s.lapse(s.north)
	s.signIn(s.south)
	r := s.run("get", "specifications", "--json").expect(statusSignIn)
	if r.out != oddCompact+"\n" || !strings.Contains(r.err, north.Spelling) || strings.Contains(r.err, strings.ToLower(south.Spelling)) {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}
}

func TestAnItemThatIsNoneDoesNotHideTheOthers(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.Answer(fdstest.APIPath("specifications"), 200, "application/json", `["text", `+odd+`]`))
	r := s.run("get", "specifications", "--json").expect(statusFailed)
	if r.out != oddCompact+"\n" || !strings.Contains(r.err, "malformed item") {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}
}

func TestARefusalIsASentence(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	for _, c := range []struct {
		status     int
		body, says string
	}{
		{400, `{"status":400,"message":"invalid_parameter"}`, "refuses a parameter or the body"},
		{200, `{"status":204,"message":"not_implemented"}`, "does not implement"},
		{404, `{"status":404,"message":"x\u001b[2J"}`, "does not know this address"},
		{200, `<html>`, "unusable answer"},
	} {
		off := s.box.Inject(fdstest.Answer(fdstest.APIEndpoint, c.status, "application/json", c.body))
		r := s.run("get", "statistics").expect(statusFailed).says(c.says)
		if strings.ContainsRune(r.err, 0x1b) {
			t.Errorf("the provider controls the terminal: %q", r.err)
		}
		off()
	}
}

func TestGetOutlivesAShortOutageAndPrintsNothingTwice(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, odd)
	s.device(s.north, strings.Replace(odd, "d1", "d2", 1))
	s.signIn(s.north)
	s.box.Inject(fdstest.Truncated(fdstest.APIPath("specifications")).Times(2))
	r := s.run("get", "specifications", "--json").expect(statusDone)
	if len(r.lines()) != 2 || !strings.Contains(r.err, "trying again for up to 30s") {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}
}

func TestAnUnreachableAPIIsStatus1Within30Seconds(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.configure("api_url: "+s.box.APIURL(), "api_url: https://"+unusedAddress)
	began := time.Now()
	s.run("get", "statuses").expect(statusFailed).says("nothing listens there", north.Spelling)
	if took := time.Since(began); took > giveUpAfter+5*time.Second || took < giveUpAfter/3 {
		t.Errorf("it tried for %v, want up to %v", took, giveUpAfter)
	}
}

func TestASilentAPIIsStatus1After30Seconds(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.Slow(fdstest.APIEndpoint, time.Hour))
	began := time.Now()
	r := s.run("get", "statuses").expect(statusFailed).says(north.Spelling)
	if took := time.Since(began); took > giveUpAfter+5*time.Second {
		t.Errorf("it took %v", took)
	}
	if !strings.Contains(r.err, "did not answer") && !strings.Contains(r.err, "timeout awaiting") {
		t.Errorf("it does not say why: %s", r.err)
	}
}

func TestAttackAnUntrustedAPIGetsNothingAndFailsAtOnce(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.configure("api_url: "+s.box.APIURL(), "api_url: https://"+s.handshakes(fdstest.CertificateRequest{Hosts: []string{"127.0.0.1"}, ForeignCA: true}))
	began := time.Now()
	s.run("get", "statuses").expect(statusFailed).says("authority that is not trusted")
	if took := time.Since(began); took > giveUpAfter/2 {
		t.Errorf("it took %v, which is a try again", took)
	}
}

func TestASignalEndsGetWithStatus1(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.Slow(fdstest.APIEndpoint, time.Hour))
	for i, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		p := s.start("get", "statuses")
		s.eventually("the API is asked", func() bool { return s.box.Requests(fdstest.APIEndpoint) > i })
		p.signal(signal)
		p.wait().expect(statusFailed).says("interrupted")
	}
}

func TestGetWithoutAnAPIURLIsAFaultOfTheConfiguration(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.configure("  api_url: "+s.box.APIURL()+"\n", "")
	s.run("get", "statuses").expect(statusUsage).says("provider.api_url is missing")
}

func TestAttackATableObeysNoControlSequence(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, `{"device_id":"d1\u001b]0;x\u0007","generic":{"device_type":"dis\u009bpenser","a\u001b[2J":"\u202e"},"device_type_specific":{"fill_level":50,"x":{"y\u001b":"\u001b"}}}`)
	s.signIn(s.north)
	r := s.run("get", "specifications").expect(statusDone)
	for _, c := range "\x1b\x07\u009b\u202e" {
		if strings.ContainsRune(r.out, c) {
			t.Errorf("%U is on the terminal: %q", c, r.out)
		}
	}
	if !strings.Contains(r.out, `d1\u001b]0;x\u0007`) || !strings.Contains(r.out, "#####.....") {
		t.Errorf("stdout %q", r.out)
	}
}

func TestAClosedPipeEndsQuietlyWithStatus1(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, odd)
	s.signIn(s.north)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	defer write.Close()
	for _, args := range [][]string{{"get", "specifications", "--json"}, {"get", "specifications"}, {"owners"}, {"owners", "--json"}} {
		c := s.command(args...)
		c.Stdout = write
		if r := start(t, c).wait().expect(statusFailed); r.err != "" {
			t.Errorf("%v: %s", args, r.err)
		}
	}
}

func TestA401RightAfterTheSignInSpendsNoRenewal(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, odd)
	s.signIn(s.north)
	before := s.box.Requests(fdstest.TokenEndpoint)
	s.box.Inject(fdstest.Unauthorized(fdstest.APIEndpoint).Times(1))
	if r := s.run("get", "specifications", "--json").expect(statusDone); r.out != oddCompact+"\n" {
		t.Errorf("stdout %q", r.out)
	}
	if n := s.box.Requests(fdstest.TokenEndpoint) - before; n != 0 {
		t.Errorf("%d renewals", n)
	}
}

func TestAnAnswerThatIsNoListNamesTheSettingThatHelps(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.Answer(fdstest.APIEndpoint, 200, "application/json", `{"items":[`+odd+`]}`))
	s.run("get", "statuses").expect(statusFailed).says("the answer is an object", "name it in provider.dialect.list_member")
	s.configure("  ca_file:", "  dialect: {list_member: data}\n  ca_file:")
	s.run("get", "statuses").expect(statusFailed).says(`no member "data", which provider.dialect.list_member names`)
	s.configure("  ca_file:", "  dialect: {list_member: items}\n  ca_file:")
	if r := s.run("get", "statuses", "--json").expect(statusDone); r.out != oddCompact+"\n" {
		t.Errorf("stdout %s", r.out)
	}
}

func TestAFullDiskIsTold(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full: ", err)
	}
	defer full.Close()
	c := s.command("owners")
	c.Stdout = full
	start(t, c).wait().expect(statusFailed).says("cannot write to standard output")
}
