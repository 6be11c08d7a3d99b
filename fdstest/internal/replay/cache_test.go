package replay

import (
	"strconv"
	"testing"
	"time"
)

func TestAnIdentifierServesOnceForItsUserAndWindow(t *testing.T) {
	c, now := New(time.Minute), time.Now()
	for i, use := range []struct {
		user, id string
		after    time.Duration
		want     error
	}{
		{"a", "bc", 0, nil},
		{"a", "bc", 0, ErrUsed},
		{"ab", "c", 0, nil},
		{"a", "bc", 59 * time.Second, ErrUsed},
		{"a", "x", 61 * time.Second, nil},
		{"a", "bc", 61 * time.Second, ErrUsed}, // of the generation before
		{"a", "bc", 4 * time.Minute, nil},
		{"a", "x", 4 * time.Minute, nil},
	} {
		if err := c.Use(use.user, use.id, now.Add(use.after)); err != use.want {
			t.Errorf("use %d: %v, want %v", i, err, use.want)
		}
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	c, now := New(time.Minute), time.Now()
	for i := range maxEntries {
		if err := c.Use("a", strconv.Itoa(i), now); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := c.Use("a", "one more", now); err != ErrFull {
		t.Errorf("%v", err)
	}
	if err := c.Use("a", "one more", now.Add(time.Minute)); err != nil {
		t.Errorf("a new window: %v", err)
	}
}
