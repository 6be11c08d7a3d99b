package fdsclient_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// uncertain are the ways in which nothing tells an item of B from one of A.
func uncertain() []certainty {
	return slices.DeleteFunc(slices.Clone(certainties), func(c certainty) bool { return !c.unlisted && c.nobody != 2*perList })
}

// nothing fails where something is read for an owner that could be another's.
func (s *scene) nothing(what string, o *fdsclient.Owner) {
	s.t.Helper()
	for way, l := range lists(s.t.Context(), o.Pull()) {
		if len(l.raw) > 0 || l.nobody == 0 && !errors.Is(l.err, fds.ErrOwner) {
			s.t.Errorf("%s: %s: %d items, %d of nobody, %v", what, way, len(l.raw), l.nobody, l.err)
		}
	}
}

// isOf checks whose the grant of an owner is.
func (s *scene) isOf(what string, o *fdsclient.Owner, owner, other fdstest.Owner) {
	s.t.Helper()
	info, err := o.Grant(s.t.Context())
	if err != nil || !slices.Equal(info.Owners, []fds.SubscriptionID{owner.SubscriptionID}) || !slices.Equal(info.Others, []fds.SubscriptionID{other.SubscriptionID}) {
		s.t.Errorf("%s: the grant is that of %v and %v, %v", what, info.Owners, info.Others, err)
	}
	if (info.Untold != nil) != (s.cfg.Provider.Dialect.SubscriptionMember == "") {
		s.t.Errorf("%s: untold: %v", what, info.Untold)
	}
}

// TestAttackWhoSignedOutOfAJointGrantIsNotReadUnderAnother: the token reads its data still,
// in this process and after a restart, and after renewals.
func TestAttackWhoSignedOutOfAJointGrantIsNotReadUnderAnother(t *testing.T) {
	for _, c := range uncertain() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := stage(t, c, func(cfg *fdsclient.Config) {
				folder, err := tokenstore.OpenFolder(ctx, tokenstore.FolderConfig{Path: t.TempDir(), Identity: fds.NewSecret(newIdentity(t))})
				if err != nil {
					t.Fatal(err)
				}
				cfg.Store = folder
			}).furnish()
			s.register(signIn(t, s.client, s.p, s.all[0], s.all[1]))
			a, b := s.of(0), s.of(1)
			api, grant := b.Pull(), b.PullGrant()
			token(t, b)

			var left *fdsclient.SignOutError
			if err := b.SignOut(ctx); !errors.Is(err, fds.ErrGrantShared) || !errors.As(err, &left) {
				t.Fatalf("%v, want an error that says who holds the grant", err)
			}
			if !left.Deleted || !left.SessionEnded || left.Revoked || len(left.HeldBy) != 1 || left.HeldBy[0] != a.Key() || !strings.Contains(left.Error(), s.all[0].SubscriptionID.String()) {
				t.Errorf("%+v", left)
			}
			for name, pulled := range map[string]*pull.Client{"Pull": api, "PullGrant": grant} {
				for way, l := range lists(ctx, pulled) {
					if len(l.raw) > 0 || !errors.Is(l.err, fds.ErrNoOwner) {
						t.Errorf("B, who signed out: %s: %s: %d items, %v", name, way, len(l.raw), l.err)
					}
				}
			}
			s.isOf("at once", a, s.all[0], s.all[1])
			s.nothing("at once", a)

			before := token(t, a).Reveal()
			for _, round := range []string{"after a restart", "after a renewal"} {
				s.client.Close()
				if round == "after a renewal" {
					expire(t, s.cfg.Store)
				}
				s.client, a = restart(t, s.cfg)
				s.nothing(round, a)
				s.isOf(round, a, s.all[0], s.all[1])
			}
			if token(t, a).Reveal() == before {
				t.Error("nothing was renewed")
			}

			signIn(t, s.client, s.p, s.all[1]) // alone, which does not take it out of the grant of before
			s.nothing("with B back", a)
			s.isOf("with B back", a, s.all[0], s.all[1])
			b, err := s.client.Owner(ctx, s.all[1].SubscriptionID)
			if err != nil {
				t.Fatal(err)
			}
			for way, l := range lists(ctx, b.Pull()) {
				if len(l.raw) != perList || slices.ContainsFunc(l.raw, func(item []byte) bool { return whose(item) != 1 }) {
					t.Errorf("B, back alone: %s: %q, %v", way, l.raw, l.err)
				}
			}
			if err := a.SignOut(ctx); err != nil { // the last one revokes
				t.Errorf("the last one: %v", err)
			}
			if n := s.p.RevokeGrants(s.all[0]); n != 0 {
				t.Errorf("the provider still had %d grants of A", n)
			}
		})
	}
}

