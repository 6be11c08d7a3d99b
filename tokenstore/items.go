package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/zalando/go-keyring"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/keylock"
)

const defaultKeyringTimeout = 30 * time.Second

// backend is what the store calls of go-keyring.
type backend interface {
	Get(service, user string) (string, error)
	Set(service, user, secret string) error
	Delete(service, user string) error
	// Quiet says why a call about that entry would ask a person for something.
	Quiet(service, user string) error
}

// systemBackend is the operating system's keyring. Nothing else in this module
// touches go-keyring's process-wide provider.
type systemBackend struct{}

func (systemBackend) Get(service, user string) (string, error) {
	if err := reachable(); err != nil {
		return "", err
	}
	text, err := keyring.Get(service, user)
	return text, explained(err)
}

func (systemBackend) Set(service, user, secret string) error {
	if err := reachable(); err != nil {
		return err
	}
	return explained(keyring.Set(service, user, secret))
}

func (systemBackend) Delete(service, user string) error {
	if err := reachable(); err != nil {
		return err
	}
	return explained(keyring.Delete(service, user))
}

func (systemBackend) Quiet(service, user string) error { return quiet(service, user) }

// callGate lets one call at a time through to a backend that knows no time-out.
//
// A call that outlasts its time goes on in its goroutine, since nothing can stop
// it, and keeps the gate. Until it ends all others fail at once: so there is never
// more than one such goroutine.
type callGate struct {
	backend backend
	turn    chan struct{} // one slot: full while a call is under way

	mu      sync.Mutex
	overdue chan struct{} // closed while the call under way has outlasted its time
}

func newCallGate(b backend) *callGate {
	return &callGate{backend: b, turn: make(chan struct{}, 1), overdue: make(chan struct{})}
}

// systemGate is shared by all stores of the process, as go-keyring's provider is.
var systemGate = newCallGate(systemBackend{})

var (
	errTimeout = errors.New("the keyring does not answer")
	errHanging = errors.New("an earlier call of the keyring has not ended yet")
	errNoItem  = errors.New("the keyring has no such entry")
	errLocked  = errors.New("nobody is waited for to unlock it")

	errNoCollection = errors.New("the Secret Service has no keyring yet to keep secrets in")
)

// do runs call and waits for its end, for timeout, or for the end of ctx. The wait
// for a turn counts too.
func (g *callGate) do(ctx context.Context, timeout time.Duration, call func(backend) error) error {
	g.mu.Lock()
	overdue := g.overdue
	g.mu.Unlock()
	select {
	case <-overdue: // also when there is a turn or ctx has ended
		return errHanging
	case <-ctx.Done():
		return keylock.Ended(ctx)
	default:
	}
	wait := time.NewTimer(timeout)
	defer wait.Stop()
	select {
	case g.turn <- struct{}{}:
	case <-overdue:
		return errHanging
	case <-ctx.Done():
		return keylock.Ended(ctx)
	case <-wait.C:
		return errTimeout
	}

	done := make(chan error, 1)
	late := make(chan struct{})
	timer := time.AfterFunc(timeout, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		close(late)
		close(g.overdue)
	})
	go func() {
		err := call(g.backend)
		if !timer.Stop() {
			<-late
			g.mu.Lock()
			g.overdue = make(chan struct{})
			g.mu.Unlock()
		}
		done <- err
		<-g.turn
	}()
	select {
	case err := <-done:
		return err
	case <-late:
		return errTimeout
	case <-ctx.Done():
		return keylock.Ended(ctx)
	}
}

// items is the entries of one service of a keyring.
type items struct {
	gate    *callGate
	service string
	timeout time.Duration // of one call
}

func newItems(gate *callGate, service string, timeout time.Duration) items {
	if gate == nil {
		gate = systemGate
	}
	if timeout == 0 {
		timeout = defaultKeyringTimeout
	}
	return items{gate, service, timeout}
}

