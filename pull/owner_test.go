package pull_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

const (
	ours   = "0B7E5F2A-3D1C-4E8B-9F60-1A2B3C4D5E6F" // as the provider spells it
	theirs = "5f2c1f0e-8a4b-4c3d-a1b2-c3d4e5f60718"
)

func rootOf(t testing.TB, id string) fds.Root {
	t.Helper()
	root, err := fds.ParseRoot(id)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// ownedBy has a client read for the owner, by a token that others have too or not.
func ownedBy(t testing.TB, shared bool, dialect fds.Dialect) func(*pull.Config) {
	return func(c *pull.Config) {
		c.Root, c.Dialect = rootOf(t, ours), dialect
		c.Shared = func(context.Context) (bool, error) { return shared, nil }
	}
}

// told gathers a list: items as they came, and errors by their class.
func told[T any](list func(func(T, error) bool)) (got []string) {
	for item, err := range list {
		if empty := *new(T); err != nil && !reflect.DeepEqual(item, empty) {
			got = append(got, fmt.Sprintf("an item beside an error: %v", item))
		}
		switch failed := (*pull.Error)(nil); {
		case errors.As(err, &failed) && errors.Is(err, fds.ErrOwner):
			got = append(got, "no list")
		case errors.Is(err, fds.ErrOwner):
			got = append(got, "nobody's")
		case errors.Is(err, fds.ErrItem):
			got = append(got, "malformed")
		case err != nil:
			got = append(got, err.Error())
		default:
			raw, _ := json.Marshal(item)
			got = append(got, string(raw))
		}
	}
	return got
}

// readers are all ways to a list.
func readers(c *pull.Client) map[string]func(context.Context, pull.Query) []string {
	ways := map[string]func(context.Context, pull.Query) []string{
		"Specifications":      func(ctx context.Context, q pull.Query) []string { return told(c.Specifications(ctx, q)) },
		"Statuses":            func(ctx context.Context, q pull.Query) []string { return told(c.Statuses(ctx, q)) },
		"Statistics":          func(ctx context.Context, q pull.Query) []string { return told(c.Statistics(ctx, q)) },
		"Diagnostics":         func(ctx context.Context, q pull.Query) []string { return told(c.Diagnostics(ctx, q)) },
		"Spaces":              func(ctx context.Context, q pull.Query) []string { return told(c.Spaces(ctx, q)) },
		"Events":              func(ctx context.Context, q pull.Query) []string { return told(c.Events(ctx, q)) },
		"Tags":                func(ctx context.Context, q pull.Query) []string { return told(c.Tags(ctx, q)) },
		"EventSpecifications": func(ctx context.Context, q pull.Query) []string { return told(c.EventSpecifications(ctx, q)) },
	}
	for _, kind := range pull.Kinds() {
		ways["Items "+string(kind)] = func(ctx context.Context, q pull.Query) []string { return told(c.Items(ctx, kind, q)) }
	}
	return ways
}

func isOfNobody(way string) bool {
	return way == "EventSpecifications" || way == "Items event_specifications"
}

// TestAttackNoListHoldsWhatCouldBeAnotherOwners walks every list method over every
// dialect: two owners who signed in together would else read each other's devices.
func TestAttackNoListHoldsWhatCouldBeAnotherOwners(t *testing.T) {
	const (
		mine    = `{"n":1,"o":{"id":"` + ours + `"}}`
		lower   = `{"n":2,"o":{"id":"0b7e5f2a-3d1c-4e8b-9f60-1a2b3c4d5e6f"}}`
		other   = `{"n":3,"o":{"id":"` + theirs + `"}}`
		unnamed = `{"n":4}`
		null    = `{"n":5,"o":{"id":null}}`
		odd     = `{"n":6,"o":{"id":"me"}}`
		list    = `{"o":{"id":"` + theirs + `"},"n":7}`
	)
	all := []string{mine, lower, other, unnamed, null, odd, list}
	member, parameter := fds.Dialect{SubscriptionMember: "o.id"}, fds.Dialect{SubscriptionParameter: "subscription id"}
	both := fds.Dialect{SubscriptionMember: "o.id", SubscriptionParameter: "subscription id"}
	without := func(c *pull.Config) { c.Shared = nil }
	unjudged := func(c *pull.Config) { c.Root = fds.Root{} }
	for name, test := range map[string]struct {
		config []func(*pull.Config)
		asks   string // the query
		want   []string
	}{
		"alone, neither":    {[]func(*pull.Config){ownedBy(t, false, fds.Dialect{})}, "", all},
		"alone, member":     {[]func(*pull.Config){ownedBy(t, false, member)}, "", []string{mine, lower, unnamed, null, odd}},
		"alone, parameter":  {[]func(*pull.Config){ownedBy(t, false, parameter)}, "subscription%20id=" + ours, all},
		"alone, both":       {[]func(*pull.Config){ownedBy(t, false, both)}, "subscription%20id=" + ours, []string{mine, lower, unnamed, null, odd}},
		"shared, neither":   {[]func(*pull.Config){ownedBy(t, true, fds.Dialect{})}, "none", []string{"no list"}},
		"shared, member":    {[]func(*pull.Config){ownedBy(t, true, member)}, "", []string{mine, lower, "nobody's", "nobody's", "nobody's"}},
		"shared, parameter": {[]func(*pull.Config){ownedBy(t, true, parameter)}, "subscription%20id=" + ours, all},
		"shared, both":      {[]func(*pull.Config){ownedBy(t, true, both)}, "subscription%20id=" + ours, []string{mine, lower, unnamed, null, odd}},
		"nobody asks":       {[]func(*pull.Config){ownedBy(t, true, member), without}, "", []string{mine, lower, unnamed, null, odd}},
		"whatever there is": {[]func(*pull.Config){ownedBy(t, true, both), unjudged}, "", all},
	} {
		var asked []string
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.RawQuery)
			return reply(r, 200, "["+strings.Join(all, ",")+"]"), nil
		}), test.config...)
		for way, read := range readers(client) {
			asked = nil
			want, asks := test.want, test.asks
			if isOfNobody(way) {
				want, asks = all, ""
			}
			var progress pull.Progress
			got := read(t.Context(), pull.Query{Progress: func(p pull.Progress) { progress = p }})
			if !slices.Equal(got, want) || asks == "none" && len(asked) > 0 || asks != "none" && !slices.Equal(asked, []string{asks}) {
				t.Errorf("%s: %s: %q, asked with %q; want %q", name, way, got, asked, want)
			}
			if left := len(all) - len(want); asks != "none" && (progress.Others != left || progress.Items != len(want)) {
				t.Errorf("%s: %s: %+v, want %d others", name, way, progress, left)
			}
		}
	}
}

