package fdstest_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestAPageNamesItselfAsTheNext(t *testing.T) {
	for name, paging := range map[string]fdstest.Paging{
		"cursor":  {CursorParameter: "cursor", CursorMember: "next", Size: 3},
		"link":    {LinkHeader: true, Size: 3},
		"numbers": {LinkHeader: true, PageParameter: "page", FirstPage: 1, Size: 3},
	} {
		r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{ListMember: "items", Paging: paging}}, strings.Fields(sevenDevices)...)
		// page reads one and returns its items and what leads to the next.
		page := func(path string) (ids, next string) {
			t.Helper()
			ans := r.read(path)
			var answer struct {
				Items json.RawMessage
				Next  string
			}
			if err := json.Unmarshal([]byte(ans.body), &answer); err != nil {
				t.Fatalf("%s: %d %s", path, ans.status, ans.body)
			}
			if answer.Next != "" {
				return idsOf(answer.Items), "specifications?cursor=" + url.QueryEscape(answer.Next)
			}
			link, _, _ := strings.Cut(strings.TrimPrefix(ans.header.Get("Link"), "<"), ">")
			if strings.HasPrefix(link, "?") {
				link = "specifications" + link
			}
			return idsOf(answer.Items), link
		}
		_, second := page("specifications")
		_, third := page(second)
		off := r.p.Inject(fdstest.NextPageIsItself(fdstest.APIPath("specifications")))
		for path, want := range map[string]string{"specifications": "A B C", second: "D E F", third: "G"} {
			next := path
			for range 3 {
				var ids string
				if ids, next = page(next); ids != want {
					t.Errorf("%s: %s leads to %q, want %s", name, path, ids, want)
				}
			}
		}
		off()
		if _, next := page(third); next != "" {
			t.Errorf("%s: it is not off: %s", name, next)
		}
	}
}

func TestAPageCannotNameItselfWhereNoneNamesTheNext(t *testing.T) {
	r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{Paging: fdstest.Paging{PageParameter: "page"}}})
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "set CursorParameter or LinkHeader") {
			t.Errorf("it says %q", text)
		}
	}()
	r.p.Inject(fdstest.NextPageIsItself(fdstest.APIEndpoint))
}

func TestATagIsMadeAlthoughItsAnswerIsLost(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		r := newReader(t, fdstest.Options{})
		r.http.Transport.(*http.Transport).ForceAttemptHTTP2 = http2
		r.p.Inject(fdstest.LoseTagAnswer().Times(1))
		if ans := r.read("tag"); ans.body != "[]" {
			t.Errorf("a list is lost: %v", ans.err)
		}
		r.send(http.MethodPost, "tag", `[]`).refused(t, "no tag", 400, "invalid_body")
		if ans := r.send(http.MethodPost, "tag", `{"tag_id":"lost","generic":{}}`); ans.err == nil {
			t.Errorf("an answer came: %d %s", ans.status, ans.body)
		}
		if got := idsOf(json.RawMessage(r.read("tag").body)); got != "lost" {
			t.Errorf("made: %q", got)
		}
		if ans := r.send(http.MethodPost, "tag", `{"tag_id":"found","generic":{}}`); ans.status != http.StatusCreated {
			t.Errorf("the second: %d %v", ans.status, ans.err)
		}
		if n := r.p.Requests(fdstest.APIPath("tag")); n != 5 {
			t.Errorf("%d requests; one was sent again", n)
		}
	}
}

