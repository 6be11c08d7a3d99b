package following

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
)

func TestTheGapOfAnEarlierProcessIsSeenUntilItIsClosed(t *testing.T) {
	for name, mode := range map[string]func(*testing.T, func(*config)) *fixture{"pushed": pushing, "polled": polled} {
		synctest.Test(t, func(t *testing.T) {
			down := true
			api := &webAPI{answer: func(fds.OwnerKey, pull.Kind, *http.Request) (int, string) {
				if down {
					return 503, ""
				}
				return 200, "[]"
			}}
			a := mode(t, nil)
			id := fds.NewSubscriptionID()
			key := fds.OwnerKey{Issuer: issuer, SubscriptionID: id}
			a.put(t, key, record{Filters: []string{id.Root().String() + "#"}, Position: time.Now(), Gap: &Gap{From: time.Now(), Since: time.Now(), Reason: "a crash"}})
			f := a.follow(t, a.owner(t, id, api.of(key)), new(handled).handle)
			if name == "polled" {
				f.Poll()
			}
			pass(time.Hour)
			if seen := f.Seen().Gap; seen == nil || seen.Reason != "a crash" {
				t.Errorf("%s: before there is a connection the gap that is seen is %v", name, seen)
			}
			api.change(func() { down = false })
			if name == "pushed" {
				<-outage(t, f)
			}
			pass(time.Hour)
			f.Stop()
			if seen := f.Seen().Gap; seen != nil {
				t.Errorf("%s: it is closed, and seen is %v", name, seen)
			}
		})
	}
}

// savingStore does something before each save.
type savingStore struct {
	statestore.Memory
	before func(data []byte)
}

func (s *savingStore) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	if s.before != nil {
		s.before(data)
	}
	return s.Memory.Save(ctx, key, data, revision)
}

func TestAnOutageWhileTheEndOfAGapIsStoredIsNotClosedWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := false
		api := &webAPI{answer: func(fds.OwnerKey, pull.Kind, *http.Request) (int, string) {
			if down {
				return 503, ""
			}
			return 200, "[]"
		}}
		store := new(savingStore)
		a := pushing(t, func(cfg *config) { cfg.Store = store })
		f := followed(t, a, api, new(handled).handle)
		f.stored.Gap = &Gap{From: time.Now(), Since: time.Now()}
		var again <-chan struct{}
		store.before = func(data []byte) {
			if again == nil && !strings.Contains(string(data), `"gap"`) {
				down = true
				again = f.openGap(nil, push.Subscribed{}, false)
			}
		}
		closed := outage(t, f)
		pass(time.Hour)
		if again == nil || !f.open() {
			t.Fatal("the outage is closed, and was not read for")
		}
		api.change(func() { down = false })
		<-closed
		pass(time.Hour)
		if f.open() {
			t.Error("the gap stays open")
		}
		f.Stop()
	})
}
