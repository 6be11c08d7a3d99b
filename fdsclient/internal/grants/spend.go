package grants

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// ProcessName is how a record's notes name this process, for people.
var ProcessName = func() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}()

// spend asks the server with the refresh token of a record, under the grant's lock. The
// server may spend the token and issue the next at once, so the record's place is made
// sure first, with a note of the request; and what the server issued is saved before
// anything else is done with it. From here on nothing ends the work but its own bounds.
func (g *Grant) spend(ctx context.Context, lease tokenstore.Lease, record tokenstore.Grant, rejected fds.Secret, ahead bool) (Landing, error) {
	ctx = context.WithoutCancel(ctx)
	if record.RefreshToken.IsZero() { // an application can always ask again (RFC 6749 section 4.4.3)
		a, err := g.ask(ctx, record, fds.Secret{})
		if err != nil {
			return Landing{}, err
		}
		return g.keep(ctx, record, a, nil)
	}
	for {
		var err error
		if record, err = g.reserve(ctx, record); err != nil {
			return Landing{}, err
		}
		select {
		case <-lease.Done():
			return Landing{}, fmt.Errorf("fdsclient: renewal: %w: the grant's lock was lost before the provider was asked", fds.ErrStoreUnavailable)
		default:
		}
		a, err := g.ask(ctx, record, record.RefreshToken)
		if err == nil || !a.Refresh.IsZero() {
			return g.keep(ctx, record, a, err)
		}
		switch {
		case authserver.LostAnswer(err) && record.Renewal.Sent == 1:
			if err := sleep(ctx, lostRetry); err != nil {
				return Landing{}, err
			}
		case authserver.LostAnswer(err):
			g.note(ctx, record) // and returns the reserved place, of which ten thousand would fill a disk
			return Landing{}, &laterError{err: err, when: record.Renewal.Since.Add(afterLost)}
		case errors.Is(err, fds.ErrSignInRequired):
			return g.refused(ctx, record, err, rejected, ahead)
		default: // it was not processed
			record.Renewal.Sent--
			g.note(ctx, record)
			return Landing{}, err
		}
	}
}

// reserve notes in the record that a request with its refresh token is under way, and
// makes sure that the next save has its place. Where that fails the server is not asked.
func (g *Grant) reserve(ctx context.Context, record tokenstore.Grant) (tokenstore.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, SaveTimeout)
	defer cancel()
	record.Renewal.By, record.Renewal.Since = ProcessName, time.Now().Round(0)
	record.Renewal.Sent++
	revision, err := g.all.Store.Reserve(ctx, record)
	if err != nil {
		g.storeFailed(err)
		return record, fmt.Errorf("fdsclient: renewal: the provider is not asked, since its answer could not be saved: %w", err)
	}
	record.Revision = revision
	return record, nil
}

// note saves what is known of the record's refresh token. When it cannot be saved the
// note of the request stays, which makes the next process more careful than it need be.
func (g *Grant) note(ctx context.Context, record tokenstore.Grant) {
	ctx, cancel := context.WithTimeout(ctx, SaveTimeout)
	defer cancel()
	if record.Renewal.Sent == 0 {
		record.Renewal.By, record.Renewal.Since = "", time.Time{}
	}
	if _, err := g.all.Store.Save(ctx, record); err != nil {
		g.storeFailed(err)
	}
}

// refused judges a refusal for good. It takes two, half a minute apart, to tell "sign in
// again"; one, where an earlier request with the same token may have been processed, whose
// repetition this was.
func (g *Grant) refused(ctx context.Context, record tokenstore.Grant, said error, rejected fds.Secret, ahead bool) (Landing, error) {
	// The last doubt: someone who does not share our lock has renewed it.
	if now, err := g.load(ctx); err == nil && !now.RefreshToken.Equal(record.RefreshToken) {
		if c := g.stillGood(now, rejected, ahead); c != nil {
			return Landing{credential: c}, nil
		}
		return Landing{}, fmt.Errorf("fdsclient: renewal: %w: someone who does not hold the grant's lock renewed it meanwhile", fds.ErrUnavailable)
	}
	r := &record.Renewal
	r.Sent--
	r.Looked = time.Now().Round(0)
	again := !r.Refused.IsZero()
	if !again {
		r.Refused = r.Looked
	}
	r.Lapsed = r.Lapsed || again || r.Sent > 0
	if r.Lapsed && !r.Former.IsZero() && g.all.Replays {
		if a, err := g.ask(ctx, record, r.Former); err == nil || !a.Refresh.IsZero() {
			if a.Refresh.IsZero() {
				a.Refresh = r.Former // which serves on
			}
			return g.keep(ctx, record, a, err)
		}
		r.Former = fds.Secret{} // it was worth one try
	}
	lapsed := r.Lapsed
	g.note(ctx, record)
	if !lapsed {
		return Landing{}, refusedOnce(said, *r)
	}
	return Landing{relook: spread(lapsedRelook)}, said
}
