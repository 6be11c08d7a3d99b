package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

func TestAttackAFloodOfTokensCostsTheIssuerOneFetchAndNobodyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		began := time.Now()
		for n := range 1000 { // of its own key, each with an ID that is the issuer's
			token := by256(t, s.key, goodHeader, s.payload(map[string]any{"jti": n}))
			if w := s.answer(`{}`, bearing(token[:len(token)-4]+"AAAA")); w.Code != http.StatusUnauthorized {
				t.Fatal(w.Code)
			}
		}
		if s.fetches() != 1 {
			t.Error("signatures that are wrong, by a key that is known, cost", s.fetches()-1, "fetches")
		}
		for n := range 1000 {
			if w := s.answer(`{}`, s.by(fmt.Sprint("unknown-", n))); w.Code != http.StatusUnauthorized {
				t.Fatal(w.Code)
			}
		}
		if s.fetches() != 2 || time.Since(began) != 0 {
			t.Error("keys that are unknown cost", s.fetches()-1, "fetches and", time.Since(began))
		}
		s.takes(nil)
	})
}

func TestAttackAFloodOfUnknownTokensAsksTheIssuerSixteenTimesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		var mu sync.Mutex
		asked, most := 0, 0
		s.introspected(func(ctx context.Context, token fds.Secret) ([]byte, error) {
			if token.Reveal() == "good" {
				return json.Marshal(s.active(nil))
			}
			mu.Lock()
			asked++
			most = max(most, asked)
			mu.Unlock()
			<-ctx.Done() // it hangs
			mu.Lock()
			asked--
			mu.Unlock()
			return nil, ctx.Err()
		})
		if w := s.answer(`{}`, bearing("good")); w.Code != http.StatusOK {
			t.Fatal(w.Code, s.why())
		}
		var all sync.WaitGroup
		for n := range 200 {
			all.Go(func() {
				if w := s.answer(`{}`, bearing(fmt.Sprint("bad-", n))); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
					t.Error(w.Code)
				}
			})
		}
		synctest.Wait()
		if w := s.answer(`{}`, bearing("good")); w.Code != http.StatusOK {
			t.Error("one that is known is not taken meanwhile:", w.Code, s.why())
		}
		all.Wait()
		if most != 16 {
			t.Error(most, "at once")
		}
	})
}

