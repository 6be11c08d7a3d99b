package pull_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/pull"
)

// FuzzARefusal takes any answer that is no list, and any header that says more about it.
func FuzzARefusal(f *testing.F) {
	for _, seed := range []struct {
		status                  int
		kind, body, after, date string
	}{
		{400, "application/json", `{"status":400,"message":"invalid_parameter"}`, "", ""},
		{401, "application/problem+json", `{"title":"no","detail":"` + token + `","status":401}`, "7", ""},
		{503, "text/plain; charset=utf-8", "later\x1b[2J\u202e", "Mon, 23 Nov 2026 12:00:17 GMT", "Mon, 23 Nov 2026 12:00:00 GMT"},
		{200, "text/html", "<html>", "-1", "never"},
		{200, "application/json", `{"status":2.04e2,"message":"not_implemented","list":[{}]}`, "99999999999999999999", ""},
		{304, "a;;b=\"", "\xff", "1e9", ""},
		{429, "application/problem+json", `{"title":"\ud800","detail":[]}`, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"},
	} {
		f.Add(seed.status, seed.kind, []byte(seed.body), seed.after, seed.date)
	}
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte, after, date string) {
		if status = 200 + max(status, -status)%400; status < 200 {
			t.Skip()
		}
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			response := stream(r, status, io.NopCloser(strings.NewReader(string(body))), "Content-Type", kind, "Retry-After", after, "Date", date, "X-Request-Id", kind)
			return response, nil
		}), func(c *pull.Config) { c.Authorizer, c.Dialect.ListMember = &bearer{token: token}, "list" })
		_, list := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		_, made := client.CreateTag(t.Context(), 1)
		for _, err := range []error{list, made, client.DeleteTag(t.Context(), "T")} {
			var failed *pull.Error
			if !errors.As(err, &failed) {
				continue // an answer, or a malformed item
			}
			text := err.Error()
			if len(text) > 2500 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e }) {
				t.Fatalf("%d %q %q: %d bytes: %q", status, kind, body, len(text), text)
			}
			for _, told := range []string{text, failed.Message, failed.Text, failed.RequestID, failed.Path} {
				if len(told) > 512 && told != text || strings.Contains(told, token) {
					t.Fatalf("%d %q %q: %q", status, kind, body, told)
				}
			}
			if failed.RetryAfter < 0 || failed.RetryAfter > 24*time.Hour || failed.HTTPStatus != status {
				t.Fatalf("%d %q: %+v", status, after, failed)
			}
		}
		if status != http.StatusOK && list == nil {
			t.Fatalf("HTTP %d is a list", status)
		}
	})
}
