package pull_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

func TestAttackABombIsRefusedWithinTheBoundAndInBoundedMemory(t *testing.T) {
	p, config, _ := provider(t, fdstest.Options{Devices: 5})
	client := newClient(t, config)
	if _, err := client.CreateTag(t.Context(), json.RawMessage(`{"tag_id":"T","generic":{}}`)); err != nil {
		t.Fatal(err)
	}
	p.Inject(fdstest.GzipBomb(fdstest.APIEndpoint, 256<<20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := inTime(t, func() ([]string, error) { return raws(client.Items(t.Context(), pull.Specifications, pull.Query{})) })
	if len(got) != 0 || !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "bound") {
		t.Errorf("%d items, %v", len(got), err)
	}
	if _, err := client.Tag(t.Context(), "T"); !isOnly(err, fds.ErrAnswer) {
		t.Errorf("a tag: %v", err)
	}
	if err := client.SetEntities(t.Context(), "T", []string{}); err != nil {
		t.Errorf("a change, of which the status says that it is made: %v", err)
	}
	if _, err := client.CreateTag(t.Context(), json.RawMessage(`{"generic":{}}`)); !errors.Is(err, fds.ErrUnknownOutcome) {
		t.Errorf("a creation: %v", err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 40<<20 { // the provider's share included
		t.Errorf("%d MB were allocated", took>>20)
	}
}

// zipped serves text in gzip, of which the last bytes are left out.
func zipped(text string, missing int, after ...byte) http.HandlerFunc {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(append(out.Bytes()[:out.Len()-missing], after...))
	}
}

func TestAttackAMalformedGzipIsNoWholeList(t *testing.T) {
	list := "[" + strings.Repeat(`{"n":1},`, 10) + "{}]"
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		class   error
		least   int // items
	}{
		"whole":           {zipped(list, 0), nil, 11},
		"without its sum": {zipped(list, 4), fds.ErrUnavailable, 0},
		"half":            {zipped(list, 20), fds.ErrUnavailable, 0},
		"nothing": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
		}, fds.ErrAnswer, 0},
		"a wrong sum":      {zipped(list, 1, 0x7f), fds.ErrUnavailable, 0},
		"something behind": {zipped(list, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), fds.ErrUnavailable, 0},
		"a second list":    {zipped(list+"[]", 0), fds.ErrAnswer, 11},
		"no gzip": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, list)
		}, fds.ErrUnavailable, 0},
	} {
		got, err := raws(serve(t, test.handler).client(t).Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) < test.least || len(got) > 11 || !isOnly(err, test.class) || (err == nil) != (test.class == nil) {
			t.Errorf("%s: %d items, %v", name, len(got), err)
		}
	}
}

func TestAttackCompressedListsWithoutEndAndInDropsAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		pause time.Duration
		class error
		want  string
	}{"without end": {0, fds.ErrAnswer, "MaxBodyBytes"}, "in drops": {5 * time.Millisecond, fds.ErrUnavailable, "within 300ms"}} {
		noLeak(t)
		gone := make(chan struct{})
		a := serve(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, "[{}")
			for r.Context().Err() == nil {
				if _, err := io.WriteString(z, ",{}"); err != nil || z.Flush() != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				if test.pause > 0 && pause(r, test.pause) != nil {
					return
				}
			}
		})
		a.config.MaxBodyBytes = 20_000
		if test.pause > 0 {
			a.config.Timeout = 300 * time.Millisecond
		}
		got, err := inTime(t, func() ([]string, error) { return raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{})) })
		if len(got) == 0 || !isOnly(err, test.class) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %d items, %v", name, len(got), err)
		}
		wait(t, gone, "the server saw the request end")
	}
}

