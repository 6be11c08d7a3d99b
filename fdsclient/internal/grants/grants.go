// Package grants keeps a client's grants: it returns the access token of each, renews it
// ahead of its expiry, stores what the provider issues before anyone sees it, and knows when
// the owners' user must sign in again. Package fdsclient says what is promised of that.
//
// It knows grants by their keys and no owner: who is told what becomes of a grant is said by
// Settings.
package grants

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// ClientCredentials is the type of a grant that has no user, by its name of RFC 7591
// section 2.
const ClientCredentials = "client_credentials"

// Settings are what all grants of a Client share. Every field is set, but where it says
// otherwise.
type Settings struct {
	Server *authserver.Server
	Store  tokenstore.Store

	RefreshInterval time.Duration // the longest time between two renewals where the provider does not tell one
	Replays         bool          // the provider returns the answer to a refresh token again

	// Watch is called every half minute while there are renewals to come, and may be slow;
	// nil: nothing is to be watched.
	Watch func(context.Context)
	// StoreFailed is told of each failure of the store, outside the work that Close waits for.
	StoreFailed func(error)
	// Landed is called when a renewal has ended, before those who wait for it go on, and
	// what it returns once Close does not wait for that renewal any more.
	Landed func(*Grant, Landing) (tell func())
}

// Landing is what a renewal came to.
type Landing struct {
	Was    Phase                // the grant's before it,
	State                       // and its state since
	Expiry time.Time            // of the token that the provider issued; zero: it issued none
	Ended  []fds.SubscriptionID // owners whom the provider took out of the grant
	Stored []string             // whose the record says the grant is; nil: it was not read
	Others []string             // whom its tokens read besides

	credential *credential   // nil: it failed
	relook     time.Duration // until a lapsed grant is asked about again; 0: about a day
}

// Grants are those of a Client, and what is done for them.
type Grants struct {
	Settings
	scheduler *scheduler
	relooks   *rate.Limiter // questions to the server about grants that lapsed

	closing context.Context // ended by Close
	close   context.CancelFunc
	start   sync.Once // the scheduler

	mu   sync.Mutex     // keeps work from beginning once Close was called
	work sync.WaitGroup // renewals, the scheduler, and what else has begun
}

// New returns the grants of a Client: none yet.
func New(s Settings) *Grants {
	a := &Grants{Settings: s, scheduler: newScheduler(), relooks: rate.NewLimiter(rate.Every(relookRest), 1)}
	a.closing, a.close = context.WithCancel(context.Background())
	return a
}

// Grant returns the grant of a key, of which nothing is known yet. There is one at a time of
// a key.
func (a *Grants) Grant(key tokenstore.Key) *Grant {
	g := &Grant{Key: key, all: a}
	g.state.Store(new(state))
	return g
}

// Ended stands in for the grant of an owner who has left it, though it may live on for
// other owners.
func (a *Grants) Ended(key tokenstore.Key, why error) *Grant {
	g := a.Grant(key)
	g.move(func(s state) state { return s.ended(why) })
	return g
}

// Begin counts a piece of work that Close waits for, until End, unless Close was called.
func (a *Grants) Begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Closed() {
		return false
	}
	a.work.Add(1)
	return true
}

// End ends what Begin counted.
func (a *Grants) End() { a.work.Done() }

// Closed reports whether Close was called.
func (a *Grants) Closed() bool { return a.closing.Err() != nil }

// Start has grants renewed when they are due, from now on until Close.
func (a *Grants) Start() {
	a.start.Do(func() {
		if a.Begin() {
			go func() {
				defer a.End()
				a.scheduler.run(a.closing, a.Watch)
			}()
		}
	})
}

// Close ends renewals that have not asked the provider yet, and waits for all work. What
// could not be saved then Grant.SaveAtLast saves.
func (a *Grants) Close() {
	a.mu.Lock()
	a.close()
	a.mu.Unlock()
	a.work.Wait()
}