func TestAttackAKeySetThatIsNoneChangesNothing(t *testing.T) {
	good := func(s *site) []byte {
		raw, _ := json.Marshal(jose.JSONWebKeySet{Keys: s.keys})
		return raw
	}
	many := func(n int) []byte {
		key := public(newKey(t), "many")
		raw, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
		one := strings.TrimSuffix(strings.TrimPrefix(string(raw), `{"keys":[`), `]}`)
		return []byte(`{"keys":[` + strings.Repeat(one+",", n-1) + one + `]}`)
	}
	for name, c := range map[string]struct {
		set func(good []byte) []byte
		why string // "": it is taken into use
	}{
		"2 MiB":                 {func(g []byte) []byte { return append(g, bytes.Repeat([]byte(" "), 2<<20)...) }, "larger than 1 MiB"},
		"a page of HTML":        {func([]byte) []byte { return []byte("<html>away</html>") }, "not a set of keys"},
		"nothing":               {func([]byte) []byte { return nil }, "set of keys"},
		"no key":                {func([]byte) []byte { return []byte(`{"keys":[]}`) }, "none of the set can be used"},
		"an array":              {func([]byte) []byte { return []byte(`[]`) }, "not a set of keys"},
		"a set that is cut":     {func(g []byte) []byte { return g[:len(g)-9] }, "in its midst"},
		"a symmetric key alone": {func([]byte) []byte { return []byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"one"}]}`) }, "none of the set can be used"},
		"keys that are not read": {func([]byte) []byte {
			return []byte(`{"keys":[1,null,"x",[],{},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`)
		}, "none of the set can be used"},
		"deep nesting": {func([]byte) []byte { return []byte(`{"keys":` + strings.Repeat("[", 500_000)) }, "set of keys"},
		"one malformed among good": {func(g []byte) []byte {
			return bytes.Replace(g, []byte(`{"keys":[`), []byte(`{"keys":[{"kty":"RSA","n":7,"e":[],"kid":"one"},`), 1)
		}, ""},
		"5,000 keys": {func(g []byte) []byte {
			return bytes.Replace(many(5000), []byte(`{"keys":[`), append(g[:len(g)-2], ','), 1)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bad atomic.Pointer[[]byte]
				s := inMemory(t, func(c *webhook.Config) {
					there := c.Keys
					c.Keys = func(ctx context.Context) ([]byte, error) {
						if set := bad.Load(); set != nil {
							return *set, nil
						}
						return there(ctx)
					}
				})
				s.takes(nil)
				set := c.set(good(s))
				bad.Store(&set)
				time.Sleep(25 * time.Minute) // they were fetched anew
				state := s.receiver.State()
				switch {
				case c.why == "" && state.KeysErr != nil, c.why != "" && (state.KeysErr == nil || !strings.Contains(state.KeysErr.Error(), c.why)):
					t.Error(state.KeysErr)
				case c.why != "" && len(state.KeysErr.Error()) > 200:
					t.Error("the error is as long as the answer:", len(state.KeysErr.Error()))
				}
				s.takes(nil)
			})
		})
	}
}

func TestAttackWhoFillsOneOwnersPlacesHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, func(c *webhook.Config) { c.MaxInHandOfOwner, c.MaxInHand = 3, 5 })
		let := make(chan struct{})
		s.handle(func(ctx context.Context, m delivery.Message) error {
			if m.Owner == s.owner || string(m.Payload) == `{"wait":1}` {
				<-let
			}
			return nil
		})
		var all sync.WaitGroup
		for n := range 3 {
			all.Go(func() {
				if w := s.answer(fmt.Sprintf(`{"n":%d}`, n)); w.Code != http.StatusOK {
					t.Error(w.Code, s.why())
				}
			})
		}
		synctest.Wait()
		w := s.answer(`{"n":4}`)
		s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 429, why: "MaxInHandOfOwner"})
		if w.Header().Get("Retry-After") == "" {
			t.Error(w.Header())
		}
		if w := s.answer(`{"n":5}`, s.of(s.other)); w.Code != http.StatusOK {
			t.Error("another owner:", w.Code, s.why())
		}
		for range 2 {
			all.Go(func() { s.answer(`{"wait":1}`, s.of(s.other)) })
		}
		synctest.Wait()
		w = s.answer(`{"n":6}`, s.of(s.other))
		s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 503, why: "Settings.MaxInHand"})
		close(let)
		all.Wait()
		if state := s.receiver.State(); state.InHand != 0 {
			t.Error(state)
		}
		s.takes(nil)
	})
}

func TestAttackBodiesInHandAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, func(c *webhook.Config) { c.MaxBody, c.MaxBytes = 1000, 1500 })
		let := make(chan struct{})
		s.handle(func(context.Context, delivery.Message) error { <-let; return nil })
		large := `{"n":"` + strings.Repeat("x", 900) + `"}`
		var first sync.WaitGroup
		first.Go(func() { s.answer(large) })
		synctest.Wait()
		w := s.answer(large, s.of(s.other))
		s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 503, why: "Settings.MaxBytes"})
		close(let)
		first.Wait()
		if w := s.answer(large, s.of(s.other)); w.Code != http.StatusOK {
			t.Error(w.Code, s.why())
		}
	})
}

// wire speaks HTTP by hand.
func wire(t *testing.T, a *authority, address, text string) (conn *tls.Conn, response *http.Response, err error) {
	t.Helper()
	conn, err = tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	patience := 5 * time.Second // less than ReadTimeout
	if strings.Contains(text, "Expect:") {
		patience = 20 * time.Second
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return conn, nil, err
	}
	response, err = http.ReadResponse(bufio.NewReader(conn), nil)
	return conn, response, err
}

func TestAttackWhoSendsNoBodyHoldsNoConnection(t *testing.T) {
	s, a, address := served(t, func(c *webhook.Config) { c.BodyTimeout = 200 * time.Millisecond })
	path := "/fds/" + s.owner.SubscriptionID.String()
	good := "Authorization: Bearer " + s.token(s.claims(nil), nil) + "\r\nContent-Type: application/json\r\n"
	all := map[string]struct {
		head   string
		status int
	}{
		"OPTIONS of all":             {"OPTIONS * HTTP/1.1\r\n", 404},
		"a body that never comes":    {"POST " + path + " HTTP/1.1\r\n" + good, 408},
		"no token":                   {"POST " + path + " HTTP/1.1\r\n", 401},
		"another method":             {"PUT " + path + " HTTP/1.1\r\n" + good, 405},
		"two tokens":                 {"POST " + path + " HTTP/1.1\r\n" + good + "Authorization: Bearer x\r\n", 400},
		"a token in the query":       {"POST " + path + "?access_token=x HTTP/1.1\r\n" + good, 400},
		"another owner's path":       {"POST /fds/" + s.other.SubscriptionID.String() + " HTTP/1.1\r\n" + good, 403},
		"another type":               {"POST " + path + " HTTP/1.1\r\n" + good + "Content-Encoding: gzip\r\n", 415},
		"another path":               {"POST /other/path HTTP/1.1\r\n" + good, 404},
		"a path that is spelt oddly": {"POST //fds/x HTTP/1.1\r\n" + good, 404},
		"a path that leads back":     {"POST /fds/../fds/x HTTP/1.1\r\n" + good, 404},
	}
	if os.Getenv("FDS_LONG") != "" { // 10 s
		all["an expectation that nobody has"] = struct {
			head   string
			status int
		}{"POST " + path + " HTTP/1.1\r\nExpect: 200-ok\r\n", 417}
	}
	for name, c := range all {

		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, response, err := wire(t, a, address, c.head+"Host: app.example\r\nContent-Length: 10\r\n\r\n")
			if err != nil {
				t.Fatal("no answer:", err)
			}
			if _, err := io.ReadAll(response.Body); err != nil || response.StatusCode != c.status {
				t.Error(response.Status, err)
			}
			if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				t.Error("the connection is open:", err)
			}
		})
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestAttackABodyThatIsLongerOrInPartsIsRefused(t *testing.T) {
	s, a, address := served(t, func(c *webhook.Config) { c.BodyTimeout = 200 * time.Millisecond })
	head := "POST /fds/" + s.owner.SubscriptionID.String() + " HTTP/1.1\r\nHost: app.example\r\nContent-Type: application/json\r\nAuthorization: Bearer " + s.token(s.claims(nil), nil) + "\r\n"
	for name, c := range map[string]struct {
		rest   string
		status int
		taken  int
	}{
		"as it should be":                  {"Content-Length: 7\r\n\r\n{\"n\":1}", 200, 1},
		"in chunks":                        {"Transfer-Encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0\r\n\r\n", 411, 0},
		"in chunks, with a length besides": {"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0\r\n\r\n", 411, 0},
		"two lengths":                      {"Content-Length: 7\r\nContent-Length: 8\r\n\r\n{\"n\":1} ", 400, 0},
		"a length with a sign":             {"Content-Length: +7\r\n\r\n{\"n\":1}", 400, 0},
		"a length less than zero":          {"Content-Length: -1\r\n\r\n{\"n\":1}", 400, 0},
		"longer than its length":           {"Content-Length: 7\r\n\r\n{\"n\":1}{\"n\":2}", 200, 1},
		"shorter than its length":          {"Content-Length: 8\r\n\r\n{\"n\":1}", 408, 0},
		"a header of 1 MiB":                {"X-Pad: " + strings.Repeat("x", 1<<20) + "\r\nContent-Length: 7\r\n\r\n{\"n\":1}", 431, 0},
		"ten thousand headers":             {strings.Repeat("X: y\r\n", 100_000) + "Content-Length: 7\r\n\r\n{\"n\":1}", 431, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.handed())
			_, response, err := wire(t, a, address, head+c.rest)
			if c.status == 431 && err != nil {
				return // the connection was closed while the header was still being sent
			}
			if err != nil || response.StatusCode != c.status {
				t.Error(response, err, s.why())
			}
			if n := len(s.handed()) - before; n != c.taken {
				t.Errorf("%d were handed over", n)
			}
		})
	}
}

func TestAttackAnAnswerOfTheServerIsNoRedirect(t *testing.T) {
	s, a, address := served(t)
	c := client(a)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	token := s.token(s.claims(nil), nil)
	for path, want := range map[string]int{
		"/fds/" + s.owner.SubscriptionID.String(): 200, "//fds/x": 404, "/fds//x": 404, "/fds/./x": 404, "/fds/../fds/x": 404, "/fds": 404, "/fds/": 404,
		"/fds/" + s.owner.SubscriptionID.String() + "/": 404, "/fds/" + s.owner.SubscriptionID.String() + "/more": 404, "/": 404,
	} {
		if status, err := s.post(c, address, path, token); status != want || err != nil {
			t.Error(path, status, err)
		}
	}
}

func TestAttackAnArrayOfManyItemsTakesNoMoreMemoryThanItsBytes(t *testing.T) {
	s := newReceiver(t)
	defer s.receiver.Close()
	waitFor(t, "the keys are fetched", func() bool { return !s.receiver.State().KeysAt.IsZero() })
	token := bearing(s.token(s.claims(nil), nil))
	for _, item := range []string{"1", "{}"} {
		body := "[" + strings.Repeat(item+",", 100_000) + item + "]"
		var status int
		if n := testing.AllocsPerRun(1, func() { status = s.answer(body, token).Code }); n > 10_000 {
			t.Errorf("%q: %v allocations", item, n)
		}
		if status == http.StatusOK {
			t.Errorf("%q is taken", item)
		}
	}
}

func TestAttackWhatTheHandlerFailsOnIsRememberedWithoutItsBytes(t *testing.T) {
	const deliveries, size = 400, 64 << 10
	fails := func(context.Context, delivery.Message) error {
		return delivery.NotNow(errors.New("the database is away"))
	}
	for name, change := range map[string]func(*webhook.Config){
		"one at a time": func(c *webhook.Config) { c.Handler = fails },
		"in batches": inBatches(&delivery.Batching{Handler: func(ctx context.Context, batch []delivery.Message) error {
			return fails(ctx, batch[0])
		}}),
	} {
		t.Run(name, func(t *testing.T) {
			s := newReceiver(t, change)
			defer s.receiver.Close()
			waitFor(t, "the keys are fetched", func() bool { return !s.receiver.State().KeysAt.IsZero() })
			token := bearing(s.token(s.claims(nil), nil))
			held := func() int64 {
				runtime.GC()
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				return int64(now.HeapAlloc)
			}
			before := held()
			for n := range deliveries {
				if w := s.answer(fmt.Sprintf(`{"n":%d,"more":%q}`, n, strings.Repeat("x", size)), token); w.Code != http.StatusServiceUnavailable {
					t.Fatal(w.Code, s.why())
				}
			}
			if more := held() - before; more > deliveries*size/4 {
				t.Errorf("%d MiB are held of %d MiB that the handler failed on", more>>20, deliveries*size>>20)
			}
			runtime.KeepAlive(s)
		})
	}
}
