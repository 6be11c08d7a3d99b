package pull_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

// each answers one attempt after the other.
func each(n *int, answers ...func(*http.Request) (*http.Response, error)) script {
	return func(r *http.Request) (*http.Response, error) {
		*n++
		return answers[min(*n, len(answers))-1](r)
	}
}

func body(code int, text string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) { return reply(r, code, text, header...), nil }
}

func noAnswer(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func TestATagIsNeverMadeTwice(t *testing.T) {
	const made = `{"tag_id":"T","generic":{}}`
	late := func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
	for name, test := range map[string]struct {
		first    func(*http.Request) (*http.Response, error)
		attempts int
		want     error // nil: it is made
	}{
		"429":                                    {status(429), 2, nil},
		"503":                                    {status(503), 2, nil},
		"no connection":                          {noAnswer(noRoute), 2, nil},
		"429 in an object":                       {body(200, `{"status":429,"message":"busy"}`), 1, fds.ErrRateLimited},
		"a gateway's 502 of 503":                 {body(502, `{"status":503,"message":"busy"}`), 2, nil},
		"503, but its object says 500":           {body(503, `{"status":500,"message":"broke"}`), 1, fds.ErrUnknownOutcome},
		"200, but its object says 500":           {body(200, `{"status":500,"message":"broke"}`), 1, fds.ErrUnknownOutcome},
		"the answer lost":                        {noAnswer(errLost), 1, fds.ErrUnknownOutcome},
		"too late":                               {late, 1, fds.ErrUnknownOutcome},
		"500":                                    {status(500), 1, fds.ErrUnknownOutcome},
		"504":                                    {status(504), 1, fds.ErrUnknownOutcome},
		"408":                                    {status(408), 1, fds.ErrUnknownOutcome},
		"400":                                    {status(400), 1, fds.ErrInvalidParameter},
		"a redirect":                             {body(307, "", "Location", "/fds/v2/elsewhere"), 1, fds.ErrAnswer},
		"a redirect to what came of it":          {body(303, "", "Location", "/fds/v2/tag/T"), 1, fds.ErrUnknownOutcome},
		"a redirect elsewhere to what came":      {body(303, "", "Location", "https://other.example/"), 1, fds.ErrUnknownOutcome},
		"a success of another kind":              {body(207, `{}`), 1, fds.ErrUnknownOutcome},
		"that kind, but its object says 400":     {body(207, `{"status":400,"message":"invalid_parameter"}`), 1, fds.ErrInvalidParameter},
		"200, but its object says 403":           {body(200, `{"status":403,"message":"not_yours"}`), 1, fds.ErrAnswer},
		"201, and its object says 1":             {body(201, `{"status":1,"message":"well"}`), 1, fds.ErrUnknownOutcome},
		"304, which has no meaning for a create": {body(304, ``), 1, fds.ErrAnswer},
		"an answer cut short": {func(r *http.Request) (*http.Response, error) {
			return stream(r, 201, io.MultiReader(strings.NewReader(`{"tag`), broken{})), nil
		}, 1, fds.ErrUnknownOutcome},
		"an answer of another":           {body(201, made), 1, nil},
		"an object that says it is done": {body(201, `{"status":201,"message":"created"}`, "Location", "/fds/v2/tag/T"), 1, nil},
		"not implemented":                {body(200, `{"status":204,"message":"not_implemented"}`), 1, fds.ErrNotImplemented},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				created, err := offline(t, each(&n, test.first, body(201, made)), retryFor(0)).CreateTag(t.Context(), json.RawMessage(`{}`))
				if n != test.attempts || !errors.Is(err, test.want) || (err == nil) != (test.want == nil) || err == nil && created.ID != "T" {
					t.Errorf("%d attempts, %+v, %v", n, created, err)
				}
				if test.want == fds.ErrUnknownOutcome && pull.Retryable(err) {
					t.Errorf("who repeats what is retryable makes it twice: %v", err)
				}
				var failed *pull.Error
				if errors.As(err, &failed) && failed.Attempts != n {
					t.Errorf("%d attempts of %d", failed.Attempts, n)
				}
			})
		})
	}
}

func TestWhoCancelsACreateDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := offline(t, script(func(r *http.Request) (*http.Response, error) {
			cancel()
			return nil, r.Context().Err()
		}), retryFor(0)).CreateTag(ctx, 1)
		if !errors.Is(err, fds.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) || pull.Retryable(err) {
			t.Errorf("%v", err)
		}
	})
}

