package pull_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// TestAttackNoErrorForgesALineOrFloodsALog: whatever a provider, a network or a caller
// puts into it.
func TestAttackNoErrorForgesALineOrFloodsALog(t *testing.T) {
	const odd = "odd\r\n\x1b[31m\u009b\u202e"
	long := strings.Repeat(odd, 10_000)
	items := func(client *pull.Client, query pull.Query) error {
		_, err := raws(client.Items(t.Context(), pull.Spaces, query))
		return err
	}
	answered := func(status int, body string, header ...string) error {
		return items(offline(t, script(func(r *http.Request) (*http.Response, error) { return reply(r, status, body, header...), nil })), pull.Query{})
	}
	failing := func(change func(*pull.Config)) error {
		return items(offline(t, script(func(*http.Request) (*http.Response, error) { return nil, errors.New(long) }), change), pull.Query{})
	}
	configured := func(change func(*pull.Config)) error {
		config := pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}}
		change(&config)
		_, err := pull.New(config)
		return err
	}
	asked := func(query pull.Query) error { return items(offline(t, script(nil)), query) }
	tagged := func(id string) error {
		_, err := offline(t, script(func(r *http.Request) (*http.Response, error) { return reply(r, 200, "[]"), nil })).Tag(t.Context(), id)
		return err
	}
	list := func(dialect fds.Dialect, body string) error {
		return items(offline(t, script(func(r *http.Request) (*http.Response, error) { return reply(r, 200, body), nil }), func(c *pull.Config) { c.Dialect = dialect }), pull.Query{})
	}
	paging := fds.Paging{CursorParameter: "after", CursorMember: long + ".next"}
	for name, err := range map[string]error{
		"a redirect":                  answered(307, "", "Location", "https://evil\u202e\u009b"+strings.Repeat("x", 10_000)+".example/"),
		"a redirect without a target": answered(307, "", "Location", long),
		"a link":                      answered(200, "[]", "Link", `<https://evil`+"\u202e\u009b"+strings.Repeat("x", 7_000)+`.example/>; rel="next"`),
		"a content type":              answered(200, "[]", "Content-Type", "text/"+long),
		"a media type":                answered(200, "[]", "Content-Type", "text/"+strings.Repeat("x", 10_000)),
		"a content coding":            answered(200, "[]", "Content-Encoding", long),
		"a request ID":                answered(403, "", "X-Request-Id", long),
		"a refusal":                   answered(403, `{"status":403,"message":"`+strings.Repeat(`odd\r\n\u001b[31m\u009b\u202e`, 1000)+`"}`),
		"a refusal in another form":   answered(403, `{"title":"`+strings.Repeat(`odd\r\n\u001b[31m\u009b\u202e`, 1000)+`"}`, "Content-Type", "application/problem+json"),
		"a refusal in words":          answered(403, long, "Content-Type", "text/plain"),
		"an answer that is no JSON":   answered(200, "["+long),
		"an answer that is no list":   answered(200, `"`+strings.Repeat("x", 10_000)+`"`),
		"a network":                   failing(func(*pull.Config) {}),
		"a network, and a long host":  failing(func(c *pull.Config) { c.BaseURL = "https://" + strings.Repeat("x", 10_000) + ".example" }),
		"a redirect, and a long host": items(offline(t, script(func(r *http.Request) (*http.Response, error) {
			return reply(r, 307, "", "Location", "https://evil.example/"), nil
		}), func(c *pull.Config) { c.BaseURL = "https://" + strings.Repeat("x", 10_000) + ".example" }), pull.Query{}),
		"a list member that is none":    list(fds.Dialect{ListMember: long}, `{}`),
		"a list member that is no list": list(fds.Dialect{ListMember: strings.Repeat("x", 10_000)}, `{"`+strings.Repeat("x", 10_000)+`":1}`),
		"a list member twice":           list(fds.Dialect{ListMember: strings.Repeat("x", 10_000)}, `{"`+strings.Repeat("x", 10_000)+`":[],"`+strings.Repeat("x", 10_000)+`":[]}`),
		"a list without a cursor":       list(fds.Dialect{ListMember: "list", Paging: paging}, `[]`),
		"a cursor of a wrong kind":      list(fds.Dialect{ListMember: "list", Paging: fds.Paging{CursorParameter: "after", CursorMember: strings.Repeat("x", 10_000)}}, `{"list":[],"`+strings.Repeat("x", 10_000)+`":[]}`),
		"an ID with a separator":        asked(pull.Query{IDs: []string{long + ","}}),
		"a long ID":                     asked(pull.Query{IDs: []string{long}}),
		"a tag's ID":                    tagged(odd),
		"a long tag's ID":               tagged(long),
		"a tag's ID as it may be":       tagged(strings.Repeat("x", 2000)),
		"a kind": func() error {
			_, err := raws(offline(t, script(nil)).Items(t.Context(), pull.Kind(long), pull.Query{}))
			return err
		}(),
		"a parameter twice": items(offline(t, script(nil), func(c *pull.Config) { c.Dialect.FromParameter = long }), pull.Query{Parameters: map[string]string{long: "x"}}),
		"a URL":             configured(func(c *pull.Config) { c.BaseURL = "http://" + strings.Repeat("x\u202e\u009b", 3_000) }),
		"a URL of no host":  configured(func(c *pull.Config) { c.BaseURL = "https:///" + strings.Repeat("x\u202e", 3_000) }),
		"a URL that is one too long": configured(func(c *pull.Config) {
			c.BaseURL = "https://api.example.com/" + strings.Repeat("x", 10_000) + "/fds/v2"
		}),
		"a URL with a query": configured(func(c *pull.Config) { c.BaseURL = "https://" + strings.Repeat("x\u202e", 3_000) + "/?a=b" }),
		"a user agent":       configured(func(c *pull.Config) { c.UserAgent = long }),
		"a dialect": configured(func(c *pull.Config) {
			c.Dialect = fds.Dialect{FromParameter: long, ToParameter: long, ListMember: long, Paging: fds.Paging{CursorParameter: "x", CursorMember: long}}
		}),
		"what is to be sent": func() error {
			_, err := offline(t, script(nil)).CreateTag(t.Context(), failsToMarshal(long))
			return err
		}(),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		text := strings.ReplaceAll(err.Error(), "\n", "") // between the faults of a configuration
		if strings.Count(err.Error(), "\n") > 3 || len(text) > 1200 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: an error of %d bytes: %.1200q", name, len(text), err)
		}
	}
}

