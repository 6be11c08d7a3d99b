package webapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
)

// open sends a request and returns the answer with its body unread.
func (b *box) open(t *testing.T, ctx context.Context, path string) (*http.Response, error) {
	t.Helper()
	resp, err := b.server.Client().Do(b.request(t, http.MethodGet, path, "a", "").WithContext(ctx))
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

func TestAStatusFaultAnswersItsErrorObject(t *testing.T) {
	b := newBox(t)
	for status, message := range map[int]string{
		401: "unauthorized_request", 403: "forbidden", 429: "too_many_requests",
		500: "internal_server_error", 503: "service_unavailable",
	} {
		off := b.api.Fail(webapi.Fault{Status: status, RetryAfter: 1500 * time.Millisecond})
		got := b.get(t, "statuses", "a")
		got.fails(t, status, message)
		if got.Header.Get("Retry-After") != "2" {
			t.Errorf("%d: Retry-After %q, want 2", status, got.Header.Get("Retry-After"))
		}
		if challenge := got.Header.Get("WWW-Authenticate"); (status == 401) != strings.Contains(challenge, "invalid_token") {
			t.Errorf("%d: challenge %q", status, challenge)
		}
		off()
		b.get(t, "statuses", "a").list(t)
	}
	b.api.Fail(webapi.Fault{Status: 401, Message: "token \"x\" lapsed"})
	b.get(t, "statuses", "a").fails(t, 401, `token "x" lapsed`)
	b.api.Heal()
	b.api.Fail(webapi.Fault{Status: 7})
	b.get(t, "statuses", "a").fails(t, 500, "internal_server_error")
}

func TestAFaultLastsAsManyTimesAsAskedForAndOnItsPathOnly(t *testing.T) {
	b := newBox(t)
	b.api.Fail(webapi.Fault{Path: "/fds/v2/statuses", Times: 2, Status: 503})
	b.api.Fail(webapi.Fault{Path: "/fds/v2/tag/", Status: 500})
	b.get(t, "spaces", "a").list(t)
	b.get(t, "statuses", "a").fails(t, 503, "service_unavailable")
	b.get(t, "statuses", "a").fails(t, 503, "service_unavailable")
	b.get(t, "statuses", "a").list(t)
	b.get(t, "tag", "a").list(t)
	b.get(t, "tag/x", "a").fails(t, 500, "internal_server_error")
	b.api.Heal()
	b.get(t, "tag/x", "a").fails(t, 405, "method_not_allowed")
	var codes []int
	for _, r := range b.api.Requests() {
		codes = append(codes, r.Status)
	}
	if fmt.Sprint(codes) != "[200 503 503 200 200 500 405]" {
		t.Errorf("recorded %v", codes)
	}
}

func TestTheFirstFittingFaultIsTaken(t *testing.T) {
	b := newBox(t)
	off := b.api.Fail(webapi.Fault{Times: 1, Status: 500})
	b.api.Fail(webapi.Fault{Status: 503})
	b.get(t, "statuses", "a").fails(t, 500, "internal_server_error")
	off()
	off()
	b.get(t, "statuses", "a").fails(t, 503, "service_unavailable")
}

func TestAWebPageComesInPlaceOfJSON(t *testing.T) {
	b := newBox(t)
	b.api.Fail(webapi.HTML(502))
	got := b.get(t, "statuses", "a")
	if got.StatusCode != 502 || got.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(got.body, "<h1>Bad Gateway</h1>") {
		t.Errorf("%s %v %s", got.Status, got.Header, got.body)
	}
}

func TestAnErrorObjectComesInside200(t *testing.T) {
	b := newBox(t)
	b.api.Fail(webapi.ErrorInside(401, "unauthorized_request"))
	got := b.get(t, "statuses", "a")
	if got.StatusCode != 200 || got.body != `{"status":401,"message":"unauthorized_request"}` {
		t.Errorf("%s %s", got.Status, got.body)
	}
}

func TestTheContentTypeIsWrongOnARealAnswer(t *testing.T) {
	b := newBox(t)
	right := b.get(t, "spaces", "a")
	b.api.Fail(webapi.Fault{ContentType: "text/plain"})
	got := b.get(t, "spaces", "a")
	if got.StatusCode != 200 || got.Header.Get("Content-Type") != "text/plain" || got.body != right.body {
		t.Errorf("%s %s", got.Status, got.Header.Get("Content-Type"))
	}
}

func TestABodyIsReplacedByAnyBytes(t *testing.T) {
	b := newBox(t)
	b.api.Fail(webapi.Fault{Body: []byte("[\xff")})
	if got := b.get(t, "spaces", ""); got.StatusCode != 200 || got.body != "[\xff" {
		t.Errorf("%s %q", got.Status, got.body)
	}
}

func TestARedirectGoesWhereItIsTold(t *testing.T) {
	b := newBox(t)
	b.api.Fail(webapi.Fault{Times: 1, RedirectTo: "https://elsewhere.example/x"})
	b.api.Fail(webapi.Fault{Times: 1, RedirectTo: "http://elsewhere.example/x", Status: 308})
	for i, want := range []string{"302 https://elsewhere.example/x", "308 http://elsewhere.example/x"} {
		got := b.get(t, "spaces", "a")
		if have := fmt.Sprint(got.StatusCode, " ", got.Header.Get("Location")); have != want {
			t.Errorf("redirect %d: %s, want %s", i, have, want)
		}
	}
}

func TestATruncatedBodyBreaksOffBelowItsContentLength(t *testing.T) {
	b := newBox(t)
	whole := b.get(t, "spaces", "a").body
	b.api.Fail(webapi.Fault{Truncate: true})
	resp, err := b.open(t, t.Context(), "/fds/v2/spaces")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != whole[:len(whole)/2] || resp.ContentLength != int64(len(whole)) {
		t.Errorf("%d of %d bytes, %v", len(got), resp.ContentLength, err)
	}
}

func TestAnEndlessBodyGoesOnUntilTheClientHasEnough(t *testing.T) {
	b := newBox(t)
	off := b.api.Fail(webapi.Fault{Endless: true})
	resp, err := b.open(t, t.Context(), "/fds/v2/spaces")
	if err != nil {
		t.Fatal(err)
	}
	const enough = 4 << 20
	if n, err := io.CopyN(io.Discard, resp.Body, enough); err != nil {
		t.Errorf("after %d bytes: %v", n, err)
	}
	off()
	if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("switched off, it ends with %v", err)
	}
}

