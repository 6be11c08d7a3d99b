package fdsclient_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

// trackedBody counts how often it is closed.
type trackedBody struct {
	io.Reader
	closed atomic.Int64
}

func (b *trackedBody) Close() error {
	b.closed.Add(1)
	return nil
}

// TestAttackARequestThatIsRefusedLeavesNoBodyOpen: an http.RoundTripper closes it, also
// when it sends nothing.
func TestAttackARequestThatIsRefusedLeavesNoBodyOpen(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	owner := signIn(t, open(t, cfg), p)[0]
	without := configure(t, p)
	without.Provider.APIURL = ""
	without.Provider.BrokerURL = ""
	homeless := signIn(t, open(t, without), p)[0]
	gone, end := context.WithCancel(t.Context())
	end()
	expire(t, cfg.Store)
	_, expired := restart(t, cfg)
	for name, c := range map[string]struct {
		owner *fdsclient.Owner
		ctx   context.Context
		url   string
		class error
		says  string
	}{
		"elsewhere":          {owner, t.Context(), "https://evil.example/fds/v2/tag", nil, "is refused"},
		"without TLS":        {owner, t.Context(), strings.Replace(p.APIURL(), "https", "http", 1), nil, "is refused"},
		"without an API URL": {homeless, t.Context(), p.APIURL() + "/fds/v2/tag", fds.ErrConfig, "Provider.APIURL is missing"},
		"without a token":    {expired, gone, p.APIURL() + "/fds/v2/tag", context.Canceled, ""},
	} {
		body := &trackedBody{Reader: strings.NewReader("{}")}
		request, err := http.NewRequestWithContext(c.ctx, http.MethodPost, c.url, body)
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.owner.RoundTripper().RoundTrip(request)
		if err == nil {
			response.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || c.class != nil && !errors.Is(err, c.class) {
			t.Errorf("%s: error %v", name, err)
		}
		if body.closed.Load() == 0 {
			t.Errorf("%s: the body was never closed", name)
		}
	}
}

// TestAttackARefusedRequestForgesNoLine: the host may come from an answer, as when a
// redirect leads elsewhere.
func TestAttackARefusedRequestForgesNoLine(t *testing.T) {
	p := start(t, fdstest.Options{})
	owner := signIn(t, open(t, configure(t, p)), p)[0]
	for _, host := range []string{"evil\u202e\u009b.example", strings.Repeat("x", 10_000) + ".example", "evil.example:8443"} {
		request, err := http.NewRequest(http.MethodGet, "https://evil.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.Host = host
		response, err := owner.RoundTripper().RoundTrip(request)
		if err == nil {
			response.Body.Close()
			t.Fatalf("a request to %q was sent", host)
		}
		if text := err.Error(); len(text) > 500 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("an error of %d bytes: %.500q", len(text), text)
		}
	}
}

func TestAttackAnAPIThatRepeatsTheTokenInWhatIsNoHTTPGetsItIntoNoError(t *testing.T) {
	p := start(t, fdstest.Options{})
	certificate, err := p.IssueCertificate(fdstest.CertificateRequest{Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := configure(t, p)
	cfg.Pull.RetryFor = -1
	cfg.Provider.APIURL = serveTLS(t, certificate, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 400 No\r\n%s\r\n\r\n", r.Header.Get("Authorization"))
	}))
	owner := signIn(t, open(t, cfg), p)[0]
	secret := token(t, owner).Reveal()
	request, err := http.NewRequest(http.MethodGet, cfg.Provider.APIURL+"/own", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, own := owner.RoundTripper().RoundTrip(request)
	_, pulled := pull.Collect(owner.Pull().Spaces(t.Context(), pull.Query{}))
	for _, err := range []error{own, pulled} {
		if err == nil || strings.Contains(fmt.Sprintf("%v %#v", err, errors.Unwrap(err)), secret[:16]) {
			t.Errorf("%v", err)
		}
	}
}

// metered counts the bytes that are read of a connection.
type metered struct {
	net.Conn
	read *atomic.Int64
}

func (m metered) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.read.Add(int64(n))
	return n, err
}

// TestAttackAWebAPIThatAlwaysChallengesIsNotAskedForEver: each answer has another nonce,
// and a body without end.
func TestAttackAWebAPIThatAlwaysChallengesIsNotAskedForEver(t *testing.T) {
	const most = 3 // a nonce, a renewed token, and that is all
	for name, dpop := range map[string]bool{"a nonce": true, "a token": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{DPoP: fdstest.Optional})
				cfg := configure(t, p)
				cfg.Application.DPoP = dpop
				var read atomic.Int64
				cfg.Provider.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := bubbleNetwork.Dial(ctx, network, address)
					return metered{conn, &read}, err
				}
				owner := signIn(t, open(t, cfg), p)[0]
				if dpop {
					inject(t, p, fdstest.AnotherNonce(fdstest.APIEndpoint))
				} else {
					inject(t, p, fdstest.Unauthorized(fdstest.APIEndpoint))
				}
				inject(t, p, fdstest.Endless(fdstest.APIEndpoint))
				read.Store(0)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.Provider.APIURL+"/fds/v2/spaces", nil)
				if err != nil {
					t.Fatal(err)
				}
				response, err := owner.RoundTripper().RoundTrip(request)
				if err != nil {
					t.Fatal(err)
				}
				if n := p.Requests(fdstest.APIEndpoint); response.StatusCode != http.StatusUnauthorized || n < 2 || n > most {
					t.Errorf("status %d after %d requests", response.StatusCode, n)
				}
				// What lies in the buffers of the network counts as read.
				if n := read.Load(); n > most*(16<<20) {
					t.Errorf("%d MiB were read of refusals", n>>20)
				}
				atWork := func() int { return goroutinesIn("fdstest.(*webServer).ServeHTTP") }
				eventually(t, "all refusals but the last are closed", func() bool { return atWork() == 1 })
				response.Body.Close()
				eventually(t, "the last is", func() bool { return atWork() == 0 })
			})
		})
	}
}