// failsToMarshal is a value whose MarshalJSON gives an error of that text.
type failsToMarshal string

func (f failsToMarshal) MarshalJSON() ([]byte, error) { return nil, errors.New(string(f)) }

// held is a transport that knows which bodies and contexts of its requests are open.
type held struct {
	answer func(*http.Request) *http.Response

	mu       sync.Mutex
	open     int // bodies
	most     int // of them at once
	contexts []context.Context
}

func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	response := h.answer(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.contexts = append(h.contexts, r.Context())
	h.open++
	h.most = max(h.most, h.open)
	var once sync.Once
	response.Body = &closingBody{response.Body, func() {
		once.Do(func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.open--
		})
	}}
	return response, nil
}

// TestAttackNoAnswerKeepsWhatItsRequestHeld: a provider that refuses, redirects and
// challenges for as long as an application lives would else take its connections and
// its memory.
func TestAttackNoAnswerKeepsWhatItsRequestHeld(t *testing.T) {
	endless := func(r *http.Request, status int, header ...string) *http.Response {
		return stream(r, status, io.MultiReader(strings.NewReader(`{"status":401,"message":"`), endlessly{}), header...)
	}
	version := new(pull.Version)
	items := func(ctx context.Context, c *pull.Client) {
		for range c.Items(ctx, pull.Spaces, pull.Query{Version: version}) {
		}
	}
	for name, test := range map[string]struct {
		answer func(*http.Request) *http.Response
		ask    func(context.Context, *pull.Client)
	}{
		"a list":       {func(r *http.Request) *http.Response { return reply(r, 200, "[{}]") }, items},
		"a list's end": {func(r *http.Request) *http.Response { return reply(r, 200, "[{},{") }, items},
		"no list":      {func(r *http.Request) *http.Response { return reply(r, 200, "<html>", "Content-Type", "text/html") }, items},
		"pages": {func(r *http.Request) *http.Response {
			return reply(r, 200, "[{}]", "Link", "<?again"+r.URL.RawQuery+">; rel=next")
		}, items},
		"redirects":   {func(r *http.Request) *http.Response { return endless(r, 307, "Location", "?again"+r.URL.RawQuery) }, items},
		"challenges":  {func(r *http.Request) *http.Response { return endless(r, 401) }, items},
		"refusals":    {func(r *http.Request) *http.Response { return endless(r, 403) }, items},
		"unavailable": {func(r *http.Request) *http.Response { return endless(r, 503) }, items},
		"nothing changed": {func(r *http.Request) *http.Response {
			if r.Header.Get("If-None-Match") != "" {
				return reply(r, 304, "", "ETag", `"a"`)
			}
			return reply(r, 200, "[{}]", "ETag", `"a"`)
		}, func(ctx context.Context, c *pull.Client) { items(ctx, c); items(ctx, c) }},
		"a tag": {func(r *http.Request) *http.Response { return reply(r, 200, `{"tag_id":"T"}`) },
			func(ctx context.Context, c *pull.Client) { _, _ = c.Tag(ctx, "T") }},
		"a tag that is none": {func(r *http.Request) *http.Response { return reply(r, 200, "<html>", "Content-Type", "text/html") },
			func(ctx context.Context, c *pull.Client) { _, _ = c.Tag(ctx, "T") }},
		"a tag without end": {func(r *http.Request) *http.Response { return endless(r, 200) },
			func(ctx context.Context, c *pull.Client) { _, _ = c.Tag(ctx, "T") }},
		"a creation": {func(r *http.Request) *http.Response { return reply(r, 201, `{"tag_id":"T"}`) },
			func(ctx context.Context, c *pull.Client) { _, _ = c.CreateTag(ctx, 1) }},
		"a creation without end": {func(r *http.Request) *http.Response { return endless(r, 201) },
			func(ctx context.Context, c *pull.Client) { _, _ = c.CreateTag(ctx, 1) }},
		"a change": {func(r *http.Request) *http.Response { return endless(r, 200) },
			func(ctx context.Context, c *pull.Client) { _ = c.SetEntities(ctx, "T", 1) }},
		"a deletion": {func(r *http.Request) *http.Response { return endless(r, 404) },
			func(ctx context.Context, c *pull.Client) { _ = c.DeleteTag(ctx, "T") }},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			h := &held{answer: test.answer}
			client := offline(t, h, func(c *pull.Config) {
				c.MaxPages, c.MaxItemBytes, c.RetryFor = 5, 10_000, time.Second
				c.Dialect.TagParameter = "tag"
				c.Authorizer = &bearer{token: token, renew: func(*http.Response) (string, bool, error) { return token, true, nil }}
			})
			asked := make(chan struct{})
			go func() {
				defer close(asked)
				test.ask(context.Background(), client) // which never ends
			}()
			wait(t, asked, "the provider was given up")
			h.mu.Lock()
			contexts := h.contexts
			h.mu.Unlock()
			for _, ctx := range contexts {
				wait(t, ctx.Done(), "a request's context ended")
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.open > 0 || h.most > 1 {
				t.Errorf("%d of %d bodies were never closed, %d were open at once", h.open, len(contexts), h.most)
			}
		})
	}
}

// endlessly reads as x for ever.
type endlessly struct{}

func (endlessly) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// hung is a transport that heeds no context.
type hung chan struct{}

func (d hung) RoundTrip(r *http.Request) (*http.Response, error) {
	<-d
	return nil, errors.New("late")
}

func TestACallerWhoCancelsIsNotKeptByATransportThatHangs(t *testing.T) {
	noLeak(t)
	transport := make(hung)
	ctx, cancel := context.WithCancel(t.Context())
	client := offline(t, transport)
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := inTime(t, func() ([]string, error) { return raws(client.Items(ctx, pull.Spaces, pull.Query{})) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(transport)
}
