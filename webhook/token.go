package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/keyset"
)

const (
	maxToken = 16 << 10 // bytes of a token
	maxTries = 8        // keys that a token is tried with, where it names none
	maxNamed = 1000     // owners whom one token may name
)

// claims are those of a token that is good, until it expires.
type claims struct {
	client string // to whom it was issued
	owners []fds.SubscriptionID
	begins time.Time // zero: not said
	ends   time.Time // zero: not said, which only introspection may
	bound  []byte    // the SHA-256 of the certificate that it is bound to; nil: it is not bound

	until time.Time   // up to when what an issuer said of it counts; zero: as long as it lives
	keys  *keyset.Set // among which that is by which it was verified; nil: by none
}

// members are those of a JSON object, each by its name once.
type members map[string]jsontext.Value

// object reads a JSON object strictly: no name twice, no invalid UTF-8, nothing behind it.
func object(data []byte) (m members, err error) {
	if err := json.Unmarshal(data, &m); err != nil || m == nil {
		return nil, errors.New("it is not one JSON object in which each name is there once")
	}
	return m, nil
}

// text returns a member that is a string; false: it is missing, or none.
func (m members) text(name string) (text string, ok bool) {
	if raw := m[name]; raw.Kind() != '"' || json.Unmarshal(raw, &text) != nil {
		return "", false
	}
	return text, true
}

// texts returns a member that is a string or an array of strings; false: it is missing, or neither.
func (m members) texts(name string) (all []string, ok bool) {
	if one, ok := m.text(name); ok {
		return []string{one}, true
	}
	if raw := m[name]; raw.Kind() != '[' || json.Unmarshal(raw, &all) != nil {
		return nil, false
	}
	return all, true
}

// date returns a member that is a NumericDate (RFC 7519 section 2); zero: it is missing. An error
// says that it is none.
func (m members) date(name string) (time.Time, error) {
	raw := m[name]
	if raw == nil {
		return time.Time{}, nil
	}
	var seconds float64
	if raw.Kind() != '0' || json.Unmarshal(raw, &seconds) != nil || math.IsNaN(seconds) || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, fmt.Errorf("its %s is no date (RFC 7519 section 2)", name)
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// verify returns the claims of a token that is a JWT by RFC 9068 section 4 and RFC 8725.
func (r *Receiver) verify(ctx context.Context, token string) (*claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, untrusted("it is no signed JWT (RFC 7515 section 7.1)")
	}
	var parsed [3][]byte
	for n, part := range parts { // strictly: else one token has many spellings
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return nil, untrusted("it is not in base64url (RFC 7515 section 2)")
		}
		parsed[n] = decoded
	}
	head, payload, signature := parsed[0], parsed[1], parsed[2]
	h := r.lastHeader.Load()
	if h == nil || h.text != parts[0] {
		var err error
		if h, err = r.header(parts[0], head); err != nil {
			return nil, err
		}
	}
	keys, err := r.verifySignature(ctx, h, payload, signature)
	if err != nil {
		return nil, err
	}
	r.lastHeader.Store(h)
	read, err := object(payload)
	if err != nil {
		return nil, untrusted("its claims: " + err.Error())
	}
	issuer, _ := read.text("iss")
	if issuer != r.cfg.Issuer {
		return nil, untrusted("its issuer (iss) is another one")
	}
	c, err := r.judge(read)
	if err != nil {
		return nil, err
	}
	if c.ends.IsZero() {
		return nil, untrusted("it does not say when it expires (exp)")
	}
	c.keys = keys
	return c, nil
}

// header is that of a token, read.
type header struct {
	text             string // in base64url
	algorithm, keyID string
	signed           *jose.JSONWebSignature // with that header, and nobody's signature
}

// header reads the header of a token, from its text and what that is in bytes.
func (r *Receiver) header(text string, head []byte) (*header, error) {
	read, err := object(head)
	if err != nil {
		return nil, untrusted("its header: " + err.Error())
	}
	algorithm, keyID, why := r.headerFault(read)
	if why != "" {
		return nil, untrusted(why)
	}
	return newHeader(text, algorithm, keyID)
}

