package pull_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// TestAttackWhatCollectGathersIsBounded: a few KiB of gzip, in pages that lead on and on,
// would else fill the memory, since every answer is within its bounds.
func TestAttackWhatCollectGathersIsBounded(t *testing.T) {
	for name, item := range map[string]string{"large items": `{"a":"` + strings.Repeat("x", 500<<10) + `"}`, "small items": `{}`} {
		page := zip(t, "["+strings.TrimSuffix(strings.Repeat(item+",", (1<<20)/len(item)), ",")+"]")
		asked := 0
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if asked++; asked > 200 {
				return nil, errors.New("there is no end")
			}
			return reply(r, 200, page, "Content-Encoding", "gzip", "Link", fmt.Sprintf("<?n=%d>; rel=next", asked)), nil
		}))
		before := heap()
		devices, err := inTime(t, func() ([]fds.Device, error) { return pull.Collect(client.Statuses(t.Context(), pull.Query{})) })
		held := heap() - before
		if !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "67108864 bytes") || held > 2*pull.MaxCollectBytes || len(devices) == 0 {
			t.Errorf("%s: %d items and %d MiB are held after %d answers, %v", name, len(devices), held>>20, asked, err)
		}
	}
	// The first error stays the one that is told, and the items before it are given.
	items, err := pull.Collect(func(yield func([]byte, error) bool) {
		for range 2 << 20 {
			if !yield(nil, nil) {
				return
			}
		}
	})
	if len(items) != pull.MaxCollectBytes/64 || !isOnly(err, fds.ErrAnswer) {
		t.Errorf("%d items, %v", len(items), err)
	}
}

// TestAttackAListIsBoundedOverAllItsAnswers: each of its pages and parts may be within
// the bound of an answer.
func TestAttackAListIsBoundedOverAllItsAnswers(t *testing.T) {
	page := "[" + strings.TrimSuffix(strings.Repeat(`{"a":"`+strings.Repeat("x", 1000)+`"},`, 100), ",") + "]"
	asked := 0
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		if asked++; asked > 100 {
			return nil, errors.New("there is no end")
		}
		return reply(r, 200, page, "Link", fmt.Sprintf("<?n=%d>; rel=next", asked)), nil
	}), func(c *pull.Config) { c.MaxListBytes = 1 << 20 })
	got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
	if !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "1048576 bytes") || !strings.Contains(err.Error(), "pull.Settings.MaxListBytes") || len(got)*1000 > 1<<20 || asked != 11 {
		t.Errorf("%d items in %d answers, %v", len(got), asked, err)
	}
	asked = 0
	ids := strings.Split(strings.Repeat(strings.Repeat("x", 1900)+" ", 50), " ")[:50]
	if _, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{IDs: ids})); !isOnly(err, fds.ErrAnswer) || asked != 11 {
		t.Errorf("%d answers, %v", asked, err)
	}
}

// TestAttackAListThatDripsEnds: a page that comes within the time-out, and another, and
// another, would hold its reader for as long as the provider likes.
func TestAttackAListThatDripsEnds(t *testing.T) {
	for name, answer := range map[string]func(r *http.Request, n int) (*http.Response, error){
		"pages": func(r *http.Request, n int) (*http.Response, error) {
			return reply(r, 200, "[{}]", "Link", fmt.Sprintf("<?n=%d>; rel=next", n)), pause(r, 50*time.Second)
		},
		"items": func(r *http.Request, n int) (*http.Response, error) {
			return stream(r, 200, &dripping{r, 5}, "Link", fmt.Sprintf("<?n=%d>; rel=next", n)), nil
		},
		"failures before each answer": func(r *http.Request, n int) (*http.Response, error) {
			if n%2 == 0 {
				return reply(r, 503, "", "Retry-After", "20"), nil
			}
			return reply(r, 200, "[{}]", "Link", fmt.Sprintf("<?n=%d>; rel=next", n)), nil
		},
		"refusals of a token": func(r *http.Request, n int) (*http.Response, error) {
			if n%2 == 0 {
				return reply(r, 401, ""), pause(r, 20*time.Second)
			}
			return reply(r, 200, "[{}]", "Link", fmt.Sprintf("<?n=%d>; rel=next", n)), nil
		},
	} {
		for _, bound := range []time.Duration{0, 2 * time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				client := offline(t, script(func(r *http.Request) (*http.Response, error) {
					asked++
					return answer(r, asked)
				}), func(c *pull.Config) {
					c.RetryFor, c.ListTimeout = 0, bound
					c.Authorizer = &bearer{token: secret, renew: func(*http.Response) (string, bool, error) { return secret, true, nil }}
				})
				if bound == 0 {
					bound = pull.DefaultListTimeout
				}
				ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
				defer cancel()
				began := time.Now()
				_, err := raws(client.Items(ctx, pull.Spaces, pull.Query{}))
				if took := time.Since(began); !isOnly(err, fds.ErrUnavailable) || took > bound || took < bound-time.Minute {
					t.Errorf("%s: ended after %v: %v", name, took, err)
				}
				if name != "failures before each answer" && !strings.Contains(err.Error(), "pull.Settings.ListTimeout") {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
}

// dripping is a list of which an item comes each ten seconds.
type dripping struct {
	request *http.Request
	items   int
}

func (d *dripping) Read(p []byte) (int, error) {
	if err := pause(d.request, 10*time.Second); err != nil {
		return 0, err
	}
	switch d.items--; d.items {
	case 4:
		return copy(p, "[{}"), nil
	case 0:
		return copy(p, "]"), io.EOF
	}
	return copy(p, ",{}"), nil
}

// slowly is an Authorizer that takes its time.
type slowly struct{}

func (slowly) Authorize(ctx context.Context, r *http.Request) error {
	<-time.After(10 * time.Second)
	return nil
}

func (slowly) Challenged(context.Context, *http.Response) (bool, error) { return false, nil }

// TestAttackManyTinyItemsInOnePieceTakeBoundedMemory: one large item makes the room in
// which half a million small ones then come at once.
func TestAttackManyTinyItemsInOnePieceTakeBoundedMemory(t *testing.T) {
	large := `{"a":"` + strings.Repeat("x", 1<<20-100) + `"}`
	text := "[" + large + strings.Repeat(",{}", 2<<20) + "]"
	if held := heldOfBlocked(t, 20, text); held > 5<<20 {
		t.Errorf("%d KiB are held of each list", held>>10)
	}
}

// TestAttackTheMemoryOfListsWhoseLoopsBlockIsBounded measures what doc.go says.
func TestAttackTheMemoryOfListsWhoseLoopsBlockIsBounded(t *testing.T) {
	var text bytes.Buffer
	if err := devices(&text, 50_000, 300); err != nil {
		t.Fatal(err)
	}
	if held := heldOfBlocked(t, 100, text.String()); held > 1200<<10 {
		t.Errorf("%d KiB are held of each list", held>>10)
	}
}

// heldOfBlocked is the memory that one list takes of so many whose loops wait at their
// first item, when their readers have read all that they may.
func heldOfBlocked(t *testing.T, lists int, text string) (held int64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var running sync.WaitGroup
		blocked := make(chan struct{})
		client := offline(t, script(func(r *http.Request) (*http.Response, error) { return reply(r, 200, text), nil }))
		before := heap()
		for range lists {
			running.Go(func() {
				for range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
					<-blocked
					return
				}
			})
		}
		synctest.Wait()
		held = (heap() - before) / int64(lists)
		close(blocked)
		running.Wait()
	})
	t.Logf("%d KiB are held of each list", held>>10)
	return held
}
