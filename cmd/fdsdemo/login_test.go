package main

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

func TestASignInPrintsTheSubscriptionIDs(t *testing.T) {
	s := newSetup(t)
	s.dialect("{subscription_parameter: owner}") // without it a sign-in of two warns
	p := s.start("login", "--no-browser")
	if url := p.signInURL(); !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Errorf("the URL is %q, want that of the start page", url)
	}
	s.approve(p, s.north, s.south)
	r := p.wait().expect(statusDone)
	// In lower case, however the provider spells them.
	if want := north.Spelling + "\n" + strings.ToLower(south.Spelling) + "\n"; r.out != want {
		t.Errorf("stdout %q, want %q", r.out, want)
	}
	if r.err != "Open this URL to sign in: "+p.signInURL()+"\n" {
		t.Errorf("stderr %q", r.err)
	}
	if got := len(s.run("owners", "--json").expect(statusDone).lines()); got != 2 {
		t.Errorf("%d owners are stored, want 2", got)
	}
}

func TestParametersOfTheConfigurationAreInTheRequest(t *testing.T) {
	s := newSetup(t)
	for setting, want := range map[string]map[string][]string{
		"": {"prompt": {"consent"}},
		`{prompt: login, login_hint: "a&b=ü", max_age: 3600}`: {"prompt": {"login"}, "login_hint": {"a&b=ü"}, "max_age": {"3600"}, "response_type": {"code"}},
		`{prompt: ""}`: {"prompt": nil, "response_type": {"code"}},
		`{prompt: }`:   {"prompt": nil, "response_type": {"code"}},
	} {
		s.configure("client_id: fdsdemo", "client_id: fdsdemo\n  authorization_parameters: "+setting)
		p := s.start("login", "--paste")
		address, err := url.Parse(p.signInURL()) // the provider's own
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range want {
			if got := address.Query()[name]; !slices.Equal(got, want) {
				t.Errorf("with %q %s is %q, want %q", setting, name, got, want)
			}
		}
		p.wait().expect(statusFailed) // nothing was pasted
	}
}

func TestAParameterThatUndoesTheSignInIsAFaultOfTheConfiguration(t *testing.T) {
	s := newSetup(t)
	s.configure("client_id: fdsdemo", "client_id: fdsdemo\n  authorization_parameters: {state: mine}")
	s.run("login", "--no-browser").expect(statusUsage).says("application.authorization_parameters", `"state" is set by the SDK`)
}

func TestAConfidentialClientSignsInWithItsSecretFile(t *testing.T) {
	s := newSetup(t)
	s.write("secret.txt", s.box.ConfidentialApplication().Secret+"\r\n")
	s.configure("client_id: fdsdemo", "client_id: fleet-app\n  client_secret_file: secret.txt")
	s.signIn(s.north)
	s.write("secret.txt", "wrong")
	p := s.start("login", "--no-browser")
	s.approve(p, s.north)
	p.wait().expect(statusFailed).says("invalid_client", "check the client ID, its secret")
}

func TestADeniedSignInIsStatus1(t *testing.T) {
	s := newSetup(t)
	p := s.start("login", "--no-browser")
	if err := s.box.Deny(t.Context(), p.signInURL()); err != nil {
		t.Fatal(err)
	}
	p.wait().expect(statusFailed).says("access_denied")
	s.run("get", "statuses").expect(statusSignIn)
}

func TestASignalCancelsASignInWithStatus1(t *testing.T) {
	s := newSetup(t)
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		p := s.start("login", "--no-browser")
		p.signInURL()
		p.signal(signal)
		p.wait().expect(statusFailed).says("interrupted")
	}
}

func TestATokenWithoutSubscriptionSaysWhichSettingToChange(t *testing.T) {
	s := newSetup(t)
	s.configure("client_id: fdsdemo", "client_id: fdsdemo\n  subscription_claim: sub_id")
	p := s.start("login", "--no-browser")
	s.approve(p, s.north)
	p.wait().expect(statusFailed).says(`"sub_id"`, "application.subscription_claim")
}

func TestATokenWithAMalformedSubscriptionIsTheProvidersFault(t *testing.T) {
	s := newSetup(t)
	s.box.Inject(fdstest.TokenSubscription("not-an-id"))
	p := s.start("login", "--no-browser")
	s.approve(p, s.north)
	p.wait().expect(statusFailed).says("malformed subscription ID")
}