func TestTheErrorOfAListThatCouldBeAnotherOwnersNamesTheSettings(t *testing.T) {
	client := offline(t, script(nil), ownedBy(t, true, fds.Dialect{}))
	_, err := raws(client.Items(t.Context(), pull.Events, pull.Query{}))
	if !isOnly(err, fds.ErrOwner) || pull.Retryable(err) || !strings.Contains(err.Error(), "Dialect.SubscriptionMember") || !strings.Contains(err.Error(), "Dialect.SubscriptionParameter") {
		t.Errorf("%v", err)
	}
	client = offline(t, script(func(r *http.Request) (*http.Response, error) { return reply(r, 200, `[{}]`), nil }), ownedBy(t, true, fds.Dialect{SubscriptionMember: "o"}))
	_, err = raws(client.Items(t.Context(), pull.Events, pull.Query{}))
	if !isOnly(err, fds.ErrOwner) || !strings.Contains(err.Error(), "get events: item 0") || !strings.Contains(err.Error(), "Dialect.SubscriptionMember") {
		t.Errorf("%v", err)
	}
}

// TestAttackEveryRequestNamesTheOwnerWhereverItIsLed: a next page or a redirect that
// leaves the parameter out, or names another, would read everybody's.
func TestAttackEveryRequestNamesTheOwnerWhereverItIsLed(t *testing.T) {
	for name, test := range map[string]struct {
		link, location string
	}{
		"a link without it":         {link: "?n=2"},
		"a link to another":         {link: "?n=2&owner=" + theirs},
		"a link to both":            {link: "?n=2&owner=" + theirs + "&owner=" + ours},
		"a link, escaped":           {link: "?n=2&%6fwner=" + theirs},
		"a link with semicolons":    {link: "?n=2;x&owner=" + theirs},
		"a redirect without it":     {location: "/other"},
		"a redirect to another":     {location: "/other?owner=" + theirs},
		"a redirect back and forth": {location: "?n=2&owner=" + strings.ToLower(ours)},
	} {
		var asked []*url.URL
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL)
			switch {
			case len(asked) == 1 && test.location != "":
				return reply(r, 307, "", "Location", test.location), nil
			case len(asked) == 1:
				return reply(r, 200, `[{}]`, "Link", "<"+test.link+">; rel=next"), nil
			}
			return reply(r, 200, `[{}]`), nil
		}), ownedBy(t, true, fds.Dialect{SubscriptionParameter: "owner"}))
		_, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		if err != nil || len(asked) != 2 {
			t.Errorf("%s: asked for %v, %v", name, asked, err)
		}
		for _, at := range asked {
			n := 0
			for part := range strings.SplitSeq(at.RawQuery, "&") {
				written, value, _ := strings.Cut(part, "=")
				if read, _ := url.QueryUnescape(written); read == "owner" {
					n++
					if value != ours {
						n += 10
					}
				}
			}
			if n != 1 {
				t.Errorf("%s: asked for %s", name, at)
			}
		}
	}
}

