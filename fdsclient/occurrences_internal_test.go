package fdsclient

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatHappensAgainAndAgainIsLoggedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
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
			if got := text.String(); got != want {
				t.Errorf("after %v the log is\n%swant\n%s", time.Now(), got, want)
			}
			text.Reset()
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