func TestAttackOddItemsAreKeptAsSentOrAreErrorsOfTheirOwn(t *testing.T) {
	for _, test := range []struct {
		item string
		kept bool
	}{
		{`{"device_id":"a","device_id":"b","generic":{"x":1,"x":2}}`, true},
		{`{"n":1e400,"m":-1e-400,"l":123456789012345678901234567890.5}`, true},
		{`{"generic":null}`, true},
		{`{"generic":[]}`, true},
		{`{"generic":"dispenser","device_type_specific":null,"device_id":null}`, true},
		{`{"generic":{"device_type":7,"part_of":null,"composed_of":null}}`, true},
		{`{"n":0,"s":"\ud800"}`, true},
		{`{"n":0,"s":"` + "\xff" + `"}`, false},
		{`null`, false},
		{`7`, false},
		{`[{}]`, false},
		{`"{}"`, false},
	} {
		dialect := fds.Dialect{TimeMember: "generic.date_time", SubscriptionMember: "generic.subscription"}
		client := offline(t, script(body(200, `[{},`+test.item+`,{}]`)), func(c *pull.Config) { c.Dialect = dialect })
		var got []string
		malformed := 0
		look := func(item fds.Item, err error) {
			switch {
			case errors.Is(err, fds.ErrItem):
				malformed++
			case err != nil:
				t.Errorf("%s: %v", test.item, err)
			default:
				got = append(got, string(item.Raw()))
				_, _ = item.Generic()
				_, _ = dialect.Time(item)
				_, _ = dialect.Subscription(item)
			}
		}
		for device, err := range client.Specifications(t.Context(), pull.Query{}) {
			look(device.Item, err)
			_, _ = device.Specific()
			_, _ = device.ID(), device.Type()
		}
		for space, err := range client.Spaces(t.Context(), pull.Query{}) {
			look(space.Item, err)
			_, _ = space.PartOf()
			_, _ = space.ComposedOf()
			_, _ = space.ID(), space.Type()
		}
		for message, err := range client.Events(t.Context(), pull.Query{}) {
			look(message.Item, err)
			_ = message.ID()
		}
		for tag, err := range client.Tags(t.Context(), pull.Query{}) {
			look(tag.Item, err)
			_ = tag.ID()
		}
		want := []string{"{}", "{}"}
		if test.kept {
			want = []string{"{}", test.item, "{}"}
		}
		if !slices.Equal(got, slices.Repeat(want, 4)) || malformed != 4*(3-len(want)) {
			t.Errorf("%s: %q and %d malformed", test.item, got, malformed)
		}
	}
}

func TestAttackNumbersThatAreNoneEndTheList(t *testing.T) {
	for _, number := range []string{"NaN", "Infinity", "-Infinity", "nan", "0x10", "01", "+1", ".5", "1.", "1e"} {
		got, err := raws(offline(t, script(body(200, `[{},{"n":`+number+`},{}]`))).Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) != 1 || !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "not valid JSON") {
			t.Errorf("%s: %q, %v", number, got, err)
		}
	}
}

func TestAttackAChangeFollowsNoRedirect(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{"/fds/v2/other", "http://127.0.0.1:1/", "https://evil.example/", ""} {
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
				asked := 0
				client := offline(t, each(&asked, body(code, "", "Location", location)), retryFor(0))
				var err error
				class := fds.ErrAnswer
				switch method {
				case http.MethodPost:
					_, err = client.CreateTag(t.Context(), 1)
					if code == 303 { // which leads to what was made
						class = fds.ErrUnknownOutcome
					}
				case http.MethodPut:
					err = client.SetEntities(t.Context(), "T", 1)
				default:
					err = client.DeleteTag(t.Context(), "T")
				}
				if !errors.Is(err, class) || pull.Retryable(err) || asked != 1 {
					t.Errorf("%s answered %d to %q: %d requests, %v", method, code, location, asked, err)
				}
			}
		}
	}
}