func TestAnAddressThatNamesTheOwnerIsTakenAsItIs(t *testing.T) {
	var asked []string
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.RawQuery)
		return reply(r, 200, `[]`, "Link", `<?owner=`+ours+`&sig=%41>; rel=next`), nil
	}), ownedBy(t, true, fds.Dialect{SubscriptionParameter: "owner"}))
	for range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
	}
	if len(asked) < 2 || asked[1] != "owner="+ours+"&sig=%41" {
		t.Errorf("asked with %q", asked)
	}
}

// TestAttackWhoJoinsWhileAListIsReadEndsItsCertainty: the grant may come to be another
// owner's too at any moment, also while its token is taken.
func TestAttackWhoJoinsWhileAListIsReadEndsItsCertainty(t *testing.T) {
	for _, dialect := range []fds.Dialect{{}, {SubscriptionMember: "owner"}} {
		for joins := range 5 { // at which of the questions
			asked, sent := 0, 0
			client := offline(t, script(func(r *http.Request) (*http.Response, error) {
				sent++
				return reply(r, 200, fmt.Sprintf(`[{"n":%d}]`, sent), "Link", fmt.Sprintf("<?n=%d>; rel=next", sent)), nil
			}), ownedBy(t, false, dialect), func(c *pull.Config) {
				c.MaxPages = 2
				c.Shared = func(context.Context) (bool, error) { asked++; return asked == joins+1, nil } // and leaves at once
			})
			got := told(client.Items(t.Context(), pull.Spaces, pull.Query{}))
			want := []string{`{"n":1}`, `{"n":2}`}
			if joins < 4 && dialect.SubscriptionMember == "" {
				want = append(want[:joins/2:joins/2], "no list")
			} else if joins < 4 {
				want[joins/2] = "nobody's"
			}
			if len(got) > len(want) {
				got = got[:len(want)] // and not the bound's error
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q: joined at question %d: %q, want %q", dialect.SubscriptionMember, joins, got, want)
			}
		}
	}
}

