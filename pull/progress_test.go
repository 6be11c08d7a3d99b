package pull_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/pull"
)

func TestProgressIsToldTenTimesASecondAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const item = `{"n":1}`
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if pageOf(r) > 5 {
				return reply(r, 200, `[]`), nil
			}
			return reply(r, 200, "["+strings.Repeat(item+",", 199)+item+fmt.Sprintf("%*s]", pageOf(r), "")), nil
		}), numbered)
		var told []pull.Progress
		var at []time.Time
		n := 0
		for _, err := range client.Items(t.Context(), pull.Spaces, pull.Query{Progress: func(p pull.Progress) {
			told, at = append(told, p), append(at, time.Now())
			if p.Items != n && p.Items != n+1 || p.Bytes != int64(p.Items*len(item)) || !p.Done && p.Answers != (p.Items+199)/200 {
				t.Errorf("after %d items: %+v", n, p)
			}
		}}) {
			if n++; err != nil {
				break // the provider repeats a page
			}
			time.Sleep(5 * time.Millisecond)
		}
		for i, p := range told {
			if p.Done != (i == len(told)-1) {
				t.Errorf("%d of %d: %+v", i, len(told), p)
			}
			if i > 0 && !p.Done && at[i].Sub(at[i-1]) < 100*time.Millisecond {
				t.Errorf("told %v after the last time", at[i].Sub(at[i-1]))
			}
		}
		if len(told) < 3 {
			t.Errorf("told %d times", len(told))
		}
	})
}

func TestProgressEndsOnceHoweverTheListDoes(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		items  int
	}{
		"read":      {body(200, `[{},{}]`), 2},
		"empty":     {body(200, `[]`), 0},
		"refused":   {status(403), 0},
		"cut short": {body(200, `[{},{},`), 2},
		"bad items": {body(200, `[1,{}]`), 2},
	} {
		var told []pull.Progress
		for range offline(t, script(test.answer)).Items(t.Context(), pull.Spaces, pull.Query{Progress: func(p pull.Progress) { told = append(told, p) }}) {
		}
		done := 0
		for _, p := range told {
			if p.Done {
				done++
			}
		}
		if last := told[len(told)-1]; done != 1 || !last.Done || last.Items != test.items {
			t.Errorf("%s: %+v", name, told)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var last pull.Progress
	for range offline(t, script(body(200, `[{},{}]`))).Items(ctx, pull.Spaces, pull.Query{Progress: func(p pull.Progress) { last = p }}) {
		cancel()
	}
	cancel()
	if !last.Done || last.Items != 1 {
		t.Errorf("cancelled: %+v", last)
	}
	for range offline(t, script(body(200, `[{},{}]`))).Items(t.Context(), pull.Spaces, pull.Query{Progress: func(p pull.Progress) { last = p }}) {
		break
	}
	if last.Done {
		t.Errorf("a loop that ended early heard %+v", last)
	}
}
