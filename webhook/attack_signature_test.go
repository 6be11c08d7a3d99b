package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

// whsec is a secret of 32 bytes, of a letter.
func whsec(letter string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
}

// stamped signs a delivery as Standard Webhooks says, at that time from now, with that secret.
func stamped(secret, id, body string, off time.Duration) func(*http.Request) {
	return func(r *http.Request) {
		stamp := strconv.FormatInt(time.Now().Add(off).Unix(), 10)
		r.Header.Set("Webhook-Id", id)
		r.Header.Set("Webhook-Timestamp", stamp)
		r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(sum(secret, id+"."+stamp+"."+body)))
	}
}

func sum(secret, text string) []byte {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func TestAttackADeliveryThatItsOwnersSecretHasNotSignedIsRefused(t *testing.T) {
	const body = `{"n":1}`
	const (
		nobody  = "none of the owner's secrets has made it"
		headers = "must be there, once each"
		when    = "more than 5 minutes from now"
		number  = "is no number of seconds"
	)
	var first fds.OwnerKey // the owner of the good delivery: the first to be asked for
	secrets := func(c *webhook.Config) {
		first = fds.OwnerKey{}
		c.Secrets = func(_ context.Context, o fds.OwnerKey) ([]fds.Secret, error) {
			if first == (fds.OwnerKey{}) {
				first = o
			}
			if o != first {
				return []fds.Secret{fds.NewSecret(whsec("o"))}, nil
			}
			return []fds.Secret{fds.NewSecret(whsec("n")), fds.NewSecret(whsec("a"))}, nil // the new one, and that of before
		}
	}
	count := 0
	good := func(s *site) func(*http.Request) {
		count++
		return stamped(whsec("a"), fmt.Sprint("msg_", count), body, 0)
	}
	again := func(change func(r *http.Request)) func(*site) func(*http.Request) {
		return func(*site) func(*http.Request) { return change }
	}
	by := func(secret string, off time.Duration) func(*site) func(*http.Request) {
		return again(stamped(secret, "msg_x", body, off))
	}
	refused(t, secrets, good, []attack{
		{name: "no signature", status: 401, why: headers, change: again(without("Webhook-Signature"))},
		{name: "no timestamp", status: 401, why: headers, change: again(without("Webhook-Timestamp"))},
		{name: "no ID", status: 401, why: headers, change: again(without("Webhook-Id"))},
		{name: "no header of the three", status: 401, why: headers, change: again(both(without("Webhook-Id"), without("Webhook-Timestamp"), without("Webhook-Signature")))},
		{name: "an empty signature", status: 401, why: nobody, change: again(with("Webhook-Signature", ""))},
		{name: "v1 with nothing", status: 401, why: nobody, change: again(with("Webhook-Signature", "v1,"))},
		{name: "v1 with less", status: 401, why: nobody, change: again(func(r *http.Request) {
			r.Header.Set("Webhook-Signature", r.Header.Get("Webhook-Signature")[:3+40])
		})},
		{name: "two headers with signatures", status: 401, why: headers, change: again(plus("Webhook-Signature", "v1,AAAA"))},
		{name: "two headers with timestamps", status: 401, why: headers, change: again(plus("Webhook-Timestamp", "1"))},
		{name: "an unknown secret", status: 401, why: nobody, change: by(whsec("x"), 0)},
		{name: "the secret of another owner", status: 401, why: nobody, change: by(whsec("o"), 0)},
		{name: "the secret's letters as they are", status: 401, why: nobody, change: again(func(r *http.Request) {
			h := hmac.New(sha256.New, []byte(whsec("a")))
			fmt.Fprintf(h, "%s.%s.%s", r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), body)
			r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
		})},
		{name: "another body", status: 401, why: nobody, body: `{"n":2}`},
		{name: "the body with a space more", status: 401, why: nobody, body: body + " "},
		{name: "another ID", status: 401, why: nobody, change: again(with("Webhook-Id", "msg_y"))},
		{name: "another time", status: 401, why: nobody, change: again(func(r *http.Request) {
			r.Header.Set("Webhook-Timestamp", strconv.FormatInt(time.Now().Add(time.Second).Unix(), 10))
		})},
		{name: "301 s old", status: 401, why: when, change: by(whsec("a"), -301*time.Second)},
		{name: "301 s ahead", status: 401, why: when, change: by(whsec("a"), 301*time.Second)},
		{name: "three days old, as a delivery that is repeated", status: 401, why: when, change: by(whsec("a"), -72*time.Hour)},
		{name: "of the year 1970", status: 401, why: when, change: again(with("Webhook-Timestamp", "0"))},
		{name: "a time beyond numbers", status: 401, why: number, change: again(with("Webhook-Timestamp", "99999999999999999999"))},
		{name: "a time of the far future", status: 401, why: number, change: again(with("Webhook-Timestamp", "9223372036854775807"))},
		{name: "a time before 1970", status: 401, why: number, change: again(with("Webhook-Timestamp", "-1"))},
		{name: "a time with a fraction", status: 401, why: number, change: again(func(r *http.Request) {
			r.Header.Set("Webhook-Timestamp", r.Header.Get("Webhook-Timestamp")+".0")
		})},
		{name: "v1a alone", status: 401, why: nobody, change: again(func(r *http.Request) {
			r.Header.Set("Webhook-Signature", strings.Replace(r.Header.Get("Webhook-Signature"), "v1,", "v1a,", 1))
		})},
		{name: "v0", status: 401, why: nobody, change: again(func(r *http.Request) {
			r.Header.Set("Webhook-Signature", strings.Replace(r.Header.Get("Webhook-Signature"), "v1,", "v0,", 1))
		})},
		{name: "the right one behind 16 wrong ones", status: 401, why: nobody, change: again(func(r *http.Request) {
			r.Header.Set("Webhook-Signature", strings.Repeat("v1,AAAA ", 16)+r.Header.Get("Webhook-Signature"))
		})},
		{name: "more of them than fit", status: 401, why: headers, change: again(func(r *http.Request) {
			r.Header.Set("Webhook-Signature", r.Header.Get("Webhook-Signature")+strings.Repeat(" v1,AAAA", 600))
		})},
		{name: "in hexadecimal", status: 401, why: nobody, change: again(func(r *http.Request) {
			r.Header.Set("Webhook-Signature", fmt.Sprintf("v1,%x", sum(whsec("a"), r.Header.Get("Webhook-Id")+"."+r.Header.Get("Webhook-Timestamp")+"."+body)))
		})},
		{name: "time and body moved into each other", status: 400, why: "neither a JSON object", body: "1700000000." + body, change: again(func(r *http.Request) {
			stamped(whsec("a"), "msg."+strconv.FormatInt(time.Now().Unix(), 10), body, 0)(r)
			r.Header.Set("Webhook-Id", "msg")
		})},
	})
	t.Run("one of several signatures, and of several secrets, is enough", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t, secrets)
			for n, secret := range []string{whsec("a"), whsec("n")} {
				w := s.answer(body, stamped(secret, fmt.Sprint(n), body, 299*time.Second), func(r *http.Request) {
					r.Header.Set("Webhook-Signature", "v1a,AAAA v1,AAAA "+r.Header.Get("Webhook-Signature"))
				})
				if w.Code != http.StatusOK {
					t.Error(n, w.Code, s.why())
				}
			}
		})
	})
}