func TestWhenNobodyKnowsWhoElseHasTheCredentialsNothingIsSent(t *testing.T) {
	lost := errors.New("the store is away")
	for _, fails := range []int{1, 2} {
		asked := 0
		client := offline(t, script(func(*http.Request) (*http.Response, error) { t.Error("sent"); return nil, lost }), ownedBy(t, false, fds.Dialect{}), func(c *pull.Config) {
			c.Shared = func(context.Context) (bool, error) {
				if asked++; asked == fails {
					return false, lost
				}
				return false, nil
			}
		})
		if got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{})); !errors.Is(err, lost) || len(got) > 0 {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestTheOwnersParameterIsNotTheCallers(t *testing.T) {
	client := offline(t, script(nil), ownedBy(t, true, fds.Dialect{SubscriptionParameter: "owner"}))
	_, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{Parameters: map[string]string{"owner": theirs}}))
	if !isOnly(err, fds.ErrQuery) || !strings.Contains(err.Error(), "Config.Root") {
		t.Errorf("%v", err)
	}
}

// TestAttackATagOfNobodyKnowsWhomIsNeitherReadNorChanged: by its ID it may be another's.
func TestAttackATagOfNobodyKnowsWhomIsNeitherReadNorChanged(t *testing.T) {
	const (
		mine    = `{"tag_id":"T","owner":"` + ours + `"}`
		other   = `{"tag_id":"T","owner":"` + theirs + `"}`
		unnamed = `{"tag_id":"T"}`
	)
	parameter := fds.Dialect{SubscriptionParameter: "o", SubscriptionMember: "owner"}
	for name, test := range map[string]struct {
		shared  bool
		dialect fds.Dialect
		answer  string // to what is read and created
		tag     error  // of Tag, with ListMember or not, with TagParameter or not
		create  map[string]error
		change  error
	}{
		"alone": {false, fds.Dialect{}, unnamed, nil, map[string]error{unnamed: nil, `7`: nil, other: nil}, nil},
		"alone, another's": {false, fds.Dialect{SubscriptionMember: "owner"}, other, fds.ErrNotFound,
			map[string]error{unnamed: fds.ErrOwner, other: fds.ErrOwner, mine: fds.ErrOwner}, nil},
		"shared, neither":           {true, fds.Dialect{}, mine, fds.ErrOwner, map[string]error{mine: fds.ErrOwner, unnamed: fds.ErrOwner}, fds.ErrOwner},
		"shared, member":            {true, fds.Dialect{SubscriptionMember: "owner"}, mine, nil, map[string]error{mine: nil, unnamed: fds.ErrOwner, other: fds.ErrOwner, `[1]`: fds.ErrOwner}, fds.ErrOwner},
		"shared, unnamed":           {true, fds.Dialect{SubscriptionMember: "owner"}, unnamed, fds.ErrOwner, map[string]error{mine: nil, unnamed: fds.ErrOwner}, fds.ErrOwner},
		"shared, another":           {true, fds.Dialect{SubscriptionMember: "owner"}, other, fds.ErrNotFound, map[string]error{mine: fds.ErrOwner}, fds.ErrOwner},
		"parameter":                 {true, parameter, unnamed, nil, map[string]error{unnamed: nil, mine: nil, `7`: nil, other: fds.ErrOwner}, nil},
		"parameter, then another's": {true, parameter, other, fds.ErrNotFound, map[string]error{unnamed: fds.ErrOwner}, nil},
	} {
		var sent []*http.Request
		answers := map[string]func(*fds.Dialect) string{
			"all tags": func(*fds.Dialect) string { return `[{"tag_id":"S","owner":"` + ours + `"},` + test.answer + `]` },
			"the tag":  func(d *fds.Dialect) string { d.TagParameter = "tag"; return test.answer },
			"a list of it": func(d *fds.Dialect) string {
				d.TagParameter, d.ListMember = "tag", "list"
				return `{"list":[` + test.answer + `]}`
			},
			"in a list member": func(d *fds.Dialect) string { d.ListMember = "list"; return `{"list":[` + test.answer + `]}` },
		}
		for way, form := range answers {
			dialect := test.dialect
			body := form(&dialect)
			client := offline(t, script(func(r *http.Request) (*http.Response, error) {
				sent = append(sent, r)
				if r.Method == http.MethodPost {
					return reply(r, 201, test.answer), nil
				}
				return reply(r, 200, body), nil
			}), ownedBy(t, test.shared, dialect))
			sent = nil
			if tag, err := client.Tag(t.Context(), "T"); !isOnly(err, test.tag) || (err == nil) != (tag.ID() == "T") || err != nil && tag.Raw() != nil {
				t.Errorf("%s, %s: tag %v, %v", name, way, tag, err)
			}
			for content, want := range test.create {
				if made, err := client.CreateTag(t.Context(), json.RawMessage(content)); !isOnly(err, want) || err != nil && made.Tag.Raw() != nil {
					t.Errorf("%s, %s: %s created: %v, %v", name, way, content, made, err)
				}
			}
			changes := len(sent)
			if err := client.SetEntities(t.Context(), "T", []int{1}); !isOnly(err, test.change) {
				t.Errorf("%s, %s: entities set: %v", name, way, err)
			}
			if err := client.DeleteTag(t.Context(), "T"); !isOnly(err, test.change) {
				t.Errorf("%s, %s: deleted: %v", name, way, err)
			}
			if test.change != nil && len(sent) > changes {
				t.Errorf("%s, %s: a change was sent", name, way)
			}
			for _, r := range sent {
				if r.URL.Query().Get("o") != ours && test.dialect.SubscriptionParameter != "" {
					t.Errorf("%s, %s: %s %s names no owner", name, way, r.Method, r.URL)
				}
			}
		}
	}
}

