package following

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

func TestPagesThatShiftWhileAGapIsFilledHideNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var events []string
		drop := true
		h := new(handled)
		a := pushing(t, func(cfg *config) {
			cfg.Dialect = byDate
			cfg.Dialect.FromParameter, cfg.Dialect.ToParameter = "", ""
			cfg.Dialect.Paging = fds.Paging{PageParameter: "page"}
		})
		api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, r *http.Request) (int, string) {
			mu.Lock()
			defer mu.Unlock()
			if kind != pull.Events {
				return 200, "[]"
			}
			var n int
			_, _ = fmt.Sscan(r.URL.Query().Get("page"), &n)
			from := min(2*n, len(events))
			list := "[" + strings.Join(events[from:min(from+2, len(events))], ",") + "]"
			if drop && n == 0 {
				drop, events = false, events[1:]
			}
			return 200, list
		}}
		f := followed(t, a, api, h.handle)
		pass(time.Hour)
		for i := range 5 {
			events = append(events, dated(fmt.Sprint("E", i), time.Now()))
			time.Sleep(time.Minute)
		}
		events = append(events, `{"nameless":1}`, `{"nameless":1}`)
		<-outage(t, f)
		f.Stop()
		for i := range 5 {
			if n := h.has(fmt.Sprintf(`"message_id":"E%d"`, i)); n != 1 {
				t.Errorf("E%d was handed over %d times", i, n)
			}
		}
		if n := h.has("nameless"); n != 2 {
			t.Errorf("two events without a name and a date were handed over %d times", n)
		}
	})
}

func TestARefusalInTheMiddleOfAListClosesNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events [2]string
		refuses := true
		api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, r *http.Request) (int, string) {
			page := r.URL.Query().Get("page")
			switch {
			case kind != pull.Events:
				return 501, ""
			case page == "0":
				return 200, events[0]
			case page == "1" && refuses:
				refuses = false
				return 501, ""
			case page == "1":
				return 200, events[1]
			}
			return 200, "[]"
		}}
		h := new(handled)
		a := pushing(t, func(cfg *config) {
			cfg.Dialect = byDate
			cfg.Dialect.Paging.PageParameter = "page"
		})
		f := followed(t, a, api, h.handle)
		pass(time.Hour)
		events = [2]string{"[" + dated("E0", time.Now()) + "]", "[" + dated("E1", time.Now()) + "]"}
		pass(time.Hour)
		<-outage(t, f)
		f.Stop()
		for i := range events {
			if n := h.has(fmt.Sprintf(`"message_id":"E%d"`, i)); n != 1 {
				t.Errorf("E%d was handed over %d times", i, n)
			}
		}
	})
}
