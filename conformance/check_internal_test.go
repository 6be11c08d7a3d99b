package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func TestEveryCheckIsARowAndEveryNegativeOneHasAControlAboveIt(t *testing.T) {
	id, weakness := regexp.MustCompile(`^(setup|API|W([1-9]|10)|M[1-8])-[a-z0-9.-]+$`), regexp.MustCompile(`^(CWE-[1-9][0-9]*|API([1-9]|10):2023)$`)
	above := make(map[string]bool)
	covered := make(map[string]int)
	for _, c := range checks() {
		if !id.MatchString(c.id) || !strings.HasPrefix(c.id, c.requirement+"-") || above[c.id] {
			t.Errorf("%q of %q: the ID is malformed, of another requirement, or there twice", c.id, c.requirement)
		}
		if !strings.HasSuffix(c.rule, ".") || !strings.HasSuffix(c.remedy, ".") || c.probe == nil || !slices.Contains(duties, c.duty) {
			t.Errorf("%s: a rule and a remedy are sentences, and it has a probe and a duty", c.id)
		}
		if c.negative && len(c.controls) == 0 == !c.itself {
			t.Errorf("%s passes when something is refused: it names a control above it, or has one in itself", c.id)
		}
		for _, control := range c.controls {
			if !above[control] {
				t.Errorf("%s: its control %s is not above it", c.id, control)
			}
		}
		for _, name := range c.weaknesses {
			if !weakness.MatchString(name) {
				t.Errorf("%s: %q is no weakness", c.id, name)
			}
		}
		above[c.id] = true
		covered[c.requirement]++
	}
	for _, requirement := range requirements {
		if covered[requirement.id] == 0 {
			t.Errorf("nothing checks %s", requirement.id)
		}
	}
}

// tried runs one check that ends as probe says, after a control that ended so.
func tried(t *testing.T, control Outcome, probe func(*trial)) Result {
	t.Helper()
	r := &run{results: map[string]*Result{"control": {Outcome: control, Why: "its reason"}}}
	r.config.CheckTimeout = time.Minute
	r.secret("hunter2hunter2")
	return r.try(t.Context(), &check{id: "one", remedy: "Do it.", negative: true, controls: []string{"control"},
		probe: func(_ *run, _ context.Context, t *trial) { probe(t) }})
}

func TestACheckWhoseControlDidNotPassSaysNothing(t *testing.T) {
	for control, want := range map[Outcome]Outcome{Pass: Pass, Fail: Error, Error: Error, NotTestable: NotTestable, NotApplicable: NotApplicable} {
		if got := tried(t, control, (*trial).pass); got.Outcome != want {
			t.Errorf("after a control that is %s: %s", control, got.Outcome)
		} else if control != Pass && !strings.Contains(got.Why, "its reason") {
			t.Errorf("after a control that is %s it says %q", control, got.Why)
		}
	}
}

func TestTheGravestOutcomeIsTheChecks(t *testing.T) {
	got := tried(t, Pass, func(t *trial) {
		t.fail("the first")
		t.pass()
		t.untestable("the last")
	})
	if got.Outcome != Fail || got.Why != "the first" || got.Remedy != "Do it." {
		t.Errorf("%+v", got)
	}
	if got := tried(t, Pass, func(*trial) {}); got.Outcome != Error {
		t.Errorf("a probe that says nothing is %s", got.Outcome)
	}
	if got := tried(t, Pass, func(t *trial) { t.pass(); t.untestable("half of it") }); got.Outcome != NotTestable {
		t.Errorf("half of a check is %s", got.Outcome)
	}
}

func TestACheckThatPanicsIsAnErrorAndEndsNoRun(t *testing.T) {
	got := tried(t, Pass, func(t *trial) {
		t.pass()
		panic("the key of hunter2hunter2 is gone")
	})
	if got.Outcome != Error || got.Why != "the check panicked: the key of [redacted] is gone" {
		t.Errorf("%+v", got)
	}
}