// checkService says what is wrong with a service's name. The bound leaves room for
// the secret in macOS's command line, whose quoting may lengthen the name fivefold.
func checkService(name string) error {
	const most = 128
	switch {
	case len(name) > most:
		return fmt.Errorf("the keyring service's name has %d bytes, the bound is %d", len(name), most)
	case !utf8.ValidString(name), strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("the keyring service's name is not valid UTF-8 without control characters")
	}
	return nil
}

// get returns an entry's secret, or an error that matches errNoItem.
func (i items) get(ctx context.Context, user string) (fds.Secret, error) {
	var text string
	err := i.call(ctx, user, func(b backend) (err error) {
		return retryVanished(func() error {
			text, err = b.Get(i.service, user)
			return err
		})
	})
	if err != nil { // text may still be written to
		return fds.Secret{}, err
	}
	return fds.NewSecret(text), nil
}

// call runs f on the keyring, unless that would ask a person for something while
// nobody is there.
func (i items) call(ctx context.Context, user string, f func(backend) error) error {
	return itemError(i.gate.do(ctx, i.timeout, func(b backend) error {
		if IsUnattended(ctx) {
			if err := retryVanished(func() error { return b.Quiet(i.service, user) }); err != nil {
				return err
			}
		}
		return f(b)
	}))
}

// set writes an entry and reads it back: a keyring's dialogue that its user
// dismisses is not an error for go-keyring.
func (i items) set(ctx context.Context, user string, secret fds.Secret) error {
	err := i.call(ctx, user, func(b backend) error { return b.Set(i.service, user, secret.Reveal()) })
	if err != nil {
		return err
	}
	switch got, err := i.get(ctx, user); {
	case errors.Is(err, errNoItem), err == nil && !got.Equal(secret):
		return errors.New("the keyring did not keep what was written; was its dialogue dismissed?")
	default:
		return err
	}
}

// remove deletes an entry and looks that it is gone. That there was none is no error.
func (i items) remove(ctx context.Context, user string) error {
	if err := i.removeUnchecked(ctx, user); err != nil {
		return err
	}
	switch _, err := i.get(ctx, user); {
	case errors.Is(err, errNoItem):
		return nil
	case err == nil:
		return errors.New("the keyring did not delete the entry; was its dialogue dismissed?")
	default:
		return err
	}
}

// removeUnchecked deletes an entry. That there was none is no error.
func (i items) removeUnchecked(ctx context.Context, user string) error {
	err := i.call(ctx, user, func(b backend) error {
		return retryVanished(func() error { return b.Delete(i.service, user) })
	})
	if errors.Is(err, errNoItem) {
		return nil
	}
	return err
}

// itemPath is how the Secret Service names an entry, not a collection of them.
var itemPath = regexp.MustCompile(`/org/freedesktop/secrets/collection/[^/\s]+/\w+`)

// retryVanished runs call again when it failed over one entry: on D-Bus an entry is
// looked up by name and then read by path, and another process may have removed it
// in between. gnome-keyring words that in several ways, one of them as if the entry
// were locked.
func retryVanished(call func() error) error {
	const most = 5
	for n := 1; ; n++ {
		err := call()
		if err == nil || n == most || !itemPath.MatchString(err.Error()) {
			return err
		}
	}
}

// itemError cuts the backend's text, which comes from outside, and keeps its class.
func itemError(err error) error {
	switch {
	case err == nil, errors.Is(err, errTimeout), errors.Is(err, errHanging), errors.Is(err, errNoBus),
		errors.Is(err, errLocked), errors.Is(err, errNoCollection),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, keyring.ErrNotFound):
		return errNoItem
	}
	return &backendError{err}
}

// backendError is an error of the keyring with its text quoted and cut.
type backendError struct{ err error }

func (e *backendError) Error() string {
	return fmt.Sprintf("the keyring says %s", quote(e.err.Error()))
}
func (e *backendError) Unwrap() error { return e.err }
