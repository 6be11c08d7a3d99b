package webhook_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

// claimed is an attack by one claim of a token that the issuer has signed.
func claimed(name, claim string, value any, status int, why string) attack {
	return attack{name: claim + " " + name, status: status, why: why, change: claiming(map[string]any{claim: value})}
}

func TestAttackATokenOfTheIssuerForSomethingElseIsRefused(t *testing.T) {
	const (
		whom = "its issuer (iss) is another one"
		what = "it is for another audience (aud)"
		who  = "it was not issued to one of Settings.Senders"
	)
	refused(t, nil, nil, []attack{
		claimed("missing", "iss", nil, 401, whom),
		claimed("with a slash behind", "iss", issuer+"/", 401, whom),
		claimed("in capitals", "iss", strings.ToUpper(issuer), 401, whom),
		claimed("of another issuer", "iss", "https://login.evil.example", 401, whom),
		claimed("that begins as the issuer's", "iss", issuer+".evil.example", 401, whom),
		claimed("by http", "iss", strings.Replace(issuer, "https", "http", 1), 401, whom),
		claimed("with a port", "iss", issuer+":443", 401, whom),
		claimed("an array", "iss", []string{issuer}, 401, whom),
		claimed("missing", "aud", nil, 401, what),
		claimed("of the provider's API", "aud", "https://api.provider.example", 401, what),
		claimed("of the application, as an ID token's", "aud", "app", 401, what),
		claimed("that begins as the endpoint", "aud", audience+"/more", 401, what),
		claimed("of which the endpoint is the beginning", "aud", strings.TrimSuffix(audience, "fds"), 401, what),
		claimed("in capitals", "aud", strings.ToUpper(audience), 401, what),
		claimed("several without the endpoint", "aud", []string{"https://api.provider.example", "https://other.example/fds"}, 401, what),
		claimed("none in an array", "aud", []string{}, 401, what),
		claimed("an array in an array", "aud", []any{[]string{audience}}, 401, what),
		claimed("the endpoint and a number", "aud", []any{audience, 1}, 401, what),
		claimed("an object", "aud", map[string]any{audience: true}, 401, what),
		claimed("two in one text", "aud", audience+" https://api.provider.example", 401, what),
		claimed("missing", "client_id", nil, 401, who),
		claimed("of another application", "client_id", "another-app", 401, who),
		claimed("of this application", "client_id", "app", 401, who),
		claimed("in capitals", "client_id", strings.ToUpper(sender), 401, who),
		claimed("an array", "client_id", []string{sender}, 401, who),
		claimed("empty", "client_id", "", 401, who),
		{name: "client_id missing, and azp has it", status: 401, why: who, change: claiming(map[string]any{"client_id": nil, "azp": sender})},
		{name: "client_id of another, and azp and sub have it", status: 401, why: who, change: claiming(map[string]any{"client_id": "app", "azp": sender, "sub": sender})},
		{name: "two aud", status: 401, why: "each name is there once", change: func(s *site) func(*http.Request) {
			return bearing(s.compact(goodHeader, `{"aud":"https://api.provider.example",`+s.payload(nil)[1:]))
		}},
		{name: "two client_id, one of them escaped", status: 401, why: "each name is there once", change: func(s *site) func(*http.Request) {
			return bearing(s.compact(goodHeader, `{"\u0063lient_id":"app",`+s.payload(nil)[1:]))
		}},
	})
	t.Run("a token for the endpoint and for others is taken", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t)
			if w := s.answer(`{}`, claiming(map[string]any{"aud": []string{"https://other.example", audience}})(s)); w.Code != http.StatusOK {
				t.Error(w.Code, s.why())
			}
		})
	})
}

