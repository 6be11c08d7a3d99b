package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func movable(n int) Grant {
	g := Grant{
		Key:           Key{Issuer: "https://auth.example.com", ClientID: "app", GrantID: fmt.Sprint("g", n)},
		Subscriptions: []string{"9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"},
		RefreshToken:  fds.NewSecret(fmt.Sprint("refresh", n)),
		Renewed:       time.Unix(1e9, 0),
	}
	return g
}

func held(t *testing.T, s Store) map[string]Grant {
	t.Helper()
	all := make(map[string]Grant)
	for e, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		g, err := s.Load(t.Context(), e.Key)
		if err != nil {
			t.Fatal(err)
		}
		all[e.GrantID] = g
	}
	return all
}

func TestGrantsMoveFromOneStoreToAnother(t *testing.T) {
	folder, err := OpenFolder(t.Context(), FolderConfig{Path: t.TempDir(), Identity: NewIdentity(t)})
	if err != nil {
		t.Fatal(err)
	}
	from := OpenMemory()
	for n := range 5 {
		if _, err := from.Save(t.Context(), movable(n)); err != nil {
			t.Fatal(err)
		}
	}
	renewed := movable(3) // as after a move that was killed before its delete
	renewed.Renewed, renewed.RefreshToken = time.Unix(2e9, 0), fds.NewSecret("renewed since")
	if _, err := folder.Save(t.Context(), renewed); err != nil {
		t.Fatal(err)
	}
	moved, err := Move(t.Context(), from, folder)
	if moved != 5 || err != nil {
		t.Fatalf("moved %d, %v", moved, err)
	}
	if left := held(t, from); len(left) != 0 {
		t.Errorf("%d grants are left: two copies of one refresh token", len(left))
	}
	there := held(t, folder)
	if len(there) != 5 || !there["g1"].Equal(movable(1)) || !there["g3"].Equal(renewed) {
		t.Errorf("the new store has %v", there)
	}
	if moved, err := Move(t.Context(), from, folder); moved != 0 || err != nil {
		t.Errorf("moving nothing: %d, %v", moved, err)
	}
}

// picky is a store that does not take one grant.
type picky struct {
	Store
	refuse string
}

func (p picky) Save(ctx context.Context, g Grant) (string, error) {
	if g.GrantID == p.refuse {
		return "", errors.New("disk full")
	}
	return p.Store.Save(ctx, g)
}

func TestAGrantThatCannotBeMovedStaysAndHoldsUpNoOther(t *testing.T) {
	from, to := OpenMemory(), OpenMemory()
	for n := range 3 {
		if _, err := from.Save(t.Context(), movable(n)); err != nil {
			t.Fatal(err)
		}
	}
	moved, err := Move(t.Context(), from, picky{to, "g1"})
	if moved != 2 || err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("moved %d, %v", moved, err)
	}
	if left := held(t, from); len(left) != 1 || !left["g1"].Equal(movable(1)) {
		t.Errorf("left behind: %v", left)
	}
}

func TestAGrantWhoseLockIsHeldHoldsUpNoOtherMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := OpenMemory(), OpenMemory()
		for n := range 3 {
			if _, err := from.Save(t.Context(), movable(n)); err != nil {
				t.Fatal(err)
			}
		}
		lease, err := from.Lock(t.Context(), movable(1).Key)
		if err != nil {
			t.Fatal(err)
		}
		moved, err := Move(t.Context(), from, to)
		if moved != 2 || err == nil || !strings.Contains(err.Error(), `"g1"`) || !strings.Contains(err.Error(), "lock is held") {
			t.Errorf("moved %d, %v", moved, err)
		}
		lease.Release()
		if moved, err := Move(t.Context(), from, to); moved != 1 || err != nil {
			t.Errorf("moving again: %d, %v", moved, err)
		}
		// From a store to itself: refused by the same bound, and nothing is lost.
		if moved, err := Move(t.Context(), to, to); moved != 0 || err == nil || len(held(t, to)) != 3 {
			t.Errorf("a store to itself: moved %d, %v", moved, err)
		}
	})
}

func TestTwoMovesAtOnceLoseNothing(t *testing.T) {
	from, to := OpenMemory(), OpenMemory()
	for n := range 50 {
		if _, err := from.Save(t.Context(), movable(n)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := Move(t.Context(), from, to)
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if left, there := held(t, from), held(t, to); len(left) != 0 || len(there) != 50 {
		t.Errorf("%d left, %d moved", len(left), len(there))
	}
}

// cutting is a store whose saves end someone's context.
type cutting struct {
	Store
	cut context.CancelFunc
}

func (c cutting) Save(ctx context.Context, g Grant) (string, error) {
	revision, err := c.Store.Save(ctx, g)
	c.cut()
	return revision, err
}

// heeding is a store that refuses to delete for an ended context.
type heeding struct{ Store }

func (h heeding) Delete(ctx context.Context, key Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.Store.Delete(ctx, key)
}

func TestAMoveThatIsCancelledLeavesNoGrantInBothStores(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	from, to := heeding{OpenMemory()}, cutting{OpenMemory(), cancel}
	for n := range 3 {
		if _, err := from.Save(ctx, movable(n)); err != nil {
			t.Fatal(err)
		}
	}
	moved, err := Move(ctx, from, to)
	if moved != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("moved %d, %v", moved, err)
	}
	if left, there := held(t, from), held(t, to); len(left) != 2 || len(there) != 1 {
		t.Errorf("%d left, %d moved", len(left), len(there))
	}
}
