package fdsclient_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// statuses sets the status of each device of an owner anew.
func (s *scene) statuses(i int) {
	s.t.Helper()
	for n := range perList {
		if err := s.p.SetStatus(s.all[i], s.item(i, n, fmt.Sprintf(`"device_id":%q`, s.device(i, n)))); err != nil {
			s.t.Fatal(err)
		}
	}
}

// of returns what arrived for an owner from a source.
func (b *inbox) of(id fds.SubscriptionID, source delivery.Source) []delivery.Message {
	return slices.DeleteFunc(b.from(source), func(m delivery.Message) bool { return m.Owner.SubscriptionID != id })
}

// outage has connections lost, during which each owner's devices tell events and statuses.
func (s *scene) outage(sessions bool) (lost [][]string) {
	s.t.Helper()
	off := s.p.Inject(fdstest.RefuseConnections(s.all...))
	if sessions {
		s.p.Inject(fdstest.LoseSessions(s.all...))
	} else {
		s.p.Inject(fdstest.DropConnections(s.all...))
	}
	for i, o := range s.all {
		eventually(s.t, "disconnected", func() bool { return !s.p.Subscriber(o).Connected })
		lost = append(lost, s.publish(i))
		s.statuses(i)
	}
	off()
	return lost
}

// begun runs the Client until all owners are subscribed.
func (s *scene) begun() *scene {
	s.t.Helper()
	runClient(s.t, s.client, s.box.handle)
	for _, o := range s.all {
		subscribed(s.t, s.p, o)
	}
	return s
}

func TestTopicsBoundWhatIsFetchedAndPolled(t *testing.T) {
	of := func(m delivery.Message) string {
		item, err := m.Item()
		if err != nil {
			return err.Error()
		}
		device, _ := fds.As[string](item, "generic", "device_id")
		return string(m.Kind) + " of " + device
	}
	for name, test := range map[string]struct {
		topics []string
		want   func(device string) []string // of owner 0's device
		events int                          // of each owner
	}{
		"events only": {
			[]string{"devices/+/events"},
			func(d string) []string { return []string{"event of " + d} }, perList,
		},
		"one device": {
			[]string{"devices/D-0-1/#"},
			func(d string) []string {
				if d == "D-0-1" {
					return []string{"event of " + d, "status of " + d}
				}
				return nil
			}, 1,
		},
		"one device's statuses, and all events by another filter": {
			[]string{"devices/D-0-1/status", "+/+/events"},
			func(d string) []string {
				if d == "D-0-1" {
					return []string{"event of " + d, "status of " + d}
				}
				return []string{"event of " + d}
			}, perList,
		},
		"nothing that there is": {[]string{"spaces/#"}, func(string) []string { return nil }, 0},
	} {
		for source, change := range map[delivery.Source]func(*fdsclient.Config){delivery.FromBackfill: nil, delivery.FromPoll: polling} {
			t.Run(name+", "+string(source), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := stage(t, certainties[0], func(cfg *fdsclient.Config) {
						if change != nil {
							change(cfg)
						}
						cfg.Push.Topics = test.topics
					}).furnish().signIn()
					var wanted []string
					for n := range perList {
						wanted = append(wanted, test.want(s.device(0, n))...)
					}
					if source == delivery.FromBackfill {
						s.begun().outage(true)
						eventually(t, "the gaps closed", func() bool { return len(s.gaps.all(fdsclient.GapClosed)) == len(s.all) })
					} else {
						runClient(t, s.client, s.box.handle)
						s.polls.next(t, s.all[0])
						s.publish(0)
						s.statuses(0)
						if e := s.polls.next(t, s.all[0]); e.Err != nil {
							t.Error(e.Err)
						}
					}
					var got []string
					for _, m := range s.box.of(s.all[0].SubscriptionID, source) {
						got = append(got, of(m))
					}
					slices.Sort(got)
					slices.Sort(wanted)
					if got = slices.Compact(got); !slices.Equal(got, slices.Compact(wanted)) {
						t.Errorf("%s: %q, want %q", source, got, wanted)
					}
					for _, m := range s.box.from(delivery.FromPush) {
						if !slices.Contains(wanted, of(m)) && m.Owner.SubscriptionID == s.all[0].SubscriptionID {
							t.Errorf("pushed: %s on %s", of(m), m.Topic)
						}
					}
					s.onlyOwn(&s.box)
				})
			})
		}
	}
}

