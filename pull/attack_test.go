package pull_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
		"a network, and a long host":  failing(func(c *pull.Config) { c.BaseURL = "https://" + strings.Repeat("x", 3_000) + ".example" }),
		"a redirect, and a long host": items(offline(t, script(func(r *http.Request) (*http.Response, error) {
			return reply(r, 307, "", "Location", "https://evil.example/"), nil
		}), func(c *pull.Config) { c.BaseURL = "https://" + strings.Repeat("x", 3_000) + ".example" }), pull.Query{}),
		"a list member that is none":    list(fds.Dialect{ListMember: long}, `{"other":[{}]}`),
		"a list member that is no list": list(fds.Dialect{ListMember: strings.Repeat("x", 10_000)}, `{"`+strings.Repeat("x", 10_000)+`":1}`),
		"a list member twice":           list(fds.Dialect{ListMember: strings.Repeat("x", 10_000)}, `{"`+strings.Repeat("x", 10_000)+`":[],"`+strings.Repeat("x", 10_000)+`":[]}`),
		"a list without a cursor":       list(fds.Dialect{ListMember: "list", Paging: paging}, `[]`),
		"a cursor of a wrong kind":      list(fds.Dialect{ListMember: "list", Paging: fds.Paging{CursorParameter: "after", CursorMember: strings.Repeat("x", 10_000)}}, `{"list":[],"`+strings.Repeat("x", 10_000)+`":[1]}`),
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

// failsToMarshal is a value whose MarshalJSON returns an error of that text.
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
	var read atomic.Int64
	endless := func(r *http.Request, status int, header ...string) *http.Response {
		return stream(r, status, io.MultiReader(strings.NewReader(`{"status":401,"message":"`), &endlessly{read: &read}), header...)
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
			read.Store(0)
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
			if n, most := read.Load(), int64(len(contexts))*(64<<10); n > most {
				t.Errorf("%d bytes of %d answers were read, want %d at most", n, len(contexts), most)
			}
			if h.open > 0 || h.most > 1 {
				t.Errorf("%d of %d bodies were never closed, %d were open at once", h.open, len(contexts), h.most)
			}
		})
	}
}

// endlessly is a body of x that hardly ends, and counts what was read of it.
type endlessly struct {
	read *atomic.Int64
	text string // instead of x
}

func (e *endlessly) Read(p []byte) (int, error) {
	const end = 256 << 20
	if e.read.Load() > end {
		return 0, io.EOF
	}
	text, at := cmp.Or(e.text, "x"), int(e.read.Load())
	for i := range p {
		p[i] = text[(at+i)%len(text)]
	}
	e.read.Add(int64(len(p)))
	return len(p), nil
}

// TestAttackTheBoundsHoldByDefault: nobody has to set them.
func TestAttackTheBoundsHoldByDefault(t *testing.T) {
	for name, test := range map[string]struct {
		begin, text string
		least, most int64
		says        string
	}{
		"an item":            {`[{"a":"`, "x", pull.DefaultMaxItemBytes, 2 * pull.DefaultMaxItemBytes, "an item is larger than 1048576 bytes"},
		"white space":        {`[{}`, " ", 0, 2 * pull.DefaultMaxItemBytes, "an item is larger than 1048576 bytes"},
		"an answer":          {`[{}`, `,{"a":"` + strings.Repeat("x", 64<<10) + `"}`, pull.DefaultMaxBodyBytes - 10, pull.DefaultMaxBodyBytes + 10, "larger than 67108864 bytes"},
		"a deep answer":      {``, "[", 0, 1 << 20, "not valid JSON"},
		"a name":             {`{"`, "x", 0, 2 * pull.DefaultMaxItemBytes, "an item is larger than 1048576 bytes"},
		"members of no list": {`{"a":1`, `,"a":"` + strings.Repeat("x", 64<<10) + `"`, pull.DefaultMaxItemBytes, pull.DefaultMaxBodyBytes + 10, "larger than 67108864 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			var read atomic.Int64
			client := offline(t, script(func(r *http.Request) (*http.Response, error) {
				return stream(r, 200, io.MultiReader(strings.NewReader(test.begin), &endlessly{&read, test.text})), nil
			}))
			_, err := inTime(t, func() (int, error) {
				for _, err := range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
					if err != nil && !errors.Is(err, fds.ErrItem) {
						return 0, err
					}
				}
				return 0, nil
			})
			if n := read.Load(); !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), test.says) || n < test.least || n > test.most {
				t.Errorf("%d bytes were read: %.500v", n, err)
			}
		})
	}
	t.Run("an answer that does not come", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client := offline(t, script(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }))
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if _, err := raws(client.Items(ctx, pull.Spaces, pull.Query{})); !isOnly(err, fds.ErrUnavailable) || time.Since(began) != pull.DefaultTimeout {
				t.Errorf("given up after %v: %v", time.Since(began), err)
			}
		})
	})
	t.Run("a provider that is away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			lasting := &failing{times: -1, answer: status(503)}
			client := offline(t, lasting, func(c *pull.Config) { c.RetryFor = 0 })
			began := time.Now()
			if _, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{})); !isOnly(err, fds.ErrUnavailable) || time.Since(began) > pull.DefaultRetryFor {
				t.Errorf("given up after %v: %v", time.Since(began), err)
			}
		})
	})
}

