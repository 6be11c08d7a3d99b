package following

import (
	"context"
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

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// linkedAPI returns its events in pages of two, to which Link headers lead, with entity
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
		all := polled(t, func(cfg *config) { cfg.Dialect.FromParameter = "" })
		api, h := new(linkedAPI), new(had)
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		synctest.Wait()
		var want []string
		for i := range 7 {
			api.event(fmt.Sprint("event ", i), time.Now())
			want = append(want, fmt.Sprint("event ", i))
			time.Sleep(70 * time.Minute)
		}
		f.Stop()
		if got := h.take(); !slices.Equal(got, want) {
			t.Errorf("handed over: %q", got)
		}
		if api.unchanged == 0 {
			t.Error("nothing was unchanged, which proves nothing")
		}
	})
}

// Pages that shift, a list that another machine of the provider has not caught up
// with.
func TestAnEventThatWasMissingInOneReadDoesNotComeAgain(t *testing.T) {
	for name, from := range map[string]string{"of the whole collection": "", "of what is new": "from"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := polled(t, func(cfg *config) { cfg.Dialect.FromParameter = from })
				api, h, id := &polledAPI{from: true}, new(had), fds.NewSubscriptionID()
				f := poller(t, all, id, api, h.handle)
				synctest.Wait()
				for i := range 9 {
					api.event(fmt.Sprint("event ", i), time.Now())
					time.Sleep(10 * time.Second)
				}
				pass(time.Minute)
				h.take()
				for i := range 6 {
					var whole []string
					api.event(fmt.Sprint("new ", i), time.Now())
					api.change(func() {
						whole = slices.Clone(api.events)
						api.events = slices.Delete(api.events, i, i+2)
					})
					time.Sleep(70 * time.Second)
					expect(t, h, fmt.Sprint("new ", i))
					api.change(func() { api.events = whole })
					if i%2 == 0 {
						f.Stop()
						f = poller(t, all, id, api, h.handle)
					}
					time.Sleep(70 * time.Second)
					expect(t, h)
				}
				f.Stop()
			})
		})
	}
}

// Such a list may hold the last event alone.
func TestAnEventOfNoNameAndDateThatComesAgainIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, n := polled(t, nil), &polledAPI{from: true}, 0
		f := poller(t, all, fds.NewSubscriptionID(), api, func(context.Context, delivery.Message) error { n++; return nil })
		synctest.Wait()
		for i := range 6 {
			api.change(func() { api.events = []string{[]string{`{"code":"open"}`, `{"code":"closed"}`}[i%2]} })
			time.Sleep(2 * time.Minute)
		}
		f.Stop()
		if n != 6 {
			t.Errorf("%d of 6 events were handed over", n)
		}
	})
}