func TestAStoreThatCannotBeUsedIsFoundBeforeAnyoneSignsIn(t *testing.T) {
	s := newSetup(t)
	s.configure("store: file", "store: keyring") // there is none in this environment
	r := s.run("login", "--no-browser").expect(statusFailed).says("keyring")
	if strings.Contains(r.err, "Open this URL") {
		t.Errorf("a person was asked all the same: %s", r.err)
	}
}

func TestAttackAnUntrustedAuthorizationServerFailsAtOnce(t *testing.T) {
	s := newSetup(t)
	other := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1})
	s.write("other.pem", string(other.CAPEM()))
	s.configure("ca_file: ca.pem", "ca_file: other.pem")
	began := time.Now()
	s.run("login", "--no-browser").expect(statusFailed).says("authority that is not trusted", "provider.ca_file")
	if took := time.Since(began); took > giveUpAfter/2 {
		t.Errorf("it took %v, which is a try again", took)
	}
}

func TestAttackAServersBadCertificateFailsAtOnce(t *testing.T) {
	s := newSetup(t)
	now := time.Now()
	for _, c := range []struct {
		request fdstest.CertificateRequest
		says    string
	}{
		{fdstest.CertificateRequest{Usages: serverUsage, Hosts: []string{"other.example"}}, "certificate is not for"},
		{fdstest.CertificateRequest{Usages: serverUsage, Hosts: []string{"127.0.0.1"}, NotAfter: now.Add(-time.Minute)}, "certificate expired on"},
		{fdstest.CertificateRequest{Usages: serverUsage, Hosts: []string{"127.0.0.1"}, NotBefore: now.Add(time.Hour)}, "certificate is valid only from"},
		{fdstest.CertificateRequest{Hosts: []string{"127.0.0.1"}}, "not valid for a server"},
	} {
		s.configure(s.box.Issuer(), "https://"+s.handshakes(c.request))
		began := time.Now()
		s.run("login", "--no-browser").expect(statusFailed).says(c.says)
		if took := time.Since(began); took > giveUpAfter/2 {
			t.Errorf("it took %v, which is a try again", took)
		}
	}
}

func TestAttackAnAuthorizationServerUnderAnotherNameIsNotUsed(t *testing.T) {
	s := newSetup(t)
	s.box.Inject(fdstest.MetadataMember("issuer", "https://evil.example"))
	s.run("login", "--no-browser").expect(statusFailed).says("issuer does not match", "evil.example")
}

func TestAnUnreachableAuthorizationServerIsStatus1Within30Seconds(t *testing.T) {
	s := newSetup(t)
	s.configure(s.box.Issuer(), "https://"+unusedAddress)
	began := time.Now()
	r := s.run("login", "--no-browser").expect(statusFailed).says("nothing listens there")
	if took := time.Since(began); took > giveUpAfter+5*time.Second || took < giveUpAfter/3 {
		t.Errorf("it tried for %v, want up to %v", took, giveUpAfter)
	}
	if !strings.Contains(r.err, "trying again for up to 30s") {
		t.Errorf("it does not say that it tries again: %s", r.err)
	}
}

func TestASignInOutlivesAShortOutage(t *testing.T) {
	s := newSetup(t)
	s.box.Inject(fdstest.Answer(fdstest.MetadataEndpoint, 503, "text/plain", "down").Times(4))
	p := s.start("login", "--no-browser")
	s.approve(p, s.north)
	p.wait().expect(statusDone)
}

func TestARedirectPortInUseIsNamed(t *testing.T) {
	s := newSetup(t)
	port := occupiedPort(t)
	s.configure("client_id: fdsdemo", "client_id: fdsdemo\n  redirect_ports: ["+port+"]")
	s.run("login", "--no-browser").expect(statusFailed).says(port, "application.redirect_ports")
}

func TestTheAddressOfARedirectMayBePasted(t *testing.T) {
	s := newSetup(t)
	c := s.command("login", "--paste")
	terminal, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c)
	if url := p.signInURL(); !strings.HasPrefix(url, s.box.Issuer()+"/") {
		t.Errorf("the URL is %q, want the provider's own, for a browser elsewhere", url)
	}
	callback, err := s.box.ApproveCallback(t.Context(), p.signInURL(), s.north)
	if err != nil {
		t.Fatal(err)
	}
	const wrong = "http://127.0.0.1/callback?error=access_denied\n"
	if _, err := io.WriteString(terminal, wrong+wrong+callback+"\n"); err != nil {
		t.Fatal(err)
	}
	if r := p.wait().expect(statusDone); r.out != north.Spelling+"\n" || strings.Count(r.err, "not the address of this sign-in") != 2 {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}

	p = start(t, s.command("login", "--paste")) // with nothing on standard input
	p.wait().expect(statusFailed).says("no address was pasted")
}