func TestAttackWhereSignaturesAreDemandedNoSecretIsNoPermission(t *testing.T) {
	const body = `{"n":1}`
	for name, c := range map[string]struct {
		secrets []fds.Secret
		err     error
		status  int
		why     string
	}{
		"no secrets":            {nil, nil, 401, "none of the owner's secrets"},
		"an empty secret":       {[]fds.Secret{fds.NewSecret("")}, nil, 503, "is not whsec_"},
		"whsec_ alone":          {[]fds.Secret{fds.NewSecret("whsec_")}, nil, 503, "is not whsec_"},
		"a secret of 23 bytes":  {[]fds.Secret{fds.NewSecret("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23)))}, nil, 503, "is not whsec_"},
		"a secret without name": {[]fds.Secret{fds.NewSecret(strings.TrimPrefix(whsec("a"), "whsec_"))}, nil, 503, "is not whsec_"},
		"they cannot be read":   {[]fds.Secret{fds.NewSecret(whsec("a"))}, errors.New("away"), 503, "Settings.Secrets failed"},
		"the right one":         {[]fds.Secret{fds.NewSecret(whsec("a"))}, nil, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t, func(cfg *webhook.Config) {
					cfg.Secrets = func(context.Context, fds.OwnerKey) ([]fds.Secret, error) { return c.secrets, c.err }
				})
				secret := whsec("a")
				if len(c.secrets) > 0 {
					secret = c.secrets[0].Reveal()
				}
				w := s.answer(body, stamped(secret, "msg_1", body, 0))
				if c.status != http.StatusOK {
					s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: c.status, why: c.why})
				} else if w.Code != http.StatusOK {
					t.Error(w.Code, s.why())
				}
				if n := len(s.handed()); (n == 1) != (c.status == http.StatusOK) {
					t.Error(n, "were handed over")
				}
			})
		})
	}
}
