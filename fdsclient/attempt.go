package fdsclient

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
)

// AttemptLifetime, 15 minutes, is how long a sign-in may take: SignIn as a whole, or between
// BeginSignIn and FinishSignIn.
const AttemptLifetime = authserver.AttemptLifetime

// Attempt is a sign-in that was begun and waits for its redirect. It is for one
// use, within AttemptLifetime. It holds secrets: printing, logging or marshalling
// one shows none; Encode returns all, for the app's own session store.
type Attempt struct{ begun authserver.Attempt }

// URL is where the owner's user must be sent, in the system's browser.
func (a Attempt) URL() string { return a.begun.Address.Reveal() }

// RedirectURI is where the provider will send the browser.
func (a Attempt) RedirectURI() string { return a.begun.RedirectURI }

// Expires is when FinishSignIn stops taking the attempt.
func (a Attempt) Expires() time.Time { return a.begun.Expires }

// String shows no secret.
func (a Attempt) String() string {
	return fmt.Sprintf("sign-in attempt at %s until %s", a.begun.Issuer, a.begun.Expires.UTC().Format(time.RFC3339))
}

// Format prints String whatever the verb, since the URL holds the state.
func (a Attempt) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.String())) }

// LogValue logs String.
func (a Attempt) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalJSON refuses: an Attempt belongs in the app's session store by Encode,
// and nowhere by accident.
func (a Attempt) MarshalJSON() ([]byte, error) {
	return nil, errors.New("fdsclient: an Attempt holds secrets; use Encode")
}

// encodedAttempt is the form of Encode.
type encodedAttempt struct {
	Version     int       `json:"version"`
	URL         string    `json:"url"`
	Issuer      string    `json:"issuer"`
	ClientID    string    `json:"client_id"`
	RedirectURI string    `json:"redirect_uri"`
	State       string    `json:"state"`
	Verifier    string    `json:"verifier"`
	Nonce       string    `json:"nonce"`
	ProofKey    string    `json:"proof_key,omitempty"`
	Expires     time.Time `json:"expires"`
}

// Encode returns the attempt with its secrets, for DecodeAttempt. Keep it on the
// server, in the session of the browser that began the sign-in and nowhere else:
// that binding is what stops an attacker from ending his sign-in in your user's
// browser (RFC 6749 section 10.12). Whoever reads it can finish the sign-in.
func (a Attempt) Encode() ([]byte, error) {
	e := encodedAttempt{
		Version:     1,
		URL:         a.begun.Address.Reveal(),
		Issuer:      a.begun.Issuer,
		ClientID:    a.begun.ClientID,
		RedirectURI: a.begun.RedirectURI,
		State:       a.begun.State.Reveal(),
		Verifier:    a.begun.Verifier.Reveal(),
		Nonce:       a.begun.Nonce.Reveal(),
		Expires:     a.begun.Expires,
	}
	if a.begun.Proof != nil {
		key, err := a.begun.Proof.Encoded()
		if err != nil {
			return nil, fmt.Errorf("fdsclient: encode sign-in attempt: %w", err)
		}
		e.ProofKey = key.Reveal()
	}
	return json.Marshal(e)
}

// DecodeAttempt reads what Encode wrote.
func DecodeAttempt(data []byte) (Attempt, error) {
	fail := errors.New("fdsclient: decode sign-in attempt: this is not what Attempt.Encode wrote; begin a new sign-in")
	var e encodedAttempt
	if err := json.Unmarshal(data, &e); err != nil || e.Version != 1 || e.State == "" || e.Verifier == "" {
		return Attempt{}, fail
	}
	begun := authserver.Attempt{
		Address:     fds.NewSecret(e.URL),
		Issuer:      e.Issuer,
		ClientID:    e.ClientID,
		RedirectURI: e.RedirectURI,
		State:       fds.NewSecret(e.State),
		Verifier:    fds.NewSecret(e.Verifier),
		Nonce:       fds.NewSecret(e.Nonce),
		Expires:     e.Expires,
	}
	if e.ProofKey != "" {
		var err error
		if begun.Proof, err = authserver.ReadProver(fds.NewSecret(e.ProofKey)); err != nil {
			return Attempt{}, fail
		}
	}
	return Attempt{begun}, nil
}

// usedAttempts remembers which attempts this process has finished until they
// expire anyway.
type usedAttempts struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]time.Time
}

// take reports whether the attempt is still unused, and uses it.
func (u *usedAttempts) take(a Attempt) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for key, expires := range u.seen {
		if now.After(expires) {
			delete(u.seen, key)
		}
	}
	key := sha256.Sum256([]byte(a.begun.State.Reveal()))
	if _, used := u.seen[key]; used {
		return false
	}
	if u.seen == nil {
		u.seen = make(map[[sha256.Size]byte]time.Time)
	}
	u.seen[key] = a.begun.Expires
	return true
}
