package fdsclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

// canaries are in the items of the owners of a scene, in their order: A and B signed in
// together, C alone.
var canaries = []string{"canary-A", "canary-B", "canary-C"}

// certainty is how a provider says whose an item is, or does not.
type certainty struct {
	name    string
	webAPI  fdstest.WebAPI
	opaque  bool // the tokens say nothing themselves
	dialect func(*fds.Dialect)
	fault   func(p *fdstest.Provider) fdstest.Fault

	// of the four items of one list of A and B:

	own      int  // that are certainly theirs
	nobody   int  // that could be anybody's
	unlisted bool // nothing is read at all
}

const perList = 4

func isOdd(item []byte) bool { return bytes.Contains(item, []byte(`"odd"`)) }

var certainties = []certainty{
	{name: "a member", own: perList},
	{name: "a member below the root", webAPI: fdstest.WebAPI{SubscriptionMember: "whose.is.it"}, own: perList},
	{name: "a parameter", webAPI: fdstest.WebAPI{SubscriptionParameter: "owner"}, own: perList},
	{name: "both", webAPI: fdstest.WebAPI{SubscriptionParameter: "owner", SubscriptionMember: "owner"}, own: perList},
	{
		name: "neither", unlisted: true,
		dialect: func(d *fds.Dialect) { d.SubscriptionMember = "" },
	},
	{
		name: "neither, and the tokens say nothing", unlisted: true, opaque: true,
		dialect: func(d *fds.Dialect) { d.SubscriptionMember = "" },
	},
	{
		name: "a member that the provider does not have", nobody: 2 * perList,
		dialect: func(d *fds.Dialect) { d.SubscriptionMember = "generic.owner" },
	},
	{
		name: "a member, all nameless", nobody: 2 * perList,
		fault: func(*fdstest.Provider) fdstest.Fault { return fdstest.NamelessItems(nil) },
	},
	{
		name: "a member, every other nameless", own: perList / 2, nobody: perList,
		fault: func(*fdstest.Provider) fdstest.Fault { return fdstest.NamelessItems(isOdd) },
	},
	{
		name: "a member, every other null", own: perList / 2, nobody: perList,
		fault: func(*fdstest.Provider) fdstest.Fault { return fdstest.ItemSubscription(nil, isOdd) },
	},
	{
		name: "a member, every other a stranger's", own: perList / 2,
		fault: func(p *fdstest.Provider) fdstest.Fault {
			return fdstest.ItemSubscription(fds.NewSubscriptionID().String(), isOdd)
		},
	},
	{
		name: "a member, every other of the third owner's", own: perList / 2,
		fault: func(p *fdstest.Provider) fdstest.Fault {
			return fdstest.ItemSubscription(p.Owners()[2].Spelling, isOdd)
		},
	},
}

// scene is a provider with three owners who have items, and a Client.
type scene struct {
	t      *testing.T
	p      *fdstest.Provider
	all    []fdstest.Owner
	cfg    fdsclient.Config
	client *fdsclient.Client
	owners map[fds.SubscriptionID]*fdsclient.Owner
	box    inbox
	gaps   gapLog
	polls  pollErrors
	seen   *hooks
	log    *records
	serial int
}

// stage makes a scene in which nobody has signed in yet.
func stage(t *testing.T, c certainty, change func(*fdsclient.Config)) *scene {
	t.Helper()
	s := &scene{t: t, owners: make(map[fds.SubscriptionID]*fdsclient.Owner), seen: &hooks{}, log: &records{}}
	s.p = start(t, fdstest.Options{WebAPI: c.webAPI, OpaqueTokens: c.opaque})
	s.all = s.p.Owners()
	s.cfg = configure(t, s.p)
	s.cfg.Provider.Dialect = s.p.Dialect()
	if c.dialect != nil {
		c.dialect(&s.cfg.Provider.Dialect)
	}
	s.cfg.Hooks = []any{&s.gaps, &s.polls, s.seen}
	s.cfg.Rescan = 100 * time.Millisecond
	s.cfg.Gaps.Retry = push.Backoff{Initial: 50 * time.Millisecond, Max: 100 * time.Millisecond}
	s.cfg.Logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if change != nil {
		change(&s.cfg)
	}
	if c.fault != nil {
		t.Cleanup(s.p.Inject(c.fault(s.p)))
	}
	s.client = open(t, s.cfg)
	return s
}