func TestAttackATokenOutsideItsTimeIsRefused(t *testing.T) {
	at := func(off time.Duration) func(claim string) func(s *site) func(*http.Request) {
		return func(claim string) func(s *site) func(*http.Request) {
			return func(s *site) func(*http.Request) {
				return claiming(map[string]any{claim: time.Now().Add(off).Unix()})(s)
			}
		}
	}
	// What lies within the skew is taken.
	within := func(s *site) func(*http.Request) {
		now := time.Now()
		return claiming(map[string]any{"exp": now.Add(-59 * time.Second).Unix(), "nbf": now.Add(60 * time.Second).Unix(), "iat": now.Add(60 * time.Second).Unix()})(s)
	}
	const expired = "it has expired"
	refused(t, nil, within, []attack{
		claimed("missing", "exp", nil, 401, "it does not say when it expires"),
		{name: "exp 61 s ago", status: 401, why: expired, change: at(-61 * time.Second)("exp")},
		{name: "exp a year ago", status: 401, why: expired, change: at(-365 * 24 * time.Hour)("exp")},
		claimed("zero", "exp", 0, 401, expired),
		claimed("text", "exp", "4102444800", 401, "its exp is no date"),
		claimed("null", "exp", rawJSON("null"), 401, "its exp is no date"),
		claimed("less than zero", "exp", -1, 401, "its exp is no date"),
		claimed("too far to count", "exp", rawJSON("1e30"), 401, "its exp is no date"),
		claimed("beyond numbers", "exp", rawJSON("1e400"), 401, "its exp is no date"),
		claimed("an array", "exp", []int{4102444800}, 401, "its exp is no date"),
		claimed("true", "exp", true, 401, "its exp is no date"),
		{name: "nbf in 61 s", status: 401, why: "it begins later", change: at(61 * time.Second)("nbf")},
		claimed("text", "nbf", "0", 401, "its nbf is no date"),
		{name: "iat in 61 s", status: 401, why: "it was issued in the future", change: at(61 * time.Second)("iat")},
		claimed("text", "iat", "0", 401, "its iat is no date"),
	})
}

// rawJSON stands in claims as it is spelt.
type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

