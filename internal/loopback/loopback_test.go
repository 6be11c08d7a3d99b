package loopback

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a listener whose callback accepts state=right.
func serve(t *testing.T, ctx context.Context, ports []int) (*Listener, chan error) {
	t.Helper()
	l, err := Listen(t.Context(), ports, "/callback")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- l.Serve(ctx, func(redirect *url.URL) (Page, bool) {
			if redirect.Query().Get("state") != "right" {
				return Page{Status: http.StatusBadRequest, HTML: []byte("foreign")}, false
			}
			return Page{Status: http.StatusOK, HTML: []byte("welcome")}, true
		})
	}()
	return l, done
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

func get(t *testing.T, address string, change func(*http.Request)) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body), response.Header
}

func TestOnlyTheRightRedirectEndsTheWait(t *testing.T) {
	l, done := serve(t, t.Context(), nil)
	uri := l.RedirectURI()
	if !strings.HasPrefix(uri, "http://127.0.0.1:") || !strings.HasSuffix(uri, "/callback") {
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
		"path with a suffix":    {strings.Replace(right, "/callback", "/callback/", 1), nil, 404},
		"DNS rebinding":         {right, func(r *http.Request) { r.Host = "evil.example:80" }, 421},
		"localhost by name":     {right, func(r *http.Request) { r.Host = strings.Replace(r.Host, "127.0.0.1", "localhost", 1) }, 421},
		"a script":              {right, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
		"fetch without CORS":    {right, func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "no-cors") }, 403},
		"an image":              {right, func(r *http.Request) { r.Header.Set("Sec-Fetch-Dest", "image") }, 403},
		"a frame": {right, func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "iframe")
		}, 403},
		"a form": {right, func(r *http.Request) { r.Method = http.MethodPost }, 405},
	} {
		if status, _, _ := get(t, attack.address, attack.change); status != attack.status {
			t.Errorf("%s: status %d, want %d", name, status, attack.status)
		}
		select {
		case err := <-done:
			t.Fatalf("%s ended the wait: %v", name, err)
		default:
		}
	}

	status, body, header := get(t, right, func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
	})
	if status != 200 || body != "welcome" {
		t.Errorf("the right redirect got %d %q", status, body)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
	} {
		if header.Get(name) != want {
			t.Errorf("header %s is %q, want %q", name, header.Get(name), want)
		}
	}
	if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("content security policy %q", csp)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestCancellingEndsTheWaitAtOnceAndFreesThePort(t *testing.T) {
	gone := errors.New("the user went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	l, done := serve(t, ctx, nil)
	idle, err := net.Dial("tcp", l.host()) // a connection that sends nothing holds nothing up
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	get(t, l.RedirectURI(), nil)

	began := time.Now()
	cancel(gone)
	if err := <-done; !errors.Is(err, gone) {
		t.Errorf("Serve gave %v, want the cause", err)
	}
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("ending took %v", took)
	}
	again, err := net.Listen("tcp", l.host())
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

	l, done := serve(t, t.Context(), []int{port})
	if !strings.HasPrefix(l.RedirectURI(), "http://[::1]:") {
		t.Fatalf("redirect URI %s", l.RedirectURI())
	}
	if status, body, _ := get(t, l.RedirectURI()+"?state=right", nil); status != 200 || body != "welcome" {
		t.Errorf("got %d %q", status, body)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAConnectionThatABrowserOpenedAheadHoldsNothingUp(t *testing.T) {
	l, err := Listen(t.Context(), nil, "/callback")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- l.Serve(t.Context(), func(*url.URL) (Page, bool) { return Page{Status: http.StatusOK, HTML: []byte("done")}, true })
	}()
	ahead, err := net.Dial("tcp", l.host())
	if err != nil {
		t.Fatal(err)
	}
	defer ahead.Close()
	if status, body, _ := get(t, l.RedirectURI(), func(*http.Request) {}); status != http.StatusOK || body != "done" {
		t.Errorf("status %d, %q", status, body)
	}
	answered := time.Now()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if took := time.Since(answered); took > lastPageTime/2 {
		t.Errorf("it returned %v after its answer", took)
	}
}
