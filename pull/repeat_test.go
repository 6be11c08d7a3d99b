package pull_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

var (
	errLost = errors.New("connection reset by peer")
	noRoute = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
)

// failing answers the first attempts in a way of its own and then with a list.
type failing struct {
	times    int // negative: always
	answer   func(*http.Request) (*http.Response, error)
	attempts []time.Time
}

func (f *failing) RoundTrip(r *http.Request) (*http.Response, error) {
	f.attempts = append(f.attempts, time.Now())
	if len(f.attempts) > tooMany {
		return reply(r, 400, ""), nil // so that what has no end fails its test
	}
	if f.times < 0 || len(f.attempts) <= f.times {
		return f.answer(r)
	}
	return reply(r, 200, `[{}]`), nil
}

// tooMany are more attempts than any request may take.
const tooMany = 1000

func retryFor(d time.Duration) func(*pull.Config) {
	return func(c *pull.Config) { c.RetryFor = d }
}

func status(code int, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) { return reply(r, code, "", header...), nil }
}

func TestWhatMayPassIsAskedForAgainForSoLongAndNoLonger(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		class  error
	}{
		"429":           {status(429), fds.ErrRateLimited},
		"503":           {status(503), fds.ErrUnavailable},
		"500":           {status(500), fds.ErrUnavailable},
		"408":           {status(408), fds.ErrUnavailable},
		"connection":    {func(*http.Request) (*http.Response, error) { return nil, errLost }, fds.ErrUnavailable},
		"no connection": {func(*http.Request) (*http.Response, error) { return nil, noRoute }, fds.ErrUnavailable},
		"a time-out":    {func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, fds.ErrUnavailable},
		"half a refusal": {func(r *http.Request) (*http.Response, error) {
			return stream(r, 503, io.MultiReader(strings.NewReader("{"), broken{})), nil
		}, fds.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				quick := func(c *pull.Config) { c.Timeout = time.Second }
				passing := &failing{times: 2, answer: test.answer}
				if got, err := raws(offline(t, passing, retryFor(time.Hour), quick).Items(t.Context(), pull.Spaces, pull.Query{})); len(got) != 1 || err != nil || len(passing.attempts) != 3 {
					t.Errorf("%d items after %d attempts, %v", len(got), len(passing.attempts), err)
				}
				lasting := &failing{times: -1, answer: test.answer}
				start := time.Now()
				_, err := pull.Collect(offline(t, lasting, retryFor(5*time.Minute), quick).Spaces(t.Context(), pull.Query{}))
				var failed *pull.Error
				if !errors.As(err, &failed) || !isOnly(err, test.class) || !pull.Retryable(err) || failed.Attempts != len(lasting.attempts) || failed.Attempts < 20 {
					t.Errorf("%d attempts: %v", len(lasting.attempts), err)
				}
				if last := lasting.attempts[len(lasting.attempts)-1].Sub(start); last > 5*time.Minute || last < 5*time.Minute-12*time.Second {
					t.Errorf("the last attempt was after %v", last)
				}
				never := &failing{times: -1, answer: test.answer}
				_, err = pull.Collect(offline(t, never, retryFor(-1), quick).Spaces(t.Context(), pull.Query{}))
				if !errors.As(err, &failed) || failed.Attempts != 1 || len(never.attempts) != 1 || strings.Contains(err.Error(), "attempts") {
					t.Errorf("%d attempts with a negative RetryFor: %v", len(never.attempts), err)
				}
			})
		})
	}
}

// broken is a body whose connection is lost.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errLost }

func TestWhatDoesNotPassIsAskedForOnce(t *testing.T) {
	for _, code := range []int{204, 304, 400, 401, 403, 404, 418, 501} {
		transport := &failing{times: -1, answer: status(code)}
		_, err := pull.Collect(offline(t, transport, retryFor(time.Hour)).Spaces(t.Context(), pull.Query{}))
		var failed *pull.Error
		if !errors.As(err, &failed) || failed.Attempts != 1 || len(transport.attempts) != 1 || pull.Retryable(err) {
			t.Errorf("HTTP %d: %d attempts, %v", code, len(transport.attempts), err)
		}
	}
}