func TestABombIsSmallAndInflatesToTheWholeAnswer(t *testing.T) {
	for _, compress := range []bool{false, true} {
		r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{Compress: compress}}, "A")
		whole := r.read("specifications").body
		off := r.p.Inject(fdstest.GzipBomb(fdstest.APIEndpoint, 40<<20))
		ans := r.read("specifications", "Accept-Encoding", "identity", "If-None-Match", "*")
		z, err := gzip.NewReader(strings.NewReader(ans.body))
		if err != nil || ans.status != 200 || ans.header.Get("Content-Encoding") != "gzip" || len(ans.body) > 60<<10 {
			t.Fatalf("%d bytes, %d %v, %v", len(ans.body), ans.status, ans.header, err)
		}
		if n, err := io.CopyN(io.Discard, z, 48<<20); err != nil {
			t.Errorf("%d bytes of white space, %v", n, err)
		}
		if rest, err := io.ReadAll(io.LimitReader(z, 1<<20)); string(rest) != whole || err != nil {
			t.Errorf("then %q, %v", rest, err)
		}
		if ans := r.send(http.MethodHead, "specifications", ""); ans.status != 200 || ans.err != nil {
			t.Errorf("HEAD: %d %v", ans.status, ans.err)
		}
		if ans := r.send(http.MethodPost, "tag", `{"tag_id":"t","generic":{}}`, "Accept-Encoding", "gzip"); ans.status != 201 || ans.err != nil {
			t.Errorf("POST: %d %v", ans.status, ans.err)
		}
		if ans := r.send(http.MethodDelete, "tag/t", ""); ans.status != 204 || ans.err != nil || ans.header.Get("Content-Encoding") != "" {
			t.Errorf("an answer without a body: %d %v %v", ans.status, ans.header, ans.err)
		}
		off()
		if ans := r.read("specifications"); ans.body != whole {
			t.Error("it is not off")
		}
	}
}

func TestABombOfTerabytesGoesOnUntilTheClientHasEnough(t *testing.T) {
	r := newReader(t, fdstest.Options{}, "A")
	off := r.p.Inject(fdstest.GzipBomb(fdstest.MetadataEndpoint, 1<<42))
	open := func(coding string) *http.Response {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		t.Cleanup(cancel)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.p.Issuer()+"/.well-known/oauth-authorization-server", nil)
		if coding != "" {
			req.Header.Set("Accept-Encoding", coding)
		}
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	enough, cut := open(""), open("identity") // net/http inflates what it asked for by itself, and the bytes under way are gigabytes
	if n, err := io.CopyN(io.Discard, enough.Body, 100<<20); err != nil || !enough.Uncompressed {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = enough.Body.Close()
	off()
	if _, err := io.Copy(io.Discard, cut.Body); err == nil {
		t.Error("switched off, it ends well")
	}
}

func TestRetryAfterIsInSecondsOrADate(t *testing.T) {
	r := newReader(t, fdstest.Options{})
	date := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	for status, fault := range map[int]func(fdstest.Endpoint, string) fdstest.Fault{429: fdstest.TooManyRequests, 503: fdstest.Unavailable} {
		for _, value := range []string{"120", date, ""} {
			off := r.p.Inject(fault(fdstest.APIPath("statuses"), value))
			ans := r.read("statuses")
			if ans.status != status || ans.header.Get("Retry-After") != value || ans.json(t)["status"] != float64(status) {
				t.Errorf("%d with %q: %d %q %s", status, value, ans.status, ans.header.Get("Retry-After"), ans.body)
			}
			off()
		}
	}
	if ans := r.read("statuses"); ans.status != 200 {
		t.Errorf("they are not off: %d", ans.status)
	}
}

func TestFaultsThatChangeABodyDoSoBeforeItIsCompressed(t *testing.T) {
	r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{Compress: true, SubscriptionParameter: "owner"}}, "A")
	off := r.p.Inject(fdstest.Oversized(fdstest.APIEndpoint, 10))
	if ans := r.read("specifications", "Accept-Encoding", "gzip", "If-None-Match", "*"); ans.header.Get("Content-Encoding") != "" || ans.body != `          [{"device_id":"A"}]` {
		t.Errorf("Oversized: %d %q", ans.status, ans.body)
	}
	off()
	off = r.p.Inject(fdstest.Drip(fdstest.APIEndpoint, 0))
	defer off()
	if ans := r.read("specifications", "Accept-Encoding", "gzip"); inflate(t, ans.body) != `[{"device_id":"A"}]` {
		t.Errorf("Drip: %d %q", ans.status, ans.body)
	}
}
