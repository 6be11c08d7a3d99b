package fdsclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
)

// lines keeps a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) with(what string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

func TestARestartOfOwnersWhoseSessionsWereKeptIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners = 20
		var all []fdstest.Owner
		for range owners {
			all = append(all, fdstest.Owner{Spelling: fds.NewSubscriptionID().String()})
		}
		p := start(t, fdstest.Options{Owners: all})
		cfg := configure(t, p)
		cfg.Provider.Dialect = p.Dialect()
		gaps := &gapLog{}
		cfg.Hooks = []any{gaps}
		first := open(t, cfg)
		var box inbox
		var publishers []*events
		for _, o := range p.Owners() {
			signIn(t, first, p, o)
			publishers = append(publishers, &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }})
		}
		stop := runClient(t, first, box.handle)
		for i, o := range p.Owners() {
			subscribed(t, p, o)
			publishers[i].publish(3)
			publishers[i].arrive(&box)
		}
		stop()
		first.Close()

		asked, connects := p.Requests(fdstest.APIEndpoint), p.Subscriber(p.Owners()[0]).Connects
		had := len(box.from(delivery.FromPush))
		log := &lines{}
		cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		again := open(t, cfg)
		stop = runClient(t, again, box.handle)
		for _, o := range p.Owners() {
			eventually(t, "connected again", func() bool { s := p.Subscriber(o); return s.Connected && s.Connects > connects })
		}
		eventually(t, "looked through", func() bool { return log.with("nothing was missed since the last run") == owners })
		for _, e := range publishers {
			e.publish(1)
			e.arrive(&box)
		}
		stop()
		if n := p.Requests(fdstest.APIEndpoint) - asked; n > owners {
			t.Errorf("%d requests for %d owners", n, owners)
		}
		if n := len(box.from(delivery.FromPush)) - had; n != owners {
			t.Errorf("%d messages for %d that are new", n, owners)
		}
		if fetched := box.from(delivery.FromBackfill); len(fetched) > 0 {
			t.Errorf("%d messages were handed over again", len(fetched))
		}
		if told := gaps.all(fdsclient.GapOpened); len(told) > 0 {
			t.Errorf("%d gaps are told of, such as %+v", len(told), told[0])
		}
		if n := log.with("level=WARN"); n > 0 || log.with("level=INFO") != owners {
			t.Errorf("the log has %s", log.text.String())
		}
		if n := log.with("level=INFO msg=\"push: connected\" session_present=true owner.issuer=" + p.Issuer() + " owner.subscription_id="); n != owners {
			t.Errorf("%d lines name their owner: %s", n, log.text.String())
		}
	})
}

func TestAConnectionThatIsMadeAnewForACertificateIsNoOutage(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Provider.Dialect = p.Dialect()
	gaps := &gapLog{}
	cfg.Hooks = []any{gaps}
	o := p.Owners()[0]
	var mu sync.Mutex
	now, err := p.OwnerCertificate(o)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificates = certificateFunc(func(context.Context, fds.OwnerKey) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		current := now.TLS
		return &current, nil
	})
	client := open(t, cfg)
	owner := signIn(t, client, p, o)[0]
	var box inbox
	runClient(t, client, box.handle)
	subscribed(t, p, o)
	e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
	e.publish(2)
	e.arrive(&box)
	asked, connects := p.Requests(fdstest.APIEndpoint), p.Subscriber(o).Connects

	next, err := p.OwnerCertificate(o)
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	now = next
	mu.Unlock()
	owner.Wake() // the source has another one
	eventually(t, "connected with the next certificate", func() bool {
		return p.Subscriber(o).Connects > connects && owner.Connection().Phase == push.Connected
	})
	e.publish(2)
	e.arrive(&box)
	if n := p.Requests(fdstest.APIEndpoint) - asked; n != 0 || len(gaps.all(fdsclient.GapOpened)) != 0 || len(box.from(delivery.FromPush)) != 4 {
		t.Errorf("%d requests, gaps %+v, %d messages", n, gaps.all(fdsclient.GapOpened), len(box.from(delivery.FromPush)))
	}
}

func TestTheLogIsAlarmedOnlyWhereTheBrokerHadNotKeptTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		outage func(t *testing.T, p *fdstest.Provider, o fdstest.Owner)
		says   string
		alarms int
	}{
		"kept": {func(t *testing.T, p *fdstest.Provider, o fdstest.Owner) { inject(t, p, fdstest.DropConnections(o)) }, "what came meanwhile is being fetched too, to be sure", 0},
		"lost": {func(t *testing.T, p *fdstest.Provider, o fdstest.Owner) {
			inject(t, p, fdstest.LoseSessions(o))
			inject(t, p, fdstest.DropConnections(o))
		}, "messages may have been lost", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				cfg := configure(t, p)
				cfg.Provider.Dialect = boxDialect
				log, gaps := &lines{}, &gapLog{}
				cfg.Logger, cfg.Hooks = slog.New(slog.NewTextHandler(log, nil)), []any{gaps}
				client := open(t, cfg)
				signIn(t, client, p)
				o := p.Owners()[0]
				runClient(t, client, (&inbox{}).handle)
				subscribed(t, p, o)
				c.outage(t, p, o)
				eventually(t, "the gap closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) > 0 })
				if n := log.with("level=WARN msg=\"messages may"); n != c.alarms || log.with(c.says) != 1 {
					t.Errorf("the log has %s", log.text.String())
				}
			})
		})
	}
}
