package loopback

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if !playsProcess() {
		goleak.VerifyTestMain(m)
	}
}

const provider = "https://auth.example.com/authorize?client_id=app&state=right"

// served is a Listener at work, whose authorization accepts state=right.
type served struct {
	*Listener
	done chan error // what Serve returned

	mu      sync.Mutex
	refused []error
}

// listen returns a Listener on any free port.
func listen(t *testing.T) *Listener {
	t.Helper()
	l, err := Listen(t.Context(), nil, "/callback/of-this-issuer")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve serves l until the end of the test, if it does not end before.
func serve(t *testing.T, ctx context.Context, l *Listener) *served {
	t.Helper()
	return serveWith(t, ctx, l, func() {})
}

// serveWith is serve, with something to do before a redirect is judged.
func serveWith(t *testing.T, ctx context.Context, l *Listener, before func()) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	s := &served{Listener: l, done: make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.done <- l.Serve(ctx, Authorization{
			URL:      provider,
			Lifetime: 15 * time.Minute,
			Redirected: func(redirect *url.URL) (Page, bool) {
				before()
				if redirect.Query().Get("state") != "right" {
					return Page{Status: http.StatusBadRequest, HTML: []byte("foreign")}, false
				}
				return Page{Status: http.StatusOK, HTML: []byte("welcome")}, true
			},
			Refused: func(why error) Page {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.refused = append(s.refused, why)
				return Page{Status: http.StatusForbidden, HTML: []byte(why.Error())}
			},
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return s
}

// turnedAway returns what the authorization was told of, and forgets it.
func (s *served) turnedAway() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.refused = nil }()
	return errors.Join(s.refused...)
}

// end waits until Serve has returned.
func (s *served) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the wait does not end")
		return nil
	}
}

func (s *served) goesOn(t *testing.T, after string) {
	t.Helper()
	select {
	case err := <-s.done:
		t.Fatalf("%s ended the wait: %v", after, err)
	default:
	}
}

// browser is an HTTP client with cookies, which opens pages as a person does.
type browser struct{ http.Client }

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{http.Client{
		Transport:     &http.Transport{}, // it would keep connections alive
		Timeout:       10 * time.Second,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

type answer struct {
	status int
	body   string
	header http.Header
	*http.Response
}

func (b *browser) get(t *testing.T, address string, change func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	if change != nil {
		change(r)
	}
	response, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, string(body), response.Header, response}
}

// begin opens the start page.
func (b *browser) begin(t *testing.T, l *Listener) {
	t.Helper()
	if a := b.get(t, l.StartURL(), nil); a.status != http.StatusSeeOther {
		t.Fatalf("the start page answers %d %q", a.status, a.body)
	}
}

// playsProcess plays the part that the environment says, if any, and reports
// whether there was one.
func playsProcess() bool {
	part := parts[os.Getenv("LOOPBACK_TEST_PART")]
	if part != nil {
		part()
	}
	return part != nil
}

var parts = map[string]func(){}
