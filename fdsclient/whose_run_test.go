package fdsclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// lose has an outage lose what is published meanwhile, and returns the events of each owner.
func (s *scene) lose() (lost [][]string) {
	s.t.Helper()
	off := s.p.Inject(fdstest.RefuseConnections(s.all...))
	s.p.Inject(fdstest.LoseSessions(s.all...))
	for i := range s.all {
		o := s.all[i]
		eventually(s.t, "disconnected", func() bool { return !s.p.Subscriber(o).Connected })
		lost = append(lost, s.publish(i))
	}
	off()
	return lost
}

// wanted returns how many of four events of an owner are certainly its own.
func (c *certainty) wanted(i int) int {
	switch {
	case i < 2:
		return c.own
	case strings.Contains(c.name, "a stranger"):
		return perList / 2
	}
	return perList
}

// fails reports whether something of an owner's list could be anybody's.
func (c *certainty) fails(i int) bool { return i < 2 && (c.nobody > 0 || c.unlisted) }

// TestAttackABackfillHandsOverNoOtherOwnersItems: nor does a gap close that could not be
// filled with certainty, nor hold up the live messages of its owner.
func TestAttackABackfillHandsOverNoOtherOwnersItems(t *testing.T) {
	for _, c := range certainties {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := stage(t, c, nil).furnish().signIn()
				runClient(t, s.client, s.box.handle)
				for _, o := range s.all {
					subscribed(t, s.p, o)
				}
				lost := s.lose()
				for i, o := range s.all {
					subscribed(t, s.p, o)
					of := func(change fdsclient.GapChange) (events []fdsclient.GapEvent) {
						for _, e := range s.gaps.all(change) {
							if e.Owner.SubscriptionID == o.SubscriptionID {
								events = append(events, e)
							}
						}
						return events
					}
					if c.fails(i) {
						eventually(t, "the gap fails", func() bool { return len(of(fdsclient.GapFailing)) > 1 })
						e := of(fdsclient.GapFailing)[0]
						if !errors.Is(e.Err, fds.ErrOwner) || !strings.Contains(e.Err.Error(), "Dialect.SubscriptionMember") || len(of(fdsclient.GapClosed)) > 0 {
							t.Errorf("%s: the gap fails with %v, %d closed", canaries[i], e.Err, len(of(fdsclient.GapClosed)))
						}
						s.silent(e.Err.Error())
						if gap := s.of(i).Condition().Gap; gap == nil {
							t.Errorf("%s: no gap is to be seen", canaries[i])
						}
					} else {
						eventually(t, "the gap closed", func() bool { return len(of(fdsclient.GapClosed)) > 0 })
						if gap := s.of(i).Condition().Gap; gap != nil {
							t.Errorf("%s: the gap is %+v", canaries[i], gap)
						}
					}
					if got := s.has(&s.box, lost[i]); got != c.wanted(i) {
						t.Errorf("%s: %d of its events were handed over, want %d", canaries[i], got, c.wanted(i))
					}
					live := s.publish(i)
					want := perList
					if strings.Contains(c.name, "every other a stranger") || strings.Contains(c.name, "third") && i < 2 {
						want /= 2 // which the payload says is another's, on whatever topic it comes
					}
					eventually(t, "live messages", func() bool { return s.has(&s.box, live) == want })
				}
				s.onlyOwn(&s.box)
				s.silent()
			})
		})
	}
}

func TestAttackPollingHandsOverNoOtherOwnersItems(t *testing.T) {
	for _, c := range certainties {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := stage(t, c, polling).furnish().signIn()
				runClient(t, s.client, s.box.handle)
				for i, o := range s.all {
					e := s.polls.next(t, o)
					if c.fails(i) != errors.Is(e.Err, fds.ErrOwner) || !c.fails(i) && e.Err != nil {
						t.Errorf("%s: a read ends with %v", canaries[i], e.Err)
					}
					if c.fails(i) {
						s.silent(e.Err.Error())
					}
					if !s.of(i).Condition().Polled {
						t.Errorf("%s is not polled", canaries[i])
					}
				}
				for i, o := range s.all {
					ids := s.publish(i)
					s.polls.next(t, o)
					if got := s.has(&s.box, ids); got != c.wanted(i) {
						t.Errorf("%s: %d of its events were handed over, want %d", canaries[i], got, c.wanted(i))
					}
				}
				s.onlyOwn(&s.box)
				s.silent()
			})
		})
	}
}

// polling has owners polled every second.
func polling(cfg *fdsclient.Config) {
	cfg.Provider.BrokerURL, cfg.Certificates = "", nil
	cfg.Poll.Interval = time.Second
}

