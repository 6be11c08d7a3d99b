package fdsclient

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// scriptedServer is a token endpoint without a network, for the bubble's clock.
type scriptedServer struct {
	answerAfter time.Duration

	mu       sync.Mutex
	down     bool
	requests map[int64]int // by second
	now, top int           // requests at once
	issued   int
}

func (s *scriptedServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.requests[time.Now().Unix()]++
	s.now++
	s.top = max(s.top, s.now)
	s.mu.Unlock()
	time.Sleep(s.answerAfter)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	status, body := http.StatusServiceUnavailable, "down"
	if !s.down {
		s.issued++
		status = http.StatusOK
		body = fmt.Sprintf(`{"access_token":"a%d","refresh_token":"r%d","token_type":"Bearer","expires_in":3600}`, s.issued, s.issued)
	}
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(body)),
		Request:    r,
	}, nil
}

// busiest returns the most requests in a second since then.
func (s *scriptedServer) busiest(since time.Time) (most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for second, n := range s.requests {
		if second >= since.Unix() {
			most = max(most, n)
		}
	}
	return most
}

// seen returns the tokens issued, the seconds in which someone asked, and the most
// requests at once.
func (s *scriptedServer) seen() (issued, seconds, top int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued, len(s.requests), s.top
}

func (s *scriptedServer) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func TestThousandsOfGrantsAreRenewedByFewWorkersAndDoNotStormAServerThatReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owners := 1_000
		if os.Getenv("FDS_LONG") != "" {
			owners = 10_000
		}
		client := fleetOf(t, owners)
		server := &scriptedServer{answerAfter: 50 * time.Millisecond, down: true, requests: make(map[int64]int)}
		speakThrough(client, server)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- client.Run(ctx, nil) }()

		time.Sleep(10 * time.Minute)
		if issued, asked, _ := server.seen(); issued != 0 || asked == 0 {
			t.Errorf("while it was down: %d tokens, requests in %d seconds", issued, asked)
		}
		server.set(false)
		back := time.Now()
		// Every seventh grant was failing. Were they all tried at once, there would be
		// as many requests as the workers can send in a second: 320.
		time.Sleep(10 * time.Minute)
		if most := server.busiest(back); most > owners/160+10 {
			t.Errorf("%d requests in one second after the server came back", most)
		}
		time.Sleep(time.Hour)
		issued, _, top := server.seen()
		if issued < owners {
			t.Errorf("%d of %d grants were renewed", issued, owners)
		}
		if top > grants.Workers {
			t.Errorf("%d renewals at once", top)
		}
		if most := server.busiest(back); most > owners/160+10 {
			t.Errorf("%d requests in one second", most)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.Close()
	})
}

// fleetOf makes a Client of so many owners, whose tokens expire within the hour and a few minutes.
func fleetOf(t *testing.T, owners int) *Client {
	t.Helper()
	store := tokenstore.OpenMemory()
	for n := range owners {
		id := fds.NewSubscriptionID().String()
		_, err := store.Save(t.Context(), tokenstore.Grant{
			Key:           tokenstore.Key{Issuer: "https://auth.example", ClientID: "app", GrantID: id},
			Subscriptions: []string{id},
			RefreshToken:  fds.NewSecret("first"),
			AccessToken:   fds.NewSecret("old"),
			TokenType:     "Bearer",
			AccessExpiry:  time.Now().Add(6*time.Minute + time.Duration(n)*time.Hour/time.Duration(owners)),
			Renewed:       time.Now(),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	client, err := New(Config{
		Provider: Provider{
			Issuer:    "https://auth.example",
			Endpoints: Endpoints{Authorization: "https://auth.example/a", Token: "https://auth.example/t"},
		},
		Application: Application{ClientID: "app"},
		Store:       store,
		State:       &statestore.Memory{},
		Rescan:      time.Hour,
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestAFleetThatIsLeftOutCostsNoRenewal, nor does the part of it that was had for a while.
func TestAFleetThatIsLeftOutCostsNoRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners = 10_000
		client := fleetOf(t, owners)
		server := &scriptedServer{requests: make(map[int64]int)}
		speakThrough(client, server)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		var had atomic.Bool
		go func() {
			done <- client.RunWhere(ctx, Selection{Where: func(key fds.OwnerKey) bool { return had.Load() && key.SubscriptionID.String()[0] == 'a' }})
		}()
		time.Sleep(3 * time.Hour)
		if issued, asked, _ := server.seen(); issued+asked != 0 {
			t.Errorf("%d tokens, requests in %d seconds, for nobody", issued, asked)
		}
		had.Store(true)
		client.Reselect()
		time.Sleep(3 * time.Hour)
		before, _, _ := server.seen()
		if before < owners/16 || before > owners/2 {
			t.Errorf("%d tokens in 3 hours once a sixteenth is had", before)
		}
		had.Store(false)
		client.Reselect()
		time.Sleep(time.Second) // what is under way
		before, _, _ = server.seen()
		time.Sleep(24 * time.Hour)
		if issued, _, _ := server.seen(); issued != before {
			t.Errorf("%d tokens in a day for nobody", issued-before)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.Close()
	})
}