// FuzzALinkStaysAtTheProvider takes any Link header.
func FuzzALinkStaysAtTheProvider(f *testing.F) {
	for _, seed := range []string{
		`<?a>; rel="next"`, `<//evil/>;rel=next`, `<https://api.example.com:443/x>; rel=prev, </y>; rel="x next"`, `<?a>;;;=,;rel`, `<>;rel=next`,
		`<https://u@api.example.com/>;rel=next`, `<?a>; anchor=x; rel=next`, `<http:\\evil>;rel=next`, "<?\x00>;rel=next", `<?a>;rel="\`, `<../../x#y>; rel=NEXT`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, link string) {
		asked := 0
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if asked++; asked > 1 {
				target, _, _ := strings.Cut(r.URL.String(), "?")
				if r.URL.Scheme != "https" || r.URL.User != nil || !strings.EqualFold(r.URL.Hostname(), "api.example.com") || r.URL.Port() != "" && r.URL.Port() != "443" ||
					len(r.URL.String()) > 8<<10 || r.URL.Fragment != "" || !strings.Contains(strings.ToLower(link), "next") || !strings.Contains(link, "<") {
					t.Fatalf("%q leads to %q", link, target)
				}
				return reply(r, 200, `[]`), nil
			}
			response := reply(r, 200, `[]`)
			response.Header["Link"] = []string{link}
			return response, nil
		}))
		_, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		if err != nil && (!isOnly(err, fds.ErrAnswer) || len(err.Error()) > 700) || asked > 2 {
			t.Fatalf("%q: %d requests, %v", link, asked, err)
		}
	})
}

// FuzzACursorIsWhatEncodingJSONFinds takes any member of the answer.
func FuzzACursorIsWhatEncodingJSONFinds(f *testing.F) {
	for _, seed := range []string{`"a b"`, `7`, `1e400`, `null`, `""`, `{"x":"c"}`, `[]`, `true`, `"\ud800"`, `{"x":null}`, `{"x":{"x":1}}`, `{"x":"a","x":"b"}`, `0`, `-0`, `"é&="`} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, member string, below bool) {
		if !json.Valid([]byte(member)) {
			t.Skip() // the list itself is refused
		}
		want, fails := "", false
		value := json.RawMessage(member)
		empty := func(raw json.RawMessage) bool {
			var tight bytes.Buffer
			_ = json.Compact(&tight, raw)
			return slices.Contains([]string{"", "null", "false", `""`, "[]", "{}"}, tight.String())
		}
		if below && empty(value) {
			value = nil
		} else if below {
			var object map[string]json.RawMessage
			fails = json.Unmarshal(value, &object) != nil
			value = object["x"]
		}
		if empty(value) {
			value = nil
		}
		var found any
		if len(value) > 0 {
			decoder := json.NewDecoder(bytes.NewReader(value))
			decoder.UseNumber()
			if err := decoder.Decode(&found); err != nil {
				t.Skip()
			}
		}
		switch found := found.(type) {
		case nil:
		case string:
			want = found
		case json.Number:
			want = found.String()
		default:
			fails = true
		}
		if slices.Contains([]string{"null", "undefined", "none", "nil", "false", "0", "-1"}, strings.ToLower(want)) {
			want = ""
		}
		path := "next"
		if below {
			path = "next.x"
		}
		var asked []string
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if asked = append(asked, r.URL.Query().Get("after")); len(asked) > 1 {
				return reply(r, 200, `{"list":[]}`), nil
			}
			return reply(r, 200, fmt.Sprintf(`{"list":[{}],"next":%s}`, member)), nil
		}), func(c *pull.Config) {
			c.Dialect.ListMember, c.Dialect.Paging = "list", fds.Paging{CursorParameter: "after", CursorMember: path}
		})
		got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) != 1 || err != nil && !isOnly(err, fds.ErrAnswer) {
			t.Fatalf("%q: %q, %v", member, got, err)
		}
		switch {
		case err != nil: // what encoding/json has no complaint about may be too long, or not UTF-8
			if !fails && len(member) < 2000 && strings.ToValidUTF8(member, "") == member {
				t.Fatalf("%q: %v", member, err)
			}
		case fails:
			t.Fatalf("%q: no error", member)
		case want == "" && len(asked) != 1, want != "" && (len(asked) != 2 || asked[1] != want):
			t.Fatalf("%q: asked with %q, want %q", member, asked, want)
		}
	})
}
