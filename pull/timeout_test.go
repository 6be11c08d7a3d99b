package pull_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// slow is a transport that waits before the answer and before each part of it.
type slow struct {
	status      int
	first, each time.Duration
	parts       []string
}

func (s *slow) RoundTrip(request *http.Request) (*http.Response, error) {
	body := &slowBody{ctx: request.Context(), each: s.each, parts: s.parts}
	if err := body.sleep(s.first); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: s.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Request: request}, nil
}

type slowBody struct {
	ctx   context.Context
	each  time.Duration
	parts []string
}

func (b *slowBody) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.parts) == 0 {
		return 0, io.EOF
	}
	if err := b.sleep(b.each); err != nil {
		return 0, err
	}
	part := b.parts[0]
	b.parts = b.parts[1:]
	return copy(p, part), nil
}

func (b *slowBody) Close() error { return nil }

// waiting is an Authorizer that takes its time.
type waiting struct{ authorize, challenged time.Duration }

func (w waiting) Authorize(context.Context, *http.Request) error {
	time.Sleep(w.authorize)
	return nil
}

func (w waiting) Challenged(context.Context, *http.Response) (bool, error) {
	time.Sleep(w.challenged)
	return true, nil
}

func TestTheTimeOutCountsTheProvidersTimeOnly(t *testing.T) {
	list := []string{"[{}", ",{}", ",{}", "]"}
	for _, test := range []struct {
		name       string
		transport  slow
		authorizer waiting
		loop       time.Duration // what the loop takes for each item
		items      int
		took       time.Duration
		want       error
	}{
		{"all within", slow{200, 10 * time.Second, 10 * time.Second, list}, waiting{}, 0, 3, 50 * time.Second, nil},
		{"a loop that takes hours", slow{200, 10 * time.Second, 10 * time.Second, list}, waiting{}, time.Hour, 3, 3*time.Hour + 20*time.Second, nil}, // the rest is read meanwhile
		{"an authorizer that takes hours", slow{200, 10 * time.Second, 10 * time.Second, list}, waiting{authorize: time.Hour}, 0, 3, time.Hour + 50*time.Second, nil},
		{"no answer", slow{200, time.Hour, 0, list}, waiting{}, 0, 0, time.Minute, fds.ErrUnavailable},
		{"parts that come too slowly", slow{200, 0, 25 * time.Second, list}, waiting{}, 0, 2, time.Minute, fds.ErrUnavailable},
		{"both", slow{200, 0, 25 * time.Second, list}, waiting{time.Hour, 0}, time.Hour, 2, 3*time.Hour + 25*time.Second, fds.ErrUnavailable},
		{"two challenges", slow{401, 40 * time.Second, 0, nil}, waiting{time.Hour, time.Hour}, 0, 0, 3*time.Hour + time.Minute, fds.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: test.authorizer, Transport: &test.transport, Settings: pull.Settings{RetryFor: -1}})
				start := time.Now()
				items := 0
				var failed error
				for _, err := range client.Spaces(t.Context(), pull.Query{}) {
					if err != nil {
						failed = err
						break
					}
					items++
					time.Sleep(test.loop)
				}
				if took := time.Since(start); items != test.items || took != test.took || !isOnly(failed, test.want) {
					t.Fatalf("%d items after %v: %v", items, took, failed)
				}
				if failed != nil && (!strings.Contains(failed.Error(), "within 1m0s") || errors.Is(failed, context.Canceled)) {
					t.Fatalf("%v", failed)
				}
			})
		})
	}
}

func TestTheTimeOutStopsWhileAnAuthorizerIsAskedAfterARedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if err := pause(r, 25*time.Second); err != nil {
				return nil, err
			}
			if r.URL.Path == "/fds/v2/spaces" {
				return reply(r, 302, ``, "Location", "/moved"), nil
			}
			return reply(r, 200, `[{}]`), nil
		}), func(c *pull.Config) { c.Authorizer = waiting{authorize: time.Hour} })
		start := time.Now()
		items, err := pull.Collect(client.Spaces(t.Context(), pull.Query{}))
		if took := time.Since(start); len(items) != 1 || err != nil || took != 2*time.Hour+50*time.Second {
			t.Fatalf("%d items after %v: %v", len(items), took, err)
		}
	})
}

func TestTheTransportHasTheBoundsThatItPromises(t *testing.T) {
	made := pull.NewTransport(nil)
	if made.TLSHandshakeTimeout != 10*time.Second || made.ResponseHeaderTimeout != 0 || made.HTTP2 == nil || made.HTTP2.SendPingTimeout == 0 || made.MaxResponseHeaderBytes != 64<<10 || !made.ForceAttemptHTTP2 ||
		made.DialContext == nil || made.Proxy == nil || made.TLSClientConfig.MinVersion != tls.VersionTLS12 {
		t.Errorf("%+v", made)
	}
}

func TestTheCallersDeadlineIsNotTheProvidersFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		transport := &slow{200, time.Second, 20 * time.Second, []string{"[{}", ",{}", "]"}}
		client := newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: waiting{}, Transport: transport, Settings: pull.Settings{RetryFor: -1}})
		items, err := pull.Collect(client.Spaces(ctx, pull.Query{}))
		if len(items) != 1 || !errors.Is(err, context.DeadlineExceeded) || !isOnly(err, nil) || pull.Retryable(err) {
			t.Fatalf("%d items, %v", len(items), err)
		}
	})
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

func TestTheTimeOfTheLoopAndOfTheAuthorizerIsNotTheLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if asked++; asked == 100 {
				return reply(r, 200, "[{}]"), nil
			}
			return reply(r, 200, "[{}]", "Link", fmt.Sprintf("<?n=%d>; rel=next", asked)), nil
		}), func(c *pull.Config) {
			c.Authorizer = slowly{}
			c.ListTimeout = time.Second
			c.Limit = &fds.Limit{Concurrent: 1, PerSecond: 1}
		})
		n := 0
		for _, err := range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			<-time.After(time.Minute)
		}
		if n != 100 {
			t.Errorf("%d items", n)
		}
	})
}