func TestADelayedAnswerWaitsUntilTheFaultIsOff(t *testing.T) {
	b := newBox(t)
	for name, release := range map[string]func(off func()){
		"off":  func(off func()) { off() },
		"heal": func(func()) { b.api.Heal() },
	} {
		before := len(b.api.Requests())
		off := b.api.Fail(webapi.Fault{Times: 1, Delay: time.Hour, Status: 503})
		answered := make(chan *http.Response, 1)
		go func() {
			resp, err := b.open(t, t.Context(), "/fds/v2/spaces")
			if err != nil {
				t.Error(err)
			}
			answered <- resp
		}()
		waitFor(t, func() bool { return len(b.api.Requests()) == before+1 })
		select {
		case <-answered:
			t.Fatalf("%s: answered at once", name)
		case <-time.After(20 * time.Millisecond): // an answer without the delay takes less than a millisecond
		}
		release(off)
		if resp := <-answered; resp == nil || resp.StatusCode != 503 {
			t.Errorf("%s: %+v", name, resp)
		}
	}
}

func TestADelayLastsAsLongAsItSays(t *testing.T) {
	b := newBox(t)
	const delay = 50 * time.Millisecond
	b.api.Fail(webapi.Fault{Delay: delay})
	began := time.Now()
	b.get(t, "spaces", "a").list(t)
	if took := time.Since(began); took < delay {
		t.Errorf("took %v", took)
	}
}

func TestAClientThatGivesUpEndsTheDelay(t *testing.T) {
	b := newBox(t)
	b.api.Fail(webapi.Fault{Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := b.open(t, ctx, "/fds/v2/spaces")
		ended <- err
	}()
	waitFor(t, func() bool { return len(b.api.Requests()) == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	b.server.Close() // returns only when the handler has
	if got := b.api.Requests()[0].Status; got != 0 {
		t.Errorf("recorded status %d, want none", got)
	}
}

func TestADripSendsByteByByte(t *testing.T) {
	b := newBox(t)
	const body = `[{}]`
	off := b.api.Fail(webapi.Fault{Body: []byte(body), Drip: time.Hour})
	resp, err := b.open(t, t.Context(), "/fds/v2/spaces")
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len(body))
	n, err := resp.Body.Read(first)
	if n != 1 || err != nil || resp.ContentLength != int64(len(body)) {
		t.Errorf("first %d bytes of %d, %v", n, resp.ContentLength, err)
	}
	off()
	if rest, err := io.ReadAll(resp.Body); err != nil || string(first[:n])+string(rest) != body {
		t.Errorf("then %q, %v", rest, err)
	}
}

func TestABrokenBodySparesHead(t *testing.T) {
	api := webapi.New(webapi.Config{})
	for _, f := range []webapi.Fault{{Truncate: true}, {Endless: true}, {Drip: time.Hour}} {
		off := api.Fail(f)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/fds/v2/spaces", nil)) // a broken body would panic or not return
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%+v: %d", f, w.Code)
		}
		off()
	}
}

// waitFor waits for a condition that another goroutine brings about.
func waitFor(t *testing.T, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !met() {
		if time.Now().After(deadline) {
			t.Fatal("waited 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}