func TestADeleteThatFindsNothingIsDoneOnlyWhenAnAttemptMayHaveDoneIt(t *testing.T) {
	for name, test := range map[string]struct {
		first []func(*http.Request) (*http.Response, error)
		done  bool
	}{
		"the answer lost":                {[]func(*http.Request) (*http.Response, error){noAnswer(errLost)}, true},
		"500":                            {[]func(*http.Request) (*http.Response, error){status(500)}, true},
		"429":                            {[]func(*http.Request) (*http.Response, error){status(429)}, false},
		"503":                            {[]func(*http.Request) (*http.Response, error){status(503)}, false},
		"no connection":                  {[]func(*http.Request) (*http.Response, error){noAnswer(noRoute)}, false},
		"the answer lost and then a 503": {[]func(*http.Request) (*http.Response, error){noAnswer(errLost), status(503)}, true},
		"at once":                        {nil, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			err := offline(t, each(&n, append(test.first, status(404))...), retryFor(0)).DeleteTag(t.Context(), "T")
			if test.done && err != nil || !test.done && !isOnly(err, fds.ErrNotFound) || n != len(test.first)+1 {
				t.Errorf("%s: %v after %d attempts", name, err, n)
			}
		})
	}
}

func TestALostAnswerOfAProviderLeavesWhatWasDone(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{true, false} {
		p, config, _ := provider(t, fdstest.Options{Devices: 3})
		config.RetryFor = 0
		config.Transport.(*http.Transport).ForceAttemptHTTP2 = http2
		client := newClient(t, config)
		names := func() (names []string) {
			for tag, err := range client.Tags(t.Context(), pull.Query{}) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, tag.ID())
			}
			return names
		}
		names() // there is a connection that a transport might try again
		p.Inject(fdstest.LoseTagAnswer().Times(1))
		if _, err := client.CreateTag(t.Context(), json.RawMessage(`{"generic":{}}`)); !errors.Is(err, fds.ErrUnknownOutcome) {
			t.Errorf("%v", err)
		}
		all := names()
		if len(all) != 1 {
			t.Fatalf("%q were made", all)
		}
		off := p.Inject(fdstest.DropAfterWork(fdstest.APIEndpoint).Times(1))
		if err := client.SetEntities(t.Context(), all[0], []string{}); err != nil {
			t.Errorf("entities that were set twice: %v", err)
		}
		off()
		off = p.Inject(fdstest.DropAfterWork(fdstest.APIEndpoint).Times(1))
		if err := client.DeleteTag(t.Context(), all[0]); err != nil || len(names()) != 0 {
			t.Errorf("deleted: %v, %q are left", err, names())
		}
		off()
		p.Inject(fdstest.TooManyRequests(fdstest.APIPath("tag"), "0").Times(1))
		if created, err := client.CreateTag(t.Context(), json.RawMessage(`{"tag_id":"a/b ü?#","generic":{}}`)); err != nil || created.ID != "a/b ü?#" {
			t.Errorf("%+v, %v", created, err)
		}
		if all := names(); !slices.Equal(all, []string{"a/b ü?#"}) {
			t.Errorf("%q were made", all)
		}
	}
}

func TestAttackAnIDThatLooksLikeAPathIsOneID(t *testing.T) {
	for _, parameter := range []string{"", "tag&"} {
		_, config, _ := provider(t, fdstest.Options{Devices: 3, WebAPI: fdstest.WebAPI{TagParameter: parameter}})
		config.Dialect.TagParameter = parameter
		client := newClient(t, config)
		hostile := []string{"a/b", "../spaces", "..x", "a?b=c#d", "a%2Fb", "ä ü", "a;b,c", "&x=y", "\u202e", "a+b"}
		for _, id := range hostile {
			item, _ := json.Marshal(map[string]any{"tag_id": id, "generic": map[string]any{}})
			if created, err := client.CreateTag(t.Context(), json.RawMessage(item)); err != nil || created.ID != id {
				t.Fatalf("%q: %+v, %v", id, created, err)
			}
		}
		for _, id := range hostile {
			if tag, err := client.Tag(t.Context(), id); err != nil || tag.ID() != id {
				t.Errorf("%q: %q, %v", id, tag.ID(), err)
			}
			if err := client.SetEntities(t.Context(), id, []string{}); err != nil {
				t.Errorf("%q: %v", id, err)
			}
			if err := client.DeleteTag(t.Context(), id); err != nil {
				t.Errorf("%q: %v", id, err)
			}
			if err := client.SetEntities(t.Context(), id, []string{}); !isOnly(err, fds.ErrNotFound) {
				t.Errorf("%q is still there: %v", id, err)
			}
		}
	}
}

