package tokenstore

import (
	"errors"
	"os"
	"testing"
)

func TestASaveAfterAReservationTakesItsRoom(t *testing.T) {
	f := openFolder(t, FolderConfig{Path: t.TempDir(), Identity: NewIdentity(t)})
	g := crashGrant(1, "old", 10)
	g.Renewal.By = "here/1"
	var err error
	if g.Revision, err = f.Reserve(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if stored, err := f.Load(t.Context(), g.Key); err != nil || !stored.Equal(g) || stored.Revision != g.Revision {
		t.Fatalf("Load after Reserve gives %+v, %v", stored, err)
	}
	reserved, err := os.Stat(f.room(g.Key))
	if err != nil || reserved.Size() < leastRoom {
		t.Fatalf("reserved is %v, %v", reserved, err)
	}
	renewed := crashGrant(1, "new", 3000)
	renewed.Revision = g.Revision
	if renewed.Revision, err = f.Save(t.Context(), renewed); err != nil {
		t.Fatal(err)
	}
	if stored, err := f.Load(t.Context(), g.Key); err != nil || !stored.Equal(renewed) || stored.Revision != renewed.Revision {
		t.Fatalf("Load after Save gives %+v, %v", stored, err)
	}
	now, err := os.Stat(f.file(g.Key))
	if err != nil || !os.SameFile(reserved, now) {
		t.Errorf("the saved record is not in the room that was reserved for it (%v)", err)
	}
	if _, err := os.Stat(f.room(g.Key)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reservation is still there: %v", err)
	}
	if _, err := f.Save(t.Context(), g); !errors.Is(err, ErrConflict) {
		t.Errorf("a Save of what was renewed since gives %v", err)
	}
}