func TestTheProviderSaysHowLongToWait(t *testing.T) {
	const date = "Mon, 23 Nov 2026 12:00:00 GMT"
	for _, test := range []struct {
		after       string
		least, most time.Duration // between two attempts
	}{
		{"7", 7 * time.Second, 8 * time.Second},
		{"Mon, 23 Nov 2026 12:00:17 GMT", 17 * time.Second, 18 * time.Second}, // by the provider's clock
		{"0", 0, time.Second},
		{"Mon, 23 Nov 2026 11:00:00 GMT", 0, time.Second},
		{"58", 58 * time.Second, 59 * time.Second},
		{"60", 0, 0}, // as long as RetryFor
		{"61", 0, 0},
		{"86400000000000000000000", 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			transport := &failing{times: 1, answer: status(503, "Retry-After", test.after, "Date", date)}
			start := time.Now()
			_, err := pull.Collect(offline(t, transport, retryFor(time.Minute)).Spaces(t.Context(), pull.Query{}))
			if test.least == test.most && test.most == 0 {
				if !isOnly(err, fds.ErrUnavailable) || len(transport.attempts) != 1 || time.Since(start) != 0 {
					t.Errorf("%q: %d attempts after %v, %v", test.after, len(transport.attempts), time.Since(start), err)
				}
				return
			}
			if err != nil || len(transport.attempts) != 2 {
				t.Fatalf("%q: %d attempts, %v", test.after, len(transport.attempts), err)
			}
			if waited := transport.attempts[1].Sub(start); waited < test.least || waited > test.most {
				t.Errorf("%q: waited %v", test.after, waited)
			}
		})
	}
}

func TestNobodyWaitsPastTheCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		transport := &failing{times: -1, answer: status(503, "Retry-After", "11")}
		start := time.Now()
		_, err := pull.Collect(offline(t, transport, retryFor(time.Hour)).Spaces(ctx, pull.Query{}))
		if !isOnly(err, fds.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 0 {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
	})
}

func TestWhoCancelsWhileAnAttemptIsWaitedForIsToldAtOnce(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"503":        status(503, "Retry-After", "60"),
		"connection": func(*http.Request) (*http.Response, error) { return nil, noRoute },
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Second, cancel)
			transport := &failing{times: -1, answer: answer}
			start := time.Now()
			_, err := pull.Collect(offline(t, transport, retryFor(time.Hour)).Spaces(ctx, pull.Query{}))
			if !isOnly(err, nil) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "context canceled") || time.Since(start) != 10*time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
			// The same for a request outside of a list.
			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(10*time.Second, cancel)
			start = time.Now()
			err = offline(t, transport, retryFor(time.Hour)).DeleteTag(ctx, "a")
			if !isOnly(err, nil) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "context canceled") || time.Since(start) != 10*time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
		})
	}
}

func TestClientsThatFailedTogetherDoNotComeAgainTogether(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		asked  time.Duration
	}{
		"503":                  {status(503), 0},
		"503 with a time":      {status(503, "Retry-After", "20"), 20 * time.Second},
		"429 with a date":      {status(429, "Retry-After", "Mon, 23 Nov 2026 12:00:20 GMT", "Date", "Mon, 23 Nov 2026 12:00:00 GMT"), 20 * time.Second},
		"503 with a time of 0": {status(503, "Retry-After", "0"), 0},
		"no answer":            {noAnswer(errLost), 0},
		"408":                  {status(408), 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			different := map[time.Duration]bool{}
			for range 20 {
				transport := &failing{times: 1, answer: test.answer}
				if _, err := pull.Collect(offline(t, transport, retryFor(time.Hour)).Spaces(t.Context(), pull.Query{})); err != nil {
					t.Fatal(err)
				}
				waited := transport.attempts[1].Sub(transport.attempts[0])
				if waited < test.asked || waited > test.asked+time.Second {
					t.Errorf("%s: the first wait was %v", name, waited)
				}
				different[waited] = true
			}
			if len(different) < 19 {
				t.Errorf("%s: 20 waits had %d lengths", name, len(different))
			}
		})
	}
}

