package webhook_test

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

// attack is a delivery that must not be taken. In all that it does not change it is a good one,
// which is delivered before and after it.
type attack struct {
	name   string
	body   string // default: an object
	change func(s *site) func(*http.Request)
	status int
	why    string // part of what the log says: it is refused for this and for nothing else
}

// refused delivers each attack to an endpoint of its own.
func refused(t *testing.T, setting func(*webhook.Config), good func(s *site) func(*http.Request), attacks []attack) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t, func(c *webhook.Config) {
					if setting != nil {
						setting(c)
					}
				})
				s.takes(good)
				before := len(s.handed())
				body := a.body
				if body == "" {
					body = `{"n":1}`
				}
				change := nothing
				if a.change != nil {
					change = a.change(s)
				}
				first := nothing
				if good != nil {
					first = good(s)
				}
				w := s.answer(body, first, change)
				s.refuses(w.Code, w.Header(), w.Body.String(), a)
				if n := len(s.handed()) - before; n != 0 {
					t.Errorf("the handler was called %d times", n)
				}
				s.takes(good)
			})
		})
	}
}

func nothing(*http.Request) {}

// takes sees that the good delivery is taken.
func (s *site) takes(good func(s *site) func(*http.Request)) {
	s.t.Helper()
	change := nothing
	if good != nil {
		change = good(s)
	}
	before := len(s.handed())
	if w := s.answer(`{"n":1}`, change); w.Code != http.StatusOK || len(s.handed()) != before+1 {
		s.t.Fatalf("the good delivery is not taken: %d, %v", w.Code, s.why())
	}
}

// refuses sees that an answer is the one to that attack, and tells its sender nothing.
func (s *site) refuses(status int, h http.Header, body string, a attack) {
	s.t.Helper()
	why := s.why()
	if status != a.status || why == nil || !strings.Contains(why.Error(), a.why) {
		s.t.Errorf("got %d: %v; want %d: %s", status, why, a.status, a.why)
	}
	if (status == http.StatusUnauthorized) != (h.Get("WWW-Authenticate") != "") {
		s.t.Errorf("%d with the challenge %q", status, h.Get("WWW-Authenticate"))
	}
	if a.why != "" && strings.Contains(body, a.why) || strings.Count(body, "\n") > 1 || len(body) > 100 {
		s.t.Errorf("the sender learns why: %q", body)
	}
}

// claiming has the token say something else; nil takes a claim out.
func claiming(changed map[string]any) func(s *site) func(*http.Request) {
	return func(s *site) func(*http.Request) { return bearing(s.token(s.claims(changed), nil)) }
}

// headed has the token's header be the text, signed as it stands.
func headed(header string) func(s *site) func(*http.Request) {
	return func(s *site) func(*http.Request) { return bearing(s.compact(header, s.payload(nil))) }
}

// payload is the text of the good claims, changed.
func (s *site) payload(changed map[string]any) string {
	text, err := json.Marshal(s.claims(changed))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

const goodHeader = `{"alg":"ES256","typ":"at+jwt","kid":"one"}`

// compact signs any texts as they stand, with the issuer's key.
func (s *site) compact(header, payload string) string {
	return by256(s.t, s.key, header, payload)
}

func by256(t testing.TB, key *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	input := encoded(header) + "." + encoded(payload)
	hash := sha256.Sum256([]byte(input))
	r, v, err := ecdsa.Sign(rand.Reader, key, hash[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + encoded(string(append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)))
}

// mac signs with a secret that is none.
func mac(secret []byte, header, payload string) string {
	input := encoded(header) + "." + encoded(payload)
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(input))
	return input + "." + encoded(string(h.Sum(nil)))
}

func encoded(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// both has a request changed twice.
func both(changes ...func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		for _, change := range changes {
			change(r)
		}
	}
}

// named has a request's path name an owner.
func named(id string) func(*http.Request) {
	return func(r *http.Request) { r.SetPathValue("subscription_id", id) }
}

// without has a request lose a header.
func without(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }

// plus adds a header once more.
func plus(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

// stranger is somebody who is not signed in here.
func stranger() string { return fds.NewSubscriptionID().String() }