// TestAttackWhatIsNoTagOfTheOwnersIsNotTakenNorSent: a tag's ID is part of an address.
func TestAttackWhatIsNoTagOfTheOwnersIsNotTakenNorSent(t *testing.T) {
	asked := 0
	var answer func(r *http.Request) *http.Response
	client := offline(t, script(func(r *http.Request) (*http.Response, error) { asked++; return answer(r), nil }), func(c *pull.Config) {
		c.MaxItemBytes, c.Dialect = 1000, fds.Dialect{TagParameter: "tag", ListMember: "list"}
	})
	answer = func(r *http.Request) *http.Response { return reply(r, 200, `{"tag_id":"T"}`) }
	for name, ask := range map[string]func() error{
		"no ID":         func() error { _, err := client.Tag(t.Context(), ""); return err },
		"a step":        func() error { return client.DeleteTag(t.Context(), ".") },
		"a step up":     func() error { return client.SetEntities(t.Context(), "..", 1) },
		"a long ID":     func() error { return client.DeleteTag(t.Context(), strings.Repeat("x", 5000)) },
		"a large tag":   func() error { _, err := client.CreateTag(t.Context(), strings.Repeat("x", 1000)); return err },
		"large content": func() error { return client.SetEntities(t.Context(), "T", strings.Repeat("x", 1000)) },
		"no JSON":       func() error { _, err := client.CreateTag(t.Context(), json.RawMessage(`{"a":`)); return err },
		"no UTF-8":      func() error { _, err := client.CreateTag(t.Context(), json.RawMessage("\"\xff\"")); return err },
	} {
		if err := ask(); !isOnly(err, fds.ErrQuery) || asked > 0 {
			t.Errorf("%s: %d requests, %v", name, asked, err)
		}
	}
	for name, test := range map[string]struct {
		body   string
		header []string
		class  error
	}{
		"the tag":             {`{"tag_id":"T"}`, nil, nil},
		"a page":              {`{"tag_id":"T"}`, []string{"Content-Type", "text/html"}, fds.ErrAnswer},
		"another coding":      {`{"tag_id":"T"}`, []string{"Content-Encoding", "br"}, fds.ErrAnswer},
		"another tag":         {`{"tag_id":"U"}`, nil, fds.ErrAnswer},
		"an error object":     {`{"status":404,"message":"gone"}`, nil, fds.ErrNotFound},
		"a tag and a refusal": {`{"tag_id":"T","status":403,"message":"no"}`, nil, nil},
		"a list":              {`{"list":[{"tag_id":"U"},{"tag_id":"T"}]}`, nil, nil},
		"a list of others":    {`{"list":[{"tag_id":"U"}]}`, nil, fds.ErrNotFound},
		"a list refused":      {`{"list":[{"tag_id":"T"}],"status":401,"message":"unauthorized_request"}`, nil, fds.ErrUnauthorized},
	} {
		answer = func(r *http.Request) *http.Response { return reply(r, 200, test.body, test.header...) }
		tag, err := client.Tag(t.Context(), "T")
		refused := name == "a tag and a refusal"
		if !refused && (!isOnly(err, test.class) || (err == nil) != (test.class == nil)) || refused && err == nil || err == nil && tag.ID() != "T" {
			t.Errorf("%s: %v, %v", name, tag, err)
		}
	}
}

func TestAttackAClientPrintsItsAddressWhateverTheVerb(t *testing.T) {
	client := offline(t, script(nil), func(c *pull.Config) { c.Authorizer = &bearer{token: token} })
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, client); got != client.String() {
			t.Errorf("with %s: %.200q", verb, got)
		}
	}
}

// hung is a transport that heeds no context.
type hung chan struct{}

func (d hung) RoundTrip(r *http.Request) (*http.Response, error) {
	<-d
	return nil, errors.New("late")
}