func TestAnAnswerThatIsCutShortIsNotAskedForAgain(t *testing.T) {
	for name, test := range map[string]struct {
		begin string
		items int
	}{"after items": {`[{"n":1},{"n":2},`, 2}, "before the first": {`[`, 0}} {
		transport := &failing{times: 1, answer: func(r *http.Request) (*http.Response, error) {
			return stream(r, 200, io.MultiReader(strings.NewReader(test.begin), broken{})), nil
		}}
		got, err := raws(offline(t, transport, retryFor(time.Hour)).Items(t.Context(), pull.Spaces, pull.Query{}))
		var failed *pull.Error
		if len(got) != test.items || !isOnly(err, fds.ErrUnavailable) || len(transport.attempts) != 1 || !errors.As(err, &failed) || failed.Attempts != 1 {
			t.Errorf("%s: %q in %d attempts, %v, %+v", name, got, len(transport.attempts), err, failed)
		}
	}
}

func TestEveryPageHasItsOwnAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := map[int]int{}
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			n := pageOf(r)
			if asked[n]++; asked[n] < 3 {
				return reply(r, 503, "", "Retry-After", "20"), nil
			}
			return reply(r, 200, []string{`[{"n":1}]`, `[{"n":2}]`, `[{"n":3}]`, `[]`}[n-1]), nil
		}), numbered, retryFor(50*time.Second))
		got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) != 3 || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

// A refusal that hangs takes the time-out, which is the provider's doing and not the caller's.
func TestA401ThatHangsIsATimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewed := 0
		owner := &bearer{token: secret, renew: func(*http.Response) (string, bool, error) { renewed++; return "fresh", true, nil }}
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			return stream(r, 401, &slowBody{ctx: r.Context(), each: 20 * time.Second, parts: []string{"{", "{", "{", "{"}}), nil
		}), func(c *pull.Config) { c.Authorizer = owner })
		_, err := pull.Collect(client.Spaces(t.Context(), pull.Query{}))
		if !isOnly(err, fds.ErrUnavailable) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "within 1m0s") || renewed != 0 {
			t.Fatalf("%v; renewed %d times", err, renewed)
		}
	})
}

func TestAnAnswerThatComesAfterTheTimeOutIsATimeOut(t *testing.T) {
	for _, code := range []int{302, 401} {
		synctest.Test(t, func(t *testing.T) {
			owner := &bearer{token: secret, renew: func(*http.Response) (string, bool, error) { return "fresh", true, nil }}
			client := offline(t, script(func(r *http.Request) (*http.Response, error) {
				time.Sleep(2 * time.Minute) // whatever the context says
				return reply(r, code, "", "Location", "/fds/v2/other"), nil
			}), func(c *pull.Config) { c.Authorizer = owner })
			_, err := pull.Collect(client.Spaces(t.Context(), pull.Query{}))
			if !isOnly(err, fds.ErrUnavailable) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "within 1m0s") {
				t.Fatalf("HTTP %d: %v", code, err)
			}
		})
	}
}

func TestANamedPageMayFailAndPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if n++; n == 2 {
				return reply(r, 502, ""), nil
			}
			if r.URL.RawQuery == "" {
				return reply(r, 200, `[{}]`, "Link", "<?b>; rel=next"), nil
			}
			return reply(r, 200, `[{}]`), nil
		}), retryFor(time.Minute), func(c *pull.Config) { c.Dialect = fds.Dialect{} })
		if got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{})); len(got) != 2 || err != nil || n != 3 {
			t.Fatalf("%q in %d requests, %v", got, n, err)
		}
	})
}
