package tokenstore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Renewal is what is known of renewals with a grant's refresh token: the mark of
// one that is under way, and what the provider said. It is kept in the grant's
// record and bound to the refresh token there. Where another token has taken its
// place, as when an older version of this package renewed the grant and kept the
// mark unseen, [DecodeGrant] returns the zero Renewal.
type Renewal struct {
	// By is who sent the request that is under way or whose answer never came, such
	// as "host/pid"; empty: nobody. Since is when.
	By    string
	Since time.Time
	// Sent counts the requests with this token that may have been processed and
	// whose answer never came.
	Sent int
	// Refused is when the provider first refused the token for good, Looked when it
	// last did; zero: it has not.
	Refused time.Time
	Looked  time.Time
	// Lapsed: that the owner must sign in again was told.
	Lapsed bool
	// Former is the refresh token before this one, until this one has worked.
	Former fds.Secret

	// unknown is a JSON object with the members of a newer version.
	unknown fds.Secret
}

func (r Renewal) equal(o Renewal) bool {
	return r.By == o.By && r.Since.Equal(o.Since) && r.Sent == o.Sent &&
		r.Refused.Equal(o.Refused) && r.Looked.Equal(o.Looked) && r.Lapsed == o.Lapsed &&
		r.Former.Equal(o.Former) && r.unknown.Equal(o.unknown)
}

// renewalToken is the member that binds a renewal to a refresh token.
const renewalToken = "token"

func tokenHash(token fds.Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func renewalFields(r *Renewal, token *string) []field {
	return []field{
		textField(renewalToken, token),
		textField("by", &r.By),
		timeField("since", &r.Since),
		valueField("sent", &r.Sent),
		timeField("refused", &r.Refused),
		timeField("looked", &r.Looked),
		valueField("lapsed", &r.Lapsed),
		secretField("former", &r.Former),
	}
}

// renewalField is the record's member with the renewal. It is read after the refresh
// token.
func renewalField(g *Grant) field {
	return field{
		name: "renewal",
		write: func() (json.RawMessage, error) {
			if g.Renewal.equal(Renewal{}) {
				return nil, nil
			}
			token := tokenHash(g.RefreshToken)
			members, err := encodeMembers(renewalFields(&g.Renewal, &token), g.Renewal.unknown)
			if err != nil {
				return nil, err
			}
			return marshal(members)
		},
		read: func(raw json.RawMessage) error {
			var (
				r       Renewal
				token   string
				members map[string]json.RawMessage
			)
			if err := json.Unmarshal(raw, &members); err != nil {
				return err
			}
			rest, err := decodeMembers(renewalFields(&r, &token), members)
			if err != nil {
				return err
			}
			if token == tokenHash(g.RefreshToken) {
				r.unknown = rest
				g.Renewal = r
			}
			return nil
		},
	}
}