// TestAttackWhomATokenReadsCountsAndNotWhatIsSaidOfIt: the record of an earlier version,
// out of which an owner signed, does not name it; nor may the answer that a token comes
// with. The token does.
func TestAttackWhomATokenReadsCountsAndNotWhatIsSaidOfIt(t *testing.T) {
	for _, c := range uncertain() {
		if c.opaque {
			continue
		}
		t.Run("an earlier version's record, "+c.name, func(t *testing.T) {
			t.Parallel()
			s := stage(t, c, nil).furnish()
			signIn(t, s.client, s.p, s.all[0], s.all[1])
			s.client.Close()
			record := stored(t, s.cfg.Store)
			record.Subscriptions, record.Others = record.Subscriptions[:1], nil
			if _, err := s.cfg.Store.Save(t.Context(), record); err != nil {
				t.Fatal(err)
			}
			client, o := restart(t, s.cfg)
			one, other := s.all[0], s.all[1]
			if o.Key().SubscriptionID == other.SubscriptionID {
				one, other = other, one
			}
			s.nothing("of before", o)
			s.isOf("of before", o, one, other)
			client.Close()
			expire(t, s.cfg.Store)
			_, o = restart(t, s.cfg)
			s.nothing("renewed", o)
			s.isOf("renewed", o, one, other)
			if others := stored(t, s.cfg.Store).Others; len(others) != 1 {
				t.Errorf("the record has %v", others)
			}
		})
		t.Run("an answer that names one, "+c.name, func(t *testing.T) {
			t.Parallel()
			s := stage(t, c, nil).furnish()
			defer s.p.Inject(fdstest.TokenAnswerMember(s.p.SubscriptionClaim(), s.all[0].Spelling))()
			o := signIn(t, s.client, s.p, s.all[0], s.all[1])[0]
			s.nothing("signed in", o)
			s.isOf("signed in", o, s.all[0], s.all[1])
			s.client.Close()
			expire(t, s.cfg.Store)
			_, o = restart(t, s.cfg)
			s.nothing("renewed", o)
			s.isOf("renewed", o, s.all[0], s.all[1])
		})
	}
}

// TestTheCallersOwnRequestsReadWhatTheGrantReads and nothing once the owner has left it, as
// the documentation of Token, TokenSource and RoundTripper promises.
func TestTheCallersOwnRequestsReadWhatTheGrantReads(t *testing.T) {
	s := stage(t, certainties[0], nil).furnish().signIn()
	ctx := t.Context()
	asked := func(client *http.Client) (string, error) {
		response, err := client.Get(s.p.APIURL() + "/fds/v2/specifications")
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return string(text), err
	}
	clients := func(i int) map[string]*http.Client {
		o, source := s.of(i), s.of(i).TokenSource(ctx)
		return map[string]*http.Client{
			"RoundTripper": {Transport: o.RoundTripper()},
			"TokenSource": {Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				tok, err := source.Token()
				if err != nil {
					return nil, err
				}
				tok.SetAuthHeader(r)
				return (&http.Transport{TLSClientConfig: tlsOf(s.p), DisableKeepAlives: true}).RoundTrip(r)
			})},
			"Token": {Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				tok, err := o.Token(ctx)
				if err != nil {
					return nil, err
				}
				if err := tok.SetHeader(r); err != nil {
					return nil, err
				}
				return (&http.Transport{TLSClientConfig: tlsOf(s.p), DisableKeepAlives: true}).RoundTrip(r)
			})},
		}
	}
	for i, want := range []string{"AB", "AB", "C"} {
		for name, client := range clients(i) {
			text, err := asked(client)
			for j, letter := range []string{"A", "B", "C"} {
				if strings.Contains(text, canaries[j]) != strings.Contains(want, letter) || err != nil {
					t.Errorf("%s of %s: %s is in it: %v; %v", name, canaries[i], letter, strings.Contains(text, canaries[j]), err)
				}
			}
		}
	}
	left := clients(1)
	if err := s.of(1).SignOut(ctx); !errors.Is(err, fds.ErrGrantShared) {
		t.Fatal(err)
	}
	for name, client := range left {
		if text, err := asked(client); !errors.Is(err, fds.ErrNoOwner) {
			t.Errorf("%s of who has left: %q, %v", name, text, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r.Clone(r.Context())) }

// TestAttackNothingOfAnItemIsStored: neither among what a run remembers nor with a grant.
func TestAttackNothingOfAnItemIsStored(t *testing.T) {
	for name, change := range map[string]func(*fdsclient.Config){"push": func(*fdsclient.Config) {}, "poll": polling} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				kept := &keptState{}
				s := stage(t, certainties[0], func(cfg *fdsclient.Config) {
					change(cfg)
					kept.Store = cfg.State
					cfg.State = kept
				}).furnish().signIn()
				stop := runClient(t, s.client, s.box.handle)
				for i, o := range s.all {
					if name == "push" {
						subscribed(t, s.p, o)
					} else {
						s.polls.next(t, o)
					}
					ids := s.publish(i)
					eventually(t, "handed over", func() bool { return s.has(&s.box, ids) == len(ids) })
				}
				if name == "push" {
					lost := s.lose()
					for i := range s.all {
						eventually(t, "fetched", func() bool { return s.has(&s.box, lost[i]) == perList })
					}
				}
				stop()
				if all := kept.String(); all == "" || strings.Contains(all, "canary") || strings.Contains(all, "event-") {
					t.Errorf("stored: %q", all)
				}
			})
		})
	}
}

// keptState is a store that keeps the text of all that was ever saved.
type keptState struct {
	statestore.Store
	text records
}

func (k *keptState) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	_, _ = k.text.Write(data)
	return k.Store.Save(ctx, key, data, revision)
}

func (k *keptState) String() string { return k.text.String() }