func TestWhatToRegisterIsPrinted(t *testing.T) {
	s := newSetup(t)
	for _, c := range []struct{ setting, host, path string }{
		{"", "", fdsclient.RedirectPath(s.box.Issuer())},
		{"\n  redirect_path: /callback\n  redirect_ports: [4711, 4712]", ":4711", "/callback"},
	} {
		s.configure("client_id: fdsdemo", "client_id: fdsdemo"+c.setting)
		r := s.run("login", "--redirect-uri").expect(statusDone)
		for _, want := range []string{"http://127.0.0.1" + c.host + c.path + "\n", "http://[::1]" + c.host + c.path + "\n"} {
			if !strings.Contains(r.out, want) {
				t.Errorf("stdout %q, want %q in it", r.out, want)
			}
		}
	}
}

func TestASignInThatIsNotKeptIsWarnedAbout(t *testing.T) {
	s := newSetup(t)
	s.configure("store: file", "store: memory")
	p := s.start("login", "--no-browser")
	s.approve(p, s.north)
	if r := p.wait().expect(statusDone); r.out != north.Spelling+"\n" || !strings.Contains(r.err, "warning: tokens.store is memory") {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}
}

// oldTLS returns the addresses of a server that speaks TLS 1.1 and of one that
// speaks none.
func oldTLS(s *setup) []string {
	s.t.Helper()
	c, err := s.box.IssueCertificate(fdstest.CertificateRequest{Hosts: []string{"127.0.0.1"}, Usages: serverUsage})
	if err != nil {
		s.t.Fatal(err)
	}
	old, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, Certificates: []tls.Certificate{c.TLS}})
	if err != nil {
		s.t.Fatal(err)
	}
	none, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	var addresses []string
	for _, l := range []net.Listener{old, none} {
		s.t.Cleanup(func() { l.Close() })
		addresses = append(addresses, l.Addr().String())
		go func() {
			for {
				connection, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer connection.Close()
					_ = connection.SetDeadline(time.Now().Add(deadline))
					if _, err := connection.Read(make([]byte, 1024)); err == nil {
						_, _ = connection.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
					}
				}()
			}
		}()
	}
	return addresses
}

func TestAServerWithoutTLSThatIsAllowedFailsAtOnce(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	for i, address := range oldTLS(s) {
		says := []string{"offers no TLS version that is allowed", "does not speak TLS on this port"}[i]
		began := time.Now()
		s.configure(s.box.Issuer(), "https://"+address)
		s.run("login", "--no-browser").expect(statusFailed).says(says)
		s.configure(s.box.APIURL(), "https://"+address)
		s.run("get", "statuses").expect(statusFailed).says(says)
		s.configure(s.box.BrokerURL(), "mqtts://"+address)
		s.run("watch").expect(statusFailed).says(says)
		if took := time.Since(began); took > giveUpAfter/2 {
			t.Errorf("%s: it took %v, which is a try again", says, took)
		}
	}
}