// signIn signs A and B in together, and C alone.
func (s *scene) signIn() *scene {
	s.t.Helper()
	s.register(signIn(s.t, s.client, s.p, s.all[0], s.all[1]))
	s.register(signIn(s.t, s.client, s.p, s.all[2]))
	return s
}

func (s *scene) register(owners []*fdsclient.Owner) {
	for _, o := range owners {
		s.owners[o.Key().SubscriptionID] = o
	}
}

// of returns an owner who has signed in.
func (s *scene) of(i int) *fdsclient.Owner { return s.owners[s.all[i].SubscriptionID] }

// furnish returns each owner items of each kind.
func (s *scene) furnish() *scene {
	s.t.Helper()
	for i := range s.all {
		for n := range perList {
			device := s.item(i, n, fmt.Sprintf(`"device_id":%q`, s.device(i, n)))
			for what, add := range map[string]func(fdstest.Owner, []byte) error{
				"device": s.p.AddDevice, "status": s.p.SetStatus, "statistic": s.p.SetStatistic, "diagnostic": s.p.SetDiagnostic,
			} {
				if what == "device" {
					continue
				} else if err := s.p.AddDevice(s.all[i], device); err != nil {
					s.t.Fatal(err)
				}
				if err := add(s.all[i], device); err != nil {
					s.t.Fatal(what, err)
				}
			}
			if err := s.p.AddSpace(s.all[i], s.item(i, n, fmt.Sprintf(`"space_id":"space-%d-%d"`, i, n))); err != nil {
				s.t.Fatal(err)
			}
		}
		s.publish(i)
	}
	if err := s.p.AddEventSpecification([]byte(`{"code":"E1","generic":{}}`)); err != nil {
		s.t.Fatal(err)
	}
	return s
}

func (s *scene) device(i, n int) string { return fmt.Sprintf("D-%d-%d", i, n) }

