package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const (
	hookAudience = "https://app.example/fds"
	hookSecret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// hook configures an endpoint, with more keys.
func (s *setup) hook(more ...string) {
	s.t.Helper()
	server, err := s.box.IssueCertificate(fdstest.CertificateRequest{CommonName: "localhost", Hosts: []string{"127.0.0.1"}, Usages: serverUsage})
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("hook.pem", string(server.ChainPEM)+string(server.KeyPEM))
	section := []string{"webhook:", "certificate_file: hook.pem", "listen: 127.0.0.1:0", "audience: " + hookAudience, "senders: [fdsbox-sender]"}
	s.configure("push:\n", strings.Join(append(section, more...), "\n  ")+"\npush:\n")
}

// listen starts the command and returns where it listens.
func (s *setup) listen(args ...string) (p *process, url string) {
	s.t.Helper()
	p = s.start(append([]string{"webhook"}, args...)...)
	line := p.await(p.err, "Listening at ")
	_, rest, _ := strings.Cut(line, "Listening at ")
	url, _, _ = strings.Cut(rest, " ")
	return p, url
}

// sender is the box's, to that URL; nothing is sent that is published.
func (s *setup) sender(url string, change ...func(*fdstest.Webhook)) *fdstest.Sender {
	s.t.Helper()
	w := fdstest.Webhook{URL: url, Audience: hookAudience}
	for _, change := range change {
		change(&w)
	}
	sender, err := s.box.SendTo(s.t.Context(), w)
	if err != nil {
		s.t.Fatal(err)
	}
	return sender
}

// answered sends one request and expects a status.
func (s *setup) answered(status int, sender *fdstest.Sender, a fdstest.Attempt) {
	s.t.Helper()
	reply, err := sender.Attempt(s.t.Context(), a)
	if err != nil {
		s.t.Fatal(err)
	}
	if reply.Status != status {
		s.t.Fatalf("the answer is %d, want %d: %s", reply.Status, status, reply.Body)
	}
}

func TestADeliveryIsOneLineAsWatchPrintsIt(t *testing.T) {
	s := newSetup(t)
	s.hook()
	s.signIn(s.south) // whose ID the provider spells with capitals
	p, url := s.listen("--json")
	for _, part := range []string{"of the issuer     " + s.box.Issuer(), "for the audience  " + hookAudience, "issued to         fdsbox-sender", "in the claim subscription_id", "webhook.folder"} {
		p.await(p.err, part)
	}
	sender := s.sender(url)
	s.answered(200, sender, fdstest.Attempt{Owner: s.south, Body: []byte(odd)})
	s.answered(200, sender, fdstest.Attempt{Owner: s.south, Body: []byte(`[{"message_id":"m1"}, {"a":2}]`)})
	s.answered(200, sender, fdstest.Attempt{Owner: s.south, Body: []byte(odd)})
	lines := p.end().lines()
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), p.out)
	}
	for i, want := range []struct{ duplicate, kind, payload string }{
		{"false", "", oddCompact}, {"false", "event", `{"message_id":"m1"}`}, {"false", "", `{"a":2}`}, {"true", "", oddCompact},
	} {
		at := receivedAt.FindStringSubmatch(lines[i])
		if at == nil {
			t.Fatalf("no received_at in %s", lines[i])
		}
		kind := want.kind + `"`
		if want.kind == "event" {
			key, _ := delivery.Message{Owner: fds.OwnerKey{Issuer: s.box.Issuer(), SubscriptionID: s.south.SubscriptionID}, Payload: []byte(want.payload)}.In(&fds.Dialect{}).Key()
			kind += `,"key":"` + key + `"`
		}
		text := fmt.Sprintf(`{"owner":"%s","issuer":"%s","topic":"","levels":[],"qos":0,"retained":false,"duplicate":%s,"source":"webhook","kind":"%s,%s,"payload":%s}`,
			strings.ToLower(south.Spelling), s.box.Issuer(), want.duplicate, kind, at[0], want.payload)
		if lines[i] != text {
			t.Errorf("the line is\n%s\nwant\n%s", lines[i], text)
		}
	}
	if said := p.err.String(); !strings.HasSuffix(said, "Taken: 3 deliveries, 4 messages.\n") {
		t.Errorf("the end is not summed up:\n%s", said)
	}
}

