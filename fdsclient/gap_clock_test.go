package fdsclient_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// shiftedAPI is the Web API of p on a machine whose clock is off.
func shiftedAPI(t *testing.T, p *fdstest.Provider, ca *realtest.CA) (address string, ahead *atomic.Int64) {
	t.Helper()
	target, err := url.Parse(p.APIURL())
	if err != nil {
		t.Fatal(err)
	}
	ahead = new(atomic.Int64)
	transport := &http.Transport{TLSClientConfig: tlsOf(p)}
	t.Cleanup(transport.CloseIdleConnections)
	certificate := ca.IssueCertificate("api", realtest.CertificateOptions{Hosts: []string{"127.0.0.1"}})
	api := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Date", time.Now().Add(time.Duration(ahead.Load())).UTC().Format(http.TimeFormat))
			return nil
		},
	})
	api.TLS = &tls.Config{Certificates: []tls.Certificate{certificate.TLS}, MinVersion: tls.VersionTLS12}
	api.StartTLS()
	t.Cleanup(api.Close)
	return api.URL, ahead
}

func TestNoEventIsMissingWhenTheProvidersClockIsOffOrIsSet(t *testing.T) {
	const off = 10 * time.Minute
	for name, clock := range map[string]struct {
		first, then time.Duration
		restart     bool // this process ends in between
	}{
		"behind":                          {-off, -off, false},
		"ahead":                           {off, off, false},
		"was behind, and is right":        {-off, 0, false},
		"was ahead, and is right":         {off, 0, false},
		"was ahead, and is behind":        {off, -off, false},
		"was right, and is behind":        {0, -off, false},
		"was ahead, is right in new run":  {off, 0, true},
		"was behind, is right in new run": {-off, 0, true},
		"was right, is behind in new run": {0, -off, true},
		"is ahead in both runs":           {off, off, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait for back-off
			p := start(t, fdstest.Options{})
			ca := realtest.NewCA(t)
			cfg := configure(t, p)
			roots := p.RootCAs()
			roots.AppendCertsFromPEM(ca.PEM())
			cfg.Provider.Roots = realtest.Trusting(roots)
			var ahead *atomic.Int64
			cfg.Provider.APIURL, ahead = shiftedAPI(t, p, ca)
			cfg.Provider.Dialect = fds.Dialect{TimeMember: boxDialect.TimeMember, SubscriptionMember: boxDialect.SubscriptionMember} // so that what is fetched is chosen here
			cfg.Gaps.Margin = 2 * time.Second
			cfg.Gaps.Retry.Initial = 20 * time.Millisecond
			gaps := &gapLog{}
			cfg.Hooks = []any{gaps}
			client := open(t, cfg)
			signIn(t, client, p)
			o := p.Owners()[0]
			e := &events{t: t, dialect: cfg.Provider.Dialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
			set := func(to time.Duration) {
				e.ahead = to
				ahead.Store(int64(to))
			}
			var box inbox
			closed := 0
			outage := func() {
				t.Helper()
				connects := p.Subscriber(o).Connects
				heal := inject(t, p, fdstest.RefuseConnections(o))
				inject(t, p, fdstest.LoseSessions(o))
				e.publish(5)
				heal()
				eventually(t, "connected again", func() bool { s := p.Subscriber(o); return s.Connects > connects && len(s.Subscriptions) > 0 })
				closed++
				eventually(t, "the gap closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) == closed })
				if missing := e.missing(&box); len(missing) > 0 {
					t.Fatalf("missing after outage %d: %v", closed, missing)
				}
			}

			set(clock.first)
			stop := runClient(t, client, box.handle)
			subscribed(t, p, o)
			e.publish(1)
			e.arrive(&box)
			outage()
			e.publish(2)
			e.arrive(&box)
			if !clock.restart {
				set(clock.then)
				outage()
				e.publish(2)
				e.arrive(&box)
				outage()
				return
			}
			stop()
			set(clock.then)
			inject(t, p, fdstest.LoseSessions(o))
			e.publish(5)
			runClient(t, open(t, cfg), box.handle)
			e.arrive(&box)
		})
	}
}
