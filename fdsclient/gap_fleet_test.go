package fdsclient_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestTheBackfillsOfManyOwnersShareABoundAndLeaveNoGoroutineBehind(t *testing.T) {
	const owners, most = 60, 4
	var all []fdstest.Owner
	for range owners {
		all = append(all, fdstest.Owner{Spelling: fds.NewSubscriptionID().String()})
	}
	p := start(t, fdstest.Options{Owners: all})
	ca := realtest.NewCA(t)
	cert := ca.IssueCertificate("api", realtest.CertificateOptions{Hosts: []string{"127.0.0.1"}})
	var mu sync.Mutex
	now, top, total := 0, 0, 0
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		now, total = now+1, total+1
		top = max(top, now)
		mu.Unlock()
		time.Sleep(10 * time.Millisecond) // so that they meet
		mu.Lock()
		now--
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("[]"))
	}))
	api.TLS = &tls.Config{Certificates: []tls.Certificate{cert.TLS}, MinVersion: tls.VersionTLS12}
	api.StartTLS()
	t.Cleanup(api.Close)

	cfg := configure(t, p)
	cfg.Provider.APIURL = api.URL
	roots := p.RootCAs()
	roots.AppendCertsFromPEM(ca.PEM())
	cfg.Provider.Roots = realtest.Trusting(roots)
	cfg.Gaps.Concurrent = most
	gaps := &gapLog{}
	cfg.Hooks = []any{gaps}
	client := open(t, cfg)
	signIn(t, client, p, p.Owners()...)
	var box inbox
	runClient(t, client, box.handle)
	for _, o := range p.Owners() {
		eventually(t, "all subscribed", func() bool { return len(p.Subscriber(o).Subscriptions) > 0 })
		publish(t, p, o, "1")
	}
	eventually(t, "a message each", func() bool { return len(box.from(delivery.FromPush)) == owners })
	inject(t, p, fdstest.LoseSessions())
	eventually(t, "all gaps closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) == owners })
	mu.Lock()
	t.Logf("%d requests, %d at once", total, top)
	if top > most || top < 2 || total != 2*owners {
		t.Errorf("%d requests, %d at once; want %d, and at most %d at once", total, top, 2*owners, most)
	}
	mu.Unlock()
	eventually(t, "no backfill's goroutine left", func() bool {
		buf := make([]byte, 4<<20)
		return !containsFunction(string(buf[:runtime.Stack(buf, true)]), "(*workers).work")
	})
}

func containsFunction(stacks, function string) bool { return strings.Contains(stacks, function+"(") }
