package fdsclient_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/webhook"
)

// keyed notes the keys and the kinds of what ends in /<name>, by the way it came.
type keyed struct {
	mu    sync.Mutex
	calls map[string]int // by way, owner and name
	keys  map[string]map[string]bool
	kinds map[string]map[delivery.Kind]bool
}

// take fails on each the first time, where that is asked for.
func (k *keyed) take(twice bool) delivery.Handler {
	return func(_ context.Context, m delivery.Message) error {
		_, name, ours := strings.Cut(string(m.Payload), "name/")
		if !ours {
			return nil
		}
		name, _, _ = strings.Cut(name, `"`)
		key, ok := m.Key()
		if !ok {
			key = "none"
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.calls == nil {
			k.calls, k.keys, k.kinds = map[string]int{}, map[string]map[string]bool{}, map[string]map[delivery.Kind]bool{}
		}
		what := m.Owner.SubscriptionID.String() + " " + name
		if k.keys[what] == nil {
			k.keys[what], k.kinds[what] = map[string]bool{}, map[delivery.Kind]bool{}
		}
		k.keys[what][key], k.kinds[what][m.Kind] = true, true
		way := string(m.Source) + " " + what
		if k.calls[way]++; twice && k.calls[way] == 1 {
			return errNotYet
		}
		return nil
	}
}

func (k *keyed) have(source delivery.Source, times int, owners []fdstest.Owner, names ...string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, o := range owners {
		for _, name := range names {
			if k.calls[string(source)+" "+o.SubscriptionID.String()+" "+name] < times {
				return false
			}
		}
	}
	return true
}

func TestAnItemHasOneKeyWhicheverWayItComes(t *testing.T) {
	t.Parallel()
	p := start(t, fdstest.Options{})
	owners := p.Owners()[:2]
	dialect := p.Dialect()
	dialect.KindMember, dialect.EventKind, dialect.StatusKind, dialect.SequenceMember = "generic.kind", "event", "status", "generic.n"
	client := func(change func(*fdsclient.Config)) *fdsclient.Client {
		cfg := configure(t, p)
		cfg.Provider.Dialect = dialect
		cfg.Push.HandlerBackoff.Initial = 10 * time.Millisecond
		change(&cfg)
		c := open(t, cfg)
		for _, o := range owners {
			signIn(t, c, p, o)
		}
		return c
	}
	var all keyed
	var reads pollLog
	pushed, filled := client(func(*fdsclient.Config) {}), client(func(*fdsclient.Config) {})
	polls := client(func(cfg *fdsclient.Config) {
		cfg.Provider.BrokerURL, cfg.Certificates = "", nil
		cfg.Poll.Interval, cfg.Hooks = time.Second, []any{&reads}
	})
	stopPolls := runClient(t, polls, all.take(false)) // what it has before is for nobody
	for _, o := range owners {
		reads.more(t, o, 1)
	}
	stopPolls()
	stop := runClient(t, filled, all.take(false)) // a subscription of its own, as far as it knows
	for _, o := range owners {
		subscribed(t, p, o)
	}
	stop()
	stop = runClient(t, pushed, all.take(true))
	for _, o := range owners {
		subscribed(t, p, o)
	}
	e := listen(t, pushed, p, webhook.Settings{}, fdstest.Webhook{})
	names := []string{"event", "counted", "dated", "nameless"}
	for _, o := range owners {
		at := func(layout string) string { return time.Now().UTC().Format(layout) }
		item := func(members, generic string) []byte {
			return fmt.Appendf(nil, `{%s, "subscription_id":%q, "generic":{%s}}`, members, o.Spelling, generic)
		}
		for _, status := range [][]byte{
			item(`"device_id":"K1"`, `"kind":"status","n":7,"name":"name/counted"`),
			item(`"device_id":"K2"`, `"kind":"status","date_time":"`+at(time.RFC3339Nano)+`","name":"name/dated"`),
			item(`"device_id":"K3"`, `"kind":"status","name":"name/nameless"`),
		} {
			if err := p.AddDevice(o, status); err != nil {
				t.Fatal(err)
			}
			if err := p.SetStatus(o, status); err != nil {
				t.Fatal(err)
			}
		}
		event := item(`"message_id":"m-1"`, `"kind":"event","device_id":"K1","date_time":"`+at(time.RFC3339Nano)+`","name":"name/event"`)
		if err := p.AddEvent(o, event); err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(t.Context(), o, []string{"elsewhere"}, event, 1, false); err != nil { // once more, where it does not belong
			t.Fatal(err)
		}
	}
	eventually(t, "all is pushed, and again", func() bool {
		return all.have(delivery.FromPush, 2, owners, names...) && all.have(delivery.FromPush, 3, owners, "event")
	})
	eventually(t, "all is delivered", func() bool {
		for _, m := range e.inbox.from(delivery.FromWebhook) {
			_ = all.take(false)(t.Context(), m)
		}
		return all.have(delivery.FromWebhook, 1, owners, names...)
	})
	stop()
	for _, o := range owners {
		inject(t, p, fdstest.LoseSessions(o))
	}
	stop = runClient(t, filled, all.take(true))
	eventually(t, "all is filled in, and again", func() bool { return all.have(delivery.FromBackfill, 2, owners, names...) })
	stop()
	stopPolls = runClient(t, polls, all.take(false))
	eventually(t, "all is polled", func() bool { return all.have(delivery.FromPoll, 1, owners, names...) })
	stopPolls()

	all.mu.Lock()
	defer all.mu.Unlock()
	whose := map[string]string{}
	for what, keys := range all.keys {
		for key := range keys {
			switch before, taken := whose[key]; {
			case len(keys) != 1:
				t.Errorf("%s has the keys %v", what, keys)
			case strings.HasSuffix(what, " nameless") != (key == "none"):
				t.Errorf("%s has the key %s", what, key)
			case taken && key != "none":
				t.Errorf("%s has the key of %s", what, before)
			}
			whose[key] = what
		}
		want := delivery.KindStatus
		if strings.HasSuffix(what, " event") {
			want = delivery.KindEvent
		}
		if kinds := all.kinds[what]; len(kinds) != 1 || !kinds[want] {
			t.Errorf("%s is of the kinds %v", what, kinds)
		}
	}
	if len(all.keys) != len(names)*len(owners) {
		t.Errorf("%d items came", len(all.keys))
	}
}

// Without a word of the dialect an event has its key, and a status is known by its topic alone.
func TestThePushedKindIsThatOfTheTopicWhereTheItemDoesNotSayIt(t *testing.T) {
	t.Parallel()
	p := start(t, fdstest.Options{})
	o := p.Owners()[0]
	cfg := configure(t, p)
	cfg.Provider.Dialect = p.Dialect()
	client := open(t, cfg)
	signIn(t, client, p, o)
	var box inbox
	runClient(t, client, box.handle)
	subscribed(t, p, o)
	status := fmt.Appendf(nil, `{"device_id":"K1","subscription_id":%q,"generic":{}}`, o.Spelling)
	if err := p.AddDevice(o, status); err != nil {
		t.Fatal(err)
	}
	if err := p.SetStatus(o, status); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), o, []string{"elsewhere"}, status, 1, false); err != nil {
		t.Fatal(err)
	}
	if err := p.AddEvent(o, fmt.Appendf(nil, `{"message_id":"m","subscription_id":%q,"generic":{"device_id":"K1"}}`, o.Spelling)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all three", func() bool { return len(box.from(delivery.FromPush)) == 3 })
	for i, want := range []delivery.Kind{delivery.KindStatus, delivery.KindUnknown, delivery.KindEvent} {
		m := box.from(delivery.FromPush)[i]
		if _, has := m.Key(); m.Kind != want || has != (want == delivery.KindEvent) {
			t.Errorf("%s: kind %q, a key: %v", m.Payload, m.Kind, has)
		}
	}
}
