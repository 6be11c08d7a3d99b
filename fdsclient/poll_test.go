package fdsclient_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// pollLog is a hook that counts the reads that came to their end.
type pollLog struct {
	mu    sync.Mutex
	reads map[fds.SubscriptionID]int
}

func (l *pollLog) OnPoll(e fdsclient.PollEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reads == nil {
		l.reads = make(map[fds.SubscriptionID]int)
	}
	if e.Err == nil {
		l.reads[e.Owner.SubscriptionID]++
	}
}

func (l *pollLog) of(o fdstest.Owner) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads[o.SubscriptionID]
}

// more waits for so many more reads of an owner.
func (l *pollLog) more(t *testing.T, o fdstest.Owner, n int) {
	t.Helper()
	n += l.of(o)
	eventually(t, fmt.Sprintf("%d reads of an owner", n), func() bool { return l.of(o) >= n })
}

// polled returns the Config of an application that polls p, with its state in a
// folder.
func polled(t *testing.T, p *fdstest.Provider, d fds.Dialect) (fdsclient.Config, *pollLog) {
	t.Helper()
	cfg, log := configure(t, p), new(pollLog)
	cfg.Provider.BrokerURL, cfg.Provider.Dialect, cfg.Certificates = "", d, nil
	cfg.Poll.Interval, cfg.Hooks = time.Second, []any{log}
	folder, err := statestore.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = folder
	return cfg, log
}

// times says how often the handler had each event of e.
func (e *events) times(b *inbox) map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	times := make(map[string]int)
	for _, id := range e.ids {
		for _, m := range b.messages {
			if strings.Contains(string(m.Payload), `"`+id+`"`) {
				times[id]++
			}
		}
	}
	return times
}

func TestEveryEventIsPolledOnceOverRestarts(t *testing.T) {
	for name, of := range map[string]struct {
		dialect func() (fds.Dialect, *fdstest.TimeRange)
		api     fdstest.WebAPI
	}{
		"names drawn at random":        {randomDialect, fdstest.WebAPI{}},
		"pages, names drawn at random": {randomDialect, fdstest.WebAPI{Paging: fdstest.Paging{LinkHeader: true, Size: 2}}},
		"pages, no name known": {
			func() (fds.Dialect, *fdstest.TimeRange) { return fds.Dialect{}, &fdstest.TimeRange{} },
			fdstest.WebAPI{Paging: fdstest.Paging{LinkHeader: true, Size: 2}},
		},
		"the wrong names": {func() (fds.Dialect, *fdstest.TimeRange) { d, _ := randomDialect(); return d, &fdstest.TimeRange{} }, fdstest.WebAPI{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, span := of.dialect()
				p := start(t, fdstest.Options{TimeRange: span, WebAPI: of.api})
				cfg, log := polled(t, p, d)
				o := p.Owners()[0]
				e := &events{t: t, dialect: d, send: func(item []byte) error { return p.AddEvent(o, item) }}
				e.publish(3) // for nobody
				old := len(e.ids)
				client := open(t, cfg)
				signIn(t, client, p)
				var box inbox
				for round := range 4 {
					if round > 0 {
						client = open(t, cfg)
					}
					stop := runClient(t, client, box.handle)
					if round == 0 {
						log.more(t, o, 1)
						e.ids = nil
					}
					e.publish(3)
					e.arrive(&box)
					e.publish(2)
					stop()
					client.Close()
					e.publish(2)
				}
				runClient(t, open(t, cfg), box.handle)
				e.arrive(&box)
				log.more(t, o, 2)
				for id, n := range e.times(&box) {
					if n != 1 {
						t.Errorf("%s was handed over %d times", id, n)
					}
				}
				if n := len(box.from(delivery.FromPoll)); n != len(e.ids) {
					t.Errorf("%d messages for %d events; the %d from before the first read were for nobody", n, len(e.ids), old)
				}
			})
		})
	}
}