func TestADeliveryIsShownToAPerson(t *testing.T) {
	s := newSetup(t)
	s.hook()
	s.signIn(s.north)
	p, url := s.listen()
	s.answered(200, s.sender(url), fdstest.Attempt{Owner: s.north, Body: []byte(`{"device_id":"soap-1","device_type":"dispenser","dispenser":{"fill_level":41.2}}`)})
	if line := p.await(p.out, "soap-1"); !strings.Contains(line, "  "+north.Spelling[:8]+"  soap-1  (webhook) ") {
		t.Errorf("the line is %q", line)
	}
	p.end()
}

func TestWhatIsRefusedIsToldWithTheReasonAndCounted(t *testing.T) {
	s := newSetup(t)
	s.hook()
	s.signIn(s.north)
	p, url := s.listen("--json")
	sender := s.sender(url)
	body := []byte(`{"a":1}`)
	for range 3 {
		s.answered(401, sender, fdstest.Attempt{Owner: s.north, Body: body, Claims: map[string]any{"aud": s.box.APIURL()}})
	}
	s.answered(403, sender, fdstest.Attempt{Owner: s.south, Body: body})
	s.answered(413, sender, fdstest.Attempt{Owner: s.north, Body: []byte(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`)})
	p.await(p.err, "deliveries were not taken: the token is refused: it is for another audience (aud) than this endpoint: it names [\"https:")
	if line := p.await(p.err, "(status 403, "); !strings.Contains(line, "is not signed in") || !strings.Contains(line, "sign in first: fdsdemo login") {
		t.Errorf("of 403: %s", line)
	}
	if line := p.await(p.err, "(status 413, "); !strings.Contains(line, "; webhook.max_body_bytes is 1048576") {
		t.Errorf("of 413: %s", line)
	}
	s.answered(200, sender, fdstest.Attempt{Owner: s.north, Body: body})
	if r := p.end(); len(r.lines()) != 1 || !strings.HasSuffix(r.err, "Taken: 1 delivery, 1 message. Not taken: 5 deliveries, 3 with 401, 1 with 403, 1 with 413.\n") {
		t.Errorf("stdout %q, the end is not summed up:\n%s", r.out, r.err)
	}
}

func TestARepetitionIsKnownAfterARestartWithAFolder(t *testing.T) {
	s := newSetup(t)
	s.hook("folder: hook/")
	s.signIn(s.north)
	p, url := s.listen("--json")
	delivery := fdstest.Attempt{Owner: s.north, Body: []byte(`{"a":1}`), ID: "msg_1"}
	s.answered(200, s.sender(url), delivery)
	p.await(p.out, `{"a":1}`)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	p, url = s.listen("--json")
	s.answered(200, s.sender(url), delivery)
	s.run("webhook").expect(statusHeld).says("another process")
	if r := p.end(); r.out != "" || !strings.HasSuffix(r.err, "Taken: 1 delivery, 0 messages, and 1 that had been handled before.\n") {
		t.Errorf("stdout %q, stderr:\n%s", r.out, r.err)
	}
}

func TestADeliveryMayHaveToBeSigned(t *testing.T) {
	s := newSetup(t)
	s.write("old.txt", hookSecret+"\n")
	s.write("new.txt", "whsec_"+strings.Repeat("QUJD", 10)+"\n")
	s.hook("secret_files: [old.txt, new.txt]")
	s.signIn(s.north)
	p, url := s.listen("--json")
	p.await(p.err, "by one of 2 secrets")
	body := []byte(`{"a":1}`)
	s.answered(401, s.sender(url), fdstest.Attempt{Owner: s.north, Body: body})
	signs := s.sender(url, func(w *fdstest.Webhook) { w.Secrets = []string{hookSecret} })
	s.answered(200, signs, fdstest.Attempt{Owner: s.north, Body: body})
	p.end()
	if all := p.out.String() + p.err.String(); strings.Contains(all, hookSecret[6:]) {
		t.Error("the secret is put out")
	}
}

func TestAnEndpointTakesOneOwnersPathAlone(t *testing.T) {
	s := newSetup(t)
	s.hook("path: /fds/{subscription_id}")
	s.signIn(s.north)
	p, url := s.listen("--json")
	if !strings.HasSuffix(url, "/fds/{subscription_id}") {
		t.Fatalf("it listens at %s", url)
	}
	sender := s.sender(url)
	body := []byte(`{"a":1}`)
	s.answered(200, sender, fdstest.Attempt{Owner: s.north, Body: body})
	s.answered(403, sender, fdstest.Attempt{Owner: s.north, Body: body, URL: strings.Replace(url, "{subscription_id}", south.Spelling, 1)})
	s.answered(404, sender, fdstest.Attempt{Owner: s.north, Body: body, URL: strings.TrimSuffix(url, "/fds/{subscription_id}")})
	p.end()
}

func TestADeliveryIsAcknowledgedOnlyWhenItsLineIsWritten(t *testing.T) {
	s := newSetup(t)
	s.hook()
	s.signIn(s.north)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := s.command("webhook", "--json")
	c.Stdout = write
	p := start(t, c)
	write.Close()
	line := p.await(p.err, "Listening at ")
	read.Close()
	url, _, _ := strings.Cut(strings.TrimPrefix(line, "Listening at "), " ")
	s.answered(http.StatusServiceUnavailable, s.sender(url), fdstest.Attempt{Owner: s.north, Body: []byte(`{"a":1}`)})
	p.wait().expect(statusFailed).quiet()
}

func TestGrantsAreRenewedWhileDeliveriesAreTaken(t *testing.T) {
	s := newSetup(t)
	s.hook()
	s.expire(func() { s.signIn(s.north) })
	before := s.box.Requests(fdstest.TokenEndpoint)
	p, _ := s.listen("--json")
	s.eventually("the grant is renewed", func() bool { return s.box.Requests(fdstest.TokenEndpoint) > before })
	p.end()
}

func TestAnEndpointThatCannotBeginSaysWhy(t *testing.T) {
	s := newSetup(t)
	s.run("webhook").expect(statusUsage).says("no section webhook", "webhook.audience", "webhook.senders", "webhook.certificate_file")
	s.hook()
	s.run("webhook").expect(statusSignIn).says("sign in first")
	s.signIn(s.north)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.run("webhook", "--listen", l.Addr().String()).expect(statusFailed).says("choose another address with --listen")
	for _, address := range []string{"8443", "127.0.0.1", ":70000", "127.0.0.1:https"} {
		s.run("webhook", "--listen", address).expect(statusUsage).says("--listen " + fmt.Sprintf("%q", address) + " is no address with a port")
	}
}

func TestEveryFaultOfAnEndpointIsStatus2(t *testing.T) {
	s := newSetup(t)
	s.write("short.txt", "whsec_QUJD\n")
	for _, c := range []struct{ name, old, new, says string }{
		{"no audience", "audience: " + hookAudience, `audience: ""`, "webhook.audience is missing"},
		{"the audience of the Web API", "audience: " + hookAudience, "audience: " + s.box.APIURL(), "webhook.audience is that of other tokens than a sender's"},
		{"no senders", "senders: [fdsbox-sender]", "senders: []", "webhook.senders is missing"},
		{"itself as a sender", "senders: [fdsbox-sender]", "senders: [fdsdemo]", "webhook.senders holds this application's own client ID, whose tokens are not a sender's (see application.client_id)"},
		{"no certificate", "certificate_file: hook.pem", "tls: 1.2+", "webhook.certificate_file is missing"},
		{"a certificate without its key", "certificate_file: hook.pem", "certificate_file: ca.pem", "webhook.certificate_file, webhook.key_file: "},
		{"old TLS", "certificate_file: hook.pem", "certificate_file: hook.pem\n  tls: 1.1", `webhook.tls is "1.1"`},
		{"no port", "listen: 127.0.0.1:0", "listen: 127.0.0.1", `webhook.listen "127.0.0.1" is no address with a port`},
		{"a path that is none", "listen: 127.0.0.1:0", "path: fds", `webhook.path "fds" does not begin with a slash`},
		{"an algorithm with a shared key", "listen: 127.0.0.1:0", "algorithms: [HS256]", `webhook.algorithms has "HS256"`},
		{"a proxy that is a name", "listen: 127.0.0.1:0", "proxies: [localhost]", `webhook.proxies has "localhost"`},
		{"everyone as a proxy", "listen: 127.0.0.1:0", "proxies: [0.0.0.0/0]", "webhook.proxies holds 0.0.0.0/0, which is everyone"},
		{"a secret that is none", "listen: 127.0.0.1:0", "secret_files: [pass.txt]", "webhook.secret_files: "},
		{"a short secret", "listen: 127.0.0.1:0", "secret_files: [short.txt]", "whsec_ and base64 of 24 to 64 bytes"},
		{"a missing secret", "listen: 127.0.0.1:0", "secret_files: [none.txt]", "webhook.secret_files: "},
		{"missing authorities", "listen: 127.0.0.1:0", "client_ca_file: none.pem", "webhook.client_ca_file: "},
		{"a large body", "listen: 127.0.0.1:0", "max_body_bytes: 100000000", "webhook.max_body_bytes is 100000000"},
		{"a long skew", "listen: 127.0.0.1:0", "clock_skew: 1h", "webhook.clock_skew is 1h0m0s"},
		{"an unknown key", "listen: 127.0.0.1:0", "port: 8443", `unknown key "webhook.port"`},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			s.t = t
			s.hook()
			text, err := os.ReadFile(s.config)
			if err != nil || !strings.Contains(string(text), c.old) {
				t.Fatal(err, c.old)
			}
			s.write("fdsdemo.yaml", strings.Replace(string(text), c.old, c.new, 1))
			s.run("owners").expect(statusUsage).says(c.says, "fdsdemo.yaml")
		})
	}
	s.t = t
}

func TestNothingIsFetchedToCheckAnEndpoint(t *testing.T) {
	s := newSetup(t)
	s.hook()
	c, err := loadConfiguration(t.Context(), s.config, slog.Default(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var dialled atomic.Int32
	config := c.client
	config.Store, config.State = tokenstore.OpenMemory(), new(statestore.Memory)
	config.Provider.Dial = func(context.Context, string, string) (net.Conn, error) {
		dialled.Add(1)
		return nil, errors.New("not in this test")
	}
	for range 100 { // what was begun may be ended before it gets that far
		client, err := fdsclient.New(config)
		if err != nil {
			t.Fatal(err)
		}
		r := new(reader)
		r.checkEndpoint(client, c.endpoint)
		if err := client.Close(); err != nil || len(r.faults) > 0 {
			t.Fatal(err, r.faults)
		}
	}
	if n := dialled.Load(); n != 0 {
		t.Errorf("the provider was dialled %d times", n)
	}
}

// freeAddress is a port of this machine that is free, of those that no system gives by itself, so
// that it stays free while nobody listens there.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// delivered is what a line of webhook --json shows.
type delivered struct {
	payload string
	at      time.Time // as the box has it
	event   bool      // of which the box tells some a little late
}

func deliveredItem(t *testing.T, text string) delivered {
	t.Helper()
	var line struct {
		Payload json.RawMessage `json:"payload"`
	}
	var item struct {
		MessageID string `json:"message_id"`
		Generic   struct {
			At time.Time `json:"date_time"`
		} `json:"generic"`
	}
	if err := json.Unmarshal([]byte(text), &line); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if err := json.Unmarshal(line.Payload, &item); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return delivered{string(line.Payload), item.Generic.At, item.MessageID != ""}
}

func TestWhatABoxPublishesWhileNobodyListensIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "box")
	box := start(t, invocation(t, "provider", "--dir", folder, "--every", "10ms", "--webhook", "https://"+freeAddress(t)+"/fds"))
	box.await(box.out, "ready")
	with := func(args ...string) *process {
		return start(t, invocation(t, append([]string{"--config", filepath.Join(folder, "fdsdemo.yaml")}, args...)...))
	}
	with("login", "--approve").wait().expect(statusDone)

	first := with("webhook", "--json")
	first.awaitNth(first.out, `"payload"`, 20)
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.ended
	killed := time.Now()
	second := with("webhook", "--json")
	second.await(second.err, "Listening at ")
	back := time.Now()
	for n := 1; !deliveredItem(t, second.awaitNth(second.out, `"payload"`, n)).at.After(back); n++ {
	}
	box.signal(os.Interrupt)
	told := box.wait().expect(statusDone).err
	if said := second.end().err; strings.Contains(said, "webhook.folder") {
		t.Errorf("the box's configuration names no folder:\n%s", said)
	}

	seen := make(map[string]bool)
	again, missed, before := 0, 0, time.Time{}
	for text := range strings.Lines(first.out.String() + second.out.String()) {
		item := deliveredItem(t, text)
		switch {
		case seen[item.payload]:
			again++
		case item.at.Before(before) && !item.event:
			t.Errorf("%s comes after what is of %v", item.payload, before)
		case item.at.After(killed) && item.at.Before(back):
			missed++
		}
		seen[item.payload] = true
		if !item.event {
			before = item.at
		}
	}
	if missed == 0 {
		t.Error("nothing was published while nobody listened, so that this shows nothing")
	}
	if again > 1 { // what was in hand at the kill
		t.Errorf("%d messages came twice", again)
	}
	m := regexp.MustCompile(`webhook: (\d+) acknowledged`).FindAllStringSubmatch(told, -1)
	if m == nil {
		t.Fatalf("the box does not say how deliveries fared:\n%s", told)
	}
	acknowledged, err := strconv.Atoi(m[len(m)-1][1])
	if err != nil || len(seen) < acknowledged || len(seen) > acknowledged+2 { // in hand at the kill, and at the end
		t.Errorf("%d different messages were shown, and %d acknowledged; %v", len(seen), acknowledged, err)
	}
}

func TestEverySettingOfAnEndpointHasAKeyThatReachesIt(t *testing.T) {
	s := newSetup(t)
	s.write("secret.txt", hookSecret+"\n")
	s.hook("path: /fds", `tls: "1.2"`, "introspection: true", "token_type: JWT", "algorithms: [ES256]", "client_claim: azp", "clock_skew: 2m",
		"certificate_bound: true", "client_ca_file: ca.pem", "secret_files: [secret.txt]", "proxies: [192.0.2.7, 2001:db8::/32]", "folder: hook/", "max_marks: 5",
		"max_body_bytes: 6", "max_bytes: 7", "max_in_hand: 8", "max_in_hand_of_owner: 9", "max_connections: 10", "body_timeout: 11s", "handler_timeout: 12s")
	c, err := loadConfiguration(t.Context(), s.config, slog.Default(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settings := reflect.ValueOf(c.endpoint.settings)
	for i := range settings.NumField() {
		name := settings.Type().Field(i).Name
		if settings.Field(i).IsZero() != (name == "Issuer") { // that of provider.issuer
			t.Errorf("webhook.Settings.%s is %v", name, settings.Field(i))
		}
		if fileKey("webhook.Settings."+name) == "webhook.Settings."+name {
			t.Errorf("webhook.Settings.%s has no key", name)
		}
	}
	e := c.endpoint.settings
	if want := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")}; !slices.Equal(e.Proxies, want) {
		t.Errorf("the proxies are %v", e.Proxies)
	}
	if got := []int{e.MaxMarks, e.MaxBody, e.MaxBytes, e.MaxInHand, e.MaxInHandOfOwner, e.MaxConnections, int(e.BodyTimeout / time.Second), int(e.HandlerTimeout / time.Second)}; !slices.Equal(got, []int{5, 6, 7, 8, 9, 10, 11, 12}) {
		t.Errorf("the bounds are %v", got)
	}
}

func TestTheIssuerIsAskedAboutTokensThatSayNothing(t *testing.T) {
	s := newSetupWith(t, fdstest.Options{Introspection: true})
	s.hook("introspection: true")
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	app := s.box.ConfidentialApplication() // a public one may not ask
	s.write("client.txt", app.Secret+"\n")
	s.write("fdsdemo.yaml", strings.Replace(string(text), "client_id: fdsdemo", "client_id: "+app.ID+"\n  client_secret_file: client.txt", 1))
	s.signIn(s.north)
	p, url := s.listen("--json")
	sender := s.sender(url, func(w *fdstest.Webhook) { w.Opaque = true })
	s.answered(200, sender, fdstest.Attempt{Owner: s.north, Body: []byte(`{"a":1}`)})
	s.answered(401, sender, fdstest.Attempt{Owner: s.north, Body: []byte(`{"a":1}`), Token: "of-nobody"})
	p.end()
}