// newHeader keeps nothing of the token but its header's text.
func newHeader(text, algorithm, keyID string) (*header, error) {
	text = strings.Clone(text)
	signed, err := jose.ParseDetached(text+"..", []byte{}, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
	if err != nil {
		return nil, untrusted("it is no signed JWT (RFC 7515 section 7.1)")
	}
	return &header{text: text, algorithm: algorithm, keyID: keyID, signed: signed}, nil
}

// headerFault reads a token's header, and says what is wrong with it.
func (r *Receiver) headerFault(head members) (algorithm, keyID, why string) {
	for _, name := range []string{"jwk", "jku", "x5u"} {
		if head[name] != nil {
			return "", "", "it brings its own key (" + name + "), which anyone could"
		}
	}
	if head["crit"] != nil {
		return "", "", "it demands an extension (crit), and none is understood"
	}
	if head["b64"] != nil {
		return "", "", "its claims are not in base64url (b64), which no JWT may say (RFC 7797 section 7)"
	}
	typ, ok := head.text("typ")
	// RFC 7515 section 4.1.9: a media type, of which application/ may be left out.
	if bare := strings.TrimPrefix(strings.ToLower(typ), "application/"); !ok || bare != strings.ToLower(strings.TrimPrefix(r.cfg.TokenType, "application/")) {
		return "", "", "it is a token of another kind (typ); an issuer that does not write " + r.cfg.TokenType + " needs Settings.TokenType"
	}
	algorithm, _ = head.text("alg")
	if !slices.Contains(r.cfg.Algorithms, algorithm) {
		return "", "", "it is signed by none of the algorithms that are taken (alg)"
	}
	keyID, ok = head.text("kid")
	if !ok && head["kid"] != nil {
		return "", "", "its key's ID (kid) is no text"
	}
	return algorithm, keyID, ""
}

// verifySignature returns the set in which the key is that has signed a token of that header.
func (r *Receiver) verifySignature(ctx context.Context, h *header, payload, signature []byte) (*keyset.Set, error) {
	set := r.keys.first(ctx)
	if set == nil {
		return nil, unknown("the issuer's keys could not be fetched yet")
	}
	if h.keyID != "" && !set.Names(h.keyID) {
		asked, err := r.keys.ask(ctx, h.keyID)
		if asked != nil {
			set = asked
		} else if set = r.keys.now(); !set.Names(h.keyID) && !set.Names("") { // a key without an ID may be of any
			if err != nil { // a sender may give up for good after 401
				return nil, unknown("the issuer's keys cannot be fetched, and those of before lack the ID that it names (kid)")
			}
			return nil, untrusted("none of the issuer's keys has the ID that it names (kid)")
		}
	}
	signed := jose.JSONWebSignature{Signatures: slices.Clone(h.signed.Signatures)}
	signed.Signatures[0].Signature = signature
	fit, _ := set.Fitting(h.algorithm, h.keyID)
	for _, key := range fit[:min(len(fit), maxTries)] {
		if signed.DetachedVerify(payload, key) == nil {
			return set, nil
		}
	}
	return nil, untrusted("none of the issuer's keys has signed it")
}

// judge reads the claims of a token, as they stand in it or its issuer tells them. Who issued it is
// known already.
func (r *Receiver) judge(read members) (*claims, error) {
	if audience, ok := read.texts("aud"); !ok || !slices.Contains(audience, r.cfg.Audience) {
		return nil, untrusted(fmt.Sprintf("it is for another audience (aud) than this endpoint: it names %.100q, and Settings.Audience is %q", audience[:min(len(audience), 3)], r.cfg.Audience))
	}
	client, ok := read.text(r.cfg.ClientClaim)
	if !ok || !slices.Contains(r.cfg.Senders, client) {
		return nil, untrusted(fmt.Sprintf("it was not issued to one of Settings.Senders (%s): it names %.100q", r.cfg.ClientClaim, client))
	}
	c := &claims{client: client}
	issued, err := read.date("iat")
	if err == nil {
		c.begins, err = read.date("nbf")
	}
	if err == nil {
		c.ends, err = read.date("exp")
	}
	if err != nil {
		return nil, untrusted(err.Error())
	}
	now := time.Now()
	if issued.After(now.Add(r.cfg.ClockSkew)) {
		return nil, untrusted("it was issued in the future (iat); check this machine's clock")
	}
	if why := c.untimely(now, r.cfg.ClockSkew); why != "" {
		return nil, untrusted(why)
	}
	if c.bound, err = confirmation(read["cnf"]); err != nil {
		return nil, err
	}
	if c.bound == nil && r.cfg.CertificateBound {
		return nil, untrusted("it is bound to no certificate (RFC 8705), as Settings.CertificateBound demands")
	}
	c.owners, err = r.owners(read)
	return c, err
}

// untimely says why a token does not count at a moment, or "".
func (c *claims) untimely(now time.Time, skew time.Duration) string {
	switch {
	case c.begins.After(now.Add(skew)):
		return "it begins later (nbf); check this machine's clock"
	case !c.ends.IsZero() && !now.Before(c.ends.Add(skew)):
		return "it has expired (exp)"
	}
	return ""
}

// owners reads whose data a token lets its sender deliver (W7).
func (r *Receiver) owners(read members) (ids []fds.SubscriptionID, err error) {
	spelt, ok := read.texts(r.cfg.SubscriptionClaim)
	switch {
	case !ok || len(spelt) == 0:
		return nil, forbidden("the token names no owner in " + r.cfg.SubscriptionClaim + " (W7); ask the provider, or correct SubscriptionClaim")
	case len(spelt) > maxNamed:
		return nil, forbidden(fmt.Sprintf("the token names %d owners; at most %d are taken", len(spelt), maxNamed))
	}
	for _, spelling := range spelt {
		id, err := fds.ParseSubscriptionID(spelling)
		if err != nil {
			return nil, forbidden("the token names an owner by what is no subscription ID (W6)")
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// confirmation reads to which certificate a token is bound (RFC 8705 section 3.1); nil: to none.
func confirmation(raw jsontext.Value) ([]byte, error) {
	if raw == nil {
		return nil, nil
	}
	methods, err := object(raw)
	if err != nil {
		return nil, untrusted("what it is bound to (cnf): " + err.Error())
	}
	text, ok := methods.text("x5t#S256")
	hash, err := base64.RawURLEncoding.DecodeString(text) // not strictly: the RFC's own example has bits that are for nothing
	if len(methods) != 1 || !ok || err != nil || len(hash) != sha256.Size {
		return nil, untrusted("it is bound (cnf) to something else than the SHA-256 of a certificate (RFC 8705), as by DPoP, which is not understood here")
	}
	return hash, nil
}
