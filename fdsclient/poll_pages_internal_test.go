package fdsclient

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// linkedAPI gives its events in pages of two, to which Link headers lead, with entity
// tags of the body alone and no header but that with an answer without content.
type linkedAPI struct{ polledAPI }

func (a *linkedAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	header, list := http.Header{"Content-Type": {"application/json"}}, "[]"
	if path.Base(r.URL.Path) == "events" {
		var from int
		_, _ = fmt.Sscan(r.URL.Query().Get("at"), &from)
		from = min(from, len(a.events))
		to := min(from+2, len(a.events))
		list = "[" + strings.Join(a.events[from:to], ",") + "]"
		if to < len(a.events) {
			header.Set("Link", fmt.Sprintf(`</fds/v2/events?at=%d>; rel="next"`, to))
		}
	}
	header.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(list))))
	status := http.StatusOK
	if r.Header.Get("If-None-Match") == header.Get("ETag") {
		status, list = http.StatusNotModified, ""
		header.Del("Link")
		a.unchanged++
	}
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	return &http.Response{StatusCode: status, Request: r, Body: io.NopCloser(strings.NewReader(list)), Header: header}, nil
}

func TestAPageThatAnEntityTagDoesNotTellOfIsPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := pollClient(t, func(cfg *Config) { cfg.Provider.Dialect.FromParameter = "" })
		api, h := new(linkedAPI), new(had)
		f := poller(t, client, fds.NewSubscriptionID(), api, h.handle)
		synctest.Wait()
		var want []string
		for i := range 7 {
			api.event(fmt.Sprint("event ", i), time.Now())
			want = append(want, fmt.Sprint("event ", i))
			time.Sleep(70 * time.Minute)
		}
		f.stop()
		if got := h.take(); !slices.Equal(got, want) {
			t.Errorf("handed over: %q", got)
		}
		if api.unchanged == 0 {
			t.Error("nothing was unchanged, which proves nothing")
		}
	})
}
