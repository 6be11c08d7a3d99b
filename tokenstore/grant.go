package tokenstore

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

// MaxGrantSize bounds a grant as [Grant.Encode] writes it, in bytes.
const MaxGrantSize = 512 << 10

// maxEntrySize bounds a grant's key and subscription IDs as encodeEntry writes
// them, in bytes: some three thousand IDs.
const maxEntrySize = 128 << 10

// Key names a grant: who gave it (the issuer of RFC 8414), to which application,
// and an ID that the application chose. All three are needed, valid UTF-8, and
// compare byte by byte.
type Key struct {
	Issuer   string
	ClientID string
	GrantID  string
}

// Entry is what a store tells without decrypting a record.
type Entry struct {
	Key
	// Subscriptions are the subscription IDs the grant is for, as the token
	// spelt them, in the token's order.
	Subscriptions []string
}

// Grant is what an owner granted to the application.
//
// A record may have members that this version does not know because a newer one
// wrote it. Load keeps them inside the Grant, unseen, and Save writes them back.
// So a renewal changes a loaded Grant; a new sign-in starts from a new one.
type Grant struct {
	Key
	// Subscriptions are the subscription IDs (W6, W7) the grant is for, as the
	// token spelt them, in the token's order.
	Subscriptions []string
	// Others are further subscription IDs that the tokens are for, of owners who have
	// signed out of this application or were never asked for.
	Others []string
	// GrantType is that of the request that obtained the grant (RFC 7591 section
	// 2, grant_types), when it is not authorization_code: client_credentials
	// needs no refresh token to be renewed.
	GrantType string
	// RefreshToken may be empty when the provider issued none.
	RefreshToken fds.Secret
	AccessToken  fds.Secret
	// TokenType is that of the access token, as the provider spelt it.
	TokenType string
	// AccessExpiry and RefreshExpiry are zero when unknown.
	AccessExpiry  time.Time
	RefreshExpiry time.Time
	Scopes        []string
	// ProofKey is the private key that the tokens are bound to (RFC 9449), PKCS#8
	// in base64. Empty when they are not.
	ProofKey fds.Secret
	// CertificateThumbprint is x5t#S256 of the client certificate with which the
	// access token was asked for (RFC 8705 section 3.1), or empty.
	CertificateThumbprint string
	// Created is when the grant was first saved after a sign-in, Renewed when
	// its tokens last changed.
	Created time.Time
	Renewed time.Time
	// Renewal is what is known of renewals with RefreshToken.
	Renewal Renewal

	// Revision names the stored record that the grant was loaded from, or whose save
	// gave it. [Store.Save] and [Store.Reserve] replace that record only. It is the
	// store's own text, no part of the record, and not compared by Equal.
	Revision string

	// unknown is a JSON object with the members of a newer version. It may hold
	// secrets, so it is one.
	unknown fds.Secret
}

// Entry returns the part of the grant that a store lists.
func (g Grant) Entry() Entry {
	return Entry{Key: g.Key, Subscriptions: slices.Clone(g.Subscriptions)}
}

// Equal compares all members but Revision, times as instants, nil and empty lists
// as equal.
func (g Grant) Equal(o Grant) bool {
	return g.Key == o.Key &&
		slices.Equal(g.Subscriptions, o.Subscriptions) &&
		slices.Equal(g.Others, o.Others) &&
		g.GrantType == o.GrantType &&
		g.RefreshToken.Equal(o.RefreshToken) &&
		g.AccessToken.Equal(o.AccessToken) &&
		g.TokenType == o.TokenType &&
		g.AccessExpiry.Equal(o.AccessExpiry) &&
		g.RefreshExpiry.Equal(o.RefreshExpiry) &&
		slices.Equal(g.Scopes, o.Scopes) &&
		g.ProofKey.Equal(o.ProofKey) &&
		g.CertificateThumbprint == o.CertificateThumbprint &&
		g.Created.Equal(o.Created) &&
		g.Renewed.Equal(o.Renewed) &&
		g.Renewal.equal(o.Renewal) &&
		g.unknown.Equal(o.unknown)
}

// check says what is wrong with a key.
func (k Key) check() error {
	for _, part := range []struct{ name, text string }{
		{"issuer", k.Issuer}, {"client ID", k.ClientID}, {"grant ID", k.GrantID},
	} {
		switch {
		case part.text == "":
			return fmt.Errorf("the key has no %s", part.name)
		case !utf8.ValidString(part.text):
			return fmt.Errorf("the key's %s is not valid UTF-8", part.name)
		}
	}
	return nil
}

// hash is a name for the key that suits file systems: 52 characters of a to z and
// 2 to 7, whatever the length and the letters of the key, and no two keys share it.
func (k Key) hash() string {
	h := sha256.New()
	for _, part := range []string{k.Issuer, k.ClientID, k.GrantID} {
		// The length in front keeps ("ab", "c") and ("a", "bc") apart.
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hashName.EncodeToString(h.Sum(nil))
}

var hashName = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// compareKeys orders keys for listings that are to be stable.
func compareKeys(a, b Key) int {
	if c := strings.Compare(a.Issuer, b.Issuer); c != 0 {
		return c
	}
	if c := strings.Compare(a.ClientID, b.ClientID); c != 0 {
		return c
	}
	return strings.Compare(a.GrantID, b.GrantID)
}