func (s *scene) item(i, n int, id string) []byte {
	s.serial++
	return fmt.Appendf(nil, `{%s,"generic":{"device_id":%q,"date_time":%q,"parity":%q,"note":%q,"serial":%d}}`,
		id, s.device(i, n), time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"), []string{"even", "odd"}[n%2], canaries[i], s.serial)
}

// publish has an owner's devices tell an event each, and returns the events' IDs.
func (s *scene) publish(i int) (ids []string) {
	s.t.Helper()
	for n := range perList {
		id := fmt.Sprintf("event-%d-%d", i, s.serial)
		if err := s.p.AddEvent(s.all[i], s.item(i, n, fmt.Sprintf(`"message_id":%q`, id))); err != nil {
			s.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// whose returns which owner's canary an item holds, or -1.
func whose(item []byte) int {
	return slices.IndexFunc(canaries, func(canary string) bool { return bytes.Contains(item, []byte(canary)) })
}

// onlyOwn fails where a handler was given another owner's item.
func (s *scene) onlyOwn(b *inbox) {
	s.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		if i := whose(m.Payload); i < 0 || s.all[i].SubscriptionID != m.Owner.SubscriptionID {
			s.t.Errorf("%s was handed over %s", m.Owner, m.Payload)
		}
	}
}

// has counts how many of some events a handler has had.
func (s *scene) has(b *inbox, ids []string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if slices.ContainsFunc(b.messages, func(m delivery.Message) bool { return bytes.Contains(m.Payload, []byte(`"`+id+`"`)) }) {
			n++
		}
	}
	return n
}

// silent fails where a log or an error says what is in an item.
func (s *scene) silent(texts ...string) {
	s.t.Helper()
	for _, text := range append(texts, s.log.String()) {
		if strings.Contains(text, "canary") {
			s.t.Errorf("it says what is in an item: %.2000s", text[max(0, strings.Index(text, "canary")-1000):])
		}
	}
}

// pollErrors is a hook that keeps how an owner's last read ended.
type pollErrors struct {
	mu   sync.Mutex
	last map[fds.SubscriptionID]fdsclient.PollEvent
	n    map[fds.SubscriptionID]int
}

func (l *pollErrors) OnPoll(e fdsclient.PollEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last, l.n = make(map[fds.SubscriptionID]fdsclient.PollEvent), make(map[fds.SubscriptionID]int)
	}
	l.last[e.Owner.SubscriptionID] = e
	l.n[e.Owner.SubscriptionID]++
}

func (l *pollErrors) of(o fdstest.Owner) (e fdsclient.PollEvent, reads int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last[o.SubscriptionID], l.n[o.SubscriptionID]
}

// next waits for two more reads: the first may have begun before.
func (l *pollErrors) next(t *testing.T, o fdstest.Owner) fdsclient.PollEvent {
	t.Helper()
	_, before := l.of(o)
	eventually(t, "two more reads", func() bool { _, n := l.of(o); return n >= before+2 })
	e, _ := l.of(o)
	return e
}

// list is what a list came to.
type list struct {
	raw    [][]byte
	nobody int   // items that could be anybody's
	err    error // any other
}

func listOf[T any](all iter.Seq2[T, error], raw func(T) []byte) (l list) {
	for item, err := range all {
		var whole *pull.Error
		switch {
		case err == nil:
			l.raw = append(l.raw, raw(item))
		case errors.Is(err, fds.ErrOwner) && !errors.As(err, &whole):
			l.nobody++
		default:
			l.err = err
		}
	}
	return l
}

// lists reads all collections but the event specifications in all ways.
func lists(ctx context.Context, c *pull.Client) map[string]list {
	raw := func(i fds.Item) []byte { return i.Raw() }
	device := func(d fds.Device) []byte { return d.Raw() }
	got := map[string]list{
		"Specifications": listOf(c.Specifications(ctx, pull.Query{}), device),
		"Statuses":       listOf(c.Statuses(ctx, pull.Query{}), device),
		"Statistics":     listOf(c.Statistics(ctx, pull.Query{}), device),
		"Diagnostics":    listOf(c.Diagnostics(ctx, pull.Query{}), device),
		"Spaces":         listOf(c.Spaces(ctx, pull.Query{}), func(s fds.Space) []byte { return s.Raw() }),
		"Events":         listOf(c.Events(ctx, pull.Query{}), func(m fds.Message) []byte { return m.Raw() }),
	}
	for _, kind := range pull.Kinds() {
		if kind != pull.EventSpecifications {
			got["Items "+string(kind)] = listOf(c.Items(ctx, kind, pull.Query{}), raw)
		}
	}
	return got
}

func TestAttackPullHoldsNoOtherOwnersItems(t *testing.T) {
	for _, c := range certainties {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := stage(t, c, nil).furnish().signIn()
			ctx := t.Context()
			for i := range s.all {
				pulled := s.of(i).Pull()
				for way, l := range lists(ctx, pulled) {
					own, nobody, failed := c.own, c.nobody, c.unlisted
					if alone := i == 2; alone {
						own, nobody, failed = perList, 0, false
						if c.fault != nil && c.nobody == 0 { // and every other names somebody else
							own = perList / 2
						}
						if strings.Contains(c.name, "third") {
							own = perList
						}
					}
					if len(l.raw) != own || l.nobody != nobody || (l.err != nil) != failed {
						t.Errorf("%s: %s: %d items, %d of nobody, %v; want %d and %d", canaries[i], way, len(l.raw), l.nobody, l.err, own, nobody)
					}
					if failed && (!errors.Is(l.err, fds.ErrOwner) || !strings.Contains(l.err.Error(), "SubscriptionMember")) {
						t.Errorf("%s: %s: %v, want the setting named", canaries[i], way, l.err)
					}
					for _, item := range l.raw {
						if whose(item) != i {
							t.Errorf("%s: %s holds %s", canaries[i], way, item)
						}
					}
					if l.err != nil {
						s.silent(l.err.Error())
					}
				}
				if specifications, err := pull.Collect(pulled.EventSpecifications(ctx, pull.Query{})); err != nil || len(specifications) == 0 {
					t.Errorf("%s: event specifications, which are nobody's: %d, %v", canaries[i], len(specifications), err)
				}
			}
			s.silent()
		})
	}
}

