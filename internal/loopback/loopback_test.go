package loopback

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAttackOnlyTheRightRedirectEndsTheWait(t *testing.T) {
	s := serve(t, t.Context(), listen(t))
	b := newBrowser(t)
	b.begin(t, s.Listener)
	uri := s.RedirectURI()
	if !strings.HasPrefix(uri, "http://127.0.0.1:") || !strings.HasSuffix(uri, "/callback/of-this-issuer") {
		t.Fatalf("redirect URI %s", uri)
	}
	right := uri + "?state=right"
	for name, attack := range map[string]struct {
		address string
		change  func(*http.Request)
		status  int
	}{
		"wrong state":           {uri + "?state=wrong", nil, 400},
		"wrong state and error": {uri + "?state=wrong&error=access_denied", nil, 400},
		"no state":              {uri, nil, 400},
		"another path":          {strings.Replace(right, "/callback", "/favicon.ico", 1), nil, 404},
		"another issuer's path": {strings.Replace(right, "of-this", "of-another", 1), nil, 404},
		"path with a suffix":    {strings.Replace(right, "?", "/?", 1), nil, 404},
	} {
		if a := b.get(t, attack.address, attack.change); a.status != attack.status {
			t.Errorf("%s: status %d, want %d", name, a.status, attack.status)
		}
		s.goesOn(t, name)
	}
	for name, attack := range notNavigations {
		if a := b.get(t, right, attack.change); a.status != attack.status {
			t.Errorf("%s: status %d, want %d", name, a.status, attack.status)
		}
		s.goesOn(t, name)
	}

	a := b.get(t, right, nil)
	if a.status != 200 || a.body != "welcome" {
		t.Errorf("the right redirect got %d %q", a.status, a.body)
	}
	expectHeaders(t, a)
	if left := b.Jar.Cookies(a.Request.URL); len(left) != 0 {
		t.Errorf("%d cookies are left behind", len(left))
	}
	if err := s.end(t); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// notNavigations are requests that no person has made.
var notNavigations = map[string]struct {
	change func(*http.Request)
	status int
}{
	"DNS rebinding":      {func(r *http.Request) { r.Host = "evil.example:80" }, 421},
	"localhost by name":  {func(r *http.Request) { r.Host = strings.Replace(r.Host, "127.0.0.1", "localhost", 1) }, 421},
	"a script":           {func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
	"fetch without CORS": {func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "no-cors") }, 403},
	"an image":           {func(r *http.Request) { r.Header.Set("Sec-Fetch-Dest", "image") }, 403},
	"a frame":            {func(r *http.Request) { r.Header.Set("Sec-Fetch-Dest", "iframe") }, 403},
	"a form":             {func(r *http.Request) { r.Method = http.MethodPost }, 405},
	"a look":             {func(r *http.Request) { r.Method = http.MethodHead }, 405},
	"a prefetch":         {func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch;prerender") }, 403},
	"an older prefetch":  {func(r *http.Request) { r.Header.Set("Purpose", "prefetch") }, 403},
}

func expectHeaders(t *testing.T, a answer) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
	} {
		if a.header.Get(name) != want {
			t.Errorf("header %s is %q, want %q", name, a.header.Get(name), want)
		}
	}
	if !a.Close {
		t.Error("the connection is kept alive")
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("content security policy %q", csp)
	}
}

func TestCancellingEndsTheWaitAtOnceAndFreesThePort(t *testing.T) {
	gone := errors.New("the user went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	s := serve(t, ctx, listen(t))
	idle, err := net.Dial("tcp", s.host()) // a connection that sends nothing holds nothing up
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	newBrowser(t).get(t, s.RedirectURI(), nil)

	began := time.Now()
	cancel(gone)
	if err := s.end(t); !errors.Is(err, gone) {
		t.Errorf("Serve gave %v, want the cause", err)
	}
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("ending took %v", took)
	}
	again, err := net.Listen("tcp", s.host())
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	again.Close()
}

func TestTakenPortsAreSkipped(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	ports := []int{taken.Addr().(*net.TCPAddr).Port, free.Addr().(*net.TCPAddr).Port}
	l, err := Listen(t.Context(), ports, "/callback")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := l.net.Addr().(*net.TCPAddr).Port; got != ports[1] {
		t.Errorf("listens on %d, want %d", got, ports[1])
	}
}

func TestIPv6ServesWhereIPv4IsTaken(t *testing.T) {
	v6, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6 loopback: %v", err)
	}
	port := v6.Addr().(*net.TCPAddr).Port
	v6.Close()
	v4, err := net.Listen("tcp", (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String())
	if err != nil {
		t.Skipf("port %d is taken on 127.0.0.1: %v", port, err)
	}
	defer v4.Close()

	l, err := Listen(t.Context(), []int{port}, "/callback")
	if err != nil {
		t.Fatal(err)
	}
	s, b := serve(t, t.Context(), l), newBrowser(t)
	if !strings.HasPrefix(s.RedirectURI(), "http://[::1]:") {
		t.Fatalf("redirect URI %s", s.RedirectURI())
	}
	b.begin(t, s.Listener)
	if a := b.get(t, s.RedirectURI()+"?state=right", nil); a.status != 200 || a.body != "welcome" {
		t.Errorf("got %d %q", a.status, a.body)
	}
	if err := s.end(t); err != nil {
		t.Error(err)
	}
}

func TestAConnectionThatABrowserOpenedAheadHoldsNothingUp(t *testing.T) {
	s, b := serve(t, t.Context(), listen(t)), newBrowser(t)
	ahead, err := net.Dial("tcp", s.host())
	if err != nil {
		t.Fatal(err)
	}
	defer ahead.Close()
	b.begin(t, s.Listener)
	if a := b.get(t, s.RedirectURI()+"?state=right", nil); a.status != http.StatusOK || a.body != "welcome" {
		t.Errorf("status %d, %q", a.status, a.body)
	}
	answered := time.Now()
	if err := s.end(t); err != nil {
		t.Error(err)
	}
	if took := time.Since(answered); took > lastPageTime/2 {
		t.Errorf("it returned %v after its answer", took)
	}
}

func TestWhoLoadsTheRedirectAgainWhileItIsJudgedSeesHowItEnded(t *testing.T) {
	judging := make(chan struct{}, 2)
	on := make(chan struct{})
	s := serveWith(t, t.Context(), listen(t), func() { judging <- struct{}{}; <-on })
	b := newBrowser(t)
	b.begin(t, s.Listener)
	right := s.RedirectURI() + "?state=right"
	impatient, gone := context.WithCancel(t.Context())
	go func() {
		r, err := http.NewRequestWithContext(impatient, http.MethodGet, right, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if answer, err := b.Do(r); err == nil {
			answer.Body.Close()
		}
	}()
	<-judging
	gone()
	time.AfterFunc(200*time.Millisecond, func() { close(on) })
	if a := b.get(t, right, nil); a.status != 200 || a.body != "welcome" {
		t.Errorf("%d %q", a.status, a.body)
	}
	if err := s.end(t); err != nil || len(judging) != 0 {
		t.Errorf("%v, judged %d times more", err, len(judging))
	}
}