func TestAttackADeliveryForAnOwnerWhomTheTokenDoesNotNameIsRefused(t *testing.T) {
	const (
		none    = "the token names no owner"
		no      = "the token names an owner by what is no subscription ID"
		foreign = "the token's owner is not signed in here"
		path    = "the path names an owner whom the token does not"
		item    = "an item names another owner"
		which   = "the token is for several owners"
	)
	dialect := func(c *webhook.Config) { c.Dialect = fds.Dialect{SubscriptionMember: "meta.owner"} }
	mine := func(s *site) func(*http.Request) { return named(s.owner.SubscriptionID.String()) }
	several := func(s *site) func(*http.Request) {
		return claiming(map[string]any{"subscription_id": []string{s.owner.SubscriptionID.String(), s.other.SubscriptionID.String()}})(s)
	}
	const one, two = "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
	refused(t, dialect, mine, []attack{
		claimed("missing", "subscription_id", nil, 403, none),
		claimed("null", "subscription_id", rawJSON("null"), 403, none),
		claimed("a number", "subscription_id", 1, 403, none),
		claimed("an object", "subscription_id", map[string]any{"id": one}, 403, none),
		claimed("an empty array", "subscription_id", []string{}, 403, none),
		claimed("an array with a number", "subscription_id", []any{one, 1}, 403, none),
		claimed("empty", "subscription_id", "", 403, no),
		claimed("of version 1", "subscription_id", two, 403, no),
		claimed("without hyphens", "subscription_id", strings.ReplaceAll(one, "-", ""), 403, no),
		claimed("with urn:uuid:", "subscription_id", "urn:uuid:"+one, 403, no),
		claimed("*", "subscription_id", "*", 403, no),
		{name: "subscription_id of over 1,000 owners", status: 401, why: "too long", change: func(s *site) func(*http.Request) {
			many := make([]string, 1001)
			for n := range many {
				many[n] = s.owner.SubscriptionID.String()
			}
			return claiming(map[string]any{"subscription_id": many})(s)
		}},
		{name: "a right one and a wrong one", status: 403, why: no, change: func(s *site) func(*http.Request) {
			return claiming(map[string]any{"subscription_id": []string{s.owner.SubscriptionID.String(), two}})(s)
		}},
		{name: "an owner who is not signed in", status: 403, why: foreign, change: func(s *site) func(*http.Request) {
			id := stranger()
			return both(claiming(map[string]any{"subscription_id": id})(s), named(id))
		}},
		{name: "the right owner and a stranger, whom the path names", status: 403, why: foreign, change: func(s *site) func(*http.Request) {
			id := stranger()
			return both(claiming(map[string]any{"subscription_id": []string{s.owner.SubscriptionID.String(), id}})(s), named(id))
		}},
		{name: "the owner in another claim", status: 403, why: none, change: func(s *site) func(*http.Request) {
			return claiming(map[string]any{"subscription_id": nil, "subscriptionId": s.owner.SubscriptionID.String(), "sub": s.owner.SubscriptionID.String()})(s)
		}},
		{name: "the path of another owner", status: 403, why: path, change: func(s *site) func(*http.Request) { return named(s.other.SubscriptionID.String()) }},
		{name: "the path of what is no ID", status: 403, why: "the path names an owner by what is no", change: func(s *site) func(*http.Request) { return named("../" + s.owner.SubscriptionID.String()) }},
		{name: "a payload that names what is no ID", status: 403, why: item, body: `{"meta":{"owner":"me"}}`},
		{name: "a payload that names a number", status: 403, why: item, body: `{"meta":{"owner":1}}`},
		{name: "a payload that names a stranger", status: 403, why: item, body: `{"meta":{"owner":"` + one + `"}}`},
		{name: "the last of three items names a stranger", status: 403, why: item, body: `[{"n":1},{"n":2},{"meta":{"owner":"` + one + `"}}]`},
		{name: "a token for two, and nothing says for which", status: 403, why: which, change: func(s *site) func(*http.Request) { return both(several(s), named("")) }},
		{name: "a token for two, and a stranger's item", status: 403, why: "an item names an owner whom the token does not", body: `{"meta":{"owner":"` + one + `"}}`, change: func(s *site) func(*http.Request) { return both(several(s), named("")) }},
	})
	for _, c := range []struct {
		name, body, why string // with %[1]s and %[2]s, the two owners of the token
	}{
		{"a token for two, and items of both", `[{"meta":{"owner":"%[1]s"}},{"meta":{"owner":"%[2]s"}}]`, item},
		{"a token for two, and an item that names nobody behind one that does", `[{"meta":{"owner":"%[1]s"}},{"n":1}]`, "an item names no owner"},
		{"a token for two, and an item that names nobody before one that does", `[{"n":1},{"meta":{"owner":"%[1]s"}}]`, "an item names no owner"},
		{"a token for two, and one named twice in an item", `{"meta":{"owner":"%[1]s"},"meta":{"owner":"3f2504e0-4f89-41d3-9a0c-0305e82c3301"}}`, "an item names an owner whom the token does not"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t, dialect)
				body := fmt.Sprintf(c.body, s.owner.SubscriptionID, s.other.SubscriptionID)
				w := s.answer(body, several(s))
				s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 403, why: c.why})
				for _, o := range []fds.OwnerKey{s.owner, s.other} {
					if w := s.answer(fmt.Sprintf(`[{"meta":{"owner":"%[1]s"}},{"meta":{"owner":"%[1]s"}}]`, o.SubscriptionID), several(s)); w.Code != http.StatusOK {
						t.Error(w.Code, s.why())
					}
				}
				if got := s.handed(); len(got) != 4 || got[0].Owner != s.owner || got[2].Owner != s.other {
					t.Errorf("%+v", got)
				}
			})
		})
	}
	t.Run("an owner's ID in capitals is that owner's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t)
			id := strings.ToUpper(s.owner.SubscriptionID.String())
			if w := s.answer(`{}`, claiming(map[string]any{"subscription_id": id})(s), named(strings.ToLower(id))); w.Code != http.StatusOK || s.handed()[0].Owner != s.owner {
				t.Error(w.Code, s.why())
			}
		})
	})
}
