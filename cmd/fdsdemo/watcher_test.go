package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

func TestWatchTellsWhichOwnerWasSignedOutElsewhere(t *testing.T) {
	var lines strings.Builder
	ctx, end := context.WithCancelCause(t.Context())
	w := &watcher{end: end, tell: func(string, ...any) {}, log: slog.New(slog.NewTextHandler(&lines, nil)), owners: make(map[fds.OwnerKey]condition)}
	gone := fds.OwnerKey{Issuer: "https://a.example", SubscriptionID: fds.NewSubscriptionID()}
	stays := fds.OwnerKey{Issuer: "https://a.example", SubscriptionID: fds.NewSubscriptionID()}
	w.begin([]fds.OwnerKey{gone, stays}, false)
	defer w.stop()
	for _, key := range []fds.OwnerKey{gone, stays} {
		w.OnConnection(key, push.State{Owner: key, Phase: push.Connected, Since: time.Now()})
	}
	w.OnConnection(gone, push.State{Owner: gone, Phase: push.Stopped, Err: fmt.Errorf("%w: another process signed it out", fds.ErrNoOwner)})
	if got := lines.String(); strings.Count(got, "watched no more") != 1 || !strings.Contains(got, gone.SubscriptionID.String()) || ctx.Err() != nil {
		t.Errorf("%q, %v", got, context.Cause(ctx))
	}
}

func TestAWatchWaitsForWhatPasses(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		waits bool
	}{
		"a broker that starts": {&net.OpError{Op: "remote error", Err: errors.New("tls: internal error")}, true},
		"a full disk":          {errors.New("push: save the subscribed filters: no space left on device"), true},
		"another authority":    {x509.UnknownAuthorityError{}, false},
		"no TLS":               {tls.RecordHeaderError{}, false},
	} {
		ctx, end := context.WithCancelCause(t.Context())
		w := &watcher{end: end, tell: func(string, ...any) {}, log: slog.New(slog.DiscardHandler), owners: make(map[fds.OwnerKey]condition)}
		key := fds.OwnerKey{Issuer: "https://auth.example.com", SubscriptionID: fds.NewSubscriptionID()}
		w.begin([]fds.OwnerKey{key}, false)
		w.OnConnection(key, push.State{Owner: key, Phase: push.BackingOff, RetryAt: time.Now().Add(time.Second), Err: fmt.Errorf("push: connect: %w", c.err)})
		if waits := ctx.Err() == nil; waits != c.waits {
			t.Errorf("%s: waits %v", name, waits)
		}
		w.stop()
	}
}