func TestAttackNoTextOfAResultHasASecretOrWhatATerminalObeys(t *testing.T) {
	got := tried(t, Pass, func(t *trial) {
		t.saw("with hunter2hunter2", "%s", "\x1b]0;hunter2hunter2\a\r\nINFO fine \u202e \u0085"+strings.Repeat("é", 400))
		t.remedy = "\x1b[2J"
		t.fail("%s", "hunter2hunter2\n")
	})
	for _, text := range []string{got.Why, got.Remedy, got.Evidence[0].Tried, got.Evidence[0].Saw} {
		if strings.Contains(text, "hunter2") || strings.ContainsAny(text, "\x1b\a\r\n\u202e\u0085") || len(text) > shownBytes {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
}

func TestAServersAddressHasThePortOfItsScheme(t *testing.T) {
	r := new(run)
	p := &r.config.Client.Provider
	p.Issuer, p.APIURL, p.BrokerURL = "https://auth.example.com/realm", "https://[2001:db8::1]:8443", "mqtts://broker.example.com"
	var got []string
	for _, s := range r.servers() {
		got = append(got, s.address())
	}
	if want := []string{"auth.example.com:443", "[2001:db8::1]:8443", "broker.example.com:8883"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	p.BrokerURL = "wss://broker.example.com/mqtt"
	if got := r.servers()[2].address(); got != "broker.example.com:443" {
		t.Errorf("wss: %s", got)
	}
}

func TestANeedSaysWhatToSupply(t *testing.T) {
	r := new(run)
	r.ownerless = "nobody has signed in"
	for name, need := range map[string]need{"Provider.APIURL": needAPI, "Provider.BrokerURL": needBroker, "nobody has signed in": needOwner,
		"Config.SpareOwners": needSpares(1), "2 spare owners": needSpares(2), "Config.SignIn": needPerson, "Config.Intrusive": needRevocable, "Config.Publisher": needPublisher} {
		if o, why := need(r); o == "" || !strings.Contains(why, name) {
			t.Errorf("%s: %s %q", name, o, why)
		}
	}
}

func TestTheProxyOfPushIsForTheBrokerAlone(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	r := new(run)
	r.config.Client.Provider.BrokerURL, r.config.Client.Push.Proxy = "mqtts://broker.example.com", "http://proxy.example.com:3128"
	if through, err := r.proxyTo("broker.example.com:8883"); err != nil || through == nil {
		t.Errorf("to the broker: %v, %v", through, err)
	}
	if through, err := r.proxyTo("api.example.com:443"); err != nil || through != nil {
		t.Errorf("to the Web API: %v, %v", through, err)
	}
}

func TestACheckThatTookTooLongHasNotPassed(t *testing.T) {
	r := &run{results: make(map[string]*Result)}
	r.config.CheckTimeout = time.Nanosecond
	got := r.try(t.Context(), &check{id: "one", probe: func(_ *run, ctx context.Context, t *trial) {
		t.pass() // the first of several things, after which there was no time
		<-ctx.Done()
	}})
	if got.Outcome != Error || got.Why != errTimeout.Error() {
		t.Errorf("%+v", got)
	}
}

func TestARunThatIsEndedCountsWhatItDidNotTry(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	row := func(id string) *check {
		return &check{id: id, requirement: "W1", probe: func(_ *run, _ context.Context, t *trial) { t.pass() }}
	}
	var config Config
	config.Client.Provider.Issuer, config.Client.Application.ClientID = "https://auth.example.com", "app"
	config.Client.Store = tokenstore.OpenMemory()
	config.OnResult = func(Result) { cancel() } // between two checks
	report, err := runChecks(ctx, config, []*check{row("W1-a"), row("W1-b"), row("W1-c")})
	if err == nil || report.OK(false) || report.Stopped == "" || !strings.HasPrefix(report.Headline(), "tested 1 of 3:") {
		t.Errorf("%v, %q, stopped: %q", err, report.Headline(), report.Stopped)
	}
}

func TestTheOtherSideDoesNotDecideHowLongAReportIs(t *testing.T) {
	got := tried(t, Pass, func(t *trial) {
		for range 10_000 {
			t.saw("read a member", "it is odd")
		}
		t.pass()
	})
	if len(got.Evidence) != mostEvidence || !strings.Contains(got.Evidence[mostEvidence-1].Saw, "left out") {
		t.Errorf("%d, the last %+v", len(got.Evidence), got.Evidence[len(got.Evidence)-1])
	}
}

func TestAttackACertificateWithNothingInItHurtsNobody(t *testing.T) {
	for _, none := range []*tls.Certificate{nil, {}} {
		if _, err := usableCertificate(none, nil); err == nil {
			t.Errorf("%v is taken", none)
		}
	}
}

func TestNamesThatTheProxyResolvesKeepARunGoing(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	r := new(run)
	r.config.Client.Provider.Issuer = "https://auth.invalid"
	r.config.Client.Provider.BrokerURL, r.config.Client.Push.Proxy = "mqtts://broker.invalid", "http://proxy.example.com:3128"
	judged := new(trial)
	r.probeNames(t.Context(), judged)
	if judged.outcome != Fail || judged.stops {
		t.Errorf("%+v", judged)
	}
}

func TestOnlyAnAnswerAboutTheGrantRefusesIt(t *testing.T) {
	for _, one := range []struct {
		code   string
		status int
		want   bool
	}{
		{"invalid_grant", 400, true}, {"bad_refresh_token", 400, true}, {"invalid_request", 400, true},
		{"invalid_client", 401, false}, {"temporarily_unavailable", 400, false}, {"slow_down", 400, false}, {"use_dpop_nonce", 400, false},
		{"invalid_grant", 429, false}, {"server_error", 500, false},
	} {
		if got := refusesGrant(&fdsclient.OAuthError{Endpoint: "token", Code: one.code, HTTPStatus: one.status}); got != one.want {
			t.Errorf("%s with %d: %v", one.code, one.status, got)
		}
	}
}

func TestAForgedTokenHasTheAlgorithmOfTheRealOne(t *testing.T) {
	for _, algorithm := range []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"} {
		token, err := signed(map[string]any{"alg": algorithm, "kid": "one"}, map[string]any{"sub": "x"}, false)
		if err != nil {
			t.Fatal(err)
		}
		if parts, ok := splitJWT(token); !ok || parts.header["alg"] != algorithm || parts.header["kid"] != "one" {
			t.Errorf("%s: %+v", algorithm, parts)
		}
	}
}

func TestTheUsualPortOfPlainMQTTIsTriedToo(t *testing.T) {
	open1883, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open1883.Close()
	go func() {
		for {
			conn, err := open1883.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1<<10))
			_, _ = conn.Write([]byte("\x20\x03\x00\x00\x00")) // CONNACK
			_ = conn.Close()
		}
	}()
	r := new(run)
	r.config.Client.Provider.BrokerURL = "mqtts://broker.example.com"
	r.config.Client.Provider.Dial = func(ctx context.Context, _, address string) (net.Conn, error) {
		if address == "broker.example.com:1883" {
			return new(net.Dialer).DialContext(ctx, "tcp", open1883.Addr().String())
		}
		ours, theirs := net.Pipe()
		go func() { // a port of TLS does not like CONNECT
			_, _ = theirs.Read(make([]byte, 1<<10))
			_ = theirs.Close()
		}()
		return ours, nil
	}
	judged := new(trial)
	r.probeBrokerPlain(t.Context(), judged)
	if judged.outcome != Fail || judged.why != "broker.example.com:1883 talks without TLS" {
		t.Errorf("%+v", judged)
	}
}

