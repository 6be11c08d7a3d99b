package fdsclient

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
)

// Token is an owner's access token. Printing, logging or marshalling one shows
// no secret.
type Token struct{ issued *grants.Token }

// none stands behind the zero Token.
var none grants.Token

func (t Token) at() *grants.Token {
	if t.issued == nil {
		return &none
	}
	return t.issued
}

// Reveal returns the token itself, to be sent to the provider and nowhere else.
func (t Token) Reveal() string { return t.at().Access.Reveal() }

// Type is how the token is presented: "Bearer" (RFC 6750) or "DPoP" (RFC 9449).
func (t Token) Type() string { return t.at().Kind }

// Expiry is when the provider stops taking the token, on this machine's clock.
func (t Token) Expiry() time.Time { return t.at().Expiry }

// SetHeader puts the token into a request's header (W9), with the proof for just
// this request where the token is bound to a key. Send the request to the
// provider's own origin only.
func (t Token) SetHeader(r *http.Request) error {
	i := t.at()
	r.Header.Set("Authorization", i.Kind+" "+i.Access.Reveal())
	if i.Proof == nil {
		return nil
	}
	if err := i.Proof.Prove(r, i.Access); err != nil {
		return fmt.Errorf("fdsclient: proof of possession: %w", err)
	}
	return nil
}

// String says that a token is here, and until when; not which.
func (t Token) String() string {
	if t.at().Access.IsZero() {
		return "no token"
	}
	return t.issued.Kind + " [redacted] until " + t.issued.Expiry.UTC().Format(time.RFC3339)
}

// Format prints String whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }
