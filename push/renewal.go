package push

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

var errNewCertificate = errors.New("push: the client certificate was replaced")

// certificateWatch looks for a new client certificate while a connection is up.
// It costs a timer and no goroutine.
type certificateWatch struct {
	connection *Connection
	session    *session

	mu      sync.Mutex
	due     bool // connect anew, with the new certificate
	timer   *time.Timer
	stopped bool
	cancel  context.CancelFunc // of the look at work, or the last one
	told    string             // the last failure that was logged
}

// watchCertificate begins to look.
func (c *Connection) watchCertificate(s *session) *certificateWatch {
	w := &certificateWatch{connection: c, session: s}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.again()
	return w
}

// again plans the next look. w.mu is held.
func (w *certificateWatch) again() { w.timer = time.AfterFunc(w.pause(), w.look) }

// pause is the time until the next look: about CertificateCheck, less when the
// certificate in use expires soon.
func (w *certificateWatch) pause() time.Duration {
	pause := w.connection.settings.CertificateCheck
	if left := time.Until(w.session.certificate.Leaf.NotAfter); left > 0 {
		pause = min(pause, max(left/4, time.Millisecond))
	}
	return pause/2 + rand.N(pause/2+1)
}

func (w *certificateWatch) look() { w.ask(false) }

// connectAnew looks once more before the connection is given up.
func (w *certificateWatch) connectAnew() { w.ask(true) }

func (w *certificateWatch) ask(planned bool) {
	settings := &w.connection.settings
	ctx, cancel := context.WithTimeout(context.Background(), settings.ConnectTimeout)
	defer cancel()
	w.mu.Lock()
	w.cancel = cancel
	stopped := w.stopped
	w.mu.Unlock()
	if stopped {
		return
	}
	found, err := usableUnlessPanic(ctx, settings)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
	case err != nil:
		if text := err.Error(); text != w.told {
			w.told = text
			w.connection.log(slog.LevelWarn, "push: the next client certificate cannot be used; the connection goes on with the one before", slog.Any("error", err))
		}
		w.again()
	case bytes.Equal(found.Certificate[0], w.session.certificate.Certificate[0]):
		w.told = ""
		w.again()
	case planned:
		w.due = true
		w.connection.nudge()
	default:
		delay := w.pause()
		w.connection.log(slog.LevelInfo, "push: a new client certificate is there; connecting anew", slog.Duration("in", delay))
		w.timer = time.AfterFunc(delay, w.connectAnew)
	}
}

// usableUnlessPanic is for a goroutine of our own: there a panic of the source
// would end the process, though the connection is well.
func usableUnlessPanic(ctx context.Context, s *settings) (found *tls.Certificate, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &CertificateError{Owner: s.Owner, Reason: "its source panicked", Err: fmt.Errorf("%q", cut(fmt.Sprint(p)))}
		}
	}()
	return s.usableCertificate(ctx)
}

// stop ends the looking.
func (w *certificateWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
	if w.cancel != nil {
		w.cancel()
	}
}

// isDue says whether the connection is to be made anew.
func (w *certificateWatch) isDue() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.due
}