func TestPlainHTTPIsAskedForWhatTheServerHas(t *testing.T) {
	r := new(run)
	r.config.Client.Provider.Issuer, r.config.Client.Provider.APIURL = "https://auth.example.com", "https://api.example.com/base/"
	r.web.found = "https://auth.example.com/.well-known/openid-configuration"
	if got := r.plainPaths(r.authServers()[0]); !slices.Equal(got, []string{"/.well-known/openid-configuration"}) {
		t.Errorf("%q", got)
	}
	if got := r.plainPaths(r.apiServers()[0]); len(got) != len(collections) || got[1] != "/base/fds/v2/spaces" {
		t.Errorf("%q", got)
	}
}

func TestAServerThatTakesHTTP2AloneIsSpokenToInThat(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(raw, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				policy := &tls.Config{NextProtos: []string{"nothing else"}}
				if slices.Contains(hello.SupportedProtos, "h2") {
					policy.NextProtos = []string{"h2"}
				}
				forged, err := forge(new(x509.Certificate), true)
				policy.Certificates = []tls.Certificate{*forged}
				return policy, err
			}})
			_ = conn.Handshake() // that the certificate is not trusted is another thing
			_ = conn.Close()
		}
	}()
	r := new(run)
	r.config.Client.Provider.Roots = func(context.Context) (*x509.CertPool, error) { return x509.NewCertPool(), nil }
	got := r.shake(t.Context(), listener.Addr().String(), "127.0.0.1", offer{alpn: http1(r), say: "HEAD / HTTP/1.1\r\n\r\n"})
	if got.version != tls.VersionTLS13 && got.version != tls.VersionTLS12 || len(got.chain) == 0 {
		t.Errorf("%+v", got)
	}
}
