package fdsclient

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
)

// Token is an owner's access token. Printing, logging or marshalling one shows
// no secret.
type Token struct{ *issued }

// issued is a token as the provider gave it. It is immutable, and behind a pointer
// because callers in a hurry get it by the million.
type issued struct {
	access fds.Secret
	kind   string
	expiry time.Time
	proof  *authserver.Prover // of a token bound to a key, else nil
}

// none stands behind the zero Token.
var none issued

func (t Token) at() *issued {
	if t.issued == nil {
		return &none
	}
	return t.issued
}

// Reveal returns the token itself, to be sent to the provider and nowhere else.
func (t Token) Reveal() string { return t.at().access.Reveal() }

// Type is how the token is presented: "Bearer" (RFC 6750) or "DPoP" (RFC 9449).
func (t Token) Type() string { return t.at().kind }

// Expiry is when the provider stops taking the token, on this machine's clock.
func (t Token) Expiry() time.Time { return t.at().expiry }

// SetHeader puts the token into a request's header (W9), with the proof for just
// this request where the token is bound to a key. Send the request to the
// provider's own origin only.
func (t Token) SetHeader(r *http.Request) error {
	i := t.at()
	r.Header.Set("Authorization", i.kind+" "+i.access.Reveal())
	if i.proof == nil {
		return nil
	}
	if err := i.proof.Prove(r, i.access); err != nil {
		return fmt.Errorf("fdsclient: proof of possession: %w", err)
	}
	return nil
}

// String says that a token is here, and until when; not which.
func (t Token) String() string {
	if t.at().access.IsZero() {
		return "no token"
	}
	return t.kind + " [redacted] until " + t.expiry.UTC().Format(time.RFC3339)
}

// Format prints String whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }
