package pull_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

const bom = "\xef\xbb\xbf"

func TestWhatBeginsAsJSONIsTakenFromServersThatHaveNoTypeForIt(t *testing.T) {
	for _, kind := range []string{"text/plain", "Text/Plain; charset=utf-8", "application/octet-stream", "binary/octet-stream", "", "application/json"} {
		for text, want := range map[string]int{
			`[{}]`: 1, bom + `[{}]`: 1, " \r\n\t[{},{}]": 2, bom + "\n" + `[{}]`: 1, strings.Repeat(" ", 3000) + `{"list":[{}]}`: 1, bom + `{"list":[]}`: 0, `[]`: 0,
			`<html>`: -1, `Not found`: -1, `"["`: -1, ``: -1, bom: -1, bom[:2] + `[]`: -1, bom + bom + `[]`: -1, strings.Repeat(" ", 2<<20) + `[]`: -1,
		} {
			for way, pieces := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "with its end": iotest.DataErrReader} {
				if len(text) > 1<<20 && way == "byte by byte" {
					continue
				}
				client := offline(t, script(func(r *http.Request) (*http.Response, error) {
					response := stream(r, 200, pieces(strings.NewReader(text)))
					response.Header = http.Header{"Content-Type": {kind}}
					if kind == "" {
						response.Header = http.Header{}
					}
					return response, nil
				}), func(c *pull.Config) { c.Dialect.ListMember = "list" })
				got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
				if want >= 0 && (len(got) != want || err != nil) || want < 0 && !isOnly(err, fds.ErrAnswer) && !isOnly(err, fds.ErrUnavailable) {
					t.Errorf("%q, %.20q, %s: %d items, %v", kind, text, way, len(got), err)
				}
			}
		}
	}
}

func TestAByteOrderMarkIsPassedOverWhereverAnAnswerHasOne(t *testing.T) {
	status, text := 200, bom+`{"tag_id":"T"}`
	client := offline(t, script(func(r *http.Request) (*http.Response, error) { return reply(r, status, text), nil }), func(c *pull.Config) {
		c.Dialect = fds.Dialect{TagParameter: "tag"}
	})
	if tag, err := client.Tag(t.Context(), "T"); tag.ID() != "T" || err != nil {
		t.Errorf("%v, %v", tag, err)
	}
	if made, err := client.CreateTag(t.Context(), 1); made.ID != "T" || err != nil {
		t.Errorf("%+v, %v", made, err)
	}
	status, text = 400, bom+`{"status":400,"message":"invalid_parameter"}`
	if _, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{})); !isOnly(err, fds.ErrInvalidParameter) {
		t.Error(err)
	}
}

// zip is a text in gzip.
func zip(t testing.TB, text string) string {
	t.Helper()
	var out strings.Builder
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestGzipByEitherOfItsNamesIsTaken(t *testing.T) {
	for coding, fine := range map[string]bool{"gzip": true, "x-gzip": true, "X-GZIP": true, "identity, x-gzip": true, "br": false, "gzip, gzip": false, "x-gzip, br": false, "deflate": false} {
		for name, body := range map[string]string{"a list": zip(t, bom+`[{}]`), "half a list": zip(t, `[{},{}]`)[:30], "no gzip": `[{}]`, "nothing": ""} {
			client := offline(t, script(func(r *http.Request) (*http.Response, error) {
				return reply(r, 200, body, "Content-Encoding", coding), nil
			}))
			got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
			switch {
			case !fine && !isOnly(err, fds.ErrAnswer), fine && name == "a list" && (len(got) != 1 || err != nil), name != "a list" && err == nil:
				t.Errorf("%s in %s: %q, %v", name, coding, got, err)
			}
		}
	}
	// An error's body, too, and over a real transport, which knows gzip itself.
	a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "x-gzip")
		w.WriteHeader(400)
		_, _ = io.WriteString(w, zip(t, `{"status":404,"message":"gone"}`))
	})
	if _, err := raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{})); !isOnly(err, fds.ErrNotFound) {
		t.Error(err)
	}
}

// TestAttackWhatIsUnpackedIsBounded: a few bytes of gzip make gigabytes.
func TestAttackWhatIsUnpackedIsBounded(t *testing.T) {
	bomb := zip(t, `[{"a":"`+strings.Repeat("x", 20<<20)+`"}]`)
	for status, class := range map[int]error{200: fds.ErrAnswer, 503: fds.ErrUnavailable} {
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			return reply(r, status, bomb, "Content-Encoding", "x-gzip"), nil
		}))
		before := allocated()
		_, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		if made := allocated() - before; !isOnly(err, class) || made > 16<<20 {
			t.Errorf("%d: %d MiB were allocated, %v", status, made>>20, err)
		}
	}
}

func TestARefusalThatSaysWhenToComeAgainIsRepeated(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		header []string
		body   string
		class  error
		asked  int
	}{
		"with Retry-After":      {[]string{"Retry-After", "0"}, "", fds.ErrRateLimited, 2},
		"an error object":       {[]string{"Retry-After", "0"}, `{"status":403,"message":"quota"}`, fds.ErrRateLimited, 2},
		"without":               {nil, "", nil, 1},
		"but the token is over": {[]string{"Retry-After", "0"}, `{"status":401,"message":"unauthorized_request"}`, fds.ErrUnauthorized, 1},
	} {
		asked := 0
		answer := func(r *http.Request) (*http.Response, error) {
			if asked++; asked == 2 {
				return reply(r, 200, `[]`), nil
			}
			return reply(r, 403, test.body, test.header...), nil
		}
		_, err := raws(offline(t, script(answer)).Items(t.Context(), pull.Spaces, pull.Query{}))
		if !isOnly(err, test.class) || pull.Retryable(err) != (test.asked == 2) {
			t.Errorf("%s: %v", name, err)
		}
		asked = 0
		_, _ = raws(offline(t, script(answer), func(c *pull.Config) { c.RetryFor = 5e9 }).Items(t.Context(), pull.Spaces, pull.Query{}))
		if asked != test.asked {
			t.Errorf("%s: asked %d times", name, asked)
		}
		asked = 0
		_, _ = offline(t, script(answer), func(c *pull.Config) { c.RetryFor = 5e9 }).CreateTag(t.Context(), 1)
		if asked != test.asked {
			t.Errorf("%s: a tag was to be created %d times", name, asked)
		}
	}
}

func TestADeletionThatWasRefusedForAWhileHasNotBeenCarriedOut(t *testing.T) {
	t.Parallel()
	n := 0
	client := offline(t, each(&n, body(403, "", "Retry-After", "0"), body(404, "")), func(c *pull.Config) { c.RetryFor = 5e9 })
	if err := client.DeleteTag(t.Context(), "T"); !isOnly(err, fds.ErrNotFound) || n != 2 {
		t.Errorf("%v after %d requests", err, n)
	}
}

// TestAttackAnAnswerOfWhiteSpaceIsNotWaitedFor: it says of itself that it is a text.
func TestAttackAnAnswerOfWhiteSpaceIsNotWaitedFor(t *testing.T) {
	var read atomic.Int64
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		return stream(r, 200, &endlessly{&read, " "}, "Content-Type", "text/plain"), nil
	}))
	if _, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{})); !isOnly(err, fds.ErrAnswer) || read.Load() > 8<<10 {
		t.Errorf("%d bytes were read, %v", read.Load(), err)
	}
}
