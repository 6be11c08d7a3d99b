package pull_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// short is a provider that takes queries of so many bytes, and answers with the IDs that it
// was asked for, in pages of seven. Its state is in its entity tags.
type short struct {
	bytes, status int
	asked, long   int
	state         string
}

func (s *short) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked++
	if len(r.URL.RawQuery) > s.bytes {
		s.long++
		return reply(r, s.status, "<html>", "Content-Type", "text/html"), nil
	}
	var items []string
	for _, id := range strings.Split(r.URL.Query().Get("ids"), ",") {
		items = append(items, fmt.Sprintf(`{"device_id":%q}`, id))
	}
	page := pageOf(r)
	items = items[min(7*page, len(items)):min(7*page+7, len(items))]
	body := "[" + strings.Join(items, ",") + "]"
	tag := fmt.Sprintf("%q", s.state+fmt.Sprint(len(body)))
	if r.Header.Get("If-None-Match") == tag {
		return reply(r, 304, "", "ETag", tag), nil
	}
	return reply(r, 200, body, "ETag", tag), nil
}

func TestIDsThatMakeAURLTooLongForTheProviderAreSplitFurther(t *testing.T) {
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprintf("FORKINC_S1_%d", i))
	}
	for _, status := range []int{414, 431} {
		for _, bytes := range []int{30, 100, 500, 1023, 1999, 5000} {
			provider := &short{bytes: bytes, status: status}
			client := offline(t, provider, func(c *pull.Config) { c.Dialect.Paging = fds.Paging{PageParameter: "page"} })
			query := pull.Query{IDs: want, Version: new(pull.Version)}
			read := func(state string) {
				t.Helper()
				provider.state = state
				list, err := pull.Collect(client.Statuses(t.Context(), query))
				var got []string
				for _, device := range list {
					got = append(got, device.ID())
				}
				if !slices.Equal(got, want) || err != nil {
					t.Errorf("%d over %d bytes: %d of %d IDs, %v", status, bytes, len(got), len(want), err)
				}
			}
			read("a")
			long := provider.long
			if long > 10 { // as often as a half of 2,000 bytes is halved
				t.Errorf("%d over %d bytes: refused %d times", status, bytes, long)
			}
			if _, err := pull.Collect(client.Statuses(t.Context(), query)); bytes >= 500 && !errors.Is(err, fds.ErrUnchanged) { // of fewer than a hundred pages
				t.Errorf("%d over %d bytes: afterwards %v", status, bytes, err)
			}
			read("b")
			if provider.long != long {
				t.Errorf("%d over %d bytes: what was too long once was sent again", status, bytes)
			}
		}
	}
}

func TestAURLThatIsTooLongWithOneIDIsAnError(t *testing.T) {
	for _, ids := range [][]string{nil, {"a"}, {"a", "b", "c", "d"}} {
		provider := &short{bytes: 0, status: 414}
		client := offline(t, provider, func(c *pull.Config) { c.Dialect.LanguageParameter = "lang" })
		_, err := pull.Collect(client.Statuses(t.Context(), pull.Query{IDs: ids, Language: "de"}))
		var failed *pull.Error
		if !errors.As(err, &failed) || failed.HTTPStatus != 414 || provider.asked > 3 {
			t.Errorf("%q: %v in %d requests", ids, err, provider.asked)
		}
	}
}

// TestWhatCameOfAListIsNotReadTwiceBecauseALaterURLIsTooLong: only the first page is split.
func TestWhatCameOfAListIsNotReadTwiceBecauseALaterURLIsTooLong(t *testing.T) {
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		if pageOf(r) > 0 {
			return reply(r, 414, ""), nil
		}
		return reply(r, 200, `[{"device_id":"a"},{"device_id":"b"}]`), nil
	}), func(c *pull.Config) { c.Dialect.Paging = fds.Paging{PageParameter: "page"} })
	list, err := pull.Collect(client.Statuses(t.Context(), pull.Query{IDs: []string{"a", "b"}}))
	if len(list) != 2 || err == nil {
		t.Errorf("%d items, %v", len(list), err)
	}
}

// TestAnAnswerOfAPartIsNotTakenForThatOfAnother: what a Version knows of may be split
// otherwise today.
func TestAnAnswerOfAPartIsNotTakenForThatOfAnother(t *testing.T) {
	var want []string
	for i := range 60 {
		want = append(want, fmt.Sprintf("FORKINC_S1_%d", i))
	}
	for _, today := range []int{400, 5000} {
		provider := &short{bytes: 400, status: 414, state: "a"}
		bodies := &held{answer: func(r *http.Request) *http.Response { response, _ := provider.RoundTrip(r); return response }}
		query := pull.Query{IDs: want, Version: new(pull.Version)}
		read := func() {
			t.Helper()
			client := offline(t, bodies, func(c *pull.Config) { c.Dialect.Paging = fds.Paging{PageParameter: "page"} })
			list, err := pull.Collect(client.Statuses(t.Context(), query))
			if len(list) != len(want) || err != nil {
				t.Errorf("%d bytes: %d of %d, %v", today, len(list), len(want), err)
			}
		}
		read()
		provider.bytes, provider.state = today, "b"
		read()
		if bodies.open > 0 {
			t.Errorf("%d bytes: %d bodies are open", today, bodies.open)
		}
	}
}