// TestAttackABrokerThatMixesOwnersUpHandsNothingOver: by the topic, or by what a message
// on the right one says of itself.
func TestAttackABrokerThatMixesOwnersUpHandsNothingOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		discarded := &discards{}
		s := stage(t, certainties[0], func(cfg *fdsclient.Config) { cfg.Hooks = append(cfg.Hooks, discarded) }).signIn()
		runClient(t, s.client, s.box.handle)
		for _, o := range s.all {
			subscribed(t, s.p, o)
		}
		named := func(i, as int) string {
			return fmt.Sprintf(`{"subscription_id":%q,"generic":{"note":%q}}`, strings.ToUpper(s.all[as].Spelling), canaries[i])
		}
		for qos := range byte(2) {
			if err := s.p.PublishRaw(t.Context(), s.all[0], s.all[1].Topic("devices", "status"), []byte(named(1, 1)), qos); err != nil {
				t.Fatal(err)
			}
			if err := s.p.Publish(t.Context(), s.all[0], []string{"devices", "status"}, []byte(named(1, 1)), qos, false); err != nil {
				t.Fatal(err)
			}
			if err := s.p.Publish(t.Context(), s.all[2], []string{"devices", "status"}, []byte(named(0, 0)), qos, false); err != nil {
				t.Fatal(err)
			}
		}
		for i := range s.all {
			publish(t, s.p, s.all[i], named(i, i))
			publish(t, s.p, s.all[i], `{"subscription_id":null,"generic":{"note":"`+canaries[i]+`"}}`)
			publish(t, s.p, s.all[i], canaries[i]+" is no JSON")
			eventually(t, "its own messages", func() bool { return strings.Count(s.box.payloads(s.all[i].SubscriptionID), canaries[i]) == 3 })
		}
		s.onlyOwn(&s.box)
		eventually(t, "all are acknowledged", func() bool {
			return s.p.Subscriber(s.all[0]).Unacknowledged+s.p.Subscriber(s.all[2]).Unacknowledged == 0
		})
		if a, b, c := discarded.of(s.all[0]), discarded.of(s.all[1]), discarded.of(s.all[2]); len(a) != 4 || len(b) != 0 || len(c) != 2 || !errors.Is(c[0], fds.ErrOwner) {
			t.Errorf("discarded: %v, %v, %v", a, b, c)
		}
		if n := strings.Count(s.log.String(), "names another owner"); n != 2 {
			t.Errorf("%d lines tell of it, want one an owner", n)
		}
		s.silent()
	})
}

// TestAttackWhatTheHandlerFailsOnStaysItsOwners: dead letters and what is to be seen of a
// message that fails, from all sources.
func TestAttackWhatTheHandlerFailsOnStaysItsOwners(t *testing.T) {
	for name, change := range map[string]func(*fdsclient.Config){"push": func(*fdsclient.Config) {}, "poll": polling} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var dead inbox
				release := make(chan struct{})
				s := stage(t, certainties[0], func(cfg *fdsclient.Config) {
					change(cfg)
					cfg.Push.MaxAttempts = 2
					cfg.Push.DeadLetter = func(ctx context.Context, m delivery.Message, err error) error {
						<-release
						if !errors.Is(err, errTooHard) {
							t.Errorf("a dead letter has %v", err)
						}
						return dead.handle(ctx, m)
					}
				}).furnish().signIn()
				runClient(t, s.client, func(context.Context, delivery.Message) error { return errTooHard })
				lost := make([][]string, len(s.all))
				if name == "push" {
					for _, o := range s.all {
						subscribed(t, s.p, o)
					}
					lost = s.lose()
				}
				for i, o := range s.all {
					if name == "poll" {
						eventually(t, "polled", func() bool { _, n := s.polls.of(o); return n > 0 || s.of(i).Condition().Failing != nil })
					}
					lost[i] = append(lost[i], s.publish(i)...)
					eventually(t, "a message fails", func() bool { return s.of(i).Condition().Failing != nil })
					f := s.of(i).Condition().Failing
					if f == nil || f.Message.Owner != s.of(i).Key() || whose(f.Message.Payload) != i || !errors.Is(f.Err, errTooHard) {
						t.Errorf("%s fails on %+v", canaries[i], f)
					}
				}
				close(release)
				for i := range s.all {
					eventually(t, "the dead letters", func() bool { return s.has(&dead, lost[i]) == len(lost[i]) })
				}
				s.onlyOwn(&dead)
				s.silent()
			})
		})
	}
}

var errTooHard = errors.New("too hard")

// discards is a hook that keeps why messages were not handed over.
type discards struct {
	mu  sync.Mutex
	why map[fds.SubscriptionID][]error
}

func (d *discards) OnDiscarded(owner fds.OwnerKey, reason error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.why == nil {
		d.why = make(map[fds.SubscriptionID][]error)
	}
	d.why[owner.SubscriptionID] = append(d.why[owner.SubscriptionID], reason)
}

func (d *discards) of(o fdstest.Owner) []error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.why[o.SubscriptionID]
}

// TestAttackAParameterThatTheProviderDoesNotKnowReadsNothing: FDS has it refuse the request,
// and nothing else would say whose the items are.
func TestAttackAParameterThatTheProviderDoesNotKnowReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := certainty{dialect: func(d *fds.Dialect) { d.SubscriptionMember, d.SubscriptionParameter = "", "who" }}
		s := stage(t, wrong, nil).furnish().signIn().begun()
		for i := range s.all {
			for way, l := range lists(t.Context(), s.of(i).Pull()) {
				if len(l.raw) > 0 || !errors.Is(l.err, fds.ErrInvalidParameter) {
					t.Errorf("%s: %s: %d items, %v", canaries[i], way, len(l.raw), l.err)
				}
			}
		}
		lost := s.lose()
		for i, o := range s.all {
			eventually(t, "the gap fails", func() bool {
				return slices.ContainsFunc(s.gaps.all(fdsclient.GapFailing), func(e fdsclient.GapEvent) bool { return e.Owner.SubscriptionID == o.SubscriptionID })
			})
			if n := s.has(&s.box, lost[i]); n > 0 || s.of(i).Condition().Gap == nil {
				t.Errorf("%s: %d events were fetched", canaries[i], n)
			}
		}
		s.onlyOwn(&s.box)
	})
}
