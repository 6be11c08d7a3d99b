// Package live shows owners, their devices, events and messages on the whole of a terminal, as
// they come. It knows no provider and no command line: what a message says, how the owners fare
// and which devices they have it is told by functions.
//
// All that it keeps is bounded: see data.go. A screen that is not read holds messages up, which
// then stay with whoever sends them.
package live

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// ErrEnded is what Handle returns of a message that the view did not take before it ended.
var ErrEnded = errors.New("the view has ended")

// Options say what a Screen shows. All texts of what the functions return are safe to print.
type Options struct {
	Title   string // of the program, at the top
	Unicode bool   // what it draws; without, ASCII
	Only    string // by what messages are chosen, on one line; "": all are shown

	// Read says what a message says. It is called by Handle.
	Read func(delivery.Message) Facts
	// Owners says how the owners fare. It is called every second, by one goroutine.
	Owners func(context.Context) []Owner
	// Devices reads an owner's devices. It is called for one owner at a time.
	Devices func(context.Context, fds.OwnerKey) ([]Device, error)

	In, Out *os.File
	Err     io.Writer // where Write goes while nothing is shown
}

const (
	queued     = 64  // messages, and notices, that wait for the view
	batch      = 256 // messages that are taken at once
	ownerEvery = time.Second
	leaving    = 2 * time.Second // a terminal that takes nothing is left behind after
)

// Screen is a view on a terminal. Its Run is called once.
type Screen struct {
	options Options
	queue   chan handed
	notices chan notice
	shown   chan struct{} // closed when Run begins
	ended   chan struct{} // closed when it ends
}

// handed is a message on its way into the view.
type handed struct {
	entry *entry
	taken chan struct{} // closed when it is in there
}

// New returns a Screen that shows nothing yet.
func New(o Options) *Screen {
	return &Screen{
		options: o, queue: make(chan handed, queued), notices: make(chan notice, queued),
		shown: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Handle is a delivery.Handler. It returns nil once the view holds the message.
func (s *Screen) Handle(ctx context.Context, m delivery.Message) error {
	h := handed{entry: entryOf(m, s.options.Read(m)), taken: make(chan struct{})}
	select {
	case s.queue <- h:
	case <-s.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-h.taken:
		return nil
	case <-s.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Write shows lines for the person at the terminal, below the view while it is there. It does not
// wait for the terminal: of many lines at once some are left out.
func (s *Screen) Write(text []byte) (int, error) {
	select {
	case <-s.shown:
	default:
		return s.options.Err.Write(text)
	}
	select {
	case <-s.ended:
		return s.options.Err.Write(text)
	default:
	}
	for _, n := range noticesOf(string(text), time.Now()) {
		select {
		case s.notices <- n:
		default:
		}
	}
	return len(text), nil
}

// Run shows the view until the person leaves it or ctx ends; both are no error. It leaves the
// terminal as it was. A terminal that is lost is an error.
func (s *Screen) Run(ctx context.Context) error {
	before, err := term.GetState(int(s.options.In.Fd()))
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	showing, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	out := &watchedFile{File: s.options.Out, failed: make(chan error, 1)}
	program := tea.NewProgram(newModel(running, s.options), tea.WithContext(showing), tea.WithInput(s.options.In), tea.WithOutput(out), tea.WithoutSignalHandler())

	close(s.shown)
	var working sync.WaitGroup
	working.Go(func() { s.feed(running, program) })
	working.Go(func() { s.ask(running, program) })
	result := make(chan error, 1)
	go func() {
		_, err := program.Run()
		result <- err
	}()
	select {
	case err = <-result:
	case err = <-out.failed:
	case <-ctx.Done():
	}
	if err == nil && ctx.Err() != nil || len(out.failed) > 0 {
		go program.Quit()
		select {
		case <-result:
		case <-time.After(leaving): // it waits for a terminal that takes nothing
			_ = term.Restore(int(s.options.In.Fd()), before)
		}
	}
	stop()
	giveUp()
	close(s.ended)
	working.Wait()
	return err
}

// feed hands what waits over to the program, many messages at once where there are many.
func (s *Screen) feed(ctx context.Context, program *tea.Program) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-s.notices:
			program.Send(n)
		case h := <-s.queue:
			list := []handed{h}
			for more := true; more && len(list) < batch; {
				select {
				case h := <-s.queue:
					list = append(list, h)
				default:
					more = false
				}
			}
			program.Send(messages(list))
		}
	}
}

// ask asks how the owners fare, every now and then.
func (s *Screen) ask(ctx context.Context, program *tea.Program) {
	ticker := time.NewTicker(ownerEvery)
	defer ticker.Stop()
	for {
		program.Send(owners(s.options.Owners(ctx)))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// watchedFile is a terminal that tells when it cannot be written to: it is lost.
type watchedFile struct {
	*os.File
	failed chan error
}

func (f *watchedFile) Write(data []byte) (int, error) {
	n, err := f.File.Write(data)
	if err != nil {
		select {
		case f.failed <- err:
		default:
		}
	}
	return n, err
}
