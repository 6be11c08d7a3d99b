package fdsclient

import (
	"bytes"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatHappensAgainAndAgainIsLoggedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text lockedBuffer
		drop := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}
		o := occurrences{log: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: drop}))}
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := text.take(); got != want {
				t.Errorf("after %v the log is\n%swant\n%s", time.Now(), got, want)
			}
		}
		first, second := errors.New("first"), errors.New("second")

		o.note("stray", first)
		expect("msg=stray count=1 total=1 error=first\n") // at once
		for range 1000 {
			o.note("stray", second)
		}
		o.note("other", first)
		expect("msg=other count=1 total=1 error=first\n") // a kind of its own
		time.Sleep(tellEvery)
		expect("msg=stray count=1000 total=1001 error=second\n")
		time.Sleep(10 * tellEvery)
		expect("") // nothing has happened
		o.note("stray", first)
		expect("msg=stray count=1 total=1002 error=first\n")
		o.note("stray", second)
		o.end()
		expect("msg=stray count=1 total=1003 error=second\n")
		o.note("stray", second)
		time.Sleep(10 * tellEvery)
		expect("") // nor does it go on after its end
	})
}

// lockedBuffer is one that a timer's goroutine may write to.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// take returns what was written since it was last asked.
func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.text.Reset()
	return b.text.String()
}