// TestAttackTagsOfOneOwnerAreNeitherReadNorChangedByAnother: by its ID a tag may be the
// other owner's, whom the token is for as well.
func TestAttackTagsOfOneOwnerAreNeitherReadNorChangedByAnother(t *testing.T) {
	for _, c := range certainties[:5] {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := stage(t, c, nil).furnish().signIn()
			ctx := t.Context()
			tag := map[string]any{"generic": map[string]any{"note": canaries[1]}}
			if member := s.p.Dialect().SubscriptionMember; member == "whose.is.it" {
				tag["whose"] = map[string]any{"is": map[string]any{"it": s.all[1].Spelling}}
			} else if member != "" {
				tag[member] = s.all[1].Spelling
			}
			theirs, err := s.of(1).Pull().CreateTag(ctx, tag)
			if c.unlisted {
				if !errors.Is(err, fds.ErrOwner) {
					t.Errorf("%v, %v", theirs, err)
				}
				theirs, err = s.of(1).PullGrant().CreateTag(ctx, tag)
			}
			if err != nil || theirs.ID == "" {
				t.Fatal(theirs, err)
			}
			mine := s.of(0).Pull()
			if _, err := mine.CreateTag(ctx, tag); s.p.Dialect().SubscriptionMember != "" && !errors.Is(err, fds.ErrOwner) {
				t.Errorf("a tag made for another owner: %v", err)
			}
			if tags, err := pull.Collect(mine.Tags(ctx, pull.Query{})); c.unlisted != errors.Is(err, fds.ErrOwner) || len(tags) != 0 && s.p.Dialect().SubscriptionMember != "" {
				t.Errorf("A's tags: %v, %v", tags, err)
			}
			if got, err := mine.Tag(ctx, theirs.ID); !errors.Is(err, fds.ErrNotFound) && !errors.Is(err, fds.ErrOwner) {
				t.Errorf("B's tag, read for A: %v, %v", got, err)
			}
			if err := mine.SetEntities(ctx, theirs.ID, []string{}); !errors.Is(err, fds.ErrNotFound) && !errors.Is(err, fds.ErrOwner) {
				t.Errorf("B's tag, filled by A: %v", err)
			}
			if err := mine.DeleteTag(ctx, theirs.ID); !errors.Is(err, fds.ErrNotFound) && !errors.Is(err, fds.ErrOwner) {
				t.Errorf("B's tag, deleted by A: %v", err)
			}
			if got, err := s.of(1).PullGrant().Tag(ctx, theirs.ID); err != nil || whose(got.Raw()) != 1 {
				t.Errorf("B's tag is gone: %v, %v", got, err)
			}
		})
	}
}

// TestPullGrantReadsAllOwnersOfTheGrantAndNoOther is what its documentation promises, as
// that of Token, TokenSource and RoundTripper does.
func TestPullGrantReadsAllOwnersOfTheGrantAndNoOther(t *testing.T) {
	for _, c := range certainties {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := stage(t, c, nil).furnish().signIn()
			for i, want := range [][]int{{perList, perList, 0}, {perList, perList, 0}, {0, 0, perList}} {
				for way, l := range lists(t.Context(), s.of(i).PullGrant()) {
					got := make([]int, len(s.all))
					for _, item := range l.raw {
						got[whose(item)]++
					}
					if l.err != nil || l.nobody > 0 || !slices.Equal(got, want) {
						t.Errorf("%s: %s: %v, %d of nobody, %v; want %v", canaries[i], way, got, l.nobody, l.err, want)
					}
				}
				info, err := s.of(i).Grant(t.Context())
				if err != nil || (len(info.Owners) > 1) != (i < 2) || !slices.Contains(info.Owners, s.all[i].SubscriptionID) || len(info.Others) > 0 {
					t.Errorf("%s: the grant is that of %v and %v, %v", canaries[i], info.Owners, info.Others, err)
				}
				if untold := i < 2 && c.unlisted; errors.Is(info.Untold, fds.ErrOwner) != untold || untold && !strings.Contains(info.Untold.Error(), "Provider.Dialect.SubscriptionMember") {
					t.Errorf("%s: untold: %v", canaries[i], info.Untold)
				}
			}
			if warned := strings.Count(s.log.String(), "cannot be told apart"); warned != map[bool]int{true: 1}[c.unlisted] {
				t.Errorf("the sign-ins warned %d times", warned)
			}
		})
	}
}
