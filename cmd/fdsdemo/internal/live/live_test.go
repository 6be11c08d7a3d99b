package live

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
)

func TestAMessageIsNotTakenBeforeTheViewHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Read: func(delivery.Message) Facts { return Facts{} }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		if err := s.Handle(ctx, delivery.Message{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ended := make(chan error)
		for range 2 * queued { // some in the queue, some before it
			go func() { ended <- s.Handle(t.Context(), delivery.Message{}) }()
		}
		synctest.Wait()
		close(s.ended)
		for range 2 * queued {
			if err := <-ended; !errors.Is(err, ErrEnded) {
				t.Errorf("%v", err)
			}
		}
	})
}

func TestWhatIsToldGoesElsewhereWithoutAView(t *testing.T) {
	var out bytes.Buffer
	s := New(Options{Err: &out})
	tell := func(text string) {
		t.Helper()
		if _, err := s.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	tell("before\n")
	close(s.shown)
	for range 10 * queued { // nobody takes them
		tell("fdsdemo: warning: meanwhile\n")
	}
	if n := <-s.notices; n.text != "warning: meanwhile" || n.mood != Soon {
		t.Errorf("%v", n)
	}
	close(s.ended)
	tell("after\n")
	if out.String() != "before\nafter\n" {
		t.Errorf("%q", out.String())
	}
}

func TestWithoutATerminalThereIsNoView(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := New(Options{In: file, Out: file}).Run(t.Context()); err == nil {
		t.Error("it ran")
	}
}