func TestANewTagsIDIsThatOfTheAnswerOrItsLocation(t *testing.T) {
	for _, test := range []struct{ body, location, id string }{
		{`{"tag_id":"A","generic":{}}`, "/fds/v2/tag/B", "A"},
		{``, "/fds/v2/tag/B", "B"},
		{``, "tag/a%2Fb%20%C3%A4", "a/b ä"},
		{``, "https://api.example.com/fds/v2/tag/B", "B"},
		{`{"generic":{}}`, "/fds/v2/tag/B", "B"},
		{`<html>`, "/fds/v2/tag/B", "B"},
		{`[]`, "/fds/v2/tag/B?x=y#z", "B"},
		{``, "/fds/v2/tag/B/entities", ""},
		{``, "/fds/v2/tag/", ""},
		{``, "/fds/v2/tag", ""},
		{``, "/elsewhere/B", ""},
		{``, "https://%zz", ""},
		{``, "", ""},
	} {
		n := 0
		created, err := offline(t, each(&n, body(201, test.body, "Location", test.location))).CreateTag(t.Context(), 1)
		if err != nil || created.ID != test.id || (created.Tag.Raw() != nil) != (test.id == "A") {
			t.Errorf("%s and %q: %+v, %v, want %q", test.body, test.location, created, err, test.id)
		}
	}
}

func TestATagThatWasAskedForIsTheOneThatComes(t *testing.T) {
	for _, test := range []struct {
		answer string
		class  error // nil: it is read
	}{
		{`{"tag_id":"T","generic":{}}`, nil},
		{` [{"tag_id":"S"},{"tag_id":"T"}] `, nil},
		{`[{"tag_id":7},null,{"tag_id":"T"}]`, nil},
		{`{"list":[{"tag_id":"T"}]}`, nil},
		{`{"status":200,"message":"ok","list":[{"tag_id":"T"}]}`, nil},
		{`{"status":200,"message":"ok"}`, fds.ErrAnswer},
		{`{"list":[],"status":404,"message":"no such tag"}`, fds.ErrNotFound},
		{`{"list":null,"status":503,"message":"later"}`, fds.ErrUnavailable},
		{`{"tag_id":"S","generic":{}}`, fds.ErrAnswer},
		{`[{"tag_id":"S"}]`, fds.ErrNotFound},
		{`[]`, fds.ErrNotFound},
		{`null`, fds.ErrNotFound},
		{``, fds.ErrAnswer},
		{`{"tag_id":"T"`, fds.ErrUnavailable},
		{`{"status":404,"message":"not_found"}`, fds.ErrNotFound},
		{`"` + strings.Repeat("x", 2<<20) + `"`, fds.ErrAnswer},
	} {
		n := 0
		tag, err := offline(t, each(&n, body(200, test.answer)), func(c *pull.Config) {
			c.Dialect = fds.Dialect{TagParameter: "tag", ListMember: "list"}
		}).Tag(t.Context(), "T")
		if !isOnly(err, test.class) || (err == nil) != (test.class == nil) || err == nil && tag.ID() != "T" {
			t.Errorf("%.80s: %q, %v", test.answer, tag.ID(), err)
		}
	}
}

func TestWhatIsSentAsRawJSONArrivesByteForByte(t *testing.T) {
	const raw = " {\"a\":1.0, \"b\":\"<\\u00e9&>\u2028\"}\n"
	got := ""
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		content, err := io.ReadAll(r.Body)
		got = string(content)
		return reply(r, 200, ""), err
	}))
	if err := client.SetEntities(t.Context(), "T", json.RawMessage(raw)); err != nil || got != raw {
		t.Errorf("%q, %v", got, err)
	}
	for _, malformed := range []string{`{`, ``, `{} {}`, "\"\xff\""} {
		got = "nothing"
		if err := client.SetEntities(t.Context(), "T", json.RawMessage(malformed)); !isOnly(err, fds.ErrQuery) || got != "nothing" {
			t.Errorf("%q was sent as %q, %v", malformed, got, err)
		}
	}
}