func TestAnOwnerWhoComesIsPolledAndOneWhoGoesIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{TimeRange: &fdstest.TimeRange{From: "from", To: "to"}})
		cfg, log := polled(t, p, boxDialect)
		client := open(t, cfg)
		stays, goes := p.Owners()[0], p.Owners()[1]
		of := func(o fdstest.Owner) *events {
			return &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
		}
		var box inbox
		runClient(t, client, box.handle)
		signIn(t, client, p, stays)
		log.more(t, stays, 1)
		leaver := signIn(t, client, p, goes)[0]
		log.more(t, goes, 1)
		ours, theirs := of(stays), of(goes)
		ours.publish(2)
		theirs.publish(2)
		ours.arrive(&box)
		theirs.arrive(&box)
		for _, m := range box.from(delivery.FromPoll) {
			if mine := strings.Contains(fmt.Sprint(ours.ids), eventID(t, m)); mine != (m.Owner.SubscriptionID == stays.SubscriptionID) {
				t.Errorf("%s was handed over as that of %s", m.Payload, m.Owner.SubscriptionID)
			}
		}
		eventually(t, "the state stored", func() bool {
			state, err := remembered(t, cfg, leaver.Key())
			return err == nil && state.Polled != nil
		})

		if err := leaver.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		reads := log.of(goes)
		if state, err := remembered(t, cfg, leaver.Key()); err != nil || state.Polled != nil || !state.Position.IsZero() {
			t.Errorf("after the sign-out %+v is stored, %v", state, err)
		}
		theirs.publish(1)
		log.more(t, stays, 3)
		if n := log.of(goes); n != reads {
			t.Errorf("%d reads after the sign-out", n-reads)
		}

		signIn(t, client, p, goes)
		log.more(t, goes, 1)
		theirs.publish(2)
		eventually(t, "what came after the second sign-in", func() bool { return len(theirs.times(&box)) == 4 })
		if missing := theirs.missing(&box); len(missing) != 1 || missing[0] != theirs.ids[2] {
			t.Errorf("missing: %q; want only what came while the owner was signed out, %q", missing, theirs.ids[2])
		}
	})
}

func eventID(t *testing.T, m delivery.Message) string {
	t.Helper()
	item, err := m.Item()
	if err != nil {
		t.Fatal(err)
	}
	id, err := fds.As[string](item, "message_id")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAConsumerKilledInTheMiddleOfAPollMissesNothing(t *testing.T) {
	t.Parallel()
	p := start(t, fdstest.Options{TimeRange: &fdstest.TimeRange{From: "from", To: "to"}, WebAPI: fdstest.WebAPI{Paging: fdstest.Paging{LinkHeader: true, Size: 3}}})
	cfg, log := polled(t, p, boxDialect)
	o := p.Owners()[0]
	c := consumer{
		Issuer: p.Issuer(), API: p.APIURL(), ClientID: p.PublicApplication().ID, CA: p.CAPEM(),
		Folder: t.TempDir(), Identity: newIdentity(t), State: t.TempDir(), Dialect: boxDialect, HangAfter: 3,
	}
	var err error
	if cfg.Store, err = tokenstore.OpenFolder(t.Context(), tokenstore.FolderConfig{Path: c.Folder, Identity: fds.NewSecret(c.Identity)}); err != nil {
		t.Fatal(err)
	}
	if cfg.State, err = statestore.OpenFolder(c.State); err != nil {
		t.Fatal(err)
	}
	client := open(t, cfg)
	signIn(t, client, p)
	var box inbox
	stop := runClient(t, client, box.handle)
	log.more(t, o, 1)
	stop()
	client.Close()
	task, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
	const kills = 4
	for range kills {
		e.publish(5)
		handled := killConsumer(t, string(task), delivery.FromPoll, &box)
		if handled != c.HangAfter {
			t.Fatalf("the consumer handled %d messages before it was killed, want %d", handled, c.HangAfter)
		}
	}
	if len(e.missing(&box)) == 0 {
		t.Fatal("nothing is missing after the kills, which proves nothing")
	}
	runClient(t, open(t, cfg), box.handle)
	e.arrive(&box)
	log.more(t, o, 2)
	again := 0
	for _, n := range e.times(&box) {
		again += n - 1
	}
	if again > kills*c.HangAfter {
		t.Errorf("%d events came again after %d kills", again, kills)
	}
}