// TestWithoutTopicsOfItemsNothingIsFetchedThatMayNotBeWanted: the gap stays open, and says
// which setting is missing.
func TestWithoutTopicsOfItemsNothingIsFetchedThatMayNotBeWanted(t *testing.T) {
	for name, test := range map[string]struct {
		events, statuses string // the templates
		fetched          bool   // the events
		setting          string
	}{
		"neither":       {"", "", false, "Provider.Dialect.EventTopic"},
		"events only":   {"devices/{generic.device_id}/events", "", true, "Provider.Dialect.StatusTopic"},
		"statuses only": {"", "devices/{device_id}/status", false, "Provider.Dialect.EventTopic"},
	} {
		for source, change := range map[delivery.Source]func(*fdsclient.Config){delivery.FromBackfill: nil, delivery.FromPoll: polling} {
			t.Run(name+", "+string(source), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := stage(t, certainties[0], func(cfg *fdsclient.Config) {
						if change != nil {
							change(cfg)
						}
						cfg.Push.Topics = []string{"devices/+/events"}
						cfg.Provider.Dialect.EventTopic, cfg.Provider.Dialect.StatusTopic = test.events, test.statuses
					}).furnish().signIn()
					if !strings.Contains(s.log.String(), "Provider.Dialect.EventTopic and StatusTopic") {
						t.Error("New says nothing of it")
					}
					check := func(err error, lost []string) {
						t.Helper()
						if !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), test.setting) {
							t.Errorf("it fails with %v", err)
						}
						want := 0
						if test.fetched {
							want = len(lost)
						}
						if got := s.has(&s.box, lost); got != want {
							t.Errorf("%d of the events were handed over, want %d", got, want)
						}
					}
					if source == delivery.FromPoll {
						runClient(t, s.client, s.box.handle)
						s.polls.next(t, s.all[0])
						ids := s.publish(0)
						check(s.polls.next(t, s.all[0]).Err, ids)
					} else {
						lost := s.begun().outage(true)
						for i, o := range s.all {
							eventually(t, "the gap fails", func() bool {
								return slices.ContainsFunc(s.gaps.all(fdsclient.GapFailing), func(e fdsclient.GapEvent) bool { return e.Owner.SubscriptionID == o.SubscriptionID })
							})
							live := s.publish(i)
							eventually(t, "live messages go on", func() bool { return s.has(&s.box, live) == perList })
							if s.of(i).Condition().Gap == nil {
								t.Error("the gap is closed")
							}
							check(s.gaps.all(fdsclient.GapFailing)[0].Err, lost[i])
						}
						if len(s.gaps.all(fdsclient.GapClosed)) > 0 {
							t.Error("a gap was closed")
						}
					}
					s.mustNotHave(delivery.KindStatus)
				})
			})
		}
	}
}

// mustNotHave fails where something of a kind was handed over.
func (s *scene) mustNotHave(kind delivery.Kind) {
	s.t.Helper()
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	for _, m := range s.box.messages {
		if m.Kind == kind || kind == delivery.KindStatus && strings.HasSuffix(m.Topic, "/status") {
			s.t.Errorf("handed over: %s", m)
		}
	}
}

func TestGapsThatAreOffFetchNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, certainties[0], func(cfg *fdsclient.Config) {
			cfg.Gaps.Off = true
			cfg.Push.Topics = []string{"devices/+/events"}
			cfg.Provider.Dialect.EventTopic, cfg.Provider.Dialect.StatusTopic = "", ""
		}).furnish().signIn().begun()
		lost := s.outage(true)
		for i, o := range s.all {
			subscribed(t, s.p, o)
			live := s.publish(i)
			eventually(t, "live messages go on", func() bool { return s.has(&s.box, live) == perList })
			if n := s.has(&s.box, lost[i]); n > 0 || s.of(i).Condition().Gap != nil {
				t.Errorf("%d events were fetched; the gap is %+v", n, s.of(i).Condition().Gap)
			}
		}
		s.gaps.mu.Lock()
		defer s.gaps.mu.Unlock()
		if log := s.log.String(); len(s.gaps.events) > 0 || strings.Contains(log, "list read") || strings.Contains(log, "EventTopic") {
			t.Errorf("%d events of gaps; the log is %s", len(s.gaps.events), log)
		}
	})
}

func TestATrustedSessionIsNoOutageAndALostOneIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, certainties[0], func(cfg *fdsclient.Config) { cfg.Gaps.TrustSession = true }).furnish().signIn().begun()
		kept := s.outage(false)
		for i := range s.all {
			eventually(t, "what the sessions kept", func() bool { return s.has(&s.box, kept[i]) == perList })
		}
		if n := len(s.gaps.all(fdsclient.GapOpened)); n > 0 || strings.Contains(s.log.String(), "list read") {
			t.Errorf("%d gaps, though the sessions were kept", n)
		}
		lost := s.outage(true)
		for i := range s.all {
			eventually(t, "what the sessions lost", func() bool { return s.has(&s.box, lost[i]) == perList })
		}
		eventually(t, "the gaps closed", func() bool { return len(s.gaps.all(fdsclient.GapClosed)) == len(s.all) })
		s.onlyOwn(&s.box)
	})
}