func TestWhatAProviderDoesItsOwnWayIsASetting(t *testing.T) {
	s := newSetup(t)
	s.write("secret.txt", strings.Repeat("x", 32))
	set := func(replace ...string) fdsclient.Config {
		t.Helper()
		s.configure(replace...)
		c, err := loadConfiguration(t.Context(), s.config, slog.Default(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.client
	}
	if c := set(); c.Provider.ReplaysRefreshTokens || c.Application.SymmetricIDTokens || c.Provider.FinalErrors != nil {
		t.Errorf("by default they are %+v, %+v", c.Provider, c.Application)
	}
	c := set("  ca_file:", "  final_errors: [session_gone]\n  replays_refresh_tokens: true\n  ca_file:",
		"client_id: fdsdemo", "client_id: fdsdemo\n  client_secret_file: secret.txt\n  symmetric_id_tokens: true")
	if !c.Provider.ReplaysRefreshTokens || !c.Application.SymmetricIDTokens || !slices.Equal(c.Provider.FinalErrors, []string{"session_gone"}) {
		t.Errorf("they are %+v, %+v", c.Provider, c.Application)
	}
	s.configure("client_id: fdsdemo", "client_id: fdsdemo\n  symmetric_id_tokens: true")
	s.run("owners").expect(statusUsage).says("application.symmetric_id_tokens needs a client secret")
}

func TestASignInAtABoxOfAnotherProcessIsApprovedWithoutABrowser(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "box")
	box := start(t, invocation(t, "provider", "--dir", folder))
	box.await(box.out, "ready")
	r := start(t, invocation(t, "--config", filepath.Join(folder, "fdsdemo.yaml"), "login", "--approve")).wait().expect(statusDone)
	if _, err := fds.ParseSubscriptionID(strings.TrimSpace(r.out)); err != nil || r.err != "" {
		t.Errorf("stdout %q, %v; stderr %q", r.out, err, r.err)
	}
}

func TestApproveIsForTheOwnerWhoIsNamed(t *testing.T) {
	s := newSetup(t)
	if r := s.run("login", "--approve", "--owner", south.Spelling).expect(statusDone); strings.TrimSpace(r.out) != s.south.SubscriptionID.String() {
		t.Errorf("signed in is %s", r.out)
	}
	s.configure("provider:\n", "owners: {harbour: "+north.Spelling+"}\nprovider:\n")
	for text, want := range map[string]fdstest.Owner{"harbour": s.north, "2B7F": s.south} {
		if r := s.run("login", "--approve", "--owner", text).expect(statusDone); strings.TrimSpace(r.out) != want.SubscriptionID.String() {
			t.Errorf("%s signs in %s", text, r.out)
		}
	}
	both := s.run("login", "--approve", "--owner", "harbour", "--owner", "2b7f").expect(statusDone).lines()
	if !slices.Contains(both, s.north.SubscriptionID.String()) || !slices.Contains(both, s.south.SubscriptionID.String()) || len(both) != 2 {
		t.Errorf("two owners sign in %q", both)
	}
	s.run("login", "--owner", "ffff").expect(statusUsage).says("--owner goes with --approve")
	s.run("login", "--approve", "--owner", "ffff").expect(statusUsage).says("has no owner ffff")
	nobody := fds.NewSubscriptionID().String()
	if r := s.run("login", "--approve", "--owner", nobody).expect(statusUsage).says("has no owner " + nobody); r.out != "" {
		t.Errorf("stdout %q", r.out)
	}
}

func TestAttackApproveIsRefusedAtAProviderThatIsNoBox(t *testing.T) {
	s := newSetup(t)
	certificate, err := s.box.IssueCertificate(fdstest.CertificateRequest{Usages: serverUsage, Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	var posts atomic.Int64
	page := `<form method="post" action="/consent"><input type="hidden" name="token" value="t"><input type="checkbox" name="owner" value="o">`
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			posts.Add(1)
		case r.URL.Path == "/away":
			http.Redirect(w, r, "https://auth.example.com/", http.StatusFound)
		default:
			_, _ = io.WriteString(w, page) // its reader may be gone
		}
	}))
	other.TLS = &tls.Config{Certificates: []tls.Certificate{certificate.TLS}, MinVersion: tls.VersionTLS12}
	other.StartTLS()
	t.Cleanup(other.Close)
	for endpoint, says := range map[string]string{
		other.URL + "/authorize":             "there is no page on which it asks for a person's consent",
		other.URL + "/away":                  `the sign-in leads to "auth.example.com"`,
		"https://auth.example.com/authorize": `the sign-in leads to "auth.example.com"`,
	} {
		s.configure("ca_file: ca.pem", "ca_file: ca.pem\n  authorization_endpoint: "+endpoint)
		if r := s.run("login", "--approve").expect(statusUsage).says("--approve is for a provider in a box", says); r.out != "" {
			t.Errorf("stdout %q", r.out)
		}
	}
	if n := posts.Load(); n > 0 {
		t.Errorf("the other provider was sent %d forms", n)
	}
}

func TestApproveDoesNotWaitForASignInThatTheBoxRefuses(t *testing.T) {
	s := newSetup(t)
	s.box.Inject(fdstest.Unavailable(fdstest.ConsentEndpoint, ""))
	s.run("login", "--approve").expect(statusFailed).says("did not take the consent")
}