// TestAttackARequestWhoseBodyCannotBeSentAgainIsSentOnce: half of it would be.
func TestAttackARequestWhoseBodyCannotBeSentAgainIsSentOnce(t *testing.T) {
	const tag = `{"generic":{"note":"all of it"}}`
	for name, c := range map[string]struct {
		again bool // its body can be had again
		want  int
	}{
		"once": {false, 1},
		"more": {true, 3}, // while the token may be too young
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				owner := signIn(t, open(t, configure(t, p)), p)[0]
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.APIURL()+"/fds/v2/tag", io.NopCloser(strings.NewReader(tag)))
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Content-Type", "application/json")
				if c.again {
					request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(tag)), nil }
				}
				off := inject(t, p, fdstest.AnswerAfterWork(fdstest.APIEndpoint, http.StatusUnauthorized, "", ""))
				response, err := owner.RoundTripper().RoundTrip(request)
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
				off()
				asked := p.Requests(fdstest.APIEndpoint)
				made, err := pull.Collect(owner.Pull().Tags(t.Context(), pull.Query{}))
				if response.StatusCode != http.StatusUnauthorized || err != nil || asked != c.want || len(made) != c.want {
					t.Errorf("status %d after %d requests, by which %d tags were made, %v; want %d", response.StatusCode, asked, len(made), err, c.want)
				}
				for _, made := range made {
					if !strings.Contains(string(made.Raw()), `"note":"all of it"`) {
						t.Errorf("a tag was made of a part of the body: %s", made.Raw())
					}
				}
			})
		})
	}
}

// TestAttackAFileOfCertificatesWithoutEndIsNotRead: nor is it kept in memory.
func TestAttackAFileOfCertificatesWithoutEndIsNotRead(t *testing.T) {
	const size = 256 << 20
	name := filepath.Join(t.TempDir(), "large.pem")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil { // it takes no room
		t.Fatal(err)
	}
	for what, read := range map[string]func() error{
		"RootsFile":        func() error { _, err := fdsclient.RootsFile(name)(t.Context()); return err },
		"CertificateFiles": func() error { _, err := fdsclient.CertificateFiles(name, name)(t.Context()); return err },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := read()
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: error %v", what, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
			t.Errorf("%s: %d MiB were taken", what, took>>20)
		}
	}
}
