package grants

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const (
	maxLead     = 5 * time.Minute  // an access token is renewed at most this long before it expires,
	leadShare   = 5                // or a fifth of its lifetime
	maxMargin   = 10 * time.Second // and not handed out any more this shortly before,
	marginShare = 10               // or a tenth
)

// LeastRest is how long after a renewal the next ahead of expiry comes at the earliest:
// each spends a rotation, and a server can say of its tokens that they live for no time.
var LeastRest = 10 * time.Second

// Token is an access token as the provider issued it. It is immutable, and handed out by its
// pointer because callers in a hurry get it by the million.
type Token struct {
	Access fds.Secret
	Kind   string
	Expiry time.Time
	Proof  *authserver.Prover // of a token bound to a key, else nil
}

// credential is an access token with the times that matter. It is immutable but
// for sure.
type credential struct {
	token   *Token
	usable  time.Time // handed out until then, by the wall clock
	due     time.Time // renewed from then on
	issued  time.Time
	renewed bool         // it came of a renewal, not of the sign-in itself
	shared  bool         // it is that of several owners
	bound   string       // thumbprint of the client certificate that the token goes with
	sure    atomic.Int64 // since epoch, 0 before the first question; until then the wall clock need not be asked
}

// epoch is where the monotonic clock of this process is counted from.
var epoch = time.Now()

// wallClockCheck is how long the monotonic clock, which costs half as much, stands
// in for the wall clock. It stands still while a laptop sleeps, so not for long.
const wallClockCheck = time.Second

// usableNow says that the token will do. Its certificate counts too: the provider
// would refuse a token that another one was bound to.
func (c *credential) usableNow(thumbprint string) bool {
	if c.bound != thumbprint {
		return false
	}
	now := time.Since(epoch)
	if sure := time.Duration(c.sure.Load()); sure != 0 && now < sure {
		return true
	}
	left := time.Until(c.usable)
	if left <= 0 {
		return false
	}
	c.sure.Store(int64(now + min(left, wallClockCheck)))
	return true
}

// credential computes the times of a stored token. It is renewed ahead of its
// expiry by a fifth of its lifetime, at most 5 minutes, earlier by up to half of
// that again so that grants of one moment spread; and so that an idle refresh
// token does not lapse, ahead of that one's expiry too, or after the configured
// interval where the provider does not tell it.
func (g *Grant) credential(r tokenstore.Grant) (*credential, error) {
	proof, err := g.prover(r)
	if err != nil {
		return nil, err
	}
	lifetime := r.AccessExpiry.Sub(r.Renewed)
	if lifetime <= 0 {
		lifetime = time.Minute
	}
	c := &credential{
		token:  &Token{Access: r.AccessToken, Kind: r.TokenType, Expiry: r.AccessExpiry},
		shared: g.all.Shared(r),
		bound:  r.CertificateThumbprint,
		usable: r.AccessExpiry.Add(-min(maxMargin, lifetime/marginShare)),
		due:    r.AccessExpiry.Add(-spread(min(maxLead, lifetime/leadShare))),
	}
	c.issued, c.renewed = r.Renewed, !r.Renewed.Equal(r.Created)
	if r.TokenType == authserver.KindDPoP {
		c.token.Proof = proof
	}
	if r.RefreshToken.IsZero() {
		if r.GrantType != ClientCredentials { // nothing renews it: it serves as long as it can
			c.due = c.usable
		}
		return c, nil
	}
	lapses := r.RefreshExpiry
	if !lapses.After(r.Renewed) { // not said; or it has worked since, or the clock was set
		lapses = r.Renewed.Add(g.all.RefreshInterval)
	}
	if due := lapses.Add(-spread(min(24*time.Hour, lapses.Sub(r.Renewed)/leadShare))); due.Before(c.due) {
		c.due = due
	}
	if earliest := r.Renewed.Add(LeastRest); c.due.Before(earliest) && c.renewed {
		c.due = earliest
	}
	return c, nil
}

// prover returns the prover of the grant's key, the same one as long as the key is;
// nil when it has none.
func (g *Grant) prover(r tokenstore.Grant) (*authserver.Prover, error) {
	if r.ProofKey.IsZero() {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.proof == nil || !g.proofKey.Equal(r.ProofKey) {
		proof, err := g.all.Server.ReadProver(r.ProofKey)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", fds.ErrSignInRequired, err)
		}
		g.proof, g.proofKey = proof, r.ProofKey
	}
	return g.proof, nil
}

// spread returns between one and one and a half times d, or 0 where d is not positive.
func spread(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d + time.Duration(rand.Int64N(int64(d/2)+1))
}
