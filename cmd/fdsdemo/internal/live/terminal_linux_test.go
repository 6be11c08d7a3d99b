package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// shows runs a screen on a terminal until the test ends it.
func shows(t *testing.T, program *os.File) (s *Screen, leave func() error) {
	t.Helper()
	s = New(Options{
		Title: "t", Unicode: true, In: program, Out: program, Err: io.Discard,
		Read:   func(m delivery.Message) Facts { return Facts{Device: "D", Summary: string(m.Payload)} },
		Owners: func(context.Context) []Owner { return nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s, func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Minute):
			t.Error("the view does not end")
			return nil
		}
	}
}

func TestMessagesThatAreTakenAreSeen(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreAnyFunction("charm.land/bubbletea/v2.Every.func1"), goleak.IgnoreAnyFunction("charm.land/bubbletea/v2.Tick.func1")) // which end in a second
	person, program := realtest.PTY(t, 200)
	s, leave := shows(t, program)
	last := []byte("zzzzzzzzzz") // of which nothing is on the screen before: only what changes is written
	seen, read := make(chan struct{}), make(chan struct{})
	go func() { // a person who reads
		defer close(read)
		var all []byte
		for part := make([]byte, 4096); ; {
			n, err := person.Read(part)
			if err != nil {
				return
			}
			before := bytes.Contains(all, last)
			if all = append(all, part[:n]...); !before && bytes.Contains(all, last) {
				close(seen)
			}
		}
	}()
	for i := range 1000 {
		payload := fmt.Appendf(nil, "%d", i)
		if i == 999 {
			payload = last
		}
		if err := s.Handle(t.Context(), delivery.Message{Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-seen:
	case <-time.After(time.Minute):
		t.Error("the last one is not seen")
	}
	if err := leave(); err != nil {
		t.Errorf("%v", err)
	}
	if err := s.Handle(t.Context(), delivery.Message{}); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
	program.Close()
	<-read
}

func TestATerminalThatTakesNothingHoldsMessagesUpAndEndsNobody(t *testing.T) {
	person, program := realtest.PTY(t, 200)
	s, leave := shows(t, program)
	held := make(chan struct{})
	go func() {
		defer close(held)
		for i := 0; ; i++ { // each draws another screen, until the terminal is full
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			err := s.Handle(ctx, delivery.Message{Payload: bytes.Repeat([]byte{byte('a' + i%26)}, 150)})
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				return
			}
			if err != nil {
				t.Errorf("%v", err)
				return
			}
		}
	}()
	select {
	case <-held:
	case <-time.After(time.Minute):
		t.Error("messages are taken though nobody can see them")
	}
	if err := leave(); err != nil {
		t.Errorf("%v", err)
	}
	if err := s.Handle(t.Context(), delivery.Message{}); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
	person.Close() // which lets go of what waits for it
}

func TestATerminalThatIsGoneEndsTheView(t *testing.T) {
	person, program := realtest.PTY(t, 200)
	s, leave := shows(t, program)
	go func() { _, _ = io.Copy(io.Discard, person) }()
	if err := s.Handle(t.Context(), delivery.Message{Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	person.Close()
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		t.Error("the view goes on")
	}
	if err := leave(); err == nil {
		t.Error("it is no error")
	}
}
