package fdsclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// ownAPI has a Web API of the test's own in the place of that of p, which signs in.
func ownAPI(t *testing.T, p *fdstest.Provider, handler http.HandlerFunc) fdsclient.Config {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	cfg := configure(t, p)
	roots := p.RootCAs()
	roots.AddCert(server.Certificate())
	cfg.Provider.Roots = realtest.Trusting(roots)
	cfg.Provider.APIURL = server.URL
	return cfg
}

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

// TestAttackAWebAPIThatAlwaysChallengesIsNotAskedForEver: each answer has another nonce,
// and a body without end.
func TestAttackAWebAPIThatAlwaysChallengesIsNotAskedForEver(t *testing.T) {
	const most = 3 // a nonce, a renewed token, and that is all
	for name, dpop := range map[string]bool{"a nonce": true, "a token": false} {
		t.Run(name, func(t *testing.T) {
			p := start(t, fdstest.Options{DPoP: fdstest.Optional})
			var asked, sent, at atomic.Int64
			cfg := ownAPI(t, p, func(w http.ResponseWriter, r *http.Request) {
				n := asked.Add(1)
				at.Add(1)
				defer at.Add(-1)
				if n > 10*most {
					panic(http.ErrAbortHandler)
				}
				w.Header().Set("Content-Type", "application/json")
				if dpop {
					w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
					w.Header().Set("DPoP-Nonce", fmt.Sprint("nonce-", n))
				}
				w.WriteHeader(http.StatusUnauthorized)
				for r.Context().Err() == nil {
					written, err := io.WriteString(w, strings.Repeat("x", 32<<10))
					sent.Add(int64(written))
					if err != nil {
						return
					}
				}
			})
			cfg.Application.DPoP = dpop
			owner := signIn(t, open(t, cfg), p)[0]
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
			if n := asked.Load(); response.StatusCode != http.StatusUnauthorized || n < 2 || n > most {
				t.Errorf("status %d after %d requests", response.StatusCode, n)
			}
			// What lies in the buffers of the network counts as sent.
			if n := sent.Load(); n > most*(16<<20) {
				t.Errorf("%d MiB were read of refusals", n>>20)
			}
			eventually(t, "all refusals but the last are closed", func() bool { return at.Load() <= 1 })
			response.Body.Close()
			eventually(t, "the last is", func() bool { return at.Load() == 0 })
		})
	}
}

// TestAttackARequestWhoseBodyCannotBeSentAgainIsSentOnce: half of it would be.
func TestAttackARequestWhoseBodyCannotBeSentAgainIsSentOnce(t *testing.T) {
	for name, c := range map[string]struct {
		again bool // its body can be had again
		want  []string
	}{
		"once": {false, []string{"all of it"}},
		"more": {true, []string{"all of it", "all of it", "all of it"}}, // while the token may be too young
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, fdstest.Options{})
			bodies := make(chan string, 10)
			cfg := ownAPI(t, p, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				bodies <- string(body)
				w.WriteHeader(http.StatusUnauthorized)
			})
			owner := signIn(t, open(t, cfg), p)[0]
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, cfg.Provider.APIURL+"/fds/v2/tag", io.NopCloser(strings.NewReader("all of it")))
			if err != nil {
				t.Fatal(err)
			}
			if c.again {
				request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("all of it")), nil }
			}
			response, err := owner.RoundTripper().RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			close(bodies)
			var got []string
			for body := range bodies {
				got = append(got, body)
			}
			if response.StatusCode != http.StatusUnauthorized || fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("status %d for %q, want %q", response.StatusCode, got, c.want)
			}
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

func TestAFileWithoutACertificateGivesNoRoots(t *testing.T) {
	name := filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(name, []byte("-----BEGIN NOTHING-----\n-----END NOTHING-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pool, err := fdsclient.RootsFile(name)(t.Context()); err == nil || pool != nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("roots %v, error %v", pool, err)
	}
}