func TestAttackEntitiesThatNameTheOwnerMayBeSetAndThoseOfAnotherNever(t *testing.T) {
	for _, shared := range []bool{true, false} {
		client := offline(t, script(func(r *http.Request) (*http.Response, error) { return reply(r, 204, ""), nil }), ownedBy(t, shared, fds.Dialect{SubscriptionMember: "owner"}))
		if err := client.SetEntities(t.Context(), "T", json.RawMessage(`{"owner":"`+ours+`"}`)); err != nil {
			t.Errorf("shared %v: %v", shared, err)
		}
		if err := client.SetEntities(t.Context(), "T", json.RawMessage(`{"owner":"`+theirs+`"}`)); !isOnly(err, fds.ErrOwner) {
			t.Errorf("shared %v: %v", shared, err)
		}
	}
}

func TestAChangeForNobodyKnownSaysWhatWouldNameTheOwner(t *testing.T) {
	client := offline(t, script(func(r *http.Request) (*http.Response, error) { return reply(r, 204, ""), nil }), ownedBy(t, true, fds.Dialect{SubscriptionMember: "owner"}))
	_, created := client.CreateTag(t.Context(), json.RawMessage(`{}`))
	deleted := client.DeleteTag(t.Context(), "T") // has no content that could name anyone
	const parameter, member = "set fds.Dialect.SubscriptionParameter", `or name the owner in the member "owner"`
	if !isOnly(created, fds.ErrOwner) || !strings.Contains(created.Error(), parameter) || !strings.Contains(created.Error(), member) {
		t.Error(created)
	}
	if !isOnly(deleted, fds.ErrOwner) || !strings.Contains(deleted.Error(), parameter) || strings.Contains(deleted.Error(), member) {
		t.Error(deleted)
	}
}

// TestAttackAListWithItemsOfNobodyIsNotTakenForRead: when they are known to be the
// owner's after all, an unchanged list would hide them for good.
func TestAttackAListWithItemsOfNobodyIsNotTakenForRead(t *testing.T) {
	shared := true
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("If-None-Match") != "" {
			return reply(r, 304, "", "ETag", `"1"`), nil
		}
		return reply(r, 200, `[{"n":1}]`, "ETag", `"1"`), nil
	}), ownedBy(t, true, fds.Dialect{SubscriptionMember: "owner"}), func(c *pull.Config) {
		c.Shared = func(context.Context) (bool, error) { return shared, nil }
	})
	query := pull.Query{Version: new(pull.Version)}
	if got := told(client.Items(t.Context(), pull.Spaces, query)); !slices.Equal(got, []string{"nobody's"}) {
		t.Errorf("%q", got)
	}
	shared = false
	if got := told(client.Items(t.Context(), pull.Spaces, query)); !slices.Equal(got, []string{`{"n":1}`}) {
		t.Errorf("%q", got)
	}
}
